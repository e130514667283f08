/* SPDX-License-Identifier: MIT */
/*
 * What comes from outside: threads of the application that find nurseries,
 * spawn into them, cancel them and wait for them, that grow trees of their
 * own, look on, and send signals to each other and to all and sundry.
 */
#include "soak.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FOUND		8	/* nurseries that can be found at a time */
#define MOST_PEOPLE	64
#define LEAST_DEEDS	6
#define MOST_DEEDS	300

/* under now.lock */
static struct found {
	struct book *b;
	struct nursery *n;	/* a reference */
} found[FOUND];
static unsigned found_at;

static struct person {
	pthread_t id;
	bool there;		/* under people_lock */
	struct rng rng;
} people[MOST_PEOPLE + 1];	/* the first one is main */
static unsigned people_count;
static pthread_mutex_t people_lock = PTHREAD_MUTEX_INITIALIZER;

static uint32_t hup_taken, hup_sent;	/* atomic; once a round */

/* ---- signals ---- */

static __thread struct nursery_token *volatile to_cancel;

static void
count_signal(int signo)
{
	int error = errno;

	(void)signo;
	(void)__atomic_add_fetch(&figures.signals, 1, __ATOMIC_RELAXED);
	errno = error;
}

static void
cancel_in_handler(int signo)
{
	struct nursery_token *t = to_cancel;

	count_signal(signo);
	if (t != NULL)
		nursery_token_cancel_from_signal(t);
	to_cancel = NULL;
}

static void
handle(int signo, void (*handler)(int))
{
	struct sigaction sa;

	memset(&sa, 0, sizeof sa);
	sa.sa_handler = handler;	/* no SA_RESTART: calls break */
	(void)sigemptyset(&sa.sa_mask);
	(void)sigaction(signo, &sa, NULL);
}

void
handlers_install(void)
{
	handle(SIGUSR1, count_signal);
	handle(SIGUSR2, cancel_in_handler);
	handle(SIGHUP, count_signal);
	handle(SIGWINCH, count_signal);
}

/* A thread of the library blocks it, and ThreadSanitizer is late. */
void
cancel_by_handler(struct nursery_token *t)
{
	const struct timespec pause = { 0, 100000 };
	sigset_t set, old;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR2);
	to_cancel = t;
	(void)pthread_sigmask(SIG_UNBLOCK, &set, &old);
	(void)pthread_kill(pthread_self(), SIGUSR2);
	while (to_cancel != NULL)
		(void)nanosleep(&pause, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void
be_called(int signo, void *arg)
{
	struct book *b = arg;

	(void)signo;
	if (atom_get(&b->closed) != 0)
		broken(LATE, "a signal's function runs after the close");
	count_signal(signo);
}

void
take_signals(struct book *b, struct rng *r)
{
	sigset_t set;
	int rc = 0;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGHUP);
	if (once_in(r, 2))
		rc = nursery_on_signal(b->n, SIGWINCH, be_called, b);
	/* One a round, for the third signal that it gets is the end. */
	else if (atom_swap(&hup_taken, 1) == 0)
		rc = nursery_stop_on_signals(b->n, &set, NURSERY_CANCEL);
	if (rc != 0 && rc != EBUSY)
		broken(RETURNS, "a nursery takes no signal: %d", rc);
}

static void
hit_somebody(struct rng *r)
{
	struct person *p = &people[rng_below(r, people_count)];

	pthread_mutex_lock(&people_lock);
	if (p->there)
		(void)pthread_kill(p->id, SIGUSR1);
	pthread_mutex_unlock(&people_lock);
}

static bool
is_handled(int signo)
{
	struct sigaction is;

	return sigaction(signo, NULL, &is) == 0 && is.sa_handler != SIG_DFL &&
	    is.sa_handler != SIG_IGN;
}

/* Whether the thread has it already, and does not want it now. */
static bool
is_pending(const char *tid, int signo)
{
	char path[64], line[256];
	unsigned long long pending = 0;
	FILE *f;

	(void)snprintf(path, sizeof path, "/proc/self/task/%.16s/status",
	    tid);
	f = fopen(path, "re");
	if (f == NULL)
		return true;
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "SigPnd: %llx", &pending) == 1)
			break;
	(void)fclose(f);
	return (pending >> (signo - 1) & 1) != 0;
}

/* The library's own signal, as if it came late from an earlier wait. */
static void
hit_any_thread(struct rng *r)
{
	int signo = nursery_interrupt_signal();
	DIR *dir = open_folder("/proc/self/task");
	const struct dirent *e;

	while (dir != NULL && is_handled(signo) &&
	    (e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.' && once_in(r, 4) &&
		    !is_pending(e->d_name, signo))
			(void)syscall(SYS_tgkill, getpid(), atoi(e->d_name),
			    signo);
	if (dir != NULL)
		(void)closedir(dir);
}

static void
send_signals(struct rng *r)
{
	switch (rng_below(r, 4)) {
	case 0:
		if (atom_swap(&hup_sent, 1) == 0)
			(void)kill(getpid(), SIGHUP);
		break;
	case 1:
		(void)kill(getpid(), SIGWINCH);
		break;
	case 2:
		hit_any_thread(r);
		break;
	default:
		hit_somebody(r);
		break;
	}
}

/* ---- nurseries that can be found ---- */

void
publish(struct book *b)
{
	struct found was, is = { b, nursery_ref(b->n) };

	pthread_mutex_lock(&now.lock);
	was = found[found_at % FOUND];
	found[found_at++ % FOUND] = is;
	pthread_mutex_unlock(&now.lock);
	nursery_unref(was.n);
}

static struct found
find_one(struct rng *r)
{
	unsigned at = rng_below(r, FOUND);
	struct found f;

	pthread_mutex_lock(&now.lock);
	f = found[at];
	f.n = nursery_ref(f.n);
	pthread_mutex_unlock(&now.lock);
	return f;
}

static void
wait_for_found(struct nursery *n, struct rng *r)
{
	int rc = nursery_wait(n, once_in(r, 3) ? NURSERY_NEVER :
	    soon(r, 1000));

	if (rc != 0 && rc != ETIMEDOUT)
		broken(RETURNS, "nursery_wait from outside says %d", rc);
}

static void
use_token_of(struct nursery *n, struct rng *r)
{
	struct nursery_token *t = nursery_token_ref(nursery_token_of(n));
	int64_t until = soon(r, 500);

	check_wait("nursery_token_wait", nursery_token_wait(t, until), t,
	    until);
	if (once_in(r, 4))
		(void)nursery_token_set_deadline(t, soon(r, 2000));
	else
		play_with_tokens(t, r);
	nursery_token_unref(t);
}

static void
meddle(struct rng *r)
{
	struct found f = find_one(r);

	if (f.n == NULL)
		return;
	switch (rng_below(r, 8)) {
	case 0:
		cancel_somehow(f.n, r);
		break;
	case 1:
		nursery_drain(f.n);
		break;
	case 2:
		wait_for_found(f.n, r);
		break;
	case 3:
		use_token_of(f.n, r);
		break;
	default:
		(void)spawn_one(f.b, f.n, &role_work, NULL, true, r, NULL);
		break;
	}
	nursery_unref(f.n);
}

/* ---- looking on ---- */

void
dump_somewhere(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int rc;

	if (f == NULL)
		return;
	rc = nursery_dump(f, NURSERY_TEXT);
	if (rc != 0)
		broken(RETURNS, "nursery_dump says %d", rc);
	(void)fclose(f);
	free(text);
	atom_add(&figures.dumps, 1);
}

static void
look_on(struct rng *r)
{
	struct nursery_stats s = NURSERY_STATS_INIT;

	if (once_in(r, 4))
		dump_somewhere();
	if (nursery_get_stats(&s) != 0)
		broken(RETURNS, "nursery_get_stats fails");
}

/* ---- people ---- */

static void
play_alone(struct rng *r)
{
	struct nursery_token *t;

	if (nursery_token_new(&t, NULL) != 0) {
		broken(RETURNS, "nursery_token_new fails");
		return;
	}
	play_with_tokens(t, r);
	nursery_token_unref(t);
}

static void
do_something(struct rng *r)
{
	switch (rng_below(r, 16)) {
	case 0:
		look_on(r);
		break;
	case 1: case 2: case 3: case 4:
		send_signals(r);
		break;
	case 5:
		grow_tree(NULL, NULL, rng_below(r, 3), r);
		break;
	case 6:
		if (forks_are_safe() && once_in(r, 4))
			fork_one(NULL);
		break;
	case 7:
		play_alone(r);
		break;
	case 8: case 9:
		(void)nursery_sleep(NULL, soon(r, 300));
		break;
	default:
		meddle(r);
		break;
	}
}

static void
appear(struct person *p, bool there)
{
	pthread_mutex_lock(&people_lock);
	p->there = there;
	pthread_mutex_unlock(&people_lock);
}

static void *
live(void *arg)
{
	struct person *p = arg;
	unsigned i;

	appear(p, true);
	for (i = 0; i < LEAST_DEEDS || (i < MOST_DEEDS &&
	    atom_get(&now.over) == 0); i++)
		do_something(&p->rng);
	appear(p, false);
	return NULL;
}

void
outside_begin(unsigned threads)
{
	unsigned i;

	atom_set(&hup_taken, 0);
	atom_set(&hup_sent, 0);
	people[0].id = pthread_self();
	people_count = threads + 1;
	appear(&people[0], true);
	for (i = 1; i <= threads; i++) {
		rng_init(&people[i].rng, rng_next(&now.rng));
		if (pthread_create(&people[i].id, NULL, live, &people[i]) !=
		    0) {
			perror("soak: a thread");
			exit(2);
		}
	}
}

void
outside_end(void)
{
	unsigned i;

	atom_set(&now.over, 1);
	for (i = 1; i < people_count; i++)
		(void)pthread_join(people[i].id, NULL);
	for (i = 0; i < FOUND; i++) {
		nursery_unref(found[i].n);
		found[i] = (struct found){ NULL, NULL };
	}
}

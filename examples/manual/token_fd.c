/* An epoll loop that a signal handler ends, by a token. */
#include <err.h>
#include <nursery.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct nursery_token *stop;

static void
on_term(int signo)
{
	(void)signo;
	nursery_token_cancel_from_signal(stop);
}

static void
check(int rc, const char *what)
{
	if (rc != 0)
		errx(1, "%s: %s", what, strerror(rc));
}

int
main(void)
{
	struct sigaction sa = { .sa_handler = on_term };
	struct epoll_event ev = { .events = EPOLLIN };
	int loop, fd;

	check(nursery_token_new(&stop, NULL), "nursery_token_new");
	check(nursery_token_fd(stop, &fd), "nursery_token_fd");
	/* Before there is a handler: it may then need nothing more. */
	check(nursery_signal_arm(), "nursery_signal_arm");
	sigaction(SIGTERM, &sa, NULL);

	loop = epoll_create1(EPOLL_CLOEXEC);
	if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, fd, &ev) != 0)
		err(1, "epoll");
	raise(SIGTERM);		/* somebody else does, as a rule */
	while (!nursery_token_is_cancelled(stop))
		(void)epoll_wait(loop, &ev, 1, -1);
	/* The descriptor follows from a thread of the library. */
	if (epoll_wait(loop, &ev, 1, 10000) == 1)
		puts("the loop was told");

	epoll_ctl(loop, EPOLL_CTL_DEL, fd, NULL);
	close(loop);
	nursery_token_unref(stop);	/* closes fd */
	return 0;
}

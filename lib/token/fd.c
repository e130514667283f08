/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "token/fd.h"

#include "base/sys.h"
#include "token/tree.h"

/* ---- ringing ---- */

void
nur_view_collect_locked(struct nur_run *run, struct nur_entry *e)
{
	struct nursery_token *t = nur_view_of(e)->token;

	nur_token_set_word(t, nur_token_word(t) + NUR_TOKEN_PIN);
	e->next = run->views;
	run->views = e;
}

/* The pins go with the lock held, and with them perhaps the tokens. */
static void
unpin(struct nur_entry *e)
{
	struct nursery_token *t;

	nur_lock(&nur_tree_lock);
	while (e != NULL) {
		t = nur_view_of(e)->token;
		e = e->next;	/* first: the view goes with its token */
		nur_token_set_word(t, nur_token_word(t) - NUR_TOKEN_PIN);
		nur_token_settle_locked(t);
	}
	nur_unlock(&nur_tree_lock);
}

void
nur_views_ring(struct nur_run *run)
{
	struct nur_entry *e;

	if (run->views == NULL)
		return;
	for (e = run->views; e != NULL; e = e->next)
		nur_eventfd_ring(nur_view_of(e)->fd - 1);
	unpin(run->views);
	run->views = NULL;
}

/* ---- making ---- */

void
nur_views_free(struct nur_view *views)
{
	int l;

	for (l = 0; views != NULL && l < NURSERY_ABORT; l++)
		if (views[l].fd != 0)
			nur_close(views[l].fd - 1);
	nur_free(views);
}

/* Room for a view of each level: 0 or ENOMEM. */
static int
need_views(struct nursery_token *t)
{
	struct nur_side *side = nur_token_side(t);
	struct nur_view *views;

	if (side == NULL)
		return ENOMEM;
	views = nur_alloc(NURSERY_ABORT * sizeof *views);
	if (views == NULL)
		return ENOMEM;
	nur_lock(&nur_tree_lock);
	if (side->views == NULL) {
		side->views = views;
		views = NULL;
	}
	nur_unlock(&nur_tree_lock);
	nur_free(views);
	return 0;
}

/* fd is the view's from now on. */
static void
install_locked(struct nursery_token *t, struct nur_view *v, unsigned level,
    int fd)
{
	struct nur_entry *e = &v->entry;

	v->fd = fd + 1;
	v->token = t;
	e->kind = NUR_ENTRY_VIEW;
	e->level = (uint16_t)level;
	/* In the list first: a level that a signal handler sets after we have
	 * looked is told to those in it (F3). */
	nur_token_share_locked(t);
	nur_entry_add_locked(&t->entries, e);
	if (nur_level_locked(t) < level)
		return;
	nur_entry_take_out_locked(&t->entries, e);
	/* Nobody waits for it yet: it costs little under the lock. */
	nur_eventfd_ring(fd);
}

/* The descriptor there is, or -1. */
static int
look_up(struct nursery_token *t, unsigned level)
{
	int fd = -1;

	nur_lock(&nur_tree_lock);
	if (t->side != NULL && t->side->views != NULL)
		fd = t->side->views[level - 1].fd - 1;
	nur_unlock(&nur_tree_lock);
	return fd;
}

int
nursery_token_level_fd(struct nursery_token *t, enum nursery_level level,
    int *out_fd)
{
	struct nur_view *v;
	int fd, rc;

	if (t == NULL || out_fd == NULL || (int)level < NURSERY_DRAIN ||
	    (int)level > NURSERY_ABORT)
		return EINVAL;
	if (nur_inherited(t))
		return EOWNERDEAD;
	fd = look_up(t, (unsigned)level);
	if (fd >= 0) {
		*out_fd = fd;
		return 0;
	}
	rc = need_views(t);
	if (rc != 0)
		return rc;
	fd = nur_eventfd();
	if (fd < 0)
		return EMFILE;
	nur_lock(&nur_tree_lock);
	v = &t->side->views[level - 1];
	if (v->fd == 0) {
		install_locked(t, v, (unsigned)level, fd);
		fd = -1;
	}
	*out_fd = v->fd - 1;
	nur_unlock(&nur_tree_lock);
	if (fd >= 0)
		nur_close(fd);	/* another thread was first */
	return 0;
}

int
nursery_token_fd(struct nursery_token *t, int *out_fd)
{
	return nursery_token_level_fd(t, NURSERY_CANCEL, out_fd);
}

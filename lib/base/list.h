/* SPDX-License-Identifier: MIT */
/* Circular doubly linked list; the head is a link that holds no object. */
#ifndef NUR_BASE_LIST_H
#define NUR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct nur_link {
	struct nur_link *next, *prev;
};

#define NUR_CONTAINER(link, type, field) \
	((type *)(void *)((char *)(link) - offsetof(type, field)))
#define NUR_LIST_FOREACH(it, head) \
	for ((it) = (head)->next; (it) != (head); (it) = (it)->next)

static inline void
nur_list_init(struct nur_link *head)
{
	head->next = head->prev = head;
}

static inline bool
nur_list_empty(const struct nur_link *head)
{
	return head->next == head;
}

static inline void
nur_list_append(struct nur_link *head, struct nur_link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void
nur_list_prepend(struct nur_link *head, struct nur_link *l)
{
	nur_list_append(head->next, l);
}

static inline void
nur_list_remove(struct nur_link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->next = l->prev = l;
}

static inline struct nur_link *
nur_list_pop(struct nur_link *head)
{
	struct nur_link *l = head->next;

	if (l == head)
		return NULL;
	nur_list_remove(l);
	return l;
}

#endif

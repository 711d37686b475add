/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meta_spare.c: owns the inodes that the local disk has no room for, in memory.
 *
 * The kernel may hold an inode whether or not there is room to remember it, and
 * its number must lead to its handle as long as it does. So a put without room
 * goes here, and what is here counts, not the record on disk, which is then
 * older. When there is room again it goes back, the oldest first. Names are not
 * kept here: whose name cannot be stored is asked for anew.
 *
 * Past SPARE_SOFT the oldest that nobody needs (meta_set_keep()) go, here and on
 * disk; directories stay, others refer to them. Who looks an inode up and only
 * then tells the kernel of it is that much newer.
 *
 * Locks: all under the bracket.
 */
#include <search.h>
#include <string.h>

#include "meta_int.h"
#include "msg.h"

enum {
	SPARE_MAX = 1 << 20, /* some 300 MB */
	LOOKS = 8,	     /* for one that may go, at each put */
	RETURN_MAX = 64,     /* at the end of a bracket */
};

struct spare {
	TAILQ_ENTRY(spare) link; /* oldest first */
	struct meta_inode i;
};

static int compare_ino(const void *a, const void *b)
{
	const struct spare *x = a, *y = b;

	return x->i.ino < y->i.ino ? -1 : x->i.ino > y->i.ino;
}

static int compare_handle(const void *a, const void *b)
{
	const struct handle *x = &((const struct spare *)a)->i.handle;
	const struct handle *y = &((const struct spare *)b)->i.handle;

	return x->len != y->len ? (x->len < y->len ? -1 : 1) :
				  memcmp(x->data, y->data, x->len);
}

static struct spare *lookup(void *const *tree, const struct spare *key,
			    int (*compare)(const void *, const void *))
{
	struct spare **found = tfind(key, tree, compare);

	return found ? *found : NULL;
}

static struct spare *find_ino(const struct meta *m, uint64_t ino)
	REQUIRES(m->lock)
{
	const struct spare key = { .i.ino = ino };

	return m->spare_n ? lookup(&m->spare_by_ino, &key, compare_ino) : NULL;
}

static void insert(void **tree, struct spare *s,
		   int (*compare)(const void *, const void *))
{
	if (!tsearch(s, tree, compare))
		abort(); /* the kernel may hold it, and nobody else knows it */
}

static void unlink_handle(struct meta *m, struct spare *s) REQUIRES(m->lock)
{
	if (lookup(&m->spare_by_handle, s, compare_handle) == s)
		(void)tdelete(s, &m->spare_by_handle, compare_handle);
}

/* Of two with one handle the one put last has it. */
static void link_handle(struct meta *m, struct spare *s) REQUIRES(m->lock)
{
	struct spare *other = lookup(&m->spare_by_handle, s, compare_handle);

	if (s->i.handle.len == 0)
		return;
	if (other)
		unlink_handle(m, other);
	insert(&m->spare_by_handle, s, compare_handle);
}

void spare_drop(struct meta *m, uint64_t ino)
{
	struct spare *s = find_ino(m, ino);

	if (!s)
		return;
	unlink_handle(m, s);
	(void)tdelete(s, &m->spare_by_ino, compare_ino);
	TAILQ_REMOVE(&m->spares, s, link);
	m->spare_n--;
	free(s);
}

const struct meta_inode *spare_get(const struct meta *m, uint64_t ino)
{
	const struct spare *s = find_ino(m, ino);

	return s ? &s->i : NULL;
}

const struct meta_inode *spare_find(const struct meta *m,
				    const struct handle *h)
{
	const struct spare key = { .i.handle = *h }, *s;

	s = m->spare_n ? lookup(&m->spare_by_handle, &key, compare_handle) :
			 NULL;
	return s ? &s->i : NULL;
}

/* The oldest that nobody needs goes, if it is soon found. */
static void drop_one(struct meta *m) REQUIRES(m->lock)
{
	for (unsigned k = 0; k < LOOKS; k++) {
		struct spare *s = TAILQ_FIRST(&m->spares);

		if (!S_ISDIR(s->i.attr.mode) && m->keep &&
		    !m->keep(m->keep_arg, s->i.ino) &&
		    meta_inode_drop(m, s->i.ino) == 0)
			return;
		s = TAILQ_FIRST(&m->spares);
		TAILQ_REMOVE(&m->spares, s, link);
		TAILQ_INSERT_TAIL(&m->spares, s, link);
	}
}

int spare_put(struct meta *m, const struct meta_inode *in)
{
	struct spare *s = find_ino(m, in->ino);

	if (s) {
		unlink_handle(m, s);
		s->i = *in;
		link_handle(m, s);
		return 0;
	}
	/* Two, so that they get fewer when the kernel has let go of many. */
	for (unsigned k = 0; k < 2 && m->spare_n >= m->spare_soft; k++)
		drop_one(m);
	if (m->spare_n >= SPARE_MAX)
		return -ENOSPC;
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->i = *in;
	insert(&m->spare_by_ino, s, compare_ino);
	link_handle(m, s);
	TAILQ_INSERT_TAIL(&m->spares, s, link);
	if (m->spare_n++ == 0)
		msg_debug("meta", "no room on the local disk: inodes are kept "
				  "in memory");
	return 0;
}

void spare_return(struct meta *m, bool all)
{
	for (unsigned k = 0; (all || k < RETURN_MAX) && m->spare_n > 0; k++) {
		struct meta_inode i = TAILQ_FIRST(&m->spares)->i;

		if (!meta_has_room(m) || meta_put(m, &i) < 0 ||
		    spare_get(m, i.ino))
			break;
	}
}

void spare_free(struct meta *m)
{
	while (m->spare_n > 0)
		spare_drop(m, TAILQ_FIRST(&m->spares)->i.ino);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_readdir.c: reads a directory that vfs_dir.c has listed, or that is not on
 * the server yet: two sources, the cache and the overlay, become one stream in the
 * order of the names' offsets, which can be left and taken up anywhere. In place
 * of the cache, should it have no room, are the names as the server told them
 * just now (vfs_unlisted.c).
 */
#include "ahead.h"
#include "view.h"

#include <dirent.h>

/* The names of the cache and those of the overlay, each in the order of their
 * offsets, are read as one: the overlay's are fetched ahead, OURS_N at a time.
 */
enum { OURS_N = 32 };

struct read_state {
	struct vfs *v;
	uint64_t dir, since, dir_checked;
	bool plus;
	bool withhold; /* the attributes of what is no directory */
	vfs_emit_fn *emit;
	void *arg;
	struct wback_dirent ours[OURS_N];
	unsigned ours_n, ours_at;
};

static int emit_entry(struct read_state *s, uint64_t offset, const char *name,
		      uint64_t ino, uint8_t type)
{
	struct vfs_entry e = { 0 };
	struct meta_inode i;
	bool with_attr = false;

	e.ino = ino ? ino : UINT64_MAX; /* 0 would hide the entry */
	e.attr.mode = DTTOIF(type);
	if (s->plus && ino && view_get(s->v, ino, &i) == 0 &&
	    vfs_trusts(s->v, i.checked, s->since) &&
	    !(s->withhold && !S_ISDIR(i.attr.mode))) {
		vfs_answer(s->v, &i, s->dir_checked, &e);
		with_attr = true;
	}
	if (s->emit(s->arg, name, offset, &e, with_attr))
		return 1;
	if (with_attr)
		nodes_ref(s->v->nodes, e.ino);
	return 0;
}

static void fetch_ours(struct read_state *s, uint64_t after)
{
	s->ours_at = 0;
	s->ours_n = s->v->wback ? wback_names(s->v->wback, s->dir, after,
					      s->ours, OURS_N) :
				  0;
}

/* The overlay's next name; NULL: no more. */
static const struct wback_dirent *next_ours(struct read_state *s)
{
	if (s->ours_at == OURS_N)
		fetch_ours(s, s->ours[OURS_N - 1].offset);
	return s->ours_at < s->ours_n ? &s->ours[s->ours_at] : NULL;
}

/* Emit the overlay's names in front of @offset/@name (NULL: all). *@ret_same: it
 * has that very name. */
static int emit_ours(struct read_state *s, uint64_t offset, const char *name,
		     bool *ret_same)
{
	const struct wback_dirent *o;

	*ret_same = false;
	while (!*ret_same && (o = next_ours(s))) {
		int order = !name ? -1 :
			    o->offset != offset ?
				    (o->offset < offset ? -1 : 1) :
				    strcmp(o->name, name);

		if (order > 0)
			break;
		if (!o->absent && emit_entry(s, o->offset, o->name, o->ino,
					     o->type))
			return 1;
		*ret_same = order == 0;
		s->ours_at++;
	}
	return 0;
}

static int read_entry(void *arg, uint64_t offset, const char *name,
		      const struct meta_name *n)
{
	struct read_state *s = arg;
	bool same;

	if (emit_ours(s, offset, name, &same))
		return 1;
	if (n->absent || same)
		return 0;
	return emit_entry(s, offset, name, n->ino, n->type);
}

/* "." and "..", at offsets 1 and 2. 1: the buffer is full. */
static int read_dots(struct read_state *s, const struct meta_inode *d,
		     uint64_t after)
{
	struct vfs_entry e = { .ino = d->ino, .attr.mode = S_IFDIR };

	if (after < 1 && s->emit(s->arg, ".", 1, &e, false))
		return 1;
	e.ino = d->parent;
	return after < 2 && s->emit(s->arg, "..", 2, &e, false);
}

enum { ROUNDS_MAX = 4 };

/* Complete, or *@ret_unlisted has its names. */
static int get_names(struct read_state *s, const struct caller *c,
		     struct meta_inode *d, struct unlisted **ret_unlisted)
{
	int r = 0;

	for (unsigned round = 0;
	     !(d->flags & META_COMPLETE) && r == 0 && round < ROUNDS_MAX;
	     round++) {
		r = vfs_list(s->v, c, d, s->since, true);
		if (r == 0)
			r = vfs_inode(s->v, c, s->dir, s->since, d);
	}
	if (r == -ENOSPC || (r == 0 && !(d->flags & META_COMPLETE)))
		r = vfs_unlisted_read(s->v, c, s->dir, ret_unlisted);
	return r;
}

/* In a bracket. */
static int read_names(struct read_state *s, const struct meta_inode *d,
		      const struct unlisted *u, uint64_t after)
{
	bool same;
	int r;

	s->dir_checked = d->checked;
	r = read_dots(s, d, after);
	after = after < META_OFFSET_MIN ? 0 : after;
	fetch_ours(s, after);
	if (r == 0 && u)
		r = vfs_unlisted_names(u, after, read_entry, s);
	else if (r == 0 && d->handle.len)
		r = meta_names(s->v->meta, s->dir, after, read_entry, s);
	if (r == 0)
		r = emit_ours(s, 0, NULL, &same);
	return r < 0 ? r : 0;
}

int vfs_readdir(struct vfs *v, const struct caller *c, uint64_t dir,
		uint64_t after, bool plus, vfs_emit_fn *emit, void *arg)
{
	struct read_state s = { .v = v, .dir = dir,
				.since = meta_now(v->meta), .plus = plus,
				.emit = emit, .arg = arg };
	int r = -EAGAIN;

	/* One that we change all the time is read as it is in the end. */
	for (unsigned round = 0; r == -EAGAIN && round < ROUNDS_MAX; round++) {
		struct unlisted *u = NULL;
		struct meta_inode d;

		r = vfs_inode(v, c, dir, s.since, &d);
		/* A removed directory has no names, not even the two. */
		if (r < 0 || d.flags & META_REMOVED)
			return r;
		r = get_names(&s, c, &d, &u);
		if (r < 0)
			return r;
		if (after == 0)
			ahead_used(v, &d, USE_READ);
		s.withhold = plus && ahead_withholds(v, dir, after);
		meta_begin(v->meta);
		/* It may have come to be on the server since. */
		r = view_get(v, dir, &d);
		if (r == -ENOENT)
			r = -ESTALE;
		else if (r == 0 && round + 1 < ROUNDS_MAX &&
			 (u ? vfs_unlisted_is_stale(v, u) :
			      !(d.flags & META_COMPLETE)))
			r = -EAGAIN;
		else if (r == 0)
			r = read_names(&s, &d, u, after);
		meta_end(v->meta);
		vfs_unlisted_free(u);
	}
	return r;
}

static int stop_at_name(void *arg, const char *name, uint64_t offset,
			const struct vfs_entry *entry, bool with_attr)
{
	bool *empty = arg;

	(void)offset;
	(void)entry;
	(void)with_attr;
	*empty = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
	return !*empty;
}

int vfs_dir_is_empty(struct vfs *v, const struct caller *c, uint64_t dir)
{
	bool empty = true;
	int r = vfs_readdir(v, c, dir, 0, false, stop_at_name, &empty);

	return r < 0 ? r : empty;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fetch_ahead.c: which contents are asked for before somebody wants them.
 *
 * A large file that is read from one end to the other: a window ahead of the
 * reader, which doubles with each read that goes on where the last one ended, so
 * that in the end the link is full whatever the round-trip time; it starts over
 * when the reader jumps.
 *
 * Small files of one directory, opened one after another: at the second that has
 * to be asked for, the next ones in the directory's order are asked for, too;
 * their number doubles as they get used, and when one is wanted that was not
 * among them (headers are read in an order of their own). Where whole directories
 * were read that way, the next directory starts at its first file; and where that
 * goes on, the directories that come next in the tree start before their first
 * file is wanted. What is asked for and not used halves that.
 *
 * All of it is bounded by what is in memory and by calls under way, stays out
 * of the way of what is waited for, and is counted: asked for, used, wasted.
 */
#include "fetch_int.h"

#include <dirent.h>

enum {
	STRETCH_MIN = 1024 * 1024,
	STRETCH_MAX = 32 * 1024 * 1024,
	/* The kernel's own reads ahead overtake each other by that much. */
	SLACK = 2 * 1024 * 1024,

	BURST_MIN = 8,
	BURST_MAX = 128,
	NAMES_MAX = 2048, /* looked at for one burst */

	NEXT_MAX = 4, /* directories that start before they are wanted */
	UP_MAX = 4,   /* of these, or their ancestors, the next ones */
};

/* ---- large files ---- */

/* Under the lock: where the window reaches now; *@ret_from what of it is not
 * asked for yet. */
static uint64_t advance(struct file *file, uint64_t offset, uint64_t end,
			uint64_t *ret_from)
{
	bool goes_on = file->next > 0 && offset > 0 &&
		       offset <= file->next + SLACK &&
		       offset + SLACK >= file->next;
	uint64_t to;

	if (goes_on) {
		file->window = MIN(MAX(2 * file->window,
				       (uint64_t)STRETCH_MIN),
				   (uint64_t)STRETCH_MAX);
		file->next = MAX(file->next, end);
	} else {
		file->window = file->asked_to = 0;
		file->next = end;
	}
	*ret_from = MAX(file->asked_to,
			(file->next + BLOB_CHUNK_BYTES - 1) /
				BLOB_CHUNK_BYTES * BLOB_CHUNK_BYTES);
	to = MIN(file->s.v.size, file->next + file->window);
	file->asked_to = MAX(*ret_from, to);
	return to;
}

void ahead_stretch(struct fetch *f, const struct source *s, uint64_t offset,
		   uint64_t end)
{
	uint64_t most = f->v->fsinfo.read_max, from = 0, to = 0;
	struct file *file;
	int r = 0;

	mutex_lock(&f->lock);
	file = span_find_file(f, s->ino);
	if (file)
		to = advance(file, offset, end, &from);
	mutex_unlock(&f->lock);
	for (; from < to && r == 0; from += most) {
		uint64_t n = MIN(most, s->v.size - from);

		if (!f->blob || !blob_has(f->blob, s->ino, &s->v, from, n))
			r = fetch_ask(f, s, from, (uint32_t)n, true);
	}
	if (from == 0)
		return;
	mutex_lock(&f->lock);
	file = span_find_file(f, s->ino);
	if (file && r == -EAGAIN) /* no room: from there on next time */
		file->asked_to = MIN(file->asked_to, from - most);
	else if (file)
		file->asked_to = MAX(file->asked_to, from);
	mutex_unlock(&f->lock);
}

/* ---- small files ---- */

static struct reading *find_reading(struct fetch *f, uint64_t dir)
	REQUIRES(f->lock)
{
	for (unsigned k = 0; k < FETCH_DIRS_MAX; k++)
		if (f->dirs[k].dir == dir)
			return &f->dirs[k];
	return NULL;
}

static unsigned doubled(unsigned window, unsigned most)
{
	return MIN(MAX(2 * window, (unsigned)BURST_MIN), most);
}

/* What came of a directory tells how the next one starts. */
static void judge(struct fetch *f, struct reading *r) REQUIRES(f->lock)
{
	if (r->asked == 0 || r->judged)
		return;
	r->judged = true;
	if (r->unused > r->asked / 2)
		f->window /= 2;
	else if (r->done)
		f->window = doubled(f->window, BURST_MAX / 2);
}

static struct reading *oldest_reading(struct fetch *f) REQUIRES(f->lock)
{
	struct reading *oldest = &f->dirs[0];

	for (unsigned k = 1; k < FETCH_DIRS_MAX; k++)
		if (f->dirs[k].used_ms < oldest->used_ms)
			oldest = &f->dirs[k];
	return oldest;
}

/* A file of the directory is read. True: the first one of it. */
static bool turn(struct fetch *f, const struct source *s, bool missed)
	REQUIRES(f->lock)
{
	struct reading *r = find_reading(f, s->dir);
	bool first;

	if (!r || (missed && r->done && !r->busy)) {
		r = r ? r : oldest_reading(f);
		judge(f, r);
		*r = (struct reading){ .dir = s->dir, .first = s->ino,
				       .window = f->window };
	} else if (missed && r->entered) {
		/* In another order than ours: more of them will meet it. */
		r->window = doubled(r->window, BURST_MAX);
	} else if (!missed) {
		r->unused -= r->unused > 0;
		if (r->unused <= r->window / 2)
			r->window = doubled(r->window, BURST_MAX);
		if (r->done && r->unused <= r->asked / 2)
			judge(f, r);
	}
	first = !r->entered;
	r->entered = true;
	r->used_ms = clock_ms();
	return first;
}

struct gather {
	struct vfs *v;
	uint64_t not[2]; /* these are asked for already */
	uint64_t cursor;
	unsigned seen, n, want;
	struct source list[BURST_MAX];
	uint64_t before[BURST_MAX]; /* cursors in front of them */
};

static int gather_fn(void *arg, uint64_t offset, const char *name,
		     const struct meta_name *n)
{
	struct gather *g = arg;
	struct meta_inode i;
	struct source *s = &g->list[g->n];

	(void)name;
	if (g->n == g->want || g->seen++ == NAMES_MAX)
		return 1;
	g->before[g->n] = g->cursor;
	g->cursor = offset;
	if (n->absent || n->type != DT_REG || n->ino == 0 ||
	    n->ino == g->not[0] || n->ino == g->not[1] || view_is_pending(g->v, n->ino) ||
	    meta_get(g->v->meta, n->ino, &i) < 0)
		return 0;
	if (fetch_source(g->v, &i, s) && s->v.size > 0 &&
	    s->v.size <= BLOB_CHUNK_BYTES)
		g->n++;
	return 0;
}

/* False: not all of them; the cursor is at the first that was not. */
static bool ask_all(struct fetch *f, struct gather *g, unsigned *ret_asked)
{
	*ret_asked = 0;
	for (unsigned k = 0; k < g->n; k++) {
		const struct source *s = &g->list[k];

		if (f->blob && blob_has(f->blob, s->ino, &s->v, 0, s->v.size))
			continue;
		if (fetch_ask(f, s, 0, (uint32_t)s->v.size, true) < 0) {
			g->cursor = g->before[k];
			return false;
		}
		++*ret_asked;
	}
	return true;
}

/* What of the directory is to be asked for now. NULL: nothing. Else it is the
 * caller's to move on. */
static struct gather *begin_burst(struct fetch *f, uint64_t dir)
{
	struct gather *g = NULL;
	struct reading *r;

	mutex_lock(&f->lock);
	r = find_reading(f, dir);
	/* In bursts: one file at a time would cost as much each. */
	if (r && !r->busy && !r->done && r->window > 0 &&
	    r->unused <= r->window / 2)
		g = calloc(1, sizeof(*g));
	if (g) {
		g->v = f->v;
		g->not[1] = r->first;
		g->cursor = r->cursor;
		g->want = r->window - r->unused;
		r->busy = true;
	}
	mutex_unlock(&f->lock);
	return g;
}

/* @ino, if not 0, is asked for already. */
static void burst(struct fetch *f, uint64_t dir, uint64_t ino)
{
	struct gather *g = begin_burst(f, dir);
	struct reading *r;
	unsigned asked;
	bool end;

	if (!g)
		return;
	g->not[0] = ino;
	meta_begin(f->v->meta);
	end = meta_names(f->v->meta, dir, g->cursor, gather_fn, g) != 1;
	meta_end(f->v->meta);
	end &= ask_all(f, g, &asked);
	mutex_lock(&f->lock);
	r = find_reading(f, dir);
	if (r) {
		r->busy = false;
		r->cursor = g->cursor;
		r->done = end;
		r->asked += asked;
		r->unused += asked;
	}
	mutex_unlock(&f->lock);
	free(g);
}

/* ---- the next directories ---- */

struct next {
	struct vfs *v;
	uint64_t after; /* 0, or behind this one */
	unsigned seen, n;
	uint64_t dirs[NEXT_MAX];
};

static int next_fn(void *arg, uint64_t offset, const char *name,
		   const struct meta_name *n)
{
	struct next *x = arg;
	struct meta_inode i;

	(void)offset;
	(void)name;
	if (x->n == NEXT_MAX || x->seen++ == NAMES_MAX)
		return 1;
	if (n->absent || n->type != DT_DIR || n->ino == 0)
		return 0;
	if (x->after) {
		if (n->ino == x->after)
			x->after = 0;
	} else if (meta_get(x->v->meta, n->ino, &i) == 0 &&
		   i.flags & META_COMPLETE) {
		x->dirs[x->n++] = n->ino;
	}
	return 0;
}

/* Those that a walk comes to after @dir: in it, then beside it, then beside what
 * it is in. */
static void find_next(struct vfs *v, uint64_t dir, struct next *x)
{
	struct meta_inode i;

	*x = (struct next){ .v = v };
	meta_begin(v->meta);
	(void)meta_names(v->meta, dir, 0, next_fn, x);
	for (unsigned up = 0; up < UP_MAX && x->n < NEXT_MAX &&
			      dir != META_ROOT &&
			      meta_get(v->meta, dir, &i) == 0;
	     up++) {
		x->after = dir;
		x->seen = 0;
		(void)meta_names(v->meta, i.parent, 0, next_fn, x);
		dir = i.parent;
	}
	meta_end(v->meta);
}

static void start_next(struct fetch *f, uint64_t dir)
{
	struct next x;

	find_next(f->v, dir, &x);
	for (unsigned k = 0; k < x.n; k++) {
		struct reading *r;

		mutex_lock(&f->lock);
		r = find_reading(f, x.dirs[k]);
		if (!r && f->window > 0) {
			r = oldest_reading(f);
			judge(f, r);
			*r = (struct reading){ .dir = x.dirs[k],
					       .window = f->window,
					       .used_ms = clock_ms() };
		}
		mutex_unlock(&f->lock);
		burst(f, x.dirs[k], 0);
	}
}

void ahead_file(struct fetch *f, const struct source *s, bool missed)
{
	bool first, streak;

	mutex_lock(&f->lock);
	first = turn(f, s, missed);
	streak = f->window >= BURST_MAX / 4;
	mutex_unlock(&f->lock);
	burst(f, s->dir, s->ino);
	if (first && streak)
		start_next(f, s->dir);
}

void ahead_wasted(struct fetch *f, const struct span *span)
{
	struct reading *r = find_reading(f, span->file->s.dir);

	stats_add(&f->v->stats->data_ahead_wasted, 1);
	if (r && span->file->s.v.size <= BLOB_CHUNK_BYTES)
		r->unused -= r->unused > 0;
}

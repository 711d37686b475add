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
 * their number doubles as they get used. Where whole directories were read
 * that way, the next directory starts at its first file. What is asked for and
 * not used halves that.
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

/* What came of a directory tells how the next one starts. */
static void judge(struct fetch *f, const struct reading *r) REQUIRES(f->lock)
{
	if (r->asked == 0)
		return;
	if (r->unused > r->asked / 2)
		f->window /= 2;
	else if (r->done)
		f->window = MIN(MAX(2 * f->window, (unsigned)BURST_MIN),
				(unsigned)BURST_MAX / 2);
}

static struct reading *oldest_reading(struct fetch *f) REQUIRES(f->lock)
{
	struct reading *oldest = &f->dirs[0];

	for (unsigned k = 1; k < FETCH_DIRS_MAX; k++)
		if (f->dirs[k].used_ms < oldest->used_ms)
			oldest = &f->dirs[k];
	return oldest;
}

/* A file of the directory is read: how many more are to be asked for. */
static unsigned turn(struct fetch *f, const struct source *s, bool missed,
		     struct reading **ret) REQUIRES(f->lock)
{
	struct reading *r = find_reading(f, s->dir);

	if (!r || (missed && r->done && !r->busy)) {
		r = r ? r : oldest_reading(f);
		judge(f, r);
		*r = (struct reading){ .dir = s->dir, .first = s->ino,
				       .window = f->window };
	} else if (missed) {
		r->window = MAX(r->window, (unsigned)BURST_MIN);
	} else {
		r->unused -= r->unused > 0;
		if (r->unused <= r->window / 2)
			r->window = MIN(MAX(2 * r->window, (unsigned)BURST_MIN),
					(unsigned)BURST_MAX);
	}
	*ret = r;
	r->used_ms = clock_ms();
	/* In bursts: one file at a time would cost as much each. */
	if (r->busy || r->done || r->unused > r->window / 2)
		return 0;
	return r->window - r->unused;
}

struct gather {
	struct vfs *v;
	uint64_t not[2]; /* these are asked for already */
	uint64_t cursor;
	unsigned seen, n, want;
	struct source list[BURST_MAX];
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

static unsigned ask_all(struct fetch *f, const struct gather *g)
{
	unsigned asked = 0;

	for (unsigned k = 0; k < g->n; k++) {
		const struct source *s = &g->list[k];

		if (f->blob && blob_has(f->blob, s->ino, &s->v, 0, s->v.size))
			continue;
		if (fetch_ask(f, s, 0, (uint32_t)s->v.size, true) < 0)
			break;
		asked++;
	}
	return asked;
}

void ahead_file(struct fetch *f, const struct source *s, bool missed)
{
	struct gather *g = NULL;
	struct reading *r;
	unsigned want;
	bool end = true;

	mutex_lock(&f->lock);
	want = turn(f, s, missed, &r);
	if (want > 0)
		g = calloc(1, sizeof(*g));
	if (g) {
		g->v = f->v;
		g->not[0] = s->ino;
		g->not[1] = r->first;
		g->cursor = r->cursor;
		g->want = want;
		r->busy = true;
	}
	mutex_unlock(&f->lock);
	if (!g)
		return;
	meta_begin(f->v->meta);
	end = meta_names(f->v->meta, s->dir, g->cursor, gather_fn, g) != 1;
	meta_end(f->v->meta);
	want = ask_all(f, g);
	mutex_lock(&f->lock);
	r = find_reading(f, s->dir);
	if (r) {
		r->busy = false;
		r->cursor = g->cursor;
		r->done = end;
		r->asked += want;
		r->unused += want;
	}
	mutex_unlock(&f->lock);
	free(g);
}

void ahead_wasted(struct fetch *f, const struct span *span)
{
	struct reading *r = find_reading(f, span->file->s.dir);

	stats_add(&f->v->stats->data_ahead_wasted, 1);
	if (r && span->file->s.v.size <= BLOB_CHUNK_BYTES)
		r->unused -= r->unused > 0;
}

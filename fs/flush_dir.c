/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush_dir.c: has somebody else changed a directory in which we make many
 * changes side by side?
 *
 * The server tells with each change the directory's version before it and after
 * it. Alone, a change proves that nobody else made one if the version before it
 * is the one known. Of many at once the replies come in any order; but if only
 * we made changes, each starts from a version that another one led to, and so
 * all of them hang together with the version known at first. A burst is the time
 * in which changes of ours are under way in one directory; `seen` are the
 * versions that hang together, `loose` the changes that do not, yet. What is
 * loose at the end may come of a change of somebody else's (or of a server that
 * tells versions which changes of ours side by side have blurred): the
 * directory is listed again when the trust from before the burst ends.
 *
 * Subdirectories are counted as the replies to what made and removed them are
 * recorded, since any reply may count what else is on its way, or not. When
 * nothing of the directory is pending any more, the newest reply has them all.
 *
 * In the flusher's thread, recording inside a bracket; no lock of its own.
 */
#include "flush_int.h"

enum { SEEN_MAX = 1024 };

struct version {
	struct timespec mtime, ctime;
};

struct change_of {
	struct version from, to;
};

struct burst {
	struct burst *next;
	uint64_t dir;
	unsigned under_way;
	uint64_t checked; /* the directory's, before it */
	bool is_believed; /* by that */
	/* Of the newest reply: it counts what all the others did. */
	struct timespec newest;
	uint32_t nlink;
	struct version *seen;
	unsigned seen_n;
	struct change_of *loose;
	unsigned loose_n;
};

static bool same(const struct version *a, const struct version *b)
{
	return timespec_equal(&a->mtime, &b->mtime) &&
	       timespec_equal(&a->ctime, &b->ctime);
}

static bool is_seen(const struct burst *b, const struct version *v)
{
	for (unsigned k = b->seen_n; k-- > 0;)
		if (same(&b->seen[k], v))
			return true;
	return false;
}

static void *grown(void *list, unsigned n, size_t size)
{
	if (n & (n - 1)) /* it grows at every power of two */
		return list;
	list = reallocarray(list, n ? 2 * (size_t)n : 1, size);
	if (!list)
		abort();
	return list;
}

static void see(struct burst *b, const struct version *v)
{
	if (is_seen(b, v))
		return;
	if (b->seen_n == SEEN_MAX) { /* the oldest are not asked for again */
		memmove(b->seen, b->seen + SEEN_MAX / 2,
			SEEN_MAX / 2 * sizeof(*b->seen));
		b->seen_n = SEEN_MAX / 2;
	} else {
		b->seen = grown(b->seen, b->seen_n, sizeof(*b->seen));
	}
	b->seen[b->seen_n++] = *v;
}

static void hang_together(struct burst *b)
{
	for (unsigned k = 0; k < b->loose_n;) {
		if (!is_seen(b, &b->loose[k].from)) {
			k++;
			continue;
		}
		see(b, &b->loose[k].to);
		b->loose[k] = b->loose[--b->loose_n];
		k = 0;
	}
}

static struct burst **find(struct flush *f, uint64_t dir)
{
	struct burst **p = &f->bursts;

	while (*p && (*p)->dir != dir)
		p = &(*p)->next;
	return p;
}

bool burst_is_ours(struct flush *f, uint64_t dir)
{
	const struct burst *b = *find(f, dir);

	return !b || b->loose_n == 0;
}

void burst_begin(struct flush *f, uint64_t dir)
{
	struct burst *b = *find(f, dir);
	struct meta_inode d;

	if (!b) {
		b = calloc(1, sizeof(*b));
		if (!b)
			abort();
		b->dir = dir;
		b->next = f->bursts;
		f->bursts = b;
		meta_begin(f->v->meta);
		if (meta_get(f->v->meta, dir, &d) == 0) {
			b->checked = d.checked;
			b->is_believed = vfs_trusts(f->v, d.checked, 0);
			see(b, &(struct version){ d.server_mtime,
						  d.server_ctime });
		}
		meta_end(f->v->meta);
	}
	b->under_way++;
}

static void burst_free(struct flush *f, struct burst *b)
{
	*find(f, b->dir) = b->next;
	free(b->seen);
	free(b->loose);
	free(b);
}

void burst_cancel(struct flush *f, uint64_t dir)
{
	struct burst *b = *find(f, dir);

	if (b && --b->under_way == 0)
		burst_free(f, b);
}

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec :
					a->tv_nsec < b->tv_nsec;
}

/* Are the names that the cache has of the directory those of a version that hangs
 * together with the newest one? If nobody had asked about it in this session,
 * after a crash say, the cache may be older than what we sent ourselves: it is
 * not to be believed by a reply to a change alone. */
static bool is_proven(const struct burst *b)
{
	return !b || b->is_believed || b->loose_n == 0;
}

int burst_end(struct flush *f, uint64_t dir, bool has_attr,
	      const struct attr *post, const struct remote_pre *pre,
	      const struct moment *when, int links, struct meta_inode *ret)
{
	struct burst *b = *find(f, dir);
	struct meta_inode d;
	int r = meta_get(f->v->meta, dir, &d);
	bool last, newer = r == 0 && has_attr &&
			    !is_before(&post->ctime, &d.server_ctime);

	if (has_attr && pre->valid && b) {
		b->loose = grown(b->loose, b->loose_n, sizeof(*b->loose));
		b->loose[b->loose_n++] = (struct change_of){
			{ pre->mtime, pre->ctime }, { post->mtime, post->ctime }
		};
		hang_together(b);
	} else if (has_attr && b) {
		see(b, &(struct version){ post->mtime, post->ctime });
		hang_together(b);
	}
	if (has_attr && b && !is_before(&post->ctime, &b->newest)) {
		b->newest = post->ctime;
		b->nlink = post->nlink;
	}
	last = !b || --b->under_way == 0;
	if (r == 0) {
		if (!has_attr) {
			d.checked = 0; /* not told: ask before it is used */
		} else if (newer && is_proven(b)) {
			uint32_t nlink = d.attr.nlink;

			d.attr = *post;
			d.attr.nlink = nlink;
			d.server_mtime = post->mtime;
			d.server_ctime = post->ctime;
			d.checked = when->stamp;
			d.flags &= ~(unsigned)META_CTIME_OURS;
		}
		if (has_attr && !pre->valid)
			d.flags |= META_RELIST;
		if (last && b && b->loose_n > 0) {
			d.flags |= META_RELIST;
			d.checked = b->checked;
		}
		d.attr.nlink = (uint32_t)((int)d.attr.nlink + links);
		r = meta_put(f->v->meta, &d);
		*ret = d;
	}
	return r;
}

void burst_settle(struct flush *f, uint64_t dir)
{
	struct burst *b = *find(f, dir);
	struct meta_inode d;

	if (!b || b->under_way > 0)
		return;
	if (b->nlink && !view_is_pending(f->v, dir) &&
	    meta_get(f->v->meta, dir, &d) == 0 && d.attr.nlink != b->nlink &&
	    !is_before(&b->newest, &d.server_ctime)) {
		d.attr.nlink = b->nlink;
		(void)meta_put(f->v->meta, &d);
	}
	burst_free(f, b);
}

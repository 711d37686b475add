/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_fill.c: what a reply says becomes what the cache knows, unless that is
 * newer. What the kernel has in its page cache of a file found changed by somebody
 * else is dropped. All in a bracket.
 */
#include "view.h"

static int timespec_cmp(const struct timespec *a, const struct timespec *b)
{
	if (a->tv_sec != b->tv_sec)
		return a->tv_sec < b->tv_sec ? -1 : 1;
	return a->tv_nsec < b->tv_nsec ? -1 : a->tv_nsec > b->tv_nsec;
}

/* Has somebody else changed what @i describes? */
static bool changed_behind(const struct meta_inode *i, const struct attr *a)
{
	bool mtime = !timespec_equal(&i->server_mtime, &a->mtime);
	bool ctime = !timespec_equal(&i->server_ctime, &a->ctime);

	if (S_ISDIR(a->mode))
		return mtime || i->flags & META_RELIST ||
		       (ctime && !(i->flags & META_CTIME_OURS));
	if (S_ISREG(a->mode))
		return (mtime || i->attr.size != a->size) &&
		       !(i->flags & META_CTIME_OURS);
	return false;
}

/* By a clock of ours that nobody sets: only differences count. */
static int64_t lead_of(const struct timespec *ctime)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	/* Centuries off, it would not fit; then nothing is learnt. */
	if (ctime->tv_sec < 0 || ctime->tv_sec > 8000000000)
		return INT64_MAX;
	return ((int64_t)now.tv_sec - ctime->tv_sec) * 1000000000 +
	       now.tv_nsec - ctime->tv_nsec;
}

/* The server's clock had reached @ctime when it told us. */
static void note_clock(struct vfs *v, const struct timespec *ctime)
{
	int64_t lead = lead_of(ctime);
	int64_t least = __atomic_load_n(&v->clock_lead_ns, __ATOMIC_RELAXED);

	while (lead < least &&
	       !__atomic_compare_exchange_n(&v->clock_lead_ns, &least, lead,
					    false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
}

bool vfs_is_settled(struct vfs *v, const struct timespec *ctime)
{
	/* The coarsest clocks of filesystems in use tick once a second, FAT's
	 * every other. */
	const int64_t tick_ns = 2500000000;
	int64_t least = __atomic_load_n(&v->clock_lead_ns, __ATOMIC_RELAXED);
	int64_t lead = lead_of(ctime);

	return lead != INT64_MAX && least != INT64_MAX &&
	       lead - least > tick_ns;
}

/* A change of ours of mode, owner or names moves the ctime, too, and leaves the
 * contents. (One of the contents moves the mtime.) */
static bool may_be_of_contents(const struct meta_inode *i, const struct attr *a,
			       bool ours)
{
	if (!timespec_equal(&i->server_mtime, &a->mtime) ||
	    i->attr.size != a->size)
		return true;
	return !timespec_equal(&i->server_ctime, &a->ctime) && !ours &&
	       !(i->flags & META_CTIME_OURS);
}

void vfs_merge(struct vfs *v, struct meta_inode *i, const struct attr *a,
	       const struct moment *when, bool ours)
{
	struct timespec mtime;
	struct attr seen = i->attr;
	bool same;

	note_clock(v, &a->ctime);
	if (!ours && vfs_is_newer(v, i->ino, when->sent))
		return;
	/* Replies to our own changes of one file may come in any order. */
	if (ours && timespec_cmp(&a->ctime, &i->server_ctime) < 0)
		return;
	if (!ours && changed_behind(i, a)) {
		msg_debug("trust",
			  "inode %llu changed on the server: mtime %lld.%09ld to "
			  "%lld.%09ld, ctime %lld.%09ld to %lld.%09ld",
			  (unsigned long long)i->ino,
			  (long long)i->server_mtime.tv_sec,
			  i->server_mtime.tv_nsec, (long long)a->mtime.tv_sec,
			  a->mtime.tv_nsec, (long long)i->server_ctime.tv_sec,
			  i->server_ctime.tv_nsec, (long long)a->ctime.tv_sec,
			  a->ctime.tv_nsec);
		if (S_ISDIR(a->mode)) {
			i->epoch++;
			i->flags &= ~(unsigned)(META_COMPLETE | META_RELIST);
		} else if (!view_is_pending(v, i->ino)) {
			/* Else our contents win over its (conflict.c). */
			vfs_stale(v, i->ino);
		}
		stats_add(&v->stats->changed_behind, 1);
	}
	same = i->checked && timespec_equal(&i->server_mtime, &a->mtime) &&
	       timespec_equal(&i->server_ctime, &a->ctime);
	if (may_be_of_contents(i, a, ours))
		i->data_ctime = a->ctime;
	i->server_mtime = a->mtime;
	i->server_ctime = a->ctime;
	i->attr = *a;
	if (same) { /* times that only we know (view_settled()) */
		i->attr.mtime = seen.mtime;
		i->attr.ctime = seen.ctime;
	}
	i->flags &= ~(unsigned)META_CTIME_OURS;
	i->checked = when->stamp;
	/* A link that is on its way may count on the server by now: it is
	 * counted here when its reply is recorded. The reply to a change of a
	 * directory itself says nothing of those in it. */
	if ((!ours || S_ISDIR(a->mode)) && i->attr.nlink != seen.nlink &&
	    view_is_pending(v, i->ino))
		i->attr.nlink = seen.nlink;
	if (v->times && times_pending(v->times, i->ino, &mtime))
		i->attr.mtime = mtime;
	if (i->flags & META_REMOVED)
		i->attr.nlink = 0; /* its name is in the holding directory */
}

int vfs_record_attr(struct vfs *v, uint64_t ino, const struct attr *a,
		    const struct moment *when)
{
	struct meta_inode i;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, ino, &i);
	if (r == 0) {
		vfs_merge(v, &i, a, when, false);
		r = meta_put(v->meta, &i);
	}
	meta_end(v->meta);
	return r == -ENOENT ? -ESTALE : r;
}

int vfs_adopt(struct vfs *v, uint64_t parent, const struct handle *fh,
	      const struct attr *a, const struct moment *when, bool ours,
	      struct meta_inode *ret)
{
	struct meta_inode i;
	int r = meta_find(v->meta, fh, a, &i);

	note_clock(v, &a->ctime);
	/* A file never changes its type: same handle, another type is the
	 * server's error, taken for another file. */
	if (r == 0 && (i.attr.mode & S_IFMT) != (a->mode & S_IFMT)) {
		(void)meta_forget(v->meta, i.ino);
		r = -ENOENT;
	}
	/* Known under another handle, and removed here: its number on the
	 * server was given to another one since. */
	if (r == 0 && !handle_equal(&i.handle, fh) &&
	    view_is_pending(v, i.ino))
		r = -ENOENT;
	if (r == 0) {
		i.handle = *fh;
		vfs_merge(v, &i, a, when, ours);
	} else if (r == -ENOENT) {
		i = (struct meta_inode){
			.ino = meta_new_ino(v->meta),
			.checked = when->stamp,
			.attr = *a,
			.server_mtime = a->mtime,
			.server_ctime = a->ctime,
			.data_ctime = a->ctime,
			.handle = *fh,
		};
	} else {
		return r;
	}
	if (i.ino != META_ROOT)
		i.parent = parent;
	r = meta_put(v->meta, &i);
	if (r == 0)
		*ret = i;
	return r;
}

int vfs_merge_dir(struct vfs *v, uint64_t dir, bool has_attr,
		  const struct attr *post, const struct remote_pre *pre,
		  const struct moment *when, struct meta_inode *ret)
{
	struct meta_inode d;
	int r = meta_get(v->meta, dir, &d);
	bool only_us;

	if (r < 0)
		return r;
	if (!has_attr) {
		/* Not told: ask before it is used again. */
		d.checked = 0;
		goto put;
	}
	only_us = (timespec_equal(&pre->mtime, &d.server_mtime) &&
		   (timespec_equal(&pre->ctime, &d.server_ctime) ||
		    d.flags & META_CTIME_OURS)) ||
		  (timespec_equal(&post->mtime, &d.server_mtime) &&
		   timespec_equal(&post->ctime, &d.server_ctime));
	if (!pre->valid) {
		/* A change of somebody else's just before ours would be hidden
		 * for ever: list again when the present trust ends. */
		d.flags |= META_RELIST;
	} else {
		d.checked = when->stamp;
		if (!only_us) {
			d.epoch++;
			d.flags &= ~(unsigned)META_COMPLETE;
			stats_add(&v->stats->changed_behind, 1);
		}
	}
	d.attr = *post;
	d.server_mtime = post->mtime;
	d.server_ctime = post->ctime;
	d.flags &= ~(unsigned)META_CTIME_OURS;
put:
	r = meta_put(v->meta, &d);
	if (r == 0)
		*ret = d;
	return r;
}

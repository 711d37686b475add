/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush_record.c: what the server said becomes what the cache knows, and in the
 * same bracket the log lets go of it: a reader sees the one or the other.
 */
#include "fetch.h"
#include "flush_int.h"

/* @links: as for burst_end(). */
static int record_dir(struct sending *s, int links)
{
	const struct remote_call *call = s->main;
	struct meta_inode ignored;

	return burst_end(s->f, s->job->dir.ino, call->has_dir_attr,
			 &call->dir_attr, &call->pre, &s->when, links,
			 &ignored);
}

/* 1 for a directory. */
static int is_dir(const struct wback_ref *ref)
{
	return ref->ino && S_ISDIR(ref->mode);
}

static void record_make(struct sending *s)
{
	struct vfs *v = s->f->v;
	const struct wback_job *job = s->job;
	struct meta_inode d, i = {
		.ino = job->obj.ino,
		.parent = job->dir.ino,
		.checked = s->when.stamp,
		.attr = s->attr,
		.server_mtime = s->attr.mtime,
		.server_ctime = s->attr.ctime,
		.data_ctime = s->attr.ctime,
		.handle = s->fh,
	};

	/* A directory that was made just now is empty, and we know it. */
	if (S_ISDIR(job->attr.mode) && !job->again && !s->main->status)
		i.flags |= META_COMPLETE;
	(void)record_dir(s, is_dir(&job->obj));
	view_claim(v, i.ino, &i.handle);
	if (meta_put(v->meta, &i) < 0)
		return;
	if (job->target && s->has_attr)
		(void)meta_target_put(v->meta, &i, job->target);
	if (meta_get(v->meta, job->dir.ino, &d) == 0)
		(void)vfs_name_set(v, &d, job->name, &i);
}

/* In a bracket: what was said of the object. */
static void record_object(struct sending *s, struct meta_inode *i)
{
	if (s->has_attr) {
		vfs_merge(s->f->v, i, &s->attr, &s->when, true);
	} else {
		/* No version to compare with, view_ref(): ours is another. */
		i->server_mtime = i->server_ctime = (struct timespec){ 0 };
		i->flags |= META_CTIME_OURS;
		i->checked = 0;
	}
}

static void record_link(struct sending *s)
{
	struct vfs *v = s->f->v;
	const struct wback_job *job = s->job;
	struct meta_inode d, i;

	(void)record_dir(s, 0);
	if (meta_get(v->meta, job->obj.ino, &i) < 0)
		return;
	if (!s->has_attr)
		i.attr.nlink++;
	record_object(s, &i);
	if (meta_put(v->meta, &i) == 0 && meta_get(v->meta, job->dir.ino, &d) == 0)
		(void)vfs_name_set(v, &d, job->name, &i);
}

/* True: it was held, and nobody uses it any more. */
static bool record_unlinked(struct vfs *v, uint64_t ino, bool last_name,
			    bool held)
{
	struct meta_inode i;

	if (ino == 0 || meta_get(v->meta, ino, &i) < 0)
		return false;
	/* Some other reply may have counted this before: only who has no name
	 * left is gone, whatever the count says. */
	i.attr.nlink = last_name ? 1 : MAX(i.attr.nlink, 2u);
	(void)change_drop_link(v, &i);
	if (held && !nodes_known(v->nodes, ino)) {
		hold_release(v, &i);
		return true;
	}
	return false;
}

static void record_remove(struct sending *s)
{
	struct vfs *v = s->f->v;
	const struct wback_job *job = s->job;
	struct meta_inode d;

	if (s->in_burst)
		(void)record_dir(s, -is_dir(&job->obj));
	if (meta_get(v->meta, job->dir.ino, &d) == 0) {
		if (!s->in_burst) { /* it was gone already */
			d.attr.nlink -= (uint32_t)is_dir(&job->obj);
			(void)meta_put(v->meta, &d);
		}
		(void)vfs_name_unset(v, &d, job->name);
	}
	(void)record_unlinked(v, job->obj.ino, job->last_name, s->held);
	if (s->held)
		stats_add(&v->stats->held, 1);
}

static void record_rename(struct sending *s)
{
	struct vfs *v = s->f->v;
	const struct wback_job *job = s->job;
	const struct remote_call *call = s->main;
	struct meta_inode d, i;

	if (job->dir.ino == job->newdir.ino)
		(void)record_dir(s, -is_dir(&job->replaced));
	else
		(void)record_dir(s, -is_dir(&job->obj));
	if (job->dir.ino != job->newdir.ino)
		(void)burst_end(s->f, job->newdir.ino, call->has_dir2_attr,
				&call->dir2_attr, &call->pre2, &s->when,
				is_dir(&job->obj) - is_dir(&job->replaced), &d);
	if (meta_get(v->meta, job->dir.ino, &d) == 0)
		(void)vfs_name_unset(v, &d, job->name);
	if (meta_get(v->meta, job->obj.ino, &i) == 0) {
		i.parent = job->newdir.ino;
		i.flags |= META_CTIME_OURS;
		(void)meta_put(v->meta, &i);
		if (meta_get(v->meta, job->newdir.ino, &d) == 0)
			(void)vfs_name_set(v, &d, job->newname, &i);
	}
	(void)record_unlinked(v, job->replaced.ino, job->last_name,
			      s->held);
}

static void record_store(struct sending *s)
{
	struct meta_inode i;

	if (meta_get(s->f->v->meta, s->job->obj.ino, &i) < 0)
		return;
	if (s->fh.len)
		i.handle = s->fh;
	record_object(s, &i);
	if (s->job->extents_n || s->job->trunc != UINT64_MAX)
		i.data_ctime = i.server_ctime;
	(void)meta_put(s->f->v->meta, &i);
}

static void (*const record[])(struct sending *s) = {
	[JOB_MAKE] = record_make,     [JOB_LINK] = record_link,
	[JOB_REMOVE] = record_remove, [JOB_RENAME] = record_rename,
	[JOB_STORE] = record_store,
};

/* The server may execute the first sending of a WRITE after our SETATTR, which
 * then shows its clock. No reply will tell; so the time is set once more. */
static void set_time_again(struct sending *s)
{
	if (s->job->kind == JOB_STORE && s->resent && s->has_attr &&
	    s->job->mask & ATTR_MTIME)
		times_written(s->f->v->times, s->job->obj.ino, s->attr.mtime);
}

void record_done(struct sending *s)
{
	struct vfs *v = s->f->v;
	uint64_t dir = s->job->dir.ino, newdir = s->job->newdir.ino;
	struct wback_settled settled = { 0 };

	touch_all(s);
	set_time_again(s);
	if (s->job->kind == JOB_STORE && s->has_attr &&
	    (s->job->extents_n || s->job->trunc != UINT64_MAX))
		fetch_keep(v->fetch, s->job, &s->attr);
	meta_begin(v->meta);
	record[s->job->kind](s);
	wback_done(v->wback, s->job, s->fh.len ? &s->fh : NULL,
		   s->has_attr ? &s->attr : NULL, &settled);
	s->job = NULL;
	view_settled(v, &settled);
	burst_settle(s->f, dir);
	burst_settle(s->f, newdir);
	meta_end(v->meta);
}

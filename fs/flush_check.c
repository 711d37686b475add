/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush_check.c: what others have done. The step CHECK of a job: has somebody
 * else changed the contents that it would overwrite or remove? And what is to be
 * done with what is in its way. In the flusher's thread; no locks.
 */
#include "flush_int.h"

/* The object whose contents would be lost. NULL: none. */
static struct wback_ref *at_risk(struct sending *s)
{
	struct wback_job *job = s->job;
	struct wback_ref *ref = job->kind == JOB_RENAME ? &job->replaced :
							  &job->obj;

	if (job->kind == JOB_MAKE || job->kind == JOB_LINK || ref->ino == 0 ||
	    !S_ISREG(ref->mode) || job->ours || job->again)
		return NULL;
	/* A change of attributes alone loses nothing. */
	if (job->kind == JOB_STORE && job->extents_n == 0 &&
	    job->trunc == UINT64_MAX)
		return NULL;
	return ref;
}

/* 1: the server confirmed the version; 0: it must be asked; -ESTALE: the
 * version is known to have changed. */
static int known_version(struct sending *s, const struct wback_ref *ref)
{
	struct vfs *v = s->f->v;
	struct meta_inode i;
	struct attr now;
	int r = 0;

	meta_begin(v->meta);
	if (meta_get(v->meta, ref->ino, &i) == 0 &&
	    vfs_trusts(v, i.checked, 0)) {
		now = i.attr;
		now.mtime = i.server_mtime;
		r = i.flags & META_CTIME_OURS ? 0 :
		    conflict_is_changed(ref, &now) ? -ESTALE :
						     1;
	}
	meta_end(v->meta);
	return r;
}

/* A RENAME would replace unseen what others gave its new name to since the change
 * was made; the server cannot be asked not to. What it said of the directory a
 * moment ago is as good as a look: a look would be as old by then. */
static bool is_surely_free(struct sending *s)
{
	enum { MOMENT_US = 1000 * 1000 };
	struct vfs *v = s->f->v;
	uint64_t dir = s->job->newdir.ino;
	struct meta_name n;
	struct meta_inode d;
	bool is_free;
	int r;

	meta_begin(v->meta);
	is_free = meta_get(v->meta, dir, &d) == 0 &&
		  vfs_trusts(v, d.checked, 0) && d.checked >= v->session &&
		  meta_now(v->meta) - d.checked < MOMENT_US &&
		  !(d.flags & META_RELIST) && burst_is_ours(s->f, dir);
	if (is_free) {
		r = meta_name_get(v->meta, dir, s->job->newname, &n);
		is_free = r == 0 ? n.absent && n.epoch == d.epoch :
				   r == -ENOENT && d.flags & META_COMPLETE;
	}
	meta_end(v->meta);
	return is_free;
}

static bool needs_free_name(const struct wback_job *job)
{
	return job->kind == JOB_RENAME && job->replaced.ino == 0 &&
	       !job->again;
}

static void after_check(struct sending *s)
{
	struct wback_job *job = s->job;

	if (job->kind == JOB_STORE)
		send_step(s, job->trunc != UINT64_MAX ? STEP_TRUNC :
		   job->extents_n	       ? STEP_WRITE :
						 STEP_FINAL);
	else if (job->kind == JOB_RENAME)
		send_step(s, STEP_HOLD);
	else
		send_step(s, STEP_MAIN);
}

/* What has the name that the job is about. */
static int move_aside(struct sending *s)
{
	const struct wback_job *job = s->job;

	return job->kind == JOB_RENAME ?
		       conflict_move_aside(s->f->v, &job->newdir,
					   job->newname) :
		       conflict_move_aside(s->f->v, &job->dir, job->name);
}

static void send_main(struct sending *s)
{
	send_step(s, STEP_MAIN);
}

/* @r: whether others' version is out of the way. A removal is then done. */
static void go_on(struct sending *s, int r, void (*next)(struct sending *s))
{
	if (r < 0 && r != -ENOENT)
		send_failed(s, r);
	else if (s->job->kind == JOB_REMOVE)
		send_finished(s);
	else
		next(s);
}

/* Somebody else's version is there: it is kept, then ours goes its way. */
static void conflict(struct sending *s)
{
	struct vfs *v = s->f->v;
	struct wback_job *job = s->job;
	int r;

	if (job->kind == JOB_STORE)
		r = conflict_copy_aside(v, &job->obj);
	else
		r = move_aside(s);
	go_on(s, r, after_check);
}

void check_begin(struct sending *s)
{
	struct wback_ref *ref = at_risk(s);
	int known = ref ? known_version(s, ref) : 1;

	if (needs_free_name(s->job) && !is_surely_free(s))
		send_step(s, STEP_FREE);
	else if (known > 0)
		after_check(s);
	else if (known < 0)
		conflict(s);
	else
		send_call(s, send_new_call(REMOTE_GETATTR, &ref->fh, NULL));
}

void check_done(struct sending *s, struct remote_call *call)
{
	struct wback_ref *ref = at_risk(s);

	if (call->status == -ESTALE && s->job->kind == JOB_REMOVE)
		send_step(s, STEP_PRESENT); /* gone; whose is the name now? */
	else if (call->status == -ESTALE && s->job->kind == JOB_RENAME)
		conflict(s); /* the same: it may be another's */
	else if (call->status < 0)
		send_failed(s, call->status);
	else if (conflict_is_changed(ref, &call->attr))
		conflict(s);
	else
		after_check(s);
}

void check_free_done(struct sending *s, struct remote_call *call)
{
	/* Of any other error RENAME will know better. */
	if (remote_error_is_transport(call->status))
		send_failed(s, call->status);
	else if (call->status == 0 &&
		 !handle_equal(&call->fh_out, &s->job->obj.fh))
		conflict(s);
	else
		after_check(s);
}

static struct remote_call *look_at_name(struct sending *s)
{
	struct remote_call *call = send_new_call(REMOTE_LOOKUP,
						 &s->job->dir.fh, s->job->name);

	call->status = remote_run(s->f->v->remote, call, NULL, 0);
	return call;
}

/* Two who made one directory agree. */
static bool adopt_dir(struct sending *s)
{
	struct remote_call *call = look_at_name(s);
	bool ok = call->status == 0 && call->has_attr &&
		  S_ISDIR(call->attr.mode);

	if (ok) {
		s->fh = call->fh_out;
		send_take_attr(s, call);
		s->step = STEP_FIX;
	}
	remote_call_unref(call);
	return ok;
}

/* A server that died while it executed our call has left a file without the times
 * by which we would know it; and a file without contents is no version to keep. */
static bool remove_half_made(struct sending *s)
{
	const struct wback_job *job = s->job;
	struct remote_call *call;
	bool ok;

	if (!job->again && s->main->attempts < 2)
		return false;
	call = look_at_name(s);
	ok = call->status == 0 && call->has_attr && S_ISREG(call->attr.mode) &&
	     call->attr.size == 0 && call->attr.nlink == 1;
	remote_call_unref(call);
	if (!ok)
		return false;
	call = send_new_call(REMOTE_REMOVE, &job->dir.fh, job->name);
	ok = remote_run(s->f->v->remote, call, NULL, 0) == 0;
	remote_call_unref(call);
	return ok;
}

void check_dir_lost(struct sending *s)
{
	struct wback_job *job = s->job;
	struct wback_ref *dir = job->kind == JOB_RENAME ? &job->newdir :
							  &job->dir;
	int r = conflict_make_dir_anew(s->f->v, dir);

	s->made_anew = true;
	if (r < 0) {
		send_failed(s, r == -ENODATA ? -ESTALE : r);
		return;
	}
	if (job->kind == JOB_RENAME && job->dir.ino == dir->ino)
		job->dir.fh = dir->fh;
	send_step(s, STEP_MAIN);
}

/* The name is taken, or not empty: by somebody else. */
void check_in_the_way(struct sending *s)
{
	struct wback_job *job = s->job;
	int r;

	if (job->kind == JOB_MAKE && S_ISDIR(job->attr.mode) && adopt_dir(s)) {
		send_finished(s);
		return;
	}
	if (job->kind == JOB_MAKE && S_ISREG(job->attr.mode) &&
	    remove_half_made(s))
		r = 0;
	else
		r = move_aside(s);
	go_on(s, r, send_main);
}

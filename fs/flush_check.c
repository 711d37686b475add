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

/* Somebody else's version is there: it is kept, then ours goes its way. */
static void conflict(struct sending *s)
{
	struct vfs *v = s->f->v;
	struct wback_job *job = s->job;
	int r;

	if (job->kind == JOB_STORE)
		r = conflict_copy_aside(v, &job->obj);
	else if (job->kind == JOB_RENAME)
		r = conflict_move_aside(v, &job->newdir, job->newname);
	else
		r = conflict_move_aside(v, &job->dir, job->name);
	if (r < 0 && r != -ENOENT)
		send_failed(s, r);
	else if (job->kind == JOB_REMOVE)
		send_finished(s); /* the name is free */
	else
		after_check(s);
}

void check_begin(struct sending *s)
{
	struct wback_ref *ref = at_risk(s);
	int known = ref ? known_version(s, ref) : 1;

	if (known > 0)
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

/* The name is taken, or not empty: by somebody else. */
void check_in_the_way(struct sending *s)
{
	struct vfs *v = s->f->v;
	struct wback_job *job = s->job;
	int r;

	if (job->kind == JOB_MAKE && S_ISDIR(job->attr.mode)) {
		/* Two who made one directory agree. */
		struct meta_inode d = { .ino = job->dir.ino,
					.handle = job->dir.fh };
		struct remote_call *call =
			send_new_call(REMOTE_LOOKUP, &d.handle, job->name);

		r = remote_run(v->remote, call, NULL, 0);
		if (r == 0 && call->has_attr && S_ISDIR(call->attr.mode)) {
			s->fh = call->fh_out;
			send_take_attr(s, call);
			s->step = STEP_FIX;
			remote_call_unref(call);
			send_finished(s);
			return;
		}
		remote_call_unref(call);
	}
	if (job->kind == JOB_RENAME)
		r = conflict_move_aside(v, &job->newdir, job->newname);
	else
		r = conflict_move_aside(v, &job->dir, job->name);
	if (r < 0 && r != -ENOENT)
		send_failed(s, r);
	else if (job->kind == JOB_REMOVE)
		send_finished(s);
	else
		send_step(s, STEP_MAIN);
}

/* Let the server look at @found anew, by a change that is none: nfs-ganesha may
 * have read its attributes before it had set them, and then keeps those. */
void check_refresh(struct sending *s, const struct remote_call *found)
{
	struct remote_call *call =
		send_new_call(REMOTE_SETATTR, &found->fh_out, NULL);

	call->set.valid = REMOTE_SET_ATIME;
	call->set.atime = found->attr.atime;
	(void)remote_run(s->f->v->remote, call, NULL, 0);
	remote_call_unref(call);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush_send.c: one job on its way to the server, a call after the other:
 *
 *   MAKE    MAIN, [FIND_OUT], [HANDLE], [ATTR], [FIX]
 *   LINK    MAIN, [FIND_OUT]
 *   REMOVE  [PRESENT], [CHECK], MAIN
 *   RENAME  [CHECK of what is replaced, or FREE], [HOLD], MAIN, [FIND_OUT]
 *   STORE   [CHECK], [TRUNC], WRITE..., [COMMIT], [FINAL]
 *
 * CHECK asks whether somebody else has changed the object since the version that
 * the change was based on; not if the server confirmed that version within the
 * trust window. A new small file thus takes CREATE, WRITE and SETATTR, a removal
 * one call.
 *
 * All in the flusher's thread; no locks.
 */
#include "flush_int.h"
#include "retry_check.h"

enum { PAUSE_MS = 1000 };

/* ---- calls ---- */

/* In a thread of the remote. */
static void call_over(struct remote_call *call, void *arg)
{
	struct part *p = arg;
	struct flush *f = p->s->f;

	(void)call;
	mutex_lock(&f->lock);
	*f->over_end = p;
	f->over_end = &p->next;
	cond_signal(&f->wake);
	mutex_unlock(&f->lock);
}

static void verdict(void *arg, int status)
{
	struct part *p = arg;

	p->call->status = status;
	call_over(p->call, p);
}

static struct part *new_part(struct sending *s, struct remote_call *call)
{
	struct part *p = calloc(1, sizeof(*p));

	if (!p || !call)
		abort(); /* acknowledged changes are in the log */
	p->s = s;
	p->call = call;
	s->parts++;
	return p;
}

/* Consumes the caller's reference. */
void send_call(struct sending *s, struct remote_call *call)
{
	struct part *p = new_part(s, call);

	call->background = true;
	remote_submit(s->f->v->remote, call, call_over, p);
}

struct remote_call *send_new_call(enum remote_op op, const struct handle *fh,
				    const char *name)
{
	struct remote_call *call = remote_call_new(op, fh, name);

	if (!call)
		abort();
	return call;
}

void touch_all(struct sending *s)
{
	const struct wback_job *job = s->job;
	const uint64_t inos[] = { job->obj.ino, job->dir.ino, job->newdir.ino,
				  job->replaced.ino };

	for (size_t k = 0; k < ARRAY_LEN(inos); k++)
		if (inos[k])
			vfs_touch(s->f->v, inos[k]);
}

/* ---- the end ---- */

static bool has_newdir(const struct sending *s)
{
	return s->job->kind == JOB_RENAME &&
	       s->job->newdir.ino != s->job->dir.ino;
}

static void enter_burst(struct sending *s)
{
	if (s->in_burst)
		return;
	s->in_burst = true;
	burst_begin(s->f, s->job->dir.ino);
	if (has_newdir(s))
		burst_begin(s->f, s->job->newdir.ino);
}

/* There is no reply that could be recorded. */
static void leave_burst(struct sending *s)
{
	if (!s->in_burst)
		return;
	s->in_burst = false;
	burst_cancel(s->f, s->job->dir.ino);
	if (has_newdir(s))
		burst_cancel(s->f, s->job->newdir.ino);
}

static void end(struct sending *s)
{
	remote_call_unref(s->main);
	s->f->jobs--;
	free(s);
}

/* A failure of the transport, or of the server for now. */
static void put_back(struct sending *s)
{
	struct flush *f = s->f;

	mutex_lock(&f->lock);
	f->pause_until_ms = clock_ms() + PAUSE_MS;
	mutex_unlock(&f->lock);
	leave_burst(s);
	wback_undo(f->v->wback, s->job, true);
	end(s);
}

static void refused(struct sending *s, int error)
{
	static const char *const what[] = {
		[JOB_MAKE] = "create", [JOB_LINK] = "link",
		[JOB_REMOVE] = "remove", [JOB_RENAME] = "rename",
		[JOB_STORE] = "store",
	};
	const struct wback_job *job = s->job;

	msg_error("the server refuses to %s %s%s%s: %s; the change is kept, see "
		  "nfsrootfs conflicts",
		  what[job->kind], job->name ? "\"" : "inode ",
		  job->name ? job->name : "", job->name ? "\"" : "",
		  msg_strerror(error));
	leave_burst(s);
	wback_stuck(s->f->v->wback, s->job, error);
	end(s);
}

static bool is_transport(struct sending *s, int status)
{
	struct flush *f = s->f;
	bool stop;

	mutex_lock(&f->lock);
	stop = f->stop;
	mutex_unlock(&f->lock);
	return remote_error_is_transport(status) || status == -ENOMEM ||
	       status == -EINTR ||
	       (status == -EIO &&
		(stop || remote_retry_is_away(f->v->remote)));
}

void send_failed(struct sending *s, int status)
{
	if (is_transport(s, status))
		put_back(s);
	else
		refused(s, status);
}

void send_finished(struct sending *s)
{
	record_done(s);
	end(s);
}

void send_take_attr(struct sending *s, const struct remote_call *call)
{
	if (!call->has_attr)
		return;
	s->attr = call->attr;
	s->has_attr = true;
}

/* ---- MAIN ---- */

static enum remote_op make_op(const struct wback_job *job)
{
	switch (job->attr.mode & S_IFMT) {
	case S_IFDIR:
		return REMOTE_MKDIR;
	case S_IFLNK:
		return REMOTE_SYMLINK;
	case S_IFREG:
		return REMOTE_CREATE;
	default:
		return REMOTE_MKNOD;
	}
}

static struct remote_call *make_call(const struct wback_job *job)
{
	struct remote_call *call =
		send_new_call(make_op(job), &job->dir.fh, job->name);
	const struct attr *a = &job->attr;

	call->set = (struct remote_sattr){
		.valid = REMOTE_SET_MODE | REMOTE_SET_UID | REMOTE_SET_GID |
			 REMOTE_SET_MTIME | REMOTE_SET_ATIME,
		.mode = a->mode & (07777 | S_IFMT),
		.uid = a->uid,
		.gid = a->gid,
		.atime = a->atime,
		.mtime = job->verifier,
	};
	call->rdev_major = a->rdev_major;
	call->rdev_minor = a->rdev_minor;
	if (job->target) {
		call->data = strdup(job->target);
		call->data_len = (uint32_t)strlen(job->target);
		if (!call->data)
			abort();
	}
	return call;
}

/* Is it to be held (hold.c): the last name goes, and it may be open? */
static bool must_hold(struct sending *s, const struct wback_ref *ref,
		      struct meta_inode *ret)
{
	struct vfs *v = s->f->v;
	bool hold = s->job->last_name && S_ISREG(ref->mode) &&
		    nodes_known(v->nodes, ref->ino);

	meta_begin(v->meta);
	hold = hold && meta_get(v->meta, ref->ino, ret) == 0;
	meta_end(v->meta);
	return hold;
}

static struct remote_call *remove_call(struct sending *s)
{
	struct vfs *v = s->f->v;
	const struct wback_job *job = s->job;
	struct remote_call *call;
	struct meta_inode i;

	if (S_ISDIR(job->obj.mode))
		return send_new_call(REMOTE_RMDIR, &job->dir.fh, job->name);
	if (!must_hold(s, &job->obj, &i))
		return send_new_call(REMOTE_REMOVE, &job->dir.fh, job->name);
	call = send_new_call(REMOTE_RENAME, &job->dir.fh, job->name);
	call->object = job->obj.fh;
	hold_name(v, job->obj.ino, call->name2);
	if (hold_dir_of(v, &(struct caller){ 0 }, &i, &call->fh2) < 0) {
		remote_call_unref(call);
		return send_new_call(REMOTE_REMOVE, &job->dir.fh, job->name);
	}
	s->held = true;
	return call;
}

/* Keep what a RENAME will replace, if it may be open. */
static struct remote_call *hold_replaced(struct sending *s)
{
	struct vfs *v = s->f->v;
	struct remote_call *call;
	struct meta_inode i;

	if (!must_hold(s, &s->job->replaced, &i))
		return NULL;
	call = hold_link_call(v, &(struct caller){ 0 }, &i);
	s->held = call != NULL;
	return call;
}

static struct remote_call *main_call(struct sending *s)
{
	const struct wback_job *job = s->job;
	struct remote_call *call;

	switch (job->kind) {
	case JOB_MAKE:
		return make_call(job);
	case JOB_LINK:
		call = send_new_call(REMOTE_LINK, &job->dir.fh, job->name);
		call->object = job->obj.fh;
		return call;
	case JOB_REMOVE:
		return remove_call(s);
	default:
		call = send_new_call(REMOTE_RENAME, &job->dir.fh, job->name);
		call->fh2 = job->newdir.fh;
		strcpy(call->name2, job->newname);
		call->object = job->obj.fh;
		return call;
	}
}

static void made(struct sending *s)
{
	const struct attr *a = &s->attr, *want = &s->job->attr;
	struct remote_sattr set = { 0 };
	struct remote_call *call;

	if (a->uid != want->uid)
		set.valid |= REMOTE_SET_UID;
	if (a->gid != want->gid)
		set.valid |= REMOTE_SET_GID;
	if (!S_ISLNK(a->mode) && (set.valid || (a->mode ^ want->mode) & 07777))
		set.valid |= REMOTE_SET_MODE; /* a new owner clears bits */
	if (!set.valid || s->step == STEP_FIX) {
		send_finished(s);
		return;
	}
	set.uid = want->uid;
	set.gid = want->gid;
	set.mode = want->mode & 07777;
	call = send_new_call(REMOTE_SETATTR, &s->fh, NULL);
	call->set = set;
	s->step = STEP_FIX;
	send_call(s, call);
}

/* What was made, when the reply to that did not say. */
static void asked(struct sending *s, struct remote_call *call)
{
	if (call->status < 0) {
		send_failed(s, call->status);
		return;
	}
	if (s->step == STEP_HANDLE)
		s->fh = call->fh_out;
	send_take_attr(s, call);
	if (s->has_attr)
		made(s);
	else
		send_step(s, STEP_ATTR);
}

static void find_out(struct sending *s, struct remote_call *call)
{
	struct part *p = new_part(s, remote_call_ref(call));

	s->step = STEP_FIND_OUT;
	retry_find_out(s->f->v->remote, call, s->f->v->time_delta_ns, verdict,
		       p);
}

static bool is_in_the_way(const struct wback_job *job, int status)
{
	return status == -EEXIST ||
	       ((job->kind == JOB_REMOVE || job->kind == JOB_RENAME) &&
		(status == -ENOTEMPTY || status == -EISDIR ||
		 status == -ENOTDIR));
}

static void main_done(struct sending *s, struct remote_call *call)
{
	const struct wback_job *job = s->job;
	int status = call->status;

	if (status == retry_already_done(call->op) && status != 0 &&
	    job->again && s->step == STEP_MAIN) {
		find_out(s, call);
		return;
	}
	/* What is not finished now was left so when the server died. */
	if (status == -EINPROGRESS && s->looks++ < RETRY_LOOKS_MAX) {
		send_step(s, STEP_MAIN);
		return;
	}
	if (status == -EINPROGRESS)
		status = -EEXIST;
	if (job->kind == JOB_REMOVE && status == -ENOENT)
		status = 0;
	/* A server that executes a call and its repetition at the same time may
	 * say this of the one that comes late. */
	if (job->kind == JOB_REMOVE && status == -ESTALE && !s->asked_again) {
		s->asked_again = true;
		leave_burst(s);
		send_step(s, STEP_PRESENT);
		return;
	}
	if (is_in_the_way(job, status)) {
		check_in_the_way(s);
		return;
	}
	if (status == -ESTALE && job->kind != JOB_REMOVE && !s->made_anew) {
		check_dir_lost(s);
		return;
	}
	if (status < 0) {
		send_failed(s, status);
		return;
	}
	send_take_attr(s, call);
	if (job->kind != JOB_MAKE) {
		send_finished(s);
		return;
	}
	s->fh = call->fh_out;
	if (s->fh.len && s->has_attr)
		made(s);
	else
		send_step(s, STEP_HANDLE);
}

/* ---- steps ---- */

void send_step(struct sending *s, enum step step)
{
	struct vfs *v = s->f->v;
	struct wback_job *job = s->job;
	struct remote_call *call;

	s->step = step;
	switch (step) {
	case STEP_CHECK:
		check_begin(s);
		break;
	case STEP_PRESENT:
	case STEP_HANDLE:
		send_call(s, send_new_call(REMOTE_LOOKUP, &job->dir.fh, job->name));
		break;
	case STEP_FREE:
		send_call(s, send_new_call(REMOTE_LOOKUP, &job->newdir.fh,
					   job->newname));
		break;
	case STEP_ATTR:
		send_call(s, send_new_call(REMOTE_GETATTR, &s->fh, NULL));
		break;
	case STEP_HOLD:
		call = hold_replaced(s);
		if (call)
			send_call(s, call);
		else
			send_step(s, STEP_MAIN);
		break;
	case STEP_MAIN:
		touch_all(s);
		remote_call_unref(s->main);
		s->main = main_call(s);
		enter_burst(s);
		s->when = vfs_moment(v);
		send_call(s, remote_call_ref(s->main));
		break;
	case STEP_TRUNC:
		call = send_new_call(REMOTE_SETATTR, &job->obj.fh, NULL);
		call->set.valid = REMOTE_SET_SIZE;
		call->set.size = job->trunc;
		touch_all(s);
		send_call(s, call);
		break;
	case STEP_WRITE:
		s->stable = store_fits_in_one(s);
		touch_all(s);
		store_write(s);
		break;
	case STEP_COMMIT:
		send_call(s, send_new_call(REMOTE_COMMIT, &job->obj.fh, NULL));
		break;
	case STEP_FINAL:
		s->when = vfs_moment(v);
		if (job->mask)
			send_call(s, store_final_call(s));
		else
			send_finished(s);
		break;
	case STEP_FIND_OUT:
	case STEP_FIX:
		break; /* not entered by this way */
	}
}

/* Results of the steps that are one call. */
static void step_done(struct sending *s, struct remote_call *call)
{
	if (call->status == -ESTALE && s->job->kind == JOB_STORE) {
		store_lost(s);
		return;
	}
	switch (s->step) {
	case STEP_CHECK:
		check_done(s, call);
		break;
	case STEP_PRESENT:
		/* Removed before the crash, or with its directory; the name
		 * may be another's by now. */
		if (call->status == -ENOENT || call->status == -ESTALE ||
		    (call->status == 0 &&
		     !handle_equal(&call->fh_out, &s->job->obj.fh)))
			send_finished(s);
		else if (call->status < 0)
			send_failed(s, call->status);
		else
			send_step(s, STEP_CHECK);
		break;
	case STEP_FREE:
		check_free_done(s, call);
		break;
	case STEP_HOLD: /* that it cannot be held is no reason not to rename */
		if (is_transport(s, call->status))
			put_back(s);
		else
			send_step(s, STEP_MAIN);
		break;
	case STEP_MAIN:
	case STEP_FIND_OUT:
		main_done(s, call);
		break;
	case STEP_HANDLE:
	case STEP_ATTR:
		asked(s, call);
		break;
	case STEP_FIX: /* it exists, whether or not that worked */
		send_take_attr(s, call);
		send_finished(s);
		break;
	case STEP_TRUNC:
		send_take_attr(s, call);
		if (call->status < 0)
			send_failed(s, call->status);
		else
			send_step(s, s->job->extents_n ? STEP_WRITE : STEP_FINAL);
		break;
	case STEP_WRITE:
		break; /* written() */
	case STEP_COMMIT:
		store_committed(s, call);
		break;
	case STEP_FINAL:
		send_take_attr(s, call);
		if (call->status < 0)
			send_failed(s, call->status);
		else
			send_finished(s);
		break;
	}
}

void send_go_on(struct part *p)
{
	struct sending *s = p->s;
	struct remote_call *call = p->call;

	s->parts--;
	free(p);
	if (s->step == STEP_WRITE && call->status == -ESTALE && !s->parts) {
		s->f->bytes -= call->data_len;
		store_lost(s);
	} else if (s->step == STEP_WRITE) {
		store_written(s, call);
	} else {
		step_done(s, call);
	}
	remote_call_unref(call);
}

void send_job(struct flush *f, struct wback_job *job)
{
	struct sending *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->f = f;
	s->job = job;
	s->fh = job->obj.fh;
	f->jobs++;
	if (job->kind == JOB_STORE)
		times_drop(f->v->times, job->obj.ino); /* of the last one */
	if (job->kind == JOB_MAKE || job->kind == JOB_LINK)
		send_step(s, STEP_MAIN);
	else if (job->kind == JOB_REMOVE && job->again)
		send_step(s, STEP_PRESENT);
	else
		send_step(s, STEP_CHECK);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush_send.c: one job on its way to the server, a call after the other:
 *
 *   MAKE    MAIN, [FIND_OUT], [HANDLE], [FIX]
 *   LINK    MAIN, [FIND_OUT]
 *   REMOVE  [PRESENT], [CHECK], MAIN
 *   RENAME  [CHECK of what is replaced], [HOLD], MAIN, [FIND_OUT]
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

enum { PARTS_MAX = 8, PAUSE_MS = 1000 };

static void go(struct sending *s, enum step step);

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
static void submit(struct sending *s, struct remote_call *call)
{
	struct part *p = new_part(s, call);

	remote_submit(s->f->v->remote, call, call_over, p);
}

static struct remote_call *new_call(enum remote_op op, const struct handle *fh,
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

static void failed(struct sending *s, int status)
{
	if (is_transport(s, status))
		put_back(s);
	else
		refused(s, status);
}

static void finished(struct sending *s)
{
	record_done(s);
	end(s);
}

static void take_attr(struct sending *s, const struct remote_call *call)
{
	if (!call->has_attr)
		return;
	s->attr = call->attr;
	s->has_attr = true;
}

/* ---- what others have changed ---- */

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
		go(s, job->trunc != UINT64_MAX ? STEP_TRUNC :
		   job->extents_n	       ? STEP_WRITE :
						 STEP_FINAL);
	else if (job->kind == JOB_RENAME)
		go(s, STEP_HOLD);
	else
		go(s, STEP_MAIN);
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
		failed(s, r);
	else if (job->kind == JOB_REMOVE)
		finished(s); /* the name is free */
	else
		after_check(s);
}

static void check(struct sending *s)
{
	struct wback_ref *ref = at_risk(s);
	int known = ref ? known_version(s, ref) : 1;

	if (known > 0)
		after_check(s);
	else if (known < 0)
		conflict(s);
	else
		submit(s, new_call(REMOTE_GETATTR, &ref->fh, NULL));
}

static void checked(struct sending *s, struct remote_call *call)
{
	struct wback_ref *ref = at_risk(s);

	if (call->status == -ESTALE && s->job->kind != JOB_STORE)
		after_check(s); /* gone by itself */
	else if (call->status < 0)
		failed(s, call->status);
	else if (conflict_is_changed(ref, &call->attr))
		conflict(s);
	else
		after_check(s);
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
		new_call(make_op(job), &job->dir.fh, job->name);
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

/* One that may be open is renamed into the holding directory (hold.c). */
static struct remote_call *remove_call(struct sending *s)
{
	struct vfs *v = s->f->v;
	const struct wback_job *job = s->job;
	struct remote_call *call;
	struct meta_inode i;
	bool hold;

	if (S_ISDIR(job->obj.mode))
		return new_call(REMOTE_RMDIR, &job->dir.fh, job->name);
	meta_begin(v->meta);
	hold = S_ISREG(job->obj.mode) && nodes_known(v->nodes, job->obj.ino) &&
	       meta_get(v->meta, job->obj.ino, &i) == 0 && i.attr.nlink <= 1;
	meta_end(v->meta);
	if (!hold)
		return new_call(REMOTE_REMOVE, &job->dir.fh, job->name);
	call = new_call(REMOTE_RENAME, &job->dir.fh, job->name);
	call->object = job->obj.fh;
	hold_name(v, job->obj.ino, call->name2);
	if (hold_dir_of(v, &(struct caller){ 0 }, &i, &call->fh2) < 0) {
		remote_call_unref(call);
		return new_call(REMOTE_REMOVE, &job->dir.fh, job->name);
	}
	s->held = true;
	return call;
}

/* Keep what a RENAME will replace, if it may be open. */
static struct remote_call *hold_replaced(struct sending *s)
{
	struct vfs *v = s->f->v;
	const struct wback_ref *ref = &s->job->replaced;
	struct remote_call *call;
	struct meta_inode i;
	int r;

	if (ref->ino == 0 || !S_ISREG(ref->mode) ||
	    !nodes_known(v->nodes, ref->ino))
		return NULL;
	meta_begin(v->meta);
	r = meta_get(v->meta, ref->ino, &i);
	meta_end(v->meta);
	call = r == 0 && i.attr.nlink <= 1 ?
		       hold_link_call(v, &(struct caller){ 0 }, &i) :
		       NULL;
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
		call = new_call(REMOTE_LINK, &job->dir.fh, job->name);
		call->object = job->obj.fh;
		return call;
	case JOB_REMOVE:
		return remove_call(s);
	default:
		call = new_call(REMOTE_RENAME, &job->dir.fh, job->name);
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
		finished(s);
		return;
	}
	set.uid = want->uid;
	set.gid = want->gid;
	set.mode = want->mode & 07777;
	call = new_call(REMOTE_SETATTR, &s->fh, NULL);
	call->set = set;
	s->step = STEP_FIX;
	submit(s, call);
}

/* The name is taken, or not empty: by somebody else. */
static void in_the_way(struct sending *s)
{
	struct vfs *v = s->f->v;
	struct wback_job *job = s->job;
	int r;

	if (job->kind == JOB_MAKE && S_ISDIR(job->attr.mode)) {
		/* Two who made one directory agree. */
		struct meta_inode d = { .ino = job->dir.ino,
					.handle = job->dir.fh };
		struct remote_call *call =
			new_call(REMOTE_LOOKUP, &d.handle, job->name);

		r = remote_run(v->remote, call, NULL, 0);
		if (r == 0 && call->has_attr && S_ISDIR(call->attr.mode)) {
			s->fh = call->fh_out;
			take_attr(s, call);
			s->step = STEP_FIX;
			remote_call_unref(call);
			finished(s);
			return;
		}
		remote_call_unref(call);
	}
	r = conflict_move_aside(v, &job->dir, job->name);
	if (r < 0 && r != -ENOENT)
		failed(s, r);
	else if (job->kind == JOB_REMOVE)
		finished(s);
	else
		go(s, STEP_MAIN);
}

static void main_done(struct sending *s, struct remote_call *call)
{
	const struct wback_job *job = s->job;
	int status = call->status;

	if (status == retry_already_done(call->op) && status != 0 &&
	    job->again && s->step == STEP_MAIN) {
		struct part *p = new_part(s, remote_call_ref(call));

		s->step = STEP_FIND_OUT;
		retry_find_out(s->f->v->remote, call, s->f->v->time_delta_ns,
			       verdict, p);
		return;
	}
	if (job->kind == JOB_REMOVE && status == -ENOENT)
		status = 0;
	if (status == -EEXIST || (job->kind == JOB_REMOVE &&
				  (status == -ENOTEMPTY || status == -EISDIR ||
				   status == -ENOTDIR))) {
		in_the_way(s);
		return;
	}
	if (status < 0) {
		failed(s, status);
		return;
	}
	take_attr(s, call);
	if (job->kind != JOB_MAKE) {
		finished(s);
		return;
	}
	s->fh = call->fh_out;
	if (s->fh.len && s->has_attr)
		made(s);
	else
		go(s, STEP_HANDLE);
}

/* ---- contents ---- */

/* The next stretch of contents without a gap, as much as one WRITE takes. */
static struct remote_call *next_write(struct sending *s)
{
	const struct wback_job *job = s->job;
	const struct wback_extent *x = &job->extents[s->extent];
	uint64_t offset = x->offset + s->done, end = offset;
	uint64_t max = s->f->v->fsinfo.write_max;
	struct remote_call *call;
	int r;

	while (s->extent < job->extents_n && end - offset < max) {
		x = &job->extents[s->extent];
		if (x->offset + s->done != end)
			break;
		uint64_t n = MIN(x->len - s->done, max - (end - offset));

		end += n;
		s->done += n;
		if (s->done == x->len) {
			s->extent++;
			s->done = 0;
		}
	}
	call = new_call(REMOTE_WRITE, &job->obj.fh, NULL);
	call->offset = offset;
	call->data_len = (uint32_t)(end - offset);
	call->data = malloc(call->data_len);
	if (!call->data)
		abort();
	r = wback_job_read(s->f->v->wback, job, offset, call->data_len,
			   call->data);
	if (r < 0) {
		remote_call_unref(call);
		s->error = r;
		return NULL;
	}
	call->stable = s->stable ? REMOTE_FILE_SYNC : REMOTE_UNSTABLE;
	s->f->bytes += call->data_len;
	return call;
}

static bool more_to_write(const struct sending *s)
{
	return s->extent < s->job->extents_n && s->error == 0;
}

static bool fits_in_one(const struct sending *s)
{
	const struct wback_job *job = s->job;

	for (unsigned k = 1; k < job->extents_n; k++)
		if (job->extents[k - 1].offset + job->extents[k - 1].len !=
		    job->extents[k].offset)
			return false;
	return job->bytes <= s->f->v->fsinfo.write_max;
}

static void write_more(struct sending *s)
{
	while (more_to_write(s) && s->parts < PARTS_MAX) {
		struct remote_call *call = next_write(s);

		if (call)
			submit(s, call);
	}
	if (s->parts > 0)
		return;
	if (s->error < 0)
		failed(s, s->error);
	else
		go(s, s->stable ? STEP_FINAL : STEP_COMMIT);
}

static void note_verf(struct sending *s, const struct remote_call *call)
{
	if (s->verf_set && memcmp(s->verf, call->verf, sizeof(s->verf)) != 0)
		s->verf_changed = true;
	memcpy(s->verf, call->verf, sizeof(s->verf));
	s->verf_set = true;
}

static void written(struct sending *s, struct remote_call *call)
{
	s->f->bytes -= call->data_len;
	if (call->status < 0 && s->error == 0)
		s->error = call->status;
	if (call->status == 0) {
		take_attr(s, call);
		note_verf(s, call);
		if (call->stable == REMOTE_UNSTABLE)
			s->stable = false;
		/* Less than asked for, or nothing, which makes no sense. */
		if (call->count == 0)
			s->error = -EREMOTEIO;
	}
	if (call->status == 0 && s->error == 0 &&
	    call->count < call->data_len) {
		struct remote_call *rest =
			new_call(REMOTE_WRITE, &s->job->obj.fh, NULL);

		rest->offset = call->offset + call->count;
		rest->data_len = call->data_len - call->count;
		rest->data = malloc(rest->data_len);
		if (!rest->data)
			abort();
		memcpy(rest->data, (char *)call->data + call->count,
		       rest->data_len);
		rest->stable = s->stable ? REMOTE_FILE_SYNC : REMOTE_UNSTABLE;
		s->f->bytes += rest->data_len;
		submit(s, rest);
		return;
	}
	write_more(s);
}

static void committed(struct sending *s, struct remote_call *call)
{
	if (call->status < 0) {
		failed(s, call->status);
		return;
	}
	note_verf(s, call);
	if (!s->verf_changed) {
		go(s, STEP_FINAL);
		return;
	}
	/* The server restarted in between: what it had may be lost. */
	s->extent = 0;
	s->done = 0;
	s->verf_set = s->verf_changed = false;
	go(s, STEP_WRITE);
}

static struct remote_call *final_call(struct sending *s)
{
	const struct wback_job *job = s->job;
	struct remote_call *call =
		new_call(REMOTE_SETATTR, &job->obj.fh, NULL);

	call->set = (struct remote_sattr){
		.valid = job->mask, .mode = job->attr.mode & 07777,
		.uid = job->attr.uid, .gid = job->attr.gid,
		.size = job->attr.size, .atime = job->attr.atime,
		.mtime = job->attr.mtime,
	};
	if (job->mask & (ATTR_UID | ATTR_GID) && !S_ISLNK(job->obj.mode))
		call->set.valid |= REMOTE_SET_MODE; /* see made() */
	return call;
}

/* The server does not know the object of a STORE any more. */
static void lost(struct sending *s)
{
	struct handle fh;
	int r = conflict_make_anew(s->f->v, s->job, &fh);

	if (r == -ENODATA)
		r = -ESTALE;
	if (r < 0) {
		failed(s, r);
		return;
	}
	s->fh = s->job->obj.fh = fh;
	s->error = 0;
	s->extent = 0;
	s->done = 0;
	s->job->trunc = UINT64_MAX;
	go(s, s->job->extents_n ? STEP_WRITE : STEP_FINAL);
}

/* ---- steps ---- */

static void go(struct sending *s, enum step step)
{
	struct vfs *v = s->f->v;
	struct wback_job *job = s->job;
	struct remote_call *call;

	s->step = step;
	switch (step) {
	case STEP_CHECK:
		check(s);
		break;
	case STEP_PRESENT:
	case STEP_HANDLE:
		submit(s, new_call(REMOTE_LOOKUP, &job->dir.fh, job->name));
		break;
	case STEP_HOLD:
		call = hold_replaced(s);
		if (call)
			submit(s, call);
		else
			go(s, STEP_MAIN);
		break;
	case STEP_MAIN:
		touch_all(s);
		remote_call_unref(s->main);
		s->main = main_call(s);
		enter_burst(s);
		s->when = vfs_moment(v);
		submit(s, remote_call_ref(s->main));
		break;
	case STEP_TRUNC:
		call = new_call(REMOTE_SETATTR, &job->obj.fh, NULL);
		call->set.valid = REMOTE_SET_SIZE;
		call->set.size = job->trunc;
		touch_all(s);
		submit(s, call);
		break;
	case STEP_WRITE:
		s->stable = fits_in_one(s);
		touch_all(s);
		write_more(s);
		break;
	case STEP_COMMIT:
		submit(s, new_call(REMOTE_COMMIT, &job->obj.fh, NULL));
		break;
	case STEP_FINAL:
		s->when = vfs_moment(v);
		if (job->mask)
			submit(s, final_call(s));
		else
			finished(s);
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
		lost(s);
		return;
	}
	switch (s->step) {
	case STEP_CHECK:
		checked(s, call);
		break;
	case STEP_PRESENT:
		/* Removed before the crash; the name may be another's by now. */
		if (call->status == -ENOENT ||
		    (call->status == 0 &&
		     !handle_equal(&call->fh_out, &s->job->obj.fh)))
			finished(s);
		else if (call->status < 0)
			failed(s, call->status);
		else
			go(s, STEP_CHECK);
		break;
	case STEP_HOLD: /* that it cannot be held is no reason not to rename */
		if (is_transport(s, call->status))
			put_back(s);
		else
			go(s, STEP_MAIN);
		break;
	case STEP_MAIN:
	case STEP_FIND_OUT:
		main_done(s, call);
		break;
	case STEP_HANDLE:
		if (call->status < 0) {
			failed(s, call->status);
			break;
		}
		s->fh = call->fh_out;
		take_attr(s, call);
		if (!s->has_attr)
			s->attr = s->job->attr;
		made(s);
		break;
	case STEP_FIX: /* it exists, whether or not that worked */
		take_attr(s, call);
		finished(s);
		break;
	case STEP_TRUNC:
		take_attr(s, call);
		if (call->status < 0)
			failed(s, call->status);
		else
			go(s, s->job->extents_n ? STEP_WRITE : STEP_FINAL);
		break;
	case STEP_WRITE:
		break; /* written() */
	case STEP_COMMIT:
		committed(s, call);
		break;
	case STEP_FINAL:
		take_attr(s, call);
		if (call->status < 0)
			failed(s, call->status);
		else
			finished(s);
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
		lost(s);
	} else if (s->step == STEP_WRITE) {
		written(s, call);
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
	if (job->kind == JOB_MAKE || job->kind == JOB_LINK)
		go(s, STEP_MAIN);
	else if (job->kind == JOB_REMOVE && job->again)
		go(s, STEP_PRESENT);
	else
		go(s, STEP_CHECK);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_take.c: what is sent, and what came of it. A job is a copy of an op and
 * of what it needs, so that whoever sends it holds no lock.
 *
 * Only what is on stable storage here is sent: else the server could have a
 * change that a loss of power takes from the history before it. And what is
 * about to be sent is noted in the log first, so that it is known after a crash
 * that it may have been done.
 */
#include "wback_int.h"

static char *copy_text(const char *s)
{
	char *copy = s ? strdup(s) : NULL;

	if (s && !copy)
		abort();
	return copy;
}

static void copy_extents(struct wback_job *job, const struct extents *e)
{
	struct extent *sources = xcalloc(e->n, sizeof(*sources));

	job->extents = xcalloc(e->n, sizeof(*job->extents));
	for (unsigned k = 0; k < e->n; k++) {
		sources[k] = e->v[k];
		(void)segment_ref(sources[k].seg);
		job->extents[k] = (struct wback_extent){ e->v[k].offset,
							 e->v[k].len };
	}
	job->extents_n = e->n;
	job->bytes = e->bytes;
	job->sources = sources;
}

/* No name is left here, and none will be there when this is done. */
static bool takes_last_name(const struct op *op)
{
	const struct object *o = op->kind == JOB_RENAME ? op->replaced :
							  op->obj;

	return o && o->removed && o->ops.first == o->ops.last;
}

/* After apply_start(). */
static struct wback_job *make_job(struct op *op)
{
	struct wback_job *job = xcalloc(1, sizeof(*job));
	const struct object *o = op->obj;

	job->kind = op->kind;
	job->id = op->log_id;
	job->op = op;
	job->obj = o->ref;
	job->attr = o->attr;
	if (!(o->local & ATTR_SIZE))
		job->attr.size = o->ref.size;
	job->trunc = TRUNC_NONE;
	job->ours = !(op->replaced ? op->replaced : o)->base_known;
	job->again = op->again;
	job->verifier = op->verifier;
	job->store_follows = op->store_follows;
	job->last_name = takes_last_name(op);
	if (op->dir)
		job->dir = op->dir->ref;
	if (op->newdir)
		job->newdir = op->newdir->ref;
	if (op->replaced)
		job->replaced = op->replaced->ref;
	if (op->name)
		job->name = copy_text(op->name->text);
	if (op->newname)
		job->newname = copy_text(op->newname->text);
	if (op->kind == JOB_MAKE)
		job->target = copy_text(o->target);
	if (op->kind == JOB_STORE) {
		uint64_t end = o->trunc_sending;

		job->mask = o->sending;
		job->trunc = o->trunc_sending;
		if (o->data.n > 0) {
			copy_extents(job, &o->data);
			end = MAX(end, o->data.v[o->data.n - 1].offset +
					       o->data.v[o->data.n - 1].len);
		}
		/* Cut, and longer again by a hole: nothing else says so. */
		if (job->trunc != TRUNC_NONE && end < o->attr.size)
			job->mask |= ATTR_SIZE;
	}
	return job;
}

void wback_job_free(struct wback_job *job)
{
	struct extent *sources;

	if (!job)
		return;
	sources = job->sources;
	for (unsigned k = 0; sources && k < job->extents_n; k++)
		segment_unref(sources[k].seg);
	free(sources);
	free(job->extents);
	free(job->name);
	free(job->newname);
	free(job->target);
	free(job);
}

int wback_job_read(struct wback *wb, const struct wback_job *job,
		   uint64_t offset, uint32_t len, void *buf)
{
	const struct extent *x = job->sources;
	struct extents e = { .v = job->sources, .n = job->extents_n };
	unsigned k = extents_find(&e, offset);

	(void)wb;
	for (; len > 0 && k < job->extents_n; k++) {
		uint64_t skip = offset - x[k].offset;
		uint32_t n = (uint32_t)MIN((uint64_t)len, x[k].len - skip);
		int r;

		if (offset < x[k].offset)
			return -EINVAL;
		r = segment_read(x[k].seg, x[k].at + skip, buf, n);
		if (r < 0)
			return r;
		buf = (char *)buf + n;
		offset += n;
		len -= n;
	}
	return len > 0 ? -EINVAL : 0;
}

/* ---- taking ---- */

static bool is_due(const struct op *op, const struct wback_want *want,
		   uint64_t now)
{
	return op->id <= want->force || op->born_ms + want->delay_ms <= now;
}

/* The last change that @op will send. */
static uint64_t last_change(const struct op *op)
{
	return op->kind == JOB_STORE || op->kind == JOB_MAKE ?
		       MAX(op->id, op->obj->last_seq) :
		       op->id;
}

/* The first op that may be sent now; NULL: none. */
static struct op *next_due(struct wback *wb, const struct wback_want *want)
	REQUIRES(wb->lock)
{
	struct op *op = wb->ready_n > 0 ? wb->ready[1] : NULL;

	return op && is_due(op, want, clock_ms()) ? op : NULL;
}

/* Sees to it that what is to be taken is on the disk. False: nothing is due. */
static bool prepare(struct wback *wb, const struct wback_want *want)
{
	uint64_t last = 0;
	struct op *op;

	mutex_lock(&wb->lock);
	op = next_due(wb, want);
	/* Of some that may be taken, not all: what is behind is as old. */
	for (size_t k = 1; op && k <= MIN(wb->ready_n, (size_t)512); k++)
		if (is_due(wb->ready[k], want, clock_ms()))
			last = MAX(last, last_change(wb->ready[k]));
	mutex_unlock(&wb->lock);
	if (!op)
		return false;
	if (last > log_durable(wb->log))
		(void)log_sync(wb->log, last);
	return true;
}

static struct wback_job *take_one(struct wback *wb, const struct wback_want *want,
				  int *ret_error)
	REQUIRES(wb->order)
{
	struct rec r = { .type = REC_START };
	struct wback_job *job = NULL;
	struct op *op;
	int e;

	mutex_lock(&wb->lock);
	op = next_due(wb, want);
	if (op && last_change(op) > log_durable(wb->log))
		op = NULL; /* changed since; next time */
	if (op) {
		r.id = op->log_id;
		r.obj = op->obj->ref;
		r.error = op->kind;
		r.when = op->obj->store && op->obj->mask & ATTR_MTIME;
		r.now = want->unique_time(want->arg);
		ready_remove(wb, op);
	}
	mutex_unlock(&wb->lock);
	if (!op)
		return NULL;
	/* Nobody else ends or changes it: that takes `order`. */
	e = wback_control(wb, &r, NULL);
	mutex_lock(&wb->lock);
	if (e < 0) {
		op_check(wb, op);
		*ret_error = e;
	} else {
		job = make_job(op);
	}
	mutex_unlock(&wb->lock);
	return job;
}

int wback_take(struct wback *wb, const struct wback_want *want,
	       struct wback_job **ret, unsigned n)
{
	unsigned taken = 0;
	int e = 0;

	if (!prepare(wb, want))
		return 0;
	mutex_lock(&wb->order);
	while (taken < n && e == 0) {
		struct wback_job *job = take_one(wb, want, &e);

		if (!job)
			break;
		ret[taken++] = job;
	}
	mutex_unlock(&wb->order);
	return taken > 0 ? (int)taken : e;
}

uint64_t wback_due(struct wback *wb, const struct wback_want *want)
{
	uint64_t due = UINT64_MAX;

	mutex_lock(&wb->lock);
	if (wb->ready_n > 0)
		due = wb->ready[1]->id <= want->force ?
			      0 :
			      wb->ready[1]->born_ms + want->delay_ms;
	mutex_unlock(&wb->lock);
	return due;
}

/* ---- what came of it ---- */

void wback_done(struct wback *wb, struct wback_job *job,
		const struct handle *fh, const struct attr *now,
		struct wback_settled *ret)
{
	struct rec r = { .type = REC_DONE, .id = job->id, .obj = job->obj };

	r.error = job->kind != JOB_MAKE && job->kind != JOB_STORE;
	if (fh)
		r.obj.fh = *fh;
	if (now) {
		r.obj.fsid = now->fsid;
		r.obj.fileid = now->fileid;
		r.obj.size = now->size;
		r.obj.mtime = now->mtime;
	} else {
		r.obj.fileid = 0; /* version not known */
		if (job->kind == JOB_STORE)
			r.obj.size = job->attr.size;
	}
	mutex_lock(&wb->order);
	/* If it cannot be noted, the log on disk still says that it was sent:
	 * harmless. */
	(void)wback_control(wb, &r, ret);
	wback_trim(wb);
	mutex_unlock(&wb->order);
	wback_job_free(job);
}

/* As the report of something that was done before the log begins. */
void wback_moved(struct wback *wb, uint64_t ino, const struct handle *fh)
{
	struct rec r = { .type = REC_DONE, .error = true,
			 .obj = { .ino = ino, .fh = *fh } };

	mutex_lock(&wb->order);
	(void)wback_control(wb, &r, NULL);
	mutex_unlock(&wb->order);
}

void wback_undo(struct wback *wb, struct wback_job *job, bool maybe)
{
	struct rec r = { .type = REC_UNDO, .id = job->id, .error = maybe };

	mutex_lock(&wb->order);
	(void)wback_control(wb, &r, NULL);
	mutex_unlock(&wb->order);
	wback_job_free(job);
}

void wback_stuck(struct wback *wb, struct wback_job *job, int err)
{
	struct rec r = { .type = REC_STUCK, .id = job->id, .error = err };

	mutex_lock(&wb->order);
	(void)wback_control(wb, &r, NULL);
	mutex_unlock(&wb->order);
	wback_job_free(job);
}

/* ---- troubles ---- */

void wback_troubles(struct wback *wb, wback_trouble_fn *fn, void *arg)
{
	struct op *op;

	mutex_lock(&wb->lock);
	TAILQ_FOREACH(op, &wb->ops, link) {
		struct wback_trouble t = {
			.id = op->log_id, .kind = TROUBLE_STUCK, .job = op->kind,
			.error = op->error, .ino = op->obj->ref.ino,
			.dir = op->dir ? op->dir->ref.ino :
					 op->obj->ref.parent,
			.name = op->name ? op->name->text : NULL,
		};

		if (op->state == OP_STUCK)
			fn(arg, &t);
	}
	for (struct trouble_copy *c = wb->copies; c; c = c->next) {
		struct wback_trouble t = {
			.id = c->id, .kind = TROUBLE_COPY, .dir = c->dir,
			.name = c->name, .of = c->of, .when = c->when,
		};

		fn(arg, &t);
	}
	mutex_unlock(&wb->lock);
}

int wback_note_copy(struct wback *wb, uint64_t dir, const char *name,
		    const char *of)
{
	struct rec r = { .type = REC_COPY, .dir.ino = dir, .name = name,
			 .newname = of, .when = time(NULL) };
	int e;

	mutex_lock(&wb->order);
	r.id = log_last(wb->log) + 1;
	e = wback_control(wb, &r, NULL);
	mutex_unlock(&wb->order);
	return e;
}

static bool is_stuck(struct wback *wb, uint64_t id)
{
	struct op *op;
	bool stuck;

	mutex_lock(&wb->lock);
	op = op_find(wb, id);
	stuck = op && op->state == OP_STUCK;
	mutex_unlock(&wb->lock);
	return stuck;
}

int wback_retry(struct wback *wb, uint64_t id)
{
	struct rec r = { .type = REC_RETRY, .id = id };
	int e = -ENOENT;

	mutex_lock(&wb->order);
	if (is_stuck(wb, id))
		e = wback_control(wb, &r, NULL);
	mutex_unlock(&wb->order);
	return e;
}

void wback_retry_all(struct wback *wb)
{
	uint64_t last = 0;

	for (;;) {
		struct op *op;
		uint64_t id = 0;

		mutex_lock(&wb->lock);
		TAILQ_FOREACH(op, &wb->ops, link)
			if (wb->stuck_n && op->state == OP_STUCK &&
			    op->id > last) {
				id = op->log_id;
				last = op->id;
				break;
			}
		mutex_unlock(&wb->lock);
		if (id == 0)
			break;
		(void)wback_retry(wb, id);
	}
}

int wback_drop(struct wback *wb, uint64_t id, struct wback_settled *ret)
{
	struct rec r = { .type = REC_DROP, .id = id };
	bool copy = false;
	int e = -ENOENT;

	mutex_lock(&wb->order);
	mutex_lock(&wb->lock);
	for (struct trouble_copy *c = wb->copies; c; c = c->next)
		copy |= c->id == id;
	mutex_unlock(&wb->lock);
	if (copy || is_stuck(wb, id))
		e = wback_control(wb, &r, ret);
	wback_trim(wb);
	mutex_unlock(&wb->order);
	return e;
}

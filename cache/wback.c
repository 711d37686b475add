/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback.c: opens and closes the write-back log, puts changes into it, and
 * answers what the overlay says. The design is in wback_int.h, the files in
 * wback_log.c.
 */
#include "wback_int.h"

#include "msg.h"

enum {
	SEGMENT_BYTES_MIN = 2 * 1024 * 1024,
	SEGMENT_BYTES_MAX = 16 * 1024 * 1024,
	TRIM_EVERY = 64,
	OP_BYTES = 1024, /* what an op counts for: it takes memory, too */
};

/* ---- opening ---- */

static void replay(void *arg, const struct rec *r, struct segment *seg,
		   uint64_t data_at)
{
	struct wback *wb = arg;

	mutex_lock(&wb->lock);
	rec_apply(wb, r, seg, data_at, NULL);
	wb->replayed++;
	mutex_unlock(&wb->lock);
}

/* What was removed has no users. */
static void end_replay(struct wback *wb) REQUIRES(wb->lock)
{
	struct op *op;

	for (size_t k = 0; k < wb->objects.size; k++)
		for (struct object *o = wb->objects.slots[k]; o;
		     o = o->next_hash) {
			if (o->fresh && !o->make)
				cancel_unmade(wb, o);
			o->forgotten = o->removed;
			if (!object_is_dirty(o))
				object_mark(wb, o);
		}
	settle_marked(wb, NULL);
	/* A handle may have come from a record about something else. */
	TAILQ_FOREACH(op, &wb->ops, link)
		op_check(wb, op);
	wb->replaying = false;
}

/* What was being sent is to be sent again. The log says so, too: what follows
 * was done knowing it, and is replayed so. */
static void undo_sent(struct wback *wb) REQUIRES(wb->order)
{
	struct op *op;

	do {
		struct rec r = { .type = REC_UNDO, .error = true };

		mutex_lock(&wb->lock);
		TAILQ_FOREACH(op, &wb->ops, link)
			if (op->state == OP_SENT)
				break;
		if (op)
			r.id = op->log_id;
		mutex_unlock(&wb->lock);
		if (op)
			(void)wback_control(wb, &r, NULL);
	} while (op);
}

static void wback_free(struct wback *wb)
{
	struct op *op;

	/* Only memory: the log has it all. */
	wb->replaying = true;
	while ((op = TAILQ_FIRST(&wb->ops)))
		op_end(wb, op);
	for (size_t k = 0; k < wb->objects.size; k++)
		for (struct object *o = wb->objects.slots[k]; o;
		     o = o->next_hash)
			object_mark(wb, o);
	settle_marked(wb, NULL);
	while (wb->copies) {
		struct trouble_copy *c = wb->copies;

		wb->copies = c->next;
		free(c);
	}
	free(wb->objects.slots);
	free(wb->names.slots);
	free(wb->ready);
	cond_destroy(&wb->room);
	mutex_destroy(&wb->lock);
	mutex_destroy(&wb->order);
	free(wb);
}

int wback_open(const char *dir, const char *server,
	       const struct wback_options *o, struct wback **ret,
	       char **ret_why)
{
	struct wback *wb = calloc(1, sizeof(*wb));
	struct log_options lo = {
		.server = server,
		.segment_bytes =
			o->segment_bytes ?
				o->segment_bytes :
				MIN(MAX(o->bytes_max / 16,
					(uint64_t)SEGMENT_BYTES_MIN),
				    (uint64_t)SEGMENT_BYTES_MAX),
		.keep_free = o->keep_free,
		.interval_ms = o->interval_ms,
	};
	int r;

	*ret_why = NULL;
	if (!wb)
		return -ENOMEM;
	wb->o = *o;
	wb->replaying = true;
	TAILQ_INIT(&wb->ops);
	mutex_init(&wb->order);
	mutex_init(&wb->lock);
	cond_init(&wb->room);
	r = log_open(dir, &lo, replay, wb, &wb->log, ret_why);
	mutex_lock(&wb->order);
	mutex_lock(&wb->lock);
	if (r == 0)
		end_replay(wb);
	mutex_unlock(&wb->lock);
	if (r == 0) {
		undo_sent(wb);
		wback_trim(wb);
	}
	mutex_unlock(&wb->order);
	if (r < 0) {
		wback_free(wb);
		return r;
	}
	*ret = wb;
	return 0;
}

void wback_close(struct wback *wb)
{
	if (!wb)
		return;
	log_close(wb->log);
	wback_free(wb);
}

uint64_t wback_ino_bound(struct wback *wb)
{
	uint64_t n;

	mutex_lock(&wb->lock);
	n = wb->ino_bound;
	mutex_unlock(&wb->lock);
	return n;
}

void wback_refs(struct wback *wb, wback_ref_fn *fn, void *arg)
{
	mutex_lock(&wb->lock);
	for (size_t k = 0; k < wb->objects.size; k++)
		for (struct object *o = wb->objects.slots[k]; o;
		     o = o->next_hash)
			if (!o->fresh)
				fn(arg, &o->ref);
	mutex_unlock(&wb->lock);
}

/* ---- changes ---- */

/* Replaying the record must not need more than the log will have: what we know
 * of @ref is filled in, and the version is the one that the overlay began with.
 * False: nothing is known. */
static bool complete(struct wback *wb, struct wback_ref *ref) REQUIRES(wb->lock)
{
	const struct object *o = object_find(wb, ref->ino);

	if (!o)
		return ref->ino == 0 || ref->fh.len > 0;
	if (ref->parent == 0) { /* a bare number */
		ref->parent = o->ref.parent;
		ref->nlink = o->fresh ? o->attr.nlink :
					(uint32_t)((int)o->ref.nlink +
						   o->nlink_delta);
	}
	if (ref->mode == 0)
		ref->mode = o->attr.mode;
	if (o->removed)
		ref->nlink = 0;
	if (!o->fresh) {
		ref->fh = o->ref.fh;
		ref->fsid = o->ref.fsid;
		/* A store that may have been done: it moved on, perhaps. */
		ref->fileid = o->base_known && !(o->store && o->store->again) ?
				      o->ref.fileid :
				      0;
		ref->size = o->ref.size;
		ref->mtime = o->ref.mtime;
	}
	return true;
}

static int complete_rec(struct wback *wb, struct rec *r)
{
	const struct object *o;
	bool ok;

	mutex_lock(&wb->lock);
	ok = (r->type == REC_MAKE || complete(wb, &r->obj)) &&
	     complete(wb, &r->dir) && complete(wb, &r->newdir) &&
	     complete(wb, &r->replaced);
	o = object_find(wb, r->obj.ino);
	r->seen_size = o && o->local & ATTR_SIZE ? o->attr.size : SEEN_NONE;
	mutex_unlock(&wb->lock);
	return ok ? 0 : -EAGAIN;
}

static const enum rec_type types[] = {
	[WBACK_MAKE] = REC_MAKE,       [WBACK_LINK] = REC_LINK,
	[WBACK_REMOVE] = REC_REMOVE,   [WBACK_RENAME] = REC_RENAME,
	[WBACK_SETATTR] = REC_SETATTR, [WBACK_WRITE] = REC_WRITE,
};

static void keep_reserve(struct wback *wb) REQUIRES(wb->order)
{
	mutex_lock(&wb->lock);
	log_set_pending(wb->log, wb->ops_n);
	mutex_unlock(&wb->lock);
}

int wback_apply(struct wback *wb, const struct wback_change *ch,
		uint64_t *ret_seq, struct wback_settled *ret)
{
	struct rec r = {
		.type = types[ch->op], .obj = ch->obj, .dir = ch->dir,
		.newdir = ch->newdir, .replaced = ch->replaced,
		.name = ch->name, .newname = ch->newname,
		.target = ch->target, .mask = ch->mask, .attr = ch->attr,
		.now = ch->now, .offset = ch->offset, .len = ch->len,
	};
	struct segment *seg;
	uint64_t data_at;
	bool trim = false;
	int e;

	mutex_lock(&wb->order);
	keep_reserve(wb);
	e = complete_rec(wb, &r);
	if (e == 0)
		e = log_append(wb->log, &r, ch->data, false, &seg, &data_at);
	wb->full = e == -ENOSPC;
	if (e == 0) {
		mutex_lock(&wb->lock);
		rec_apply(wb, &r, seg, data_at, ret);
		trim = wb->ops_n == 0 || r.seq % TRIM_EVERY == 0;
		mutex_unlock(&wb->lock);
	}
	/* What was undone before it was sent leaves no report to trim by. */
	if (trim)
		wback_trim(wb);
	mutex_unlock(&wb->order);
	if (e == 0 && ret_seq)
		*ret_seq = r.seq;
	return e;
}

int wback_control(struct wback *wb, struct rec *r, struct wback_settled *ret)
{
	struct segment *seg;
	uint64_t data_at;
	int e = log_append(wb->log, r, NULL, true, &seg, &data_at);

	/* What came of a job must be seen in any case. */
	if (e < 0 && (r->type == REC_START || r->type == REC_RETRY ||
		      r->type == REC_DROP || r->type == REC_COPY))
		return e;
	mutex_lock(&wb->lock);
	if (e < 0)
		r->seq = log_last(wb->log);
	rec_apply(wb, r, e < 0 ? NULL : seg, data_at, ret);
	mutex_unlock(&wb->lock);
	return e;
}

/* Delete what no pending change needs. */
void wback_trim(struct wback *wb)
{
	struct op *op;
	uint64_t keep;

	mutex_lock(&wb->lock);
	op = TAILQ_FIRST(&wb->ops);
	keep = op ? op->segment : UINT64_MAX;
	for (; wb->inherits_n && op; op = TAILQ_NEXT(op, link))
		keep = MIN(keep, op->segment);
	for (struct trouble_copy *c = wb->copies; c; c = c->next)
		keep = MIN(keep, c->segment);
	cond_broadcast(&wb->room);
	mutex_unlock(&wb->lock);
	log_trim(wb->log, keep);
}

/* What pending changes take up, of the disk or of memory. */
static uint64_t used_bytes(struct wback *wb)
{
	uint64_t used = log_bytes(wb->log);

	mutex_lock(&wb->lock);
	used = MAX(used, wb->ops_n * OP_BYTES);
	mutex_unlock(&wb->lock);
	return used;
}

/* Is anything left to be sent that what is stuck does not hold up? */
static bool moves(struct wback *wb)
{
	bool yes;

	mutex_lock(&wb->lock);
	yes = wb->ready_n > 0 || wb->sent_n > 0 || wb->ops_n == 0;
	mutex_unlock(&wb->lock);
	return yes;
}

int wback_room(struct wback *wb, uint64_t bytes)
{
	int r = 0;

	if (used_bytes(wb) + bytes > wb->o.bytes_max) {
		/* What was undone before it was sent leaves by no report. */
		mutex_lock(&wb->order);
		wback_trim(wb);
		mutex_unlock(&wb->order);
		if (used_bytes(wb) + bytes > wb->o.bytes_max)
			return moves(wb) ? -EAGAIN : -ENOSPC;
	}
	mutex_lock(&wb->order);
	keep_reserve(wb);
	r = log_room(wb->log, bytes);
	wb->full = r == -ENOSPC;
	mutex_unlock(&wb->order);
	return r;
}

void wback_wait_room(struct wback *wb, uint64_t deadline_ms)
{
	mutex_lock(&wb->lock);
	(void)cond_wait_until(&wb->room, &wb->lock, deadline_ms);
	mutex_unlock(&wb->lock);
}

int wback_sync(struct wback *wb, uint64_t seq)
{
	return log_sync(wb->log, seq);
}

void wback_forget(struct wback *wb, uint64_t ino)
{
	struct object *o;

	mutex_lock(&wb->lock);
	o = object_find(wb, ino);
	if (o && o->removed) {
		o->forgotten = true;
		object_mark(wb, o);
		settle_marked(wb, NULL);
	}
	mutex_unlock(&wb->lock);
}

/* ---- the overlay ---- */

bool wback_get(struct wback *wb, uint64_t ino, struct wback_view *ret)
{
	struct object *o;

	mutex_lock(&wb->lock);
	o = object_find(wb, ino);
	if (o)
		object_view(o, ret);
	mutex_unlock(&wb->lock);
	return o;
}

bool wback_is_pending(struct wback *wb, uint64_t ino)
{
	struct object *o;
	bool pending;

	mutex_lock(&wb->lock);
	o = object_find(wb, ino);
	pending = o && object_is_dirty(o);
	mutex_unlock(&wb->lock);
	return pending;
}

int wback_name_get(struct wback *wb, uint64_t dir, const char *name,
		   uint64_t *ret_ino, uint8_t *ret_type)
{
	struct name *n;
	int r = 0;

	mutex_lock(&wb->lock);
	n = name_find(wb, dir, name);
	if (n && n->ino) {
		*ret_ino = n->ino;
		*ret_type = n->type;
		r = 1;
	} else if (n) {
		r = -ENOENT;
	}
	mutex_unlock(&wb->lock);
	return r;
}

/* The first name of an offset greater than @after; holes stand anywhere. */
static size_t names_from(const struct object *o, uint64_t after)
{
	size_t lo = 0, hi = o->names_n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2, k = mid;

		while (k < hi && !o->names[k])
			k++;
		if (k == hi || o->names[k]->offset > after)
			hi = mid;
		else
			lo = k + 1;
	}
	return lo;
}

unsigned wback_names(struct wback *wb, uint64_t dir, uint64_t after,
		     struct wback_dirent *ret, unsigned n)
{
	struct object *o;
	unsigned found = 0;

	mutex_lock(&wb->lock);
	o = object_find(wb, dir);
	if (o && o->names_n > 0) {
		names_sort(o);
		for (size_t k = names_from(o, after);
		     k < o->names_n && found < n; k++) {
			const struct name *e = o->names[k];

			if (!e)
				continue;
			ret[found].offset = e->offset;
			ret[found].ino = e->ino;
			ret[found].type = e->type;
			ret[found].absent = e->ino == 0;
			strcpy(ret[found].name, e->text);
			found++;
		}
	}
	mutex_unlock(&wb->lock);
	return found;
}

int wback_readlink(struct wback *wb, uint64_t ino, char **ret)
{
	struct object *o;
	int r = -ENOENT;

	mutex_lock(&wb->lock);
	o = object_find(wb, ino);
	if (o && o->target) {
		*ret = strdup(o->target);
		r = *ret ? 0 : -ENOMEM;
	}
	mutex_unlock(&wb->lock);
	return r;
}

int wback_read(struct wback *wb, uint64_t ino, uint64_t offset, uint32_t len,
	       void *buf, enum wback_source *ret_source, uint32_t *ret_n)
{
	struct segment *seg = NULL;
	struct object *o;
	uint64_t end = offset + len, at = 0, trunc;
	int r = 0;

	*ret_source = WBACK_SERVER;
	mutex_lock(&wb->lock);
	o = object_find(wb, ino);
	if (o) {
		unsigned k = extents_find(&o->data, offset);
		const struct extent *x = &o->data.v[k];

		trunc = o->fresh ? 0 : MIN(o->trunc, o->trunc_sending);
		if (k < o->data.n && x->offset <= offset) {
			*ret_source = WBACK_DATA;
			end = MIN(end, x->offset + x->len);
			at = x->at + (offset - x->offset);
			seg = segment_ref(x->seg);
		} else {
			if (k < o->data.n)
				end = MIN(end, x->offset);
			if (offset >= trunc)
				*ret_source = WBACK_ZERO;
			else
				end = MIN(end, trunc);
		}
	}
	mutex_unlock(&wb->lock);
	*ret_n = (uint32_t)(end - offset);
	if (seg)
		r = segment_read(seg, at, buf, *ret_n);
	segment_unref(seg);
	return r;
}

void wback_get_stats(struct wback *wb, struct wback_stats *ret)
{
	struct op *first;

	*ret = (struct wback_stats){ .log_bytes = log_bytes(wb->log),
				     .seq = log_last(wb->log),
				     .durable = log_durable(wb->log) };
	mutex_lock(&wb->order);
	ret->full = wb->full;
	mutex_unlock(&wb->order);
	mutex_lock(&wb->lock);
	first = TAILQ_FIRST(&wb->ops);
	ret->ops = wb->ops_n;
	ret->inodes = wb->objects.n;
	ret->data_bytes = wb->data_bytes;
	ret->oldest_ms = first ? clock_ms() - first->born_ms : 0;
	ret->stuck = wb->stuck_n;
	ret->copies = wb->copies_n;
	ret->cancelled = wb->cancelled;
	ret->replayed = wb->replayed;
	ret->first = ret->seq + 1;
	if (wb->stuck_n)
		mark_blocked(wb);
	while (first && wb->stuck_n && first->blocked)
		first = TAILQ_NEXT(first, link);
	if (first)
		ret->first = first->id;
	mutex_unlock(&wb->lock);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_check.c: the invariants of the write-back log's state, for tests. */
#include "wback_int.h"

#include "msg.h"

static void broken(const char *what, uint64_t of)
{
	msg_error("wback_check: %s (%llu)", what, (unsigned long long)of);
	abort();
}

#define HOLDS(of, condition)                     \
	do {                                     \
		if (!(condition))                \
			broken(#condition, (of)); \
	} while (0)

static void check_queue(const struct queue *q, uint64_t of)
{
	uint64_t last = 0;

	HOLDS(of, (q->first == NULL) == (q->last == NULL));
	for (const struct touch *x = q->first; x; x = x->next) {
		HOLDS(of, x->queue == q);
		/* A rename within a directory stands in its queue twice. */
		HOLDS(of, x->op->id > last ||
				  (x->op->id == last && x->prev->op == x->op));
		HOLDS(of, x->next ? x->next->prev == x : q->last == x);
		last = x->op->id;
	}
}

/* Something is to be sent that nobody carries. */
static bool is_lost(const struct object *o)
{
	bool something = o->mask || o->trunc != TRUNC_NONE;

	for (unsigned k = 0; k < o->data.n; k++)
		something |= !o->sending && !o->store;
	if (!something || o->removed || o->store)
		return false;
	if (o->make && o->make->state != OP_SENT && !o->make->again)
		return o->data.n > 0;
	for (const struct touch *x = o->ops.first; x; x = x->next)
		if (x->op->kind == JOB_STORE)
			return o->mask || o->trunc != TRUNC_NONE;
	return true;
}

static void check_object(const struct wback *wb, const struct object *o)
{
	uint64_t ino = o->ref.ino, bytes = 0, end = 0;
	size_t names = 0;

	check_queue(&o->ops, ino);
	check_queue(&o->in, ino);
	for (unsigned k = 0; k < o->data.n; k++) {
		const struct extent *x = &o->data.v[k];

		HOLDS(ino, x->len > 0 && x->offset >= end);
		end = x->offset + x->len;
		bytes += x->len;
	}
	HOLDS(ino, bytes == o->data.bytes);
	HOLDS(ino, !(o->local & ATTR_SIZE) || end <= o->attr.size);
	HOLDS(ino, !o->marked);
	HOLDS(ino, !o->fresh || o->make || o->removed);
	HOLDS(ino, !o->store || (o->store->state != OP_SENT &&
				 o->store->kind == JOB_STORE));
	HOLDS(ino, !is_lost(o));
	HOLDS(ino, object_is_dirty(o) || o->removed);
	for (size_t k = 0; k < o->names_n; k++)
		if (o->names[k]) {
			names++;
			HOLDS(ino, o->names[k]->at == k);
			HOLDS(ino, o->names[k]->ops.first);
			check_queue(&o->names[k]->ops, ino);
		}
	HOLDS(ino, names + o->holes == o->names_n);
	(void)wb;
}

static void check_op(struct wback *wb, struct op *op)
{
	bool ready = op->heap_at != 0;

	HOLDS(op->id, !ready || wb->ready[op->heap_at] == op);
	HOLDS(op->id, !ready || op->state == OP_WAITING);
	op_check(wb, op);
	HOLDS(op->id, ready == (op->heap_at != 0));
}

void wback_check(struct wback *wb)
{
	uint64_t n = 0, bytes = 0, last = 0, stuck = 0, sent = 0, inherits = 0;
	struct op *op;

	mutex_lock(&wb->lock);
	for (size_t k = 0; k < wb->objects.size; k++)
		for (struct object *o = wb->objects.slots[k]; o;
		     o = o->next_hash) {
			check_object(wb, o);
			if (!o->removed)
				bytes += o->data.bytes;
		}
	TAILQ_FOREACH(op, &wb->ops, link) {
		HOLDS(op->id, op->id > last);
		last = op->id;
		n++;
		stuck += op->state == OP_STUCK;
		sent += op->state == OP_SENT;
		inherits += op->inherits;
		check_op(wb, op);
	}
	HOLDS(n, n == wb->ops_n);
	HOLDS(stuck, stuck == wb->stuck_n);
	HOLDS(sent, sent == wb->sent_n);
	HOLDS(inherits, inherits == wb->inherits_n);
	HOLDS(bytes, bytes == wb->data_bytes);
	for (size_t k = 2; k <= wb->ready_n; k++)
		HOLDS(k, wb->ready[k / 2]->id < wb->ready[k]->id);
	mutex_unlock(&wb->lock);
}

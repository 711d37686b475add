/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_ready.c: the ops that may be sent, a heap by id: the oldest is first. Under
 * wback.lock.
 */
#include "wback_int.h"

static void heap_set(struct wback *wb, size_t at, struct op *op)
{
	wb->ready[at] = op;
	op->heap_at = at;
}

static void heap_up(struct wback *wb, size_t at)
{
	struct op *op = wb->ready[at];

	for (; at > 1 && wb->ready[at / 2]->id > op->id; at /= 2)
		heap_set(wb, at, wb->ready[at / 2]);
	heap_set(wb, at, op);
}

static void heap_down(struct wback *wb, size_t at)
{
	struct op *op = wb->ready[at];
	size_t child;

	for (; (child = 2 * at) <= wb->ready_n; at = child) {
		if (child < wb->ready_n &&
		    wb->ready[child + 1]->id < wb->ready[child]->id)
			child++;
		if (wb->ready[child]->id >= op->id)
			break;
		heap_set(wb, at, wb->ready[child]);
	}
	heap_set(wb, at, op);
}

void ready_add(struct wback *wb, struct op *op)
{
	if (wb->ready_n + 2 > wb->ready_cap) {
		wb->ready_cap = wb->ready_cap ? 2 * wb->ready_cap : 64;
		wb->ready = reallocarray(wb->ready, wb->ready_cap,
					 sizeof(struct op *));
		if (!wb->ready)
			abort();
	}
	heap_set(wb, ++wb->ready_n, op);
	heap_up(wb, wb->ready_n);
}

void ready_remove(struct wback *wb, struct op *op)
{
	size_t at = op->heap_at;
	struct op *last;

	if (at == 0)
		return;
	op->heap_at = 0;
	last = wb->ready[wb->ready_n--];
	if (last == op)
		return;
	heap_set(wb, at, last);
	heap_up(wb, at);
	heap_down(wb, last->heap_at);
}

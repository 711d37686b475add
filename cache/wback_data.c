/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_data.c: which bytes of a file are newer than the server's, and where in
 * the log they are. An extent is a part of one record's contents; later ones
 * cut earlier ones. No lock: the object's owner has it.
 */
#include "wback_int.h"

unsigned extents_find(const struct extents *e, uint64_t offset)
{
	unsigned lo = 0, hi = e->n;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (e->v[mid].offset + e->v[mid].len <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Room for @n at @at. */
static void open_gap(struct extents *e, unsigned at, unsigned n)
{
	if (e->n + n > e->cap) {
		e->cap = MAX(e->n + n, e->cap + e->cap / 2);
		e->v = reallocarray(e->v, e->cap, sizeof(*e->v));
		if (!e->v)
			abort();
	}
	memmove(e->v + at + n, e->v + at, (e->n - at) * sizeof(*e->v));
	e->n += n;
}

static void remove_at(struct extents *e, unsigned at)
{
	e->bytes -= e->v[at].len;
	segment_unref(e->v[at].seg);
	memmove(e->v + at, e->v + at + 1, (e->n - at - 1) * sizeof(*e->v));
	e->n--;
}

static void cut_front(struct extents *e, struct extent *x, uint64_t n)
{
	e->bytes -= n;
	x->offset += n;
	x->at += n;
	x->len -= n;
}

static void cut_back(struct extents *e, struct extent *x, uint64_t end)
{
	e->bytes -= x->offset + x->len - end;
	x->len = end - x->offset;
}

/* Takes a reference on @x's segment. */
void extents_put(struct extents *e, const struct extent *x)
{
	uint64_t end = x->offset + x->len;
	unsigned k = extents_find(e, x->offset);

	if (x->len == 0)
		return;
	if (k < e->n && e->v[k].offset < x->offset) {
		struct extent *old = &e->v[k];

		if (old->offset + old->len > end) { /* in its middle: split */
			open_gap(e, k + 1, 1);
			e->v[k + 1] = e->v[k];
			(void)segment_ref(e->v[k].seg);
			e->bytes += e->v[k].len;
			cut_front(e, &e->v[k + 1], end - e->v[k].offset);
		}
		cut_back(e, &e->v[k], x->offset);
		k++;
	}
	while (k < e->n && e->v[k].offset + e->v[k].len <= end)
		remove_at(e, k);
	if (k < e->n && e->v[k].offset < end)
		cut_front(e, &e->v[k], end - e->v[k].offset);
	open_gap(e, k, 1);
	e->v[k] = *x;
	e->bytes += x->len;
	(void)segment_ref(x->seg);
}

void extents_cut(struct extents *e, uint64_t size)
{
	unsigned k = extents_find(e, size);

	if (k < e->n && e->v[k].offset < size) {
		cut_back(e, &e->v[k], size);
		k++;
	}
	while (e->n > k)
		remove_at(e, e->n - 1);
}

void extents_drop(struct extents *e, uint64_t upto_seq)
{
	unsigned kept = 0;

	for (unsigned k = 0; k < e->n; k++) {
		if (e->v[k].seq <= upto_seq) {
			e->bytes -= e->v[k].len;
			segment_unref(e->v[k].seg);
		} else {
			e->v[kept++] = e->v[k];
		}
	}
	e->n = kept;
	if (kept == 0)
		extents_free(e);
}

void extents_free(struct extents *e)
{
	for (unsigned k = 0; k < e->n; k++)
		segment_unref(e->v[k].seg);
	free(e->v);
	*e = (struct extents){ 0 };
}

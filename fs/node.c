/* SPDX-License-Identifier: GPL-2.0-or-later */
/* node.c: owns a hash table with open addressing and linear probing; a free
 * slot has ino 0. Deletion moves later members of a run back, so that there are
 * no tombstones and the table may be kept two thirds full. One lock.
 */
#include "node.h"

#include "../cache/sync.h"

struct slot {
	uint64_t ino, count;
};

struct nodes {
	struct mutex lock;
	struct slot *slots;
	size_t mask; /* slots - 1, a power of two less one */
	size_t used;
	uint64_t *count; /* the same, for others to read */
};

enum { SLOTS_MIN = 1024 };

int nodes_new(uint64_t *count, struct nodes **ret)
{
	struct nodes *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->slots = calloc(SLOTS_MIN, sizeof(*n->slots));
	if (!n->slots) {
		free(n);
		return -ENOMEM;
	}
	n->mask = SLOTS_MIN - 1;
	n->count = count;
	mutex_init(&n->lock);
	*ret = n;
	return 0;
}

void nodes_free(struct nodes *n)
{
	if (!n)
		return;
	mutex_destroy(&n->lock);
	free(n->slots);
	free(n);
}

static void set_used(struct nodes *n, size_t used) REQUIRES(n->lock)
{
	n->used = used;
	__atomic_store_n(n->count, used, __ATOMIC_RELAXED);
}

static size_t home(const struct nodes *n, uint64_t ino)
{
	return (size_t)((ino * 0x9E3779B97F4A7C15u) >> 20) & n->mask;
}

static struct slot *find(struct nodes *n, uint64_t ino) REQUIRES(n->lock)
{
	size_t k = home(n, ino);

	while (n->slots[k].ino != 0 && n->slots[k].ino != ino)
		k = (k + 1) & n->mask;
	return &n->slots[k];
}

static void resize(struct nodes *n, size_t slots) REQUIRES(n->lock)
{
	struct slot *old = n->slots;
	size_t old_n = n->mask + 1;

	n->slots = calloc(slots, sizeof(*n->slots));
	if (!n->slots)
		abort();
	n->mask = slots - 1;
	for (size_t k = 0; k < old_n; k++)
		if (old[k].ino != 0)
			*find(n, old[k].ino) = old[k];
	free(old);
}

void nodes_ref(struct nodes *n, uint64_t ino)
{
	struct slot *s;

	mutex_lock(&n->lock);
	s = find(n, ino);
	if (s->ino == 0) {
		if ((n->used + 1) * 3 > (n->mask + 1) * 2) {
			resize(n, (n->mask + 1) * 2);
			s = find(n, ino);
		}
		s->ino = ino;
		set_used(n, n->used + 1);
	}
	s->count++;
	mutex_unlock(&n->lock);
}

/* Empty slot @k, and pull back what had to go further because of it. */
static void erase(struct nodes *n, size_t k) REQUIRES(n->lock)
{
	size_t next = k;

	for (;;) {
		next = (next + 1) & n->mask;
		if (n->slots[next].ino == 0)
			break;
		size_t want = home(n, n->slots[next].ino);
		if (((next - want) & n->mask) >= ((next - k) & n->mask)) {
			n->slots[k] = n->slots[next];
			k = next;
		}
	}
	n->slots[k].ino = 0;
	n->slots[k].count = 0;
	set_used(n, n->used - 1);
}

bool nodes_unref(struct nodes *n, uint64_t ino, uint64_t count)
{
	bool last = false;
	struct slot *s;

	mutex_lock(&n->lock);
	s = find(n, ino);
	if (s->ino != 0) {
		last = s->count <= count;
		if (last)
			erase(n, (size_t)(s - n->slots));
		else
			s->count -= count;
	}
	if (n->mask + 1 > SLOTS_MIN && n->used * 8 < n->mask + 1)
		resize(n, (n->mask + 1) / 2);
	mutex_unlock(&n->lock);
	return last;
}

bool nodes_known(struct nodes *n, uint64_t ino)
{
	bool known;

	mutex_lock(&n->lock);
	known = find(n, ino)->ino != 0;
	mutex_unlock(&n->lock);
	return known;
}

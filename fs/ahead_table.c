/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ahead_table.c: the bounded table of what is in use, and the road, the list of
 * directories about to be needed in the order of the need.
 */
#include "ahead_int.h"

enum { SLOTS = SPOTS_MAX };

static struct spot **slot_of(struct ahead *a, uint64_t ino)
{
	return &a->slots[ino * 0x9E3779B97F4A7C15u >> 50];
}

int ahead_new(struct stats *stats, struct ahead **ret)
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->slots = calloc(SLOTS, sizeof(struct spot *));
	if (!a->slots) {
		free(a);
		return -ENOMEM;
	}
	a->stats = stats;
	mutex_init(&a->lock);
	TAILQ_INIT(&a->ages);
	TAILQ_INIT(&a->road);
	TAILQ_INIT(&a->scans);
	TAILQ_INIT(&a->questions);
	a->window = WINDOW_MIN;
	*ret = a;
	return 0;
}

void ahead_free(struct ahead *a)
{
	struct spot *s;

	if (!a)
		return;
	while ((s = TAILQ_FIRST(&a->ages))) {
		TAILQ_REMOVE(&a->ages, s, age);
		free(s);
	}
	free(a->slots);
	mutex_destroy(&a->lock);
	free(a);
}

/* ---- spots ---- */

struct spot *spot_find(struct ahead *a, uint64_t ino)
{
	struct spot *s = *slot_of(a, ino);

	while (s && s->ino != ino)
		s = s->next;
	return s;
}

void spot_task(struct ahead *a, struct spot *s, enum task task)
{
	if (s->task == task)
		return;
	if (s->task != NOTHING)
		TAILQ_REMOVE(s->task == SCAN ? &a->scans : &a->questions, s,
			     job);
	s->task = task;
	if (task != NOTHING)
		TAILQ_INSERT_TAIL(task == SCAN ? &a->scans : &a->questions, s,
				  job);
}

void spot_drop(struct ahead *a, struct spot *s)
{
	struct spot **p = slot_of(a, s->ino), *dir;

	if (s->road == READY)
		road_waste(a, s);
	else if (s->road != OFF)
		road_leave(a, s);
	spot_task(a, s, NOTHING);
	if (s->is_file && (dir = spot_find(a, s->parent)) && dir->files > 0)
		dir->files--;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	TAILQ_REMOVE(&a->ages, s, age);
	a->n--;
	free(s);
}

struct spot *spot_get(struct ahead *a, uint64_t ino)
{
	struct spot *s = spot_find(a, ino);

	if (s) {
		TAILQ_REMOVE(&a->ages, s, age);
	} else {
		if (a->n == SPOTS_MAX)
			spot_drop(a, TAILQ_LAST(&a->ages, spots));
		s = calloc(1, sizeof(*s));
		if (!s)
			return NULL;
		s->ino = ino;
		s->next = *slot_of(a, ino);
		*slot_of(a, ino) = s;
		a->n++;
	}
	TAILQ_INSERT_HEAD(&a->ages, s, age);
	return s;
}

void ahead_forget(struct vfs *v)
{
	struct ahead *a = v->ahead;

	mutex_lock(&a->lock);
	while (a->n > 0)
		spot_drop(a, TAILQ_FIRST(&a->ages));
	mutex_unlock(&a->lock);
}

/* ---- the road ---- */

void road_leave(struct ahead *a, struct spot *s)
{
	road_set(a, s, WANT);
	TAILQ_REMOVE(&a->road, s, way);
	a->road_n--;
	s->road = OFF;
}

void road_set(struct ahead *a, struct spot *s, enum road road)
{
	a->asked += (unsigned)(road == ASKED) - (unsigned)(s->road == ASKED);
	a->ready += (unsigned)(road == READY) - (unsigned)(s->road == READY);
	s->road = road;
}

void road_waste(struct ahead *a, struct spot *s)
{
	stats_add(&a->stats->ahead_wasted, 1);
	a->window = MAX(a->window - 1, (unsigned)WINDOW_MIN);
	road_leave(a, s);
}

bool road_join(struct ahead *a, struct spot *s, struct spot *after)
{
	if (a->road_n == ROAD_MAX) {
		struct spot *last = TAILQ_LAST(&a->road, spots);

		if (last == after)
			return false;
		if (last->road == READY)
			road_waste(a, last);
		else
			road_leave(a, last);
	}
	if (after)
		TAILQ_INSERT_AFTER(&a->road, after, s, way);
	else
		TAILQ_INSERT_HEAD(&a->road, s, way);
	a->road_n++;
	s->road = WANT;
	s->road_ms = clock_ms();
	s->again = s->passed = false;
	return true;
}

void road_turn(struct ahead *a, const struct spot *s)
{
	struct spot *first;

	while ((first = TAILQ_FIRST(&a->road)) != s) {
		TAILQ_REMOVE(&a->road, first, way);
		TAILQ_INSERT_TAIL(&a->road, first, way);
		first->passed = true;
	}
}

struct spot *road_next(struct ahead *a)
{
	struct spot *want, *far;

	if (a->asked + a->ready == a->road_n)
		return NULL;
	want = TAILQ_FIRST(&a->road);
	while (want->road != WANT)
		want = TAILQ_NEXT(want, way);
	if (a->asked + a->ready < a->window)
		return want;
	/* Full: with what somebody walked by, perhaps. */
	far = TAILQ_LAST(&a->road, spots);
	while (far != want && far->road != READY)
		far = TAILQ_PREV(far, spots, way);
	if (far == want || !far->passed)
		return NULL;
	road_waste(a, far);
	return want;
}

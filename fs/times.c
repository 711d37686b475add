/* SPDX-License-Identifier: GPL-2.0-or-later */
/* times.c: modification times that follow written data, sent a moment later.
 *
 * With the writeback cache the kernel stamps a file's mtime itself, and tells us
 * by a SETATTR after each flush of data. The server has stamped the WRITE with
 * its own clock a moment before. Sending every such SETATTR would cost a round
 * trip for each file written, and mostly in vain: tar, cp -p and install set
 * another time right after. So such a time waits for DELAY_MS, is what
 * applications see meanwhile, rides along with the next SETATTR of the file, or
 * is superseded by it. A crash leaves the server's own time of the same write.
 * A time that an application sets by itself is another matter and goes out at
 * once: only a time of the last minutes, of a file that was written since the
 * last time was sent, is taken over.
 *
 *   state      how it comes there                leaves for
 *   WRITTEN    times_written()                   PENDING by times_setattr(); gone
 *                                                after WRITTEN_MS
 *   PENDING    a time was taken over             SENDING when due; gone when a
 *                                                SETATTR carries it along
 *   SENDING    the worker                        gone; WRITTEN when written again
 *                                                meanwhile
 *
 * Entries are in a hash by inode and in one of two queues by due time: as all of
 * a state wait equally long, a queue is a list. One lock, below all others of
 * the vfs but the node table's; `cond` tells the worker of a first entry and
 * others of the end of SENDING.
 */
#include "change.h"

#include <assert.h>

enum { BUCKETS = 1024, DELAY_MS = 1000, WRITTEN_MS = 120 * 1000 };
enum state { WRITTEN, PENDING, SENDING };

struct entry {
	struct entry *next_hash;
	struct entry *prev, *next; /* in the queue of its state */
	uint64_t ino;
	enum state state;
	bool again; /* written while SENDING */
	struct timespec mtime;
	uint64_t due_ms;
};

struct times {
	struct vfs *v;
	pthread_t worker;
	struct mutex lock; /* guards what follows */
	struct cond cond;
	struct entry *buckets[BUCKETS];
	struct entry queue[2]; /* rings: WRITTEN, PENDING */
	unsigned sending;
	bool closing;
};

/* ---- entries; with the lock ---- */

static struct entry **slot(struct times *t, uint64_t ino)
{
	struct entry **p = &t->buckets[ino % BUCKETS];

	while (*p && (*p)->ino != ino)
		p = &(*p)->next_hash;
	return p;
}

static void dequeue(struct entry *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	e->prev = e->next = e;
}

static void enqueue(struct times *t, struct entry *e, enum state state,
		    unsigned delay_ms)
{
	struct entry *ring = &t->queue[state];

	dequeue(e);
	e->state = state;
	e->due_ms = clock_ms() + (t->closing ? 0 : delay_ms);
	e->prev = ring->prev;
	e->next = ring;
	ring->prev->next = e;
	ring->prev = e;
	if (ring->next == e)
		cond_broadcast(&t->cond);
}

static void erase(struct times *t, uint64_t ino)
{
	struct entry **p = slot(t, ino);
	struct entry *e = *p;

	dequeue(e);
	*p = e->next_hash;
	free(e);
}

static struct entry *first(struct times *t, enum state state)
{
	struct entry *e = t->queue[state].next;

	return e == &t->queue[state] ? NULL : e;
}

/* Not while its time is under way: two times of one file in flight could
 * arrive in either order. */
static struct entry *find_settled(struct times *t, uint64_t ino)
	REQUIRES(t->lock)
{
	struct entry *e;

	while ((e = *slot(t, ino)) && e->state == SENDING)
		cond_wait(&t->cond, &t->lock);
	return e;
}

/* ---- sending ---- */

static void sent(struct times *t, uint64_t ino)
{
	struct entry *e;

	mutex_lock(&t->lock);
	e = *slot(t, ino);
	if (e && e->again)
		enqueue(t, e, WRITTEN, WRITTEN_MS);
	else if (e)
		erase(t, ino);
	t->sending--;
	cond_broadcast(&t->cond);
	mutex_unlock(&t->lock);
}

static void send(struct times *t, uint64_t ino, struct timespec mtime)
{
	struct caller nobody = { 0 };
	struct change ch = { .op = CHANGE_SETATTR,
			     .set = { .valid = REMOTE_SET_MTIME,
				      .mtime = mtime } };
	int r;

	meta_begin(t->v->meta);
	r = meta_get(t->v->meta, ino, &ch.obj);
	meta_end(t->v->meta);
	if (r == 0)
		r = through_apply(t->v, &nobody, &ch);
	if (r < 0)
		msg_debug("vfs", "cannot set the time of inode %llu: %s",
			  (unsigned long long)ino, msg_strerror(r));
	sent(t, ino);
}

static void *worker_main(void *arg)
{
	struct times *t = arg;

	mutex_lock(&t->lock);
	for (;;) {
		uint64_t now = clock_ms(), wake = UINT64_MAX;
		struct entry *e = first(t, WRITTEN);

		if (e && (e->due_ms <= now || t->closing)) {
			erase(t, e->ino);
			continue;
		}
		if (e)
			wake = e->due_ms;
		e = first(t, PENDING);
		if (e && (e->due_ms <= now || t->closing)) {
			uint64_t ino = e->ino;
			struct timespec mtime = e->mtime;

			dequeue(e);
			e->state = SENDING;
			e->again = false;
			t->sending++;
			mutex_unlock(&t->lock);
			send(t, ino, mtime);
			mutex_lock(&t->lock);
			continue;
		}
		if (e)
			wake = MIN(wake, e->due_ms);
		if (t->closing && !e && t->sending == 0)
			break;
		if (wake == UINT64_MAX)
			cond_wait(&t->cond, &t->lock);
		else
			(void)cond_wait_until(&t->cond, &t->lock, wake);
	}
	mutex_unlock(&t->lock);
	return NULL;
}

/* ---- the interface ---- */

int times_open(struct vfs *v, struct times **ret)
{
	struct times *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->v = v;
	mutex_init(&t->lock);
	cond_init(&t->cond);
	for (unsigned k = 0; k < ARRAY_LEN(t->queue); k++)
		t->queue[k].prev = t->queue[k].next = &t->queue[k];
	/* Before the worker can ask the vfs for it. */
	*ret = t;
	r = -pthread_create(&t->worker, NULL, worker_main, t);
	if (r < 0) {
		*ret = NULL;
		cond_destroy(&t->cond);
		mutex_destroy(&t->lock);
		free(t);
	}
	return r;
}

void times_close(struct times *t)
{
	if (!t)
		return;
	mutex_lock(&t->lock);
	t->closing = true;
	cond_broadcast(&t->cond);
	mutex_unlock(&t->lock);
	(void)pthread_join(t->worker, NULL);
	t->v->times = NULL;
	cond_destroy(&t->cond);
	mutex_destroy(&t->lock);
	free(t);
}

void times_written(struct times *t, uint64_t ino)
{
	struct entry **p, *e;

	mutex_lock(&t->lock);
	p = slot(t, ino);
	e = *p;
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			abort();
		e->ino = ino;
		e->prev = e->next = e;
		*p = e;
		enqueue(t, e, WRITTEN, WRITTEN_MS);
	} else if (e->state == SENDING) {
		e->again = true;
	} else {
		enqueue(t, e, e->state,
			e->state == PENDING ? DELAY_MS : WRITTEN_MS);
	}
	mutex_unlock(&t->lock);
}

static bool is_recent(const struct timespec *ts)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return ts->tv_sec >= now.tv_sec - WRITTEN_MS / 1000 &&
	       ts->tv_sec <= now.tv_sec + 1;
}

bool times_setattr(struct times *t, uint64_t ino, struct remote_sattr *set)
{
	const unsigned mtime = REMOTE_SET_MTIME | REMOTE_SET_MTIME_NOW;
	bool taken = false;
	struct entry *e;

	mutex_lock(&t->lock);
	e = find_settled(t, ino);
	if (e && set->valid == REMOTE_SET_MTIME && is_recent(&set->mtime)) {
		e->mtime = set->mtime;
		enqueue(t, e, PENDING, DELAY_MS);
		taken = true;
	} else if (e && e->state == PENDING) {
		if (!(set->valid & mtime)) {
			set->valid |= REMOTE_SET_MTIME;
			set->mtime = e->mtime;
		}
		erase(t, ino);
	} else if (e && set->valid & mtime) {
		erase(t, ino);
	}
	mutex_unlock(&t->lock);
	return taken;
}

bool times_pending(struct times *t, uint64_t ino, struct timespec *ret)
{
	bool pending;
	struct entry *e;

	mutex_lock(&t->lock);
	e = *slot(t, ino);
	pending = e && e->state == PENDING;
	if (pending)
		*ret = e->mtime;
	mutex_unlock(&t->lock);
	return pending;
}

void times_drop(struct times *t, uint64_t ino)
{
	struct entry *e;

	mutex_lock(&t->lock);
	e = *slot(t, ino);
	if (e && e->state != SENDING)
		erase(t, ino);
	mutex_unlock(&t->lock);
}

int times_flush(struct times *t, uint64_t ino)
{
	struct entry *e;

	mutex_lock(&t->lock);
	e = *slot(t, ino);
	if (e && e->state == PENDING) {
		struct entry *ring = &t->queue[PENDING];

		dequeue(e); /* to the front */
		e->due_ms = 0;
		e->next = ring->next;
		e->prev = ring;
		ring->next->prev = e;
		ring->next = e;
		cond_broadcast(&t->cond);
	}
	while ((e = *slot(t, ino)) && e->state != WRITTEN)
		cond_wait(&t->cond, &t->lock);
	mutex_unlock(&t->lock);
	return 0;
}

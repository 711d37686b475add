/* SPDX-License-Identifier: GPL-2.0-or-later */
/* times.c: modification times of what was written through, sent a moment later.
 *
 * The server stamps a WRITE with its own clock; applications are to see this
 * machine's, on all files alike, or make(1) takes old for new. A SETATTR after
 * each WRITE would cost a round trip, and mostly in vain: more is written, or
 * tar, cp -p and install set another time right after. So the time waits for
 * DELAY_MS, is what applications see meanwhile, rides along with the next SETATTR
 * of the file, or is superseded by it. A crash leaves the server's own time of
 * the same write.
 *
 *   state      how it comes there        leaves for
 *   PENDING    times_written()           SENDING when due; gone when a SETATTR
 *                                        takes it along
 *   SENDING    the worker                gone; PENDING when written again
 *                                        meanwhile
 *
 * Entries are in a hash by inode and, PENDING, in a queue by due time: as all
 * wait equally long, it is a list. One lock, below all others of the vfs but the
 * node table's; `cond` tells the worker of a first entry and others of the end
 * of SENDING.
 */
#include "change.h"

#include <assert.h>

enum { BUCKETS = 1024, DELAY_MS = 1000 };
enum state { PENDING, SENDING };

struct entry {
	struct entry *next_hash;
	struct entry *prev, *next; /* in the queue */
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
	struct entry queue; /* a ring */
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

static void enqueue(struct times *t, struct entry *e) REQUIRES(t->lock)
{
	struct entry *ring = &t->queue;

	dequeue(e);
	e->state = PENDING;
	e->due_ms = clock_ms() + (t->closing ? 0 : DELAY_MS);
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

static struct entry *first(struct times *t)
{
	struct entry *e = t->queue.next;

	return e == &t->queue ? NULL : e;
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
		enqueue(t, e);
	else if (e)
		erase(t, ino);
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
	struct timespec mtime;
	struct entry *e;
	uint64_t ino;

	mutex_lock(&t->lock);
	while ((e = first(t)) || !t->closing) {
		if (!e) {
			cond_wait(&t->cond, &t->lock);
			continue;
		}
		if (e->due_ms > clock_ms() && !t->closing) {
			(void)cond_wait_until(&t->cond, &t->lock, e->due_ms);
			continue;
		}
		ino = e->ino;
		mtime = e->mtime;
		dequeue(e);
		e->state = SENDING;
		e->again = false;
		mutex_unlock(&t->lock);
		send(t, ino, mtime);
		mutex_lock(&t->lock);
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
	t->queue.prev = t->queue.next = &t->queue;
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

void times_written(struct times *t, uint64_t ino, struct timespec mtime)
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
	}
	e->mtime = mtime;
	if (e->state == SENDING)
		e->again = true;
	else
		enqueue(t, e);
	mutex_unlock(&t->lock);
}

void times_setattr(struct times *t, uint64_t ino, struct remote_sattr *set)
{
	struct entry *e;

	mutex_lock(&t->lock);
	e = find_settled(t, ino);
	if (e && !(set->valid & (REMOTE_SET_MTIME | REMOTE_SET_MTIME_NOW))) {
		set->valid |= REMOTE_SET_MTIME;
		set->mtime = e->mtime;
	}
	if (e)
		erase(t, ino);
	mutex_unlock(&t->lock);
}

bool times_pending(struct times *t, uint64_t ino, struct timespec *ret)
{
	bool pending;
	struct entry *e;

	mutex_lock(&t->lock);
	e = *slot(t, ino);
	pending = e && (e->state == PENDING || e->again);
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
		struct entry *ring = &t->queue;

		dequeue(e); /* to the front */
		e->due_ms = 0;
		e->next = ring->next;
		e->prev = ring;
		ring->next->prev = e;
		ring->next = e;
		cond_broadcast(&t->cond);
	}
	while (*slot(t, ino))
		cond_wait(&t->cond, &t->lock);
	mutex_unlock(&t->lock);
	return 0;
}

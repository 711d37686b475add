/* SPDX-License-Identifier: GPL-2.0-or-later */
/* retry.c: makes of single attempts what a mount promises.
 *
 * The remote beneath makes one attempt a call. This layer repeats it while the
 * transport fails or the server says "later" (JUKEBOX): for ever on a hard
 * mount, until the patience for an absent server is over on a soft one. Since
 * a call whose reply was lost may have been executed, a repeated call that is
 * not idempotent may be told that its work is already done; then this layer
 * finds out whether it was this call that did it. What others did meanwhile
 * stays an error.
 *
 * A call (struct pending) is in one of these states:
 *
 *   state    where it is            what happens          next
 *   -------  ---------------------  --------------------  -------------------
 *   SENT     in the inner remote    transport error       WAITING in lost, or
 *                                                         over: -EIO (soft)
 *                                   JUKEBOX               WAITING in later
 *                                   "already done" after  CHECKING; REMOVE and
 *                                   a maybe_done          RMDIR: over, success
 *                                   any other reply       over
 *   WAITING  in lost or later,      due                   SENT; soft and out of
 *            sorted by time                               patience: over, -EIO
 *                                   another call got a    the same, due sooner
 *                                   reply (lost only)
 *                                   close                 over: -ENOTCONN
 *   CHECKING nowhere: a LOOKUP,     it was this call      over: success
 *            then maybe a GETATTR   it was not            over: the error
 *            or READLINK, is        the server may be at  WAITING in later, a
 *            a call of this layer   it still              few times
 *                                   no answer (soft,      over: -EIO or
 *                                   close)                -ENOTCONN
 *
 * Which calls can be told so, and what proves that it was this call, is in
 * retry_check.c. The directory's attributes then come from the reply that told
 * us; those of before the change are lost with the first reply, hence pre is
 * not valid.
 *
 * One lock guards the queues and the counts. It is not held while a call is
 * submitted or completed; messages are written under it so that they appear in
 * the order of the events. One thread sends what is due.
 */
#include <sys/queue.h>

#include "../cache/msg.h"
#include "remote.h"
#include "retry_check.h"

enum {
	LOST_FIRST_MS = 50, /* after a first retry at once */
	LOST_MAX_MS = 2000,
	/* A WRITE without a reply may be executed yet, behind what is sent
	 * after it is sent again: the time set then would be lost. */
	LATE_WRITE_MS = 300,
	LATER_FIRST_MS = 100,
	LATER_MAX_MS = 5000,
	TELL_AFTER_MS = 300,
	LOOK_OUT_MS = 500,
	LOOK_AGAIN_MS = 50, /* at what the server may be making still */
	WAITED_MS = 20, /* who waited will, as likely as not, wait again */
};

struct retry;

struct pending {
	struct retry *self;
	struct remote_call *call;
	TAILQ_ENTRY(pending) link; /* WAITING */
	uint64_t due_ms, not_before_ms;
	unsigned lost_n;  /* transport errors since the server last answered */
	unsigned later_n; /* JUKEBOX replies */
	unsigned looks;   /* at what was half made */
	bool maybe_done;  /* an attempt that got no reply may have worked */
	bool lookout;     /* nobody waits for it: it tells when the server is
			   * back, and has all the patience for that */
};

TAILQ_HEAD(queue, pending);

struct retry {
	struct remote base;
	struct remote *inner;
	struct remote_retry_options o;
	char address[64];
	pthread_t thread;
	uint64_t time_unit_ns; /* atomic; of the server's disk, from FSINFO */
	bool away;             /* atomic; written under the lock */
	bool giving_up;        /* the same: no patience is left for anybody */
	unsigned waited_n;     /* atomic; calls under way that are not background */
	uint64_t waited_ms;    /* atomic; when one of those was last over */

	struct mutex lock; /* guards what follows */
	struct cond due;   /* for the thread: the queues or closing changed */
	struct cond idle;  /* for close: submitting or pending_n became 0 */
	struct queue lost, later;
	unsigned pending_n;  /* calls that are not over */
	unsigned submitting; /* threads inside the inner remote's submit */
	bool closing;
	bool told; /* the user knows that the server is away */
	bool looking_out;
	uint64_t retries;
};

static struct retry *to_retry(struct remote *r)
{
	return CONTAINER_OF(r, struct retry, base);
}

/* ---- over ---- */

static void finish(struct pending *p, int status)
{
	struct retry *self = p->self;
	struct remote_call *c = p->call;

	c->status = status;
	c->maybe_done = p->maybe_done && retry_is_no_answer(status);
	free(p);
	if (!c->background) {
		__atomic_store_n(&self->waited_ms, clock_ms(),
				 __ATOMIC_RELAXED);
		__atomic_sub_fetch(&self->waited_n, 1, __ATOMIC_RELAXED);
	}
	remote_complete(c);

	mutex_lock(&self->lock);
	if (--self->pending_n == 0)
		cond_signal(&self->idle);
	mutex_unlock(&self->lock);
}

/* ---- is the server there? ---- */

bool remote_retry_is_away(struct remote *retry)
{
	return __atomic_load_n(&to_retry(retry)->away, __ATOMIC_ACQUIRE);
}

static void server_is_away(struct retry *self, const struct pending *p)
	REQUIRES(&self->lock)
{
	__atomic_store_n(&self->away, true, __ATOMIC_RELEASE);
	/* Servers close idle connections, and they restart: nothing to tell
	 * before a call was held up for a while. */
	if (self->told || clock_ms() < p->call->started_ms + TELL_AFTER_MS ||
	    (p->lost_n < 2 && p->call->status != -ETIMEDOUT))
		return;
	self->told = true;
	if (self->o.soft)
		msg_warning("server %s not responding, calls fail after %g s",
			    self->address,
			    self->o.timeo_ms * (self->o.retrans + 1.0) / 1000);
	else
		msg_warning("server %s not responding, still trying",
			    self->address);
}

bool remote_retry_is_waited_for(struct remote *retry)
{
	struct retry *self = to_retry(retry);

	return __atomic_load_n(&self->waited_n, __ATOMIC_RELAXED) > 0 ||
	       clock_ms() - __atomic_load_n(&self->waited_ms,
					    __ATOMIC_RELAXED) <= WAITED_MS;
}

/* Any reply says that the server is back: those who wait for it need not wait
 * to the end of their back-off. They still wait a little: a call that makes
 * the server drop the connection must not be repeated as fast as others
 * succeed. */
static void server_is_back(struct retry *self)
{
	struct pending *p;
	uint64_t soon;

	if (!__atomic_load_n(&self->away, __ATOMIC_ACQUIRE))
		return;
	mutex_lock(&self->lock);
	__atomic_store_n(&self->away, false, __ATOMIC_RELEASE);
	soon = clock_ms() + LOST_FIRST_MS;
	TAILQ_FOREACH(p, &self->lost, link)
		p->due_ms = MIN(p->due_ms, MAX(soon, p->not_before_ms));
	cond_signal(&self->due);
	if (self->told)
		msg_info("server %s OK", self->address);
	self->told = false;
	mutex_unlock(&self->lock);
}

/* ---- waiting ---- */

static uint64_t backoff_ms(unsigned n, uint64_t first, uint64_t max)
{
	while (--n > 0 && first < max)
		first *= 2;
	return MIN(first, max);
}

/* When a soft mount gives up on the server. */
static uint64_t patience_end(const struct pending *p)
{
	const struct remote_retry_options *o = &p->self->o;
	uint64_t tries = (uint64_t)o->retrans + 1;

	if (__atomic_load_n(&p->self->giving_up, __ATOMIC_ACQUIRE))
		return 0;
	return o->soft && !p->lookout ?
		       p->call->started_ms + o->timeo_ms * tries :
		       UINT64_MAX;
}

/* Most go to the end: the longest wait is the most common. */
static void enqueue(struct retry *self, struct queue *q, struct pending *p)
	REQUIRES(&self->lock)
{
	struct pending *before = TAILQ_LAST(q, queue);

	while (before && before->due_ms > p->due_ms)
		before = TAILQ_PREV(before, queue, link);
	if (before)
		TAILQ_INSERT_AFTER(q, before, p, link);
	else
		TAILQ_INSERT_HEAD(q, p, link);
	cond_signal(&self->due);
}

void remote_retry_give_up(struct remote *retry)
{
	struct retry *self = to_retry(retry);
	struct pending *p;

	mutex_lock(&self->lock);
	__atomic_store_n(&self->giving_up, true, __ATOMIC_RELEASE);
	TAILQ_FOREACH(p, &self->lost, link)
		p->due_ms = 0;
	cond_signal(&self->due);
	mutex_unlock(&self->lock);
}

static void lookout_done(struct remote_call *c, void *arg)
{
	struct retry *self = arg;

	(void)c;
	mutex_lock(&self->lock);
	self->looking_out = false;
	mutex_unlock(&self->lock);
}

/* A soft mount has given a call up. Others are then answered from what is known
 * as long as the server is away, and perhaps nothing else is asked: somebody has
 * to notice that it is back. On a hard mount the waiting calls do. */
static void look_out(struct retry *self)
{
	struct pending *p = calloc(1, sizeof(*p));
	struct remote_call *c = remote_call_new(REMOTE_NULL, NULL, NULL);
	bool needed;

	mutex_lock(&self->lock);
	needed = p && c && !self->looking_out && !self->closing &&
		 !self->giving_up;
	if (needed) {
		/* As remote_submit() does, but not sent at once: an attempt
		 * has just failed. */
		c->background = true;
		c->frames[c->frames_n].fn = lookout_done;
		c->frames[c->frames_n++].arg = self;
		*p = (struct pending){ .self = self,
				       .call = c,
				       .lookout = true,
				       .lost_n = 1,
				       .due_ms = clock_ms() + LOOK_OUT_MS };
		self->looking_out = true;
		self->pending_n++;
		enqueue(self, &self->lost, p);
	}
	mutex_unlock(&self->lock);
	if (!needed) {
		remote_call_unref(c);
		free(p);
	}
}

static void give_up(struct pending *p)
{
	look_out(p->self);
	finish(p, -EIO);
}

static void on_lost(struct pending *p)
{
	struct retry *self = p->self;
	uint64_t now = clock_ms(), end = patience_end(p), delay = 0;
	bool closing, over;

	p->maybe_done |= p->call->maybe_done;
	p->lost_n++;
	if (p->lost_n > 1)
		delay = backoff_ms(p->lost_n - 1, LOST_FIRST_MS, LOST_MAX_MS);
	if (p->call->op == REMOTE_WRITE && p->call->maybe_done)
		p->not_before_ms = now + LATE_WRITE_MS;
	p->due_ms = MIN(MAX(now + delay, p->not_before_ms), end);

	mutex_lock(&self->lock);
	server_is_away(self, p);
	closing = self->closing;
	over = now >= end;
	if (!closing && !over)
		enqueue(self, &self->lost, p);
	mutex_unlock(&self->lock);
	if (closing)
		finish(p, -ENOTCONN);
	else if (over)
		give_up(p);
}

/* The server has answered: again in @delay_ms. */
static void wait_later(struct pending *p, uint64_t delay_ms)
{
	struct retry *self = p->self;

	p->lost_n = 0;
	p->due_ms = clock_ms() + delay_ms;
	/* Patience is for an absent server; this one has answered. */
	p->call->started_ms = p->due_ms;

	mutex_lock(&self->lock);
	bool closing = self->closing;
	if (!closing)
		enqueue(self, &self->later, p);
	mutex_unlock(&self->lock);
	if (closing)
		finish(p, -ENOTCONN);
}

static void on_later(struct pending *p)
{
	server_is_back(p->self);
	p->later_n++;
	wait_later(p, backoff_ms(p->later_n, LATER_FIRST_MS, LATER_MAX_MS));
}

/* ---- was it this call? ---- */

static void learn_time_unit(struct retry *self, const struct remote_call *c)
{
	const struct timespec *t = &c->fsinfo.time_delta;
	uint64_t ns = (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;

	__atomic_store_n(&self->time_unit_ns, MAX(ns, (uint64_t)1),
			 __ATOMIC_RELAXED);
}

static uint64_t time_unit(struct retry *self)
{
	return __atomic_load_n(&self->time_unit_ns, __ATOMIC_RELAXED);
}

static void found_out(void *arg, int status)
{
	struct pending *p = arg;

	if (status != -EINPROGRESS)
		finish(p, status);
	else if (p->looks++ < RETRY_LOOKS_MAX)
		wait_later(p, LOOK_AGAIN_MS);
	else
		finish(p, retry_already_done(p->call->op));
}

/* ---- attempts ---- */

static void on_reply(struct pending *p)
{
	struct remote_call *c = p->call;

	server_is_back(p->self);
	if (c->op == REMOTE_FSINFO && c->status == 0)
		learn_time_unit(p->self, c);
	if (p->maybe_done && c->status < 0 &&
	    c->status == retry_already_done(c->op))
		retry_find_out(&p->self->base, c, time_unit(p->self),
			       found_out, p);
	else
		finish(p, c->status);
}

static void attempt_done(struct remote_call *c, void *arg)
{
	struct pending *p = arg;

	if (remote_error_is_transport(c->status))
		on_lost(p);
	else if (c->status == -EINPROGRESS)
		on_later(p);
	else
		on_reply(p);
}

static void attempt(struct pending *p)
{
	struct retry *self = p->self;

	mutex_lock(&self->lock);
	bool closing = self->closing;
	if (!closing) {
		self->submitting++;
		if (p->call->attempts++ > 0)
			self->retries++;
	}
	mutex_unlock(&self->lock);
	if (closing) {
		finish(p, -ENOTCONN);
		return;
	}
	remote_submit(self->inner, p->call, attempt_done, p);
	/* @p may be gone by now. */
	mutex_lock(&self->lock);
	if (--self->submitting == 0)
		cond_signal(&self->idle);
	mutex_unlock(&self->lock);
}

static void retry_submit(struct remote *r, struct remote_call *c)
{
	struct retry *self = to_retry(r);
	struct pending *p = calloc(1, sizeof(*p));

	if (!p) {
		c->status = -ENOMEM;
		remote_complete(c);
		return;
	}
	p->self = self;
	p->call = c;
	c->started_ms = clock_ms();
	c->attempts = 0;
	if (!c->background)
		__atomic_add_fetch(&self->waited_n, 1, __ATOMIC_RELAXED);
	mutex_lock(&self->lock);
	self->pending_n++;
	mutex_unlock(&self->lock);
	attempt(p);
}

/* ---- the thread ---- */

static void on_due(struct pending *p)
{
	if (p->lost_n > 0 && clock_ms() >= patience_end(p)) {
		give_up(p);
		return;
	}
	remote_call_reset(p->call);
	attempt(p);
}

/* The queue whose first call is due first; NULL when both are empty. */
static struct queue *first_queue(struct retry *self) REQUIRES(&self->lock)
{
	const struct pending *a = TAILQ_FIRST(&self->lost);
	const struct pending *b = TAILQ_FIRST(&self->later);

	if (!a)
		return b ? &self->later : NULL;
	return b && b->due_ms < a->due_ms ? &self->later : &self->lost;
}

static void *retry_thread(void *arg)
{
	struct retry *self = arg;

	mutex_lock(&self->lock);
	for (;;) {
		struct queue *q = first_queue(self);
		struct pending *p = q ? TAILQ_FIRST(q) : NULL;

		if (!p && self->closing)
			break;
		if (!p) {
			cond_wait(&self->due, &self->lock);
			continue;
		}
		bool closing = self->closing;
		if (!closing && clock_ms() < p->due_ms) {
			(void)cond_wait_until(&self->due, &self->lock,
					      p->due_ms);
			continue;
		}
		TAILQ_REMOVE(q, p, link);
		mutex_unlock(&self->lock);
		if (closing)
			finish(p, -ENOTCONN);
		else
			on_due(p);
		mutex_lock(&self->lock);
	}
	mutex_unlock(&self->lock);
	return NULL;
}

/* ---- the layer ---- */

static void retry_info(struct remote *r, struct remote_info *ret)
{
	struct retry *self = to_retry(r);

	self->inner->v->info(self->inner, ret);
	mutex_lock(&self->lock);
	ret->retries += self->retries;
	mutex_unlock(&self->lock);
}

static void retry_free(struct retry *self)
{
	cond_destroy(&self->idle);
	cond_destroy(&self->due);
	mutex_destroy(&self->lock);
	free(self);
}

/* Once closing is set nothing waits any more and nothing new reaches the inner
 * remote, not even from a completion; closing that ends what it still has. */
static void retry_close(struct remote *r)
{
	struct retry *self = to_retry(r);

	mutex_lock(&self->lock);
	self->closing = true;
	cond_signal(&self->due);
	mutex_unlock(&self->lock);
	(void)pthread_join(self->thread, NULL);

	mutex_lock(&self->lock);
	while (self->submitting > 0)
		cond_wait(&self->idle, &self->lock);
	mutex_unlock(&self->lock);
	remote_close(self->inner);

	mutex_lock(&self->lock);
	while (self->pending_n > 0)
		cond_wait(&self->idle, &self->lock);
	mutex_unlock(&self->lock);
	retry_free(self);
}

static const struct remote_vtable retry_vtable = {
	.submit = retry_submit,
	.info = retry_info,
	.close = retry_close,
};

/* On failure @inner stays the caller's. */
int remote_retry_open(struct remote *inner,
		      const struct remote_retry_options *o,
		      struct remote **ret)
{
	struct retry *self = calloc(1, sizeof(*self));
	struct remote_info info;
	int r;

	if (!self)
		return -ENOMEM;
	remote_get_info(inner, &info);
	memcpy(self->address, info.address, sizeof(self->address));
	self->base.v = &retry_vtable;
	self->inner = inner;
	self->o = *o;
	self->time_unit_ns = 1;
	TAILQ_INIT(&self->lost);
	TAILQ_INIT(&self->later);
	mutex_init(&self->lock);
	cond_init(&self->due);
	cond_init(&self->idle);
	r = pthread_create(&self->thread, NULL, retry_thread, self);
	if (r != 0) {
		retry_free(self);
		return -r;
	}
	*ret = &self->base;
	return 0;
}

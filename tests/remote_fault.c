/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_fault.c: owns the rules and the calls held or delayed by them.
 *
 * A call is in one of these states:
 *
 *   passed   given to the inner remote without a frame of ours: not ours
 *   sent     given to the inner remote, our frame will spoil or hold the reply
 *   waiting  in our list until a time or a release; nothing was sent
 *   replied  in our list until a release; the server has answered
 *   over     completed
 *
 * One lock guards all. It is never held while a call is submitted or
 * completed. One thread sends the delayed calls and completes the held ones at
 * the time set, so that a release is as asynchronous as a real reply.
 */
#include "remote_fault.h"

enum { WAIT_MAX_MS = 10000 };

struct rule {
	struct fault_rule r;
	unsigned id, seen, acted;
	struct rule *next;
};

struct held {
	struct fault *self;
	struct remote_call *call;
	enum fault_kind kind;
	uint64_t due_ms; /* UINT64_MAX: at a release */
	struct held *next;
	/* The arguments that are results, too, for when the reply is lost. */
	uint32_t count, access;
	enum remote_stable stable;
	uint8_t verf[8];
};

struct fault {
	struct remote base;
	struct remote *inner;
	pthread_t thread;
	struct mutex lock; /* guards what follows */
	struct cond cond;  /* anything below has changed */
	struct rule *rules, **rules_end;
	unsigned next_id;
	uint64_t random;
	bool away, closing;
	struct held *held;
	unsigned held_n; /* of them until a release */
	unsigned ours;   /* calls submitted to us with a frame of ours, or in
			  * the list */
};

static struct fault *to_fault(struct remote *r)
{
	return CONTAINER_OF(r, struct fault, base);
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- which rule acts ---- */

static bool by_chance(struct fault *f, unsigned percent) REQUIRES(&f->lock)
{
	f->random ^= f->random >> 12;
	f->random ^= f->random << 25;
	f->random ^= f->random >> 27;
	return (f->random * UINT64_C(2685821657736338717) >> 32) % 100 <
	       percent;
}

static bool decide(struct fault *f, const struct remote_call *c,
		   struct fault_rule *ret) REQUIRES(&f->lock)
{
	for (struct rule *r = f->rules; r; r = r->next) {
		if ((r->r.op != REMOTE_OPS && r->r.op != c->op) ||
		    (r->r.match && !r->r.match(c, r->r.arg)))
			continue;
		if (r->seen++ < r->r.skip ||
		    (r->r.times && r->acted == r->r.times) ||
		    (r->r.percent && !by_chance(f, r->r.percent)))
			continue;
		r->acted++;
		cond_broadcast(&f->cond);
		*ret = r->r;
		return true;
	}
	*ret = (struct fault_rule){ .kind = FAULT_NOT_SENT };
	return f->away;
}

/* ---- the ways of a call ---- */

static void fail(struct remote_call *c, int status, bool maybe_done)
{
	c->status = status;
	c->maybe_done = maybe_done;
	remote_complete(c);
}

/* What a lost reply leaves: the arguments that it had changed are as before.
 * Other results are left behind: nobody may look at them after an error, and
 * who sends the call again must clear them. */
static void lose(struct remote_call *c, const struct held *h)
{
	c->count = h->count;
	c->access = h->access;
	c->stable = h->stable;
	memcpy(c->verf, h->verf, sizeof(c->verf));
	fail(c, h->kind == FAULT_TIMEOUT ? -ETIMEDOUT : -ECONNRESET, true);
}

static void hold(struct fault *f, struct held *h) REQUIRES(&f->lock)
{
	struct held **end = &f->held;

	while (*end)
		end = &(*end)->next;
	h->next = NULL;
	*end = h; /* let go in the order they came */
	if (h->due_ms == UINT64_MAX)
		f->held_n++;
	cond_broadcast(&f->cond);
}

static void over(struct fault *f)
{
	mutex_lock(&f->lock);
	f->ours--;
	cond_broadcast(&f->cond);
	mutex_unlock(&f->lock);
}

static void reply_done(struct remote_call *c, void *arg)
{
	struct held *h = arg;
	struct fault *f = h->self;

	if (h->kind == FAULT_HOLD_REPLY) {
		/* remote_complete() will drop the reference that the inner
		 * remote's submission took; ours is the caller's. */
		mutex_lock(&f->lock);
		bool closing = f->closing;
		if (!closing)
			hold(f, h);
		mutex_unlock(&f->lock);
		if (!closing)
			return;
		remote_complete(c);
	} else {
		lose(c, h);
	}
	free(h);
	over(f);
}

/* Let a call go that was in the list. */
static void let_go(struct fault *f, struct held *h, bool closing)
{
	struct remote_call *c = h->call;

	if (h->kind == FAULT_HOLD_REPLY)
		remote_complete(c);
	else if (closing)
		fail(c, -ENOTCONN, false);
	else
		f->inner->v->submit(f->inner, c);
	free(h);
	over(f);
}

static void intercept(struct fault *f, struct remote_call *c,
		      const struct fault_rule *r)
{
	struct held *h = must(calloc(1, sizeof(*h)));

	*h = (struct held){ .self = f,
			    .call = c,
			    .kind = r->kind,
			    .count = c->count,
			    .access = c->access,
			    .stable = c->stable };
	memcpy(h->verf, c->verf, sizeof(h->verf));
	h->due_ms = r->kind == FAULT_DELAY ? clock_ms() + r->delay_ms :
					     UINT64_MAX;
	mutex_lock(&f->lock);
	bool closing = f->closing;
	if (!closing)
		f->ours++;
	bool waits = r->kind == FAULT_DELAY || r->kind == FAULT_HOLD;
	if (!closing && waits)
		hold(f, h);
	mutex_unlock(&f->lock);
	if (closing) {
		free(h);
		fail(c, -ENOTCONN, false);
	} else if (!waits) {
		remote_submit(f->inner, c, reply_done, h);
	}
}

static void fault_submit(struct remote *remote, struct remote_call *c)
{
	struct fault *f = to_fault(remote);
	struct fault_rule r;

	mutex_lock(&f->lock);
	bool acts = decide(f, c, &r);
	mutex_unlock(&f->lock);
	if (!acts) {
		f->inner->v->submit(f->inner, c);
		return;
	}
	switch (r.kind) {
	case FAULT_NOT_SENT:
		fail(c, -ENOTCONN, false);
		break;
	case FAULT_LOST_CALL:
		fail(c, -ECONNRESET, true);
		break;
	case FAULT_JUKEBOX:
		fail(c, -EINPROGRESS, false);
		break;
	case FAULT_STALE:
		fail(c, -ESTALE, false);
		break;
	case FAULT_ERROR:
		fail(c, r.error, false);
		break;
	default:
		intercept(f, c, &r);
	}
}

/* ---- the thread ---- */

/* Take one that is due; else say when the next will be. */
static struct held *take_due(struct fault *f, uint64_t *ret_next)
	REQUIRES(&f->lock)
{
	uint64_t now = clock_ms();

	*ret_next = UINT64_MAX;
	for (struct held **p = &f->held; *p; p = &(*p)->next) {
		struct held *h = *p;

		if (f->closing || h->due_ms <= now) {
			*p = h->next;
			return h;
		}
		*ret_next = MIN(*ret_next, h->due_ms);
	}
	return NULL;
}

static void *fault_thread(void *arg)
{
	struct fault *f = arg;
	uint64_t next;

	mutex_lock(&f->lock);
	for (;;) {
		struct held *h = take_due(f, &next);

		if (h) {
			bool closing = f->closing;

			mutex_unlock(&f->lock);
			let_go(f, h, closing);
			mutex_lock(&f->lock);
		} else if (f->closing) {
			break;
		} else if (next == UINT64_MAX) {
			cond_wait(&f->cond, &f->lock);
		} else {
			(void)cond_wait_until(&f->cond, &f->lock, next);
		}
	}
	mutex_unlock(&f->lock);
	return NULL;
}

static void fault_info(struct remote *remote, struct remote_info *ret)
{
	struct fault *f = to_fault(remote);

	f->inner->v->info(f->inner, ret);
}

static void free_rules(struct fault *f) REQUIRES(&f->lock)
{
	while (f->rules) {
		struct rule *r = f->rules;

		f->rules = r->next;
		free(r);
	}
	f->rules_end = &f->rules;
}

static void fault_close(struct remote *remote)
{
	struct fault *f = to_fault(remote);

	mutex_lock(&f->lock);
	f->closing = true;
	f->held_n = 0;
	cond_broadcast(&f->cond);
	mutex_unlock(&f->lock);
	(void)pthread_join(f->thread, NULL);
	remote_close(f->inner);
	mutex_lock(&f->lock);
	while (f->ours > 0)
		cond_wait(&f->cond, &f->lock);
	free_rules(f);
	mutex_unlock(&f->lock);
	cond_destroy(&f->cond);
	mutex_destroy(&f->lock);
	free(f);
}

static const struct remote_vtable fault_vtable = {
	.submit = fault_submit,
	.info = fault_info,
	.close = fault_close,
};

/* ---- for the test ---- */

struct remote *remote_fault_open(struct remote *inner, uint64_t seed)
{
	struct fault *f = must(calloc(1, sizeof(*f)));

	f->base.v = &fault_vtable;
	f->inner = inner;
	f->random = seed ? seed : 1;
	f->rules_end = &f->rules;
	mutex_init(&f->lock);
	cond_init(&f->cond);
	if (pthread_create(&f->thread, NULL, fault_thread, f) != 0)
		abort();
	return &f->base;
}

unsigned fault_add(struct remote *fault, const struct fault_rule *rule)
{
	struct fault *f = to_fault(fault);
	struct rule *r = must(calloc(1, sizeof(*r)));
	unsigned id;

	r->r = *rule;
	mutex_lock(&f->lock);
	id = r->id = ++f->next_id;
	*f->rules_end = r;
	f->rules_end = &r->next;
	mutex_unlock(&f->lock);
	return id;
}

void fault_clear(struct remote *fault)
{
	struct fault *f = to_fault(fault);

	mutex_lock(&f->lock);
	free_rules(f);
	mutex_unlock(&f->lock);
}

unsigned fault_acted(struct remote *fault, unsigned id)
{
	struct fault *f = to_fault(fault);
	unsigned n = 0;

	mutex_lock(&f->lock);
	for (struct rule *r = f->rules; r; r = r->next)
		if (r->id == id)
			n = r->acted;
	mutex_unlock(&f->lock);
	return n;
}

bool fault_wait_acted(struct remote *fault, unsigned id, unsigned n)
{
	struct fault *f = to_fault(fault);
	uint64_t end = clock_ms() + WAIT_MAX_MS;
	bool enough = false;

	mutex_lock(&f->lock);
	while (!enough && clock_ms() < end) {
		for (struct rule *r = f->rules; r; r = r->next)
			enough |= r->id == id && r->acted >= n;
		if (!enough)
			(void)cond_wait_until(&f->cond, &f->lock, end);
	}
	mutex_unlock(&f->lock);
	return enough;
}

void fault_set_away(struct remote *fault, bool away)
{
	struct fault *f = to_fault(fault);

	mutex_lock(&f->lock);
	f->away = away;
	mutex_unlock(&f->lock);
}

void fault_hold(struct remote *fault, enum remote_op op)
{
	struct fault_rule r = { .kind = FAULT_HOLD, .op = op, .times = 1 };

	(void)fault_add(fault, &r);
}

void fault_hold_reply(struct remote *fault, enum remote_op op)
{
	struct fault_rule r = { .kind = FAULT_HOLD_REPLY,
				.op = op,
				.times = 1 };

	(void)fault_add(fault, &r);
}

bool fault_wait_held(struct remote *fault, unsigned n)
{
	struct fault *f = to_fault(fault);
	uint64_t end = clock_ms() + WAIT_MAX_MS;
	bool enough;

	mutex_lock(&f->lock);
	while (f->held_n < n && clock_ms() < end)
		(void)cond_wait_until(&f->cond, &f->lock, end);
	enough = f->held_n >= n;
	mutex_unlock(&f->lock);
	return enough;
}

void fault_release(struct remote *fault)
{
	fault_release_op(fault, REMOTE_OPS);
}

void fault_release_op(struct remote *fault, enum remote_op op)
{
	struct fault *f = to_fault(fault);

	mutex_lock(&f->lock);
	for (struct held *h = f->held; h; h = h->next)
		if (h->due_ms == UINT64_MAX &&
		    (op == REMOTE_OPS || op == h->call->op)) {
			h->due_ms = 0;
			f->held_n--;
		}
	cond_broadcast(&f->cond);
	mutex_unlock(&f->lock);
}

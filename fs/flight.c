/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flight.c: the life of questions to the server (flight.h).
 *
 *   state    where                       who moves it on
 *   AIRBORNE its call is with the remote the reply: ARRIVED
 *   ARRIVED  .arrived, and, when nobody  one of those who wait for it; else the
 *            waits, in vfs.replies       worker. Takes the reply into the cache,
 *                                        then AIRBORNE with the next page, or
 *                                        LANDED
 *   LANDED   out of vfs.flights          nobody; freed with the last reference
 *
 * So a reply that somebody waits for is worked on by who waits, at once, however
 * many others the worker has before it; and a call that somebody waits for is
 * not `background` (remote.h).
 *
 * One listing of a directory is under way at a time. GETATTRs of one inode may
 * be several: an operation that must not believe what was asked before it began
 * (ac=0) asks for itself.
 *
 * Flights are guarded by vfs.lock, which is taken inside the meta bracket, and
 * not held when a call is submitted.
 */
#include "flight.h"

#include "ahead.h"
#include "view.h"
#include "tour.h"

enum { WAIT_POLL_MS = 100, WAITED_CALLS = 16 };

static struct flight **slot_of(struct vfs *v, uint64_t ino)
{
	return &v->flights[ino * 0x9E3779B97F4A7C15u >> 56];
}

static struct flight *find(struct vfs *v, enum question q, uint64_t ino)
	REQUIRES(v->lock)
{
	struct flight *f = *slot_of(v, ino);

	while (f && (f->ino != ino || f->q != q))
		f = f->next;
	return f;
}

struct flight *flight_listing(struct vfs *v, uint64_t dir)
{
	struct flight *f = find(v, ASK_LIST, dir);

	return f && f->set_out ? f : NULL;
}

/* ---- from its beginning to its end ---- */

static struct flight *new_flight(struct vfs *v, enum question q,
				 const struct meta_inode *i) REQUIRES(v->lock)
{
	struct flight **slot = slot_of(v, i->ino);
	struct flight *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->v = v;
	f->q = q;
	f->ino = i->ino;
	f->fh = i->handle;
	f->stamp = meta_now(v->meta);
	f->refs = 1; /* the slot's */
	cond_init(&f->cond);
	f->next = *slot;
	*slot = f;
	if (q != ASK_LINK)
		stats_add(q == ASK_LIST ? &v->stats->listings :
					  &v->stats->revalidations, 1);
	return f;
}

static void free_flight(struct flight *f)
{
	for (size_t k = 0; k < f->ours_n; k++)
		free(f->ours[k]);
	free(f->ours);
	remote_call_unref(f->call);
	cond_destroy(&f->cond);
	free(f);
}

static void unref_flight(struct flight *f)
{
	if (--f->refs == 0)
		free_flight(f);
}

void flights_free(struct vfs *v)
{
	for (size_t k = 0; k < ARRAY_LEN(v->flights); k++)
		while (v->flights[k]) {
			struct flight *f = v->flights[k];

			v->flights[k] = f->next;
			free_flight(f);
		}
}

static void land(struct vfs *v, struct flight *f, int status)
{
	struct landing l = { .ino = f->ino, .q = f->q, .status = status,
			     .stamp = f->when.stamp ? f->stamp : 0 };
	struct flight **p;
	bool tour;

	if (status < 0 && f->q == ASK_LIST)
		listing_failed(v, f);
	mutex_lock(&v->lock);
	for (p = slot_of(v, f->ino); *p != f; p = &(*p)->next)
		;
	*p = f->next;
	f->landed = true;
	f->status = status;
	l.ahead = f->owners & FOR_AHEAD;
	tour = f->owners & FOR_TOUR;
	cond_broadcast(&f->cond);
	unref_flight(f);
	mutex_unlock(&v->lock);
	ahead_landed(v, &l);
	if (tour)
		tours_landed(v, l.ino, status);
}

/* A reply, or a flight whose last waiter has left it. */
static void pass_on(struct vfs *v, struct flight *f) REQUIRES(v->lock)
{
	if (f->waiters > 0) {
		cond_broadcast(&f->cond);
	} else {
		f->queued = true;
		TAILQ_INSERT_TAIL(&v->replies, f, reply);
		cond_broadcast(&v->cond);
	}
}

static void on_reply(struct remote_call *call, void *arg)
{
	struct flight *f = arg;
	struct vfs *v = f->v;

	(void)call;
	mutex_lock(&v->lock);
	f->arrived = true;
	pass_on(v, f);
	mutex_unlock(&v->lock);
	vfs_submitted(v);
}

/* The flight may be over when this returns 0. */
static int send(struct vfs *v, struct flight *f)
{
	struct remote_call *call;
	int r = 0;

	if (f->q == ASK_LIST)
		r = listing_prepare(v, f);
	else
		f->call = remote_call_new(f->q == ASK_LINK ? REMOTE_READLINK :
							     REMOTE_GETATTR,
					  &f->fh, NULL);
	if (r < 0 || !f->call)
		return r < 0 ? r : -ENOMEM;
	f->when = vfs_moment(v);
	call = f->call;
	mutex_lock(&v->lock);
	call->background = f->waiters == 0;
	v->in_flight++;
	mutex_unlock(&v->lock);
	remote_call_ref(call);
	remote_submit(v->remote, call, on_reply, f);
	remote_call_unref(call);
	return 0;
}

static int take_attr(struct vfs *v, const struct flight *f,
		     const struct remote_call *call)
{
	if (call->status < 0)
		return call->status;
	return vfs_record_attr(v, f->ino, &call->attr, &f->when);
}

static int take_link(struct vfs *v, const struct flight *f,
		     const struct remote_call *call)
{
	struct meta_inode i;
	int r = call->status;

	if (r < 0)
		return r;
	meta_begin(v->meta);
	r = meta_get(v->meta, f->ino, &i);
	if (r == 0 && call->has_attr && S_ISLNK(call->attr.mode)) {
		vfs_merge(v, &i, &call->attr, &f->when, false);
		r = meta_put(v->meta, &i);
	}
	if (r == 0 && S_ISLNK(i.attr.mode))
		r = meta_target_put(v->meta, &i, call->data);
	meta_end(v->meta);
	return r == -ENOENT ? -ESTALE : r;
}

static int take_reply(struct vfs *v, struct flight *f,
		      const struct remote_call *call)
{
	return f->q == ASK_LIST ? listing_take(v, f, call) :
	       f->q == ASK_LINK ? take_link(v, f, call) :
				  take_attr(v, f, call);
}

/* ARRIVED, and taken by the caller. */
static void move_on(struct vfs *v, struct flight *f)
{
	struct remote_call *call = STEAL_PTR(f->call);
	int r = take_reply(v, f, call);

	remote_call_unref(call);
	if (r == -EINPROGRESS) {
		mutex_lock(&v->lock);
		f->first = true;
		if (f->pages == LIMIT_LISTING_PAGES)
			stats_add(&v->stats->listings_in_background, 1);
		cond_broadcast(&f->cond);
		mutex_unlock(&v->lock);
		r = send(v, f);
		if (r == 0)
			return;
	}
	land(v, f, r);
}

bool flights_have_room(struct vfs *v, unsigned n, unsigned most)
{
	return n < most && (n < WAITED_CALLS ||
			    !remote_retry_is_waited_for(v->remote));
}

static void take(struct vfs *v, struct flight *f) REQUIRES(v->lock)
{
	f->arrived = false;
	if (f->queued)
		TAILQ_REMOVE(&v->replies, f, reply);
	f->queued = false;
}

bool flights_work(struct vfs *v)
{
	struct flight *f;

	mutex_lock(&v->lock);
	f = TAILQ_FIRST(&v->replies);
	if (f)
		take(v, f);
	mutex_unlock(&v->lock);
	if (f)
		move_on(v, f);
	return f;
}

/* ---- joining and leading ---- */

/* May an operation that began at @since wait for @f's answer? */
static bool answers(struct vfs *v, const struct flight *f, uint64_t since)
	REQUIRES(v->lock)
{
	return vfs_trusts(v, f->stamp, since);
}

/* A flight to wait for, with a reference, counted as a waiter of it. *@ret_lead:
 * it is new, the caller's to send. */
static int board(struct vfs *v, enum question q, const struct meta_inode *i,
		 uint64_t since, struct flight **ret, bool *ret_lead)
{
	struct flight *f;

	mutex_lock(&v->lock);
	f = find(v, q, i->ino);
	if (q == ASK_ATTR && (!f || !answers(v, f, since))) {
		f = find(v, ASK_LIST, i->ino);
		if (f && (f->first || !answers(v, f, since)))
			f = NULL;
	}
	*ret_lead = !f;
	if (!f)
		f = new_flight(v, q, i);
	if (f) {
		f->refs++;
		f->waiters++;
	}
	mutex_unlock(&v->lock);
	*ret = f;
	return f ? 0 : -ENOMEM;
}

static bool is_answered(struct vfs *v, enum question q, uint64_t ino,
			uint64_t need, uint64_t since)
{
	struct meta_inode i;
	bool yes;

	meta_begin(v->meta);
	yes = meta_get(v->meta, need ? need : ino, &i) == 0;
	if (yes && q == ASK_LINK)
		yes = meta_target_get(v->meta, &i, NULL) == 0;
	else if (yes)
		yes = vfs_trusts(v, i.checked, since) &&
		      (need || q == ASK_ATTR || i.flags & META_COMPLETE);
	meta_end(v->meta);
	return yes;
}

struct waiting {
	const struct caller *c;
	enum question q;
	bool patient;
	uint64_t end_ms; /* ASK_ATTR: not longer while the server is away */
};

/* 0: goes on waiting; 1: need not; or -errno. */
static int look_up(struct vfs *v, const struct waiting *w,
		   const struct flight *f) REQUIRES(v->lock)
{
	if (f->landed)
		return 1;
	if (w->q == ASK_ATTR && f->first)
		return 1;
	if (!w->patient && f->pages >= LIMIT_LISTING_PAGES)
		return -EAGAIN;
	if (w->c->intr && remote_intr_is_fatal(w->c->intr))
		return -EINTR;
	return w->q == ASK_ATTR && clock_ms() >= w->end_ms &&
	       remote_retry_is_away(v->remote);
}

static int wait_for(struct vfs *v, const struct waiting *w, struct flight *f)
{
	int r;

	mutex_lock(&v->lock);
	while ((r = look_up(v, w, f)) == 0) {
		if (f->arrived) {
			take(v, f);
			mutex_unlock(&v->lock);
			move_on(v, f);
			mutex_lock(&v->lock);
		} else {
			(void)cond_wait_until(&f->cond, &v->lock,
					      clock_ms() + WAIT_POLL_MS);
		}
	}
	if (r == 1)
		r = f->landed ? f->status : 0;
	if (--f->waiters == 0 && f->arrived && !f->queued)
		pass_on(v, f);
	unref_flight(f);
	mutex_unlock(&v->lock);
	return r;
}

int flight_wait(struct vfs *v, const struct caller *c, enum question q,
		const struct meta_inode *i, uint64_t need, uint64_t since,
		bool patient)
{
	const struct waiting w = { .c = c, .q = q, .patient = patient,
				   .end_ms = clock_ms() + LIMIT_REVALIDATE_MS };
	struct flight *f;
	bool lead, instead;
	int r = board(v, q, i, since, &f, &lead);

	if (r < 0)
		return r;
	if (lead) {
		/* Somebody else's may have landed since the caller looked. */
		if (is_answered(v, q, i->ino, need, since)) {
			land(v, f, 0);
		} else {
			r = send(v, f);
			if (r < 0)
				land(v, f, r);
		}
	}
	instead = f->q != q;
	r = wait_for(v, &w, f);
	/* A listing that failed says nothing of the attributes. */
	if (r < 0 && r != -EINTR && instead)
		return flight_wait(v, c, q, i, need, since, patient);
	return r;
}

/* Has the server confirmed what *@i describes since the caller looked? */
static bool is_confirmed_since(struct vfs *v, const struct meta_inode *i)
{
	struct meta_inode now;
	bool yes;

	meta_begin(v->meta);
	yes = meta_get(v->meta, i->ino, &now) == 0 &&
	      now.checked > i->checked && vfs_trusts(v, now.checked, 0);
	meta_end(v->meta);
	return yes;
}

int flight_start(struct vfs *v, enum question q, const struct meta_inode *i,
		 enum owner owner)
{
	struct flight *f;
	bool joined;
	int r;

	mutex_lock(&v->lock);
	f = find(v, q, i->ino);
	joined = f;
	if (!f)
		f = new_flight(v, q, i);
	if (f)
		f->owners |= owner;
	mutex_unlock(&v->lock);
	if (!f)
		return -ENOMEM;
	if (joined)
		return 1;
	r = q == ASK_ATTR && is_confirmed_since(v, i) ? 1 : send(v, f);
	if (r != 0)
		land(v, f, MIN(r, 0));
	return 0;
}

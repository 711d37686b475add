/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush.c: owns the thread that sends what the write-back log holds.
 *
 * It keeps up to JOBS_MAX jobs and BYTES_MAX bytes under way, over all
 * connections, so that the server's own speed bounds it and not the round-trip
 * time. Calls complete in threads of the remote, which only queue them here;
 * everything else, recording results included, is done by the one thread.
 *
 * A job is taken when it is `delay` old; at once when somebody waits for it
 * (force), or when the log is full (pressure).
 *
 * On a hard mount a call waits as long as the server is away, and so does its
 * job. On a soft one it fails, the job goes back to the log, and after a pause
 * is taken again.
 */
#include "flush_int.h"

enum {
	JOBS_MAX = 256,
	BYTES_MAX = 32 * 1024 * 1024,
	TAKE_MAX = 64,
	PRESSURE_MS = 1000,
	PAUSE_MS = 1000,
	WAIT_LOOK_MS = 100,
	GUARD_MS = 30 * 1000,
};

static struct timespec unique_time(void *arg)
{
	return vfs_unique_time(arg);
}

/* ---- the thread ---- */

/* What is wanted now. False: nothing is to be taken. */
static bool wanted(struct flush *f, uint64_t now, struct wback_want *ret)
	REQUIRES(f->lock)
{
	*ret = (struct wback_want){
		.delay_ms = now < f->pressure_until_ms ?
				    0 :
				    f->v->config->delay_ms,
		.force = f->force,
		.unique_time = unique_time,
		.arg = f->v,
	};
	return !f->stop && now >= f->pause_until_ms && f->jobs < JOBS_MAX &&
	       f->bytes < BYTES_MAX;
}

/* Are we the one that writes still? */
static bool is_guarded(struct flush *f)
{
	uint64_t now = clock_ms();
	int r;

	if (!f->guard || (f->guarded_ms && now - f->guarded_ms < GUARD_MS))
		return true;
	r = f->guard(f->guard_arg);
	if (r == 0) {
		f->guarded_ms = clock_ms();
		return true;
	}
	mutex_lock(&f->lock);
	if (r == -ESTALE && !f->lost)
		msg_error("another machine has taken over writing to the "
			  "server: what is pending stays in the log");
	f->lost |= r == -ESTALE;
	f->pause_until_ms = f->lost ? UINT64_MAX : clock_ms() + PAUSE_MS;
	mutex_unlock(&f->lock);
	return false;
}

/* Takes what it may. False: there is nothing more to be had now. */
static bool take(struct flush *f)
{
	struct wback_job *jobs[TAKE_MAX];
	struct wback_want want;
	bool may;
	int n;

	mutex_lock(&f->lock);
	may = wanted(f, clock_ms(), &want);
	mutex_unlock(&f->lock);
	if (!may || wback_due(f->v->wback, &want) > clock_ms() ||
	    !is_guarded(f))
		return false;
	n = wback_take(f->v->wback, &want, jobs,
		       MIN((unsigned)TAKE_MAX, JOBS_MAX - f->jobs));
	if (n < 0) { /* cannot even note that it is sent */
		msg_debug("flush", "cannot take: %s", msg_strerror(n));
		mutex_lock(&f->lock);
		f->pause_until_ms = clock_ms() + PAUSE_MS;
		mutex_unlock(&f->lock);
		return false;
	}
	for (int k = 0; k < n; k++)
		send_job(f, jobs[k]);
	return n > 0;
}

/* Until something happens, or is due. */
static void wait_for_work(struct flush *f) REQUIRES(f->lock)
{
	struct wback_want want;
	uint64_t due, now = clock_ms();
	bool may = wanted(f, now, &want);

	if (f->over || f->kicked)
		return;
	due = may ? wback_due(f->v->wback, &want) : f->pause_until_ms;
	if (!may && f->pause_until_ms <= now)
		due = UINT64_MAX;
	if (due == UINT64_MAX || f->lost) {
		__atomic_store_n(&f->idle, true, __ATOMIC_SEQ_CST);
		/* A change from before that was seen did not wake us. */
		if (!may || wback_due(f->v->wback, &want) == UINT64_MAX)
			cond_wait(&f->wake, &f->lock);
		__atomic_store_n(&f->idle, false, __ATOMIC_RELAXED);
	} else if (due > now)
		(void)cond_wait_until(&f->wake, &f->lock, due);
}

static void *flush_main(void *arg)
{
	struct flush *f = arg;

	mutex_lock(&f->lock);
	while (!f->stop || f->jobs > 0) {
		struct part *over;
		bool moved;

		wait_for_work(f);
		f->kicked = false;
		over = f->over;
		f->over = NULL;
		f->over_end = &f->over;
		mutex_unlock(&f->lock);
		moved = over != NULL;
		while (over) {
			struct part *p = over;

			over = p->next;
			send_go_on(p);
		}
		while (take(f))
			;
		mutex_lock(&f->lock);
		if (moved)
			cond_broadcast(&f->moved);
	}
	mutex_unlock(&f->lock);
	return NULL;
}

/* ---- opening and closing ---- */

int flush_open(struct vfs *v, flush_guard_fn *guard, void *arg,
	       struct flush **ret)
{
	struct flush *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->v = v;
	f->guard = guard;
	f->guard_arg = arg;
	f->over_end = &f->over;
	mutex_init(&f->lock);
	cond_init(&f->wake);
	cond_init(&f->moved);
	v->flush = f;
	r = -pthread_create(&f->thread, NULL, flush_main, f);
	if (r < 0) {
		v->flush = NULL;
		cond_destroy(&f->moved);
		cond_destroy(&f->wake);
		mutex_destroy(&f->lock);
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void flush_drain(struct flush *f)
{
	uint64_t goal, away_since = 0;
	bool keep;
	int r;

	mutex_lock(&f->lock);
	keep = f->keep;
	mutex_unlock(&f->lock);
	if (keep)
		return;
	wback_retry_all(f->v->wback);
	goal = flush_force(f);
	do {
		uint64_t now = clock_ms();

		r = flush_wait(f, goal, NULL, now + WAIT_LOOK_MS);
		if (!remote_retry_is_away(f->v->remote))
			away_since = 0;
		else if (!away_since)
			away_since = now;
		else if (now - away_since > LIMIT_CLOSE_MS)
			break;
	} while (r == -EAGAIN);
}

void flush_close(struct flush *f)
{
	if (!f)
		return;
	mutex_lock(&f->lock);
	f->stop = true;
	cond_broadcast(&f->wake);
	cond_broadcast(&f->moved);
	mutex_unlock(&f->lock);
	/* What was sent and is not answered is sent again by the next mount. */
	if (remote_retry_is_away(f->v->remote))
		remote_retry_give_up(f->v->remote);
	(void)pthread_join(f->thread, NULL);
	f->v->flush = NULL;
	cond_destroy(&f->moved);
	cond_destroy(&f->wake);
	mutex_destroy(&f->lock);
	free(f);
}

/* ---- for others ---- */

void flush_keep(struct flush *f)
{
	mutex_lock(&f->lock);
	f->keep = true;
	cond_broadcast(&f->moved);
	mutex_unlock(&f->lock);
}

uint64_t flush_force(struct flush *f)
{
	struct wback_stats s;

	wback_get_stats(f->v->wback, &s);
	mutex_lock(&f->lock);
	f->force = MAX(f->force, s.seq);
	f->keep = false;
	if (!f->lost)
		f->pause_until_ms = 0;
	f->kicked = true;
	cond_signal(&f->wake);
	mutex_unlock(&f->lock);
	return s.seq;
}

void flush_changed(struct flush *f)
{
	if (!f || !__atomic_load_n(&f->idle, __ATOMIC_SEQ_CST))
		return;
	mutex_lock(&f->lock);
	f->kicked = true;
	cond_signal(&f->wake);
	mutex_unlock(&f->lock);
}

void flush_pressure(struct flush *f)
{
	mutex_lock(&f->lock);
	f->pressure_until_ms = clock_ms() + PRESSURE_MS;
	f->kicked = true;
	cond_signal(&f->wake);
	mutex_unlock(&f->lock);
}

static int first_error(struct wback *wb);

void flush_get_progress(struct flush *f, uint64_t goal,
			struct flush_progress *ret)
{
	struct wback_stats s;

	wback_get_stats(f->v->wback, &s);
	*ret = (struct flush_progress){
		.reached = s.first > goal,
		.away = remote_retry_is_away(f->v->remote),
		.changes_left = s.ops - s.stuck,
		.bytes_left = s.data_bytes,
		.stuck = s.stuck,
		.copies = s.copies,
		.error = s.stuck ? first_error(f->v->wback) : 0,
	};
	mutex_lock(&f->lock);
	if (f->lost && !ret->reached) {
		ret->reached = true; /* nothing more will come */
		ret->error = -ESTALE;
	}
	mutex_unlock(&f->lock);
}

static void note_error(void *arg, const struct wback_trouble *t)
{
	int *error = arg;

	if (t->kind == TROUBLE_STUCK && *error == 0)
		*error = t->error;
}

static int first_error(struct wback *wb)
{
	int error = 0;

	wback_troubles(wb, note_error, &error);
	return error;
}

int flush_wait(struct flush *f, uint64_t goal, struct remote_intr *intr,
	       uint64_t deadline_ms)
{
	struct flush_progress p;

	for (;;) {
		uint64_t now = clock_ms();

		flush_get_progress(f, goal, &p);
		if (p.reached)
			return p.error;
		if (intr && remote_intr_is_fatal(intr))
			return -EINTR;
		if (deadline_ms && now >= deadline_ms)
			return -EAGAIN;
		mutex_lock(&f->lock);
		if (f->stop || f->keep) {
			mutex_unlock(&f->lock);
			return -ECANCELED;
		}
		(void)cond_wait_until(&f->moved, &f->lock, now + WAIT_LOOK_MS);
		mutex_unlock(&f->lock);
	}
}

int flush_wait_for(struct flush *f, uint64_t ino, struct remote_intr *intr)
{
	while (wback_is_pending(f->v->wback, ino)) {
		struct wback_view w;
		int r = flush_wait(f, flush_force(f), intr, 0);

		if (r == -EINTR || r == -ECANCELED)
			return r;
		/* All is sent but for what is stuck: is that of this one? It
		 * may hang on something stuck, and have no error of its own. */
		if (r < 0 && wback_is_pending(f->v->wback, ino))
			return wback_get(f->v->wback, ino, &w) && w.error ?
				       w.error :
				       r;
	}
	return 0;
}

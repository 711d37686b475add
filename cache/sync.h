/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sync.h: a mutex whose holder the compiler can check.
 *
 * clang's -Wthread-safety follows explicit lock and unlock pairs; it cannot
 * follow an unlock by the cleanup attribute, hence none is offered. A function
 * that needs a lock held says so with REQUIRES().
 */
#pragma once

#include <pthread.h>
#include <time.h>

#include "base.h"

#if defined(__clang__)
#define THREAD_ANNOTATION(x) __attribute__((x))
#else
#define THREAD_ANNOTATION(x)
#endif

#define CAPABILITY(x) THREAD_ANNOTATION(capability(x))
#define REQUIRES(...) THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define RELEASE(...) THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define NO_LOCK_ANALYSIS THREAD_ANNOTATION(no_thread_safety_analysis)

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t m;
};

/* A condition is waited for with CLOCK_MONOTONIC. */
struct cond {
	pthread_cond_t c;
};

#define MUTEX_INIT                            \
	{                                     \
		PTHREAD_MUTEX_INITIALIZER     \
	}

static inline void mutex_init(struct mutex *l)
{
	(void)pthread_mutex_init(&l->m, NULL);
}

static inline void mutex_destroy(struct mutex *l)
{
	(void)pthread_mutex_destroy(&l->m);
}

static inline void mutex_lock(struct mutex *l) ACQUIRE(l) NO_LOCK_ANALYSIS
{
	if (pthread_mutex_lock(&l->m) != 0)
		abort();
}

static inline void mutex_unlock(struct mutex *l) RELEASE(l) NO_LOCK_ANALYSIS
{
	if (pthread_mutex_unlock(&l->m) != 0)
		abort();
}

static inline void cond_init(struct cond *c)
{
	pthread_condattr_t a;

	(void)pthread_condattr_init(&a);
	(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->c, &a);
	(void)pthread_condattr_destroy(&a);
}

static inline void cond_destroy(struct cond *c)
{
	(void)pthread_cond_destroy(&c->c);
}

static inline void cond_wait(struct cond *c, struct mutex *l) REQUIRES(l)
{
	(void)pthread_cond_wait(&c->c, &l->m);
}

/* Until the monotonic time @deadline_ms (clock_ms()). False when it passed. */
static inline bool cond_wait_until(struct cond *c, struct mutex *l,
				   uint64_t deadline_ms) REQUIRES(l)
{
	struct timespec ts = { .tv_sec = (time_t)(deadline_ms / 1000),
			       .tv_nsec = (long)(deadline_ms % 1000) * 1000000 };

	return pthread_cond_timedwait(&c->c, &l->m, &ts) != ETIMEDOUT;
}

static inline void cond_signal(struct cond *c)
{
	(void)pthread_cond_signal(&c->c);
}

static inline void cond_broadcast(struct cond *c)
{
	(void)pthread_cond_broadcast(&c->c);
}

/* CLOCK_MONOTONIC in milliseconds. */
static inline uint64_t clock_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

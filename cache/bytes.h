/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bytes.h: memory that many hold: what one READ brought is on its way to an
 * application and into the content cache at the same time, and is not copied for
 * that. Who made it fills it before anybody else gets it; from then on it does
 * not change. Freed with its last reference, in whatever thread.
 */
#pragma once

#include "base.h"

struct bytes {
	unsigned refs; /* atomic */
	size_t size;
	uint8_t at[];
};

/* With one reference; NULL without memory. */
static inline struct bytes *bytes_new(size_t size)
{
	struct bytes *b = malloc(sizeof(*b) + size);

	if (b) {
		b->refs = 1;
		b->size = size;
	}
	return b;
}

static inline struct bytes *bytes_ref(struct bytes *b)
{
	(void)__atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

static inline void bytes_unref(struct bytes *b) /* NULL is fine */
{
	if (b && __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(b);
}

/* Does nobody but the caller have it? */
static inline bool bytes_is_ours(const struct bytes *b)
{
	return __atomic_load_n(&b->refs, __ATOMIC_ACQUIRE) == 1;
}

/* Some of it, with a reference. Zeroed: nothing. */
struct slice {
	struct bytes *of;
	const uint8_t *at;
	uint32_t len;
};

static inline struct slice slice_ref(const struct slice *s)
{
	if (s->of)
		(void)bytes_ref(s->of);
	return *s;
}

static inline void slice_done(struct slice *s)
{
	bytes_unref(s->of);
	*s = (struct slice){ 0 };
}

#define CLEANUP_SLICE __attribute__((cleanup(slice_done)))

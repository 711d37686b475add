/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ahead.h: asks before it is asked (see ahead.c). */
#pragma once

#include "flight.h"

int ahead_new(struct ahead **ret);
void ahead_free(struct ahead *a); /* NULL is fine */

/* A flight is over. */
struct landing {
	uint64_t ino;
	enum question q;
	int status;
	uint64_t stamp; /* from before it was sent; 0: it was not */
	bool ahead;     /* of flight_start() */
};
void ahead_landed(struct vfs *v, const struct landing *l);

/* The worker's share. Returns the clock_ms() at which it is due again if
 * nothing happens before. */
uint64_t ahead_work(struct vfs *v);

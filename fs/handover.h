/* SPDX-License-Identifier: GPL-2.0-or-later */
/* handover.h: makes the kernel hand over to the daemon what applications wrote
 * before now, without waiting in this process.
 */
#pragma once

#include <sys/types.h>

#include "mountinfo.h"

struct handover {
	pid_t child;       /* runs syncfs(2); 0: it has ended */
	int waiting_fd;    /* how many requests are under way; -1: not known */
	unsigned long least;    /* the least that was seen */
	uint64_t least_ms; /* and when */
};
#define HANDOVER_INIT \
	{ .waiting_fd = -1 }

int handover_start(struct handover *h, const struct mountinfo_entry *mount);

/* Has the daemon all of it? To be asked again until it is true. */
bool handover_done(struct handover *h);

/* Gives up what is not done. */
void handover_end(struct handover *h);

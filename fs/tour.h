/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tour.h: walks over a part of the tree that a command asked for: to know all of
 * it (nfsrootfs warm), or to believe nothing of it any more (refresh). One walk
 * is a tour; the vfs's worker makes it, hundreds of calls at once, and whoever
 * asked for it asks how far it is. A tour that nobody asks about for TOUR_LAPSE_MS
 * ends.
 *
 * From any thread; nothing here waits.
 */
#pragma once

#include "flight.h"

enum tour_kind {
	TOUR_META,    /* names, attributes, symlinks' targets: known and trusted */
	TOUR_DATA,    /* and contents of files, in the content cache */
	TOUR_REFRESH, /* nothing is trusted, nor by the kernel */
};

struct tour_progress {
	bool over;
	uint64_t dirs, entries; /* done so far */
	uint64_t asked;  /* directories and symlinks that the server was asked for */
	uint64_t files, bytes; /* whose contents were fetched */
	uint64_t failed; /* what could not be asked for, or fetched */
	int error;       /* -errno of the first */
};

enum { TOUR_LAPSE_MS = 10 * 1000 };

/* Begin at @ino, which is in the cache: a directory, or a file alone. TOUR_DATA
 * leaves out files of more than @file_bytes_max. -ENOENT: it is not; -EBUSY: too
 * many tours. */
int tour_start(struct vfs *v, enum tour_kind kind, uint64_t ino,
	       uint64_t file_bytes_max, uint64_t *ret_id);
/* -ENOENT: there is none of that number. One that is over is forgotten then. */
int tour_look(struct vfs *v, uint64_t id, struct tour_progress *ret);
void tour_stop(struct vfs *v, uint64_t id);

/* ---- for flight.c, vfs.c ---- */

int tours_new(struct tours **ret);
void tours_free(struct tours *t); /* after the worker. NULL is fine */
void tours_landed(struct vfs *v, uint64_t ino, int status);
/* The worker's share, a small one. Returns the clock_ms() at which it is due
 * again if nothing happens before. */
uint64_t tours_work(struct vfs *v);

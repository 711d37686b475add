/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ahead_int.h: private to ahead.c, which decides what to ask, ahead_scan.c, which
 * finds what may be asked for, and ahead_table.c, which keeps what both decide by.
 */
#pragma once

#include "ahead.h"

enum {
	SPOTS_MAX = 16384,
	ROAD_MAX = 8192, /* spots on the road */
	/* Asked ahead and not used yet. */
	WINDOW_MIN = 32, WINDOW_MAX = 4096,
	CALLS_MAX = 512, /* in flight */
	WANTS_FILES = 2, /* the habit: from so many directories on */
	WANTS_LINKS = 2, /* and from so many missed targets on */
	/* With ac=forever, how long something counts as in use. */
	IN_USE_MS = 30 * 1000,
};

/* Where a directory is on the road; see ahead.c. */
enum road { OFF, WANT, ASKED, READY };
/* What the worker is to do with it. */
enum task { NOTHING, SCAN, RENEW, LINK };

/* A directory or file that is in use, or on the road. */
struct spot {
	uint64_t ino, parent;
	struct spot *next;         /* in its slot */
	TAILQ_ENTRY(spot) age;     /* in ages */
	TAILQ_ENTRY(spot) way;     /* in road, unless OFF */
	TAILQ_ENTRY(spot) job;     /* in scans (SCAN) or questions */
	uint64_t used_ms;          /* last; 0: not yet */
	uint64_t road_ms;          /* on the road since */
	uint64_t scanned_ms;       /* its children were put on the road */
	uint64_t counted_ms;       /* it spoke for wants_files */
	uint64_t checked, listed;  /* stamps: of its attributes, of all in it */
	unsigned files;            /* of those in it, in use */
	enum road road;
	enum task task;
	bool is_file;
	bool passed; /* on the road, and somebody went on behind it */
	bool again;  /* asked for a second time: it had changed */
	bool to_list, listing; /* for its files: to be, is */
	bool sample; /* read without the attributes of its files */
};

TAILQ_HEAD(spots, spot);

struct ahead {
	struct stats *stats;
	struct mutex lock; /* guards all that follows; a leaf */
	struct spot **slots;
	unsigned n;
	struct spots ages; /* all, the one touched last at the head */
	struct spots road; /* the one needed next at the head */
	struct spots scans, questions;
	unsigned road_n, asked, ready; /* of the road, by state */
	unsigned window;
	unsigned calls;       /* flights of ours under way */
	unsigned wants_files; /* how sure it is that files' attributes are wanted:
			       * by directories, less samples that prove otherwise */
	unsigned wants_links; /* targets that were missed since links_ms */
	uint64_t links_ms;    /* the last one of them */
	unsigned reads;       /* since the last sample */
	uint64_t sample;      /* the last one's inode, until it has spoken */
	uint64_t pass_ms;     /* when all spots are looked at next */
};

/* ---- ahead_table.c: all under the lock ---- */

struct spot *spot_find(struct ahead *a, uint64_t ino) REQUIRES(a->lock);
/* The same, new if it has to be, and touched. NULL without memory. */
struct spot *spot_get(struct ahead *a, uint64_t ino) REQUIRES(a->lock);
void spot_drop(struct ahead *a, struct spot *s) REQUIRES(a->lock);
void spot_task(struct ahead *a, struct spot *s, enum task task)
	REQUIRES(a->lock);

/* Put @s, which is OFF, on the road behind @after (NULL: at its head). False:
 * the road is full. */
bool road_join(struct ahead *a, struct spot *s, struct spot *after)
	REQUIRES(a->lock);
void road_leave(struct ahead *a, struct spot *s) REQUIRES(a->lock);
/* From one state on the road to another. */
void road_set(struct ahead *a, struct spot *s, enum road road)
	REQUIRES(a->lock);
/* It is here that somebody walks: what was in front of @s comes last. */
void road_turn(struct ahead *a, const struct spot *s) REQUIRES(a->lock);
/* The next to be asked for, if the window has room, or gets it at the cost of
 * what is farther away. NULL: none. */
struct spot *road_next(struct ahead *a) REQUIRES(a->lock);
/* Was not used: it leaves. */
void road_waste(struct ahead *a, struct spot *s) REQUIRES(a->lock);

/* How long something is in use after it was used, ms. */
uint64_t ahead_in_use_ms(const struct vfs *v);
bool ahead_wants_links(struct vfs *v, struct ahead *a) REQUIRES(a->lock);

/* ---- ahead_scan.c ---- */

/* The worker's share. False: there is nothing to scan. */
bool ahead_scan(struct vfs *v);

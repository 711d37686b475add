/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ahead.h: asks the server before it is asked: directories that are about to be
 * read, and again what is in use before the trust in it runs out. How: ahead.c.
 *
 * May be called from any thread, with no lock held but where it says so; nothing
 * here waits for the server or fails. Nothing happens with ac=0.
 */
#pragma once

#include "flight.h"

int ahead_new(struct stats *stats, struct ahead **ret);
void ahead_free(struct ahead *a); /* after the worker. NULL is fine */

/* ---- told by operations ---- */

enum use {
	USE_ATTR,  /* its attributes were asked for */
	USE_NAMES, /* a name in it was looked up */
	USE_READ,  /* it was read, from its start */
};
/* @i as it was found, trusted or not. */
void ahead_used(struct vfs *v, const struct meta_inode *i, enum use use);

/* The trust in a file's attributes ran out: are they better had by listing its
 * directory, *@ret_dir, than by a GETATTR? */
bool ahead_lists(struct vfs *v, const struct meta_inode *file,
		 struct meta_inode *ret_dir);

/* Shall a reader of @dir, from @after on, see the names of its files without
 * their attributes, so that we see whether it wants them? */
bool ahead_withholds(struct vfs *v, uint64_t dir, uint64_t after);

/* The target of a symlink was not known. */
void ahead_missed_link(struct vfs *v, const struct meta_inode *link);

/* What was known is in doubt (tour.c): all that is kept here, too. */
void ahead_forget(struct vfs *v);

/* ---- told by flight.c ---- */

/* A flight is over. */
struct landing {
	uint64_t ino;
	enum question q;
	int status;
	uint64_t stamp; /* from before it was sent; 0: it was not */
	bool ahead;     /* it was ours, too */
};
void ahead_landed(struct vfs *v, const struct landing *l);

/* ---- the worker's ---- */

/* Ask what is to be asked. Returns the clock_ms() at which it is due again if
 * nothing happens before. */
uint64_t ahead_work(struct vfs *v);

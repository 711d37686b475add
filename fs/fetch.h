/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fetch.h: the contents that the server has: from the content cache, or from the
 * server itself, and asked for before somebody wants them where that can be
 * foreseen. Knows nothing of what is pending in the log.
 *
 * All functions may be called from any thread, without locks and outside a
 * bracket.
 */
#pragma once

#include "vfs_int.h"

#include "../cache/blob.h"

struct fetch; /* opaque */

/* @blob may be NULL: then contents are not kept. It must outlive the fetch. */
int fetch_open(struct vfs *v, struct blob *blob, struct fetch **ret);
/* When no call is under way any more (vfs_wait_submitted()). NULL is fine. */
void fetch_close(struct fetch *f);

/* @count bytes from @offset of the regular file @ino, in *@ret, which is the
 * caller's then: fewer at the end of the file only. What the cache has and is no
 * longer trusted is confirmed first. May wait for the server: -EINTR as c->intr
 * says. */
int fetch_read(struct fetch *f, const struct caller *c, uint64_t ino,
	       uint64_t offset, uint32_t count, struct slice *ret);

/* Have the content cache hold all of @ino, a regular file of at most @bytes_max.
 * 0: that is under way, and @done is told once, in any thread, what
 * came of it (-ESTALE: it changed meanwhile; -EAGAIN: the cache has more to write
 * than it can hold) and how many bytes it has; it must not block. 1: there is
 * nothing to do. Or -errno. */
typedef void fetch_stored_fn(void *arg, int status, uint64_t bytes);
int fetch_store(struct fetch *f, uint64_t ino, uint64_t bytes_max,
		fetch_stored_fn *done, void *arg);
/* Is so much on its way to the content cache that it had better be waited for? */
bool fetch_store_is_busy(struct fetch *f);

/* Nothing of it in memory is good any more: we changed its contents, or nobody
 * uses it. */
void fetch_forget(struct fetch *f, uint64_t ino);

/* The contents of STORE @job are on the server, which then had @now of the file:
 * keep them, so that they are not fetched back. Reads the log. */
void fetch_keep(struct fetch *f, const struct wback_job *job,
		const struct attr *now);

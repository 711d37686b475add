/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush.h: sends what the write-back log holds to the server: what is older
 * than config->delay_ms, what somebody waits for, and all when the log is full.
 */
#pragma once

#include "vfs.h"

struct flush; /* opaque; owns one thread */

/* Asked now and then before anything is sent, and blocks: 0; -ESTALE: somebody
 * else writes on the server by now, so nothing may be sent any more. */
typedef int flush_guard_fn(void *arg);

/* @v must outlive it. @guard may be NULL. */
int flush_open(struct vfs *v, flush_guard_fn *guard, void *arg,
	       struct flush **ret);

/* Before closing: send what is pending, unless flush_keep() was called or the
 * server stays away for LIMIT_CLOSE_MS. */
void flush_drain(struct flush *f);

/* Stops sending; waits for what is under way. What is pending stays in the log.
 * NULL is fine. */
void flush_close(struct flush *f);

/* From any thread: send all that is pending now, without waiting for its age.
 * Returns the goal, for the next two. */
uint64_t flush_force(struct flush *f);

/* From any thread: the mount is about to be closed, and nobody waits for what is
 * pending; the next mount sends it. flush_wait() returns -ECANCELED from now
 * on, and flush_close() gives up calls that a server does not answer. Nothing
 * else changes: while the mount lives, changes are sent as before.
 * flush_force() takes it back. */
void flush_keep(struct flush *f);

struct flush_progress {
	bool reached;            /* all up to the goal is on the server, but for
				  * what is stuck */
	bool away;               /* the server does not answer */
	uint64_t changes_left, bytes_left; /* in all */
	uint64_t stuck, copies;
	int error;               /* -errno of the first stuck change; 0 */
};
void flush_get_progress(struct flush *f, uint64_t goal,
			struct flush_progress *ret);

/* Until the goal is reached. 0; -errno of what is stuck; -EINTR by @intr (may be
 * NULL); -EAGAIN when clock_ms() reached @deadline_ms (0: none); -ECANCELED
 * after flush_keep(). */
int flush_wait(struct flush *f, uint64_t goal, struct remote_intr *intr,
	       uint64_t deadline_ms);

/* Until nothing of @ino is pending. 0; -errno of what is stuck of it, and else as
 * flush_wait(). */
int flush_wait_for(struct flush *f, uint64_t ino, struct remote_intr *intr);

/* From any thread: something was changed, and is due in a while. */
void flush_changed(struct flush *f);

/* The log is full: send whatever can be sent, for a while. */
void flush_pressure(struct flush *f);

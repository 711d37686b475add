/* SPDX-License-Identifier: GPL-2.0-or-later */
/* drain_client.h: for commands that wait until the server has everything: sync
 * and umount. The daemon is asked again and again (drain.h), so that the waiting
 * can be ended without ending the sending.
 */
#pragma once

#include "json.h"
#include "mountinfo.h"

/* How far it was when last asked. */
struct drain_state {
	bool reached;
	bool away; /* the server does not answer */
	uint64_t changes, bytes; /* left */
	uint64_t stuck, copies;
	int error; /* -errno of what is stuck */
};

struct drain_options {
	/* 0: wait for the server however long it is away, and say so; else
	 * give up when it was away for so long. */
	unsigned away_ms;
	/* Only hand over to the daemon what the kernel has, and look: nothing
	 * is hurried, and waited for the kernel for this long at most. */
	unsigned look_ms;
};

/* Until the server has all that @mount was told before now, but for what is
 * stuck. On a terminal, standard error shows how far it is. SIGINT, SIGTERM and
 * SIGHUP end the waiting. Returns 0; -EINTR; -EAGAIN: away; -ENOTCONN: the
 * daemon ended; or another -errno. In each case *@ret is what was last known. */
int drain_wait(const struct mountinfo_entry *mount,
	       const struct drain_options *o, struct drain_state *ret);

/* Only ask how much is left; the mount is not touched. */
int drain_look(const char *where, struct drain_state *ret);

/* One request of the daemon at @where and its answer, which begins with @want
 * and a space or ends with it; *@ret (malloc'ed) is what follows. Else -errno,
 * and for -EPROTO, -ENOTCONN, and -ETIMEDOUT the user has been told. */
int drain_ask(const char *where, const char *request, const char *want,
	      char **ret);

/* "12 changes", "1 change" into @buf, which is returned. */
enum { DRAIN_COUNT_BYTES = 32 };
const char *drain_changes(uint64_t n, char buf[DRAIN_COUNT_BYTES]);

void drain_json(struct json *j, const char *where, const struct drain_state *s);

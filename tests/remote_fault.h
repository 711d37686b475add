/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_fault.h: a remote that does to the calls of another what networks and
 * servers do: errors, lost replies, delays, an order of a test's choosing.
 *
 * A call goes through the rules in the order they were added; the first whose
 * op and predicate match, and whose turn and chance have come, decides. Each
 * matching call counts for a rule, whether or not the rule then acted.
 *
 * All functions may be called from any thread. Without memory the test is
 * aborted.
 */
#pragma once

#include "../fs/remote.h"

enum fault_kind {
	FAULT_NOT_SENT,  /* -ENOTCONN; the server never sees the call */
	FAULT_LOST,      /* the server executes it, the reply is lost:
			  * -ECONNRESET with maybe_done */
	FAULT_LOST_CALL, /* the same for the client, but never executed */
	FAULT_TIMEOUT,   /* executed, and -ETIMEDOUT with maybe_done */
	FAULT_JUKEBOX,   /* -EINPROGRESS; not executed */
	FAULT_STALE,     /* -ESTALE; not executed */
	FAULT_ERROR,     /* rule.error; not executed */
	FAULT_DELAY,     /* sent rule.delay_ms later */
	FAULT_HOLD,      /* sent at fault_release() */
	FAULT_HOLD_REPLY, /* executed at once; completed at fault_release() */
};

struct fault_rule {
	enum fault_kind kind;
	enum remote_op op;     /* REMOTE_OPS: any */
	unsigned skip;         /* let the first so many pass */
	unsigned times;        /* then act so many times at most; 0: always */
	unsigned percent;      /* of the rest, by chance; 0: all */
	int error;             /* FAULT_ERROR: -errno */
	unsigned delay_ms;
	/* NULL: any call. Called under the layer's lock: must only look. */
	bool (*match)(const struct remote_call *c, void *arg);
	void *arg;
};

/* Takes ownership of @inner. @seed decides all chances. */
struct remote *remote_fault_open(struct remote *inner, uint64_t seed);

/* Rules are copied; the id is for fault_acted(). */
unsigned fault_add(struct remote *fault, const struct fault_rule *rule);
/* All rules go; what is held stays held. */
void fault_clear(struct remote *fault);
/* How many calls the rule has acted on since it was added. */
unsigned fault_acted(struct remote *fault, unsigned id);
/* Wait until it has acted @n times. False after 10 s. */
bool fault_wait_acted(struct remote *fault, unsigned id, unsigned n);

/* Away: every call fails with -ENOTCONN, as if after all the rules. Calls held
 * or delayed are not affected until they are let go. */
void fault_set_away(struct remote *fault, bool away);

/* Shorthand for the next call of @op: it is held before it reaches the server
 * (fault_hold) or on its way back (fault_hold_reply). */
void fault_hold(struct remote *fault, enum remote_op op);
void fault_hold_reply(struct remote *fault, enum remote_op op);
/* Wait until @n calls are held at once. False after 10 s. */
bool fault_wait_held(struct remote *fault, unsigned n);
/* Let all go that is held now, or all calls of @op. */
void fault_release(struct remote *fault);
void fault_release_op(struct remote *fault, enum remote_op op);

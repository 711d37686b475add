/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control.h: the control socket of a mount. A client sends one line and gets an
 * answer that ends with the connection. The directory of the socket is root's
 * alone, so whoever can connect may ask.
 */
#pragma once

#include "../cache/base.h"

struct control; /* opaque; owns the socket and one thread */

/* Answers @request (no newline) into @out; -EINVAL when it is not understood.
 * Runs in the control thread; must not wait for the server. */
typedef int control_answer_fn(void *arg, const char *request, FILE *out);

/* -EADDRINUSE: another daemon serves that mount point (in another mount
 * namespace, say). */
int control_open(const char *mountpoint, control_answer_fn *answer, void *arg,
		 struct control **ret);

/* Stop answering; the socket stays for runtime_remove(). NULL is fine. */
void control_close(struct control *c);

/* ---- for clients ---- */

/* A connection to the daemon of @mountpoint; -ENOENT, -ECONNREFUSED: none. */
int control_connect(const char *mountpoint);

/* Send @request and read the whole answer (malloc'ed) from the connection @fd.
 * -ETIMEDOUT: no answer. */
int control_ask(int fd, const char *request, char **ret);

/* A pidfd of the daemon at the other end, or -errno; *@ret_pid its id. */
int control_pidfd(int fd, pid_t *ret_pid);

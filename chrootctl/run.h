/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run.h: starting commands, waiting for them, passing signals on. */
#pragma once

#include <sys/types.h>

#include "base.h"

struct run_command {
	const char *file;
	char *const *argv;
	char *const *env;      /* NULL: the caller's */
	const char *directory; /* NULL: the caller's; "/" if it is missing */
	bool aside; /* no standard input; standard output goes to error */
};

/* From now on the signals that are passed on are taken by run_wait() only.
 * Commands get the mask that was in force before. */
void run_take_signals(void);

/* Starts @c; it is looked for in PATH when its file has no "/". A command that
 * cannot be executed says so itself and ends with status 126 or 127. -errno
 * when there can be no new process. */
int run_spawn(const struct run_command *c, pid_t *ret);

/* Waits for the child @pid, reaping every other child that ends meanwhile and
 * passing signals on to it. Returns its exit status, or 128+N for signal N. */
int run_wait(pid_t pid);

/* The last signal that asked us to end, whoever sent it, or 0. */
int run_interrupted(void);

/* Remembers that we are the terminal's foreground, and takes that back after
 * an interactive shell has had it. */
void run_keep_terminal(void);
void run_reclaim_terminal(void);

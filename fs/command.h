/* SPDX-License-Identifier: GPL-2.0-or-later */
/* command.h: the subcommands. Each takes the arguments from its own name on,
 * speaks on the standard streams, and returns what the program exits with.
 */
#pragma once

#include <signal.h>

#include "config.h"
#include "exitcode.h"

enum exitcode command_mount(int argc, char **argv);
enum exitcode command_mount_helper(int argc, char **argv); /* mount(8)'s */
enum exitcode command_umount(int argc, char **argv);
enum exitcode command_status(int argc, char **argv);
enum exitcode command_discard(int argc, char **argv);
enum exitcode command_probe(int argc, char **argv);
enum exitcode command_sync(int argc, char **argv);
enum exitcode command_conflicts(int argc, char **argv);
enum exitcode command_cache(int argc, char **argv);
enum exitcode command_warm(int argc, char **argv);
enum exitcode command_refresh(int argc, char **argv);

/* ---- what several of them need ---- */

/* "see nfsrootfs help"; returns EXITCODE_USAGE. */
enum exitcode command_usage(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Apply one -o argument, or say what is wrong with it. */
enum exitcode command_options(struct config *c, const char *text);
enum exitcode command_source(struct config *c, const char *source);
/* "HOST:/PATH", or where an export was last mounted: for cachedir_find(). */
enum exitcode command_export(struct config *c, const char *arg);

/* Removes all that is in these directories of @path, NULL being the last, but
 * not them; says how much, and what could not be removed (discard.c). */
enum exitcode command_remove_parts(const char *path, const char *const *names);

enum exitcode command_need_root(const char *what);

/* The mount point as mountinfo shows it: absolute, symlinks resolved, without
 * asking what is mounted there, which may not answer. Need not exist.
 * malloc'ed. */
int command_mountpoint(const char *path, char **ret);

struct mountinfo;
struct mountinfo_entry;

/* warm --from @file, on the mount @e (warm_record.c). Interrupted, it
 * does not return: the process ends. */
enum exitcode command_warm_from(const struct mountinfo_entry *e,
				const char *file, bool json);

/* /proc/self/mountinfo, or a message and EXITCODE_SYSTEM. */
enum exitcode command_mounts(struct mountinfo *ret);

/* The mount of ours at @path or, with @within, that @path lies in; or NULL, and
 * a message. */
const struct mountinfo_entry *command_find_mount(const struct mountinfo *m,
						 const char *path, bool within);

/* From now on SIGINT, SIGTERM and SIGHUP are read from the descriptor that is
 * returned; -errno: nothing has changed. */
int command_take_signals(sigset_t *ret_old);
void command_give_signals_back(int fd, const sigset_t *old);

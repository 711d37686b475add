/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plan.h: what is going to happen, as a list of steps, before any of it does.
 *
 * plan_make() is pure: it looks at its arguments only, so that it can be
 * tested, and printed by --dry-run, without any privilege. apply.c walks the
 * list once. A step names its places as the session will see them: a target
 * is a path in the root, without its leading "/".
 */
#pragma once

#include <sys/types.h>

#include "base.h"

enum plan_step_type {
	STEP_PRIVATE, /* cut mount propagation to and from the rest */
	STEP_TREE,    /* take the directory with all mounts in it as new root */
	STEP_POINT,   /* have the directory @target, made when it is missing */
	STEP_DIR,     /* make the directory @target on a mount of ours */
	STEP_MOUNT,   /* a new filesystem of type @source on @target */
	STEP_NODE,    /* @source of this machine as file @target on ours */
	STEP_LINK,    /* symbolic link @target -> @source on a mount of ours */
	STEP_FILE,   /* file @target with contents @source on a mount of ours */
	STEP_RESOLV, /* this machine's resolv.conf over the root's */
	STEP_BIND,   /* @source of this machine on @target */
	STEP_PIVOT,  /* make the new root "/", drop everything else */
	STEP_LINUX32, /* personality of a 32-bit machine */
	STEP_RUN,     /* run @argv first; its failure is only a warning */
	STEP_EXEC,    /* run @argv, and the session ends with it */
};

enum plan_step_flags {
	PLAN_OPTIONAL = 1 << 0, /* leave it out when @source does not exist */
	PLAN_READ_ONLY = 1 << 1,
};

struct plan_step {
	enum plan_step_type type;
	unsigned flags; /* enum plan_step_flags */
	const char *source;
	const char *target;
	const char *options; /* STEP_MOUNT: of the filesystem, or NULL */
	uint64_t attributes; /* STEP_MOUNT: MOUNT_ATTR_* */
	mode_t mode;	     /* STEP_POINT, STEP_DIR, STEP_FILE */
	char *const *argv;   /* STEP_RUN, STEP_EXEC */
};

struct plan_bind {
	const char *source; /* absolute */
	const char *target; /* absolute, in the root */
	bool read_only;
};

/* All strings are borrowed for as long as the plan lives. */
struct plan_config {
	const char *path; /* the root directory, absolute */
	const char *name; /* for the prompt; safe in a shell */
	const char *user, *home, *shell;
	const char *term;     /* NULL: unknown */
	const char *terminal; /* path of the user's terminal, or NULL */
	unsigned tty_gid;
	bool linux32, env_update, resolv;
	const struct plan_bind *binds;
	size_t binds_n;
	char *const *env;  /* "VAR=VALUE", NULL-terminated, or NULL */
	char *const *argv; /* the command, NULL-terminated; NULL: a shell */
};

struct plan; /* opaque */

/* -ENOMEM; -EINVAL when a target of a bind is "/" or not absolute. */
int plan_make(const struct plan_config *config, struct plan **ret);
void plan_free(struct plan *p);

size_t plan_steps(const struct plan *p, const struct plan_step **ret);

/* The environment of STEP_RUN and STEP_EXEC, NULL-terminated. */
char *const *plan_env(const struct plan *p);

/* Where the command starts; "/" when it does not exist. */
const char *plan_directory(const struct plan *p);

/* One line of English that says what the step does, as it stands in --dry-run
 * and in error messages: "mount proc on /proc". Returns @buf. */
const char *plan_describe(const struct plan_step *s, char *buf, size_t size);

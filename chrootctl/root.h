/* SPDX-License-Identifier: GPL-2.0-or-later */
/* root.h: the root directory to be entered: what it must have, and what the
 * session must know of it. Nothing here changes anything.
 *
 * Everything in the root was written by somebody else. Files in it are opened
 * through root_open_inside() only, which never leaves the root.
 */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "arch.h"

enum { ROOT_NAME_MAX = 63, ROOT_REASON_MAX = 4600 };

enum root_resolv {
	RESOLV_PRESENT, /* etc/resolv.conf leads to a file, or into run/ */
	RESOLV_ABSENT,	/* there is no such name */
};

struct root {
	int fd;		     /* O_PATH of the directory; -1: not open */
	char path[PATH_MAX]; /* absolute, without symbolic links */
	char name[ROOT_NAME_MAX + 1]; /* server or directory; safe in a shell */
	char user[64], home[256], shell[256]; /* of its superuser */
	gid_t tty_gid;			      /* its own group "tty" */
	enum arch_fit fit;
	enum root_resolv resolv;
	bool has_env_update;
	bool is_nfsrootfs; /* it is on a mount that nfsrootfs made */
};

/* What one check found. status 0 is good; @reason may then hold a remark. */
struct root_verdict {
	const char *check; /* "directory", "shell", ... */
	int status;	   /* enum exit_status */
	char reason[ROOT_REASON_MAX];
};

typedef void root_report_fn(void *arg, const struct root_verdict *v);

/* Runs the checks in order on the directory @path and fills @r, reporting
 * each. A check that needs what an earlier one did not find is left out; with
 * @all the others go on after a failure, else the first failure ends it.
 * Returns 0 or the status of the first failure. @r is to be closed in any
 * case. */
int root_check(struct root *r, const char *path, bool all,
	       root_report_fn *report, void *arg);

/* Closes. A struct root that was never used must have .fd = -1. */
void root_close(struct root *r);

/* openat2(2) of @path as if @root_fd were "/": neither ".." nor an absolute
 * symbolic link leads out, magic links are refused. @resolve adds RESOLVE_*
 * flags. Returns a descriptor (close-on-exec) or -errno. */
int root_open_inside(int root_fd, const char *path, int flags,
		     uint64_t resolve);

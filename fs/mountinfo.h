/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mountinfo.h: the mount table of a process, read without touching any of the
 * filesystems in it (one of them may not be answering).
 */
#pragma once

#include "../cache/base.h"

#define MOUNTINFO_FSTYPE "fuse.nfsrootfs"

struct mountinfo_entry {
	int id, parent;
	unsigned major, minor; /* of st_dev */
	unsigned shared, master; /* peer groups; 0: none */
	char *root, *where, *fstype, *source;
};

struct mountinfo {
	struct mountinfo_entry *entries; /* in the order of mounting */
	size_t n;
};

/* @path is /proc/self/mountinfo or another's. */
int mountinfo_read(const char *path, struct mountinfo *ret);
void mountinfo_done(struct mountinfo *m);

/* The mount on top at exactly @where, or NULL. */
const struct mountinfo_entry *mountinfo_at(const struct mountinfo *m,
					   const char *where);
bool mountinfo_is_ours(const struct mountinfo_entry *e);

/* @path is @dir or lies beneath it. Both are clean absolute paths. */
bool path_is_beneath(const char *path, const char *dir);

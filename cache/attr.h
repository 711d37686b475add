/* SPDX-License-Identifier: GPL-2.0-or-later */
/* attr.h: what both the server and the cache know of a file: its handle, its
 * attributes, its version. Plain values, no ownership.
 */
#pragma once

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base.h"

enum { HANDLE_BYTES_MAX = 64, NAME_BYTES_MAX = 255 };

/* A file handle of the server: opaque bytes. len == 0: none. */
struct handle {
	uint8_t len;
	uint8_t data[HANDLE_BYTES_MAX];
};

/* Attributes as the server gives them. mode has the type bits (S_IFMT). */
struct attr {
	uint64_t fsid;   /* the server's filesystem */
	uint64_t fileid; /* the server's inode number */
	uint64_t size;   /* bytes */
	uint64_t used;   /* bytes on the server's disk */
	struct timespec atime, mtime, ctime;
	uint32_t mode;
	uint32_t nlink;
	uint32_t uid, gid;
	uint32_t rdev_major, rdev_minor;
};

/* Which of them. */
enum attr_mask {
	ATTR_MODE = 1 << 0, /* the permission bits */
	ATTR_UID = 1 << 1,
	ATTR_GID = 1 << 2,
	ATTR_SIZE = 1 << 3,
	ATTR_ATIME = 1 << 4,
	ATTR_MTIME = 1 << 5,
	ATTR_CTIME = 1 << 6, /* never set, only seen */
};

static inline bool handle_equal(const struct handle *a, const struct handle *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static inline bool timespec_equal(const struct timespec *a,
				  const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

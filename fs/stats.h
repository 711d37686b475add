/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stats.h: counters of one mount. Each is added to from any thread with relaxed
 * atomics and read for `status` only: no decision hangs on them.
 */
#pragma once

#include "../cache/base.h"

enum stats_fuse {
	REQ_LOOKUP, REQ_FORGET, REQ_GETATTR, REQ_SETATTR, REQ_READLINK,
	REQ_MKNOD, REQ_MKDIR, REQ_UNLINK, REQ_RMDIR, REQ_SYMLINK,
	REQ_RENAME, REQ_LINK, REQ_READ, REQ_WRITE, REQ_FSYNC,
	REQ_READDIR, REQ_READDIRPLUS, REQ_STATFS, REQ_FALLOCATE,
	REQ_REFUSED, /* answered with ENOSYS, so that the kernel stops asking */
	REQ_KINDS,
};

extern const char *const stats_fuse_names[REQ_KINDS];

struct stats {
	uint64_t fuse[REQ_KINDS];
	uint64_t name_hits, name_misses; /* lookups answered from the cache, not */
	uint64_t attr_hits, attr_misses;
	uint64_t listings, listing_pages, listings_in_background;
	uint64_t revalidations, changed_behind; /* found changed by others */
	/* Directories and files asked for before they were needed; directories
	 * of those that were then used, or not for as long as they were trusted
	 * (the rest was in use, and confirmed again). */
	uint64_t ahead_asked, ahead_used, ahead_wasted;
	uint64_t bytes_read, bytes_written;
	uint64_t data_hits, data_misses; /* reads: without the server, not */
	uint64_t data_ahead, data_ahead_used, data_ahead_wasted; /* READs */
	uint64_t bad_replies; /* names or handles of the server refused */
	uint64_t nodes;       /* inodes the kernel holds now */
	uint64_t held;        /* unlinked files kept because they may be open */
};

static inline void stats_add(uint64_t *counter, uint64_t n)
{
	__atomic_add_fetch(counter, n, __ATOMIC_RELAXED);
}

static inline uint64_t stats_get(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

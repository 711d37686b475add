/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_mem.h: an NFSv3 server in memory, for tests.
 *
 * A struct remote_mem is the server with its disk. remote_mem_connect() gives a
 * remote (fs/remote.h) that talks to it; closing that remote leaves the server
 * alone, so that a test can disconnect, look, and connect again as a remount
 * would. The remote_mem_* functions that take a path are the administrator at
 * the server's own shell: paths are absolute within the export, nothing follows
 * symbolic links, changes are not counted as calls.
 *
 * The semantics are those of Linux's server on a local filesystem where RFC
 * 1813 leaves a choice, among them the unpleasant ones: inode numbers are used
 * again (with another generation in the handle), a change of owner clears the
 * set-user-ID bit even when the same call sets it, listings show a mount point
 * without attributes or handle. Calls come from root and are not squashed.
 * Listings leave "." and ".." out, as the remote of a real server does.
 *
 * All functions may be called from any thread; all return 0 or -errno unless
 * they say otherwise. Without memory the test is aborted.
 */
#pragma once

#include "../fs/remote.h"

struct remote_mem;

enum { /* for remote_mem_options.omit */
       REMOTE_MEM_OMIT_PRE = 1,    /* no attributes from before a change */
       REMOTE_MEM_OMIT_POST = 2,   /* none where the protocol lets them out */
       REMOTE_MEM_OMIT_HANDLE = 4, /* of what was created */
};

struct remote_mem_options {
	/* Complete calls in a thread of the connection, in order, each
	 * @delay_ms after its submission; else within remote_submit(). Fixed
	 * when a connection is made. */
	bool async;
	unsigned delay_ms;
	unsigned page_entries; /* at most so many in a READDIRPLUS; 0: any */
	uint32_t link_max;     /* links of one file or directory; 0: 65000 */
	unsigned omit;
	bool read_only; /* changes fail with -EROFS */
	bool full;      /* what needs space fails with -ENOSPC */
};

/* @o may be NULL: all zero. */
struct remote_mem *remote_mem_new(const struct remote_mem_options *o);
/* After all its connections were closed. NULL is fine. */
void remote_mem_free(struct remote_mem *m);
void remote_mem_set_options(struct remote_mem *m,
			    const struct remote_mem_options *o);
struct remote *remote_mem_connect(struct remote_mem *m);
void remote_mem_root(struct remote_mem *m, struct handle *ret);

/* How many calls of @op (REMOTE_OPS: of any) all connections have made. */
uint64_t remote_mem_calls(struct remote_mem *m, enum remote_op op);
void remote_mem_reset_calls(struct remote_mem *m);

/* The server restarts: another write verifier; handles and data stay. */
void remote_mem_restart(struct remote_mem *m);

/* Every change sets the clock forward by @step_ns first, so that with the
 * default (1000 ns) no two have the same time. @now_ns is since the epoch. */
void remote_mem_set_clock(struct remote_mem *m, uint64_t now_ns,
			  uint64_t step_ns);
/* The disk keeps times in units of @ns (default 1): all times, also those that
 * a client sets, are cut down to it, and FSINFO says so. */
void remote_mem_set_granularity(struct remote_mem *m, uint64_t ns);

/* ---- the administrator ---- */

/* The directory at @path, which must be empty, becomes the root of another
 * filesystem with its own fsid and inode numbers. */
int remote_mem_new_fs(struct remote_mem *m, const char *path);

/* Create or replace a file's contents in place. Mode 0644 when created. */
int remote_mem_write_file(struct remote_mem *m, const char *path,
			  const void *bytes, size_t len);
/* *@ret is malloc'ed, with a NUL behind the contents. */
int remote_mem_read_file(struct remote_mem *m, const char *path, char **ret,
			 size_t *ret_len);
/* With the missing parents, mode 0755; fine when it exists. */
int remote_mem_mkdir(struct remote_mem *m, const char *path);
int remote_mem_symlink(struct remote_mem *m, const char *target,
		       const char *path);
int remote_mem_link(struct remote_mem *m, const char *from, const char *to);
/* @mode with its type bits. */
int remote_mem_mknod(struct remote_mem *m, const char *path, uint32_t mode,
		     uint32_t major, uint32_t minor);
/* A directory with all that is in it. */
int remote_mem_remove(struct remote_mem *m, const char *path);
int remote_mem_rename(struct remote_mem *m, const char *from, const char *to);
int remote_mem_chmod(struct remote_mem *m, const char *path, uint32_t mode);
int remote_mem_chown(struct remote_mem *m, const char *path, uint32_t uid,
		     uint32_t gid);
int remote_mem_set_mtime(struct remote_mem *m, const char *path,
			 const struct timespec *mtime);
int remote_mem_stat(struct remote_mem *m, const char *path, struct attr *ret);
int remote_mem_handle(struct remote_mem *m, const char *path,
		      struct handle *ret);

/* The tree as text, one line an object, sorted, with nothing in it that
 * depends on inode numbers or on the clock: "PATH TYPE MODE LINKS UID GID" and
 * then, by type, "SIZE CONTENTS' HASH", "-> TARGET" or "MAJOR:MINOR"; further
 * links of a file say "= FIRST PATH". With @times, also the mtimes. The caller
 * frees it. */
char *remote_mem_dump(struct remote_mem *m, bool times);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cachedir.h: where the local state of one export lies:
 *
 *   DIR/EXPORT/           DIR: /var/cache/nfsrootfs or -o cachedir=
 *     about               format version, server, last mount point; text
 *     lock                held (flock) while the export is mounted
 *     id                  32 hex digits: names this directory to others (lease.h)
 *     meta/               the metadata cache (cache/meta.h)
 *     blob/               contents of clean files (cache/blob.h)
 *     log/                the write-back log (cache/wback.h): not to be deleted
 *     tmp/AREA/           the contents of the tmp areas
 *
 * EXPORT is "HOST:/PATH" escaped (escape.h), with the port in front of the path
 * when -o port= names one: behind tunnels one host name is several servers.
 */
#pragma once

#include "config.h"
#include "exitcode.h"

struct cachedir {
	char *path; /* DIR/EXPORT, symlinks resolved */
	int fd;
	int lock_fd;
	bool made; /* by cachedir_open(): it was not there before */
};
#define CACHEDIR_INIT \
	{ .fd = -1, .lock_fd = -1 }

/* "HOST:/PATH" or "HOST:PORT:/PATH": the server as the cache knows it.
 * malloc'ed; NULL without memory. */
char *cachedir_server(const struct config *c);

/* For a mount: find or make the directory, check it, lock it, and note the
 * mount point in it. @c has source and mountpoint. On failure *@ret_why (malloc'ed)
 * is a sentence for the user, and the error is one of
 *   -EREMOTE on a network or FUSE filesystem; -EMEDIUMTYPE of another format
 *   version; -EUCLEAN damaged; -EBUSY locked by another mount; -EXDEV of
 *   another server; -EPERM not safe (owner, mode, symlink);
 *   otherwise it cannot be written to. */
int cachedir_open(const struct config *c, struct cachedir *ret, char **ret_why);

/* For other uses: the existing directory of c->host:c->path or, when c->host is
 * NULL, the one last mounted on c->mountpoint. Locked. -ENOENT: there is none;
 * else as above. */
int cachedir_find(const struct config *c, struct cachedir *ret, char **ret_why);

/* Every export's directory in DIR that says whose it is. Each is locked while
 * @fn looks at it, where it can be: */
struct cachedir_entry {
	const char *path, *server;
	const char *mountpoint; /* where it was last mounted */
	int err; /* 0: locked; -EBUSY: it is mounted; else as cachedir_find() */
};
/* 0 to go on; else cachedir_each() returns that. */
typedef int cachedir_each_fn(void *arg, const struct cachedir_entry *e);
int cachedir_each(const struct config *c, cachedir_each_fn *fn, void *arg,
		  char **ret_why);

void cachedir_close(struct cachedir *d);

/* After a mount that failed: remove what cachedir_open() made, unless something
 * is in it by now. A mistyped name shall not leave a directory. */
void cachedir_undo(const struct cachedir *d);

/* The error of meta_open() on the metadata cache in it, as a sentence. */
char *cachedir_meta_why(const struct cachedir *d, int err);
enum exitcode cachedir_exitcode(int err);

enum { CACHEDIR_ID_BYTES = 33 }; /* with the NUL */

/* What tells this directory from all others, on any machine: chosen by chance
 * when it is first asked for, the same ever after. */
int cachedir_id(const struct cachedir *d, char ret[CACHEDIR_ID_BYTES]);

/* Paths in it, malloc'ed. */
char *cachedir_meta_path(const struct cachedir *d);
char *cachedir_blob_path(const struct cachedir *d);
char *cachedir_log_path(const struct cachedir *d);
char *cachedir_area_path(const struct cachedir *d, const char *area);

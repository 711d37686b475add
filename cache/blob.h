/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob.h: the content cache: what clean files contain, kept on the local disk
 * across mounts, compressed. May be deleted between mounts without loss.
 *
 * Contents belong to a file's number ("ino", as of meta.h) and its version on
 * the server. They are only ever given back for exactly that version, and only
 * if every byte of them is as it was written; otherwise they are "not here",
 * which is no error: the caller asks the server, and may write what it got.
 * The caller sees to two things:
 *   - A version must be settled: a file whose ctime is that of this very moment
 *     can change again without its version changing.
 *   - Numbers must mean the same files. "owner" names what gives them out.
 *
 * A file lies here in chunks of BLOB_CHUNK_BYTES, some of which may be missing.
 * Nothing fails because the disk is full or broken: then less is kept. All
 * functions may be called from any thread, at once, and none waits for the disk
 * but to read what it was asked for.
 */
#pragma once

#include <time.h>

#include "bytes.h"

enum { BLOB_CHUNK_BYTES = 128 * 1024 };

struct blob; /* opaque */

/* Of the file on the server, as the server told it. */
struct blob_version {
	uint64_t size;
	struct timespec mtime, ctime;
};

struct blob_options {
	/* What the directory may hold. Less than BLOB_BYTES_MIN keeps nothing.
	 */
	uint64_t bytes_max;
	uint64_t keep_free; /* left to others on that disk */
};
#define BLOB_BYTES_MIN (UINT64_C(8) << 20)

/* Opens, or makes, the cache in directory @dir, which must exist and be ours.
 * What is there of another owner, another format, or damaged, is removed.
 * @owner: whose numbers they are: the server, and the life of the metadata
 * cache. NULL: whose it is already, for looking after it; -ENOENT: nothing is
 * here. -EBUSY: in use by another process; or an errno of the disk. */
int blob_open(const char *dir, const char *owner, const struct blob_options *o,
	      struct blob **ret);

/* Writes what is queued. NULL is fine. */
void blob_close(struct blob *b);

/* At most @len bytes from @offset of @ino as of @v, and of one chunk; none
 * behind the end of the file. *@ret is the caller's then. -ENOENT: the chunk is
 * not here. */
int blob_read(struct blob *b, uint64_t ino, const struct blob_version *v,
	      uint64_t offset, uint32_t len, struct slice *ret);

/* Is all of the range here, as far as the file reaches? A promise of nothing.
 */
bool blob_has(struct blob *b, uint64_t ino, const struct blob_version *v,
	      uint64_t offset, uint64_t len);

/* Keep the chunks that lie in the range as a whole (the last one ends with the
 * file). They can be read back at once, and are written by a thread of the
 * cache, which refers to @data until then; what was here of the same chunks is
 * replaced. 0, or why they, or some of them, are not kept: -EAGAIN too much is
 * queued; -ENOSPC; -EIO; -ENOMEM. */
int blob_write(struct blob *b, uint64_t ino, const struct blob_version *v,
	       uint64_t offset, const struct slice *data);

/* Forget the contents of @ino as of @v. Need not be called for what changed: a
 * new version does not see them. */
void blob_drop(struct blob *b, uint64_t ino, const struct blob_version *v);

/* Wait until all that is queued is written, or given up. */
void blob_flush(struct blob *b);

/* Remove everything. */
void blob_clear(struct blob *b);

/* Read everything, and drop what is damaged. Slow, but in nobody's way. */
struct blob_check {
	uint64_t chunks, bytes; /* sound, as they lie on disk */
	uint64_t damaged;	/* chunks, dropped */
};
/* Called after each chunk, may be NULL; what it returns other than 0 ends the
 * check, which then returns that. */
typedef int blob_check_fn(void *arg, const struct blob_check *so_far);
int blob_check(struct blob *b, blob_check_fn *fn, void *arg,
	       struct blob_check *ret);

/* What is here of each file, of all its versions, in the order of their
 * numbers.
 * @fn returns 0 to go on, 1 to stop, or -errno. Returns 0, or what @fn
 * returned. Takes 32 bytes of memory a chunk while it runs. */
struct blob_file {
	uint64_t ino;
	uint64_t chunks, bytes; /* as they lie on disk */
};
typedef int blob_walk_fn(void *arg, const struct blob_file *f);
int blob_walk(struct blob *b, blob_walk_fn *fn, void *arg);

struct blob_stats {
	uint64_t bytes;		    /* on disk now, the index included */
	uint64_t bytes_max, queued; /* queued: bytes not written yet */
	uint64_t packs;		    /* files they lie in */
	/* Since blob_open(), chunks unless it says bytes: */
	uint64_t hits, misses, hit_bytes;
	uint64_t written, written_bytes, stored_bytes; /* before, after zstd */
	uint64_t refused;	/* not kept: queue, room, errors */
	uint64_t evicted_bytes; /* least recently used, dropped */
	uint64_t kept;		/* moved on because they are in use */
	uint64_t damaged;
};
void blob_get_stats(struct blob *b, struct blob_stats *ret);

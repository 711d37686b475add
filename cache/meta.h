/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meta.h: the metadata cache: inodes, names and complete directories, kept in
 * LMDB across mounts. May be deleted between mounts without loss.
 *
 * Every inode has an id of our own ("ino"), 64 bits, never used again for
 * another file during the life of the cache; META_ROOT is the root.
 *
 * Use: meta_begin(), any number of calls, meta_end(). The bracket is one lock;
 * what is read inside it is one consistent state and what is written is seen
 * by every later bracket at once. Nothing that can block (no RPC, no reply to
 * the kernel) may happen inside. A thread of the cache commits to disk in the
 * background; a crash of the process loses at most the last
 * META_COMMIT_MS of what was cached, never a part of it.
 *
 * Time is a stamp: microseconds of a clock that never runs backwards, not even
 * across mounts. A stamp below meta_session_start() belongs to an earlier mount.
 */
#pragma once

#include "attr.h"
#include "sync.h"

enum { META_ROOT = 1, META_COMMIT_MS = 1000, META_TARGET_MAX = 4095 };

struct meta; /* opaque */

enum meta_flags {
	META_COMPLETE = 1 << 0, /* directory: all its names of .epoch are here */
	META_REMOVED = 1 << 1,  /* no name is left; kept while it is in use */
	META_RELIST = 1 << 2,   /* directory: list again at next revalidation */
	META_CTIME_OURS = 1 << 3, /* a change of ours moved the server's ctime
				   * (a file's mtime too, perhaps), and we were
				   * not told the new one */
};

struct meta_inode {
	uint64_t ino;
	uint64_t parent;      /* directory: where it is; else where last seen */
	uint64_t checked;     /* stamp: when the server last confirmed .attr */
	struct attr attr;     /* what applications see */
	struct timespec server_mtime; /* version: as the server last told them; */
	struct timespec server_ctime; /* attr's may be newer (own changes) */
	struct timespec data_ctime;   /* server_ctime as of the last change that
				       * may have been one of the contents */
	uint32_t epoch;       /* directory: names of another epoch are suspect */
	uint32_t flags;       /* enum meta_flags */
	struct handle handle; /* len 0: not known */
};

struct meta_name {
	uint64_t ino;   /* 0: the name exists, its inode is not known yet */
	uint32_t epoch; /* of the directory, when the name was last confirmed */
	uint8_t type;   /* DT_*; of no meaning for an absent name */
	bool absent;    /* a negative entry */
};

/* Opens, or makes, the cache in directory @dir, which must exist and be ours.
 * @server is "HOST:/PATH": a cache of another server is refused.
 * -EMEDIUMTYPE: another format version; -EUCLEAN: damaged; -EBUSY: in use by
 * another process; -EXDEV: of another server; or an errno of the disk. */
int meta_open(const char *dir, const char *server, struct meta **ret);

/* Commits and closes. NULL is fine. */
void meta_close(struct meta *m);

void meta_begin(struct meta *m);
void meta_end(struct meta *m);

/* Without a bracket: */
uint64_t meta_now(const struct meta *m);           /* the current stamp */
uint64_t meta_session_start(const struct meta *m); /* the stamp of meta_open */
/* Was the cache closed as it should be? If not, what the server was told in the
 * last moments may be missing, though it is confirmed. */
bool meta_was_closed(const struct meta *m);
/* Tells this cache's inode numbers from those of every other, also from one
 * that is made in its place. */
uint64_t meta_life(const struct meta *m);
int meta_sync(struct meta *m); /* commit and fsync now */
/* Where @name stands in every directory, see meta_names(). */
uint64_t meta_offset(const struct meta *m, const char *name);

/* ---- inside a bracket ---- */

/* Each may also return -EUCLEAN: the file proved damaged while in use; so does
 * every later call, and the next meta_open(). Changes may return -ENOSPC. */

/* Has the local disk room for more? Without it inodes are kept in memory, as
 * long as somebody needs them, and names are not kept. */
bool meta_has_room(struct meta *m);
/* Who says so: @fn returns whether @ino, a file, is needed; inside a bracket,
 * and must not call back. NULL: all are. */
typedef bool meta_keep_fn(void *arg, uint64_t ino);
void meta_set_keep(struct meta *m, meta_keep_fn *fn, void *arg);

/* -ENOENT when unknown. */
int meta_get(struct meta *m, uint64_t ino, struct meta_inode *ret);

/* Store @in under in->ino, and index its handle and (fsid, fileid).
 * -ENOSPC: no room on the local disk nor in memory; nothing changed. */
int meta_put(struct meta *m, const struct meta_inode *in);

/* Forget an inode, its index entries and, if a directory, its names. */
int meta_forget(struct meta *m, uint64_t ino);

/* A number never given out before. */
uint64_t meta_new_ino(struct meta *m);
/* Nor will one below @bound be: others, who remember it, have given it out. */
void meta_skip_inos(struct meta *m, uint64_t bound);

/* The inode with this handle, or, when a server gives one file several
 * handles, the one with the same fsid, fileid, type, and ctime.
 * -ENOENT when unknown. */
int meta_find(struct meta *m, const struct handle *h, const struct attr *attr,
	      struct meta_inode *ret);

/* Where the symlink @i points to, as long as it is the version of
 * i->server_mtime. Goes with its inode. *@ret is malloc'ed; NULL: only whether it
 * is known. -ENOENT: it is not. */
int meta_target_get(struct meta *m, const struct meta_inode *i, char **ret);
/* -EINVAL when @target is empty or longer than META_TARGET_MAX. */
int meta_target_put(struct meta *m, const struct meta_inode *i,
		    const char *target);

/* Names are at most NAME_BYTES_MAX bytes, never empty, ".", ".." or with '/'.
 * -ENOSPC of a change: nothing is known of @name, and @dir has a new epoch and is
 * no longer META_COMPLETE, so that nothing wrong is believed of it. */
int meta_name_get(struct meta *m, uint64_t dir, const char *name,
		  struct meta_name *ret);
int meta_name_put(struct meta *m, uint64_t dir, const char *name,
		  const struct meta_name *in);
int meta_name_del(struct meta *m, uint64_t dir, const char *name);

/* Walks the names of @dir whose offset is greater than @after (0: from the
 * start), in the order of their offsets. An offset belongs to the name alone,
 * stays the same for ever, and is between META_OFFSET_MIN and INT64_MAX.
 * Two names may share one offset: @fn sees them next to each other.
 * @fn must not change the cache. It returns 0 to go on, 1 to stop, or -errno.
 * Returns 0, or what @fn returned; -EUCLEAN when a name was lost to damage, and
 * then @dir is no longer META_COMPLETE. */
enum { META_OFFSET_MIN = 16 };
typedef int meta_name_fn(void *arg, uint64_t offset, const char *name,
			 const struct meta_name *n);
int meta_names(struct meta *m, uint64_t dir, uint64_t after, meta_name_fn *fn,
	       void *arg);

/* Delete the names of @dir that are not of @epoch. The inodes stay. */
int meta_names_purge(struct meta *m, uint64_t dir, uint32_t epoch);

/* Drop inodes that no name leads to (left by a crash or by changes on the
 * server); after a crash, have every directory listed again when it is used. For use at mount, before the kernel knows any inode; brackets
 * itself and works in small steps. */
int meta_sweep(struct meta *m);

struct meta_stats {
	uint64_t inodes, names, commits, bytes_on_disk;
};
void meta_get_stats(struct meta *m, struct meta_stats *ret); /* no bracket */

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fetch_int.h: private to fetch.c, which reads, fetch_span.c, which has what is
 * in memory and asks, and fetch_ahead.c, which decides what is asked for before
 * it is wanted.
 */
#pragma once

#include <sys/queue.h>

#include "fetch.h"
#include "view.h"

enum {
	FETCH_HEADS = 1024,
	FETCH_FILES_MAX = 1024,
	FETCH_DIRS_MAX = 64,
	/* In memory, asked for or here. What somebody waits for may exceed it. */
	FETCH_BYTES_MAX = 64 * 1024 * 1024,
	FETCH_CALLS_MAX = 128, /* under way that nobody waits for */
	/* A file no larger than this is read as a whole. */
	FETCH_WHOLE_BYTES = 2 * BLOB_CHUNK_BYTES,
};

/* A stretch of a file, asked for by one READ.
 *
 *   ASKED --arrived--> HERE, or FAILED
 *
 * Belongs to its file until it is dropped (.file NULL: nobody finds it any
 * more); freed with the last reference. The call under way has one, and so has
 * each reader. */
enum span_state { SPAN_ASKED, SPAN_HERE, SPAN_FAILED };

struct span {
	TAILQ_ENTRY(span) of_file;
	TAILQ_ENTRY(span) of_all; /* least recently used first */
	struct fetch *f;
	struct file *file;
	unsigned refs;
	enum span_state state;
	int status; /* FAILED */
	bool ahead; /* nobody has wanted it yet */
	bool eof;   /* it reaches the end */
	uint64_t offset;
	uint32_t len;     /* asked for; HERE: there */
	uint32_t charged; /* of f->bytes */
	struct slice data;

	/* What the reply said of the file; `fresh` until that is recorded. */
	bool fresh, solid; /* solid: of the version that was asked for */
	struct attr attr;
	struct moment when;
};
TAILQ_HEAD(spans, span);

/* What a question to the server needs to know of a file. */
struct source {
	uint64_t ino, dir;
	struct handle fh;
	struct blob_version v;
	struct timespec ctime; /* the server's, which may be newer than v's */
	bool any_ctime;        /* ours moved it, and we were not told */
	bool settled;          /* v says all: see vfs_is_settled() */
	uint64_t checked;
};

struct file {
	TAILQ_ENTRY(file) of_all; /* least recently used first */
	LIST_ENTRY(file) of_head;
	struct source s;
	struct spans spans;
	/* Sequential reading: */
	uint64_t next;     /* where it goes on, if it does */
	uint64_t window;   /* bytes ahead of it */
	uint64_t asked_to; /* already */
};
TAILQ_HEAD(files, file);
LIST_HEAD(file_head, file);

/* A directory whose small files are being read one after another. */
struct reading {
	uint64_t dir;   /* 0: free */
	uint64_t first; /* the file that made us look here */
	uint64_t used_ms;
	unsigned window;        /* files asked for ahead; 0: not yet */
	unsigned asked, unused; /* so far */
	uint64_t cursor;        /* of meta_names(): what is behind it is next */
	bool entered;           /* a file of it was wanted */
	bool done;              /* it is at the end */
	bool busy;              /* somebody moves it on */
	bool judged;            /* it has told how the next ones start */
};

struct fetch {
	struct vfs *v;
	struct blob *blob;

	struct mutex lock; /* guards what follows; none is taken under it */
	struct cond arrived;
	struct file_head heads[FETCH_HEADS];
	struct files files;
	unsigned files_n;
	struct spans spans;
	uint64_t bytes;
	uint64_t storing; /* bytes of whole files under way; atomic */
	unsigned calls; /* under way that nobody waits for */
	struct reading dirs[FETCH_DIRS_MAX];
	unsigned window; /* that a directory starts with */
};

/* ---- fetch_span.c ---- */

/* In a bracket: what to ask of @i. False: it has no contents to be asked for. */
bool fetch_source(struct vfs *v, const struct meta_inode *i,
		  struct source *ret);
/* Is what the server just said of a file what was known of it? */
bool fetch_is_version(const struct source *s, const struct attr *a);

/* Ask for a stretch, or what of it is in front of what is in memory or asked for
 * already. -EAGAIN: @ahead, and there is no room. Takes the lock by itself. */
int fetch_ask(struct fetch *f, const struct source *s, uint64_t offset,
	      uint32_t len, bool ahead);

struct file *span_find_file(struct fetch *f, uint64_t ino) REQUIRES(f->lock);
void span_drop_file(struct fetch *f, struct file *file) REQUIRES(f->lock);
/* The span that has @offset, or will, with a reference; or NULL. */
struct span *span_get(struct fetch *f, const struct source *s, uint64_t offset)
	REQUIRES(f->lock);
void span_unref(struct fetch *f, struct span *span) REQUIRES(f->lock);
/* Nobody finds it any more. */
void span_drop(struct fetch *f, struct span *span) REQUIRES(f->lock);
/* Is there one? Takes the lock by itself. */
bool span_is_here(struct fetch *f, const struct source *s, uint64_t offset);

/* ---- fetch_ahead.c ---- */

/* [@offset, @end) of the file is being read and was not in the cache. */
void ahead_stretch(struct fetch *f, const struct source *s, uint64_t offset,
		   uint64_t end);
/* A small file was not here (@missed), or had been asked for ahead. */
void ahead_file(struct fetch *f, const struct source *s, bool missed);
/* Under the lock: @span goes, and nobody has wanted it. */
void ahead_wasted(struct fetch *f, const struct span *span) REQUIRES(f->lock);

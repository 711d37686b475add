/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob_int.h: private to the content cache: the open cache, and what its files
 * offer each other. From the bottom: blob_rec (bytes), blob_pack (the files
 * with contents), blob_index (where each chunk is), blob_evict (room),
 * blob_write (the queue and the writer, a thread), blob (open, close, reading,
 * the walks).
 *
 * Locks, in order: change, lock. `lock` is held for moments, never across a
 * call that can wait. `change` is held by who changes the index, across reading
 * and writing a bucket of it; who only reads takes neither for that.
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include <zstd.h>

#include "blob_rec.h"
#include "sync.h"

enum {
	/* What the writer compresses and appends at once. */
	BLOB_BATCH_BYTES = 512 * 1024,
	BLOB_BATCH_CHUNKS = 256,
	BLOB_QUEUE_BYTES = 48 * 1024 * 1024,
	BLOB_QUEUE_HEADS = 1024,

	/* A pack is a 256th of the bound, which bounds open files and memory.
	 */
	BLOB_PACKS = 256,
	BLOB_PACKS_MAX = 2 * BLOB_PACKS, /* left by a lower bound */
	BLOB_PACK_BYTES_MIN = 1024 * 1024,

	BLOB_SCRATCH_KEPT = 8,
};
#define BLOB_PACK_BYTES_MAX (UINT64_C(64) << 30) /* what a slot can name */

/* One file with contents, open as long as somebody refers to it. */
struct pack {
	uint32_t number;
	int fd;
	unsigned refs;	    /* atomic */
	struct sip_key key; /* of its checks */
	uint64_t used;	    /* under lock; where the next record goes */
	atomic_uint_fast64_t touched[BLOB_TOUCHED_BITS / 64];
};

/* One index file, likewise. */
struct index_file {
	int fd;
	unsigned refs; /* atomic */
	uint64_t buckets;
	struct sip_key place, version, check;
	uint8_t secret[SIP_KEY_BYTES];
};

/* A chunk that was handed to blob_write(). Found by readers until the index
 * finds it. */
struct item {
	struct item *next;	/* in the queue, or the batch */
	struct item *hash_next; /* newer ones first */
	unsigned refs;		/* atomic */
	atomic_bool dropped;
	uint64_t ino;
	struct blob_version v;
	uint32_t index;
	struct slice data;
};

/* What a reader needs for one chunk that is compressed. */
struct scratch {
	struct scratch *next;
	ZSTD_DCtx *zstd;
	uint8_t stored[BLOB_HEAD_BYTES + BLOB_CHUNK_BYTES];
};

/* Records on the way to the current pack; the writer's. */
struct batch {
	uint8_t *data; /* of BLOB_BATCH_BYTES */
	size_t bytes;
	unsigned n;
	struct {
		struct blob_slot to;
		struct blob_slot from;	 /* moved only if it is still there */
		const struct item *item; /* or, if it was not dropped */
	} chunk[BLOB_BATCH_CHUNKS];
};

struct blob {
	struct mutex change; /* of the index */
	struct mutex lock;   /* guards all below it, but for what is constant */

	struct pack **packs; /* by number; all but the last are never written */
	unsigned packs_n, packs_cap;
	uint64_t packs_bytes;
	uint32_t last_number; /* of a pack, given out */
	struct index_file *index;
	struct scratch *scratch;
	unsigned scratch_n;

	struct cond wake; /* the writer: something is queued, clear, or stop */
	struct cond idle; /* others: the queue is empty, cleared */
	struct item *first, **last;
	struct item *hash[BLOB_QUEUE_HEADS];
	uint64_t queued; /* bytes, the batch in work included */
	bool clear, stop, running, working;

	/* The writer's own: */
	struct pack *current; /* the last of packs, while it is written to */
	struct batch batch;
	ZSTD_CCtx *zstd;
	bool warned;
	bool hit_wall; /* the disk said it is full */

	/* After a failure, nothing is taken for a moment. */
	atomic_uint_fast64_t paused_until; /* clock_ms() */
	atomic_int paused_error;

	/* Constant once open: */
	struct blob_options o;
	uint64_t pack_bytes;
	uint64_t owner;
	int dir_fd, lock_fd;
	pthread_t writer;

	struct {
		atomic_uint_fast64_t hits, misses, hit_bytes, written,
			written_bytes, stored_bytes, refused, evicted_bytes,
			kept, damaged;
	} stat;
};

static inline void blob_count(atomic_uint_fast64_t *n, uint64_t by)
{
	(void)atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

/* What packs may take; the rest is for the index, which doubles when it grows.
 */
static inline uint64_t blob_packs_max(const struct blob *b)
{
	return b->o.bytes_max - b->o.bytes_max / 16;
}
static inline uint64_t blob_index_max(const struct blob *b)
{
	return b->o.bytes_max / 32;
}

/* All of @len bytes, or -errno; -ENODATA at the end of the file. */
int blob_pread(int fd, uint64_t at, void *buf, size_t len);
int blob_pwrite(int fd, uint64_t at, const void *buf, size_t len);

/* ---- blob_pack.c ---- */

/* Finds those in the directory, removes what is no good. */
int blob_packs_open(struct blob *b);
/* Notes in each what was touched, and closes. */
void blob_packs_close(struct blob *b);

struct pack *blob_pack_get(struct blob *b,
			   uint32_t number); /* or NULL; a ref */
bool blob_pack_lives(struct blob *b, uint32_t number);
struct pack *blob_pack_oldest(struct blob *b); /* or NULL; a ref */
void blob_pack_unref(struct pack *p);	       /* NULL is fine */

/* A new last one. The writer's. */
int blob_pack_begin(struct blob *b);
/* Takes it from the list, and its name from the directory. */
void blob_pack_remove(struct blob *b, struct pack *p);
/* Behind its end. The writer's. */
int blob_pack_append(struct blob *b, struct pack *p, const void *data,
		     size_t len);

/* A chunk in it was read. */
void blob_pack_touch(const struct blob *b, struct pack *p, uint64_t at);
bool blob_pack_touched(const struct blob *b, struct pack *p, uint64_t at);

/* The records in order, as far as their heads are sound. @fn: 0, 1 to stop. */
typedef int blob_pack_fn(void *arg, struct pack *p, uint64_t at,
			 const struct blob_rec *r);
int blob_pack_walk(struct blob *b, struct pack *p, blob_pack_fn *fn, void *arg);

/* The whole chunk at @s: its payload, checked, behind the head, to @stored.
 * -EBADMSG: damaged. */
int blob_pack_read(const struct pack *p, const struct blob_slot *s,
		   uint8_t *stored, struct blob_rec *ret);

/* ---- blob_index.c ---- */

/* Opens it, or makes it from the packs. */
int blob_index_open(struct blob *b);
/* An empty one in its place. */
int blob_index_reset(struct blob *b) REQUIRES(b->change);
void blob_index_unref(struct index_file *x); /* NULL is fine */

/* -ENOENT. With @v: of that version only. */
int blob_index_get(struct blob *b, uint64_t ino, uint32_t index,
		   const struct blob_version *v, struct blob_slot *ret);
/* In place of what was there of the same chunk. Fills in s->version from @v. */
int blob_index_put(struct blob *b, struct blob_slot *s,
		   const struct blob_version *v) REQUIRES(b->change);
/* @from to @to, of the same chunk; -ENOENT when @from is not there any more. */
int blob_index_move(struct blob *b, const struct blob_slot *from,
		    struct blob_slot *to) REQUIRES(b->change);
/* Only if it is still just that. */
void blob_index_del(struct blob *b, const struct blob_slot *s)
	REQUIRES(b->change);

/* All that lead to a pack, in no order. @fn: 0 or -errno. */
typedef int blob_index_fn(void *arg, const struct blob_slot *s);
int blob_index_each(struct blob *b, blob_index_fn *fn, void *arg);

/* ---- blob_evict.c: the writer's, but for opening ---- */

/* Sees to a current pack with room for a batch. -ENOSPC, -errno. */
int blob_evict_room(struct blob *b);
/* Down to the bound; when opening. */
void blob_evict_trim(struct blob *b);

/* ---- blob_write.c ---- */

int blob_writer_start(struct blob *b);
void blob_writer_stop(struct blob *b);

/* Is there a place in the batch for @raw bytes of payload? */
bool blob_batch_fits(const struct batch *t, uint32_t raw);
/* Takes @r with @payload as it is (it may lie in its place already). */
void blob_batch_add(struct blob *b, struct blob_rec *r, const void *payload,
		    const struct blob_slot *from, const struct item *item);
/* Appends and indexes what is in it; empty afterwards. */
int blob_batch_write(struct blob *b);

struct item *blob_item_get(struct blob *b, uint64_t ino, uint32_t index,
			   const struct blob_version *v); /* or NULL; a ref */
void blob_item_unref(struct item *i);
/* Those of @ino as of @v never come into the index. */
void blob_items_drop(struct blob *b, uint64_t ino,
		     const struct blob_version *v);

/* ---- blob.c ---- */

struct scratch *blob_scratch_get(struct blob *b); /* NULL: no memory */
void blob_scratch_put(struct blob *b, struct scratch *sc);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob_rec.h: private to the content cache: its formats on disk. Pure
 * functions. */
#pragma once

#include "blob.h"
#include "meta_key.h"

enum {
	BLOB_ALIGN = 64, /* records start at multiples of it */
	BLOB_HEAD_BYTES = 64,

	/* Of pack and index files; the rest of their first page is zero. */
	BLOB_FILE_HEAD_BYTES = 56,
	BLOB_PAGE_BYTES = 4096,
	BLOB_TOUCHED_AT = 1024, /* in a pack's first page */
	BLOB_TOUCHED_BITS = 8192,

	BLOB_SLOT_BYTES = 32,
	BLOB_BUCKET_SLOTS = 32,
	BLOB_BUCKET_BYTES = BLOB_SLOT_BYTES * BLOB_BUCKET_SLOTS,
};

enum blob_file_type { BLOB_FILE_PACK, BLOB_FILE_INDEX };

struct blob_file_head {
	enum blob_file_type type;
	uint64_t number; /* the pack's; of an index: its buckets */
	uint64_t owner;	 /* hash of its name */
	uint8_t secret[SIP_KEY_BYTES];
};
void blob_file_head_encode(const struct blob_file_head *h,
			   uint8_t out[BLOB_FILE_HEAD_BYTES]);
int blob_file_head_decode(const uint8_t in[BLOB_FILE_HEAD_BYTES],
			  struct blob_file_head *ret);

/* A chunk of a file, in a pack. */
struct blob_rec {
	uint64_t ino;
	struct blob_version v;
	uint32_t index;
	uint32_t stored; /* bytes of payload */
	bool compressed;
	uint64_t payload_check;
};

static inline uint64_t blob_rec_bytes(const struct blob_rec *r)
{
	return BLOB_HEAD_BYTES + r->stored;
}

static inline uint64_t blob_aligned(uint64_t n)
{
	return (n + BLOB_ALIGN - 1) & ~(uint64_t)(BLOB_ALIGN - 1);
}

/* How many chunks a file has, and how long the one with @index is. */
uint64_t blob_chunks(uint64_t size);
uint32_t blob_chunk_bytes(uint64_t size, uint32_t index);

/* @at: where in the pack it starts. Encoding sets ->payload_check. */
void blob_rec_encode(const struct sip_key *k, uint64_t at, struct blob_rec *r,
		     const void *payload, uint8_t out[BLOB_HEAD_BYTES]);
/* -EBADMSG. Says nothing of the payload: */
int blob_rec_decode(const struct sip_key *k, uint64_t at,
		    const uint8_t in[BLOB_HEAD_BYTES], struct blob_rec *ret);
bool blob_rec_sound(const struct sip_key *k, const struct blob_rec *r,
		    const void *payload);

/* Where a chunk is: an entry of the index. */
struct blob_slot {
	uint64_t ino;
	uint32_t index;
	uint32_t version; /* its fingerprint */
	uint32_t pack;	  /* 0: the slot is free */
	uint32_t unit;	  /* where in it, in BLOB_ALIGN */
	uint32_t stored;
	bool compressed;
};
void blob_slot_encode(const struct sip_key *k, const struct blob_slot *s,
		      uint8_t out[BLOB_SLOT_BYTES]);
/* Is it perhaps this chunk's? Cheap. */
bool blob_slot_is(const uint8_t in[BLOB_SLOT_BYTES], uint64_t ino,
		  uint32_t index);
/* False, and a free slot, for what no encoder made. */
bool blob_slot_decode(const struct sip_key *k,
		      const uint8_t in[BLOB_SLOT_BYTES], struct blob_slot *ret);

uint32_t blob_version_hash(const struct sip_key *k,
			   const struct blob_version *v);
bool blob_version_equal(const struct blob_version *a,
			const struct blob_version *b);

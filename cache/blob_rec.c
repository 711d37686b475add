/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob_rec.c: owns the content cache's formats on disk. No state, no locks.
 *
 * All numbers are little-endian.
 *
 *   pack   the first page: a file head, and at 1024 which of its parts were
 * read (a bit each of 8192; a hint, without a check); then records record head
 * and payload, at a multiple of 64 head     4  check: of the rest of the head
 *              4  length of the payload; the top bit: it is a zstd frame
 *              8  check of the payload
 *              8  ino
 *              8  size, 12 mtime, 12 ctime: the version
 *              4  index of the chunk
 *              4  zero
 *     payload  the chunk, as it is or one zstd frame (without zstd's own
 * checksum: ours has seen every byte of it)
 *
 *   index  the first page: a file head; then buckets of 32 slots
 *     slot     8  ino, 4 index, 4 fingerprint of the version, 4 pack (0: free),
 *              4  where in the pack, in units of 64
 *              4  length of the payload; the top bit as above
 *              4  check
 *
 *   file head  8 magic, 8 number, 8 hash of the owner's name, 16 secret, 8
 * zero, 8 check, with a key of zeros
 *
 * Other checks are keyed with the file's secret, so that nothing a file of the
 * server contains, and nothing an older pack left on the disk, can look like a
 * record; a record's head is mixed with its place too, so a sound one in a
 * wrong place fails. A chunk's length follows from size and index.
 */
#include "blob_rec.h"

#include <endian.h>
#include <string.h>

#define MAGIC_PACK "nrfsblb1"
#define MAGIC_INDEX "nrfsbix1"
#define COMPRESSED (UINT32_C(1) << 31)

/* ---- numbers ---- */

static void put_u32(uint8_t *out, uint32_t v)
{
	v = htole32(v);
	memcpy(out, &v, sizeof(v));
}

static void put_u64(uint8_t *out, uint64_t v)
{
	v = htole64(v);
	memcpy(out, &v, sizeof(v));
}

static uint32_t get_u32(const uint8_t *in)
{
	uint32_t v;

	memcpy(&v, in, sizeof(v));
	return le32toh(v);
}

static uint64_t get_u64(const uint8_t *in)
{
	uint64_t v;

	memcpy(&v, in, sizeof(v));
	return le64toh(v);
}

enum { VERSION_BYTES = 32 };

static void version_put(uint8_t *out, const struct blob_version *v)
{
	put_u64(out, v->size);
	put_u64(out + 8, (uint64_t)v->mtime.tv_sec);
	put_u32(out + 16, (uint32_t)v->mtime.tv_nsec);
	put_u64(out + 20, (uint64_t)v->ctime.tv_sec);
	put_u32(out + 28, (uint32_t)v->ctime.tv_nsec);
}

static void version_get(const uint8_t *in, struct blob_version *ret)
{
	ret->size = get_u64(in);
	ret->mtime.tv_sec = (time_t)get_u64(in + 8);
	ret->mtime.tv_nsec = (long)get_u32(in + 16);
	ret->ctime.tv_sec = (time_t)get_u64(in + 20);
	ret->ctime.tv_nsec = (long)get_u32(in + 28);
}

uint32_t blob_version_hash(const struct sip_key *k,
			   const struct blob_version *v)
{
	uint8_t b[VERSION_BYTES];

	version_put(b, v);
	return (uint32_t)sip_hash(k, b, sizeof(b));
}

bool blob_version_equal(const struct blob_version *a,
			const struct blob_version *b)
{
	return a->size == b->size && a->mtime.tv_sec == b->mtime.tv_sec &&
	       a->mtime.tv_nsec == b->mtime.tv_nsec &&
	       a->ctime.tv_sec == b->ctime.tv_sec &&
	       a->ctime.tv_nsec == b->ctime.tv_nsec;
}

uint64_t blob_chunks(uint64_t size)
{
	return size / BLOB_CHUNK_BYTES + (size % BLOB_CHUNK_BYTES > 0);
}

uint32_t blob_chunk_bytes(uint64_t size, uint32_t index)
{
	uint64_t start = (uint64_t)index * BLOB_CHUNK_BYTES;

	if (start >= size)
		return 0;
	return (uint32_t)MIN(size - start, (uint64_t)BLOB_CHUNK_BYTES);
}

/* ---- the check of a payload ---- */

/* SipHash-1-3, as sip_hash(), over every other word in each of two lanes, which
 * a processor works on at the same time: twice as fast, and reading a chunk is
 * mostly this. Then one sip_hash() over both. */
struct lane {
	uint64_t a, b, c, d;
};

static inline uint64_t rotl(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static inline __attribute__((always_inline)) struct lane
lane_round(struct lane v)
{
	v.a += v.b;
	v.b = rotl(v.b, 13) ^ v.a;
	v.a = rotl(v.a, 32);
	v.c += v.d;
	v.d = rotl(v.d, 16) ^ v.c;
	v.a += v.d;
	v.d = rotl(v.d, 21) ^ v.a;
	v.c += v.b;
	v.b = rotl(v.b, 17) ^ v.c;
	v.c = rotl(v.c, 32);
	return v;
}

static struct lane lane_begin(const struct sip_key *k, uint64_t lane)
{
	return (struct lane){ k->k0 ^ 0x736f6d6570736575u ^ lane,
			      k->k1 ^ 0x646f72616e646f6du,
			      k->k0 ^ 0x6c7967656e657261u,
			      k->k1 ^ 0x7465646279746573u };
}

static uint64_t lane_end(struct lane v)
{
	v.c ^= 0xff;
	for (int i = 0; i < 3; i++)
		v = lane_round(v);
	return v.a ^ v.b ^ v.c ^ v.d;
}

static uint64_t payload_hash(const struct sip_key *k, const uint8_t *p,
			     size_t len)
{
	struct lane x = lane_begin(k, 0), y = lane_begin(k, 1);
	uint8_t tail[16] = { 0 }, sums[24];

	for (size_t left = len;; left -= 16, p += 16) {
		uint64_t w[2];

		if (left < 16) {
			memcpy(tail, p, left);
			p = tail;
		}
		memcpy(w, p, 16);
		x.d ^= le64toh(w[0]);
		y.d ^= le64toh(w[1]);
		x = lane_round(x);
		y = lane_round(y);
		x.a ^= le64toh(w[0]);
		y.a ^= le64toh(w[1]);
		if (left < 16)
			break;
	}
	put_u64(sums, lane_end(x));
	put_u64(sums + 8, lane_end(y));
	put_u64(sums + 16, len);
	return sip_hash(k, sums, sizeof(sums));
}

/* ---- file heads ---- */

static const char *const magic[] = {
	[BLOB_FILE_PACK] = MAGIC_PACK, [BLOB_FILE_INDEX] = MAGIC_INDEX
};
static const struct sip_key zero_key;

void blob_file_head_encode(const struct blob_file_head *h,
			   uint8_t out[BLOB_FILE_HEAD_BYTES])
{
	memset(out, 0, BLOB_FILE_HEAD_BYTES);
	memcpy(out, magic[h->type], 8);
	put_u64(out + 8, h->number);
	put_u64(out + 16, h->owner);
	memcpy(out + 24, h->secret, SIP_KEY_BYTES);
	put_u64(out + 48, sip_hash(&zero_key, out, 48));
}

int blob_file_head_decode(const uint8_t in[BLOB_FILE_HEAD_BYTES],
			  struct blob_file_head *ret)
{
	if (get_u64(in + 48) != sip_hash(&zero_key, in, 48))
		return -EBADMSG;
	for (unsigned type = 0; type < ARRAY_LEN(magic); type++) {
		if (memcmp(in, magic[type], 8) != 0)
			continue;
		ret->type = type;
		ret->number = get_u64(in + 8);
		ret->owner = get_u64(in + 16);
		memcpy(ret->secret, in + 24, SIP_KEY_BYTES);
		return 0;
	}
	return -EMEDIUMTYPE;
}

/* ---- records ---- */

static uint32_t head_check(const struct sip_key *k, uint64_t at,
			   const uint8_t head[BLOB_HEAD_BYTES])
{
	struct sip_key here = { k->k0 ^ at, k->k1 };

	return (uint32_t)sip_hash(&here, head + 4, BLOB_HEAD_BYTES - 4);
}

void blob_rec_encode(const struct sip_key *k, uint64_t at, struct blob_rec *r,
		     const void *payload, uint8_t out[BLOB_HEAD_BYTES])
{
	r->payload_check = payload_hash(k, payload, r->stored);
	put_u32(out + 4, r->stored | (r->compressed ? COMPRESSED : 0));
	put_u64(out + 8, r->payload_check);
	put_u64(out + 16, r->ino);
	version_put(out + 24, &r->v);
	put_u32(out + 56, r->index);
	put_u32(out + 60, 0);
	put_u32(out, head_check(k, at, out));
}

int blob_rec_decode(const struct sip_key *k, uint64_t at,
		    const uint8_t in[BLOB_HEAD_BYTES], struct blob_rec *ret)
{
	uint32_t stored = get_u32(in + 4), raw;

	if (get_u32(in) != head_check(k, at, in))
		return -EBADMSG;
	*ret = (struct blob_rec){ .ino = get_u64(in + 16),
				  .index = get_u32(in + 56),
				  .stored = stored & ~COMPRESSED,
				  .compressed = stored & COMPRESSED,
				  .payload_check = get_u64(in + 8) };
	version_get(in + 24, &ret->v);
	raw = blob_chunk_bytes(ret->v.size, ret->index);
	if (ret->stored == 0 || ret->stored > raw ||
	    (ret->compressed ? ret->stored == raw : ret->stored != raw))
		return -EBADMSG;
	return 0;
}

bool blob_rec_sound(const struct sip_key *k, const struct blob_rec *r,
		    const void *payload)
{
	return payload_hash(k, payload, r->stored) == r->payload_check;
}

/* ---- slots ---- */

void blob_slot_encode(const struct sip_key *k, const struct blob_slot *s,
		      uint8_t out[BLOB_SLOT_BYTES])
{
	put_u64(out, s->ino);
	put_u32(out + 8, s->index);
	put_u32(out + 12, s->version);
	put_u32(out + 16, s->pack);
	put_u32(out + 20, s->unit);
	put_u32(out + 24, s->stored | (s->compressed ? COMPRESSED : 0));
	put_u32(out + 28, (uint32_t)sip_hash(k, out, 28));
}

bool blob_slot_is(const uint8_t in[BLOB_SLOT_BYTES], uint64_t ino,
		  uint32_t index)
{
	return get_u64(in) == ino && get_u32(in + 8) == index;
}

bool blob_slot_decode(const struct sip_key *k,
		      const uint8_t in[BLOB_SLOT_BYTES], struct blob_slot *ret)
{
	uint32_t stored = get_u32(in + 24);

	memset(ret, 0, sizeof(*ret));
	if (get_u32(in + 16) == 0 ||
	    get_u32(in + 28) != (uint32_t)sip_hash(k, in, 28))
		return false;
	*ret = (struct blob_slot){ .ino = get_u64(in),
				   .index = get_u32(in + 8),
				   .version = get_u32(in + 12),
				   .pack = get_u32(in + 16),
				   .unit = get_u32(in + 20),
				   .stored = stored & ~COMPRESSED,
				   .compressed = stored & COMPRESSED };
	if (ret->stored > 0 && ret->stored <= BLOB_CHUNK_BYTES)
		return true;
	ret->pack = 0;
	return false;
}

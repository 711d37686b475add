/* SPDX-License-Identifier: GPL-2.0-or-later */
/* meta_key.c: owns the metadata cache's format on disk. No state, no locks.
 *
 * Numbers in keys are big-endian. Numbers in records are varints: seven bits a
 * byte, least significant first, the top bit set on all bytes but the last, in
 * the shortest form, at most ten bytes. Signed numbers and differences are
 * zigzagged first (0, -1, 1, -2, ... become 0, 1, 2, 3, ...).
 *
 *   inodes  key    8  ino
 *           record 1  shape, see below
 *                  v  parent, checked, fsid, fileid, size, used, mode, nlink,
 *                     uid, gid, epoch, flags
 *                  v  rdev_major, rdev_minor           (SHAPE_RDEV)
 *                  v  mtime
 *                  v  ctime minus mtime
 *                  v  atime minus ctime
 *                  v  server_mtime minus mtime         (SHAPE_SERVER_MTIME)
 *                  v  server_ctime minus ctime         (SHAPE_SERVER_CTIME)
 *                  v  data_ctime minus server_ctime    (SHAPE_DATA_CTIME)
 *                  1  length of the handle, and the handle
 *                  4  check
 *
 *   index   key    8  hash of the handle, or hash of fsid and fileid
 *           record v  ino. No check: a hit is proved by the inode's record.
 *
 *   names   key    8  ino of the directory
 *                  8  offset: the hash of the name in 63 bits
 *                     the name, 1 to 255 bytes. It settles equal offsets.
 *           record 1  type; NAME_ABSENT is set in a negative entry
 *                  v  ino, epoch
 *                  4  check
 *
 *   info    key       "info"
 *           record 16 secret, 8 session, 8 next_ino, 2 length of the server's
 *                     name, and the name; 4 check
 *
 * A time is its seconds, signed, then its nanoseconds; "minus" is said of the
 * seconds. A file fresh from the server then needs few bytes for all of them.
 *
 * A check is 32 bits of the keyed hash over the record before it. The hash key
 * is mixed with the record's own key, hence a sound record in a wrong place
 * fails too. LMDB itself has no checksums. The info record holds the secret,
 * therefore its check uses a key of zeros.
 */
#include "meta_key.h"

#include <endian.h>
#include <string.h>

enum {
	SHAPE_RDEV = 1 << 0,
	SHAPE_SERVER_MTIME = 1 << 1,
	SHAPE_SERVER_CTIME = 1 << 2,
	SHAPE_DATA_CTIME = 1 << 3,
	SHAPE_ALL = (1 << 4) - 1,

	NAME_ABSENT = 0x80,
	CHECK_BYTES = 4,
};

/* ---- hash ---- */

/* Inlined whatever the optimiser thinks: all contents in the log go through. */
#define INLINE static inline __attribute__((always_inline))

INLINE uint64_t rotl(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

INLINE void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

INLINE void sip_word(uint64_t v[4], uint64_t w)
{
	v[3] ^= w;
	sip_round(v);
	v[0] ^= w;
}

uint64_t sip_hash(const struct sip_key *k, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t v[4] = { k->k0 ^ 0x736f6d6570736575u,
			  k->k1 ^ 0x646f72616e646f6du,
			  k->k0 ^ 0x6c7967656e657261u,
			  k->k1 ^ 0x7465646279746573u };
	uint64_t last = (uint64_t)len << 56;
	size_t left = len;

	for (; left >= 8; left -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		sip_word(v, le64toh(w));
	}
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)p[i] << (8 * i);
	sip_word(v, last);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void meta_keys_derive(const uint8_t secret[SIP_KEY_BYTES],
		      struct meta_keys *ret)
{
	struct sip_key root = { meta_u64_get(secret),
				meta_u64_get(secret + 8) };
	struct sip_key *out[] = { &ret->handle, &ret->fileid, &ret->name,
				  &ret->check };

	for (uint8_t i = 0; i < ARRAY_LEN(out); i++) {
		uint8_t low[] = { i, 0 }, high[] = { i, 1 };

		out[i]->k0 = sip_hash(&root, low, sizeof(low));
		out[i]->k1 = sip_hash(&root, high, sizeof(high));
	}
}

uint64_t meta_handle_hash(const struct meta_keys *k, const struct handle *h)
{
	return sip_hash(&k->handle, h->data, h->len);
}

uint64_t meta_fileid_hash(const struct meta_keys *k, uint64_t fsid,
			  uint64_t fileid)
{
	uint8_t b[16];

	meta_u64_put(b, fsid);
	meta_u64_put(b + 8, fileid);
	return sip_hash(&k->fileid, b, sizeof(b));
}

uint64_t meta_name_offset(const struct meta_keys *k, const char *name,
			  size_t len)
{
	uint64_t h = sip_hash(&k->name, name, len) >> 1;

	return h < META_OFFSET_MIN ? h + META_OFFSET_MIN : h;
}

/* ---- keys ---- */

void meta_u64_put(uint8_t out[8], uint64_t v)
{
	v = htobe64(v);
	memcpy(out, &v, 8);
}

uint64_t meta_u64_get(const uint8_t in[8])
{
	uint64_t v;

	memcpy(&v, in, 8);
	return be64toh(v);
}

size_t meta_name_key(uint8_t *out, uint64_t dir, uint64_t offset,
		     const char *name, size_t len)
{
	meta_u64_put(out, dir);
	meta_u64_put(out + 8, offset);
	memcpy(out + NAME_KEY_HEAD, name, len);
	return NAME_KEY_HEAD + len;
}

/* ---- writing and reading records ---- */

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)v | 0x80;
	*p++ = (uint8_t)v;
	return p;
}

/* Differences wrap around in 64 bits, on both ways alike. */
static uint8_t *put_signed(uint8_t *p, uint64_t v)
{
	return put_varint(p, v << 1 ^ (v >> 63 ? UINT64_MAX : 0));
}

static uint8_t *put_time(uint8_t *p, const struct timespec *t,
			 const struct timespec *base)
{
	p = put_signed(p, (uint64_t)t->tv_sec - (uint64_t)base->tv_sec);
	return put_varint(p, (uint64_t)t->tv_nsec);
}

/* The record from @start to @p is complete: seal it. Returns its length. */
static size_t put_check(const struct sip_key *k, uint8_t *start, uint8_t *p)
{
	uint32_t c = htole32((uint32_t)sip_hash(k, start, (size_t)(p - start)));

	memcpy(p, &c, CHECK_BYTES);
	return (size_t)(p - start) + CHECK_BYTES;
}

/* What is left to read. Once bad, reads give 0; asked once, at the end. */
struct in {
	const uint8_t *p, *end;
	bool bad;
};

static int in_open(struct in *in, const struct sip_key *k, const void *data,
		   size_t len)
{
	uint32_t c;

	if (len <= CHECK_BYTES)
		return -EBADMSG;
	*in = (struct in){ data, (const uint8_t *)data + len - CHECK_BYTES,
			   false };
	memcpy(&c, in->end, CHECK_BYTES);
	if (le32toh(c) != (uint32_t)sip_hash(k, data, len - CHECK_BYTES))
		return -EBADMSG;
	return 0;
}

static int in_close(const struct in *in)
{
	return in->bad || in->p != in->end ? -EBADMSG : 0;
}

static uint8_t get_byte(struct in *in)
{
	if (in->bad || in->p == in->end) {
		in->bad = true;
		return 0;
	}
	return *in->p++;
}

static uint64_t get_varint(struct in *in)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b = get_byte(in);

		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b & 0x80)
			continue;
		if (!b && shift)
			break; /* not the shortest form */
		return v;
	}
	in->bad = true;
	return 0;
}

static uint32_t get_varint32(struct in *in)
{
	uint64_t v = get_varint(in);

	if (v > UINT32_MAX)
		in->bad = true;
	return (uint32_t)v;
}

static struct timespec get_time(struct in *in, const struct timespec *base)
{
	uint64_t z = get_varint(in);
	uint64_t d = z >> 1 ^ (z & 1 ? UINT64_MAX : 0);
	uint64_t sec = (uint64_t)base->tv_sec + d;
	struct timespec t = { .tv_sec = (time_t)sec };

	t.tv_nsec = (long)get_varint(in);
	return t;
}

static void get_bytes(struct in *in, void *out, size_t len)
{
	if (in->bad || (size_t)(in->end - in->p) < len) {
		in->bad = true;
		return;
	}
	memcpy(out, in->p, len);
	in->p += len;
}

/* ---- inodes ---- */

static struct sip_key check_key(const struct meta_keys *k, uint64_t a,
				uint64_t b)
{
	return (struct sip_key){ k->check.k0 ^ a, k->check.k1 ^ b };
}

static uint8_t *put_times(uint8_t *p, const struct meta_inode *in, int shape)
{
	static const struct timespec zero;
	const struct attr *a = &in->attr;

	p = put_time(p, &a->mtime, &zero);
	p = put_time(p, &a->ctime, &a->mtime);
	p = put_time(p, &a->atime, &a->ctime);
	if (shape & SHAPE_SERVER_MTIME)
		p = put_time(p, &in->server_mtime, &a->mtime);
	if (shape & SHAPE_SERVER_CTIME)
		p = put_time(p, &in->server_ctime, &a->ctime);
	if (shape & SHAPE_DATA_CTIME)
		p = put_time(p, &in->data_ctime, &in->server_ctime);
	return p;
}

static void get_times(struct in *in, struct meta_inode *n, int shape)
{
	static const struct timespec zero;
	struct attr *a = &n->attr;

	a->mtime = get_time(in, &zero);
	a->ctime = get_time(in, &a->mtime);
	a->atime = get_time(in, &a->ctime);
	n->server_mtime =
		shape & SHAPE_SERVER_MTIME ? get_time(in, &a->mtime) : a->mtime;
	n->server_ctime =
		shape & SHAPE_SERVER_CTIME ? get_time(in, &a->ctime) : a->ctime;
	n->data_ctime = shape & SHAPE_DATA_CTIME ?
				get_time(in, &n->server_ctime) :
				n->server_ctime;
}

size_t meta_inode_encode(const struct meta_keys *k, const struct meta_inode *in,
			 uint8_t *out)
{
	struct sip_key check = check_key(k, in->ino, 0);
	const struct attr *a = &in->attr;
	uint64_t plain[] = { in->parent, in->checked, a->fsid,	      a->fileid,
			     a->size,	 a->used,     a->mode,	      a->nlink,
			     a->uid,	 a->gid,      in->epoch,      in->flags };
	uint8_t *p = out;
	int shape = 0;

	if (a->rdev_major || a->rdev_minor)
		shape |= SHAPE_RDEV;
	if (!timespec_equal(&in->server_mtime, &a->mtime))
		shape |= SHAPE_SERVER_MTIME;
	if (!timespec_equal(&in->server_ctime, &a->ctime))
		shape |= SHAPE_SERVER_CTIME;
	if (!timespec_equal(&in->data_ctime, &in->server_ctime))
		shape |= SHAPE_DATA_CTIME;
	*p++ = (uint8_t)shape;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		p = put_varint(p, plain[i]);
	if (shape & SHAPE_RDEV) {
		p = put_varint(p, a->rdev_major);
		p = put_varint(p, a->rdev_minor);
	}
	p = put_times(p, in, shape);
	*p++ = in->handle.len;
	memcpy(p, in->handle.data, in->handle.len);
	return put_check(&check, out, p + in->handle.len);
}

int meta_inode_decode(const struct meta_keys *k, uint64_t ino, const void *data,
		      size_t len, struct meta_inode *ret)
{
	struct sip_key check = check_key(k, ino, 0);
	struct meta_inode n = { .ino = ino };
	struct attr *a = &n.attr;
	struct in in;
	int shape;

	if (in_open(&in, &check, data, len) < 0)
		return -EBADMSG;
	shape = get_byte(&in);
	if (shape & ~SHAPE_ALL)
		return -EBADMSG;
	n.parent = get_varint(&in);
	n.checked = get_varint(&in);
	a->fsid = get_varint(&in);
	a->fileid = get_varint(&in);
	a->size = get_varint(&in);
	a->used = get_varint(&in);
	a->mode = get_varint32(&in);
	a->nlink = get_varint32(&in);
	a->uid = get_varint32(&in);
	a->gid = get_varint32(&in);
	n.epoch = get_varint32(&in);
	n.flags = get_varint32(&in);
	if (shape & SHAPE_RDEV) {
		a->rdev_major = get_varint32(&in);
		a->rdev_minor = get_varint32(&in);
	}
	get_times(&in, &n, shape);
	n.handle.len = get_byte(&in);
	if (n.handle.len > HANDLE_BYTES_MAX)
		return -EBADMSG;
	get_bytes(&in, n.handle.data, n.handle.len);
	if (in_close(&in) < 0)
		return -EBADMSG;
	*ret = n;
	return 0;
}

/* ---- targets ---- */

size_t meta_target_encode(const struct meta_keys *k, uint64_t ino,
			  const struct timespec *mtime, const char *target,
			  size_t len, uint8_t *out)
{
	static const struct timespec zero;
	struct sip_key check = check_key(k, ino, 1);
	uint8_t *p = put_time(out, mtime, &zero);

	memcpy(p, target, len);
	return put_check(&check, out, p + len);
}

int meta_target_decode(const struct meta_keys *k, uint64_t ino,
		       const void *data, size_t len, struct timespec *ret_mtime,
		       const char **ret, size_t *ret_len)
{
	static const struct timespec zero;
	struct sip_key check = check_key(k, ino, 1);
	struct timespec mtime;
	struct in in;

	if (in_open(&in, &check, data, len) < 0)
		return -EBADMSG;
	mtime = get_time(&in, &zero);
	if (in.bad || in.p == in.end ||
	    memchr(in.p, '\0', (size_t)(in.end - in.p)))
		return -EBADMSG;
	*ret_mtime = mtime;
	*ret = (const char *)in.p;
	*ret_len = (size_t)(in.end - in.p);
	return 0;
}

/* ---- names ---- */

size_t meta_name_encode(const struct meta_keys *k, uint64_t dir,
			uint64_t offset, const struct meta_name *in,
			uint8_t *out)
{
	struct sip_key check = check_key(k, dir, offset);
	uint8_t *p = out;

	*p++ = (in->type & ~NAME_ABSENT) | (in->absent ? NAME_ABSENT : 0);
	p = put_varint(p, in->ino);
	p = put_varint(p, in->epoch);
	return put_check(&check, out, p);
}

int meta_name_decode(const struct meta_keys *k, uint64_t dir, uint64_t offset,
		     const void *data, size_t len, struct meta_name *ret)
{
	struct sip_key check = check_key(k, dir, offset);
	struct meta_name n = { 0 };
	struct in in;
	uint8_t b;

	if (in_open(&in, &check, data, len) < 0)
		return -EBADMSG;
	b = get_byte(&in);
	n.type = b & ~NAME_ABSENT;
	n.absent = b & NAME_ABSENT;
	n.ino = get_varint(&in);
	n.epoch = get_varint32(&in);
	if (in_close(&in) < 0)
		return -EBADMSG;
	*ret = n;
	return 0;
}

/* ---- index and info ---- */

size_t meta_index_encode(uint64_t ino, uint8_t *out)
{
	return (size_t)(put_varint(out, ino) - out);
}

int meta_index_decode(const void *data, size_t len, uint64_t *ret_ino)
{
	struct in in = { data, (const uint8_t *)data + len, false };
	uint64_t ino = get_varint(&in);

	if (in_close(&in) < 0)
		return -EBADMSG;
	*ret_ino = ino;
	return 0;
}

static const struct sip_key info_key;

size_t meta_info_encode(const struct meta_info *in, uint8_t *out)
{
	size_t len = strlen(in->server);
	uint8_t *p = out;

	memcpy(p, in->secret, SIP_KEY_BYTES);
	meta_u64_put(p + 16, in->session);
	meta_u64_put(p + 24, in->next_ino);
	p += 32;
	*p++ = (uint8_t)(len >> 8);
	*p++ = (uint8_t)len;
	memcpy(p, in->server, len);
	return put_check(&info_key, out, p + len);
}

int meta_info_decode(const void *data, size_t len, struct meta_info *ret)
{
	struct meta_info n = { 0 };
	uint8_t number[8] = { 0 };
	struct in in;
	size_t server;

	if (in_open(&in, &info_key, data, len) < 0)
		return -EBADMSG;
	get_bytes(&in, n.secret, SIP_KEY_BYTES);
	get_bytes(&in, number, 8);
	n.session = meta_u64_get(number);
	get_bytes(&in, number, 8);
	n.next_ino = meta_u64_get(number);
	server = (size_t)get_byte(&in) << 8;
	server |= get_byte(&in);
	if (server >= SERVER_BYTES_MAX)
		return -EBADMSG;
	get_bytes(&in, n.server, server);
	if (in_close(&in) < 0)
		return -EBADMSG;
	*ret = n;
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_rec.c: owns the format of the write-back log's records. No state.
 *
 * All numbers are little-endian.
 *
 *   head   4  check: of all that follows, to the end of the body
 *          4  length of the body, padded with zeros to a multiple of 8
 *          8  seq: grows by one or more from record to record
 *          8  durable: by then all up to it was on stable storage
 *          1  type
 *          3  zero
 *          4  length of the contents behind the body (WRITE)
 *   body   by type, in this order:
 *          refs, strings (2 length, bytes, NUL), mask and attributes, numbers
 *   ref    8  ino, 8 parent, 4 mode, 4 nlink, 1 length of the handle;
 *          with one: the handle, 8 fsid, 8 fileid, 8 size, 12 mtime
 *
 * A record is valid if its check is right. The check of contents stands in the
 * body. Both are keyed with random bytes of the log's own, so that neither what
 * an application wrote nor what an older log left on the disk can look like a
 * record. A length of zero where a record would start is the end of the log:
 * files are allocated ahead and read as zeros.
 */
#include "wback_rec.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

/* ---- writing ---- */

struct out {
	uint8_t *p, *end;
};

static void put_bytes(struct out *o, const void *data, size_t len)
{
	assert((size_t)(o->end - o->p) >= len);
	memcpy(o->p, data, len);
	o->p += len;
}

static void put_u8(struct out *o, uint8_t v)
{
	put_bytes(o, &v, 1);
}

static void put_u32(struct out *o, uint32_t v)
{
	v = htole32(v);
	put_bytes(o, &v, sizeof(v));
}

static void put_u64(struct out *o, uint64_t v)
{
	v = htole64(v);
	put_bytes(o, &v, sizeof(v));
}

static void put_time(struct out *o, const struct timespec *t)
{
	put_u64(o, (uint64_t)t->tv_sec);
	put_u32(o, (uint32_t)t->tv_nsec);
}

static void put_string(struct out *o, const char *s)
{
	size_t len = s ? strlen(s) : 0;
	uint16_t n = htole16((uint16_t)len);

	put_bytes(o, &n, sizeof(n));
	put_bytes(o, s ? s : "", len);
	put_u8(o, 0);
}

static void put_ref(struct out *o, const struct wback_ref *r)
{
	put_u64(o, r->ino);
	put_u64(o, r->parent);
	put_u32(o, r->mode);
	put_u32(o, r->nlink);
	put_u8(o, r->fh.len);
	if (!r->fh.len)
		return;
	put_bytes(o, r->fh.data, r->fh.len);
	put_u64(o, r->fsid);
	put_u64(o, r->fileid);
	put_u64(o, r->size);
	put_time(o, &r->mtime);
}

static void put_attr(struct out *o, const struct rec *r)
{
	const struct attr *a = &r->attr;

	put_u32(o, r->mask);
	put_u32(o, a->mode);
	put_u32(o, a->uid);
	put_u32(o, a->gid);
	put_u32(o, a->rdev_major);
	put_u32(o, a->rdev_minor);
	put_u64(o, a->size);
	put_time(o, &a->atime);
	put_time(o, &a->mtime);
}

/* ---- reading ---- */

struct in {
	const uint8_t *p, *end;
	bool bad;
};

static void get_bytes(struct in *i, void *data, size_t len)
{
	if ((size_t)(i->end - i->p) < len) {
		i->bad = true;
		memset(data, 0, len);
		return;
	}
	memcpy(data, i->p, len);
	i->p += len;
}

static uint8_t get_u8(struct in *i)
{
	uint8_t v;

	get_bytes(i, &v, 1);
	return v;
}

static uint32_t get_u32(struct in *i)
{
	uint32_t v;

	get_bytes(i, &v, sizeof(v));
	return le32toh(v);
}

static uint64_t get_u64(struct in *i)
{
	uint64_t v;

	get_bytes(i, &v, sizeof(v));
	return le64toh(v);
}

static struct timespec get_time(struct in *i)
{
	struct timespec t = { .tv_sec = (time_t)get_u64(i) };

	t.tv_nsec = (long)get_u32(i);
	if (t.tv_nsec >= 1000000000)
		i->bad = true;
	return t;
}

/* Stays where it is. An empty one is NULL. */
static const char *get_string(struct in *i)
{
	uint16_t n;
	const char *s;

	get_bytes(i, &n, sizeof(n));
	n = le16toh(n);
	if (i->bad || (size_t)(i->end - i->p) <= n || i->p[n] != 0 ||
	    memchr(i->p, 0, n)) {
		i->bad = true;
		return NULL;
	}
	s = (const char *)i->p;
	i->p += n + 1;
	return n ? s : NULL;
}

static void get_ref(struct in *i, struct wback_ref *r)
{
	r->ino = get_u64(i);
	r->parent = get_u64(i);
	r->mode = get_u32(i);
	r->nlink = get_u32(i);
	r->fh.len = get_u8(i);
	if (r->fh.len > HANDLE_BYTES_MAX)
		i->bad = true;
	if (!r->fh.len || i->bad)
		return;
	get_bytes(i, r->fh.data, r->fh.len);
	r->fsid = get_u64(i);
	r->fileid = get_u64(i);
	r->size = get_u64(i);
	r->mtime = get_time(i);
}

static void get_attr(struct in *i, struct rec *r)
{
	struct attr *a = &r->attr;

	r->mask = get_u32(i);
	a->mode = get_u32(i);
	a->uid = get_u32(i);
	a->gid = get_u32(i);
	a->rdev_major = get_u32(i);
	a->rdev_minor = get_u32(i);
	a->size = get_u64(i);
	a->atime = get_time(i);
	a->mtime = get_time(i);
}

/* ---- what each type has ---- */

enum {
	HAS_DIR = 1 << 0,    /* and name */
	HAS_NEWDIR = 1 << 1, /* and newname, replaced */
	HAS_ATTR = 1 << 2,
	HAS_TARGET = 1 << 3,
	HAS_DATA = 1 << 4,
	HAS_ID = 1 << 5,
	HAS_NEWNAME = 1 << 6,
	HAS_SEEN = 1 << 7,
};

static const unsigned parts[REC_TYPES] = {
	[REC_MAKE] = HAS_DIR | HAS_ATTR | HAS_TARGET,
	[REC_LINK] = HAS_DIR,
	[REC_REMOVE] = HAS_DIR,
	[REC_RENAME] = HAS_DIR | HAS_NEWDIR | HAS_NEWNAME,
	[REC_SETATTR] = HAS_ATTR | HAS_SEEN,
	[REC_WRITE] = HAS_DATA | HAS_SEEN,
	[REC_START] = HAS_ID,
	[REC_DONE] = HAS_ID,
	[REC_UNDO] = HAS_ID,
	[REC_STUCK] = HAS_ID,
	[REC_RETRY] = HAS_ID,
	[REC_DROP] = HAS_ID,
	[REC_COPY] = HAS_DIR | HAS_NEWNAME | HAS_ID,
};

static size_t length_of(const char *s)
{
	return s ? strlen(s) : 0;
}

int rec_encode(const struct sip_key *k, const struct rec *r, uint8_t *out)
{
	unsigned has = parts[r->type];
	struct out o = { out + REC_HEAD_BYTES, out + REC_BYTES_MAX };
	struct out head = { out, out + REC_HEAD_BYTES };
	size_t len;

	if (length_of(r->name) > NAME_BYTES_MAX ||
	    length_of(r->newname) > NAME_BYTES_MAX ||
	    length_of(r->target) > REC_TARGET_MAX)
		return -ENAMETOOLONG;
	put_ref(&o, &r->obj);
	if (has & HAS_DIR) {
		put_ref(&o, &r->dir);
		put_string(&o, r->name);
	}
	if (has & HAS_NEWDIR) {
		put_ref(&o, &r->newdir);
		put_ref(&o, &r->replaced);
	}
	if (has & HAS_NEWNAME)
		put_string(&o, r->newname);
	if (has & HAS_TARGET)
		put_string(&o, r->target);
	if (has & HAS_ATTR)
		put_attr(&o, r);
	if (has & HAS_SEEN)
		put_u64(&o, r->seen_size);
	if (has & HAS_DATA) {
		put_u64(&o, r->offset);
		put_u64(&o, r->data_check);
	}
	if (has & HAS_ID) {
		put_u64(&o, r->id);
		put_u32(&o, (uint32_t)r->error);
		put_u64(&o, (uint64_t)r->when);
	}
	put_time(&o, &r->now);
	while ((o.p - out) % 8)
		put_u8(&o, 0);
	len = (size_t)(o.p - out);

	put_u32(&head, 0);
	put_u32(&head, (uint32_t)(len - REC_HEAD_BYTES));
	put_u64(&head, r->seq);
	put_u64(&head, r->durable);
	put_u32(&head, r->type);
	put_u32(&head, has & HAS_DATA ? r->len : 0);
	head.p = out;
	put_u32(&head, (uint32_t)sip_hash(k, out + 4, len - 4));
	return (int)len;
}

int rec_decode(const struct sip_key *k, const uint8_t *data, size_t size,
	       struct rec *r)
{
	struct in i = { data, data + MIN(size, (size_t)REC_HEAD_BYTES), false };
	uint32_t check = get_u32(&i), len = get_u32(&i), type;
	unsigned has;

	if (!i.bad && check == 0 && len == 0)
		return 0;
	memset(r, 0, sizeof(*r));
	r->seq = get_u64(&i);
	r->durable = get_u64(&i);
	type = get_u32(&i);
	r->len = get_u32(&i);
	if (i.bad || len > size - REC_HEAD_BYTES || len % 8 || type == 0 ||
	    type >= REC_TYPES || r->len > REC_DATA_MAX ||
	    check != (uint32_t)sip_hash(k, data + 4, REC_HEAD_BYTES - 4 + len))
		return -EBADMSG;
	r->type = type;
	has = parts[type];
	i = (struct in){ data + REC_HEAD_BYTES, data + REC_HEAD_BYTES + len,
			 false };
	get_ref(&i, &r->obj);
	if (has & HAS_DIR) {
		get_ref(&i, &r->dir);
		r->name = get_string(&i);
	}
	if (has & HAS_NEWDIR) {
		get_ref(&i, &r->newdir);
		get_ref(&i, &r->replaced);
	}
	if (has & HAS_NEWNAME)
		r->newname = get_string(&i);
	if (has & HAS_TARGET)
		r->target = get_string(&i);
	if (has & HAS_ATTR)
		get_attr(&i, r);
	if (has & HAS_SEEN)
		r->seen_size = get_u64(&i);
	if (has & HAS_DATA) {
		r->offset = get_u64(&i);
		r->data_check = get_u64(&i);
	}
	if (has & HAS_ID) {
		r->id = get_u64(&i);
		r->error = (int)get_u32(&i);
		r->when = (int64_t)get_u64(&i);
	}
	r->now = get_time(&i);
	return i.bad ? -EBADMSG : (int)(REC_HEAD_BYTES + len);
}

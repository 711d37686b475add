/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob_index.c: owns the content cache's index: the file that says where each
 * chunk is.
 *
 * It is a hash table on disk, "index": buckets of 32 slots. The chunks of a
 * file lie in buckets next to each other, from the one that its number's hash
 * says; a bucket that overflows makes the table double (each bucket splits into
 * two, so that is one pass), until it reaches its bound; from then on the chunk
 * in the oldest pack gives way. A slot that leads to a pack which is gone
 * counts as free.
 *
 * Why not LMDB, which meta has: nothing here needs a transaction. A slot is
 * only a hint; the record it leads to says itself what it is. So the index may
 * be old, torn, or damaged in any byte, and the answer is right or "not here":
 * no mark, no commit, no recovery, no sync, and nothing lost when the power
 * fails but what had not reached the disk. LMDB aborts on a page that makes no
 * sense, is refused altogether after a loss of power, and dies by SIGBUS of a
 * bad sector; a cache must not take the filesystem down with it.
 *
 * Readers read one bucket, without a lock. They may see a slot that is just
 * being written: its check fails, and the chunk is not here this time. Who
 * changes holds `change`. A table that grew is a new file; readers keep the old
 * one as long as they need it (`lock` guards which is the one).
 *
 * If it is missing, or not ours, it is made from the heads of all records;
 * newer ones replace older ones. (What was dropped comes back then: it is still
 * what it says, of the version it says.)
 */
#include "blob_int.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "msg.h"

#define NAME "index"
#define NAME_NEW "index.new"

enum { BUCKETS_MIN = 64, RUN = 64 /* buckets read at once */ };

/* ---- the file ---- */

void blob_index_unref(struct index_file *x)
{
	if (!x || __atomic_sub_fetch(&x->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (x->fd >= 0)
		(void)close(x->fd);
	free(x);
}

static struct index_file *index_get(struct blob *b)
{
	struct index_file *x;

	mutex_lock(&b->lock);
	x = b->index;
	(void)__atomic_add_fetch(&x->refs, 1, __ATOMIC_RELAXED);
	mutex_unlock(&b->lock);
	return x;
}

static void index_set(struct blob *b, struct index_file *x)
{
	struct index_file *old;

	mutex_lock(&b->lock);
	old = b->index;
	b->index = x;
	mutex_unlock(&b->lock);
	blob_index_unref(old);
}

static void set_keys(struct index_file *x)
{
	struct meta_keys keys;

	meta_keys_derive(x->secret, &keys);
	x->place = keys.handle;
	x->version = keys.fileid;
	x->check = keys.check;
}

static uint64_t bucket_at(uint64_t n)
{
	return BLOB_PAGE_BYTES + n * BLOB_BUCKET_BYTES;
}

static uint64_t index_bytes(const struct index_file *x)
{
	return bucket_at(x->buckets);
}

static uint64_t bucket_of(const struct index_file *x, uint64_t ino,
			  uint32_t index)
{
	uint8_t key[8];

	meta_u64_put(key, ino);
	return (sip_hash(&x->place, key, sizeof(key)) + index) &
	       (x->buckets - 1);
}

/* A new file, of zeros, under the name NAME_NEW. */
static int file_make(struct blob *b, uint64_t buckets, const uint8_t *secret,
		     struct index_file **ret)
{
	struct blob_file_head h = { .type = BLOB_FILE_INDEX,
				    .number = buckets,
				    .owner = b->owner };
	uint8_t head[BLOB_FILE_HEAD_BYTES];
	struct index_file *x = calloc(1, sizeof(*x));
	int r = 0;

	if (!x)
		return -ENOMEM;
	if (secret)
		memcpy(x->secret, secret, SIP_KEY_BYTES);
	else if (getrandom(x->secret, SIP_KEY_BYTES, 0) != SIP_KEY_BYTES)
		r = -EIO;
	memcpy(h.secret, x->secret, SIP_KEY_BYTES);
	blob_file_head_encode(&h, head);
	set_keys(x);
	x->refs = 1;
	x->buckets = buckets;
	x->fd = openat(b->dir_fd, NAME_NEW,
		       O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		       0600);
	if (r == 0 &&
	    (x->fd < 0 || ftruncate(x->fd, (off_t)index_bytes(x)) < 0))
		r = -errno;
	if (r == 0)
		r = blob_pwrite(x->fd, 0, head, sizeof(head));
	if (r < 0) {
		blob_index_unref(x);
		return r;
	}
	*ret = x;
	return 0;
}

/* It becomes the index. Takes @x. */
static int file_install(struct blob *b, struct index_file *x)
{
	if (renameat(b->dir_fd, NAME_NEW, b->dir_fd, NAME) < 0) {
		int r = -errno;

		blob_index_unref(x);
		return r;
	}
	index_set(b, x);
	return 0;
}

int blob_index_reset(struct blob *b)
{
	struct index_file *x;
	int r = file_make(b, BUCKETS_MIN, NULL, &x);

	return r < 0 ? r : file_install(b, x);
}

/* ---- slots ---- */

struct bucket {
	uint64_t number;
	uint8_t data[BLOB_BUCKET_BYTES];
};

static int bucket_read(const struct index_file *x, uint64_t number,
		       struct bucket *ret)
{
	ret->number = number;
	return blob_pread(x->fd, bucket_at(number), ret->data,
			  sizeof(ret->data));
}

/* The slot of a chunk: its place in the bucket, or -1. */
static int bucket_find(const struct index_file *x, const struct bucket *k,
		       uint64_t ino, uint32_t index, struct blob_slot *ret)
{
	for (int i = 0; i < BLOB_BUCKET_SLOTS; i++) {
		const uint8_t *at = k->data + (size_t)i * BLOB_SLOT_BYTES;

		if (blob_slot_is(at, ino, index) &&
		    blob_slot_decode(&x->check, at, ret))
			return i;
	}
	return -1;
}

static int slot_write(const struct index_file *x, uint64_t bucket, int place,
		      const struct blob_slot *s)
{
	uint8_t data[BLOB_SLOT_BYTES] = { 0 };

	if (s)
		blob_slot_encode(&x->check, s, data);
	return blob_pwrite(
		x->fd, bucket_at(bucket) + (uint64_t)place * BLOB_SLOT_BYTES,
		data, sizeof(data));
}

int blob_index_get(struct blob *b, uint64_t ino, uint32_t index,
		   const struct blob_version *v, struct blob_slot *ret)
{
	struct index_file *x = index_get(b);
	struct blob_slot s;
	struct bucket k;
	int r = bucket_read(x, bucket_of(x, ino, index), &k);

	if (r == 0 && (bucket_find(x, &k, ino, index, &s) < 0 ||
		       (v && s.version != blob_version_hash(&x->version, v))))
		r = -ENOENT;
	blob_index_unref(x);
	if (r < 0)
		return -ENOENT;
	*ret = s;
	return 0;
}

static bool same_place(const struct blob_slot *a, const struct blob_slot *b)
{
	return a->pack == b->pack && a->unit == b->unit;
}

/* ---- growing ---- */

/* The buckets of @run, from @first of @x, are split between the halves of
 * @to. */
static int split_run(struct blob *b, const struct index_file *x, uint64_t first,
		     const uint8_t *run, const struct index_file *to)
{
	enum { BYTES = RUN * BLOB_BUCKET_BYTES };
	CLEANUP_FREE uint8_t *half = calloc(2, BYTES);
	int r;

	if (!half)
		return -ENOMEM;
	for (unsigned n = 0; n < RUN; n++) {
		unsigned used[2] = { 0, 0 };

		for (unsigned i = 0; i < BLOB_BUCKET_SLOTS; i++) {
			size_t at = (size_t)n * BLOB_BUCKET_BYTES;
			const uint8_t *old = run + at + i * BLOB_SLOT_BYTES;
			struct blob_slot s;
			unsigned high;

			if (!blob_slot_decode(&x->check, old, &s) ||
			    !blob_pack_lives(b, s.pack))
				continue;
			high = bucket_of(to, s.ino, s.index) >= x->buckets;
			at += used[high]++ * BLOB_SLOT_BYTES;
			memcpy(half + high * BYTES + at, old, BLOB_SLOT_BYTES);
		}
	}
	r = blob_pwrite(to->fd, bucket_at(first), half, BYTES);
	if (r == 0)
		r = blob_pwrite(to->fd, bucket_at(first + x->buckets),
				half + BYTES, BYTES);
	return r;
}

/* The table doubles. -ENOSPC: it has its bound. */
static int grow(struct blob *b) REQUIRES(b->change)
{
	enum { BYTES = RUN * BLOB_BUCKET_BYTES };
	struct index_file *x = b->index, *to;
	CLEANUP_FREE uint8_t *run = malloc(BYTES);
	int r;

	if (bucket_at(2 * x->buckets) > blob_index_max(b))
		return -ENOSPC;
	if (!run)
		return -ENOMEM;
	r = file_make(b, 2 * x->buckets, x->secret, &to);
	if (r < 0)
		return r;
	for (uint64_t n = 0; r == 0 && n < x->buckets; n += RUN) {
		r = blob_pread(x->fd, bucket_at(n), run, BYTES);
		if (r == 0)
			r = split_run(b, x, n, run, to);
	}
	if (r < 0) {
		blob_index_unref(to);
		(void)unlinkat(b->dir_fd, NAME_NEW, 0);
		return r;
	}
	return file_install(b, to);
}

/* ---- changing ---- */

/* Where a new slot may go: -1 if every one leads somewhere, then *ret_oldest
 * leads to the oldest pack. */
static int bucket_free(struct blob *b, const struct bucket *k, int *ret_oldest)
	REQUIRES(b->change)
{
	uint32_t oldest = UINT32_MAX;
	struct blob_slot s;

	*ret_oldest = 0;
	for (int i = 0; i < BLOB_BUCKET_SLOTS; i++) {
		if (!blob_slot_decode(&b->index->check,
				      k->data + (size_t)i * BLOB_SLOT_BYTES,
				      &s))
			return i;
	}
	for (int i = 0; i < BLOB_BUCKET_SLOTS; i++) {
		(void)blob_slot_decode(&b->index->check,
				       k->data + (size_t)i * BLOB_SLOT_BYTES,
				       &s);
		if (!blob_pack_lives(b, s.pack))
			return i;
		if (s.pack < oldest) {
			oldest = s.pack;
			*ret_oldest = i;
		}
	}
	return -1;
}

int blob_index_put(struct blob *b, struct blob_slot *s,
		   const struct blob_version *v)
{
	struct bucket k;
	int place, oldest, r;

	for (;;) {
		struct index_file *x = b->index;
		struct blob_slot old;

		s->version = blob_version_hash(&x->version, v);
		r = bucket_read(x, bucket_of(x, s->ino, s->index), &k);
		if (r < 0)
			return r;
		place = bucket_find(x, &k, s->ino, s->index, &old);
		if (place < 0)
			place = bucket_free(b, &k, &oldest);
		if (place >= 0 || grow(b) < 0)
			break;
	}
	if (place < 0)
		place = oldest;
	return slot_write(b->index, k.number, place, s);
}

/* The slot that is just @s: its bucket and place, or -ENOENT. */
static int find_same(struct blob *b, const struct blob_slot *s,
		     uint64_t *ret_bucket) REQUIRES(b->change)
{
	struct index_file *x = b->index;
	struct blob_slot now;
	struct bucket k;
	int place;

	if (bucket_read(x, bucket_of(x, s->ino, s->index), &k) < 0)
		return -ENOENT;
	place = bucket_find(x, &k, s->ino, s->index, &now);
	if (place < 0 || !same_place(&now, s))
		return -ENOENT;
	*ret_bucket = k.number;
	return place;
}

int blob_index_move(struct blob *b, const struct blob_slot *from,
		    struct blob_slot *to)
{
	uint64_t bucket;
	int place = find_same(b, from, &bucket);

	if (place < 0)
		return place;
	to->version = from->version;
	return slot_write(b->index, bucket, place, to);
}

void blob_index_del(struct blob *b, const struct blob_slot *s)
{
	uint64_t bucket;
	int place = find_same(b, s, &bucket);

	if (place >= 0)
		(void)slot_write(b->index, bucket, place, NULL);
}

/* ---- all of it ---- */

int blob_index_each(struct blob *b, blob_index_fn *fn, void *arg)
{
	struct index_file *x = index_get(b);
	struct bucket k;
	int r = 0;

	for (uint64_t n = 0; r == 0 && n < x->buckets; n++) {
		r = bucket_read(x, n, &k);
		for (unsigned i = 0; r == 0 && i < BLOB_BUCKET_SLOTS; i++) {
			struct blob_slot s;

			if (blob_slot_decode(&x->check,
					     k.data + i * BLOB_SLOT_BYTES,
					     &s) &&
			    blob_pack_lives(b, s.pack))
				r = fn(arg, &s);
		}
	}
	blob_index_unref(x);
	return r;
}

/* ---- opening ---- */

static int file_open(struct blob *b)
{
	uint8_t head[BLOB_FILE_HEAD_BYTES];
	struct blob_file_head h;
	struct index_file *x = calloc(1, sizeof(*x));
	struct stat st;
	int r;

	if (!x)
		return -ENOMEM;
	x->refs = 1;
	x->fd = openat(b->dir_fd, NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	r = x->fd < 0 ? -errno : blob_pread(x->fd, 0, head, sizeof(head));
	if (r == 0)
		r = blob_file_head_decode(head, &h);
	if (r == 0 && (h.type != BLOB_FILE_INDEX || h.owner != b->owner))
		r = -EXDEV;
	if (r == 0) {
		x->buckets = h.number;
		memcpy(x->secret, h.secret, SIP_KEY_BYTES);
		set_keys(x);
		if (x->buckets < BUCKETS_MIN ||
		    (x->buckets & (x->buckets - 1)) ||
		    index_bytes(x) > blob_index_max(b) ||
		    fstat(x->fd, &st) < 0 ||
		    (uint64_t)st.st_size != index_bytes(x))
			r = -EBADMSG;
	}
	if (r < 0)
		blob_index_unref(x);
	else
		index_set(b, x);
	return r;
}

static int put_found(void *arg, struct pack *p, uint64_t at,
		     const struct blob_rec *r)
{
	struct blob *b = arg;
	struct blob_slot s = { .ino = r->ino,
			       .index = r->index,
			       .pack = p->number,
			       .unit = (uint32_t)(at / BLOB_ALIGN),
			       .stored = r->stored,
			       .compressed = r->compressed };

	mutex_lock(&b->change);
	(void)blob_index_put(b, &s, &r->v);
	mutex_unlock(&b->change);
	return 0;
}

int blob_index_open(struct blob *b)
{
	/* Without packs, old slots only lead to packs to come. */
	int r = b->packs_n > 0 ? file_open(b) : -ENOENT;

	(void)unlinkat(b->dir_fd, NAME_NEW, 0);
	if (r == 0)
		return 0;
	mutex_lock(&b->change);
	r = blob_index_reset(b);
	mutex_unlock(&b->change);
	for (unsigned i = 0; r == 0 && i < b->packs_n; i++) {
		r = blob_pack_walk(b, b->packs[i], put_found, b);
		if (r < 0 && r != -ENOMEM)
			r = 0; /* what cannot be read is not here */
	}
	return r;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob.c: owns the open content cache: opening and closing, reading, and the
 * walks over all of it.
 *
 * Its directory holds: "lock", flocked while in use; "index" (blob_index.c);
 * and packs (blob_pack.c), all in the formats of blob_rec.c.
 *
 * Reading a chunk: is it still queued? else one read of a bucket of the index,
 * and one read of the record, which is checked from its first byte to its last:
 * where it lies, whose it is, of which version, and its payload; then zstd. So
 * a small file takes two system calls. No lock is held meanwhile: the pack, the
 * index's file and the item are held by references, and all of them are never
 * written over. A record that fails is damage: its slot is deleted, and it is
 * not here.
 *
 * `lock` guards the list of scratches: buffers and a zstd context, one a reader
 * at work; a few are kept.
 */
#include "blob_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>

#include "msg.h"

/* ---- scratches ---- */

static void scratch_free(struct scratch *sc)
{
	if (sc)
		(void)ZSTD_freeDCtx(sc->zstd);
	free(sc);
}

struct scratch *blob_scratch_get(struct blob *b)
{
	struct scratch *sc;

	mutex_lock(&b->lock);
	sc = b->scratch;
	if (sc) {
		b->scratch = sc->next;
		b->scratch_n--;
	}
	mutex_unlock(&b->lock);
	if (sc)
		return sc;
	sc = malloc(sizeof(*sc));
	if (!sc)
		return NULL;
	sc->zstd = ZSTD_createDCtx();
	if (!sc->zstd) {
		free(sc);
		return NULL;
	}
	return sc;
}

void blob_scratch_put(struct blob *b, struct scratch *sc)
{
	mutex_lock(&b->lock);
	if (b->scratch_n < BLOB_SCRATCH_KEPT) {
		sc->next = b->scratch;
		b->scratch = sc;
		b->scratch_n++;
		sc = NULL;
	}
	mutex_unlock(&b->lock);
	scratch_free(sc);
}

/* ---- reading ---- */

static int unpack(struct scratch *sc, const struct blob_rec *r,
		  struct slice *ret)
{
	uint32_t raw = blob_chunk_bytes(r->v.size, r->index);
	struct bytes *to = bytes_new(raw);

	if (!to)
		return -ENOMEM;
	if (ZSTD_decompressDCtx(sc->zstd, to->at, raw,
				sc->stored + BLOB_HEAD_BYTES,
				r->stored) != raw) {
		bytes_unref(to);
		return -EBADMSG;
	}
	*ret = (struct slice){ .of = to, .at = to->at, .len = raw };
	return 0;
}

static void damaged(struct blob *b, const struct blob_slot *s)
{
	msg_debug("blob", "pack %u, at %llu: damaged, dropped", s->pack,
		  (unsigned long long)s->unit * BLOB_ALIGN);
	if (atomic_fetch_add(&b->stat.damaged, 1) == 0)
		msg_warning("content cache: what was kept is damaged; it is "
			    "fetched from the server again");
	mutex_lock(&b->change);
	blob_index_del(b, s);
	mutex_unlock(&b->change);
}

static int read_compressed(struct blob *b, const struct pack *p,
			   const struct blob_slot *s, struct blob_rec *rec,
			   struct slice *ret)
{
	struct scratch *sc = blob_scratch_get(b);
	int r = sc ? blob_pack_read(p, s, sc->stored, rec) : -ENOMEM;

	if (r == 0)
		r = unpack(sc, rec, ret);
	if (sc)
		blob_scratch_put(b, sc);
	return r;
}

/* Into the memory that the caller gets. */
static int read_plain(const struct pack *p, const struct blob_slot *s,
		      struct blob_rec *rec, struct slice *ret)
{
	struct bytes *to = bytes_new(BLOB_HEAD_BYTES + s->stored);
	int r = to ? blob_pack_read(p, s, to->at, rec) : -ENOMEM;

	if (r == 0 && s->stored != blob_chunk_bytes(rec->v.size, rec->index))
		r = -EBADMSG;
	if (r < 0) {
		bytes_unref(to);
		return r;
	}
	*ret = (struct slice){ .of = to, .at = to->at + BLOB_HEAD_BYTES,
			       .len = s->stored };
	return 0;
}

/* The chunk at @s, checked; of @v, unless that is NULL. */
static int slot_read(struct blob *b, const struct blob_slot *s,
		     const struct blob_version *v, struct slice *ret)
{
	struct pack *p = blob_pack_get(b, s->pack);
	struct blob_rec rec;
	int r;

	if (!p)
		return -ENOENT;
	r = s->compressed ? read_compressed(b, p, s, &rec, ret) :
			    read_plain(p, s, &rec, ret);
	if (r == 0 && v && !blob_version_equal(v, &rec.v)) {
		slice_done(ret);
		r = -ENOENT; /* the fingerprint was the same by chance */
	}
	if (r == 0 && v)
		blob_pack_touch(b, p, (uint64_t)s->unit * BLOB_ALIGN);
	blob_pack_unref(p);
	return r;
}

static int chunk_read(struct blob *b, uint64_t ino,
		      const struct blob_version *v, uint32_t index,
		      struct slice *ret)
{
	struct item *i = blob_item_get(b, ino, index, v);
	struct blob_slot s;
	int r;

	if (i) {
		*ret = slice_ref(&i->data);
		blob_item_unref(i);
		return 0;
	}
	r = blob_index_get(b, ino, index, v, &s);
	if (r == 0)
		r = slot_read(b, &s, v, ret);
	if (r == -EBADMSG)
		damaged(b, &s);
	return r < 0 ? -ENOENT : 0;
}

int blob_read(struct blob *b, uint64_t ino, const struct blob_version *v,
	      uint64_t offset, uint32_t len, struct slice *ret)
{
	uint64_t index = offset / BLOB_CHUNK_BYTES;
	uint32_t skip = (uint32_t)(offset % BLOB_CHUNK_BYTES);
	struct slice chunk;
	int r = -ENOENT;

	if (offset >= v->size) {
		*ret = (struct slice){ 0 };
		return 0;
	}
	if (index <= UINT32_MAX)
		r = chunk_read(b, ino, v, (uint32_t)index, &chunk);
	if (r < 0) {
		blob_count(&b->stat.misses, 1);
		return r;
	}
	chunk.at += skip;
	chunk.len = MIN(len, chunk.len - skip);
	blob_count(&b->stat.hits, 1);
	blob_count(&b->stat.hit_bytes, chunk.len);
	*ret = chunk;
	return 0;
}

static bool chunk_here(struct blob *b, uint64_t ino,
		       const struct blob_version *v, uint32_t index)
{
	struct item *i = blob_item_get(b, ino, index, v);
	struct blob_slot s;

	blob_item_unref(i);
	return i || (blob_index_get(b, ino, index, v, &s) == 0 &&
		     blob_pack_lives(b, s.pack));
}

bool blob_has(struct blob *b, uint64_t ino, const struct blob_version *v,
	      uint64_t offset, uint64_t len)
{
	uint64_t end, index;

	if (offset >= v->size || len == 0)
		return true;
	end = blob_chunks(offset + MIN(len, v->size - offset));
	for (index = offset / BLOB_CHUNK_BYTES; index < end; index++)
		if (index > UINT32_MAX ||
		    !chunk_here(b, ino, v, (uint32_t)index))
			return false;
	return true;
}

/* ---- dropping ---- */

struct dropping {
	struct blob *b;
	uint64_t ino;
};

static int drop_slot(void *arg, const struct blob_slot *s)
{
	const struct dropping *d = arg;

	if (s->ino == d->ino) {
		mutex_lock(&d->b->change);
		blob_index_del(d->b, s);
		mutex_unlock(&d->b->change);
	}
	return 0;
}

void blob_drop(struct blob *b, uint64_t ino, const struct blob_version *v)
{
	enum { ONE_BY_ONE = 4096 };
	struct dropping d = { b, ino };
	uint64_t chunks = blob_chunks(v->size);
	struct blob_slot s;

	blob_items_drop(b, ino, v);
	/* The writer may have looked at the mark just before, and be about to
	 * put the chunk into the index: it has when we get this. */
	mutex_lock(&b->change);
	mutex_unlock(&b->change);
	/* The size is the server's word: no loop is as long as that. */
	if (chunks > ONE_BY_ONE) {
		(void)blob_index_each(b, drop_slot, &d);
		return;
	}
	for (uint32_t index = 0; index < chunks; index++)
		if (blob_index_get(b, ino, index, v, &s) == 0)
			(void)drop_slot(&d, &s);
}

/* ---- over everything ---- */

struct slots {
	struct blob_slot *all;
	size_t n, cap;
};

static int collect(void *arg, const struct blob_slot *s)
{
	struct slots *a = arg;

	if (a->n == a->cap) {
		size_t cap = a->cap ? 2 * a->cap : 1024;
		struct blob_slot *all = reallocarray(a->all, cap, sizeof(*all));

		if (!all)
			return -ENOMEM;
		a->all = all;
		a->cap = cap;
	}
	a->all[a->n++] = *s;
	return 0;
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_ino(const void *a, const void *b)
{
	const struct blob_slot *x = a, *y = b;

	return compare(x->ino, y->ino);
}

static int by_place(const void *a, const void *b)
{
	const struct blob_slot *x = a, *y = b;

	return x->pack != y->pack ? compare(x->pack, y->pack)
				  : compare(x->unit, y->unit);
}

static int collect_sorted(struct blob *b, struct slots *ret,
			  int (*order)(const void *, const void *))
{
	int r = blob_index_each(b, collect, ret);

	if (r == 0 && ret->n > 0)
		qsort(ret->all, ret->n, sizeof(*ret->all), order);
	return r;
}

int blob_walk(struct blob *b, blob_walk_fn *fn, void *arg)
{
	struct slots a = { 0 };
	int r = collect_sorted(b, &a, by_ino);

	for (size_t i = 0; r == 0 && i < a.n;) {
		struct blob_file f = { .ino = a.all[i].ino };

		for (; i < a.n && a.all[i].ino == f.ino; i++) {
			f.chunks++;
			f.bytes += BLOB_HEAD_BYTES + a.all[i].stored;
		}
		r = fn(arg, &f);
	}
	free(a.all);
	return r;
}

int blob_check(struct blob *b, blob_check_fn *fn, void *arg,
	       struct blob_check *ret)
{
	struct blob_check c = { 0 };
	struct slots a = { 0 };
	int r = collect_sorted(b, &a, by_place);

	for (size_t i = 0; r == 0 && i < a.n; i++) {
		struct slice chunk;
		int bad = slot_read(b, &a.all[i], NULL, &chunk);

		if (bad == 0) {
			slice_done(&chunk);
			c.chunks++;
			c.bytes += BLOB_HEAD_BYTES + a.all[i].stored;
		} else if (bad == -EBADMSG) {
			c.damaged++;
			damaged(b, &a.all[i]);
		}
		r = fn ? fn(arg, &c) : 0;
	}
	free(a.all);
	if (r == 0)
		*ret = c;
	return r;
}

void blob_get_stats(struct blob *b, struct blob_stats *ret)
{
	*ret = (struct blob_stats){
		.bytes_max = b->o.bytes_max,
		.hits = atomic_load(&b->stat.hits),
		.misses = atomic_load(&b->stat.misses),
		.hit_bytes = atomic_load(&b->stat.hit_bytes),
		.written = atomic_load(&b->stat.written),
		.written_bytes = atomic_load(&b->stat.written_bytes),
		.stored_bytes = atomic_load(&b->stat.stored_bytes),
		.refused = atomic_load(&b->stat.refused),
		.evicted_bytes = atomic_load(&b->stat.evicted_bytes),
		.kept = atomic_load(&b->stat.kept),
		.damaged = atomic_load(&b->stat.damaged),
	};
	mutex_lock(&b->lock);
	ret->bytes = b->packs_bytes + BLOB_PAGE_BYTES +
		     b->index->buckets * BLOB_BUCKET_BYTES;
	ret->packs = b->packs_n;
	ret->queued = b->queued;
	mutex_unlock(&b->lock);
}

/* ---- opening and closing ---- */

static int dir_open(struct blob *b, const char *dir)
{
	b->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->dir_fd < 0)
		return -errno;
	b->lock_fd =
		openat(b->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (b->lock_fd < 0)
		return -errno;
	if (flock(b->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return 0;
}

/* All files here are one owner's: whoever opens removes the others'. */
static int find_owner(struct blob *b)
{
	int fd = openat(b->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int r = d ? -ENOENT : -errno;
	struct dirent *e;

	if (!d)
		cleanup_closep(&fd);
	while (d && r == -ENOENT && (e = readdir(d))) {
		CLEANUP_CLOSE int file = openat(b->dir_fd, e->d_name,
						O_RDONLY | O_CLOEXEC |
							O_NOFOLLOW);
		uint8_t head[BLOB_FILE_HEAD_BYTES];
		struct blob_file_head h;

		if (file < 0 || blob_pread(file, 0, head, sizeof(head)) < 0 ||
		    blob_file_head_decode(head, &h) < 0)
			continue;
		b->owner = h.owner;
		r = 0;
	}
	if (d)
		(void)closedir(d);
	return r;
}

/* A part of the bound, or of the disk if that is less. */
static uint64_t pack_bytes(const struct blob *b)
{
	uint64_t bytes = b->o.bytes_max;
	struct statvfs st;

	if (fstatvfs(b->dir_fd, &st) == 0)
		bytes = MIN(bytes, (uint64_t)st.f_blocks * st.f_frsize);
	bytes = MIN(bytes / BLOB_PACKS, (uint64_t)BLOB_PACK_BYTES_MAX);
	return MAX(bytes, (uint64_t)BLOB_PACK_BYTES_MIN);
}

int blob_open(const char *dir, const char *owner, const struct blob_options *o,
	      struct blob **ret)
{
	static const struct sip_key zero;
	struct blob *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->o = *o;
	b->owner = owner ? sip_hash(&zero, owner, strlen(owner)) : 0;
	b->dir_fd = b->lock_fd = -1;
	b->last = &b->first;
	mutex_init(&b->change);
	mutex_init(&b->lock);
	cond_init(&b->wake);
	cond_init(&b->idle);
	r = dir_open(b, dir);
	if (r == 0 && !owner)
		r = find_owner(b);
	if (r == 0) {
		b->pack_bytes = pack_bytes(b);
		r = blob_packs_open(b);
	}
	if (r == 0) {
		blob_evict_trim(b);
		r = blob_index_open(b);
	}
	if (r == 0)
		r = blob_writer_start(b);
	if (r < 0) {
		blob_close(b);
		return r;
	}
	*ret = b;
	return 0;
}

void blob_close(struct blob *b)
{
	if (!b)
		return;
	blob_writer_stop(b);
	blob_packs_close(b);
	blob_index_unref(b->index);
	while (b->scratch) {
		struct scratch *sc = b->scratch;

		b->scratch = sc->next;
		scratch_free(sc);
	}
	if (b->lock_fd >= 0)
		(void)close(b->lock_fd);
	if (b->dir_fd >= 0)
		(void)close(b->dir_fd);
	cond_destroy(&b->idle);
	cond_destroy(&b->wake);
	mutex_destroy(&b->lock);
	mutex_destroy(&b->change);
	free(b);
}

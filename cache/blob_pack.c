/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blob_pack.c: owns the content cache's packs: the files that contents lie in,
 * their list, and who still reads them.
 *
 * Packs are named by growing numbers ("0000002a.pack"). Records are appended to
 * the last one, by one thread; nothing in a pack is ever written over. A pack
 * goes as a whole: it leaves the list and the directory, and its file is closed
 * when the last reader has let go of it. What the index still says of it leads
 * nowhere, since numbers are not used again while the index lives.
 *
 * Nothing is synced. After a loss of power any part of a pack may be missing;
 * checks find that out when it is read. A record whose head is not sound is
 * passed over by a walk, which then looks for the next one at every multiple
 * of 64.
 *
 * `lock` guards the list, the count of bytes and each pack's end.
 */
#include "blob_int.h"

#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "msg.h"

enum { NAME_BYTES = 16, WINDOW_BYTES = 16 * 1024 };

int blob_pread(int fd, uint64_t at, void *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = pread(fd, buf, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		buf = (char *)buf + n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int blob_pwrite(int fd, uint64_t at, const void *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, buf, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		buf = (const char *)buf + n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static void pack_name(uint32_t number, char ret[NAME_BYTES])
{
	(void)snprintf(ret, NAME_BYTES, "%08x.pack", number);
}

/* 0: not the name of one. */
static uint32_t name_number(const char *name)
{
	char same[NAME_BYTES];
	unsigned number;

	if (sscanf(name, "%8x", &number) != 1)
		return 0;
	pack_name(number, same);
	return strcmp(name, same) == 0 ? number : 0;
}

/* ---- the list ---- */

void blob_pack_unref(struct pack *p)
{
	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	(void)close(p->fd);
	free(p);
}

static struct pack *pack_ref(struct pack *p)
{
	(void)__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

/* Its place in the list, or that of the next one. */
static unsigned list_find(const struct blob *b, uint32_t number)
	REQUIRES(b->lock)
{
	unsigned low = 0, high = b->packs_n;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (b->packs[mid]->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct pack *list_get(const struct blob *b, uint32_t number)
	REQUIRES(b->lock)
{
	unsigned at = list_find(b, number);

	if (at == b->packs_n || b->packs[at]->number != number)
		return NULL;
	return b->packs[at];
}

static int list_add(struct blob *b, struct pack *p) REQUIRES(b->lock)
{
	unsigned at = list_find(b, p->number);

	if (b->packs_n == b->packs_cap) {
		unsigned cap = b->packs_cap ? 2 * b->packs_cap : 64;
		struct pack **list = realloc(b->packs, cap * sizeof(*list));

		if (!list)
			return -ENOMEM;
		b->packs = list;
		b->packs_cap = cap;
	}
	memmove(b->packs + at + 1, b->packs + at,
		(b->packs_n - at) * sizeof(*b->packs));
	b->packs[at] = p;
	b->packs_n++;
	b->packs_bytes += p->used;
	return 0;
}

struct pack *blob_pack_get(struct blob *b, uint32_t number)
{
	struct pack *p;

	mutex_lock(&b->lock);
	p = list_get(b, number);
	if (p)
		(void)pack_ref(p);
	mutex_unlock(&b->lock);
	return p;
}

bool blob_pack_lives(struct blob *b, uint32_t number)
{
	bool lives;

	mutex_lock(&b->lock);
	lives = list_get(b, number);
	mutex_unlock(&b->lock);
	return lives;
}

struct pack *blob_pack_oldest(struct blob *b)
{
	struct pack *p;

	mutex_lock(&b->lock);
	p = b->packs_n > 0 ? pack_ref(b->packs[0]) : NULL;
	mutex_unlock(&b->lock);
	return p;
}

void blob_pack_remove(struct blob *b, struct pack *p)
{
	char name[NAME_BYTES];
	unsigned at;

	if (b->current == p)
		b->current = NULL;
	pack_name(p->number, name);
	if (unlinkat(b->dir_fd, name, 0) < 0)
		msg_debug("blob", "%s: %s", name, msg_strerror(errno));
	mutex_lock(&b->lock);
	at = list_find(b, p->number);
	assert(at < b->packs_n && b->packs[at] == p);
	b->packs_n--;
	memmove(b->packs + at, b->packs + at + 1,
		(b->packs_n - at) * sizeof(*b->packs));
	b->packs_bytes -= p->used;
	mutex_unlock(&b->lock);
	blob_pack_unref(p);
}

/* ---- a new one, and appending ---- */

static void pack_set_key(struct pack *p, const uint8_t secret[SIP_KEY_BYTES])
{
	struct meta_keys keys;

	meta_keys_derive(secret, &keys);
	p->key = keys.check;
}

static uint32_t next_number(struct blob *b)
{
	uint32_t n;

	mutex_lock(&b->lock);
	n = b->packs_n > 0 ? b->packs[b->packs_n - 1]->number : 0;
	n = MAX(n, b->last_number);
	mutex_unlock(&b->lock);
	return n < UINT32_MAX ? n + 1 : 0;
}

int blob_pack_begin(struct blob *b)
{
	struct blob_file_head h = { .type = BLOB_FILE_PACK,
				    .number = next_number(b),
				    .owner = b->owner };
	uint8_t page[BLOB_PAGE_BYTES] = { 0 };
	struct pack *p = calloc(1, sizeof(*p));
	char name[NAME_BYTES];
	int r = 0;

	if (!p)
		return -ENOMEM;
	b->current = NULL;
	pack_name((uint32_t)h.number, name);
	*p = (struct pack){ .number = (uint32_t)h.number,
			    .refs = 1,
			    .used = sizeof(page) };
	p->fd = h.number == 0
			? -1
			: openat(b->dir_fd, name,
				 O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (p->fd < 0) {
		r = h.number == 0 ? -EOVERFLOW : -errno;
		free(p);
		return r;
	}
	if (getrandom(h.secret, SIP_KEY_BYTES, 0) != SIP_KEY_BYTES)
		r = -EIO;
	pack_set_key(p, h.secret);
	blob_file_head_encode(&h, page);
	if (r == 0)
		r = blob_pwrite(p->fd, 0, page, sizeof(page));
	mutex_lock(&b->lock);
	if (r == 0)
		r = list_add(b, p);
	b->last_number = p->number;
	mutex_unlock(&b->lock);
	if (r < 0) {
		(void)unlinkat(b->dir_fd, name, 0);
		blob_pack_unref(p);
		return r;
	}
	b->current = p;
	return 0;
}

int blob_pack_append(struct blob *b, struct pack *p, const void *data,
		     size_t len)
{
	int r = blob_pwrite(p->fd, p->used, data, len);

	if (r < 0) {
		(void)ftruncate(p->fd, (off_t)p->used);
		return r;
	}
	mutex_lock(&b->lock);
	p->used += len;
	b->packs_bytes += len;
	mutex_unlock(&b->lock);
	return 0;
}

/* ---- what was read since ---- */

static unsigned touched_bit(const struct blob *b, uint64_t at)
{
	uint64_t part = b->pack_bytes / BLOB_TOUCHED_BITS;

	return (unsigned)MIN(at / part, (uint64_t)BLOB_TOUCHED_BITS - 1);
}

void blob_pack_touch(const struct blob *b, struct pack *p, uint64_t at)
{
	unsigned bit = touched_bit(b, at);
	uint64_t mask = UINT64_C(1) << bit % 64;

	/* Most often it is set: do not take the line from other readers. */
	if (!(atomic_load_explicit(&p->touched[bit / 64],
				   memory_order_relaxed) &
	      mask))
		(void)atomic_fetch_or_explicit(&p->touched[bit / 64], mask,
					       memory_order_relaxed);
}

bool blob_pack_touched(const struct blob *b, struct pack *p, uint64_t at)
{
	unsigned bit = touched_bit(b, at);

	return atomic_load_explicit(&p->touched[bit / 64],
				    memory_order_relaxed) >>
		       bit % 64 &
	       1;
}

static void touched_save(struct pack *p)
{
	uint64_t bits[BLOB_TOUCHED_BITS / 64];

	for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
		bits[i] = htole64(atomic_load(&p->touched[i]));
	(void)blob_pwrite(p->fd, BLOB_TOUCHED_AT, bits, sizeof(bits));
}

static void touched_load(struct pack *p, const uint8_t *page)
{
	uint64_t bits[BLOB_TOUCHED_BITS / 64];

	memcpy(bits, page + BLOB_TOUCHED_AT, sizeof(bits));
	for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
		atomic_init(&p->touched[i], le64toh(bits[i]));
}

/* ---- reading ---- */

int blob_pack_read(const struct pack *p, const struct blob_slot *s,
		   uint8_t *stored, struct blob_rec *ret)
{
	uint64_t at = (uint64_t)s->unit * BLOB_ALIGN;

	if (blob_pread(p->fd, at, stored, BLOB_HEAD_BYTES + s->stored) < 0 ||
	    blob_rec_decode(&p->key, at, stored, ret) < 0 ||
	    ret->ino != s->ino || ret->index != s->index ||
	    ret->stored != s->stored ||
	    !blob_rec_sound(&p->key, ret, stored + BLOB_HEAD_BYTES))
		return -EBADMSG;
	return 0;
}

int blob_pack_walk(struct blob *b, struct pack *p, blob_pack_fn *fn, void *arg)
{
	CLEANUP_FREE uint8_t *window = malloc(WINDOW_BYTES);
	uint64_t start = 0, at = BLOB_PAGE_BYTES, end;
	size_t have = 0;
	int r = 0;

	if (!window)
		return -ENOMEM;
	mutex_lock(&b->lock);
	end = p->used;
	mutex_unlock(&b->lock);
	while (r == 0 && at + BLOB_HEAD_BYTES < end) {
		struct blob_rec rec;

		if (at + BLOB_HEAD_BYTES > start + have) {
			ssize_t n =
				pread(p->fd, window, WINDOW_BYTES, (off_t)at);

			if (n < BLOB_HEAD_BYTES)
				return n < 0 ? -errno : 0;
			start = at;
			have = (size_t)n;
		}
		if (blob_rec_decode(&p->key, at, window + (at - start), &rec) <
		    0) {
			at += BLOB_ALIGN;
			continue;
		}
		r = fn(arg, p, at, &rec);
		at += blob_aligned(blob_rec_bytes(&rec));
	}
	return r;
}

/* ---- opening ---- */

static int pack_open(struct blob *b, const char *name, uint32_t number)
{
	uint8_t page[BLOB_PAGE_BYTES];
	struct blob_file_head h;
	struct pack *p = calloc(1, sizeof(*p));
	struct stat st;
	int r;

	if (!p)
		return -ENOMEM;
	p->number = number;
	p->refs = 1;
	p->fd = openat(b->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (p->fd < 0) {
		r = -errno;
		free(p);
		return r;
	}
	r = blob_pread(p->fd, 0, page, sizeof(page));
	if (r == 0)
		r = blob_file_head_decode(page, &h);
	if (r == 0 && (h.type != BLOB_FILE_PACK || h.number != number ||
		       h.owner != b->owner || fstat(p->fd, &st) < 0))
		r = -EXDEV;
	if (r == 0) {
		pack_set_key(p, h.secret);
		touched_load(p, page);
		p->used = blob_aligned((uint64_t)st.st_size);
		mutex_lock(&b->lock);
		r = list_add(b, p);
		mutex_unlock(&b->lock);
	}
	if (r < 0)
		blob_pack_unref(p);
	return r;
}

int blob_packs_open(struct blob *b)
{
	int fd = openat(b->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!d) {
		r = -errno;
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	while (r == 0 && (e = readdir(d))) {
		uint32_t number = name_number(e->d_name);
		int bad = number ? pack_open(b, e->d_name, number) : 0;

		if (bad == -ENOMEM || bad == -EMFILE || bad == -ENFILE) {
			r = bad;
		} else if (bad < 0) {
			msg_debug("blob", "%s: removed: %s", e->d_name,
				  msg_strerror(bad));
			(void)unlinkat(b->dir_fd, e->d_name, 0);
		}
	}
	(void)closedir(d);
	if (r == 0 && b->packs_n > 0) /* go on where it ended */
		b->current = b->packs[b->packs_n - 1];
	return r;
}

void blob_packs_close(struct blob *b)
{
	for (unsigned i = 0; i < b->packs_n; i++) {
		touched_save(b->packs[i]);
		blob_pack_unref(b->packs[i]);
	}
	free(b->packs);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_log.c: owns the files of the write-back log, their order, and when they
 * are on stable storage.
 *
 * The log is a row of files, segments, named by growing numbers. Records are
 * appended to the last one; a full one is never written again, and goes when
 * nothing in it or in an older one is needed any more. So the log is always a
 * suffix of the history, and its files are deleted oldest first.
 *
 *   segment  head, then records (wback_rec.c), each at a multiple of 8
 *   head     8 magic, 8 number, 8 end of the segment before, 8 first seq,
 *            8 durable, 16 secret, 8 hash of the server's name, 4 check, 4 zero
 *
 * A file is allocated ahead, so that an append finds its room and a sync has
 * little to do. Room at its end is kept for records about sending: those free
 * room in the end, and must not fail for want of it. It is enough for all ops
 * that wait, or for those of any one segment, since more are never in one; when
 * these are sent the oldest segment goes, and there is room for a new one.
 *
 * What a crash leaves. After the death of the process all is there. After a
 * loss of power the log ends at the first record that is not valid: what
 * follows was never on stable storage, and was promised to nobody. Unless some
 * later record says otherwise: each carries how far the log was durable when it
 * was written. Then the log is damaged in the middle, and is refused.
 * A segment whose end is not where the next one's head says is the same case.
 * After opening, a new segment is begun; a torn end is never written over.
 *
 * `lock` guards the list of segments and the two numbers `appended` and
 * `durable`. One thread syncs: every interval, or when somebody waits.
 */
#include "wback_log_int.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include "msg.h"

/* ---- segments ---- */

struct segment *segment_ref(struct segment *s)
{
	(void)__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

void segment_unref(struct segment *s)
{
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	(void)close(s->fd);
	free(s);
}

uint64_t segment_number(const struct segment *s)
{
	return s->number;
}

int segment_read(const struct segment *s, uint64_t at, void *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = pread(s->fd, buf, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		buf = (char *)buf + n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

void segment_name(uint64_t number, char ret[32])
{
	(void)snprintf(ret, 32, "%016llx.seg", (unsigned long long)number);
}

int segment_open(struct log *l, uint64_t number, int flags,
		 struct segment **ret)
{
	struct segment *s = calloc(1, sizeof(*s));
	struct stat st;
	char name[32];

	if (!s)
		return -ENOMEM;
	segment_name(number, name);
	s->fd = openat(l->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags,
		       0600);
	if (s->fd < 0 || fstat(s->fd, &st) < 0) {
		int r = -errno;

		if (s->fd >= 0)
			(void)close(s->fd);
		free(s);
		return r;
	}
	s->number = number;
	s->refs = 1;
	s->bytes = s->used = (uint64_t)st.st_size;
	*ret = s;
	return 0;
}

static void head_encode(const struct log *l, const struct head *h,
			uint8_t out[HEAD_BYTES])
{
	static const struct sip_key zero;
	uint64_t v[] = { htole64(h->number), htole64(h->prev_end),
			 htole64(h->first_seq), htole64(h->durable) };
	uint64_t server = htole64(l->server_hash);
	uint32_t check;

	memset(out, 0, HEAD_BYTES);
	memcpy(out, MAGIC, 8);
	memcpy(out + 8, v, sizeof(v));
	memcpy(out + 40, l->secret, SIP_KEY_BYTES);
	memcpy(out + 56, &server, sizeof(server));
	check = htole32((uint32_t)sip_hash(&zero, out, 64));
	memcpy(out + 64, &check, sizeof(check));
}

int head_decode(struct log *l, const uint8_t in[HEAD_BYTES], struct head *ret)
{
	static const struct sip_key zero;
	uint64_t v[4], server;
	uint32_t check;

	memcpy(&check, in + 64, sizeof(check));
	if (le32toh(check) != (uint32_t)sip_hash(&zero, in, 64))
		return -EBADMSG;
	if (memcmp(in, MAGIC, 8) != 0)
		return memcmp(in, MAGIC, 7) == 0 ? -EMEDIUMTYPE : -EBADMSG;
	memcpy(v, in + 8, sizeof(v));
	memcpy(&server, in + 56, sizeof(server));
	if (le64toh(server) != l->server_hash)
		return -EXDEV;
	memcpy(l->secret, in + 40, SIP_KEY_BYTES);
	*ret = (struct head){ le64toh(v[0]), le64toh(v[1]), le64toh(v[2]),
			      le64toh(v[3]) };
	return 0;
}

void log_derive_keys(struct log *l)
{
	struct meta_keys keys;

	meta_keys_derive(l->secret, &keys);
	l->check = keys.check;
}

/* ---- a new segment ---- */

/* Leaves @keep_free bytes to others. */
static bool disk_has_room(const struct log *l, uint64_t keep_free)
{
	struct statvfs st;

	return fstatvfs(l->dir_fd, &st) < 0 ||
	       (uint64_t)st.f_bavail * st.f_frsize >=
		       l->o.segment_bytes + keep_free;
}

static int begin_segment(struct log *l, uint64_t keep_free)
{
	struct head h = { .number = l->last ? l->last->number + 1 : 1 };
	uint8_t head[HEAD_BYTES];
	struct segment *s;
	char name[32];
	int r;

	if (!disk_has_room(l, keep_free))
		return -ENOSPC;
	r = segment_open(l, h.number, O_CREAT | O_TRUNC, &s);
	if (r < 0)
		return r;
	if (fallocate(s->fd, 0, 0, (off_t)l->o.segment_bytes) < 0 &&
	    (errno != EOPNOTSUPP ||
	     ftruncate(s->fd, (off_t)l->o.segment_bytes) < 0))
		r = -errno;
	s->bytes = l->o.segment_bytes;
	s->used = HEAD_BYTES;
	mutex_lock(&l->lock);
	h.prev_end = l->last ? l->last->used : 0;
	h.first_seq = l->appended + 1;
	h.durable = l->durable;
	mutex_unlock(&l->lock);
	head_encode(l, &h, head);
	if (r == 0 && pwrite(s->fd, head, HEAD_BYTES, 0) != HEAD_BYTES)
		r = -EIO;
	if (r < 0) {
		segment_name(h.number, name);
		(void)unlinkat(l->dir_fd, name, 0);
		segment_unref(s);
		return r;
	}
	mutex_lock(&l->lock);
	if (l->last)
		l->last->next = s;
	else
		l->first = s;
	l->last = s;
	l->new_file = true;
	mutex_unlock(&l->lock);
	return 0;
}

/* ---- appending ---- */

static int write_all(int fd, struct iovec *iov, unsigned n, uint64_t at)
{
	size_t left = 0;

	for (unsigned k = 0; k < n; k++)
		left += iov[k].iov_len;
	while (left > 0) {
		ssize_t done = pwritev(fd, iov, (int)n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		at += (uint64_t)done;
		left -= (size_t)done;
		for (; n > 0 && (size_t)done >= iov->iov_len; iov++, n--)
			done -= (ssize_t)iov->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

static uint64_t reserve_bytes(const struct log *l)
{
	uint64_t least = MIN((uint64_t)RESERVE_BYTES, l->o.segment_bytes / 4);

	return MIN(least + l->pending * CONTROL_BYTES,
		   l->o.segment_bytes / 4 * 3);
}

void log_set_pending(struct log *l, uint64_t ops)
{
	l->pending = ops;
}

int log_room(struct log *l, uint64_t bytes)
{
	if (l->last->used + padded(bytes) + reserve_bytes(l) <= l->last->bytes)
		return 0;
	return begin_segment(l, l->o.keep_free);
}

int log_append(struct log *l, struct rec *r, const void *data, bool reserve,
	       struct segment **ret_segment, uint64_t *ret_data_at)
{
	uint8_t body[REC_BYTES_MAX];
	struct iovec iov[2] = { { body, 0 }, { (void *)(uintptr_t)data, 0 } };
	uint64_t need;
	int len, e;

	mutex_lock(&l->lock);
	r->seq = l->appended + 1;
	r->durable = l->durable;
	e = l->error;
	mutex_unlock(&l->lock);
	if (e < 0 && !reserve)
		return e;
	if (r->type == REC_WRITE)
		r->data_check = sip_hash(&l->check, data, r->len);
	len = rec_encode(&l->check, r, body);
	if (len < 0)
		return len;
	iov[0].iov_len = (size_t)len;
	iov[1].iov_len = r->type == REC_WRITE ? r->len : 0;
	need = (uint64_t)len + iov[1].iov_len;
	if (!reserve)
		e = log_room(l, need);
	else if (l->last->used + padded(need) > l->last->bytes)
		e = begin_segment(l, 0);
	else
		e = 0;
	if (e == 0)
		e = write_all(l->last->fd, iov, iov[1].iov_len ? 2 : 1,
			      l->last->used);
	if (e < 0)
		return e;
	*ret_segment = l->last;
	*ret_data_at = l->last->used + (uint64_t)len;
	mutex_lock(&l->lock);
	l->last->used += padded(need);
	l->appended = r->seq;
	mutex_unlock(&l->lock);
	return 0;
}

void log_trim(struct log *l, uint64_t number)
{
	struct segment **end;

	mutex_lock(&l->lock);
	for (end = &l->gone; *end; end = &(*end)->next)
		;
	while (l->first->next && l->first->number < number) {
		struct segment *s = l->first;

		l->first = s->next;
		s->next = NULL;
		s->gone_seq = l->appended;
		*end = s;
		end = &s->next;
		cond_signal(&l->wake);
	}
	mutex_unlock(&l->lock);
}

/* What made a segment useless, a removal say, must be on the disk before the
 * segment goes: else a loss of power would leave the removal without what came
 * between. */
static bool may_delete(const struct log *l) REQUIRES(l->lock)
{
	return l->gone && (l->gone->gone_seq <= l->durable || l->error);
}

/* Oldest first, so that what a crash leaves is a row without gaps. */
static void delete_gone(struct log *l) REQUIRES(l->lock)
{
	while (may_delete(l)) {
		struct segment *s = l->gone;
		char name[32];

		l->gone = s->next;
		mutex_unlock(&l->lock);
		segment_name(s->number, name);
		if (unlinkat(l->dir_fd, name, 0) < 0)
			msg_debug("wback", "%s: %s", name,
				  msg_strerror(errno));
		segment_unref(s);
		mutex_lock(&l->lock);
	}
}

/* ---- syncing ---- */

enum { SYNC_FILES_MAX = 64 };

/* Sync what was appended by now, oldest file first. */
static int sync_now(struct log *l) REQUIRES(l->lock)
{
	struct segment *files[SYNC_FILES_MAX];
	uint64_t goal = l->appended;
	unsigned n = 0;
	bool dir = l->new_file;
	int r = 0;

	for (struct segment *s = l->first; s && n < SYNC_FILES_MAX; s = s->next)
		if (s->number >= l->unsynced)
			files[n++] = segment_ref(s);
	l->new_file = false;
	mutex_unlock(&l->lock);
	if (dir && fsync(l->dir_fd) < 0)
		r = -errno;
	for (unsigned k = 0; k < n; k++) {
		if (r == 0 && fdatasync(files[k]->fd) < 0)
			r = -errno;
	}
	mutex_lock(&l->lock);
	if (r == 0 && n < SYNC_FILES_MAX)
		l->durable = MAX(l->durable, goal);
	if (r == 0 && n > 0)
		l->unsynced = files[n - 1]->number;
	if (r < 0 && l->error == 0) {
		l->error = r;
		msg_error("write-back log: cannot be made durable: %s; changes "
			  "go to the server at once from now on",
			  msg_strerror(r));
	}
	cond_broadcast(&l->synced);
	mutex_unlock(&l->lock);
	for (unsigned k = 0; k < n; k++)
		segment_unref(files[k]);
	mutex_lock(&l->lock);
	return r;
}

static void *syncer_main(void *arg)
{
	struct log *l = arg;
	uint64_t due = clock_ms() + l->o.interval_ms;

	mutex_lock(&l->lock);
	while (!l->stop) {
		delete_gone(l);
		bool waited_for = l->wanted > l->durable && l->error == 0;

		if (!waited_for && !may_delete(l) && !l->stop &&
		    clock_ms() < due) {
			(void)cond_wait_until(&l->wake, &l->lock, due);
			continue;
		}
		if (l->durable < l->appended && l->error == 0)
			(void)sync_now(l);
		due = clock_ms() + l->o.interval_ms;
	}
	delete_gone(l);
	mutex_unlock(&l->lock);
	return NULL;
}

int log_sync(struct log *l, uint64_t seq)
{
	int r;

	mutex_lock(&l->lock);
	if (seq == 0 || seq > l->appended)
		seq = l->appended;
	l->wanted = MAX(l->wanted, seq);
	cond_signal(&l->wake);
	while (l->durable < seq && l->error == 0)
		cond_wait(&l->synced, &l->lock);
	r = l->durable < seq ? l->error : 0;
	mutex_unlock(&l->lock);
	return r;
}

uint64_t log_durable(struct log *l)
{
	uint64_t n;

	mutex_lock(&l->lock);
	n = l->durable;
	mutex_unlock(&l->lock);
	return n;
}

uint64_t log_last(struct log *l)
{
	uint64_t n;

	mutex_lock(&l->lock);
	n = l->appended;
	mutex_unlock(&l->lock);
	return n;
}

uint64_t log_bytes(struct log *l)
{
	uint64_t n = 0;

	mutex_lock(&l->lock);
	for (struct segment *s = l->first; s; s = s->next)
		n += s->next ? s->bytes : s->used;
	mutex_unlock(&l->lock);
	return n;
}

/* ---- opening ---- */

static int open_files(struct log *l, const char *dir, log_scan_fn *fn,
		      void *arg, char **ret_why)
{
	int r;

	l->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->dir_fd < 0)
		return -errno;
	/* Ours as long as the directory is open. */
	if (flock(l->dir_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	r = log_scan(l, fn, arg, ret_why);
	if (r < 0)
		return r;
	if (!l->first &&
	    getrandom(l->secret, SIP_KEY_BYTES, 0) != SIP_KEY_BYTES)
		return -EIO;
	log_derive_keys(l);
	/* Was it all on disk? To be sure, it is synced again. */
	l->durable = 0;
	l->new_file = true;
	return begin_segment(l, 0);
}

int log_open(const char *dir, const struct log_options *o, log_scan_fn *fn,
	     void *arg, struct log **ret, char **ret_why)
{
	static const struct sip_key zero;
	struct log *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->o = *o;
	l->dir_fd = -1;
	l->server_hash = sip_hash(&zero, o->server, strlen(o->server));
	mutex_init(&l->lock);
	cond_init(&l->wake);
	cond_init(&l->synced);
	r = open_files(l, dir, fn, arg, ret_why);
	if (r == 0)
		r = -pthread_create(&l->syncer, NULL, syncer_main, l);
	l->running = r == 0;
	if (r < 0) {
		log_close(l);
		return r;
	}
	*ret = l;
	return 0;
}

void log_close(struct log *l)
{
	if (!l)
		return;
	if (l->running) {
		(void)log_sync(l, 0);
		mutex_lock(&l->lock);
		l->stop = true;
		cond_signal(&l->wake);
		mutex_unlock(&l->lock);
		(void)pthread_join(l->syncer, NULL);
	}
	for (struct segment **list = &l->first; list;
	     list = list == &l->first ? &l->gone : NULL)
		while (*list) {
			struct segment *s = *list;

			*list = s->next;
			segment_unref(s);
		}
	if (l->dir_fd >= 0)
		(void)close(l->dir_fd);
	cond_destroy(&l->synced);
	cond_destroy(&l->wake);
	mutex_destroy(&l->lock);
	free(l);
}

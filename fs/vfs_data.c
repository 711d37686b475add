/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vfs_data.c: contents: read, write, fsync, fallocate; and the space left. */
#include <linux/falloc.h>

#include "change.h"
#include "fetch.h"
#include "flush.h"
#include "view.h"

/* What the server has of a range, zeros behind its end. */
static int fill_from_server(struct vfs *v, const struct caller *c,
			    uint64_t ino, uint64_t offset, uint32_t len,
			    uint8_t *buf)
{
	CLEANUP_SLICE struct slice got = { 0 };
	int r = fetch_read(v->fetch, c, ino, offset, len, &got);

	if (r < 0)
		return r;
	if (got.len > 0)
		memcpy(buf, got.at, got.len);
	memset(buf + got.len, 0, len - got.len);
	return 0;
}

/* The parts that the log has, and the rest from the server. */
static int read_mixed(struct vfs *v, const struct caller *c, uint64_t ino,
		      uint64_t offset, uint32_t count, struct slice *ret)
{
	CLEANUP_SLICE struct slice all = { 0 };
	struct meta_inode i;
	uint32_t done = 0;
	int r;

	meta_begin(v->meta);
	r = view_get(v, ino, &i);
	meta_end(v->meta);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	count = offset >= i.attr.size ?
			0 :
			(uint32_t)MIN((uint64_t)count, i.attr.size - offset);
	all.of = bytes_new(count);
	if (!all.of)
		return -ENOMEM;
	while (done < count && r == 0) {
		uint8_t *to = all.of->at + done;
		enum wback_source source;
		uint32_t n;

		r = wback_read(v->wback, ino, offset + done, count - done, to,
			       &source, &n);
		if (r == 0 && source == WBACK_ZERO)
			memset(to, 0, n);
		else if (r == 0 && source == WBACK_SERVER)
			r = fill_from_server(v, c, ino, offset + done, n, to);
		done += n;
	}
	if (r < 0)
		return r;
	all.at = all.of->at;
	all.len = done;
	*ret = slice_ref(&all);
	return 0;
}

int vfs_read(struct vfs *v, const struct caller *c, uint64_t ino,
	     uint64_t offset, uint32_t count, struct slice *ret)
{
	struct wback_view w;
	int r;

	if (v->wback && wback_get(v->wback, ino, &w))
		r = read_mixed(v, c, ino, offset, count, ret);
	else
		r = fetch_read(v->fetch, c, ino, offset, count, ret);
	if (r == 0)
		stats_add(&v->stats->bytes_read, ret->len);
	return r;
}

int vfs_write(struct vfs *v, const struct caller *c, uint64_t ino,
	      uint64_t offset, const void *data, uint32_t len)
{
	struct change ch = { .op = CHANGE_WRITE, .obj.ino = ino,
			     .offset = offset, .data = data, .len = len };
	int r;

	meta_begin(v->meta);
	r = view_get(v, ino, &ch.obj);
	meta_end(v->meta);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	r = change_apply(v, c, &ch);
	if (r == 0)
		stats_add(&v->stats->bytes_written, len);
	return r;
}

int vfs_fsync(struct vfs *v, const struct caller *c, uint64_t ino)
{
	struct wback_view w;
	int r = 0;

	if (v->wback && wback_get(v->wback, ino, &w)) {
		r = wback_sync(v->wback, 0);
		if (r == 0 && v->config->fsync_server)
			r = flush_wait_for(v->flush, ino, c->intr);
		/* What the server refuses is told here, as a disk's error. */
		if (r == 0 && wback_get(v->wback, ino, &w))
			r = w.error;
	}
	/* Data that went through is stable since its WRITE was answered; a time
	 * may be pending. */
	return r < 0 ? r : times_flush(v->times, ino);
}

/* ---- fallocate ---- */

static int write_zeros(struct vfs *v, const struct caller *c, uint64_t ino,
		       uint64_t offset, uint64_t len)
{
	enum { ZEROS = 64 * 1024 };
	CLEANUP_FREE char *zeros = calloc(1, ZEROS);
	int r = zeros ? 0 : -ENOMEM;

	while (len > 0 && r == 0) {
		uint32_t n = (uint32_t)MIN(len, (uint64_t)ZEROS);

		r = vfs_write(v, c, ino, offset, zeros, n);
		offset += n;
		len -= n;
	}
	return r;
}

static int grow(struct vfs *v, const struct caller *c, uint64_t ino,
		uint64_t size)
{
	struct remote_sattr set = { .valid = REMOTE_SET_SIZE, .size = size };
	struct vfs_entry ignored;

	return vfs_setattr(v, c, ino, &set, &ignored);
}

/* NFSv3 cannot reserve space nor punch holes. What applications can observe is
 * done all the same: the size grows, the range reads as zeros. Space is not
 * reserved: a later write may still meet ENOSPC. */
int vfs_fallocate(struct vfs *v, const struct caller *c, uint64_t ino, int mode,
		  uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len, zero_end;
	struct meta_inode i;
	int r;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
		     FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	r = vfs_inode(v, c, ino, meta_now(v->meta), &i);
	if (r < 0)
		return r;
	if (end < offset || (v->fsinfo.file_size_max &&
			     end > v->fsinfo.file_size_max))
		return -EFBIG;
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		zero_end = MIN(end, i.attr.size);
		if (offset < zero_end)
			r = write_zeros(v, c, ino, offset, zero_end - offset);
	}
	if (r == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && end > i.attr.size)
		r = grow(v, c, ino, end);
	return r;
}

/* ---- space ---- */

/* The space left is believed like everything else, for the trust window, but
 * only for a second once we have changed something ourselves. find(1) asks for
 * it in every directory. */
static bool space_known(struct vfs *v, struct remote_fsstat *ret)
{
	enum { FRESH_MS = 1000 };
	uint64_t ac = vfs_ac_ms(v);
	uint64_t trust_ms = ac == CONFIG_AC_FOREVER ? UINT64_MAX : ac;
	uint64_t age;
	bool known;

	mutex_lock(&v->lock);
	age = clock_ms() - v->fsstat_ms;
	known = v->fsstat_ms != 0 &&
		(age < (v->fsstat_seq == vfs_sent(v) ? trust_ms : FRESH_MS) ||
		 remote_retry_is_away(v->remote));
	if (known)
		*ret = v->fsstat;
	mutex_unlock(&v->lock);
	return known;
}

void vfs_space_learn(struct vfs *v, const struct remote_fsstat *now,
		     uint64_t seq)
{
	mutex_lock(&v->lock);
	v->fsstat = *now;
	v->fsstat_ms = clock_ms();
	v->fsstat_seq = seq;
	mutex_unlock(&v->lock);
}

/* What the server does not know yet is, or was, in a directory that it does. */
static uint64_t known_to_server(struct vfs *v, uint64_t ino)
{
	enum { DEPTH_MAX = 4096 };
	struct meta_inode i;

	meta_begin(v->meta);
	for (unsigned depth = 0; depth < DEPTH_MAX && ino != META_ROOT; depth++) {
		int r = view_get(v, ino, &i);

		if (r == 0 && i.handle.len > 0)
			break;
		ino = r == 0 ? i.parent : META_ROOT;
	}
	meta_end(v->meta);
	return ino;
}

int vfs_statfs(struct vfs *v, const struct caller *c, uint64_t ino,
	       struct remote_fsstat *ret, uint32_t *ret_name_max)
{
	uint64_t seq = vfs_sent(v);
	struct remote_call *call;
	int r;

	*ret_name_max = MIN(v->pathconf.name_max, (uint32_t)NAME_BYTES_MAX);
	if (space_known(v, ret))
		return 0;
	call = remote_call_new(REMOTE_FSSTAT, NULL, NULL);
	if (!call)
		return -ENOMEM;
	r = vfs_run(v, c, known_to_server(v, ino), call);
	if (r == 0) {
		*ret = call->fsstat;
		vfs_space_learn(v, &call->fsstat, seq);
	}
	remote_call_unref(call);
	return r;
}

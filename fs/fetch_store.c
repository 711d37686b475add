/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fetch_store.c: fetches whole files into the content cache, for later (`nfsrootfs
 * warm --data`). Nothing of it stays in memory: a reply is handed to the cache,
 * and asks for the next stretch, so that a file has PARTS_MAX calls under way at
 * most. Whoever starts many files bounds their number, and starts none while
 * fetch_store_is_busy().
 *
 * A storing is freed by its last reply, after it was told.
 */
#include "fetch_int.h"

enum { PARTS_MAX = 4, BUSY_BYTES = 16 * 1024 * 1024 };

struct storing {
	struct fetch *f;
	struct source s;
	fetch_stored_fn *done;
	void *arg;

	struct mutex lock; /* guards what follows */
	uint64_t next;	   /* to be asked for */
	unsigned parts;	   /* under way, and whoever asks for more */
	int status;
};

static void part_done(struct remote_call *call, void *arg);

static int ask_part(struct storing *st, uint64_t offset, uint32_t len)
{
	struct remote_call *call =
		remote_call_new(REMOTE_READ, &st->s.fh, NULL);

	if (!call)
		return -ENOMEM;
	call->offset = offset;
	call->count = len;
	call->background = true;
	(void)__atomic_add_fetch(&st->f->storing, len, __ATOMIC_RELAXED);
	vfs_submit(st->f->v, call, part_done, st);
	return 0;
}

/* The caller's part is over; ask for what may be under way instead. */
static void go_on(struct storing *st, int status)
{
	uint64_t most = st->f->v->fsinfo.read_max;
	bool over;

	mutex_lock(&st->lock);
	if (st->status == 0)
		st->status = status;
	while (st->status == 0 && st->next < st->s.v.size &&
	       st->parts <= PARTS_MAX) {
		uint64_t at = st->next;
		uint32_t n = (uint32_t)MIN(most, st->s.v.size - at);
		int r;

		st->next += n;
		st->parts++;
		mutex_unlock(&st->lock);
		r = ask_part(st, at, n);
		mutex_lock(&st->lock);
		if (r < 0) {
			st->status = r;
			st->parts--;
		}
	}
	over = --st->parts == 0;
	status = st->status;
	mutex_unlock(&st->lock);
	if (!over)
		return;
	st->done(st->arg, status, st->s.v.size);
	mutex_destroy(&st->lock);
	free(st);
}

static int keep(struct storing *st, const struct remote_call *call)
{
	const struct slice data = remote_call_data(call);

	if (call->status < 0)
		return call->status;
	if (!call->has_attr || !fetch_is_version(&st->s, &call->attr))
		return -ESTALE; /* it changed meanwhile */
	if (call->data_len < call->count)
		return -EREMOTEIO;
	return blob_write(st->f->blob, st->s.ino, &st->s.v, call->offset,
			  &data);
}

/* In a thread of the remote. */
static void part_done(struct remote_call *call, void *arg)
{
	struct storing *st = arg;
	struct vfs *v = st->f->v;

	(void)__atomic_sub_fetch(&st->f->storing, call->count,
				 __ATOMIC_RELAXED);
	go_on(st, keep(st, call));
	vfs_submitted(v);
}

int fetch_store(struct fetch *f, uint64_t ino, uint64_t bytes_max,
		fetch_stored_fn *done, void *arg)
{
	struct meta_inode i;
	struct storing *st;
	struct source s;
	bool clean;
	int r;

	meta_begin(f->v->meta);
	r = meta_get(f->v->meta, ino, &i);
	clean = r == 0 && fetch_source(f->v, &i, &s) &&
		!view_is_pending(f->v, ino);
	meta_end(f->v->meta);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	if (!f->blob || !clean || s.v.size == 0 || s.v.size > bytes_max ||
	    !s.settled || blob_has(f->blob, ino, &s.v, 0, s.v.size))
		return 1;
	st = calloc(1, sizeof(*st));
	if (!st)
		return -ENOMEM;
	*st = (struct storing){ .f = f, .s = s, .done = done, .arg = arg };
	mutex_init(&st->lock);
	st->parts = 1; /* ours */
	go_on(st, 0);
	return 0;
}

bool fetch_store_is_busy(struct fetch *f)
{
	struct blob_stats s = { 0 };

	if (f->blob)
		blob_get_stats(f->blob, &s);
	return s.queued + __atomic_load_n(&f->storing, __ATOMIC_RELAXED) >
	       BUSY_BYTES;
}

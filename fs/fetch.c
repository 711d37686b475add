/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fetch.c: see fetch.h. A read takes what is in memory (fetch_span.c), then what
 * the content cache has, and asks for the rest; whoever wants what is asked for
 * already waits for the same answer.
 *
 * What is in memory goes when it was read to its end: the kernel has it in its
 * page cache, and the content cache on disk. What nobody has wanted yet stays
 * until others need the room.
 */
#include "fetch_int.h"

enum { WAIT_POLL_MS = 100, KEEP_BYTES = 1024 * 1024 };

static int look(struct fetch *f, uint64_t ino, struct source *ret)
{
	struct meta_inode i;
	int r;

	meta_begin(f->v->meta);
	r = meta_get(f->v->meta, ino, &i);
	if (r == 0 && !fetch_source(f->v, &i, ret))
		r = -ENOENT;
	meta_end(f->v->meta);
	return r == -ENOENT ? -ESTALE : r;
}

/* ---- reading ---- */

/* Until the span, of which the caller has a reference, is no longer ASKED. */
static int wait_arrived(struct fetch *f, const struct caller *c,
			const struct span *span) REQUIRES(f->lock)
{
	while (span->state == SPAN_ASKED) {
		if (c->intr && remote_intr_is_fatal(c->intr))
			return -EINTR;
		(void)cond_wait_until(&f->arrived, &f->lock,
				      clock_ms() + WAIT_POLL_MS);
	}
	return span->state == SPAN_FAILED ? span->status : 0;
}

struct read {
	uint64_t ino, pos, end;
	struct slice got;   /* in front of pos */
	struct bytes *room; /* ours, with what was got in front; NULL: none */
	bool eof;
	bool was_ahead; /* something was here that had been asked for ahead */
};

/* For all that is wanted, with what was got. */
static int make_room(struct read *rd)
{
	if (rd->room)
		return 0;
	rd->room = bytes_new(rd->got.len + (rd->end - rd->pos));
	if (!rd->room)
		return -ENOMEM;
	memcpy(rd->room->at, rd->got.at, rd->got.len);
	bytes_unref(rd->got.of);
	rd->got.of = rd->room;
	rd->got.at = rd->room->at;
	return 0;
}

/* Without a copy, if it is all that was wanted, as it mostly is. */
static int append(struct read *rd, const struct slice *more)
{
	if (more->len == 0)
		return 0;
	if (!rd->got.of) {
		rd->got = slice_ref(more);
	} else if (make_room(rd) == 0) {
		memcpy(rd->room->at + rd->got.len, more->at, more->len);
		rd->got.len += more->len;
	} else {
		return -ENOMEM;
	}
	rd->pos += more->len;
	return 0;
}

/* What the span has, with a reference. It was read to its end: it goes. */
static struct slice take(struct fetch *f, struct span *span, struct read *rd)
	REQUIRES(f->lock)
{
	struct slice part = { 0 };
	uint64_t skip = rd->pos - span->offset;
	uint32_t n = span->len > skip ? span->len - (uint32_t)skip : 0;

	n = (uint32_t)MIN((uint64_t)n, rd->end - rd->pos);
	rd->eof = span->eof && skip + n >= span->len;
	if (n > 0) { /* else the reply was shorter than asked for */
		part = slice_ref(&span->data);
		part.at += skip;
		part.len = n;
	}
	if (skip + n >= span->len || !span->solid)
		span_drop(f, span);
	return part;
}

/* 1: some of the range was in memory, or on its way; 0: its start is not; or
 * -errno. */
static int from_memory(struct fetch *f, const struct caller *c,
		       const struct source *s, struct read *rd)
{
	CLEANUP_SLICE struct slice part = { 0 };
	struct span *span;
	struct attr attr;
	struct moment when;
	bool fresh;
	int r;

	mutex_lock(&f->lock);
	span = span_get(f, s, rd->pos);
	if (!span) {
		mutex_unlock(&f->lock);
		return 0;
	}
	if (span->ahead) {
		span->ahead = false;
		rd->was_ahead = true;
	}
	r = wait_arrived(f, c, span);
	if (r == 0)
		part = take(f, span, rd);
	else if (r != -EINTR)
		span_drop(f, span);
	fresh = r == 0 && span->fresh;
	span->fresh = false;
	attr = span->attr;
	when = span->when;
	span_unref(f, span);
	mutex_unlock(&f->lock);
	if (fresh)
		(void)vfs_record_attr(f->v, s->ino, &attr, &when);
	if (r == 0)
		r = append(rd, &part);
	return r < 0 ? r : 1;
}

static bool from_blob(struct fetch *f, const struct source *s, struct read *rd)
{
	CLEANUP_SLICE struct slice part = { 0 };

	return f->blob &&
	       blob_read(f->blob, s->ino, &s->v, rd->pos,
			 (uint32_t)(rd->end - rd->pos), &part) == 0 &&
	       part.len > 0 && append(rd, &part) == 0;
}

/* Ask for what is wanted, a small file as a whole, else whole chunks. */
static int demand(struct fetch *f, const struct source *s, struct read *rd)
{
	uint64_t from = rd->pos - rd->pos % BLOB_CHUNK_BYTES, to;
	uint32_t most = f->v->fsinfo.read_max;
	int r = 0;

	to = (rd->end + BLOB_CHUNK_BYTES - 1) / BLOB_CHUNK_BYTES *
	     BLOB_CHUNK_BYTES;
	if (from == 0)
		to = MAX(to, (uint64_t)FETCH_WHOLE_BYTES);
	to = MIN(to, MAX(s->v.size, rd->end));
	if (most < BLOB_CHUNK_BYTES || span_is_here(f, s, from))
		from = rd->pos;
	for (; from < to && r == 0; from += most)
		r = fetch_ask(f, s, from, (uint32_t)MIN((uint64_t)most,
							to - from), false);
	return r;
}

/* The handle is no longer valid: look the file up again, and do without all
 * that is said above. */
static int read_again(struct fetch *f, const struct caller *c, struct read *rd)
{
	struct moment when = vfs_moment(f->v);
	struct remote_call *call = remote_call_new(REMOTE_READ, NULL, NULL);
	struct slice data;
	int r;

	if (!call)
		return -ENOMEM;
	call->offset = rd->pos;
	call->count = (uint32_t)MIN(rd->end - rd->pos,
				    (uint64_t)f->v->fsinfo.read_max);
	r = vfs_run(f->v, c, rd->ino, call);
	if (r == 0) {
		data = remote_call_data(call);
		r = append(rd, &data);
		rd->eof = call->eof || call->data_len == 0;
		if (call->has_attr)
			(void)vfs_record_attr(f->v, rd->ino, &call->attr,
					      &when);
	}
	remote_call_unref(call);
	return r;
}

static bool is_here(struct fetch *f, const struct source *s, uint64_t offset)
{
	return offset >= s->v.size || span_is_here(f, s, offset) ||
	       (f->blob && blob_has(f->blob, s->ino, &s->v, offset, 1));
}

/* What is here is good for a file that the server confirmed within the trust
 * window; a READ confirms it by itself. With no window at all the kernel has
 * asked, just before. */
static int confirm(struct fetch *f, const struct caller *c, struct read *rd,
		   struct source *s)
{
	enum { JUST_US = 1000000 };
	uint64_t now = meta_now(f->v->meta);
	struct meta_inode i;
	int r;

	if (vfs_trusts(f->v, s->checked, now - MIN(now, (uint64_t)JUST_US)) ||
	    !is_here(f, s, rd->pos))
		return 0;
	r = vfs_inode(f->v, c, s->ino, now, &i);
	return r < 0 ? r : look(f, s->ino, s);
}

static int step(struct fetch *f, const struct caller *c,
		const struct source *s, struct read *rd, bool *missed)
{
	int r = from_memory(f, c, s, rd);

	if (r == -ESTALE)
		return read_again(f, c, rd);
	if (r != 0)
		return MIN(r, 0);
	if (from_blob(f, s, rd))
		return 0;
	r = demand(f, s, rd);
	if (r == 0 && s->v.size > FETCH_WHOLE_BYTES)
		ahead_stretch(f, s, rd->pos, rd->end);
	else if (r == 0 && !*missed && s->v.size <= BLOB_CHUNK_BYTES)
		ahead_file(f, s, true);
	*missed = true;
	return r;
}

int fetch_read(struct fetch *f, const struct caller *c, uint64_t ino,
	       uint64_t offset, uint32_t count, struct slice *ret)
{
	struct read rd = { .ino = ino, .pos = offset };
	struct stats *stats = f->v->stats;
	struct source s;
	bool missed = false;
	int r = look(f, ino, &s);

	rd.end = offset + count;
	if (r == 0)
		r = confirm(f, c, &rd, &s);
	/* Once the server was asked, it says where the file ends now. */
	while (r == 0 && rd.pos < rd.end && !rd.eof &&
	       (missed || rd.pos < s.v.size))
		r = step(f, c, &s, &rd, &missed);
	if (r < 0) {
		slice_done(&rd.got);
		return r;
	}
	*ret = rd.got;
	if (missed)
		stats_add(&stats->data_misses, 1);
	else
		stats_add(&stats->data_hits, 1);
	if (rd.was_ahead)
		stats_add(&stats->data_ahead_used, 1);
	if (rd.was_ahead && s.v.size <= BLOB_CHUNK_BYTES)
		ahead_file(f, &s, false);
	else if (rd.was_ahead && s.v.size > FETCH_WHOLE_BYTES)
		ahead_stretch(f, &s, offset, rd.pos);
	return 0;
}

/* ---- our own changes ---- */

void fetch_forget(struct fetch *f, uint64_t ino)
{
	struct file *file;

	mutex_lock(&f->lock);
	file = span_find_file(f, ino);
	if (file)
		span_drop_file(f, file);
	mutex_unlock(&f->lock);
}

static int keep_part(struct fetch *f, const struct wback_job *job,
		     const struct blob_version *v, uint64_t at, uint32_t n)
{
	struct bytes *of = bytes_new(n);
	CLEANUP_SLICE struct slice data = { .of = of, .len = n };
	int r;

	if (!of)
		return -ENOMEM;
	data.at = of->at;
	r = wback_job_read(f->v->wback, job, at, n, of->at);
	if (r == 0)
		r = blob_write(f->blob, job->obj.ino, v, at, &data);
	if (r == -EAGAIN) { /* nobody waits for us */
		blob_flush(f->blob);
		r = blob_write(f->blob, job->obj.ino, v, at, &data);
	}
	return r;
}

void fetch_keep(struct fetch *f, const struct wback_job *job,
		const struct attr *now)
{
	const struct blob_version v = { .size = now->size, .mtime = now->mtime,
					.ctime = now->ctime };

	fetch_forget(f, job->obj.ino);
	if (!f->blob)
		return;
	for (unsigned k = 0; k < job->extents_n; k++) {
		const struct wback_extent *x = &job->extents[k];
		uint64_t end = x->offset + x->len;
		for (; k + 1 < job->extents_n &&
		       job->extents[k + 1].offset == end; k++)
			end += job->extents[k + 1].len;
		uint64_t at = (x->offset + BLOB_CHUNK_BYTES - 1) /
			      BLOB_CHUNK_BYTES * BLOB_CHUNK_BYTES;

		while (at < end) {
			uint32_t n = (uint32_t)MIN((uint64_t)KEEP_BYTES,
						   end - at);

			if (keep_part(f, job, &v, at, n) < 0)
				return;
			at += n;
		}
	}
}

/* ---- opening and closing ---- */

int fetch_open(struct vfs *v, struct blob *blob, struct fetch **ret)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->v = v;
	f->blob = blob;
	mutex_init(&f->lock);
	cond_init(&f->arrived);
	TAILQ_INIT(&f->files);
	TAILQ_INIT(&f->spans);
	*ret = f;
	return 0;
}

void fetch_close(struct fetch *f)
{
	if (!f)
		return;
	mutex_lock(&f->lock);
	while (!TAILQ_EMPTY(&f->files))
		span_drop_file(f, TAILQ_FIRST(&f->files));
	mutex_unlock(&f->lock);
	cond_destroy(&f->arrived);
	mutex_destroy(&f->lock);
	free(f);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fetch_span.c: owns what of files' contents is in memory: spans, each the
 * answer, or soon the answer, to one READ; and asks for them.
 *
 * Contents belong to a version of the file: its size, its mtime, and its ctime
 * as of the last change that may have been one of the contents. A reply of
 * another version than was asked for serves who waits for it, and nobody else.
 * Only a version that cannot be mistaken for a later one is kept on disk
 * (vfs_is_settled()), or one that we made ourselves.
 *
 * When there is no room for more, what is here goes, least recently asked for
 * first.
 */
#include "fetch_int.h"

/* ---- versions ---- */

static bool version_equal(const struct blob_version *a,
			  const struct blob_version *b)
{
	return a->size == b->size && timespec_equal(&a->mtime, &b->mtime) &&
	       timespec_equal(&a->ctime, &b->ctime);
}

bool fetch_source(struct vfs *v, const struct meta_inode *i, struct source *ret)
{
	*ret = (struct source){
		.ino = i->ino, .dir = i->parent, .fh = i->handle,
		.v = { .size = i->attr.size, .mtime = i->server_mtime,
		       .ctime = i->data_ctime },
		.ctime = i->server_ctime,
		.any_ctime = i->flags & META_CTIME_OURS,
		.settled = vfs_is_settled(v, &i->data_ctime),
		.checked = i->checked,
	};
	return S_ISREG(i->attr.mode) && i->handle.len > 0;
}

bool fetch_is_version(const struct source *s, const struct attr *a)
{
	return a->size == s->v.size && timespec_equal(&a->mtime, &s->v.mtime) &&
	       (s->any_ctime || timespec_equal(&a->ctime, &s->ctime));
}

/* ---- files and spans; under the lock ---- */

static struct file_head *head_of(struct fetch *f, uint64_t ino)
{
	return &f->heads[(ino * 0x9E3779B97F4A7C15u >> 32) % FETCH_HEADS];
}

struct file *span_find_file(struct fetch *f, uint64_t ino)
{
	struct file *file;

	LIST_FOREACH(file, head_of(f, ino), of_head)
		if (file->s.ino == ino)
			return file;
	return NULL;
}

void span_unref(struct fetch *f, struct span *span)
{
	if (--span->refs > 0)
		return;
	f->bytes -= span->charged;
	slice_done(&span->data);
	free(span);
}

/* Nobody finds it any more. */
void span_drop(struct fetch *f, struct span *span)
{
	if (!span->file)
		return;
	if (span->ahead)
		ahead_wasted(f, span);
	TAILQ_REMOVE(&span->file->spans, span, of_file);
	TAILQ_REMOVE(&f->spans, span, of_all);
	span->file = NULL;
	span_unref(f, span);
}

void span_drop_file(struct fetch *f, struct file *file)
{
	struct span *span;

	while ((span = TAILQ_FIRST(&file->spans)) != NULL)
		span_drop(f, span);
	TAILQ_REMOVE(&f->files, file, of_all);
	LIST_REMOVE(file, of_head);
	f->files_n--;
	free(file);
}

/* The file as of this version, new if need be; NULL without memory. */
static struct file *take_file(struct fetch *f, const struct source *s)
	REQUIRES(f->lock)
{
	struct file *file = span_find_file(f, s->ino);

	if (file && !version_equal(&file->s.v, &s->v)) {
		span_drop_file(f, file);
		file = NULL;
	}
	if (file) {
		TAILQ_REMOVE(&f->files, file, of_all);
	} else {
		if (f->files_n >= FETCH_FILES_MAX)
			span_drop_file(f, TAILQ_FIRST(&f->files));
		file = calloc(1, sizeof(*file));
		if (!file)
			return NULL;
		TAILQ_INIT(&file->spans);
		LIST_INSERT_HEAD(head_of(f, s->ino), file, of_head);
		f->files_n++;
	}
	file->s = *s;
	TAILQ_INSERT_TAIL(&f->files, file, of_all);
	return file;
}

/* The span that has @offset; or NULL and *@ret_next where the next one
 * begins. */
static struct span *span_at(struct file *file, uint64_t offset,
			    uint64_t *ret_next)
{
	struct span *span;

	*ret_next = UINT64_MAX;
	TAILQ_FOREACH(span, &file->spans, of_file) {
		if (offset < span->offset) {
			*ret_next = span->offset;
			return NULL;
		}
		if (offset - span->offset < span->len)
			return span;
	}
	return NULL;
}

static bool make_room(struct fetch *f, uint32_t len) REQUIRES(f->lock)
{
	struct span *span, *next;

	for (span = TAILQ_FIRST(&f->spans);
	     span && f->bytes + len > FETCH_BYTES_MAX; span = next) {
		next = TAILQ_NEXT(span, of_all);
		if (span->state != SPAN_ASKED && span->refs == 1)
			span_drop(f, span);
	}
	return f->bytes + len <= FETCH_BYTES_MAX;
}

static struct span *new_span(struct fetch *f, struct file *file,
			     uint64_t offset, uint32_t len, bool ahead)
	REQUIRES(f->lock)
{
	struct span *span = calloc(1, sizeof(*span)), *after;

	if (!span)
		return NULL;
	span->f = f;
	span->file = file;
	span->refs = 2; /* the file's, the call's */
	span->offset = offset;
	span->len = span->charged = len;
	span->ahead = ahead;
	f->bytes += len;
	TAILQ_FOREACH(after, &file->spans, of_file)
		if (after->offset > offset)
			break;
	if (after)
		TAILQ_INSERT_BEFORE(after, span, of_file);
	else
		TAILQ_INSERT_TAIL(&file->spans, span, of_file);
	TAILQ_INSERT_TAIL(&f->spans, span, of_all);
	return span;
}

/* ---- asking ---- */


/* In a thread of the remote. */
static void arrived(struct remote_call *call, void *arg)
{
	const struct slice data = remote_call_data(call);
	struct span *span = arg;
	struct fetch *f = span->f;
	struct vfs *v = f->v;
	struct source s = { 0 };
	bool solid = false;

	mutex_lock(&f->lock);
	if (span->file)
		s = span->file->s;
	mutex_unlock(&f->lock);
	if (call->status == 0 && call->has_attr && s.ino)
		solid = fetch_is_version(&s, &call->attr);
	if (solid && s.settled && f->blob)
		(void)blob_write(f->blob, s.ino, &s.v, call->offset, &data);

	mutex_lock(&f->lock);
	span->state = call->status < 0 ? SPAN_FAILED : SPAN_HERE;
	span->status = call->status;
	if (call->status == 0) {
		span->len = MIN(span->len, data.len);
		span->eof = call->eof || data.len == 0;
		span->data = slice_ref(&data);
		span->fresh = call->has_attr;
		span->attr = call->attr;
	}
	span->solid = solid;
	if (call->background)
		f->calls--;
	/* Asked for by nobody, and of no use to anybody later. */
	if (!solid && span->ahead)
		span_drop(f, span);
	span_unref(f, span);
	cond_broadcast(&f->arrived);
	mutex_unlock(&f->lock);
	vfs_submitted(v);
}

/* A span for what of the stretch is not in memory; NULL: its start is. */
static int plan(struct fetch *f, const struct source *s, uint64_t offset,
		uint32_t len, bool ahead, struct span **ret) REQUIRES(f->lock)
{
	struct file *file;
	uint64_t next;

	*ret = NULL;
	if (ahead && f->calls >= FETCH_CALLS_MAX)
		return -EAGAIN;
	if (!make_room(f, len) && ahead)
		return -EAGAIN;
	file = take_file(f, s);
	if (!file)
		return -ENOMEM;
	if (span_at(file, offset, &next))
		return 0;
	if (next - offset < len)
		len = (uint32_t)(next - offset);
	*ret = new_span(f, file, offset, len, ahead);
	if (!*ret)
		return -ENOMEM;
	f->calls += ahead;
	(*ret)->when = vfs_moment(f->v);
	return 0;
}

int fetch_ask(struct fetch *f, const struct source *s, uint64_t offset,
	      uint32_t len, bool ahead)
{
	struct remote_call *call = remote_call_new(REMOTE_READ, &s->fh, NULL);
	struct span *span;
	int r;

	if (!call)
		return -ENOMEM;
	mutex_lock(&f->lock);
	r = plan(f, s, offset, len, ahead, &span);
	if (span)
		len = span->len;
	mutex_unlock(&f->lock);
	if (!span) {
		remote_call_unref(call);
		return r;
	}
	call->offset = offset;
	call->count = len;
	call->background = ahead;
	if (ahead)
		stats_add(&f->v->stats->data_ahead, 1);
	vfs_submit(f->v, call, arrived, span);
	return 0;
}

struct span *span_get(struct fetch *f, const struct source *s, uint64_t offset)
{
	struct file *file = span_find_file(f, s->ino);
	struct span *span;
	uint64_t next;

	if (!file || !version_equal(&file->s.v, &s->v))
		return NULL;
	span = span_at(file, offset, &next);
	if (span)
		span->refs++;
	return span;
}

bool span_is_here(struct fetch *f, const struct source *s, uint64_t offset)
{
	struct span *span;

	mutex_lock(&f->lock);
	span = span_get(f, s, offset);
	if (span)
		span_unref(f, span);
	mutex_unlock(&f->lock);
	return span;
}

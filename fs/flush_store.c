/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flush_store.c: the steps of a STORE job: contents, up to PARTS_MAX calls side by
 * side, and the attributes. In the flusher's thread; no locks.
 */
#include "flush_int.h"

enum { PARTS_MAX = 8 };

/* The next stretch of contents without a gap, as much as one WRITE takes. */
static struct remote_call *next_write(struct sending *s)
{
	const struct wback_job *job = s->job;
	const struct wback_extent *x = &job->extents[s->extent];
	uint64_t offset = x->offset + s->done, end = offset;
	uint64_t max = s->f->v->fsinfo.write_max;
	struct remote_call *call;
	int r;

	while (s->extent < job->extents_n && end - offset < max) {
		x = &job->extents[s->extent];
		if (x->offset + s->done != end)
			break;
		uint64_t n = MIN(x->len - s->done, max - (end - offset));

		end += n;
		s->done += n;
		if (s->done == x->len) {
			s->extent++;
			s->done = 0;
		}
	}
	call = send_new_call(REMOTE_WRITE, &job->obj.fh, NULL);
	call->offset = offset;
	call->data_len = (uint32_t)(end - offset);
	call->data = malloc(call->data_len);
	if (!call->data)
		abort();
	r = wback_job_read(s->f->v->wback, job, offset, call->data_len,
			   call->data);
	if (r < 0) {
		remote_call_unref(call);
		s->error = r;
		return NULL;
	}
	call->stable = s->stable ? REMOTE_FILE_SYNC : REMOTE_UNSTABLE;
	s->f->bytes += call->data_len;
	return call;
}

static bool more_to_write(const struct sending *s)
{
	return s->extent < s->job->extents_n && s->error == 0;
}

bool store_fits_in_one(const struct sending *s)
{
	const struct wback_job *job = s->job;

	for (unsigned k = 1; k < job->extents_n; k++)
		if (job->extents[k - 1].offset + job->extents[k - 1].len !=
		    job->extents[k].offset)
			return false;
	return job->bytes <= s->f->v->fsinfo.write_max;
}

void store_write(struct sending *s)
{
	while (more_to_write(s) && s->parts < PARTS_MAX) {
		struct remote_call *call = next_write(s);

		if (call)
			send_call(s, call);
	}
	if (s->parts > 0)
		return;
	if (s->error < 0)
		send_failed(s, s->error);
	else
		send_step(s, s->stable ? STEP_FINAL : STEP_COMMIT);
}

static void note_verf(struct sending *s, const struct remote_call *call)
{
	if (s->verf_set && memcmp(s->verf, call->verf, sizeof(s->verf)) != 0)
		s->verf_changed = true;
	memcpy(s->verf, call->verf, sizeof(s->verf));
	s->verf_set = true;
}

/* The server took only the first part of it. */
static void write_rest(struct sending *s, const struct remote_call *call)
{
	struct remote_call *rest =
		send_new_call(REMOTE_WRITE, &s->job->obj.fh, NULL);

	rest->offset = call->offset + call->count;
	rest->data_len = call->data_len - call->count;
	rest->data = malloc(rest->data_len);
	if (!rest->data)
		abort();
	memcpy(rest->data, (char *)call->data + call->count, rest->data_len);
	rest->stable = s->stable ? REMOTE_FILE_SYNC : REMOTE_UNSTABLE;
	s->f->bytes += rest->data_len;
	send_call(s, rest);
}

void store_written(struct sending *s, struct remote_call *call)
{
	s->f->bytes -= call->data_len;
	s->resent |= call->attempts > 1;
	if (call->status < 0 && s->error == 0)
		s->error = call->status;
	if (call->status == 0) {
		send_take_attr(s, call);
		note_verf(s, call);
		if (call->stable == REMOTE_UNSTABLE)
			s->stable = false;
		/* Less than asked for, or nothing, which makes no sense. */
		if (call->count == 0)
			s->error = -EREMOTEIO;
	}
	if (call->status == 0 && s->error == 0 && call->count < call->data_len)
		write_rest(s, call);
	else
		store_write(s);
}

void store_committed(struct sending *s, struct remote_call *call)
{
	if (call->status < 0) {
		send_failed(s, call->status);
		return;
	}
	note_verf(s, call);
	if (!s->verf_changed) {
		send_step(s, STEP_FINAL);
		return;
	}
	/* The server restarted in between: what it had may be lost. */
	s->extent = 0;
	s->done = 0;
	s->verf_set = s->verf_changed = false;
	send_step(s, STEP_WRITE);
}

struct remote_call *store_final_call(struct sending *s)
{
	const struct wback_job *job = s->job;
	struct remote_call *call =
		send_new_call(REMOTE_SETATTR, &job->obj.fh, NULL);

	call->set = (struct remote_sattr){
		.valid = job->mask, .mode = job->attr.mode & 07777,
		.uid = job->attr.uid, .gid = job->attr.gid,
		.size = job->attr.size, .atime = job->attr.atime,
		.mtime = job->attr.mtime,
	};
	if (job->mask & (ATTR_UID | ATTR_GID) && !S_ISLNK(job->obj.mode))
		call->set.valid |= REMOTE_SET_MODE; /* see made() */
	return call;
}

/* The server does not know the object of a STORE any more. */
void store_lost(struct sending *s)
{
	struct handle fh;
	int r = conflict_make_anew(s->f->v, s->job, &fh);

	if (r == -ENODATA)
		r = -ESTALE;
	if (r < 0) {
		send_failed(s, r);
		return;
	}
	s->fh = s->job->obj.fh = fh;
	s->error = 0;
	s->extent = 0;
	s->done = 0;
	s->job->trunc = UINT64_MAX;
	send_step(s, s->job->extents_n ? STEP_WRITE : STEP_FINAL);
}

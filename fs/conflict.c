/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conflict.c: what others changed on the server under a change of ours that was
 * still to be sent. Our change wins the name; the server's version is kept
 * beside it, as NAME.conflict-HOST-DATE, and noted in the log, from where
 * `nfsrootfs conflicts` shows it. Nothing is overwritten unseen. What they removed
 * under a change of ours is made anew.
 *
 * These functions block: conflicts are rare, and the order of calls matters.
 */
#include "flush_int.h"

#include <time.h>

bool conflict_is_changed(const struct wback_ref *ref, const struct attr *now)
{
	return ref->size != now->size ||
	       !timespec_equal(&ref->mtime, &now->mtime);
}

static int run(struct vfs *v, struct remote_call *call)
{
	return call ? remote_run(v->remote, call, NULL, 0) : -ENOMEM;
}

/* NAME.conflict-HOST-20261126T101500, with a number from the second on. */
static void beside(const struct vfs *v, const char *name, unsigned n,
		   char ret[NAME_BYTES_MAX + 1])
{
	char tail[128], date[32];
	time_t now = time(NULL);
	struct tm tm;

	(void)strftime(date, sizeof(date), "%Y%m%dT%H%M%S",
		       gmtime_r(&now, &tm));
	if (n)
		(void)snprintf(tail, sizeof(tail), ".conflict-%.48s-%s.%u",
			       v->client, date, n);
	else
		(void)snprintf(tail, sizeof(tail), ".conflict-%.48s-%s",
			       v->client, date);
	(void)snprintf(ret, NAME_BYTES_MAX + 1, "%.*s%s",
		       (int)(NAME_BYTES_MAX - strlen(tail)), name, tail);
}

static bool exists(struct vfs *v, const struct handle *dir, const char *name)
{
	struct remote_call *call = remote_call_new(REMOTE_LOOKUP, dir, name);
	int r = run(v, call);

	remote_call_unref(call);
	return r != -ENOENT;
}

static int free_name(struct vfs *v, const struct handle *dir, const char *name,
		     char ret[NAME_BYTES_MAX + 1])
{
	for (unsigned n = 0; n < 1000; n++) {
		beside(v, name, n, ret);
		if (!exists(v, dir, ret))
			return 0;
	}
	return -EEXIST;
}

/* The directory has got a name that the cache does not know. */
static void note(struct vfs *v, uint64_t dir, const char *copy,
		 const char *of)
{
	struct meta_inode d;

	vfs_touch(v, dir);
	meta_begin(v->meta);
	if (meta_get(v->meta, dir, &d) == 0) {
		d.epoch++;
		d.flags &= ~(unsigned)META_COMPLETE;
		d.flags |= META_CTIME_OURS;
		d.checked = 0;
		(void)meta_put(v->meta, &d);
	}
	meta_end(v->meta);
	(void)wback_note_copy(v->wback, dir, copy, of);
	msg_warning("\"%s\" was changed on the server, too: its version is kept "
		    "beside ours as \"%s\"",
		    of, copy);
}

int conflict_move_aside(struct vfs *v, const struct wback_ref *dir,
			const char *name)
{
	char aside[NAME_BYTES_MAX + 1];
	struct remote_call *call;
	int r = free_name(v, &dir->fh, name, aside);

	if (r < 0)
		return r;
	call = remote_call_new(REMOTE_RENAME, &dir->fh, name);
	if (!call)
		return -ENOMEM;
	call->fh2 = dir->fh;
	strcpy(call->name2, aside);
	vfs_touch(v, dir->ino);
	r = run(v, call);
	remote_call_unref(call);
	if (r == 0)
		note(v, dir->ino, aside, name);
	return r;
}

/* ---- a copy of contents ---- */

struct search {
	uint64_t ino;
	char name[NAME_BYTES_MAX + 1];
};

static int search_fn(void *arg, uint64_t offset, const char *name,
		     const struct meta_name *n)
{
	struct search *s = arg;

	(void)offset;
	if (n->absent || n->ino != s->ino)
		return 0;
	strcpy(s->name, name);
	return 1;
}

/* By which name the server knows @obj, and in which directory. */
static int find_place(struct vfs *v, const struct wback_ref *obj,
		      struct meta_inode *ret_dir, char ret[NAME_BYTES_MAX + 1])
{
	struct search s = { .ino = obj->ino };
	struct meta_inode i;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, obj->ino, &i);
	if (r == 0)
		r = meta_get(v->meta, i.parent, ret_dir);
	if (r == 0)
		r = meta_names(v->meta, ret_dir->ino, 0, search_fn, &s);
	meta_end(v->meta);
	if (r < 0)
		return r;
	if (r == 0)
		(void)snprintf(s.name, sizeof(s.name), "inode-%llu",
			       (unsigned long long)obj->ino);
	strcpy(ret, s.name);
	return 0;
}

static int make_file(struct vfs *v, const struct handle *dir, const char *name,
		     const struct attr *a, struct handle *ret)
{
	struct remote_call *call = remote_call_new(REMOTE_CREATE, dir, name);
	int r;

	if (!call)
		return -ENOMEM;
	call->set = (struct remote_sattr){
		.valid = REMOTE_SET_MODE | REMOTE_SET_UID | REMOTE_SET_GID |
			 REMOTE_SET_MTIME,
		.mode = a->mode & 07777, .uid = a->uid, .gid = a->gid,
		.mtime = vfs_unique_time(v),
	};
	r = run(v, call);
	if (r == 0 && call->fh_out.len == 0) {
		struct remote_call *ask =
			remote_call_new(REMOTE_LOOKUP, dir, name);

		r = run(v, ask);
		if (r == 0)
			call->fh_out = ask->fh_out;
		remote_call_unref(ask);
	}
	if (r == 0)
		*ret = call->fh_out;
	remote_call_unref(call);
	return r;
}

/* One stretch; *@ret_n: how long it was, 0 at the end. */
static int copy_stretch(struct vfs *v, const struct handle *from,
			const struct handle *to, uint64_t offset,
			uint32_t *ret_n)
{
	struct remote_call *in = remote_call_new(REMOTE_READ, from, NULL);
	struct remote_call *out = remote_call_new(REMOTE_WRITE, to, NULL);
	int r = in && out ? 0 : -ENOMEM;

	*ret_n = 0;
	if (r == 0) {
		in->offset = offset;
		in->count = MIN(v->fsinfo.read_max, v->fsinfo.write_max);
		r = run(v, in);
	}
	if (r == 0 && in->data_len > 0) {
		out->offset = offset;
		out->data_of = STEAL_PTR(in->data_of);
		out->data = STEAL_PTR(in->data);
		out->data_len = in->data_len;
		out->stable = REMOTE_FILE_SYNC;
		r = run(v, out);
		*ret_n = MIN(out->count, out->data_len);
		if (r == 0 && *ret_n == 0)
			r = -EREMOTEIO;
	}
	remote_call_unref(in);
	remote_call_unref(out);
	return r;
}

static int set_times(struct vfs *v, const struct handle *fh,
		     const struct attr *a)
{
	struct remote_call *call = remote_call_new(REMOTE_SETATTR, fh, NULL);
	int r;

	if (!call)
		return -ENOMEM;
	call->set.valid = REMOTE_SET_MTIME | REMOTE_SET_ATIME;
	call->set.mtime = a->mtime;
	call->set.atime = a->atime;
	r = run(v, call);
	remote_call_unref(call);
	return r;
}

int conflict_copy_aside(struct vfs *v, const struct wback_ref *obj)
{
	char name[NAME_BYTES_MAX + 1], aside[NAME_BYTES_MAX + 1];
	struct remote_call *ask;
	struct meta_inode dir;
	struct handle fh;
	uint64_t offset = 0;
	uint32_t n = 1;
	struct attr a;
	int r = find_place(v, obj, &dir, name);

	if (r == 0)
		r = free_name(v, &dir.handle, name, aside);
	if (r < 0)
		return r;
	ask = remote_call_new(REMOTE_GETATTR, &obj->fh, NULL);
	r = run(v, ask);
	if (r == 0)
		a = ask->attr;
	remote_call_unref(ask);
	if (r == 0)
		r = make_file(v, &dir.handle, aside, &a, &fh);
	while (r == 0 && n > 0) {
		r = copy_stretch(v, &obj->fh, &fh, offset, &n);
		offset += n;
	}
	if (r == 0)
		r = set_times(v, &fh, &a);
	if (r == 0)
		note(v, dir.ino, aside, name);
	return r;
}

/* ---- made anew ---- */

static bool has_all(const struct wback_job *job)
{
	uint64_t end = 0;

	for (unsigned k = 0; k < job->extents_n; k++) {
		if (job->extents[k].offset != end)
			return job->trunc == 0;
		end += job->extents[k].len;
	}
	return end >= job->attr.size || job->trunc == 0;
}

int conflict_make_anew(struct vfs *v, const struct wback_job *job,
		       struct handle *ret)
{
	char name[NAME_BYTES_MAX + 1];
	struct meta_inode dir, i;
	struct attr a = job->attr;
	int r;

	if (S_ISDIR(job->obj.mode)) {
		struct wback_ref d = job->obj;

		r = conflict_make_dir_anew(v, &d);
		*ret = d.fh;
		return r;
	}
	if (!S_ISREG(job->obj.mode) || !has_all(job))
		return -ENODATA;
	r = find_place(v, &job->obj, &dir, name);
	if (r < 0)
		return r;
	meta_begin(v->meta);
	if (meta_get(v->meta, job->obj.ino, &i) == 0) {
		if (!(job->mask & ATTR_MODE))
			a.mode = i.attr.mode;
		if (!(job->mask & ATTR_UID))
			a.uid = i.attr.uid;
		if (!(job->mask & ATTR_GID))
			a.gid = i.attr.gid;
	}
	meta_end(v->meta);
	r = make_file(v, &dir.handle, name, &a, ret);
	if (r == -EEXIST) { /* replaced by another one */
		struct wback_ref d = { .ino = dir.ino, .fh = dir.handle };

		r = conflict_move_aside(v, &d, name);
		if (r == 0)
			r = make_file(v, &dir.handle, name, &a, ret);
	}
	return r;
}

/* ---- directories made anew ---- */

/* MKDIR @name in @dir, or the one that is there by now. */
static int make_dir(struct vfs *v, const struct wback_ref *dir,
		    const char *name, const struct attr *a,
		    struct remote_call **ret)
{
	struct remote_call *call = remote_call_new(REMOTE_MKDIR, &dir->fh, name);
	int r;

	if (!call)
		return -ENOMEM;
	call->set = (struct remote_sattr){
		.valid = REMOTE_SET_MODE | REMOTE_SET_UID | REMOTE_SET_GID,
		.mode = a->mode & 07777, .uid = a->uid, .gid = a->gid,
	};
	vfs_touch(v, dir->ino);
	r = run(v, call);
	vfs_touch(v, dir->ino);
	if ((r == 0 && (!call->has_attr || call->fh_out.len == 0)) ||
	    r == -EEXIST) {
		remote_call_unref(call);
		call = remote_call_new(REMOTE_LOOKUP, &dir->fh, name);
		r = run(v, call);
		if (r == 0 && (!call->has_attr || !S_ISDIR(call->attr.mode)))
			r = -EEXIST;
	}
	if (r < 0)
		remote_call_unref(call);
	else
		*ret = call;
	return r;
}

/* What the cache knows of its names is void. */
static void moved(struct vfs *v, uint64_t ino, const struct remote_call *call)
{
	struct meta_inode d;

	vfs_touch(v, ino);
	meta_begin(v->meta);
	view_claim(v, ino, &call->fh_out);
	if (meta_get(v->meta, ino, &d) == 0) {
		d.handle = call->fh_out;
		d.attr = call->attr;
		d.server_mtime = call->attr.mtime;
		d.server_ctime = call->attr.ctime;
		d.epoch++;
		d.flags &= ~(unsigned)META_COMPLETE;
		d.checked = 0;
		(void)meta_put(v->meta, &d);
	}
	wback_moved(v->wback, ino, &call->fh_out);
	meta_end(v->meta);
}

static int is_lost(struct vfs *v, const struct handle *fh)
{
	struct remote_call *call = remote_call_new(REMOTE_GETATTR, fh, NULL);
	int r = run(v, call);

	remote_call_unref(call);
	return r == -ESTALE ? 0 : r < 0 ? r : -ENODATA;
}

/* Of @d, which the server knows by this handle as far as we know. */
static int make_lost_dir(struct vfs *v, const struct meta_inode *d,
			 unsigned depth, struct handle *ret)
{
	enum { DEPTH_MAX = 256 };
	struct wback_ref obj = { .ino = d->ino }, up;
	char name[NAME_BYTES_MAX + 1];
	struct remote_call *call;
	struct meta_inode parent;
	int r = d->ino == META_ROOT || depth == DEPTH_MAX ?
			-ESTALE :
			find_place(v, &obj, &parent, name);

	if (r < 0)
		return r;
	up = (struct wback_ref){ .ino = parent.ino, .fh = parent.handle };
	r = make_dir(v, &up, name, &d->attr, &call);
	if (r == -ESTALE) {
		r = make_lost_dir(v, &parent, depth + 1, &up.fh);
		if (r == 0)
			r = make_dir(v, &up, name, &d->attr, &call);
	} else if (r == -EEXIST) { /* it is no directory any more */
		r = conflict_move_aside(v, &up, name);
		if (r == 0)
			r = make_dir(v, &up, name, &d->attr, &call);
	}
	if (r < 0)
		return r;
	msg_warning("directory \"%s\" was removed on the server, with changes "
		    "pending in it: it is made anew", name);
	moved(v, d->ino, call);
	*ret = call->fh_out;
	remote_call_unref(call);
	return 0;
}

int conflict_make_dir_anew(struct vfs *v, struct wback_ref *dir)
{
	struct meta_inode d;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, dir->ino, &d);
	meta_end(v->meta);
	if (r < 0)
		return r;
	if (!handle_equal(&d.handle, &dir->fh)) { /* for another change */
		dir->fh = d.handle;
		return 0;
	}
	r = is_lost(v, &dir->fh);
	return r < 0 ? r : make_lost_dir(v, &d, 0, &dir->fh);
}

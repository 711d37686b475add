/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hold.c: unlinked files that may still be open.
 *
 * NFSv3 removes a file at once, open or not, and the kernel, which is told never
 * to send OPEN, does not say which files are open. But it does say, by FORGET,
 * when nothing uses an inode any more, and of an unlinked one it says so at
 * once. So the last name of a regular file is not removed but renamed into a
 * holding directory (HOLD_NAME, at the root of the file's filesystem on the
 * server), and removed there when the kernel forgets it. No .nfsXXXX is left in
 * the file's own directory, which can thus be removed.
 *
 * What a crash leaves in the holding directory is removed at the next mount;
 * names begin with this machine's name, so that another client's stay.
 *
 * vfs.hold[] (under vfs.lock) remembers the holding directory of each of the
 * server's filesystems.
 */
#include "vfs_int.h"

void hold_name(const struct vfs *v, uint64_t ino, char ret[NAME_BYTES_MAX + 1])
{
	(void)snprintf(ret, NAME_BYTES_MAX + 1, "%s.%016llx", v->client,
		       (unsigned long long)ino);
}

static bool find_dir(struct vfs *v, uint64_t fsid, struct handle *ret)
{
	bool found = false;

	mutex_lock(&v->lock);
	for (unsigned k = 0; k < v->hold_n && !found; k++)
		if (v->hold[k].fsid == fsid) {
			*ret = v->hold[k].fh;
			found = true;
		}
	mutex_unlock(&v->lock);
	return found;
}

static void remember_dir(struct vfs *v, uint64_t fsid, const struct handle *fh)
{
	mutex_lock(&v->lock);
	if (v->hold_n < HOLD_DIRS_MAX)
		v->hold[v->hold_n++] = (struct hold_dir){ fsid, *fh };
	mutex_unlock(&v->lock);
}

static int find_on_server(struct vfs *v, const struct handle *root,
			  struct handle *ret)
{
	struct remote_call *call =
		remote_call_new(REMOTE_LOOKUP, root, HOLD_NAME);
	int r = call ? remote_run(v->remote, call, NULL, 0) : -ENOMEM;
	struct remote_call *ask = NULL;

	if (r == 0 && !call->has_attr) { /* servers may leave them out */
		ask = remote_call_new(REMOTE_GETATTR, &call->fh_out, NULL);
		r = ask ? remote_run(v->remote, ask, NULL, 0) : -ENOMEM;
		if (r == 0)
			call->attr = ask->attr;
	}
	if (r == 0 && !S_ISDIR(call->attr.mode))
		r = -ENOTDIR;
	if (r == 0)
		*ret = call->fh_out;
	remote_call_unref(ask);
	remote_call_unref(call);
	return r;
}

static void removed(struct remote_call *call, void *arg)
{
	if (call->status < 0 && call->status != -ENOENT)
		msg_debug("vfs", "cannot remove the held file %s: %s",
			  call->name, msg_strerror(call->status));
	vfs_submitted(arg);
}

static void remove_later(struct vfs *v, const struct handle *dir,
			 const char *name)
{
	struct remote_call *call = remote_call_new(REMOTE_REMOVE, dir, name);

	if (!call)
		return;
	call->background = true;
	vfs_submit(v, call, removed, v);
}

/* Remove what an earlier mount of this machine's left. */
static void clean(struct vfs *v, const struct handle *dir)
{
	size_t prefix = strlen(v->client);
	uint8_t verf[8] = { 0 };
	uint64_t cookie = 0;
	bool eof = false;

	while (!eof) {
		struct remote_call *call =
			remote_call_new(REMOTE_READDIRPLUS, dir, NULL);

		if (!call)
			return;
		call->cookie = cookie;
		memcpy(call->verf, verf, sizeof(verf));
		call->count = v->config->listing_bytes;
		if (remote_run(v->remote, call, NULL, 0) < 0)
			eof = true;
		for (size_t k = 0; !eof && k < call->entries_n; k++) {
			const char *name = call->entries[k].name;

			if (strncmp(name, v->client, prefix) == 0 &&
			    name[prefix] == '.')
				remove_later(v, dir, name);
			cookie = call->entries[k].cookie;
		}
		eof = eof || call->eof || call->entries_n == 0;
		memcpy(verf, call->verf, sizeof(verf));
		remote_call_unref(call);
	}
}

int hold_open(struct vfs *v, const struct handle *root)
{
	struct meta_inode i;
	struct handle dir;
	int r = find_on_server(v, root, &dir);

	if (r < 0 || v->config->read_only)
		return 0; /* made when it is needed */
	meta_begin(v->meta);
	r = meta_get(v->meta, META_ROOT, &i);
	meta_end(v->meta);
	if (r < 0)
		return r;
	remember_dir(v, i.attr.fsid, &dir);
	clean(v, &dir);
	return 0;
}

/* The topmost directory on the filesystem that @i is on. */
static int root_of(struct vfs *v, const struct meta_inode *i,
		   struct meta_inode *ret)
{
	enum { DEPTH_MAX = 4096 };
	uint64_t fsid = i->attr.fsid;
	struct meta_inode d, up;
	int r;

	meta_begin(v->meta);
	r = meta_get(v->meta, i->parent, &d);
	if (r == -ENOENT) /* of a cache that is gone; try the top */
		r = meta_get(v->meta, META_ROOT, &d);
	for (unsigned depth = 0; r == 0 && d.ino != META_ROOT; depth++) {
		if (depth == DEPTH_MAX) {
			r = -ELOOP;
			break;
		}
		r = meta_get(v->meta, d.parent, &up);
		if (r == 0 && up.attr.fsid != fsid)
			break;
		if (r == 0)
			d = up;
	}
	meta_end(v->meta);
	if (r == 0 && d.attr.fsid != fsid)
		r = -EXDEV; /* the parent is on another: a lone file's mount */
	if (r == 0)
		*ret = d;
	return r;
}

int hold_dir_of(struct vfs *v, const struct caller *c,
		const struct meta_inode *i, struct handle *ret)
{
	struct moment when = vfs_moment(v);
	struct meta_inode root;
	struct remote_call *call;
	int r;

	if (find_dir(v, i->attr.fsid, ret))
		return 0;
	r = root_of(v, i, &root);
	if (r < 0)
		return r;
	call = remote_call_new(REMOTE_MKDIR, &root.handle, HOLD_NAME);
	if (!call)
		return -ENOMEM;
	call->set = (struct remote_sattr){
		.valid = REMOTE_SET_MODE | REMOTE_SET_UID | REMOTE_SET_GID,
		.mode = 0700,
	};
	vfs_touch(v, root.ino);
	r = remote_run(v->remote, call, c->intr, 0);
	vfs_touch(v, root.ino);
	if (r == 0) {
		/* Our change of the root: not to be taken for another's. */
		meta_begin(v->meta);
		(void)vfs_merge_dir(v, root.ino, call->has_dir_attr,
				    &call->dir_attr, &call->pre, &when, &root);
		meta_end(v->meta);
	}
	if (r == 0 && call->fh_out.len)
		*ret = call->fh_out;
	else if (r == 0 || r == -EEXIST)
		r = find_on_server(v, &root.handle, ret);
	remote_call_unref(call);
	if (r == 0)
		remember_dir(v, i->attr.fsid, ret);
	return r;
}

struct remote_call *hold_link_call(struct vfs *v, const struct caller *c,
				   const struct meta_inode *i)
{
	char name[NAME_BYTES_MAX + 1];
	struct remote_call *call;
	struct handle dir;

	if (hold_dir_of(v, c, i, &dir) < 0)
		return NULL;
	hold_name(v, i->ino, name);
	call = remote_call_new(REMOTE_LINK, &dir, name);
	if (call)
		call->object = i->handle;
	return call;
}

void hold_release(struct vfs *v, const struct meta_inode *i)
{
	char name[NAME_BYTES_MAX + 1];
	struct handle dir;

	if (!S_ISREG(i->attr.mode) || !find_dir(v, i->attr.fsid, &dir))
		return;
	hold_name(v, i->ino, name);
	remove_later(v, &dir, name);
}

void hold_close(struct vfs *v)
{
	/* A server that is away would keep us: the next mount cleans up. */
	if (v->config->read_only || remote_retry_is_away(v->remote))
		return;
	/* The kernel has let go of everything, forgotten or not. */
	for (unsigned k = 0; k < v->hold_n; k++)
		clean(v, &v->hold[k].fh);
	vfs_wait_submitted(v);
	for (unsigned k = 0; k < v->hold_n; k++) {
		struct remote_call *call;
		struct meta_inode i;

		meta_begin(v->meta);
		if (meta_get(v->meta, META_ROOT, &i) < 0 ||
		    i.attr.fsid != v->hold[k].fsid)
			i.handle.len = 0;
		meta_end(v->meta);
		if (i.handle.len == 0)
			continue; /* below another filesystem's: left, empty */
		/* Refused while the lease is in it, which then removes both. */
		call = remote_call_new(REMOTE_RMDIR, &i.handle, HOLD_NAME);
		if (!call)
			continue;
		call->background = true;
		vfs_submit(v, call, NULL, NULL);
	}
}

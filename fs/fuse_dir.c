/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuse_dir.c: changes of names; reading directories. */
#include "fuse_ops.h"

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev)
{
	struct vfs_entry e;
	struct request r;

	request_begin(&r, req, REQ_MKNOD);
	reply_entry(&r, vfs_mknod(r.front->vfs, &r.caller, parent, name, mode,
				  rdev, &e), &e);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct vfs_entry e;
	struct request r;

	request_begin(&r, req, REQ_MKDIR);
	reply_entry(&r, vfs_mkdir(r.front->vfs, &r.caller, parent, name, mode,
				  &e), &e);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		const char *name)
{
	struct vfs_entry e;
	struct request r;

	request_begin(&r, req, REQ_SYMLINK);
	reply_entry(&r, vfs_symlink(r.front->vfs, &r.caller, parent, name,
				    target, &e), &e);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
	     const char *name)
{
	struct vfs_entry e;
	struct request r;

	request_begin(&r, req, REQ_LINK);
	reply_entry(&r, vfs_link(r.front->vfs, &r.caller, ino, parent, name,
				 &e), &e);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request r;

	request_begin(&r, req, REQ_UNLINK);
	reply_err(&r, vfs_unlink(r.front->vfs, &r.caller, parent, name));
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct request r;

	request_begin(&r, req, REQ_RMDIR);
	reply_err(&r, vfs_rmdir(r.front->vfs, &r.caller, parent, name));
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	       fuse_ino_t newparent, const char *newname, unsigned flags)
{
	struct request r;

	request_begin(&r, req, REQ_RENAME);
	reply_err(&r, vfs_rename(r.front->vfs, &r.caller, parent, name,
				 newparent, newname, flags));
}

/* ---- reading ---- */

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request r;

	(void)ino;
	(void)fi;
	request_begin(&r, req, REQ_REFUSED);
	reply_err(&r, -ENOSYS);
}

struct dir_buffer {
	fuse_req_t req;
	char *mem;
	size_t size, used;
	bool plus;
};

static int emit(void *arg, const char *name, uint64_t offset,
		const struct vfs_entry *entry, bool with_attr)
{
	struct dir_buffer *b = arg;
	struct fuse_entry_param p;
	size_t n;

	entry_to_param(entry, &p);
	if (!with_attr)
		p.ino = 0; /* a name only: the kernel will look it up */
	if (b->plus)
		n = fuse_add_direntry_plus(b->req, b->mem + b->used,
					   b->size - b->used, name, &p,
					   (off_t)offset);
	else
		n = fuse_add_direntry(b->req, b->mem + b->used,
				      b->size - b->used, name, &p.attr,
				      (off_t)offset);
	if (n > b->size - b->used)
		return 1;
	b->used += n;
	return 0;
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		     bool plus)
{
	CLEANUP_FREE char *mem = malloc(size);
	struct dir_buffer b = { .req = req, .mem = mem, .size = size,
				.plus = plus };
	struct request r;
	int err;

	request_begin(&r, req, plus ? REQ_READDIRPLUS : REQ_READDIR);
	record_used(r.front->record, ino, RECORD_NAMES);
	err = mem ? vfs_readdir(r.front->vfs, &r.caller, ino, (uint64_t)off,
				plus, emit, &b) :
		    -ENOMEM;
	request_end(&r);
	if (err < 0)
		(void)fuse_reply_err(req, -err);
	else
		(void)fuse_reply_buf(req, mem, b.used);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	(void)fi;
	read_dir(req, ino, size, off, true);
}

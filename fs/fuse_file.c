/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuse_file.c: contents of files. */
#include "fuse_ops.h"

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request r;

	(void)ino;
	(void)fi;
	request_begin(&r, req, REQ_REFUSED);
	reply_err(&r, -ENOSYS);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi)
{
	CLEANUP_SLICE struct slice data = { 0 };
	struct request r;
	int err;

	(void)fi;
	request_begin(&r, req, REQ_READ);
	record_used(r.front->record, ino, RECORD_CONTENTS);
	err = vfs_read(r.front->vfs, &r.caller, ino, (uint64_t)off,
		       (uint32_t)MIN(size, (size_t)LIMIT_IO_BYTES), &data);
	request_end(&r);
	if (err < 0)
		(void)fuse_reply_err(req, -err);
	else
		(void)fuse_reply_buf(req, (const char *)data.at, data.len);
}

/* Before contents are changed: those of somebody who is not root take setuid
 * and setgid away. What comes out of a mapping was checked when it got there. */
static int drop_privs(struct request *r, fuse_ino_t ino)
{
	const struct remote_sattr nothing = { 0 };
	struct vfs_entry ignored;

	return r->caller.uid == 0 ? 0 :
				    vfs_setattr(r->front->vfs, &r->caller, ino,
						&nothing, &ignored);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	      off_t off, struct fuse_file_info *fi)
{
	struct request r;
	int err;

	request_begin(&r, req, REQ_WRITE);
	err = fi->writepage ? 0 : drop_privs(&r, ino);
	if (err == 0)
		err = vfs_write(r.front->vfs, &r.caller, ino, (uint64_t)off, buf,
				(uint32_t)size);
	request_end(&r);
	if (err < 0)
		(void)fuse_reply_err(req, -err);
	else
		(void)fuse_reply_write(req, size);
}

/* Of a file, or of a directory. */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	      struct fuse_file_info *fi)
{
	struct request r;

	(void)datasync;
	(void)fi;
	request_begin(&r, req, REQ_FSYNC);
	reply_err(&r, vfs_fsync(r.front->vfs, &r.caller, ino));
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		  off_t len, struct fuse_file_info *fi)
{
	struct request r;
	int err;

	(void)fi;
	request_begin(&r, req, REQ_FALLOCATE);
	err = drop_privs(&r, ino);
	if (err == 0)
		err = vfs_fallocate(r.front->vfs, &r.caller, ino, mode,
				    (uint64_t)off, (uint64_t)len);
	reply_err(&r, err);
}

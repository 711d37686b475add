/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuse_ops.h: what the callbacks share: each decodes a request, calls the vfs
 * and replies; no policy lives there.
 */
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "../cache/msg.h"
#include "record.h"
#include "vfs.h"

struct fuse_front {
	const struct config *config;
	struct vfs *vfs;
	struct stats *stats;
	struct record *record; /* NULL: what is used is not recorded */
	struct fuse_session *session;
	uint32_t connection; /* the kernel's number of it, in fusectl */
	bool mounted;
	bool expires;        /* the kernel knows FUSE_EXPIRE_ONLY */
	bool init_replied;   /* only the first reply is looked at */
	bool stopping;       /* atomic */
};

/* A request under way: who asks, and its interruption. */
struct request {
	fuse_req_t req;
	struct fuse_front *front;
	struct caller caller;
	struct remote_intr intr;
};

void request_begin(struct request *r, fuse_req_t req, enum stats_fuse kind);

/* Before every reply: from now on no interruption can reach @r. */
void request_end(struct request *r);

void reply_err(struct request *r, int err); /* 0 or -errno */
void reply_entry(struct request *r, int err, const struct vfs_entry *e);
void reply_attr(struct request *r, int err, const struct vfs_entry *e);

void entry_to_param(const struct vfs_entry *e, struct fuse_entry_param *ret);

extern const struct fuse_lowlevel_ops fuse_ops;

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *list);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
	     const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	       fuse_ino_t newparent, const char *newname, unsigned flags);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
	      off_t off, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	      struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		  off_t len, struct fuse_file_info *fi);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fuse_meta.c: requests and replies in general; names and attributes. */
#include "fuse_ops.h"

#include <signal.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

const struct fuse_lowlevel_ops fuse_ops = {
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.statfs = op_statfs,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.link = op_link,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.fsync = op_fsync,
	.fsyncdir = op_fsync,
	.fallocate = op_fallocate,
};

/* ---- requests ---- */

/* The signals that are meant to end a program or what it is doing. */
static const uint64_t ending_signals =
	1u << (SIGHUP - 1) | 1u << (SIGINT - 1) | 1u << (SIGQUIT - 1) |
	1u << (SIGKILL - 1) | 1u << (SIGTERM - 1);

/* Is one of them pending for the thread that asks? The kernel interrupts a
 * request for any signal; a local disk's call would not end for SIGCHLD. */
static bool ending_signal_pending(void *arg)
{
	const struct request *r = arg;
	char path[64], line[128];
	CLEANUP_FCLOSE FILE *f = NULL;
	unsigned long long set;

	(void)snprintf(path, sizeof(path), "/proc/%d/status",
		       (int)fuse_req_ctx(r->req)->pid);
	f = fopen(path, "re");
	if (!f)
		return true; /* it is gone */
	while (fgets(line, sizeof(line), f))
		if ((sscanf(line, "SigPnd: %llx", &set) == 1 ||
		     sscanf(line, "ShdPnd: %llx", &set) == 1) &&
		    set & ending_signals)
			return true;
	return false;
}

static void interrupted(fuse_req_t req, void *arg)
{
	struct request *r = arg;

	(void)req;
	remote_intr_raise(&r->intr);
}

void request_begin(struct request *r, fuse_req_t req, enum stats_fuse kind)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	r->req = req;
	r->front = fuse_req_userdata(req);
	r->intr = (struct remote_intr){ .fatal = ending_signal_pending,
					.arg = r };
	r->caller = (struct caller){ .uid = ctx->uid, .gid = ctx->gid,
				     .intr = &r->intr };
	stats_add(&r->front->stats->fuse[kind], 1);
	fuse_req_interrupt_func(req, interrupted, r);
}

void request_end(struct request *r)
{
	fuse_req_interrupt_func(r->req, NULL, NULL);
}

/* ---- replies ---- */

static void attr_to_stat(uint64_t ino, const struct attr *a, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_mode = a->mode;
	st->st_nlink = a->nlink;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_rdev = makedev(a->rdev_major, a->rdev_minor);
	st->st_size = (off_t)a->size;
	st->st_blksize = 4096;
	st->st_blocks = (blkcnt_t)((a->used + 511) / 512);
	st->st_atim = a->atime;
	st->st_mtim = a->mtime;
	st->st_ctim = a->ctime;
}

void entry_to_param(const struct vfs_entry *e, struct fuse_entry_param *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->ino = e->ino;
	attr_to_stat(e->ino, &e->attr, &ret->attr);
	ret->attr_timeout = e->attr_valid_s;
	ret->entry_timeout = e->name_valid_s;
}

void reply_err(struct request *r, int err)
{
	request_end(r);
	(void)fuse_reply_err(r->req, -err);
}

void reply_entry(struct request *r, int err, const struct vfs_entry *e)
{
	struct fuse_front *f = r->front;
	struct fuse_entry_param p;

	request_end(r);
	if (err < 0) {
		(void)fuse_reply_err(r->req, -err);
		return;
	}
	entry_to_param(e, &p);
	/* Refused when the asker has gone: then the kernel took no reference. */
	if (fuse_reply_entry(r->req, &p) < 0 && e->ino)
		vfs_forget(f->vfs, e->ino, 1);
}

void reply_attr(struct request *r, int err, const struct vfs_entry *e)
{
	struct stat st;

	if (err < 0) {
		reply_err(r, err);
		return;
	}
	request_end(r);
	attr_to_stat(e->ino, &e->attr, &st);
	(void)fuse_reply_attr(r->req, &st, e->attr_valid_s);
}

/* ---- names and attributes ---- */

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct vfs_entry e;
	struct request r;

	request_begin(&r, req, REQ_LOOKUP);
	record_used(r.front->record, parent, RECORD_NAMES);
	reply_entry(&r, vfs_lookup(r.front->vfs, &r.caller, parent, name, &e),
		    &e);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	struct fuse_front *f = fuse_req_userdata(req);

	stats_add(&f->stats->fuse[REQ_FORGET], 1);
	vfs_forget(f->vfs, ino, n);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t n, struct fuse_forget_data *list)
{
	struct fuse_front *f = fuse_req_userdata(req);

	stats_add(&f->stats->fuse[REQ_FORGET], 1);
	for (size_t k = 0; k < n; k++)
		vfs_forget(f->vfs, list[k].ino, list[k].nlookup);
	fuse_reply_none(req);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vfs_entry e;
	struct request r;

	(void)fi;
	request_begin(&r, req, REQ_GETATTR);
	reply_attr(&r, vfs_getattr(r.front->vfs, &r.caller, ino, &e), &e);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		struct fuse_file_info *fi)
{
	struct remote_sattr set = { 0 };
	struct timespec now;
	struct vfs_entry e;
	struct request r;

	(void)fi;
	request_begin(&r, req, REQ_SETATTR);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (to_set & FUSE_SET_ATTR_MODE) {
		set.valid |= REMOTE_SET_MODE;
		set.mode = st->st_mode & 07777;
	}
	if (to_set & FUSE_SET_ATTR_UID) {
		set.valid |= REMOTE_SET_UID;
		set.uid = st->st_uid;
	}
	if (to_set & FUSE_SET_ATTR_GID) {
		set.valid |= REMOTE_SET_GID;
		set.gid = st->st_gid;
	}
	if (to_set & FUSE_SET_ATTR_SIZE) {
		set.valid |= REMOTE_SET_SIZE;
		set.size = (uint64_t)st->st_size;
	}
	/* "Now" is this machine's clock, as for all times of files. */
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
		set.valid |= REMOTE_SET_ATIME;
		set.atime = to_set & FUSE_SET_ATTR_ATIME_NOW ? now :
							       st->st_atim;
	}
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		set.valid |= REMOTE_SET_MTIME;
		set.mtime = to_set & FUSE_SET_ATTR_MTIME_NOW ? now :
							       st->st_mtim;
	}
	reply_attr(&r, vfs_setattr(r.front->vfs, &r.caller, ino, &set, &e), &e);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	CLEANUP_FREE char *target = NULL;
	struct request r;
	int err;

	request_begin(&r, req, REQ_READLINK);
	record_used(r.front->record, ino, RECORD_CONTENTS);
	err = vfs_readlink(r.front->vfs, &r.caller, ino, &target);
	request_end(&r);
	if (err < 0)
		(void)fuse_reply_err(req, -err);
	else
		(void)fuse_reply_readlink(req, target);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	enum { BLOCK = 4096 };
	struct remote_fsstat s;
	struct request r;
	uint32_t name_max;
	int err;

	request_begin(&r, req, REQ_STATFS);
	err = vfs_statfs(r.front->vfs, &r.caller, ino, &s, &name_max);
	request_end(&r);
	if (err < 0) {
		(void)fuse_reply_err(req, -err);
		return;
	}
	struct statvfs st = {
		.f_bsize = BLOCK,
		.f_frsize = BLOCK,
		.f_blocks = s.bytes_total / BLOCK,
		.f_bfree = s.bytes_free / BLOCK,
		.f_bavail = s.bytes_avail / BLOCK,
		.f_files = s.files_total,
		.f_ffree = s.files_free,
		.f_favail = s.files_avail,
		.f_namemax = name_max,
	};
	(void)fuse_reply_statfs(req, &st);
}

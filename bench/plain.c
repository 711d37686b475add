/* SPDX-License-Identifier: GPL-2.0-or-later */
/* plainfs: what nfsrootfs is compared with where the kernel has no NFS client:
 * a plain synchronous NFSv3 client in user space, made from libnfs's path API
 * behind libfuse's high-level API, as fuse-nfs is. One call at a time, and the
 * kernel may cache what it was told for a second. Nothing in it is slow on
 * purpose: handles stay open while files are, directories are read with
 * READDIRPLUS, transfers are as large as the server takes.
 *
 * libnfs contexts are not thread-safe, so the usual client puts one mutex
 * around all; FUSE's single-threaded loop is the same without the mutex.
 *
 * Times are set to the microsecond, because libnfs's path API has a timeval.
 */
#define FUSE_USE_VERSION 314

#include "../cache/base.h"

#include <err.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <nfsc/libnfs.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/time.h>

enum { MAX_TRANSFER = 1024 * 1024 };

static struct nfs_context *nfs;

static struct nfsfh *fh_of(const struct fuse_file_info *fi)
{
	return (struct nfsfh *)(uintptr_t)fi->fh;
}

/* Calls go out with the caller's ids, so that what it makes is its own. */
static void as_caller(void)
{
	static uid_t uid = (uid_t)-1;
	static gid_t gid = (gid_t)-1;
	const struct fuse_context *ctx = fuse_get_context();

	if (ctx->uid != uid)
		nfs_set_uid(nfs, (int)(uid = ctx->uid));
	if (ctx->gid != gid)
		nfs_set_gid(nfs, (int)(gid = ctx->gid));
}

static void stat_from_nfs(const struct nfs_stat_64 *n, struct stat *ret)
{
	*ret = (struct stat){
		.st_dev = n->nfs_dev,
		.st_ino = n->nfs_ino,
		.st_mode = (mode_t)n->nfs_mode,
		.st_nlink = n->nfs_nlink,
		.st_uid = (uid_t)n->nfs_uid,
		.st_gid = (gid_t)n->nfs_gid,
		.st_rdev = n->nfs_rdev,
		.st_size = (off_t)n->nfs_size,
		.st_blksize = (blksize_t)n->nfs_blksize,
		.st_blocks = (blkcnt_t)((n->nfs_used + 511) / 512),
		.st_atim = { (time_t)n->nfs_atime, (long)n->nfs_atime_nsec },
		.st_mtim = { (time_t)n->nfs_mtime, (long)n->nfs_mtime_nsec },
		.st_ctim = { (time_t)n->nfs_ctime, (long)n->nfs_ctime_nsec },
	};
}

static int p_getattr(const char *path, struct stat *st,
		     struct fuse_file_info *fi)
{
	struct nfs_stat_64 n;
	int r;

	as_caller();
	r = fi ? nfs_fstat64(nfs, fh_of(fi), &n) : nfs_lstat64(nfs, path, &n);
	if (r == 0)
		stat_from_nfs(&n, st);
	return r;
}

static int p_readlink(const char *path, char *buf, size_t size)
{
	CLEANUP_FREE char *target = NULL;
	int r;

	as_caller();
	r = nfs_readlink2(nfs, path, &target);
	if (r < 0)
		return r;
	(void)snprintf(buf, size, "%s", target);
	return 0;
}

static int p_mknod(const char *path, mode_t mode, dev_t dev)
{
	struct nfsfh *fh;
	int r;

	as_caller();
	if (!S_ISREG(mode))
		return nfs_mknod(nfs, path, (int)mode, (int)dev);
	r = nfs_create(nfs, path, O_EXCL, (int)(mode & 07777), &fh);
	if (r == 0)
		(void)nfs_close(nfs, fh);
	return r;
}

static int p_mkdir(const char *path, mode_t mode)
{
	as_caller();
	return nfs_mkdir2(nfs, path, (int)(mode & 07777));
}

static int p_unlink(const char *path)
{
	as_caller();
	return nfs_unlink(nfs, path);
}

static int p_rmdir(const char *path)
{
	as_caller();
	return nfs_rmdir(nfs, path);
}

static int p_symlink(const char *target, const char *path)
{
	as_caller();
	return nfs_symlink(nfs, target, path);
}

static int p_rename(const char *from, const char *to, unsigned flags)
{
	if (flags)
		return -EINVAL;
	as_caller();
	return nfs_rename(nfs, from, to);
}

static int p_link(const char *from, const char *to)
{
	as_caller();
	return nfs_link(nfs, from, to);
}

static int p_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	as_caller();
	mode &= 07777;
	return fi ? nfs_fchmod(nfs, fh_of(fi), (int)mode) :
		    nfs_lchmod(nfs, path, (int)mode);
}

/* libnfs sets both ids or none, so the one that shall stay is asked for. */
static int p_chown(const char *path, uid_t uid, gid_t gid,
		   struct fuse_file_info *fi)
{
	struct stat st;
	int r;

	as_caller();
	if (uid == (uid_t)-1 || gid == (gid_t)-1) {
		r = p_getattr(path, &st, fi);
		if (r < 0)
			return r;
		uid = uid == (uid_t)-1 ? st.st_uid : uid;
		gid = gid == (gid_t)-1 ? st.st_gid : gid;
	}
	return fi ? nfs_fchown(nfs, fh_of(fi), (int)uid, (int)gid) :
		    nfs_lchown(nfs, path, (int)uid, (int)gid);
}

static int p_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	as_caller();
	return fi ? nfs_ftruncate(nfs, fh_of(fi), (uint64_t)size) :
		    nfs_truncate(nfs, path, (uint64_t)size);
}

static struct timeval one_time(const struct timespec *want,
			       const struct timespec *now_is)
{
	struct timeval tv;

	if (want->tv_nsec == UTIME_NOW)
		(void)gettimeofday(&tv, NULL);
	else if (want->tv_nsec == UTIME_OMIT)
		tv = (struct timeval){ now_is->tv_sec, now_is->tv_nsec / 1000 };
	else
		tv = (struct timeval){ want->tv_sec, want->tv_nsec / 1000 };
	return tv;
}

static int p_utimens(const char *path, const struct timespec ts[2],
		     struct fuse_file_info *fi)
{
	struct stat st = { 0 };
	struct timeval tv[2];
	int r;

	as_caller();
	if (ts[0].tv_nsec == UTIME_OMIT || ts[1].tv_nsec == UTIME_OMIT) {
		r = p_getattr(path, &st, fi);
		if (r < 0)
			return r;
	}
	tv[0] = one_time(&ts[0], &st.st_atim);
	tv[1] = one_time(&ts[1], &st.st_mtim);
	return nfs_lutimes(nfs, path, tv);
}

static int p_open(const char *path, struct fuse_file_info *fi)
{
	struct nfsfh *fh;
	int r;

	as_caller();
	r = nfs_open(nfs, path, fi->flags & O_ACCMODE, &fh);
	if (r == 0)
		fi->fh = (uintptr_t)fh;
	return r;
}

static int p_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	struct nfsfh *fh;
	int r;

	as_caller();
	r = nfs_create(nfs, path, fi->flags & (O_ACCMODE | O_EXCL),
		       (int)(mode & 07777), &fh);
	if (r == 0)
		fi->fh = (uintptr_t)fh;
	return r;
}

static int p_read(const char *path, char *buf, size_t size, off_t off,
		  struct fuse_file_info *fi)
{
	return nfs_pread(nfs, fh_of(fi), (uint64_t)off, size, buf);
}

static int p_write(const char *path, const char *buf, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	/* libnfs 4 only reads from it, but does not say const. */
	union {
		const char *in;
		char *out;
	} data = { buf };

	return nfs_pwrite(nfs, fh_of(fi), (uint64_t)off, size, data.out);
}

static int p_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	return nfs_fsync(nfs, fh_of(fi));
}

static int p_release(const char *path, struct fuse_file_info *fi)
{
	return nfs_close(nfs, fh_of(fi));
}

static int p_statfs(const char *path, struct statvfs *st)
{
	return nfs_statvfs(nfs, path, st);
}

/* The type of a READDIRPLUS entry, as the bits of a mode. */
static mode_t type_bits(uint32_t nf3_type)
{
	static const mode_t bits[] = { 0,	S_IFREG,  S_IFDIR, S_IFBLK,
				       S_IFCHR, S_IFLNK, S_IFSOCK, S_IFIFO };

	return nf3_type < ARRAY_LEN(bits) ? bits[nf3_type] : 0;
}

static void stat_from_dirent(const struct nfsdirent *e, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = e->inode,
		.st_mode = (mode_t)(e->mode & 07777) | type_bits(e->type),
		.st_nlink = e->nlink,
		.st_uid = e->uid,
		.st_gid = e->gid,
		.st_rdev = e->rdev,
		.st_size = (off_t)e->size,
		.st_blksize = (blksize_t)e->blksize,
		.st_blocks = (blkcnt_t)((e->used + 511) / 512),
		.st_atim = { e->atime.tv_sec, e->atime_nsec },
		.st_mtim = { e->mtime.tv_sec, e->mtime_nsec },
		.st_ctim = { e->ctime.tv_sec, e->ctime_nsec },
	};
}

static int p_readdir(const char *path, void *buf, fuse_fill_dir_t fill,
		     off_t off, struct fuse_file_info *fi,
		     enum fuse_readdir_flags flags)
{
	const struct nfsdirent *e;
	struct nfsdir *dir;
	int r;

	as_caller();
	r = nfs_opendir(nfs, path, &dir);
	if (r < 0)
		return r;
	while ((e = nfs_readdir(nfs, dir))) {
		struct stat st;

		stat_from_dirent(e, &st);
		/* A server may leave attributes out; type 0 says so. */
		if (fill(buf, e->name, &st, 0,
			 e->type ? FUSE_FILL_DIR_PLUS : 0))
			break;
	}
	nfs_closedir(nfs, dir);
	return 0;
}

static void *p_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	cfg->use_ino = 1;
	cfg->entry_timeout = cfg->attr_timeout = cfg->negative_timeout = 1;
	conn->max_write = MAX_TRANSFER;
	return NULL;
}

static const struct fuse_operations ops = {
	.getattr = p_getattr,
	.readlink = p_readlink,
	.mknod = p_mknod,
	.mkdir = p_mkdir,
	.unlink = p_unlink,
	.rmdir = p_rmdir,
	.symlink = p_symlink,
	.rename = p_rename,
	.link = p_link,
	.chmod = p_chmod,
	.chown = p_chown,
	.truncate = p_truncate,
	.utimens = p_utimens,
	.open = p_open,
	.create = p_create,
	.read = p_read,
	.write = p_write,
	.fsync = p_fsync,
	.release = p_release,
	.statfs = p_statfs,
	.readdir = p_readdir,
	.init = p_init,
};

/* HOST:/PATH[?port=P&mountport=M] in the words of libnfs's URLs. */
static char *url_of(const char *source)
{
	const char *colon = strstr(source, ":/"), *query = strchr(source, '?');
	unsigned port = 0, mountport = 0;
	int path_len;
	char *url;

	if (!colon || (query && query < colon))
		errx(2, "%s is not HOST:/PATH", source);
	path_len = (int)strcspn(colon + 1, "?");
	if (query && sscanf(query, "?port=%u&mountport=%u", &port,
			    &mountport) != 2)
		errx(2, "%s: want ?port=P&mountport=M", source);
	if (asprintf(&url, "nfs://%.*s%.*s?version=3", (int)(colon - source),
		     source, path_len, colon + 1) < 0)
		errx(1, "out of memory");
	if (query) {
		CLEANUP_FREE char *short_url = url;

		if (asprintf(&url, "%s&nfsport=%u&mountport=%u", short_url,
			     port, mountport) < 0)
			errx(1, "out of memory");
	}
	return url;
}

int main(int argc, char **argv)
{
	static char name[] = "plainfs", single[] = "-s", opt[] = "-o",
		    options[] = "allow_other,default_permissions,suid,dev,"
				"fsname=plainfs";
	char *args[] = { name, argc > 2 ? argv[2] : NULL, single, opt, options,
			 argc > 3 ? argv[3] : NULL, NULL };
	CLEANUP_FREE char *url = NULL;
	struct nfs_url *parsed;

	if (argc < 3 || argc > 4 || (argc == 4 && strcmp(argv[3], "-f") != 0))
		errx(2, "usage: plainfs HOST:/PATH[?port=P&mountport=M] "
			"MOUNTPOINT [-f]");
	nfs = nfs_init_context();
	if (!nfs)
		errx(1, "out of memory");
	url = url_of(argv[1]);
	parsed = nfs_parse_url_dir(nfs, url);
	if (!parsed)
		errx(1, "%s: %s", argv[1], nfs_get_error(nfs));
	if (nfs_mount(nfs, parsed->server, parsed->path) < 0)
		errx(1, "cannot mount %s: %s", argv[1], nfs_get_error(nfs));
	nfs_destroy_url(parsed);
	return fuse_main(argc == 4 ? 6 : 5, args, &ops, NULL);
}

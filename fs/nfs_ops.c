/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_ops.c: a remote_call as a message of RFC 1813, and the reply's way back.
 *
 * One start_*() for each procedure; nfs_flight_start() picks it. libnfs encodes
 * at once and copies what it needs (WRITE's data from version 6 on excepted:
 * it belongs to the call, which outlives the message), so that arguments live
 * on the stack. Replies arrive in on_reply(), which picks the decoder.
 *
 * Creation is GUARDED, not EXCLUSIVE: it carries mode, owner and times, and
 * whether a repeated one succeeded the first time is for the retry layer to
 * find out.
 */
#include "nfs.h"

/* ---- the parts of which calls are made ---- */

static nfs_fh3 put_fh(struct handle *h)
{
	nfs_fh3 fh = { .data = { h->len, (char *)h->data } };

	return fh;
}

static diropargs3 put_name(struct handle *dir, char *s)
{
	diropargs3 a = { .dir = put_fh(dir), .name = s };

	return a;
}

/* The protocol's seconds are 32 bits without a sign: what is outside becomes
 * the nearest that is inside, as local filesystems with such a limit do. */
static nfstime3 put_time(const struct timespec *ts)
{
	nfstime3 t = { 0, 0 };

	if (ts->tv_sec > (time_t)UINT32_MAX)
		t.seconds = UINT32_MAX;
	else if (ts->tv_sec >= 0) {
		t.seconds = (uint32_t)ts->tv_sec;
		t.nseconds = (uint32_t)ts->tv_nsec;
	}
	return t;
}

static sattr3 put_sattr(const struct remote_sattr *s)
{
	sattr3 a;

	memset(&a, 0, sizeof(a));
	if (s->valid & REMOTE_SET_MODE) {
		a.mode.set_it = 1;
		a.mode.set_mode3_u.mode = s->mode & 07777;
	}
	if (s->valid & REMOTE_SET_UID) {
		a.uid.set_it = 1;
		a.uid.set_uid3_u.uid = s->uid;
	}
	if (s->valid & REMOTE_SET_GID) {
		a.gid.set_it = 1;
		a.gid.set_gid3_u.gid = s->gid;
	}
	if (s->valid & REMOTE_SET_SIZE) {
		a.size.set_it = 1;
		a.size.set_size3_u.size = s->size;
	}
	if (s->valid & REMOTE_SET_ATIME) {
		a.atime.set_it = SET_TO_CLIENT_TIME;
		a.atime.set_atime_u.atime = put_time(&s->atime);
	} else if (s->valid & REMOTE_SET_ATIME_NOW) {
		a.atime.set_it = SET_TO_SERVER_TIME;
	}
	if (s->valid & REMOTE_SET_MTIME) {
		a.mtime.set_it = SET_TO_CLIENT_TIME;
		a.mtime.set_mtime_u.mtime = put_time(&s->mtime);
	} else if (s->valid & REMOTE_SET_MTIME_NOW) {
		a.mtime.set_it = SET_TO_SERVER_TIME;
	}
	return a;
}

/* ---- one function for each procedure ---- */

static void on_reply(struct rpc_context *rpc, int status, void *data,
		     void *arg);

#define START(proc, f, args) \
	(NFS_START(proc, (f)->conn->rpc, on_reply, args, f) ? 0 : -ENOMEM)

static int start_null(struct nfs_flight *f, struct remote_call *c)
{
	(void)c;
	return NFS_START(nfs3_null, f->conn->rpc, on_reply, f) ? 0 : -ENOMEM;
}

static int start_getattr(struct nfs_flight *f, struct remote_call *c)
{
	GETATTR3args a = { .object = put_fh(&c->fh) };

	return START(nfs3_getattr, f, &a);
}

static int start_setattr(struct nfs_flight *f, struct remote_call *c)
{
	SETATTR3args a = { .object = put_fh(&c->fh),
			   .new_attributes = put_sattr(&c->set) };

	return START(nfs3_setattr, f, &a);
}

static int start_lookup(struct nfs_flight *f, struct remote_call *c)
{
	LOOKUP3args a = { .what = put_name(&c->fh, c->name) };

	return START(nfs3_lookup, f, &a);
}

static int start_access(struct nfs_flight *f, struct remote_call *c)
{
	ACCESS3args a = { .object = put_fh(&c->fh), .access = c->access };

	return START(nfs3_access, f, &a);
}

static int start_readlink(struct nfs_flight *f, struct remote_call *c)
{
	READLINK3args a = { .symlink = put_fh(&c->fh) };

	return START(nfs3_readlink, f, &a);
}

static int start_read(struct nfs_flight *f, struct remote_call *c)
{
	READ3args a = { .file = put_fh(&c->fh),
			.offset = c->offset,
			.count = c->count };

	if (c->count > NFS_IO_BYTES_MAX)
		return -EINVAL;
	if (NFS_READ_NEEDS_BUFFER) {
		f->buf = bytes_new(c->count);
		if (!f->buf)
			return -ENOMEM;
	}
	if (!NFS_START_READ(f->conn->rpc, on_reply, f->buf->at, c->count, &a,
			    f))
		return -ENOMEM;
	return 0;
}

static int start_write(struct nfs_flight *f, struct remote_call *c)
{
	static const stable_how how[] = {
		[REMOTE_UNSTABLE] = UNSTABLE,
		[REMOTE_DATA_SYNC] = DATA_SYNC,
		[REMOTE_FILE_SYNC] = FILE_SYNC,
	};
	WRITE3args a = { .file = put_fh(&c->fh),
			 .offset = c->offset,
			 .count = c->data_len,
			 .stable = how[c->stable],
			 .data = { c->data_len, c->data } };

	if (c->data_len > NFS_IO_BYTES_MAX)
		return -EINVAL;
	return START(nfs3_write, f, &a);
}

static int start_commit(struct nfs_flight *f, struct remote_call *c)
{
	COMMIT3args a = { .file = put_fh(&c->fh) }; /* all of it */

	return START(nfs3_commit, f, &a);
}

static int start_create(struct nfs_flight *f, struct remote_call *c)
{
	CREATE3args a = { .where = put_name(&c->fh, c->name) };

	a.how.mode = GUARDED;
	a.how.createhow3_u.g_obj_attributes = put_sattr(&c->set);
	return START(nfs3_create, f, &a);
}

static int start_mkdir(struct nfs_flight *f, struct remote_call *c)
{
	MKDIR3args a = { .where = put_name(&c->fh, c->name),
			 .attributes = put_sattr(&c->set) };

	return START(nfs3_mkdir, f, &a);
}

/* What the message takes besides name and target: headers and credentials,
 * two handles' worth of slack, attributes. */
enum { SYMLINK_OVERHEAD = 512 };

static int start_symlink(struct nfs_flight *f, struct remote_call *c)
{
	CLEANUP_FREE char *target =
		strndup(c->data ? c->data : "", c->data_len);
	SYMLINK3args a = { .where = put_name(&c->fh, c->name),
			   .symlink = { put_sattr(&c->set), target } };

	if (!target)
		return -ENOMEM;
	if (strlen(c->name) + c->data_len + SYMLINK_OVERHEAD > NFS_ENCODE_BYTES)
		return -ENAMETOOLONG;
	return START(nfs3_symlink, f, &a);
}

static int start_mknod(struct nfs_flight *f, struct remote_call *c)
{
	MKNOD3args a = { .where = put_name(&c->fh, c->name) };
	sattr3 set = put_sattr(&c->set);
	devicedata3 device = { set, { c->rdev_major, c->rdev_minor } };

	switch (c->set.mode & S_IFMT) {
	case S_IFCHR:
		a.what.type = NF3CHR;
		a.what.mknoddata3_u.chr_device = device;
		break;
	case S_IFBLK:
		a.what.type = NF3BLK;
		a.what.mknoddata3_u.blk_device = device;
		break;
	case S_IFSOCK:
		a.what.type = NF3SOCK;
		a.what.mknoddata3_u.sock_attributes = set;
		break;
	case S_IFIFO:
		a.what.type = NF3FIFO;
		a.what.mknoddata3_u.pipe_attributes = set;
		break;
	default:
		return -EINVAL;
	}
	return START(nfs3_mknod, f, &a);
}

static int start_remove(struct nfs_flight *f, struct remote_call *c)
{
	REMOVE3args a = { .object = put_name(&c->fh, c->name) };

	return START(nfs3_remove, f, &a);
}

static int start_rmdir(struct nfs_flight *f, struct remote_call *c)
{
	RMDIR3args a = { .object = put_name(&c->fh, c->name) };

	return START(nfs3_rmdir, f, &a);
}

static int start_rename(struct nfs_flight *f, struct remote_call *c)
{
	RENAME3args a = { .from = put_name(&c->fh, c->name),
			  .to = put_name(&c->fh2, c->name2) };

	return START(nfs3_rename, f, &a);
}

static int start_link(struct nfs_flight *f, struct remote_call *c)
{
	LINK3args a = { .file = put_fh(&c->object),
			.link = put_name(&c->fh, c->name) };

	return START(nfs3_link, f, &a);
}

/* dircount counts names and cookies alone, maxcount the whole reply. With the
 * first as large as the second the reply is as full as it can be; libnfs's own
 * 8 KiB for both cost a third of the throughput. */
static int start_readdirplus(struct nfs_flight *f, struct remote_call *c)
{
	count3 count = MIN(c->count, (uint32_t)NFS_IO_BYTES_MAX);
	READDIRPLUS3args a = { .dir = put_fh(&c->fh),
			       .cookie = f->cookie,
			       .dircount = count,
			       .maxcount = count };
	READDIR3args plain = { .dir = put_fh(&c->fh),
			       .cookie = f->cookie,
			       .count = count };

	memcpy(a.cookieverf, f->verf, sizeof(f->verf));
	memcpy(plain.cookieverf, f->verf, sizeof(f->verf));
	return f->plain ? START(nfs3_readdir, f, &plain) :
			  START(nfs3_readdirplus, f, &a);
}

static int start_fsstat(struct nfs_flight *f, struct remote_call *c)
{
	FSSTAT3args a = { .fsroot = put_fh(&c->fh) };

	return START(nfs3_fsstat, f, &a);
}

static int start_fsinfo(struct nfs_flight *f, struct remote_call *c)
{
	FSINFO3args a = { .fsroot = put_fh(&c->fh) };

	return START(nfs3_fsinfo, f, &a);
}

static int start_pathconf(struct nfs_flight *f, struct remote_call *c)
{
	PATHCONF3args a = { .object = put_fh(&c->fh) };

	return START(nfs3_pathconf, f, &a);
}

int nfs_flight_start(struct nfs_flight *f)
{
	static int (*const start[REMOTE_OPS])(struct nfs_flight *f,
					      struct remote_call *c) = {
		[REMOTE_NULL] = start_null,
		[REMOTE_GETATTR] = start_getattr,
		[REMOTE_SETATTR] = start_setattr,
		[REMOTE_LOOKUP] = start_lookup,
		[REMOTE_ACCESS] = start_access,
		[REMOTE_READLINK] = start_readlink,
		[REMOTE_READ] = start_read,
		[REMOTE_WRITE] = start_write,
		[REMOTE_COMMIT] = start_commit,
		[REMOTE_CREATE] = start_create,
		[REMOTE_MKDIR] = start_mkdir,
		[REMOTE_SYMLINK] = start_symlink,
		[REMOTE_MKNOD] = start_mknod,
		[REMOTE_REMOVE] = start_remove,
		[REMOTE_RMDIR] = start_rmdir,
		[REMOTE_RENAME] = start_rename,
		[REMOTE_LINK] = start_link,
		[REMOTE_READDIRPLUS] = start_readdirplus,
		[REMOTE_FSSTAT] = start_fsstat,
		[REMOTE_FSINFO] = start_fsinfo,
		[REMOTE_PATHCONF] = start_pathconf,
	};

	/* By its xid the reply is recognised before libnfs sees it. */
	f->xid = ++f->conn->xid;
	rpc_set_next_xid(f->conn->rpc, f->xid);
	return start[f->call->op](f, f->call);
}

/* ---- replies ---- */

/* Pages without one usable name that are skipped in one call. */
enum { PAGES_SKIPPED_MAX = 16 };

static int decode_listing(struct nfs_flight *f, const void *res)
{
	struct remote_call *c = f->call;
	int r;

	if (f->plain) {
		r = nfs_decode_readdir(c, res, &f->cookie);
	} else {
		r = nfs_decode_readdirplus(c, res, &f->cookie);
		if (r == -EOPNOTSUPP) {
			f->plain = true;
			return NFS_AGAIN;
		}
	}
	if (r != NFS_AGAIN)
		return r;
	memcpy(f->verf, c->verf, sizeof(f->verf));
	return ++f->pages < PAGES_SKIPPED_MAX ? NFS_AGAIN : -EREMOTEIO;
}

static int decode(struct nfs_flight *f, const void *res)
{
	struct remote_call *c = f->call;

	switch (c->op) {
	case REMOTE_NULL:
		return 0;
	case REMOTE_GETATTR:
		return nfs_decode_getattr(c, res);
	case REMOTE_SETATTR:
		return nfs_decode_setattr(c, res);
	case REMOTE_LOOKUP:
		return nfs_decode_lookup(c, res);
	case REMOTE_ACCESS:
		return nfs_decode_access(c, res);
	case REMOTE_READLINK:
		return nfs_decode_readlink(c, res);
	case REMOTE_READ:
		return nfs_decode_read(c, res,
				       f->buf ? f->buf : f->conn->reader.record,
				       f->buf != NULL);
	case REMOTE_WRITE:
		return nfs_decode_write(c, res);
	case REMOTE_COMMIT:
		return nfs_decode_commit(c, res);
	case REMOTE_CREATE:
		return nfs_decode_create(c, res);
	case REMOTE_MKDIR:
		return nfs_decode_mkdir(c, res);
	case REMOTE_SYMLINK:
		return nfs_decode_symlink(c, res);
	case REMOTE_MKNOD:
		return nfs_decode_mknod(c, res);
	case REMOTE_REMOVE:
		return nfs_decode_remove(c, res);
	case REMOTE_RMDIR:
		return nfs_decode_rmdir(c, res);
	case REMOTE_RENAME:
		return nfs_decode_rename(c, res);
	case REMOTE_LINK:
		return nfs_decode_link(c, res);
	case REMOTE_READDIRPLUS:
		return decode_listing(f, res);
	case REMOTE_FSSTAT:
		return nfs_decode_fsstat(c, res);
	case REMOTE_FSINFO:
		return nfs_decode_fsinfo(c, res);
	case REMOTE_PATHCONF:
		return nfs_decode_pathconf(c, res);
	case REMOTE_OPS:
		break;
	}
	return -EINVAL;
}

/* libnfs calls this inside rpc_service() and, for what is left, inside
 * rpc_destroy_context(). Without a result it cannot be told here whether the
 * server refused one call or the connection is gone: the connection's thread
 * decides when it is back from libnfs. */
static void on_reply(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct nfs_flight *f = arg;
	int r;

	(void)rpc;
	if (status != RPC_STATUS_SUCCESS) {
		f->rejected = nfs_rpc_errno(status, data);
		f->conn->sweep = true;
		if (f->call->op == REMOTE_READDIRPLUS && !f->plain &&
		    f->rejected == -EOPNOTSUPP)
			f->plain = f->again = true;
		return;
	}
	r = data || f->call->op == REMOTE_NULL ? decode(f, data) : -EREMOTEIO;
	if (r == NFS_AGAIN) {
		f->again = f->conn->sweep = true;
		return;
	}
	nfs_flight_finish(f, r);
}

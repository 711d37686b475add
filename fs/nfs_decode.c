/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_decode.c: a reply of the server, checked and copied into the call.
 *
 * Pure functions, from libnfs's structures to ours. That the message is well-
 * formed was seen to before; that it makes sense is seen to here. Two
 * rules: what is optional in the protocol and does not make sense counts as
 * not given; what is not optional makes the call fail with -EREMOTEIO.
 */
#include <limits.h>

#include "nfs.h"

/* ---- the parts of which replies are made ---- */

int nfs_decode_status(int nfsstat)
{
	switch (nfsstat) {
	case NFS3_OK:
		return 0;
	case NFS3ERR_PERM:
		return -EPERM;
	case NFS3ERR_NOENT:
		return -ENOENT;
	case NFS3ERR_IO:
		return -EIO;
	case NFS3ERR_NXIO:
		return -ENXIO;
	case NFS3ERR_ACCES:
		return -EACCES;
	case NFS3ERR_EXIST:
		return -EEXIST;
	case NFS3ERR_XDEV:
		return -EXDEV;
	case NFS3ERR_NODEV:
		return -ENODEV;
	case NFS3ERR_NOTDIR:
		return -ENOTDIR;
	case NFS3ERR_ISDIR:
		return -EISDIR;
	case NFS3ERR_INVAL:
	case NFS3ERR_TOOSMALL:
		return -EINVAL;
	case NFS3ERR_FBIG:
		return -EFBIG;
	case NFS3ERR_NOSPC:
		return -ENOSPC;
	case NFS3ERR_ROFS:
		return -EROFS;
	case NFS3ERR_MLINK:
		return -EMLINK;
	case NFS3ERR_NAMETOOLONG:
		return -ENAMETOOLONG;
	case NFS3ERR_NOTEMPTY:
		return -ENOTEMPTY;
	case NFS3ERR_DQUOT:
		return -EDQUOT;
	case NFS3ERR_STALE:
	case NFS3ERR_BADHANDLE:
		return -ESTALE;
	case NFS3ERR_REMOTE:
		return -EREMOTE;
	case NFS3ERR_BAD_COOKIE:
		return -EBADE;
	case NFS3ERR_NOTSUPP:
	case NFS3ERR_BADTYPE:
		return -EOPNOTSUPP;
	case NFS3ERR_JUKEBOX:
		return -EINPROGRESS;
	default: /* SERVERFAULT, NOT_SYNC, and what is none of the protocol */
		return -EREMOTEIO;
	}
}

static bool decode_time(const nfstime3 *t, struct timespec *ret)
{
	if (t->nseconds >= 1000000000)
		return false;
	ret->tv_sec = (time_t)t->seconds;
	ret->tv_nsec = (long)t->nseconds;
	return true;
}

bool nfs_decode_attr(const fattr3 *a, struct attr *ret)
{
	static const uint32_t types[] = {
		[NF3REG] = S_IFREG,   [NF3DIR] = S_IFDIR, [NF3BLK] = S_IFBLK,
		[NF3CHR] = S_IFCHR,   [NF3LNK] = S_IFLNK,
		[NF3SOCK] = S_IFSOCK, [NF3FIFO] = S_IFIFO,
	};
	struct attr r = {
		.fsid = a->fsid,
		.fileid = a->fileid,
		.size = a->size,
		.used = a->used,
		.nlink = a->nlink,
		.uid = a->uid,
		.gid = a->gid,
		.rdev_major = a->rdev.specdata1,
		.rdev_minor = a->rdev.specdata2,
	};
	unsigned type = (unsigned)a->type;

	if (type >= ARRAY_LEN(types) || !types[type])
		return false;
	if (a->size > INT64_MAX || a->used > INT64_MAX)
		return false;
	if (!decode_time(&a->atime, &r.atime) ||
	    !decode_time(&a->mtime, &r.mtime) ||
	    !decode_time(&a->ctime, &r.ctime))
		return false;
	r.mode = types[type] | (a->mode & 07777);
	*ret = r;
	return true;
}

bool nfs_decode_post(const post_op_attr *p, struct attr *ret)
{
	return p->attributes_follow &&
	       nfs_decode_attr(&p->post_op_attr_u.attributes, ret);
}

static void decode_pre(const pre_op_attr *p, struct remote_pre *ret)
{
	const wcc_attr *a = &p->pre_op_attr_u.attributes;
	struct remote_pre r = { .valid = true, .size = a->size };

	if (p->attributes_follow && a->size <= INT64_MAX &&
	    decode_time(&a->mtime, &r.mtime) &&
	    decode_time(&a->ctime, &r.ctime))
		*ret = r;
}

static void decode_wcc(const wcc_data *w, struct remote_pre *ret_pre,
		       bool *ret_has, struct attr *ret)
{
	decode_pre(&w->before, ret_pre);
	*ret_has = nfs_decode_post(&w->after, ret);
}

bool nfs_decode_handle(const nfs_fh3 *fh, struct handle *ret)
{
	if (fh->data.data_len < 1 || fh->data.data_len > HANDLE_BYTES_MAX ||
	    !fh->data.data_val)
		return false;
	ret->len = (uint8_t)fh->data.data_len;
	memcpy(ret->data, fh->data.data_val, ret->len);
	return true;
}

void nfs_decode_post_handle(const post_op_fh3 *p, struct handle *ret)
{
	if (!p->handle_follows ||
	    !nfs_decode_handle(&p->post_op_fh3_u.handle, ret))
		ret->len = 0;
}

bool nfs_decode_name_ok(const char *s)
{
	size_t n;

	if (!s)
		return false;
	n = strnlen(s, NAME_BYTES_MAX + 1);
	return n >= 1 && n <= NAME_BYTES_MAX && !memchr(s, '/', n) &&
	       strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

/* ---- attributes ---- */

int nfs_decode_getattr(struct remote_call *c, const GETATTR3res *res)
{
	if (res->status != NFS3_OK)
		return nfs_decode_status(res->status);
	c->has_attr = nfs_decode_attr(
		&res->GETATTR3res_u.resok.obj_attributes, &c->attr);
	return c->has_attr ? 0 : -EREMOTEIO;
}

int nfs_decode_setattr(struct remote_call *c, const SETATTR3res *res)
{
	decode_wcc(res->status == NFS3_OK ?
			   &res->SETATTR3res_u.resok.obj_wcc :
			   &res->SETATTR3res_u.resfail.obj_wcc,
		   &c->pre, &c->has_attr, &c->attr);
	return nfs_decode_status(res->status);
}

int nfs_decode_lookup(struct remote_call *c, const LOOKUP3res *res)
{
	const LOOKUP3resok *ok = &res->LOOKUP3res_u.resok;

	if (res->status != NFS3_OK) {
		c->has_dir_attr = nfs_decode_post(
			&res->LOOKUP3res_u.resfail.dir_attributes,
			&c->dir_attr);
		return nfs_decode_status(res->status);
	}
	c->has_dir_attr = nfs_decode_post(&ok->dir_attributes, &c->dir_attr);
	if (!nfs_decode_handle(&ok->object, &c->fh_out))
		return -EREMOTEIO;
	c->has_attr = nfs_decode_post(&ok->obj_attributes, &c->attr);
	return 0;
}

int nfs_decode_access(struct remote_call *c, const ACCESS3res *res)
{
	const ACCESS3resok *ok = &res->ACCESS3res_u.resok;

	if (res->status != NFS3_OK) {
		c->has_attr = nfs_decode_post(
			&res->ACCESS3res_u.resfail.obj_attributes, &c->attr);
		return nfs_decode_status(res->status);
	}
	c->has_attr = nfs_decode_post(&ok->obj_attributes, &c->attr);
	c->access &= ok->access;
	return 0;
}

/* ---- data ---- */

static int set_data(struct remote_call *c, const char *bytes, size_t len)
{
	char *p = malloc(len + 1);

	if (!p)
		return -ENOMEM;
	if (len > 0)
		memcpy(p, bytes, len);
	p[len] = '\0';
	c->data = p;
	c->data_len = (uint32_t)len;
	return 0;
}

int nfs_decode_readlink(struct remote_call *c, const READLINK3res *res)
{
	const READLINK3resok *ok = &res->READLINK3res_u.resok;
	size_t len;

	if (res->status != NFS3_OK) {
		c->has_attr = nfs_decode_post(
			&res->READLINK3res_u.resfail.symlink_attributes,
			&c->attr);
		return nfs_decode_status(res->status);
	}
	c->has_attr = nfs_decode_post(&ok->symlink_attributes, &c->attr);
	len = ok->data ? strnlen(ok->data, PATH_MAX) : 0;
	if (len < 1 || len >= PATH_MAX)
		return -EREMOTEIO;
	return set_data(c, ok->data, len);
}

/* Without a copy, unless that would hold much memory for little data. */
static int set_data_of(struct remote_call *c, struct bytes *of, const void *at,
		       uint32_t n)
{
	if (n >= of->size - of->size / 4) {
		c->data_of = bytes_ref(of);
		c->data = (void *)(uintptr_t)at;
	} else {
		c->data_of = bytes_new(n);
		if (!c->data_of)
			return -ENOMEM;
		c->data = c->data_of->at;
		if (n > 0)
			memcpy(c->data, at, n);
	}
	c->data_len = n;
	return 0;
}

int nfs_decode_read(struct remote_call *c, const READ3res *res,
		    struct bytes *of, bool buffer)
{
	const READ3resok *ok = &res->READ3res_u.resok;
	uint32_t n;
	bool eof;

	if (res->status != NFS3_OK) {
		c->has_attr = nfs_decode_post(
			&res->READ3res_u.resfail.file_attributes, &c->attr);
		return nfs_decode_status(res->status);
	}
	c->has_attr = nfs_decode_post(&ok->file_attributes, &c->attr);
	n = ok->count;
	/* Where the data went to our buffer its length was checked there. */
	if (n > c->count || (!buffer && n != ok->data.data_len))
		return -EREMOTEIO;
	eof = ok->eof || (c->has_attr && c->offset + n >= c->attr.size);
	/* No data and no end: who reads on would read on for ever. */
	if (n == 0 && c->count > 0 && !eof)
		return -EREMOTEIO;
	c->eof = eof;
	return set_data_of(c, of, buffer ? (void *)of->at : ok->data.data_val,
			   n);
}

int nfs_decode_write(struct remote_call *c, const WRITE3res *res)
{
	const WRITE3resok *ok = &res->WRITE3res_u.resok;

	if (res->status != NFS3_OK) {
		decode_wcc(&res->WRITE3res_u.resfail.file_wcc, &c->pre,
			   &c->has_attr, &c->attr);
		return nfs_decode_status(res->status);
	}
	decode_wcc(&ok->file_wcc, &c->pre, &c->has_attr, &c->attr);
	if (ok->count > c->data_len || (ok->count == 0 && c->data_len > 0))
		return -EREMOTEIO;
	switch ((unsigned)ok->committed) {
	case UNSTABLE:
		c->stable = REMOTE_UNSTABLE;
		break;
	case DATA_SYNC:
		c->stable = REMOTE_DATA_SYNC;
		break;
	case FILE_SYNC:
		c->stable = REMOTE_FILE_SYNC;
		break;
	default:
		return -EREMOTEIO;
	}
	c->count = ok->count;
	memcpy(c->verf, ok->verf, sizeof(c->verf));
	return 0;
}

int nfs_decode_commit(struct remote_call *c, const COMMIT3res *res)
{
	const COMMIT3resok *ok = &res->COMMIT3res_u.resok;

	if (res->status != NFS3_OK) {
		decode_wcc(&res->COMMIT3res_u.resfail.file_wcc, &c->pre,
			   &c->has_attr, &c->attr);
		return nfs_decode_status(res->status);
	}
	decode_wcc(&ok->file_wcc, &c->pre, &c->has_attr, &c->attr);
	memcpy(c->verf, ok->verf, sizeof(c->verf));
	return 0;
}

/* ---- names made and removed ---- */

static void decode_dir_wcc(struct remote_call *c, const wcc_data *w)
{
	decode_wcc(w, &c->pre, &c->has_dir_attr, &c->dir_attr);
}

static void decode_made(struct remote_call *c, const post_op_fh3 *fh,
			const post_op_attr *attr, const wcc_data *dir)
{
	nfs_decode_post_handle(fh, &c->fh_out);
	c->has_attr = nfs_decode_post(attr, &c->attr);
	decode_dir_wcc(c, dir);
}

/* The four results have the same fields and four types. */
#define DEFINE_DECODE_MADE(lower, UPPER)                                       \
	int nfs_decode_##lower(struct remote_call *c, const UPPER##3res *res)  \
	{                                                                      \
		const UPPER##3resok *ok = &res->UPPER##3res##_u.resok;         \
                                                                               \
		if (res->status == NFS3_OK)                                    \
			decode_made(c, &ok->obj, &ok->obj_attributes,          \
				    &ok->dir_wcc);                             \
		else                                                           \
			decode_dir_wcc(c,                                      \
				       &res->UPPER##3res##_u.resfail.dir_wcc); \
		return nfs_decode_status(res->status);                         \
	}
DEFINE_DECODE_MADE(create, CREATE)
DEFINE_DECODE_MADE(mkdir, MKDIR)
DEFINE_DECODE_MADE(symlink, SYMLINK)
DEFINE_DECODE_MADE(mknod, MKNOD)

int nfs_decode_remove(struct remote_call *c, const REMOVE3res *res)
{
	decode_dir_wcc(c, res->status == NFS3_OK ?
				  &res->REMOVE3res_u.resok.dir_wcc :
				  &res->REMOVE3res_u.resfail.dir_wcc);
	return nfs_decode_status(res->status);
}

int nfs_decode_rmdir(struct remote_call *c, const RMDIR3res *res)
{
	decode_dir_wcc(c, res->status == NFS3_OK ?
				  &res->RMDIR3res_u.resok.dir_wcc :
				  &res->RMDIR3res_u.resfail.dir_wcc);
	return nfs_decode_status(res->status);
}

int nfs_decode_rename(struct remote_call *c, const RENAME3res *res)
{
	const RENAME3resok *ok = &res->RENAME3res_u.resok;
	const RENAME3resfail *fail = &res->RENAME3res_u.resfail;
	bool good = res->status == NFS3_OK;

	decode_dir_wcc(c, good ? &ok->fromdir_wcc : &fail->fromdir_wcc);
	decode_wcc(good ? &ok->todir_wcc : &fail->todir_wcc, &c->pre2,
		   &c->has_dir2_attr, &c->dir2_attr);
	return nfs_decode_status(res->status);
}

int nfs_decode_link(struct remote_call *c, const LINK3res *res)
{
	const LINK3resok *ok = &res->LINK3res_u.resok;
	const LINK3resfail *fail = &res->LINK3res_u.resfail;
	bool good = res->status == NFS3_OK;

	c->has_attr = nfs_decode_post(
		good ? &ok->file_attributes : &fail->file_attributes, &c->attr);
	decode_dir_wcc(c, good ? &ok->linkdir_wcc : &fail->linkdir_wcc);
	return nfs_decode_status(res->status);
}

/* ---- the filesystem ---- */

int nfs_decode_fsstat(struct remote_call *c, const FSSTAT3res *res)
{
	const FSSTAT3resok *ok = &res->FSSTAT3res_u.resok;

	if (res->status != NFS3_OK)
		return nfs_decode_status(res->status);
	c->fsstat = (struct remote_fsstat){
		.bytes_total = ok->tbytes,
		.bytes_free = ok->fbytes,
		.bytes_avail = ok->abytes,
		.files_total = ok->tfiles,
		.files_free = ok->ffiles,
		.files_avail = ok->afiles,
	};
	return 0;
}

/* A transfer of no bytes would never end, one larger than libnfs takes would
 * cost the connection. */
static uint32_t transfer_size(uint32_t max, uint32_t preferred)
{
	uint32_t n = max ? max : preferred;

	return MIN(n, (uint32_t)NFS_IO_BYTES_MAX);
}

int nfs_decode_fsinfo(struct remote_call *c, const FSINFO3res *res)
{
	const FSINFO3resok *ok = &res->FSINFO3res_u.resok;
	struct remote_fsinfo i = { 0 };

	if (res->status != NFS3_OK)
		return nfs_decode_status(res->status);
	i.read_max = transfer_size(ok->rtmax, ok->rtpref);
	i.write_max = transfer_size(ok->wtmax, ok->wtpref);
	i.readdir_pref = transfer_size(ok->dtpref, 8192);
	i.file_size_max = MIN(ok->maxfilesize, (uint64_t)INT64_MAX);
	i.has_links = ok->properties & FSF3_LINK;
	i.has_symlinks = ok->properties & FSF3_SYMLINK;
	i.can_set_time = ok->properties & FSF3_CANSETTIME;
	if (i.read_max == 0 || i.write_max == 0 ||
	    !decode_time(&ok->time_delta, &i.time_delta))
		return -EREMOTEIO;
	c->has_attr = nfs_decode_post(&ok->obj_attributes, &c->attr);
	c->fsinfo = i;
	return 0;
}

int nfs_decode_pathconf(struct remote_call *c, const PATHCONF3res *res)
{
	const PATHCONF3resok *ok = &res->PATHCONF3res_u.resok;

	if (res->status != NFS3_OK)
		return nfs_decode_status(res->status);
	c->pathconf = (struct remote_pathconf){
		.link_max = ok->linkmax,
		.name_max = ok->name_max,
		.no_trunc = ok->no_trunc,
		.chown_restricted = ok->chown_restricted,
		.case_insensitive = ok->case_insensitive,
		.case_preserving = ok->case_preserving,
	};
	return 0;
}

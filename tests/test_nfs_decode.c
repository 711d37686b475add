/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_nfs_decode.c: replies of a server that errs or means harm.
 *
 * Structures are handed to the decoders as libnfs would; test_nfs_reply.c
 * starts from bytes.
 */
#include "run.h"

#include <limits.h>

#include "../fs/nfs.h"

static struct remote_call *new_call(enum remote_op op)
{
	static const struct handle fh = { .len = 4, .data = "dirh" };
	struct remote_call *c = remote_call_new(op, &fh, NULL);

	assert_non_null(c);
	return c;
}

static fattr3 good_attr(void)
{
	fattr3 a = { .type = NF3REG,
		     .mode = 0100644, /* servers send type bits, too */
		     .nlink = 2,
		     .uid = 1,
		     .gid = 2,
		     .size = 77,
		     .used = 4096,
		     .rdev = { 8, 1 },
		     .fsid = 5,
		     .fileid = 6,
		     .atime = { 10, 11 },
		     .mtime = { UINT32_MAX, 999999999 },
		     .ctime = { 14, 0 } };

	return a;
}

static post_op_attr post(fattr3 a)
{
	post_op_attr p = { .attributes_follow = 1 };

	p.post_op_attr_u.attributes = a;
	return p;
}

static nfs_fh3 fh_of(char *bytes, uint32_t len)
{
	nfs_fh3 fh = { { len, bytes } };

	return fh;
}

/* ---- parts ---- */

static void test_attr(void **state)
{
	fattr3 a = good_attr();
	struct attr r;

	(void)state;
	assert_true(nfs_decode_attr(&a, &r));
	assert_int_equal(r.mode, S_IFREG | 0644);
	assert_int_equal(r.size, 77);
	assert_int_equal(r.mtime.tv_sec, UINT32_MAX);
	assert_int_equal(r.mtime.tv_nsec, 999999999);
	assert_int_equal(r.rdev_major, 8);

	a.mode = UINT32_MAX;
	a.type = NF3LNK;
	assert_true(nfs_decode_attr(&a, &r));
	assert_int_equal(r.mode, S_IFLNK | 07777);
}

static void test_attr_hostile(void **state)
{
	static const int types[] = { 0, 8, -1, INT_MAX, INT_MIN };
	struct attr r = { .mode = 4711 };
	fattr3 a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		a = good_attr();
		a.type = (ftype3)types[i];
		assert_false(nfs_decode_attr(&a, &r));
	}
	a = good_attr();
	a.size = (uint64_t)INT64_MAX + 1;
	assert_false(nfs_decode_attr(&a, &r));
	a = good_attr();
	a.used = UINT64_MAX;
	assert_false(nfs_decode_attr(&a, &r));
	a = good_attr();
	a.mtime.nseconds = 1000000000;
	assert_false(nfs_decode_attr(&a, &r));
	a = good_attr();
	a.ctime.nseconds = UINT32_MAX;
	assert_false(nfs_decode_attr(&a, &r));
	assert_int_equal(r.mode, 4711); /* left alone */
}

static void test_handle(void **state)
{
	char bytes[65] = "0123456789";
	struct handle h = { .len = 3 };
	nfs_fh3 fh;

	(void)state;
	fh = fh_of(bytes, 64);
	assert_true(nfs_decode_handle(&fh, &h));
	assert_int_equal(h.len, 64);
	assert_memory_equal(h.data, bytes, 64);
	h.len = 3;
	fh = fh_of(bytes, 65);
	assert_false(nfs_decode_handle(&fh, &h));
	fh = fh_of(bytes, UINT32_MAX);
	assert_false(nfs_decode_handle(&fh, &h));
	fh = fh_of(bytes, 256 + 4); /* 4 in a byte */
	assert_false(nfs_decode_handle(&fh, &h));
	fh = fh_of(bytes, 0);
	assert_false(nfs_decode_handle(&fh, &h));
	fh = fh_of(NULL, 8);
	assert_false(nfs_decode_handle(&fh, &h));
	assert_int_equal(h.len, 3);
}

static void test_name(void **state)
{
	char name[NAME_BYTES_MAX + 2];

	(void)state;
	assert_true(nfs_decode_name_ok("a"));
	assert_true(nfs_decode_name_ok("..."));
	assert_true(nfs_decode_name_ok(".hidden"));
	assert_true(nfs_decode_name_ok("new\nline\\ \xff"));
	assert_false(nfs_decode_name_ok(NULL));
	assert_false(nfs_decode_name_ok(""));
	assert_false(nfs_decode_name_ok("."));
	assert_false(nfs_decode_name_ok(".."));
	assert_false(nfs_decode_name_ok("/"));
	assert_false(nfs_decode_name_ok("../etc"));
	assert_false(nfs_decode_name_ok("a/"));
	memset(name, 'n', sizeof(name));
	name[NAME_BYTES_MAX + 1] = '\0';
	assert_false(nfs_decode_name_ok(name));
	name[NAME_BYTES_MAX] = '\0';
	assert_true(nfs_decode_name_ok(name));
}

static void test_status(void **state)
{
	(void)state;
	assert_int_equal(nfs_decode_status(NFS3_OK), 0);
	assert_int_equal(nfs_decode_status(NFS3ERR_NOENT), -ENOENT);
	assert_int_equal(nfs_decode_status(NFS3ERR_JUKEBOX), -EINPROGRESS);
	assert_int_equal(nfs_decode_status(NFS3ERR_BADHANDLE), -ESTALE);
	assert_int_equal(nfs_decode_status(NFS3ERR_BAD_COOKIE), -EBADE);
	/* No number a server invents is a success or one of ours. */
	for (int i = -70000; i < 70000; i++) {
		int r = nfs_decode_status(i);

		assert_true(i == 0 ? r == 0 : r < 0);
		assert_false(remote_error_is_transport(r));
		assert_int_not_equal(r, -EINTR);
		assert_int_not_equal(r, -EAGAIN);
	}
	assert_int_equal(nfs_decode_status(INT_MIN), -EREMOTEIO);
}

/* ---- single objects ---- */

static void test_getattr(void **state)
{
	struct remote_call *c = new_call(REMOTE_GETATTR);
	GETATTR3res res = { .status = NFS3_OK };

	(void)state;
	res.GETATTR3res_u.resok.obj_attributes = good_attr();
	assert_int_equal(nfs_decode_getattr(c, &res), 0);
	assert_true(c->has_attr);
	res.GETATTR3res_u.resok.obj_attributes.type = (ftype3)9;
	assert_int_equal(nfs_decode_getattr(c, &res), -EREMOTEIO);
	assert_false(c->has_attr);
	remote_call_unref(c);
}

static void test_lookup(void **state)
{
	struct remote_call *c = new_call(REMOTE_LOOKUP);
	LOOKUP3res res = { .status = NFS3_OK };
	LOOKUP3resok *ok = &res.LOOKUP3res_u.resok;
	char bytes[64] = "h";

	(void)state;
	ok->object = fh_of(bytes, 8);
	ok->obj_attributes = post(good_attr());
	ok->obj_attributes.post_op_attr_u.attributes.atime.nseconds = ~0U;
	ok->dir_attributes = post(good_attr());
	assert_int_equal(nfs_decode_lookup(c, &res), 0);
	assert_int_equal(c->fh_out.len, 8);
	assert_false(c->has_attr); /* optional and wrong: not given */
	assert_true(c->has_dir_attr);

	remote_call_reset(c);
	ok->object = fh_of(bytes, 65);
	assert_int_equal(nfs_decode_lookup(c, &res), -EREMOTEIO);
	assert_int_equal(c->fh_out.len, 0);

	memset(&res, 0, sizeof(res));
	res.status = NFS3ERR_NOENT;
	res.LOOKUP3res_u.resfail.dir_attributes = post(good_attr());
	assert_int_equal(nfs_decode_lookup(c, &res), -ENOENT);
	assert_true(c->has_dir_attr);
	remote_call_unref(c);
}

static void test_access_grants_no_more_than_asked(void **state)
{
	struct remote_call *c = new_call(REMOTE_ACCESS);
	ACCESS3res res = { .status = NFS3_OK };

	(void)state;
	c->access = REMOTE_ACCESS_READ | REMOTE_ACCESS_EXECUTE;
	res.ACCESS3res_u.resok.access = ~(uint32_t)REMOTE_ACCESS_READ;
	assert_int_equal(nfs_decode_access(c, &res), 0);
	assert_int_equal(c->access, REMOTE_ACCESS_EXECUTE);
	remote_call_unref(c);
}

static void test_readlink(void **state)
{
	struct remote_call *c = new_call(REMOTE_READLINK);
	READLINK3res res = { .status = NFS3_OK };
	char target[PATH_MAX + 1];

	(void)state;
	memset(target, 't', sizeof(target));
	target[PATH_MAX] = '\0';
	res.READLINK3res_u.resok.data = target;
	assert_int_equal(nfs_decode_readlink(c, &res), -EREMOTEIO);
	assert_null(c->data);
	target[PATH_MAX - 1] = '\0';
	assert_int_equal(nfs_decode_readlink(c, &res), 0);
	assert_int_equal(c->data_len, PATH_MAX - 1);
	assert_string_equal(c->data, target);
	remote_call_reset(c);
	target[0] = '\0';
	assert_int_equal(nfs_decode_readlink(c, &res), -EREMOTEIO);
	res.READLINK3res_u.resok.data = NULL;
	assert_int_equal(nfs_decode_readlink(c, &res), -EREMOTEIO);
	remote_call_unref(c);
}

/* ---- data ---- */

static int read_reply(struct remote_call *c, uint32_t count, uint32_t len,
		      bool eof)
{
	struct bytes *record = bytes_new(60);
	READ3res res = { .status = NFS3_OK };
	READ3resok *ok = &res.READ3res_u.resok;
	int r;

	assert_non_null(record);
	memset(record->at, 'x', record->size);
	ok->count = count;
	ok->eof = eof;
	ok->data.data_len = len;
	ok->data.data_val = (char *)record->at + 10;
	remote_call_reset(c);
	r = nfs_decode_read(c, &res, record, false);
	/* Most of it: the record itself. */
	assert_int_equal(r == 0 && c->data == record->at + 10, r == 0 && len > 45);
	bytes_unref(record);
	for (uint32_t k = 0; r == 0 && k < len; k++)
		assert_int_equal(((char *)c->data)[k], 'x');
	return r;
}

static void test_read(void **state)
{
	struct remote_call *c = new_call(REMOTE_READ);

	(void)state;
	c->count = 50;
	assert_int_equal(read_reply(c, 50, 50, false), 0);
	assert_int_equal(c->data_len, 50);
	assert_false(c->eof);
	assert_int_equal(read_reply(c, 10, 10, true), 0);
	assert_true(c->eof);
	assert_int_equal(read_reply(c, 0, 0, true), 0);
	assert_int_equal(c->data_len, 0);
	assert_int_equal(read_reply(c, 51, 51, false), -EREMOTEIO);
	assert_int_equal(read_reply(c, 50, 10, false), -EREMOTEIO);
	assert_int_equal(read_reply(c, 10, 50, false), -EREMOTEIO);
	assert_int_equal(read_reply(c, UINT32_MAX, 50, false), -EREMOTEIO);
	/* Neither data nor the end. */
	assert_int_equal(read_reply(c, 0, 0, false), -EREMOTEIO);
	assert_null(c->data);
	remote_call_unref(c);
}

/* Some servers say so only by the size. */
static void test_read_eof_by_size(void **state)
{
	struct remote_call *c = new_call(REMOTE_READ);
	READ3res res = { .status = NFS3_OK };
	struct bytes *record = bytes_new(60);

	(void)state;
	c->offset = 77;
	c->count = 10;
	res.READ3res_u.resok.file_attributes = post(good_attr());
	assert_int_equal(nfs_decode_read(c, &res, record, false), 0);
	assert_true(c->eof);
	bytes_unref(record);
	remote_call_unref(c);
}

static void test_read_takes_buffer_over(void **state)
{
	struct remote_call *c = new_call(REMOTE_READ);
	READ3res res = { .status = NFS3_OK };
	struct bytes *buf = bytes_new(10);

	(void)state;
	c->count = 10;
	res.READ3res_u.resok.count = 10;
	assert_int_equal(nfs_decode_read(c, &res, buf, true), 0);
	assert_ptr_equal(c->data, buf->at);
	bytes_unref(buf);
	remote_call_unref(c);
}

static void test_write(void **state)
{
	struct remote_call *c = new_call(REMOTE_WRITE);
	WRITE3res res = { .status = NFS3_OK };
	WRITE3resok *ok = &res.WRITE3res_u.resok;

	(void)state;
	c->data_len = 10;
	ok->count = 7;
	ok->committed = FILE_SYNC;
	memcpy(ok->verf, "verifier", 8);
	assert_int_equal(nfs_decode_write(c, &res), 0);
	assert_int_equal(c->count, 7);
	assert_int_equal(c->stable, REMOTE_FILE_SYNC);
	assert_memory_equal(c->verf, "verifier", 8);
	ok->count = 11;
	assert_int_equal(nfs_decode_write(c, &res), -EREMOTEIO);
	ok->count = 0;
	assert_int_equal(nfs_decode_write(c, &res), -EREMOTEIO);
	ok->count = 10;
	ok->committed = (stable_how)3;
	assert_int_equal(nfs_decode_write(c, &res), -EREMOTEIO);
	ok->committed = (stable_how)-1;
	assert_int_equal(nfs_decode_write(c, &res), -EREMOTEIO);
	remote_call_unref(c);
}

static void test_create(void **state)
{
	struct remote_call *c = new_call(REMOTE_CREATE);
	CREATE3res res = { .status = NFS3_OK };
	CREATE3resok *ok = &res.CREATE3res_u.resok;
	char bytes[100] = "h";

	(void)state;
	ok->obj.handle_follows = 1;
	ok->obj.post_op_fh3_u.handle = fh_of(bytes, 100);
	ok->dir_wcc.before.attributes_follow = 1;
	ok->dir_wcc.before.pre_op_attr_u.attributes.mtime.nseconds = ~0U;
	ok->dir_wcc.after = post(good_attr());
	assert_int_equal(nfs_decode_create(c, &res), 0);
	assert_int_equal(c->fh_out.len, 0);
	assert_false(c->pre.valid);
	assert_true(c->has_dir_attr);
	remote_call_unref(c);
}

static void test_fsinfo(void **state)
{
	struct remote_call *c = new_call(REMOTE_FSINFO);
	FSINFO3res res = { .status = NFS3_OK };
	FSINFO3resok *ok = &res.FSINFO3res_u.resok;

	(void)state;
	assert_int_equal(nfs_decode_fsinfo(c, &res), -EREMOTEIO);
	ok->rtmax = UINT32_MAX;
	ok->wtpref = 4096;
	ok->maxfilesize = UINT64_MAX;
	assert_int_equal(nfs_decode_fsinfo(c, &res), 0);
	assert_int_equal(c->fsinfo.read_max, NFS_IO_BYTES_MAX);
	assert_int_equal(c->fsinfo.write_max, 4096);
	assert_int_equal(c->fsinfo.readdir_pref, 8192);
	assert_int_equal(c->fsinfo.file_size_max, INT64_MAX);
	remote_call_unref(c);
}

/* ---- listings ---- */

struct entry {
	const char *name;
	uint64_t cookie;
};

/* Decode a page of @n entries, at most 8. */
static int list(struct remote_call *c, const struct entry *in, size_t n,
		bool eof, uint64_t *cookie)
{
	READDIRPLUS3res res = { .status = NFS3_OK };
	READDIRPLUS3resok *ok = &res.READDIRPLUS3res_u.resok;
	entryplus3 e[8];
	char names[8][300];

	memset(e, 0, sizeof(e));
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%s", in[i].name);
		e[i].name = names[i];
		e[i].fileid = 100 + i;
		e[i].cookie = in[i].cookie;
		e[i].name_attributes = post(good_attr());
		e[i].nextentry = i + 1 < n ? &e[i + 1] : NULL;
	}
	ok->reply.entries = n ? e : NULL;
	ok->reply.eof = eof;
	memcpy(ok->cookieverf, "cookverf", 8);
	remote_call_reset(c);
	return nfs_decode_readdirplus(c, &res, cookie);
}

static void test_list(void **state)
{
	static const struct entry in[] = { { ".", 1 }, { "b", 2 },
					   { "..", 3 }, { "c/d", 4 },
					   { "e", 5 },  { "", 6 },
					   { "..", 7 } };
	struct remote_call *c = new_call(REMOTE_READDIRPLUS);
	uint64_t cookie = 0;

	(void)state;
	assert_int_equal(list(c, in, ARRAY_LEN(in), false, &cookie), 0);
	assert_int_equal(c->entries_n, 2);
	assert_string_equal(c->entries[0].name, "b");
	assert_int_equal(c->entries[0].fileid, 101);
	assert_int_equal(c->entries[0].cookie, 2);
	assert_string_equal(c->entries[1].name, "e");
	/* What was dropped after it is not listed again. */
	assert_int_equal(c->entries[1].cookie, 7);
	assert_true(c->entries[1].has_attr);
	assert_int_equal(c->entries[1].fh.len, 0);
	assert_memory_equal(c->verf, "cookverf", 8);
	assert_false(c->eof);
	remote_call_unref(c);
}

static void test_list_long_name(void **state)
{
	char name[300];
	const struct entry in[] = { { name, 1 }, { "b", 2 } };
	struct remote_call *c = new_call(REMOTE_READDIRPLUS);
	uint64_t cookie = 0;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[256] = '\0';
	assert_int_equal(list(c, in, 2, true, &cookie), 0);
	assert_int_equal(c->entries_n, 1);
	name[255] = '\0';
	assert_int_equal(list(c, in, 2, true, &cookie), 0);
	assert_int_equal(c->entries_n, 2);
	assert_true(c->eof);
	remote_call_unref(c);
}

static void test_list_without_names(void **state)
{
	static const struct entry in[] = { { ".", 1 }, { "..", 2 } };
	struct remote_call *c = new_call(REMOTE_READDIRPLUS);
	uint64_t cookie = 0;

	(void)state;
	assert_int_equal(list(c, in, 2, false, &cookie), NFS_AGAIN);
	assert_int_equal(cookie, 2);
	assert_int_equal(c->entries_n, 0);
	assert_int_equal(list(c, in, 2, true, &cookie), 0);
	assert_true(c->eof);
	assert_int_equal(list(c, NULL, 0, true, &cookie), 0);
	assert_int_equal(c->entries_n, 0);
	remote_call_unref(c);
}

static void test_list_without_end(void **state)
{
	static const struct entry same[] = { { "a", 5 }, { "b", 9 } };
	static const struct entry zero[] = { { "a", 5 }, { "b", 0 } };
	struct remote_call *c = new_call(REMOTE_READDIRPLUS);
	uint64_t cookie = 9;

	(void)state;
	assert_int_equal(list(c, NULL, 0, false, &cookie), -EREMOTEIO);
	assert_int_equal(list(c, same, 2, false, &cookie), -EREMOTEIO);
	assert_int_equal(list(c, zero, 2, false, &cookie), -EREMOTEIO);
	cookie = 4;
	assert_int_equal(list(c, same, 2, false, &cookie), 0);
	remote_call_unref(c);
}

static void test_list_plain(void **state)
{
	struct remote_call *c = new_call(REMOTE_READDIRPLUS);
	READDIR3res res = { .status = NFS3_OK };
	char a[] = "a", dots[] = "..";
	entry3 second = { .name = dots, .cookie = 8 };
	entry3 first = { .name = a, .fileid = 3, .cookie = 7,
			 .nextentry = &second };
	uint64_t cookie = 0;

	(void)state;
	res.READDIR3res_u.resok.reply.entries = &first;
	assert_int_equal(nfs_decode_readdir(c, &res, &cookie), 0);
	assert_int_equal(c->entries_n, 1);
	assert_int_equal(c->entries[0].cookie, 8);
	assert_false(c->entries[0].has_attr);
	remote_call_unref(c);
}

RUN_TESTS(cmocka_unit_test(test_attr),
	  cmocka_unit_test(test_attr_hostile),
	  cmocka_unit_test(test_handle),
	  cmocka_unit_test(test_name),
	  cmocka_unit_test(test_status),
	  cmocka_unit_test(test_getattr),
	  cmocka_unit_test(test_lookup),
	  cmocka_unit_test(test_access_grants_no_more_than_asked),
	  cmocka_unit_test(test_readlink),
	  cmocka_unit_test(test_read),
	  cmocka_unit_test(test_read_eof_by_size),
	  cmocka_unit_test(test_read_takes_buffer_over),
	  cmocka_unit_test(test_write),
	  cmocka_unit_test(test_create),
	  cmocka_unit_test(test_fsinfo),
	  cmocka_unit_test(test_list),
	  cmocka_unit_test(test_list_long_name),
	  cmocka_unit_test(test_list_without_names),
	  cmocka_unit_test(test_list_without_end),
	  cmocka_unit_test(test_list_plain))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_remote_mem.c: the server in memory behaves as an NFSv3 server does:
 * other tests stand on it.
 */
#include "remote_server.h"
#include "run.h"

static uint64_t ns(struct timespec t)
{
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void assert_text(struct remote_mem *m, const char *path,
			const char *want)
{
	CLEANUP_FREE char *text = NULL;
	size_t len;

	assert_ok(remote_mem_read_file(m, path, &text, &len));
	assert_string_equal(text, want);
}

/* ---- files ---- */

static void test_create(void **state)
{
	struct server s;
	struct remote_call *c;
	struct handle fh;
	struct attr before, a;

	start(&s, NULL);
	assert_ok(do_getattr(s.r, &s.root, &before));
	c = do_new(REMOTE_CREATE, &s.root, "f");
	c->set.valid = REMOTE_SET_MODE | REMOTE_SET_MTIME | REMOTE_SET_GID;
	c->set.mode = 0640;
	c->set.gid = 7;
	c->set.mtime = (struct timespec){ 5, 6 };
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_true(c->pre.valid && c->has_attr && c->has_dir_attr);
	assert_true(timespec_equal(&c->pre.mtime, &before.mtime));
	assert_true(timespec_equal(&c->pre.ctime, &before.ctime));
	assert_true(ns(c->dir_attr.mtime) > ns(before.mtime));
	assert_int_equal(c->attr.mode, S_IFREG | 0640);
	assert_int_equal(c->attr.gid, 7);
	assert_int_equal(ns(c->attr.mtime), 5000000006);
	assert_int_equal(c->attr.nlink, 1);
	fh = c->fh_out;
	remote_call_unref(c);

	assert_int_equal(do_make(s.r, REMOTE_CREATE, &s.root, "f", 0600, 0,
				 NULL), -EEXIST);
	assert_int_equal(do_make(s.r, REMOTE_MKDIR, &fh, "f", 0600, 0, NULL),
			 -ENOTDIR);
	assert_ok(do_lookup(s.r, &s.root, "f", &fh, &a));
	assert_int_equal(a.mode, S_IFREG | 0640);
	assert_int_equal(do_lookup(s.r, &s.root, "g", NULL, NULL), -ENOENT);
	assert_int_equal(do_lookup(s.r, &fh, "g", NULL, NULL), -ENOTDIR);
	stop(&s);
}

static void read_expect(struct server *s, const struct handle *fh,
			uint64_t offset, uint32_t count, const void *want,
			uint32_t want_len, bool want_eof)
{
	struct remote_call *c = do_new(REMOTE_READ, fh, NULL);

	c->offset = offset;
	c->count = count;
	assert_ok(remote_run(s->r, c, NULL, 0));
	assert_int_equal(c->data_len, want_len);
	assert_memory_equal(c->data, want, want_len);
	assert_int_equal(c->eof, want_eof);
	remote_call_unref(c);
}

static void test_contents(void **state)
{
	static const char zeros[9000];
	struct remote_sattr shrink = { .valid = REMOTE_SET_SIZE, .size = 2 };
	struct remote_sattr grow = { .valid = REMOTE_SET_SIZE, .size = 9000 };
	struct server s;
	struct handle fh;
	struct attr a, b;

	start(&s, NULL);
	assert_ok(do_make(s.r, REMOTE_CREATE, &s.root, "f", 0600, 0, &fh));
	assert_ok(do_write(s.r, &fh, 0, "hello", 5));
	read_expect(&s, &fh, 0, 100, "hello", 5, true);
	read_expect(&s, &fh, 1, 2, "el", 2, false);
	read_expect(&s, &fh, 3, 2, "lo", 2, true);
	read_expect(&s, &fh, 9, 2, "", 0, true);

	/* Far behind: a hole, and no memory for it. */
	assert_ok(do_write(s.r, &fh, UINT64_C(1) << 40, "x", 1));
	assert_ok(do_getattr(s.r, &fh, &a));
	assert_int_equal(a.size, (UINT64_C(1) << 40) + 1);
	assert_int_equal(a.used, 8192);
	read_expect(&s, &fh, 8000, 9000, zeros, 9000, false);

	/* What was cut off does not come back. */
	assert_ok(do_setattr(s.r, &fh, &shrink, &a));
	assert_int_equal(a.size, 2);
	assert_ok(do_setattr(s.r, &fh, &grow, &b));
	assert_true(ns(b.mtime) > ns(a.mtime));
	read_expect(&s, &fh, 0, 2, "he", 2, false);
	read_expect(&s, &fh, 2, 9000, zeros, 8998, true);
	assert_int_equal(do_write(s.r, &fh, INT64_MAX, "x", 1), -EFBIG);
	assert_int_equal(do_write(s.r, &s.root, 0, "x", 1), -EISDIR);
	stop(&s);
}

static void test_write_verifier(void **state)
{
	struct server s;
	struct handle fh;
	struct remote_call *w, *c;

	start(&s, NULL);
	assert_ok(do_make(s.r, REMOTE_CREATE, &s.root, "f", 0600, 0, &fh));
	w = do_new(REMOTE_WRITE, &fh, NULL);
	do_set_data(w, "abc", 3);
	assert_ok(remote_run(s.r, w, NULL, 0));
	assert_int_equal(w->count, 3);
	assert_true(w->pre.valid && w->pre.size == 0 && w->attr.size == 3);
	c = do_new(REMOTE_COMMIT, &fh, NULL);
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_memory_equal(c->verf, w->verf, 8);
	remote_mem_restart(s.mem);
	remote_call_reset(c);
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_memory_not_equal(c->verf, w->verf, 8);
	assert_text(s.mem, "/f", "abc");
	remote_call_unref(c);
	remote_call_unref(w);
	stop(&s);
}

static void test_set_attributes(void **state)
{
	struct remote_sattr own = { .valid = REMOTE_SET_MODE | REMOTE_SET_UID,
				    .mode = 04755,
				    .uid = 3 };
	struct remote_sattr suid = { .valid = REMOTE_SET_MODE, .mode = 06755 };
	struct remote_sattr times = { .valid = REMOTE_SET_MTIME |
					       REMOTE_SET_ATIME_NOW,
				      .mtime = { 77, 123456789 } };
	struct server s;
	struct handle fh;
	struct attr a;

	start(&s, NULL);
	assert_ok(do_make(s.r, REMOTE_CREATE, &s.root, "f", 0600, 0, &fh));
	assert_ok(do_setattr(s.r, &fh, &own, &a));
	assert_int_equal(a.mode, S_IFREG | 0755); /* the owner's change wins */
	assert_ok(do_setattr(s.r, &fh, &suid, &a));
	assert_int_equal(a.mode, S_IFREG | 06755);
	assert_ok(do_setattr(s.r, &fh, &times, &a));
	assert_int_equal(ns(a.mtime), 77123456789);
	assert_int_equal(ns(a.atime), ns(a.ctime));
	remote_mem_set_granularity(s.mem, 1000000);
	assert_ok(do_setattr(s.r, &fh, &times, &a));
	assert_int_equal(ns(a.mtime), 77123000000);
	assert_int_equal(ns(a.ctime) % 1000000, 0);
	own.valid = REMOTE_SET_SIZE;
	assert_int_equal(do_setattr(s.r, &s.root, &own, NULL), -EISDIR);
	stop(&s);
}

/* ---- names ---- */

static void test_stale_handle(void **state)
{
	struct server s;
	struct handle old, new;
	struct attr a, b;

	start(&s, NULL);
	assert_ok(do_make(s.r, REMOTE_CREATE, &s.root, "f", 0600, 0, &old));
	assert_ok(do_getattr(s.r, &old, &a));
	assert_ok(do_remove(s.r, REMOTE_REMOVE, &s.root, "f"));
	assert_int_equal(do_getattr(s.r, &old, NULL), -ESTALE);
	assert_ok(do_make(s.r, REMOTE_CREATE, &s.root, "f", 0600, 0, &new));
	assert_ok(do_getattr(s.r, &new, &b));
	assert_int_equal(a.fileid, b.fileid); /* used again, but told apart: */
	assert_false(handle_equal(&old, &new));
	assert_int_equal(do_getattr(s.r, &old, NULL), -ESTALE);
	assert_int_equal(do_write(s.r, &old, 0, "x", 1), -ESTALE);
	stop(&s);
}

static void test_remove(void **state)
{
	struct server s;
	struct handle dir, fh;
	struct attr a;

	start(&s, NULL);
	assert_ok(do_make(s.r, REMOTE_MKDIR, &s.root, "d", 0755, 0, &dir));
	assert_ok(do_make(s.r, REMOTE_CREATE, &dir, "f", 0755, 0, &fh));
	assert_ok(do_getattr(s.r, &s.root, &a));
	assert_int_equal(a.nlink, 3);
	assert_int_equal(do_remove(s.r, REMOTE_REMOVE, &s.root, "d"), -EISDIR);
	assert_int_equal(do_remove(s.r, REMOTE_RMDIR, &s.root, "d"),
			 -ENOTEMPTY);
	assert_int_equal(do_remove(s.r, REMOTE_RMDIR, &dir, "f"), -ENOTDIR);
	assert_int_equal(do_remove(s.r, REMOTE_REMOVE, &dir, "g"), -ENOENT);
	assert_ok(do_remove(s.r, REMOTE_REMOVE, &dir, "f"));
	assert_ok(do_remove(s.r, REMOTE_RMDIR, &s.root, "d"));
	assert_ok(do_getattr(s.r, &s.root, &a));
	assert_int_equal(a.nlink, 2);
	assert_int_equal(do_getattr(s.r, &dir, NULL), -ESTALE);
	stop(&s);
}

static void test_rename(void **state)
{
	struct server s;
	struct handle a, b, fh, old;
	struct attr attr;
	struct remote_call *c;

	start(&s, NULL);
	assert_ok(do_make(s.r, REMOTE_MKDIR, &s.root, "a", 0755, 0, &a));
	assert_ok(do_make(s.r, REMOTE_MKDIR, &a, "b", 0755, 0, &b));
	assert_ok(do_make(s.r, REMOTE_CREATE, &s.root, "f", 0644, 0, &fh));
	assert_ok(do_make(s.r, REMOTE_CREATE, &b, "old", 0644, 0, &old));
	assert_int_equal(do_rename(s.r, &s.root, "a", &b, "a"), -EINVAL);
	assert_int_equal(do_rename(s.r, &s.root, "f", &s.root, "a"), -EISDIR);
	assert_int_equal(do_rename(s.r, &s.root, "a", &s.root, "f"), -ENOTDIR);
	assert_int_equal(do_rename(s.r, &s.root, "x", &s.root, "f"), -ENOENT);

	c = do_new_rename(&s.root, "f", &b, "old", &fh);
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_true(c->pre.valid && c->pre2.valid && c->has_dir2_attr);
	assert_true(ns(c->pre2.mtime) < ns(c->dir2_attr.mtime));
	remote_call_unref(c);
	assert_int_equal(do_getattr(s.r, &old, NULL), -ESTALE);
	assert_ok(do_lookup(s.r, &b, "old", &old, NULL));
	assert_true(handle_equal(&old, &fh));

	assert_ok(do_make(s.r, REMOTE_MKDIR, &s.root, "c", 0755, 0, NULL));
	assert_int_equal(do_rename(s.r, &s.root, "c", &a, "b"), -ENOTEMPTY);
	assert_ok(do_rename(s.r, &a, "b", &s.root, "c"));
	assert_ok(do_lookup(s.r, &b, "..", &old, &attr));
	assert_true(handle_equal(&old, &s.root));
	assert_int_equal(attr.nlink, 4);

	/* Two names of one file: nothing happens. */
	assert_ok(do_call(s.r, do_new_link(&fh, &b, "new"), NULL, NULL));
	assert_ok(do_rename(s.r, &b, "old", &b, "new"));
	assert_ok(do_lookup(s.r, &b, "old", NULL, &attr));
	assert_int_equal(attr.nlink, 2);
	stop(&s);
}

static void test_links(void **state)
{
	struct remote_mem_options o = { .link_max = 3 };
	struct server s;
	struct handle fh;
	struct attr a;

	start(&s, &o);
	assert_ok(do_make(s.r, REMOTE_CREATE, &s.root, "f", 0644, 0, &fh));
	assert_int_equal(do_call(s.r, do_new_link(&fh, &s.root, "f"), NULL,
				 NULL), -EEXIST);
	assert_int_equal(do_call(s.r, do_new_link(&s.root, &s.root, "g"), NULL,
				 NULL), -EISDIR);
	assert_ok(do_call(s.r, do_new_link(&fh, &s.root, "g"), NULL, &a));
	assert_int_equal(a.nlink, 2);
	assert_ok(do_call(s.r, do_new_link(&fh, &s.root, "h"), NULL, NULL));
	assert_int_equal(do_call(s.r, do_new_link(&fh, &s.root, "i"), NULL,
				 NULL), -EMLINK);
	assert_ok(do_remove(s.r, REMOTE_REMOVE, &s.root, "f"));
	assert_ok(do_getattr(s.r, &fh, &a));
	assert_int_equal(a.nlink, 2);
	stop(&s);
}

static void test_two_filesystems(void **state)
{
	struct server s;
	struct handle fh, dir;
	struct attr root, a;
	struct remote_call *c;

	start(&s, NULL);
	assert_ok(remote_mem_mkdir(s.mem, "/mnt"));
	assert_ok(remote_mem_write_file(s.mem, "/f", "x", 1));
	assert_ok(remote_mem_new_fs(s.mem, "/mnt"));
	assert_ok(do_getattr(s.r, &s.root, &root));
	assert_ok(do_lookup(s.r, &s.root, "mnt", &dir, &a));
	assert_int_not_equal(a.fsid, root.fsid);
	assert_int_equal(a.fileid, root.fileid); /* numbers start again */
	assert_int_equal(do_rename(s.r, &s.root, "f", &dir, "f"), -EXDEV);
	assert_ok(do_lookup(s.r, &s.root, "f", &fh, NULL));
	assert_int_equal(do_call(s.r, do_new_link(&fh, &dir, "f"), NULL, NULL),
			 -EXDEV);
	assert_int_equal(do_remove(s.r, REMOTE_RMDIR, &s.root, "mnt"), -EACCES);
	c = do_new(REMOTE_READDIRPLUS, &s.root, NULL);
	c->count = 65536;
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_int_equal(c->entries_n, 2);
	assert_string_equal(c->entries[0].name, "mnt");
	assert_false(c->entries[0].has_attr);
	assert_int_equal(c->entries[0].fh.len, 0);
	assert_true(c->entries[1].has_attr);
	remote_call_unref(c);
	stop(&s);
}

static void test_listing_pages(void **state)
{
	struct remote_mem_options o = { .page_entries = 3 };
	struct server s;
	struct remote_call *c;
	char seen[32] = "", name[8];
	uint64_t cookie = 0;
	unsigned pages = 0;
	bool eof;

	start(&s, &o);
	for (char n = 'a'; n < 'k'; n++) {
		(void)snprintf(name, sizeof(name), "/%c", n);
		assert_ok(remote_mem_write_file(s.mem, name, "", 0));
	}
	do {
		c = do_new(REMOTE_READDIRPLUS, &s.root, NULL);
		c->count = 4096;
		c->cookie = cookie;
		assert_ok(remote_run(s.r, c, NULL, 0));
		assert_true(c->entries_n <= 3);
		for (size_t i = 0; i < c->entries_n; i++) {
			strcat(seen, c->entries[i].name);
			cookie = c->entries[i].cookie;
		}
		eof = c->eof;
		remote_call_unref(c);
		/* The last seen, and one not seen yet, go away. */
		if (pages++ == 0) {
			assert_ok(remote_mem_remove(s.mem, "/c"));
			assert_ok(remote_mem_remove(s.mem, "/f"));
		}
	} while (!eof);
	assert_string_equal(seen, "abcdeghij");

	/* By bytes, too. */
	o.page_entries = 0;
	remote_mem_set_options(s.mem, &o);
	c = do_new(REMOTE_READDIRPLUS, &s.root, NULL);
	c->count = 400;
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_int_equal(c->entries_n, 2);
	assert_false(c->eof);
	remote_call_unref(c);
	stop(&s);
}

/* ---- other objects, limits ---- */

static void test_special(void **state)
{
	struct server s;
	struct handle fh;
	struct attr a;
	struct remote_call *c;

	start(&s, NULL);
	assert_ok(do_call(s.r, do_new_symlink(&s.root, "l", "to/it"), &fh, &a));
	assert_int_equal(a.mode, S_IFLNK | 0777);
	assert_int_equal(a.size, 5);
	c = do_new(REMOTE_READLINK, &fh, NULL);
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_string_equal(c->data, "to/it");
	remote_call_unref(c);
	assert_int_equal(do_write(s.r, &fh, 0, "x", 1), -EINVAL);

	c = do_new(REMOTE_MKNOD, &s.root, "dev");
	c->set.valid = REMOTE_SET_MODE;
	c->set.mode = S_IFBLK | 0660;
	c->rdev_major = 8;
	c->rdev_minor = 300;
	assert_ok(do_call(s.r, c, &fh, &a));
	assert_int_equal(a.mode, S_IFBLK | 0660);
	assert_true(a.rdev_major == 8 && a.rdev_minor == 300);
	assert_int_equal(do_call(s.r, do_new(REMOTE_READLINK, &fh, NULL), NULL,
				 NULL), -EINVAL);
	stop(&s);
}

static void test_limits(void **state)
{
	struct remote_mem_options o = { .link_max = 9 };
	struct server s;
	struct remote_call *c;

	start(&s, &o);
	remote_mem_set_granularity(s.mem, 1000);
	c = do_new(REMOTE_FSINFO, &s.root, NULL);
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_int_equal(ns(c->fsinfo.time_delta), 1000);
	remote_call_unref(c);
	c = do_new(REMOTE_PATHCONF, &s.root, NULL);
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_int_equal(c->pathconf.link_max, 9);
	assert_int_equal(c->pathconf.name_max, 255);
	remote_call_unref(c);
	c = do_new(REMOTE_FSSTAT, &s.root, NULL);
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_int_equal(c->fsstat.files_total - c->fsstat.files_free, 1);
	assert_int_equal(c->fsstat.bytes_total - c->fsstat.bytes_free, 4096);
	remote_call_unref(c);
	c = do_new(REMOTE_ACCESS, &s.root, NULL);
	c->access = 0x3f;
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_int_equal(c->access, 0x3f & ~REMOTE_ACCESS_EXECUTE);
	remote_call_unref(c);
	assert_ok(do_call(s.r, do_new(REMOTE_NULL, NULL, NULL), NULL, NULL));

	o.full = true;
	remote_mem_set_options(s.mem, &o);
	assert_int_equal(do_make(s.r, REMOTE_MKDIR, &s.root, "d", 0, 0, NULL),
			 -ENOSPC);
	o.read_only = true;
	remote_mem_set_options(s.mem, &o);
	assert_int_equal(do_remove(s.r, REMOTE_RMDIR, &s.root, "d"), -EROFS);
	stop(&s);
}

static void test_left_out(void **state)
{
	struct remote_mem_options o = { .omit = REMOTE_MEM_OMIT_PRE |
						REMOTE_MEM_OMIT_POST |
						REMOTE_MEM_OMIT_HANDLE };
	struct server s;
	struct remote_call *c;

	start(&s, &o);
	c = do_new(REMOTE_CREATE, &s.root, "f");
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_false(c->pre.valid || c->has_attr || c->has_dir_attr);
	assert_int_equal(c->fh_out.len, 0);
	remote_call_unref(c);
	c = do_new(REMOTE_GETATTR, &s.root, NULL);
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_true(c->has_attr);
	remote_call_unref(c);
	stop(&s);
}

/* ---- the administrator ---- */

static void test_admin(void **state)
{
	static const char want[] =
		"/ d 0755 3 0 0\n"
		"/d d 0700 3 0 0\n"
		"/d/e d 0755 2 0 0\n"
		"/d/f f 0644 2 5 6 3 %s\n"
		"/d/l l 0777 1 0 0 -> f\n"
		"/g f 0644 2 5 6 3 %s = /d/f\n"
		"/n c 0600 1 0 0 5:1\n";
	struct server s;
	char hash[17], expected[512];
	CLEANUP_FREE char *dump = NULL;

	start(&s, NULL);
	assert_ok(remote_mem_mkdir(s.mem, "/x/e"));
	assert_ok(remote_mem_write_file(s.mem, "/x/f", "old contents", 12));
	assert_ok(remote_mem_write_file(s.mem, "/x/f", "abc", 3));
	assert_ok(remote_mem_symlink(s.mem, "f", "/x/l"));
	assert_ok(remote_mem_link(s.mem, "/x/f", "/g"));
	assert_ok(remote_mem_mknod(s.mem, "/n", S_IFCHR | 0600, 5, 1));
	assert_ok(remote_mem_chmod(s.mem, "/x", 0700));
	assert_ok(remote_mem_chown(s.mem, "/g", 5, 6));
	assert_ok(remote_mem_rename(s.mem, "/x", "/d"));
	assert_ok(remote_mem_mkdir(s.mem, "/gone/a/b"));
	assert_ok(remote_mem_write_file(s.mem, "/gone/a/f", "abc", 3));
	assert_ok(remote_mem_remove(s.mem, "/gone"));
	assert_int_equal(remote_mem_remove(s.mem, "/gone"), -ENOENT);
	assert_int_equal(remote_mem_calls(s.mem, REMOTE_OPS), 0);
	assert_text(s.mem, "/g", "abc");

	dump = remote_mem_dump(s.mem, false);
	assert_non_null(strstr(dump, "/g f"));
	memcpy(hash, strstr(strstr(dump, "/g f"), "6 3 ") + 4, 16);
	hash[16] = '\0';
	(void)snprintf(expected, sizeof(expected), want, hash, hash);
	assert_string_equal(dump, expected);
	stop(&s);
}

RUN_TESTS(cmocka_unit_test(test_create),
	  cmocka_unit_test(test_contents),
	  cmocka_unit_test(test_write_verifier),
	  cmocka_unit_test(test_set_attributes),
	  cmocka_unit_test(test_stale_handle),
	  cmocka_unit_test(test_remove),
	  cmocka_unit_test(test_rename),
	  cmocka_unit_test(test_links),
	  cmocka_unit_test(test_two_filesystems),
	  cmocka_unit_test(test_listing_pages),
	  cmocka_unit_test(test_special),
	  cmocka_unit_test(test_limits),
	  cmocka_unit_test(test_left_out),
	  cmocka_unit_test(test_admin))

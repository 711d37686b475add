/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_change.c: what changes leave on the server and in the cache. */
#include <linux/falloc.h>
#include <sys/sysmacros.h>

#include "vfs_fixture.h"

static void test_unpacking_a_file_takes_four_calls(void **state)
{
	struct fixture *f = *state;
	struct remote_sattr times = { .valid = REMOTE_SET_MTIME,
				      .mtime = { 1000000000, 123456789 } };
	struct remote_sattr owner = { .valid = REMOTE_SET_UID | REMOTE_SET_GID };
	struct remote_sattr mode = { .valid = REMOTE_SET_MODE, .mode = 0644 };
	uint64_t dir = make_dir(f, META_ROOT, "d"), a;
	struct vfs_entry e;
	struct attr attr;

	remote_mem_reset_calls(f->mem);
	assert_int_equal(look(f, dir, "a"), 0);
	a = make(f, dir, "a", S_IFREG | 0600);
	put(f, a, "contents");
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &times, &e), 0);
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &owner, &e), 0);
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &mode, &e), 0);
	assert_int_equal(calls(f), 4);
	assert_int_equal(remote_mem_stat(f->mem, "/d/a", &attr), 0);
	assert_int_equal(attr.mode, S_IFREG | 0644);
	assert_true(timespec_equal(&attr.mtime, &times.mtime));
	expect_server(f, "/d/a", "contents");
}

static bool is_between(const struct timespec *t, const struct timespec *from,
		       const struct timespec *to)
{
	const int64_t ns = 1000000000;

	return t->tv_sec * ns + t->tv_nsec >= from->tv_sec * ns + from->tv_nsec &&
	       t->tv_sec * ns + t->tv_nsec <= to->tv_sec * ns + to->tv_nsec;
}

/* The server's clock goes wrong; ours is the one that counts. */
static void test_time_of_a_write_reaches_the_server_later(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", S_IFREG | 0600);
	struct timespec from, to;
	struct vfs_entry e;
	struct attr attr;

	remote_mem_set_clock(f->mem, 1000000000, 1000);
	(void)clock_gettime(CLOCK_REALTIME, &from);
	put(f, a, "x");
	(void)clock_gettime(CLOCK_REALTIME, &to);
	remote_mem_reset_calls(f->mem);
	e = stat_of(f, a);
	assert_int_equal(calls(f), 0);
	assert_true(is_between(&e.attr.mtime, &from, &to));
	assert_int_equal(vfs_fsync(f->v, &root_user, a), 0);
	assert_int_equal(calls(f), 1);
	assert_int_equal(remote_mem_stat(f->mem, "/a", &attr), 0);
	assert_true(timespec_equal(&attr.mtime, &e.attr.mtime));

	/* and at the latest when unmounting */
	put(f, a, "y");
	e = stat_of(f, a);
	assert_false(timespec_equal(&attr.mtime, &e.attr.mtime));
	remount_fs(f);
	assert_int_equal(remote_mem_stat(f->mem, "/a", &attr), 0);
	assert_true(timespec_equal(&attr.mtime, &e.attr.mtime));
}

static void test_time_of_a_truncation_is_ours(void **state)
{
	struct fixture *f = *state;
	struct remote_sattr empty = { .valid = REMOTE_SET_SIZE };
	struct timespec from, to;
	struct vfs_entry e;
	struct attr attr;
	uint64_t a;

	remote_mem_set_clock(f->mem, 1000000000, 1000);
	a = make(f, META_ROOT, "a", S_IFREG | 0600);
	put(f, a, "x");
	remote_mem_reset_calls(f->mem);
	(void)clock_gettime(CLOCK_REALTIME, &from);
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &empty, &e), 0);
	(void)clock_gettime(CLOCK_REALTIME, &to);
	assert_true(is_between(&e.attr.mtime, &from, &to));
	assert_int_equal(calls(f), 1);
	assert_int_equal(remote_mem_stat(f->mem, "/a", &attr), 0);
	assert_true(timespec_equal(&attr.mtime, &e.attr.mtime));
}

static void test_nothing_is_asked_after_own_changes(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, META_ROOT, "d");
	struct walk w;

	(void)make(f, d, "a", S_IFREG | 0644);
	(void)make(f, d, "b", S_IFREG | 0644);
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "a"), 0);
	remote_mem_reset_calls(f->mem);
	assert_int_equal(look(f, d, "a"), 0);
	assert_int_not_equal(look(f, d, "b"), 0);
	assert_int_equal(list(f, d, &w), 1);
	assert_string_equal(w.names, "b ");
	assert_int_equal(calls(f), 0);
}

static void test_foreign_change_beside_our_own_is_noticed(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, META_ROOT, "d");

	admin_file(f, "/d/theirs", "1");
	assert_int_equal(look(f, d, "theirs"), 0); /* trusted for a while */
	(void)make(f, d, "ours", S_IFREG | 0644);  /* its reply tells */
	assert_int_not_equal(look(f, d, "theirs"), 0);
	assert_int_not_equal(look(f, d, "ours"), 0);
}

static void test_unlinked_file_stays_usable(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, META_ROOT, "d");
	uint64_t a = make(f, d, "a", S_IFREG | 0600);
	char *dump;

	put(f, a, "kept");
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "a"), 0);
	assert_int_equal(look(f, d, "a"), 0);
	assert_false(on_server(f, "/d/a"));
	expect_contents(f, a, "kept");
	put(f, a, "more");
	expect_contents(f, a, "more");
	assert_int_equal(stat_of(f, a).attr.nlink, 0);
	/* its directory is empty: no .nfsXXXX */
	assert_int_equal(vfs_rmdir(f->v, &root_user, META_ROOT, "d"), 0);
	/* the holding directory is not to be seen */
	struct walk w;
	assert_int_equal(list(f, META_ROOT, &w), 0);
	assert_int_equal(look(f, META_ROOT, ".nfsrootfs"), 0);

	vfs_forget(f->v, a, 1);
	unmount_fs(f);
	dump = remote_mem_dump(f->mem, false);
	assert_null(strstr(dump, ".nfsrootfs"));
	free(dump);
	mount_fs(f);
}

static void test_replaced_file_stays_usable(void **state)
{
	struct fixture *f = *state;
	uint64_t old = make(f, META_ROOT, "lib", S_IFREG | 0755), new;

	put(f, old, "old");
	new = make(f, META_ROOT, "lib.new", S_IFREG | 0755);
	put(f, new, "new");
	assert_int_equal(vfs_rename(f->v, &root_user, META_ROOT, "lib.new",
				    META_ROOT, "lib", 0), 0);
	expect_contents(f, old, "old");
	expect_contents(f, look(f, META_ROOT, "lib"), "new");
	expect_server(f, "/lib", "new");
	assert_int_equal(look(f, META_ROOT, "lib.new"), 0);
}

static void test_crash_leaves_no_held_file_for_long(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", S_IFREG | 0600);
	char host[64], path[256];

	/* as if the daemon had died: the held file is still there */
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	(void)a;
	(void)gethostname(host, sizeof(host));
	unmount_fs(f);
	assert_int_equal(remote_mem_mkdir(f->mem, "/.nfsrootfs"), 0);
	(void)snprintf(path, sizeof(path), "/.nfsrootfs/%s.0000000000000042",
		       host);
	admin_file(f, path, "left");
	admin_file(f, "/.nfsrootfs/another.42", "not ours");
	mount_fs(f);
	remount_fs(f); /* waits for what was submitted */
	assert_false(on_server(f, path));
	assert_true(on_server(f, "/.nfsrootfs/another.42"));
}

/* What the next mount can do does not keep this one from ending. */
static void test_closing_does_not_wait_for_an_absent_server(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", S_IFREG | 0600), started;
	uint64_t b = make(f, META_ROOT, "b", S_IFREG | 0600);

	put(f, b, "x"); /* its time is pending */
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	fault_set_away(f->fault, true);
	vfs_forget(f->v, a, 1);
	started = clock_ms();
	unmount_fs(f);
	assert_true(clock_ms() - started < 2 * LIMIT_CLOSE_MS);
	mount_fs(f);
	assert_int_not_equal(look(f, META_ROOT, "b"), 0);
}

static void test_hard_links_are_one_inode(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", S_IFREG | 0644);
	struct vfs_entry e;

	assert_int_equal(vfs_link(f->v, &root_user, a, META_ROOT, "b", &e), 0);
	assert_int_equal(e.ino, a);
	assert_int_equal(e.attr.nlink, 2);
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	assert_int_equal(stat_of(f, a).attr.nlink, 1);
	assert_int_equal(look(f, META_ROOT, "b"), a);
	remount_fs(f);
	assert_int_equal(look(f, META_ROOT, "b"), a);
}

static void test_rename(void **state)
{
	struct fixture *f = *state;
	uint64_t d = make_dir(f, META_ROOT, "d"), e = make_dir(f, META_ROOT, "e");
	uint64_t a = make(f, d, "a", S_IFREG | 0644);
	uint64_t sub = make_dir(f, d, "sub");

	(void)make(f, sub, "x", S_IFREG | 0644);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "a", e, "b", 0), 0);
	assert_int_equal(look(f, d, "a"), 0);
	assert_int_equal(look(f, e, "b"), a);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "sub", e, "sub", 0), 0);
	assert_int_equal(look_path(f, "/e/sub"), sub);
	assert_int_not_equal(look_path(f, "/e/sub/x"), 0);
	/* not onto a name that is there, when asked not to */
	(void)make(f, d, "c", S_IFREG | 0644);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "c", e, "b", 1),
			 -EEXIST);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "c", e, "b", 2),
			 -EINVAL);
	/* a directory that is not empty is not replaced */
	(void)make_dir(f, d, "sub");
	assert_int_equal(vfs_rename(f->v, &root_user, d, "sub", e, "sub", 0),
			 -ENOTEMPTY);
}

static void test_new_objects_have_owner_mode_and_group(void **state)
{
	struct fixture *f = *state;
	const struct caller user = { .uid = 250, .gid = 251 };
	struct remote_sattr sgid = { .valid = REMOTE_SET_MODE | REMOTE_SET_GID,
				     .mode = 02775, .gid = 77 };
	uint64_t d = make_dir(f, META_ROOT, "d");
	struct vfs_entry e;
	struct attr a;

	assert_int_equal(vfs_setattr(f->v, &root_user, d, &sgid, &e), 0);
	assert_int_equal(vfs_mknod(f->v, &user, d, "su", S_IFREG | 04755, 0,
				   &e), 0);
	assert_int_equal(remote_mem_stat(f->mem, "/d/su", &a), 0);
	assert_int_equal(a.mode, S_IFREG | 04755);
	assert_int_equal(a.uid, 250);
	assert_int_equal(a.gid, 77);
	assert_int_equal(vfs_mkdir(f->v, &user, d, "sub", 0755, &e), 0);
	assert_int_equal(remote_mem_stat(f->mem, "/d/sub", &a), 0);
	assert_int_equal(a.mode, S_IFDIR | 02755);
	assert_int_equal(a.gid, 77);
	assert_int_equal(vfs_mknod(f->v, &user, d, "null", S_IFCHR | 0666,
				   makedev(1, 3), &e), 0);
	assert_int_equal(e.attr.rdev_major, 1);
	assert_int_equal(e.attr.rdev_minor, 3);
	assert_int_equal(vfs_mknod(f->v, &user, d, "fifo", S_IFIFO | 0600, 0,
				   &e), 0);
	assert_int_equal(vfs_symlink(f->v, &user, d, "link", "../target", &e),
			 0);
	char *target;
	assert_int_equal(vfs_readlink(f->v, &root_user, e.ino, &target), 0);
	assert_string_equal(target, "../target");
	free(target);
}

static void test_setuid_goes_with_owner_and_contents(void **state)
{
	static const struct caller user = { .uid = 1000, .gid = 1000 };
	static const struct {
		unsigned valid;
		const struct caller *by;
		mode_t before, after;
	} cases[] = {
		{ REMOTE_SET_UID, &root_user, 06755, 0755 },
		{ REMOTE_SET_GID, &root_user, 04755, 0755 },
		{ REMOTE_SET_GID, &root_user, 02745, 02745 },
		{ 0, &user, 06755, 0755 }, /* also: before a write */
		{ REMOTE_SET_SIZE, &user, 06777, 0777 },
		{ REMOTE_SET_SIZE, &root_user, 06777, 06777 },
		{ REMOTE_SET_MTIME, &user, 06777, 06777 },
		{ REMOTE_SET_UID | REMOTE_SET_MODE, &root_user, 06755, 0700 },
	};
	struct fixture *f = *state;
	struct remote_sattr set = { .uid = 7, .gid = 7, .mode = 0700 };
	uint64_t dir = make_dir(f, META_ROOT, "d");
	struct vfs_entry e;
	struct attr attr;

	for (unsigned k = 0; k < ARRAY_LEN(cases); k++) {
		uint64_t a = make(f, dir, "a", S_IFREG | cases[k].before);

		set.valid = cases[k].valid;
		assert_int_equal(vfs_setattr(f->v, cases[k].by, a, &set, &e),
				 0);
		assert_int_equal(e.attr.mode, S_IFREG | cases[k].after);
		assert_int_equal(remote_mem_stat(f->mem, "/d/a", &attr), 0);
		assert_int_equal(attr.mode, S_IFREG | cases[k].after);
		assert_int_equal(vfs_unlink(f->v, &root_user, dir, "a"), 0);
	}
	set.valid = REMOTE_SET_MODE;
	set.mode = 02755;
	assert_int_equal(vfs_setattr(f->v, &root_user, dir, &set, &e), 0);
	set.valid = REMOTE_SET_UID;
	assert_int_equal(vfs_setattr(f->v, &root_user, dir, &set, &e), 0);
	assert_int_equal(e.attr.mode, S_IFDIR | 02755);
}

static void test_fallocate(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", S_IFREG | 0644);

	put(f, a, "0123456789");
	assert_int_equal(vfs_fallocate(f->v, &root_user, a, 0, 0, 20), 0);
	assert_int_equal(stat_of(f, a).attr.size, 20);
	assert_int_equal(vfs_fallocate(f->v, &root_user, a,
				       FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
	assert_int_equal(stat_of(f, a).attr.size, 20);
	assert_int_equal(vfs_fallocate(f->v, &root_user, a,
				       FALLOC_FL_KEEP_SIZE |
					       FALLOC_FL_PUNCH_HOLE,
				       2, 3), 0);
	struct slice data;
	assert_int_equal(vfs_read(f->v, &root_user, a, 0, 10, &data), 0);
	assert_memory_equal(data.at, "01\0\0\0" "56789", 10);
	slice_done(&data);
	assert_int_equal(vfs_fallocate(f->v, &root_user, a,
				       FALLOC_FL_COLLAPSE_RANGE, 0, 4096),
			 -EOPNOTSUPP);
}

static void test_server_without_weak_cache_data(void **state)
{
	struct fixture *f = *state;
	const struct remote_mem_options sparing = {
		.omit = REMOTE_MEM_OMIT_PRE | REMOTE_MEM_OMIT_POST |
			REMOTE_MEM_OMIT_HANDLE
	};
	uint64_t d;
	struct walk w;

	remote_mem_set_options(f->mem, &sparing);
	d = make_dir(f, META_ROOT, "d");
	put(f, make(f, d, "a", S_IFREG | 0644), "1");
	put(f, make(f, d, "b", S_IFREG | 0644), "22");
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "a"), 0);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "b", META_ROOT, "c",
				    0), 0);
	assert_int_equal(look(f, d, "a"), 0);
	expect_contents(f, look(f, META_ROOT, "c"), "22");
	remote_mem_set_options(f->mem, &(struct remote_mem_options){ 0 });
	assert_int_equal(list(f, d, &w), 0);
	assert_int_equal(list(f, META_ROOT, &w), 2);
}

RUN_TESTS(FS_TEST(test_unpacking_a_file_takes_four_calls),
	  FS_TEST(test_time_of_a_write_reaches_the_server_later),
	  FS_TEST(test_time_of_a_truncation_is_ours),
	  FS_TEST(test_nothing_is_asked_after_own_changes),
	  FS_TEST(test_foreign_change_beside_our_own_is_noticed),
	  FS_TEST(test_unlinked_file_stays_usable),
	  FS_TEST(test_replaced_file_stays_usable),
	  FS_TEST(test_crash_leaves_no_held_file_for_long),
	  FS_TEST(test_closing_does_not_wait_for_an_absent_server),
	  FS_TEST(test_hard_links_are_one_inode),
	  FS_TEST(test_rename),
	  FS_TEST(test_new_objects_have_owner_mode_and_group),
	  FS_TEST(test_setuid_goes_with_owner_and_contents),
	  FS_TEST(test_fallocate),
	  FS_TEST(test_server_without_weak_cache_data))

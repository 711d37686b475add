/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_back.c: the promises of writing back: what is seen before the server
 * knows, when it is told, with how many calls, in which order, and across mounts.
 */
#include "back_fixture.h"

/* ---- when ---- */

static void test_nothing_is_sent_before_its_time(void **state)
{
	struct fixture *f = *state;
	uint64_t a, d;

	trust_all(f);
	d = make_dir(f, META_ROOT, "d");
	a = make(f, d, "a", FILE_MODE);
	put(f, a, "hello");
	expect_contents(f, a, "hello");
	expect_names(f, META_ROOT, "d");
	expect_names(f, d, "a");
	assert_int_equal(vfs_fsync(f->v, &root_user, a), 0);
	assert_int_equal(calls(f), 0);
	assert_false(on_server(f, "/d"));
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/d/a", "hello");
	expect_contents(f, a, "hello");
	assert_int_equal(log_stats(f).ops, 0);
	assert_int_equal(log_stats(f).inodes, 0);
}

/* Nobody asks: the flusher must wake by itself. */
static void test_sent_when_it_is_old_enough(void **state)
{
	struct fixture *f = *state;
	uint64_t until;

	unmount_fs(f);
	f->config.delay_ms = 200;
	mount_fs(f);
	for (unsigned k = 0; k < 2; k++) {
		char name[2] = { (char)('a' + k), 0 }, path[3] = { '/', name[0] };

		(void)usleep(100 * 1000); /* it sleeps by now */
		until = clock_ms() + 200;
		(void)make(f, META_ROOT, name, FILE_MODE);
		while (!on_server(f, path) && clock_ms() < until + 5000)
			(void)usleep(1000);
		assert_true(on_server(f, path));
		assert_true(clock_ms() >= until);
	}
}

static void test_fsync_waits_for_the_server_if_asked(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	f->config.fsync_server = true;
	a = make(f, META_ROOT, "a", FILE_MODE);
	put(f, a, "x");
	assert_int_equal(vfs_fsync(f->v, &root_user, a), 0);
	expect_server(f, "/a", "x");
}

/* ---- with how many calls ---- */

static uint64_t cost(struct fixture *f)
{
	uint64_t n;

	assert_int_equal(send_all(f), 0);
	n = calls(f);
	remote_mem_reset_calls(f->mem);
	return n;
}

static void test_calls_of_what_is_made(void **state)
{
	struct fixture *f = *state;
	struct vfs_entry e;
	uint64_t a;

	trust_all(f);
	a = make(f, META_ROOT, "a", FILE_MODE);
	put(f, a, "small");
	set_mtime_of(f, a, 1000);
	assert_int_equal(cost(f), 3);
	a = make(f, META_ROOT, "empty", FILE_MODE);
	set_mtime_of(f, a, 1000);
	assert_int_equal(cost(f), 1);
	assert_int_equal(vfs_symlink(f->v, &root_user, META_ROOT, "l", "to",
				     &e), 0);
	assert_int_equal(cost(f), 1);
	(void)make_dir(f, META_ROOT, "d");
	assert_int_equal(cost(f), 1);
	(void)make(f, META_ROOT, "fifo", S_IFIFO | 0600);
	assert_int_equal(cost(f), 1);
}

static void test_calls_of_what_is_removed(void **state)
{
	struct fixture *f = *state;
	uint64_t a, d;

	trust_all(f);
	a = make(f, META_ROOT, "a", FILE_MODE);
	put(f, a, "never sent");
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	vfs_forget(f->v, a, 1);
	assert_int_equal(cost(f), 0);
	assert_int_equal(log_stats(f).inodes, 0);
	d = make_dir(f, META_ROOT, "d");
	a = make(f, d, "a", FILE_MODE);
	assert_int_equal(cost(f), 2);
	vfs_forget(f->v, a, 1);
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "a"), 0);
	assert_int_equal(vfs_rmdir(f->v, &root_user, META_ROOT, "d"), 0);
	vfs_forget(f->v, d, 1);
	assert_int_equal(cost(f), 2);
	assert_false(on_server(f, "/d"));
}

/* ---- in which order ---- */

/* What a crash of the server finds under the name is old or new, never empty. */
static void test_rename_publishes_after_the_contents(void **state)
{
	struct fixture *f = *state;
	uint64_t a;

	admin_file(f, "/conf", "old");
	trust_all(f);
	a = make(f, META_ROOT, "tmp", FILE_MODE);
	put(f, a, "new");
	assert_int_equal(vfs_rename(f->v, &root_user, META_ROOT, "tmp",
				    META_ROOT, "conf", 0), 0);
	expect_contents(f, look(f, META_ROOT, "conf"), "new");
	fault_hold(f->fault, REMOTE_WRITE);
	(void)flush_force(f->flush);
	assert_true(fault_wait_held(f->fault, 1));
	expect_server(f, "/conf", "old");
	expect_contents(f, look(f, META_ROOT, "conf"), "new");
	fault_release(f->fault);
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/conf", "new");
	assert_false(on_server(f, "/tmp"));
}

/* ---- what is seen ---- */

static void test_attributes_do_not_change_by_sending(void **state)
{
	struct fixture *f = *state;
	struct vfs_entry before[4], now;
	uint64_t ino[4];

	ino[0] = make_dir(f, META_ROOT, "d");
	ino[1] = make(f, ino[0], "a", FILE_MODE);
	ino[2] = make(f, ino[0], "b", S_IFREG | 04755);
	ino[3] = make_dir(f, ino[0], "e");
	put(f, ino[1], "hello");
	set_mtime_of(f, ino[1], 5000);
	assert_int_equal(vfs_link(f->v, &root_user, ino[1], ino[0], "l", &now),
			 0);
	for (unsigned k = 0; k < 4; k++)
		before[k] = stat_of(f, ino[k]);
	assert_int_equal(before[0].attr.nlink, 3);
	assert_int_equal(before[1].attr.nlink, 2);
	assert_int_equal(send_all(f), 0);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned k = 0; k < 4; k++) {
			const struct attr *a = &before[k].attr, *b;

			now = stat_of(f, ino[k]);
			b = &now.attr;
			assert_int_equal(now.ino, before[k].ino);
			assert_int_equal(a->mode, b->mode);
			assert_int_equal(a->nlink, b->nlink);
			assert_int_equal(a->uid, b->uid);
			if (!S_ISDIR(a->mode))
				assert_int_equal(a->size, b->size);
			assert_true(timespec_equal(&a->mtime, &b->mtime));
			assert_true(timespec_equal(&a->ctime, &b->ctime));
		}
		remount_fs(f);
		assert_int_equal(look_path(f, "/d/a"), ino[1]);
		assert_int_equal(look_path(f, "/d/b"), ino[2]);
		assert_int_equal(look_path(f, "/d/e"), ino[3]);
	}
}

static void test_listing_merges_both(void **state)
{
	struct fixture *f = *state;
	uint64_t d;
	char name[16], all[2000] = "";

	for (unsigned k = 0; k < 60; k++) {
		(void)snprintf(name, sizeof(name), "/d/s%02u", k);
		assert_int_equal(remote_mem_mkdir(f->mem, "/d"), 0);
		admin_file(f, name, "x");
		if (k % 3)
			(void)snprintf(all + strlen(all),
				       sizeof(all) - strlen(all), "s%02u ", k);
	}
	d = look(f, META_ROOT, "d");
	for (unsigned k = 0; k < 60; k++) {
		(void)snprintf(name, sizeof(name), "s%02u", k);
		if (k % 3 == 0)
			assert_int_equal(vfs_unlink(f->v, &root_user, d, name),
					 0);
		(void)snprintf(name, sizeof(name), "n%02u", k);
		(void)make(f, d, name, FILE_MODE);
		(void)snprintf(all + strlen(all), sizeof(all) - strlen(all),
			       "n%02u ", k);
	}
	expect_names(f, d, all);
	assert_int_equal(vfs_rmdir(f->v, &root_user, META_ROOT, "d"),
			 -ENOTEMPTY);
	assert_int_equal(send_all(f), 0);
	expect_names(f, d, all);
}

static void test_reads_of_pending_contents(void **state)
{
	struct fixture *f = *state;
	struct remote_sattr cut = { .valid = REMOTE_SET_SIZE, .size = 6 };
	struct vfs_entry e;
	uint64_t a;

	admin_file(f, "/a", "0123456789");
	a = look(f, META_ROOT, "a");
	assert_int_equal(vfs_write(f->v, &root_user, a, 2, "XY", 2), 0);
	expect_contents(f, a, "01XY456789");
	assert_int_equal(vfs_setattr(f->v, &root_user, a, &cut, &e), 0);
	expect_contents(f, a, "01XY45");
	assert_int_equal(vfs_write(f->v, &root_user, a, 7, "Z", 1), 0);
	assert_int_equal(stat_of(f, a).attr.size, 8);
	expect_server(f, "/a", "0123456789");
	for (unsigned k = 0; k < 2; k++) {
		struct slice data;

		assert_int_equal(vfs_read(f->v, &root_user, a, 0, 100, &data),
				 0);
		assert_int_equal(data.len, 8);
		assert_memory_equal(data.at, "01XY45\0Z", 8);
		slice_done(&data);
		assert_int_equal(send_all(f), 0);
	}
}

static void test_file_removed_while_in_use(void **state)
{
	struct fixture *f = *state;
	uint64_t a, b;

	admin_file(f, "/a", "known");
	a = look(f, META_ROOT, "a");
	b = make(f, META_ROOT, "b", FILE_MODE);
	put(f, b, "new");
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "a"), 0);
	assert_int_equal(vfs_unlink(f->v, &root_user, META_ROOT, "b"), 0);
	assert_int_equal(stat_of(f, a).attr.nlink, 0);
	expect_contents(f, a, "known");
	expect_contents(f, b, "new");
	assert_int_equal(send_all(f), 0);
	assert_false(on_server(f, "/a"));
	expect_contents(f, a, "known");
	expect_contents(f, b, "new");
	put(f, b, "newer");
	expect_contents(f, b, "newer");
	assert_int_equal(stat_of(f, a).attr.nlink, 0);
	vfs_forget(f->v, a, 1);
	vfs_forget(f->v, b, 1);
	remount_fs(f);
	assert_false(server_has_like(f, HOLD_NAME "/"));
	assert_int_equal(log_stats(f).inodes, 0);
}

static void test_file_replaced_while_in_use(void **state)
{
	struct fixture *f = *state;
	uint64_t a, b;

	admin_file(f, "/a", "known");
	a = look(f, META_ROOT, "a");
	b = make(f, META_ROOT, "b", FILE_MODE);
	put(f, b, "new");
	assert_int_equal(vfs_rename(f->v, &root_user, META_ROOT, "b", META_ROOT,
				    "a", 0), 0);
	expect_contents(f, a, "known");
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/a", "new");
	expect_contents(f, a, "known");
	vfs_forget(f->v, a, 1);
	remount_fs(f);
	assert_false(server_has_like(f, HOLD_NAME "/"));
}

/* ---- through ---- */

static int setup_through(void **state)
{
	struct fixture *f = fixture_new();
	char *why = NULL;

	f->back = true;
	f->config.delay_ms = 3600 * 1000;
	f->config.log_bytes_max = 32 << 20;
	assert_int_equal(config_set_options(&f->config, "through=/t,back=/t/b",
					    &why), 0);
	assert_int_equal(remote_mem_mkdir(f->mem, "/t/b"), 0);
	mount_fs(f);
	*state = f;
	return 0;
}

static void test_through_place(void **state)
{
	struct fixture *f = *state;
	uint64_t t = look(f, META_ROOT, "t"), b = look(f, t, "b"), a;

	a = make(f, t, "a", FILE_MODE);
	put(f, a, "at once");
	expect_server(f, "/t/a", "at once");
	(void)make(f, b, "later", FILE_MODE);
	(void)make(f, META_ROOT, "later", FILE_MODE);
	assert_false(on_server(f, "/t/b/later"));
	assert_false(on_server(f, "/later"));
	/* Moved in, what is pending of it goes first. */
	a = make(f, META_ROOT, "in", FILE_MODE);
	put(f, a, "moved");
	assert_int_equal(vfs_rename(f->v, &root_user, META_ROOT, "in", t, "in",
				    0), 0);
	expect_server(f, "/t/in", "moved");
}

/* ---- across mounts ---- */

static void test_pending_changes_survive(void **state)
{
	struct fixture *f = *state;
	uint64_t a, d;

	admin_file(f, "/old", "old");
	assert_int_equal(remote_mem_mkdir(f->mem, "/sub"), 0);
	admin_file(f, "/sub/gone", "x");
	d = make_dir(f, META_ROOT, "d");
	a = make(f, d, "a", FILE_MODE);
	put(f, a, "hello");
	assert_int_equal(vfs_write(f->v, &root_user, look(f, META_ROOT, "old"),
				   3, "er", 2), 0);
	assert_int_equal(vfs_unlink(f->v, &root_user, look(f, META_ROOT, "sub"),
				    "gone"), 0);
	for (unsigned k = 0; k < 3; k++) {
		unmount_fs(f);
		if (k & 1)
			delete_meta(f); /* truth is the server and the log */
		mount_fs(f);
		expect_names(f, META_ROOT, "d old sub");
		expect_names(f, look(f, META_ROOT, "sub"), "");
		assert_int_equal(look_path(f, "/d/a"), a);
		expect_contents(f, a, "hello");
		expect_contents(f, look(f, META_ROOT, "old"), "older");
		assert_int_equal(look_path(f, "/sub/gone"), 0);
		if (k == 1) {
			assert_int_equal(send_all(f), 0);
			expect_server(f, "/d/a", "hello");
			expect_server(f, "/old", "older");
			assert_false(on_server(f, "/sub/gone"));
			a = look_path(f, "/d/a");
		}
	}
}

/* Numbers of the log's are not given to others by a new cache. */
static void test_new_numbers_after_the_cache_is_deleted(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", FILE_MODE), b;

	unmount_fs(f);
	delete_meta(f);
	mount_fs(f);
	assert_int_equal(look(f, META_ROOT, "a"), a);
	b = make(f, META_ROOT, "b", FILE_MODE);
	assert_int_not_equal(a, b);
	put(f, b, "b");
	put(f, a, "a");
	assert_int_equal(send_all(f), 0);
	expect_server(f, "/a", "a");
	expect_server(f, "/b", "b");
}

/* A log that is full makes writers wait for the server, not for ever. */
static void test_a_write_sets_the_time(void **state)
{
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", FILE_MODE);
	struct timespec from;
	struct vfs_entry e;
	struct attr attr;

	for (unsigned k = 0; k < 2; k++) {
		put(f, a, "old");
		set_mtime_of(f, a, 1000);
		(void)clock_gettime(CLOCK_REALTIME, &from);
		put(f, a, "new");
		e = stat_of(f, a);
		assert_true(e.attr.mtime.tv_sec >= from.tv_sec);
		assert_int_equal(send_all(f), 0);
		assert_int_equal(remote_mem_stat(f->mem, "/a", &attr), 0);
		assert_true(timespec_equal(&attr.mtime, &e.attr.mtime));
	}
}

/* The first sending of a WRITE is executed when all is over. */
static void test_time_survives_a_late_write(void **state)
{
	const struct fault_rule lost = { .kind = FAULT_LOST_CALL,
					 .op = REMOTE_WRITE, .times = 1 };
	struct fixture *f = *state;
	uint64_t a = make(f, META_ROOT, "a", FILE_MODE);
	struct attr attr;

	put(f, a, "text");
	set_mtime_of(f, a, 1000);
	(void)fault_add(f->fault, &lost);
	assert_int_equal(send_all(f), 0);
	admin_file(f, "/a", "text");
	assert_int_equal(remote_mem_stat(f->mem, "/a", &attr), 0);
	assert_int_not_equal(attr.mtime.tv_sec, 1000);
	assert_int_equal(vfs_fsync(f->v, &root_user, a), 0); /* waits for it */
	assert_int_equal(remote_mem_stat(f->mem, "/a", &attr), 0);
	assert_int_equal(attr.mtime.tv_sec, 1000);
	assert_int_equal(stat_of(f, a).attr.mtime.tv_sec, 1000);
	expect_server(f, "/a", "text");
}

static void test_full_log_drains(void **state)
{
	struct fixture *f = *state;
	char *data = calloc(1, 900000);
	uint64_t a = make(f, META_ROOT, "a", FILE_MODE);

	for (unsigned k = 0; k < 80; k++)
		assert_int_equal(vfs_write(f->v, &root_user, a, k * 900000u,
					   data, 900000), 0);
	assert_int_equal(send_all(f), 0);
	assert_true(log_stats(f).log_bytes < 16 << 20);
	free(data);
}

RUN_TESTS(BACK_TEST(test_nothing_is_sent_before_its_time),
	  BACK_TEST(test_sent_when_it_is_old_enough),
	  BACK_TEST(test_fsync_waits_for_the_server_if_asked),
	  BACK_TEST(test_calls_of_what_is_made),
	  BACK_TEST(test_calls_of_what_is_removed),
	  BACK_TEST(test_rename_publishes_after_the_contents),
	  BACK_TEST(test_attributes_do_not_change_by_sending),
	  BACK_TEST(test_listing_merges_both),
	  BACK_TEST(test_reads_of_pending_contents),
	  BACK_TEST(test_file_removed_while_in_use),
	  BACK_TEST(test_file_replaced_while_in_use),
	  cmocka_unit_test_setup_teardown(test_through_place, setup_through,
					  teardown),
	  BACK_TEST(test_pending_changes_survive),
	  BACK_TEST(test_new_numbers_after_the_cache_is_deleted),
	  BACK_TEST(test_a_write_sets_the_time),
	  BACK_TEST(test_time_survives_a_late_write),
	  BACK_TEST(test_full_log_drains))

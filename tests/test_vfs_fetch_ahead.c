/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_fetch_ahead.c: contents that are fetched before somebody wants them:
 * how many READs, and how many had to be waited for.
 */
#include "fetch_fixture.h"

static void test_files_read_one_after_another_are_asked_for_ahead(void **state)
{
	struct fixture *f = *state;

	old_tree(f, 10, 40);
	read_all(f, 10);
	assert_int_equal(reads(f), 400);
	assert_true(f->stats.data_ahead_used > 340);
	assert_int_equal(f->stats.data_ahead_used, f->stats.data_ahead);
	assert_int_equal(f->stats.data_ahead_wasted, 0);
}

/* As a compiler reads headers. */
static void test_files_read_in_another_order_are_asked_for_ahead(void **state)
{
	struct fixture *f = *state;
	char path[64];

	old_tree(f, 1, 100);
	for (unsigned k = 0; k < 100; k++) {
		(void)snprintf(path, sizeof(path), "/tree/d0/f%u",
			       k * 37 % 100);
		expect_contents(f, look_path(f, path), path);
		vfs_settle(f->v);
	}
	assert_int_equal(reads(f), 100);
	assert_true(f->stats.data_misses <= 7);
}

/* The order of a walk is that of the names' offsets. */
static void test_the_next_directories_start_before_they_are_wanted(void **state)
{
	struct fixture *f = *state;
	struct walk *w = malloc(sizeof(*w));
	char *rest, *name;

	old_tree(f, 40, 20);
	(void)find(f, META_ROOT);
	(void)list(f, look_path(f, "/tree"), w);
	rest = w->names;
	while ((name = strsep(&rest, " ")) && *name) {
		char path[300];

		(void)snprintf(path, sizeof(path), "/tree/%s", name);
		read_dir(f, path);
	}
	free(w);
	assert_int_equal(reads(f), 800);
	assert_true(f->stats.data_misses <= 8);
}

struct dir_reader {
	struct fixture *f;
	char path[32];
	pthread_t thread;
};

static void *dir_reader_main(void *arg)
{
	const struct dir_reader *d = arg;

	read_dir(d->f, d->path);
	return NULL;
}

/* More is wanted than may be under way: the rest is asked for later. */
static void test_what_has_no_room_is_asked_for_ahead_later(void **state)
{
	const struct fault_rule slow = { .kind = FAULT_DELAY, .op = REMOTE_READ,
					 .delay_ms = 50 };
	struct fixture *f = *state;
	struct dir_reader d[4];

	old_tree(f, ARRAY_LEN(d), 200);
	(void)find(f, META_ROOT);
	(void)fault_add(f->fault, &slow);
	for (unsigned k = 0; k < ARRAY_LEN(d); k++) {
		d[k].f = f;
		(void)snprintf(d[k].path, sizeof(d[k].path), "/tree/d%u", k);
		assert_int_equal(pthread_create(&d[k].thread, NULL,
						dir_reader_main, &d[k]), 0);
	}
	for (unsigned k = 0; k < ARRAY_LEN(d); k++)
		(void)pthread_join(d[k].thread, NULL);
	assert_int_equal(reads(f), 200 * ARRAY_LEN(d));
	assert_true(f->stats.data_misses <= 16);
}

static void test_one_file_of_a_directory_is_asked_for_alone(void **state)
{
	struct fixture *f = *state;

	old_tree(f, 1, 40);
	expect_contents(f, look_path(f, "/tree/d0/f7"), "/tree/d0/f7");
	assert_int_equal(reads(f), 1);
}

static void test_large_file_is_read_ahead_in_whole_reads(void **state)
{
	struct fixture *f = *state;
	const size_t len = 20 * MIB + 4321;
	char *bytes = admin_large(f, len);
	uint64_t ino = look_path(f, "/large"), n;

	for (uint64_t at = 0; at < len; at += 128 * 1024)
		expect_range(f, ino, bytes, len, at, 128 * 1024);
	n = reads(f);
	assert_in_range(n, 21, 26);
	assert_true(f->stats.data_ahead >= 19);
	assert_int_equal(f->stats.data_ahead_wasted, 0);
	for (uint64_t at = 0; at < len; at += 128 * 1024)
		expect_range(f, ino, bytes, len, at, 128 * 1024);
	assert_true(f->keep ? reads(f) == n : reads(f) <= 2 * n);
	free(bytes);
}

static void test_reading_here_and_there_fetches_what_is_read(void **state)
{
	struct fixture *f = *state;
	const size_t len = 64 * MIB;
	char *bytes = admin_large(f, len);
	uint64_t ino = look_path(f, "/large"), rnd = run_seed();

	for (unsigned k = 0; k < 50; k++) {
		rnd = rnd * 6364136223846793005u + 1442695040888963407u;
		expect_range(f, ino, bytes, len,
			     (k & 1 ? 0 : 32 * MIB) + (rnd >> 33) % (30 * MIB),
			     4096);
	}
	assert_true(reads(f) <= 75); /* a few lie on two chunks, or near */
	free(bytes);
}

RUN_TESTS(KEEP_TEST(test_files_read_one_after_another_are_asked_for_ahead),
	  KEEP_TEST(test_files_read_in_another_order_are_asked_for_ahead),
	  KEEP_TEST(test_what_has_no_room_is_asked_for_ahead_later),
	  KEEP_TEST(test_the_next_directories_start_before_they_are_wanted),
	  KEEP_TEST(test_one_file_of_a_directory_is_asked_for_alone),
	  KEEP_TEST(test_large_file_is_read_ahead_in_whole_reads),
	  KEEP_TEST(test_reading_here_and_there_fetches_what_is_read),
	  FS_TEST(test_large_file_is_read_ahead_in_whole_reads))

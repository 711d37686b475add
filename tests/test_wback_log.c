/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_wback_log.c: the log's files when they are damaged, cut short, another
 * log's, or have no room: one test a shape of damage. What a loss of power may
 * leave is the end of the log; what it may not is refused, and said.
 */
#include "wback_fixture.h"

enum { HEAD = 72 };

/* ---- helpers ---- */

static void poke(struct log_test *t, uint64_t number, uint64_t at,
		 const void *bytes, size_t len)
{
	int fd = open_segment(t, number, O_RDWR);

	assert_int_equal(pwrite(fd, bytes, len, (off_t)at), len);
	(void)close(fd);
}

static void flip(struct log_test *t, uint64_t number, uint64_t at)
{
	int fd = open_segment(t, number, O_RDWR);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	(void)close(fd);
}

static void resize_segment(struct log_test *t, uint64_t number, uint64_t size)
{
	int fd = open_segment(t, number, O_RDWR);

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	(void)close(fd);
}

/* Where the log ends: the last of the segment's bytes that is not zero. */
static uint64_t end_of(struct log_test *t, uint64_t number)
{
	int fd = open_segment(t, number, O_RDONLY);
	off_t size = lseek(fd, 0, SEEK_END);
	uint8_t *all = malloc((size_t)size);

	assert_int_equal(pread(fd, all, (size_t)size, 0), size);
	(void)close(fd);
	while (size > 0 && all[size - 1] == 0)
		size--;
	free(all);
	return (uint64_t)size;
}

static uint64_t last_segment(struct log_test *t)
{
	uint64_t list[64];
	unsigned n = segments_of(t, list);

	return list[n - 1];
}

/* Files 100, 101, ... in the root. */
static void make_files(struct log_test *t, unsigned from, unsigned n)
{
	char name[32];

	for (unsigned k = from; k < from + n; k++) {
		(void)snprintf(name, sizeof(name), "f%u", k);
		make_file(t, KNOWN + k, ROOT, name);
	}
}

static void expect_files(struct log_test *t, unsigned n)
{
	char name[32];

	assert_int_equal(stats_of(t).ops, n);
	for (unsigned k = 0; k < n; k++) {
		(void)snprintf(name, sizeof(name), "f%u", k);
		assert_int_equal(name_in(t, ROOT, name), KNOWN + k);
	}
}

static void expect_refused(struct log_test *t, int error, bool said)
{
	char *why = NULL;

	t->wb = NULL;
	assert_int_equal(open_log(t, &why), error);
	assert_null(t->wb);
	assert_int_equal(why != NULL, said);
	free(why);
}

/* Writes until there are @n segments. */
static void fill_segments(struct log_test *t, unsigned n)
{
	char *text = malloc(200001);
	uint64_t list[64];

	memset(text, 'x', 200000);
	text[200000] = 0;
	if (stats_of(t).seq == 0)
		make_files(t, 0, 1);
	while (segments_of(t, list) < n)
		write_at(t, KNOWN, 0, text);
	free(text);
}

/* ---- what a loss of power leaves ---- */

static void test_opens_again_as_it_was(void **state)
{
	struct log_test *t = *state;

	make_files(t, 0, 20);
	for (unsigned k = 0; k < 5; k++) {
		reopen(t);
		expect_files(t, 20);
		assert_int_equal(stats_of(t).seq, 20);
	}
	make_files(t, 20, 1);
	reopen(t);
	expect_files(t, 21);
}

/* Cut at every byte of the last record. */
static void test_torn_tail_is_the_end(void **state)
{
	struct log_test *t = *state;
	uint64_t before, after;

	make_files(t, 0, 2);
	before = end_of(t, 1);
	make_files(t, 2, 1);
	after = end_of(t, 1);
	wback_close(t->wb);
	for (uint64_t at = after - 1; at > before + 8; at -= 7) {
		uint8_t zeros[8] = { 0 };
		uint64_t list[64];

		poke(t, 1, at, zeros, 7);
		log_opens(t);
		expect_files(t, 2);
		assert_int_equal(stats_of(t).seq, 2);
		wback_close(t->wb);
		/* Nothing is kept of this life but the torn end. */
		for (unsigned k = segments_of(t, list); k-- > 1;) {
			char path[600];

			(void)snprintf(path, sizeof(path), "%s/%016llx.seg",
				       t->dir->path,
				       (unsigned long long)list[k]);
			assert_int_equal(unlink(path), 0);
		}
	}
	log_opens(t);
}

/* The torn end stays where it is: later lives go on behind it. */
static void test_goes_on_after_a_torn_tail(void **state)
{
	struct log_test *t = *state;

	make_files(t, 0, 3);
	wback_close(t->wb);
	flip(t, 1, end_of(t, 1) - 20);
	log_opens(t);
	expect_files(t, 2);
	make_files(t, 2, 5);
	reopen(t);
	expect_files(t, 7);
	reopen(t);
	expect_files(t, 7);
}

static void test_torn_contents_are_the_end(void **state)
{
	struct log_test *t = *state;
	char text[4000];

	make_files(t, 0, 1);
	write_at(t, KNOWN, 0, "whole");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	write_at(t, KNOWN, 0, text);
	wback_close(t->wb);
	flip(t, 1, end_of(t, 1) - 2000);
	log_opens(t);
	assert_int_equal(stats_of(t).data_bytes, 5);
	assert_int_equal(view_of(t, KNOWN).attr.size, 5);
}

static void test_empty_last_file_is_nothing(void **state)
{
	struct log_test *t = *state;
	uint64_t sizes[] = { 0, 10, HEAD, 2 << 20 };

	make_files(t, 0, 3);
	for (unsigned k = 0; k < ARRAY_LEN(sizes); k++) {
		wback_close(t->wb);
		int fd = open_segment(t, last_segment(t) + 1,
				      O_RDWR | O_CREAT | O_EXCL);

		assert_int_equal(ftruncate(fd, (off_t)sizes[k]), 0);
		(void)close(fd);
		log_opens(t);
		expect_files(t, 3 + k);
		make_files(t, 3 + k, 1);
		reopen(t);
		expect_files(t, 4 + k);
	}
}

static void test_empty_only_file_is_an_empty_log(void **state)
{
	struct log_test *t = *state;

	wback_close(t->wb);
	resize_segment(t, 1, 0);
	log_opens(t);
	make_files(t, 0, 2);
	reopen(t);
	expect_files(t, 2);
}

static void copy_segment(struct log_test *t, uint64_t from, uint64_t to)
{
	int in = open_segment(t, from, O_RDONLY);
	int out = open_segment(t, to, O_RDWR | O_CREAT);
	struct stat st;
	void *all;

	assert_int_equal(fstat(in, &st), 0);
	all = malloc((size_t)st.st_size);
	assert_int_equal(pread(in, all, (size_t)st.st_size, 0), st.st_size);
	assert_int_equal(pwrite(out, all, (size_t)st.st_size, 0), st.st_size);
	free(all);
	(void)close(in);
	(void)close(out);
}

/* A file that was deleted comes back when the directory had not been synced. */
static void test_what_is_before_a_gap_was_deleted(void **state)
{
	struct log_test *t = *state;
	uint64_t list[64];
	char path[600];

	fill_segments(t, 3);
	copy_segment(t, 1, 1000);
	expect_sent(t, "MAKE 100 f0;STORE 100;");
	make_files(t, 1, 1);
	wback_close(t->wb);
	copy_segment(t, 1000, 1);
	(void)snprintf(path, sizeof(path), "%s/%016x.seg", t->dir->path, 1000);
	assert_int_equal(unlink(path), 0);
	log_opens(t);
	assert_true(segments_of(t, list) > 0);
	assert_int_equal(list[0], 3);
	assert_int_equal(stats_of(t).ops, 1);
	assert_int_equal(name_in(t, ROOT, "f1"), KNOWN + 1);
	reopen(t);
}

/* ---- what it cannot leave ---- */

static void test_flip_in_the_middle_is_refused(void **state)
{
	struct log_test *t = *state;

	make_files(t, 0, 10);
	assert_int_equal(wback_sync(t->wb, 0), 0);
	make_files(t, 10, 10); /* say that the first ten were durable */
	wback_close(t->wb);
	flip(t, 1, HEAD + 300);
	expect_refused(t, -EUCLEAN, true);
	flip(t, 1, HEAD + 300);
	log_opens(t);
	expect_files(t, 20);
}

static void test_flip_in_an_old_segment_is_refused(void **state)
{
	struct log_test *t = *state;

	fill_segments(t, 2);
	assert_int_equal(wback_sync(t->wb, 0), 0);
	fill_segments(t, 3);
	wback_close(t->wb);
	flip(t, 1, 900000);
	expect_refused(t, -EUCLEAN, true);
	flip(t, 1, 900000);
	log_opens(t);
}

static void test_damaged_head_of_an_old_segment_is_refused(void **state)
{
	struct log_test *t = *state;

	fill_segments(t, 2);
	wback_close(t->wb);
	flip(t, 1, 20);
	expect_refused(t, -EUCLEAN, true);
	flip(t, 1, 20);
	log_opens(t);
}

static void test_anothers_log_is_refused(void **state)
{
	struct log_test *t = *state;
	char *why = NULL;
	struct wback *wb;

	make_files(t, 0, 1);
	wback_close(t->wb);
	assert_int_equal(wback_open(t->dir->path, "other:/", &t->o, &wb, &why),
			 -EXDEV);
	free(why);
	log_opens(t);
	expect_files(t, 1);
}

static void test_another_version_is_refused(void **state)
{
	static const struct sip_key zero;
	struct log_test *t = *state;
	uint8_t head[HEAD];
	uint32_t check;
	int fd;

	make_files(t, 0, 1);
	wback_close(t->wb);
	fd = open_segment(t, 1, O_RDWR);
	assert_int_equal(pread(fd, head, HEAD, 0), HEAD);
	head[7] = '9'; /* "nrfslog9" */
	check = (uint32_t)sip_hash(&zero, head, 64);
	memcpy(head + 64, &check, sizeof(check));
	assert_int_equal(pwrite(fd, head, HEAD, 0), HEAD);
	(void)close(fd);
	expect_refused(t, -EMEDIUMTYPE, false);
	flip(t, 1, 20); /* so that the next is a torn one */
	log_opens(t);
}

static void test_log_in_use_is_refused(void **state)
{
	struct log_test *t = *state;
	struct wback *wb = NULL;
	char *why = NULL;

	assert_int_equal(wback_open(t->dir->path, "mem:/", &t->o, &wb, &why),
			 -EBUSY);
	free(why);
}

static void test_missing_directory(void **state)
{
	struct log_test *t = *state;
	struct wback *wb = NULL;
	char *why = NULL;

	assert_int_equal(wback_open("/nonexistent/log", "mem:/", &t->o, &wb,
				    &why), -ENOENT);
}

/* ---- room ---- */

static void test_no_room_changes_nothing(void **state)
{
	struct log_test *t = *state;
	char *text = malloc(900001);
	struct wback_stats before, after;
	int r = 0;

	memset(text, 'x', 900000);
	text[900000] = 0;
	make_files(t, 0, 1);
	wback_close(t->wb);
	t->o.keep_free = UINT64_MAX / 2; /* more than any disk has */
	log_opens(t);
	for (unsigned k = 0; k < 10 && r == 0; k++) {
		before = stats_of(t);
		r = try(t, &(struct wback_change){
			.op = WBACK_WRITE, .obj = ref_of(t, KNOWN, S_IFREG),
			.data = text, .len = 900000 });
	}
	assert_int_equal(r, -ENOSPC);
	after = stats_of(t);
	assert_true(after.full);
	assert_int_equal(after.seq, before.seq);
	assert_int_equal(after.ops, before.ops);
	assert_int_equal(after.data_bytes, before.data_bytes);
	assert_int_equal(wback_room(t->wb, 900000), -ENOSPC);
	/* What frees room needs none. */
	expect_sent(t, "MAKE 100 f0;STORE 100;");
	expect_nothing_left(t);
	free(text);
	t->o.keep_free = 0;
	reopen(t);
	expect_nothing_left(t);
}

static void test_what_was_sent_leaves_the_disk(void **state)
{
	struct log_test *t = *state;
	uint64_t list[64];

	fill_segments(t, 4);
	expect_sent(t, "MAKE 100 f0;STORE 100;");
	/* A thread deletes them, once why is on the disk. */
	assert_int_equal(wback_sync(t->wb, 0), 0);
	for (unsigned k = 0; segments_of(t, list) > 1 && k < 10000; k++)
		(void)usleep(1000);
	assert_int_equal(segments_of(t, list), 1);
	reopen(t);
	expect_nothing_left(t);
}

/* Changes that undo each other are never sent: still they must not fill it. */
static void test_what_was_undone_leaves_the_disk(void **state)
{
	struct log_test *t = *state;
	char *text = malloc(900001);

	memset(text, 'x', 900000);
	text[900000] = 0;
	wback_close(t->wb);
	t->o.bytes_max = 8 << 20;
	log_opens(t);
	for (unsigned k = 0; k < 100; k++) {
		assert_int_equal(wback_room(t->wb, 901024), 0);
		make_file(t, KNOWN + k, ROOT, "f");
		write_at(t, KNOWN + k, 0, text);
		remove_file(t, KNOWN + k, ROOT, "f");
		wback_forget(t->wb, KNOWN + k);
	}
	expect_nothing_left(t);
	free(text);
}

RUN_TESTS(LOG_TEST(test_opens_again_as_it_was),
	  LOG_TEST(test_torn_tail_is_the_end),
	  LOG_TEST(test_goes_on_after_a_torn_tail),
	  LOG_TEST(test_torn_contents_are_the_end),
	  LOG_TEST(test_empty_last_file_is_nothing),
	  LOG_TEST(test_empty_only_file_is_an_empty_log),
	  LOG_TEST(test_what_is_before_a_gap_was_deleted),
	  LOG_TEST(test_flip_in_the_middle_is_refused),
	  LOG_TEST(test_flip_in_an_old_segment_is_refused),
	  LOG_TEST(test_damaged_head_of_an_old_segment_is_refused),
	  LOG_TEST(test_anothers_log_is_refused),
	  LOG_TEST(test_another_version_is_refused),
	  LOG_TEST(test_log_in_use_is_refused),
	  LOG_TEST(test_missing_directory),
	  LOG_TEST(test_no_room_changes_nothing),
	  LOG_TEST(test_what_was_sent_leaves_the_disk),
	  LOG_TEST(test_what_was_undone_leaves_the_disk))

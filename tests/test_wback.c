/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_wback.c: what changes become: what merges, what cancels, in which order
 * the rest may be sent, and what the overlay says meanwhile. The invariants are
 * checked after every step (wback_fixture.h).
 */
#include "wback_fixture.h"

/* ---- what is never sent ---- */

static void test_made_and_removed_is_nothing(void **state)
{
	struct log_test *t = *state;

	make_file(t, 100, ROOT, "a");
	write_at(t, 100, 0, "hello");
	link_to(t, 100, ROOT, "b");
	remove_file(t, 100, ROOT, "a");
	assert_int_equal(view_of(t, 100).attr.nlink, 1);
	remove_file(t, 100, ROOT, "b");
	wback_forget(t->wb, 100);
	make_dir(t, 101, ROOT, "d");
	make_file(t, 102, 101, "f");
	remove_file(t, 102, 101, "f");
	remove_dir(t, 101, ROOT, "d");
	wback_forget(t->wb, 101);
	wback_forget(t->wb, 102);
	expect_nothing_left(t);
	expect_sent(t, "");
	reopen(t);
	expect_nothing_left(t);
}

static void test_removed_file_can_be_read_until_forgotten(void **state)
{
	struct log_test *t = *state;
	enum wback_source source;
	uint32_t n;
	char buf[5];

	make_file(t, 100, ROOT, "a");
	write_at(t, 100, 0, "hello");
	remove_file(t, 100, ROOT, "a");
	assert_int_equal(stats_of(t).ops, 0);
	assert_true(view_of(t, 100).removed);
	assert_int_equal(wback_read(t->wb, 100, 0, 5, buf, &source, &n), 0);
	assert_int_equal(source, WBACK_DATA);
	assert_memory_equal(buf, "hello", 5);
	write_at(t, 100, 5, " there");
	assert_int_equal(view_of(t, 100).attr.size, 11);
	expect_sent(t, "");
	wback_forget(t->wb, 100);
	expect_nothing_left(t);
}

/* Written without the name of its directory, as back.c does when it can. */
static void test_write_to_a_removed_file_is_gone_after_a_crash(void **state)
{
	struct log_test *t = *state;

	make_file(t, 100, ROOT, "a");
	remove_file(t, 100, ROOT, "a");
	assert_int_equal(try(t, &(struct wback_change){
		.op = WBACK_WRITE, .obj = { .ino = 100, .nlink = 1 },
		.data = "x", .len = 1 }), 0);
	reopen(t);
	expect_nothing_left(t);
}

static void test_replacing_by_what_is_removed_leaves_the_removal(void **state)
{
	struct log_test *t = *state;

	make_file(t, 100, ROOT, "tmp");
	write_at(t, 100, 0, "new");
	move_file(t, 100, ROOT, "tmp", ROOT, "a", 5);
	remove_file(t, 100, ROOT, "a");
	wback_forget(t->wb, 100);
	assert_int_equal(name_in(t, ROOT, "a"), 0);
	assert_int_equal(name_in(t, ROOT, "tmp"), UINT64_MAX);
	reopen(t);
	expect_sent(t, "REMOVE 5 a;");
	expect_nothing_left(t);
}

static void test_removed_under_way_is_removed_after(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	make_file(t, 100, ROOT, "a");
	assert_int_equal(take(t, &job, 1), 1);
	write_at(t, 100, 0, "x");
	remove_file(t, 100, ROOT, "a");
	assert_int_equal(stats_of(t).ops, 2);
	job_done(t, job);
	expect_sent(t, "REMOVE 100 a;");
	wback_forget(t->wb, 100);
	expect_nothing_left(t);
}

/* ---- merging ---- */

static void test_all_contents_and_attributes_are_one_store(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;
	char buf[8];

	write_at(t, 5, 10, "abcd");
	write_at(t, 5, 14, "efgh");
	write_at(t, 5, 12, "XY");
	set_attr(t, 5, S_IFREG, ATTR_MODE, &(struct attr){ .mode = 0600 });
	set_mtime(t, 5, S_IFREG, 77);
	set_attr(t, 5, S_IFREG, ATTR_UID, &(struct attr){ .uid = 9 });
	assert_int_equal(stats_of(t).ops, 1);
	assert_int_equal(stats_of(t).data_bytes, 8);
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(job->kind, JOB_STORE);
	assert_int_equal(job->mask, ATTR_MODE | ATTR_MTIME | ATTR_UID);
	assert_int_equal(job->attr.mode & 07777, 0600);
	assert_int_equal(job->attr.uid, 9);
	assert_int_equal(job->attr.mtime.tv_sec, 77);
	assert_int_equal(job->trunc, UINT64_MAX);
	assert_int_equal(job->bytes, 8);
	assert_int_equal(wback_job_read(t->wb, job, 10, 8, buf), 0);
	assert_memory_equal(buf, "abXYefgh", 8);
	assert_int_equal(wback_job_read(t->wb, job, 9, 2, buf), -EINVAL);
	assert_int_equal(wback_job_read(t->wb, job, 17, 2, buf), -EINVAL);
	job_done(t, job);
	expect_nothing_left(t);
}

static void test_attributes_of_a_new_one_go_with_it(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	make_file(t, 100, ROOT, "a");
	set_attr(t, 100, S_IFREG, ATTR_MODE, &(struct attr){ .mode = 0400 });
	set_mtime(t, 100, S_IFREG, 99);
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(job->attr.mode, S_IFREG | 0400);
	assert_int_equal(job->attr.mtime.tv_sec, 99);
	assert_int_equal(job->attr.uid, 3);
	assert_false(job->store_follows);
	job_done(t, job);
	expect_nothing_left(t);
}

static void test_change_under_way_waits_behind(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job, *next;
	enum wback_source source;
	char buf[8];
	uint32_t n;

	write_at(t, 5, 0, "one");
	assert_int_equal(take(t, &job, 1), 1);
	write_at(t, 5, 1, "22");
	assert_int_equal(take(t, &next, 1), 0);
	assert_int_equal(wback_job_read(t->wb, job, 0, 3, buf), 0);
	assert_memory_equal(buf, "one", 3);
	assert_int_equal(wback_read(t->wb, 5, 0, 8, buf, &source, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(buf[0], 'o');
	job_done(t, job);
	assert_int_equal(take(t, &next, 1), 1);
	assert_int_equal(next->extents_n, 1);
	assert_int_equal(next->extents[0].offset, 1);
	job_done(t, next);
	expect_nothing_left(t);
}

static void test_undone_store_takes_the_later_one_in(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;
	char buf[3];

	write_at(t, 5, 0, "one");
	assert_int_equal(take(t, &job, 1), 1);
	write_at(t, 5, 1, "22");
	set_attr(t, 5, S_IFREG, ATTR_MODE, &(struct attr){ .mode = 0600 });
	wback_undo(t->wb, job, false);
	wback_check(t->wb);
	assert_int_equal(stats_of(t).ops, 1);
	reopen(t);
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(job->mask, ATTR_MODE | ATTR_MTIME);
	assert_int_equal(wback_job_read(t->wb, job, 0, 3, buf), 0);
	assert_memory_equal(buf, "o22", 3);
	job_done(t, job);
	expect_nothing_left(t);
}

/* ---- sizes ---- */

/* What the server has after STORE, of a file that had @size. */
static uint64_t size_after(const struct wback_job *job, uint64_t size)
{
	if (job->trunc != UINT64_MAX)
		size = job->trunc;
	for (unsigned k = 0; k < job->extents_n; k++)
		size = MAX(size, job->extents[k].offset + job->extents[k].len);
	return job->mask & ATTR_SIZE ? job->attr.size : size;
}

static void test_new_file_cut_short(void **state)
{
	static const struct { uint64_t at, cut, cut2; } cases[] = {
		{ 300, 100, 100 }, { 0, 3, 3 }, { 0, 0, 0 }, { 0, 100, 100 },
		{ 0, 0, 50 },	   { 0, 50, 0 }, { 300, 100, 200 },
	};
	struct log_test *t = *state;

	for (unsigned k = 0; k < ARRAY_LEN(cases); k++) {
		uint64_t ino = 100 + k;
		struct wback_job *job;

		make_file(t, ino, ROOT, "a");
		write_at(t, ino, cases[k].at, "12345678");
		cut_to(t, ino, cases[k].cut);
		cut_to(t, ino, cases[k].cut2);
		assert_int_equal(view_of(t, ino).attr.size, cases[k].cut2);
		job = take_store(t);
		assert_int_equal(size_after(job, 0), cases[k].cut2);
		job_done(t, job);
		remove_file(t, ino, ROOT, "a");
		expect_sent(t, k == 0 ? "REMOVE 100 a;" :
			    k == 1    ? "REMOVE 101 a;" :
			    k == 2    ? "REMOVE 102 a;" :
			    k == 3    ? "REMOVE 103 a;" :
			    k == 4    ? "REMOVE 104 a;" :
			    k == 5    ? "REMOVE 105 a;" :
					"REMOVE 106 a;");
		wback_forget(t->wb, ino);
	}
	expect_nothing_left(t);
}

/* The same, while the creation is under way. */
static void test_file_cut_short_while_it_is_made(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	make_file(t, 100, ROOT, "a");
	write_at(t, 100, 300, "12345678");
	assert_int_equal(take(t, &job, 1), 1);
	cut_to(t, 100, 100);
	job_done(t, job);
	job = take_store(t);
	assert_int_equal(size_after(job, 0), 100);
	job_done(t, job);
	expect_nothing_left(t);
}

static void test_known_file_cut_and_grown(void **state)
{
	struct log_test *t = *state;
	enum wback_source source;
	struct wback_job *job;
	char buf[64];
	uint32_t n;

	cut_to(t, 5, 10); /* of 100 */
	cut_to(t, 5, 50);
	write_at(t, 5, 20, "xy");
	assert_int_equal(wback_read(t->wb, 5, 0, 50, buf, &source, &n), 0);
	assert_int_equal(source, WBACK_SERVER);
	assert_int_equal(n, 10);
	assert_int_equal(wback_read(t->wb, 5, 10, 40, buf, &source, &n), 0);
	assert_int_equal(source, WBACK_ZERO);
	assert_int_equal(n, 10);
	assert_int_equal(wback_read(t->wb, 5, 21, 40, buf, &source, &n), 0);
	assert_int_equal(source, WBACK_DATA);
	assert_int_equal(n, 1);
	assert_int_equal(wback_read(t->wb, 5, 22, 40, buf, &source, &n), 0);
	assert_int_equal(source, WBACK_ZERO);
	assert_int_equal(n, 40);
	job = take_store(t);
	assert_int_equal(job->trunc, 10);
	assert_int_equal(size_after(job, 100), 50);
	/* Cut once more while that is under way. */
	cut_to(t, 5, 21);
	assert_int_equal(wback_read(t->wb, 5, 20, 40, buf, &source, &n), 0);
	assert_int_equal(source, WBACK_DATA);
	assert_int_equal(n, 1);
	assert_int_equal(wback_read(t->wb, 5, 15, 40, buf, &source, &n), 0);
	assert_int_equal(source, WBACK_ZERO);
	assert_int_equal(n, 5);
	wback_undo(t->wb, job, true);
	job = take_store(t);
	assert_int_equal(job->trunc, 10);
	assert_int_equal(size_after(job, 100), 21);
	job_done(t, job);
	expect_nothing_left(t);
}

/* ---- order ---- */

static void test_parents_first(void **state)
{
	struct log_test *t = *state;

	make_dir(t, 100, ROOT, "d");
	make_dir(t, 101, 100, "e");
	make_file(t, 102, 101, "f");
	make_file(t, 103, ROOT, "g");
	expect_at_once(t, "MAKE 100 d;MAKE 103 g;");
	expect_at_once(t, "MAKE 101 e;");
	expect_at_once(t, "MAKE 102 f;");
	expect_nothing_left(t);
}

static void test_contents_before_the_rename(void **state)
{
	struct log_test *t = *state;

	make_file(t, 100, ROOT, "tmp");
	write_at(t, 100, 0, "x");
	move_file(t, 100, ROOT, "tmp", ROOT, "a", 5);
	write_at(t, 6, 0, "others do not wait");
	expect_at_once(t, "MAKE 100 tmp;STORE 6;");
	expect_at_once(t, "STORE 100;");
	expect_at_once(t, "RENAME 100 tmp a;");
	wback_forget(t->wb, 5);
	expect_nothing_left(t);
}

static void test_a_name_is_freed_before_it_is_taken(void **state)
{
	struct log_test *t = *state;

	remove_file(t, 5, ROOT, "a");
	make_file(t, 100, ROOT, "a");
	move_file(t, 100, ROOT, "a", ROOT, "b", 0);
	make_file(t, 101, ROOT, "a");
	wback_forget(t->wb, 5);
	assert_int_equal(name_in(t, ROOT, "a"), 101);
	assert_int_equal(name_in(t, ROOT, "b"), 100);
	expect_at_once(t, "REMOVE 5 a;");
	expect_at_once(t, "MAKE 100 a;");
	expect_at_once(t, "RENAME 100 a b;");
	expect_at_once(t, "MAKE 101 a;");
	expect_nothing_left(t);
}

static void test_time_of_a_directory_comes_last(void **state)
{
	struct log_test *t = *state;

	make_dir(t, 100, ROOT, "d");
	make_file(t, 101, 100, "a");
	make_file(t, 102, 100, "b");
	set_mtime(t, 100, S_IFDIR, 33);
	expect_at_once(t, "MAKE 100 d;");
	expect_at_once(t, "MAKE 101 a;MAKE 102 b;");
	expect_at_once(t, "STORE 100;");
	expect_nothing_left(t);
}

/* A later change in the directory moves its time by itself. */
static void test_time_of_a_directory_does_not_outlive_a_change(void **state)
{
	struct log_test *t = *state;

	set_mtime(t, 5, S_IFDIR, 33);
	make_file(t, 101, 5, "a");
	assert_int_not_equal(view_of(t, 5).attr.mtime.tv_sec, 33);
	expect_sent(t, "MAKE 101 a;");
	expect_nothing_left(t);
}

static void test_directory_is_emptied_before_it_is_removed(void **state)
{
	struct log_test *t = *state;

	remove_file(t, 6, 5, "a");
	move_file(t, 7, 5, "b", ROOT, "b", 0);
	remove_dir(t, 5, ROOT, "d");
	expect_at_once(t, "REMOVE 6 a;RENAME 7 b b;");
	expect_at_once(t, "REMOVE 5 d;");
	wback_forget(t->wb, 6);
	wback_forget(t->wb, 5);
	expect_nothing_left(t);
}

static void test_moving_a_directory_waits_for_all_before(void **state)
{
	struct log_test *t = *state;

	make_file(t, 100, ROOT, "z");
	move_type(t, 5, S_IFDIR, ROOT, "d", 6, "d", 0);
	make_file(t, 101, 5, "in it");
	move_type(t, 5, S_IFDIR, 6, "d", ROOT, "e", 0);
	expect_at_once(t, "MAKE 100 z;MAKE 101 in it;");
	expect_at_once(t, "RENAME 5 d d;");
	expect_at_once(t, "RENAME 5 d e;");
	expect_nothing_left(t);
}

static void test_links(void **state)
{
	struct log_test *t = *state;

	link_to(t, 5, ROOT, "b");
	assert_int_equal(view_of(t, 5).nlink_delta, 1);
	link_to(t, 5, ROOT, "c");
	remove_file(t, 5, ROOT, "a");
	assert_int_equal(view_of(t, 5).nlink_delta, 1);
	assert_false(view_of(t, 5).removed);
	reopen(t);
	assert_int_equal(view_of(t, 5).nlink_delta, 1);
	expect_sent(t, "LINK 5 b;LINK 5 c;REMOVE 5 a;");
	expect_nothing_left(t);
}

static void note_nlink(void *arg, const struct wback_ref *ref)
{
	uint32_t *nlink = arg;

	if (ref->ino != ROOT)
		*nlink = ref->nlink;
}

/* For a cache that was deleted. */
static void test_links_that_the_server_has(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;
	uint32_t nlink = 0;

	make_file(t, 100, ROOT, "a");
	link_to(t, 100, ROOT, "b");
	link_to(t, 100, ROOT, "c");
	for (uint32_t k = 1; k <= 2; k++) {
		assert_int_equal(take(t, &job, 1), 1);
		job_done(t, job);
		wback_refs(t->wb, note_nlink, &nlink);
		assert_int_equal(nlink, k);
		reopen(t);
		wback_refs(t->wb, note_nlink, &nlink);
		assert_int_equal(nlink, k);
	}
}

static void test_links_of_a_new_file(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	make_file(t, 100, ROOT, "a");
	link_to(t, 100, ROOT, "b");
	assert_int_equal(view_of(t, 100).attr.nlink, 2);
	assert_int_equal(take(t, &job, 1), 1);
	job_done(t, job);
	assert_int_equal(view_of(t, 100).nlink_delta, 1);
	reopen(t);
	assert_int_equal(view_of(t, 100).nlink_delta, 1);
	expect_sent(t, "LINK 100 b;");
	expect_nothing_left(t);
}

/* ---- names ---- */

static void test_names_in_order(void **state)
{
	struct log_test *t = *state;
	struct wback_dirent e[8];

	make_file(t, 100, ROOT, "c");
	make_file(t, 101, ROOT, "a");
	remove_file(t, 5, ROOT, "b");
	assert_int_equal(wback_names(t->wb, ROOT, 0, e, 8), 3);
	assert_string_equal(e[0].name, "a");
	assert_int_equal(e[0].ino, 101);
	assert_int_equal(e[0].type, DT_REG);
	assert_string_equal(e[1].name, "b");
	assert_true(e[1].absent);
	assert_string_equal(e[2].name, "c");
	assert_int_equal(wback_names(t->wb, ROOT, e[0].offset, e, 1), 1);
	assert_string_equal(e[0].name, "b");
	assert_int_equal(wback_names(t->wb, ROOT, e[2].offset, e, 8), 0);
	assert_int_equal(wback_names(t->wb, 12345, 0, e, 8), 0);
}

static void test_large_directory(void **state)
{
	enum { N = 5000 };
	struct log_test *t = *state;
	struct wback_dirent e[32];
	uint64_t after = 0;
	unsigned n, seen = 0;
	char name[32];

	for (unsigned k = 0; k < N; k++) {
		(void)snprintf(name, sizeof(name), "%06u", k * 7919 % N);
		assert_int_equal(wback_apply(t->wb, &(struct wback_change){
			.op = WBACK_MAKE, .name = name,
			.obj = { .ino = 1000 + k, .mode = S_IFREG | 0600,
				 .nlink = 1, .parent = ROOT },
			.dir = ref_of(t, ROOT, S_IFDIR),
			.attr.mode = S_IFREG | 0600 }, NULL, &t->settled), 0);
	}
	for (unsigned k = 0; k < N; k += 3) {
		(void)snprintf(name, sizeof(name), "%06u", k * 7919 % N);
		assert_int_equal(wback_apply(t->wb, &(struct wback_change){
			.op = WBACK_REMOVE, .name = name,
			.obj = ref_of(t, 1000 + k, S_IFREG),
			.dir = ref_of(t, ROOT, S_IFDIR) }, NULL,
			&t->settled), 0);
		wback_forget(t->wb, 1000 + k);
	}
	wback_check(t->wb);
	while ((n = wback_names(t->wb, ROOT, after, e, 32)) > 0)
		for (unsigned k = 0; k < n; k++, seen++) {
			assert_true(e[k].offset > after);
			after = e[k].offset;
		}
	assert_int_equal(seen, N - (N + 2) / 3);
	reopen(t);
	assert_int_equal(stats_of(t).ops, seen);
}

RUN_TESTS(LOG_TEST(test_made_and_removed_is_nothing),
	  LOG_TEST(test_removed_file_can_be_read_until_forgotten),
	  LOG_TEST(test_write_to_a_removed_file_is_gone_after_a_crash),
	  LOG_TEST(test_replacing_by_what_is_removed_leaves_the_removal),
	  LOG_TEST(test_removed_under_way_is_removed_after),
	  LOG_TEST(test_all_contents_and_attributes_are_one_store),
	  LOG_TEST(test_attributes_of_a_new_one_go_with_it),
	  LOG_TEST(test_change_under_way_waits_behind),
	  LOG_TEST(test_undone_store_takes_the_later_one_in),
	  LOG_TEST(test_new_file_cut_short),
	  LOG_TEST(test_file_cut_short_while_it_is_made),
	  LOG_TEST(test_known_file_cut_and_grown),
	  LOG_TEST(test_parents_first),
	  LOG_TEST(test_contents_before_the_rename),
	  LOG_TEST(test_a_name_is_freed_before_it_is_taken),
	  LOG_TEST(test_time_of_a_directory_comes_last),
	  LOG_TEST(test_time_of_a_directory_does_not_outlive_a_change),
	  LOG_TEST(test_directory_is_emptied_before_it_is_removed),
	  LOG_TEST(test_moving_a_directory_waits_for_all_before),
	  LOG_TEST(test_links),
	  LOG_TEST(test_links_of_a_new_file),
	  LOG_TEST(test_links_that_the_server_has),
	  LOG_TEST(test_names_in_order),
	  LOG_TEST(test_large_directory))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_wback_life.c: what is refused, given up, or interrupted by the death of the
 * process, and what a later life makes of a log whose older files are gone.
 */
#include "wback_fixture.h"

/* ---- what the server refuses ---- */

struct troubles {
	unsigned stuck, copies;
	uint64_t id;
	int error;
};

static void count_trouble(void *arg, const struct wback_trouble *t)
{
	struct troubles *n = arg;

	if (t->kind == TROUBLE_COPY)
		n->copies++;
	else
		n->stuck++;
	n->id = t->id;
	n->error = t->error;
}

static struct troubles troubles_of(struct log_test *t)
{
	struct troubles n = { 0 };

	wback_troubles(t->wb, count_trouble, &n);
	return n;
}

static void refuse_next(struct log_test *t, int error)
{
	struct wback_job *job;

	assert_int_equal(take(t, &job, 1), 1);
	wback_stuck(t->wb, job, error);
	wback_check(t->wb);
}

static void test_stuck_is_kept_with_what_hangs_on_it(void **state)
{
	struct log_test *t = *state;
	uint64_t seq;

	make_file(t, 100, ROOT, "a");
	write_at(t, 100, 0, "x");
	make_file(t, 101, ROOT, "b");
	refuse_next(t, -EACCES);
	assert_int_equal(view_of(t, 100).error, -EACCES);
	seq = stats_of(t).seq;
	expect_sent(t, "MAKE 101 b;");
	assert_int_equal(stats_of(t).ops, 2);
	assert_int_equal(stats_of(t).stuck, 1);
	/* Nobody who waits for what was done until now waits for that. */
	assert_true(stats_of(t).first > seq);
	reopen(t);
	assert_int_equal(troubles_of(t).error, -EACCES);
	assert_true(stats_of(t).first > seq);
	expect_sent(t, "");
	assert_int_equal(wback_retry(t->wb, 12345), -ENOENT);
	assert_int_equal(wback_retry(t->wb, troubles_of(t).id), 0);
	assert_int_equal(view_of(t, 100).error, 0);
	expect_sent(t, "MAKE 100 a;STORE 100;");
	expect_nothing_left(t);
}

static void test_directories_move_though_something_is_stuck(void **state)
{
	struct log_test *t = *state;

	make_dir(t, 100, ROOT, "a");
	make_file(t, 101, 100, "hangs on it");
	refuse_next(t, -EACCES);
	move_type(t, 5, S_IFDIR, ROOT, "d", ROOT, "e", 0);
	refuse_next(t, -EACCES);
	write_at(t, 7, 0, "x");
	move_type(t, 6, S_IFDIR, ROOT, "f", ROOT, "g", 0);
	expect_sent(t, "STORE 7;RENAME 6 f g;");
	wback_retry_all(t->wb);
	wback_check(t->wb);
	expect_sent(t, "MAKE 100 a;MAKE 101 hangs on it;RENAME 5 d e;");
	expect_nothing_left(t);
}

static void test_change_merges_into_what_is_stuck(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;
	char buf[3];

	write_at(t, 5, 0, "abc");
	refuse_next(t, -ENOSPC);
	write_at(t, 5, 1, "x");
	expect_sent(t, "");
	wback_retry_all(t->wb);
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(wback_job_read(t->wb, job, 0, 3, buf), 0);
	assert_memory_equal(buf, "axc", 3);
	job_done(t, job);
	expect_nothing_left(t);
}

static void drop_all(struct log_test *t)
{
	while (troubles_of(t).stuck) {
		assert_int_equal(wback_drop(t->wb, troubles_of(t).id,
					    &t->settled), 0);
		wback_check(t->wb);
	}
}

static void test_drop_of_a_creation(void **state)
{
	struct log_test *t = *state;

	make_dir(t, 100, ROOT, "d");
	make_file(t, 101, 100, "f");
	write_at(t, 101, 0, "x");
	link_to(t, 101, ROOT, "g");
	refuse_next(t, -EACCES);
	drop_all(t);
	assert_int_equal(name_in(t, ROOT, "d"), UINT64_MAX);
	expect_sent(t, "");
	expect_nothing_left(t);
	reopen(t);
	expect_nothing_left(t);
}

static void test_drop_of_contents(void **state)
{
	struct log_test *t = *state;

	write_at(t, 5, 0, "x");
	refuse_next(t, -EACCES);
	link_to(t, 5, ROOT, "b");
	drop_all(t);
	assert_int_equal(view_of(t, 5).local & ~ATTR_CTIME, 0);
	expect_sent(t, "LINK 5 b;");
	expect_nothing_left(t);
}

static void test_drop_of_a_removal(void **state)
{
	struct log_test *t = *state;

	write_at(t, 5, 0, "x");
	remove_file(t, 5, ROOT, "a");
	refuse_next(t, -EACCES);
	assert_int_equal(name_in(t, ROOT, "a"), 0);
	drop_all(t);
	assert_int_equal(name_in(t, ROOT, "a"), UINT64_MAX);
	expect_nothing_left(t);
	reopen(t);
	expect_nothing_left(t);
}

static void test_drop_of_a_rename(void **state)
{
	struct log_test *t = *state;

	move_file(t, 5, ROOT, "a", 7, "b", 6);
	refuse_next(t, -EACCES);
	/* All this hangs on it, and would do harm alone. */
	remove_file(t, 5, 7, "b");
	make_file(t, 100, 7, "b");
	make_file(t, 101, ROOT, "a");
	assert_int_equal(stats_of(t).ops, 4);
	drop_all(t);
	assert_int_equal(name_in(t, ROOT, "a"), UINT64_MAX);
	assert_int_equal(name_in(t, 7, "b"), UINT64_MAX);
	expect_sent(t, "");
	expect_nothing_left(t);
	reopen(t);
	expect_nothing_left(t);
}

static void test_drop_shows_what_was_before(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	remove_file(t, 5, ROOT, "a");
	assert_int_equal(take(t, &job, 1), 1);
	make_file(t, 100, ROOT, "a");
	job_done(t, job);
	refuse_next(t, -EACCES);
	link_to(t, 6, ROOT, "b");
	drop_all(t);
	assert_int_equal(name_in(t, ROOT, "a"), UINT64_MAX);
	wback_forget(t->wb, 5);
	expect_sent(t, "LINK 6 b;");
	expect_nothing_left(t);
}

static void test_copies_are_listed_until_dropped(void **state)
{
	struct log_test *t = *state;

	assert_int_equal(wback_note_copy(t->wb, 5, "a.conflict", "a"), 0);
	reopen(t);
	assert_int_equal(stats_of(t).copies, 1);
	assert_int_equal(troubles_of(t).copies, 1);
	assert_int_equal(wback_drop(t->wb, troubles_of(t).id, &t->settled), 0);
	assert_int_equal(wback_drop(t->wb, 1, &t->settled), -ENOENT);
	reopen(t);
	assert_int_equal(stats_of(t).copies, 0);
}

/* ---- across lives ---- */

static void test_what_was_sent_is_sent_again(void **state)
{
	struct log_test *t = *state;
	struct wback_job *jobs[4];
	struct timespec verifier;

	make_file(t, 100, ROOT, "a");
	write_at(t, 100, 0, "x");
	make_dir(t, 101, ROOT, "d");
	assert_int_equal(take(t, jobs, 4), 2);
	verifier = jobs[0]->verifier;
	assert_true(jobs[0]->store_follows);
	assert_false(jobs[0]->again);
	wback_job_free(jobs[0]);
	wback_job_free(jobs[1]);
	reopen(t);
	assert_int_equal(take(t, jobs, 4), 2);
	assert_true(jobs[0]->again);
	assert_true(timespec_equal(&jobs[0]->verifier, &verifier));
	job_done(t, jobs[0]);
	job_done(t, jobs[1]);
	expect_sent(t, "STORE 100;");
	expect_nothing_left(t);
}

/* Its first sending may have worked: nothing of it may change. */
static void test_creation_sent_again_is_the_same(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;
	struct timespec time;

	make_file(t, 100, ROOT, "a");
	assert_int_equal(take(t, &job, 1), 1);
	time = job->verifier;
	assert_int_equal(time.tv_sec, 5); /* its own: no STORE follows */
	wback_undo(t->wb, job, true);
	write_at(t, 100, 0, "x");
	set_mtime(t, 100, S_IFREG, 99);
	assert_int_equal(take(t, &job, 1), 1);
	assert_true(timespec_equal(&job->verifier, &time));
	job_done(t, job);
	job = take_store(t);
	assert_int_equal(job->attr.mtime.tv_sec, 99);
	assert_true(job->mask & ATTR_MTIME);
	job_done(t, job);
	expect_nothing_left(t);
}

/* The log of a life that went on where another had died says the same to a
 * third one. */
static void test_death_between_two_lives(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;
	char buf[4];

	write_at(t, 5, 0, "abcd");
	set_attr(t, 6, S_IFDIR, ATTR_MODE, &(struct attr){ .mode = 0700 });
	for (unsigned k = 0; k < 2; k++) {
		assert_int_equal(take(t, &job, 1), 1);
		wback_job_free(job);
	}
	reopen(t);
	write_at(t, 5, 1, "x");
	set_attr(t, 6, S_IFDIR, ATTR_GID, &(struct attr){ .gid = 7 });
	assert_int_equal(stats_of(t).ops, 2);
	reopen(t);
	assert_int_equal(stats_of(t).ops, 2);
	assert_int_equal(take(t, &job, 1), 1);
	wback_job_free(job);
	reopen(t);
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(wback_job_read(t->wb, job, 0, 4, buf), 0);
	assert_memory_equal(buf, "axcd", 4);
	job_done(t, job);
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(job->mask, ATTR_MODE | ATTR_GID);
	job_done(t, job);
	expect_nothing_left(t);
	reopen(t);
	expect_nothing_left(t);
}

/* A change waits behind one under way when the process dies. */
static void test_death_with_a_second_store_waiting(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	for (unsigned k = 0; k < 2; k++) {
		set_attr(t, 5, S_IFDIR, ATTR_MODE,
			 &(struct attr){ .mode = 0700 });
		assert_int_equal(take(t, &job, 1), 1);
		set_attr(t, 5, S_IFDIR, ATTR_GID, &(struct attr){ .gid = 7 });
		wback_job_free(job);
		reopen(t);
	}
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(job->mask, ATTR_MODE | ATTR_GID);
	job_done(t, job);
	expect_nothing_left(t);
}

/* ---- segments that went ---- */

static void test_changes_merged_across_segments(void **state)
{
	struct log_test *t = *state;

	write_at(t, 5, 0, "x");
	make_file(t, 100, ROOT, "a");
	make_file(t, 102, ROOT, "c");
	fill_segment(t);
	write_at(t, 5, 1, "y"); /* merges into what is in the first segment */
	set_attr(t, 100, S_IFREG, ATTR_MODE, &(struct attr){ .mode = 0400 });
	remove_file(t, 102, ROOT, "c");
	wback_forget(t->wb, 102);
	make_file(t, 101, ROOT, "b");
	send_only(t, 5);
	send_only(t, 100);
	send_only(t, 99);
	assert_int_equal(stats_of(t).ops, 1);
	reopen(t);
	assert_int_equal(stats_of(t).ops, 1);
	expect_sent(t, "MAKE 101 b;");
	expect_nothing_left(t);
}

/* What was replaced had been cancelled, in a segment that went. */
static void test_replaced_was_cancelled_in_a_segment_that_went(void **state)
{
	struct log_test *t = *state;

	make_file(t, 100, ROOT, "a");
	make_file(t, 101, ROOT, "b");
	fill_segment(t);
	move_file(t, 101, ROOT, "b", ROOT, "a", 100);
	wback_forget(t->wb, 100);
	send_only(t, 99);
	send_only(t, 101);
	assert_int_equal(stats_of(t).ops, 1);
	reopen(t);
	expect_sent(t, "RENAME 101 b a;");
	expect_nothing_left(t);
}

static uint32_t links_of(struct log_test *t, uint64_t ino)
{
	struct wback_view w = view_of(t, ino);

	return (uint32_t)((int)w.ref.nlink + w.nlink_delta);
}

/* Directories were made in a segment that went, and removed again, by each way
 * there is: where they were do not count them. */
static void test_links_of_what_was_cancelled_in_a_segment_that_went(void **state)
{
	struct log_test *t = *state;

	make_dir(t, 100, ROOT, "d");
	make_dir(t, 101, ROOT, "e");
	for (unsigned k = 0; k < 4; k++)
		make_dir(t, 110 + k, 100, (char[]){ (char)('p' + k), 0 });
	fill_segment(t);
	remove_dir(t, 110, 100, "p");
	move_type(t, 111, S_IFDIR, 100, "q", 101, "q", 0);
	remove_dir(t, 111, 101, "q");
	move_type(t, 112, S_IFDIR, 100, "r", 101, "r", 0);
	move_type(t, 113, S_IFDIR, 100, "s", 101, "r", 112);
	remove_dir(t, 113, 101, "r");
	for (unsigned k = 0; k < 4; k++)
		wback_forget(t->wb, 110 + k);
	make_file(t, 102, 100, "f"); /* they have something pending */
	make_file(t, 103, 101, "f");
	send_only(t, 99);
	send_only(t, 100);
	send_only(t, 101);
	assert_int_equal(stats_of(t).ops, 2);
	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t ino = 100; ino < 102; ino++) {
			assert_int_equal(view_of(t, ino).nlink_delta, 0);
			assert_int_equal(links_of(t, ino), 2);
		}
		reopen(t);
	}
	expect_sent(t, "MAKE 102 f;MAKE 103 f;");
	expect_nothing_left(t);
}

/* A name in a directory that was made in a segment that went. */
static void test_parent_made_in_a_segment_that_went(void **state)
{
	struct log_test *t = *state;

	make_dir(t, 100, ROOT, "d");
	make_file(t, 103, ROOT, "l");
	fill_segment(t);
	make_file(t, 101, 100, "f");
	make_dir(t, 102, 100, "e");
	link_to(t, 103, 100, "m");
	send_only(t, 99);
	send_only(t, 100);
	send_only(t, 103);
	assert_int_equal(view_of(t, 100).nlink_delta, 1);
	reopen(t);
	assert_int_equal(view_of(t, 100).nlink_delta, 1);
	expect_sent(t, "MAKE 101 f;MAKE 102 e;LINK 103 m;");
	expect_nothing_left(t);
}

/* What is removed then is compared with the server's version, not with what was
 * to be stored. */
static void test_version_from_a_segment_that_went(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	link_to(t, 5, ROOT, "b");
	write_at(t, 5, 500, "x");
	fill_segment(t);
	remove_file(t, 5, ROOT, "a");
	remove_file(t, 5, ROOT, "b");
	send_only(t, 99);
	send_only(t, 5); /* the link */
	send_only(t, 5); /* the first removal */
	reopen(t);
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(job->kind, JOB_REMOVE);
	assert_int_equal(job->obj.size, 100);
	job_done(t, job);
	expect_nothing_left(t);
}

/* How large a file is follows from changes that went. */
static void test_size_from_a_segment_that_went(void **state)
{
	struct log_test *t = *state;
	struct wback_job *jobs[2];

	cut_to(t, 5, 0); /* of 100 */
	make_file(t, 100, ROOT, "a");
	write_at(t, 100, 0, "0123456789");
	fill_segment(t);
	send_only(t, 99);
	assert_int_equal(take(t, jobs, 2), 2);
	write_at(t, 5, 1, "x"); /* its size is 2, not 100 */
	job_done(t, jobs[1]);
	write_at(t, 100, 1, "x");
	assert_int_equal(take(t, &jobs[1], 1), 1);
	write_at(t, 100, 2, "x"); /* its size is 10 */
	job_done(t, jobs[0]);
	job_done(t, jobs[1]);
	reopen(t);
	assert_int_equal(view_of(t, 5).attr.size, 2);
	assert_int_equal(view_of(t, 100).attr.size, 10);
	expect_sent(t, "STORE 5;STORE 100;");
	expect_nothing_left(t);
}

/* The attributes of a directory wait for what is in it: their op is moved back,
 * their record is not. */
static void test_attributes_of_a_directory_moved_back(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	set_attr(t, 5, S_IFDIR, ATTR_MODE, &(struct attr){ .mode = 0700 });
	fill_segment(t);
	make_file(t, 101, 5, "f");
	set_mtime(t, 5, S_IFDIR, 33);
	send_only(t, 99);
	expect_at_once(t, "MAKE 101 f;");
	reopen(t);
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(job->mask, ATTR_MODE | ATTR_MTIME);
	job_done(t, job);
	expect_nothing_left(t);
}

/* ---- versions ---- */

/* Only what we stored ourselves is a version to compare with. */
static void test_version_to_compare_with(void **state)
{
	struct log_test *t = *state;
	struct attr changed = { .fsid = 1, .fileid = 5, .size = 555 };
	struct wback_job *job;
	struct handle fh = handle_of(5);

	link_to(t, 5, ROOT, "b");
	write_at(t, 5, 0, "x");
	assert_int_equal(take(t, &job, 1), 1);
	wback_done(t->wb, job, &fh, &changed, &t->settled);
	assert_int_equal(take(t, &job, 1), 1);
	assert_int_equal(job->obj.size, 100); /* as the change found it */
	assert_false(job->ours);
	write_at(t, 5, 0, "y");
	wback_done(t->wb, job, &fh, NULL, &t->settled); /* not told */
	assert_int_equal(take(t, &job, 1), 1);
	assert_true(job->ours);
	wback_done(t->wb, job, &fh, &changed, &t->settled);
	expect_nothing_left(t);
}

/* A reference without a handle or a place, as writes have. */
static void test_bare_reference(void **state)
{
	struct log_test *t = *state;

	assert_int_equal(try(t, &(struct wback_change){
		.op = WBACK_WRITE, .obj = { .ino = 5, .nlink = 1 },
		.data = "x", .len = 1 }), -EAGAIN);
	make_file(t, 100, 7, "a");
	assert_int_equal(try(t, &(struct wback_change){
		.op = WBACK_WRITE, .obj = { .ino = 100, .nlink = 1 },
		.data = "x", .len = 1 }), 0);
	assert_int_equal(view_of(t, 100).ref.parent, 7);
	reopen(t);
	assert_int_equal(view_of(t, 100).ref.parent, 7);
}

RUN_TESTS(LOG_TEST(test_stuck_is_kept_with_what_hangs_on_it),
	  LOG_TEST(test_directories_move_though_something_is_stuck),
	  LOG_TEST(test_change_merges_into_what_is_stuck),
	  LOG_TEST(test_drop_of_a_creation),
	  LOG_TEST(test_drop_of_contents),
	  LOG_TEST(test_drop_of_a_removal),
	  LOG_TEST(test_drop_of_a_rename),
	  LOG_TEST(test_drop_shows_what_was_before),
	  LOG_TEST(test_copies_are_listed_until_dropped),
	  LOG_TEST(test_what_was_sent_is_sent_again),
	  LOG_TEST(test_creation_sent_again_is_the_same),
	  LOG_TEST(test_death_between_two_lives),
	  LOG_TEST(test_death_with_a_second_store_waiting),
	  LOG_TEST(test_changes_merged_across_segments),
	  LOG_TEST(test_replaced_was_cancelled_in_a_segment_that_went),
	  LOG_TEST(test_links_of_what_was_cancelled_in_a_segment_that_went),
	  LOG_TEST(test_parent_made_in_a_segment_that_went),
	  LOG_TEST(test_version_from_a_segment_that_went),
	  LOG_TEST(test_size_from_a_segment_that_went),
	  LOG_TEST(test_attributes_of_a_directory_moved_back),
	  LOG_TEST(test_version_to_compare_with),
	  LOG_TEST(test_bare_reference))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_wback_publish.c: what is left of changes that others have overtaken: of
 * files that are replaced before they were sent, and of the directories of
 * files that were removed.
 */
#include "wback_fixture.h"

/* Who publishes again and again leaves the name neither absent nor with half a
 * file, though what came between is not sent. */
static void test_replaced_again_before_it_is_sent(void **state)
{
	struct log_test *t = *state;

	make_file(t, 100, ROOT, "new1");
	write_at(t, 100, 0, "one");
	move_file(t, 100, ROOT, "new1", ROOT, "a", 5);
	make_file(t, 101, ROOT, "new2");
	write_at(t, 101, 0, "two");
	move_file(t, 101, ROOT, "new2", ROOT, "a", 100);
	reopen(t);
	wback_forget(t->wb, 5);
	wback_forget(t->wb, 100);
	expect_sent(t, "MAKE 101 new2;STORE 101;RENAME 101 new2 a;");
	expect_nothing_left(t);
}

static void test_replaced_again_while_it_is_sent(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	make_file(t, 100, ROOT, "new1");
	assert_int_equal(take(t, &job, 1), 1); /* MAKE */
	write_at(t, 100, 0, "one");
	move_file(t, 100, ROOT, "new1", ROOT, "a", 5);
	make_file(t, 101, ROOT, "new2");
	write_at(t, 101, 0, "two");
	move_file(t, 101, ROOT, "new2", ROOT, "a", 100);
	job_done(t, job);
	/* It will be seen under its name for a moment: as a whole. */
	job = take_store(t);
	assert_int_equal(job->obj.ino, 100);
	assert_int_equal(job->bytes, 3);
	job_done(t, job);
	wback_forget(t->wb, 5);
	wback_forget(t->wb, 100);
	expect_sent(t, "RENAME 100 new1 a;MAKE 101 new2;STORE 101;"
		       "RENAME 101 new2 a;");
	expect_nothing_left(t);
}

/* The log begins behind the creation of what was cancelled. */
static void test_removals_outlive_the_creation(void **state)
{
	struct log_test *t = *state;

	make_file(t, 100, ROOT, "a");
	fill_segment(t);
	move_file(t, 100, ROOT, "a", ROOT, "b", 5);
	move_file(t, 100, ROOT, "b", ROOT, "c", 6);
	remove_file(t, 100, ROOT, "c");
	wback_forget(t->wb, 100);
	send_only(t, 6);
	send_only(t, 99);
	assert_int_equal(stats_of(t).ops, 1);
	reopen(t);
	expect_sent(t, "REMOVE 5 b;");
	expect_nothing_left(t);
}

static void test_replaced_again_outlives_the_creation(void **state)
{
	struct log_test *t = *state;

	make_file(t, 100, ROOT, "new1");
	fill_segment(t);
	move_file(t, 100, ROOT, "new1", ROOT, "a", 5);
	make_file(t, 101, ROOT, "new2");
	move_file(t, 101, ROOT, "new2", ROOT, "a", 100);
	make_file(t, 102, ROOT, "other");
	send_only(t, 99);
	reopen(t);
	send_only(t, 101); /* MAKE */
	reopen(t);
	send_only(t, 101); /* RENAME */
	assert_int_equal(stats_of(t).ops, 1);
	reopen(t);
	expect_sent(t, "MAKE 102 other;");
	expect_nothing_left(t);
}

/* A link instead of a rename, with a life between. */
static void test_linked_and_removed_while_it_is_sent(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	make_file(t, 100, ROOT, "new");
	assert_int_equal(take(t, &job, 1), 1); /* MAKE */
	write_at(t, 100, 0, "one");
	link_to(t, 100, ROOT, "a");
	remove_file(t, 100, ROOT, "new");
	remove_file(t, 100, ROOT, "a");
	job_done(t, job);
	reopen(t);
	expect_sent(t, "STORE 100;LINK 100 a;REMOVE 100 new;REMOVE 100 a;");
	expect_nothing_left(t);
}

/* One that has no other name to be seen by is not stored. */
static void test_removed_while_it_is_sent_is_not_stored(void **state)
{
	struct log_test *t = *state;
	struct wback_job *job;

	make_file(t, 100, ROOT, "a");
	assert_int_equal(take(t, &job, 1), 1); /* MAKE */
	write_at(t, 100, 0, "one");
	remove_file(t, 100, ROOT, "a");
	job_done(t, job);
	wback_forget(t->wb, 100);
	expect_sent(t, "REMOVE 100 a;");
	expect_nothing_left(t);
}

/* That it had another name does not keep its directories from being nothing. */
static void test_directories_of_a_linked_file_are_nothing(void **state)
{
	struct log_test *t = *state;

	make_dir(t, 100, ROOT, "d");
	make_dir(t, 101, 100, "e");
	make_file(t, 102, 101, "a");
	link_to(t, 102, ROOT, "b");
	remove_file(t, 102, 101, "a");
	remove_dir(t, 101, 100, "e");
	remove_dir(t, 100, ROOT, "d");
	remove_file(t, 102, ROOT, "b");
	reopen(t);
	expect_sent(t, "");
	expect_nothing_left(t);
}

RUN_TESTS(LOG_TEST(test_replaced_again_before_it_is_sent),
	  LOG_TEST(test_replaced_again_while_it_is_sent),
	  LOG_TEST(test_removals_outlive_the_creation),
	  LOG_TEST(test_replaced_again_outlives_the_creation),
	  LOG_TEST(test_linked_and_removed_while_it_is_sent),
	  LOG_TEST(test_removed_while_it_is_sent_is_not_stored),
	  LOG_TEST(test_directories_of_a_linked_file_are_nothing))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_race.c: replies that come when the world has moved on. */
#include "back_fixture.h"

/* A listing's reply is on its way while we create and remove: what we did
 * counts, not what the reply says. */
static void test_listing_does_not_undo_own_changes(void **state)
{
	struct fixture *f = *state;
	struct lister l = { .f = f };
	pthread_t t;
	struct walk w;

	admin_tree(f, 1, 3);
	l.dir = look_path(f, "/tree/d0");
	fault_hold_reply(f->fault, REMOTE_READDIRPLUS);
	assert_int_equal(pthread_create(&t, NULL, list_thread, &l), 0);
	assert_true(fault_wait_held(f->fault, 1));
	(void)make(f, l.dir, "new", S_IFREG | 0644);
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	assert_int_not_equal(look(f, l.dir, "new"), 0);
	assert_int_equal(list(f, l.dir, &w), 4);
	assert_int_equal(vfs_unlink(f->v, &root_user, l.dir, "f0"), 0);
	assert_int_equal(list(f, l.dir, &w), 3);
}

/* A listing fails on its way; what it had seen by then is gone when the directory
 * is listed again. */
static void test_failed_listing_leaves_nothing(void **state)
{
	const struct remote_mem_options small = { .page_entries = 2 };
	const struct fault_rule rule = { .kind = FAULT_ERROR, .error = -EACCES,
					 .op = REMOTE_READDIRPLUS, .skip = 2,
					 .times = 1 };
	struct fixture *f = *state;
	struct walk w;
	uint64_t d;

	admin_tree(f, 1, 6);
	d = look_path(f, "/tree/d0");
	remote_mem_set_options(f->mem, &small);
	(void)fault_add(f->fault, &rule);
	assert_int_equal(vfs_readdir(f->v, &root_user, d, 0, false, walk_emit,
				     &w), -EACCES);
	for (unsigned k = 0; k < 5; k++) {
		char path[32];

		(void)snprintf(path, sizeof(path), "/tree/d0/f%u", k);
		assert_int_equal(remote_mem_remove(f->mem, path), 0);
	}
	assert_int_equal(list(f, d, &w), 1);
	assert_int_equal(look(f, d, "f0"), 0);
}

static void *look_thread(void *arg)
{
	struct lister *l = arg;

	assert_int_not_equal(look(l->f, l->dir, "f42"), 0);
	return NULL;
}

/* The reply to a LOOKUP comes when a listing, begun before, has landed. */
static void test_late_lookup_does_not_hide_a_listed_name(void **state)
{
	struct fixture *f = *state;
	const struct remote_mem_options small = { .page_entries = 2 };
	const struct fault_rule long_way = { .kind = FAULT_HOLD,
					     .op = REMOTE_READDIRPLUS,
					     .skip = 10, .times = 1 };
	struct lister l = { .f = f };
	pthread_t t;
	struct walk w;

	admin_tree(f, 1, 100);
	l.dir = look_path(f, "/tree/d0");
	remote_mem_set_options(f->mem, &small);
	(void)fault_add(f->fault, &long_way);
	fault_hold_reply(f->fault, REMOTE_LOOKUP);
	assert_int_equal(pthread_create(&t, NULL, look_thread, &l), 0);
	assert_true(fault_wait_held(f->fault, 2));
	fault_release_op(f->fault, REMOTE_READDIRPLUS);
	assert_int_equal(list(f, l.dir, &w), 100);
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	assert_int_not_equal(look(f, l.dir, "f42"), 0);
	assert_int_equal(list(f, l.dir, &w), 100);
}

static void *stat_thread(void *arg)
{
	struct lister *l = arg;
	struct vfs_entry e;

	assert_int_equal(vfs_getattr(l->f->v, &root_user, l->dir, &e), 0);
	return NULL;
}

static void test_late_attributes_do_not_undo_a_change(void **state)
{
	struct fixture *f = *state;
	struct remote_sattr mode = { .valid = REMOTE_SET_MODE, .mode = 0700 };
	struct lister l = { .f = f };
	struct vfs_entry e;
	pthread_t t;

	admin_tree(f, 1, 1);
	l.dir = look_path(f, "/tree/d0/f0");
	set_ac(f, 0);
	fault_hold_reply(f->fault, REMOTE_GETATTR);
	assert_int_equal(pthread_create(&t, NULL, stat_thread, &l), 0);
	assert_true(fault_wait_held(f->fault, 1));
	set_ac(f, CONFIG_AC_FOREVER);
	assert_int_equal(vfs_setattr(f->v, &root_user, l.dir, &mode, &e), 0);
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	assert_int_equal(stat_of(f, l.dir).attr.mode, S_IFREG | 0700);
}

/* ---- a directory's links, while a change of them is under way ---- */

static bool is_named_x(const struct remote_call *c, void *arg)
{
	(void)arg;
	return strcmp(c->name, "x") == 0;
}

/* /d, with a subdirectory x whose removal the server has executed; its reply is
 * under way. Returns d. */
static uint64_t begin_rmdir(struct fixture *f)
{
	const struct fault_rule rule = { .kind = FAULT_HOLD_REPLY,
					 .op = REMOTE_RMDIR, .times = 1,
					 .match = is_named_x };
	uint64_t d;

	assert_int_equal(remote_mem_mkdir(f->mem, "/d/x"), 0);
	assert_int_equal(remote_mem_mkdir(f->mem, "/d/y"), 0);
	d = look_path(f, "/d");
	assert_int_equal(vfs_rmdir(f->v, &root_user, d, "x"), 0);
	assert_int_equal(stat_of(f, d).attr.nlink, 3);
	(void)fault_add(f->fault, &rule);
	(void)flush_force(f->flush);
	assert_true(fault_wait_held(f->fault, 1));
	return d;
}

static void end_rmdir(struct fixture *f, uint64_t d, unsigned links)
{
	fault_release(f->fault);
	assert_int_equal(send_all(f), 0);
	assert_int_equal(stat_of(f, d).attr.nlink, links);
	set_ac(f, 0);
	assert_int_equal(stat_of(f, d).attr.nlink, links);
}

/* The server is asked meanwhile, and tells a version later than the change. */
static void test_links_are_asked_for_meanwhile(void **state)
{
	struct fixture *f = *state;
	uint64_t d = begin_rmdir(f);

	admin_file(f, "/d/theirs", "1");
	set_ac(f, 0);
	assert_int_equal(stat_of(f, d).attr.nlink, 3);
	set_ac(f, CONFIG_AC_FOREVER);
	assert_int_equal(stat_of(f, d).attr.nlink, 3);
	end_rmdir(f, d, 3);
}

/* The reply to another change, of the directory itself, comes before. */
static void test_links_are_told_meanwhile(void **state)
{
	const struct remote_sattr mode = { .valid = REMOTE_SET_MODE,
					   .mode = 0700 };
	struct fixture *f = *state;
	uint64_t d = begin_rmdir(f);
	struct vfs_entry e;

	assert_int_equal(vfs_setattr(f->v, &root_user, d, &mode, &e), 0);
	(void)flush_force(f->flush);
	while (log_stats(f).ops > 1)
		wback_wait_room(f->wback, clock_ms() + 1000);
	assert_int_equal(stat_of(f, d).attr.nlink, 3);
	end_rmdir(f, d, 3);
}

static void test_pinned_name_never_vanishes(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;

	set_ac(f, 0);
	assert_int_equal(remote_mem_mkdir(f->mem, "/var/tmp"), 0);
	assert_int_equal(vfs_pin_path(f->v, "/var/tmp"), 0);
	ino = look_path(f, "/var/tmp");
	assert_int_equal(remote_mem_remove(f->mem, "/var/tmp"), 0);
	admin_file(f, "/var/x", "1");
	assert_int_equal(look_path(f, "/var/tmp"), ino);
}

RUN_TESTS(FS_TEST(test_listing_does_not_undo_own_changes),
	  FS_TEST(test_failed_listing_leaves_nothing),
	  FS_TEST(test_late_lookup_does_not_hide_a_listed_name),
	  FS_TEST(test_late_attributes_do_not_undo_a_change),
	  BACK_TEST(test_links_are_asked_for_meanwhile),
	  BACK_TEST(test_links_are_told_meanwhile),
	  FS_TEST(test_pinned_name_never_vanishes))

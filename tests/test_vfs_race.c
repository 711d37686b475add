/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_race.c: replies that come when the world has moved on. */
#include "vfs_fixture.h"

struct lister {
	struct fixture *f;
	uint64_t dir;
	struct walk w;
};

static void *list_thread(void *arg)
{
	struct lister *l = arg;

	(void)list(l->f, l->dir, &l->w);
	return NULL;
}

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
	struct lister l = { .f = f };
	pthread_t t;
	struct walk w;

	admin_tree(f, 1, 100);
	l.dir = look_path(f, "/tree/d0");
	remote_mem_set_options(f->mem, &small);
	fault_hold_reply(f->fault, REMOTE_LOOKUP);
	assert_int_equal(pthread_create(&t, NULL, look_thread, &l), 0);
	assert_true(fault_wait_held(f->fault, 1));
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
	f->config.ac_ms = 0;
	fault_hold_reply(f->fault, REMOTE_GETATTR);
	assert_int_equal(pthread_create(&t, NULL, stat_thread, &l), 0);
	assert_true(fault_wait_held(f->fault, 1));
	f->config.ac_ms = CONFIG_AC_FOREVER;
	assert_int_equal(vfs_setattr(f->v, &root_user, l.dir, &mode, &e), 0);
	fault_release(f->fault);
	(void)pthread_join(t, NULL);
	assert_int_equal(stat_of(f, l.dir).attr.mode, S_IFREG | 0700);
}

static void test_pinned_name_never_vanishes(void **state)
{
	struct fixture *f = *state;
	uint64_t ino;

	f->config.ac_ms = 0;
	assert_int_equal(remote_mem_mkdir(f->mem, "/var/tmp"), 0);
	assert_int_equal(vfs_pin_path(f->v, "/var/tmp"), 0);
	ino = look_path(f, "/var/tmp");
	assert_int_equal(remote_mem_remove(f->mem, "/var/tmp"), 0);
	admin_file(f, "/var/x", "1");
	assert_int_equal(look_path(f, "/var/tmp"), ino);
}

RUN_TESTS(FS_TEST(test_listing_does_not_undo_own_changes),
	  FS_TEST(test_late_lookup_does_not_hide_a_listed_name),
	  FS_TEST(test_late_attributes_do_not_undo_a_change),
	  FS_TEST(test_pinned_name_never_vanishes))

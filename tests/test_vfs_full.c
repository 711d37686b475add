/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_vfs_full.c: the filesystem when the local disk has no room for the metadata
 * cache: everything works, though each name is asked for.
 */
#include "back_fixture.h"

#include "../cache/meta_int.h"

enum { FILES = 300 };

static void set_room(struct fixture *f, bool room)
{
	meta_begin(f->meta);
	f->meta->no_room = !room;
	f->meta->spare_soft = 10; /* but the kernel may know more */
	meta_end(f->meta);
}

/* /tree/d0 and d1 with FILES files each, of which nothing is known. */
static uint64_t full_tree(struct fixture *f)
{
	uint64_t d;

	admin_tree(f, 2, FILES);
	d = look_path(f, "/tree/d0");
	set_room(f, false);
	return d;
}

static void file_name(unsigned k, char ret[16])
{
	(void)snprintf(ret, 16, "f%u", k);
}

static void test_names_never_seen(void **state)
{
	struct fixture *f = *state;
	uint64_t d = full_tree(f), ino[FILES];
	char name[16], path[32];
	struct walk w;

	for (unsigned k = 0; k < FILES; k++) {
		file_name(k, name);
		ino[k] = look(f, d, name);
		assert_int_not_equal(ino[k], 0);
	}
	for (unsigned k = 0; k < FILES; k++) {
		file_name(k, name);
		(void)snprintf(path, sizeof(path), "/tree/d0/%s", name);
		assert_int_equal(stat_of(f, ino[k]).attr.size, strlen(path));
		assert_int_equal(look(f, d, name), ino[k]);
		expect_contents(f, ino[k], path);
	}
	assert_int_equal(look(f, d, "absent"), 0);
	assert_int_equal(list(f, d, &w), FILES);
	assert_int_equal(find(f, META_ROOT), 2 * FILES + 3);
	/* Those that it has let go of make room for others. */
	for (unsigned k = 0; k < FILES; k++)
		vfs_forget(f->v, ino[k], 1000);
	d = look_path(f, "/tree/d1");
	for (unsigned k = 0; k < FILES; k++) {
		file_name(k, name);
		vfs_forget(f->v, look(f, d, name), 1000);
	}
	assert_in_range(f->meta->spare_n, 1, 30);
}

/* A reader who comes back for the rest, a few names at a time. */
struct slow_reader {
	unsigned n, left;
	uint64_t offset;
};

static int read_some(void *arg, const char *name, uint64_t offset,
		     const struct vfs_entry *e, bool with_attr)
{
	struct slow_reader *s = arg;

	(void)e;
	(void)with_attr;
	if (s->left == 0)
		return 1;
	s->left--;
	s->n += name[0] != '.';
	assert_true(offset > s->offset);
	s->offset = offset;
	return 0;
}

static void test_unlisted_directory_in_parts(void **state)
{
	const struct remote_mem_options small = { .page_entries = 7 };
	struct fixture *f = *state;
	uint64_t d = full_tree(f), before;
	struct slow_reader s = { 0 };

	remote_mem_set_options(f->mem, &small);
	(void)make(f, d, "pending", FILE_MODE);
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "f0"), 0);
	do {
		before = s.offset;
		s.left = 50;
		assert_int_equal(vfs_readdir(f->v, &root_user, d, s.offset,
					     false, read_some, &s), 0);
	} while (s.offset != before);
	assert_int_equal(s.n, FILES);
}

/* What was known of a directory, and what we change in it. */
static void test_changes_without_room(void **state)
{
	struct fixture *f = *state;
	struct vfs_entry e;
	uint64_t d, a, made, dir;

	admin_tree(f, 1, 3);
	d = look_path(f, "/tree/d0");
	a = look(f, d, "f0");
	assert_int_equal(look(f, d, "new"), 0); /* it is complete */
	set_room(f, false);
	set_ac(f, CONFIG_AC_FOREVER);
	made = make(f, d, "new", FILE_MODE);
	put(f, made, "contents");
	dir = make_dir(f, d, "dir");
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "f1"), 0);
	assert_int_equal(vfs_rename(f->v, &root_user, d, "f2", d, "g", 0), 0);
	assert_int_equal(vfs_link(f->v, &root_user, a, dir, "l", &e), 0);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(look(f, d, "new"), made);
		assert_int_equal(look(f, d, "dir"), dir);
		assert_int_equal(look(f, dir, "l"), a);
		assert_int_equal(look(f, d, "f1"), 0);
		assert_int_equal(look(f, d, "f2"), 0);
		assert_int_not_equal(look(f, d, "g"), 0);
		assert_int_equal(stat_of(f, a).attr.nlink, 2);
		expect_names(f, d, "new dir f0 g");
		expect_contents(f, made, "contents");
		assert_int_equal(vfs_rmdir(f->v, &root_user, d, "dir"),
				 -ENOTEMPTY);
		assert_int_equal(send_all(f), 0);
		set_room(f, round > 0);
	}
	assert_int_equal(f->meta->spare_n, 0);
	expect_server(f, "/tree/d0/new", "contents");
	remote_mem_reset_calls(f->mem);
	assert_int_equal(look(f, d, "dir"), dir);
	assert_int_equal(look(f, d, "absent"), 0);
	assert_int_equal(calls(f), 0); /* with room it is known again */
}

static void test_through_without_room(void **state)
{
	struct fixture *f = *state;
	uint64_t d = full_tree(f), a;

	a = make(f, d, "new", FILE_MODE);
	assert_int_equal(look(f, d, "new"), a);
	put(f, a, "contents");
	assert_int_equal(vfs_rename(f->v, &root_user, d, "new", d, "f1", 0), 0);
	assert_int_equal(look(f, d, "new"), 0);
	assert_int_equal(look(f, d, "f1"), a);
	expect_server(f, "/tree/d0/f1", "contents");
	assert_int_equal(vfs_unlink(f->v, &root_user, d, "f2"), 0);
	assert_int_equal(look(f, d, "f2"), 0);
	(void)make_dir(f, d, "dir");
	assert_int_equal(vfs_rmdir(f->v, &root_user, d, "dir"), 0);
	expect_contents(f, a, "contents");
}

RUN_TESTS(BACK_TEST(test_names_never_seen), FS_TEST(test_names_never_seen),
	  BACK_TEST(test_unlisted_directory_in_parts),
	  BACK_TEST(test_changes_without_room),
	  FS_TEST(test_through_without_room))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_meta_spare.c: the metadata cache when the local disk has no room for it. */
#include "test_meta.h"

static struct meta_inode get(struct meta *m, uint64_t ino)
{
	struct meta_inode i;

	meta_begin(m);
	assert_int_equal(meta_get(m, ino, &i), 0);
	meta_end(m);
	return i;
}

static bool is_there(struct meta *m, uint64_t ino)
{
	struct meta_inode i;
	int r;

	meta_begin(m);
	r = meta_get(m, ino, &i);
	meta_end(m);
	assert_true(r == 0 || r == -ENOENT);
	return r == 0;
}

static void put_size(struct meta *m, uint64_t ino, uint64_t size)
{
	struct meta_inode i = meta_test_inode(ino, S_IFREG);

	i.attr.size = size;
	meta_begin(m);
	assert_int_equal(meta_put(m, &i), 0);
	meta_end(m);
}

static void test_inodes_are_kept(void **state)
{
	struct meta *m = meta_test_open(*state);
	struct meta_inode i, out;

	put_size(m, 5, 1);
	m->no_room = true;
	put_size(m, 5, 2); /* newer than on disk */
	put_size(m, 6, 3);
	assert_int_equal(get(m, 5).attr.size, 2);
	for (uint64_t ino = 5; ino < 7; ino++) {
		i = meta_test_inode(ino, S_IFREG);
		meta_begin(m);
		assert_int_equal(meta_find(m, &i.handle, &i.attr, &out), 0);
		meta_end(m);
		assert_int_equal(out.ino, ino);
		assert_int_equal(out.attr.size, ino == 5 ? 2 : 3);
	}
	/* Another handle: it is found by that one alone. */
	i.handle.data[20] = 7;
	meta_begin(m);
	assert_int_equal(meta_put(m, &i), 0);
	assert_int_equal(meta_find(m, &i.handle, NULL, &out), 0);
	i.handle.data[20] = 0;
	assert_int_equal(meta_find(m, &i.handle, NULL, &out), -ENOENT);
	assert_int_equal(meta_forget(m, 5), 0);
	assert_int_equal(meta_forget(m, 6), 0);
	meta_end(m);
	assert_false(is_there(m, 5) || is_there(m, 6));
	assert_int_equal(m->spare_n, 0);
	meta_close(m);
}

static void test_they_return_to_the_disk(void **state)
{
	struct meta *m = meta_test_open(*state);

	put_size(m, 5, 1);
	m->no_room = true;
	put_size(m, 5, 2);
	for (unsigned k = 10; k < 300; k++)
		put_size(m, k, k);
	assert_int_equal(m->spare_n, 291);
	m->no_room = false;
	for (unsigned k = 0; k < 5; k++)
		assert_int_equal(get(m, 5).attr.size, 2);
	assert_int_equal(m->spare_n, 0);
	meta_close(m);
	m = meta_test_open(*state);
	assert_true(meta_was_closed(m));
	assert_int_equal(get(m, 5).attr.size, 2);
	for (unsigned k = 10; k < 300; k++)
		assert_int_equal(get(m, k).attr.size, k);
	meta_close(m);
}

/* What is left in memory at the end is missing at the next mount. */
static void test_not_closed_without_them(void **state)
{
	struct meta *m = meta_test_open(*state);

	put_size(m, 5, 1);
	m->no_room = true;
	put_size(m, 5, 2);
	put_size(m, 6, 3);
	meta_close(m);
	m = meta_test_open(*state);
	assert_false(meta_was_closed(m));
	assert_int_equal(get(m, 5).attr.size, 1);
	assert_false(is_there(m, 6));
	meta_close(m);
}

/* A directory whose names cannot be kept no longer answers for any. */
static void test_names_are_not_kept(void **state)
{
	const struct meta_name n = { .ino = 5, .epoch = 3, .type = DT_REG };
	struct meta_inode d = meta_test_inode(META_ROOT, S_IFDIR);
	struct meta *m = meta_test_open(*state);
	struct meta_name out;

	d.epoch = 3;
	d.flags = META_COMPLETE;
	meta_begin(m);
	assert_int_equal(meta_put(m, &d), 0);
	assert_int_equal(meta_name_put(m, META_ROOT, "a", &n), 0);
	m->no_room = true;
	assert_int_equal(meta_name_put(m, META_ROOT, "b", &n), -ENOSPC);
	assert_int_equal(meta_name_get(m, META_ROOT, "b", &out), -ENOENT);
	assert_int_equal(meta_name_get(m, META_ROOT, "a", &out), 0);
	meta_end(m);
	d = get(m, META_ROOT);
	assert_int_equal(d.flags, 0);
	assert_int_not_equal(d.epoch, out.epoch);
	meta_close(m);
}

static bool is_odd(void *arg, uint64_t ino)
{
	(void)arg;
	return ino & 1;
}

/* Only what somebody needs stays; and who is on the disk goes there, too. */
static void test_memory_is_bounded(void **state)
{
	struct meta *m = meta_test_open(*state);

	meta_set_keep(m, is_odd, NULL);
	put_size(m, 100, 1);
	m->no_room = true;
	m->spare_soft = 50;
	put_size(m, 100, 2);
	meta_test_put(m, 102, S_IFDIR);
	for (unsigned k = 103; k < 203; k++)
		put_size(m, k, k);
	assert_false(is_there(m, 100));
	assert_true(is_there(m, 102));
	for (unsigned k = 103; k < 203; k += 2)
		assert_true(is_there(m, k));
	assert_in_range(m->spare_n, 51, 60);
	meta_set_keep(m, NULL, NULL);
	put_size(m, 300, 1);
	put_size(m, 302, 1);
	assert_true(is_there(m, 300));
	meta_close(m);
}

RUN_TESTS(RUN_TEST_DIR(test_inodes_are_kept),
	  RUN_TEST_DIR(test_they_return_to_the_disk),
	  RUN_TEST_DIR(test_not_closed_without_them),
	  RUN_TEST_DIR(test_names_are_not_kept),
	  RUN_TEST_DIR(test_memory_is_bounded))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_meta_sweep.c: the metadata cache's sweep, and long random use of the
 * cache against a model. */
#include "test_meta.h"

/* ---- sweep ---- */

static void link_to(struct meta *m, uint64_t dir, const char *name,
		    uint64_t ino, uint8_t type)
{
	struct meta_name n = { .ino = ino, .type = type };

	meta_test_put(m, ino, type == DT_DIR ? S_IFDIR : S_IFREG);
	meta_begin(m);
	assert_int_equal(meta_name_put(m, dir, name, &n), 0);
	meta_end(m);
}

static void test_sweep(void **state)
{
	static const bool kept[] = {
		[1] = true,   [20] = true,  [21] = true, [22] = true,
		[30] = false, [31] = false, [32] = false
	};
	struct meta *m = meta_test_open(*state);
	struct meta_name name = { .absent = true }, got;
	struct meta_inode out;

	meta_begin(m);
	for (int i = 0; i < 100; i++)
		(void)meta_new_ino(m);
	meta_end(m);
	meta_test_put(m, META_ROOT, S_IFDIR);
	link_to(m, META_ROOT, "d", 20, DT_DIR);
	link_to(m, 20, "f", 21, DT_REG);
	link_to(m, 20, "d", 22, DT_DIR);
	link_to(m, 30, "loop", 31, DT_DIR); /* two that hold each other */
	link_to(m, 31, "loop", 30, DT_DIR);
	link_to(m, 31, "f", 32, DT_REG);
	meta_begin(m);
	assert_int_equal(meta_name_put(m, 20, "gone", &name), 0);
	meta_end(m);
	for (unsigned i = 200; i < 200 + 3 * META_STEP; i++)
		meta_test_put(m, i, S_IFREG);
	meta_begin(m);
	for (int i = 0; i < 5000; i++)
		(void)meta_new_ino(m);
	meta_end(m);

	assert_int_equal(meta_sweep(m), 0);
	meta_begin(m);
	for (unsigned i = 0; i < ARRAY_LEN(kept); i++)
		assert_int_equal(meta_get(m, i, &out), kept[i] ? 0 : -ENOENT);
	for (unsigned i = 200; i < 200 + 3 * META_STEP; i++)
		assert_int_equal(meta_get(m, i, &out), -ENOENT);
	assert_int_equal(meta_name_get(m, 20, "gone", &got), 0);
	assert_int_equal(meta_name_get(m, 30, "loop", &got), -ENOENT);
	assert_int_equal(meta_name_get(m, 31, "f", &got), -ENOENT);
	meta_end(m);
	meta_close(m);
}

static void test_sweep_of_a_new_cache(void **state)
{
	struct meta *m = meta_test_open(*state);

	assert_int_equal(meta_sweep(m), 0);
	meta_close(m);
}

/* Against a plain array, with reopening and crashes thrown in. */
static void random_step(struct meta *m, uint64_t *rnd, uint32_t *model)
{
	unsigned i = (unsigned)(run_random(rnd) >> 33) % 512;
	struct meta_inode n = meta_test_inode(1000 + i, S_IFREG), out;
	bool put = run_random(rnd) >> 63;

	meta_begin(m);
	assert_int_equal(meta_get(m, n.ino, &out), model[i] ? 0 : -ENOENT);
	if (model[i]) {
		assert_int_equal(out.epoch, model[i]);
		assert_int_equal(meta_find(m, &n.handle, NULL, &out), 0);
		assert_int_equal(out.ino, n.ino);
	}
	model[i] = put ? (uint32_t)(run_random(rnd) >> 40) + 1 : 0;
	n.epoch = model[i];
	assert_int_equal(put ? meta_put(m, &n) : meta_forget(m, n.ino), 0);
	meta_end(m);
}

static void test_against_a_model(void **state)
{
	uint64_t rnd = run_seed();
	uint32_t model[512] = { 0 };

	for (int round = 0; round < 10; round++) {
		struct meta *m = meta_test_open(*state);

		for (int i = 0; i < 2000; i++)
			random_step(m, &rnd, model);
		meta_close(m);
	}
}

RUN_TESTS(RUN_TEST_DIR(test_sweep), RUN_TEST_DIR(test_sweep_of_a_new_cache),
	  RUN_TEST_DIR(test_against_a_model))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_record.c: what was used, as lines: each object once, whatever the cache
 * says of the tree; and reading them back. */
#include "test_meta.h"

#include "../fs/record.h"

enum { USR = 10, LIB = 11, A = 12, B = 13, SHARED = 14, OTHER = 15 };

static void name(struct meta *m, uint64_t dir, const char *text, uint64_t ino)
{
	struct meta_name n = { .ino = ino };

	meta_begin(m);
	assert_int_equal(meta_name_put(m, dir, text, &n), 0);
	meta_end(m);
}

/* /usr/lib/{a,"b\n"}, hard links to one file, and a directory in itself. */
static struct meta *tree(const char *dir)
{
	struct meta *m;
	CLEANUP_FREE char *path = NULL;

	assert_true(asprintf(&path, "%s/meta", dir) > 0);
	assert_int_equal(mkdir(path, 0700), 0);
	m = meta_test_open(path);
	meta_test_put(m, META_ROOT, S_IFDIR);
	meta_test_put(m, USR, S_IFDIR);
	meta_test_put(m, LIB, S_IFDIR);
	for (uint64_t ino = A; ino <= OTHER; ino++)
		meta_test_put(m, ino, S_IFREG);
	name(m, META_ROOT, "usr", USR);
	name(m, USR, "lib", LIB);
	name(m, USR, "other", OTHER);
	name(m, LIB, "a", A);
	name(m, LIB, "b\n", B);
	name(m, LIB, "link1", SHARED);
	name(m, LIB, "link2", SHARED);
	name(m, LIB, "up", USR);
	return m;
}

static struct record *begin(const char *dir, struct meta *m, char **ret_file)
{
	struct record *r = NULL;

	assert_true(asprintf(ret_file, "%s/record", dir) > 0);
	assert_int_equal(record_open(*ret_file, m, &r), 0);
	return r;
}

static unsigned count_line(const char *file, const char *line)
{
	FILE *f = fopen(file, "r");
	char text[256];
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(text, sizeof(text), f)) {
		text[strcspn(text, "\n")] = '\0';
		n += strcmp(text, line) == 0;
	}
	(void)fclose(f);
	return n;
}

static void test_each_once(void **state)
{
	struct meta *m = tree(*state);
	CLEANUP_FREE char *file = NULL;
	struct record *r = begin(*state, m, &file);
	uint64_t n = 0;

	for (int k = 0; k < 3; k++) {
		record_used(r, META_ROOT, RECORD_NAMES);
		record_used(r, USR, RECORD_NAMES);
		record_used(r, LIB, RECORD_NAMES);
		record_used(r, B, RECORD_CONTENTS);
		record_used(r, SHARED, RECORD_CONTENTS);
		record_used(r, 999, RECORD_CONTENTS); /* not known any more */
	}
	assert_int_equal(access(file, F_OK), -1);
	assert_int_equal(record_close(r, &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(count_line(file, "nfsrootfs-record 1"), 1);
	assert_int_equal(count_line(file, "names /"), 1);
	assert_int_equal(count_line(file, "names /usr"), 1);
	assert_int_equal(count_line(file, "names /usr/lib"), 1);
	assert_int_equal(count_line(file, "contents /usr/lib/b\\012"), 1);
	assert_int_equal(count_line(file, "contents /usr/lib/link1") +
				 count_line(file, "contents /usr/lib/link2"),
			 1);
	meta_close(m);
}

static void test_nothing_used_leaves_the_last(void **state)
{
	struct meta *m = tree(*state);
	CLEANUP_FREE char *file = NULL, *new = NULL;
	struct record *r = begin(*state, m, &file);
	uint64_t n = 0;

	record_used(r, META_ROOT, RECORD_NAMES);
	assert_int_equal(record_close(r, &n), 0);
	assert_int_equal(record_open(file, m, &r), 0);
	assert_int_equal(record_close(r, &n), 0);
	assert_int_equal(count_line(file, "names /"), 1);
	assert_true(asprintf(&new, "%s.new", file) > 0);
	assert_int_equal(access(new, F_OK), -1);
	assert_int_equal(record_open("/nowhere/record", m, &r), -ENOENT);
	record_used(NULL, 1, RECORD_NAMES);
	assert_int_equal(record_close(NULL, &n), 0);
	meta_close(m);
}

static int parse(const char *text, enum record_use *use, char ret[64])
{
	char line[64], *path;
	int r;

	(void)snprintf(line, sizeof(line), "%s", text);
	r = record_parse(line, use, &path);
	if (r == 0)
		(void)snprintf(ret, 64, "%s", path);
	return r;
}

static void test_parse(void **state)
{
	static const char *const bad[] = { "", "names", "names ", "names usr",
					   "contents", "content /", "NAMES /",
					   " names /", "contents  /a" };
	enum record_use use;
	char path[64];

	(void)state;
	assert_true(record_is_head("nfsrootfs-record 1"));
	assert_false(record_is_head("nfsrootfs-record 2"));
	assert_int_equal(parse("names /", &use, path), 0);
	assert_int_equal(use, RECORD_NAMES);
	assert_string_equal(path, "/");
	assert_int_equal(parse("contents /a\\012b\\134 c", &use, path), 0);
	assert_int_equal(use, RECORD_CONTENTS);
	assert_string_equal(path, "/a\nb\\ c");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse(bad[i], &use, path), -EBADMSG);
}

RUN_TESTS(RUN_TEST_DIR(test_each_once),
	  RUN_TEST_DIR(test_nothing_used_leaves_the_last),
	  cmocka_unit_test(test_parse))

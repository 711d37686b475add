/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_mountinfo.c: reading a mount table, and names made of paths. */
#include "run.h"

#include "../fs/escape.h"
#include "../fs/mountinfo.h"

static int read_text(const char *dir, const char *text, struct mountinfo *ret)
{
	char path[600];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/mountinfo", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	return mountinfo_read(path, ret);
}

static void test_table(void **state)
{
	const struct mountinfo_entry *e;
	struct mountinfo m;

	assert_int_equal(
		read_text(*state,
			  "22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n"
			  "36 22 0:45 / /mnt/a\\040b rw,relatime master:7 "
			  "propagate_from:2 - fuse.nfsrootfs pi:/s\\134x rw\n"
			  "37 36 0:46 /x /mnt/a\\040b rw - tmpfs tmpfs rw\n"
			  "38 22 0:47 / /mnt/c rw - fuse.nfsrootfs pi:/ rw\n",
			  &m),
		0);
	assert_int_equal(m.n, 4);
	e = &m.entries[1];
	assert_int_equal(e->id, 36);
	assert_int_equal(e->parent, 22);
	assert_int_equal(e->major, 0);
	assert_int_equal(e->minor, 45);
	assert_int_equal(e->shared, 0);
	assert_int_equal(e->master, 7);
	assert_string_equal(e->where, "/mnt/a b");
	assert_string_equal(e->source, "pi:/s\\x");
	assert_true(mountinfo_is_ours(e));
	assert_int_equal(m.entries[0].shared, 1);
	/* The one on top. */
	e = mountinfo_at(&m, "/mnt/a b");
	assert_int_equal(e->id, 37);
	assert_false(mountinfo_is_ours(e));
	assert_null(mountinfo_at(&m, "/mnt"));
	mountinfo_done(&m);
}

static void test_damaged_table(void **state)
{
	static const char *const texts[] = {
		"x\n",
		"22 1 254:0 / /\n",
		"22 1 254 / / rw - ext4 /dev/vda rw\n",
		"22 1 254:0 / / rw - ext4\n",
		"22 1 254:0 / - ext4 /dev/vda rw\n",
	};
	struct mountinfo m;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(read_text(*state, texts[i], &m), -EBADMSG);
	assert_int_equal(mountinfo_read("/nonexistent", &m), -ENOENT);
	assert_int_equal(mountinfo_read("/proc/self/mountinfo", &m), 0);
	assert_true(m.n > 0);
	mountinfo_done(&m);
}

static void test_beneath(void **state)
{
	assert_true(path_is_beneath("/a/b", "/a"));
	assert_true(path_is_beneath("/a", "/a"));
	assert_true(path_is_beneath("/a", "/"));
	assert_false(path_is_beneath("/ab", "/a"));
	assert_false(path_is_beneath("/", "/a"));
}

static void name_is(const char *text, const char *expected)
{
	char name[ESCAPE_BYTES];

	escape_name(text, name);
	assert_string_equal(name, expected);
}

static void test_names(void **state)
{
	char a[ESCAPE_BYTES], b[ESCAPE_BYTES], text[201];

	name_is("pi:/srv/root", "pi:-srv-root");
	name_is("pi:2049:/", "pi:2049:-");
	name_is("/mnt/my-root", "-mnt-my%2Droot");
	name_is(".", "%2E");
	name_is("..", "%2E.");
	name_is("a b\n\xc3\xa4%~_", "a%20b%0A%C3%A4%25%7E%5F");
	name_is("", "");

	/* Too long: still of bounded length, and still two names. */
	memset(text, '/', 200);
	text[200] = '\0';
	escape_name(text, a);
	text[199] = 'x';
	escape_name(text, b);
	assert_int_equal(strlen(a), ESCAPE_BYTES - 1);
	assert_int_equal(strlen(b), ESCAPE_BYTES - 1);
	assert_string_not_equal(a, b);
	assert_null(strchr(a, '/'));
}

RUN_TESTS(RUN_TEST_DIR(test_table), RUN_TEST_DIR(test_damaged_table),
	  cmocka_unit_test(test_beneath), cmocka_unit_test(test_names))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_area_plan.c: where builds happen, as read from a root's own files; and
 * that reading and making stays inside that root.
 */
#include "run.h"

#include "../fs/area_plan.h"
#include "../fs/inroot.h"

/* ---- text ---- */

static void value_is(const char *text, const char *value)
{
	char *got = NULL;

	assert_int_equal(area_plan_shell_value(text, "DIR", &got), 0);
	assert_string_equal(got, value);
	free(got);
}

static void value_fails(const char *text, int err)
{
	char *got = NULL;

	assert_int_equal(area_plan_shell_value(text, "DIR", &got), err);
	assert_null(got);
}

static void test_shell_value(void **state)
{
	value_is("DIR=/a", "/a");
	value_is("# DIR=/no\n  DIR=\"/a b\" # why\nOTHER=x\n", "/a b");
	value_is("export DIR='/a$b'\n", "/a$b");
	value_is("export\tDIR=/a;x", "/a");
	value_is("DIR=/a\nDIR=/b\n", "/b");
	value_is("DIR=\"$x\"\nDIR=/b", "/b");
	value_is("DIR=", "");
	value_fails("", -ENOENT);
	value_fails("XDIR=/a\nDIRX=/b\nDIR\n", -ENOENT);
	value_fails("DIR=\"${ROOT}/a\"", -EINVAL);
	value_fails("DIR=`x`", -EINVAL);
	value_fails("DIR=/a\\ b", -EINVAL);
	value_fails("DIR=\"/a\n\"", -EINVAL);
	value_fails("DIR='/a", -EINVAL);
	value_fails("DIR=/a\nDIR=$x\n", -EINVAL);
}

static void test_user(void **state)
{
	static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
				     "notportage:x:1:2:::\n"
				     "portage:x:250:251:p:/var/tmp/portage:/x\n";
	uid_t uid = 7;
	gid_t gid = 7;

	assert_int_equal(area_plan_user(passwd, "portage", &uid, &gid), 0);
	assert_int_equal(uid, 250);
	assert_int_equal(gid, 251);
	assert_int_equal(area_plan_user(passwd, "portag", &uid, &gid), -ENOENT);
	assert_int_equal(area_plan_user("portage:x:bad:", "portage", &uid, &gid),
			 -ENOENT);
	assert_int_equal(area_plan_user("", "portage", &uid, &gid), -ENOENT);
	assert_int_equal(uid, 250);
}

/* ---- a root ---- */

static int open_root(const char *dir)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void put(const char *dir, const char *path, const char *text)
{
	char full[1024];
	FILE *f;

	(void)snprintf(full, sizeof(full), "%s%s", dir, path);
	for (char *p = full + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		(void)mkdir(full, 0755);
		*p = '/';
	}
	if (!text)
		return;
	f = fopen(full, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* The areas planned for the root, as "/a /b". */
static void plan_is(int root_fd, const char *options, const char *expected)
{
	struct config c;
	char got[1024] = "";

	config_init(&c);
	assert_int_equal(config_set_options(&c, options, NULL), 0);
	assert_int_equal(area_plan(&c, root_fd), 0);
	for (unsigned i = 0; i < c.areas_n; i++) {
		strcat(got, i ? " " : "");
		strcat(got, c.areas[i].path);
	}
	assert_string_equal(got, expected);
	config_done(&c);
}

static void test_plan(void **state)
{
	const char *dir = *state;
	int fd = open_root(dir);

	plan_is(fd, "", "/tmp /var/tmp/portage");
	plan_is(fd, "notmp", "");
	plan_is(fd, "tmp=/b/c,tmp=/a,tmp=/b", "/a /b /b/c");
	put(dir, "/etc/portage/make.conf", "PORTAGE_TMPDIR=/fast\n");
	plan_is(fd, "", "/fast/portage /tmp");
	put(dir, "/etc/portage/make.conf", "PORTAGE_TMPDIR=\"/tmp/here\"\n");
	plan_is(fd, "", "/tmp");
	put(dir, "/etc/portage/make.conf", "PORTAGE_TMPDIR=$HOME\n");
	plan_is(fd, "", "/tmp /var/tmp/portage");
	put(dir, "/etc/portage/make.conf", "PORTAGE_TMPDIR=../..\n");
	plan_is(fd, "", "/tmp");
	(void)close(fd);
}

static void test_plan_of_a_directory(void **state)
{
	const char *dir = *state;
	int fd = open_root(dir);

	put(dir, "/etc/portage/make.conf/10-a", "PORTAGE_TMPDIR=/a\n");
	put(dir, "/etc/portage/make.conf/20-b", "PORTAGE_TMPDIR=/b\n");
	put(dir, "/etc/portage/make.conf/30-c~", "PORTAGE_TMPDIR=/c\n");
	put(dir, "/etc/portage/make.conf/.d", "PORTAGE_TMPDIR=/d\n");
	plan_is(fd, "", "/b/portage /tmp");
	(void)close(fd);
}

static void test_who_owns_it(void **state)
{
	const char *dir = *state;
	int fd = open_root(dir);
	struct inroot_dir d;

	area_plan_dir("/tmp", fd, &d);
	assert_int_equal(d.mode, 01777);
	area_plan_dir("/var/tmp/portage", fd, &d);
	assert_int_equal(d.mode, 0775);
	assert_int_equal(d.uid, 0);
	put(dir, "/etc/passwd", "portage:x:250:251:::\n");
	area_plan_dir("/var/tmp/portage", fd, &d);
	assert_int_equal(d.uid, 250);
	assert_int_equal(d.gid, 251);
	area_plan_dir("/other", fd, &d);
	assert_int_equal(d.mode, 0755);
	assert_int_equal(d.uid, 0);
	(void)close(fd);
}

/* ---- inside the root ---- */

static void test_links_stay_inside(void **state)
{
	const char *dir = *state;
	char root[600], link[640], *text = NULL;
	int fd, r;

	(void)snprintf(root, sizeof(root), "%s/root", dir);
	assert_int_equal(mkdir(root, 0755), 0);
	put(dir, "/secret", "secret");
	put(root, "/etc/file", "inside");
	(void)snprintf(link, sizeof(link), "%s/out", root);
	assert_int_equal(symlink("../secret", link), 0);
	(void)snprintf(link, sizeof(link), "%s/absolute", root);
	assert_int_equal(symlink("/etc/file", link), 0);
	(void)snprintf(link, sizeof(link), "%s/fifo", root);
	assert_int_equal(mkfifo(link, 0600), 0);
	fd = open_root(root);
	assert_int_equal(inroot_read_file(fd, "/out", 100, &text), -ENOENT);
	assert_int_equal(inroot_read_file(fd, "/../../secret", 100, &text),
			 -ENOENT);
	assert_int_equal(inroot_read_file(fd, "/fifo", 100, &text), -EINVAL);
	assert_int_equal(inroot_read_file(fd, "/etc", 100, &text), -EINVAL);
	assert_int_equal(inroot_read_file(fd, "/absolute", 5, &text), -EFBIG);
	assert_null(text);
	assert_int_equal(inroot_read_file(fd, "/absolute", 6, &text), 0);
	assert_string_equal(text, "inside");
	free(text);
	r = inroot_open(fd, "/out", O_RDONLY);
	assert_int_equal(r, -ENOENT);
	(void)close(fd);
}

static void test_make_dir(void **state)
{
	const char *dir = *state;
	const struct inroot_dir d = { .mode = 01775, .uid = geteuid(),
				      .gid = getegid() };
	char path[640];
	struct stat st;
	int fd = open_root(dir), made;

	if (geteuid() != 0)
		skip();
	made = inroot_make_dir(fd, "/a/b/c", &d);
	assert_true(made >= 0);
	assert_int_equal(fstat(made, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 01775);
	(void)close(made);
	(void)snprintf(path, sizeof(path), "%s/a/b", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0755);

	put(dir, "/file", "");
	assert_int_equal(inroot_make_dir(fd, "/file", &d), -ENOTDIR);
	assert_int_equal(inroot_make_dir(fd, "/file/x", &d), -ENOTDIR);
	(void)snprintf(path, sizeof(path), "%s/dangling", dir);
	assert_int_equal(symlink("/nowhere", path), 0);
	assert_int_equal(inroot_make_dir(fd, "/dangling", &d), -ELOOP);
	assert_int_equal(inroot_make_dir(fd, "/dangling/x", &d), -ELOOP);
	(void)close(fd);
}

RUN_TESTS(cmocka_unit_test(test_shell_value), cmocka_unit_test(test_user),
	  RUN_TEST_DIR(test_plan), RUN_TEST_DIR(test_plan_of_a_directory),
	  RUN_TEST_DIR(test_who_owns_it), RUN_TEST_DIR(test_links_stay_inside),
	  RUN_TEST_DIR(test_make_dir))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_cachedir.c: the layout of the cache directory and its refusals. What
 * needs another filesystem is tested by e2e/mount-errors.sh.
 */
#include "run.h"

#include "../fs/cachedir.h"

#define EXPORT "pi:2049:-srv"

static void config_for(struct config *c, const char *dir, const char *mountpoint)
{
	config_init(c);
	assert_int_equal(config_set_source(c, "pi:/srv", NULL), 0);
	assert_int_equal(config_set_options(c, "port=2049", NULL), 0);
	assert_true(asprintf(&c->cachedir, "%s/cache", dir) > 0);
	c->mountpoint = strdup(mountpoint);
	if (geteuid() != 0)
		skip();
}

static void write_about(const char *dir, const char *text)
{
	char path[700];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/cache/" EXPORT "/about", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int open_once(const struct config *c, const char *part)
{
	struct cachedir d = CACHEDIR_INIT;
	char *why = NULL;
	int r = cachedir_open(c, &d, &why);

	if (r < 0 && !strstr(why, part))
		fail_msg("\"%s\" is not in \"%s\"", part, why);
	free(why);
	cachedir_close(&d);
	return r;
}

static void test_layout(void **state)
{
	struct cachedir d = CACHEDIR_INIT, second = CACHEDIR_INIT;
	char *why = NULL, *area, *meta;
	struct config c;
	struct stat st;

	config_for(&c, *state, "/mnt/x");
	assert_int_equal(cachedir_open(&c, &d, &why), 0);
	assert_true(d.made);
	assert_non_null(strstr(d.path, "/cache/" EXPORT));
	assert_int_equal(fstat(d.fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	area = cachedir_area_path(&d, "/var/tmp/portage");
	meta = cachedir_meta_path(&d);
	assert_non_null(strstr(area, EXPORT "/tmp/-var-tmp-portage"));
	assert_int_equal(stat(meta, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);

	/* In use: for a mount and for any other use. */
	assert_int_equal(cachedir_open(&c, &second, &why), -EBUSY);
	free(STEAL_PTR(why));
	assert_int_equal(cachedir_find(&c, &second, &why), -EBUSY);
	free(STEAL_PTR(why));
	cachedir_close(&d);
	assert_int_equal(cachedir_open(&c, &d, &why), 0);
	assert_false(d.made);
	cachedir_close(&d);
	free(area);
	free(meta);
	config_done(&c);
}

static void test_find(void **state)
{
	struct cachedir d = CACHEDIR_INIT;
	char *why = NULL;
	struct config c;

	config_for(&c, *state, "/mnt/x");
	assert_int_equal(cachedir_find(&c, &d, &why), -ENOENT);
	free(STEAL_PTR(why));
	assert_int_equal(open_once(&c, ""), 0);
	assert_int_equal(cachedir_find(&c, &d, &why), 0);
	cachedir_close(&d);

	/* By the mount point, the last one only. */
	free(STEAL_PTR(c.mountpoint));
	c.mountpoint = strdup("/mnt/y");
	assert_int_equal(open_once(&c, ""), 0);
	free(STEAL_PTR(c.host));
	assert_int_equal(cachedir_find(&c, &d, &why), 0);
	assert_non_null(strstr(d.path, EXPORT));
	cachedir_close(&d);
	free(STEAL_PTR(c.mountpoint));
	c.mountpoint = strdup("/mnt/x");
	assert_int_equal(cachedir_find(&c, &d, &why), -ENOENT);
	free(why);
	config_done(&c);
}

static void test_about(void **state)
{
	struct config c;

	config_for(&c, *state, "/mnt/x");
	assert_int_equal(open_once(&c, ""), 0);
	write_about(*state, "nfsrootfs-cache 2\nwhat will be\n");
	assert_int_equal(open_once(&c, "format version 2"), -EMEDIUMTYPE);
	write_about(*state, "");
	assert_int_equal(open_once(&c, "is damaged"), -EUCLEAN);
	write_about(*state, "\xff\xff\xff");
	assert_int_equal(open_once(&c, "is damaged"), -EUCLEAN);
	write_about(*state, "nfsrootfs-cache 1\nserver pi:2049:/srv\n");
	assert_int_equal(open_once(&c, "is damaged"), -EUCLEAN);
	write_about(*state, "nfsrootfs-cache 1\nserver other:/x\nmountpoint /\n");
	assert_int_equal(open_once(&c, "belongs to other:/x"), -EXDEV);
	write_about(*state,
		    "nfsrootfs-cache 1\nserver pi:2049:/srv\nmountpoint /\n");
	assert_int_equal(open_once(&c, ""), 0);
	config_done(&c);
}

static void test_unsafe(void **state)
{
	char path[700], moved[720];
	struct config c;

	config_for(&c, *state, "/mnt/x");
	assert_int_equal(open_once(&c, ""), 0);
	(void)snprintf(path, sizeof(path), "%s/cache/" EXPORT,
		       (const char *)*state);
	assert_int_equal(chmod(path, 0750), 0);
	assert_int_equal(open_once(&c, "root's alone"), -EPERM);
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(chown(path, 1, 0), 0);
	assert_int_equal(open_once(&c, "root's alone"), -EPERM);
	assert_int_equal(chown(path, 0, 0), 0);
	(void)snprintf(moved, sizeof(moved), "%s.moved", path);
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(symlink(moved, path), 0);
	assert_int_equal(open_once(&c, "not a directory"), -EPERM);
	assert_int_equal(unlink(path), 0);

	/* DIR itself: others may write to it only if it is sticky. */
	assert_int_equal(chmod(c.cachedir, 0777), 0);
	assert_int_equal(open_once(&c, "others may write"), -EPERM);
	assert_int_equal(chmod(c.cachedir, 01777), 0);
	assert_int_equal(open_once(&c, ""), 0);
	config_done(&c);
}

static void test_undo(void **state)
{
	struct cachedir d = CACHEDIR_INIT;
	char *why = NULL, path[800];
	struct config c;
	struct stat st;

	config_for(&c, *state, "/mnt/x");
	assert_int_equal(cachedir_open(&c, &d, &why), 0);
	(void)snprintf(path, sizeof(path), "%s", d.path);
	cachedir_undo(&d);
	cachedir_close(&d);
	assert_int_equal(stat(path, &st), -1);

	/* Not what was there before, nor what somebody has used. */
	assert_int_equal(cachedir_open(&c, &d, &why), 0);
	cachedir_close(&d);
	assert_int_equal(cachedir_open(&c, &d, &why), 0);
	cachedir_undo(&d);
	cachedir_close(&d);
	assert_int_equal(open_once(&c, ""), 0);
	assert_int_equal(stat(path, &st), 0);
	config_done(&c);
}

static void test_id(void **state)
{
	char first[CACHEDIR_ID_BYTES], id[CACHEDIR_ID_BYTES], path[700];
	struct cachedir d = CACHEDIR_INIT;
	char *why = NULL;
	struct config c;

	config_for(&c, *state, "/mnt/x");
	assert_int_equal(cachedir_open(&c, &d, &why), 0);
	assert_int_equal(cachedir_id(&d, first), 0);
	assert_int_equal(strspn(first, "0123456789abcdef"), 32);
	assert_int_equal(strlen(first), 32);
	cachedir_close(&d);
	assert_int_equal(cachedir_open(&c, &d, &why), 0);
	assert_int_equal(cachedir_id(&d, id), 0);
	assert_string_equal(id, first);

	/* One that cannot have been ours is replaced by another. */
	(void)snprintf(path, sizeof(path), "%s/id", d.path);
	assert_int_equal(truncate(path, 20), 0);
	assert_int_equal(cachedir_id(&d, id), 0);
	assert_int_equal(strlen(id), 32);
	assert_string_not_equal(id, first);
	assert_int_equal(cachedir_id(&d, first), 0);
	assert_string_equal(id, first);
	cachedir_close(&d);
	config_done(&c);
}

RUN_TESTS(RUN_TEST_DIR(test_layout), RUN_TEST_DIR(test_find),
	  RUN_TEST_DIR(test_about), RUN_TEST_DIR(test_unsafe),
	  RUN_TEST_DIR(test_undo), RUN_TEST_DIR(test_id))

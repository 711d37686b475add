/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_meta.h: what the tests of the metadata cache share. */
#pragma once

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>

#include "run.h"
#include "../cache/meta_int.h"

#define META_TEST_SERVER "server:/export"

static inline struct meta *meta_test_open(const char *dir)
{
	struct meta *m = NULL;

	assert_int_equal(meta_open(dir, META_TEST_SERVER, &m), 0);
	assert_non_null(m);
	return m;
}

/* The error of an open that must fail, or 0 after all. */
static inline int meta_test_open_error(const char *dir)
{
	struct meta *m = NULL;
	int r = meta_open(dir, META_TEST_SERVER, &m);

	if (r < 0)
		assert_null(m);
	meta_close(m);
	return r;
}

/* All its fields follow from @ino. */
static inline struct meta_inode meta_test_inode(uint64_t ino, mode_t type)
{
	struct meta_inode n;

	memset(&n, 0, sizeof(n)); /* the padding too: compared as bytes */
	n.ino = ino;
	n.parent = META_ROOT;
	n.checked = ino << 20;
	n.attr.fsid = 0xfeedface12345678;
	n.attr.fileid = ino * 3;
	n.attr.size = ino * 1000;
	n.attr.mode = type | 0644;
	n.attr.nlink = 1;
	n.attr.mtime = (struct timespec){ (time_t)ino, 123456789 };
	n.attr.ctime = (struct timespec){ (time_t)ino + 5, 999999999 };
	n.attr.atime = (struct timespec){ (time_t)ino - 5, 0 };
	n.server_mtime = n.attr.mtime;
	n.server_ctime = n.attr.ctime;
	n.data_ctime = n.server_ctime;
	n.handle.len = 32;
	memcpy(n.handle.data + 8, &ino, sizeof(ino));
	return n;
}

/* In a bracket of its own. */
static inline void meta_test_put(struct meta *m, uint64_t ino, mode_t type)
{
	struct meta_inode n = meta_test_inode(ino, type);

	meta_begin(m);
	assert_int_equal(meta_put(m, &n), 0);
	meta_end(m);
}

/* Run @fn in a process that dies without a word right after. */
static inline void meta_test_crash(void (*fn)(const char *dir), const char *dir)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		fn(dir);
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

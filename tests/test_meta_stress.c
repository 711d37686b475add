/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_meta_stress.c: the metadata cache on a full disk, on one that fails, and
 * with many threads. */
#include "test_meta.h"

#include <sched.h>
#include <sys/mount.h>

/* ---- no room ---- */

static void in_full_disk(const char *dir)
{
	const struct meta_name name = { .ino = 5, .type = DT_REG };
	struct meta_inode in, out;
	struct meta *m = meta_test_open(dir);
	unsigned n, kept = 0;
	int r = 0;

	for (n = 0; r == 0; n++) {
		in = meta_test_inode(100 + n, S_IFREG);
		meta_begin(m);
		r = meta_has_room(m) ? meta_put(m, &in) : -ENOSPC;
		meta_end(m);
		assert_true(n < 10000000);
	}
	assert_int_equal(r, -ENOSPC);
	n--;
	assert_true(n > 1000);
	assert_int_equal(meta_sync(m), 0); /* nothing was lost */
	for (unsigned i = 0; i < 1000; i++) /* nor is it from now on */
		meta_test_put(m, 100 + n + i, S_IFREG);
	meta_begin(m);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(meta_get(m, 100 + n + i, &out), 0);
	assert_int_equal(meta_name_put(m, 100, "a", &name), -ENOSPC);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(meta_forget(m, 100 + n + i), 0);
	meta_end(m);
	meta_begin(m);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(meta_get(m, 100 + i, &out), 0);
	meta_end(m);
	for (unsigned i = 0; i < n; i += 2) {
		meta_begin(m);
		assert_int_equal(meta_forget(m, 100 + i), 0);
		meta_end(m);
	}
	assert_int_equal(meta_sync(m), 0);
	meta_close(m);
	m = meta_test_open(dir);
	meta_begin(m);
	for (unsigned i = 0; i < n; i++)
		kept += meta_get(m, 100 + i, &out) == 0;
	meta_end(m);
	assert_int_equal(kept, n / 2);
	meta_close(m);
}

/* In a mount namespace of its own, which goes with the process. */
static void in_small_tmpfs(const char *dir)
{
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("small", dir, "tmpfs", 0, "size=48m") < 0)
		(void)raise(SIGTERM);
	in_full_disk(dir);
}

static void test_full_disk(void **state)
{
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0) {
		in_small_tmpfs(*state);
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM)
		skip(); /* not allowed to mount here */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- a disk that fails ---- */

/* What a commit could not write is forgotten; the rest goes on. */
static void test_failed_commit(void **state)
{
	struct meta *m = meta_test_open(*state);
	int good = dup(m->data_fd), bad = open("/dev/full", O_RDONLY);
	struct meta_inode out;

	assert_true(good >= 0 && bad >= 0);
	meta_test_put(m, 5, S_IFREG);
	assert_int_equal(meta_sync(m), 0);
	meta_test_put(m, 6, S_IFREG);
	assert_true(dup2(bad, m->data_fd) >= 0);
	assert_int_equal(meta_sync(m), -EBADF);
	assert_true(dup2(good, m->data_fd) >= 0);
	meta_begin(m);
	assert_int_equal(meta_get(m, 5, &out), 0);
	assert_int_equal(meta_get(m, 6, &out), -ENOENT);
	assert_true(meta_new_ino(m) >= META_INO_FIRST);
	meta_end(m);
	meta_test_put(m, 7, S_IFREG);
	assert_int_equal(meta_sync(m), 0);
	meta_close(m);
	m = meta_test_open(*state);
	meta_begin(m);
	assert_int_equal(meta_get(m, 5, &out), 0);
	assert_int_equal(meta_get(m, 7, &out), 0);
	meta_end(m);
	meta_close(m);
	(void)close(good);
	(void)close(bad);
}

/* ---- threads ---- */

struct worker {
	struct meta *m;
	unsigned id;
	pthread_t thread;
	unsigned wrong;
};

/* Each works on inodes of its own and reads those of the others. In a bracket
 * the two inodes of a pair are always the same. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t rnd = run_seed() + w->id;

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t own = 100 + 2 * w->id;
		uint64_t other = 100 + 2 * (run_random(&rnd) >> 61);
		struct meta_inode a = meta_test_inode(own, S_IFREG);
		struct meta_inode b = meta_test_inode(own + 1, S_IFREG);

		a.epoch = b.epoch = i;
		meta_begin(w->m);
		w->wrong += meta_put(w->m, &a) != 0;
		w->wrong += meta_put(w->m, &b) != 0;
		(void)meta_new_ino(w->m);
		meta_end(w->m);
		meta_begin(w->m);
		if (meta_get(w->m, other, &a) == 0 &&
		    (meta_get(w->m, other + 1, &b) != 0 ||
		     a.epoch != b.epoch))
			w->wrong++;
		meta_end(w->m);
		if (i % 512 == 0)
			w->wrong += meta_sync(w->m) != 0;
		(void)meta_now(w->m);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct worker w[8];
	struct meta *m = meta_test_open(*state);
	struct meta_inode out;

	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		w[i] = (struct worker){ .m = m, .id = i };
		assert_int_equal(
			pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
		assert_int_equal(w[i].wrong, 0);
	}
	meta_close(m);
	m = meta_test_open(*state);
	meta_begin(m);
	for (unsigned i = 0; i < 2 * ARRAY_LEN(w); i++) {
		assert_int_equal(meta_get(m, 100 + i, &out), 0);
		assert_int_equal(out.epoch, 1999);
	}
	assert_true(meta_new_ino(m) >= META_INO_FIRST + 8 * 2000);
	meta_end(m);
	meta_close(m);
}

RUN_TESTS(RUN_TEST_DIR(test_full_disk), RUN_TEST_DIR(test_failed_commit),
	  RUN_TEST_DIR(test_threads))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_blob_stress.c: the content cache with many threads, on a full disk, and
 * on one that fails. */
#include "test_blob.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

/* ---- threads ---- */

enum { INOS = 200, TURNS = 1500 };

struct worker {
	struct blob *b;
	unsigned id;
	pthread_t thread;
	unsigned wrong, right;
};

static struct blob_version some_version(uint64_t ino, uint64_t *rnd)
{
	unsigned n = (unsigned)(run_random(rnd) % 3);

	return blob_test_version(1 + ino * 7919 % 150000 + n, n);
}

/* Everybody writes, reads and drops the same files, each in three versions. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t rnd = run_seed() + w->id;

	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t ino = 1 + run_random(&rnd) % INOS;
		struct blob_version v = some_version(ino, &rnd);
		unsigned what = (unsigned)(run_random(&rnd) % 100);
		int r = 0;

		if (what < 30) {
			(void)blob_test_write(w->b, ino, &v);
		} else if (what < 35) {
			blob_drop(w->b, ino, &v);
		} else if (what < 40) {
			(void)blob_has(w->b, ino, &v, 0, v.size);
		} else {
			uint64_t at = run_random(&rnd) % v.size;

			r = blob_test_part(w->b, ino, &v, what < 70 ? 0 : at,
					   (uint32_t)v.size);
		}
		w->wrong += r < 0;
		w->right += r > 0;
	}
	return NULL;
}

static int see(void *arg, const struct blob_file *f)
{
	(void)arg;
	return f->ino >= 1 && f->ino <= INOS ? 0 : -EINVAL;
}

/* Who looks at all of it meanwhile. */
static void *oversee(void *arg)
{
	struct worker *w = arg;
	struct blob_check c;
	struct blob_stats s;

	for (unsigned i = 0; i < 12; i++) {
		w->wrong += blob_check(w->b, NULL, NULL, &c) != 0 || c.damaged > 0;
		w->wrong += blob_walk(w->b, see, NULL) != 0;
		blob_get_stats(w->b, &s);
		w->wrong += s.bytes > s.bytes_max;
		blob_flush(w->b);
		if (i % 4 == 3)
			blob_clear(w->b);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct worker w[7];
	struct blob *b = blob_test_open_max(*state, BLOB_BYTES_MIN);
	struct blob_stats s;
	unsigned right = 0;

	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		w[i] = (struct worker){ .b = b, .id = i };
		assert_int_equal(pthread_create(&w[i].thread, NULL,
						i ? work : oversee, &w[i]),
				 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
		assert_int_equal(w[i].wrong, 0);
		right += w[i].right;
	}
	blob_flush(b);
	blob_get_stats(b, &s);
	assert_true(right > 0);
	assert_true(s.evicted_bytes > 0);
	assert_int_equal(s.damaged, 0);
	assert_true(blob_test_dir_bytes(*state) <= BLOB_BYTES_MIN);
	blob_close(b);
}

/* What a thread dropped does not come back, whatever the writer is doing. */
static void *write_and_drop(void *arg)
{
	struct worker *w = arg;
	struct blob_version v = blob_test_version(20000, w->id);
	uint64_t ino = 1000 + w->id;

	for (unsigned i = 0; i < 500; i++) {
		(void)blob_test_write(w->b, ino, &v);
		if (i % 3 == w->id % 3)
			blob_flush(w->b);
		blob_drop(w->b, ino, &v);
		w->wrong += blob_test_read(w->b, ino, &v) != 0;
	}
	blob_flush(w->b);
	w->wrong += blob_test_read(w->b, ino, &v) != 0;
	return NULL;
}

static void test_dropped_stays_away(void **state)
{
	struct worker w[4];
	struct blob *b = blob_test_open_max(*state, BLOB_BYTES_MIN);

	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		w[i] = (struct worker){ .b = b, .id = i };
		assert_int_equal(pthread_create(&w[i].thread, NULL,
						write_and_drop, &w[i]),
				 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
		assert_int_equal(w[i].wrong, 0);
	}
	blob_close(b);
}

/* ---- the queue ---- */

/* More than it takes: some is refused, what was taken is here. */
static void test_queue_is_bounded(void **state)
{
	struct blob *b = blob_test_open_max(*state, UINT64_C(1) << 30);
	struct blob_version v = blob_test_version(BLOB_CHUNK_BYTES, 0);
	struct blob_stats s;
	bool kept[1000];

	for (unsigned i = 0; i < ARRAY_LEN(kept); i++) {
		int r = blob_test_write(b, 2 * i + 1, &v);

		assert_true(r == 0 || r == -EAGAIN);
		kept[i] = r == 0;
		blob_get_stats(b, &s);
		assert_true(s.queued <= BLOB_QUEUE_BYTES);
	}
	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < ARRAY_LEN(kept); i++)
			assert_int_equal(blob_test_read(b, 2 * i + 1, &v),
					 kept[i]);
		blob_flush(b);
	}
	blob_close(b);
}

/* ---- a full disk ---- */

static uint64_t free_bytes(const char *dir)
{
	struct statvfs st;

	assert_int_equal(statvfs(dir, &st), 0);
	return (uint64_t)st.f_bavail * st.f_frsize;
}

static void in_full_disk(const char *dir)
{
	enum { KEEP = 8 << 20 };
	struct blob_options o = { UINT64_C(1) << 30, KEEP };
	struct blob_version v = blob_test_version(40000, 0);
	unsigned here = 0;
	struct blob *b;
	int fd;

	assert_int_equal(blob_open(dir, BLOB_TEST_OWNER, &o, &b), 0);
	for (unsigned i = 0; i < 1500; i++) {
		(void)blob_test_write(b, 2 * i + 1, &v);
		blob_flush(b);
		assert_true(free_bytes(dir) >= KEEP);
	}
	for (unsigned i = 0; i < 1500; i++) {
		int r = blob_test_read(b, 2 * i + 1, &v);

		assert_true(r >= 0);
		here += r == 1;
	}
	assert_true(here > 100);
	assert_int_equal(blob_test_read(b, 2999, &v), 1);
	/* Others take the rest: reading goes on. */
	fd = open("other", O_RDWR | O_CREAT, 0600);
	while (write(fd, dir, 1) == 1 &&
	       fallocate(fd, 0, lseek(fd, 0, SEEK_CUR), 64 * 1024) == 0)
		(void)lseek(fd, 0, SEEK_END);
	assert_true(free_bytes(dir) < KEEP);
	assert_int_equal(blob_test_read(b, 2999, &v), 1);
	(void)blob_test_write(b, 2, &v);
	blob_flush(b);
	assert_true(blob_test_write(b, 4, &v) == -ENOSPC ||
		    free_bytes(dir) >= KEEP);
	(void)close(fd);
	blob_close(b);
}

/* In a mount namespace of its own, which goes with the process. */
static void in_small_tmpfs(const char *dir)
{
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("small", dir, "tmpfs", 0, "size=32m") < 0 || chdir(dir) < 0)
		(void)raise(SIGTERM);
	in_full_disk(dir);
}

static void in_child(void (*fn)(const char *), const char *dir)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fn(dir);
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM)
		skip(); /* not allowed to mount here */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_full_disk(void **state)
{
	if (geteuid() != 0)
		skip();
	in_child(in_small_tmpfs, *state);
}

/* ---- a disk that fails ---- */

/* The limit on file sizes makes writes fail, as a bad disk does. */
static void with_failing_writes(const char *dir)
{
	struct rlimit was, none = { 0, RLIM_INFINITY };
	struct blob_version v = blob_test_version(5000, 0);
	struct blob *b = blob_test_open(dir);
	struct blob_stats s;

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(blob_test_write(b, 5, &v), 0);
	blob_flush(b);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(blob_test_write(b, 7, &v), 0);
	blob_flush(b);
	assert_int_equal(blob_test_read(b, 7, &v), 0);
	assert_int_equal(blob_test_read(b, 5, &v), 1);
	assert_int_equal(blob_test_write(b, 9, &v), -EFBIG); /* for a moment */
	assert_int_equal(blob_test_read(b, 9, &v), 0);
	blob_get_stats(b, &s);
	assert_int_equal(s.refused, 2);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	(void)usleep(1100 * 1000);
	assert_int_equal(blob_test_write(b, 9, &v), 0);
	blob_flush(b);
	assert_int_equal(blob_test_read(b, 9, &v), 1);
	assert_int_equal(blob_test_read(b, 5, &v), 1);
	blob_close(b);
}

static void test_failing_writes(void **state)
{
	in_child(with_failing_writes, *state);
}

RUN_TESTS(RUN_TEST_DIR(test_threads), RUN_TEST_DIR(test_dropped_stays_away),
	  RUN_TEST_DIR(test_queue_is_bounded), RUN_TEST_DIR(test_full_disk),
	  RUN_TEST_DIR(test_failing_writes))

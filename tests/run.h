/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run.h: the main function of a unit test, and what every one of them needs.
 *
 *	static void test_plain(void **state) { ... }
 *	static void test_files(void **state) { const char *dir = *state; ... }
 *
 *	RUN_TESTS(cmocka_unit_test(test_plain), RUN_TEST_DIR(test_files))
 *
 * The program runs all tests, or with an argument those whose names match the
 * pattern ("test_lost_*"). After a failure it prints how to repeat it. The
 * seed of random tests is SEED from the environment, else always the same.
 *
 * A test under RUN_TEST_DIR has an empty directory of its own. It is removed
 * by a child process once the test is over, which it notices even if the
 * program was killed: then the kernel closes our end of the pipe.
 */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "../cache/base.h"

/* ---- a directory for a test ---- */

struct run_dir {
	char path[512]; /* first: a test sees *state as the path */
	int alive;      /* open as long as the test runs */
	pid_t cleaner;
};

static inline int run_remove(const char *path, const struct stat *st, int flag,
			     struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline int run_dir_setup(void **state)
{
	struct run_dir *d = calloc(1, sizeof(*d));
	const char *top = getenv("TMPDIR");
	int fds[2];
	char byte;

	if (!d || pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	(void)snprintf(d->path, sizeof(d->path), "%s/nfsrootfs-test-XXXXXX",
		       top && *top ? top : "/tmp");
	if (!mkdtemp(d->path)) {
		perror(d->path);
		return -1;
	}
	d->cleaner = fork();
	if (d->cleaner == 0) {
		(void)setpgid(0, 0); /* Ctrl-C is not for us */
		(void)close(fds[1]);
		(void)read(fds[0], &byte, 1);
		(void)nftw(d->path, run_remove, 32, FTW_DEPTH | FTW_PHYS);
		_exit(0);
	}
	(void)close(fds[0]);
	d->alive = fds[1];
	*state = d->path;
	return d->cleaner < 0 ? -1 : 0;
}

static inline int run_dir_teardown(void **state)
{
	struct run_dir *d = *state;

	(void)close(d->alive);
	(void)waitpid(d->cleaner, NULL, 0);
	free(d);
	return 0;
}

#define RUN_TEST_DIR(fn) \
	cmocka_unit_test_setup_teardown(fn, run_dir_setup, run_dir_teardown)

/* ---- chance ---- */

static inline uint64_t run_seed(void)
{
	const char *env = getenv("SEED");
	uint64_t seed = env && *env ? strtoull(env, NULL, 0) : 0;

	return seed ? seed : 20010725;
}

/* xorshift64*: good enough to choose what a test does next. *@state is not 0
 * at first: run_seed(). */
static inline uint64_t run_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

/* ---- main ---- */

static inline int run_main(int argc, char **argv,
			   const struct CMUnitTest *tests, size_t n)
{
	int failed;

	printf("SEED=%llu\n", (unsigned long long)run_seed());
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	failed = _cmocka_run_group_tests(argv[0], tests, n, NULL, NULL);
	if (failed)
		fprintf(stderr, "to repeat one: SEED=%llu %s 'test_NAME'\n",
			(unsigned long long)run_seed(), argv[0]);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define RUN_TESTS(...)                                                \
	int main(int argc, char **argv)                               \
	{                                                             \
		const struct CMUnitTest run_tests_[] = { __VA_ARGS__ }; \
                                                                      \
		return run_main(argc, argv, run_tests_,               \
				ARRAY_LEN(run_tests_));               \
	}

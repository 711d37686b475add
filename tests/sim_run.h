/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim_run.h: the main function of sim_fs.c: many seeds side by side, each process
 * with a directory and a count of its own.
 */
#pragma once

/* Seeds @from, @from + @step, ... below @end, in a directory of its own. */
static int run_seeds(uint64_t from, uint64_t step, uint64_t end, bool tell)
{
	struct sim *s = calloc(1, sizeof(*s));
	void *dir;

	if (!s || run_dir_setup(&dir) < 0)
		return EXIT_FAILURE;
	s->tell = tell;
	(void)atexit(at_exit);
	for (uint64_t seed = from; seed < end; seed += step)
		run_seed_of(s, seed, dir);
	free(s);
	return run_dir_teardown(&dir) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Most of a seed's time is waiting, so many run side by side. */
enum { JOBS = 12 };

static int run_all(uint64_t from, uint64_t end)
{
	int fds[2], status = 0, failed = 0;
	struct total one;

	if (pipe(fds) < 0)
		return EXIT_FAILURE;
	for (unsigned k = 0; k < JOBS; k++) {
		pid_t pid = fork();

		if (pid != 0)
			continue;
		/* What the filesystem says of refusals it was dealt. */
		if (!freopen("/dev/null", "w", stderr))
			exit(EXIT_FAILURE);
		failed = run_seeds(from + k, JOBS, end, false);
		if (write(fds[1], &total, sizeof(total)) != sizeof(total))
			failed = EXIT_FAILURE;
		exit(failed);
	}
	(void)close(fds[1]);
	while (read(fds[0], &one, sizeof(one)) == sizeof(one)) {
		total.seeds += one.seeds;
		total.ops += one.ops;
		total.mounts += one.mounts;
		total.deaths += one.deaths;
		total.faults += one.faults;
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const char *one = getenv("SEED"), *many = getenv("SIM_SEEDS");
	uint64_t from = 1, n = SEEDS_DEFAULT;
	int status;

	if (one && *one)
		return run_seeds(strtoull(one, NULL, 0), 1,
				 strtoull(one, NULL, 0) + 1, true);
	if (argc > 1 || many)
		n = strtoull(argc > 1 ? argv[1] : many, NULL, 0);
	if (argc > 2)
		from = strtoull(argv[2], NULL, 0);
	status = run_all(from, from + n);
	if (status == EXIT_SUCCESS)
		printf("%llu seeds, 0 failures, %llu operations, %llu mounts, "
		       "%llu deaths, %llu faults\n",
		       (unsigned long long)total.seeds,
		       (unsigned long long)total.ops,
		       (unsigned long long)total.mounts,
		       (unsigned long long)total.deaths,
		       (unsigned long long)total.faults);
	return status;
}

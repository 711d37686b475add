/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_blob_damage.c: the content cache when its files are damaged, cut short,
 * missing or another's: every answer is the right data or "not here". */
#include "test_blob.h"

enum { FILES = 300 };

/* ---- helpers ---- */

static int open_in(const char *dir, const char *file, int flags)
{
	char path[1024];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, flags | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

/* The @n-th file, from 0, whose name has @part in it. False: there is none. */
static bool find_file(const char *dir, const char *part, unsigned n,
		      char ret[256])
{
	struct dirent **all;
	int count = scandir(dir, &all, NULL, alphasort);
	bool found = false;

	assert_true(count >= 0);
	for (int i = 0; i < count; i++) {
		if (!found && strstr(all[i]->d_name, part) && n-- == 0) {
			(void)snprintf(ret, 256, "%s", all[i]->d_name);
			found = true;
		}
		free(all[i]);
	}
	free(all);
	return found;
}

static struct blob_version version_of(unsigned i)
{
	return blob_test_version(1 + (uint64_t)i * 977 % 60000 +
					 (i % 50 == 0 ? BLOB_CHUNK_BYTES : 0),
				 i);
}

static void write_all(struct blob *b)
{
	for (unsigned i = 1; i <= FILES; i++) {
		struct blob_version v = version_of(i);

		while (blob_test_write(b, i, &v) == -EAGAIN)
			blob_flush(b);
	}
	blob_flush(b);
}

static void fill(const char *dir)
{
	struct blob *b = blob_test_open(dir);

	write_all(b);
	blob_close(b);
}

/* How many of the files are here; none is wrong. */
static unsigned count_here(struct blob *b)
{
	unsigned here = 0;

	for (unsigned i = 1; i <= FILES; i++) {
		struct blob_version v = version_of(i);
		int r = blob_test_read(b, i, &v);

		assert_true(r >= 0);
		here += r == 1;
	}
	return here;
}

static unsigned open_and_count(const char *dir)
{
	struct blob *b = blob_test_open(dir);
	unsigned here = count_here(b);

	assert_int_equal(count_here(b), here);
	blob_close(b);
	return here;
}

static void flip(int fd, uint64_t *rnd)
{
	off_t at = (off_t)(run_random(rnd) % (uint64_t)lseek(fd, 0, SEEK_END));
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= (uint8_t)(1 + run_random(rnd) % 255);
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void flip_in(const char *dir, const char *part, unsigned times,
		    uint64_t *rnd)
{
	char name[256];

	for (unsigned n = 0; find_file(dir, part, n, name); n++) {
		int fd = open_in(dir, name, O_RDWR);

		for (unsigned i = 0; i < times; i++)
			flip(fd, rnd);
		(void)close(fd);
	}
}

/* ---- bytes ---- */

static void damage_while_closed(const char *dir, const char *part,
				unsigned times, unsigned least)
{
	uint64_t rnd = run_seed();
	unsigned here = FILES;

	for (unsigned turn = 0; turn < 12; turn++) {
		struct blob *b = blob_test_open(dir);

		write_all(b);
		assert_int_equal(count_here(b), FILES);
		blob_close(b);
		flip_in(dir, part, times, &rnd);
		here = MIN(here, open_and_count(dir));
	}
	assert_true(here >= least);
}

static void test_a_byte_of_a_pack(void **state)
{
	damage_while_closed(*state, ".pack", 1, 0);
}

static void test_many_bytes_of_packs(void **state)
{
	damage_while_closed(*state, ".pack", 400, 0);
}

static void test_bytes_of_the_index(void **state)
{
	damage_while_closed(*state, "index", 3, FILES - 3);
}

static void test_many_bytes_of_the_index(void **state)
{
	damage_while_closed(*state, "index", 3000, 0);
}

/* While it is open, and what is lost comes back. */
static void test_while_open(void **state)
{
	struct blob *b = blob_test_open(*state);
	uint64_t rnd = run_seed() + 1;
	struct blob_stats s;
	unsigned lost = 0;

	for (unsigned turn = 0; turn < 10; turn++) {
		write_all(b);
		assert_int_equal(count_here(b), FILES);
		flip_in(*state, turn % 2 ? ".pack" : "index", 50, &rnd);
		lost += FILES - count_here(b);
	}
	blob_get_stats(b, &s);
	assert_true(lost > 0);
	assert_true(s.damaged > 0 && s.damaged <= lost);
	blob_close(b);
}

/* Every single byte of a record counts. */
static void test_every_byte(void **state)
{
	struct blob_version v = blob_test_version(300, 1);
	struct blob *b = blob_test_open(*state);
	struct blob_stats s;
	char name[256];
	uint8_t byte;
	int fd;

	for (off_t i = 0; i < BLOB_HEAD_BYTES + 300; i++) {
		off_t at;

		assert_int_equal(blob_test_write(b, 5, &v), 0);
		blob_flush(b);
		assert_int_equal(blob_test_read(b, 5, &v), 1);
		assert_true(find_file(*state, ".pack", 0, name));
		fd = open_in(*state, name, O_RDWR);
		/* 300 bytes that do not compress, and the head: 384 padded */
		at = lseek(fd, 0, SEEK_END) - 384 + i;
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 1 << i % 8;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		(void)close(fd);
		assert_int_equal(blob_test_read(b, 5, &v), 0);
		assert_false(blob_has(b, 5, &v, 0, 300));
	}
	blob_get_stats(b, &s);
	assert_int_equal(s.damaged, BLOB_HEAD_BYTES + 300);
	blob_close(b);
}

static void test_check_finds_it(void **state)
{
	uint64_t rnd = run_seed() + 2;
	struct blob_check c, again;
	struct blob *b;

	fill(*state);
	b = blob_test_open(*state);
	assert_int_equal(blob_check(b, NULL, NULL, &c), 0);
	assert_int_equal(c.damaged, 0);
	assert_true(c.chunks >= FILES);
	flip_in(*state, ".pack", 30, &rnd);
	assert_int_equal(blob_check(b, NULL, NULL, &again), 0);
	assert_true(again.damaged > 0);
	assert_int_equal(again.chunks + again.damaged, c.chunks);
	(void)count_here(b);
	c = again;
	assert_int_equal(blob_check(b, NULL, NULL, &again), 0);
	assert_int_equal(again.damaged, 0);
	assert_int_equal(again.chunks, c.chunks);
	blob_close(b);
}

/* ---- files cut short, missing ---- */

static void test_truncated_packs(void **state)
{
	uint64_t rnd = run_seed() + 3;

	for (unsigned turn = 0; turn < 20; turn++) {
		struct blob *b = blob_test_open(*state);
		unsigned before, after;
		char name[256];
		off_t len;
		int fd;

		write_all(b);
		blob_close(b);
		assert_true(find_file(*state, ".pack", 0, name));
		fd = open_in(*state, name, O_RDWR);
		len = lseek(fd, 0, SEEK_END);
		len = (off_t)(run_random(&rnd) % (uint64_t)len);
		assert_int_equal(ftruncate(fd, turn == 0 ? 0 : len), 0);
		(void)close(fd);
		b = blob_test_open(*state);
		before = count_here(b);
		write_all(b); /* appended where the end is now */
		after = count_here(b);
		assert_true(after >= before);
		assert_int_equal(after, FILES);
		blob_close(b);
		assert_int_equal(open_and_count(*state), FILES);
	}
}

static void remove_in(const char *dir, const char *name)
{
	char path[1024];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(unlink(path), 0);
}

/* It is made again from the packs, and from damaged ones as far as they go. */
static void test_missing_index(void **state)
{
	uint64_t rnd = run_seed() + 4;
	unsigned here;

	fill(*state);
	remove_in(*state, "index");
	assert_int_equal(open_and_count(*state), FILES);
	flip_in(*state, ".pack", 2, &rnd);
	remove_in(*state, "index");
	here = open_and_count(*state);
	assert_true(here < FILES && here > FILES / 2);
}

static void test_truncated_index(void **state)
{
	struct blob *b;
	int fd;

	fill(*state);
	fd = open_in(*state, "index", O_RDWR);
	assert_int_equal(ftruncate(fd, 5000), 0);
	(void)close(fd);
	assert_int_equal(open_and_count(*state), FILES);
	b = blob_test_open(*state);
	fd = open_in(*state, "index", O_RDWR);
	assert_int_equal(ftruncate(fd, 5000), 0); /* in use: no SIGBUS */
	(void)close(fd);
	(void)count_here(b);
	write_all(b);
	blob_close(b);
	assert_int_equal(open_and_count(*state), FILES);
}

static void test_old_index(void **state)
{
	uint8_t *old;
	off_t len;
	int fd;

	fill(*state);
	fd = open_in(*state, "index", O_RDWR);
	len = lseek(fd, 0, SEEK_END);
	old = malloc((size_t)len);
	assert_int_equal(pread(fd, old, (size_t)len, 0), len);
	(void)close(fd);
	for (unsigned i = 0; i < 3; i++)
		fill(*state);
	fd = open_in(*state, "index", O_RDWR);
	assert_int_equal(pwrite(fd, old, (size_t)len, 0), len);
	(void)close(fd);
	free(old);
	assert_int_equal(open_and_count(*state), FILES); /* the old records */
}

/* ---- not ours ---- */

static void test_other_owner(void **state)
{
	struct blob_options o = { .bytes_max = 64 << 20 };
	struct blob *b;

	fill(*state);
	assert_int_equal(blob_open(*state, "server:/export 2", &o, &b), 0);
	assert_int_equal(count_here(b), 0);
	write_all(b);
	assert_int_equal(count_here(b), FILES);
	blob_close(b);
	assert_int_equal(open_and_count(*state), 0);
}

static void test_other_format(void **state)
{
	char name[256];
	int fd;

	fill(*state);
	assert_true(find_file(*state, ".pack", 0, name));
	fd = open_in(*state, name, O_RDWR);
	assert_int_equal(pwrite(fd, "nrfsblb2", 8, 0), 8);
	(void)close(fd);
	assert_true(open_and_count(*state) < FILES);
	fill(*state);
	fd = open_in(*state, "index", O_RDWR);
	assert_int_equal(pwrite(fd, "nrfsbix2", 8, 0), 8);
	(void)close(fd);
	assert_int_equal(open_and_count(*state), FILES);
}

static void test_junk_in_the_directory(void **state)
{
	static const char *const names[] = { "0000abcd.pack", "00000001.pack",
					     "index", "index.new", "other" };
	char target[1024];
	int fd;

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		fd = open_in(*state, names[i], O_RDWR | O_CREAT);
		for (unsigned k = 0; k < 3000; k++)
			assert_int_equal(write(fd, "junk", 4), 4);
		(void)close(fd);
	}
	(void)snprintf(target, sizeof(target), "%s/00000002.pack",
		       (const char *)*state);
	assert_int_equal(symlink("other", target), 0);
	fill(*state);
	assert_int_equal(open_and_count(*state), FILES);
	fd = open_in(*state, "other", O_RDONLY); /* not ours to remove */
	assert_int_equal(lseek(fd, 0, SEEK_END), 12000);
	(void)close(fd);
}

static void test_refuses_a_second_process(void **state)
{
	struct blob_options o = { .bytes_max = 64 << 20 };
	struct blob *b = blob_test_open(*state), *other = NULL;

	assert_int_equal(blob_open(*state, BLOB_TEST_OWNER, &o, &other),
			 -EBUSY);
	assert_null(other);
	blob_close(b);
	assert_int_equal(blob_open("/nonexistent/dir", "x", &o, &other),
			 -ENOENT);
	blob_close(NULL);
}

/* The death of the process loses nothing that was written. */
static void test_killed(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		write_all(blob_test_open(*state));
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(open_and_count(*state), FILES);
}

RUN_TESTS(RUN_TEST_DIR(test_a_byte_of_a_pack),
	  RUN_TEST_DIR(test_many_bytes_of_packs),
	  RUN_TEST_DIR(test_bytes_of_the_index),
	  RUN_TEST_DIR(test_many_bytes_of_the_index),
	  RUN_TEST_DIR(test_while_open), RUN_TEST_DIR(test_every_byte),
	  RUN_TEST_DIR(test_check_finds_it), RUN_TEST_DIR(test_truncated_packs),
	  RUN_TEST_DIR(test_missing_index), RUN_TEST_DIR(test_truncated_index),
	  RUN_TEST_DIR(test_old_index), RUN_TEST_DIR(test_other_owner),
	  RUN_TEST_DIR(test_other_format),
	  RUN_TEST_DIR(test_junk_in_the_directory),
	  RUN_TEST_DIR(test_refuses_a_second_process),
	  RUN_TEST_DIR(test_killed))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_meta_damage.c: the metadata cache when its files are damaged or another
 * cache's, the machine went down, or another process has it. */
#include "test_meta.h"

#include <sys/resource.h>

enum { MARK_BOOT_AT = 18 }; /* in the lock file's line */

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

static void write_in(const char *dir, const char *file, const void *data,
		     size_t len, off_t at)
{
	int fd = open_in(dir, file, O_WRONLY | O_CREAT);

	assert_int_equal(pwrite(fd, data, len, at), len);
	(void)close(fd);
}

static void truncate_in(const char *dir, const char *file, off_t len)
{
	int fd = open_in(dir, file, O_WRONLY);

	assert_int_equal(ftruncate(fd, len), 0);
	(void)close(fd);
}

static off_t size_in(const char *dir, const char *file)
{
	int fd = open_in(dir, file, O_RDONLY);
	off_t len = lseek(fd, 0, SEEK_END);

	(void)close(fd);
	return len;
}

static void read_mark(const char *dir, char out[65])
{
	int fd = open_in(dir, "lock", O_RDONLY);

	memset(out, 0, 65);
	assert_int_equal(pread(fd, out, 64, 0), 64);
	(void)close(fd);
}

static void replace_in_mark(const char *dir, const char *from, const char *to)
{
	char mark[65], *at;

	read_mark(dir, mark);
	at = strstr(mark, from);
	assert_non_null(at);
	memcpy(at, to, strlen(to));
	write_in(dir, "lock", mark, 64, 0);
}

/* A cache with some thousand records, closed. */
static void fill(const char *dir)
{
	struct meta *m = meta_test_open(dir);
	char name[16];

	for (unsigned i = 1; i < 2000; i++) {
		struct meta_name n = { .ino = i, .type = DT_REG };

		meta_test_put(m, i, S_IFREG);
		(void)snprintf(name, sizeof(name), "n%u", i);
		meta_begin(m);
		assert_int_equal(meta_name_put(m, i % 3, name, &n), 0);
		meta_end(m);
	}
	meta_close(m);
}

/* ---- who may open it ---- */

static void test_refuses_a_second_process(void **state)
{
	struct meta *m = meta_test_open(*state);
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(-meta_test_open_error(*state));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EBUSY);
	meta_close(m);
	assert_int_equal(meta_test_open_error(*state), 0);
}

static void test_refuses_another_server(void **state)
{
	struct meta *m = NULL;

	fill(*state);
	assert_int_equal(meta_open(*state, "other:/export", &m), -EXDEV);
	assert_null(m);
	assert_int_equal(meta_test_open_error(*state), 0);
}

static void test_refuses_another_version(void **state)
{
	fill(*state);
	replace_in_mark(*state, "meta 2", "meta 3");
	assert_int_equal(meta_test_open_error(*state), -EMEDIUMTYPE);
}

static void test_needs_a_directory(void **state)
{
	char path[1024];

	(void)snprintf(path, sizeof(path), "%s/none", (const char *)*state);
	assert_int_equal(meta_test_open_error(path), -ENOENT);
}

/* ---- the mark ---- */

static void crash_with_changes(const char *dir)
{
	struct meta *m = meta_test_open(dir);

	meta_test_put(m, 5, S_IFREG);
	meta_begin(m);
	meta_bracket_check(m);
	assert_int_equal(meta_env_commit(m), 0);
	meta_end(m);
}

static void test_survives_the_process(void **state)
{
	meta_test_crash(crash_with_changes, *state);
	assert_int_equal(meta_test_open_error(*state), 0);
}

static void test_refuses_after_power_loss(void **state)
{
	char mark[65];

	meta_test_crash(crash_with_changes, *state);
	read_mark(*state, mark);
	mark[MARK_BOOT_AT] ^= 1; /* another boot */
	write_in(*state, "lock", mark, 64, 0);
	assert_int_equal(meta_test_open_error(*state), -EUCLEAN);
}

static void crash_synced(const char *dir)
{
	struct meta *m = meta_test_open(dir);

	meta_test_put(m, 5, S_IFREG);
	assert_int_equal(meta_sync(m), 0);
}

static void test_accepts_power_loss_after_sync(void **state)
{
	struct meta_inode out;
	struct meta *m;
	char mark[65];

	meta_test_crash(crash_synced, *state);
	read_mark(*state, mark);
	mark[MARK_BOOT_AT] ^= 1;
	write_in(*state, "lock", mark, 64, 0);
	m = meta_test_open(*state);
	meta_begin(m);
	assert_int_equal(meta_get(m, 5, &out), 0);
	meta_end(m);
	meta_close(m);
}

static void test_mark_follows_the_commits(void **state)
{
	struct meta *m = meta_test_open(*state);
	char mark[65];

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(meta_sync(m), 0);
		read_mark(*state, mark);
		assert_non_null(strstr(mark, "clean"));
		meta_test_put(m, 5 + i, S_IFREG);
		meta_begin(m);
		meta_bracket_check(m);
		assert_int_equal(meta_env_commit(m), 0);
		meta_end(m);
		read_mark(*state, mark);
		assert_non_null(strstr(mark, "open"));
	}
	meta_close(m);
	read_mark(*state, mark);
	assert_non_null(strstr(mark, "closed"));
}

/* At rest, all of it on the disk; then something is put, and not committed. */
static void crash_after_rest(const char *dir)
{
	struct meta *m = meta_test_open(dir);
	char mark[65];

	assert_int_equal(meta_sync(m), 0);
	read_mark(dir, mark);
	assert_non_null(strstr(mark, "clean"));
	meta_test_put(m, 6, S_IFREG);
}

/* Only who closed it knows that nothing is missing. */
static void test_knows_whether_it_was_closed(void **state)
{
	void (*const crashes[])(const char *) = { crash_after_rest,
						  crash_with_changes,
						  crash_synced };
	struct meta_inode out;
	struct meta *m;

	for (size_t k = 0; k < ARRAY_LEN(crashes); k++) {
		meta_test_crash(crashes[k], *state);
		m = meta_test_open(*state);
		assert_false(meta_was_closed(m));
		meta_begin(m);
		assert_int_equal(meta_get(m, 6, &out), -ENOENT);
		meta_end(m);
		meta_close(m);
		m = meta_test_open(*state);
		assert_true(meta_was_closed(m));
		meta_close(m);
	}
}

static void test_refuses_without_mark(void **state)
{
	fill(*state);
	truncate_in(*state, "lock", 0);
	assert_int_equal(meta_test_open_error(*state), -EUCLEAN);
	write_in(*state, "lock", "what?", 5, 0);
	assert_int_equal(meta_test_open_error(*state), -EUCLEAN);
}

/* ---- a crash at creation ---- */

static void test_opens_after_a_crash_at_creation(void **state)
{
	write_in(*state, "lock", "", 0, 0);
	write_in(*state, "data.mdb", "", 0, 0);
	assert_int_equal(meta_test_open_error(*state), 0);
}

static void crash_before_first_commit(const char *dir)
{
	struct meta m = { .lock_fd = open_in(dir, "lock", O_RDWR | O_CREAT) };
	MDB_env *env;
	char path[1024];

	assert_int_equal(meta_files_mark(&m, MARK_OPEN), 0);
	(void)snprintf(path, sizeof(path), "%s/data.mdb", dir);
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(
		mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600), 0);
}

static void test_opens_an_empty_environment(void **state)
{
	meta_test_crash(crash_before_first_commit, *state);
	assert_int_equal(meta_test_open_error(*state), 0);
}

/* ---- damaged files ---- */

static void test_refuses_junk(void **state)
{
	uint8_t junk[16384];
	uint64_t rnd = run_seed();

	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (uint8_t)(run_random(&rnd) >> 56);
	fill(*state);
	write_in(*state, "data.mdb", junk, sizeof(junk), 0);
	assert_int_equal(meta_test_open_error(*state), -EUCLEAN);
}

static void test_refuses_a_truncated_file(void **state)
{
	off_t len;

	fill(*state);
	len = size_in(*state, "data.mdb");
	assert_true(len > 10 * 4096);
	truncate_in(*state, "data.mdb", len - 1);
	assert_int_equal(meta_test_open_error(*state), -EUCLEAN);
	truncate_in(*state, "data.mdb", len / 2);
	assert_int_equal(meta_test_open_error(*state), -EUCLEAN);
	truncate_in(*state, "data.mdb", 5000);
	assert_int_equal(meta_test_open_error(*state), -EUCLEAN);
	truncate_in(*state, "data.mdb", 100);
	assert_int_equal(meta_test_open_error(*state), -EUCLEAN);
}

static void damage_info(const char *dir)
{
	struct meta *m = meta_test_open(dir);

	meta_begin(m);
	meta_bracket_check(m);
	assert_int_equal(meta_db_put(m, m->info_db, META_INFO_KEY,
				     strlen(META_INFO_KEY), "junk", 4),
			 0);
	assert_int_equal(meta_env_commit_bound(m, m->ino_bound), 0);
	meta_end(m);
}

static void test_refuses_a_damaged_info(void **state)
{
	fill(*state);
	meta_test_crash(damage_info, *state);
	assert_int_equal(meta_test_open_error(*state), -EUCLEAN);
}

static int count(void *arg, uint64_t offset, const char *name,
		 const struct meta_name *n)
{
	++*(unsigned *)arg;
	return 0;
}

/* Touch everything. Nothing here is asserted: the process must only live. */
static void use_all(const char *dir)
{
	struct meta_inode n;
	struct meta *m = NULL;
	unsigned seen = 0;

	if (meta_open(dir, META_TEST_SERVER, &m) < 0)
		return;
	meta_begin(m);
	for (unsigned i = 0; i < 3; i++)
		(void)meta_names(m, i, 0, count, &seen);
	for (unsigned i = 1; i < 2000; i++) {
		struct meta_inode want = meta_test_inode(i, S_IFREG);

		(void)meta_get(m, i, &n);
		(void)meta_find(m, &want.handle, &want.attr, &n);
	}
	for (unsigned i = 1; i < 100; i++) {
		n = meta_test_inode(i * 20, S_IFREG);
		n.handle.data[1] = 1;
		(void)meta_put(m, &n);
	}
	meta_end(m);
	(void)meta_sync(m);
	meta_close(m);
}

/* LMDB may abort() at a page that makes no sense; then the mark tells. It must
 * not crash in another way, and not abort twice. */
static void test_zeroed_pages(void **state)
{
	struct rlimit no_core = { 0, 0 };
	static const uint8_t zeros[4096];
	off_t pages;

	fill(*state);
	pages = size_in(*state, "data.mdb") / 4096;
	for (off_t page = 0; page < pages; page++) {
		uint8_t data[4096], mark[64];
		int fd = open_in(*state, "data.mdb", O_RDWR), status;
		int lock = open_in(*state, "lock", O_RDWR);
		uint8_t *all = malloc((size_t)pages * 4096);
		pid_t pid;

		assert_int_equal(pread(fd, all, (size_t)pages * 4096, 0),
				 pages * 4096);
		assert_int_equal(pread(lock, mark, sizeof(mark), 0), 64);
		memcpy(data, all + page * 4096, sizeof(data));
		assert_int_equal(pwrite(fd, zeros, 4096, page * 4096), 4096);
		pid = fork();
		if (pid == 0) {
			(void)setrlimit(RLIMIT_CORE, &no_core);
			(void)dup2(open("/dev/null", O_WRONLY), 2);
			use_all(*state);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFEXITED(status)) {
			assert_int_equal(WTERMSIG(status), SIGABRT);
			assert_int_equal(meta_test_open_error(*state),
					 -EUCLEAN);
		}
		assert_int_equal(ftruncate(fd, pages * 4096), 0);
		assert_int_equal(pwrite(fd, all, (size_t)pages * 4096, 0),
				 pages * 4096);
		assert_int_equal(pwrite(lock, mark, sizeof(mark), 0), 64);
		free(all);
		(void)close(fd);
		(void)close(lock);
	}
}

/* ---- damaged records ---- */

static void damage(struct meta *m, MDB_dbi db, const void *key, size_t len)
	REQUIRES(m->lock)
{
	uint8_t record[INODE_RECORD_BYTES_MAX];
	MDB_val v;

	assert_int_equal(meta_db_get(m, db, key, len, &v), 0);
	memcpy(record, v.mv_data, v.mv_size);
	record[v.mv_size / 2] ^= 0x10;
	assert_int_equal(meta_db_put(m, db, key, len, record, v.mv_size), 0);
}

static void test_damaged_inode_is_absent(void **state)
{
	struct meta_inode in = meta_test_inode(5, S_IFREG), out;
	struct meta *m = meta_test_open(*state);
	uint8_t key[8];
	MDB_val v;

	meta_u64_put(key, 5);
	meta_begin(m);
	meta_bracket_check(m);
	assert_int_equal(meta_put(m, &in), 0);
	damage(m, m->inodes, key, 8);
	assert_int_equal(meta_get(m, 5, &out), -ENOENT);
	assert_int_equal(m->damaged, 1);
	assert_int_equal(meta_db_get(m, m->inodes, key, 8, &v), -ENOENT);
	assert_int_equal(meta_find(m, &in.handle, &in.attr, &out), -ENOENT);
	assert_int_equal(meta_put(m, &in), 0);
	assert_int_equal(meta_find(m, &in.handle, NULL, &out), 0);
	meta_end(m);
	meta_close(m);
}

/* A complete directory that lost a name is not complete. */
static void check_damaged_name(struct meta *m, bool by_walk)
{
	struct meta_inode dir = meta_test_inode(7, S_IFDIR), out;
	struct meta_name n = { .ino = 5, .type = DT_REG };
	uint8_t key[NAME_KEY_BYTES_MAX];
	unsigned seen = 0;
	size_t len;

	dir.flags = META_COMPLETE;
	len = meta_name_key(key, 7, meta_name_offset(&m->keys, "b", 1), "b", 1);
	meta_begin(m);
	meta_bracket_check(m);
	assert_int_equal(meta_put(m, &dir), 0);
	assert_int_equal(meta_name_put(m, 7, "a", &n), 0);
	assert_int_equal(meta_name_put(m, 7, "b", &n), 0);
	damage(m, m->names, key, len);
	if (by_walk) {
		assert_int_equal(meta_names(m, 7, 0, count, &seen), -EUCLEAN);
		assert_int_equal(seen, 1);
	} else {
		assert_int_equal(meta_name_get(m, 7, "b", &n), -ENOENT);
	}
	assert_int_equal(meta_get(m, 7, &out), 0);
	assert_int_equal(out.flags, META_RELIST);
	assert_int_equal(meta_names_purge(m, 7, 0), 0);
	seen = 0;
	assert_int_equal(meta_names(m, 7, 0, count, &seen), 0);
	assert_int_equal(seen, 1);
	meta_end(m);
}

static void test_damaged_name_makes_incomplete(void **state)
{
	struct meta *m = meta_test_open(*state);

	check_damaged_name(m, false);
	check_damaged_name(m, true);
	meta_close(m);
}

RUN_TESTS(RUN_TEST_DIR(test_refuses_a_second_process),
	  RUN_TEST_DIR(test_refuses_another_server),
	  RUN_TEST_DIR(test_refuses_another_version),
	  RUN_TEST_DIR(test_needs_a_directory),
	  RUN_TEST_DIR(test_survives_the_process),
	  RUN_TEST_DIR(test_refuses_after_power_loss),
	  RUN_TEST_DIR(test_accepts_power_loss_after_sync),
	  RUN_TEST_DIR(test_mark_follows_the_commits),
	  RUN_TEST_DIR(test_knows_whether_it_was_closed),
	  RUN_TEST_DIR(test_refuses_without_mark),
	  RUN_TEST_DIR(test_opens_after_a_crash_at_creation),
	  RUN_TEST_DIR(test_opens_an_empty_environment),
	  RUN_TEST_DIR(test_refuses_junk),
	  RUN_TEST_DIR(test_refuses_a_truncated_file),
	  RUN_TEST_DIR(test_refuses_a_damaged_info),
	  RUN_TEST_DIR(test_zeroed_pages),
	  RUN_TEST_DIR(test_damaged_inode_is_absent),
	  RUN_TEST_DIR(test_damaged_name_makes_incomplete))

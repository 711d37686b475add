/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_fixture.h: a write-back log in a directory of its own, shorthands for
 * changes as the vfs makes them, and for sending; what the test_wback* share.
 *
 * Inodes are small numbers. Those below KNOWN are on the server: their refs have
 * a handle, made of the number. After every step the invariants are checked.
 */
#pragma once

#include <dirent.h>

#include "run.h"

#include "../cache/wback_int.h"

enum { ROOT = 1, KNOWN = 100 };

struct log_test {
	struct run_dir *dir;
	struct wback *wb;
	struct wback_options o;
	uint64_t seq;       /* of the last change */
	uint64_t last_time; /* given out as unique */
	bool made[8192];    /* the server has it by now, by inode */
	struct wback_settled settled; /* by the last step */
};

static inline uint64_t plain_offset(void *arg, const char *name)
{
	(void)arg; /* the order of the alphabet, of eight letters */
	uint64_t n = 0;

	for (unsigned k = 0; k < 8; k++)
		n = n << 8 | (uint8_t)(*name ? *name++ : 0);
	return (n >> 1) + 16;
}

static inline int open_log(struct log_test *t, char **ret_why)
{
	return wback_open(t->dir->path, "mem:/", &t->o, &t->wb, ret_why);
}

static inline void log_opens(struct log_test *t)
{
	char *why = NULL;

	assert_int_equal(open_log(t, &why), 0);
	wback_check(t->wb);
}

static inline int log_setup(void **state)
{
	struct log_test *t = calloc(1, sizeof(*t));
	void *dir;

	if (!t || run_dir_setup(&dir) < 0)
		return -1;
	t->dir = dir;
	t->o = (struct wback_options){ .bytes_max = 64 << 20,
				       .interval_ms = 10000,
				       .name_offset = plain_offset };
	log_opens(t);
	*state = t;
	return 0;
}

static inline int log_teardown(void **state)
{
	struct log_test *t = *state;
	void *dir = t->dir;

	wback_close(t->wb);
	free(t);
	return run_dir_teardown(&dir);
}

static inline void reopen(struct log_test *t)
{
	wback_close(t->wb);
	log_opens(t);
}

/* ---- changes ---- */

static inline struct handle handle_of(uint64_t ino)
{
	struct handle h = { .len = 8 };

	memcpy(h.data, &ino, 8);
	return h;
}

/* As view_ref() has it: what the overlay knows counts. */
static inline struct wback_ref ref_of(struct log_test *t, uint64_t ino,
				      mode_t type)
{
	struct wback_ref r = { .ino = ino, .parent = ROOT, .mode = type | 0644,
			       .nlink = S_ISDIR(type) ? 2 : 1 };
	struct wback_view w;

	if (ino == 0)
		return (struct wback_ref){ 0 };
	if (ino < KNOWN || t->made[ino]) {
		r.fh = handle_of(ino);
		r.fsid = 1;
		r.fileid = ino;
		r.size = 100;
	}
	if (!wback_get(t->wb, ino, &w))
		return r;
	r = w.ref;
	r.nlink = w.fresh || w.removed ?
			  w.attr.nlink :
			  (uint32_t)((S_ISDIR(type) ? 2 : 1) + w.nlink_delta);
	return r;
}

static inline int try(struct log_test *t, const struct wback_change *ch)
{
	struct wback_change c = *ch;
	int r;

	t->settled.n = 0;
	c.now = (struct timespec){ 1000 + (time_t)t->seq, 0 };
	r = wback_apply(t->wb, &c, &t->seq, &t->settled);
	wback_check(t->wb);
	return r;
}

static inline int try_make(struct log_test *t, uint64_t ino, mode_t mode,
			   uint64_t dir, const char *name)
{
	return try(t, &(struct wback_change){
		.op = WBACK_MAKE, .name = name,
		.target = S_ISLNK(mode) ? "target" : NULL,
		.obj = { .ino = ino, .parent = dir, .mode = mode, .nlink = 1 },
		.dir = ref_of(t, dir, S_IFDIR),
		.attr = { .mode = mode, .uid = 3, .mtime = { 5, 6 },
			  .atime = { 7, 8 } },
	});
}

static inline void make_file(struct log_test *t, uint64_t ino, uint64_t dir,
			     const char *name)
{
	assert_int_equal(try_make(t, ino, S_IFREG | 0644, dir, name), 0);
}

static inline void make_dir(struct log_test *t, uint64_t ino, uint64_t dir,
			    const char *name)
{
	assert_int_equal(try_make(t, ino, S_IFDIR | 0755, dir, name), 0);
}

static inline void link_to(struct log_test *t, uint64_t ino, uint64_t dir,
			   const char *name)
{
	assert_int_equal(try(t, &(struct wback_change){
		.op = WBACK_LINK, .name = name,
		.obj = ref_of(t, ino, S_IFREG), .dir = ref_of(t, dir, S_IFDIR),
	}), 0);
}

static inline void remove_type(struct log_test *t, uint64_t ino, mode_t type,
			       uint64_t dir, const char *name)
{
	assert_int_equal(try(t, &(struct wback_change){
		.op = WBACK_REMOVE, .name = name,
		.obj = ref_of(t, ino, type), .dir = ref_of(t, dir, S_IFDIR),
	}), 0);
}

static inline void remove_file(struct log_test *t, uint64_t ino, uint64_t dir,
			       const char *name)
{
	remove_type(t, ino, S_IFREG, dir, name);
}

static inline void remove_dir(struct log_test *t, uint64_t ino, uint64_t dir,
			      const char *name)
{
	remove_type(t, ino, S_IFDIR, dir, name);
}

static inline void move_type(struct log_test *t, uint64_t ino, mode_t type,
			     uint64_t dir, const char *name, uint64_t newdir,
			     const char *newname, uint64_t replaced)
{
	assert_int_equal(try(t, &(struct wback_change){
		.op = WBACK_RENAME, .name = name, .newname = newname,
		.obj = ref_of(t, ino, type), .dir = ref_of(t, dir, S_IFDIR),
		.newdir = ref_of(t, newdir, S_IFDIR),
		.replaced = ref_of(t, replaced, type),
	}), 0);
}

static inline void move_file(struct log_test *t, uint64_t ino, uint64_t dir,
			     const char *name, uint64_t newdir,
			     const char *newname, uint64_t replaced)
{
	move_type(t, ino, S_IFREG, dir, name, newdir, newname, replaced);
}

static inline void write_at(struct log_test *t, uint64_t ino, uint64_t offset,
			    const char *text)
{
	assert_int_equal(try(t, &(struct wback_change){
		.op = WBACK_WRITE, .obj = ref_of(t, ino, S_IFREG),
		.offset = offset, .data = text, .len = (uint32_t)strlen(text),
	}), 0);
}

static inline void set_attr(struct log_test *t, uint64_t ino, mode_t type,
			    unsigned mask, const struct attr *a)
{
	assert_int_equal(try(t, &(struct wback_change){
		.op = WBACK_SETATTR, .obj = ref_of(t, ino, type),
		.mask = mask, .attr = *a,
	}), 0);
}

static inline void cut_to(struct log_test *t, uint64_t ino, uint64_t size)
{
	set_attr(t, ino, S_IFREG, ATTR_SIZE, &(struct attr){ .size = size });
}

static inline void set_mtime(struct log_test *t, uint64_t ino, mode_t type,
			     time_t when)
{
	set_attr(t, ino, type, ATTR_MTIME, &(struct attr){ .mtime = { when, 0 } });
}

/* ---- sending ---- */

static inline struct timespec next_time(void *arg)
{
	struct log_test *t = arg;

	return (struct timespec){ 2000000000, (long)++t->last_time };
}

/* All that may be sent now, at most @n. */
static inline unsigned take(struct log_test *t, struct wback_job **ret,
			    unsigned n)
{
	const struct wback_want want = { .force = UINT64_MAX,
					 .unique_time = next_time, .arg = t };
	int r = wback_take(t->wb, &want, ret, n);

	wback_check(t->wb);
	assert_true(r >= 0);
	return (unsigned)r;
}

static inline void job_done(struct log_test *t, struct wback_job *job)
{
	struct handle fh = handle_of(job->obj.ino);
	const struct attr now = { .fsid = 1, .fileid = job->obj.ino,
				  .size = job->attr.size,
				  .mtime = job->attr.mtime };

	t->settled.n = 0;
	t->made[job->obj.ino] = true;
	wback_done(t->wb, job, &fh, &now, &t->settled);
	wback_check(t->wb);
}

/* "MAKE 100 name": what can be sent, one after another, as text; each is done
 * before the next is taken. */
static inline void describe(const struct wback_job *job, char *ret, size_t n)
{
	static const char *const kinds[] = { "MAKE", "LINK", "REMOVE", "RENAME",
					     "STORE" };

	(void)snprintf(ret, n, "%s %llu%s%s%s%s;", kinds[job->kind],
		       (unsigned long long)job->obj.ino, job->name ? " " : "",
		       job->name ? job->name : "", job->newname ? " " : "",
		       job->newname ? job->newname : "");
}

static inline void expect_sent(struct log_test *t, const char *what)
{
	char all[2048] = "", one[600];
	struct wback_job *job;

	while (take(t, &job, 1)) {
		describe(job, one, sizeof(one));
		strncat(all, one, sizeof(all) - strlen(all) - 1);
		job_done(t, job);
	}
	assert_string_equal(all, what);
}

/* The same, but all that can be taken at once, sorted as taken. */
static inline void expect_at_once(struct log_test *t, const char *what)
{
	char all[2048] = "", one[600];
	struct wback_job *jobs[64];
	unsigned n = take(t, jobs, ARRAY_LEN(jobs));

	for (unsigned k = 0; k < n; k++) {
		describe(jobs[k], one, sizeof(one));
		strncat(all, one, sizeof(all) - strlen(all) - 1);
	}
	assert_string_equal(all, what);
	for (unsigned k = 0; k < n; k++)
		job_done(t, jobs[k]);
}

/* The next one, which is a STORE, maybe behind its MAKE. */
static inline struct wback_job *take_store(struct log_test *t)
{
	struct wback_job *job;

	assert_int_equal(take(t, &job, 1), 1);
	if (job->kind == JOB_MAKE) {
		job_done(t, job);
		assert_int_equal(take(t, &job, 1), 1);
	}
	assert_int_equal(job->kind, JOB_STORE);
	return job;
}

static inline struct wback_stats stats_of(struct log_test *t)
{
	struct wback_stats s;

	wback_get_stats(t->wb, &s);
	return s;
}

static inline void expect_nothing_left(struct log_test *t)
{
	struct wback_stats s = stats_of(t);

	assert_int_equal(s.ops, 0);
	assert_int_equal(s.data_bytes, 0);
	assert_int_equal(s.inodes, 0);
	assert_int_equal(s.first, s.seq + 1);
}

static inline struct wback_view view_of(struct log_test *t, uint64_t ino)
{
	struct wback_view w;

	assert_true(wback_get(t->wb, ino, &w));
	return w;
}

/* 0: absent; UINT64_MAX: the log does not say. */
static inline uint64_t name_in(struct log_test *t, uint64_t dir,
			       const char *name)
{
	uint64_t ino = 0;
	uint8_t type;
	int r = wback_name_get(t->wb, dir, name, &ino, &type);

	return r == 0 ? UINT64_MAX : r < 0 ? 0 : ino;
}

/* ---- files of the log ---- */

static inline unsigned segments_of(struct log_test *t, uint64_t ret[64])
{
	DIR *d = opendir(t->dir->path);
	struct dirent *e;
	unsigned n = 0;

	while ((e = readdir(d)))
		if (strstr(e->d_name, ".seg") && n < 64)
			ret[n++] = strtoull(e->d_name, NULL, 16);
	(void)closedir(d);
	for (unsigned k = 0; k < n; k++) /* few: any sort will do */
		for (unsigned m = k + 1; m < n; m++)
			if (ret[m] < ret[k]) {
				uint64_t x = ret[k];

				ret[k] = ret[m];
				ret[m] = x;
			}
	return n;
}

static inline int open_segment(struct log_test *t, uint64_t number, int flags)
{
	char path[600];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%016llx.seg", t->dir->path,
		       (unsigned long long)number);
	fd = open(path, flags | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

/* Writes to inode 99 until a new segment begins. */
static inline void fill_segment(struct log_test *t)
{
	uint64_t list[64], last;
	char *text = malloc(500001);

	memset(text, 'x', 500000);
	text[500000] = 0;
	last = list[segments_of(t, list) - 1];
	while (list[segments_of(t, list) - 1] == last)
		write_at(t, 99, 0, text);
	free(text);
}

/* Sends what may be sent of inode @ino alone. */
static inline void send_only(struct log_test *t, uint64_t ino)
{
	struct wback_job *jobs[64];
	unsigned n = take(t, jobs, 64);

	for (unsigned k = 0; k < n; k++)
		if (jobs[k]->obj.ino == ino) {
			job_done(t, jobs[k]);
		} else {
			wback_undo(t->wb, jobs[k], false);
			wback_check(t->wb);
		}
}

#define LOG_TEST(fn) \
	cmocka_unit_test_setup_teardown(fn, log_setup, log_teardown)

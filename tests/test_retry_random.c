/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_retry_random.c: 2000 random operations under faults at a rate of one in
 * five leave the server as they do without faults.
 */
#include "retry_stack.h"

enum { STREAMS = 8, STREAM_OPS = 250, NAMES = 6 };

struct stream {
	struct remote *r;
	struct handle top; /* the stream's own directory */
	uint64_t random;
	uint64_t unique; /* mtimes of its own */
};

static uint64_t choose(struct stream *s, uint64_t n)
{
	return run_random(&s->random) % n;
}

/* A directory, the top or one of those in it, and a name in it. */
static void place(struct stream *s, struct handle *ret_dir, char *ret_name)
{
	struct handle dir = s->top;
	struct attr a;
	char name[8];

	(void)snprintf(name, sizeof(name), "n%d", (int)choose(s, NAMES));
	if (choose(s, 2) &&
	    do_lookup(s->r, &dir, name, ret_dir, &a) == 0 && S_ISDIR(a.mode))
		dir = *ret_dir;
	*ret_dir = dir;
	(void)snprintf(ret_name, sizeof(name), "n%d", (int)choose(s, NAMES));
}

static struct remote_call *random_make(struct stream *s, enum remote_op op,
				       const struct handle *dir,
				       const char *name)
{
	struct remote_call *c = do_new(op, dir, name);

	c->set.valid = REMOTE_SET_MODE | REMOTE_SET_MTIME;
	c->set.mode = (uint32_t)choose(s, 01000);
	if (op == REMOTE_MKNOD)
		c->set.mode |= S_IFIFO;
	s->unique++;
	c->set.mtime.tv_sec = (time_t)(s->unique / 1000000000);
	c->set.mtime.tv_nsec = (long)(s->unique % 1000000000);
	return c;
}

static struct remote_call *random_change(struct stream *s,
					 const struct handle *fh)
{
	struct remote_call *c;
	char bytes[600];

	if (choose(s, 3)) {
		c = do_new(REMOTE_WRITE, fh, NULL);
		memset(bytes, (int)choose(s, 256), sizeof(bytes));
		c->offset = choose(s, 10000);
		do_set_data(c, bytes, 1 + choose(s, sizeof(bytes) - 1));
		return c;
	}
	c = do_new(REMOTE_SETATTR, fh, NULL);
	c->set.valid = (unsigned)choose(s, REMOTE_SET_ATIME);
	c->set.mode = (uint32_t)choose(s, 010000);
	c->set.uid = (uint32_t)choose(s, 4);
	c->set.gid = (uint32_t)choose(s, 4);
	c->set.size = choose(s, 12000);
	return c;
}

static void random_op(struct stream *s)
{
	static const enum remote_op makes[] = { REMOTE_CREATE, REMOTE_CREATE,
						REMOTE_MKDIR, REMOTE_MKNOD };
	struct handle dir, dir2, fh;
	char name[8], name2[8];
	uint64_t kind = choose(s, 12);
	struct remote_call *c;

	place(s, &dir, name);
	place(s, &dir2, name2);
	bool exists = do_lookup(s->r, &dir, name, &fh, NULL) == 0;

	if (kind < 4) {
		c = random_make(s, makes[kind], &dir, name);
	} else if (kind == 4) {
		c = do_new_symlink(&dir, name, name2);
	} else if (!exists) {
		return;
	} else if (kind == 5) {
		c = do_new_link(&fh, &dir2, name2);
	} else if (kind < 8) {
		c = do_new_rename(&dir, name, &dir2, name2, &fh);
	} else if (kind == 8) {
		c = do_new(REMOTE_REMOVE, &dir, name);
	} else if (kind == 9) {
		c = do_new(REMOTE_RMDIR, &dir, name);
	} else {
		c = random_change(s, &fh);
	}
	(void)do_call(s->r, c, NULL, NULL);
}

static void *stream_thread(void *arg)
{
	for (int i = 0; i < STREAM_OPS; i++)
		random_op(arg);
	return NULL;
}

/* Streams of operations at once, each in a directory of its own. */
static char *random_run(bool faults)
{
	static const struct fault_rule rules[] = {
		{ .kind = FAULT_LOST, .op = REMOTE_OPS, .percent = 8 },
		{ .kind = FAULT_NOT_SENT, .op = REMOTE_OPS, .percent = 6 },
		{ .kind = FAULT_LOST_CALL, .op = REMOTE_OPS, .percent = 3 },
		{ .kind = FAULT_TIMEOUT, .op = REMOTE_OPS, .percent = 3 },
		{ .kind = FAULT_JUKEBOX, .op = REMOTE_OPS, .percent = 1 },
		{ .kind = FAULT_DELAY, .op = REMOTE_OPS, .percent = 2,
		  .delay_ms = 3 },
	};
	struct remote_mem_options mo = { .async = true };
	struct stream streams[STREAMS];
	pthread_t threads[STREAMS];
	unsigned ids[ARRAY_LEN(rules)];
	struct stack s;
	char *dump;

	start(&s, &hard, &mo);
	for (size_t i = 0; i < ARRAY_LEN(rules) && faults; i++)
		ids[i] = fault_add(s.fault, &rules[i]);
	for (unsigned i = 0; i < STREAMS; i++) {
		char path[16];

		(void)snprintf(path, sizeof(path), "/s%u", i);
		assert_ok(remote_mem_mkdir(s.mem, path));
		streams[i] = (struct stream){
			.r = s.r,
			.random = run_seed() + i,
			.unique = (i + UINT64_C(1)) * 1000000000,
		};
		assert_ok(remote_mem_handle(s.mem, path, &streams[i].top));
		assert_ok(pthread_create(&threads[i], NULL, stream_thread,
					 &streams[i]));
	}
	for (unsigned i = 0; i < STREAMS; i++)
		assert_ok(pthread_join(threads[i], NULL));
	for (size_t i = 0; i < ARRAY_LEN(rules) && faults; i++)
		assert_true(fault_acted(s.fault, ids[i]) > 10);
	dump = remote_mem_dump(s.mem, false);
	stop(&s);
	return dump;
}

static void test_random_faults(void **state)
{
	CLEANUP_FREE char *want = random_run(false);
	CLEANUP_FREE char *got = random_run(true);

	assert_string_equal(got, want);
	assert_true(strlen(want) > 2000); /* there was something to lose */
}

RUN_TESTS(cmocka_unit_test(test_random_faults))

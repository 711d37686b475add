/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_retry.c: calls whose reply was lost. What they did to the server must be
 * what the same calls do without faults, by the server's dump; what others did
 * must stay an error.
 */
#include "retry_stack.h"

static int learn_fsinfo(struct stack *s)
{
	return do_call(s->r, do_new(REMOTE_FSINFO, &s->root, NULL), NULL, NULL);
}

/* ---- one call of each kind that changes something ---- */

static const struct timespec verifier = { 1234567890, 123456789 };

static struct remote_call *make_call(struct stack *s, enum remote_op op,
				     uint32_t mode)
{
	struct remote_call *c = do_new(op, &s->dir, "new");

	c->set.valid = REMOTE_SET_MODE | REMOTE_SET_MTIME;
	c->set.mode = mode;
	c->set.mtime = verifier;
	return c;
}

static struct remote_call *changing_call(struct stack *s, enum remote_op op)
{
	struct remote_call *c;

	switch (op) {
	case REMOTE_CREATE:
	case REMOTE_MKDIR:
		return make_call(s, op, 0750);
	case REMOTE_MKNOD:
		c = make_call(s, op, S_IFCHR | 0640);
		c->rdev_major = 1;
		c->rdev_minor = 3;
		return c;
	case REMOTE_SYMLINK:
		return do_new_symlink(&s->dir, "new", "target");
	case REMOTE_LINK:
		return do_new_link(&s->file, &s->dir, "new");
	case REMOTE_RENAME:
		return do_new_rename(&s->root, "file", &s->dir, "new",
				     &s->file);
	case REMOTE_REMOVE:
		return do_new(op, &s->root, "file");
	case REMOTE_RMDIR:
		return do_new(op, &s->dir, "empty");
	case REMOTE_WRITE:
		c = do_new(op, &s->file, NULL);
		c->offset = 2;
		do_set_data(c, "longer", 6);
		return c;
	case REMOTE_SETATTR:
		c = do_new(op, &s->file, NULL);
		c->set.valid = REMOTE_SET_SIZE | REMOTE_SET_UID;
		c->set.uid = 5;
		c->set.size = 3;
		return c;
	default:
		abort();
	}
}

static const enum remote_op changing[] = {
	REMOTE_CREATE, REMOTE_MKDIR,  REMOTE_MKNOD, REMOTE_SYMLINK,
	REMOTE_LINK,   REMOTE_RENAME, REMOTE_REMOVE, REMOTE_RMDIR,
	REMOTE_WRITE,  REMOTE_SETATTR,
};

static bool op_creates(enum remote_op op)
{
	return op == REMOTE_CREATE || op == REMOTE_MKDIR ||
	       op == REMOTE_MKNOD || op == REMOTE_SYMLINK;
}

static bool op_repeats(enum remote_op op)
{
	return op == REMOTE_WRITE || op == REMOTE_SETATTR;
}

/* What the caller sees is what a LOOKUP would tell it. */
static void check_results(struct stack *s, const struct remote_call *c)
{
	struct handle fh;
	struct attr a;

	assert_false(c->maybe_done);
	if (op_repeats(c->op))
		return;
	assert_false(c->pre.valid || c->pre2.valid);
	if (c->op == REMOTE_REMOVE || c->op == REMOTE_RMDIR)
		return;
	assert_ok(do_lookup(s->r, &s->dir, "new", &fh, &a));
	if (op_creates(c->op))
		assert_true(handle_equal(&fh, &c->fh_out));
	if (c->op == REMOTE_RENAME) {
		assert_true(c->has_dir_attr && c->has_dir2_attr);
		assert_ok(do_getattr(s->r, &s->dir, &a));
		assert_memory_equal(&a.mtime, &c->dir2_attr.mtime,
				    sizeof(a.mtime));
		return;
	}
	assert_true(c->has_attr && c->has_dir_attr);
	assert_int_equal(c->attr.fileid, a.fileid);
	assert_int_equal(c->attr.mode, a.mode);
	assert_int_equal(c->attr.nlink, a.nlink);
	assert_ok(do_getattr(s->r, &s->dir, &a));
	assert_int_equal(c->dir_attr.fileid, a.fileid);
	assert_true(timespec_equal(&c->dir_attr.mtime, &a.mtime));
}

/* The call @op with a rule for it; gives the dump. */
static char *run_with(enum remote_op op, const struct fault_rule *rules,
		      size_t rules_n, const struct remote_mem_options *mo)
{
	struct stack s;
	struct remote_call *c;
	char *dump;

	start(&s, &hard, mo);
	for (size_t i = 0; i < rules_n; i++)
		(void)fault_add(s.fault, &rules[i]);
	c = changing_call(&s, op);
	if (remote_run(s.r, c, NULL, 0) != 0)
		fail_msg("%s: %d", remote_op_name(op), c->status);
	if (rules_n > 0) {
		assert_true(c->attempts > 1);
		fault_clear(s.fault);
		check_results(&s, c);
	}
	remote_call_unref(c);
	dump = remote_mem_dump(s.mem, false);
	stop(&s);
	return dump;
}

static void compare_all(const struct fault_rule *rules, size_t rules_n,
			const struct remote_mem_options *mo)
{
	for (size_t i = 0; i < ARRAY_LEN(changing); i++) {
		struct fault_rule mine[4];
		CLEANUP_FREE char *want = run_with(changing[i], NULL, 0, mo);
		CLEANUP_FREE char *got = NULL;

		memcpy(mine, rules, rules_n * sizeof(*rules));
		for (size_t k = 0; k < rules_n; k++)
			if (mine[k].op == REMOTE_NULL) /* the call's own */
				mine[k].op = changing[i];
		got = run_with(changing[i], mine, rules_n, mo);
		assert_string_equal(got, want);
	}
}

static void test_lost_reply(void **state)
{
	static const struct fault_rule once = { .kind = FAULT_LOST,
						.times = 1 };
	static const struct fault_rule late = { .kind = FAULT_TIMEOUT,
						.times = 1 };

	compare_all(&once, 1, NULL);
	compare_all(&late, 1, NULL);
}

/* Lost, then lost again, then not sent at all. */
static void test_lost_reply_twice(void **state)
{
	static const struct fault_rule rules[] = {
		{ .kind = FAULT_LOST, .times = 2 },
		{ .kind = FAULT_NOT_SENT, .times = 1 },
	};

	compare_all(rules, ARRAY_LEN(rules), NULL);
}

static void test_call_lost_before_execution(void **state)
{
	static const struct fault_rule once = { .kind = FAULT_LOST_CALL,
						.times = 1 };

	/* Then the second attempt does the work, with its own pre. */
	for (size_t i = 0; i < ARRAY_LEN(changing); i++) {
		struct stack s;
		struct remote_call *c;
		struct fault_rule rule = once;

		start(&s, &hard, NULL);
		rule.op = changing[i];
		(void)fault_add(s.fault, &rule);
		c = changing_call(&s, changing[i]);
		assert_ok(remote_run(s.r, c, NULL, 0));
		assert_int_equal(c->attempts, 2);
		assert_true(c->pre.valid);
		assert_false(c->maybe_done);
		remote_call_unref(c);
		stop(&s);
	}
}

/* What finds out whether it was us is itself repeated. */
static void test_lost_reply_and_lost_question(void **state)
{
	static const struct fault_rule rules[] = {
		{ .kind = FAULT_LOST, .times = 1 },
		{ .kind = FAULT_LOST, .op = REMOTE_LOOKUP, .times = 1 },
		{ .kind = FAULT_JUKEBOX, .op = REMOTE_READLINK, .times = 1 },
	};

	compare_all(rules, ARRAY_LEN(rules), NULL);
}

static void test_lost_reply_of_terse_server(void **state)
{
	struct remote_mem_options terse = { .omit = REMOTE_MEM_OMIT_POST };

	for (size_t i = 0; i < ARRAY_LEN(changing); i++) {
		struct stack s;
		struct remote_call *c;
		struct handle fh;

		start(&s, &hard, &terse);
		(void)add(&s, FAULT_LOST, changing[i], 1);
		c = changing_call(&s, changing[i]);
		assert_ok(remote_run(s.r, c, NULL, 0));
		if (op_creates(changing[i])) {
			assert_true(c->has_attr);
			assert_ok(do_lookup(s.r, &s.dir, "new", &fh, NULL));
			assert_true(handle_equal(&fh, &c->fh_out));
		}
		remote_call_unref(c);
		stop(&s);
	}
}

/* Nothing of an attempt that failed is left in the next one's results. */
static void test_results_are_of_the_last_attempt(void **state)
{
	struct fault_rule gone = { .kind = FAULT_ERROR,
				   .op = REMOTE_LOOKUP,
				   .times = 1,
				   .error = -ENOENT };
	struct stack s;
	struct remote_call *c;

	start(&s, &hard, NULL);
	(void)add(&s, FAULT_LOST, REMOTE_LOOKUP, 1);
	(void)fault_add(s.fault, &gone);
	c = do_new(REMOTE_LOOKUP, &s.root, "file");
	assert_int_equal(remote_run(s.r, c, NULL, 0), -ENOENT);
	assert_false(c->has_attr || c->has_dir_attr);
	assert_int_equal(c->fh_out.len, 0);
	remote_call_unref(c);

	(void)add(&s, FAULT_LOST, REMOTE_READ, 2);
	c = do_new(REMOTE_READ, &s.file, NULL);
	c->count = 100;
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_int_equal(c->data_len, 4);
	assert_memory_equal(c->data, "text", 4);
	remote_call_unref(c);

	(void)add(&s, FAULT_LOST, REMOTE_READDIRPLUS, 2);
	c = do_new(REMOTE_READDIRPLUS, &s.root, NULL);
	c->count = 1000;
	assert_ok(remote_run(s.r, c, NULL, 0));
	assert_int_equal(c->entries_n, 2);
	remote_call_unref(c);
	stop(&s);
}

/* ---- a server that is still at it ---- */

struct slow_server {
	struct stack *s;
	unsigned calls;
};

/* The file that the first call made gets its times only after the second has met
 * it. Never matches. */
static bool finish_late(const struct remote_call *c, void *arg)
{
	static const struct timespec early = { 1000, 0 };
	struct slow_server *slow = arg;

	(void)c;
	slow->calls++;
	if (slow->calls == 2 || slow->calls == 3)
		assert_ok(remote_mem_set_mtime(slow->s->mem, "/dir/new",
					       slow->calls == 2 ? &early :
								  &verifier));
	return false;
}

static void test_half_made_object_is_ours(void **state)
{
	static const enum remote_op ops[] = { REMOTE_CREATE, REMOTE_MKNOD };

	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		struct stack s;
		struct slow_server slow = { .s = &s };
		const struct fault_rule watch = { .kind = FAULT_ERROR,
						  .op = ops[i],
						  .match = finish_late,
						  .arg = &slow };
		struct remote_call *c;

		start(&s, &hard, NULL);
		(void)fault_add(s.fault, &watch);
		(void)add(&s, FAULT_LOST, ops[i], 1);
		c = changing_call(&s, ops[i]);
		assert_ok(remote_run(s.r, c, NULL, 0));
		assert_int_equal(slow.calls, 3);
		check_results(&s, c);
		remote_call_unref(c);
		stop(&s);
	}
}

/* ---- what others did stays an error ---- */

/* Put something else under the name that @op wants to make. */
static void put_other(struct stack *s, enum remote_op op)
{
	static const char new[] = "/dir/new";

	switch (op) {
	case REMOTE_CREATE:
	case REMOTE_LINK:
		assert_ok(remote_mem_write_file(s->mem, new, "", 0));
		break;
	case REMOTE_MKDIR:
		assert_ok(remote_mem_mkdir(s->mem, new));
		break;
	case REMOTE_MKNOD:
		assert_ok(remote_mem_mknod(s->mem, new, S_IFCHR | 0640, 1, 5));
		assert_ok(remote_mem_set_mtime(s->mem, new, &verifier));
		break;
	case REMOTE_SYMLINK:
		assert_ok(remote_mem_symlink(s->mem, "Target", new));
		break;
	default:
		abort();
	}
}

static void test_others_object_stands(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(changing); i++) {
		enum remote_op op = changing[i];
		struct stack s;

		if (!op_creates(op) && op != REMOTE_LINK)
			continue;
		start(&s, &hard, NULL);
		put_other(&s, op);
		CLEANUP_FREE char *before = remote_mem_dump(s.mem, true);
		(void)add(&s, FAULT_LOST, op, 1);
		assert_int_equal(do_call(s.r, changing_call(&s, op), NULL,
					 NULL), -EEXIST);
		CLEANUP_FREE char *after = remote_mem_dump(s.mem, true);
		assert_string_equal(after, before);
		stop(&s);
	}
}

static void test_other_type_stands(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(changing); i++) {
		enum remote_op op = changing[i];
		struct stack s;

		if (!op_creates(op) && op != REMOTE_LINK)
			continue;
		start(&s, &hard, NULL);
		/* With our mtime, but not ours. */
		assert_ok(remote_mem_mknod(s.mem, "/dir/new", S_IFIFO | 0640, 0,
					   0));
		assert_ok(remote_mem_set_mtime(s.mem, "/dir/new", &verifier));
		(void)add(&s, FAULT_LOST, op, 1);
		assert_int_equal(do_call(s.r, changing_call(&s, op), NULL,
					 NULL), -EEXIST);
		stop(&s);
	}
}

/* Without a lost reply there is nothing to forgive. */
static void test_plain_errors_stand(void **state)
{
	struct stack s;
	struct remote_call *c;

	start(&s, &hard, NULL);
	(void)add(&s, FAULT_NOT_SENT, REMOTE_OPS, 1);
	assert_int_equal(do_remove(s.r, REMOTE_REMOVE, &s.dir, "no"), -ENOENT);
	assert_int_equal(do_remove(s.r, REMOTE_RMDIR, &s.dir, "no"), -ENOENT);
	c = changing_call(&s, REMOTE_CREATE);
	assert_ok(do_call(s.r, c, NULL, NULL));
	(void)add(&s, FAULT_NOT_SENT, REMOTE_CREATE, 1);
	c = changing_call(&s, REMOTE_CREATE);
	assert_int_equal(do_call(s.r, c, NULL, NULL), -EEXIST);

	/* A rename of what was never there, and one of nobody knows what. */
	(void)add(&s, FAULT_LOST, REMOTE_RENAME, 1);
	c = do_new_rename(&s.dir, "no", &s.dir, "new", &s.file);
	assert_int_equal(do_call(s.r, c, NULL, NULL), -ENOENT);
	(void)add(&s, FAULT_LOST, REMOTE_RENAME, 1);
	c = do_new_rename(&s.dir, "new", &s.dir, "renamed", NULL);
	assert_int_equal(do_call(s.r, c, NULL, NULL), -ENOENT);

	(void)add(&s, FAULT_STALE, REMOTE_GETATTR, 1);
	assert_int_equal(do_getattr(s.r, &s.dir, NULL), -ESTALE);
	stop(&s);
}

/* ---- the verifiers ---- */

static int create_lost(struct stack *s, enum remote_op op)
{
	struct remote_call *c = changing_call(s, op);

	(void)add(s, FAULT_LOST, op, 1);
	return do_call(s->r, c, NULL, NULL);
}

static void test_coarse_times(void **state)
{
	static const uint64_t units[] = { 100, 1000, 1000000, 1000000000,
					  2000000000 };

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		struct stack s;

		/* Not known to be coarse: it may be another's file. */
		start(&s, &hard, NULL);
		remote_mem_set_granularity(s.mem, units[i]);
		assert_int_equal(create_lost(&s, REMOTE_CREATE), -EEXIST);
		assert_ok(remote_mem_remove(s.mem, "/dir/new"));
		assert_ok(learn_fsinfo(&s));
		assert_ok(create_lost(&s, REMOTE_CREATE));
		assert_ok(remote_mem_remove(s.mem, "/dir/new"));
		assert_ok(create_lost(&s, REMOTE_MKDIR));
		stop(&s);
	}
}

/* The server says one second and keeps less, as Linux does: then the same
 * second is no proof. */
static void test_coarse_in_name_only(void **state)
{
	struct timespec near = { verifier.tv_sec, verifier.tv_nsec + 5 };
	struct stack s;

	start(&s, &hard, NULL);
	remote_mem_set_granularity(s.mem, 1000000000);
	assert_ok(learn_fsinfo(&s));
	remote_mem_set_granularity(s.mem, 1);
	assert_ok(create_lost(&s, REMOTE_CREATE));
	assert_ok(remote_mem_set_mtime(s.mem, "/dir/new", &near));
	assert_int_equal(create_lost(&s, REMOTE_CREATE), -EEXIST);
	stop(&s);
}

static void test_file_with_contents_stands(void **state)
{
	struct stack s;

	start(&s, &hard, NULL);
	assert_ok(remote_mem_write_file(s.mem, "/dir/new", "x", 1));
	assert_ok(remote_mem_set_mtime(s.mem, "/dir/new", &verifier));
	assert_int_equal(create_lost(&s, REMOTE_CREATE), -EEXIST);
	stop(&s);
}

static int mkdir_lost(struct stack *s, const char *name, uint32_t mode,
		      uint32_t uid)
{
	struct remote_call *c = do_new(REMOTE_MKDIR, &s->dir, name);

	c->set.valid = REMOTE_SET_MODE | REMOTE_SET_UID | REMOTE_SET_GID;
	c->set.mode = mode;
	c->set.uid = uid;
	(void)add(s, FAULT_LOST, REMOTE_MKDIR, 1);
	return do_call(s->r, c, NULL, NULL);
}

static void test_mkdir_without_verifier(void **state)
{
	struct stack s;

	start(&s, &hard, NULL);
	assert_ok(mkdir_lost(&s, "new", 0711, 4));
	assert_int_equal(mkdir_lost(&s, "full", 0755, 0), -EEXIST);
	assert_int_equal(mkdir_lost(&s, "empty", 0700, 0), -EEXIST);
	assert_int_equal(mkdir_lost(&s, "empty", 0755, 1), -EEXIST);
	assert_ok(remote_mem_chmod(s.mem, "/dir", 02755));
	assert_ok(mkdir_lost(&s, "inherits", 0711, 4));
	stop(&s);
}

RUN_TESTS(cmocka_unit_test(test_lost_reply),
	  cmocka_unit_test(test_lost_reply_twice),
	  cmocka_unit_test(test_call_lost_before_execution),
	  cmocka_unit_test(test_lost_reply_and_lost_question),
	  cmocka_unit_test(test_lost_reply_of_terse_server),
	  cmocka_unit_test(test_results_are_of_the_last_attempt),
	  cmocka_unit_test(test_half_made_object_is_ours),
	  cmocka_unit_test(test_others_object_stands),
	  cmocka_unit_test(test_other_type_stands),
	  cmocka_unit_test(test_plain_errors_stand),
	  cmocka_unit_test(test_coarse_times),
	  cmocka_unit_test(test_coarse_in_name_only),
	  cmocka_unit_test(test_file_with_contents_stands),
	  cmocka_unit_test(test_mkdir_without_verifier))

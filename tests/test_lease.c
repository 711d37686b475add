/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_lease.c: who becomes the writer, who is told about whom, and who notices
 * that it is the writer no more; over a server in memory, with faults.
 */
#include "retry_stack.h"

#include "../fs/config.h"
#include "../fs/lease.h"

#define ID_A "00112233445566778899aabbccddeeff"
#define ID_B "ffeeddccbbaa99887766554433221100"
#define HIDDEN "/.nfsrootfs"
#define LEASE HIDDEN "/lease"

static int setup(void **state)
{
	struct stack *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	start(s, &hard, NULL);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	stop(*state);
	free(*state);
	return 0;
}

static int take(struct stack *s, const char *id, bool steal, struct lease **ret)
{
	char *why = NULL;
	int r = lease_take(s->r, &s->root, id, "/mnt/gentoo", steal, ret, &why);

	if (r == -EBUSY && !why)
		fail_msg("no reason given");
	if (r != -EBUSY && why)
		fail_msg("a reason for %d: %s", r, why);
	free(why);
	return r;
}

/* The reason of a refusal; it has @part, and is fit for a terminal. */
static void refused(struct stack *s, const char *part)
{
	struct lease *l;
	char *why = NULL;
	int r = lease_take(s->r, &s->root, ID_B, "/mnt/b", false, &l, &why);

	assert_int_equal(r, -EBUSY);
	assert_non_null(why);
	if (!strstr(why, part))
		fail_msg("\"%s\" is not in \"%s\"", part, why);
	assert_non_null(strstr(why, "-o steal"));
	for (const char *p = why; *p; p++)
		if (*p < 0x20 || *p > 0x7e)
			fail_msg("byte %d in \"%s\"", *p, why);
	free(why);
}

static void put(struct stack *s, const char *text)
{
	assert_ok(remote_mem_write_file(s->mem, LEASE, text, strlen(text)));
}

/* Nothing but @lease is in the hidden directory; if that is NULL, it is gone.
 */
static void left(struct stack *s, const char *lease)
{
	char *dump = remote_mem_dump(s->mem, false), *p = dump;
	unsigned n = 0;

	while ((p = strstr(p, HIDDEN))) {
		n++;
		p++;
	}
	if (n != (lease ? 2 : 0) || (lease && !strstr(dump, lease)))
		fail_msg("left: %s", dump);
	free(dump);
}

static void test_take_and_drop(void **state)
{
	struct stack *s = *state;
	char *text, host[256] = "", line[300];
	struct lease *l;
	struct attr a;
	size_t len;

	assert_ok(take(s, ID_A, false, &l));
	assert_ok(remote_mem_stat(s->mem, HIDDEN, &a));
	assert_int_equal(a.mode, S_IFDIR | 0700);
	assert_ok(remote_mem_stat(s->mem, LEASE, &a));
	assert_int_equal(a.mode, S_IFREG | 0600);
	left(s, LEASE);
	assert_ok(remote_mem_read_file(s->mem, LEASE, &text, &len));
	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(line, sizeof(line), "\nhost=%s\n", host);
	assert_int_equal(strncmp(text, "id=" ID_A "\n", 36), 0);
	assert_non_null(strstr(text, line));
	assert_non_null(strstr(text, "\nmountpoint=/mnt/gentoo\n"));
	(void)snprintf(line, sizeof(line), "\npid=%ld\ntime=2", (long)getpid());
	assert_non_null(strstr(text, line));
	free(text);

	remote_mem_reset_calls(s->mem);
	assert_ok(lease_check(l));
	assert_int_equal(remote_mem_calls(s->mem, REMOTE_OPS), 1);
	lease_drop(l);
	left(s, NULL);
	lease_drop(NULL);
	lease_free(NULL);
}

static void test_second_writer_is_refused(void **state)
{
	struct stack *s = *state;
	char host[256] = "", part[300];
	struct lease *a, *b;

	assert_ok(take(s, ID_A, false, &a));
	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(part, sizeof(part), "by %s (on /mnt/gentoo, since 2",
		       host);
	refused(s, part);
	assert_ok(lease_check(a));
	left(s, LEASE);
	lease_drop(a);
	assert_ok(take(s, ID_B, false, &b));
	lease_drop(b);
}

/* We crashed, or kept it on purpose: the same cache directory goes on. */
static void test_own_lease_is_taken_over(void **state)
{
	struct stack *s = *state;
	struct lease *crashed, *l;

	assert_ok(take(s, ID_A, false, &crashed));
	assert_ok(take(s, ID_A, false, &l));
	left(s, LEASE);
	assert_ok(lease_check(l));
	/* a copy of that cache directory on another machine is told */
	assert_int_equal(lease_check(crashed), -ESTALE);
	lease_free(crashed);
	lease_free(l);
	left(s, LEASE);
	refused(s, "is mounted for writing by");
	assert_ok(take(s, ID_A, false, &l));
	lease_drop(l);
	left(s, NULL);
}

static void test_loser_of_a_theft_notices(void **state)
{
	struct stack *s = *state;
	struct lease *a, *b;

	assert_ok(take(s, ID_A, false, &a));
	assert_ok(take(s, ID_B, true, &b));
	assert_int_equal(lease_check(a), -ESTALE);
	assert_ok(lease_check(b));
	lease_drop(a); /* must not remove what is another's */
	left(s, LEASE);
	assert_ok(lease_check(b));
	assert_int_equal(take(s, ID_A, false, &a), -EBUSY);

	/* Also when the thief has gone, and taken the directory along. */
	assert_ok(take(s, ID_A, true, &a));
	lease_drop(b);
	assert_ok(take(s, ID_B, true, &b));
	lease_drop(b);
	left(s, NULL);
	assert_int_equal(lease_check(a), -ESTALE);
	lease_drop(a);
}

static void test_steal_of_nothing(void **state)
{
	struct stack *s = *state;
	struct lease *l;

	assert_ok(take(s, ID_A, true, &l));
	left(s, LEASE);
	lease_drop(l);
}

static void test_removed_or_rewritten(void **state)
{
	struct stack *s = *state;
	char *text;
	size_t len;
	struct lease *l;

	assert_ok(take(s, ID_A, false, &l));
	assert_ok(remote_mem_read_file(s->mem, LEASE, &text, &len));
	put(s, "id=" ID_B "\nhost=b\n");
	assert_int_equal(lease_check(l), -ESTALE);
	put(s, "");
	assert_int_equal(lease_check(l), -ESTALE);
	/* The same bytes in another file: the server has another disk. */
	assert_ok(remote_mem_remove(s->mem, LEASE));
	assert_int_equal(lease_check(l), -ESTALE);
	put(s, text);
	assert_ok(lease_check(l));
	remote_mem_reset_calls(s->mem);
	assert_ok(lease_check(l));
	assert_int_equal(remote_mem_calls(s->mem, REMOTE_OPS), 1);
	assert_ok(remote_mem_remove(s->mem, HIDDEN));
	assert_int_equal(lease_check(l), -ESTALE);
	lease_drop(l);
	free(text);
}

static void test_odd_files(void **state)
{
	static const char *const unknown[] = {
		"",
		"\n\n",
		"garbage",
		"id",
		"id=",
		"id=\n",
		"id=abc\nhost=x\n",
		"xid=" ID_A "\n",
		"id=" ID_A "ff\nhost=x\n",
		"=\n=\n",
	};
	struct stack *s = *state;
	char *large = malloc(20000);
	struct lease *l;

	assert_ok(remote_mem_mkdir(s->mem, HIDDEN));
	for (size_t k = 0; k < ARRAY_LEN(unknown); k++) {
		put(s, unknown[k]);
		refused(s, "somebody unknown");
	}
	put(s, "id=" ID_A);
	refused(s, "somebody unknown");
	put(s, "id=" ID_A "\nhost=evil\033]0;x\007\233\nmountpoint=/a\rb\n"
	       "time=\302\233\x7f\n");
	refused(s, "by evil?]0;x?? (on /a?b, since ??"
		   "?)");

	memset(large, 'x', 20000);
	memcpy(large, "id=" ID_B "\n", 36); /* even with the right id */
	assert_ok(remote_mem_write_file(s->mem, LEASE, large, 20000));
	refused(s, "somebody unknown");
	memcpy(large, "id=" ID_A "\nhost=", 41);
	assert_ok(remote_mem_write_file(s->mem, LEASE, large, 8000));
	refused(s, "by xxx");
	free(large);

	assert_ok(remote_mem_remove(s->mem, LEASE));
	assert_ok(remote_mem_symlink(s->mem, "/file", LEASE));
	refused(s, "somebody unknown");
	assert_ok(take(s, ID_B, true, &l));
	left(s, LEASE);
	lease_drop(l);
	left(s, NULL);

	assert_ok(remote_mem_mkdir(s->mem, LEASE));
	refused(s, "somebody unknown");
	assert_int_equal(take(s, ID_B, true, &l), -EISDIR);
	assert_ok(remote_mem_remove(s->mem, HIDDEN));
	assert_ok(remote_mem_write_file(s->mem, HIDDEN, "x", 1));
	assert_int_equal(take(s, ID_B, true, &l), -ENOTDIR);
}

/* What is shown does not break the lines of what is written. */
static void test_odd_mountpoint(void **state)
{
	struct stack *s = *state;
	struct lease *l;
	char *text;
	size_t len;

	assert_ok(lease_take(s->r, &s->root, ID_A,
			     "/mnt/a\nid=" ID_B "\xc3\xbc", false, &l, NULL));
	assert_ok(remote_mem_read_file(s->mem, LEASE, &text, &len));
	assert_non_null(strstr(text, "\nmountpoint=/mnt/a?id=" ID_B "??\n"));
	free(text);
	assert_ok(lease_check(l));
	assert_int_equal(
		lease_take(s->r, &s->root, "short", "/", false, &l, NULL),
		-EINVAL);
	lease_drop(l);
}

/* What a crash, or held files of another client, left in the directory. */
static void test_company(void **state)
{
	struct stack *s = *state;
	struct lease *l;

	assert_ok(remote_mem_mkdir(s->mem, HIDDEN));
	assert_ok(remote_mem_write_file(s->mem, HIDDEN "/lease-" ID_A, "x", 1));
	assert_ok(take(s, ID_A, false, &l));
	left(s, LEASE);
	assert_ok(remote_mem_write_file(s->mem, HIDDEN "/other.1", "x", 1));
	lease_drop(l);
	left(s, HIDDEN "/other.1");
}

/* ---- races ---- */

struct rival {
	struct stack *s;
	pthread_t thread;
	struct lease *lease;
	const char *id;
	bool steal;
	int r;
};

static void *rival_main(void *arg)
{
	struct rival *v = arg;

	v->r = lease_take(v->s->r, &v->s->root, v->id, "/mnt/rival", v->steal,
			  &v->lease, NULL);
	return NULL;
}

/* Let @v go on until it wants to do @op for the first time. */
static void rival_until(struct rival *v, enum remote_op op)
{
	fault_hold(v->s->fault, op);
	assert_int_equal(pthread_create(&v->thread, NULL, rival_main, v), 0);
	assert_true(fault_wait_held(v->s->fault, 1));
}

static int rival_end(struct rival *v)
{
	fault_release(v->s->fault);
	assert_int_equal(pthread_join(v->thread, NULL), 0);
	return v->r;
}

static void test_one_of_two_creators(void **state)
{
	struct stack *s = *state;
	static const enum remote_op at[] = { REMOTE_MKDIR, REMOTE_CREATE,
					     REMOTE_WRITE, REMOTE_LINK };
	struct lease *l;

	for (size_t k = 0; k < ARRAY_LEN(at); k++) {
		struct rival v = { .s = s, .id = ID_B };

		rival_until(&v, at[k]);
		assert_ok(take(s, ID_A, false, &l));
		assert_int_equal(rival_end(&v), -EBUSY);
		assert_ok(lease_check(l));
		left(s, LEASE);
		lease_drop(l);
		left(s, NULL);
	}
}

/* The directory goes away while somebody is about to use it. */
static void test_leaver_takes_the_directory(void **state)
{
	struct stack *s = *state;
	static const enum remote_op at[] = { REMOTE_CREATE, REMOTE_REMOVE };

	for (size_t k = 0; k < ARRAY_LEN(at); k++) {
		struct rival v = { .s = s, .id = ID_B };

		rival_until(&v, at[k]);
		assert_ok(remote_mem_remove(s->mem, HIDDEN));
		assert_ok(rival_end(&v));
		left(s, LEASE);
		lease_drop(v.lease);
	}
}

static void test_stolen_while_taken(void **state)
{
	struct stack *s = *state;
	struct rival v = { .s = s, .id = ID_B, .steal = true };
	struct lease *l, *own;

	assert_ok(take(s, ID_A, false, &l));
	rival_until(&v, REMOTE_RENAME);
	assert_ok(lease_check(l));
	assert_ok(rival_end(&v));
	assert_int_equal(lease_check(l), -ESTALE);
	lease_free(l);
	lease_free(v.lease);

	/* Between its being made and its being looked at. */
	v = (struct rival){ .s = s, .id = ID_B };
	fault_hold_reply(s->fault, REMOTE_RENAME);
	assert_int_equal(pthread_create(&v.thread, NULL, rival_main, &v), 0);
	assert_true(fault_wait_held(s->fault, 1));
	assert_ok(take(s, ID_A, true, &own));
	assert_int_equal(rival_end(&v), -EBUSY);
	assert_ok(lease_check(own));
	lease_drop(own);
	left(s, NULL);
}

/* ---- faults ---- */

static void test_lost_replies(void **state)
{
	struct stack *s = *state;
	static const enum remote_op ops[] = { REMOTE_LOOKUP, REMOTE_MKDIR,
					      REMOTE_CREATE, REMOTE_WRITE,
					      REMOTE_LINK,   REMOTE_RENAME,
					      REMOTE_REMOVE };
	struct lease *l, *again;

	for (size_t k = 0; k < ARRAY_LEN(ops); k++) {
		(void)add(s, FAULT_LOST, ops[k], 1);
		assert_ok(take(s, ID_A, false, &l));
		assert_ok(take(s, ID_A, false, &again));
		assert_ok(lease_check(again));
		lease_free(l);
		lease_drop(again);
		fault_clear(s->fault);
		left(s, NULL);
	}
}

static void test_errors(void **state)
{
	struct stack *s = *state;
	static const enum remote_op ops[] = { REMOTE_LOOKUP, REMOTE_MKDIR,
					      REMOTE_CREATE, REMOTE_WRITE,
					      REMOTE_LINK };
	struct lease *l;

	for (size_t k = 0; k < ARRAY_LEN(ops); k++) {
		struct fault_rule rule = { .kind = FAULT_ERROR,
					   .op = ops[k],
					   .error = -EDQUOT };

		(void)fault_add(s->fault, &rule);
		assert_int_equal(take(s, ID_A, false, &l), -EDQUOT);
		fault_clear(s->fault);
		left(s, NULL);
	}
}

/* What it could not look at, it takes back; but not what keeps others away
 * from changes of ours that an earlier mount did not send. */
static void test_error_at_the_end(void **state)
{
	struct stack *s = *state;
	struct fault_rule rule = { .kind = FAULT_ERROR,
				   .op = REMOTE_LOOKUP,
				   .skip = 3,
				   .times = 1,
				   .error = -EREMOTEIO };
	struct lease *l;

	(void)fault_add(s->fault, &rule);
	assert_int_equal(take(s, ID_A, false, &l), -EREMOTEIO);
	left(s, NULL);
	fault_clear(s->fault);
	assert_ok(take(s, ID_A, false, &l));
	lease_free(l);
	rule.skip = 2;
	(void)fault_add(s->fault, &rule);
	assert_int_equal(take(s, ID_A, false, &l), -EREMOTEIO);
	left(s, LEASE);
	fault_clear(s->fault);
	assert_ok(take(s, ID_A, false, &l));
	lease_free(l);
	rule.op = REMOTE_WRITE;
	rule.skip = 0;
	rule.error = -EPERM; /* not to be taken for: no hard links */
	(void)fault_add(s->fault, &rule);
	assert_int_equal(take(s, ID_A, false, &l), -EPERM);
	left(s, LEASE);
}

static void test_no_hard_links(void **state)
{
	struct stack *s = *state;
	struct fault_rule rule = { .kind = FAULT_ERROR,
				   .op = REMOTE_LINK,
				   .error = -EPERM };
	struct lease *l;

	(void)fault_add(s->fault, &rule);
	assert_ok(take(s, ID_A, false, &l));
	assert_ok(lease_check(l));
	refused(s, "is mounted for writing by");
	left(s, LEASE);
	lease_drop(l);
	left(s, NULL);
}

/* Nothing is known: not the same as having lost it. */
static void test_check_cannot_tell(void **state)
{
	struct stack *s = *state;
	struct fault_rule rule = { .kind = FAULT_ERROR,
				   .op = REMOTE_LOOKUP,
				   .error = -EREMOTEIO };
	struct lease *l;

	assert_ok(take(s, ID_A, false, &l));
	(void)fault_add(s->fault, &rule);
	assert_int_equal(lease_check(l), -EREMOTEIO);
	fault_clear(s->fault);
	assert_ok(lease_check(l));
	(void)add(s, FAULT_STALE, REMOTE_LOOKUP, 1);
	assert_int_equal(lease_check(l), -ESTALE);
	lease_drop(l);
}

static void test_drop_while_away(void **state)
{
	struct stack *s = *state;
	struct remote_call *c;
	struct lease *l;
	uint64_t start_ms;

	assert_ok(take(s, ID_A, false, &l));
	fault_set_away(s->fault, true);
	c = do_new(REMOTE_NULL, NULL, NULL);
	assert_int_equal(remote_run(s->r, c, NULL, 100), -EAGAIN);
	remote_call_unref(c);
	assert_true(remote_retry_is_away(s->r));
	start_ms = clock_ms();
	lease_drop(l);
	assert_true(clock_ms() - start_ms < 1000);
	fault_set_away(s->fault, false);

	/* It is not known to be away, but does not answer. */
	assert_ok(take(s, ID_A, false, &l));
	fault_hold(s->fault, REMOTE_LOOKUP);
	start_ms = clock_ms();
	lease_drop(l);
	assert_true(clock_ms() - start_ms < 2 * LIMIT_CLOSE_MS);
	fault_release(s->fault);
	left(s, LEASE);
}

static void test_frugal_server(void **state)
{
	struct remote_mem_options o = { .omit = REMOTE_MEM_OMIT_PRE |
						REMOTE_MEM_OMIT_POST |
						REMOTE_MEM_OMIT_HANDLE };
	struct stack *s = *state;
	struct lease *l, *again;

	remote_mem_set_options(s->mem, &o);
	assert_ok(take(s, ID_A, false, &l));
	assert_ok(lease_check(l));
	refused(s, "is mounted for writing by");
	assert_ok(take(s, ID_A, false, &again));
	assert_int_equal(lease_check(l), -ESTALE);
	lease_drop(l);
	lease_drop(again);
	left(s, NULL);
}

#define LEASE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

RUN_TESTS(LEASE_TEST(test_take_and_drop),
	  LEASE_TEST(test_second_writer_is_refused),
	  LEASE_TEST(test_own_lease_is_taken_over),
	  LEASE_TEST(test_loser_of_a_theft_notices),
	  LEASE_TEST(test_steal_of_nothing),
	  LEASE_TEST(test_removed_or_rewritten), LEASE_TEST(test_odd_files),
	  LEASE_TEST(test_odd_mountpoint), LEASE_TEST(test_company),
	  LEASE_TEST(test_one_of_two_creators),
	  LEASE_TEST(test_leaver_takes_the_directory),
	  LEASE_TEST(test_stolen_while_taken), LEASE_TEST(test_lost_replies),
	  LEASE_TEST(test_errors), LEASE_TEST(test_error_at_the_end),
	  LEASE_TEST(test_no_hard_links), LEASE_TEST(test_check_cannot_tell),
	  LEASE_TEST(test_drop_while_away), LEASE_TEST(test_frugal_server))

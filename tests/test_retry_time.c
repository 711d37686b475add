/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_retry_time.c: when the retry layer tries again, gives up, speaks, and
 * what becomes of the calls that wait.
 */
#include "retry_stack.h"

static struct remote_call *new_file(struct stack *s)
{
	struct remote_call *c = do_new(REMOTE_CREATE, &s->dir, "new");

	c->set.valid = REMOTE_SET_MTIME;
	c->set.mtime.tv_nsec = 1;
	return c;
}

/* ---- JUKEBOX, hard, soft ---- */

static void test_jukebox(void **state)
{
	static const struct remote_retry_options soft = { .soft = true,
							  .timeo_ms = 10 };
	const struct remote_retry_options *kinds[] = { &hard, &soft };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct stack s;
		struct remote_info info;
		uint64_t started = clock_ms();

		start(&s, kinds[i], NULL);
		(void)add(&s, FAULT_JUKEBOX, REMOTE_GETATTR, 3);
		assert_ok(do_getattr(s.r, &s.file, NULL));
		assert_in_range(clock_ms() - started, 700, 5000);
		assert_false(remote_retry_is_away(s.r));
		remote_get_info(s.r, &info);
		assert_int_equal(info.retries, 3);
		assert_int_equal(info.calls[REMOTE_GETATTR], 1);
		stop(&s);
	}
}

/* A server that answers does not use up the patience for one that does not. */
static void test_soft_patience_starts_again(void **state)
{
	static const struct remote_retry_options soft = { .soft = true,
							  .timeo_ms = 90 };
	struct stack s;

	start(&s, &soft, NULL);
	(void)add(&s, FAULT_JUKEBOX, REMOTE_GETATTR, 1);
	(void)add(&s, FAULT_NOT_SENT, REMOTE_GETATTR, 1);
	assert_ok(do_getattr(s.r, &s.file, NULL));
	stop(&s);
}

static void test_soft_gives_up_in_time(void **state)
{
	struct remote_retry_options soft = { .soft = true,
					     .timeo_ms = 250,
					     .retrans = 3 };
	struct stack s;
	struct remote_call *c;
	uint64_t started;
	unsigned id;

	start(&s, &soft, NULL);
	id = add(&s, FAULT_NOT_SENT, REMOTE_OPS, 0);
	started = clock_ms();
	c = do_new(REMOTE_GETATTR, &s.file, NULL);
	assert_int_equal(remote_run(s.r, c, NULL, 0), -EIO);
	assert_false(c->maybe_done);
	assert_in_range(clock_ms() - started, 1000, 1400);
	/* At 0, 0, 50, 150, 350, 750 ms: no busy loop. */
	assert_in_range(fault_acted(s.fault, id), 3, 6);
	assert_true(remote_retry_is_away(s.r));
	remote_call_unref(c);

	/* When nobody can know, the caller is told so. */
	fault_clear(s.fault);
	(void)add(&s, FAULT_LOST, REMOTE_CREATE, 1);
	(void)add(&s, FAULT_NOT_SENT, REMOTE_OPS, 0);
	c = new_file(&s);
	assert_int_equal(remote_run(s.r, c, NULL, 0), -EIO);
	assert_true(c->maybe_done);
	remote_call_unref(c);

	/* The same when the question gets no answer. */
	fault_clear(s.fault);
	(void)add(&s, FAULT_NOT_SENT, REMOTE_LOOKUP, 0);
	(void)add(&s, FAULT_LOST, REMOTE_CREATE, 1);
	c = new_file(&s);
	assert_int_equal(remote_run(s.r, c, NULL, 0), -EIO);
	assert_true(c->maybe_done);
	remote_call_unref(c);
	stop(&s);
}

/* Nothing is asked any more, and yet it is noticed that the server is back. */
static void test_soft_notices_the_server(void **state)
{
	const struct remote_retry_options soft = { .soft = true,
						   .timeo_ms = 100 };
	uint64_t limit = clock_ms() + 10000;
	struct remote_call *c;
	struct stack s;

	(void)state;
	start(&s, &soft, NULL);
	fault_set_away(s.fault, true);
	c = do_new(REMOTE_GETATTR, &s.file, NULL);
	assert_int_equal(remote_run(s.r, c, NULL, 0), -EIO);
	remote_call_unref(c);
	assert_true(remote_retry_is_away(s.r));
	fault_set_away(s.fault, false);
	while (remote_retry_is_away(s.r) && clock_ms() < limit)
		(void)usleep(1000);
	assert_false(remote_retry_is_away(s.r));
	stop(&s);
}

/* ---- calls that wait ---- */

struct waiter {
	struct mutex lock;
	struct cond cond;
	unsigned over, not_connected;
};

static void waiter_done(struct remote_call *c, void *arg)
{
	struct waiter *w = arg;

	mutex_lock(&w->lock);
	w->over++;
	w->not_connected += c->status == -ENOTCONN;
	cond_broadcast(&w->cond);
	mutex_unlock(&w->lock);
}

static void waiter_init(struct waiter *w)
{
	*w = (struct waiter){ .over = 0 };
	mutex_init(&w->lock);
	cond_init(&w->cond);
}

static void waiter_release(struct waiter *w)
{
	cond_destroy(&w->cond);
	mutex_destroy(&w->lock);
}

static void waiter_wait(struct waiter *w, unsigned n)
{
	mutex_lock(&w->lock);
	while (w->over < n)
		cond_wait(&w->cond, &w->lock);
	mutex_unlock(&w->lock);
}

static void submit(struct stack *s, struct remote_call *c, struct waiter *w)
{
	remote_submit(s->r, c, waiter_done, w);
	remote_call_unref(c);
}

static void test_hard_waits_for_the_server(void **state)
{
	struct stack s;
	struct waiter w;
	unsigned id;

	start(&s, &hard, NULL);
	waiter_init(&w);
	id = add(&s, FAULT_NOT_SENT, REMOTE_OPS, 0);
	for (int i = 0; i < 20; i++)
		submit(&s, do_new(REMOTE_GETATTR, &s.file, NULL), &w);
	assert_true(fault_wait_acted(s.fault, id, 60));
	assert_true(remote_retry_is_away(s.r));
	assert_int_equal(w.over, 0);
	fault_clear(s.fault);
	waiter_wait(&w, 20);
	assert_false(remote_retry_is_away(s.r));
	stop(&s);
	assert_int_equal(w.not_connected, 0);
	waiter_release(&w);
}

/* One reply wakes those that back off. */
static void test_back_sooner(void **state)
{
	struct remote_mem_options mo = { .async = true, .delay_ms = 100 };
	struct stack s;
	struct waiter w;
	uint64_t started;
	unsigned id;

	start(&s, &hard, &mo);
	waiter_init(&w);
	id = add(&s, FAULT_NOT_SENT, REMOTE_GETATTR, 0);
	submit(&s, do_new(REMOTE_GETATTR, &s.file, NULL), &w);
	/* The seventh attempt would be 800 ms after the sixth, the eighth
	 * 1600 ms after that. */
	assert_true(fault_wait_acted(s.fault, id, 7));
	fault_clear(s.fault);
	started = clock_ms();
	assert_ok(do_lookup(s.r, &s.root, "file", NULL, NULL));
	waiter_wait(&w, 1);
	assert_in_range(clock_ms() - started, 0, 1000);
	stop(&s);
	waiter_release(&w);
}

static void test_close_ends_waiting(void **state)
{
	struct stack s;
	struct waiter w;
	unsigned id;

	start(&s, &hard, NULL);
	waiter_init(&w);
	/* Backing off, told to come later, in the server, being checked. */
	id = add(&s, FAULT_NOT_SENT, REMOTE_GETATTR, 0);
	(void)add(&s, FAULT_JUKEBOX, REMOTE_ACCESS, 0);
	fault_hold(s.fault, REMOTE_READ);
	(void)add(&s, FAULT_LOST, REMOTE_CREATE, 1);
	fault_hold(s.fault, REMOTE_LOOKUP);
	submit(&s, do_new(REMOTE_GETATTR, &s.file, NULL), &w);
	submit(&s, do_new(REMOTE_ACCESS, &s.file, NULL), &w);
	submit(&s, do_new(REMOTE_READ, &s.file, NULL), &w);
	submit(&s, new_file(&s), &w);
	assert_true(fault_wait_acted(s.fault, id, 4));
	assert_true(fault_wait_held(s.fault, 2));
	assert_int_equal(w.over, 0);
	stop(&s);
	assert_int_equal(w.over, 4);
	assert_int_equal(w.not_connected, 4);
	waiter_release(&w);
}

/* A completion may submit the next call, even while the layer closes. */
struct chain {
	struct stack *s;
	unsigned n;
};

static void chain_done(struct remote_call *c, void *arg)
{
	struct chain *chain = arg;
	struct remote_call *next;

	if (++chain->n == 100)
		return;
	next = do_new(REMOTE_GETATTR, &chain->s->file, NULL);
	remote_submit(chain->s->r, next, chain_done, chain);
	remote_call_unref(next);
}

static void test_submit_from_completion(void **state)
{
	struct remote_mem_options mo = { .async = true };
	struct stack s;
	struct chain chain = { .s = &s };
	struct remote_call *c;

	start(&s, &hard, &mo);
	c = do_new(REMOTE_GETATTR, &s.file, NULL);
	remote_submit(s.r, c, chain_done, &chain);
	remote_call_unref(c);
	stop(&s);
	assert_int_equal(chain.n, 100);
}

/* ---- messages ---- */

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static void outage(struct stack *s, struct waiter *w, unsigned over)
{
	unsigned id = add(s, FAULT_NOT_SENT, REMOTE_OPS, 0);

	submit(s, do_new(REMOTE_GETATTR, &s->file, NULL), w);
	submit(s, do_new(REMOTE_GETATTR, &s->file, NULL), w);
	/* Five each: 350 ms. */
	assert_true(fault_wait_acted(s->fault, id, 10));
	fault_clear(s->fault);
	waiter_wait(w, over);
}

/* What @fn writes to standard error. */
static char *stderr_of(const char *dir, void (*fn)(void))
{
	CLEANUP_FREE char *path = NULL;
	char *text = calloc(1, 4096);
	int saved, fd;

	assert_non_null(text);
	assert_true(asprintf(&path, "%s/stderr", dir) > 0);
	fflush(stderr);
	saved = dup(2);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(saved >= 0 && fd >= 0 && dup2(fd, 2) == 2);
	fn();
	fflush(stderr);
	assert_true(dup2(saved, 2) == 2);
	assert_true(pread(fd, text, 4095, 0) >= 0);
	close(saved);
	close(fd);
	return text;
}

static void two_outages(void)
{
	struct stack s;
	struct waiter w;

	start(&s, &hard, NULL);
	waiter_init(&w);
	/* An idle connection that was closed is not an outage. */
	(void)add(&s, FAULT_LOST, REMOTE_GETATTR, 1);
	assert_ok(do_getattr(s.r, &s.file, NULL));
	outage(&s, &w, 2);
	outage(&s, &w, 4);
	stop(&s);
	waiter_release(&w);
}

static void test_messages_once(void **state)
{
	CLEANUP_FREE char *text = stderr_of(*state, two_outages);

	assert_int_equal(count(text, "server memory not responding, "
				     "still trying\n"), 2);
	assert_int_equal(count(text, "server memory OK\n"), 2);
	assert_int_equal(count(text, "\n"), 4);
	assert_true(strstr(text, "OK") > strstr(text, "not responding"));
}

RUN_TESTS(cmocka_unit_test(test_jukebox),
	  cmocka_unit_test(test_soft_notices_the_server),
	  cmocka_unit_test(test_soft_patience_starts_again),
	  cmocka_unit_test(test_soft_gives_up_in_time),
	  cmocka_unit_test(test_hard_waits_for_the_server),
	  cmocka_unit_test(test_back_sooner),
	  cmocka_unit_test(test_close_ends_waiting),
	  cmocka_unit_test(test_submit_from_completion),
	  RUN_TEST_DIR(test_messages_once))

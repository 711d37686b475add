/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_remote.c: remote_run() keeps its contract: waiters that leave, replies
 * that come late; and connections complete what they were given.
 */
#include "remote_server.h"
#include "remote_fault.h"
#include "run.h"

struct order {
	struct mutex lock;
	struct cond cond;
	unsigned n;
	bool wrong, same_thread;
	pthread_t submitter;
};

static void order_done(struct remote_call *c, void *arg)
{
	struct order *o = arg;

	mutex_lock(&o->lock);
	o->wrong |= c->status != 0 || c->access != o->n;
	o->same_thread |= pthread_equal(pthread_self(), o->submitter) != 0;
	o->n++;
	cond_signal(&o->cond);
	mutex_unlock(&o->lock);
}

static void test_pipelining(void **state)
{
	struct remote_mem_options mo = { .async = true, .delay_ms = 50 };
	struct order o = { .submitter = pthread_self() };
	struct server s;
	uint64_t started;

	start(&s, &mo);
	mutex_init(&o.lock);
	cond_init(&o.cond);
	started = clock_ms();
	for (unsigned i = 0; i < 100; i++) {
		struct remote_call *c = do_new(REMOTE_NULL, NULL, NULL);

		c->access = i; /* its number */
		remote_submit(s.r, c, order_done, &o);
		remote_call_unref(c);
	}
	mutex_lock(&o.lock);
	while (o.n < 100)
		cond_wait(&o.cond, &o.lock);
	mutex_unlock(&o.lock);
	/* 100 round trips at once, not one after another. */
	assert_in_range(clock_ms() - started, 50, 2500);
	assert_false(o.wrong);
	assert_false(o.same_thread);
	assert_int_equal(remote_mem_calls(s.mem, REMOTE_NULL), 100);
	cond_destroy(&o.cond);
	mutex_destroy(&o.lock);
	stop(&s);
}

static void test_run_timeout(void **state)
{
	struct server s;
	struct remote *fault;
	struct remote_call *c;

	start(&s, NULL);
	fault = remote_fault_open(s.r, 1);
	fault_hold(fault, REMOTE_LOOKUP);
	c = do_new(REMOTE_LOOKUP, &s.root, "f");
	assert_int_equal(remote_run(fault, c, NULL, 30), -EAGAIN);
	remote_call_unref(c); /* the late reply frees it */
	assert_true(fault_wait_held(fault, 1));
	fault_release(fault);
	s.r = fault;
	stop(&s);
}

static void *raise_when_held(void *arg)
{
	void **args = arg;

	if (fault_wait_held(args[0], 1))
		remote_intr_raise(args[1]);
	return NULL;
}

static bool is_fatal(void *arg)
{
	unsigned *asked = arg;

	return ++*asked > 1;
}

static void run_interrupted(struct remote_intr *intr)
{
	struct server s;
	struct remote *fault;
	struct remote_call *c;
	pthread_t thread;

	start(&s, NULL);
	fault = remote_fault_open(s.r, 1);
	fault_hold_reply(fault, REMOTE_MKDIR);
	void *args[] = { fault, intr };
	assert_ok(pthread_create(&thread, NULL, raise_when_held, args));
	c = do_new(REMOTE_MKDIR, &s.root, "d");
	assert_int_equal(remote_run(fault, c, intr, 0), -EINTR);
	remote_call_unref(c);
	assert_ok(pthread_join(thread, NULL));
	fault_release(fault);
	assert_ok(do_lookup(fault, &s.root, "d", NULL, NULL));
	s.r = fault;
	stop(&s);
}

static void test_run_interrupted(void **state)
{
	unsigned asked = 0;
	struct remote_intr always = { .raised = false };
	struct remote_intr second = { .fatal = is_fatal, .arg = &asked };

	run_interrupted(&always);
	run_interrupted(&second);
	assert_int_equal(asked, 2);
}

/* A call that is over when the waiter looks is not interrupted. */
static void test_run_raised_before(void **state)
{
	struct remote_intr intr = { .raised = true };
	struct server s;
	struct remote_call *c;

	start(&s, NULL);
	c = do_new(REMOTE_GETATTR, &s.root, NULL);
	assert_ok(remote_run(s.r, c, &intr, 0));
	assert_true(c->has_attr);
	remote_call_unref(c);
	stop(&s);
}

static void test_close_ends_waiting(void **state)
{
	struct remote_mem_options mo = { .async = true, .delay_ms = 60000 };
	struct order o = { .submitter = pthread_self() };
	struct server s;
	struct remote_call *c;

	start(&s, &mo);
	mutex_init(&o.lock);
	cond_init(&o.cond);
	c = do_new(REMOTE_NULL, NULL, NULL);
	remote_submit(s.r, c, order_done, &o);
	stop(&s);
	assert_int_equal(o.n, 1);
	assert_int_equal(c->status, -ENOTCONN);
	remote_call_unref(c);
	cond_destroy(&o.cond);
	mutex_destroy(&o.lock);
}

RUN_TESTS(cmocka_unit_test(test_pipelining),
	  cmocka_unit_test(test_run_timeout),
	  cmocka_unit_test(test_run_interrupted),
	  cmocka_unit_test(test_run_raised_before),
	  cmocka_unit_test(test_close_ends_waiting))

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* retry_stack.h: what the tests of the retry layer stand on: it, over faults,
 * over a server in memory.
 */
#pragma once

#include "remote_do.h"
#include "remote_fault.h"
#include "remote_mem.h"
#include "run.h"

#define assert_ok(expression) assert_int_equal(expression, 0)

struct stack {
	struct remote_mem *mem;
	struct remote *fault, *r;
	struct handle root, dir, file;
};

static const struct remote_retry_options hard = { .timeo_ms = 1000 };

/* A server with /dir, /file, /dir/full/x, /dir/empty. */
static inline void start(struct stack *s,
			 const struct remote_retry_options *o,
			 const struct remote_mem_options *mo)
{
	s->mem = remote_mem_new(mo);
	assert_ok(remote_mem_mkdir(s->mem, "/dir/full/x"));
	assert_ok(remote_mem_mkdir(s->mem, "/dir/empty"));
	assert_ok(remote_mem_write_file(s->mem, "/file", "text", 4));
	s->fault = remote_fault_open(remote_mem_connect(s->mem), run_seed());
	assert_ok(remote_retry_open(s->fault, o, &s->r));
	remote_mem_root(s->mem, &s->root);
	assert_ok(remote_mem_handle(s->mem, "/dir", &s->dir));
	assert_ok(remote_mem_handle(s->mem, "/file", &s->file));
}

static inline void stop(struct stack *s)
{
	remote_close(s->r);
	remote_mem_free(s->mem);
}

static inline unsigned add(struct stack *s, enum fault_kind kind,
			   enum remote_op op, unsigned times)
{
	struct fault_rule rule = { .kind = kind, .op = op, .times = times };

	return fault_add(s->fault, &rule);
}

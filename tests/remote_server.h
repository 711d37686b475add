/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_server.h: a server in memory and one connection to it. */
#pragma once

#include "remote_do.h"
#include "remote_mem.h"
#include "run.h"

struct server {
	struct remote_mem *mem;
	struct remote *r;
	struct handle root;
};

static inline void start(struct server *s, const struct remote_mem_options *o)
{
	s->mem = remote_mem_new(o);
	s->r = remote_mem_connect(s->mem);
	remote_mem_root(s->mem, &s->root);
}

static inline void stop(struct server *s)
{
	remote_close(s->r);
	remote_mem_free(s->mem);
}

#define assert_ok(expression) assert_int_equal(expression, 0)

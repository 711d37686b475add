/* SPDX-License-Identifier: GPL-2.0-or-later */
/* back_fixture.h: what the tests of writing back share, beyond vfs_fixture.h. */
#pragma once

#include "vfs_fixture.h"

#include "../fs/hold.h"

enum { FILE_MODE = S_IFREG | 0644 };

static inline struct wback_stats log_stats(struct fixture *f)
{
	struct wback_stats s;

	wback_get_stats(f->wback, &s);
	return s;
}

static inline void expect_names(struct fixture *f, uint64_t dir, const char *names)
{
	struct walk w;
	char *want = strdup(names), *rest = want, *name;
	unsigned n = 0;

	(void)list(f, dir, &w);
	while ((name = strsep(&rest, " ")))
		if (*name) {
			char there[300];

			(void)snprintf(there, sizeof(there), "%s ", name);
			assert_non_null(strstr(w.names, there));
			n++;
		}
	assert_int_equal(w.entries, n);
	free(want);
}

/* A name in the server's directory that begins with @prefix. */
static inline bool server_has_like(struct fixture *f, const char *prefix)
{
	char *dump = remote_mem_dump(f->mem, false), line[300];
	bool found;

	(void)snprintf(line, sizeof(line), "%s", prefix);
	found = strstr(dump, line) != NULL;
	free(dump);
	return found;
}

static inline void set_mtime_of(struct fixture *f, uint64_t ino, time_t when)
{
	struct remote_sattr set = { .valid = REMOTE_SET_MTIME,
				    .mtime = { when, 123456789 } };
	struct vfs_entry e;

	assert_int_equal(vfs_setattr(f->v, &root_user, ino, &set, &e), 0);
}

static inline void trust_all(struct fixture *f)
{
	struct walk w;

	(void)list(f, META_ROOT, &w);
	remote_mem_reset_calls(f->mem);
}

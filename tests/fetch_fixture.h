/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fetch_fixture.h: files of the server that are read, small ones in trees and a
 * large one.
 */
#pragma once

#include "vfs_fixture.h"

enum { MIB = 1024 * 1024 };

static inline void old_tree(struct fixture *f, unsigned dirs, unsigned files)
{
	admin_tree(f, dirs, files);
	age(f);
}

static inline uint64_t reads(struct fixture *f)
{
	return remote_mem_calls(f->mem, REMOTE_READ);
}

/* All files of a directory, in its order. */
static inline void read_dir(struct fixture *f, const char *path)
{
	struct walk *w = malloc(sizeof(*w));
	char *rest, *name;

	(void)list(f, look_path(f, path), w);
	rest = w->names;
	while ((name = strsep(&rest, " ")) && *name) {
		char file[600];

		(void)snprintf(file, sizeof(file), "%s/%s", path, name);
		expect_contents(f, look_path(f, file), file);
	}
	free(w);
}

static inline void read_all(struct fixture *f, unsigned dirs)
{
	char path[64];

	for (unsigned d = 0; d < dirs; d++) {
		(void)snprintf(path, sizeof(path), "/tree/d%u", d);
		read_dir(f, path);
	}
}

static inline char *admin_large(struct fixture *f, size_t len)
{
	char *bytes = malloc(len);

	assert_non_null(bytes);
	for (size_t k = 0; k < len; k++)
		bytes[k] = (char)(k * 2654435761u >> 11);
	assert_int_equal(remote_mem_write_file(f->mem, "/large", bytes, len), 0);
	age(f);
	return bytes;
}

static inline void expect_range(struct fixture *f, uint64_t ino, const char *bytes,
			 size_t size, uint64_t offset, uint32_t n)
{
	struct slice data;

	assert_int_equal(vfs_read(f->v, &root_user, ino, offset, n, &data), 0);
	assert_int_equal(data.len, offset < size ?
					   MIN((uint64_t)n, size - offset) :
					   0);
	assert_memory_equal(data.at, bytes + offset, data.len);
	slice_done(&data);
}

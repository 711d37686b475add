/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_mem_tree.h: private to remote_mem*.c: the disk of the server in
 * memory. No locks in here: remote_mem.c holds the server's one lock around
 * every call. Functions return 0 or -errno and change nothing on failure.
 */
#pragma once

#include "../fs/remote.h"
#include "remote_mem.h"

enum { MEM_BLOCK = 4096 };

struct mem_fs;
struct mem_node;

struct mem_entry {
	char *name;
	uint32_t hash;
	uint64_t cookie;
	struct mem_node *node;    /* what LOOKUP gives */
	struct mem_node *covered; /* by the root of another filesystem */
};

struct mem_block {
	uint64_t index; /* offset / MEM_BLOCK */
	uint8_t *bytes;
};

struct mem_node {
	struct mem_fs *fs;
	uint32_t generation;
	struct attr attr;
	/* of a file: what is not a hole, by index */
	struct mem_block *blocks;
	size_t blocks_n, blocks_room;
	/* of a symbolic link */
	char *target;
	/* of a directory: in the order of creation, hence by cookie */
	struct mem_entry *entries;
	size_t entries_n, entries_room;
	uint64_t cookie_next;
	struct mem_node *parent; /* of the root: itself */
};

struct mem_fs {
	uint64_t fsid;
	struct mem_node **slots; /* fileid n lies in slot n - 2 */
	size_t slots_n, slots_room;
	size_t slot_hint; /* none before it is free */
	struct mem_fs *next;
};

struct mem_tree {
	struct mem_fs *fs;
	struct mem_node *root;
	uint64_t fsid_next;
	uint32_t generation_next;
	uint64_t now_ns, step_ns, granularity_ns;
	uint32_t link_max;
};

void mem_tree_init(struct mem_tree *t);
void mem_tree_release(struct mem_tree *t);

/* Sets the clock forward; the time as the disk keeps it. */
struct timespec mem_tick(struct mem_tree *t);

void mem_handle(const struct mem_node *n, struct handle *ret);
int mem_by_handle(const struct mem_tree *t, const struct handle *h,
		  struct mem_node **ret);

/* NULL: no such name. "." and ".." are not entries. */
struct mem_entry *mem_entry(const struct mem_node *dir, const char *name);
/* Knows "." and "..". */
int mem_lookup(struct mem_node *dir, const char *name, struct mem_node **ret);

/* @mode with its type bits; owner root, group root or the set-group-ID
 * directory's. */
int mem_create(struct mem_tree *t, struct mem_node *dir, const char *name,
	       uint32_t mode, struct mem_node **ret);
int mem_link(struct mem_tree *t, struct mem_node *n, struct mem_node *dir,
	     const char *name);
int mem_remove(struct mem_tree *t, struct mem_node *dir, const char *name,
	       bool rmdir);
int mem_rename(struct mem_tree *t, struct mem_node *dir, const char *name,
	       struct mem_node *dir2, const char *name2);
int mem_setattr(struct mem_tree *t, struct mem_node *n,
		const struct remote_sattr *set);
int mem_write(struct mem_tree *t, struct mem_node *n, uint64_t offset,
	      const void *data, size_t len);
/* Of a regular file; no change of times. */
void mem_set_size(struct mem_node *n, uint64_t size);
/* Returns the bytes read: fewer than @len at the end of the file. */
size_t mem_read(const struct mem_node *n, uint64_t offset, void *data,
		size_t len);
int mem_new_fs(struct mem_tree *t, struct mem_node *dir, const char *name);

static inline bool mem_is_dir(const struct mem_node *n)
{
	return S_ISDIR(n->attr.mode);
}

/* The server: its lock and what it guards. */
struct remote_mem {
	struct mutex lock;
	struct remote_mem_options o;
	struct mem_tree tree;
	uint64_t calls[REMOTE_OPS];
	uint64_t verf; /* of writes */
};

/* Execute @c whole, under the server's lock; does not complete it. */
void mem_execute(struct remote_mem *m, struct remote_call *c);

/* calloc, realloc and strdup that do not fail: a test without memory ends. */
void *mem_alloc(size_t bytes);
char *mem_strdup(const char *s);
void *mem_grow(void *array, size_t *room, size_t n, size_t item);

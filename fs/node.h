/* SPDX-License-Identifier: GPL-2.0-or-later */
/* node.h: how often the kernel holds each inode. 16 bytes an inode: nothing
 * else is kept in memory for what the kernel knows; the rest is in the cache.
 * From any thread. */
#pragma once

#include "../cache/base.h"

struct nodes;

/* *@count is kept at the number of inodes held (atomic), for `status`. */
int nodes_new(uint64_t *count, struct nodes **ret);
void nodes_free(struct nodes *n);

/* Aborts without memory: a lost count would lose a file later. */
void nodes_ref(struct nodes *n, uint64_t ino);

/* True when that was the last. More than was held counts as all. */
bool nodes_unref(struct nodes *n, uint64_t ino, uint64_t count);

bool nodes_known(struct nodes *n, uint64_t ino);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remote_mem_data.c: the contents of files on the disk of the server in memory:
 * blocks sorted by their place in the file; what has no block is a hole. Bytes
 * of the last block behind the end of the file are always zero.
 */
#include "remote_mem_tree.h"

/* The place of block @index: where it is or would be. */
static size_t block_find(const struct mem_node *n, uint64_t index)
{
	size_t lo = 0, hi = n->blocks_n;

	/* Most writes append. */
	if (hi > 0 && n->blocks[hi - 1].index < index)
		return hi;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (n->blocks[mid].index < index)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint8_t *block_get(const struct mem_node *n, uint64_t index)
{
	size_t i = block_find(n, index);

	return i < n->blocks_n && n->blocks[i].index == index ?
		       n->blocks[i].bytes :
		       NULL;
}

static uint8_t *block_make(struct mem_node *n, uint64_t index)
{
	size_t i = block_find(n, index);

	if (i < n->blocks_n && n->blocks[i].index == index)
		return n->blocks[i].bytes;
	n->blocks = mem_grow(n->blocks, &n->blocks_room, n->blocks_n,
			     sizeof(*n->blocks));
	memmove(n->blocks + i + 1, n->blocks + i,
		(n->blocks_n - i) * sizeof(*n->blocks));
	n->blocks[i] = (struct mem_block){ index, mem_alloc(MEM_BLOCK) };
	n->blocks_n++;
	n->attr.used += MEM_BLOCK;
	return n->blocks[i].bytes;
}

void mem_set_size(struct mem_node *n, uint64_t size)
{
	uint8_t *last = block_get(n, size / MEM_BLOCK);

	if (last)
		memset(last + size % MEM_BLOCK, 0,
		       MEM_BLOCK - size % MEM_BLOCK);
	while (n->blocks_n > 0 &&
	       n->blocks[n->blocks_n - 1].index * MEM_BLOCK >= size) {
		free(n->blocks[--n->blocks_n].bytes);
		n->attr.used -= MEM_BLOCK;
	}
	n->attr.size = size;
}

int mem_write(struct mem_tree *t, struct mem_node *n, uint64_t offset,
	      const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t at = offset;

	if (!S_ISREG(n->attr.mode))
		return mem_is_dir(n) ? -EISDIR : -EINVAL;
	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return -EFBIG;
	if (len == 0)
		return 0;
	while (len > 0) {
		size_t part = MIN(len, MEM_BLOCK - (size_t)(at % MEM_BLOCK));

		memcpy(block_make(n, at / MEM_BLOCK) + at % MEM_BLOCK, p, part);
		p += part;
		at += part;
		len -= part;
	}
	n->attr.size = MAX(n->attr.size, at);
	n->attr.mtime = n->attr.ctime = mem_tick(t);
	return 0;
}

size_t mem_read(const struct mem_node *n, uint64_t offset, void *data,
		size_t len)
{
	uint8_t *p = data;

	if (offset >= n->attr.size)
		return 0;
	len = MIN((uint64_t)len, n->attr.size - offset);
	for (size_t left = len; left > 0;) {
		size_t inner = offset % MEM_BLOCK;
		size_t part = MIN(left, MEM_BLOCK - inner);
		const uint8_t *b = block_get(n, offset / MEM_BLOCK);

		if (b)
			memcpy(p, b + inner, part);
		else
			memset(p, 0, part);
		p += part;
		offset += part;
		left -= part;
	}
	return len;
}

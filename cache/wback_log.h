/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_log.h: private to the write-back log: its files. */
#pragma once

#include "wback_rec.h"

struct log;     /* opaque */
struct segment; /* opaque: one file, open as long as somebody refers to it */

struct segment *segment_ref(struct segment *s);
void segment_unref(struct segment *s); /* NULL is fine */
uint64_t segment_number(const struct segment *s);
/* All of @len bytes, or -errno. */
int segment_read(const struct segment *s, uint64_t at, void *buf, size_t len);

/* A record found at opening; its contents lie in @s at @data_at. */
typedef void log_scan_fn(void *arg, const struct rec *r, struct segment *s,
			 uint64_t data_at);

struct log_options {
	const char *server;
	uint64_t segment_bytes;
	uint64_t keep_free;
	unsigned interval_ms;
};

/* Reads what is there, oldest first, and is ready for more. As wback_open(). */
int log_open(const char *dir, const struct log_options *o, log_scan_fn *fn,
	     void *arg, struct log **ret, char **ret_why);
void log_close(struct log *l);

/* Appends @r, whose seq and durable it sets, and its contents. The caller sees
 * to it that one thread does so at a time. @reserve: may use the room that is
 * kept for what frees room. -ENOSPC, -EIO; then nothing was appended. */
int log_append(struct log *l, struct rec *r, const void *data, bool reserve,
	       struct segment **ret_segment, uint64_t *ret_data_at);

/* So many ops wait: room is kept for what is noted when they are sent. Same
 * thread as log_append(). */
void log_set_pending(struct log *l, uint64_t ops);

/* Is there room for @bytes? Same thread as log_append(). 0 or -ENOSPC. */
int log_room(struct log *l, uint64_t bytes);

/* Delete the files below @number; one is always kept. */
void log_trim(struct log *l, uint64_t number);

int log_sync(struct log *l, uint64_t seq);
uint64_t log_durable(struct log *l);
uint64_t log_last(struct log *l); /* the last seq given out */
uint64_t log_bytes(struct log *l);

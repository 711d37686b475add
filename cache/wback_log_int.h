/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_log_int.h: private to the files of the write-back log: wback_log.c, which
 * writes them, and wback_scan.c, which reads them when the log is opened.
 */
#pragma once

#include "wback_log.h"

enum {
	HEAD_BYTES = 72,
	RESERVE_BYTES = 256 * 1024,
	CONTROL_BYTES = 384, /* what sending one op adds, at the most usual */
};
#define MAGIC "nrfslog1"

struct segment {
	struct segment *next;
	uint64_t number, bytes; /* of the file */
	uint64_t used;          /* under lock */
	uint64_t gone_seq;      /* the last record when it was given up */
	int fd;
	unsigned refs; /* atomic */
};

struct log {
	int dir_fd;
	struct log_options o;
	uint8_t secret[SIP_KEY_BYTES];
	struct sip_key check;
	uint64_t server_hash;
	struct segment *last; /* the one that is written; appender only */
	uint64_t pending;     /* ops to be sent; appender only */

	struct mutex lock; /* guards what follows */
	struct cond wake;  /* the syncer: somebody waits, or stop */
	struct cond synced;
	struct segment *first; /* the list, oldest first */
	struct segment *gone;  /* for the syncer: to be deleted */
	uint64_t appended, durable, wanted;
	uint64_t unsynced; /* number of the first segment not synced */
	int error;         /* -errno: syncing failed, nothing can be promised */
	bool new_file;     /* since the directory was synced */
	bool stop, running;
	pthread_t syncer;
};

static inline uint64_t padded(uint64_t n)
{
	return (n + 7) & ~UINT64_C(7);
}

/* ---- wback_log.c ---- */

void segment_name(uint64_t number, char ret[32]);
int segment_open(struct log *l, uint64_t number, int flags,
		 struct segment **ret);

/* The head of a segment. */
struct head {
	uint64_t number, prev_end, first_seq, durable;
};
/* 0; -EBADMSG; -EMEDIUMTYPE; -EXDEV. A good one gives the secret. */
int head_decode(struct log *l, const uint8_t in[HEAD_BYTES], struct head *ret);
void log_derive_keys(struct log *l);

/* ---- wback_scan.c ---- */

/* Finds the segments, reads them, and deletes what is behind the end. Fills in
 * first, last, appended. */
int log_scan(struct log *l, log_scan_fn *fn, void *arg, char **ret_why);

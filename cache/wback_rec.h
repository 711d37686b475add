/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wback_rec.h: private to the write-back log: its records, as structs and as
 * bytes. Pure functions.
 */
#pragma once

#include "meta_key.h"
#include "wback.h"

enum rec_type {
	REC_MAKE = 1, /* the six changes of enum wback_op, in its order */
	REC_LINK,
	REC_REMOVE,
	REC_RENAME,
	REC_SETATTR,
	REC_WRITE,
	REC_START, /* id, of kind `error`, is about to be sent; `when`: a
		    * STORE sets the mtime of its object */
	REC_DONE,  /* id is on the server; obj.ino has the handle fh; `error`:
		    * its version is not what we stored */
	REC_UNDO,  /* id was not sent after all */
	REC_STUCK, /* id was refused with error */
	REC_RETRY, /* id is to be tried again */
	REC_DROP,  /* id is given up */
	REC_COPY,  /* dir.ino/name is a copy of the server's dir.ino/newname */
	REC_TYPES,
};

struct rec {
	enum rec_type type;
	uint64_t seq;
	uint64_t durable; /* all below or equal were on disk by then */
	struct wback_ref obj, dir, newdir, replaced;
	/* NUL-terminated; not owned: into the caller's strings, or the decoded
	 * bytes. */
	const char *name, *newname, *target;
	unsigned mask;
	struct attr attr;
	struct timespec now;
	/* SETATTR, WRITE: the size that applications saw before, if it was not
	 * the version's; else SEEN_NONE. */
	uint64_t seen_size;
	uint64_t offset;
	uint32_t len; /* of the contents behind the record */
	uint64_t data_check;
	uint64_t id;
	int error;
	int64_t when;
};

#define SEEN_NONE UINT64_MAX

enum {
	REC_HEAD_BYTES = 32,
	/* Four refs, three strings of which one may be a target, attributes. */
	REC_BYTES_MAX = 8192,
	REC_DATA_MAX = 16 * 1024 * 1024,
	REC_TARGET_MAX = 4095,
};

/* The record without the contents; @out has REC_BYTES_MAX. Returns its length,
 * a multiple of eight. -ENAMETOOLONG. */
int rec_encode(const struct sip_key *k, const struct rec *r, uint8_t *out);

/* The record at the start of @len bytes. Returns its length without the
 * contents (r->len bytes, which follow, and whose check is not looked at);
 * 0: the end of the log; -EBADMSG: no record. */
int rec_decode(const struct sip_key *k, const uint8_t *in, size_t len,
	       struct rec *r);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* warm_from.h: what a record (record.h) says was used, used again, by many threads
 * at once: so that it is known and cached before programs ask for it.
 */
#pragma once

#include "record.h"

struct warm_from_progress {
	uint64_t lines, done;     /* of the record */
	uint64_t gone;            /* not there any more, or on this machine */
	uint64_t names, contents; /* directories, files and symlinks */
	uint64_t bytes;           /* of contents */
	uint64_t failed;
	int error; /* -errno of the first */
};

/* Goes through @file, paths being below @root_fd; what lies on another
 * filesystem is passed over. @tell is called now and then, and once at the end,
 * from the calling thread; it returns 0, or -errno to break off: then threads
 * that wait for the server are left, and the process is to end. 0; -EBADMSG:
 * @file is no record, or *@ret_line of it is not understood; or an errno. */
typedef int warm_from_fn(void *arg, const struct warm_from_progress *p);
int warm_from(int root_fd, const char *file, uint64_t bytes_max,
	      warm_from_fn *tell, void *arg, uint64_t *ret_line);

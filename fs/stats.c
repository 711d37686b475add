/* SPDX-License-Identifier: GPL-2.0-or-later */
/* stats.c: the names under which the counters are shown. */
#include "stats.h"

const char *const stats_fuse_names[REQ_KINDS] = {
	[REQ_LOOKUP] = "LOOKUP",
	[REQ_FORGET] = "FORGET",
	[REQ_GETATTR] = "GETATTR",
	[REQ_SETATTR] = "SETATTR",
	[REQ_READLINK] = "READLINK",
	[REQ_MKNOD] = "MKNOD",
	[REQ_MKDIR] = "MKDIR",
	[REQ_UNLINK] = "UNLINK",
	[REQ_RMDIR] = "RMDIR",
	[REQ_SYMLINK] = "SYMLINK",
	[REQ_RENAME] = "RENAME",
	[REQ_LINK] = "LINK",
	[REQ_READ] = "READ",
	[REQ_WRITE] = "WRITE",
	[REQ_FSYNC] = "FSYNC",
	[REQ_READDIR] = "READDIR",
	[REQ_READDIRPLUS] = "READDIRPLUS",
	[REQ_STATFS] = "STATFS",
	[REQ_FALLOCATE] = "FALLOCATE",
	[REQ_REFUSED] = "REFUSED",
};

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* exitcode.h: what nfsrootfs exits with. The first ones are mount(8)'s; above
 * them every cause that a script may want to tell from the others has its own.
 * A number once given is never given another meaning; nfsrootfs.8 lists them.
 */
#pragma once

enum exitcode {
	EXITCODE_OK = 0,
	EXITCODE_USAGE = 1,  /* wrong command line or option value */
	EXITCODE_SYSTEM = 2, /* out of memory, no more processes, ... */
	EXITCODE_INTERRUPTED = 8,
	EXITCODE_FAILED = 32, /* failed for a reason not listed below */

	EXITCODE_UNKNOWN_OPTION = 40,
	EXITCODE_NOT_ROOT = 41,
	EXITCODE_NO_FUSE = 42,

	EXITCODE_NO_MOUNTPOINT = 43,
	EXITCODE_MOUNTPOINT_NOT_DIR = 44,
	EXITCODE_ALREADY_MOUNTED = 45,
	EXITCODE_NOT_MOUNTED = 46, /* not a mount of ours */
	EXITCODE_BUSY = 47,        /* umount: in use, or other mounts beneath */
	EXITCODE_LINGERS = 48,     /* umount: the daemon still has to finish */
	EXITCODE_DEAD = 49,        /* mounted, but its daemon died */

	EXITCODE_UNKNOWN_HOST = 50,
	EXITCODE_UNREACHABLE = 51, /* closed port, no route, no reply */
	EXITCODE_NO_EXPORT = 52,
	EXITCODE_REFUSED = 53,
	EXITCODE_SQUASHED = 54,
	EXITCODE_READ_ONLY = 55, /* the export; mount with -o ro */
	EXITCODE_NO_NFS3 = 56,   /* the server does not speak NFSv3 */
	EXITCODE_LEASED = 57,    /* another client has it mounted for writing */

	EXITCODE_CONFLICTS = 58, /* sync: the server refuses some of it */
	EXITCODE_PENDING = 59,   /* umount: done; changes wait in the log */

	EXITCODE_CACHE_REMOTE = 60, /* cache directory on a network or FUSE fs */
	EXITCODE_CACHE_WRITE = 61,  /* not writable */
	EXITCODE_CACHE_VERSION = 62,
	EXITCODE_CACHE_DAMAGED = 63,
	EXITCODE_CACHE_BUSY = 64,   /* in use by another mount */
	EXITCODE_CACHE_UNSAFE = 65, /* not root's, or others may write to it */
	EXITCODE_CACHE_OTHER = 66,  /* belongs to another server */
};

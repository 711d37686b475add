/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status.h: the exit statuses of chrootctl; chrootctl(8) repeats this list.
 *
 * As with env(1), timeout(1) and nohup(1), 125 to 127 speak of chrootctl and
 * of starting the command; everything else, when the command was started, is
 * the command's own status, or 128+N when signal N ended it. What the checks
 * find has numbers of its own, so that a script need not read messages.
 */
#pragma once

enum exit_status {
	STATUS_USAGE = 2,
	STATUS_NOT_SUPERUSER = 110,
	STATUS_NO_DIRECTORY = 111,  /* the mount point does not exist */
	STATUS_NOT_DIRECTORY = 112, /* it is something else */
	STATUS_NOT_A_ROOT = 113,    /* it lacks what every root has */
	STATUS_NO_SHELL = 114,	    /* no /bin/sh in it that can be executed */
	STATUS_WRONG_ARCH = 115,    /* its programs cannot run here */
	STATUS_BAD_LAYOUT = 116,    /* proc, sys, dev or run cannot be used */
	STATUS_NOT_MOUNTED = 117,   /* `nfsrootfs mount` failed */
	STATUS_FAILED = 125,	    /* anything else in chrootctl itself */
	STATUS_NOT_EXECUTABLE = 126,
	STATUS_NOT_FOUND = 127,
	STATUS_SIGNAL = 128, /* plus the number of the signal */
};

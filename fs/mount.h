/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount.h: from a parsed command line to a running mount. */
#pragma once

#include "config.h"
#include "exitcode.h"

struct mount_flags {
	bool verbose;
	bool fake; /* all checks of this machine, but no mount */
};

/* @c has source and options; @dir is the mount point as given. Returns when the
 * mount is usable, or has failed and left nothing; in the foreground
 * (c->foreground) when it has ended. */
enum exitcode mount_run(struct config *c, const char *dir,
			const struct mount_flags *flags);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hold.h: the directory at the root of each of the server's filesystems that is
 * ours: unlinked files stay there while they may be open (hold.c), and at the
 * root of the export also the lease (lease.c). Mode 0700, root's; not visible
 * through the mount; whoever removed the last thing in it removes it, too.
 */
#pragma once

#define HOLD_NAME ".nfsrootfs"

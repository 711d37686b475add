/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_compat.h: one spelling for the raw interfaces of libnfs 4 to 7. The only
 * file that includes libnfs, and the only one that knows its version.
 *
 *            starting a call                 READ
 *   4, 5     int rpc_..._async(), 0: queued  data lies in the reply's buffer
 *   6, 7     rpc_pdu *rpc_..._task()         into a buffer given beforehand
 *
 * All of them turn the automatic reconnection of a raw context off in
 * rpc_connect_async(), as is needed here: it would send every call in flight
 * once more, whether or not that is harmless.
 */
#pragma once

#include <sys/time.h>
#include <sys/uio.h>

#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>
#include <nfsc/libnfs-raw-portmap.h>

enum {
	/* No library of these takes a longer message without being told; 4 and
	 * 5 drop a connection over a reply of 4 KiB more than this. */
	NFS_IO_BYTES_MAX = 1024 * 1024,
	/* What 4 and 5 encode a call into, the data of WRITE apart. */
	NFS_ENCODE_BYTES = 4096,
};

#ifndef LIBNFS_API_V2
/* Exported, but only declared in a header that is not installed. @buf: a whole
 * record with its marker, @size bytes. */
int rpc_process_pdu(struct rpc_context *rpc, char *buf, int size);
#endif

/* NFS_START(nfs3_lookup, rpc, cb, &args, arg) is true when the call is queued
 * and @cb will be called; if it is not, the message could not be built. */
#ifdef LIBNFS_API_V2
#define NFS_START(proc, ...) (rpc_##proc##_task(__VA_ARGS__) != NULL)
#define NFS_READ_NEEDS_BUFFER 1
#define NFS_START_READ(rpc, cb, buf, n, args, arg) \
	NFS_START(nfs3_read, rpc, cb, buf, n, args, arg)
#else
#define NFS_START(proc, ...) (rpc_##proc##_async(__VA_ARGS__) == 0)
#define NFS_READ_NEEDS_BUFFER 0
#define NFS_START_READ(rpc, cb, buf, n, args, arg) \
	NFS_START(nfs3_read, rpc, cb, args, arg)
#endif

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_mount.h: finding a server and its export: name, portmapper, MOUNT.
 *
 * Blocking, each step for some seconds at most; for use before a mount exists
 * and after it is gone. Signals do what they do by default.
 */
#pragma once

#include "remote.h"

enum { NFS_ADDRESS_BYTES = 64 };

struct nfs_server {
	char address[NFS_ADDRESS_BYTES]; /* numeric, IPv4 or IPv6 */
	unsigned port, mountport;
};

/* Resolve the name, find the ports, see that NFS version 3 answers.
 * -EHOSTUNREACH     unknown host
 * -ENOTCONN         no route to it
 * -ECONNREFUSED     nothing listens on a port that is needed
 * -ETIMEDOUT        no answer
 * -EPROTONOSUPPORT  a server, but none for NFS version 3 over TCP
 * *@ret_why (malloc'ed, may be NULL) is a sentence for the user. */
int nfs_locate(const struct remote_nfs_options *o, struct nfs_server *ret,
	       char **ret_why);

/* MNT. -ENOENT: no such export; -EACCES: this client is refused; -ENOTDIR;
 * and as above. */
int nfs_mount_root(const struct nfs_server *s, const char *path,
		   struct handle *ret_root, char **ret_why);

/* UMNT: the server forgets that we mounted. What it says does not matter. */
void nfs_unmount_root(const struct nfs_server *s, const char *path);

struct nfs_export {
	char *path;
	char *groups; /* who may mount it, separated by blanks; "" = everyone */
};
int nfs_list_exports(const struct nfs_server *s, struct nfs_export **ret,
		     size_t *ret_n);
void nfs_free_exports(struct nfs_export *list, size_t n);

/* This machine's address as the server at @server (numeric) sees it, unless
 * something between them translates addresses. */
int nfs_local_address(const char *server, char ret[NFS_ADDRESS_BYTES]);

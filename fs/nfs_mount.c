/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nfs_mount.c: finding a server and its export, step by step, each step with
 * its own error, since this is where users meet their server for the first
 * time.
 *
 *   name -> addresses -> ports (portmapper, unless given) -> NFSv3 answers
 *        -> MNT -> root handle
 *
 * The addresses of a name are tried in the resolver's order; the first one at
 * which the server answers, be it with a refusal, is the one.
 */
#include <netdb.h>
#include <stdarg.h>
#include <sys/socket.h>

#include "../cache/msg.h"
#include "nfs.h"

enum {
	STEP_MS = 10000,   /* at most, for each step */
	UNMOUNT_MS = 2000, /* for all of it: nobody waits for it */
	PORTMAP_PORT = 111,
	ADDRESSES_MAX = 8,
};

/* Set *@ret_why; returns @err. */
static int fail(char **ret_why, int err, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
static int fail(char **ret_why, int err, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (ret_why && vasprintf(&s, fmt, ap) >= 0) {
		free(*ret_why);
		*ret_why = s;
	}
	va_end(ap);
	return err;
}

/* Where a server does not answer another address of it may. */
static bool is_unreachable(int err)
{
	return err == -ECONNREFUSED || err == -ENOTCONN || err == -ETIMEDOUT;
}

/* One service of the server that could not be connected to. */
static int fail_connect(char **ret_why, const char *address, unsigned port,
			const char *service, const char *advice, int err)
{
	switch (err) {
	case -ECONNREFUSED:
		return fail(ret_why, err,
			    "connection to %s port %u (%s) refused: nothing "
			    "listens there; %s",
			    address, port, service, advice);
	case -ETIMEDOUT:
		return fail(ret_why, err,
			    "no answer from %s port %u (%s) within %d seconds; "
			    "is the machine up, and does a firewall drop the "
			    "packets?",
			    address, port, service, STEP_MS / 1000);
	case -ENETUNREACH:
	case -EHOSTUNREACH:
	case -EADDRNOTAVAIL:
		return fail(ret_why, -ENOTCONN,
			    "cannot reach %s port %u (%s): %s; check the "
			    "network and the route to the server",
			    address, port, service, msg_strerror(err));
	default:
		return fail(ret_why, err, "%s port %u (%s): %s", address, port,
			    service, msg_strerror(err));
	}
}

/* ---- the portmapper ---- */

static void take_port(void *reply, void *out)
{
	*(unsigned *)out = *(uint32_t *)reply;
}

static const char portmap_advice[] =
	"start the NFS server (and rpcbind) there, or give port= and "
	"mountport= if it runs without rpcbind";

/* Ask for the TCP port of @program version 3. -EPROTONOSUPPORT: none. */
static int ask_port(const char *address, int program, unsigned *ret_port,
		    char **ret_why)
{
	struct rpc_context *rpc;
	unsigned port = 0;
	struct nfs_wait w = { .grammar = "u", .take = take_port, .out = &port };
	int r;

	r = nfs_rpc_connect(address, PORTMAP_PORT, STEP_MS, -1, &rpc);
	if (r == 0) {
		if (NFS_START(pmap2_getport, rpc, program, 3, IPPROTO_TCP,
			      nfs_wait_cb, &w))
			r = nfs_wait(rpc, &w, STEP_MS);
		else
			r = -ENOMEM;
		rpc_destroy_context(rpc);
	}
	if (r < 0)
		return fail_connect(ret_why, address, PORTMAP_PORT,
				    "portmapper", portmap_advice, r);
	if (port == 0 || port > UINT16_MAX)
		return fail(ret_why, -EPROTONOSUPPORT,
			    "%s serves no %s version 3 over TCP (the "
			    "portmapper does not know it); enable NFSv3 there "
			    "(in /etc/nfs.conf: [nfsd] vers3=y) and restart "
			    "its NFS server",
			    address, program == NFS_PROGRAM ? "NFS" : "MOUNT");
	*ret_port = port;
	return 0;
}

/* ---- NFS itself ---- */

static int check_nfs(const char *address, unsigned port, char **ret_why)
{
	struct nfs_wait w = { .grammar = "" };
	struct rpc_context *rpc;
	int r;

	r = nfs_rpc_connect(address, port, STEP_MS, -1, &rpc);
	if (r == 0) {
		if (NFS_START(nfs3_null, rpc, nfs_wait_cb, &w))
			r = nfs_wait(rpc, &w, STEP_MS);
		else
			r = -ENOMEM;
		rpc_destroy_context(rpc);
	}
	if (r == -EPROTONOSUPPORT)
		return fail(ret_why, r,
			    "the server at %s port %u does not serve NFS "
			    "version 3; enable it there (in /etc/nfs.conf: "
			    "[nfsd] vers3=y), or give the right port=",
			    address, port);
	if (r == -ECONNRESET || r == -EREMOTEIO)
		return fail(ret_why, -EPROTONOSUPPORT,
			    "what listens at %s port %u is not an NFS server; "
			    "give the right port=",
			    address, port);
	if (r < 0)
		return fail_connect(ret_why, address, port, "NFS",
				    "start the NFS server there, or give the "
				    "right port=",
				    r);
	return 0;
}

/* Without mountport= the portmapper is asked; when there is none, but port= was
 * given, the server may serve MOUNT on the same port (userspace servers do);
 * MNT will tell. */
static int find_mountport(const struct remote_nfs_options *o,
			  const char *address, unsigned *ret_port,
			  char **ret_why)
{
	int r;

	if (o->mountport) {
		*ret_port = o->mountport;
		return 0;
	}
	r = ask_port(address, MOUNT_PROGRAM, ret_port, ret_why);
	if (r == 0 || !o->port)
		return r;
	if (ret_why) {
		free(*ret_why);
		*ret_why = NULL;
	}
	*ret_port = o->port;
	return 0;
}

static int locate_at(const struct remote_nfs_options *o, const char *address,
		     struct nfs_server *ret, char **ret_why)
{
	struct nfs_server s = { .port = o->port };
	int r;

	strcpy(s.address, address);
	if (!s.port) {
		r = ask_port(address, NFS_PROGRAM, &s.port, ret_why);
		if (r < 0)
			return r;
	}
	r = check_nfs(address, s.port, ret_why);
	if (r < 0)
		return r;
	r = find_mountport(o, address, &s.mountport, ret_why);
	if (r < 0)
		return r;
	*ret = s;
	return 0;
}

int nfs_locate(const struct remote_nfs_options *o, struct nfs_server *ret,
	       char **ret_why)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	unsigned n = 0;
	int r;

	r = getaddrinfo(o->host, NULL, &hints, &list);
	if (r != 0)
		return fail(ret_why, -EHOSTUNREACH,
			    "cannot find the address of %s: %s; check the "
			    "name, or give the server's address",
			    o->host,
			    r == EAI_SYSTEM ? msg_strerror(errno) :
					      gai_strerror(r));
	r = -EHOSTUNREACH;
	for (struct addrinfo *a = list; a && n < ADDRESSES_MAX;
	     a = a->ai_next, n++) {
		char address[NFS_ADDRESS_BYTES];

		if (getnameinfo(a->ai_addr, a->ai_addrlen, address,
				sizeof(address), NULL, 0, NI_NUMERICHOST) != 0)
			continue;
		r = locate_at(o, address, ret, ret_why);
		if (!is_unreachable(r))
			break;
	}
	freeaddrinfo(list);
	return r;
}

/* ---- MOUNT ---- */

struct mnt_result {
	int status; /* mountstat3 */
	struct handle root;
};

static void take_mnt(void *reply, void *out)
{
	const mountres3 *res = reply;
	const fhandle3 *fh = &res->mountres3_u.mountinfo.fhandle;
	struct mnt_result *r = out;

	r->status = res->fhs_status;
	if (r->status == MNT3_OK && fh->fhandle3_len >= 1 &&
	    fh->fhandle3_len <= HANDLE_BYTES_MAX) {
		r->root.len = (uint8_t)fh->fhandle3_len;
		memcpy(r->root.data, fh->fhandle3_val, r->root.len);
	}
}

static bool is_within(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n > 0 && dir[n - 1] == '/')
		n--;
	return strncmp(path, dir, n) == 0 &&
	       (path[n] == '\0' || path[n] == '/');
}

/* What else is said about a path that cannot be mounted: "; it exports: /a".
 * To be freed. @ret_unlisted: there is a list, and nothing in it holds @path. */
static char *describe_exports(const struct nfs_server *s, const char *path,
			      bool *ret_unlisted)
{
	struct nfs_export *e;
	char *text = NULL;
	size_t n, bytes;
	FILE *f;

	*ret_unlisted = false;
	if (nfs_list_exports(s, &e, &n) < 0)
		return NULL;
	*ret_unlisted = n > 0;
	f = open_memstream(&text, &bytes);
	if (f) {
		(void)fprintf(f, n ? "; it exports:" : "; it lists no exports");
		for (size_t i = 0; i < n; i++) {
			(void)fprintf(f, " %s", e[i].path);
			if (is_within(path, e[i].path))
				*ret_unlisted = false;
		}
		(void)fclose(f);
	}
	nfs_free_exports(e, n);
	return text;
}

/* Servers differ in what they answer for a path that they do not export: no
 * such directory, or no access. The list of exports tells. */
static int fail_mnt(const struct nfs_server *s, const char *path, int status,
		    char **ret_why)
{
	CLEANUP_FREE char *others = NULL;
	char client[NFS_ADDRESS_BYTES] = "this machine";
	bool unlisted;

	others = describe_exports(s, path, &unlisted);
	if (status == MNT3ERR_PERM)
		status = MNT3ERR_ACCES;
	if (status == MNT3ERR_ACCES && unlisted)
		status = MNT3ERR_NOENT;
	switch (status) {
	case MNT3ERR_NOENT:
		return fail(ret_why, -ENOENT, "%s does not export %s%s",
			    s->address, path, others ? others : "");
	case MNT3ERR_NOTDIR:
		return fail(ret_why, -ENOTDIR,
			    "%s on %s is not a directory; only directories "
			    "can be mounted",
			    path, s->address);
	case MNT3ERR_ACCES:
		(void)nfs_local_address(s->address, client);
		return fail(ret_why, -EACCES,
			    "%s refuses to export %s to %s; write \"%s "
			    "%s(rw,no_root_squash,no_subtree_check%s)\" into "
			    "its /etc/exports and run exportfs -ra there%s",
			    s->address, path, client, path, client,
			    geteuid() == 0 ? "" : ",insecure",
			    others ? others : "");
	case MNT3ERR_NAMETOOLONG:
		return fail(ret_why, -ENAMETOOLONG,
			    "%s finds the path %s too long", s->address, path);
	default:
		return fail(ret_why, -EREMOTEIO,
			    "%s fails to export %s (MOUNT error %d); look "
			    "into the server's log",
			    s->address, path, status);
	}
}

static int connect_mountd(const struct nfs_server *s, unsigned timeout_ms,
			  struct rpc_context **ret, char **ret_why)
{
	int r = nfs_rpc_connect(s->address, s->mountport, timeout_ms, -1, ret);

	if (r < 0)
		return fail_connect(ret_why, s->address, s->mountport, "MOUNT",
				    "start rpc.mountd there, or give the "
				    "right mountport=",
				    r);
	return 0;
}

int nfs_mount_root(const struct nfs_server *s, const char *path,
		   struct handle *ret_root, char **ret_why)
{
	struct mnt_result m = { .status = MNT3ERR_SERVERFAULT };
	struct nfs_wait w = { .grammar = "Shf|",
			      .take = take_mnt,
			      .out = &m };
	CLEANUP_FREE char *copy = strdup(path);
	struct rpc_context *rpc;
	size_t n;
	int r;

	if (!copy)
		return -ENOMEM;
	for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = '\0';
	if (n > MNTPATHLEN)
		return fail(ret_why, -ENAMETOOLONG, "the path %s is too long",
			    path);
	r = connect_mountd(s, STEP_MS, &rpc, ret_why);
	if (r < 0)
		return r;
	r = -ENOMEM;
	if (NFS_START(mount3_mnt, rpc, nfs_wait_cb, copy, &w))
		r = nfs_wait(rpc, &w, STEP_MS);
	rpc_destroy_context(rpc);
	if (r == -EPROTONOSUPPORT)
		return fail(ret_why, r,
			    "what listens at %s port %u does not serve MOUNT "
			    "version 3; give the right mountport=",
			    s->address, s->mountport);
	if (r < 0)
		return fail_connect(ret_why, s->address, s->mountport, "MOUNT",
				    "", r);
	if (m.status != MNT3_OK)
		return fail_mnt(s, copy, m.status, ret_why);
	if (m.root.len == 0)
		return fail(ret_why, -EREMOTEIO,
			    "%s answers with a file handle that makes no sense",
			    s->address);
	*ret_root = m.root;
	return 0;
}

void nfs_unmount_root(const struct nfs_server *s, const char *path)
{
	CLEANUP_FREE char *copy = strdup(path);
	struct nfs_wait w = { .grammar = "" };
	struct rpc_context *rpc;

	if (!copy ||
	    nfs_rpc_connect(s->address, s->mountport, UNMOUNT_MS, -1, &rpc) < 0)
		return;
	if (NFS_START(mount3_umnt, rpc, nfs_wait_cb, copy, &w))
		(void)nfs_wait(rpc, &w, UNMOUNT_MS);
	rpc_destroy_context(rpc);
}

/* ---- the list of exports ---- */

struct export_list {
	struct nfs_export *e;
	size_t n;
	int err;
};

/* libnfs 4 does not align the nodes of a list: each is copied first. */
static char *join_groups(const void *list)
{
	struct groupnode g;
	char *text = NULL;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);

	if (!f)
		return NULL;
	for (const char *sep = ""; list; list = g.gr_next, sep = " ") {
		memcpy(&g, list, sizeof(g));
		(void)fprintf(f, "%s%s", sep, g.gr_name ? g.gr_name : "");
	}
	(void)fclose(f);
	return text;
}

/* The server's text may be shown on a terminal. */
static char *copy_printable(const char *s)
{
	char *copy = strdup(s ? s : "");

	for (char *p = copy; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return copy;
}

static void take_exports(void *reply, void *out)
{
	const void *head = *(exports *)reply;
	struct export_list *l = out;
	exportnode x;
	size_t n = 0;

	for (const void *p = head; p; p = x.ex_next, n++)
		memcpy(&x, p, sizeof(x));
	l->e = calloc(MAX(n, (size_t)1), sizeof(*l->e));
	if (!l->e) {
		l->err = -ENOMEM;
		return;
	}
	for (const void *p = head; p; p = x.ex_next) {
		struct nfs_export *e = &l->e[l->n++];
		CLEANUP_FREE char *clients = NULL;

		memcpy(&x, p, sizeof(x));
		clients = join_groups(x.ex_groups);
		e->path = copy_printable(x.ex_dir);
		e->groups = clients ? copy_printable(clients) : NULL;
		if (!e->path || !e->groups) {
			l->err = -ENOMEM;
			return;
		}
	}
}

int nfs_list_exports(const struct nfs_server *s, struct nfs_export **ret,
		     size_t *ret_n)
{
	struct export_list l = { 0 };
	struct nfs_wait w = { .grammar = "E",
			      .take = take_exports,
			      .out = &l };
	struct rpc_context *rpc;
	int r = connect_mountd(s, STEP_MS, &rpc, NULL);

	if (r < 0)
		return r;
	r = -ENOMEM;
	if (NFS_START(mount3_export, rpc, nfs_wait_cb, &w))
		r = nfs_wait(rpc, &w, STEP_MS);
	rpc_destroy_context(rpc);
	if (r == 0)
		r = l.err;
	if (r < 0) {
		nfs_free_exports(l.e, l.n);
		return r;
	}
	*ret = l.e;
	*ret_n = l.n;
	return 0;
}

void nfs_free_exports(struct nfs_export *e, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(e[i].path);
		free(e[i].groups);
	}
	free(e);
}

/* Connecting a datagram socket sends nothing, but chooses the route. */
int nfs_local_address(const char *server, char ret[NFS_ADDRESS_BYTES])
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST,
					.ai_socktype = SOCK_DGRAM };
	CLEANUP_CLOSE int fd = -1;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct addrinfo *a;
	int r = 0;

	if (getaddrinfo(server, "2049", &hints, &a) != 0)
		return -EINVAL;
	fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) < 0 ||
	    getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		r = -errno;
	else if (getnameinfo((struct sockaddr *)&ss, len, ret,
			     NFS_ADDRESS_BYTES, NULL, 0, NI_NUMERICHOST) != 0)
		r = -EAFNOSUPPORT;
	freeaddrinfo(a);
	return r;
}

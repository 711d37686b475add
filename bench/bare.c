/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bare: NFSv3 without a filesystem around it, to compare filesystems with.
 *
 *   bare walk PORT MOUNTPORT EXPORT
 *       Every name below the export, one READDIRPLUS after another by handle: a
 *       client that waits for each call can do it with no fewer. Prints the
 *       names.
 *   bare read PORT MOUNTPORT EXPORT FILE IO_BYTES WINDOW_BYTES CONNECTIONS
 *       A file from beginning to end, as many READs under way as the window has
 *       room for, over the connections in turn: a client that knows beforehand
 *       what will be read can do it no faster. FILE lies in the export itself.
 *
 * The server is 127.0.0.1. One thread, and libnfs's own loop: of nfsrootfs only
 * the way to a connection is used.
 */
#include <err.h>
#include <poll.h>
#include <string.h>

#include "../fs/nfs.h"
#include "../fs/nfs_mount.h"

#define SERVER "127.0.0.1"

enum {
	CONNECT_MS = 5000,
	PAGE_BYTES = 64 * 1024, /* of a listing */
	CONNECTIONS_MAX = 16,
};

static struct rpc_context *conns[CONNECTIONS_MAX];
static unsigned conns_n;

/* Calls back whatever comes in next. */
static void serve(void)
{
	struct pollfd p[CONNECTIONS_MAX];

	for (unsigned i = 0; i < conns_n; i++)
		p[i] = (struct pollfd){ rpc_get_fd(conns[i]),
					(short)rpc_which_events(conns[i]), 0 };
	if (poll(p, conns_n, -1) < 0 && errno != EINTR)
		err(1, "poll");
	for (unsigned i = 0; i < conns_n; i++)
		if (p[i].revents && rpc_service(conns[i], p[i].revents) < 0)
			errx(1, "the connection is lost");
}

static void check(int status, int nfsstat, const char *what)
{
	if (status != RPC_STATUS_SUCCESS)
		errx(1, "%s: no reply", what);
	if (nfsstat != NFS3_OK)
		errx(1, "%s: the server says %d", what, nfsstat);
}

static nfs_fh3 fh_of(struct handle *h)
{
	return (nfs_fh3){ { h->len, (char *)h->data } };
}

static struct handle handle_of(const nfs_fh3 *fh)
{
	struct handle h;

	if (!nfs_decode_handle(fh, &h))
		errx(1, "a handle of %u bytes", fh->data.data_len);
	return h;
}

/* ---- walk ---- */

static struct {
	struct handle *dirs; /* to be listed, the last one first */
	size_t n, room;
	READDIRPLUS3args args; /* of the page that is next */
	bool page_over, dir_over;
} walk;

static void push(struct handle h)
{
	if (walk.n == walk.room) {
		walk.room = walk.room ? 2 * walk.room : 1024;
		walk.dirs = realloc(walk.dirs, walk.room * sizeof(h));
		if (!walk.dirs)
			errx(1, "out of memory");
	}
	walk.dirs[walk.n++] = h;
}

static void take_entry(const entryplus3 *e)
{
	const post_op_attr *a = &e->name_attributes;
	const post_op_fh3 *fh = &e->name_handle;

	walk.args.cookie = e->cookie;
	if (strcmp(e->name, ".") == 0 || strcmp(e->name, "..") == 0)
		return;
	(void)puts(e->name);
	if (!a->attributes_follow || !fh->handle_follows)
		errx(1, "%s comes without attributes or handle", e->name);
	if (a->post_op_attr_u.attributes.type == NF3DIR)
		push(handle_of(&fh->post_op_fh3_u.handle));
}

static void page_cb(struct rpc_context *rpc, int status, void *data, void *arg)
{
	const READDIRPLUS3res *res = data;
	const READDIRPLUS3resok *ok = &res->READDIRPLUS3res_u.resok;

	(void)rpc, (void)arg;
	check(status, status == RPC_STATUS_SUCCESS ? (int)res->status : 0,
	      "READDIRPLUS");
	for (const entryplus3 *e = ok->reply.entries; e; e = e->nextentry)
		take_entry(e);
	memcpy(walk.args.cookieverf, ok->cookieverf, NFS3_COOKIEVERFSIZE);
	walk.page_over = true;
	walk.dir_over = ok->reply.eof;
}

static void list(struct handle dir)
{
	walk.args = (READDIRPLUS3args){ .dir = fh_of(&dir),
					.dircount = PAGE_BYTES,
					.maxcount = PAGE_BYTES };
	walk.dir_over = false;
	while (!walk.dir_over) {
		walk.page_over = false;
		if (!NFS_START(nfs3_readdirplus, conns[0], page_cb, &walk.args,
			       NULL))
			errx(1, "READDIRPLUS cannot be sent");
		while (!walk.page_over)
			serve();
	}
}

static void walk_all(struct handle root)
{
	push(root);
	while (walk.n)
		list(walk.dirs[--walk.n]);
	free(walk.dirs);
}

/* ---- read ---- */

static void looked_up_cb(struct rpc_context *rpc, int status, void *data,
			 void *arg)
{
	const LOOKUP3res *res = data;
	struct handle *ret = arg;

	(void)rpc;
	check(status, status == RPC_STATUS_SUCCESS ? (int)res->status : 0,
	      "LOOKUP");
	*ret = handle_of(&res->LOOKUP3res_u.resok.object);
}

static struct {
	struct handle file;
	uint64_t next, end; /* end: known once a reply says so */
	uint64_t got;
	uint32_t io_bytes;
	unsigned in_flight, window, turn;
} reading = { .end = UINT64_MAX };

#if NFS_READ_NEEDS_BUFFER
static char sink[NFS_IO_BYTES_MAX]; /* of all of them: nobody looks at it */
#endif

static void read_cb(struct rpc_context *rpc, int status, void *data, void *arg)
{
	const READ3res *res = data;
	const READ3resok *ok = &res->READ3res_u.resok;
	uint64_t *offset = arg;

	(void)rpc;
	check(status, status == RPC_STATUS_SUCCESS ? (int)res->status : 0,
	      "READ");
	reading.in_flight--;
	reading.got += ok->count;
	if (ok->eof)
		reading.end = MIN(reading.end, *offset + ok->count);
	else if (ok->count < reading.io_bytes)
		errx(1, "READ: %u bytes, and no end", ok->count);
	free(offset);
}

static void start_read(void)
{
	READ3args args = { .file = fh_of(&reading.file),
			   .offset = reading.next,
			   .count = reading.io_bytes };
	uint64_t *offset = malloc(sizeof(*offset));

	if (!offset)
		errx(1, "out of memory");
	*offset = reading.next;
	if (!NFS_START_READ(conns[reading.turn], read_cb, sink,
			    reading.io_bytes, &args, offset))
		errx(1, "READ cannot be sent");
	reading.turn = (reading.turn + 1) % conns_n;
	reading.next += reading.io_bytes;
	reading.in_flight++;
}

static void read_all(struct handle root, char *name)
{
	LOOKUP3args args = { .what = { fh_of(&root), name } };

	if (!NFS_START(nfs3_lookup, conns[0], looked_up_cb, &args,
		       &reading.file))
		errx(1, "LOOKUP cannot be sent");
	while (!reading.file.len)
		serve();
	do {
		while (reading.in_flight < reading.window &&
		       reading.next < reading.end)
			start_read();
		serve();
	} while (reading.in_flight || reading.next < reading.end);
	(void)printf("%llu\n", (unsigned long long)reading.got);
}

/* ---- main ---- */

static unsigned number(const char *text, unsigned max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || n == 0 || n > max)
		errx(2, "%s: want a number from 1 to %u", text, max);
	return (unsigned)n;
}

int main(int argc, char **argv)
{
	bool walks = argc == 5 && strcmp(argv[1], "walk") == 0;
	bool reads = argc == 9 && strcmp(argv[1], "read") == 0;
	struct nfs_server server = { .address = SERVER };
	CLEANUP_FREE char *why = NULL;
	struct handle root;
	unsigned wanted = 1;

	if (!walks && !reads)
		errx(2, "usage: bare walk PORT MOUNTPORT EXPORT\n"
			"       bare read PORT MOUNTPORT EXPORT FILE IO_BYTES "
			"WINDOW_BYTES CONNECTIONS");
	server.port = number(argv[2], 65535);
	server.mountport = number(argv[3], 65535);
	if (reads) {
		reading.io_bytes = number(argv[6], NFS_IO_BYTES_MAX);
		reading.window = MAX(1u, number(argv[7], 1u << 30) /
						reading.io_bytes);
		wanted = number(argv[8], CONNECTIONS_MAX);
	}
	if (nfs_mount_root(&server, argv[4], &root, &why) < 0)
		errx(1, "%s", why ? why : argv[4]);
	for (; conns_n < wanted; conns_n++)
		if (nfs_rpc_connect(server.address, server.port, CONNECT_MS, -1,
				    &conns[conns_n]) < 0)
			errx(1, "cannot connect");
	if (walks)
		walk_all(root);
	else
		read_all(root, argv[5]);
	nfs_unmount_root(&server, argv[4]);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay.h: what the relay's three parts share. One thread, one epoll; so no
 * locks. relay.c owns the loop and the listeners, relay_conn.c the
 * connections, relay_ctl.c the control socket.
 */
#pragma once

#include "relay_rpc.h"

#include <sys/socket.h>

/* What epoll knows about a descriptor. */
struct watch {
	void (*ready)(struct watch *w, uint32_t events);
	int fd;
	uint32_t events; /* what epoll is asked for now; 0: not in epoll */
};

/* Ask epoll for @events on w->fd from now on; 0 takes it out, which also
 * keeps a hung-up descriptor from waking us for ever. */
void watch_set(struct watch *w, uint32_t events);

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

enum { MAPS_MAX = 8 };

struct map {
	struct watch listener; /* fd < 0 while connections are refused */
	struct address from, to;
};

struct relay {
	struct map map[MAPS_MAX];
	unsigned maps_n;
	int64_t delay_ns; /* one way */
	bool stalled;
	bool refusing;
	bool reserved_port; /* connect from below 1024, as NFS clients do */
	bool quit;

	/* Replies still to be swallowed, and of which procedure ("": any). */
	unsigned drops_left;
	char drop_name[RPC_NAME_BYTES];

	struct rpc_counts counts;
	uint64_t bytes_up, bytes_down;
	uint64_t connections; /* accepted so far */
	unsigned connections_open;
	unsigned inflight, inflight_max; /* calls without a reply yet */
	uint64_t drops; /* replies swallowed so far */
	uint64_t resets; /* connections reset on command so far */
};

extern struct relay relay;

int64_t now_ns(void); /* CLOCK_MONOTONIC */
int listeners_open(void); /* -errno; says which on standard error */
void listeners_close(void);
void relay_cut_every(unsigned ms); /* 0: no more */

/* relay_conn.c */
void conn_accept(struct map *map);
void conns_close_all(bool reset); /* FIN, or RST */
void conns_stall(bool stall);
void conns_deliver(void); /* send what is due */
int64_t conns_next_due(void); /* ns; INT64_MAX: nothing waits */
void conns_bury(void); /* free what was closed in this round */

/* relay_ctl.c */
int ctl_listen(const char *path);
int ctl_main(int argc, char **argv); /* `relay ctl SOCKET COMMAND...` */

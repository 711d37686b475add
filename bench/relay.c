/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay: a TCP proxy for ONC RPC that puts a round-trip time between a client
 * and a server of the same machine, counts the calls that pass by procedure,
 * and makes the network fail when told to.
 *
 * Why not the kernel's netem: it needs a module and touches the whole
 * loopback device, and it cannot count procedures nor lose one chosen reply.
 *
 * One thread: epoll over the listeners, the connections, the control socket
 * and one timerfd, which is set to the time the next queued bytes are due.
 * (epoll_wait's own timeout is in milliseconds; a timerfd is good for some
 * tens of microseconds.) The delay is kept by relay_conn.c, the commands of
 * the control socket are in relay_ctl.c, RPC is parsed in relay_rpc.c.
 */
#include "relay.h"

#include <err.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>

enum { EVENTS_PER_ROUND = 64, BACKLOG = 64, NS_PER_S = 1000000000 };

struct relay relay;

static int epoll_fd = -1;
static struct watch due_timer, cut_timer, signals;

int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

void watch_set(struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	int op = !w->events ? EPOLL_CTL_ADD :
		 events	    ? EPOLL_CTL_MOD :
			      EPOLL_CTL_DEL;

	if (events == w->events || w->fd < 0)
		return;
	if (epoll_ctl(epoll_fd, op, w->fd, &ev) < 0)
		err(1, "epoll_ctl");
	w->events = events;
}

static void listener_ready(struct watch *w, uint32_t events)
{
	if (w->fd >= 0)
		conn_accept(CONTAINER_OF(w, struct map, listener));
}

static int listener_open(struct map *m)
{
	static const int on = 1;
	CLEANUP_CLOSE int fd = socket(
		m->from.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		0);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&m->from.sa, m->from.len) < 0 ||
	    listen(fd, BACKLOG) < 0 ||
	    /* Port 0 becomes a real one here and stays it. */
	    getsockname(fd, (struct sockaddr *)&m->from.sa, &m->from.len) < 0)
		return -errno;
	m->listener = (struct watch){ .ready = listener_ready,
				      .fd = steal_fd(&fd) };
	watch_set(&m->listener, EPOLLIN);
	return 0;
}

static unsigned port_of(const struct address *a)
{
	const void *sa = &a->sa;

	return ntohs(a->sa.ss_family == AF_INET6 ?
			     ((const struct sockaddr_in6 *)sa)->sin6_port :
			     ((const struct sockaddr_in *)sa)->sin_port);
}

int listeners_open(void)
{
	for (unsigned i = 0; i < relay.maps_n; i++) {
		int r = listener_open(&relay.map[i]);

		if (r < 0) {
			warnx("cannot listen on port %u: %s",
			      port_of(&relay.map[i].from), strerror(-r));
			return r;
		}
	}
	return 0;
}

void listeners_close(void)
{
	for (unsigned i = 0; i < relay.maps_n; i++) {
		struct watch *w = &relay.map[i].listener;

		watch_set(w, 0);
		if (w->fd >= 0)
			(void)close(w->fd);
		w->fd = -1;
	}
}

static void due_timer_set(int64_t due_ns)
{
	static int64_t set_to;
	struct itimerspec its = { 0 };

	if (due_ns == set_to)
		return;
	set_to = due_ns;
	if (due_ns != INT64_MAX) {
		its.it_value.tv_sec = due_ns / NS_PER_S;
		its.it_value.tv_nsec = due_ns % NS_PER_S;
	}
	if (timerfd_settime(due_timer.fd, TFD_TIMER_ABSTIME, &its, NULL) < 0)
		err(1, "timerfd_settime");
}

/* Reading is needed only to make a timer quiet again. */
static void timer_ack(const struct watch *w)
{
	uint64_t expirations;

	(void)!read(w->fd, &expirations, sizeof(expirations));
}

static void due_timer_ready(struct watch *w, uint32_t events)
{
	timer_ack(w);
	conns_deliver();
}

static void cut_timer_ready(struct watch *w, uint32_t events)
{
	timer_ack(w);
	conns_close_all(/* reset= */ true);
}

void relay_cut_every(unsigned ms)
{
	struct itimerspec its = { 0 };

	its.it_value.tv_sec = its.it_interval.tv_sec = ms / 1000;
	its.it_value.tv_nsec = its.it_interval.tv_nsec = ms % 1000 * 1000000L;
	if (timerfd_settime(cut_timer.fd, 0, &its, NULL) < 0)
		err(1, "timerfd_settime");
}

static void signals_ready(struct watch *w, uint32_t events)
{
	relay.quit = true;
}

static void setup_loop(void)
{
	sigset_t set;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		err(1, "epoll_create1");
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	signals = (struct watch){ .ready = signals_ready,
				  .fd = signalfd(-1, &set, SFD_CLOEXEC) };
	due_timer = (struct watch){
		.ready = due_timer_ready,
		.fd = timerfd_create(CLOCK_MONOTONIC,
				     TFD_NONBLOCK | TFD_CLOEXEC)
	};
	cut_timer = (struct watch){
		.ready = cut_timer_ready,
		.fd = timerfd_create(CLOCK_MONOTONIC,
				     TFD_NONBLOCK | TFD_CLOEXEC)
	};
	if (signals.fd < 0 || due_timer.fd < 0 || cut_timer.fd < 0)
		err(1, "cannot make timers");
	watch_set(&signals, EPOLLIN);
	watch_set(&due_timer, EPOLLIN);
	watch_set(&cut_timer, EPOLLIN);
}

static void run(void)
{
	struct epoll_event ev[EVENTS_PER_ROUND];

	while (!relay.quit) {
		int n = epoll_wait(epoll_fd, ev, EVENTS_PER_ROUND, -1);

		if (n < 0 && errno != EINTR)
			err(1, "epoll_wait");
		for (int i = 0; i < n; i++) {
			struct watch *w = ev[i].data.ptr;

			w->ready(w, ev[i].events);
		}
		conns_bury();
		due_timer_set(conns_next_due());
	}
}

/* HOST:PORT or [HOST]:PORT. */
static void parse_address(const char *text, struct address *ret)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	CLEANUP_FREE char *host = strdup(text);
	char *colon = host ? strrchr(host, ':') : NULL, *name = host;
	struct addrinfo *ai;
	int r;

	if (!colon || !colon[1])
		errx(2, "%s is not HOST:PORT", text);
	*colon = '\0';
	if (*name == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		name++;
	}
	r = getaddrinfo(name, colon + 1, &hints, &ai);
	if (r)
		errx(2, "%s: %s", text, gai_strerror(r));
	memcpy(&ret->sa, ai->ai_addr, ai->ai_addrlen);
	ret->len = ai->ai_addrlen;
	freeaddrinfo(ai);
}

static void add_map(const char *from, const char *to)
{
	struct map *m = &relay.map[relay.maps_n];

	if (relay.maps_n++ == MAPS_MAX)
		errx(2, "no more than %d maps", MAPS_MAX);
	m->listener.fd = -1;
	parse_address(from, &m->from);
	parse_address(to, &m->to);
}

static _Noreturn void usage(int status)
{
	(void)fputs(
"usage: relay --map LISTEN=TO... [OPTIONS]   (addresses are HOST:PORT)\n"
"       relay ctl SOCKET COMMAND...\n"
"  --listen LISTEN --to TO  the same as --map LISTEN=TO\n"
"  --delay-ms D       hold every byte for D ms (may be a fraction) in each\n"
"                     direction; the round-trip time grows by 2 D\n"
"  --control SOCKET   make a control socket there\n"
"  --ready-fd N       say \"ready PORT...\" on descriptor N, not on stdout\n"
"  --reserved-port    connect from a port below 1024, for servers that\n"
"                     insist on it (needs root)\n"
"commands:\n"
"  counts [NAME]      JSON of all counters; or the one, as a number\n"
"  reset-counts       all to 0\n"
"  delay MS           one way, from now on\n"
"  stall, resume      hold all traffic without closing; let it go on\n"
"  cut, reset         close all connections with FIN; with RST\n"
"  cut-every MS       reset all connections every MS ms; 0: no more\n"
"  refuse on|off      refuse new connections\n"
"  drop-replies N [NAME]  swallow the next N replies (to NAME calls), then\n"
"                     reset: the server did it, the client cannot know\n"
"  quit\n", status ? stderr : stdout);
	exit(status);
}

static double number(const char *text, const char *what, double max)
{
	char *end;
	double d = strtod(text, &end);

	if (end == text || *end || !(d >= 0 && d <= max))
		errx(2, "%s: '%s' is not a number from 0 to %g", what, text,
		     max);
	return d;
}

static void parse_options(int argc, char **argv, const char **ret_control,
			  FILE **ret_ready)
{
	enum { LISTEN = 1, TO, MAP, DELAY, CONTROL, READY, RESERVED, HELP };
	static const struct option options[] = {
		{ "listen", 1, NULL, LISTEN },
		{ "to", 1, NULL, TO },
		{ "map", 1, NULL, MAP },
		{ "delay-ms", 1, NULL, DELAY },
		{ "control", 1, NULL, CONTROL },
		{ "ready-fd", 1, NULL, READY },
		{ "reserved-port", 0, NULL, RESERVED },
		{ "help", 0, NULL, HELP },
		{ 0 },
	};
	const char *listen_at = NULL;
	char *equals;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case LISTEN:
			listen_at = optarg;
			break;
		case TO:
			if (!listen_at)
				errx(2, "--to without --listen before it");
			add_map(listen_at, optarg);
			listen_at = NULL;
			break;
		case MAP:
			equals = strchr(optarg, '=');
			if (!equals)
				errx(2, "--map wants LISTEN=TO");
			*equals = '\0';
			add_map(optarg, equals + 1);
			break;
		case DELAY:
			relay.delay_ns = (int64_t)(
				number(optarg, "--delay-ms", 60000) * 1e6);
			break;
		case CONTROL:
			*ret_control = optarg;
			break;
		case READY:
			*ret_ready = fdopen((int)number(optarg, "--ready-fd",
							1 << 20),
					    "w");
			if (!*ret_ready)
				err(2, "--ready-fd %s", optarg);
			break;
		case RESERVED:
			relay.reserved_port = true;
			break;
		default:
			usage(c == HELP ? 0 : 2);
		}
	}
	if (optind < argc || listen_at || !relay.maps_n)
		usage(2);
}

int main(int argc, char **argv)
{
	const char *control = NULL;
	FILE *ready = stdout;

	if (argc > 1 && strcmp(argv[1], "ctl") == 0)
		return ctl_main(argc - 2, argv + 2);
	parse_options(argc, argv, &control, &ready);
	setup_loop();
	if (listeners_open() < 0)
		return 1;
	if (control && ctl_listen(control) < 0)
		return 1;

	(void)fputs("ready", ready);
	for (unsigned i = 0; i < relay.maps_n; i++)
		(void)fprintf(ready, " %u", port_of(&relay.map[i].from));
	(void)fputc('\n', ready);
	if (ready != stdout)
		(void)fclose(ready);
	else
		(void)fflush(ready);

	run();
	conns_close_all(/* reset= */ false);
	conns_bury();
	if (control)
		(void)unlink(control);
	return 0;
}

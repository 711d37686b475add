/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay_ctl.c: the control socket, and `relay ctl`, which talks to it. A
 * client sends one line, gets the answer, and the connection is closed. An
 * answer that begins with "error: " says what was wrong with the command.
 */
#include "relay.h"

#include <err.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/un.h>

enum { LINE_BYTES_MAX = 256, DELAY_MS_MAX = 60000 };

struct ctl_client {
	struct watch watch;
	char line[LINE_BYTES_MAX];
	size_t n;
};

static struct watch listener;

/* A number from 0 to @max; false when @text is none. */
static bool number(const char *text, double max, double *ret)
{
	char *end;
	double d;

	if (!text)
		return false;
	d = strtod(text, &end);
	if (end == text || *end || !(d >= 0 && d <= max))
		return false;
	*ret = d;
	return true;
}

static void print_counts(FILE *out)
{
	(void)fputc('{', out);
	rpc_counts_print(&relay.counts, out);
	(void)fprintf(out,
		      ",\"total\":%" PRIu64 ",\"bytes_up\":%" PRIu64
		      ",\"bytes_down\":%" PRIu64 ",\"connections\":%" PRIu64
		      ",\"connections_open\":%u,\"inflight\":%u"
		      ",\"inflight_max\":%u,\"drops\":%" PRIu64
		      ",\"resets\":%" PRIu64 "}\n",
		      relay.counts.total, relay.bytes_up, relay.bytes_down,
		      relay.connections, relay.connections_open,
		      relay.inflight, relay.inflight_max, relay.drops,
		      relay.resets);
}

/* The one number called @name out of the JSON above: scripts need no JSON
 * parser then. A procedure that was never called counts 0. */
static void cmd_counts(FILE *out, const char *name)
{
	CLEANUP_FREE char *json = NULL;
	CLEANUP_FREE char *key = NULL;
	size_t len;
	FILE *f;
	const char *at;

	if (!name) {
		print_counts(out);
		return;
	}
	f = open_memstream(&json, &len);
	if (!f || asprintf(&key, "\"%s\":", name) < 0)
		errx(1, "out of memory");
	print_counts(f);
	(void)fclose(f);
	at = strstr(json, key);
	(void)fprintf(out, "%ld\n", at ? atol(at + strlen(key)) : 0L);
}

static void cmd_reset_counts(void)
{
	relay.counts = (struct rpc_counts){ 0 };
	relay.bytes_up = relay.bytes_down = 0;
	relay.connections = relay.connections_open;
	relay.inflight_max = relay.inflight;
	relay.drops = relay.resets = 0;
}

static const char *cmd_refuse(const char *arg)
{
	bool on = arg && strcmp(arg, "on") == 0;

	if (!on && (!arg || strcmp(arg, "off") != 0))
		return "refuse wants on or off";
	if (on == relay.refusing)
		return NULL;
	relay.refusing = on;
	if (on)
		listeners_close();
	else if (listeners_open() < 0)
		return "cannot listen again";
	return NULL;
}

static const char *cmd_drop_replies(const char *count, const char *name)
{
	double n;

	if (!number(count, 1e6, &n))
		return "drop-replies wants a number";
	if (name && strlen(name) >= sizeof(relay.drop_name))
		return "drop-replies: no such procedure";
	relay.drops_left = (unsigned)n;
	strcpy(relay.drop_name, name ? name : "");
	return NULL;
}

/* Obey; the answer goes to @out. NULL, or what is wrong. */
static const char *obey(char *line, FILE *out)
{
	char *save;
	const char *cmd = strtok_r(line, " \n", &save);
	const char *arg = strtok_r(NULL, " \n", &save);
	const char *arg2 = strtok_r(NULL, " \n", &save);
	double n;

	if (!cmd)
		return "no command";
	if (strcmp(cmd, "counts") == 0) {
		cmd_counts(out, arg);
		return NULL;
	}
	if (strcmp(cmd, "drop-replies") == 0)
		return cmd_drop_replies(arg, arg2);
	if (strcmp(cmd, "refuse") == 0)
		return cmd_refuse(arg);
	if (strcmp(cmd, "delay") == 0) {
		if (!number(arg, DELAY_MS_MAX, &n))
			return "delay wants milliseconds";
		relay.delay_ns = (int64_t)(n * 1e6);
	} else if (strcmp(cmd, "cut-every") == 0) {
		if (!number(arg, 1e9, &n))
			return "cut-every wants milliseconds";
		relay_cut_every((unsigned)n);
	} else if (strcmp(cmd, "reset-counts") == 0) {
		cmd_reset_counts();
	} else if (strcmp(cmd, "stall") == 0) {
		conns_stall(true);
	} else if (strcmp(cmd, "resume") == 0) {
		conns_stall(false);
	} else if (strcmp(cmd, "cut") == 0) {
		conns_close_all(/* reset= */ false);
	} else if (strcmp(cmd, "reset") == 0) {
		conns_close_all(/* reset= */ true);
	} else if (strcmp(cmd, "quit") == 0) {
		relay.quit = true;
	} else {
		return "no such command";
	}
	return NULL;
}

static void answer(struct ctl_client *c)
{
	CLEANUP_FREE char *text = NULL;
	const char *wrong;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		errx(1, "out of memory");
	wrong = obey(c->line, out);
	if (wrong)
		(void)fprintf(out, "error: %s\n", wrong);
	(void)fclose(out);
	/* Some kilobytes at most, which a fresh socket always takes. */
	(void)send(c->watch.fd, text, len, MSG_NOSIGNAL);
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct ctl_client *c = CONTAINER_OF(w, struct ctl_client, watch);
	ssize_t n = recv(w->fd, c->line + c->n, sizeof(c->line) - 1 - c->n, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		c->n += (size_t)n;
		c->line[c->n] = '\0';
		if (!strchr(c->line, '\n') && c->n < sizeof(c->line) - 1)
			return;
		answer(c);
	}
	watch_set(w, 0);
	(void)close(w->fd);
	free(c);
}

static void listener_ready(struct watch *w, uint32_t events)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct ctl_client *c;

	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		errx(1, "out of memory");
	c->watch = (struct watch){ .ready = client_ready, .fd = fd };
	watch_set(&c->watch, EPOLLIN);
}

static int socket_at(const char *path, struct sockaddr_un *ret_sa)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		warnx("control socket %s: the path is too long", path);
		return -ENAMETOOLONG;
	}
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	*ret_sa = sa;
	return fd;
}

int ctl_listen(const char *path)
{
	struct sockaddr_un sa;
	CLEANUP_CLOSE int fd = socket_at(path, &sa);

	if (fd < 0)
		return fd;
	(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 16) < 0) {
		int r = -errno;

		warn("control socket %s", path);
		return r;
	}
	listener = (struct watch){ .ready = listener_ready,
				   .fd = steal_fd(&fd) };
	watch_set(&listener, EPOLLIN);
	return 0;
}

int ctl_main(int argc, char **argv)
{
	char line[LINE_BYTES_MAX] = "", buf[16384];
	struct sockaddr_un sa;
	CLEANUP_CLOSE int fd = -1;
	size_t got = 0;

	if (argc < 2)
		errx(2, "usage: relay ctl SOCKET COMMAND...");
	for (int i = 1; i < argc; i++) {
		if (strlen(line) + strlen(argv[i]) + 2 >= sizeof(line))
			errx(2, "the command is too long");
		strcat(strcat(line, argv[i]), i + 1 < argc ? " " : "\n");
	}
	fd = socket_at(argv[0], &sa);
	if (fd < 0)
		return 1;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		err(1, "no relay answers at %s", argv[0]);
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0)
		err(1, "%s", argv[0]);
	for (ssize_t n; (n = recv(fd, buf + got, sizeof(buf) - got, 0)) > 0;)
		got += (size_t)n;
	if (got > 7 && memcmp(buf, "error: ", 7) == 0)
		errx(1, "%.*s", (int)got - 8, buf + 7);
	(void)fwrite(buf, 1, got, stdout);
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* drain_client.c: the loop of a command that waits for the server: hand over
 * what the kernel has, set the goal, ask how far it is, show it.
 *
 * The line on the terminal is rewritten in place, and taken away before
 * anything else is said and at the end.
 */
#include "drain_client.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "../cache/msg.h"
#include "../cache/sync.h"
#include "command.h"
#include "control.h"
#include "handover.h"

enum {
	TURN_MS_MIN = 2,
	TURN_MS_MAX = 200,
	SHOW_AFTER_MS = 500, /* what ends sooner needs no line */
	RATE_MS = 1000,      /* over how long a rate is taken */
};

/* What the terminal shows. */
struct meter {
	bool on;    /* standard error is a terminal */
	bool drawn; /* a line stands there */
	uint64_t start_ms, rate_ms;
	uint64_t changes, bytes; /* left at rate_ms */
	double changes_per_s, bytes_per_s;
};

struct drain {
	const char *where;
	const struct drain_options *o;
	struct handover handover;
	bool handed_over;
	uint64_t goal;
	struct drain_state state;
	uint64_t start_ms, away_since_ms; /* 0: not away */
	bool away_told;
	struct meter meter;
};

/* ---- asking ---- */

static int ask_once(const char *where, const char *request, char **ret)
{
	int fd = control_connect(where);
	int r = fd < 0 ? fd : control_ask(fd, request, ret);

	cleanup_closep(&fd);
	return r;
}

int drain_ask(const char *where, const char *request, const char *want,
	      char **ret)
{
	CLEANUP_FREE char *text = NULL;
	size_t n = strlen(want);
	int r = ask_once(where, request, &text);

	if (r == -ETIMEDOUT || r == -ENOMEM) {
		msg_error("%s: %s", where,
			  r == -ENOMEM ? msg_strerror(r) :
					 "the daemon does not answer");
		return r;
	}
	if (r < 0) {
		msg_debug("drain", "%s: %s", request, msg_strerror(r));
		msg_error("%s: its daemon has ended; what it had not sent is in "
			  "its log, and the next mount sends it",
			  where);
		return -ENOTCONN;
	}
	if (strncmp(text, want, n) == 0 && (text[n] == ' ' || text[n] == '\n')) {
		*ret = strdup(text + n + 1);
		return *ret ? 0 : -ENOMEM;
	}
	text[strcspn(text, "\n")] = '\0';
	msg_error("%s: %s", where,
		  strncmp(text, "error ", 6) == 0 ? text + 6 : text);
	return -EPROTO;
}

static int ask_goal(struct drain *d)
{
	CLEANUP_FREE char *text = NULL;
	int r = drain_ask(d->where, "flush", "goal", &text);

	if (r == 0 && sscanf(text, "%" SCNu64, &d->goal) != 1)
		r = -EBADMSG;
	return r;
}

static int ask_progress(const char *where, uint64_t goal,
			struct drain_state *ret)
{
	CLEANUP_FREE char *text = NULL;
	struct drain_state s;
	char request[40];
	int r, reached, away;

	(void)snprintf(request, sizeof(request), "progress %" PRIu64, goal);
	r = drain_ask(where, request, "reached", &text);
	if (r < 0)
		return r;
	if (sscanf(text,
		   "%d away %d changes %" SCNu64 " bytes %" SCNu64
		   " stuck %" SCNu64 " copies %" SCNu64 " error %d",
		   &reached, &away, &s.changes, &s.bytes, &s.stuck, &s.copies,
		   &s.error) != 7)
		return -EBADMSG;
	s.reached = reached;
	s.away = away;
	s.error = -s.error;
	*ret = s;
	return 0;
}

int drain_look(const char *where, struct drain_state *ret)
{
	return ask_progress(where, 0, ret);
}

/* ---- the line on the terminal ---- */

static void meter_clear(struct meter *m)
{
	if (m->drawn)
		(void)fputs("\r\033[K", stderr);
	m->drawn = false;
}

/* How fast what is left becomes less, smoothed. New work makes it more. */
static double rate(double before, uint64_t was, uint64_t is, double seconds)
{
	double now = was > is ? (double)(was - is) / seconds : 0;

	return before > 0 ? (before + now) / 2 : now;
}

static void meter_measure(struct meter *m, const struct drain_state *s)
{
	uint64_t now = clock_ms();

	if (m->rate_ms && now - m->rate_ms < RATE_MS)
		return;
	if (m->rate_ms) {
		double seconds = (double)(now - m->rate_ms) / 1000;

		m->changes_per_s = rate(m->changes_per_s, m->changes,
					s->changes, seconds);
		m->bytes_per_s = rate(m->bytes_per_s, m->bytes, s->bytes,
				      seconds);
	}
	m->rate_ms = now;
	m->changes = s->changes;
	m->bytes = s->bytes;
}

/* The slower of the two decides; 0: not to be said. */
static uint64_t seconds_left(const struct meter *m, const struct drain_state *s)
{
	double by_changes = m->changes_per_s > 0 ?
				    (double)s->changes / m->changes_per_s :
				    0;
	double by_bytes =
		m->bytes_per_s > 0 ? (double)s->bytes / m->bytes_per_s : 0;

	return (uint64_t)(MIN(MAX(by_changes, by_bytes), 360000.0) + 0.5);
}

static void meter_show(struct meter *m, const struct drain_state *s)
{
	uint64_t left;
	char n[DRAIN_COUNT_BYTES];

	meter_measure(m, s);
	if (!m->on || clock_ms() - m->start_ms < SHOW_AFTER_MS)
		return;
	left = seconds_left(m, s);
	(void)fprintf(stderr, "\r\033[K%s and %.1f MiB left",
		      drain_changes(s->changes, n),
		      (double)s->bytes / (1 << 20));
	if (s->away)
		(void)fputs("; the server does not answer", stderr);
	else if (left)
		(void)fprintf(stderr,
			      "; %.0f changes/s, %.1f MiB/s; about %" PRIu64
			      ":%02" PRIu64 " to go",
			      m->changes_per_s, m->bytes_per_s / (1 << 20),
			      left / 60, left % 60);
	(void)fflush(stderr);
	m->drawn = true;
}

const char *drain_changes(uint64_t n, char buf[DRAIN_COUNT_BYTES])
{
	(void)snprintf(buf, DRAIN_COUNT_BYTES, "%" PRIu64 " change%s", n,
		       n == 1 ? "" : "s");
	return buf;
}

/* ---- the loop ---- */

/* -EAGAIN when it was away for long enough. */
static int look_away(struct drain *d)
{
	uint64_t now = clock_ms();
	char n[DRAIN_COUNT_BYTES];

	if (!d->state.away) {
		d->away_since_ms = 0;
		return 0;
	}
	if (!d->away_since_ms)
		d->away_since_ms = now;
	if (d->o->away_ms)
		return now - d->away_since_ms >= d->o->away_ms ? -EAGAIN : 0;
	if (!d->away_told) {
		meter_clear(&d->meter);
		msg_warning("%s: the server does not answer; %s %s kept in the "
			    "log and will be sent when it does; Ctrl-C ends "
			    "the waiting, not the sending",
			    d->where, drain_changes(d->state.changes, n),
			    d->state.changes == 1 ? "is" : "are");
		d->away_told = true;
	}
	return 0;
}

/* 1: go on; 0: the goal is reached; or -errno. */
static int turn(struct drain *d)
{
	bool looking = d->o->look_ms > 0;
	int r;

	if (!d->handed_over &&
	    (handover_done(&d->handover) ||
	     (looking && clock_ms() - d->start_ms >= d->o->look_ms))) {
		r = looking ? 0 : ask_goal(d);
		if (r < 0)
			return r;
		d->handed_over = true;
	}
	r = ask_progress(d->where, d->goal, &d->state);
	if (r < 0)
		return r;
	d->state.reached &= d->handed_over && !looking;
	if (d->state.reached || (d->handed_over && looking))
		return 0;
	r = look_away(d);
	if (r < 0)
		return r;
	meter_show(&d->meter, &d->state);
	return 1;
}

static int loop(struct drain *d, int signal_fd)
{
	struct pollfd p = { .fd = signal_fd, .events = POLLIN };
	int r, ms = TURN_MS_MIN;

	while ((r = turn(d)) == 1) {
		if (poll(&p, 1, ms) > 0)
			return -EINTR;
		ms = MIN(ms * 2, (int)TURN_MS_MAX);
	}
	return r;
}

int drain_wait(const struct mountinfo_entry *mount,
	       const struct drain_options *o, struct drain_state *ret)
{
	struct drain d = { .where = mount->where, .o = o,
			   .handover = HANDOVER_INIT, .start_ms = clock_ms() };
	sigset_t old;
	int r, fd = command_take_signals(&old);

	if (fd < 0)
		return fd;
	d.meter.on = isatty(STDERR_FILENO);
	d.meter.start_ms = d.start_ms;
	r = handover_start(&d.handover, mount);
	if (r == 0)
		r = loop(&d, fd);
	handover_end(&d.handover);
	meter_clear(&d.meter);
	command_give_signals_back(fd, &old);
	*ret = d.state;
	return r;
}

void drain_json(struct json *j, const char *where, const struct drain_state *s)
{
	json_object(j, NULL);
	json_string(j, "mountpoint", where);
	json_bool(j, "reached", s->reached);
	json_bool(j, "away", s->away);
	json_uint(j, "changes", s->changes);
	json_uint(j, "bytes", s->bytes);
	json_uint(j, "stuck", s->stuck);
	json_uint(j, "copies", s->copies);
	json_string(j, "error", s->error ? msg_strerror(s->error) : NULL);
	json_object_end(j);
}

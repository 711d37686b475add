/* SPDX-License-Identifier: GPL-2.0-or-later */
/* warm_record.c: nfsrootfs warm --from FILE: the threads of warm_from.c, a line on
 * the terminal meanwhile, and one at the end. What is asked of the mount is asked
 * by this process, as any program would: whoever interrupts it ends it.
 */
#include "command.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "../cache/msg.h"
#include "../cache/sync.h"
#include "json.h"
#include "mountinfo.h"
#include "warm_from.h"

enum { SHOW_AFTER_MS = 500 }; /* what ends sooner needs no line */

struct show {
	int signal_fd;
	uint64_t start_ms;
	bool drawn;
	struct warm_from_progress p; /* the last */
};

static int tell(void *arg, const struct warm_from_progress *p)
{
	struct show *s = arg;
	struct pollfd interrupt = { .fd = s->signal_fd, .events = POLLIN };
	uint64_t ms = clock_ms() - s->start_ms;

	s->p = *p;
	if (isatty(STDERR_FILENO) && ms >= SHOW_AFTER_MS && p->done > 0) {
		(void)fprintf(stderr,
			      "\r\033[K%" PRIu64 " of %" PRIu64
			      " used before, %" PRIu64 " MiB, %" PRIu64
			      " s left",
			      p->done, p->lines, p->bytes >> 20,
			      ms * (p->lines - p->done) / p->done / 1000);
		(void)fflush(stderr);
		s->drawn = true;
	}
	return poll(&interrupt, 1, 0) > 0 ? -EINTR : 0;
}

static void tell_json(const struct mountinfo_entry *e, const struct show *s,
		      bool over)
{
	const struct warm_from_progress *p = &s->p;
	struct json j = JSON_INIT(stdout);

	json_object(&j, NULL);
	json_string(&j, "mountpoint", e->where);
	json_bool(&j, "over", over);
	json_uint(&j, "recorded", p->lines);
	json_uint(&j, "done", p->done);
	json_uint(&j, "directories", p->names);
	json_uint(&j, "files", p->contents);
	json_uint(&j, "bytes", p->bytes);
	json_uint(&j, "gone", p->gone);
	json_uint(&j, "failed", p->failed);
	json_string(&j, "error", p->error ? msg_strerror(p->error) : NULL);
	json_uint(&j, "ms", clock_ms() - s->start_ms);
	json_object_end(&j);
	(void)putchar('\n');
}

static void tell_text(const struct mountinfo_entry *e, const struct show *s,
		      bool over)
{
	const struct warm_from_progress *p = &s->p;
	uint64_t ms = clock_ms() - s->start_ms;

	(void)printf("%s: %" PRIu64 " directories, %" PRIu64
		     " files with %" PRIu64 " KiB are known, as recorded; %"
		     PRIu64 " are gone (%" PRIu64 ".%" PRIu64 " s)%s\n",
		     e->where, p->names, p->contents, p->bytes / 1024, p->gone,
		     ms / 1000, ms / 100 % 10, over ? "" : "; interrupted");
}

static enum exitcode judge(const struct mountinfo_entry *e, const char *file,
			   const struct show *s, int r, uint64_t bad_line)
{
	if (r == -EBADMSG)
		msg_error("%s: line %" PRIu64 " is not one of a record, as "
			  "mount -o record=FILE writes it",
			  file, bad_line);
	else if (r < 0)
		msg_error("%s: %s", file, msg_strerror(r));
	else if (s->p.failed > 0)
		msg_error("%s: %" PRIu64 " could not be read: %s", e->where,
			  s->p.failed, msg_strerror(s->p.error));
	return r < 0 || s->p.failed > 0 ? EXITCODE_FAILED : EXITCODE_OK;
}

enum exitcode command_warm_from(const struct mountinfo_entry *e,
				const char *file, bool json)
{
	CLEANUP_CLOSE int root =
		open(e->where, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct show s = { .start_ms = clock_ms() };
	uint64_t bad_line = 0;
	sigset_t old;
	int r;

	if (root < 0) {
		msg_error("%s: %s", e->where, msg_strerror(-errno));
		return EXITCODE_FAILED;
	}
	s.signal_fd = command_take_signals(&old);
	r = s.signal_fd < 0 ? s.signal_fd :
			      warm_from(root, file, UINT64_MAX, tell, &s,
					&bad_line);
	if (s.signal_fd >= 0)
		command_give_signals_back(s.signal_fd, &old);
	if (s.drawn)
		(void)fputs("\r\033[K", stderr);
	if (r == 0 || r == -EINTR) {
		if (json)
			tell_json(e, &s, r == 0);
		else
			tell_text(e, &s, r == 0);
	}
	if (r == -EINTR) {
		/* Threads may wait for a server that is away: nothing is left to
		 * be done but to end them. */
		(void)fflush(stdout);
		_exit(EXITCODE_INTERRUPTED);
	}
	return judge(e, file, &s, r, bad_line);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tour_answer.c: reads requests about tours and passes them on. No state. */
#include "tour_answer.h"

#include <inttypes.h>
#include <string.h>

#include "../cache/msg.h"
#include "tour.h"

static void answer_start(const struct status_source *s, enum tour_kind kind,
			 uint64_t ino, uint64_t file_bytes_max, FILE *out)
{
	uint64_t id;
	int r = tour_start(s->vfs, kind, ino, file_bytes_max, &id);

	if (r == 0)
		(void)fprintf(out, "tour %" PRIu64 "\n", id);
	else if (r == -EBUSY)
		(void)fputs("error too many others warm or refresh it\n", out);
	else
		(void)fprintf(out, "error %s\n", msg_strerror(r));
}

static void answer_look(const struct status_source *s, uint64_t id, FILE *out)
{
	struct tour_progress p;

	if (tour_look(s->vfs, id, &p) < 0)
		(void)fputs("error it was ended\n", out);
	else
		(void)fprintf(out,
			      "over %d away %d dirs %" PRIu64 " entries %" PRIu64
			      " asked %" PRIu64 " files %" PRIu64
			      " bytes %" PRIu64 " failed %" PRIu64
			      " error %d\n",
			      p.over, remote_retry_is_away(s->remote), p.dirs,
			      p.entries, p.asked, p.files, p.bytes, p.failed,
			      -p.error);
}

int tour_answer(const struct status_source *s, const char *request, FILE *out)
{
	char word[8];
	uint64_t n, max = 0;
	int used = 0, max_used = 0;

	if (sscanf(request, "%7s %" SCNu64 "%n %" SCNu64 "%n", word, &n, &used,
		   &max, &max_used) < 2 ||
	    request[MAX(used, max_used)])
		return -EINVAL;
	if (strcmp(word, "fetch") == 0 && max_used) {
		answer_start(s, TOUR_DATA, n, max, out);
	} else if (max_used) {
		return -EINVAL;
	} else if (strcmp(word, "warm") == 0) {
		answer_start(s, TOUR_META, n, 0, out);
	} else if (strcmp(word, "refresh") == 0) {
		answer_start(s, TOUR_REFRESH, n, 0, out);
	} else if (strcmp(word, "tour") == 0) {
		answer_look(s, n, out);
	} else if (strcmp(word, "leave") == 0) {
		tour_stop(s->vfs, n);
		(void)fputs("ok\n", out);
	} else {
		return -EINVAL;
	}
	return 0;
}

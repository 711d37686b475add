/* SPDX-License-Identifier: GPL-2.0-or-later */
/* drain.c: reads requests about pending changes and passes them on to those who
 * know. No state. A mount that writes nothing back (ro) has nothing pending,
 * which is an answer, too: the caller need not tell the cases apart.
 */
#include "drain.h"

#include <inttypes.h>
#include <string.h>

#include "trouble.h"

static void answer_flush(const struct status_source *s, FILE *out)
{
	uint64_t goal;

	/* What the server refused is tried once more. */
	if (s->flush)
		wback_retry_all(s->wback);
	goal = s->flush ? flush_force(s->flush) : 0;

	(void)fprintf(out, "goal %" PRIu64 "\n", goal);
}

static void answer_progress(const struct status_source *s, uint64_t goal,
			    FILE *out)
{
	struct flush_progress p = { .reached = true };

	if (s->flush)
		flush_get_progress(s->flush, goal, &p);
	(void)fprintf(out,
		      "reached %d away %d changes %" PRIu64 " bytes %" PRIu64
		      " stuck %" PRIu64 " copies %" PRIu64 " error %d\n",
		      p.reached, p.away, p.changes_left, p.bytes_left, p.stuck,
		      p.copies, p.error < 0 ? -p.error : p.error);
}

static void answer_keep(const struct status_source *s, FILE *out)
{
	if (s->flush)
		flush_keep(s->flush);
	(void)fprintf(out, "ok %s\n", s->cache->path);
}

int drain_answer(const struct status_source *s, const char *request, FILE *out)
{
	uint64_t n;
	char word[8];
	int used = 0;

	if (strcmp(request, "flush") == 0) {
		answer_flush(s, out);
	} else if (strcmp(request, "keep") == 0) {
		answer_keep(s, out);
	} else if (sscanf(request, "progress %" SCNu64 "%n", &n, &used) == 1 &&
		   !request[used]) {
		answer_progress(s, n, out);
	} else if (sscanf(request, "conflicts %7s%n", word, &used) == 1 &&
		   !request[used]) {
		return trouble_list(s, word, out);
	} else if (sscanf(request, "resolve %" SCNu64 " %7s%n", &n, word,
			  &used) == 2 && !request[used]) {
		return trouble_resolve(s, n, word, out);
	} else {
		return -EINVAL;
	}
	return 0;
}

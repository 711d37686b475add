/* SPDX-License-Identifier: GPL-2.0-or-later */
/* status.h: what a mount says about itself, and the command that asks. */
#pragma once

#include <time.h>

#include "../cache/blob.h"
#include "../cache/wback.h"
#include "area.h"
#include "contents.h"
#include "flush.h"

/* All that is shown. Nothing is owned; counters are read while they change. */
struct status_source {
	const struct config *config;
	const struct cachedir *cache;
	const struct areas *areas;
	const struct stats *stats;
	struct meta *meta;
	struct blob *blob;     /* NULL: contents are not kept */
	struct remote *remote; /* the retry layer, on top */
	struct contents *contents;
	struct vfs *vfs;
	struct wback *wback;   /* these two are NULL when nothing is written */
	struct flush *flush;   /* back: mounted ro */
	time_t since;
};

/* A control_answer_fn; @arg is a struct status_source. Requests: "status text",
 * "status json", and those of contents.h, drain.h and tour_answer.h. */
int status_answer(void *arg, const char *request, FILE *out);

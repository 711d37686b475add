/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tour_answer.h: what the control socket of a mount answers about tours (tour.h).
 * Nothing here waits: who wants to see the end of one asks again
 * (tour_client.c).
 *
 *   warm INO       make names and attributes there known:     "tour ID"
 *   fetch INO MAX  and contents of files of at most MAX bytes: "tour ID"
 *   refresh INO    do not believe what is known there:        "tour ID"
 *   tour ID        how far that is, see struct tour_progress:
 *                  "over 0|1 away 0|1 dirs N entries N asked N files N bytes N
 *                  failed N error ERRNO", on one line
 *   leave ID       end it:                                    "ok"
 *
 * INO is the inode number, as stat(2) has it, of something that the kernel knows.
 * What failed is answered with "error TEXT".
 */
#pragma once

#include "status.h"

/* Part of status_answer(). */
int tour_answer(const struct status_source *s, const char *request, FILE *out);

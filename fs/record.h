/* SPDX-License-Identifier: GPL-2.0-or-later */
/* record.h: what programs used of a mount (-o record=FILE), for nfsrootfs warm
 * --from FILE. Text, one object a line, a directory before what is in it:
 *
 *   nfsrootfs-record 1
 *   names /usr/lib           a directory in which names were looked up or listed
 *   contents /usr/lib/a.so   a file that was read, or a symlink that was followed
 *
 * with paths from the root, escaped (escape_text()). It is written when the mount
 * ends, to FILE.new, which then becomes FILE: what was recorded before stays
 * until then, and for good if the daemon is killed or the mount fails.
 */
#pragma once

#include "../cache/meta.h"

struct record; /* opaque */

enum record_use { RECORD_NAMES, RECORD_CONTENTS };

/* Begins FILE.new in @file's directory, to see that it can be. @meta must
 * outlive the record. -errno of the disk. */
int record_open(const char *file, struct meta *meta, struct record **ret);

/* From any thread, at any time, outside a bracket; NULL is fine. Aborts without
 * memory. After RECORD_MAX objects of a kind no more are remembered. */
enum { RECORD_MAX = 1000000 };
void record_used(struct record *r, uint64_t ino, enum record_use use);

/* Writes what was used, as far as the cache knows its names. 0 or -errno; *@ret_n
 * is how many lines. NULL is fine. Frees it in any case. */
int record_close(struct record *r, uint64_t *ret_n);

/* ---- reading one ---- */

/* The line @line (its newline gone) is changed: *@ret_path, unescaped, points
 * into it. -EBADMSG: it is not understood. */
int record_parse(char *line, enum record_use *ret_use, char **ret_path);
/* Is this the first line of a record that can be read? */
bool record_is_head(const char *line);

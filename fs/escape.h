/* SPDX-License-Identifier: GPL-2.0-or-later */
/* escape.h: texts (paths, "HOST:/PATH") as file names, and paths in lines. */
#pragma once

#include "../cache/base.h"

enum { ESCAPE_BYTES = 80 }; /* with the NUL: fits a socket's address */

/* A file name for @text: '/' becomes '-', letters, digits, '.' and ':' stay,
 * all else is %XX, so that two texts never share a name. A name that would be
 * too long ends in a hash of the text instead. "pi:/srv/root" gives
 * "pi:-srv-root". */
void escape_name(const char *text, char ret[ESCAPE_BYTES]);

/* @text as one word on one line of a terminal or of a list: control characters
 * (names are the server's; they may hold any) and backslash are written \ooo, as
 * the kernel does in mountinfo. */
void escape_text(const char *text, FILE *out);
/* Undoes it, in place. */
void unescape_text(char *text);

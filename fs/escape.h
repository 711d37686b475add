/* SPDX-License-Identifier: GPL-2.0-or-later */
/* escape.h: texts (paths, "HOST:/PATH") as file names. */
#pragma once

#include "../cache/base.h"

enum { ESCAPE_BYTES = 80 }; /* with the NUL: fits a socket's address */

/* A file name for @text: '/' becomes '-', letters, digits, '.' and ':' stay,
 * all else is %XX, so that two texts never share a name. A name that would be
 * too long ends in a hash of the text instead. "pi:/srv/root" gives
 * "pi:-srv-root". */
void escape_name(const char *text, char ret[ESCAPE_BYTES]);

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* escape.c: readable file names for texts, and texts without control
 * characters, one to one.
 */
#include "escape.h"

#include <string.h>

static uint64_t fnv1a(const char *text)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3;
	return h;
}

/* isalnum() would follow the locale. */
static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == ':';
}

void escape_name(const char *text, char ret[ESCAPE_BYTES])
{
	enum { HASH_BYTES = 17 }; /* '~' and 16 digits */
	size_t n = 0;

	for (const char *p = text; *p; p++) {
		char one[4] = { *p == '/' ? '-' : *p };

		/* A dot in front would hide the file, or be "." or "..". */
		if (*p != '/' && !is_plain(*p) && !(*p == '.' && p != text))
			(void)snprintf(one, sizeof(one), "%%%02X",
				       (unsigned)(uint8_t)*p);
		if (n + strlen(one) >= ESCAPE_BYTES) {
			(void)snprintf(ret + ESCAPE_BYTES - 1 - HASH_BYTES,
				       HASH_BYTES + 1, "~%016llx",
				       (unsigned long long)fnv1a(text));
			return;
		}
		memcpy(ret + n, one, strlen(one));
		n += strlen(one);
	}
	ret[n] = '\0';
}

void escape_text(const char *text, FILE *out)
{
	for (; *text; text++) {
		unsigned c = (uint8_t)*text;

		if (c < 0x20 || c == '\\' || c == 0x7f)
			(void)fprintf(out, "\\%03o", c);
		else
			(void)fputc(*text, out);
	}
}

void unescape_text(char *text)
{
	char *to = text;

	for (const char *p = text; *p; p++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' &&
		    p[2] >= '0' && p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
			*to++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 |
				       (p[3] - '0'));
			p += 3;
		} else {
			*to++ = *p;
		}
	}
	*to = '\0';
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json.c: a JSON writer. Misuse (too deep, an end too many) is a bug of the
 * caller's and aborts.
 */
#include "json.h"

#include <inttypes.h>
#include <string.h>

/* The length of the UTF-8 sequence at @s, or 0 when it is none (also for
 * overlong forms, surrogates, and what is beyond U+10FFFF). */
static unsigned utf8_len(const unsigned char *s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned n;
	uint32_t c;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc0 || s[0] > 0xf7)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	c = s[0] & (0x7fu >> n);
	for (unsigned i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

static void quoted(FILE *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	(void)fputc('"', out);
	while (*s) {
		unsigned n = utf8_len(s);

		if (n == 0)
			(void)fputs("\\ufffd", out);
		else if (*s == '"' || *s == '\\')
			(void)fprintf(out, "\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			(void)fprintf(out, "\\u%04x", *s);
		else
			(void)fwrite(s, 1, n, out);
		s += n ? n : 1;
	}
	(void)fputc('"', out);
}

/* What stands before a value: the comma of the one before it, and the key. */
static void lead(struct json *j, const char *key)
{
	if (j->has_value[j->depth])
		(void)fputc(',', j->out);
	j->has_value[j->depth] = true;
	if (j->depth > 0)
		(void)fprintf(j->out, "\n%*s", (int)j->depth * 2, "");
	if (key) {
		quoted(j->out, key);
		(void)fputs(": ", j->out);
	}
}

static void open_one(struct json *j, const char *key, char c)
{
	lead(j, key);
	(void)fputc(c, j->out);
	if (++j->depth == JSON_DEPTH_MAX)
		abort();
	j->has_value[j->depth] = false;
}

static void close_one(struct json *j, char c)
{
	bool filled = j->has_value[j->depth];

	if (j->depth == 0)
		abort();
	j->depth--;
	if (filled)
		(void)fprintf(j->out, "\n%*s", (int)j->depth * 2, "");
	(void)fputc(c, j->out);
}

void json_object(struct json *j, const char *key)
{
	open_one(j, key, '{');
}

void json_object_end(struct json *j)
{
	close_one(j, '}');
}

void json_array(struct json *j, const char *key)
{
	open_one(j, key, '[');
}

void json_array_end(struct json *j)
{
	close_one(j, ']');
}

void json_string(struct json *j, const char *key, const char *value)
{
	lead(j, key);
	if (value)
		quoted(j->out, value);
	else
		(void)fputs("null", j->out);
}

void json_uint(struct json *j, const char *key, uint64_t value)
{
	lead(j, key);
	(void)fprintf(j->out, "%" PRIu64, value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	lead(j, key);
	(void)fputs(value ? "true" : "false", j->out);
}

/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json.h: writes JSON. The caller says what comes; commas, indentation and
 * escaping are looked after here.
 *
 * Inside an object every value has a key; inside an array, and at the top, the
 * key is NULL.
 */
#pragma once

#include "../cache/base.h"

enum { JSON_DEPTH_MAX = 8 };

struct json {
	FILE *out;
	unsigned depth;
	bool has_value[JSON_DEPTH_MAX]; /* a comma is due */
};

#define JSON_INIT(file) \
	{ .out = (file) }

void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);
/* @value NULL gives null. Bytes that are not UTF-8 become U+FFFD. */
void json_string(struct json *j, const char *key, const char *value);
void json_uint(struct json *j, const char *key, uint64_t value);
void json_bool(struct json *j, const char *key, bool value);

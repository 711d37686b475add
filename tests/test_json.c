/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_json.c: commas, nesting and escaping of the JSON writer. */
#include "run.h"

#include "../fs/json.h"

static void string_is(const char *value, const char *expected)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	struct json j = JSON_INIT(f);

	json_string(&j, NULL, value);
	assert_int_equal(fclose(f), 0);
	assert_string_equal(text, expected);
	free(text);
}

static void test_strings(void **state)
{
	string_is("", "\"\"");
	string_is(NULL, "null");
	string_is("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
	string_is("\n\t\x01\x7f", "\"\\u000a\\u0009\\u0001\\u007f\"");
	string_is("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80",
		  "\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\"");
	string_is("\xff", "\"\\ufffd\"");
	string_is("\xc3", "\"\\ufffd\"");
	string_is("\xc3x", "\"\\ufffdx\"");
	string_is("\xe2\x82", "\"\\ufffd\\ufffd\"");
	string_is("\xc0\xaf", "\"\\ufffd\\ufffd\"");         /* overlong */
	string_is("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* surrogate */
	string_is("\xf5\x80\x80\x80",
		  "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* beyond the last */
	string_is("\x80", "\"\\ufffd\"");
}

static void test_nesting(void **state)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	struct json j = JSON_INIT(f);

	json_object(&j, NULL);
	json_uint(&j, "n", UINT64_MAX);
	json_array(&j, "empty");
	json_array_end(&j);
	json_array(&j, "list");
	json_bool(&j, NULL, true);
	json_object(&j, NULL);
	json_object_end(&j);
	json_array_end(&j);
	json_bool(&j, "no", false);
	json_object_end(&j);
	assert_int_equal(fclose(f), 0);
	assert_string_equal(text, "{\n"
				  "  \"n\": 18446744073709551615,\n"
				  "  \"empty\": [],\n"
				  "  \"list\": [\n"
				  "    true,\n"
				  "    {}\n"
				  "  ],\n"
				  "  \"no\": false\n"
				  "}");
	free(text);
}

RUN_TESTS(cmocka_unit_test(test_strings), cmocka_unit_test(test_nesting))

/* Text forms and defaults for the JSON codec; see json_internal.h. */
#include "shared/kafka/json_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int kj_push(struct kj_path *path, const char *name)
{
    if (path->depth == KJ_DEPTH_MAX)
        return kj_fail(path, HR_E_INVALID, "nested too deeply");
    path->at[path->depth].name = name;
    path->at[path->depth].index = -1;
    path->depth++;
    return 0;
}

void kj_pop(struct kj_path *path)
{
    path->depth--;
}

void kj_at_index(struct kj_path *path, int64_t index)
{
    path->at[path->depth - 1].index = index;
}

int kj_fail(struct kj_path *path, int err, const char *format, ...)
{
    char *out = path->why;
    size_t left = HR_KJSON_WHY_MAX;
    for (unsigned i = 0; i < path->depth; i++) {
        const char *dot = i == 0 ? "" : ".";
        int n = path->at[i].index < 0
                    ? snprintf(out, left, "%s%s", dot, path->at[i].name)
                    : snprintf(out, left, "%s%s[%" PRId64 "]", dot, path->at[i].name, path->at[i].index);
        if (n < 0 || (size_t)n >= left)
            return err; /* cut, and terminated by snprintf */
        out += n;
        left -= (size_t)n;
    }
    if (path->depth > 0) {
        int n = snprintf(out, left, ": ");
        if (n < 0 || (size_t)n >= left)
            return err;
        out += n;
        left -= (size_t)n;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(out, left, format, args);
    va_end(args);
    return err;
}

static const char hex_digits[] = "0123456789abcdef";

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

json_t *kj_hex_text(const uint8_t *bytes, uint32_t len)
{
    size_t chars = (size_t)len * 2;
    char *text = malloc(chars + 1);
    if (text == NULL)
        return NULL;
    for (uint32_t i = 0; i < len; i++) {
        text[2 * (size_t)i] = hex_digits[bytes[i] >> 4];
        text[2 * (size_t)i + 1] = hex_digits[bytes[i] & 15];
    }
    json_t *value = json_stringn_nocheck(text, chars);
    free(text);
    return value;
}

bool kj_hex_parse(const char *text, size_t chars, uint8_t *bytes)
{
    if (chars % 2 != 0)
        return false;
    for (size_t i = 0; i < chars; i += 2) {
        int high = hex_value(text[i]), low = hex_value(text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i / 2] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool uuid_dash_before(unsigned byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

json_t *kj_uuid_text(const uint8_t bytes[KJ_UUID_BYTES])
{
    char text[KJ_UUID_CHARS];
    char *c = text;
    for (unsigned i = 0; i < KJ_UUID_BYTES; i++) {
        if (uuid_dash_before(i))
            *c++ = '-';
        *c++ = hex_digits[bytes[i] >> 4];
        *c++ = hex_digits[bytes[i] & 15];
    }
    return json_stringn_nocheck(text, KJ_UUID_CHARS);
}

bool kj_uuid_parse(const char *text, size_t chars, uint8_t bytes[KJ_UUID_BYTES])
{
    if (chars != KJ_UUID_CHARS)
        return false;
    for (unsigned i = 0; i < KJ_UUID_BYTES; i++) {
        if (uuid_dash_before(i) && *text++ != '-')
            return false;
        if (!kj_hex_parse(text, 2, &bytes[i]))
            return false;
        text += 2;
    }
    return true;
}

json_t *kj_float_value(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof(number));
    if (isfinite(number))
        return json_real(number);
    char text[2 + 16 + 1];
    snprintf(text, sizeof(text), "0x%016" PRIx64, bits);
    return json_string(text);
}

bool kj_float_parse(const json_t *value, uint64_t *ret_bits)
{
    if (json_is_number(value)) {
        double number = json_number_value(value);
        memcpy(ret_bits, &number, sizeof(number));
        return true;
    }
    uint8_t bytes[8];
    const char *text = json_string_value(value);
    if (text == NULL || json_string_length(value) != 18 || memcmp(text, "0x", 2) != 0 ||
        !kj_hex_parse(text + 2, 16, bytes))
        return false;
    uint64_t bits = 0;
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bits = bits << 8 | bytes[i];
    *ret_bits = bits;
    return true;
}

static bool default_is_null(const struct hr_kfield *f, int16_t version)
{
    if (f->def != NULL)
        return strcmp(f->def, "null") == 0;
    /* Kafka's own classes start records at null. */
    return f->type == HR_KT_RECORDS && hr_krange_has(f->nullable, version);
}

static int64_t default_int(const struct hr_kfield *f)
{
    return f->def == NULL ? 0 : strtoll(f->def, NULL, 0); /* decimal and 0x, as definitions write them */
}

static bool default_bool(const struct hr_kfield *f)
{
    return f->def != NULL && strcmp(f->def, "true") == 0;
}

static double default_float(const struct hr_kfield *f)
{
    return f->def == NULL ? 0 : strtod(f->def, NULL);
}

static const char *default_string(const struct hr_kfield *f)
{
    return f->def == NULL || strcmp(f->def, "null") == 0 ? "" : f->def;
}

static json_t *default_struct(const struct hr_kfield *f, int16_t version)
{
    json_t *object = json_object();
    for (uint16_t i = 0; object != NULL && i < f->n_children; i++) {
        const struct hr_kfield *child = &f->children[i];
        if (!hr_krange_has(child->versions, version))
            continue;
        if (json_object_set_new_nocheck(object, child->name, kj_default(child, version)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *kj_default(const struct hr_kfield *f, int16_t version)
{
    static const uint8_t zero_uuid[KJ_UUID_BYTES];

    if (default_is_null(f, version))
        return json_null();
    if (f->is_array)
        return json_array();
    switch ((enum hr_ktype)f->type) {
    case HR_KT_BOOL:
        return json_boolean(default_bool(f));
    case HR_KT_INT8:
    case HR_KT_INT16:
    case HR_KT_UINT16:
    case HR_KT_INT32:
    case HR_KT_UINT32:
    case HR_KT_INT64:
        return json_integer(default_int(f));
    case HR_KT_FLOAT64:
        return json_real(default_float(f));
    case HR_KT_UUID:
        return kj_uuid_text(zero_uuid);
    case HR_KT_STRING:
        return json_string(default_string(f));
    case HR_KT_BYTES:
    case HR_KT_RECORDS:
        return json_string("");
    case HR_KT_STRUCT:
        return default_struct(f, version);
    case HR_KT_NONE:
    case HR_KT_MAX:
        break;
    }
    return NULL;
}

/* As Kafka compares a struct with a new one: field by field, and unknown tags count. */
static bool struct_equals_default(const struct hr_kfield *f, const json_t *value, int16_t version)
{
    if (!json_is_object(value) || json_object_size(json_object_get(value, KJ_TAGS_KEY)) > 0)
        return false;
    for (uint16_t i = 0; i < f->n_children; i++) {
        if (!kj_equals_default(&f->children[i], json_object_get(value, f->children[i].name), version))
            return false;
    }
    return true;
}

bool kj_equals_default(const struct hr_kfield *f, const json_t *value, int16_t version)
{
    if (value == NULL)
        return true;
    if (default_is_null(f, version))
        return json_is_null(value);
    if (json_is_null(value))
        return false;
    if (f->is_array)
        return json_is_array(value) && json_array_size(value) == 0;
    switch ((enum hr_ktype)f->type) {
    case HR_KT_BOOL:
        return json_is_boolean(value) && json_boolean_value(value) == default_bool(f);
    case HR_KT_INT8:
    case HR_KT_INT16:
    case HR_KT_UINT16:
    case HR_KT_INT32:
    case HR_KT_UINT32:
    case HR_KT_INT64:
        return json_is_integer(value) && json_integer_value(value) == default_int(f);
    case HR_KT_FLOAT64: {
        uint64_t bits;
        double expected = default_float(f);
        return kj_float_parse(value, &bits) && memcmp(&bits, &expected, sizeof(bits)) == 0;
    }
    case HR_KT_UUID: {
        static const uint8_t zero_uuid[KJ_UUID_BYTES];
        uint8_t bytes[KJ_UUID_BYTES];
        return json_is_string(value) &&
               kj_uuid_parse(json_string_value(value), json_string_length(value), bytes) &&
               memcmp(bytes, zero_uuid, sizeof(bytes)) == 0;
    }
    case HR_KT_STRING: {
        const char *expected = default_string(f);
        return json_is_string(value) && json_string_length(value) == strlen(expected) &&
               memcmp(json_string_value(value), expected, strlen(expected)) == 0;
    }
    case HR_KT_BYTES:
    case HR_KT_RECORDS:
        return json_is_string(value) && json_string_length(value) == 0;
    case HR_KT_STRUCT:
        return struct_equals_default(f, value, version);
    case HR_KT_NONE:
    case HR_KT_MAX:
        break;
    }
    return false;
}

/* What the decoder and the encoder of the JSON codec share: the path that an error message names, text forms
 * of bytes and UUIDs, and defaults. Private to shared/kafka. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/kafka/json.h"
#include "shared/kafka/schema.h"

#define KJ_DEPTH_MAX  16     /* levels of nesting; the table's deepest is well below (schema_test.c) */
#define KJ_STRING_MAX 0x7fff /* Kafka's own limit, also where the compact form could say more */
#define KJ_TAGS_KEY   "_tags"
#define KJ_UUID_BYTES 16
#define KJ_UUID_CHARS 36

/* Where in a message we are, and where to write why it went wrong. */
struct kj_path {
    struct {
        const char *name;
        int64_t index; /* in an array, -1 if not in one */
    } at[KJ_DEPTH_MAX];
    unsigned depth;
    char *why;
};

/* INVALID when the schema is nested beyond what is allowed. Every push has its pop, except on failure. */
HR_MUST_CHECK int kj_push(struct kj_path *path, const char *name);
void kj_pop(struct kj_path *path);
void kj_at_index(struct kj_path *path, int64_t index);

/* Writes "topics[0].partitions: text" to path->why and returns err. */
int kj_fail(struct kj_path *path, int err, const char *format, ...) HR_PRINTF(3, 4);

/* Whether the field stands in the message's body, in its tag section, or not at all. */
static inline bool kj_is_tagged(const struct hr_kfield *f, int16_t version, bool flexible)
{
    return flexible && hr_krange_has(f->tagged, version);
}

/* NULL: no memory. Hex is lower case; a UUID is 8-4-4-4-12. */
json_t *kj_hex_text(const uint8_t *bytes, uint32_t len);
json_t *kj_uuid_text(const uint8_t bytes[KJ_UUID_BYTES]);
/* False: not such a text. */
bool kj_hex_parse(const char *text, size_t chars, uint8_t *bytes);
bool kj_uuid_parse(const char *text, size_t chars, uint8_t bytes[KJ_UUID_BYTES]);

/* IEEE 754 doubles: JSON has no NaN and no infinity, so these are strings of their 64 bits, "0x7ff8...". */
json_t *kj_float_value(uint64_t bits);
bool kj_float_parse(const json_t *value, uint64_t *ret_bits);

/* The default of a field that a peer or a caller left out. A new reference; NULL: no memory. */
json_t *kj_default(const struct hr_kfield *f, int16_t version);
/* Whether writing value would say no more than leaving it out. NULL counts as left out. */
bool kj_equals_default(const struct hr_kfield *f, const json_t *value, int16_t version);

/* Kafka messages as JSON and back, driven by the schema table: for the control plane's own requests, for the
 * hr-codec tool and for tests. Uses the heap; never used by workers.
 *
 * Field names are Kafka's own. Records and bytes are hex strings, UUIDs canonical text, int64 JSON integers,
 * null where a field is null. Unknown tagged fields appear under "_tags" as {"<tag>": "<hex>"} and are
 * written back. Missing fields of an object being encoded take their defaults; a tagged field that is absent on
 * the wire decodes to its default, and one at its default is not written, as in Kafka's own classes. A float
 * that JSON cannot hold is the string of its 64 bits ("0x7ff8000000000000"). */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/kafka/schema.h"

#define HR_KJSON_WHY_MAX 160

/* Decodes exactly one message from buf; *ret_used says how many bytes it took. The caller owns *ret_obj
 * (json_decref). On failure why says what and where ("topics[0].partitions: count -7"). Every length is
 * checked against what is left before anything is allocated for it; nesting is bounded by the schema. */
HR_MUST_CHECK int hr_kjson_decode(const struct hr_kmessage *message, int16_t version, const uint8_t *buf,
                                  uint32_t len, json_t **ret_obj, uint32_t *ret_used,
                                  char why[HR_KJSON_WHY_MAX]);

/* Encodes obj into buf. TOO_LARGE when cap is short. */
HR_MUST_CHECK int hr_kjson_encode(const struct hr_kmessage *message, int16_t version, const json_t *obj,
                                  uint8_t *buf, uint32_t cap, uint32_t *ret_len, char why[HR_KJSON_WHY_MAX]);

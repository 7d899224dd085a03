/* Frames from JSON, by the codec. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/kafka/json.h"
#include "shared/kafka/wire.h"
#include "tests/support/relay_fixture.h"

#define FRAME_MAX (16u << 20)

static void encode(struct rf_bytes *b, const struct hr_kmessage *message, int16_t version, json_t *obj)
{
    static uint8_t *buf;
    char why[HR_KJSON_WHY_MAX] = "";
    uint32_t n = 0;

    if (!buf && !(buf = malloc(FRAME_MAX)))
        abort();
    if (hr_kjson_encode(message, version, obj, buf, FRAME_MAX, &n, why) != 0) {
        fprintf(stderr, "%s %d: %s\n", message->name, version, why);
        abort();
    }
    rf_append(b, buf, n);
}

static void encode_text(struct rf_bytes *b, const struct hr_kmessage *message, int16_t version,
                        const char *text)
{
    char *copy = strdup(text);
    json_error_t err;

    for (char *p = copy; p && *p; p++)
        if (*p == '\'')
            *p = '"';
    json_t *obj = copy ? json_loads(copy, 0, &err) : NULL;
    if (!obj) {
        fprintf(stderr, "JSON: %s in %s\n", err.text, text);
        abort();
    }
    encode(b, message, version, obj);
    json_decref(obj);
    free(copy);
}

static uint32_t begin(struct rf_bytes *b)
{
    uint32_t at = b->len;

    rf_append(b, "\0\0\0", 4);
    return at;
}

static void end(struct rf_bytes *b, uint32_t at)
{
    hr_kput32(b->p + at, b->len - at - 4);
}

void rf_request(struct rf_bytes *b, int16_t key, int16_t version, int32_t correlation_id, const char *json)
{
    uint32_t at = begin(b);
    json_t *header = json_pack("{s:i,s:i,s:i,s:s}", "RequestApiKey", (int)key, "RequestApiVersion",
                               (int)version, "CorrelationId", (int)correlation_id, "ClientId", "test");

    encode(b, &hr_krequest_header, hr_krequest_header_version(key, version), header);
    json_decref(header);
    encode_text(b, hr_krequest_find(key, version), version, json);
    end(b, at);
}

void rf_response(struct rf_bytes *b, int16_t key, int16_t version, int32_t correlation_id, const char *json)
{
    uint32_t at = begin(b);
    json_t *header = json_pack("{s:i}", "CorrelationId", (int)correlation_id);

    encode(b, &hr_kresponse_header, hr_kresponse_header_version(key, version), header);
    json_decref(header);
    encode_text(b, hr_kresponse_find(key, version), version, json);
    end(b, at);
}

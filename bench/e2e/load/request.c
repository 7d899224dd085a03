#include "bench/e2e/load/request.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/e2e/nullbroker/batch.h"
#include "shared/kafka/json.h"
#include "shared/kafka/schema.h"
#include "shared/kafka/wire.h"

#define PRODUCE 0
#define FETCH 1
#define METADATA 3
#define PRODUCE_VERSION 11
#define FETCH_VERSION 16
#define METADATA_VERSION 12
#define CLIENT_ID "hr-load"
#define SMALL_OVERHEAD 113u /* of a request with one record and a topic of a few letters */

const char *ld_kind_name(enum ld_kind kind)
{
    static const char *const names[LD_KIND_MAX] = {"none", "produce", "fetch", "small"};
    return names[kind];
}

/* Size, header and body. */
static int encode(int16_t key, int16_t version, const json_t *body, uint8_t *buf, uint32_t cap, uint32_t *ret_len)
{
    char why[HR_KJSON_WHY_MAX] = "";
    uint32_t n_header = 0, n_body = 0;
    const struct hr_kmessage *message = hr_krequest_find(key, version);
    json_t *header = json_pack("{s:i, s:i, s:i, s:s}", "RequestApiKey", key, "RequestApiVersion", version,
                               "CorrelationId", 0, "ClientId", CLIENT_ID);
    int err = message && header && body && cap > 4 ? 0 : HR_E_NOT_FOUND;

    if (!err)
        err = hr_kjson_encode(&hr_krequest_header, hr_krequest_header_version(key, version), header, buf + 4, cap - 4,
                              &n_header, why);
    if (!err)
        err = hr_kjson_encode(message, version, body, buf + 4 + n_header, cap - 4 - n_header, &n_body, why);
    if (err)
        fprintf(stderr, "hr-load: request %d version %d: %s\n", key, version, why);
    json_decref(header);
    if (err)
        return err;
    hr_kput32(buf, n_header + n_body);
    *ret_len = 4 + n_header + n_body;
    return 0;
}

int ld_metadata_make(const char *topic, uint8_t *buf, uint32_t cap, uint32_t *ret_len)
{
    json_t *body = json_pack("{s:[{s:s}], s:b}", "Topics", "Name", topic, "AllowAutoTopicCreation", 0);
    int err = encode(METADATA, METADATA_VERSION, body, buf, cap, ret_len);
    json_decref(body);
    return err;
}

int ld_metadata_topic_id(const uint8_t *frame, uint32_t len, char ret_uuid[40])
{
    char why[HR_KJSON_WHY_MAX];
    uint32_t used;
    json_t *body = NULL;
    const uint32_t header = 5; /* correlation id, no tags */
    if (len < header)
        return HR_E_INVALID;
    int err = hr_kjson_decode(hr_kresponse_find(METADATA, METADATA_VERSION), METADATA_VERSION, frame + header, len - header,
                              &body, &used, why);
    if (err)
        return err;
    const json_t *topic = json_array_get(json_object_get(body, "Topics"), 0);
    const char *uuid = json_string_value(json_object_get(topic, "TopicId"));
    if (uuid && strlen(uuid) == 36 && json_integer_value(json_object_get(topic, "ErrorCode")) == 0)
        strcpy(ret_uuid, uuid);
    else
        err = HR_E_NOT_FOUND;
    json_decref(body);
    return err;
}

static char *hex_of(const uint8_t *data, uint32_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *hex = malloc(2 * (size_t)len + 1);
    for (uint32_t i = 0; hex && i < len; i++) {
        hex[2 * i] = digits[data[i] >> 4];
        hex[2 * i + 1] = digits[data[i] & 15];
    }
    if (hex)
        hex[2 * (size_t)len] = 0;
    return hex;
}

static json_t *produce_body(enum ld_kind kind, const char *topic, int32_t partition, uint32_t bytes)
{
    struct nb_batch batch;
    uint32_t record = kind == LD_PRODUCE ? 1000 : bytes > SMALL_OVERHEAD ? bytes - SMALL_OVERHEAD : 1;
    if (nb_batch_make(&batch, kind == LD_PRODUCE ? bytes : 0, record) != 0)
        return NULL;
    char *hex = hex_of(batch.bytes, batch.len_bytes);
    json_t *body = hex ? json_pack("{s:i, s:i, s:[{s:s, s:[{s:i, s:s}]}]}", "Acks", 1, "TimeoutMs", 30000, "TopicData",
                                   "Name", topic, "PartitionData", "Index", partition, "Records", hex)
                       : NULL;
    free(hex);
    free(batch.bytes);
    return body;
}

static json_t *fetch_body(const char *topic_uuid, int32_t partition, uint32_t bytes)
{
    return json_pack("{s:i, s:i, s:I, s:i, s:i, s:[{s:s, s:[{s:i, s:i, s:I, s:I}]}]}", "MaxWaitMs", 500, "MinBytes", 1,
                     "MaxBytes", (json_int_t)bytes, "SessionId", 0, "SessionEpoch", -1, "Topics", "TopicId", topic_uuid,
                     "Partitions", "Partition", partition, "CurrentLeaderEpoch", -1, "FetchOffset", (json_int_t)0,
                     "PartitionMaxBytes", (json_int_t)bytes);
}

int ld_request_make(struct ld_request *req, enum ld_kind kind, const char *topic, const char *topic_uuid,
                    int32_t partition, uint32_t bytes)
{
    const uint32_t cap = bytes + 4096;
    uint32_t n_topic = (uint32_t)strlen(topic);
    json_t *body = kind == LD_FETCH ? fetch_body(topic_uuid, partition, bytes) : produce_body(kind, topic, partition, bytes);

    *req = (struct ld_request){.kind = kind, .bytes = malloc(cap)};
    int err = req->bytes && body ? encode(kind == LD_FETCH ? FETCH : PRODUCE, kind == LD_FETCH ? FETCH_VERSION : PRODUCE_VERSION,
                                          body, req->bytes, cap, &req->len)
                                 : HR_E_NOMEM;
    json_decref(body);
    if (err) {
        free(req->bytes);
        req->bytes = NULL;
        return err;
    }
    /* Response header 1: correlation id and an empty tag section. Counts are compact, one byte each here. */
    if (kind == LD_FETCH) {
        req->error_top_at = 5 + 4;
        req->error_at = 5 + 4 + 2 + 4 + 1 + 16 + 1 + 4;
    } else {
        req->error_at = 5 + 1 + 1 + n_topic + 1 + 4;
    }
    return req->error_at + 2 > LD_PREFIX_MAX || n_topic > 120 ? HR_E_TOO_LARGE : 0;
}

void ld_request_head(const struct ld_request *req, int32_t correlation_id, uint8_t head[LD_HEAD_BYTES])
{
    memcpy(head, req->bytes, LD_HEAD_BYTES);
    hr_kput32(head + 8, (uint32_t)correlation_id);
}

int ld_request_judge(const struct ld_request *req, const uint8_t *answer, uint32_t n)
{
    if (req->error_top_at && n >= req->error_top_at + 2 && hr_kget16(answer + req->error_top_at) != 0)
        return hr_kget16(answer + req->error_top_at);
    if (n < req->error_at + 2)
        return -1;
    return hr_kget16(answer + req->error_at);
}

#include "controlplane/metadata/fake_broker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/kafka/json.h"
#include "shared/kafka/schema.h"

struct hr_conn *current;
int n_opened;
int open_error;

int hr_conn_open(struct hr_conns *conns, const struct hr_addr *addr, uint16_t port, uint32_t timeout_ms,
                 const struct hr_conn_ops *ops, void *owner, struct hr_conn **ret_conn)
{
    (void)conns;
    (void)timeout_ms;
    n_opened++;
    if (open_error)
        return open_error;
    current = calloc(1, sizeof(*current));
    *current = (struct hr_conn){.ops = ops, .owner = owner, .addr = *addr, .port = port};
    *ret_conn = current;
    return 0;
}

int hr_conn_send(struct hr_conn *conn, const void *data, uint32_t len)
{
    assert_false(conn->released);
    assert_true(conn->n_sent + len <= sizeof(conn->sent));
    memcpy(conn->sent + conn->n_sent, data, len);
    conn->n_sent += len;
    return 0;
}

void hr_conn_release(struct hr_conn *conn)
{
    if (!conn)
        return;
    assert_false(conn->released);
    if (conn == current)
        current = NULL;
    conn->released = true;
    free(conn);
}

struct request take_request(void)
{
    const struct hr_kmessage *message;
    struct request request = {.key = -1};
    char why[HR_KJSON_WHY_MAX] = "";
    uint32_t used, size;
    json_t *header;

    assert_non_null(current);
    assert_true(current->n_sent >= 12);
    size = (uint32_t)current->sent[0] << 24 | (uint32_t)current->sent[1] << 16 |
           (uint32_t)current->sent[2] << 8 | current->sent[3];
    assert_int_equal(size + 4, current->n_sent);
    request.key = (int16_t)(current->sent[4] << 8 | current->sent[5]);
    request.version = (int16_t)(current->sent[6] << 8 | current->sent[7]);
    if (hr_kjson_decode(&hr_krequest_header, hr_krequest_header_version(request.key, request.version),
                        current->sent + 4, size, &header, &used, why) != 0)
        fail_msg("request header: %s", why);
    request.correlation_id = (int32_t)json_integer_value(json_object_get(header, "CorrelationId"));
    assert_string_equal(json_string_value(json_object_get(header, "ClientId")), "headrace");
    json_decref(header);
    message = hr_krequest_find(request.key, request.version);
    assert_non_null(message);
    if (hr_kjson_decode(message, request.version, current->sent + 4 + used, size - used, &request.body, &used,
                        why) != 0)
        fail_msg("%s: %s", message->name, why);
    current->n_sent = 0;
    return request;
}

uint32_t encode(int16_t key, int16_t version, int32_t correlation_id, const char *body, uint8_t *frame)
{
    const struct hr_kmessage *message = hr_kresponse_find(key, version);
    json_t *header = json_pack("{s:i}", "CorrelationId", correlation_id), *json = json_loads(body, 0, NULL);
    char why[HR_KJSON_WHY_MAX] = "";
    uint32_t n_header = 0, n_body = 0, size;

    assert_non_null(json);
    if (hr_kjson_encode(&hr_kresponse_header, hr_kresponse_header_version(key, version), header, frame + 4,
                        65000, &n_header, why) != 0 ||
        hr_kjson_encode(message, version, json, frame + 4 + n_header, 65000 - n_header, &n_body, why) != 0)
        fail_msg("%s: %s", message->name, why);
    size = n_header + n_body;
    frame[0] = (uint8_t)(size >> 24);
    frame[1] = (uint8_t)(size >> 16);
    frame[2] = (uint8_t)(size >> 8);
    frame[3] = (uint8_t)size;
    json_decref(header);
    json_decref(json);
    return size + 4;
}

void deliver(const uint8_t *bytes, uint32_t n, uint32_t piece)
{
    struct hr_conn *conn = current;

    for (uint32_t at = 0; at < n && current == conn; at += piece)
        conn->ops->data(conn->owner, bytes + at, n - at < piece ? n - at : piece);
}

void reply(const struct request *request, int16_t version, const char *body)
{
    static uint8_t frame[65536];

    deliver(frame, encode(request->key, version, request->correlation_id, body, frame), 7);
}

const char versions_body[] =
    "{\"ErrorCode\":0,\"ApiKeys\":[{\"ApiKey\":3,\"MinVersion\":0,\"MaxVersion\":13},"
    "{\"ApiKey\":18,\"MinVersion\":0,\"MaxVersion\":4},{\"ApiKey\":60,\"MinVersion\":0,\"MaxVersion\":2}]}";

const char *metadata_body(int n_brokers)
{
    static char text[2000];
    size_t len = 0;

    len += (size_t)snprintf(text + len, sizeof(text) - len,
                            "{\"ClusterId\":\"c1\",\"ControllerId\":1,\"Brokers\":[");
    for (int i = 1; i <= n_brokers; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len,
                                "%s{\"NodeId\":%d,\"Host\":\"10.0.1.%d\",\"Port\":9092,\"Rack\":\"z%d\"}",
                                i > 1 ? "," : "", i, i, i);
    snprintf(
        text + len, sizeof(text) - len,
        "],\"Topics\":[{\"ErrorCode\":0,\"Name\":\"t\",\"Partitions\":[{\"ErrorCode\":0,\"PartitionIndex\":0,"
        "\"LeaderId\":1,\"ReplicaNodes\":[1],\"IsrNodes\":[1]}]}]}");
    return text;
}

const char describe_body[] = "{\"ErrorCode\":0,\"ClusterId\":\"c1\",\"Brokers\":[]}";

#include "tests/ipc/mock_broker.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shared/kafka/json.h"
#include "shared/kafka/schema.h"

#define OUT_MAX 65536u

static json_t *body_of(int16_t key, int n_brokers, const char *host)
{
    json_t *brokers = json_array();

    if (key == 18) {
        json_decref(brokers);
        return json_pack("{s:i, s:[{s:i,s:i,s:i},{s:i,s:i,s:i},{s:i,s:i,s:i}]}", "ErrorCode", 0, "ApiKeys",
                         "ApiKey", 3, "MinVersion", 0, "MaxVersion", 12, "ApiKey", 18, "MinVersion", 0,
                         "MaxVersion", 4, "ApiKey", 60, "MinVersion", 0, "MaxVersion", 1);
    }
    for (int i = 1; i <= n_brokers; i++)
        json_array_append_new(brokers, json_pack("{s:i, s:s, s:i, s:s}", key == 3 ? "NodeId" : "BrokerId", i,
                                                 "Host", host, "Port", 9000 + i, "Rack", "zone-a"));
    if (key == 60)
        return json_pack("{s:i, s:s, s:o}", "ErrorCode", 0, "ClusterId", "mock-cluster", "Brokers", brokers);
    return json_pack("{s:s, s:i, s:o, s:[{s:i, s:s, s:[{s:i, s:i, s:i, s:[i], s:[i]}]}]}", "ClusterId",
                     "mock-cluster", "ControllerId", 1, "Brokers", brokers, "Topics", "ErrorCode", 0, "Name",
                     "orders", "Partitions", "ErrorCode", 0, "PartitionIndex", 0, "LeaderId", 1,
                     "ReplicaNodes", 1, "IsrNodes", 1);
}

uint32_t mock_broker_answer(const uint8_t *bytes, uint32_t n, int n_brokers, const char *host, uint8_t *out,
                            uint32_t *ret_n)
{
    char why[HR_KJSON_WHY_MAX] = "";
    uint32_t size, n_header = 0, n_body = 0;
    int16_t key, version;
    int32_t correlation_id;
    json_t *header, *body;

    if (n < 4)
        return 0;
    size = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    assert_true(size >= 8 && size < OUT_MAX);
    if (n < 4 + size)
        return 0;
    key = (int16_t)(bytes[4] << 8 | bytes[5]);
    version = (int16_t)(bytes[6] << 8 | bytes[7]);
    correlation_id =
        (int32_t)((uint32_t)bytes[8] << 24 | (uint32_t)bytes[9] << 16 | (uint32_t)bytes[10] << 8 | bytes[11]);
    header = json_pack("{s:i}", "CorrelationId", correlation_id);
    body = body_of(key, n_brokers, host);
    assert_non_null(body);
    if (hr_kjson_encode(&hr_kresponse_header, hr_kresponse_header_version(key, version), header, out + 4,
                        OUT_MAX - 4, &n_header, why) != 0 ||
        hr_kjson_encode(hr_kresponse_find(key, version), version, body, out + 4 + n_header,
                        OUT_MAX - 4 - n_header, &n_body, why) != 0)
        fail_msg("answer to API %d version %d: %s", key, version, why);
    json_decref(header);
    json_decref(body);
    out[0] = (uint8_t)((n_header + n_body) >> 24);
    out[1] = (uint8_t)((n_header + n_body) >> 16);
    out[2] = (uint8_t)((n_header + n_body) >> 8);
    out[3] = (uint8_t)(n_header + n_body);
    *ret_n = 4 + n_header + n_body;
    return 4 + size;
}

/* The codec against bytes written down by hand from the protocol's rules, and against what must be refused.
 * That it agrees with Kafka's own classes, for every API and version, is shown by
 * tests/integration/kafka_schema. */
#include "shared/kafka/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY_PRODUCE          0
#define KEY_FETCH            1
#define KEY_METADATA         3
#define KEY_FIND_COORDINATOR 10
#define KEY_API_VERSIONS     18
#define KEY_QUOTAS           48
#define KEY_TOPIC_PARTITIONS 75

static uint32_t from_hex(const char *hex, uint8_t *bytes, uint32_t cap)
{
    uint32_t n = 0;
    for (; *hex != '\0'; hex++) {
        if (*hex == ' ')
            continue;
        char pair[3] = {hex[0], hex[1], '\0'};
        assert_true(n < cap);
        bytes[n++] = (uint8_t)strtoul(pair, NULL, 16);
        hex++;
    }
    return n;
}

static json_t *json_of(const char *text)
{
    json_error_t error;
    json_t *object = json_loads(text, JSON_ALLOW_NUL, &error);
    if (object == NULL)
        fail_msg("%s in %s", error.text, text);
    return object;
}

/* The bytes decode to the text, and the text encodes to the bytes. */
static void both_ways(const struct hr_kmessage *message, int16_t version, const char *hex, const char *text)
{
    uint8_t bytes[512], out[512];
    char why[HR_KJSON_WHY_MAX];
    uint32_t used = 0, n = from_hex(hex, bytes, sizeof(bytes));
    json_t *got = NULL, *want = json_of(text);

    assert_non_null(message);
    bytes[n] = 0xaa; /* what follows is not looked at */
    if (hr_kjson_decode(message, version, bytes, n + 1, &got, &used, why) != 0)
        fail_msg("%s version %d: %s", message->name, version, why);
    assert_int_equal(used, n);
    if (!json_equal(got, want))
        fail_msg("%s version %d: got %s, want %s", message->name, version, json_dumps(got, JSON_COMPACT),
                 json_dumps(want, JSON_COMPACT));
    if (hr_kjson_encode(message, version, want, out, sizeof(out), &used, why) != 0)
        fail_msg("%s version %d: %s", message->name, version, why);
    assert_int_equal(used, n);
    assert_memory_equal(out, bytes, n);

    /* Every capacity below is refused, and every shorter input is. */
    for (uint32_t cap = 0; cap < n; cap++) {
        json_t *none;
        assert_int_equal(hr_kjson_encode(message, version, want, out, cap, &used, why), HR_E_TOO_LARGE);
        uint8_t *exact = malloc(cap + 1); /* so that a sanitizer sees reads beyond */
        memcpy(exact, bytes, cap);
        uint8_t *shrunk = realloc(exact, cap == 0 ? 1 : cap);
        assert_int_equal(hr_kjson_decode(message, version, shrunk, cap, &none, &used, why), HR_E_TRUNCATED);
        free(shrunk);
    }
    json_decref(got);
    json_decref(want);
}

static void refuse_decode(const struct hr_kmessage *message, int16_t version, const char *hex, int err,
                          const char *want_why)
{
    uint8_t bytes[512];
    char why[HR_KJSON_WHY_MAX];
    uint32_t used, n = from_hex(hex, bytes, sizeof(bytes));
    json_t *got;
    assert_int_equal(hr_kjson_decode(message, version, bytes, n, &got, &used, why), err);
    assert_string_equal(why, want_why);
}

static void refuse_encode(const struct hr_kmessage *message, int16_t version, const char *text, int err,
                          const char *want_why)
{
    uint8_t out[512];
    char why[HR_KJSON_WHY_MAX];
    uint32_t used;
    json_t *object = json_of(text);
    assert_int_equal(hr_kjson_encode(message, version, object, out, sizeof(out), &used, why), err);
    assert_string_equal(why, want_why);
    json_decref(object);
}

static void test_headers(void **state)
{
    both_ways(&hr_krequest_header, 1, "0003 0001 00000007 0002 6162",
              "{\"RequestApiKey\":3,\"RequestApiVersion\":1,\"CorrelationId\":7,\"ClientId\":\"ab\"}");
    /* Flexible, but the client id keeps its two-byte length. */
    both_ways(&hr_krequest_header, 2, "0012 0003 ffffffff ffff 00",
              "{\"RequestApiKey\":18,\"RequestApiVersion\":3,\"CorrelationId\":-1,\"ClientId\":null}");
    both_ways(&hr_kresponse_header, 0, "00000005", "{\"CorrelationId\":5}");
    both_ways(&hr_kresponse_header, 1, "00000005 00", "{\"CorrelationId\":5}");
}

static void test_plain_version(void **state)
{
    both_ways(hr_krequest_find(KEY_METADATA, 4), 4, "00000002 0001 61 0000 01",
              "{\"Topics\":[{\"Name\":\"a\"},{\"Name\":\"\"}],\"AllowAutoTopicCreation\":true}");
    both_ways(hr_krequest_find(KEY_METADATA, 4), 4, "ffffffff 00",
              "{\"Topics\":null,\"AllowAutoTopicCreation\":false}");
    both_ways(hr_kresponse_find(KEY_FIND_COORDINATOR, 0), 0, "0000 00000003 0002 6831 00002384",
              "{\"ErrorCode\":0,\"NodeId\":3,\"Host\":\"h1\",\"Port\":9092}");
}

static void test_flexible_version(void **state)
{
    both_ways(hr_krequest_find(KEY_METADATA, 12), 12, "02 000102030405060708090a0b0c0d0e0f 00 00 01 00 00",
              "{\"Topics\":[{\"TopicId\":\"00010203-0405-0607-0809-0a0b0c0d0e0f\",\"Name\":null}],"
              "\"AllowAutoTopicCreation\":true,\"IncludeTopicAuthorizedOperations\":false}");
    /* A tagged field next to unknown ones, in order. */
    both_ways(hr_kresponse_find(KEY_API_VERSIONS, 3), 3,
              "0000 02 0000 0000 000d 00 00000000 03 01 08 0000000000000009 09 02 beef 8001 00",
              "{\"ErrorCode\":0,\"ApiKeys\":[{\"ApiKey\":0,\"MinVersion\":0,\"MaxVersion\":13}],"
              "\"ThrottleTimeMs\":0,\"SupportedFeatures\":[],\"FinalizedFeaturesEpoch\":9,"
              "\"FinalizedFeatures\":[],\"ZkMigrationReady\":false,\"_tags\":{\"9\":\"beef\",\"128\":\"\"}}");
}

static void test_endpoints_behind_records(void **state)
{
    /* Records are bytes in hex; the endpoints are tagged and stand behind them. */
    both_ways(hr_kresponse_find(KEY_FETCH, 17), 17,
              "00000000 0000 00000000"
              " 02 11111111111111112222222222222222 02"
              "  00000000 0006 0000000000000000 ffffffffffffffff ffffffffffffffff 01 ffffffff 04 cafe01"
              "  01 01 09 00000002 00000005 00"
              " 00"
              " 01 00 0d 02 00000002 02 68 00002384 00 00",
              "{\"ThrottleTimeMs\":0,\"ErrorCode\":0,\"SessionId\":0,\"Responses\":[{"
              "\"TopicId\":\"11111111-1111-1111-2222-222222222222\",\"Partitions\":[{\"PartitionIndex\":0,"
              "\"ErrorCode\":6,\"HighWatermark\":0,\"LastStableOffset\":-1,\"LogStartOffset\":-1,"
              "\"DivergingEpoch\":{\"Epoch\":-1,\"EndOffset\":-1},"
              "\"CurrentLeader\":{\"LeaderId\":2,\"LeaderEpoch\":5},"
              "\"SnapshotId\":{\"EndOffset\":-1,\"Epoch\":-1},"
              "\"AbortedTransactions\":[],\"PreferredReadReplica\":-1,\"Records\":\"cafe01\"}]}],"
              "\"NodeEndpoints\":[{\"NodeId\":2,\"Host\":\"h\",\"Port\":9092,\"Rack\":null}]}");
}

static void test_nullable_struct(void **state)
{
    both_ways(hr_krequest_find(KEY_TOPIC_PARTITIONS, 0), 0, "01 000007d0 ff 00",
              "{\"Topics\":[],\"ResponsePartitionLimit\":2000,\"Cursor\":null}");
    both_ways(hr_krequest_find(KEY_TOPIC_PARTITIONS, 0), 0, "01 000007d0 01 02 74 00000004 00 00",
              "{\"Topics\":[],\"ResponsePartitionLimit\":2000,"
              "\"Cursor\":{\"TopicName\":\"t\",\"PartitionIndex\":4}}");
    refuse_decode(hr_krequest_find(KEY_TOPIC_PARTITIONS, 0), 0, "01 000007d0 02 02 74 00000004 00 00",
                  HR_E_INVALID, "Cursor: presence 2 of a struct");
}

static void test_floats(void **state)
{
    const struct hr_kmessage *quotas = hr_kresponse_find(KEY_QUOTAS, 0);
    both_ways(quotas, 0, "00000000 0000 ffff 00000001 00000000 00000001 0001 6b 3ff8000000000000",
              "{\"ThrottleTimeMs\":0,\"ErrorCode\":0,\"ErrorMessage\":null,\"Entries\":[{\"Entity\":[],"
              "\"Values\":[{\"Key\":\"k\",\"Value\":1.5}]}]}");
    both_ways(quotas, 0, "00000000 0000 ffff 00000001 00000000 00000001 0001 6b 7ff8000000000001",
              "{\"ThrottleTimeMs\":0,\"ErrorCode\":0,\"ErrorMessage\":null,\"Entries\":[{\"Entity\":[],"
              "\"Values\":[{\"Key\":\"k\",\"Value\":\"0x7ff8000000000001\"}]}]}");
}

static void test_strings_of_any_kind(void **state)
{
    both_ways(hr_krequest_find(KEY_METADATA, 0), 0, "00000001 0004 6100c3bc",
              "{\"Topics\":[{\"Name\":\"a\\u0000\\u00fc\"}]}");
    refuse_decode(hr_krequest_find(KEY_METADATA, 0), 0, "00000001 0001 ff", HR_E_INVALID,
                  "Topics[0].Name: not UTF-8");
}

static void test_defaults_fill_what_is_missing(void **state)
{
    uint8_t out[64], want[64];
    char why[HR_KJSON_WHY_MAX];
    uint32_t n = 0, want_n = from_hex("05 6b6166 6b 04 312e30 00 ffffffff 00", want, sizeof(want));
    json_t *object = json_of("{\"ClientSoftwareName\":\"kafk\",\"ClientSoftwareVersion\":\"1.0\"}");
    assert_int_equal(
        hr_kjson_encode(hr_krequest_find(KEY_API_VERSIONS, 5), 5, object, out, sizeof(out), &n, why), 0);
    assert_int_equal(n, want_n);
    assert_memory_equal(out, want, n);
    json_decref(object);

    /* Metadata 4 without a word: no topics, creation allowed as the definition says. */
    object = json_object();
    assert_int_equal(hr_kjson_encode(hr_krequest_find(KEY_METADATA, 4), 4, object, out, sizeof(out), &n, why),
                     0);
    assert_memory_equal(out, "\0\0\0\0\1", 5);
    json_decref(object);
}

static void test_bad_lengths_are_refused(void **state)
{
    const struct hr_kmessage *plain = hr_krequest_find(KEY_METADATA, 4);
    const struct hr_kmessage *flexible = hr_krequest_find(KEY_METADATA, 9);
    refuse_decode(plain, 4, "fffffff9 00", HR_E_INVALID, "Topics: count -7");
    refuse_decode(plain, 4, "7fffffff 0001 61", HR_E_TRUNCATED,
                  "Topics: count 2147483647 of at least 2 bytes each, 3 are left");
    refuse_decode(plain, 4, "00000001 8000 61", HR_E_INVALID, "Topics[0].Name: length -32768");
    refuse_decode(plain, 4, "00000001 ffff 61", HR_E_INVALID,
                  "Topics[0].Name: null, which version 4 does not allow");
    refuse_decode(plain, 4, "00000001 0100 61", HR_E_TRUNCATED,
                  "Topics[0].Name: needs 256 bytes, 1 are left");
    refuse_decode(flexible, 9, "ffffffff0f 00", HR_E_TRUNCATED,
                  "Topics: count 4294967294 of at least 2 bytes each, 1 are left");
    refuse_decode(flexible, 9, "ffffffff1f 00", HR_E_INVALID, "Topics: a varint of more than 32 bits");
    refuse_decode(flexible, 9, "02 818008 6161", HR_E_INVALID, "Topics[0].Name: length 131072 of a string");
    refuse_decode(hr_krequest_find(KEY_PRODUCE, 3), 3,
                  "ffff 0001 00000000 00000001 0001 74 00000001 00000000 fffffffe", HR_E_INVALID,
                  "TopicData[0].PartitionData[0].Records: length -2");
    refuse_decode(plain, 9, "00", HR_E_TRUNCATED, "AllowAutoTopicCreation: needs 1 bytes, 0 are left");
    refuse_decode(plain, 99, "00", HR_E_VERSION, "MetadataRequest has no version 99 here");
}

static void test_bad_tags_are_refused(void **state)
{
    const struct hr_kmessage *message = hr_kresponse_find(KEY_API_VERSIONS, 3);
    refuse_decode(message, 3, "0000 01 00000000 02 09 00 09 00", HR_E_INVALID, "tag 9 after tag 9");
    refuse_decode(message, 3, "0000 01 00000000 02 09 00 07 00", HR_E_INVALID, "tag 7 after tag 9");
    refuse_decode(message, 3, "0000 01 00000000 01 09 05 00", HR_E_TRUNCATED, "needs 5 bytes, 1 are left");
    refuse_decode(message, 3, "0000 01 00000000 01 03 02 01 00", HR_E_INVALID,
                  "tag 3 is longer than its value");
    refuse_decode(message, 3, "0000 01 00000000 01 01 04 00000000 00000000", HR_E_TRUNCATED,
                  "FinalizedFeaturesEpoch: needs 8 bytes, 4 are left");
    refuse_decode(message, 3, "0000 01 00000000 ffffffff0f", HR_E_TRUNCATED, "needs 1 bytes, 0 are left");
}

static void test_bad_json_is_refused(void **state)
{
    const struct hr_kmessage *metadata = hr_krequest_find(KEY_METADATA, 9);
    refuse_encode(metadata, 9, "{\"Topic\":[]}", HR_E_INVALID, "no field is called \"Topic\"");
    refuse_encode(metadata, 9, "{\"Topics\":5}", HR_E_INVALID, "Topics: wants an array");
    refuse_encode(metadata, 9, "{\"Topics\":[{\"Name\":null}]}", HR_E_INVALID,
                  "Topics[0].Name: null, which version 9 does not allow");
    refuse_encode(metadata, 9, "{\"Topics\":[{\"Name\":\"a\"},7]}", HR_E_INVALID,
                  "Topics[1]: wants an object");
    refuse_encode(metadata, 9, "{\"AllowAutoTopicCreation\":1}", HR_E_INVALID,
                  "AllowAutoTopicCreation: wants true or false");
    refuse_encode(metadata, 9, "{\"_tags\":{\"x\":\"\"}}", HR_E_INVALID, "\"x\" in _tags is no tag");
    refuse_encode(metadata, 9, "{\"_tags\":{\"5\":\"abc\"}}", HR_E_INVALID,
                  "tag 5 wants a string of hex digits");
    refuse_encode(metadata, 9, "{\"_tags\":{\"5\":\"\",\"05\":\"\"}}", HR_E_INVALID, "tag 5 twice");
    refuse_encode(hr_kresponse_find(KEY_FIND_COORDINATOR, 0), 0, "{\"Port\":4294967296}", HR_E_INVALID,
                  "Port: 4294967296 is outside -2147483648 to 2147483647");
    /* Not ignorable, and not of this version. */
    refuse_encode(hr_krequest_find(KEY_METADATA, 3), 3, "{\"AllowAutoTopicCreation\":false}",
                  HR_E_UNSUPPORTED, "version 3 cannot carry AllowAutoTopicCreation");
    refuse_encode(metadata, 99, "{}", HR_E_VERSION, "MetadataRequest has no version 99 here");
}

static void test_ignorable_is_dropped(void **state)
{
    uint8_t out[64];
    char why[HR_KJSON_WHY_MAX];
    uint32_t n = 0;
    json_t *object = json_of("{\"ThrottleTimeMs\":7,\"ErrorCode\":0,\"ApiKeys\":[]}");
    assert_int_equal(
        hr_kjson_encode(hr_kresponse_find(KEY_API_VERSIONS, 0), 0, object, out, sizeof(out), &n, why), 0);
    assert_int_equal(n, 6);
    json_decref(object);
}

/* Every API and version: what encodes from an empty object decodes to a full one, which encodes the same. */
static void test_empty_object_of_every_version(void **state)
{
    for (uint16_t i = 0; i < hr_kapis_n; i++) {
        const struct hr_kapi *api = &hr_kapis[i];
        for (int16_t v = api->versions.min; v <= api->versions.max; v++) {
            const struct hr_kmessage *both[] = {hr_krequest_find(api->key, v),
                                                hr_kresponse_find(api->key, v)};
            for (int k = 0; k < 2; k++) {
                uint8_t first[1024], second[1024];
                uint32_t n = 0, used = 0, m = 0;
                char why[HR_KJSON_WHY_MAX];
                json_t *empty = json_object(), *full = NULL;
                if (hr_kjson_encode(both[k], v, empty, first, sizeof(first), &n, why) != 0)
                    fail_msg("%s version %d: %s", both[k]->name, v, why);
                assert_int_equal(hr_kjson_decode(both[k], v, first, n, &full, &used, why), 0);
                assert_int_equal(used, n);
                assert_int_equal(hr_kjson_encode(both[k], v, full, second, sizeof(second), &m, why), 0);
                assert_int_equal(m, n);
                assert_memory_equal(first, second, n);
                json_decref(empty);
                json_decref(full);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_plain_version),
        cmocka_unit_test(test_flexible_version),
        cmocka_unit_test(test_endpoints_behind_records),
        cmocka_unit_test(test_nullable_struct),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_strings_of_any_kind),
        cmocka_unit_test(test_defaults_fill_what_is_missing),
        cmocka_unit_test(test_bad_lengths_are_refused),
        cmocka_unit_test(test_bad_tags_are_refused),
        cmocka_unit_test(test_bad_json_is_refused),
        cmocka_unit_test(test_ignorable_is_dropped),
        cmocka_unit_test(test_empty_object_of_every_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Tails: endpoints behind the records, rewritten while the frame keeps its length. What comes out is read
 * back with the codec. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/kafka/tail.h"
#include "shared/kafka/json.h"
#include "shared/kafka/wire.h"
#include "tests/support/relay_fixture.h"

#define HOLD_MAX (64u * 1024)

static struct rf f;

static int setup(void **state)
{
    rf_init(&f, 3, HOLD_MAX);
    return 0;
}

static int teardown(void **state)
{
    rf_fini(&f);
    return 0;
}

static uint64_t counter(enum hr_counter c)
{
    return f.stats.counters[c];
}

static void expect(uint64_t seed, int16_t key, int16_t version)
{
    struct rf_bytes b = {0};

    rf_reset(&f, 3);
    f.seed = seed;
    rf_bare_request(&b, key, version, 77);
    rf_play_requests(&f, b.p, b.len);
    assert_int_equal(f.request.verdict, HR_DROP_MAX);
    rf_free(&b);
}

/* The body of the one frame that the client got; every byte of it must be read. */
static json_t *received(int16_t key, int16_t version)
{
    char why[HR_KJSON_WHY_MAX];
    json_t *obj = NULL;
    uint32_t used = 0, at = 8;

    assert_true(f.to_client.len > 9);
    assert_int_equal(hr_kget32(f.to_client.p), f.to_client.len - 4);
    if (hr_kresponse_header_version(key, version) == 1)
        assert_int_equal(f.to_client.p[at++], 0);
    if (hr_kjson_decode(hr_kresponse_find(key, version), version, f.to_client.p + at, f.to_client.len - at,
                        &obj, &used, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(at + used, f.to_client.len);
    return obj;
}

static const struct api {
    int16_t key, first, last;
    const char *before; /* the rest of the body, with a NOT_LEADER partition */
} apis[] = {
    {0, 10, 12,
     "'Responses':[{'Name':'t','PartitionResponses':[{'Index':0,'ErrorCode':6,'BaseOffset':-1,'CurrentLeader'"
     ":"
     "{'LeaderId':1,'LeaderEpoch':9}}]}]"},
    {1, 16, 18,
     "'ErrorCode':0,'SessionId':5,'Responses':[{'TopicId':'01020304-0506-0708-090a-0b0c0d0e0f10','Partitions'"
     ":["
     "{'PartitionIndex':0,'ErrorCode':0,'HighWatermark':5,'AbortedTransactions':null,'Records':'00010203'},"
     "{'PartitionIndex':1,'ErrorCode':6,'HighWatermark':-1,'AbortedTransactions':[{'ProducerId':1,'"
     "FirstOffset':2}],"
     "'Records':null,'CurrentLeader':{'LeaderId':1,'LeaderEpoch':9}}]}]"},
    {78, 0, 2,
     "'ErrorCode':0,'Responses':[{'TopicId':'01020304-0506-0708-090a-0b0c0d0e0f10','Partitions':["
     "{'PartitionIndex':1,'ErrorCode':6,'CurrentLeader':{'LeaderId':1,'LeaderEpoch':9},'Records':'0011',"
     "'AcquiredRecords':[]}]}]"},
    {79, 0, 2,
     "'ErrorCode':0,'Responses':[{'TopicId':'01020304-0506-0708-090a-0b0c0d0e0f10','Partitions':["
     "{'PartitionIndex':1,'ErrorCode':6,'CurrentLeader':{'LeaderId':1,'LeaderEpoch':9}}]}]"},
};
#define N_APIS (sizeof(apis) / sizeof(apis[0]))

static void make(struct rf_bytes *b, const struct api *api, int16_t version, const char *endpoints,
                 const char *tags)
{
    char *json = malloc(strlen(endpoints) + 4096);

    sprintf(json, "{%s,'NodeEndpoints':[%s]%s}", api->before, endpoints, tags);
    b->len = 0;
    rf_response(b, api->key, version, 77, json);
    free(json);
}

/* Plays it in, checks what must hold for every tail: same length, everything in front untouched. */
static json_t *play(const struct api *api, int16_t version, const struct rf_bytes *b, uint64_t seed)
{
    expect(seed, api->key, version);
    rf_play_responses(&f, b->p, b->len);
    if (f.response.verdict != HR_DROP_MAX)
        fail_msg("api %d version %d seed %d: verdict %d", api->key, version, (int)seed, f.response.verdict);
    assert_int_equal(f.to_client.len, b->len);
    assert_true(f.leader_hint);
    assert_int_equal(counter(HR_CTR_payload_copied_bytes), 0);
    json_t *obj = received(api->key, version);
    assert_true(rf_balanced(&f));
    return obj;
}

static void check_endpoint(const json_t *obj, int node)
{
    char host[64];

    snprintf(host, sizeof(host), "b%d.proxy.test", node);
    assert_string_equal(json_string_value(json_object_get(obj, "Host")), host);
    assert_int_equal(json_integer_value(json_object_get(obj, "NodeId")), node);
    assert_int_equal(json_integer_value(json_object_get(obj, "Port")), 20000 + node);
}

static size_t count_of(const json_t *obj)
{
    return json_array_size(json_object_get(obj, "NodeEndpoints"));
}

static void rewritten(void **state)
{
    for (size_t i = 0; i < N_APIS; i++) {
        for (int16_t v = apis[i].first; v <= apis[i].last; v++) {
            struct rf_bytes b = {0};
            make(&b, &apis[i], v,
                 "{'NodeId':1,'Host':'kafka-1.internal.example.com','Port':9092,'Rack':'az1'},"
                 "{'NodeId':42,'Host':'kafka-42.internal.example.com','Port':9092}",
                 "");
            for (uint64_t seed = 1; seed <= 20; seed++) {
                json_t *obj = play(&apis[i], v, &b, seed);
                assert_int_equal(count_of(obj), 2);
                check_endpoint(json_array_get(json_object_get(obj, "NodeEndpoints"), 0), 1);
                check_endpoint(json_array_get(json_object_get(obj, "NodeEndpoints"), 1), 42);
                assert_string_equal(json_string_value(json_object_get(
                                        json_array_get(json_object_get(obj, "NodeEndpoints"), 0), "Rack")),
                                    "az1");
                assert_int_equal(counter(HR_CTR_kafka_edits_tail), 1);
                assert_int_equal(counter(HR_CTR_kafka_tails_hidden), 0);
                json_decref(obj);
            }
            rf_free(&b);
        }
    }
}

/* Hosts of every length: shorter ones cannot hold ours, one byte cannot be filled, and the filler's size
 * crosses 128, where it takes two. */
static void every_gap(void **state)
{
    char host[400], endpoints[600];
    const uint32_t ours = (uint32_t)strlen("b1.proxy.test");

    for (size_t i = 0; i < N_APIS; i++) {
        uint32_t two_fillers = 0;
        for (uint32_t len = 1; len < 330; len++) {
            struct rf_bytes b = {0};
            memset(host, 'h', len);
            host[len] = '\0';
            sprintf(endpoints, "{'NodeId':1,'Host':'%s','Port':9092}", host);
            make(&b, &apis[i], apis[i].last, endpoints, "");
            json_t *obj = play(&apis[i], apis[i].last, &b, len);
            bool hidden = counter(HR_CTR_kafka_tails_hidden) == 1;
            /* Around 127 the tag's own size and the string's shrink too, so only the exact lengths are sure.
             */
            if (len < ours || len == ours + 1)
                assert_true(hidden);
            if (len == ours || len > ours + 1)
                assert_false(hidden);
            assert_int_equal(counter(HR_CTR_kafka_edits_tail), hidden ? 0 : 1);
            assert_int_equal(count_of(obj), hidden ? 0 : 1);
            if (!hidden)
                check_endpoint(json_array_get(json_object_get(obj, "NodeEndpoints"), 0), 1);
            two_fillers += json_object_size(json_object_get(obj, "_tags")) == 2;
            json_decref(obj);
            rf_free(&b);
        }
        assert_true(two_fillers > 0);
    }
}

static void nothing_to_change(void **state)
{
    for (size_t i = 0; i < N_APIS; i++) {
        struct rf_bytes b = {0};
        make(&b, &apis[i], apis[i].first, "", "");
        for (uint64_t seed = 1; seed <= 5; seed++) {
            json_t *obj = play(&apis[i], apis[i].first, &b, seed);
            assert_memory_equal(f.to_client.p, b.p, b.len);
            assert_int_equal(counter(HR_CTR_edited_bytes), 0);
            assert_int_equal(counter(HR_CTR_kafka_edits_tail), 0);
            json_decref(obj);
        }
        rf_free(&b);
    }
}

/* Too short for us, but long enough without the rack. */
static void rack_makes_room(void **state)
{
    for (size_t i = 0; i < N_APIS; i++) {
        struct rf_bytes b = {0};
        make(&b, &apis[i], apis[i].last, "{'NodeId':1,'Host':'10.0.0.1','Port':9092,'Rack':'use1-az1'}", "");
        json_t *obj = play(&apis[i], apis[i].last, &b, 3);
        assert_int_equal(count_of(obj), 1);
        const json_t *node = json_array_get(json_object_get(obj, "NodeEndpoints"), 0);
        check_endpoint(node, 1);
        assert_true(json_is_null(json_object_get(node, "Rack")));
        assert_int_equal(counter(HR_CTR_kafka_edits_tail), 1);
        assert_int_equal(counter(HR_CTR_kafka_tails_hidden), 0);
        json_decref(obj);
        rf_free(&b);
    }
}

/* A node that this listener has no port for: the address goes, the others stay. */
static void unreachable_node(void **state)
{
    for (size_t i = 0; i < N_APIS; i++) {
        struct rf_bytes b = {0};
        make(&b, &apis[i], apis[i].last,
             "{'NodeId':70000,'Host':'secret.internal','Port':9092},"
             "{'NodeId':2,'Host':'kafka-2.internal.example.com','Port':9092}",
             "");
        json_t *obj = play(&apis[i], apis[i].last, &b, 3);
        assert_int_equal(count_of(obj), 1);
        check_endpoint(json_array_get(json_object_get(obj, "NodeEndpoints"), 0), 2);
        assert_null(memmem(f.to_client.p, f.to_client.len, "secret", 6));
        assert_int_equal(counter(HR_CTR_kafka_nodes_hidden), 1);
        json_decref(obj);
        rf_free(&b);
    }
}

/* Tagged fields that nobody knows yet survive, in front of the filler, whatever their numbers. */
static void other_tags_stay(void **state)
{
    for (size_t i = 0; i < N_APIS; i++) {
        for (int hidden = 0; hidden <= 1; hidden++) {
            struct rf_bytes b = {0};
            make(&b, &apis[i], apis[i].last,
                 hidden ? "{'NodeId':1,'Host':'k','Port':9092}"
                        : "{'NodeId':1,'Host':'kafka-1.internal.example.com','Port':9092}",
                 ",'_tags':{'5':'aabb','126':'','200000':'cc'}");
            json_t *obj = play(&apis[i], apis[i].last, &b, 5);
            const json_t *tags = json_object_get(obj, "_tags");
            assert_string_equal(json_string_value(json_object_get(tags, "5")), "aabb");
            assert_string_equal(json_string_value(json_object_get(tags, "126")), "");
            assert_string_equal(json_string_value(json_object_get(tags, "200000")), "cc");
            assert_true(json_object_size(tags) >= 4);
            assert_int_equal(count_of(obj), hidden ? 0 : 1);
            assert_int_equal(counter(HR_CTR_kafka_tails_hidden), (uint64_t)hidden);
            json_decref(obj);
            rf_free(&b);
        }
    }
}

/* Everything in front of the tail leaves as it comes; the tail waits for its last byte. */
static void streams_up_to_the_tail(void **state)
{
    for (size_t i = 0; i < N_APIS; i++) {
        struct rf_bytes b = {0};
        make(&b, &apis[i], apis[i].last, "{'NodeId':1,'Host':'kafka-1.internal.example.com','Port':9092}",
             "");
        expect(1, apis[i].key, apis[i].last);
        uint32_t held = 0;
        for (uint32_t n = 1; n <= b.len; n++) {
            rf_feed(&f, &f.broker_in, b.p + n - 1, 1, 1);
            rf_responses(&f);
            assert_int_equal(f.response.verdict, HR_DROP_MAX);
            if (n >= 8 && n < b.len && f.to_client.len < n) {
                held = held ? held : n - 1;
                assert_int_equal(f.to_client.len, held); /* nothing leaves once the tail has begun */
                assert_int_equal(f.response.want, b.len - n);
            }
        }
        assert_int_equal(f.to_client.len, b.len);
        /* Endpoint, its tag and the counts: nothing in front was held. */
        assert_true(held > b.len - 60);
        rf_free(&b);
    }
}

/* A leader change in the middle of a large fetch: 40 MB of records pass by reference, hardly anything is
 * held. */
static void forty_megabytes(void **state)
{
    const uint32_t records = 40u << 20;
    struct rf_bytes head = {0}, frame = {0}, tail = {0};
    uint8_t len[HR_KVARINT_MAX];

    /* A frame with empty records, cut behind their length, which is then made large. */
    rf_response(
        &frame, 1, 17, 77,
        "{'ErrorCode':0,'SessionId':5,'Responses':[{'TopicId':'01020304-0506-0708-090a-0b0c0d0e0f10','"
        "Partitions':["
        "{'PartitionIndex':0,'ErrorCode':0,'HighWatermark':5,'AbortedTransactions':null,'Records':'"
        "fefefefefefe'},"
        "{'PartitionIndex':1,'ErrorCode':6,'HighWatermark':-1,'AbortedTransactions':[],'Records':null,"
        "'CurrentLeader':{'LeaderId':1,'LeaderEpoch':9}}]}],'NodeEndpoints':[{'NodeId':1,'Host':"
        "'kafka-1.internal.example.com','Port':9092}]}");
    uint8_t *at = memmem(frame.p, frame.len, "\7\xfe\xfe\xfe\xfe\xfe\xfe", 7);
    assert_non_null(at);
    rf_append(&head, frame.p, (uint32_t)(at - frame.p));
    rf_append(&head, len, hr_kvarint_put(len, records + 1));
    rf_append(&tail, at + 7, frame.len - (uint32_t)(at - frame.p) - 7);
    uint32_t total = head.len + records + tail.len;
    hr_kput32(head.p, total - 4);

    expect(1, 1, 17);
    rf_feed(&f, &f.broker_in, head.p, head.len, 20);
    rf_responses(&f);
    for (uint32_t sent = 0; sent < records; sent += 1u << 20) {
        rf_feed_zeros(&f, &f.broker_in, 1u << 20);
        hr_relay_responses(f.ctx, f.relay, NULL, f.policy, f.listener, &f.broker_in, &f.client_out, f.room,
                           &f.response);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        assert_int_equal(f.response.taken, 1u << 20);
        assert_int_equal(f.broker_in.bytes, 0);
        assert_false(f.response.leader_hint);
        hr_pieceq_clear(&f.bufs, &f.client_out);
    }
    assert_int_equal(f.to_client.len, head.len);
    rf_play_responses(&f, tail.p, tail.len);
    assert_int_equal(f.response.verdict, HR_DROP_MAX);
    assert_true(f.leader_hint);
    assert_int_equal(f.to_client.len, head.len + tail.len);
    assert_true(f.most_held < tail.len);
    assert_int_equal(counter(HR_CTR_kafka_edits_tail), 1);
    assert_int_equal(counter(HR_CTR_payload_copied_bytes), 0);
    assert_int_equal(counter(HR_CTR_kafka_response_bytes), total);
    assert_true(counter(HR_CTR_edited_bytes) < 100);

    /* The same frame with its records taken out again can be read back. */
    struct rf_bytes small = {0};
    rf_append(&small, frame.p, (uint32_t)(at - frame.p) + 7);
    rf_append(&small, f.to_client.p + head.len, tail.len);
    f.to_client.len = 0;
    rf_append(&f.to_client, small.p, small.len);
    json_t *obj = received(1, 17);
    check_endpoint(json_array_get(json_object_get(obj, "NodeEndpoints"), 0), 1);
    json_decref(obj);
    assert_true(rf_balanced(&f));
    rf_free(&small);
    rf_free(&head);
    rf_free(&tail);
    rf_free(&frame);
}

static void beyond_hold_max(void **state)
{
    char *endpoints = malloc(1 << 20);
    struct rf_bytes b = {0};
    int n = 0;

    for (int i = 0; i < 2000; i++)
        n += sprintf(endpoints + n, "%s{'NodeId':%d,'Host':'kafka-%d.internal.example.com','Port':9092}",
                     i ? "," : "", i, i);
    make(&b, &apis[1], 17, endpoints, "");
    assert_true(b.len > HOLD_MAX + 1000);
    expect(1, 1, 17);
    rf_play_responses(&f, b.p, b.len);
    assert_int_equal(f.response.verdict, HR_DROP_kafka_hold_max);
    assert_true(rf_balanced(&f));
    free(endpoints);
    rf_free(&b);
}

static void malformed_tails(void **state)
{
    for (size_t i = 0; i < N_APIS; i++) {
        struct rf_bytes b = {0};
        make(&b, &apis[i], apis[i].last, "{'NodeId':1,'Host':'kafka-1.internal.example.com','Port':9092}",
             "");
        uint8_t *host = memmem(b.p, b.len, "kafka-1", 7);
        assert_non_null(host);
        host[-1]++; /* the host leaves its struct */
        expect(1, apis[i].key, apis[i].last);
        rf_play_responses(&f, b.p, b.len);
        assert_int_equal(f.response.verdict, HR_DROP_kafka_malformed_response);
        rf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewritten),
        cmocka_unit_test(every_gap),
        cmocka_unit_test(nothing_to_change),
        cmocka_unit_test(rack_makes_room),
        cmocka_unit_test(unreachable_node),
        cmocka_unit_test(other_tags_stay),
        cmocka_unit_test(streams_up_to_the_tail),
        cmocka_unit_test(forty_megabytes),
        cmocka_unit_test(beyond_hold_max),
        cmocka_unit_test(malformed_tails),
    };
    return cmocka_run_group_tests_name("relay tails", tests, setup, teardown);
}

/* Client to broker: what passes, what is refused before a byte reaches the broker, what is answered here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <rte_mempool.h>

#include "shared/kafka/wire.h"
#include "tests/support/relay_fixture.h"

#define HOLD_MAX (256u * 1024)

static struct rf f;

static uint32_t in_flight(void)
{
    struct hr_relay_state s;

    hr_relay_get_state(f.relay, &s);
    return s.in_flight;
}

static void assert_sent(const struct rf_bytes *want)
{
    assert_int_equal(f.to_broker.len, want->len);
    assert_memory_equal(f.to_broker.p, want->p, want->len);
}

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

static void raw(struct rf_bytes *b, int32_t size, int16_t key, int16_t version, int32_t correlation_id)
{
    uint8_t p[12];

    hr_kput32(p, (uint32_t)size);
    hr_kput16(p + 4, (uint16_t)key);
    hr_kput16(p + 6, (uint16_t)version);
    hr_kput32(p + 8, (uint32_t)correlation_id);
    rf_append(b, p, sizeof(p));
}

/* A Produce with one record batch of n bytes, given as zeros. */
static void produce(struct rf_bytes *b, int16_t version, int acks, uint32_t n)
{
    char *json = malloc(300 + 2 * (size_t)n);
    int at =
        sprintf(json, "{'Acks':%d,'TimeoutMs':1000,'TopicData':[{%s,'PartitionData':[{'Index':0,'Records':'",
                acks, version >= 13 ? "'TopicId':'01020304-0506-0708-090a-0b0c0d0e0f10'" : "'Name':'t'");

    memset(json + at, '0', 2 * (size_t)n);
    strcpy(json + at + 2 * (size_t)n, "'}]}]}");
    rf_request(b, 0, version, 7, json);
    free(json);
}

static void passes_in_any_pieces(void **state)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct rf_bytes b = {0};
        rf_reset(&f, 3);
        f.seed = seed;
        rf_request(&b, 18, 3, 1, "{'ClientSoftwareName':'test','ClientSoftwareVersion':'1'}");
        rf_request(&b, 3, 12, 2, "{'Topics':null,'AllowAutoTopicCreation':true}");
        rf_request(&b, 3, 1, 3, "{'Topics':[{'Name':'a'},{'Name':'b'}]}");
        produce(&b, 9, -1, 30000);
        produce(&b, 8, 1, 10);
        rf_request(&b, 17, 1, 8, "{'Mechanism':'PLAIN'}");
        rf_play_requests(&f, b.p, b.len);
        if (f.request.verdict != HR_DROP_MAX || f.to_broker.len != b.len)
            fail_msg("seed %llu", (unsigned long long)seed);
        assert_sent(&b);
        assert_int_equal(in_flight(), 6);
        assert_int_equal(f.stats.counters[HR_CTR_kafka_requests], 6);
        assert_int_equal(f.stats.counters[HR_CTR_kafka_request_bytes], b.len);
        assert_int_equal(f.stats.counters[HR_CTR_edited_bytes], 0);
        assert_int_equal(f.stats.counters[HR_CTR_payload_copied_bytes], 0);
        assert_true(rf_balanced(&f));
        rf_free(&b);
    }
}

static void header_first_then_cut_through(void **state)
{
    struct rf_bytes b = {0};

    rf_reset(&f, 3);
    produce(&b, 9, -1, 100000);
    /* Size, header, transactional id, acks: nothing leaves before. */
    uint32_t head = 4 + 8 + 2 + 4 + 1 + 1 + 2, at = 0;
    for (; at < head - 1; at++) {
        rf_feed(&f, &f.client_in, b.p + at, 1, 1);
        rf_requests(&f);
        assert_int_equal(f.to_broker.len, 0);
        assert_false(f.request.blocked);
        assert_true(at < 4 || f.request.want > 0);
    }
    struct hr_relay_state s;
    hr_relay_get_state(f.relay, &s);
    assert_false(s.request_mid_frame);
    /* From then on every byte leaves as it comes. */
    while (at < b.len) {
        uint32_t n = b.len - at < 1448 ? b.len - at : 1448;
        rf_feed(&f, &f.client_in, b.p + at, n, 1448);
        at += n;
        rf_requests(&f);
        assert_int_equal(f.to_broker.len, at);
        hr_relay_get_state(f.relay, &s);
        assert_int_equal(s.request_mid_frame, at < b.len);
        assert_string_equal(s.client_id, "test");
        assert_int_equal(s.last_api_key, 0);
    }
    assert_sent(&b);
    rf_free(&b);
}

static void room_is_kept(void **state)
{
    struct rf_bytes b = {0};

    rf_reset(&f, 3);
    produce(&b, 3, 1, 20000);
    produce(&b, 3, 1, 20000);
    rf_feed(&f, &f.client_in, b.p, b.len, 1448);
    f.room = 1000;
    for (uint32_t sent = 0; sent < b.len; sent = f.to_broker.len) {
        rf_requests(&f);
        assert_true(f.to_broker.len - sent <= 1000);
        assert_true(f.to_broker.len > sent);
        assert_int_equal(f.request.blocked, f.to_broker.len < b.len);
        assert_false(f.request.again);
    }
    f.room = 0;
    rf_feed(&f, &f.client_in, b.p, b.len, 1448);
    rf_requests(&f);
    assert_true(f.request.blocked);
    assert_int_equal(f.request.taken, 0);
    assert_sent(&b);
    rf_free(&b);
}

static void take_all_chunks(void **chunks, uint32_t *n)
{
    for (*n = 0; rte_mempool_get(f.bufs.chunk_pool, &chunks[*n]) == 0; ++*n)
        ;
}

/* What has been read, and counted, but cannot be moved stays where it is until there is memory. */
static void no_memory_to_move(void **state)
{
    static void *chunks[8192];
    struct rf_bytes b = {0}, want = {0};
    struct hr_relay_state s;
    uint32_t n;

    rf_reset(&f, 3);
    do { /* no room behind what is queued */
        rf_feed(&f, &f.broker_out, "x", 1, 1);
        rf_append(&want, "x", 1);
    } while (f.broker_out.last->tail < HR_PIECE_CHUNK_N);
    produce(&b, 3, 1, 3000);
    produce(&b, 3, 1, 3000);
    produce(&b, 3, 1, 3000);
    rf_append(&want, b.p, b.len);
    rf_feed(&f, &f.client_in, b.p, b.len - 100, 1448);
    take_all_chunks(chunks, &n);
    for (int i = 0; i < 3; i++) {
        hr_relay_requests(f.ctx, f.relay, NULL, f.policy, f.listener, &f.client_in, &f.broker_out, f.room, &f.request);
        assert_true(f.request.blocked && f.request.again);
        assert_int_equal(f.request.taken, 0);
        assert_int_equal(f.client_in.bytes, b.len - 100);
        assert_int_equal(f.broker_out.bytes, want.len - b.len);
        hr_relay_get_state(f.relay, &s);
        assert_true(s.request_mid_frame);
        assert_int_equal(s.requests, 3);
        assert_int_equal(s.in_flight, 3);
    }
    while (n > 0)
        rte_mempool_put(f.bufs.chunk_pool, chunks[--n]);
    rf_feed(&f, &f.client_in, b.p + b.len - 100, 100, 100);
    rf_requests(&f);
    assert_int_equal(f.request.taken, b.len);
    assert_false(f.request.again);
    assert_sent(&want);
    assert_false(hr_relay_mid_frame(f.relay, true));
    assert_int_equal(in_flight(), 3);
    assert_true(rf_balanced(&f));
    rf_free(&b);
    rf_free(&want);
}

static void refused(const struct rf_bytes *b, enum hr_drop want)
{
    struct rf_bytes good = {0};

    for (uint64_t seed = 1; seed <= 5; seed++) {
        rf_reset(&f, 3);
        f.seed = seed;
        good.len = 0;
        rf_request(&good, 3, 1, 3, "{'Topics':null}");
        rf_play_requests(&f, good.p, good.len);
        rf_play_requests(&f, b->p, b->len);
        if (f.request.verdict != want)
            fail_msg("verdict %d instead of %d", f.request.verdict, want);
        assert_sent(&good); /* nothing of the bad frame */
        assert_true(rf_balanced(&f));
    }
    rf_free(&good);
}

static void bad_frames(void **state)
{
    static const struct {
        int32_t size;
        int16_t key, version;
        enum hr_drop want;
    } cases[] = {
        {-1, 3, 1, HR_DROP_kafka_frame_size},
        {0, 3, 1, HR_DROP_kafka_frame_size},
        {7, 3, 1, HR_DROP_kafka_frame_size},
        {INT32_MIN, 3, 1, HR_DROP_kafka_frame_size},
        {(100 << 20) + 1, 0, 3, HR_DROP_kafka_frame_size},
        {0x16030100, 3, 1, HR_DROP_kafka_frame_size}, /* a TLS hello */
        {0x47455420, 3, 1, HR_DROP_kafka_frame_size}, /* "GET " */
        {20, 4, 1, HR_DROP_kafka_unknown_api},        /* LeaderAndIsr: not for clients */
        {20, -1, 1, HR_DROP_kafka_unknown_api},
        {20, 32767, 1, HR_DROP_kafka_unknown_api},
        {20, 95, 0, HR_DROP_kafka_unknown_api},
        {20, 3, 99, HR_DROP_kafka_version},
        {20, 3, -1, HR_DROP_kafka_version},
        {20, 17, 0, HR_DROP_kafka_version}, /* raw SASL tokens would follow */
        {8, 3, 1, HR_DROP_kafka_header},    /* ends in front of the client id */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rf_bytes b = {0};
        raw(&b, cases[i].size, cases[i].key, cases[i].version, 5);
        refused(&b, cases[i].want);
        rf_free(&b);
    }
}

static void bad_headers(void **state)
{
    static const uint8_t too_long[] = {0x00, 0x20, 'a', 'b', 'c', 'd', 'e', 'f'};
    static const uint8_t negative[] = {0x80, 0x00, 'a', 'b', 'c', 'd', 'e', 'f'};
    static const uint8_t tags[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}; /* count too large */
    static const uint8_t acks[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};             /* transactional id.. */
    struct rf_bytes b = {0};

    raw(&b, 16, 3, 1, 5);
    rf_append(&b, too_long, 8);
    refused(&b, HR_DROP_kafka_header);
    b.len = 0;
    raw(&b, 16, 3, 1, 5);
    rf_append(&b, negative, 8);
    refused(&b, HR_DROP_kafka_header);
    b.len = 0;
    raw(&b, 16, 3, 12, 5);
    rf_append(&b, tags, 8);
    refused(&b, HR_DROP_kafka_header);
    b.len = 0;
    raw(&b, 13, 0, 3, 5); /* a Produce that ends within acks */
    rf_append(&b, acks, 5);
    refused(&b, HR_DROP_kafka_malformed_request);
    rf_free(&b);
}

static void long_client_id(void **state)
{
    struct rf_bytes b = {0};
    uint8_t len[2], *id = malloc(32767);

    rf_reset(&f, 3);
    memset(id, 'x', 32767);
    raw(&b, 8 + 2 + 32767 + 4, 3, 1, 9);
    hr_kput16(len, 32767);
    rf_append(&b, len, 2);
    rf_append(&b, id, 32767);
    rf_append(&b, "\xff\xff\xff\xff", 4);
    rf_play_requests(&f, b.p, b.len);
    assert_int_equal(f.request.verdict, HR_DROP_MAX);
    assert_sent(&b);

    /* A header that does not end within bounds is refused; it is asked for in full before. */
    uint8_t tag[4] = {1, 9};
    b.len = 0;
    rf_reset(&f, 3);
    raw(&b, 200000, 3, 12, 9);
    rf_append(&b, "\xff\xff", 2);
    rf_append(&b, tag, 2);
    rf_append(&b, "\xa0\x8d\x06", 3); /* 100,000 bytes of an unknown tag */
    for (int i = 0; i < 3; i++)
        rf_append(&b, id, 30000);
    rf_play_requests(&f, b.p, 60000);
    assert_int_equal(f.request.verdict, HR_DROP_MAX);
    assert_true(f.request.want >= 12000);
    rf_play_requests(&f, b.p + 60000, b.len - 60000);
    assert_int_equal(f.request.verdict, HR_DROP_kafka_header);
    assert_int_equal(f.to_broker.len, 0);
    free(id);
    rf_free(&b);
}

static void client_id_is_escaped(void **state)
{
    struct rf_bytes b = {0};
    struct hr_relay_state s;

    rf_reset(&f, 3);
    hr_relay_get_state(f.relay, &s);
    assert_string_equal(s.client_id, "");
    assert_int_equal(s.last_api_key, -1);
    raw(&b, 8 + 2 + 6 + 4, 3, 1, 9);
    rf_append(&b, "\0\6a\n\"b\x80\\\xff\xff\xff\xff", 12);
    rf_play_requests(&f, b.p, b.len);
    hr_relay_get_state(f.relay, &s);
    assert_string_equal(s.client_id, "a\\x0a\\x22b\\x80\\x5c");
    rf_free(&b);
}

static void acks_zero_has_no_record(void **state)
{
    for (int16_t v = 0; v <= 13; v++) {
        struct rf_bytes b = {0};
        rf_reset(&f, 3);
        f.seed = (uint64_t)v + 1;
        produce(&b, v, 0, 3000);
        rf_play_requests(&f, b.p, b.len);
        assert_int_equal(f.request.verdict, HR_DROP_MAX);
        assert_int_equal(in_flight(), 0);
        produce(&b, v, -1, 3000);
        produce(&b, v, 0, 100);
        produce(&b, v, 1, 100);
        rf_play_requests(&f, b.p + f.to_broker.len, b.len - f.to_broker.len);
        assert_sent(&b);
        assert_int_equal(in_flight(), 2);
        rf_free(&b);
    }
}

static void in_flight_is_bounded(void **state)
{
    struct rf_bytes b = {0};
    uint32_t one;

    rf_reset(&f, 3);
    for (int i = 0; i < 1030; i++) {
        rf_request(&b, 3, 1, i, "{'Topics':null}");
        one = b.len / (uint32_t)(i + 1);
    }
    rf_feed(&f, &f.client_in, b.p, b.len, 1448);
    rf_requests(&f);
    assert_int_equal(in_flight(), 1024);
    assert_true(f.request.blocked);
    assert_int_equal(f.to_broker.len, 1024 * one);
    rf_requests(&f);
    assert_int_equal(f.request.taken, 0);
    assert_true(f.request.blocked);

    struct rf_bytes r = {0};
    for (int i = 0; i < 1030; i++) {
        r.len = 0;
        rf_response(&r, 3, 1, i, "{'Brokers':[],'ControllerId':1,'Topics':[]}");
        rf_play_responses(&f, r.p, r.len);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        rf_requests(&f);
    }
    assert_sent(&b);
    assert_int_equal(in_flight(), 0);
    assert_int_equal(f.to_client.len, 1030 * r.len);
    assert_true(rf_balanced(&f));
    rf_free(&b);
    rf_free(&r);
}

/* librdkafka, franz-go: a newer ApiVersions than ours is answered, not refused. */
static void unsupported_api_versions(void **state)
{
    static const uint8_t want[] = {0, 0, 0, 16, 0, 0, 0, 2, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5};

    for (uint64_t seed = 1; seed < 20; seed++) {
        struct rf_bytes b = {0}, sent = {0}, r = {0};
        rf_reset(&f, 3);
        f.seed = seed;
        rf_request(&b, 3, 1, 1, "{'Topics':null}");
        rf_append(&sent, b.p, b.len);
        raw(&b, 5000, 18, 77, 2);
        for (int i = 0; i < 4992; i++)
            rf_append(&b, "\xff", 1);
        rf_request(&b, 3, 1, 3, "{'Topics':[{'Name':'after'}]}");
        rf_play_requests(&f, b.p, b.len);
        rf_request(&sent, 3, 1, 3, "{'Topics':[{'Name':'after'}]}");
        assert_sent(&sent);
        assert_int_equal(in_flight(), 3);

        /* Its turn comes behind the first Metadata and in front of the second. */
        rf_responses(&f);
        assert_int_equal(f.to_client.len, 0);
        rf_response(&r, 3, 1, 1, "{'Brokers':[],'ControllerId':1,'Topics':[]}");
        uint32_t first = r.len;
        rf_response(&r, 3, 1, 3, "{'Brokers':[],'ControllerId':9,'Topics':[]}");
        rf_play_responses(&f, r.p, r.len);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        assert_int_equal(f.to_client.len, r.len + sizeof(want));
        assert_memory_equal(f.to_client.p, r.p, first);
        assert_memory_equal(f.to_client.p + first, want, sizeof(want));
        assert_memory_equal(f.to_client.p + first + sizeof(want), r.p + first, r.len - first);
        assert_int_equal(f.stats.counters[HR_CTR_kafka_own_replies], 1);
        assert_true(rf_balanced(&f));
        rf_free(&b);
        rf_free(&sent);
        rf_free(&r);
    }
}

static void own_reply_is_told(void **state)
{
    struct rf_bytes b = {0};

    rf_reset(&f, 3);
    raw(&b, 8, 18, -4, 2);
    rf_feed(&f, &f.client_in, b.p, b.len, 100);
    rf_requests(&f);
    assert_true(f.request.own_reply);
    assert_int_equal(f.to_broker.len, 0);
    f.room = 0;
    rf_responses(&f);
    assert_true(f.response.blocked);
    f.room = 1;
    rf_responses(&f);
    assert_int_equal(f.to_client.len, 20);
    assert_int_equal(in_flight(), 0);
    rf_free(&b);
}

#define IDENTITY(cluster, node)                                                                              \
    "{'ClientSoftwareName':'test','ClientSoftwareVersion':'1','ClusterId':" cluster ",'NodeId':" node "}"

static void identity_case(int32_t relay_node, const char *json, const char *want_json, bool refused_here)
{
    static const uint8_t reply[] = {0, 0, 0, 12, 0, 0, 0, 4, 0, 129, 1, 0, 0, 0, 0, 0};

    for (uint64_t seed = 1; seed < 10; seed++) {
        struct rf_bytes b = {0}, want = {0};
        rf_reset(&f, relay_node);
        f.seed = seed;
        rf_request(&b, 18, 5, 4, json);
        rf_play_requests(&f, b.p, b.len);
        assert_int_equal(f.request.verdict, HR_DROP_MAX);
        if (want_json)
            rf_request(&want, 18, 5, 4, want_json);
        assert_sent(&want);
        assert_int_equal(in_flight(), 1);
        rf_responses(&f);
        assert_int_equal(f.to_client.len, refused_here ? sizeof(reply) : 0);
        if (refused_here)
            assert_memory_equal(f.to_client.p, reply, sizeof(reply));
        assert_true(rf_balanced(&f));
        rf_free(&b);
        rf_free(&want);
    }
}

static void identity_of_api_versions_5(void **state)
{
    static const char none[] = IDENTITY("null", "-1");
    static const char right[] = IDENTITY("'test-cluster'", "2");
    static const char wrong[] = IDENTITY("'other-cluster'", "2");
    static const char one[] = IDENTITY("'test-cluster'", "-1");

    identity_case(-1, none, none, false);
    identity_case(-1, right, none, false);
    identity_case(-1, wrong, NULL, true);
    identity_case(-1, one, one, false); /* the broker says INVALID_REQUEST */
    /* A virtual broker's own broker checks. */
    identity_case(2, right, right, false);
    identity_case(2, wrong, wrong, false);
    /* Before the cluster is known there is nothing to compare. */
    f.policy->cluster_id[0] = '\0';
    identity_case(-1, wrong, none, false);
    snprintf(f.policy->cluster_id, sizeof(f.policy->cluster_id), "test-cluster");
}

static void identity_is_bounded(void **state)
{
    struct rf_bytes b = {0};

    rf_reset(&f, -1);
    raw(&b, HOLD_MAX + 1, 18, 5, 1);
    rf_append(&b, "\xff\xff\0", 3);
    rf_play_requests(&f, b.p, b.len);
    assert_int_equal(f.request.verdict, HR_DROP_kafka_hold_max);
    b.len = 0;
    rf_reset(&f, -1);
    raw(&b, 40, 18, 5, 1); /* the body does not follow its schema */
    rf_append(&b, "\xff\xff\0", 3);
    for (int i = 0; i < 29; i++)
        rf_append(&b, "\xff", 1);
    rf_play_requests(&f, b.p, b.len);
    assert_int_equal(f.request.verdict, HR_DROP_kafka_malformed_request);
    assert_int_equal(f.to_broker.len, 0);
    rf_free(&b);
}

/* The pool is smaller than 1,024 records for each of many relays; none is left without. */
static void records_are_shared(void **state)
{
    struct hr_relay *more[RF_MAX_RELAYS], *own;
    struct rf_bytes b = {0};
    uint32_t n = 0, total = 0;

    rf_reset(&f, 3);
    while (n < RF_MAX_RELAYS && hr_relay_open(f.ctx, 1, &more[n]) == 0)
        n++;
    assert_int_equal(n, RF_MAX_RELAYS - 1); /* and the fixture's own */
    rf_bare_request(&b, 12, 4, 1);
    own = f.relay;
    bool refused = false;
    for (uint32_t i = 0; i < n; i++) {
        f.relay = more[i];
        for (uint32_t k = 0; k < 1024; k++) {
            rf_feed(&f, &f.client_in, b.p, b.len, b.len);
            rf_requests(&f);
            if (f.request.blocked)
                break;
            total++;
        }
        assert_true(in_flight() >= 1);
        refused |= f.request.blocked && in_flight() < 1024;
        hr_pieceq_clear(&f.bufs, &f.client_in);
    }
    assert_true(refused);
    /* The last one starts with a first request all the same. */
    f.relay = own;
    rf_feed(&f, &f.client_in, b.p, b.len, b.len);
    rf_requests(&f);
    assert_false(f.request.blocked);
    assert_int_equal(in_flight(), 1);
    while (n > 0)
        hr_relay_close(f.ctx, more[--n]);
    assert_true(total >= 8192 - RF_MAX_RELAYS);
    rf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_in_any_pieces), cmocka_unit_test(header_first_then_cut_through),
        cmocka_unit_test(room_is_kept),         cmocka_unit_test(no_memory_to_move),
        cmocka_unit_test(bad_frames),
        cmocka_unit_test(bad_headers),          cmocka_unit_test(long_client_id),
        cmocka_unit_test(client_id_is_escaped), cmocka_unit_test(acks_zero_has_no_record),
        cmocka_unit_test(in_flight_is_bounded), cmocka_unit_test(unsupported_api_versions),
        cmocka_unit_test(own_reply_is_told),    cmocka_unit_test(identity_of_api_versions_5),
        cmocka_unit_test(identity_is_bounded),  cmocka_unit_test(records_are_shared),
    };
    return cmocka_run_group_tests_name("relay requests", tests, setup, teardown);
}

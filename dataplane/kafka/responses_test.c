/* Broker to client: what passes, what of Metadata is held and rewritten, what ends the session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/kafka/relay_impl.h"
#include "shared/kafka/wire.h"
#include "tests/support/relay_exchange.h"

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

static void passes(void **state)
{
    const char *offsets =
        "{'Topics':[{'Name':'t','Partitions':[{'PartitionIndex':0,'ErrorCode':0,'Timestamp':-1,"
        "'Offset':5}]}]}";

    rf_becomes(&f, 2, 1, offsets, offsets);
    rf_becomes(&f, 2, 7, offsets, offsets);
    assert_int_equal(counter(HR_CTR_edited_bytes), 0);
}

/* Others hold all places for walking: what must be walked waits, and says that nobody will call it. */
static void no_walker(void **state)
{
    struct rf_bytes b = {0};
    uint32_t walkers = f.ctx->free_walker;
    const char *metadata = "{'Brokers':[],'ClusterId':'c','ControllerId':3,'Topics':[]}";

    rf_expect(&f, 1, 3, 2, 77);
    rf_response(&b, 3, 2, 77, metadata);
    f.ctx->free_walker = 0;
    rf_feed(&f, &f.broker_in, b.p, b.len, 1448);
    for (int i = 0; i < 3; i++) {
        rf_responses(&f);
        assert_true(f.response.blocked && f.response.again);
        assert_int_equal(f.response.taken, 0);
    }
    f.ctx->free_walker = walkers;
    rf_responses(&f);
    assert_false(f.response.blocked || f.response.again);
    rf_assert_client_got(&f, &b);
    assert_int_equal(f.ctx->free_walker, walkers);
    rf_free(&b);
}

/* Versions without endpoints: nothing changes, but a leader that moved is noticed. */
static void watched(void **state)
{
    const char *fetch =
        "{'Responses':[{'Topic':'t','Partitions':[{'PartitionIndex':0,'ErrorCode':%d,'HighWatermark':1,"
        "'Records':'0011223344556677'}]}]}";
    const char *produce =
        "{'Responses':[{'Name':'t','PartitionResponses':[{'Index':0,'ErrorCode':%d,'BaseOffset':5}]}]}";

    for (int16_t v = 0; v <= 12; v++) {
        rf_becomes(&f, 1, v, rf_text(fetch, 0), rf_text(fetch, 0));
        assert_false(f.leader_hint);
        rf_becomes(&f, 1, v, rf_text(fetch, 6), rf_text(fetch, 6));
        assert_true(f.leader_hint);
        assert_int_equal(counter(HR_CTR_edited_bytes), 0);
    }
    for (int16_t v = 0; v <= 9; v++) {
        rf_becomes(&f, 0, v, rf_text(produce, 3), rf_text(produce, 3));
        assert_false(f.leader_hint);
        rf_becomes(&f, 0, v, rf_text(produce, 6), rf_text(produce, 6));
        assert_true(f.leader_hint);
    }
    /* What does not follow the schema passes all the same. */
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct rf_bytes b = {0};
        rf_append(&b, "\0\0\0\x30\0\0\0\x4d", 8);
        for (int i = 0; i < 44; i++)
            rf_append(&b, seed % 2 ? "\x7f" : "\0", 1);
        rf_expect(&f, seed, 1, 11, 77);
        rf_play_responses(&f, b.p, b.len);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        rf_assert_client_got(&f, &b);
        assert_int_equal(rf_in_flight(&f), 0);
        rf_free(&b);
    }
}

static void wrong_order(void **state)
{
    struct rf_bytes b = {0};

    rf_response(&b, 12, 1, 78, "{'ErrorCode':0}");
    rf_ends(&f, 12, 1, b.p, b.len, HR_DROP_kafka_correlation);
    /* Nobody asked. */
    rf_reset(&f, 3);
    rf_feed(&f, &f.broker_in, b.p, 1, 1);
    rf_responses(&f);
    assert_int_equal(f.response.verdict, HR_DROP_kafka_correlation);
    assert_int_equal(f.to_client.len, 0);
    /* Sizes that cannot be. */
    rf_ends(&f, 12, 1, "\xff\xff\xff\xff\0\0\0\x4d", 8, HR_DROP_kafka_malformed_response);
    rf_ends(&f, 12, 1, "\0\0\0\3\0\0\0\x4d", 8, HR_DROP_kafka_malformed_response);
    rf_free(&b);
}

static const char *metadata(int version, const char *host1, int port1, const char *host2, int port2)
{
    return rf_text("{'Brokers':[{'NodeId':1,'Host':'%s','Port':%d%s},{'NodeId':42,'Host':'%s','Port':%d%s}]%s%s,"
                "'Topics':[{'ErrorCode':0,'Name':'topic-a','Partitions':[{'ErrorCode':0,'PartitionIndex':0,"
                "'LeaderId':42,'ReplicaNodes':[42,1],'IsrNodes':[1]}]}]}",
                host1, port1, version >= 1 ? ",'Rack':'az1'" : "", host2, port2,
                version >= 1 ? ",'Rack':null" : "", version >= 1 ? ",'ControllerId':42" : "",
                version >= 2 ? ",'ClusterId':'cluster'" : "");
}

static void metadata_brokers(void **state)
{
    for (int16_t v = 0; v <= 13; v++) {
        rf_becomes(&f, 3, v, metadata(v, "kafka-1.internal.example.com", 9092, "10.0.0.42", 19092),
                metadata(v, "b1.proxy.test", 20001, "b42.proxy.test", 20042));
        assert_int_equal(counter(HR_CTR_kafka_edits_held), 1);
    }
}

/* Node 10000 has no port here: its address must not be shown. Compact counts change width at 127 elements. */
static void metadata_hides_unreachable(void **state)
{
    struct rf_bytes from = {0}, to = {0};
    char *in = malloc(1 << 16), *out = malloc(1 << 16);

    rf_becomes(&f, 
        3, 9,
        "{'Brokers':[{'NodeId':10000,'Host':'secret','Port':9092},{'NodeId':1,'Host':'h','Port':1}],"
        "'ControllerId':10000,'Topics':[]}",
        "{'Brokers':[{'NodeId':1,'Host':'b1.proxy.test','Port':20001}],'ControllerId':10000,'Topics':[]}");
    assert_int_equal(counter(HR_CTR_kafka_nodes_hidden), 1);
    rf_becomes(&f, 3, 9, "{'Brokers':[{'NodeId':-5,'Host':'secret','Port':9092}],'Topics':[]}",
            "{'Brokers':[],'Topics':[]}");

    strcpy(in, "{'Brokers':[");
    strcpy(out, "{'Brokers':[");
    for (int i = 0; i < 140; i++) {
        int node = i < 20 ? 20000 + i : i;
        sprintf(in + strlen(in), "%s{'NodeId':%d,'Host':'secret','Port':9092}", i ? "," : "", node);
        if (i >= 20)
            sprintf(out + strlen(out), "%s{'NodeId':%d,'Host':'b%d.proxy.test','Port':%d}", i > 20 ? "," : "",
                    node, node, 20000 + node);
    }
    strcat(in, "],'Topics':[]}");
    strcat(out, "],'Topics':[]}");
    rf_becomes(&f, 3, 12, in, out);
    assert_int_equal(counter(HR_CTR_kafka_nodes_hidden), 20);
    free(in);
    free(out);
    rf_free(&from);
    rf_free(&to);
}

/* Topics stream on behind the brokers: a frame far larger than hold_max, with little held. */
static void metadata_larger_than_hold_max(void **state)
{
    const uint32_t topics = 20000;
    char *in = malloc(80u * topics), *out = malloc(80u * topics);
    struct rf_bytes from = {0}, to = {0};
    int n = sprintf(in, "{'Brokers':[{'NodeId':1,'Host':'kafka-1.internal','Port':9092}],'Topics':[");
    int m = sprintf(out, "{'Brokers':[{'NodeId':1,'Host':'b1.proxy.test','Port':20001}],'Topics':[");

    for (uint32_t i = 0; i < topics; i++) {
        n += sprintf(in + n, "%s{'Name':'topic-%u','Partitions':[]}", i ? "," : "", i);
        m += sprintf(out + m, "%s{'Name':'topic-%u','Partitions':[]}", i ? "," : "", i);
    }
    strcpy(in + n, "]}");
    strcpy(out + m, "]}");
    rf_response(&from, 3, 12, 77, in);
    rf_response(&to, 3, 12, 77, out);
    assert_true(from.len > 5 * HOLD_MAX);
    rf_expect(&f, 1, 3, 12, 77);
    rf_play_responses(&f, from.p, from.len);
    assert_int_equal(f.response.verdict, HR_DROP_MAX);
    rf_assert_client_got(&f, &to);
    assert_true(f.most_held < 200);
    assert_true(rf_balanced(&f));
    free(in);
    free(out);
    rf_free(&from);
    rf_free(&to);
}

static void metadata_brokers_beyond_hold_max(void **state)
{
    struct rf_bytes b = {0};
    char *in = malloc(1 << 20);
    int n = sprintf(in, "{'Brokers':[");

    for (int i = 0; i < 3000; i++)
        n += sprintf(in + n, "%s{'NodeId':%d,'Host':'kafka-%d.internal.example.com','Port':9092}",
                     i ? "," : "", i, i);
    strcpy(in + n, "],'Topics':[]}");
    rf_response(&b, 3, 12, 77, in);
    assert_true(b.len > HOLD_MAX);
    rf_ends(&f, 3, 12, b.p, b.len, HR_DROP_kafka_hold_max);
    assert_int_equal(f.to_client.len, 0);
    free(in);
    rf_free(&b);
}

/* A held frame says how much must still be able to arrive. */
static void want_while_holding(void **state)
{
    struct rf_bytes b = {0};

    rf_response(&b, 10, 3, 77, "{'ErrorCode':0,'NodeId':1,'Host':'kafka-1','Port':9092}");
    rf_expect(&f, 1, 10, 3, 77);
    for (uint32_t i = 0; i < b.len; i++) {
        rf_feed(&f, &f.broker_in, b.p + i, 1, 1);
        rf_responses(&f);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        assert_false(f.response.blocked);
        if (i + 1 >= 8)
            assert_int_equal(f.response.want, b.len - i - 1);
        assert_true((f.to_client.len > 0) == (i + 1 == b.len));
    }
    rf_free(&b);

    rf_response(&b, 3, 12, 77, metadata(12, "a", 1, "b", 2));
    rf_expect(&f, 1, 3, 12, 77);
    rf_feed(&f, &f.broker_in, b.p, 20, 20);
    rf_responses(&f);
    assert_true(f.response.want >= 1 && f.response.want <= b.len - 20);
    rf_free(&b);
}

static void malformed(void **state)
{
    struct rf_bytes b = {0};

    /* One byte more than the message, one less. */
    rf_response(&b, 10, 3, 77, "{'ErrorCode':0,'NodeId':1,'Host':'kafka-1','Port':9092}");
    rf_append(&b, "", 1);
    hr_kput32(b.p, b.len - 4);
    rf_ends(&f, 10, 3, b.p, b.len, HR_DROP_kafka_malformed_response);
    hr_kput32(b.p, b.len - 6);
    rf_ends(&f, 10, 3, b.p, b.len - 2, HR_DROP_kafka_malformed_response);
    /* A mandatory edit beyond hold_max. */
    hr_kput32(b.p, HOLD_MAX + 1);
    rf_ends(&f, 10, 3, b.p, b.len, HR_DROP_kafka_hold_max);
    /* Metadata that ends within its brokers. */
    b.len = 0;
    rf_response(&b, 3, 9, 77, metadata(9, "a", 1, "b", 2));
    hr_kput32(b.p, 30);
    rf_ends(&f, 3, 9, b.p, 34, HR_DROP_kafka_malformed_response);
    rf_free(&b);
}

static void pipelined(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct rf_bytes rq = {0}, from = {0}, to = {0};
        rf_reset(&f, 3);
        f.seed = seed;
        for (int i = 0; i < 300; i++) {
            switch (rf_random(&f, 4)) {
            case 0:
                rf_bare_request(&rq, 3, 12, i);
                rf_response(&from, 3, 12, i,
                            metadata(12, "kafka-1", 9092, "kafka-42.long.name.internal", 9092));
                rf_response(&to, 3, 12, i, metadata(12, "b1.proxy.test", 20001, "b42.proxy.test", 20042));
                break;
            case 1:
                rf_bare_request(&rq, 10, 2, i);
                rf_response(&from, 10, 2, i, "{'ErrorCode':0,'NodeId':5,'Host':'k','Port':1}");
                rf_response(&to, 10, 2, i, "{'ErrorCode':0,'NodeId':5,'Host':'b5.proxy.test','Port':20005}");
                break;
            case 2:
                rf_bare_request(&rq, 12, 4, i);
                rf_response(&from, 12, 4, i, "{'ErrorCode':0}");
                rf_response(&to, 12, 4, i, "{'ErrorCode':0}");
                break;
            default:
                rf_bare_request(&rq, 1, 17, i);
                rf_response(&from, 1, 17, i, "{'Responses':[]}");
                rf_response(&to, 1, 17, i, "{'Responses':[]}");
            }
        }
        rf_play_requests(&f, rq.p, rq.len);
        assert_int_equal(rf_in_flight(&f), 300);
        if (seed % 2)
            f.room = 100;
        rf_play_responses(&f, from.p, from.len);
        for (int i = 0; i < 2000 && f.broker_in.bytes > 0; i++)
            rf_responses(&f);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        rf_assert_client_got(&f, &to);
        assert_int_equal(rf_in_flight(&f), 0);
        assert_true(rf_balanced(&f));
        rf_free(&rq);
        rf_free(&from);
        rf_free(&to);
    }
}

static void state_mid_frame(void **state)
{
    struct rf_bytes b = {0};
    struct hr_relay_state s;

    rf_response(&b, 12, 1, 77, "{'ErrorCode':0}");
    rf_expect(&f, 1, 12, 1, 77);
    hr_relay_get_state(f.relay, &s);
    assert_false(s.response_mid_frame);
    rf_feed(&f, &f.broker_in, b.p, 9, 9);
    rf_responses(&f);
    hr_relay_get_state(f.relay, &s);
    assert_true(s.response_mid_frame);
    assert_int_equal(s.in_flight, 1);
    rf_feed(&f, &f.broker_in, b.p + 9, b.len - 9, 9);
    rf_responses(&f);
    hr_relay_get_state(f.relay, &s);
    assert_false(s.response_mid_frame);
    assert_int_equal(s.responses, 1);
    assert_int_equal(s.requests, 1);
    rf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes),
        cmocka_unit_test(no_walker),
        cmocka_unit_test(watched),
        cmocka_unit_test(wrong_order),
        cmocka_unit_test(metadata_brokers),
        cmocka_unit_test(metadata_hides_unreachable),
        cmocka_unit_test(metadata_larger_than_hold_max),
        cmocka_unit_test(metadata_brokers_beyond_hold_max),
        cmocka_unit_test(want_while_holding),
        cmocka_unit_test(malformed),
        cmocka_unit_test(pipelined),
        cmocka_unit_test(state_mid_frame),
    };
    return cmocka_run_group_tests_name("relay responses", tests, setup, teardown);
}

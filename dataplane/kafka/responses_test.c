/* Broker to client: what passes, what is held and rewritten, what ends the session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

static uint32_t in_flight(void)
{
    struct hr_relay_state s;

    hr_relay_get_state(f.relay, &s);
    return s.in_flight;
}

/* A relay that waits for one response of this version. */
static void expect(uint64_t seed, int16_t key, int16_t version, int32_t correlation_id)
{
    struct rf_bytes b = {0};

    rf_reset(&f, 3);
    f.seed = seed;
    rf_bare_request(&b, key, version, correlation_id);
    rf_play_requests(&f, b.p, b.len);
    assert_int_equal(f.request.verdict, HR_DROP_MAX);
    assert_int_equal(in_flight(), 1);
    rf_free(&b);
}

static void assert_client_got(const struct rf_bytes *want)
{
    if (f.to_client.len != want->len || memcmp(f.to_client.p, want->p, want->len) != 0) {
        for (uint32_t i = 0; i < f.to_client.len && i < 400; i++)
            fprintf(stderr, "%02x", f.to_client.p[i]);
        fprintf(stderr, "\n");
        for (uint32_t i = 0; i < want->len && i < 400; i++)
            fprintf(stderr, "%02x", want->p[i]);
        fprintf(stderr, "\n");
        fail_msg("%u bytes instead of %u, or others", f.to_client.len, want->len);
    }
}

/* The broker says `in` and the client must get `out`, however the bytes are cut. */
static void becomes(int16_t key, int16_t version, const char *in, const char *out)
{
    struct rf_bytes from = {0}, to = {0};

    rf_response(&from, key, version, 77, in);
    rf_response(&to, key, version, 77, out);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        expect(seed, key, version, 77);
        rf_play_responses(&f, from.p, from.len);
        if (f.response.verdict != HR_DROP_MAX)
            fail_msg("api %d version %d: verdict %d", key, version, f.response.verdict);
        assert_client_got(&to);
        assert_int_equal(in_flight(), 0);
        assert_int_equal(counter(HR_CTR_kafka_responses), 1);
        assert_int_equal(counter(HR_CTR_kafka_response_bytes), from.len);
        assert_int_equal(counter(HR_CTR_payload_copied_bytes), 0);
        assert_true(rf_balanced(&f));
    }
    rf_free(&from);
    rf_free(&to);
}

static void ends(int16_t key, int16_t version, const void *p, uint32_t len, enum hr_drop want)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        expect(seed, key, version, 77);
        rf_play_responses(&f, p, len);
        if (f.response.verdict != want)
            fail_msg("verdict %d instead of %d", f.response.verdict, want);
        assert_true(rf_balanced(&f));
    }
}

/* printf into one of four static buffers. */
static const char *text(const char *fmt, ...)
{
    static char buf[4][1 << 16];
    static unsigned next;
    char *p = buf[next++ % 4];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p, sizeof(buf[0]), fmt, ap);
    va_end(ap);
    return p;
}

static void passes(void **state)
{
    const char *offsets =
        "{'Topics':[{'Name':'t','Partitions':[{'PartitionIndex':0,'ErrorCode':0,'Timestamp':-1,"
        "'Offset':5}]}]}";

    becomes(2, 1, offsets, offsets);
    becomes(2, 7, offsets, offsets);
    assert_int_equal(counter(HR_CTR_edited_bytes), 0);
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
        becomes(1, v, text(fetch, 0), text(fetch, 0));
        assert_false(f.leader_hint);
        becomes(1, v, text(fetch, 6), text(fetch, 6));
        assert_true(f.leader_hint);
        assert_int_equal(counter(HR_CTR_edited_bytes), 0);
    }
    for (int16_t v = 0; v <= 9; v++) {
        becomes(0, v, text(produce, 3), text(produce, 3));
        assert_false(f.leader_hint);
        becomes(0, v, text(produce, 6), text(produce, 6));
        assert_true(f.leader_hint);
    }
    /* What does not follow the schema passes all the same. */
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct rf_bytes b = {0};
        rf_append(&b, "\0\0\0\x30\0\0\0\x4d", 8);
        for (int i = 0; i < 44; i++)
            rf_append(&b, seed % 2 ? "\x7f" : "\0", 1);
        expect(seed, 1, 11, 77);
        rf_play_responses(&f, b.p, b.len);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        assert_client_got(&b);
        assert_int_equal(in_flight(), 0);
        rf_free(&b);
    }
}

static void wrong_order(void **state)
{
    struct rf_bytes b = {0};

    rf_response(&b, 12, 1, 78, "{'ErrorCode':0}");
    ends(12, 1, b.p, b.len, HR_DROP_kafka_correlation);
    /* Nobody asked. */
    rf_reset(&f, 3);
    rf_feed(&f, &f.broker_in, b.p, 1, 1);
    rf_responses(&f);
    assert_int_equal(f.response.verdict, HR_DROP_kafka_correlation);
    assert_int_equal(f.to_client.len, 0);
    /* Sizes that cannot be. */
    ends(12, 1, "\xff\xff\xff\xff\0\0\0\x4d", 8, HR_DROP_kafka_malformed_response);
    ends(12, 1, "\0\0\0\3\0\0\0\x4d", 8, HR_DROP_kafka_malformed_response);
    rf_free(&b);
}

static const char *metadata(int version, const char *host1, int port1, const char *host2, int port2)
{
    return text("{'Brokers':[{'NodeId':1,'Host':'%s','Port':%d%s},{'NodeId':42,'Host':'%s','Port':%d%s}]%s%s,"
                "'Topics':[{'ErrorCode':0,'Name':'topic-a','Partitions':[{'ErrorCode':0,'PartitionIndex':0,"
                "'LeaderId':42,'ReplicaNodes':[42,1],'IsrNodes':[1]}]}]}",
                host1, port1, version >= 1 ? ",'Rack':'az1'" : "", host2, port2,
                version >= 1 ? ",'Rack':null" : "", version >= 1 ? ",'ControllerId':42" : "",
                version >= 2 ? ",'ClusterId':'cluster'" : "");
}

static void metadata_brokers(void **state)
{
    for (int16_t v = 0; v <= 13; v++) {
        becomes(3, v, metadata(v, "kafka-1.internal.example.com", 9092, "10.0.0.42", 19092),
                metadata(v, "b1.proxy.test", 20001, "b42.proxy.test", 20042));
        assert_int_equal(counter(HR_CTR_kafka_edits_held), 1);
    }
}

/* Node 10000 has no port here: its address must not be shown. Compact counts change width at 127 elements. */
static void metadata_hides_unreachable(void **state)
{
    struct rf_bytes from = {0}, to = {0};
    char *in = malloc(1 << 16), *out = malloc(1 << 16);

    becomes(
        3, 9,
        "{'Brokers':[{'NodeId':10000,'Host':'secret','Port':9092},{'NodeId':1,'Host':'h','Port':1}],"
        "'ControllerId':10000,'Topics':[]}",
        "{'Brokers':[{'NodeId':1,'Host':'b1.proxy.test','Port':20001}],'ControllerId':10000,'Topics':[]}");
    assert_int_equal(counter(HR_CTR_kafka_nodes_hidden), 1);
    becomes(3, 9, "{'Brokers':[{'NodeId':-5,'Host':'secret','Port':9092}],'Topics':[]}",
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
    becomes(3, 12, in, out);
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
    expect(1, 3, 12, 77);
    rf_play_responses(&f, from.p, from.len);
    assert_int_equal(f.response.verdict, HR_DROP_MAX);
    assert_client_got(&to);
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
    ends(3, 12, b.p, b.len, HR_DROP_kafka_hold_max);
    assert_int_equal(f.to_client.len, 0);
    free(in);
    rf_free(&b);
}

/* A held frame says how much must still be able to arrive. */
static void want_while_holding(void **state)
{
    struct rf_bytes b = {0};

    rf_response(&b, 10, 3, 77, "{'ErrorCode':0,'NodeId':1,'Host':'kafka-1','Port':9092}");
    expect(1, 10, 3, 77);
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
    expect(1, 3, 12, 77);
    rf_feed(&f, &f.broker_in, b.p, 20, 20);
    rf_responses(&f);
    assert_true(f.response.want >= 1 && f.response.want <= b.len - 20);
    rf_free(&b);
}

static void find_coordinator(void **state)
{
    for (int16_t v = 0; v <= 6; v++) {
        bool batched = v >= 4;
        const char *fmt =
            batched ? "{'Coordinators':[{'Key':'g','NodeId':%d,'Host':'%s','Port':%d,'ErrorCode':%d,"
                      "'ErrorMessage':null}]}"
                    : "{'NodeId':%d,'Host':'%s','Port':%d,'ErrorCode':%d}";
        becomes(10, v, text(fmt, 2, "kafka-2.internal", 9092, 0), text(fmt, 2, "b2.proxy.test", 20002, 0));
        /* No coordinator: nothing to rewrite, and the original bytes pass. */
        becomes(10, v, text(fmt, -1, "", -1, 15), text(fmt, -1, "", -1, 15));
        assert_int_equal(counter(HR_CTR_edited_bytes), 0);
        /* One that cannot be reached through this listener. */
        becomes(10, v, text(fmt, 77777, "kafka-77777", 9092, 0), text(fmt, -1, "", -1, 15));
        becomes(10, v, text(fmt, -1, "kafka-lost", 9092, 0), text(fmt, -1, "", -1, 15));
        assert_int_equal(counter(HR_CTR_kafka_nodes_hidden), 1);
    }
}

static void describe_cluster(void **state)
{
    const char *fmt = "{'ErrorCode':0,'ClusterId':'c','ControllerId':1%s,'Brokers':[%s]}";

    for (int16_t v = 0; v <= 2; v++) {
        const char *type = v >= 1 ? ",'EndpointType':1" : "";
        becomes(60, v,
                text(fmt, type,
                     "{'BrokerId':1,'Host':'k1','Port':9092,'Rack':'a'},{'BrokerId':70000,'Host':'k7','Port':"
                     "9092},"
                     "{'BrokerId':9999,'Host':'k9','Port':9092}"),
                text(fmt, type,
                     "{'BrokerId':1,'Host':'b1.proxy.test','Port':20001,'Rack':'a'},"
                     "{'BrokerId':9999,'Host':'b9999.proxy.test','Port':29999}"));
        /* Controllers have no virtual brokers. */
        if (v >= 1)
            becomes(60, v, text(fmt, ",'EndpointType':2", "{'BrokerId':1,'Host':'c1','Port':9093}"),
                    text(fmt, ",'EndpointType':2", ""));
    }
}

static void describe_quorum(void **state)
{
    const char *fmt =
        "{'ErrorCode':0,'Topics':[{'TopicName':'__cluster_metadata','Partitions':[{'PartitionIndex':0,"
        "'LeaderId':1,'CurrentVoters':[{'ReplicaId':1}]}]}]%s}";

    for (int16_t v = 0; v <= 1; v++)
        becomes(55, v, text(fmt, ""), text(fmt, ""));
    becomes(55, 2,
            text(fmt, ",'Nodes':[{'NodeId':1,'Listeners':[{'Name':'C','Host':'c1.internal','Port':9093}]},"
                      "{'NodeId':2,'Listeners':[]}]"),
            text(fmt, ",'Nodes':[]"));
}

/* --- ApiVersions --- */

static const char *ranges(const char *list, const char *tail)
{
    return text("{'ErrorCode':0,'ApiKeys':[%s]%s}", list, tail);
}

static void api_versions(void **state)
{
    const char *in =
        "{'ApiKey':0,'MinVersion':0,'MaxVersion':13},{'ApiKey':0,'MinVersion':0,'MaxVersion':99},"
        "{'ApiKey':4,'MinVersion':0,'MaxVersion':7},{'ApiKey':17,'MinVersion':0,'MaxVersion':1},"
        "{'ApiKey':3,'MinVersion':90,'MaxVersion':99},{'ApiKey':999,'MinVersion':0,'MaxVersion':1},"
        "{'ApiKey':-3,'MinVersion':0,'MaxVersion':1},{'ApiKey':18,'MinVersion':0,'MaxVersion':9}";
    const char *out =
        "{'ApiKey':0,'MinVersion':0,'MaxVersion':13},{'ApiKey':0,'MinVersion':0,'MaxVersion':13},"
        "{'ApiKey':17,'MinVersion':0,'MaxVersion':1},{'ApiKey':18,'MinVersion':0,'MaxVersion':5}";

    for (int16_t v = 0; v <= 5; v++)
        becomes(18, v, ranges(in, ""), ranges(out, ""));
}

static void api_versions_features(void **state)
{
    static const char *const features =
        ",'SupportedFeatures':[{'Name':'transaction.version','MinVersion':0,'MaxVersion':2},{'Name':'other','"
        "MinVersion':"
        "0,'MaxVersion':2}],'FinalizedFeaturesEpoch':7,'FinalizedFeatures':[{'Name':'transaction.version',"
        "'MaxVersionLevel':2,'MinVersionLevel':2},{'Name':'streams.version','MaxVersionLevel':1,'"
        "MinVersionLevel':1}]";
    static const char *const no_tx =
        ",'SupportedFeatures':[{'Name':'other','MinVersion':0,'MaxVersion':2}],'FinalizedFeaturesEpoch':7,"
        "'FinalizedFeatures':[{'Name':'streams.version','MaxVersionLevel':1,'MinVersionLevel':1}]";
    static const char *const no_streams =
        ",'SupportedFeatures':[{'Name':'transaction.version','MinVersion':0,'MaxVersion':2},{'Name':'other','"
        "MinVersion':"
        "0,'MaxVersion':2}],'FinalizedFeaturesEpoch':7,'FinalizedFeatures':[{'Name':'transaction.version',"
        "'MaxVersionLevel':2,'MinVersionLevel':2}]";
    const char *all =
        "{'ApiKey':0,'MinVersion':0,'MaxVersion':13},{'ApiKey':88,'MinVersion':0,'MaxVersion':1}";

    for (int16_t v = 3; v <= 5; v++) {
        becomes(18, v, ranges(all, features), ranges(all, features));
        /* A broker whose Produce is too new for us: its transactions V2 cannot be used through us. */
        becomes(18, v, ranges("{'ApiKey':0,'MinVersion':50,'MaxVersion':60}", features), ranges("", no_tx));
        becomes(18, v, ranges("{'ApiKey':88,'MinVersion':50,'MaxVersion':60}", features),
                ranges("", no_streams));
        /* A broker that has no such version itself: not our doing. */
        becomes(18, v, ranges("{'ApiKey':0,'MinVersion':0,'MaxVersion':11}", features),
                ranges("{'ApiKey':0,'MinVersion':0,'MaxVersion':11}", features));
    }
}

/* The broker does not know the version that the client asked for: version 0 comes back. */
static void api_versions_fallback(void **state)
{
    struct rf_bytes from = {0}, to = {0};

    rf_response(&from, 18, 0, 77, "{'ErrorCode':35,'ApiKeys':[{'ApiKey':18,'MinVersion':0,'MaxVersion':9}]}");
    rf_response(&to, 18, 0, 77, "{'ErrorCode':35,'ApiKeys':[{'ApiKey':18,'MinVersion':0,'MaxVersion':5}]}");
    for (int16_t v = 0; v <= 5; v++) {
        expect((uint64_t)v + 1, 18, v, 77);
        rf_play_responses(&f, from.p, from.len);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        assert_client_got(&to);
    }
    rf_free(&from);
    rf_free(&to);
}

/* --- DescribeConfigs --- */

static const char *config(int type, const char *name, const char *key, const char *value, const char *synonym)
{
    return text(
        "{'Results':[{'ErrorCode':0,'ErrorMessage':null,'ResourceType':%d,'ResourceName':'%s','Configs':"
        "[{'Name':'before','Value':'://','ReadOnly':false,'IsSensitive':false},"
        "{'Name':'%s','Value':%s,'ReadOnly':false,'IsSensitive':false,'Synonyms':[{'Name':'%s','Value':%s,"
        "'Source':1}]}]}]}",
        type, name, key, value, key, synonym);
}

static void describe_configs(void **state)
{
    static const char real[] = "'PLAINTEXT://kafka-3.internal:9092,CONTROLLER://kafka-3.internal:9093'";
    static const char ours[] = "'PLAINTEXT://b3.proxy.test:20003'";

    for (int16_t v = 1; v <= 4; v++) {
        becomes(32, v, config(4, "3", "advertised.listeners", real, real),
                config(4, "3", "advertised.listeners", ours, ours));
        becomes(32, v, config(4, "3", "listeners", real, "null"), config(4, "3", "listeners", ours, "null"));
        becomes(32, v, config(4, "70000", "listeners", real, real),
                config(4, "70000", "listeners", "''", "''"));
        becomes(32, v, config(4, "", "listeners", real, real), config(4, "", "listeners", "''", "''"));
        static const char *const blank[] = {
            "controller.quorum.voters", "controller.quorum.bootstrap.servers",
            "zookeeper.connect",        "host.name",
            "advertised.host.name",     "rlmm.config.remote.log.metadata.bootstrap.servers"};
        for (size_t i = 0; i < sizeof(blank) / sizeof(blank[0]); i++)
            becomes(32, v, config(4, "3", blank[i], "'1@10.0.0.1:9093'", "'1@10.0.0.1:9093'"),
                    config(4, "3", blank[i], "''", "''"));
        /* Names of listeners are not addresses; unknown keys that hold listener URLs are. */
        const char *names = config(4, "3", "controller.listener.names", "'CONTROLLER'", "'CONTROLLER'");
        becomes(32, v, names, names);
        becomes(32, v, config(4, "3", "new.listeners.here", "'X://10.0.0.1:1'", "null"),
                config(4, "3", "new.listeners.here", "''", "null"));
        const char *timeout = config(4, "3", "controller.quorum.election.timeout.ms", "'1000'", "'1000'");
        becomes(32, v, timeout, timeout);
        /* Topics may call theirs what they like. */
        const char *topic = config(2, "3", "listeners", real, real);
        becomes(32, v, topic, topic);
    }
}

/* An optional edit: beyond hold_max the frame passes as it is, and that is counted. */
static void describe_configs_beyond_hold_max(void **state)
{
    struct rf_bytes b = {0};
    char *value = malloc(70000);

    memset(value, 'v', 70000);
    value[0] = '\'';
    value[30000] = '\'';
    value[30001] = '\0';
    const char *all =
        text("{'Results':[{'ErrorCode':0,'ErrorMessage':null,'ResourceType':4,'ResourceName':'3','Configs':"
             "[{'Name':'a','Value':%s},{'Name':'b','Value':%s}]}]}",
             value, value);
    rf_response(&b, 32, 4, 77, all);
    while (b.len <= HOLD_MAX) { /* unknown tagged fields at the end would do too: simply a larger frame */
        char *more = malloc(200000);
        sprintf(
            more,
            "{'Results':[{'ErrorCode':0,'ErrorMessage':null,'ResourceType':4,'ResourceName':'3','Configs':"
            "[{'Name':'a','Value':%s},{'Name':'b','Value':%s},{'Name':'listeners','Value':%s}]}]}",
            value, value, value);
        b.len = 0;
        rf_response(&b, 32, 4, 77, more);
        free(more);
    }
    expect(5, 32, 4, 77);
    rf_play_responses(&f, b.p, b.len);
    assert_int_equal(f.response.verdict, HR_DROP_MAX);
    assert_client_got(&b);
    assert_int_equal(counter(HR_CTR_kafka_edits_skipped), 1);
    free(value);
    rf_free(&b);
}

static void malformed(void **state)
{
    struct rf_bytes b = {0};

    /* One byte more than the message, one less. */
    rf_response(&b, 10, 3, 77, "{'ErrorCode':0,'NodeId':1,'Host':'kafka-1','Port':9092}");
    rf_append(&b, "", 1);
    hr_kput32(b.p, b.len - 4);
    ends(10, 3, b.p, b.len, HR_DROP_kafka_malformed_response);
    hr_kput32(b.p, b.len - 6);
    ends(10, 3, b.p, b.len - 2, HR_DROP_kafka_malformed_response);
    /* A mandatory edit beyond hold_max. */
    hr_kput32(b.p, HOLD_MAX + 1);
    ends(10, 3, b.p, b.len, HR_DROP_kafka_hold_max);
    /* Metadata that ends within its brokers. */
    b.len = 0;
    rf_response(&b, 3, 9, 77, metadata(9, "a", 1, "b", 2));
    hr_kput32(b.p, 30);
    ends(3, 9, b.p, 34, HR_DROP_kafka_malformed_response);
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
        assert_int_equal(in_flight(), 300);
        if (seed % 2)
            f.room = 100;
        rf_play_responses(&f, from.p, from.len);
        for (int i = 0; i < 2000 && f.broker_in.bytes > 0; i++)
            rf_responses(&f);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        assert_client_got(&to);
        assert_int_equal(in_flight(), 0);
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
    expect(1, 12, 1, 77);
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
        cmocka_unit_test(watched),
        cmocka_unit_test(wrong_order),
        cmocka_unit_test(metadata_brokers),
        cmocka_unit_test(metadata_hides_unreachable),
        cmocka_unit_test(metadata_larger_than_hold_max),
        cmocka_unit_test(metadata_brokers_beyond_hold_max),
        cmocka_unit_test(want_while_holding),
        cmocka_unit_test(find_coordinator),
        cmocka_unit_test(describe_cluster),
        cmocka_unit_test(describe_quorum),
        cmocka_unit_test(api_versions),
        cmocka_unit_test(api_versions_features),
        cmocka_unit_test(api_versions_fallback),
        cmocka_unit_test(describe_configs),
        cmocka_unit_test(describe_configs_beyond_hold_max),
        cmocka_unit_test(malformed),
        cmocka_unit_test(pipelined),
        cmocka_unit_test(state_mid_frame),
    };
    return cmocka_run_group_tests_name("relay responses", tests, setup, teardown);
}

/* Responses that are held and rewritten as a whole: addresses become the virtual brokers', ranges are narrowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

static void find_coordinator(void **state)
{
    for (int16_t v = 0; v <= 6; v++) {
        bool batched = v >= 4;
        const char *fmt =
            batched ? "{'Coordinators':[{'Key':'g','NodeId':%d,'Host':'%s','Port':%d,'ErrorCode':%d,"
                      "'ErrorMessage':null}]}"
                    : "{'NodeId':%d,'Host':'%s','Port':%d,'ErrorCode':%d}";
        rf_becomes(&f, 10, v, rf_text(fmt, 2, "kafka-2.internal", 9092, 0), rf_text(fmt, 2, "b2.proxy.test", 20002, 0));
        /* No coordinator: nothing to rewrite, and the original bytes pass. */
        rf_becomes(&f, 10, v, rf_text(fmt, -1, "", -1, 15), rf_text(fmt, -1, "", -1, 15));
        assert_int_equal(counter(HR_CTR_edited_bytes), 0);
        /* One that cannot be reached through this listener. */
        rf_becomes(&f, 10, v, rf_text(fmt, 77777, "kafka-77777", 9092, 0), rf_text(fmt, -1, "", -1, 15));
        rf_becomes(&f, 10, v, rf_text(fmt, -1, "kafka-lost", 9092, 0), rf_text(fmt, -1, "", -1, 15));
        assert_int_equal(counter(HR_CTR_kafka_nodes_hidden), 1);
    }
}

static void describe_cluster(void **state)
{
    const char *fmt = "{'ErrorCode':0,'ClusterId':'c','ControllerId':1%s,'Brokers':[%s]}";

    for (int16_t v = 0; v <= 2; v++) {
        const char *type = v >= 1 ? ",'EndpointType':1" : "";
        rf_becomes(&f, 60, v,
                rf_text(fmt, type,
                     "{'BrokerId':1,'Host':'k1','Port':9092,'Rack':'a'},{'BrokerId':70000,'Host':'k7','Port':"
                     "9092},"
                     "{'BrokerId':9999,'Host':'k9','Port':9092}"),
                rf_text(fmt, type,
                     "{'BrokerId':1,'Host':'b1.proxy.test','Port':20001,'Rack':'a'},"
                     "{'BrokerId':9999,'Host':'b9999.proxy.test','Port':29999}"));
        /* Controllers have no virtual brokers. */
        if (v >= 1)
            rf_becomes(&f, 60, v, rf_text(fmt, ",'EndpointType':2", "{'BrokerId':1,'Host':'c1','Port':9093}"),
                    rf_text(fmt, ",'EndpointType':2", ""));
    }
}

static void describe_quorum(void **state)
{
    const char *fmt =
        "{'ErrorCode':0,'Topics':[{'TopicName':'__cluster_metadata','Partitions':[{'PartitionIndex':0,"
        "'LeaderId':1,'CurrentVoters':[{'ReplicaId':1}]}]}]%s}";

    for (int16_t v = 0; v <= 1; v++)
        rf_becomes(&f, 55, v, rf_text(fmt, ""), rf_text(fmt, ""));
    rf_becomes(&f, 55, 2,
            rf_text(fmt, ",'Nodes':[{'NodeId':1,'Listeners':[{'Name':'C','Host':'c1.internal','Port':9093}]},"
                      "{'NodeId':2,'Listeners':[]}]"),
            rf_text(fmt, ",'Nodes':[]"));
}

/* --- ApiVersions --- */

static const char *ranges(const char *list, const char *tail)
{
    return rf_text("{'ErrorCode':0,'ApiKeys':[%s]%s}", list, tail);
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
        rf_becomes(&f, 18, v, ranges(in, ""), ranges(out, ""));
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
        rf_becomes(&f, 18, v, ranges(all, features), ranges(all, features));
        /* A broker whose Produce is too new for us: its transactions V2 cannot be used through us. */
        rf_becomes(&f, 18, v, ranges("{'ApiKey':0,'MinVersion':50,'MaxVersion':60}", features), ranges("", no_tx));
        rf_becomes(&f, 18, v, ranges("{'ApiKey':88,'MinVersion':50,'MaxVersion':60}", features),
                ranges("", no_streams));
        /* A broker that has no such version itself: not our doing. */
        rf_becomes(&f, 18, v, ranges("{'ApiKey':0,'MinVersion':0,'MaxVersion':11}", features),
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
        rf_expect(&f, (uint64_t)v + 1, 18, v, 77);
        rf_play_responses(&f, from.p, from.len);
        assert_int_equal(f.response.verdict, HR_DROP_MAX);
        rf_assert_client_got(&f, &to);
    }
    rf_free(&from);
    rf_free(&to);
}

/* --- DescribeConfigs --- */

static const char *config(int type, const char *name, const char *key, const char *value, const char *synonym)
{
    return rf_text(
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
        rf_becomes(&f, 32, v, config(4, "3", "advertised.listeners", real, real),
                config(4, "3", "advertised.listeners", ours, ours));
        rf_becomes(&f, 32, v, config(4, "3", "listeners", real, "null"), config(4, "3", "listeners", ours, "null"));
        rf_becomes(&f, 32, v, config(4, "70000", "listeners", real, real),
                config(4, "70000", "listeners", "''", "''"));
        rf_becomes(&f, 32, v, config(4, "", "listeners", real, real), config(4, "", "listeners", "''", "''"));
        static const char *const blank[] = {
            "controller.quorum.voters", "controller.quorum.bootstrap.servers",
            "zookeeper.connect",        "host.name",
            "advertised.host.name",     "rlmm.config.remote.log.metadata.bootstrap.servers"};
        for (size_t i = 0; i < sizeof(blank) / sizeof(blank[0]); i++)
            rf_becomes(&f, 32, v, config(4, "3", blank[i], "'1@10.0.0.1:9093'", "'1@10.0.0.1:9093'"),
                    config(4, "3", blank[i], "''", "''"));
        /* Names of listeners are not addresses; unknown keys that hold listener URLs are. */
        const char *names = config(4, "3", "controller.listener.names", "'CONTROLLER'", "'CONTROLLER'");
        rf_becomes(&f, 32, v, names, names);
        rf_becomes(&f, 32, v, config(4, "3", "new.listeners.here", "'X://10.0.0.1:1'", "null"),
                config(4, "3", "new.listeners.here", "''", "null"));
        const char *timeout = config(4, "3", "controller.quorum.election.timeout.ms", "'1000'", "'1000'");
        rf_becomes(&f, 32, v, timeout, timeout);
        /* Topics may call theirs what they like. */
        const char *topic = config(2, "3", "listeners", real, real);
        rf_becomes(&f, 32, v, topic, topic);
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
        rf_text("{'Results':[{'ErrorCode':0,'ErrorMessage':null,'ResourceType':4,'ResourceName':'3','Configs':"
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
    rf_expect(&f, 5, 32, 4, 77);
    rf_play_responses(&f, b.p, b.len);
    assert_int_equal(f.response.verdict, HR_DROP_MAX);
    rf_assert_client_got(&f, &b);
    assert_int_equal(counter(HR_CTR_kafka_edits_skipped), 1);
    free(value);
    rf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(find_coordinator),
        cmocka_unit_test(describe_cluster),
        cmocka_unit_test(describe_quorum),
        cmocka_unit_test(api_versions),
        cmocka_unit_test(api_versions_features),
        cmocka_unit_test(api_versions_fallback),
        cmocka_unit_test(describe_configs),
        cmocka_unit_test(describe_configs_beyond_hold_max),
    };
    return cmocka_run_group_tests_name("relay held responses", tests, setup, teardown);
}

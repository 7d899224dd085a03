#include "controlplane/metadata/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct hr_cluster *parse(const char *text, int expect)
{
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);
    struct hr_cluster *cluster = NULL;
    char why[128] = "";

    if (!json)
        fail_msg("test data: %s at column %d", error.text, error.column);
    assert_int_equal(hr_cluster_parse(json, &cluster, why), expect);
    if (expect)
        assert_true(why[0] != '\0');
    json_decref(json);
    return cluster;
}

static const char three_brokers[] =
    "{\"ClusterId\":\"abc\",\"ControllerId\":2,\"Brokers\":["
    "{\"NodeId\":3,\"Host\":\"b3\",\"Port\":9093,\"Rack\":\"z3\"},"
    "{\"NodeId\":1,\"Host\":\"b1\",\"Port\":9091,\"Rack\":null},"
    "{\"NodeId\":2,\"Host\":\"b2\",\"Port\":9092,\"Rack\":\"z2\"}],"
    "\"Topics\":[{\"ErrorCode\":0,\"Name\":\"t\",\"TopicId\":\"01020304-0506-0708-090a-0b0c0d0e0f10\","
    "\"IsInternal\":false,"
    "\"Partitions\":[{\"ErrorCode\":0,\"PartitionIndex\":0,\"LeaderId\":1,\"LeaderEpoch\":7,\"ReplicaNodes\":"
    "[1,2,3],"
    "\"IsrNodes\":[1,2],\"OfflineReplicas\":[3]},"
    "{\"ErrorCode\":5,\"PartitionIndex\":1,\"LeaderId\":-1,\"LeaderEpoch\":8,\"ReplicaNodes\":[2],"
    "\"IsrNodes\":[]}]},"
    "{\"ErrorCode\":0,\"Name\":null,\"TopicId\":\"00000000-0000-0000-0000-000000000000\",\"IsInternal\":true,"
    "\"Partitions\":[]}]}";

static void a_cluster_is_understood(void **state)
{
    struct hr_cluster *cluster = parse(three_brokers, 0);
    const struct hr_cluster_partition *p;

    (void)state;
    assert_string_equal(cluster->id, "abc");
    assert_int_equal(cluster->controller_id, 2);
    assert_int_equal(cluster->n_brokers, 3);
    assert_int_equal(cluster->brokers[0].id, 1);
    assert_int_equal(cluster->brokers[2].id, 3);
    assert_string_equal(cluster->brokers[0].rack, "");
    assert_string_equal(cluster->brokers[2].rack, "z3");
    assert_int_equal(hr_cluster_find_broker(cluster, 2)->port, 9092);
    assert_null(hr_cluster_find_broker(cluster, 4));
    assert_int_equal(cluster->n_topics, 2);
    assert_int_equal(cluster->n_partitions, 2);
    assert_string_equal(cluster->topics[0].id, "01020304-0506-0708-090a-0b0c0d0e0f10");
    assert_string_equal(cluster->topics[1].name, "");
    assert_string_equal(cluster->topics[1].id, "");
    assert_true(cluster->topics[1].internal);
    p = &cluster->topics[0].partitions[0];
    assert_int_equal(p->leader, 1);
    assert_int_equal(p->leader_epoch, 7);
    assert_int_equal(p->n_replicas, 3);
    assert_int_equal(p->replicas[2], 3);
    assert_int_equal(p->n_isr, 2);
    assert_int_equal(p->offline[0], 3);
    assert_int_equal(cluster->topics[0].partitions[1].leader, -1);
    assert_int_equal(hr_cluster_leads(cluster, 1), 1);
    assert_int_equal(hr_cluster_leads(cluster, 2), 0);
    assert_int_equal(cluster->n_rejected, 0);
    hr_cluster_free(cluster);
}

static void odd_brokers_are_left_out_and_counted(void **state)
{
    char long_host[400], text[1200];
    struct hr_cluster *cluster;

    (void)state;
    memset(long_host, 'h', sizeof(long_host) - 1);
    long_host[sizeof(long_host) - 1] = '\0';
    snprintf(
        text, sizeof(text),
        "{\"Brokers\":[{\"NodeId\":-1,\"Host\":\"a\",\"Port\":1},{\"NodeId\":1,\"Host\":\"a\",\"Port\":0},"
        "{\"NodeId\":2,\"Host\":\"a\",\"Port\":65536},{\"NodeId\":3,\"Host\":\"\",\"Port\":1},"
        "{\"NodeId\":4,\"Host\":\"%s\",\"Port\":1},{\"NodeId\":5,\"Host\":\"a b\",\"Port\":1},"
        "{\"NodeId\":6,\"Host\":\"good\",\"Port\":1},{\"NodeId\":6,\"Host\":\"twice\",\"Port\":1},"
        "{\"NodeId\":99999999999,\"Host\":\"a\",\"Port\":1},{\"NodeId\":7,\"Port\":1}],\"Topics\":[]}",
        long_host);
    cluster = parse(text, 0);
    assert_int_equal(cluster->n_brokers, 1);
    assert_string_equal(cluster->brokers[0].host, "good");
    assert_int_equal(cluster->n_rejected, 9);
    assert_non_null(strstr(cluster->rejected, "negative"));
    hr_cluster_free(cluster);
}

static void what_is_no_metadata_is_refused(void **state)
{
    (void)state;
    parse("{}", HR_E_INVALID);
    parse("{\"Brokers\":[],\"Topics\":[]}", HR_E_INVALID);
    parse("{\"Brokers\":7,\"Topics\":[]}", HR_E_INVALID);
    parse("{\"Brokers\":[{\"NodeId\":1,\"Host\":\"a\",\"Port\":1}]}", HR_E_INVALID);
    parse("{\"Brokers\":[{\"NodeId\":1,\"Host\":\"a\",\"Port\":-9}],\"Topics\":[]}", HR_E_INVALID);
}

static void fenced_brokers_are_added_unknown_ones_are_not(void **state)
{
    struct hr_cluster *cluster = parse(three_brokers, 0);
    json_t *describe =
        json_loads("{\"ErrorCode\":0,\"ClusterId\":\"other\",\"Brokers\":["
                   "{\"BrokerId\":1,\"Host\":\"elsewhere\",\"Port\":1,\"Rack\":\"z1\",\"IsFenced\":false},"
                   "{\"BrokerId\":9,\"Host\":\"b9\",\"Port\":9099,\"Rack\":\"z9\",\"IsFenced\":true},"
                   "{\"BrokerId\":8,\"Host\":\"b8\",\"Port\":9098,\"Rack\":\"z8\",\"IsFenced\":false}]}",
                   0, NULL);

    (void)state;
    assert_non_null(describe);
    assert_int_equal(hr_cluster_add_describe(cluster, describe), 0);
    assert_int_equal(cluster->n_brokers, 4);
    assert_string_equal(cluster->id, "abc");
    assert_string_equal(cluster->brokers[0].host, "b1");
    assert_string_equal(cluster->brokers[0].rack, "z1");
    assert_true(hr_cluster_find_broker(cluster, 9)->fenced);
    assert_null(hr_cluster_find_broker(cluster, 8));
    json_object_set_new(describe, "ErrorCode", json_integer(31));
    json_object_set_new(describe, "Brokers", json_null());
    assert_int_equal(hr_cluster_add_describe(cluster, describe), 0);
    assert_int_equal(cluster->n_brokers, 4);
    json_decref(describe);
    hr_cluster_free(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_is_understood),
        cmocka_unit_test(odd_brokers_are_left_out_and_counted),
        cmocka_unit_test(what_is_no_metadata_is_refused),
        cmocka_unit_test(fenced_brokers_are_added_unknown_ones_are_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

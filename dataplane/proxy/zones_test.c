/* Bytes by zone: every one of them in the right cell, sums as the worker's counters, topics and clients by their share,
 * and links that hold what went over the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/proxy_rig.h"

static struct pr r;
static struct pr_peer *client, *broker;

static int set_up(void **state)
{
    pr_open(&r, NULL);
    return 0;
}

static void finish(void)
{
    const char *wrong = pr_close(&r);
    if (wrong)
        fail_msg("%s", wrong);
}

/* The client's network is in zone 3, this proxy in 1, node 3 in 2. */
static void open_session(uint16_t port, uint32_t broker_ip)
{
    struct hr_policy *p = pr_next_policy(&r);
    p->zones.n_nets = 1;
    p->zones.scope[HR_ZONE_GLOBAL].n = 1;
    p->zones.nets[0] = (struct hr_zone_net){.addr = hr_addr_from_v4(htonl(PR_CLIENT_IP)), .bits = 128, .zone = 3};
    const char *why;
    if (hr_policy_validate(p, &why) != 0)
        fail_msg("%s", why);
    pr_adopt(&r);
    client = pr_connect(&r, port);
    pr_run(&r, 20 * PR_MS);
    broker = pr_accepted_at(&r, broker_ip);
    assert_non_null(broker);
}

static void send_frame(struct pr_peer *p, struct rf_bytes *b)
{
    pr_send(&r, p, b->p, b->len);
    rf_free(b);
    pr_run(&r, 200 * PR_MS);
}

static uint64_t cell(enum hr_zone_dir dir, enum hr_zone_class klass)
{
    return r.zones->bytes[3][2][dir][klass];
}

static uint64_t sum(enum hr_zone_dir dir)
{
    uint64_t n = 0;
    for (int c = 0; c < HR_ZONES_MAX; c++)
        for (int b = 0; b < HR_ZONES_MAX; b++)
            for (int k = 0; k < HR_ZONE_CLASS_MAX; k++)
                n += r.zones->bytes[c][b][dir][k];
    return n;
}

/* Each class has its bytes, all together what the worker counts. */
static void every_byte_has_its_cell(void **state)
{
    struct rf_bytes b = {0};
    uint32_t up[3], down[3];

    open_session(9203, PR_BROKER_IP(1));
    rf_request(&b, 12, 3, 1, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    up[0] = b.len;
    send_frame(client, &b);
    rf_response(&b, 12, 3, 1, "{'ThrottleTimeMs':0,'ErrorCode':0}");
    down[0] = b.len;
    send_frame(broker, &b);
    rf_request(&b, 3, 9, 2,
               "{'Topics':[],'AllowAutoTopicCreation':false,'IncludeClusterAuthorizedOperations':false,"
               "'IncludeTopicAuthorizedOperations':false}");
    up[1] = b.len;
    send_frame(client, &b);
    rf_response(&b, 3, 9, 2,
                "{'ThrottleTimeMs':0,'Brokers':[{'NodeId':3,'Host':'some.long.name','Port':9092,'Rack':'zone-b'}],"
                "'ClusterId':'c','ControllerId':3,'Topics':[],'ClusterAuthorizedOperations':0}");
    down[1] = b.len;
    send_frame(broker, &b);
    assert_int_equal(cell(HR_ZONE_UP, HR_ZONE_GROUP), up[0]);
    assert_int_equal(cell(HR_ZONE_DOWN, HR_ZONE_GROUP), down[0]);
    assert_int_equal(cell(HR_ZONE_UP, HR_ZONE_METADATA), up[1]);
    assert_int_equal(cell(HR_ZONE_DOWN, HR_ZONE_METADATA), down[1]); /* as it arrived: it leaves with another length */
    assert_int_equal(sum(HR_ZONE_UP), PR_COUNT(&r, relay_bytes_up));
    assert_int_equal(sum(HR_ZONE_DOWN), PR_COUNT(&r, relay_bytes_down));
    finish();
}

/* The client in zone 3 is told the instance there, whichever it asked; one in no zone of ours is told us. */
static void clients_are_told_the_instance_in_their_zone(void **state)
{
    static const char request[] = "{'Topics':[],'AllowAutoTopicCreation':false,'IncludeClusterAuthorizedOperations':false,"
                                  "'IncludeTopicAuthorizedOperations':false}";
    static const char response[] = "{'ThrottleTimeMs':0,'Brokers':[{'NodeId':3,'Host':'k3','Port':9092,'Rack':'zone-b'}],"
                                   "'ClusterId':'c','ControllerId':3,'Topics':[],'ClusterAuthorizedOperations':0}";
    struct rf_bytes b = {0};

    open_session(9203, PR_BROKER_IP(1));
    for (int id = 1; id < 3; id++) {
        struct hr_policy *p = pr_next_policy(&r);
        p->n_peers = 1;
        p->peers[0] = (struct hr_policy_peer){.adv_host = "b$(nodeId).there.test", .adv_port_base = 7000, .adv_port_per_node = 1};
        p->told[0][id == 1 ? 3 : 2] = 1;
        p->told[0][id == 1 ? 2 : 3] = 0;
        const char *why;
        if (hr_policy_validate(p, &why) != 0)
            fail_msg("%s", why);
        pr_adopt(&r);
        rf_free(&client->got);
        rf_request(&b, 3, 9, id, request);
        send_frame(client, &b);
        rf_response(&b, 3, 9, id, response);
        send_frame(broker, &b);
        const char *want = id == 1 ? "b3.there.test" : "b3.example.com";
        assert_non_null(memmem(client->got.p, client->got.len, want, strlen(want)));
        const uint8_t ports[2][4] = {{0, 0, 7003 >> 8, 7003 & 255}, {0, 0, 19203 >> 8, 19203 & 255}};
        assert_non_null(memmem(client->got.p, client->got.len, ports[id - 1], 4));
        assert_null(memmem(client->got.p, client->got.len, "k3", 2));
    }
    finish();
}

/* 300,000 record bytes: large enough for a look. */
static char *fetch_json(bool ids)
{
    static char json[1300000];
    static char records[2][490000];
    memset(records[0], '0', 480000); /* hexadecimal */
    memset(records[1], '0', 120000);
    snprintf(json, sizeof(json),
             "{'ThrottleTimeMs':0,'ErrorCode':0,'SessionId':0,'Responses':["
             "{%s,'Partitions':[{'PartitionIndex':0,'ErrorCode':0,'HighWatermark':1,'LastStableOffset':1,"
             "'LogStartOffset':0,'AbortedTransactions':[],'PreferredReadReplica':-1,'Records':'%s'}]},"
             "{%s,'Partitions':[{'PartitionIndex':0,'ErrorCode':0,'HighWatermark':1,'LastStableOffset':1,"
             "'LogStartOffset':0,'AbortedTransactions':[],'PreferredReadReplica':-1,'Records':'%s'}]}]}",
             ids ? "'TopicId':'00000000-0000-0000-0000-000000000001'" : "'Topic':'first'", records[0],
             ids ? "'TopicId':'00000000-0000-0000-0000-000000000002'" : "'Topic':'second'", records[1]);
    return json;
}

static uint64_t of_topic(enum hr_zone_dir dir, const void *key, uint32_t len)
{
    struct hr_zone_top e;
    for (uint32_t i = 0; i < HR_ZONE_TOPICS; i++)
        if (hr_zone_top_read(&r.zones->topics[i], &e) && e.dir == dir && e.len == len && memcmp(e.key, key, len) == 0) {
            assert_int_equal(e.client, 3);
            assert_int_equal(e.broker, 2);
            return e.bytes;
        }
    return 0;
}

static void fetch(int version, bool ids)
{
    struct rf_bytes b = {0};
    rf_request(&b, 1, version, 7,
               "{'MaxWaitMs':500,'MinBytes':1,'MaxBytes':1000000,'IsolationLevel':0,'SessionId':0,'SessionEpoch':-1,"
               "'Topics':[],'ForgottenTopicsData':[],'RackId':''}");
    send_frame(client, &b);
    rf_response(&b, 1, version, 7, fetch_json(ids));
    uint64_t frame = b.len;
    send_frame(broker, &b);
    pr_run(&r, 2 * PR_S);
    assert_int_equal(cell(HR_ZONE_DOWN, HR_ZONE_FETCH), frame);
}

static void topics_share_a_fetch_by_their_bytes(void **state)
{
    open_session(9203, PR_BROKER_IP(1));
    fetch(12, false);
    uint64_t first = of_topic(HR_ZONE_DOWN, "first", 5), second = of_topic(HR_ZONE_DOWN, "second", 6);
    assert_in_range(first, 240000, 240200);
    assert_in_range(second, 60000, 60200);
    assert_int_equal(r.zones->topics_seen[HR_ZONE_DOWN], first + second);
    finish();
}

static void topics_without_names_have_ids(void **state)
{
    static const char one[16] = {[15] = 1}, two[16] = {[15] = 2};
    open_session(9203, PR_BROKER_IP(1));
    fetch(16, true);
    assert_in_range(of_topic(HR_ZONE_DOWN, one, 16), 240000, 240200);
    assert_in_range(of_topic(HR_ZONE_DOWN, two, 16), 60000, 60200);
    finish();
}

/* Small requests add up: each look stands for those before it. */
static void produced_topics_are_noted_now_and_then(void **state)
{
    struct rf_bytes b = {0};
    static char records[5000], json[8000];
    memset(records, '0', 4000);
    snprintf(json, sizeof(json),
             "{'TransactionalId':null,'Acks':1,'TimeoutMs':1000,'TopicData':[{'Name':'made','PartitionData':"
             "[{'Index':0,'Records':'%s'}]}]}", records);
    open_session(9203, PR_BROKER_IP(1));
    uint64_t sent = 0;
    for (int i = 0; i < 200; i++) {
        rf_request(&b, 0, 9, i, json);
        sent += b.len;
        send_frame(client, &b);
        rf_response(&b, 0, 9, i,
                    "{'Responses':[{'Name':'made','PartitionResponses':[{'Index':0,'ErrorCode':0,'BaseOffset':1,"
                    "'LogAppendTimeMs':-1,'LogStartOffset':0,'RecordErrors':[],'ErrorMessage':null}]}],'ThrottleTimeMs':0}");
        send_frame(broker, &b);
    }
    assert_int_equal(cell(HR_ZONE_UP, HR_ZONE_PRODUCE), sent);
    uint64_t made = of_topic(HR_ZONE_UP, "made", 4);
    assert_true(made > sent / 2 && made <= sent);
    assert_true(r.zones->topics_seen[HR_ZONE_UP] == made);
    finish();
}

/* What is sent is what the other end of the wire receives: both ends count. */
static void links_hold_all_segments(void **state)
{
    static uint8_t data[200000];
    open_session(5201, PR_TARGET_IP);
    pr_send(&r, client, data, sizeof(data));
    pr_run(&r, 2 * PR_S);
    const struct hr_zone_link *from = &r.zones->link[HR_ZONE_PEER_CLIENT][3][0];
    const struct hr_zone_link *to = &r.zones->link[HR_ZONE_PEER_BROKER][HR_ZONE_NONE][0];
    assert_int_equal(r.zones->bytes[3][HR_ZONE_NONE][HR_ZONE_UP][HR_ZONE_OPAQUE], sizeof(data));
    /* All but the handshake, which has no connection yet; a header has 20 to 60 bytes. */
    assert_in_range(from->rx_bytes, sizeof(data) + 20 * from->rx_packets, sizeof(data) + 60 * from->rx_packets);
    assert_in_range(to->tx_bytes, sizeof(data) + 20 * to->tx_packets, sizeof(data) + 60 * to->tx_packets);
    assert_true(from->rx_packets >= sizeof(data) / 1460 && to->rx_packets > 0 && from->tx_packets > 0);
    uint64_t packets = 0;
    for (int peer = 0; peer < HR_ZONE_PEER_MAX; peer++)
        for (int z = 0; z < HR_ZONES_MAX; z++)
            packets += r.zones->link[peer][z][0].tx_packets + r.zones->link[peer][z][1].tx_packets;
    assert_in_range(PR_COUNT(&r, tcp_segs_tx), packets, packets + 2);
    assert_int_equal(from->again_packets + to->again_packets, 0);
    finish();
}

static void clients_are_noted(void **state)
{
    struct hr_zone_top e;
    uint64_t noted = 0;
    open_session(9203, PR_BROKER_IP(1));
    fetch(12, false);
    for (uint32_t i = 0; i < HR_ZONE_CLIENTS; i++)
        if (hr_zone_top_read(&r.zones->clients[i], &e))
            noted += e.bytes;
    assert_int_equal(noted, r.zones->clients_seen);
    uint64_t all = PR_COUNT(&r, relay_bytes_up) + PR_COUNT(&r, relay_bytes_down);
    assert_true(noted > 0 && noted <= all && all - noted < 384 << 10);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_byte_has_its_cell, set_up),
        cmocka_unit_test_setup(topics_share_a_fetch_by_their_bytes, set_up),
        cmocka_unit_test_setup(topics_without_names_have_ids, set_up),
        cmocka_unit_test_setup(produced_topics_are_noted_now_and_then, set_up),
        cmocka_unit_test_setup(links_hold_all_segments, set_up),
        cmocka_unit_test_setup(clients_are_noted, set_up),
        cmocka_unit_test_setup(clients_are_told_the_instance_in_their_zone, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A consumer in zone-a at the virtual broker of node 3, in zone-b: its fetches go to node 1, in its own zone, over a
 * second leg, and everything else to node 3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/kafka/reader.h"
#include "dataplane/proxy/impl.h"
#include "shared/kafka/wire.h"
#include "tests/support/family.h"
#include "tests/support/proxy_rig.h"

#define LEADER   PR_BROKER_IP(1) /* node 3, zone-b */
#define FOLLOWER PR_BROKER_IP(0) /* node 1, zone-a */
#define FETCH_V  12

static struct pr r;
static struct pr_peer *client, *leader, *follower;
static struct hr_replicas *map, *spare_map;

/* Topic t: partition 0 on 3, followers 1 and 5; 1 the same; 2 without a follower in zone-a. Topic off: reads are off. */
static void make_map(struct hr_replicas *m, uint64_t generation)
{
    uint16_t node1, node3, node5;

    hr_replicas_init(m);
    m->generation = generation;
    node1 = hr_replicas_add_broker(m, 1);
    node3 = hr_replicas_add_broker(m, 3);
    node5 = hr_replicas_add_broker(m, 5);
    for (uint32_t i = 0; i < 3; i++) {
        m->brokers[i].up = 1;
        m->brokers[i].fetch_max = 16;
    }
    struct hr_replicas_partition *p = hr_replicas_add_topic(m, "t", NULL, 3, HR_ZONE_READS_NONE);
    for (uint32_t i = 0; i < 3; i++)
        p[i].leader = node3;
    p[0].isr[0] = p[1].isr[0] = node1;
    p[0].isr[1] = p[1].isr[1] = p[2].isr[0] = node5;
    p = hr_replicas_add_topic(m, "off", NULL, 1, HR_ZONE_READS_OFF);
    p[0].leader = node3;
    p[0].isr[0] = node1;
}

static void adopt_map(void (*change)(struct hr_replicas *m))
{
    struct hr_replicas *m = spare_map;
    const char *why = "";

    make_map(m, map->generation + 1);
    if (change)
        change(m);
    if (hr_replicas_validate(m, &why) != 0)
        fail_msg("%s", why);
    hr_proxy_set_replicas(r.proxy, m);
    spare_map = map;
    map = m;
    memset(spare_map, 0xa5, sizeof(*spare_map));
}

static void adopt_reads(enum hr_zone_reads reads)
{
    struct hr_policy *p = pr_next_policy(&r);

    p->listeners[0].zone_reads = (uint8_t)reads;
    p->zone_reads_min_bytes = 16384;
    pr_adopt(&r);
}

static int setup(void **state)
{
    pr_open(&r, NULL);
    map = calloc(1, sizeof(*map));
    spare_map = calloc(1, sizeof(*spare_map));
    adopt_reads(HR_ZONE_READS_ON);
    adopt_map(NULL);
    client = leader = follower = NULL;
    return 0;
}

static int teardown(void **state)
{
    pr_close(&r);
    free(map);
    free(spare_map);
    return 0;
}

static void finish(void)
{
    const char *wrong = pr_close(&r);
    if (wrong)
        fail_msg("%s", wrong);
}

static void open_session(void)
{
    client = pr_connect(&r, 9203);
    pr_run(&r, 20 * PR_MS);
    leader = pr_accepted_at(&r, LEADER);
    assert_non_null(leader);
}

static void send_bytes(struct pr_peer *p, struct rf_bytes *b)
{
    pr_send(&r, p, b->p, b->len);
    rf_free(b);
    pr_run(&r, 20 * PR_MS);
}

/* topics: JSON of the array, with ' for ". */
static void fetch_as(int16_t version, int32_t id, int32_t epoch, const char *topics, const char *forgotten, int replica)
{
    struct rf_bytes b = {0};
    char json[2048];

    snprintf(json, sizeof(json),
             "{'ReplicaId':%d,'MaxWaitMs':500,'MinBytes':1,'MaxBytes':1000000,'IsolationLevel':0,'SessionId':%d,"
             "'SessionEpoch':%d,'Topics':%s,'ForgottenTopicsData':%s,'RackId':''}",
             replica, epoch > 0 ? 77 : 0, epoch, topics, forgotten);
    rf_request(&b, 1, version, id, json);
    send_bytes(client, &b);
}

#define PARTITION(topic, i)                                                                                  \
    "{'Topic':'" topic "','Partitions':[{'Partition':" #i ",'CurrentLeaderEpoch':-1,'FetchOffset':0,"         \
    "'LastFetchedEpoch':-1,'LogStartOffset':-1,'PartitionMaxBytes':1000}]}"

static void fetch(int32_t id, int32_t epoch, const char *topics)
{
    fetch_as(FETCH_V, id, epoch, topics, "[]", -1);
}

/* A response with one partition's records: n bytes. */
static void answer(struct rf_bytes *ret, int32_t id, int error, uint32_t n)
{
    char *json = malloc(2 * n + 1024), *records = malloc(2 * n + 1);

    for (uint32_t i = 0; i < n; i++)
        sprintf(records + 2 * i, "%02x", i & 0xff);
    records[2 * n] = '\0';
    sprintf(json,
            "{'ThrottleTimeMs':0,'ErrorCode':0,'SessionId':77,'Responses':[{'Topic':'t','Partitions':["
            "{'PartitionIndex':0,'ErrorCode':%d,'HighWatermark':%d,'LastStableOffset':9,'LogStartOffset':0,"
            "'AbortedTransactions':[],'PreferredReadReplica':-1,'Records':%s%s%s}]}]}",
            error, error ? -1 : 9, n ? "'" : "null", n ? records : "", n ? "'" : "");
    rf_response(ret, 1, FETCH_V, id, json);
    free(json);
    free(records);
}

static void answer_from(struct pr_peer *p, int32_t id, int error, uint32_t n)
{
    struct rf_bytes b = {0};

    answer(&b, id, error, n);
    send_bytes(p, &b);
}

static void heartbeat(int32_t id)
{
    struct rf_bytes b = {0};
    rf_request(&b, 12, 3, id, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    send_bytes(client, &b);
}

static void heartbeat_answer(int32_t id)
{
    struct rf_bytes b = {0};
    rf_response(&b, 12, 3, id, "{'ThrottleTimeMs':0,'ErrorCode':0}");
    send_bytes(leader, &b);
}

/* The correlation ids of the frames that a peer has got, as text: requests at byte 8 of a frame, answers at byte 4. */
static const char *ids_of(const struct pr_peer *p, uint32_t at)
{
    static char text[512];
    uint32_t n = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i + 12 <= p->got.len || (at == 4 && i + 8 <= p->got.len);) {
        n += (uint32_t)snprintf(text + n, sizeof(text) - n, "%s%d", n ? " " : "", (int)hr_kget32(p->got.p + i + at));
        i += 4 + hr_kget32(p->got.p + i);
    }
    return text;
}
#define REQUESTS(p) ids_of(p, 8)
#define ANSWERS(p)  ids_of(p, 4)

static void open_and_fetch(void)
{
    open_session();
    fetch(1, 0, "[" PARTITION("t", 0) "]");
    follower = pr_accepted_at(&r, FOLLOWER);
    assert_non_null(follower);
    assert_string_equal(REQUESTS(follower), "1");
    assert_string_equal(REQUESTS(leader), "");
}

static void test_fetches_go_to_the_follower(void **state)
{
    open_and_fetch();
    answer_from(follower, 1, 0, 300);
    assert_string_equal(ANSWERS(client), "1");
    for (int32_t id = 2; id < 20; id++) {
        fetch(id, id - 1, "[]");
        answer_from(follower, id, 0, id % 3 ? 0 : 5000);
    }
    heartbeat(20);
    heartbeat_answer(20);
    assert_string_equal(REQUESTS(leader), "20");
    assert_string_equal(REQUESTS(follower), "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19");
    assert_string_equal(ANSWERS(client), "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
    assert_int_equal(PR_COUNT(&r, reads_in_zone), 19);
    assert_true(PR_COUNT(&r, reads_in_zone_bytes) > 30000);
    assert_int_equal(pr_n_accepted(&r), 2);
    finish();
}

static uint64_t moved_between(uint8_t client_zone, uint8_t broker_zone, enum hr_zone_dir dir)
{
    uint64_t n = 0;

    for (uint32_t k = 0; k < HR_ZONE_CLASS_MAX; k++)
        n += r.zones->bytes[client_zone][broker_zone][dir][k];
    return n;
}

/* The matrix has the bytes where they went, the steered ones are told apart with where they would have gone, and the
 * branch's segments are in the link of its own zone. */
static void test_bytes_count_where_they_went(void **state)
{
    open_and_fetch();
    answer_from(follower, 1, 0, 3000);
    heartbeat(2);
    heartbeat_answer(2);

    uint8_t home = hr_policy_find_broker(r.proxy->policy, 3)->zone, near = hr_policy_find_broker(r.proxy->policy, 1)->zone;
    const uint64_t *steered = r.zones->steered[near][home][near];
    assert_int_not_equal(home, near);
    assert_int_equal(steered[HR_ZONE_UP], follower->got.len);
    assert_int_equal(steered[HR_ZONE_DOWN], PR_COUNT(&r, reads_in_zone_bytes));
    assert_true(steered[HR_ZONE_DOWN] > 3000);
    assert_int_equal(moved_between(near, near, HR_ZONE_UP), follower->got.len);
    assert_int_equal(moved_between(near, near, HR_ZONE_DOWN), steered[HR_ZONE_DOWN]);
    assert_int_equal(moved_between(near, home, HR_ZONE_UP), leader->got.len);
    assert_int_equal(moved_between(near, home, HR_ZONE_DOWN), client->got.len - steered[HR_ZONE_DOWN]);
    assert_true(r.zones->link[HR_ZONE_PEER_BROKER][near][0].tx_packets > 0);
    finish();
}

static void test_answers_keep_the_order_of_requests(void **state)
{
    open_and_fetch();
    heartbeat(2);
    fetch(3, 1, "[]");
    heartbeat(4);
    assert_string_equal(REQUESTS(follower), "1 3");
    assert_string_equal(REQUESTS(leader), "2 4");
    heartbeat_answer(2);
    heartbeat_answer(4);
    assert_string_equal(ANSWERS(client), "");
    answer_from(follower, 1, 0, 100);
    assert_string_equal(ANSWERS(client), "1 2");
    answer_from(follower, 3, 0, 100);
    assert_string_equal(ANSWERS(client), "1 2 3 4");
    finish();
}

/* Far more than the windows: a leg whose turn has not come is not read, so its broker waits. */
static void test_what_has_no_turn_waits_in_its_window(void **state)
{
    static uint8_t body[900000];
    struct rf_bytes b = {0};
    uint8_t size[8];

    open_session();
    heartbeat(1);
    fetch(2, 0, "[" PARTITION("t", 0) "]");
    follower = pr_accepted_at(&r, FOLLOWER);
    hr_kput32(size, sizeof(body) + 4);
    hr_kput32(size + 4, 2);
    rf_append(&b, size, sizeof(size));
    /* A response with one huge partition, by hand: the codec needs text of twice its size. */
    static const uint8_t head[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 77, 2, 2, 't', 2, 0, 0, 0, 0, 0, 0,
                                   0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0,
                                   1, 255, 255, 255, 255};
    memcpy(body, head, sizeof(head));
    body[0] = 0; /* header tags; what follows is one byte further on */
    memmove(body + 1, head, sizeof(head));
    uint32_t at = 1 + sizeof(head), n = sizeof(body) - at - 4 - 3;
    at += hr_kvarint_put(body + at, n + 1);
    memset(body + at, 'r', n);
    memset(body + at + n, 0, sizeof(body) - at - n);
    hr_kput32(size, at + n + 3 + 4);
    rf_append(&b, body, at + n + 3);
    memcpy(b.p, size, 4);
    send_bytes(follower, &b);
    pr_run(&r, 10 * PR_S);
    assert_string_equal(ANSWERS(client), "");
    assert_true(r.in.bufs.held < 1000);
    heartbeat_answer(1);
    pr_run(&r, 60 * PR_S);
    assert_string_equal(ANSWERS(client), "1 2");
    finish();
}

static void test_members_come_and_go(void **state)
{
    open_and_fetch();
    answer_from(follower, 1, 0, 0);
    fetch(2, 1, "[" PARTITION("t", 1) "]");
    assert_string_equal(REQUESTS(follower), "1 2");
    answer_from(follower, 2, 0, 0);
    /* Partition 2 has no replica in the zone: all stay with the leader until it is forgotten. */
    fetch(3, 2, "[" PARTITION("t", 2) "]");
    assert_string_equal(REQUESTS(leader), "3");
    answer_from(leader, 3, 0, 0);
    fetch(4, 3, "[]");
    assert_string_equal(REQUESTS(leader), "3 4");
    answer_from(leader, 4, 0, 0);
    assert_int_equal(PR_COUNT(&r, reads_home_replica), 2);
    fetch_as(FETCH_V, 5, 4, "[]", "[{'Topic':'t','Partitions':[2]}]", -1);
    assert_string_equal(REQUESTS(follower), "1 2 5");
    answer_from(follower, 5, 0, 0);
    /* A request that names all begins anew. */
    fetch(6, 0, "[" PARTITION("off", 0) "]");
    assert_string_equal(REQUESTS(leader), "3 4 6");
    assert_int_equal(PR_COUNT(&r, reads_home_off), 1);
    answer_from(leader, 6, 0, 0);
    fetch(7, -1, "[" PARTITION("t", 1) "]");
    assert_string_equal(REQUESTS(follower), "1 2 5 7");
    answer_from(follower, 7, 0, 0);
    finish();
}

static void not_in_sync(struct hr_replicas *m)
{
    m->partitions[0].isr[0] = m->partitions[0].isr[1];
}

static void down(struct hr_replicas *m)
{
    m->brokers[0].up = 0;
}

static void led_elsewhere(struct hr_replicas *m)
{
    m->partitions[0].leader = 2;
}

static void older(struct hr_replicas *m)
{
    m->brokers[0].fetch_max = 11;
}

static void test_the_map_decides_anew(void **state)
{
    void (*const changes[])(struct hr_replicas *) = {not_in_sync, down, led_elsewhere, older};
    int32_t id = 2;

    open_and_fetch();
    answer_from(follower, 1, 0, 0);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t before = leader->got.len;
        adopt_map(changes[i]);
        fetch(id, id - 1, "[]");
        assert_true(leader->got.len > before);
        answer_from(leader, id++, 0, 0);
        adopt_map(NULL);
        before = follower->got.len;
        fetch(id, id - 1, "[]");
        assert_true(follower->got.len > before);
        answer_from(follower, id++, 0, 0);
    }
    assert_int_equal(PR_COUNT(&r, reads_home_replica), 3);
    assert_int_equal(PR_COUNT(&r, reads_home_version), 1);
    assert_int_equal(pr_n_accepted(&r), 2);
    finish();
}

static void two_in_the_zone(struct hr_replicas *m)
{
    m->partitions[0].isr[1] = HR_REPLICAS_NO_BROKER;
    m->partitions[1].isr[0] = 2;
    m->partitions[1].isr[1] = HR_REPLICAS_NO_BROKER;
}

static void test_what_stays_with_the_leader(void **state)
{
    struct hr_policy *p = pr_next_policy(&r);

    p->brokers[2].zone = 1; /* node 5 in the client's zone, too */
    pr_adopt(&r);
    adopt_map(two_in_the_zone);
    open_session();
    fetch(1, 0, "[" PARTITION("t", 0) "," PARTITION("t", 1) "]");
    assert_int_equal(PR_COUNT(&r, reads_home_split), 1);
    fetch_as(10, 2, 0, "[" PARTITION("t", 0) "]", "[]", -1);
    assert_int_equal(PR_COUNT(&r, reads_home_old), 1);
    fetch_as(FETCH_V, 3, 0, "[" PARTITION("t", 0) "]", "[]", 7); /* another broker's */
    fetch(4, 0, "[" PARTITION("none", 0) "]");
    assert_int_equal(PR_COUNT(&r, reads_home_replica), 1);
    assert_string_equal(REQUESTS(leader), "1 2 3 4");
    adopt_reads(HR_ZONE_READS_OFF);
    fetch(5, 0, "[" PARTITION("t", 0) "]");
    assert_string_equal(REQUESTS(leader), "1 2 3 4 5");
    assert_null(pr_accepted_at(&r, FOLLOWER));
    finish();
}

static void test_a_login_through_us_stays(void **state)
{
    struct rf_bytes b = {0};

    open_session();
    rf_request(&b, 17, 1, 1, "{'Mechanism':'PLAIN'}");
    send_bytes(client, &b);
    fetch(2, 0, "[" PARTITION("t", 0) "]");
    assert_string_equal(REQUESTS(leader), "1 2");
    assert_int_equal(PR_COUNT(&r, reads_home_login), 1);
    finish();
}

static void test_the_same_zone_needs_nothing(void **state)
{
    client = pr_connect(&r, 9201);
    pr_run(&r, 20 * PR_MS);
    leader = pr_accepted_at(&r, FOLLOWER);
    fetch(1, 0, "[" PARTITION("t", 0) "]");
    assert_string_equal(REQUESTS(leader), "1");
    for (int i = HR_CTR_reads_in_zone; i <= HR_CTR_reads_home_limit; i++)
        assert_int_equal(r.in.stats.counters[i], 0);
    finish();
}

/* What the client gets where answer() has an error of the follower's. */
static void hidden_answer(struct rf_bytes *ret, int32_t id)
{
    rf_response(ret, 1, FETCH_V, id,
                "{'ThrottleTimeMs':0,'ErrorCode':0,'SessionId':77,'Responses':[{'Topic':'t','Partitions':["
                "{'PartitionIndex':0,'ErrorCode':0,'HighWatermark':-1,'LastStableOffset':9,'LogStartOffset':0,"
                "'AbortedTransactions':[],'PreferredReadReplica':-1,'Records':null}]}]}");
}

/* Errors that a follower alone has become empty answers, whatever stands around them; then the leader is asked. */
static void test_errors_of_the_follower_are_hidden(void **state)
{
    struct rf_bytes want = {0};

    open_and_fetch();
    answer_from(follower, 1, 1, 0);
    hidden_answer(&want, 1);
    assert_int_equal(client->got.len, want.len);
    assert_memory_equal(client->got.p, want.p, want.len);
    rf_free(&want);
    assert_int_equal(PR_COUNT(&r, reads_errors_hidden), 1);
    fetch(2, 1, "[]");
    assert_string_equal(REQUESTS(leader), "2");
    answer_from(leader, 2, 1, 0); /* the leader's own is true */
    assert_int_equal(PR_COUNT(&r, reads_errors_hidden), 1);
    assert_int_equal(client->got.p[client->got.len - 1], 0);
    pr_run(&r, 61 * PR_S);
    fetch(3, 0, "[" PARTITION("t", 0) "]");
    follower = pr_accepted_at(&r, FOLLOWER);
    assert_true(strstr(REQUESTS(follower), "3") != NULL);
    answer_from(follower, 3, 74, 0);
    assert_int_equal(PR_COUNT(&r, reads_errors_hidden), 1);
    finish();
}

/* Wherever segments end, in the middle of the error too. */
static void test_errors_are_hidden_in_pieces(void **state)
{
    struct rf_bytes got, want = {0};
    uint32_t cut = 1;

    open_session();
    for (int32_t id = 1;; id++, cut++) {
        fetch(id, 0, "[" PARTITION("t", 0) "]");
        follower = pr_accepted_at(&r, FOLLOWER);
        got = (struct rf_bytes){0};
        answer(&got, id, 1, 0);
        rf_free(&want);
        hidden_answer(&want, id);
        pr_send(&r, follower, got.p, cut);
        pr_run(&r, 20 * PR_MS);
        pr_send(&r, follower, got.p + cut, got.len - cut);
        pr_run(&r, 61 * PR_S); /* to the next one: the branch is idle, and the follower asked again */
        bool last = cut + 1 == got.len;
        rf_free(&got);
        assert_int_equal(PR_COUNT(&r, reads_errors_hidden), cut);
        assert_int_equal(client->got.len, cut * want.len);
        assert_memory_equal(client->got.p + (cut - 1) * want.len, want.p, want.len);
        if (last)
            break;
    }
    rf_free(&want);
    finish();
}

/* What the follower has not answered is asked of the leader, on a connection of its own: the first has requests under
 * way that come behind. */
static void asked_again(struct pr_peer *old)
{
    struct pr_peer *again = pr_accepted_at(&r, LEADER);
    assert_ptr_not_equal(again, leader);
    assert_string_equal(REQUESTS(again), "1 3");
    assert_int_equal(PR_COUNT(&r, reads_asked_again), 2);
    assert_string_equal(ANSWERS(client), "");
    answer_from(again, 1, 0, 10);
    answer_from(again, 3, 0, 10);
    assert_string_equal(ANSWERS(client), "1 2 3");
    fetch(4, 0, "[" PARTITION("t", 0) "]");
    assert_true(strstr(REQUESTS(leader), "4") != NULL);
    answer_from(leader, 4, 0, 10);
    assert_true(PR_COUNT(&r, reads_home_bypass) > 0);
    pr_run(&r, 11 * PR_S);
    fetch(5, 0, "[" PARTITION("t", 0) "]");
    follower = pr_accepted_at(&r, FOLLOWER);
    assert_ptr_not_equal(follower, old);
    assert_string_equal(REQUESTS(follower), "5");
    answer_from(follower, 5, 0, 10);
    assert_string_equal(ANSWERS(client), "1 2 3 4 5");
    finish();
}

static void three_requests(void)
{
    open_and_fetch();
    heartbeat(2);
    fetch(3, -1, "[" PARTITION("t", 1) "]");
    heartbeat_answer(2);
}

static void test_a_follower_that_ends(void **state)
{
    three_requests();
    pr_shutdown(&r, follower);
    pr_run(&r, 50 * PR_MS);
    asked_again(follower);
}

static void test_a_follower_that_resets(void **state)
{
    three_requests();
    pr_reset(&r, follower);
    pr_run(&r, 50 * PR_MS);
    asked_again(follower);
}

/* Frozen: TCP answers, the broker does not. */
static void test_a_follower_that_is_silent(void **state)
{
    three_requests();
    pr_run(&r, 3300 * PR_MS);
    assert_ptr_equal(pr_accepted_at(&r, LEADER), leader);
    pr_run(&r, 600 * PR_MS);
    asked_again(follower);
}

/* What it said before its end counts, and what comes behind is asked again. */
static void test_a_follower_that_answers_and_ends(void **state)
{
    three_requests();
    answer_from(follower, 1, 0, 50);
    pr_shutdown(&r, follower);
    pr_run(&r, 50 * PR_MS);
    struct pr_peer *again = pr_accepted_at(&r, LEADER);
    assert_ptr_not_equal(again, leader);
    assert_string_equal(REQUESTS(again), "3");
    answer_from(again, 3, 0, 10);
    assert_string_equal(ANSWERS(client), "1 2 3");
    finish();
}

static void test_a_follower_that_refuses(void **state)
{
    pr_host(&r, FOLLOWER)->refuse = true;
    open_session();
    fetch(1, 0, "[" PARTITION("t", 0) "]");
    assert_string_equal(REQUESTS(leader), "1");
    answer_from(leader, 1, 0, 10);
    fetch(2, 1, "[]");
    answer_from(leader, 2, 0, 10);
    assert_string_equal(ANSWERS(client), "1 2");
    assert_int_equal(PR_COUNT(&r, reads_home_bypass), 2);
    finish();
}

static void test_a_follower_that_is_not_there(void **state)
{
    pr_host(&r, FOLLOWER)->silent = true;
    open_session();
    fetch(1, 0, "[" PARTITION("t", 0) "]");
    heartbeat(2); /* waits its turn */
    assert_string_equal(REQUESTS(leader), "");
    pr_run(&r, 1200 * PR_MS);
    assert_string_equal(REQUESTS(leader), "1 2");
    answer_from(leader, 1, 0, 10);
    heartbeat_answer(2);
    assert_string_equal(ANSWERS(client), "1 2");
    finish();
}

/* A part of an answer cannot be taken back. */
static void test_an_answer_cut_short_ends_the_session(void **state)
{
    struct rf_bytes b = {0};

    open_and_fetch();
    rf_response(&b, 1, FETCH_V, 1,
                "{'ThrottleTimeMs':0,'ErrorCode':0,'SessionId':77,'Responses':[{'Topic':'t','Partitions':["
                "{'PartitionIndex':0,'ErrorCode':0,'HighWatermark':9,'LastStableOffset':9,'LogStartOffset':0,"
                "'AbortedTransactions':[],'PreferredReadReplica':-1,'Records':'0102030405060708090a'}]}]}");
    b.len -= 6;
    send_bytes(follower, &b);
    assert_true(client->got.len > 0);
    pr_reset(&r, follower);
    pr_run(&r, PR_S);
    assert_true(client->failed);
    assert_int_equal(PR_DROPS(&r, broker_closed), 1);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    finish();
}

/* The leader, too, is gone when it is asked. */
static void test_nobody_is_left(void **state)
{
    three_requests();
    pr_host(&r, LEADER)->refuse = true;
    pr_reset(&r, follower);
    pr_run(&r, PR_S);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    finish();
}

/* A connection whose fetch session began when nobody looked: the client is made to name all partitions, once. */
static void test_all_is_named_again(void **state)
{
    adopt_reads(HR_ZONE_READS_OFF);
    open_session();
    fetch(1, 0, "[" PARTITION("t", 0) "]");
    answer_from(leader, 1, 0, 0);
    adopt_reads(HR_ZONE_READS_ON);
    fetch(2, 1, "[]");
    assert_string_equal(REQUESTS(leader), "1");
    assert_string_equal(ANSWERS(client), "1 2");
    static const uint8_t want[] = {0, 0, 0, 17, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 70, 0, 0, 0, 0, 1, 0};
    assert_memory_equal(client->got.p + client->got.len - sizeof(want), want, sizeof(want));
    fetch(3, 2, "[]"); /* a client that does not listen */
    assert_string_equal(REQUESTS(leader), "1 3");
    answer_from(leader, 3, 0, 0);
    fetch(4, 0, "[" PARTITION("t", 0) "]");
    follower = pr_accepted_at(&r, FOLLOWER);
    assert_string_equal(REQUESTS(follower), "4");
    answer_from(follower, 4, 0, 0);
    finish();
}

/* "auto": begins in the zone; after five seconds with too little it goes to the leader, and with enough it is back. */
static void test_bytes_decide(void **state)
{
    int32_t id = 2;

    adopt_reads(HR_ZONE_READS_AUTO);
    open_and_fetch();
    answer_from(follower, 1, 0, 100);
    pr_run(&r, 5 * PR_S);
    fetch(id, 0, "[" PARTITION("t", 0) "]");
    assert_string_equal(REQUESTS(leader), "2");
    assert_int_equal(PR_COUNT(&r, reads_home_rate), 1);
    answer_from(leader, id++, 0, 60000); /* not yet */
    fetch(id, 0, "[" PARTITION("t", 0) "]");
    assert_string_equal(REQUESTS(leader), "2 3");
    answer_from(leader, id++, 0, 60000); /* a period's worth at once */
    fetch(id, 0, "[" PARTITION("t", 0) "]");
    assert_string_equal(REQUESTS(follower), "1 4");
    answer_from(follower, id++, 0, 100);
    pr_run(&r, 5 * PR_S);
    fetch(id, 0, "[" PARTITION("t", 0) "]"); /* the period had the leader's bytes, too */
    assert_string_equal(REQUESTS(follower), "1 4 5");
    answer_from(follower, id++, 0, 50000); /* half of the threshold is enough to stay */
    pr_run(&r, 5 * PR_S);
    fetch(id, 0, "[" PARTITION("t", 0) "]");
    assert_string_equal(REQUESTS(follower), "1 4 5 6");
    answer_from(follower, id++, 0, 30000); /* less than that is not */
    pr_run(&r, 5 * PR_S);
    fetch(id, 0, "[" PARTITION("t", 0) "]");
    assert_string_equal(REQUESTS(leader), "2 3 7");
    finish();
}

/* Frames in pieces of every size, several at once. */
static void test_in_pieces(void **state)
{
    struct rf_bytes all = {0};

    open_session();
    for (int32_t id = 1; id <= 6; id++) {
        char json[1024];
        if (id % 2) {
            snprintf(json, sizeof(json),
                     "{'ReplicaId':-1,'MaxWaitMs':500,'MinBytes':1,'MaxBytes':1000000,'IsolationLevel':0,'SessionId':0,"
                     "'SessionEpoch':-1,'Topics':[%s],'ForgottenTopicsData':[],'RackId':''}", PARTITION("t", 0));
            rf_request(&all, 1, FETCH_V, id, json);
        } else {
            rf_request(&all, 12, 3, id, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
        }
    }
    for (uint32_t i = 0; i < all.len;) {
        uint32_t n = 1 + i % 7;
        if (n > all.len - i)
            n = all.len - i;
        pr_send(&r, client, all.p + i, n);
        pr_run(&r, 3 * PR_MS);
        i += n;
    }
    rf_free(&all);
    pr_run(&r, 20 * PR_MS);
    follower = pr_accepted_at(&r, FOLLOWER);
    assert_string_equal(REQUESTS(follower), "1 3 5");
    assert_string_equal(REQUESTS(leader), "2 4 6");
    for (int32_t id = 1; id <= 6; id++) {
        if (id % 2)
            answer_from(follower, id, 0, 2000);
        else
            heartbeat_answer(id);
    }
    assert_string_equal(ANSWERS(client), "1 2 3 4 5 6");
    finish();
}

static void test_an_unused_branch_is_closed(void **state)
{
    open_and_fetch();
    answer_from(follower, 1, 0, 10);
    pr_run(&r, 62 * PR_S);
    assert_true(follower->fin);
    fetch(2, 1, "[]");
    assert_ptr_not_equal(pr_accepted_at(&r, FOLLOWER), follower);
    finish();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_fetches_go_to_the_follower),
        T(test_bytes_count_where_they_went),
        T(test_answers_keep_the_order_of_requests),
        T(test_what_has_no_turn_waits_in_its_window),
        T(test_members_come_and_go),
        T(test_the_map_decides_anew),
        T(test_what_stays_with_the_leader),
        T(test_a_login_through_us_stays),
        T(test_the_same_zone_needs_nothing),
        T(test_errors_of_the_follower_are_hidden),
        T(test_errors_are_hidden_in_pieces),
        T(test_a_follower_that_ends),
        T(test_a_follower_that_resets),
        T(test_a_follower_that_is_silent),
        T(test_a_follower_that_answers_and_ends),
        T(test_a_follower_that_refuses),
        T(test_a_follower_that_is_not_there),
        T(test_an_answer_cut_short_ends_the_session),
        T(test_nobody_is_left),
        T(test_all_is_named_again),
        T(test_bytes_decide),
        T(test_in_pieces),
        T(test_an_unused_branch_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

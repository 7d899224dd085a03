/* Dollars against sums by hand, rates over a minute, names of topics, and the zone that an instance's metadata tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/auth/http.h"
#include "controlplane/auth/mock_http.h"
#include "controlplane/loop/loop.h"
#include "controlplane/zones/advise.h"
#include "controlplane/zones/cost.h"
#include "controlplane/zones/instance.h"
#include "controlplane/zones/peers.h"
#include "controlplane/zones/tops.h"
#include "controlplane/zones/totals.h"
#include "shared/base/clock.h"

static struct hr_config config;
static struct hr_zone_map map;
static struct hr_zone_totals totals;
static struct hr_zone_stats stats;

static int set_up(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    memset(&map, 0, sizeof(map));
    memset(&totals, 0, sizeof(totals));
    memset(&stats, 0, sizeof(stats));
    config.zones.n_names = 4;
    config.zones.price_per_gb = 0.01;
    map.n = 4;
    map.own = 1;
    for (int i = 1; i < 4; i++) {
        snprintf(map.name[i], sizeof(map.name[i]), "z%d", i);
        snprintf(config.zones.names[4 - i], sizeof(config.zones.names[0]), "z%d", i); /* in another order */
    }
    return 0;
}

#define GB 1000000000ull
#define assert_dollars(is, want) assert_true((is) > (want) - 1e-9 && (is) < (want) + 1e-9)

static void each_side_pays_for_what_leaves_a_zone(void **state)
{
    struct hr_zone_cost cost;

    (void)state;
    stats.bytes[1][1][HR_ZONE_UP][HR_ZONE_PRODUCE] = 7 * GB; /* stays */
    stats.bytes[1][2][HR_ZONE_UP][HR_ZONE_PRODUCE] = 3 * GB; /* to the broker's zone: one step */
    stats.bytes[3][2][HR_ZONE_DOWN][HR_ZONE_FETCH] = 5 * GB; /* through ours: two; direct: one */
    stats.bytes[0][2][HR_ZONE_DOWN][HR_ZONE_FETCH] = 1 * GB; /* from nobody knows where */
    hr_zone_totals_add(&totals, &stats);
    hr_zone_cost(&config, &map, &totals, &cost);
    assert_dollars(cost.payload, 0.02 * (3 + 5 + 5 + 1));
    assert_dollars(cost.direct, 0.02 * (3 + 5));
    assert_int_equal(cost.bytes, 16 * GB);
    assert_int_equal(cost.crossing, 8 * GB);
    assert_int_equal(cost.unknown, 1 * GB);
    assert_dollars(cost.overhead, 0);
}

static void what_another_broker_answered_would_have_come_from_its_leader(void **state)
{
    struct hr_zone_cost cost;

    (void)state;
    stats.bytes[1][1][HR_ZONE_DOWN][HR_ZONE_FETCH] = 9 * GB;
    stats.steered[1][3][1][HR_ZONE_DOWN] = 9 * GB;
    hr_zone_totals_add(&totals, &stats);
    hr_zone_cost(&config, &map, &totals, &cost);
    assert_dollars(cost.payload, 0);
    assert_dollars(cost.direct, 0.18);
}

static void prices_may_differ_between_zones(void **state)
{
    (void)state;
    config.zones.n_prices = 1;
    config.zones.prices[0] = (struct hr_config_zone_price){.a = 3, .b = 2, .per_gb = 0.05}; /* z1 and z2 */
    assert_dollars(hr_zone_price(&config, &map, 1, 2) * GB, 0.10);
    assert_dollars(hr_zone_price(&config, &map, 2, 1) * GB, 0.10);
    assert_dollars(hr_zone_price(&config, &map, 1, 3) * GB, 0.02);
    assert_dollars(hr_zone_price(&config, &map, 3, 3) * GB, 0);
    assert_dollars(hr_zone_path_price(&config, &map, 3, 2) * GB, 0.12);
}

static void headers_are_paid_for_too(void **state)
{
    struct hr_zone_cost cost;

    (void)state;
    stats.bytes[1][2][HR_ZONE_UP][HR_ZONE_PRODUCE] = 1 * GB;
    stats.link[HR_ZONE_PEER_BROKER][2][0].tx_packets = 1000;
    stats.link[HR_ZONE_PEER_BROKER][2][0].tx_bytes = 1 * GB + 32000;
    stats.link[HR_ZONE_PEER_BROKER][2][1].rx_packets = 500; /* IPv6 */
    stats.link[HR_ZONE_PEER_BROKER][2][1].rx_bytes = 16000;
    stats.link[HR_ZONE_PEER_CLIENT][1][0].rx_bytes = 1 * GB; /* within the zone */
    hr_zone_totals_add(&totals, &stats);
    assert_int_equal(hr_zone_link_tx(&totals, HR_ZONE_PEER_BROKER, 2), 1 * GB + 52000);
    assert_int_equal(hr_zone_link_rx(&totals, HR_ZONE_PEER_BROKER, 2), 36000);
    hr_zone_cost(&config, &map, &totals, &cost);
    assert_dollars(cost.overhead * 1e6, 0.02 * 88000 / GB * 1e6);
}

/* -- rates ------------------------------------------------------------------------------------------------- */

static struct hr_loop *loop;
static uint64_t fake_now = HR_US_PER_S;
static bool attached;

static uint64_t fake_clock(void)
{
    return fake_now;
}

static bool read_totals(void *owner, struct hr_zone_totals *ret)
{
    (void)owner;
    hr_zone_totals_add(ret, &stats);
    return attached;
}

static void rates_are_of_the_last_minute(void **state)
{
    static struct hr_zone_totals now, added;
    struct hr_zone_totals_keeper *keeper;
    uint64_t *cell = &stats.bytes[1][2][HR_ZONE_UP][HR_ZONE_PRODUCE];
    double seconds;

    (void)state;
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    assert_int_equal(hr_zone_totals_keeper_create(loop, read_totals, NULL, &keeper), 0);
    attached = false;
    assert_false(hr_zone_totals_get(keeper, &now, &added, &seconds));
    attached = true;
    hr_zone_totals_keeper_restart(keeper);
    for (int s = 0; s <= 600; s++) {
        hr_loop_turn(loop, 0);
        *cell += s < 300 ? 1000 : 10;
        fake_now += HR_US_PER_S;
    }
    assert_true(hr_zone_totals_get(keeper, &now, &added, &seconds));
    assert_int_equal(now.bytes[1][2][HR_ZONE_UP][HR_ZONE_PRODUCE], *cell);
    assert_true(seconds >= 59 && seconds <= 71);
    assert_int_equal(added.bytes[1][2][HR_ZONE_UP][HR_ZONE_PRODUCE], (uint64_t)(10 * seconds + 0.5));
    /* Another dataplane counts from 0. */
    *cell = 5;
    hr_zone_totals_keeper_restart(keeper);
    hr_loop_turn(loop, 0);
    assert_true(hr_zone_totals_get(keeper, &now, &added, &seconds));
    assert_int_equal(added.bytes[1][2][HR_ZONE_UP][HR_ZONE_PRODUCE], 0);
    hr_zone_totals_keeper_destroy(keeper);
    hr_loop_destroy(loop);
}

/* -- names ------------------------------------------------------------------------------------------------- */

static void topics_are_found_by_name_and_by_id(void **state)
{
    struct hr_cluster_topic topic = {.name = "orders", .id = "00000000-0000-0000-0000-0000000000ff"};
    struct hr_cluster cluster = {.n_topics = 1, .topics = &topic};
    char id[16] = {[15] = (char)0xff}, other[16] = {[0] = 1};
    struct hr_zone_moved by_name = {.key = "orders", .len = 6, .client = 1, .broker = 2, .bytes = 10};
    struct hr_zone_moved by_id = {.key = id, .len = 16, .is_id = true, .client = 1, .broker = 2, .bytes = 5};
    struct hr_zone_moved unknown = {.key = other, .len = 16, .is_id = true, .client = 3, .broker = 2, .dir = HR_ZONE_DOWN, .bytes = 1};
    struct hr_zone_moved odd = {.key = "a\nb", .len = 3, .client = 1, .broker = 1, .bytes = 2};
    struct hr_zone_whos whos = {0};
    uint32_t seen = 0;

    (void)state;
    hr_zone_top_add(stats.topics, HR_ZONE_TOPICS, &by_name);
    hr_zone_top_add(stats.topics, HR_ZONE_TOPICS, &by_id);
    hr_zone_top_add(stats.topics, HR_ZONE_TOPICS, &unknown);
    hr_zone_top_add(stats.topics, HR_ZONE_TOPICS, &odd);
    hr_zone_whos_add(&whos, stats.topics, HR_ZONE_TOPICS, &cluster);
    hr_zone_whos_add(&whos, stats.topics, HR_ZONE_TOPICS, &cluster); /* another worker's */
    assert_int_equal(whos.n, 3);
    assert_int_equal(whos.nameless, 2);
    for (uint32_t i = 0; i < whos.n; i++) {
        const struct hr_zone_who *who = &whos.who[i];

        if (strcmp(who->name, "orders") == 0 && who->bytes[1][2][HR_ZONE_UP] == 30)
            seen |= 1;
        if (strcmp(who->name, "01000000-0000-0000-0000-000000000000") == 0 && who->bytes[3][2][HR_ZONE_DOWN] == 2)
            seen |= 2;
        if (strcmp(who->name, "a\\x0ab") == 0 && who->bytes[1][1][HR_ZONE_UP] == 4)
            seen |= 4;
    }
    assert_int_equal(seen, 7);
    hr_zone_whos_free(&whos);
}

/* -- advice -------------------------------------------------------------------------------------------------- */

/* Topic "away" is produced in z1 and z3, most in z1; node N is in zone N. */
static void leaders_go_where_most_is_produced(void **state)
{
    static const int32_t all[] = {2, 1, 3}, others[] = {2, 3}, first[] = {1, 2};
    struct hr_cluster_partition away[] = {
        {.index = 0, .leader = 2, .n_replicas = 3, .replicas = all, .n_isr = 3, .isr = all},
        {.index = 1, .leader = 2, .n_replicas = 3, .replicas = all, .n_isr = 2, .isr = others}, /* 1 is not in sync */
        {.index = 2, .leader = 1, .n_replicas = 3, .replicas = all, .n_isr = 3, .isr = all},
    };
    struct hr_cluster_partition home[] = {{.index = 0, .leader = 1, .n_replicas = 2, .replicas = first, .n_isr = 2, .isr = first}};
    struct hr_cluster_topic topics[] = {{.name = "away", .n_partitions = 3, .partitions = away},
                                        {.name = "home", .n_partitions = 1, .partitions = home},
                                        {.name = "idle", .n_partitions = 1, .partitions = home}};
    struct hr_cluster cluster = {.n_topics = 3, .topics = topics, .n_partitions = 5};
    static struct hr_policy policy;
    static struct hr_zone_who who[2];
    struct hr_zone_whos whos = {.n = 2, .who = who};
    struct hr_zone_move *moves;
    uint32_t n;
    char *text;
    json_t *json;

    (void)state;
    memset(who, 0, sizeof(who));
    strcpy(who[0].name, "away");
    who[0].bytes[1][2][HR_ZONE_UP] = 30 * GB;
    who[0].bytes[3][2][HR_ZONE_UP] = 10 * GB;
    who[0].bytes[1][1][HR_ZONE_UP] = 15 * GB;
    who[0].bytes[2][2][HR_ZONE_DOWN] = 500 * GB; /* reads do not count */
    strcpy(who[1].name, "home");
    who[1].bytes[1][1][HR_ZONE_UP] = 99 * GB;
    policy.zones = map;
    policy.n_brokers = 3;
    for (int i = 0; i < 3; i++)
        policy.brokers[i] = (struct hr_policy_broker){.node_id = i + 1, .zone = (uint8_t)(i + 1)};
    assert_int_equal(hr_zone_advise(&config, &policy, &cluster, &whos, &moves, &n), 0);
    /* Through this proxy in z1: half of 40 GB pay one step less. z3's replica would save nothing. */
    assert_int_equal(n, 1);
    assert_ptr_equal(moves[0].partition, &away[0]);
    assert_int_equal(moves[0].to, 1);
    assert_int_equal(moves[0].from_zone, 2);
    assert_int_equal(moves[0].to_zone, 1);
    assert_dollars(moves[0].saves, 0.02 * 20);
    json = hr_zone_reassignment(moves, n);
    text = json_dumps(json, JSON_SORT_KEYS);
    assert_string_equal(text, "{\"partitions\": [{\"partition\": 0, \"replicas\": [1, 2, 3], \"topic\": \"away\"}], \"version\": 1}");
    free(text);
    json_decref(json);
    json = hr_zone_election(moves, n);
    text = json_dumps(json, JSON_SORT_KEYS);
    assert_string_equal(text, "{\"partitions\": [{\"partition\": 0, \"topic\": \"away\"}]}");
    free(text);
    json_decref(json);
    free(moves);
}

/* -- instance metadata --------------------------------------------------------------------------------------- */

static int n_denied, n_changed;

static void answer(const struct mock_request *request, struct mock_reply *reply)
{
    const char *token = mock_header(request, "X-aws-ec2-metadata-token");

    reply->status = 404;
    if (strcmp(request->path, "/latest/api/token") == 0 && strcmp(request->method, "PUT") == 0 &&
        mock_header(request, "X-aws-ec2-metadata-token-ttl-seconds")) {
        reply->status = n_denied-- > 0 ? 403 : 200;
        strcpy(reply->body, "the-token");
    } else if (strcmp(request->path, "/latest/meta-data/placement/availability-zone-id") == 0 && token) {
        reply->status = strcmp(token, "the-token") == 0 ? 200 : 401;
        strcpy(reply->body, "use1-az6\n");
    }
}

static void on_changed(void *owner)
{
    (void)owner;
    n_changed++;
}

static void the_instance_tells_its_zone(void **state)
{
    struct hr_instance_zone *instance;
    struct hr_http *http;
    char url[64];

    (void)state;
    n_denied = 1;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", mock_http_start(answer));
    setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url, 1);
    assert_int_equal(hr_loop_create(NULL, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    assert_int_equal(hr_instance_zone_create(loop, http, on_changed, NULL, &instance), 0);
    assert_null(hr_instance_zone_get(instance));
    hr_instance_zone_start(instance);
    while (!*hr_instance_zone_error(instance))
        hr_loop_turn(loop, 100);
    assert_non_null(strstr(hr_instance_zone_error(instance), "403"));
    while (!hr_instance_zone_get(instance))
        hr_loop_turn(loop, 100);
    assert_string_equal(hr_instance_zone_get(instance), "use1-az6");
    assert_string_equal(hr_instance_zone_error(instance), "");
    assert_int_equal(n_changed, 1);
    hr_instance_zone_destroy(instance);
    hr_http_destroy(http);
    hr_loop_destroy(loop);
    mock_http_stop();
}

/* -- peers --------------------------------------------------------------------------------------------------- */

static _Atomic unsigned peer_status, n_asked;

static void answer_health(const struct mock_request *request, struct mock_reply *reply)
{
    n_asked++;
    reply->status = strcmp(request->path, "/ready") == 0 ? peer_status : 404;
}

static void turn_until_asked(unsigned more)
{
    for (unsigned want = n_asked + more; n_asked < want;)
        hr_loop_turn(loop, 50);
    for (int i = 0; i < 10; i++) /* the answer */
        hr_loop_turn(loop, 20);
}

static void a_peer_is_left_out_and_comes_back_without_flapping(void **state)
{
    struct hr_peers *peers;
    struct hr_http *http;
    const char *url = config.zones.peers[0].health;

    (void)state;
    n_changed = 0;
    config.zones.n_peers = 1;
    snprintf(config.zones.peers[0].health, sizeof(config.zones.peers[0].health), "http://127.0.0.1:%u/ready",
             mock_http_start(answer_health));
    assert_int_equal(hr_loop_create(NULL, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    assert_int_equal(hr_peers_create(loop, http, on_changed, NULL, &peers), 0);
    assert_true(hr_peers_up(peers, ""));
    assert_false(hr_peers_up(peers, url));
    peer_status = 200;
    hr_peers_configure(peers, &config.zones);
    while (!hr_peers_up(peers, url)) /* the first good answer */
        hr_loop_turn(loop, 50);
    assert_int_equal(n_changed, 1);
    peer_status = 503; /* drains */
    turn_until_asked(1);
    assert_true(hr_peers_up(peers, url)); /* once is no harm */
    while (hr_peers_up(peers, url))
        hr_loop_turn(loop, 50);
    assert_int_equal(n_changed, 2);
    peer_status = 200;
    turn_until_asked(1);
    assert_false(hr_peers_up(peers, url));
    while (!hr_peers_up(peers, url))
        hr_loop_turn(loop, 50);
    assert_int_equal(n_changed, 3);
    hr_peers_configure(peers, &config.zones);
    assert_true(hr_peers_up(peers, url)); /* what is known stays */
    config.zones.n_peers = 0;
    hr_peers_configure(peers, &config.zones);
    assert_false(hr_peers_up(peers, url));
    hr_peers_destroy(peers);
    hr_http_destroy(http);
    hr_loop_destroy(loop);
    mock_http_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_side_pays_for_what_leaves_a_zone, set_up),
        cmocka_unit_test_setup(what_another_broker_answered_would_have_come_from_its_leader, set_up),
        cmocka_unit_test_setup(prices_may_differ_between_zones, set_up),
        cmocka_unit_test_setup(headers_are_paid_for_too, set_up),
        cmocka_unit_test_setup(rates_are_of_the_last_minute, set_up),
        cmocka_unit_test_setup(topics_are_found_by_name_and_by_id, set_up),
        cmocka_unit_test_setup(leaders_go_where_most_is_produced, set_up),
        cmocka_unit_test(the_instance_tells_its_zone),
        cmocka_unit_test_setup(a_peer_is_left_out_and_comes_back_without_flapping, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

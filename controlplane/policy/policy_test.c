#include "controlplane/policy/policy.h"
#include "controlplane/policy/zones.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/loop/loop.h"
#include "controlplane/policy/publisher.h"
#include "shared/base/clock.h"

static struct hr_config config;
static struct hr_overrides overrides;
static struct hr_cluster_broker brokers[4];
static struct hr_cluster cluster;
static struct hr_policy policy, other;
static struct hr_policy_inputs in;

/* "x.N" is 10.0.0.N; "later" is being resolved; others are unknown. */
static int resolve(void *arg, const char *host, struct hr_addr *ret_addr)
{
    (void)arg;
    if (strncmp(host, "x.", 2) != 0)
        return strcmp(host, "later") == 0 ? HR_E_AGAIN : HR_E_NOT_FOUND;
    *ret_addr = hr_addr_from_v4(htonl(0x0a000000u + (uint32_t)atoi(host + 2)));
    return 0;
}

static void set_broker(uint32_t i, int32_t id, const char *host, const char *rack, bool fenced)
{
    brokers[i] = (struct hr_cluster_broker){.id = id, .port = 9092, .fenced = fenced};
    strcpy(brokers[i].host, host);
    strcpy(brokers[i].rack, rack);
}

static int set_up(void **state)
{
    struct hr_policy_listener *kafka = &config.listeners[0].policy, *tcp = &config.listeners[1].policy;

    (void)state;
    memset(&config, 0, sizeof(config));
    memset(&overrides, 0, sizeof(overrides));
    memset(&cluster, 0, sizeof(cluster));
    config.limits.max_connections = 1000;
    config.limits.hold_max_bytes = 1 << 20;
    config.limits.drain_timeout_ms = 5000;
    config.log.level = HR_LOG_INFO;
    config.cluster.n_bootstrap = 2;
    strcpy(config.cluster.bootstrap[0].host, "x.1");
    config.cluster.bootstrap[0].port = 9092;
    strcpy(config.cluster.bootstrap[1].host, "x.2");
    config.cluster.bootstrap[1].port = 9093;
    config.n_listeners = 2;
    *kafka = (struct hr_policy_listener){.name = "kafka",
                                         .mode = HR_LISTENER_KAFKA,
                                         .bootstrap_port = 9092,
                                         .bind = hr_addr_from_v4(htonl(0x0a000005)),
                                         .node_port_base = 9200,
                                         .node_id_max = 99,
                                         .adv_host = "b$(nodeId).example",
                                         .adv_port_base = 9200,
                                         .adv_port_per_node = 1,
                                         .max_connections = 100,
                                         .max_frame_bytes = 1 << 20,
                                         .max_in_flight = 100,
                                         .connect_timeout_ms = 3000};
    *tcp = (struct hr_policy_listener){.name = "tcp",
                                       .mode = HR_LISTENER_TCP,
                                       .bootstrap_port = 8081,
                                       .bind = kafka->bind,
                                       .max_connections = 100,
                                       .connect_timeout_ms = 3000};
    config.listeners[1].has_target = true;
    strcpy(config.listeners[1].target.host, "x.77");
    config.listeners[1].target.port = 81;
    strcpy(cluster.id, "c");
    set_broker(0, 1, "x.11", "z1", false);
    set_broker(1, 5, "x.15", "", false);
    set_broker(2, 9, "none", "z2", false);
    set_broker(3, 12, "x.22", "z2", true);
    cluster.brokers = brokers;
    cluster.n_brokers = 4;
    in = (struct hr_policy_inputs){
        .config = &config, .overrides = &overrides, .cluster = &cluster, .zone = "z1", .resolve = resolve};
    return 0;
}

static void build(void)
{
    const char *why = NULL;

    hr_policy_build(&in, &policy);
    policy.generation = 1;
    if (hr_policy_validate(&policy, &why) != 0)
        fail_msg("the policy is not valid: %s", why);
}

static const char *zone_of(int32_t node_id)
{
    return policy.zones.name[hr_policy_find_broker(&policy, node_id)->zone];
}

static void brokers_listeners_and_limits_are_carried_over(void **state)
{
    struct hr_addr target = hr_addr_from_v4(htonl(0x0a00004d));

    (void)state;
    build();
    assert_true(policy.cluster_known);
    assert_string_equal(policy.cluster_id, "c");
    assert_string_equal(policy.zones.name[policy.zones.own], "z1");
    assert_int_equal(policy.max_sessions, 1000);
    assert_int_equal(policy.n_brokers, 4);
    assert_int_equal(hr_policy_find_broker(&policy, 1)->flags, HR_BROKER_ALIVE);
    assert_string_equal(zone_of(1), "z1");
    assert_int_equal(hr_policy_find_broker(&policy, 9)->flags, 0);  /* no address yet */
    assert_int_equal(hr_policy_find_broker(&policy, 12)->flags, 0); /* fenced */
    assert_int_equal(policy.n_listeners, 2);
    assert_true(policy.listeners[1].target_valid);
    assert_true(hr_addr_equal(&policy.listeners[1].target, &target));
    assert_int_equal(policy.listeners[1].target_port, 81);
    strcpy(config.listeners[1].target.host, "none");
    build();
    assert_false(policy.listeners[1].target_valid);
}

/* -- zones ---------------------------------------------------------------------------------------------- */

static void add_net(const char *net, uint8_t prefix, uint8_t zone, uint8_t scope)
{
    struct hr_config_zone_net *to = &config.zones.nets[config.zones.n_nets++];

    assert_true(hr_addr_parse(net, &to->addr));
    to->bits = hr_addr_prefix_bits(&to->addr, prefix);
    to->zone = zone;
    to->scope = scope;
}

static const char *client_zone(uint32_t listener, const char *text)
{
    struct hr_addr addr;

    assert_true(hr_addr_parse(text, &addr));
    return policy.zones.name[hr_zone_of_client(&policy.zones, listener, &addr)];
}

static void name_zones(void)
{
    config.zones.n_names = 4;
    strcpy(config.zones.names[1], "z1");
    strcpy(config.zones.names[2], "z2");
    strcpy(config.zones.names[3], "z3");
}

static void networks_are_nested_for_the_look_up(void **state)
{
    (void)state;
    name_zones();
    add_net("10.1.1.0", 24, 3, HR_ZONE_GLOBAL); /* in no order */
    add_net("10.0.0.0", 8, 2, HR_ZONE_GLOBAL);
    add_net("10.1.0.0", 16, 1, HR_ZONE_GLOBAL);
    add_net("10.2.0.0", 16, 3, HR_ZONE_GLOBAL);
    add_net("2600::", 16, 2, HR_ZONE_GLOBAL);
    add_net("10.1.1.128", 25, 2, 1);
    build();
    assert_string_equal(client_zone(0, "10.1.1.200"), "z3");
    assert_string_equal(client_zone(1, "10.1.1.200"), "z2");
    assert_string_equal(client_zone(1, "10.1.1.100"), "z3");
    assert_string_equal(client_zone(0, "10.1.2.1"), "z1");
    assert_string_equal(client_zone(0, "10.2.0.1"), "z3");
    assert_string_equal(client_zone(0, "10.3.0.1"), "z2");
    assert_string_equal(client_zone(0, "2600::1"), "z2");
    assert_string_equal(client_zone(0, "192.0.2.1"), "z1"); /* our own */
}

static void a_brokers_zone_is_its_rules_its_racks_or_its_networks(void **state)
{
    (void)state;
    build();
    assert_string_equal(zone_of(1), "z1");
    assert_string_equal(zone_of(5), "");
    name_zones();
    config.zones.n_aliases = 1;
    strcpy(config.zones.aliases[0].name, "z2");
    config.zones.aliases[0].zone = 3;
    config.zones.n_brokers = 2;
    config.zones.brokers[0] = (struct hr_config_zone_broker){.node_id = 1, .zone = 2};
    config.zones.brokers[1] = (struct hr_config_zone_broker){.host = "X.1?", .node_id = -1, .zone = 1};
    build();
    assert_string_equal(zone_of(1), "z3"); /* by id, which stands first; and its zone has another name */
    assert_string_equal(zone_of(5), "z1"); /* by name */
    assert_string_equal(zone_of(9), "z3"); /* by rack, an alias */
    config.zones.n_brokers = 0;
    add_net("10.0.0.15", 32, 3, HR_ZONE_GLOBAL);
    build();
    assert_string_equal(zone_of(5), "z3"); /* has no rack */
    assert_string_equal(zone_of(1), "z1"); /* has one */
}

/* What was counted under a number stays under it, whatever is named later. */
static void numbers_stay(void **state)
{
    static struct hr_zone_map before;
    const char *first;
    char name[16];

    (void)state;
    build();
    before = policy.zones;
    in.zones = &before;
    name_zones();
    strcpy(config.zones.names[1], "other");
    in.zone = "z3";
    build();
    for (int i = 1; i < before.n; i++)
        assert_string_equal(policy.zones.name[i], before.name[i]);
    assert_string_equal(policy.zones.name[before.n], "z3");
    assert_int_equal(policy.zones.own, before.n);
    in.zone = NULL; /* not known at the moment */
    build();
    assert_int_equal(policy.zones.own, before.own);
    /* More racks than there are numbers: the rest is not known. */
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "many-%u", i);
        set_broker(0, 1, "x.11", name, false);
        build();
        before = policy.zones;
    }
    assert_int_equal(policy.zones.n, HR_ZONES_MAX);
    assert_string_equal(zone_of(1), "");
    assert_string_equal(zone_of(9), "z2");
    assert_int_equal(hr_zones_missing(&config, &policy.zones, "z1", &cluster, &first), 1);
    assert_string_equal(first, "many-39");
    assert_int_equal(hr_zones_missing(&config, &policy.zones, "mine", &cluster, &first), 2);
    assert_string_equal(first, "mine");
    set_broker(0, 1, "x.11", "many-0", false);
    assert_int_equal(hr_zones_missing(&config, &policy.zones, NULL, &cluster, &first), 0);
    assert_int_equal(hr_zones_missing(&config, &policy.zones, NULL, NULL, &first), 0);
}

static const char *up_urls; /* those that serve, as one text */

static bool peer_up(void *arg, const char *url)
{
    (void)arg;
    return !*url || strstr(up_urls, url) != NULL;
}

static void add_peer(uint8_t zone, const char *host, const char *health)
{
    struct hr_config_peer *to = &config.zones.peers[config.zones.n_peers++];

    to->zone = zone;
    to->policy.adv_port_base = 9200;
    to->policy.adv_port_per_node = 1;
    snprintf(to->policy.adv_host, sizeof(to->policy.adv_host), "%s", host);
    snprintf(to->health, sizeof(to->health), "%s", health);
}

/* Host of what clients in the zone are told; "us". */
static const char *told(const char *zone)
{
    for (uint8_t z = 1; z < policy.zones.n; z++) {
        const struct hr_policy_peer *peer = hr_policy_peer_of(&policy, &policy.listeners[0], z);

        if (strcmp(policy.zones.name[z], zone) == 0)
            return peer ? peer->adv_host : "us";
    }
    return "?";
}

static void clients_are_told_the_instance_in_their_zone(void **state)
{
    (void)state;
    name_zones(); /* we are in z1 */
    in.peer_up = peer_up;
    add_peer(2, "two-a", "http://a");
    add_peer(2, "two-b", "http://b");
    add_peer(3, "three", "http://c");
    up_urls = "http://a http://b http://c";
    build();
    assert_string_equal(told("z1"), "us");
    assert_string_equal(told("z2"), "two-a");
    assert_string_equal(told("z3"), "three");
    assert_null(hr_policy_peer_of(&policy, &policy.listeners[0], HR_ZONE_NONE));
    up_urls = "http://b";
    build();
    assert_string_equal(told("z2"), "two-b");
    assert_string_equal(told("z3"), "us"); /* nobody, and no order */
    config.zones.nearest[3][0] = 2;
    config.zones.nearest[3][1] = 1;
    build();
    assert_string_equal(told("z3"), "two-b");
    up_urls = "";
    build();
    assert_string_equal(told("z2"), "us");
    assert_string_equal(told("z3"), "us");
    /* We drain: our own zone's clients go elsewhere. */
    up_urls = "http://c";
    overrides.drain_all = true;
    config.zones.nearest[1][0] = 3;
    build();
    assert_string_equal(told("z1"), "three");
}

static void departed_brokers_stay_without_being_alive(void **state)
{
    struct hr_cluster_broker gone = {.id = 3, .port = 9092, .host = "x.13"};

    (void)state;
    in.departed = &gone;
    in.n_departed = 1;
    build();
    assert_int_equal(policy.n_brokers, 5);
    assert_int_equal(policy.brokers[1].node_id, 3); /* in order */
    assert_int_equal(policy.brokers[1].flags, 0);
    assert_int_equal(policy.brokers[1].port, 9092);
}

static void an_unknown_cluster_gives_bootstrap_addresses(void **state)
{
    (void)state;
    in.cluster = NULL;
    build();
    assert_false(policy.cluster_known);
    assert_int_equal(policy.n_brokers, 2);
    assert_int_equal(policy.brokers[0].node_id, -2);
    assert_int_equal(policy.brokers[0].port, 9093);
    assert_int_equal(policy.brokers[1].node_id, -1);
    assert_int_equal(policy.brokers[1].flags, HR_BROKER_BOOTSTRAP);
    strcpy(config.cluster.bootstrap[1].host, "none");
    build();
    assert_int_equal(policy.n_brokers, 1);
    assert_int_equal(policy.brokers[0].node_id, -1);
}

static void drains_are_flags(void **state)
{
    (void)state;
    assert_int_equal(hr_overrides_node(&overrides, 5, true), 0);
    assert_int_equal(hr_overrides_node(&overrides, 5, true), 0);
    assert_int_equal(overrides.n_nodes, 1);
    assert_int_equal(hr_overrides_listener(&overrides, "tcp", true), 0);
    build();
    assert_int_equal(hr_policy_find_broker(&policy, 5)->flags, HR_BROKER_ALIVE | HR_BROKER_DRAINING);
    assert_int_equal(hr_policy_find_broker(&policy, 1)->flags, HR_BROKER_ALIVE);
    assert_false(policy.listeners[0].draining);
    assert_true(policy.listeners[1].draining);
    assert_int_equal(hr_overrides_node(&overrides, 5, false), 0);
    assert_int_equal(hr_overrides_listener(&overrides, "tcp", false), 0);
    overrides.drain_all = true;
    build();
    assert_true(policy.listeners[0].draining && policy.listeners[1].draining);
    overrides.drain_all = false;
    build();
    assert_int_equal(hr_policy_find_broker(&policy, 5)->flags, HR_BROKER_ALIVE);
}

static void limits_do_not_exceed_what_was_laid_out_at_start(void **state)
{
    static struct hr_config at_start;

    (void)state;
    at_start = config;
    in.at_start = &at_start;
    config.limits.max_connections = 5000;
    config.limits.hold_max_bytes = 1 << 21;
    build();
    assert_int_equal(policy.max_sessions, 1000);
    assert_int_equal(policy.hold_max_bytes, 1 << 20);
    config.limits.max_connections = 10;
    build();
    assert_int_equal(policy.max_sessions, 10);
}

static void differences_are_found_and_named(void **state)
{
    char text[256];

    (void)state;
    build();
    other = policy;
    other.generation = 9;
    assert_false(hr_policy_changes(&policy, &other, text, sizeof(text)));
    brokers[2].host[0] = 'x', brokers[2].host[1] = '.';
    build();
    assert_true(hr_policy_changes(&other, &policy, text, sizeof(text)));
    assert_string_equal(text, "brokers 2 of 4 alive -> 3 of 4");
    other = policy;
    config.limits.drain_timeout_ms = 1;
    build();
    assert_true(hr_policy_changes(&other, &policy, text, sizeof(text)));
    assert_string_equal(text, "limits, idle policy or log level");
    other = policy;
    config.n_listeners = 1;
    build();
    assert_true(hr_policy_changes(&other, &policy, text, sizeof(text)));
    assert_string_equal(text, "listeners 2 -> 1");
}

/* -- when it is published ----------------------------------------------------------------------------- */

static uint64_t fake_now = HR_US_PER_S;
static int n_published;
static uint64_t last_generation;
static int publish_error;

static uint64_t fake_clock(void)
{
    return fake_now;
}

static void give_inputs(void *owner, struct hr_policy_inputs *ret_inputs)
{
    (void)owner;
    *ret_inputs = in;
}

static int take_policy(void *owner, const struct hr_policy *taken, const char **ret_why)
{
    (void)owner;
    *ret_why = "test";
    if (publish_error)
        return publish_error;
    n_published++;
    assert_true(taken->generation > last_generation);
    last_generation = taken->generation;
    return 0;
}

static const struct hr_publisher_ops ops = {.inputs = give_inputs, .publish = take_policy};
static struct hr_loop *loop;
static struct hr_publisher *pub;

static int set_up_publisher(void **state)
{
    set_up(state);
    n_published = publish_error = 0;
    last_generation = 0;
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    return hr_publisher_create(loop, &ops, NULL, &pub);
}

static int tear_down_publisher(void **state)
{
    (void)state;
    hr_publisher_destroy(pub);
    hr_loop_destroy(loop);
    return 0;
}

static void pass_ms(uint64_t ms)
{
    fake_now += ms * HR_US_PER_MS;
    hr_loop_turn(loop, 0);
}

static void a_known_cluster_is_published_once(void **state)
{
    (void)state;
    hr_publisher_touch(pub);
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 1);
    assert_int_equal(hr_publisher_policy(pub)->generation, 1);
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 1); /* nothing new */
    brokers[0].port = 1;
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 2);
    brokers[0].port = 2; /* nobody says so: it is found out */
    pass_ms(300000);
    assert_int_equal(n_published, 3);
}

static void an_unknown_cluster_is_published_after_a_while(void **state)
{
    (void)state;
    in.cluster = NULL;
    hr_publisher_touch(pub);
    pass_ms(10000);
    assert_int_equal(n_published, 0); /* nobody is attached who could say what it has */
    hr_publisher_attached(pub, 0, NULL);
    pass_ms(0);
    assert_int_equal(n_published, 0);
    pass_ms(2999);
    assert_int_equal(n_published, 0);
    pass_ms(1);
    assert_int_equal(n_published, 1);
    in.cluster = &cluster;
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 2);
}

static void another_ones_snapshot_is_not_replaced_by_a_worse_one(void **state)
{
    (void)state;
    in.cluster = NULL;
    hr_publisher_attached(pub, 41, NULL);
    pass_ms(0);
    pass_ms(600000);
    assert_int_equal(n_published, 0);
    in.cluster = &cluster;
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 1);
    assert_int_equal(last_generation, 42);
}

/* What was inherited is as good as known: its brokers stay, and what the operator wants goes out at once. */
static void an_inherited_snapshot_is_built_upon(void **state)
{
    static struct hr_policy before;

    (void)state;
    build();
    before = policy;
    before.generation = 41;
    before.brokers[0].flags |= HR_BROKER_DRAINING; /* ordered by the one before */
    in.cluster = NULL;
    hr_publisher_attached(pub, 41, &before);
    assert_int_equal(hr_publisher_policy(pub)->generation, 41);
    pass_ms(0);
    assert_int_equal(n_published, 1); /* the drain has ended */
    assert_int_equal(last_generation, 42);
    assert_int_equal(hr_publisher_policy(pub)->n_brokers, 4);
    assert_true(hr_publisher_policy(pub)->cluster_known);
    assert_int_equal(hr_publisher_policy(pub)->brokers[0].flags, HR_BROKER_ALIVE);
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 1);
    overrides.drain_all = true;
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 2);
    assert_int_equal(hr_publisher_policy(pub)->brokers[0].flags, HR_BROKER_ALIVE | HR_BROKER_DRAINING);
    overrides.drain_all = false;
    in.cluster = &cluster;
    cluster.n_brokers = 2;
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(hr_publisher_policy(pub)->n_brokers, 2);
}

static void names_under_way_are_waited_for_but_not_for_ever(void **state)
{
    (void)state;
    strcpy(brokers[2].host, "later");
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 0);
    pass_ms(500);
    strcpy(brokers[2].host, "x.19");
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 1);
    assert_int_equal(hr_publisher_policy(pub)->brokers[2].flags, HR_BROKER_ALIVE);
    strcpy(brokers[1].host, "later");
    hr_publisher_touch(pub);
    pass_ms(0);
    pass_ms(1999);
    assert_int_equal(n_published, 1);
    pass_ms(1);
    assert_int_equal(n_published, 2);
    assert_int_equal(hr_publisher_policy(pub)->brokers[1].flags, 0);
}

static void without_kafka_nothing_waits(void **state)
{
    (void)state;
    in.cluster = NULL;
    config.listeners[0] = config.listeners[1];
    config.n_listeners = 1;
    hr_publisher_attached(pub, 41, NULL);
    pass_ms(0);
    assert_int_equal(n_published, 1);
}

static void a_refused_snapshot_is_tried_again_with_the_next_change(void **state)
{
    (void)state;
    publish_error = HR_E_INVALID;
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_null(hr_publisher_policy(pub));
    publish_error = 0;
    hr_publisher_touch(pub);
    pass_ms(0);
    assert_int_equal(n_published, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, set_up)
#define P(name) cmocka_unit_test_setup_teardown(name, set_up_publisher, tear_down_publisher)
    const struct CMUnitTest tests[] = {
        T(brokers_listeners_and_limits_are_carried_over),
        T(departed_brokers_stay_without_being_alive),
        T(an_unknown_cluster_gives_bootstrap_addresses),
        T(drains_are_flags),
        T(networks_are_nested_for_the_look_up),
        T(a_brokers_zone_is_its_rules_its_racks_or_its_networks),
        T(numbers_stay),
        T(clients_are_told_the_instance_in_their_zone),
        T(limits_do_not_exceed_what_was_laid_out_at_start),
        T(differences_are_found_and_named),
        P(a_known_cluster_is_published_once),
        P(an_unknown_cluster_is_published_after_a_while),
        P(another_ones_snapshot_is_not_replaced_by_a_worse_one),
        P(an_inherited_snapshot_is_built_upon),
        P(names_under_way_are_waited_for_but_not_for_ever),
        P(without_kafka_nothing_waits),
        P(a_refused_snapshot_is_tried_again_with_the_next_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

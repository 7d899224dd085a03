/* Validation against snapshots that a hostile or broken control plane could build, and the look-ups. */
#include "shared/ipc/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/ipc/policy_sample.h"

static struct hr_policy policy;

static void sample_is_valid(void **s)
{
    const char *why = "untouched";
    hr_policy_sample(&policy, 1);
    assert_int_equal(hr_policy_validate(&policy, &why), 0);
    assert_string_equal(why, "untouched");
}

/* Each line makes one thing wrong and names the text it must lead to. */
static void hostile(void **s)
{
#define WRONG(change, text)                                                                                  \
    do {                                                                                                     \
        struct hr_policy *p = &policy;                                                                       \
        struct hr_policy_listener *l = p->listeners;                                                         \
        struct hr_policy_broker *b = p->brokers;                                                             \
        const char *why = "";                                                                                \
        hr_policy_sample(p, 1);                                                                              \
        (void)l, (void)b;                                                                                    \
        change;                                                                                              \
        assert_int_equal(hr_policy_validate(p, &why), HR_E_INVALID);                                         \
        if (strstr(why, text) == NULL)                                                                       \
            fail_msg(#change " gave: %s", why);                                                              \
    } while (0)

    WRONG(p->magic++, "magic");
    WRONG(p->size--, "size");
    WRONG(p->generation = 0, "generation");
    WRONG(p->cluster_known = 2, "flag");
    WRONG(p->idle_busy = 255, "flag");
    WRONG(p->log_level = HR_LOG_MAX, "log level");
    WRONG(p->max_sessions = 0, "max_sessions");
    WRONG(p->max_sessions = UINT32_MAX, "max_sessions");
    WRONG(p->hold_max_bytes = UINT32_MAX, "hold_max");
    WRONG(p->hold_max_bytes = 1, "hold_max");
    WRONG(p->drain_timeout_ms = UINT32_MAX, "drain_timeout");
    WRONG(p->zones.n = 0, "zones");
    WRONG(p->zones.own = 4, "zones");
    WRONG(memset(p->cluster_id, 'x', sizeof(p->cluster_id)), "cluster id");
    WRONG(p->n_listeners = HR_POLICY_MAX_LISTENERS + 1, "too many listeners");
    WRONG(p->n_listeners = UINT32_MAX, "too many listeners");
    WRONG(p->n_brokers = UINT32_MAX, "too many brokers");

    WRONG(memset(l->name, 'x', sizeof(l->name)), "name");
    WRONG(l->name[0] = 0, "name");
    WRONG(l->mode = HR_LISTENER_NONE, "mode");
    WRONG(l->mode = HR_LISTENER_MAX, "mode");
    WRONG(l->draining = 3, "flag");
    WRONG(l->bootstrap_port = 0, "port is 0");
    WRONG(l->node_id_min = -1, "node id range");
    WRONG(l->node_id_max = 0, "node id range");
    WRONG(l->node_id_max = INT32_MAX, "node ports");
    WRONG(l->node_port_base = INT32_MAX, "node ports");
    WRONG(l->node_port_base = INT32_MIN, "node ports");
    WRONG(l->node_port_base = -1, "node ports");
    WRONG(l->node_port_base = 9000, "bootstrap port lies");
    WRONG(l->adv_host[0] = 0, "advertised host");
    WRONG(memset(l->adv_host, 'x', sizeof(l->adv_host)), "advertised host");
    WRONG(l->adv_port_per_node = 2, "port kind");
    WRONG(l->adv_port_base = 65500, "advertised ports");
    WRONG((l->adv_port_base = 0, l->adv_port_per_node = 0), "advertised ports");
    WRONG(l->max_connections = 0, "max_connections");
    WRONG(l->max_frame_bytes = 0x80000000u, "max_frame_bytes");
    WRONG(l->max_frame_bytes = 0, "max_frame_bytes");
    WRONG(l->max_in_flight = 1025, "max_in_flight");
    WRONG(l->max_in_flight = 0, "max_in_flight");
    WRONG(l->connect_timeout_ms = 0, "timeout");
    WRONG(l->idle_timeout_ms = UINT32_MAX, "timeout");
    WRONG(l->request_timeout_ms = UINT32_MAX, "timeout");
    WRONG(l[1].target_port = 0, "target");
    WRONG(l[1].target = hr_addr_from_v4(0), "target");

    WRONG(l[1].bootstrap_port = 9092, "share a port");
    WRONG(l[1].bootstrap_port = 9299, "share a port");
    WRONG((l[1].bootstrap_port = 9201, l[1].bind = hr_addr_from_v4(0)), "share a port");
    WRONG((l[1].bootstrap_port = 9201, memset(&l[1].bind, 0, 16)), "share a port");
    WRONG((p->n_listeners = 3, l[2] = l[0], l[2].bootstrap_port = 9093, l[2].node_port_base = 9298),
          "share a port");

#define PEER                                                                                                 \
    (p->n_peers = 1, p->peers[0] = (struct hr_policy_peer){.adv_host = "peer", .adv_port_base = 9200},       \
     p->told[0][2] = 1)
    WRONG(p->n_peers = HR_POLICY_MAX_PEERS + 1, "too many peers");
    WRONG(p->told[0][1] = 1, "peer: clients are told of none");
    WRONG((PEER, p->told[31][15] = 2), "peer: clients are told of none");
    WRONG((PEER, p->told[1][2] = 1), "peer: clients are told of none");
    WRONG((PEER, p->peers[0].listener = 1), "peer: its listener");
    WRONG((PEER, p->peers[0].listener = 200), "peer: its listener");
    WRONG((PEER, p->peers[0].adv_host[0] = 0), "peer: advertised host");
    WRONG((PEER, memset(p->peers[0].adv_host, 'x', HR_POLICY_HOST_MAX)), "peer: advertised host");
    WRONG((PEER, p->peers[0].adv_port_per_node = 2), "peer: advertised port kind");
    WRONG((PEER, p->peers[0].adv_port_base = 0), "peer: advertised ports");
    WRONG((PEER, p->peers[0].adv_port_base = 65530, p->peers[0].adv_port_per_node = 1), "peer: advertised ports");

    WRONG(b[1].node_id = 1, "sorted");
    WRONG(b[2].node_id = 0, "sorted");
    WRONG(b[0].node_id = -1, "negative");
    WRONG(b[0].flags |= HR_BROKER_BOOTSTRAP, "negative");
    WRONG(b[0].flags |= 1 << 9, "unknown flag");
    WRONG(b[0].port = 0, "without an address");
    WRONG(memset(&b[0].addr, 0, 16), "without an address");
    WRONG(b[2].zone = 4, "zone");
#undef WRONG
}

static void not_overlapping(void **s)
{
    const char *why = "";
    hr_policy_sample(&policy, 1);
    policy.listeners[1].bootstrap_port = 9300; /* one behind the node ports */
    assert_int_equal(hr_policy_validate(&policy, &why), 0);
    policy.listeners[1].bootstrap_port = 9092;
    policy.listeners[1].bind = hr_addr_from_v4(htonl(0x0a000006)); /* same port, another address */
    assert_int_equal(hr_policy_validate(&policy, &why), 0);
    /* A broker whose address is not known yet. */
    policy.brokers[1].flags = 0;
    policy.brokers[1].port = 0;
    assert_int_equal(hr_policy_validate(&policy, &why), 0);
    policy.brokers[0].node_id = -1;
    policy.brokers[0].flags = HR_BROKER_BOOTSTRAP;
    assert_int_equal(hr_policy_validate(&policy, &why), 0);
    assert_ptr_equal(hr_policy_find_broker(&policy, -1), &policy.brokers[0]);
}

static void find_broker(void **s)
{
    hr_policy_sample(&policy, 1);
    for (int32_t id = -2; id < 8; id++) {
        const struct hr_policy_broker *b = hr_policy_find_broker(&policy, id);
        if (id == 1 || id == 3 || id == 5)
            assert_int_equal(b->node_id, id);
        else
            assert_null(b);
    }
    policy.n_brokers = 0;
    assert_null(hr_policy_find_broker(&policy, 1));
}

static void find_listener(void **s)
{
    struct hr_addr ours = hr_addr_from_v4(htonl(0x0a000005)), other = hr_addr_from_v4(htonl(0x0a000006));
    int32_t node = 77;
    hr_policy_sample(&policy, 1);
    assert_ptr_equal(hr_policy_find_listener(&policy, &ours, 9092, &node), &policy.listeners[0]);
    assert_int_equal(node, -1);
    assert_ptr_equal(hr_policy_find_listener(&policy, &ours, 9201, &node), &policy.listeners[0]);
    assert_int_equal(node, 1);
    assert_ptr_equal(hr_policy_find_listener(&policy, &ours, 9299, &node), &policy.listeners[0]);
    assert_int_equal(node, 99);
    assert_ptr_equal(hr_policy_find_listener(&policy, &ours, 5201, &node), &policy.listeners[1]);
    assert_int_equal(node, -1);
    node = 77;
    assert_null(hr_policy_find_listener(&policy, &ours, 9200, &node)); /* node 0: below the range */
    assert_null(hr_policy_find_listener(&policy, &ours, 9300, &node));
    assert_null(hr_policy_find_listener(&policy, &other, 9092, &node));
    assert_int_equal(node, 77);
    policy.listeners[0].bind = hr_addr_from_v4(0);
    assert_ptr_equal(hr_policy_find_listener(&policy, &other, 9092, &node), &policy.listeners[0]);
}

static void advertised(void **s)
{
    char host[HR_POLICY_HOST_MAX] = "unchanged";
    uint16_t port = 1;
    hr_policy_sample(&policy, 1);
    struct hr_policy_listener *l = &policy.listeners[0];
    assert_int_equal(hr_policy_advertised(l, 42, host, sizeof(host), &port), 0);
    assert_string_equal(host, "b42.example.com");
    assert_int_equal(port, 19242);
    l->adv_port_per_node = 0;
    snprintf(l->adv_host, sizeof(l->adv_host), "$(nodeId)-$(nodeId).$(node)");
    assert_int_equal(hr_policy_advertised(l, 7, host, sizeof(host), &port), 0);
    assert_string_equal(host, "7-7.$(node)");
    assert_int_equal(port, 19200);

    strcpy(host, "unchanged");
    assert_int_equal(hr_policy_advertised(l, 0, host, sizeof(host), &port), HR_E_UNSUPPORTED);
    assert_int_equal(hr_policy_advertised(l, 100, host, sizeof(host), &port), HR_E_UNSUPPORTED);
    assert_int_equal(hr_policy_advertised(l, 7, host, 11, &port), HR_E_TOO_LARGE);
    assert_string_equal(host, "unchanged");
    assert_int_equal(hr_policy_advertised(l, 7, host, 12, &port), 0);
    memset(l->adv_host, 'x', 255);
    l->adv_host[255] = '\0';
    assert_int_equal(hr_policy_advertised(l, 7, host, sizeof(host), &port), 0);
    memcpy(l->adv_host + 246, "$(nodeId)", 9); /* 246 + 2 digits */
    assert_int_equal(hr_policy_advertised(l, 42, host, sizeof(host), &port), 0);
    assert_int_equal(strlen(host), 248);
}

/* "$(nodeId)" is longer than any node id, so an expansion never outgrows the array it stands in. */
static void longest_pattern(void **s)
{
    const char *why = "";
    hr_policy_sample(&policy, 1);
    struct hr_policy_listener *l = &policy.listeners[0];
    l->node_port_base = 0;
    l->node_id_min = 10000;
    l->node_id_max = 60000;
    l->adv_port_per_node = 0;
    l->bootstrap_port = 9092;
    assert_int_equal(hr_policy_validate(&policy, &why), 0);
    memset(l->adv_host, 'x', sizeof(l->adv_host) - 1);
    memcpy(l->adv_host, "$(nodeId)", 9);
    l->adv_host[sizeof(l->adv_host) - 1] = '\0';
    assert_int_equal(hr_policy_validate(&policy, &why), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sample_is_valid), cmocka_unit_test(hostile),       cmocka_unit_test(not_overlapping),
        cmocka_unit_test(find_broker),     cmocka_unit_test(find_listener), cmocka_unit_test(advertised),
        cmocka_unit_test(longest_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

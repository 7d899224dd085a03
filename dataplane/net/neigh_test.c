#include "dataplane/net/net.h"

#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/net/impl.h"
#include "dataplane/net/test_wire.h"

#define S 1000000ULL

static uint8_t f[WIRE_FRAME_MAX];

#define DROPS(reason) ((int)wire.stats.drops[HR_DROP_##reason])

static struct hr_neigh *neigh_of(const char *text)
{
    struct hr_addr addr = addr_of(text);
    return hr_neigh_find(wire.net, 0, &addr);
}

static void emit(const char *remote)
{
    struct hr_flow flow = flow_of("10.1.0.1", remote);
    hr_net_emit_tcp_take(wire.net, &flow, wire_segment(1, 0));
    hr_net_flush(wire.net);
}

/* An ARP request, or a neighbour solicitation. */
static bool is_question(const struct wire_frame *t)
{
    return wire.v6 ? t->data[20] == 58 && t->data[54] == 135 : t->data[12] == 8 && t->data[13] == 6;
}

/* Asked of everybody, not of one whose MAC is known. */
static bool to_many(const struct wire_frame *t)
{
    return (t->data[0] & 1) != 0;
}

static void answer(const char *ip, const uint8_t mac[6])
{
    if (wire.v6) {
        wire_rx(0, f, make_na(f, 0, ip, "10.1.0.1", 0xe0, ip, mac)); /* a router's, solicited, override */
        return;
    }
    wire_rx(0, f, make_arp(f, 2, mac, ip, wire.ports[0].mac.addr_bytes, "10.1.0.1", wire.ports[0].mac.addr_bytes));
}

static void request_is_answered(void **state)
{
    (void)state;
    wire_rx(0, f, make_arp(f, 1, mac_peer, "10.1.0.7", NULL, "10.1.0.2", mac_bcast));
    assert_int_equal(wire.n_tx, 1);
    const uint8_t *r = wire.tx[0].data;
    uint8_t want[42];
    make_arp(f, 2, wire.ports[0].mac.addr_bytes, "10.1.0.2", mac_peer, "10.1.0.7", mac_peer);
    memcpy(want, f, 42);
    assert_int_equal(wire.tx[0].len, 42);
    assert_memory_equal(r, want, 42);
    /* It was learned on the way. */
    emit("10.1.0.7");
    assert_int_equal(wire.n_tx, 2);
    assert_memory_equal(wire.tx[1].data, mac_peer, 6);
    assert_int_equal(wire.n_news, 1);
    struct hr_addr asker = addr_of("10.1.0.7");
    assert_true(hr_addr_equal(&wire.news.addr, &asker));
    assert_memory_equal(wire.news.mac, mac_peer, 6);
}

static void probe_is_answered_not_learned(void **state)
{
    (void)state;
    wire_rx(0, f, make_arp(f, 1, mac_peer, "0.0.0.0", NULL, "10.1.0.1", mac_bcast));
    assert_int_equal(wire.n_tx, 1);
    assert_null(neigh_of("0.0.0.0"));
    assert_int_equal(wire.n_news, 0);
}

static void others_arp_is_not_answered(void **state)
{
    (void)state;
    wire_rx(0, f, make_arp(f, 1, mac_peer, "10.1.0.7", NULL, "10.1.0.8", mac_bcast));
    wire_rx(0, f, make_arp(f, 1, mac_peer, "10.1.0.7", NULL, "10.2.0.1", mac_bcast)); /* the other port's */
    assert_int_equal(wire.n_tx, 0);
    assert_null(neigh_of("10.1.0.7"));
}

static void malformed(void **state)
{
    (void)state;
    static const struct {
        uint8_t at, value;
    } edits[] = {{15, 9}, {16, 9}, {18, 7}, {19, 5}, {21, 3}, {22, 0x01}};
    for (unsigned i = 0; i < RTE_DIM(edits); i++) {
        make_arp(f, 1, mac_peer, "10.1.0.7", NULL, "10.1.0.1", mac_bcast);
        f[edits[i].at] = edits[i].value;
        wire_rx(0, f, 42);
        assert_int_equal(DROPS(arp_bad), i + 1);
    }
    int n = DROPS(arp_bad);
    make_arp(f, 1, mac_peer, "10.1.0.7", NULL, "10.1.0.1", mac_bcast);
    wire_rx(0, f, 41);
    make_arp(f, 1, mac_peer, "10.1.0.2", NULL, "10.1.0.1", mac_bcast); /* claims our address */
    wire_rx(0, f, 42);
    assert_int_equal(DROPS(arp_bad), n + 2);
    make_arp(f, 1, wire.ports[0].mac.addr_bytes, "10.1.0.1", NULL, "10.1.0.1", mac_bcast); /* our own, reflected */
    wire_rx(0, f, 42);
    assert_int_equal(DROPS(arp_bad), n + 2);
    assert_int_equal(wire.n_tx, 0);
}

/* Who is not on the link is answered (he may be misconfigured) but not remembered. */
static void off_link_sender(void **state)
{
    (void)state;
    wire_rx(0, f, make_arp(f, 1, mac_peer, "192.0.2.1", NULL, "10.1.0.1", mac_bcast));
    assert_int_equal(wire.n_tx, 1);
    assert_null(neigh_of("192.0.2.1"));
}

static void packets_wait_for_the_answer(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        emit("10.1.0.7");
    assert_int_equal(wire.n_tx, 1); /* one request, not three */
    assert_true(is_question(&wire.tx[0]));
    assert_true(to_many(&wire.tx[0]));
    if (!wire.v6) {
        uint32_t ip[2];
        memcpy(&ip[0], wire.tx[0].data + 28, 4);
        memcpy(&ip[1], wire.tx[0].data + 38, 4);
        assert_int_equal(ip[0], ip4("10.1.0.1"));
        assert_int_equal(ip[1], ip4("10.1.0.7"));
    }
    answer("10.1.0.7", mac_peer);
    assert_int_equal(wire.n_tx, 4);
    for (int i = 1; i < 4; i++) {
        assert_memory_equal(wire.tx[i].data, mac_peer, 6);
        assert_true(frame_checksums_ok(wire.tx[i].data, wire.tx[i].len));
    }
    assert_int_equal(wire.n_news, 1);
}

static void learn(uint32_t port, const char *addr)
{
    struct hr_net_news news = {.port_index = port,
                               .addr = addr_of(addr),
                               .heard = HR_HEARD_MAC | HR_HEARD_OVERRIDE | HR_HEARD_CONFIRMED | HR_HEARD_ASKED_US};
    memcpy(news.mac, mac_peer, sizeof(news.mac));
    hr_net_learn(wire.net, &news);
}

/* The same by word of another worker, who got the reply. */
static void answer_heard_by_another_worker(void **state)
{
    (void)state;
    emit("10.1.0.7");
    learn(0, "10.1.0.7");
    learn(0, "10.1.0.8");
    learn(7, "10.1.0.8"); /* no such port */
    hr_net_flush(wire.net);
    assert_int_equal(wire.n_tx, 2);
    assert_memory_equal(wire.tx[1].data, mac_peer, 6);
    assert_null(neigh_of("10.1.0.8")); /* never adds */
    assert_int_equal(wire.n_news, 0);                     /* news are not passed on twice */
}

static void unanswered(void **state)
{
    (void)state;
    emit("10.1.0.7");
    uint64_t next = wire_pass(0);
    assert_int_equal(next, wire.now_us + 1 * S);
    wire_pass(1 * S);
    wire_pass(1 * S);
    assert_int_equal(wire.n_tx, 3);
    assert_int_equal(DROPS(neigh_unresolved), 0);
    wire_pass(1 * S);
    assert_int_equal(DROPS(neigh_unresolved), 1);
    emit("10.1.0.7"); /* dropped at once, no flood of requests */
    assert_int_equal(DROPS(neigh_unresolved), 2);
    assert_int_equal(wire.n_tx, 3);
    wire_pass(1 * S);
    emit("10.1.0.7");
    assert_int_equal(wire.n_tx, 4); /* a new attempt */
    answer("10.1.0.7", mac_peer);
    assert_int_equal(wire.n_tx, 5);
    assert_memory_equal(wire.tx[4].data, mac_peer, 6);
}

static void waiting_is_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < HR_NEIGH_PENDING + 7; i++)
        emit("10.1.0.7");
    assert_int_equal(DROPS(neigh_pending_full), 7);
    for (int i = 0; i < HR_NEIGH_PENDING_QUEUES + 20; i++) {
        char ip[20];
        snprintf(ip, sizeof(ip), "10.1.0.%d", 10 + i);
        wire.n_tx = 0;
        emit(ip);
    }
    assert_int_equal(DROPS(neigh_pending_full), 7 + 21);
    wire.n_tx = 0;
    /* The queues come back. */
    for (int i = 0; i < 5; i++) {
        wire_pass(1 * S);
        wire.n_tx = 0;
    }
    assert_int_equal(wire.net->n_pending_free, HR_NEIGH_PENDING_QUEUES);
    assert_int_equal(rte_mempool_in_use_count(wire.bufs.rx_pool), 0);
}

static void confirmed_again_while_in_use(void **state)
{
    (void)state;
    answer("10.1.0.7", mac_peer); /* unsolicited: nothing learned */
    assert_null(neigh_of("10.1.0.7"));
    emit("10.1.0.7");
    answer("10.1.0.7", mac_peer);
    wire.n_tx = 0;
    wire_pass(31 * S);
    emit("10.1.0.7");
    assert_int_equal(wire.n_tx, 2); /* a unicast request, and the packet without waiting */
    assert_true(is_question(&wire.tx[0]));
    assert_memory_equal(wire.tx[0].data, mac_peer, 6);
    assert_memory_equal(wire.tx[1].data, mac_peer, 6);
    answer("10.1.0.7", mac_peer);
    wire.n_tx = 0;
    wire_pass(2 * S);
    emit("10.1.0.7");
    assert_int_equal(wire.n_tx, 1);
    assert_false(is_question(&wire.tx[0]));
}

static void neighbour_that_dies(void **state)
{
    (void)state;
    emit("10.1.0.7");
    answer("10.1.0.7", mac_peer);
    wire_pass(31 * S);
    wire.n_tx = 0;
    emit("10.1.0.7");
    int unicast = 0, broadcast = 0;
    for (int i = 0; i < 6; i++)
        wire_pass(1 * S);
    for (uint32_t i = 0; i < wire.n_tx; i++) {
        if (is_question(&wire.tx[i]))
            to_many(&wire.tx[i]) ? broadcast++ : unicast++;
    }
    assert_int_equal(unicast, HR_NEIGH_PROBES);
    assert_int_equal(broadcast, HR_NEIGH_TRIES);
    emit("10.1.0.7");
    assert_int_equal(DROPS(neigh_unresolved), 1);
}

/* Unasked: to all, by request and by reply where there are two ways. */
static void announce(const char *ip, const uint8_t mac[6], uint16_t op)
{
    if (wire.v6)
        wire_rx(0, f, make_na(f, 0, ip, "ff02::1", 0xa0, ip, mac));
    else
        wire_rx(0, f, make_arp(f, op, mac, ip, NULL, ip, mac_bcast));
}

/* The MAC that a packet to the world leaves for. */
static const uint8_t *way_out(void)
{
    wire.n_tx = 0;
    emit("8.8.8.8");
    for (uint32_t i = 0; i < wire.n_tx; i++) {
        if (!is_question(&wire.tx[i]))
            return wire.tx[i].data;
    }
    return NULL;
}

/* After a fail-over the known entry changes at once, and an unknown one is not made. */
static void gateway_moves(void **state)
{
    (void)state;
    announce("10.1.0.254", mac_peer, 1);
    assert_null(neigh_of("10.1.0.254"));
    emit("8.8.8.8");
    answer("10.1.0.254", mac_gw);
    uint32_t n = wire.n_news;
    announce("10.1.0.254", mac_peer, 1);
    assert_int_equal(wire.n_news, n + 1); /* the other workers must know */
    assert_memory_equal(way_out(), mac_peer, 6);
    announce("10.1.0.254", mac_gw, 2);
    assert_memory_equal(way_out(), mac_gw, 6);
}

/* A gateway that falls silent and comes back under another MAC: while it is being probed, and after it was given
 * up. Packets flow again with the first answer. */
static void gateway_recovers(void **state)
{
    (void)state;
    for (int silent_s = 4; silent_s <= 6; silent_s += 2) {
        const uint8_t *mac = silent_s == 4 ? mac_peer : mac_gw;
        emit("8.8.8.8");
        answer("10.1.0.254", silent_s == 4 ? mac_gw : mac_peer);
        wire_pass(31 * S);
        assert_int_equal(neigh_of("10.1.0.254")->state, HR_NEIGH_STALE);
        assert_non_null(way_out()); /* the old MAC is used while it is asked again */
        for (int i = 0; i < silent_s; i++)
            wire_pass(1 * S);
        assert_int_equal(neigh_of("10.1.0.254")->state, silent_s == 4 ? HR_NEIGH_PROBE : HR_NEIGH_FAILED);
        if (silent_s == 6) {
            assert_null(way_out());
            wire_pass(2 * S);
            assert_null(way_out()); /* asked anew, waits */
        }
        wire.n_tx = 0;
        answer("10.1.0.254", mac);
        assert_memory_equal(way_out(), mac, 6);
        assert_int_equal(neigh_of("10.1.0.254")->state, HR_NEIGH_REACHABLE);
    }
}

/* Hosts that only ask do not push out those to whom we talk; ghosts push out each other. */
static void flood_keeps_the_known(void **state)
{
    (void)state;
    wire.ports[0].routes[0].bits = 96 + 8; /* a large subnet, for room */
    emit("10.1.0.7");
    answer("10.1.0.7", mac_peer);
    for (uint32_t i = 0; i < 3 * HR_NEIGH_MAX; i++) {
        uint8_t mac[6] = {2, 1, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 1};
        char ip[20];
        snprintf(ip, sizeof(ip), "10.77.%u.%u", i >> 8 & 255, i & 255);
        wire_rx(0, f, make_arp(f, 1, mac, ip, NULL, "10.1.0.1", mac_bcast));
        wire.n_tx = 0;
    }
    assert_non_null(neigh_of("10.1.0.7"));
    assert_int_equal(wire_teardown(NULL), 0);
    assert_int_equal(wire_setup(NULL), 0);
    wire.ports[0].routes[0].bits = 96 + 8;
    emit("10.1.0.7");
    answer("10.1.0.7", mac_peer);
    for (uint32_t i = 0; i < 3 * HR_NEIGH_MAX; i++) {
        char ip[20];
        snprintf(ip, sizeof(ip), "10.77.%u.%u", i >> 8 & 255, i & 255);
        wire_pass(1000);
        emit(ip);
        wire.n_tx = 0;
    }
    assert_non_null(neigh_of("10.1.0.7"));
}

static void unused_entries_are_forgotten(void **state)
{
    (void)state;
    emit("10.1.0.7");
    answer("10.1.0.7", mac_peer);
    wire_pass(31 * S);
    assert_int_equal(neigh_of("10.1.0.7")->state, HR_NEIGH_STALE);
    assert_int_equal(wire_pass(601 * S), UINT64_MAX);
    assert_null(neigh_of("10.1.0.7"));
}

static void announcement(void **state)
{
    (void)state;
    hr_net_announce(wire.net);
    hr_net_flush(wire.net);
    assert_int_equal(wire.n_tx, 3);
    for (int i = 0; i < 3; i++) {
        assert_memory_equal(wire.tx[i].data, mac_bcast, 6);
        assert_memory_equal(wire.tx[i].data + 28, wire.tx[i].data + 38, 4); /* sender = target */
    }
    assert_int_equal(wire.tx[2].port, 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_setup, wire_teardown)
#define T6(fn) {#fn " over IPv6", fn, wire_setup6, wire_teardown, NULL}
#define BOTH(fn) T(fn), T6(fn)
    const struct CMUnitTest tests[] = {
        T(request_is_answered), T(probe_is_answered_not_learned), T(others_arp_is_not_answered),
        T(malformed), T(off_link_sender), BOTH(packets_wait_for_the_answer),
        BOTH(answer_heard_by_another_worker), BOTH(unanswered), BOTH(waiting_is_bounded),
        BOTH(confirmed_again_while_in_use), BOTH(neighbour_that_dies), BOTH(gateway_moves),
        BOTH(gateway_recovers), T(flood_keeps_the_known), BOTH(unused_entries_are_forgotten),
        T(announcement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

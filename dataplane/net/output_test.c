#include "dataplane/net/net.h"

#include <rte_ip.h>
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/net/cksum.h"
#include "dataplane/net/impl.h"
#include "dataplane/net/test_wire.h"

static uint8_t f[WIRE_FRAME_MAX];

#define DROPS(reason) ((int)wire.stats.drops[HR_DROP_##reason])

static void emit(const char *local, const char *remote, struct rte_mbuf *m)
{
    struct hr_flow flow = flow4(local, remote);
    hr_net_emit_tcp_take(wire.net, &flow, m);
    hr_net_flush(wire.net);
}

static void hear(uint32_t port, const char *ip, const uint8_t mac[6], const char *us)
{
    wire_rx(port, f, make_arp(f, 1, mac, ip, NULL, us, mac_bcast));
    wire.n_tx = 0;
}

/* ---- headers and checksums ---- */

static void segment_gets_headers(void **state)
{
    (void)state;
    hear(0, "10.1.0.7", mac_peer, "10.1.0.1");
    for (uint16_t len = 0; len <= 1460; len = (uint16_t)(len + (len < 20 ? 1 : 97))) {
        wire.n_tx = 0;
        emit("10.1.0.1", "10.1.0.7", wire_segment(len, len % 3 == 0 ? 0 : 131));
        assert_int_equal(wire.n_tx, 1);
        const struct wire_frame *t = &wire.tx[0];
        assert_int_equal(t->port, 0);
        assert_int_equal(t->len, 54U + len);
        assert_memory_equal(t->data, mac_peer, 6);
        assert_memory_equal(t->data + 6, wire.ports[0].mac.addr_bytes, 6);
        assert_int_equal(t->data[12] << 8 | t->data[13], 0x0800);
        assert_int_equal(t->data[15], 0); /* no DiffServ, not ECN-capable */
        assert_int_equal(t->data[16] << 8 | t->data[17], 40 + len);
        assert_int_equal(t->data[20], 0x40); /* DF */
        assert_int_equal(t->data[22], 64);
        assert_true(frame_checksums_ok(t->data, t->len));
        assert_int_equal(t->ol_flags & (RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IP_CKSUM), 0);
    }
}

static void offloaded_checksums(void **state)
{
    (void)state;
    wire.ports[0].tx_ip_cksum = wire.ports[0].tx_tcp_cksum = true;
    hear(0, "10.1.0.7", mac_peer, "10.1.0.1");
    /* The net captures by function, so the flags are seen as the driver would see them. */
    emit("10.1.0.1", "10.1.0.7", wire_segment(100, 0));
    const struct wire_frame *t = &wire.tx[0];
    assert_int_equal(t->ol_flags & RTE_MBUF_F_TX_L4_MASK, RTE_MBUF_F_TX_TCP_CKSUM);
    assert_true(t->ol_flags & RTE_MBUF_F_TX_IP_CKSUM);
    assert_true(t->ol_flags & RTE_MBUF_F_TX_IPV4);
    assert_int_equal(t->data[24] | t->data[25], 0);
    uint16_t pseudo = hr_cksum_fold(hr_cksum_pseudo_v4(ip4("10.1.0.1"), ip4("10.1.0.7"), 6, 120));
    assert_memory_equal(t->data + 50, &pseudo, 2);
}

static void too_long_for_the_mtu(void **state)
{
    (void)state;
    hear(0, "10.1.0.7", mac_peer, "10.1.0.1");
    emit("10.1.0.1", "10.1.0.7", wire_segment(1461, 0));
    assert_int_equal(DROPS(tx_refused), 1);
    assert_int_equal(wire.n_tx, 0);
    hear(1, "10.2.0.7", mac_peer, "10.2.0.1");
    emit("10.2.0.1", "10.2.0.7", wire_segment(8960, 0));
    assert_int_equal(wire.n_tx, 1);
    assert_true(frame_checksums_ok(wire.tx[0].data, wire.tx[0].len));
}

/* A port without chains gets one buffer, and the copy is counted. */
static void flat_copy_for_poor_ports(void **state)
{
    (void)state;
    wire.ports[0].hw_tx_segs = 1;
    hear(0, "10.1.0.7", mac_peer, "10.1.0.1");
    emit("10.1.0.1", "10.1.0.7", wire_segment(1000, 100));
    assert_int_equal(wire.n_tx, 1);
    assert_int_equal(wire.tx[0].n_segs, 1);
    assert_true(frame_checksums_ok(wire.tx[0].data, wire.tx[0].len));
    assert_int_equal(wire.stats.counters[HR_CTR_payload_copied_bytes], 1000);
}

static void stuck_port_drops(void **state)
{
    (void)state;
    hear(0, "10.1.0.7", mac_peer, "10.1.0.1");
    wire.tx_stuck = true;
    uint64_t sent = wire.stats.counters[HR_CTR_tx_packets], bytes = wire.stats.counters[HR_CTR_tx_bytes];
    for (int i = 0; i < HR_NET_TX_BURST + 5; i++)
        emit("10.1.0.1", "10.1.0.7", wire_segment(10, 0));
    assert_int_equal(DROPS(tx_full), HR_NET_TX_BURST + 5);
    assert_int_equal(wire.stats.counters[HR_CTR_tx_packets], sent);
    assert_int_equal(wire.stats.counters[HR_CTR_tx_bytes], bytes);
}

/* ---- routes ---- */

static int route(const char *local, const char *remote, struct hr_net_hop *ret_hop)
{
    struct hr_addr from = local != NULL ? addr4(local) : (struct hr_addr){{0}}, to = addr4(remote);
    return hr_net_route(wire.net, local != NULL ? &from : NULL, &to, ret_hop);
}

/* Which neighbour is asked for when sending from local to remote; 0 if nobody. */
static uint32_t asked_for(const char *local, const char *remote, uint32_t *ret_port)
{
    wire.n_tx = 0;
    emit(local, remote, wire_segment(0, 0));
    if (wire.n_tx != 1)
        return 0;
    uint32_t tip;
    assert_int_equal(wire.tx[0].data[13], 0x06);
    memcpy(&tip, wire.tx[0].data + 38, 4);
    *ret_port = wire.tx[0].port;
    return tip;
}

static void routes(void **state)
{
    (void)state;
    static const struct {
        const char *local, *remote, *hop;
        uint32_t port;
    } cases[] = {
        {"10.1.0.1", "10.1.0.77", "10.1.0.77", 0},   /* on the link */
        {"10.1.0.1", "8.8.8.8", "10.1.0.254", 0},    /* default gateway */
        {"10.2.0.1", "10.9.1.1", "10.2.0.9", 1},     /* route */
        {"10.2.0.1", "10.9.9.1", "10.2.0.10", 1},    /* the longer prefix */
        {"10.2.0.1", "10.2.0.66", "10.2.0.66", 1},
    };
    for (unsigned i = 0; i < RTE_DIM(cases); i++) {
        uint32_t port = 99;
        assert_int_equal(asked_for(cases[i].local, cases[i].remote, &port), ip4(cases[i].hop));
        assert_int_equal(port, cases[i].port);
    }
    uint32_t port = 99;
    /* Port 1 has no default route, so its address leaves by port 0's gateway. */
    assert_int_equal(asked_for("10.2.0.1", "9.9.9.9", &port), 0); /* waits behind the request above */
    struct hr_net_hop hop;
    assert_int_equal(route("10.2.0.1", "9.9.9.9", &hop), 0);
    struct hr_addr gateway = addr4("10.1.0.254");
    assert_true(hr_addr_equal(&hop.addr, &gateway));
    /* A reply leaves by the port that was addressed, even where the other port has a longer prefix. */
    assert_int_equal(route("10.1.0.1", "10.9.9.9", &hop), 0);
    assert_int_equal(hop.port, 0);
    assert_int_equal(route(NULL, "10.9.9.9", &hop), 0);
    assert_int_equal(hop.port, 1);
    /* To ourselves there is no way. */
    emit("10.1.0.1", "10.2.0.1", wire_segment(0, 0));
    assert_int_equal(DROPS(ip_no_route), 1);
}

static void no_route(void **state)
{
    (void)state;
    wire.ports[0].n_routes = 2; /* the gateway is last */
    emit("10.1.0.1", "8.8.8.8", wire_segment(0, 0));
    assert_int_equal(DROPS(ip_no_route), 1);
    struct hr_addr remote = addr4("8.8.8.8"), local = addr4("10.1.0.1"), got;
    assert_int_equal(hr_net_source(wire.net, &remote, &got), HR_E_NOT_FOUND);
    assert_int_equal(hr_net_path_mss(wire.net, &local, &remote), 536);
}

static void sources_and_mss(void **state)
{
    (void)state;
    struct hr_addr got[4], remote = addr4("10.9.0.5"), want = addr4("10.2.0.1");
    assert_int_equal(hr_net_sources(wire.net, &remote, got, 4), 1);
    assert_true(hr_addr_equal(&got[0], &want));
    assert_int_equal(hr_net_path_mss(wire.net, &want, &remote), 8960);
    remote = addr4("1.1.1.1");
    assert_int_equal(hr_net_sources(wire.net, &remote, got, 4), 2);
    want = addr4("10.1.0.1");
    assert_true(hr_addr_equal(&got[0], &want));
    assert_int_equal(hr_net_path_mss(wire.net, &want, &remote), 1460);
    assert_int_equal(hr_net_source(wire.net, &remote, &got[3]), 0);
    assert_true(hr_net_is_local(wire.net, &want));
    assert_false(hr_net_is_local(wire.net, &remote));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_setup, wire_teardown)
    const struct CMUnitTest tests[] = {
        T(segment_gets_headers), T(offloaded_checksums), T(too_long_for_the_mtu), T(flat_copy_for_poor_ports),
        T(stuck_port_drops), T(routes), T(no_route), T(sources_and_mss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

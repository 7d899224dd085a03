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
    struct hr_flow flow = flow_of(local, remote);
    hr_net_emit_tcp_take(wire.net, &flow, m);
    hr_net_flush(wire.net);
}

/* Makes the neighbour known. */
static void hear(uint32_t port, const char *ip, const uint8_t mac[6], const char *us)
{
    if (wire.v6) {
        emit(us, ip, wire_segment(0, 0)); /* nobody is learned unasked */
        wire_rx(port, f, make_na(f, port, ip, us, 0x60, ip, mac));
    } else {
        wire_rx(port, f, make_arp(f, 1, mac, ip, NULL, us, mac_bcast));
    }
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
        assert_int_equal(t->len, l4_at() + 20 + len);
        assert_memory_equal(t->data, mac_peer, 6);
        assert_memory_equal(t->data + 6, wire.ports[0].mac.addr_bytes, 6);
        assert_int_equal(t->data[12] << 8 | t->data[13], wire.v6 ? 0x86dd : 0x0800);
        if (wire.v6) {
            assert_int_equal(t->data[14] << 8 | t->data[15], 0x6000); /* no DiffServ, not ECN-capable */
            assert_int_equal(t->data[18] << 8 | t->data[19], 20 + len);
            assert_int_equal(t->data[20], 6);
            assert_int_equal(t->data[21], 64);
        } else {
            assert_int_equal(t->data[15], 0);
            assert_int_equal(t->data[16] << 8 | t->data[17], 40 + len);
            assert_int_equal(t->data[20], 0x40); /* DF */
            assert_int_equal(t->data[22], 64);
        }
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
    if (wire.v6) {
        assert_true((t->ol_flags & (RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_IP_CKSUM)) == RTE_MBUF_F_TX_IPV6);
    } else {
        assert_true(t->ol_flags & RTE_MBUF_F_TX_IP_CKSUM);
        assert_true(t->ol_flags & RTE_MBUF_F_TX_IPV4);
        assert_int_equal(t->data[24] | t->data[25], 0);
    }
    /* The field holds the sum of the pseudo-header, not inverted: with the rest added it comes out right. */
    uint8_t copy[200];
    memcpy(copy, t->data, t->len);
    uint16_t sum = naive_cksum(copy + l4_at(), t->len - l4_at(), 0);
    copy[l4_at() + 16] = (uint8_t)(sum >> 8);
    copy[l4_at() + 17] = (uint8_t)sum;
    if (!wire.v6)
        fix_ip(copy);
    assert_true(frame_checksums_ok(copy, t->len));
}

/* A segment of len bytes by the flow's way, as TCP would send it. */
static void by_way(struct hr_net_way *w, uint16_t len)
{
    struct rte_mbuf *m = wire_segment(len, 0);
    struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
    assert_non_null(rte_pktmbuf_prepend(m, w->head_len));
    memcpy(rte_pktmbuf_mtod(m, void *), w->head + HR_NET_WAY_HEAD - w->head_len, w->head_len);
    hr_net_way_length(w, tcp, (uint16_t)(20 + len));
    m->ol_flags = w->ol_flags;
    hr_net_txq_put(w->q, m);
    hr_net_flush(wire.net);
}

/* What leaves by a prepared way is what would have left without. */
static void ways(void **state)
{
    struct hr_flow flow = flow_of("10.1.0.1", "10.1.0.7");
    (void)state;
    for (int ip_cksum = 0; ip_cksum < 2; ip_cksum++) {
        wire.ports[0].tx_tcp_cksum = true;
        wire.ports[0].tx_ip_cksum = ip_cksum;
        hr_net_cache_clear(wire.net);
        hear(0, "10.1.0.7", mac_peer, "10.1.0.1");
        for (uint16_t len = 0; len <= 1440; len = (uint16_t)(len + 360)) {
            struct hr_net_way *w = hr_net_way(wire.net, &flow);
            assert_non_null(w);
            assert_int_equal(w->mtu, 1500);
            wire.n_tx = 0;
            emit("10.1.0.1", "10.1.0.7", wire_segment(len, 0));
            by_way(w, len);
            assert_int_equal(wire.n_tx, 2);
            assert_int_equal(wire.tx[0].port, wire.tx[1].port);
            assert_int_equal(wire.tx[0].len, wire.tx[1].len);
            assert_memory_equal(wire.tx[0].data, wire.tx[1].data, wire.tx[0].len);
            assert_int_equal(wire.tx[0].ol_flags, wire.tx[1].ol_flags);
        }
    }
    uint64_t bytes = wire.stats.counters[HR_CTR_tx_bytes], frames = wire.stats.counters[HR_CTR_tx_packets];
    for (unsigned i = 0; i < HR_NET_TX_BURST + 1; i++)
        by_way(hr_net_way(wire.net, &flow), 100);
    assert_int_equal(wire.stats.counters[HR_CTR_tx_packets] - frames, HR_NET_TX_BURST + 1);
    assert_int_equal(wire.stats.counters[HR_CTR_tx_bytes] - bytes, (HR_NET_TX_BURST + 1) * (l4_at() + 120));

    /* The neighbour has got another card. */
    static const uint8_t mac_new[6] = {0x02, 0, 0, 0, 0xbb, 1};
    hear(0, "10.1.0.7", mac_new, "10.1.0.1");
    struct hr_net_way *w = hr_net_way(wire.net, &flow);
    assert_non_null(w);
    by_way(w, 0);
    assert_memory_equal(wire.tx[0].data, mac_new, 6);
}

static void no_way(void **state)
{
    struct hr_flow flow = flow_of("10.1.0.1", "10.1.0.7"), nowhere = flow_of("10.1.0.1", "10.2.0.1");
    (void)state;
    assert_null(hr_net_way(wire.net, &nowhere));
    wire.ports[0].tx_tcp_cksum = true;
    hr_net_cache_clear(wire.net);
    assert_null(hr_net_way(wire.net, &flow)); /* not heard of */
    hear(0, "10.1.0.7", mac_peer, "10.1.0.1");
    assert_non_null(hr_net_way(wire.net, &flow));
    wire.ports[0].hw_tx_segs = 1;
    assert_null(hr_net_way(wire.net, &flow));
    wire.ports[0].hw_tx_segs = 8;
    wire.ports[0].tx_tcp_cksum = false;
    hr_net_cache_clear(wire.net);
    assert_null(hr_net_way(wire.net, &flow));
    wire_pass(31 * HR_US_PER_S); /* it may have left */
    wire.ports[0].tx_tcp_cksum = true;
    hr_net_cache_clear(wire.net);
    assert_null(hr_net_way(wire.net, &flow));
}

static void too_long_for_the_mtu(void **state)
{
    (void)state;
    hear(0, "10.1.0.7", mac_peer, "10.1.0.1");
    uint16_t fits = wire.v6 ? 1440 : 1460;
    emit("10.1.0.1", "10.1.0.7", wire_segment(fits + 1, 0));
    assert_int_equal(DROPS(tx_refused), 1);
    assert_int_equal(wire.n_tx, 0);
    hear(1, "10.2.0.7", mac_peer, "10.2.0.1");
    emit("10.2.0.1", "10.2.0.7", wire_segment((uint16_t)(fits + 7500), 0));
    assert_int_equal(wire.n_tx, 1);
    assert_true(frame_checksums_ok(wire.tx[0].data, wire.tx[0].len));
    /* A route may be narrower than its port. */
    hear(1, "10.2.0.9", mac_gw, "10.2.0.1");
    emit("10.2.0.1", "10.8.0.1", wire_segment(fits, 0));
    assert_int_equal(wire.n_tx, 1);
    emit("10.2.0.1", "10.8.0.1", wire_segment(fits + 1, 0));
    assert_int_equal(DROPS(tx_refused), 2);
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
    struct hr_addr from = local != NULL ? addr_of(local) : (struct hr_addr){{0}}, to = addr_of(remote);
    return hr_net_route(wire.net, local != NULL ? &from : NULL, &to, ret_hop);
}

/* Which neighbour is asked for when sending from local to remote; false if nobody. */
static bool asked_for(const char *local, const char *remote, uint32_t *ret_port, struct hr_addr *ret_hop)
{
    wire.n_tx = 0;
    emit(local, remote, wire_segment(0, 0));
    if (wire.n_tx != 1)
        return false;
    uint32_t tip;
    if (wire.v6) {
        assert_int_equal(wire.tx[0].data[54], 135);
        memcpy(ret_hop, wire.tx[0].data + 62, 16);
    } else {
        assert_int_equal(wire.tx[0].data[13], 0x06);
        memcpy(&tip, wire.tx[0].data + 38, 4);
        *ret_hop = hr_addr_from_v4(tip);
    }
    *ret_port = wire.tx[0].port;
    return true;
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
        struct hr_addr asked, want = addr_of(cases[i].hop);
        assert_true(asked_for(cases[i].local, cases[i].remote, &port, &asked));
        assert_true(hr_addr_equal(&asked, &want));
        assert_int_equal(port, cases[i].port);
    }
    uint32_t port = 99;
    struct hr_addr asked;
    /* Port 1 has no default route, so its address leaves by port 0's gateway. */
    assert_false(asked_for("10.2.0.1", "9.9.9.9", &port, &asked)); /* waits behind the request above */
    struct hr_net_hop hop;
    assert_int_equal(route("10.2.0.1", "9.9.9.9", &hop), 0);
    struct hr_addr gateway = addr_of("10.1.0.254");
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
    wire.ports[0].n_routes--; /* the gateway is last */
    emit("10.1.0.1", "8.8.8.8", wire_segment(0, 0));
    assert_int_equal(DROPS(ip_no_route), 1);
    struct hr_addr remote = addr_of("8.8.8.8"), local = addr_of("10.1.0.1"), got;
    assert_int_equal(hr_net_source(wire.net, &remote, &got), HR_E_NOT_FOUND);
    assert_int_equal(hr_net_path_mss(wire.net, &local, &remote), wire.v6 ? 1220 : 536);
}

static void sources_and_mss(void **state)
{
    (void)state;
    struct hr_addr got[4], remote = addr_of("10.9.0.5"), want = addr_of("10.2.0.1");
    assert_int_equal(hr_net_sources(wire.net, &remote, got, 4), 1);
    assert_true(hr_addr_equal(&got[0], &want));
    assert_int_equal(hr_net_path_mss(wire.net, &want, &remote), wire.v6 ? 8940 : 8960);
    assert_int_equal(hr_net_path_port(wire.net, &want, &remote), 1);
    remote = addr_of("10.8.0.5");
    assert_int_equal(hr_net_path_mss(wire.net, &want, &remote), wire.v6 ? 1440 : 1460);
    remote = addr_of("1.1.1.1");
    assert_int_equal(hr_net_sources(wire.net, &remote, got, 4), 2);
    want = addr_of("10.1.0.1");
    assert_true(hr_addr_equal(&got[0], &want));
    assert_int_equal(hr_net_path_mss(wire.net, &want, &remote), wire.v6 ? 1440 : 1460);
    assert_int_equal(hr_net_path_port(wire.net, &want, &remote), 0);
    assert_int_equal(hr_net_source(wire.net, &remote, &got[3]), 0);
    assert_true(hr_net_is_local(wire.net, &want));
    assert_false(hr_net_is_local(wire.net, &remote));
}

/* Link-local to link-local, the world to the world, private to private where there is a choice (RFC 6724 5). */
static void source_scopes(void **state)
{
    (void)state;
    struct hr_addr got[4], remote = addr_of("fe80::77"), want = addr_of("fe80::ff:fe00:101");
    assert_int_equal(hr_net_sources(wire.net, &remote, got, 4), 1);
    assert_true(hr_addr_equal(&got[0], &want));
    remote = addr_of("2600::1"); /* private ones, for want of others */
    assert_int_equal(hr_net_sources(wire.net, &remote, got, 4), 2);
    wire.net->local[1].addr = addr_of("2600:1::5");
    assert_int_equal(hr_net_sources(wire.net, &remote, got, 4), 1);
    assert_true(hr_addr_equal(&got[0], &wire.net->local[1].addr));
    remote = addr_of("10.1.0.9");
    assert_int_equal(hr_net_sources(wire.net, &remote, got, 4), 1);
    assert_true(hr_addr_equal(&got[0], &wire.net->local[0].addr));
    /* The other family has no way, although ::/0 would hold it. */
    remote = hr_addr_from_v4(ip4("8.8.8.8"));
    assert_int_equal(hr_net_sources(wire.net, &remote, got, 4), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_setup, wire_teardown)
#define T6(fn) {#fn " over IPv6", fn, wire_setup6, wire_teardown, NULL}
#define BOTH(fn) T(fn), T6(fn)
    const struct CMUnitTest tests[] = {
        BOTH(segment_gets_headers), BOTH(offloaded_checksums), BOTH(ways), BOTH(no_way), BOTH(too_long_for_the_mtu),
        BOTH(flat_copy_for_poor_ports), BOTH(stuck_port_drops), BOTH(routes), BOTH(no_route), BOTH(sources_and_mss),
        T6(source_scopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "dataplane/net/net.h"

#include <rte_ip.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/net/impl.h"
#include "dataplane/net/test_wire.h"

static uint8_t f[WIRE_FRAME_MAX];

#define DROPS(reason) ((int)wire.stats.drops[HR_DROP_##reason])

/* Gives f to port 0 and expects exactly this drop and nothing else. */
#define EXPECT_DROP(len, reason)                                                                             \
    do {                                                                                                     \
        uint64_t before_[HR_DROP_MAX];                                                                       \
        memcpy(before_, wire.stats.drops, sizeof(before_));                                                  \
        uint32_t n_tcp_ = wire.n_tcp, n_tx_ = wire.n_tx;                                                     \
        wire_rx(0, f, (len));                                                                                \
        before_[HR_DROP_##reason]++;                                                                         \
        assert_memory_equal(before_, wire.stats.drops, sizeof(before_));                                     \
        assert_int_equal(wire.n_tcp, n_tcp_);                                                                \
        assert_int_equal(wire.n_tx, n_tx_);                                                                  \
    } while (0)

static uint32_t good(uint16_t payload)
{
    return make_tcp(f, 0, "10.1.0.7", "10.1.0.1", 40000, 9092, payload);
}

static void segment_reaches_tcp(void **state)
{
    (void)state;
    uint32_t len = good(333);
    wire_rx(0, f, len);
    assert_int_equal(wire.n_tcp, 1);
    assert_int_equal(wire.tcp[0].len, 20 + 333);
    assert_memory_equal(wire.tcp[0].data, f + l4_at(), 20 + 333);
    struct hr_addr src = addr_of("10.1.0.7"), dst = addr_of("10.1.0.1");
    assert_true(hr_addr_equal(&wire.tcp_flow.remote, &src) && hr_addr_equal(&wire.tcp_flow.local, &dst));
    assert_int_equal(wire.tcp_flow.remote_port, 40000);
    assert_int_equal(wire.tcp_flow.local_port, 9092);
    assert_int_equal(wire.stats.counters[HR_CTR_rx_packets], 1);
    assert_int_equal(wire.stats.counters[HR_CTR_rx_bytes], len);
}

static void second_address_and_other_port(void **state)
{
    (void)state;
    wire_rx(0, f, make_tcp(f, 0, "10.1.0.7", "10.1.0.2", 1, 2, 0));
    wire_rx(1, f, make_tcp(f, 1, "172.16.0.7", "10.2.0.1", 1, 2, 1));
    assert_int_equal(wire.n_tcp, 2);
}

static void padding_is_trimmed(void **state)
{
    (void)state;
    uint32_t len = good(1);
    memset(f + len, 0xee, 60 - len);
    wire_rx(0, f, 60);
    assert_int_equal(wire.n_tcp, 1);
    assert_int_equal(wire.tcp[0].len, 21);
}

/* The trailing bytes may fill whole mbufs of a chain. */
static void chains_are_kept_and_trimmed(void **state)
{
    (void)state;
    uint32_t len = good(1001);
    memset(f + len, 0xee, 300);
    for (uint32_t extra = 0; extra <= 300; extra += 75) {
        uint32_t n = wire.n_tcp;
        wire_rx_mbuf(0, wire_mbuf(f, len + extra, 101));
        assert_int_equal(wire.n_tcp, n + 1);
        assert_int_equal(wire.tcp[n].len, 1021);
        assert_int_equal(wire.tcp[n].n_segs, (len + 100) / 101);
        assert_memory_equal(wire.tcp[n].data, f + l4_at(), 1021);
    }
}

static void whole_burst(void **state)
{
    (void)state;
    struct rte_mbuf *burst[20];
    for (int i = 0; i < 20; i++)
        burst[i] = wire_mbuf(f, good((uint16_t)i), 0);
    hr_net_input_take(wire.net, 0, burst, 20);
    assert_int_equal(wire.n_tcp, 20);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(wire.tcp[i].len, 20 + i);
}

static void ethernet_drops(void **state)
{
    (void)state;
    good(0);
    EXPECT_DROP(13, eth_short);
    uint32_t len = good(0);
    f[12] = 0x88;
    f[13] = 0xcc;
    EXPECT_DROP(len, eth_type);
    len = good(0);
    f[12] = wire.v6 ? 0x08 : 0x86;
    f[13] = wire.v6 ? 0x00 : 0xdd;
    memset(f + len, 0, 60 - RTE_MIN(len, 60U));
    EXPECT_DROP(60 + len, ip_version);
    len = good(0);
    f[5] ^= 1;
    EXPECT_DROP(len, eth_not_ours);
    len = good(0);
    memcpy(f, mac_bcast, 6);
    EXPECT_DROP(len, eth_not_ours);
}

static void ip_drops(void **state)
{
    (void)state;
    good(0);
    EXPECT_DROP(33, ip_short);
    uint32_t len = good(100);
    EXPECT_DROP(len - 1, ip_short); /* truncated by the driver */
    len = good(0);
    f[14] = 0x44;
    EXPECT_DROP(len, ip_short);
    len = good(0);
    f[16] = 0;
    f[17] = 19;
    EXPECT_DROP(len, ip_short);
    len = good(0);
    f[14] = 0x65;
    EXPECT_DROP(len, ip_version);
    len = good(0);
    f[24] ^= 0x10;
    EXPECT_DROP(len, ip_checksum);
    len = good(8);
    f[14] = 0x46;
    fix_ip(f);
    EXPECT_DROP(len, ip_options);
    len = good(8);
    f[20] = 0x20; /* more fragments */
    fix_ip(f);
    EXPECT_DROP(len, ip_fragment);
    len = good(8);
    f[21] = 1; /* offset */
    fix_ip(f);
    EXPECT_DROP(len, ip_fragment);
    EXPECT_DROP(make_tcp(f, 0, "10.1.0.7", "10.1.0.3", 1, 2, 0), ip_not_ours);
    EXPECT_DROP(make_tcp(f, 0, "10.1.0.2", "10.1.0.1", 1, 2, 0), ip_martian);
    EXPECT_DROP(make_tcp(f, 0, "127.0.0.1", "10.1.0.1", 1, 2, 0), ip_martian);
    EXPECT_DROP(make_tcp(f, 0, "0.0.0.0", "10.1.0.1", 1, 2, 0), ip_martian);
    EXPECT_DROP(make_tcp(f, 0, "224.0.0.5", "10.1.0.1", 1, 2, 0), ip_martian);
    EXPECT_DROP(make_tcp(f, 0, "255.255.255.255", "10.1.0.1", 1, 2, 0), ip_martian);
    uint8_t udp[8] = {0};
    EXPECT_DROP(make_ip(f, 0, "10.1.0.7", "10.1.0.1", IPPROTO_UDP, udp, 8), ip_proto);
}

static void tcp_drops(void **state)
{
    (void)state;
    uint8_t l4[24] = {0};
    EXPECT_DROP(make_ip(f, 0, "10.1.0.7", "10.1.0.1", IPPROTO_TCP, l4, 19), tcp_short);
    uint32_t len = good(5);
    f[len - 1] ^= 1;
    EXPECT_DROP(len, tcp_checksum);
    /* The driver's opinion of a bad sum is checked; its opinion of a good one is not asked for here. */
    struct rte_mbuf *m = wire_mbuf(f, good(5), 0);
    m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD | RTE_MBUF_F_RX_IP_CKSUM_BAD;
    wire_rx_mbuf(0, m);
    assert_int_equal(wire.n_tcp, 1);
    /* A header cut by the end of the first mbuf is refused rather than read over the end. */
    int before = DROPS(tcp_short);
    wire_rx_mbuf(0, wire_mbuf(f, good(100), l4_at() + 16));
    assert_int_equal(DROPS(tcp_short), before + 1);
}

/* A negotiated port is believed when it says good, and when it says that the sum was never computed. BAD and
 * UNKNOWN are computed. `sums` tells whether the packet's are right. */
static void rx_with_flags(uint64_t flags, bool sums)
{
    uint32_t len = good(10);
    if (!sums) {
        f[l4_at() + 16] ^= 1;
        if (!wire.v6)
            f[24] ^= 1;
    }
    struct rte_mbuf *m = wire_mbuf(f, len, 0);
    m->ol_flags |= flags;
    wire_rx_mbuf(0, m);
}

static void hardware_checksums(void **state)
{
    (void)state;
    static const struct {
        uint64_t flags;
        bool wrong_passes;
    } cases[] = {
        {RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD, true},
        {RTE_MBUF_F_RX_L4_CKSUM_NONE | RTE_MBUF_F_RX_IP_CKSUM_NONE, true},
        {RTE_MBUF_F_RX_L4_CKSUM_BAD | RTE_MBUF_F_RX_IP_CKSUM_BAD, false},
        {RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN | RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN, false},
    };
    for (int negotiated = 0; negotiated < 2; negotiated++) {
        wire.ports[0].rx_ip_cksum = wire.ports[0].rx_tcp_cksum = negotiated == 1;
        for (unsigned i = 0; i < RTE_DIM(cases); i++) {
            uint32_t n = wire.n_tcp;
            rx_with_flags(cases[i].flags, true);
            assert_int_equal(wire.n_tcp, n + 1); /* what is right always passes */
            rx_with_flags(cases[i].flags, false);
            assert_int_equal(wire.n_tcp, n + 1 + (negotiated == 1 && cases[i].wrong_passes));
        }
    }
    assert_int_equal(DROPS(ip_checksum) + DROPS(tcp_checksum), 2 + 4);
    /* One layer's flag says nothing about the other's. */
    rx_with_flags(RTE_MBUF_F_RX_IP_CKSUM_GOOD, false);
    assert_int_equal(DROPS(tcp_checksum), wire.v6 ? 7 : 1);
    if (!wire.v6) {
        rx_with_flags(RTE_MBUF_F_RX_L4_CKSUM_GOOD, false);
        assert_int_equal(DROPS(ip_checksum), 7);
    }
}

struct verdict {
    uint64_t drops[HR_DROP_MAX];
    uint32_t n_tcp, len;
    struct hr_flow flow;
};

/* What becomes of a frame for which the port vouches, behind a good one or on its own. */
static void judge(const uint8_t *frame, uint32_t len, uint32_t seg, bool behind, struct verdict *ret)
{
    memset(ret, 0, sizeof(*ret));
    wire.net->seen[0].cksums = UINT64_MAX;
    for (int i = behind ? 0 : 1; i < 2; i++) {
        uint8_t first[256];
        uint32_t first_len = make_tcp(first, 0, "10.1.0.7", "10.1.0.1", 40000, 9092, 100);
        struct rte_mbuf *m = i == 0 ? wire_mbuf(first, first_len, 0) : wire_mbuf(frame, len, seg);
        m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD | RTE_MBUF_F_RX_IP_CKSUM_GOOD;
        wire.n_tcp = 0;
        memcpy(ret->drops, wire.stats.drops, sizeof(ret->drops));
        memset(&wire.tcp_flow, 0, sizeof(wire.tcp_flow));
        wire_rx_mbuf(0, m);
        assert_true(i == 1 || wire.net->seen[0].cksums != UINT64_MAX);
    }
    for (unsigned r = 0; r < HR_DROP_MAX; r++)
        ret->drops[r] = wire.stats.drops[r] - ret->drops[r];
    ret->n_tcp = wire.n_tcp;
    ret->len = wire.n_tcp > 0 ? wire.tcp[0].len : 0;
    ret->flow = wire.tcp_flow;
}

static void same_verdict(const uint8_t *frame, uint32_t len, uint32_t seg)
{
    struct verdict with, without;
    judge(frame, len, seg, true, &with);
    judge(frame, len, seg, false, &without);
    assert_memory_equal(&with, &without, sizeof(with));
}

/* The short way past the headers lets nothing through that the long one stops: with any bit of them changed, cut,
 * padded, as a chain. */
static void frames_like_the_last(void **state)
{
    (void)state;
    struct verdict v;
    wire.ports[0].rx_ip_cksum = wire.ports[0].rx_tcp_cksum = true;
    uint32_t len = good(100);
    judge(f, len, 0, true, &v);
    assert_int_equal(v.n_tcp, 1);
    for (uint32_t bit = 0; bit < 8 * (l4_at() + 20); bit++) {
        good(100);
        f[bit / 8] ^= (uint8_t)(1 << bit % 8);
        same_verdict(f, len, 0);
    }
    for (uint32_t payload = 0; payload < 60; payload++) {
        len = good((uint16_t)payload);
        memset(f + len, 0, 60);
        for (uint32_t seg = 0; seg < 100; seg += 9) {
            same_verdict(f, len, seg);
            same_verdict(f, len + 1, seg);
            same_verdict(f, len - 1, seg);
            same_verdict(f, len + 60, seg);
        }
    }
    same_verdict(f, make_tcp(f, 0, "10.1.0.8", "10.1.0.1", 40000, 9092, 100), 0);
    same_verdict(f, make_tcp(f, 0, "10.1.0.7", "10.1.0.2", 40000, 9092, 100), 0);
    same_verdict(f, make_tcp(f, 0, "10.1.0.1", "10.1.0.1", 40000, 9092, 100), 0);
    /* Another port's MAC and addresses are another matter. */
    assert_int_equal(wire.net->seen[1].cksums, UINT64_MAX);
}

static void ip6_drops(void **state)
{
    (void)state;
    good(0);
    EXPECT_DROP(53, ip_short);
    uint32_t len = good(100);
    EXPECT_DROP(len - 1, ip_short);
    len = good(0);
    f[14] = 0x45;
    EXPECT_DROP(len, ip_version);
    EXPECT_DROP(make_tcp(f, 0, "10.1.0.7", "10.1.0.3", 1, 2, 0), ip_not_ours);
    EXPECT_DROP(make_tcp(f, 0, "10.1.0.7", "ff02::1:ff01:9", 1, 2, 0), ip_not_ours);
    EXPECT_DROP(make_tcp(f, 0, "10.1.0.7", "ff05::1", 1, 2, 0), ip_not_ours);
    EXPECT_DROP(make_tcp(f, 0, "10.1.0.7", "ff02::1", 1, 2, 0), ip_martian);
    EXPECT_DROP(make_tcp(f, 0, "10.1.0.2", "10.1.0.1", 1, 2, 0), ip_martian);
    EXPECT_DROP(make_tcp(f, 0, "::", "10.1.0.1", 1, 2, 0), ip_martian);
    EXPECT_DROP(make_tcp(f, 0, "::1", "10.1.0.1", 1, 2, 0), ip_martian);
    EXPECT_DROP(make_tcp(f, 0, "ff02::5", "10.1.0.1", 1, 2, 0), ip_martian);
    /* In our own form for IPv4: neither as source nor as destination. */
    EXPECT_DROP(make_tcp(f, 0, "::ffff:10.1.0.7", "10.1.0.1", 1, 2, 0), ip_martian);
    EXPECT_DROP(make_tcp(f, 0, "10.1.0.7", "::ffff:10.1.0.1", 1, 2, 0), ip_martian);
    static const uint8_t extension[] = {0, 43, 50, 51, 60, 135, 139, 140};
    uint8_t ext[8] = {IPPROTO_TCP};
    for (unsigned i = 0; i < sizeof(extension); i++)
        EXPECT_DROP(make_ip(f, 0, "10.1.0.7", "10.1.0.1", extension[i], ext, 8), ip_extension);
    EXPECT_DROP(make_ip(f, 0, "10.1.0.7", "10.1.0.1", 44, ext, 8), ip_fragment);
    EXPECT_DROP(make_ip(f, 0, "10.1.0.7", "10.1.0.1", IPPROTO_UDP, ext, 8), ip_proto);
    EXPECT_DROP(make_ip(f, 0, "10.1.0.7", "10.1.0.1", 59, ext, 0), ip_proto); /* no next header */
}

/* The link-local address is ours like the others. */
static void link_local(void **state)
{
    (void)state;
    wire_rx(0, f, make_tcp(f, 0, "fe80::7", "fe80::ff:fe00:101", 1, 2, 5));
    assert_int_equal(wire.n_tcp, 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_setup, wire_teardown)
#define T6(fn) {#fn " over IPv6", fn, wire_setup6, wire_teardown, NULL}
#define BOTH(fn) T(fn), T6(fn)
    const struct CMUnitTest tests[] = {
        BOTH(segment_reaches_tcp), BOTH(second_address_and_other_port), T(padding_is_trimmed),
        BOTH(chains_are_kept_and_trimmed), BOTH(whole_burst), BOTH(ethernet_drops), T(ip_drops), T6(ip6_drops),
        BOTH(tcp_drops), BOTH(hardware_checksums), BOTH(frames_like_the_last), T6(link_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

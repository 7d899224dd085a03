#include "dataplane/net/net.h"

#include <rte_ip.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/net/test_wire.h"

static uint8_t f[WIRE_FRAME_MAX];

#define DROPS(reason) ((int)wire.stats.drops[HR_DROP_##reason])

static uint32_t make_icmp(uint8_t type, uint8_t code, const void *rest, uint16_t len)
{
    uint8_t l4[9000] = {type, code};
    memcpy(l4 + 4, rest, len);
    uint16_t sum = naive_cksum(l4, len + 4U, 0);
    l4[2] = (uint8_t)(sum >> 8);
    l4[3] = (uint8_t)sum;
    return make_ip(f, 0, "10.1.0.7", "10.1.0.1", IPPROTO_ICMP, l4, (uint16_t)(len + 4));
}

static void echo(void **state)
{
    (void)state;
    uint8_t body[1400];
    for (unsigned i = 0; i < sizeof(body); i++)
        body[i] = (uint8_t)(i * 3);
    for (uint16_t len = 4; len < 1400; len = (uint16_t)(len + 93)) {
        uint32_t n = make_icmp(8, (uint8_t)(len & 1), body, len), k = wire.n_tx;
        wire_rx_mbuf(0, wire_mbuf(f, n, len % 2 ? 200 : 0));
        assert_int_equal(wire.n_tx, k + 1);
        const struct wire_frame *r = &wire.tx[k];
        assert_int_equal(r->len, n);
        assert_memory_equal(r->data, mac_peer, 6);
        assert_memory_equal(r->data + 6, wire.ports[0].mac.addr_bytes, 6);
        assert_int_equal(naive_cksum(r->data + 14, 20, 0), 0);
        assert_memory_equal(r->data + 26, f + 30, 4);
        assert_memory_equal(r->data + 30, f + 26, 4);
        assert_int_equal(r->data[34], 0);
        assert_int_equal(naive_cksum(r->data + 34, n - 34, 0), 0);
        assert_memory_equal(r->data + 38, f + 38, len);
    }
    assert_int_equal(wire.stats.counters[HR_CTR_icmp_tx], wire.n_tx);
}

/* The incremental update must be right for every checksum field, 0 and 0xffff among them. */
static void echo_checksum_corner_cases(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 0x10000; v += 0x11) {
        uint8_t body[4] = {(uint8_t)(v >> 8), (uint8_t)v, 0, 0};
        wire.n_tx = 0;
        wire_rx(0, f, make_icmp(8, 0, body, 4));
        assert_int_equal(wire.n_tx, 1);
        assert_int_equal(naive_cksum(wire.tx[0].data + 34, 8, 0), 0);
    }
}

static void malformed(void **state)
{
    (void)state;
    uint8_t body[8] = {0};
    uint32_t n = make_icmp(8, 0, body, 8);
    f[n - 1] ^= 1;
    wire_rx(0, f, n);
    assert_int_equal(DROPS(icmp_bad), 1);
    wire_rx(0, f, make_icmp(8, 0, body, 3));
    assert_int_equal(DROPS(icmp_bad), 2);
    n = make_icmp(8, 0, body, 8);
    f[6] = 0x01; /* from a multicast MAC */
    wire_rx(0, f, n);
    assert_int_equal(DROPS(icmp_bad), 3);
    wire_rx(0, f, make_icmp(0, 0, body, 8)); /* a reply that nobody asked for */
    assert_int_equal(DROPS(icmp_ignored), 1);
    assert_int_equal(wire.n_tx, 0);
}

/* second: the four bytes behind the ICMP checksum; then the packet quoted. */
static uint32_t make_error(uint8_t type, uint8_t code, uint16_t mtu, const char *src, uint16_t quoted_len)
{
    uint8_t packet[200], body[200] = {0};
    make_tcp(packet, 0, src, "10.9.0.5", 33000, 9092, 100);
    packet[34 + 4] = 0x12;
    packet[34 + 5] = 0x34;
    packet[34 + 6] = 0x56;
    packet[34 + 7] = 0x78;
    body[2] = (uint8_t)(mtu >> 8);
    body[3] = (uint8_t)mtu;
    memcpy(body + 4, packet + 14, quoted_len);
    return make_icmp(type, code, body, (uint16_t)(4 + quoted_len));
}

static void errors_reach_tcp(void **state)
{
    (void)state;
    static const struct {
        uint8_t type, code;
        uint16_t mtu;
        bool hard;
        uint16_t told_mtu;
    } cases[] = {
        {3, 0, 0, false, 0},    {3, 1, 0, false, 0},       {3, 2, 0, true, 0}, {3, 3, 0, true, 0},
        {3, 4, 1400, false, 1400}, {3, 4, 100, false, 552}, {3, 4, 0, false, 552}, {11, 0, 0, false, 0},
        {12, 0, 0, false, 0},
    };
    for (unsigned i = 0; i < RTE_DIM(cases); i++) {
        wire_rx(0, f, make_error(cases[i].type, cases[i].code, cases[i].mtu, "10.1.0.1", 28));
        assert_int_equal(wire.n_icmp, i + 1);
        struct hr_flow want = {.local = addr_of("10.1.0.1"), .remote = addr_of("10.9.0.5"), .local_port = 33000,
                               .remote_port = 9092};
        assert_memory_equal(&wire.icmp_flow, &want, sizeof(want));
        assert_int_equal(wire.icmp_seq, 0x12345678);
        assert_int_equal(wire.icmp_hard, cases[i].hard);
        assert_int_equal(wire.icmp_mtu, cases[i].told_mtu);
    }
}

static void errors_about_others_are_ignored(void **state)
{
    (void)state;
    wire_rx(0, f, make_error(3, 3, 0, "10.1.0.99", 28)); /* not sent by us */
    wire_rx(0, f, make_error(3, 3, 0, "10.1.0.1", 27));  /* too little quoted */
    wire_rx(0, f, make_error(3, 3, 0, "10.1.0.1", 0));
    wire_rx(0, f, make_error(5, 1, 0, "10.1.0.1", 28)); /* redirects are not obeyed */
    assert_int_equal(wire.n_icmp, 0);
    assert_int_equal(DROPS(icmp_ignored), 4);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_setup, wire_teardown)
    const struct CMUnitTest tests[] = {
        T(echo), T(echo_checksum_corner_cases), T(malformed), T(errors_reach_tcp),
        T(errors_about_others_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

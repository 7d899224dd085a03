#include "dataplane/net/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/net/test_wire.h"

static uint8_t f[WIRE_FRAME_MAX];

#define DROPS(reason) ((int)wire.stats.drops[HR_DROP_##reason])

static void echo(void **state)
{
    (void)state;
    uint8_t msg[1400] = {128};
    for (unsigned i = 4; i < sizeof(msg); i++)
        msg[i] = (uint8_t)(i * 3);
    for (uint16_t len = 8; len < 1400; len = (uint16_t)(len + 93)) {
        uint32_t n = make_icmp6(f, 0, "10.1.0.7", "10.1.0.2", 3, msg, len), k = wire.n_tx;
        wire_rx_mbuf(0, wire_mbuf(f, n, len % 2 ? 200 : 0));
        assert_int_equal(wire.n_tx, k + 1);
        const struct wire_frame *r = &wire.tx[k];
        assert_int_equal(r->len, n);
        assert_memory_equal(r->data, mac_peer, 6);
        assert_memory_equal(r->data + 22, f + 38, 16);
        assert_memory_equal(r->data + 38, f + 22, 16);
        assert_int_equal(r->data[21], 64);
        assert_int_equal(r->data[54], 129);
        assert_true(frame_checksums_ok(r->data, n));
        assert_memory_equal(r->data + 58, f + 58, len - 4U);
    }
    assert_int_equal(wire.stats.counters[HR_CTR_icmp_tx], wire.n_tx);
    /* The sum of the reply is updated, not computed: right for every field. */
    for (uint32_t v = 0; v < 0x10000; v += 0x11) {
        msg[6] = (uint8_t)(v >> 8);
        msg[7] = (uint8_t)v;
        wire.n_tx = 0;
        wire_rx(0, f, make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 64, msg, 8));
        assert_true(wire.n_tx == 1 && frame_checksums_ok(wire.tx[0].data, wire.tx[0].len));
    }
    /* Not to groups: one packet would have many answers. */
    wire.n_tx = 0;
    wire_rx(0, f, make_icmp6(f, 0, "10.1.0.7", "ff02::1", 64, msg, 8));
    assert_int_equal(wire.n_tx, 0);
    assert_int_equal(DROPS(icmp_ignored), 1);
    uint32_t n = make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 64, msg, 8);
    f[60] ^= 1;
    wire_rx(0, f, n);
    wire_rx(0, f, make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 64, msg, 7));
    assert_int_equal(DROPS(icmp_bad), 2);
    assert_int_equal(wire.n_tx, 0);
}

/* An error from 10.1.0.254 that quotes our segment to 2600::9. */
static uint32_t error(uint8_t type, uint8_t code, uint32_t word, const char *quoted_src, uint8_t proto, uint16_t quoted)
{
    struct hr_addr from = addr_of(quoted_src), to = addr_of("2600::9");
    uint8_t msg[8 + 60] = {type, code, 0, 0, (uint8_t)(word >> 24), (uint8_t)(word >> 16), (uint8_t)(word >> 8),
                           (uint8_t)word, 0x60};
    msg[8 + 6] = proto;
    memcpy(msg + 16, &from, 16);
    memcpy(msg + 32, &to, 16);
    static const uint8_t tcp[8] = {0x23, 0x84, 0x9c, 0x40, 1, 2, 3, 4}; /* ports 9092 and 40000 */
    memcpy(msg + 48, tcp, 8);
    return make_icmp6(f, 0, "10.1.0.254", "10.1.0.1", 61, msg, (uint16_t)(8 + quoted));
}

static void errors_reach_tcp(void **state)
{
    (void)state;
    static const struct {
        uint8_t type, code;
        uint32_t word;
        bool hard;
        uint16_t mtu;
    } cases[] = {
        {1, 0, 0, false, 0}, {1, 1, 0, true, 0},  {1, 2, 0, false, 0}, {1, 3, 0, false, 0},  {1, 4, 0, true, 0},
        {3, 0, 0, false, 0}, {4, 1, 0, false, 0}, {2, 0, 1280, false, 1280}, {2, 0, 1400, false, 1400},
        {2, 0, 70000, false, 65535},
    };
    struct hr_addr local = addr_of("10.1.0.1"), remote = addr_of("2600::9");
    for (unsigned i = 0; i < RTE_DIM(cases); i++) {
        wire_rx(0, f, error(cases[i].type, cases[i].code, cases[i].word, "10.1.0.1", 6, 48));
        assert_int_equal(wire.n_icmp, i + 1);
        assert_true(hr_addr_equal(&wire.icmp_flow.local, &local) && hr_addr_equal(&wire.icmp_flow.remote, &remote));
        assert_int_equal(wire.icmp_flow.local_port, 9092);
        assert_int_equal(wire.icmp_flow.remote_port, 40000);
        assert_int_equal(wire.icmp_seq, 0x01020304);
        assert_int_equal(wire.icmp_hard, cases[i].hard);
        assert_int_equal(wire.icmp_mtu, cases[i].mtu);
    }
}

static void errors_that_say_nothing(void **state)
{
    (void)state;
    wire_rx(0, f, error(2, 0, 1279, "10.1.0.1", 6, 48)); /* RFC 8201 4: less than any link has */
    wire_rx(0, f, error(1, 4, 0, "10.1.0.3", 6, 48));    /* not ours */
    wire_rx(0, f, error(1, 4, 0, "10.1.0.1", 17, 48));
    wire_rx(0, f, error(1, 4, 0, "10.1.0.1", 44, 48));   /* we send no extension headers */
    wire_rx(0, f, error(1, 4, 0, "10.1.0.1", 6, 47));    /* too little quoted */
    wire_rx(0, f, error(1, 4, 0, "::ffff:10.1.0.1", 6, 48));
    uint32_t len = error(1, 4, 0, "10.1.0.1", 6, 48);
    wire_rx_mbuf(0, wire_mbuf(f, len, 80)); /* only the first mbuf is read */
    uint8_t redirect[40] = {137};
    wire_rx(0, f, make_icmp6(f, 0, "fe80::1", "10.1.0.1", 255, redirect, 40));
    uint8_t query[24] = {130};
    wire_rx(0, f, make_icmp6(f, 0, "fe80::1", "ff02::1", 1, query, 24));
    assert_int_equal(DROPS(icmp_ignored), 8);
    assert_int_equal(DROPS(nd_ignored), 1);
    assert_int_equal(wire.n_icmp, 0);
    assert_int_equal(wire.n_tx, 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, wire_setup6, wire_teardown)
    const struct CMUnitTest tests[] = {T(echo), T(errors_reach_tcp), T(errors_that_say_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "dataplane/net/cksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/net/test_wire.h"

static uint8_t bytes[9000];

static int fill(void **state)
{
    uint32_t x = 12345;
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(x >> 24);
    }
    return wire_setup(state);
}

static void every_length_and_alignment(void **state)
{
    (void)state;
    for (uint32_t off = 0; off < 9; off++) {
        for (uint32_t len = 0; len < 700; len++) {
            uint16_t got = (uint16_t)~hr_cksum_fold(hr_cksum_add(0, bytes + off, len));
            assert_int_equal(rte_be_to_cpu_16(got), naive_cksum(bytes + off, len, 0));
        }
    }
    for (uint32_t len = 8900; len <= 9000; len++)
        assert_int_equal(rte_be_to_cpu_16((uint16_t)~hr_cksum_fold(hr_cksum_add(0, bytes, len))),
                         naive_cksum(bytes, len, 0));
}

/* All ones carry at every step. */
static void carries_are_kept(void **state)
{
    (void)state;
    static uint8_t ones[9000];
    memset(ones, 0xff, sizeof(ones));
    assert_int_equal(hr_cksum_fold(hr_cksum_add(0, ones, sizeof(ones))), 0xffff);
    ones[0] = 0xfe;
    assert_int_equal((uint16_t)~hr_cksum_fold(hr_cksum_add(0, ones, 8999)),
                     rte_cpu_to_be_16(naive_cksum(ones, 8999, 0)));
}

static void chains_of_any_cut(void **state)
{
    (void)state;
    static const uint32_t cuts[] = {1, 2, 3, 7, 64, 65, 127, 1448, 1449};
    for (unsigned c = 0; c < RTE_DIM(cuts); c++) {
        uint32_t total = cuts[c] < 8 ? 150 : 4000;
        struct rte_mbuf *m = wire_mbuf(bytes, total, cuts[c]);
        for (uint32_t off = 0; off < 70; off += 7) {
            for (uint32_t len = total - off > 90 ? total - off - 90 : 0; len <= total - off; len++) {
                uint16_t got = (uint16_t)~hr_cksum_fold(hr_cksum_add_chain(0, m, off, len));
                assert_int_equal(rte_be_to_cpu_16(got), naive_cksum(bytes + off, len, 0));
            }
        }
        rte_pktmbuf_free(m);
    }
}

static void pseudo_header(void **state)
{
    (void)state;
    uint8_t raw[12];
    uint32_t src = ip4("10.1.2.3"), dst = ip4("192.168.255.254");
    memcpy(raw, &src, 4);
    memcpy(raw + 4, &dst, 4);
    raw[8] = 0;
    raw[9] = 6;
    raw[10] = 1459 >> 8;
    raw[11] = 1459 & 0xff;
    uint16_t got = (uint16_t)~hr_cksum_fold(hr_cksum_pseudo_v4(src, dst, 6, 1459));
    assert_int_equal(rte_be_to_cpu_16(got), naive_cksum(raw, 12, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_and_alignment),
        cmocka_unit_test(carries_are_kept),
        cmocka_unit_test(chains_of_any_cut),
        cmocka_unit_test(pseudo_header),
    };
    return cmocka_run_group_tests(tests, fill, wire_teardown);
}

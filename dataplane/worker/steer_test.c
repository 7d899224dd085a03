#include "dataplane/worker/steer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static struct hr_steer steer(uint32_t n)
{
    return (struct hr_steer){.n_workers = n, .source_port_min = 32768, .source_port_max = 60999, .key = {7}};
}

/* Every source port of the range has exactly one owner, and it is the worker whose share it is. */
static void test_ports_are_partitioned(void **state)
{
    for (uint32_t n = 1; n <= 7; n++) {
        struct hr_steer s = steer(n);
        uint32_t previous_max = s.source_port_min - 1u;
        for (uint32_t w = 0; w < n; w++) {
            uint16_t min, max;
            hr_steer_ports(&s, w, &min, &max);
            assert_int_equal(min, previous_max + 1);
            previous_max = max;
            for (uint32_t port = min; port <= max; port++) {
                struct hr_flow flow = {.local_port = (uint16_t)port, .remote_port = 9092};
                assert_int_equal(hr_steer_owner(&s, &flow), w);
            }
        }
        assert_in_range(previous_max, s.source_port_max - n, s.source_port_max);
        struct hr_flow rest = {.local_port = s.source_port_max};
        assert_in_range(hr_steer_owner(&s, &rest), 0, n - 1);
    }
}

static void test_client_legs_spread(void **state)
{
    struct hr_steer s = steer(4);
    uint32_t hits[4] = {0};
    for (uint32_t i = 0; i < 4000; i++) {
        struct hr_flow flow = {.local = hr_addr_from_v4(htonl(0x0a000001)),
                               .remote = hr_addr_from_v4(htonl(0x0a010000 + i / 100)),
                               .local_port = 9092,
                               .remote_port = (uint16_t)(20000 + i % 100)};
        uint32_t owner = hr_steer_owner(&s, &flow);
        assert_in_range(owner, 0, 3);
        assert_int_equal(hr_steer_owner(&s, &flow), owner);
        hits[owner]++;
    }
    for (int w = 0; w < 4; w++)
        assert_in_range(hits[w], 800, 1200);
}

/* Where a card keeps flows together nobody has to agree about client legs. */
static void test_arrival(void **state)
{
    struct hr_steer s = steer(4);
    s.by_arrival = true;
    struct hr_flow client = {.local_port = 9092, .remote_port = 40000}, broker = {.local_port = 60000};
    assert_int_equal(hr_steer_owner(&s, &client), HR_STEER_ARRIVAL);
    assert_in_range(hr_steer_owner(&s, &broker), 0, 3);
    s.n_workers = 1;
    assert_int_equal(hr_steer_owner(&s, &client), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports_are_partitioned),
        cmocka_unit_test(test_client_legs_spread),
        cmocka_unit_test(test_arrival),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

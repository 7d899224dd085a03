#include "dataplane/worker/handoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <rte_mempool.h>

#include "tests/support/eal.h"

static struct rte_mempool *pool;
static struct hr_stats stats;

static int setup(void **state)
{
    hr_test_eal_init();
    pool = rte_pktmbuf_pool_create("handoff_test", 4095, 0, 0, 512, SOCKET_ID_ANY);
    return pool ? 0 : -1;
}

static void test_segments_and_news_arrive_apart(void **state)
{
    struct hr_handoff *handoff;
    struct rte_mbuf *got[8];
    assert_int_equal(hr_handoff_create(3, &handoff), 0);
    assert_false(hr_handoff_pending(handoff, 2));

    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    assert_true(hr_handoff_give(handoff, 0, 2, m, &stats));
    struct hr_news news = {.kind = HR_NEWS_NET, .net = {.port_index = 3, .addr = hr_addr_from_v4(0x01020304), .mac = {1, 2, 3, 4, 5, 6}}};
    assert_true(hr_handoff_tell(handoff, 1, 2, &news, pool, &stats));

    assert_true(hr_handoff_pending(handoff, 2));
    assert_false(hr_handoff_pending(handoff, 0));
    assert_false(hr_handoff_pending(handoff, 1));
    assert_int_equal(hr_handoff_take(handoff, 2, got, 8), 2);
    assert_ptr_equal(got[0], m);
    assert_null(hr_handoff_news(handoff, got[0]));
    const struct hr_news *told = hr_handoff_news(handoff, got[1]);
    assert_non_null(told);
    assert_int_equal(told->kind, HR_NEWS_NET);
    assert_true(hr_addr_equal(&told->net.addr, &news.net.addr));
    assert_memory_equal(told->net.mac, news.net.mac, 6);
    rte_pktmbuf_free(got[0]);
    rte_pktmbuf_free(got[1]);
    hr_handoff_destroy(handoff);
    assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

static void test_full_ring_drops_and_counts(void **state)
{
    struct hr_handoff *handoff;
    struct hr_stats s = {0};
    assert_int_equal(hr_handoff_create(2, &handoff), 0);
    uint32_t went = 0;
    for (uint32_t i = 0; i < HR_HANDOFF_RING + 10; i++)
        went += hr_handoff_give(handoff, 0, 1, rte_pktmbuf_alloc(pool), &s);
    assert_int_equal(went, HR_HANDOFF_RING - 1); /* rte_ring keeps one slot empty */
    assert_int_equal(s.drops[HR_DROP_handoff_full], 11);
    assert_int_equal(s.counters[HR_CTR_handoff_out], went);
    hr_handoff_destroy(handoff); /* what still waits goes back to its pool */
    assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_and_news_arrive_apart),
        cmocka_unit_test(test_full_ring_drops_and_counts),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

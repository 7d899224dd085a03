#include "dataplane/buf/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sanitizer/asan_interface.h>

#include "tests/support/eal.h"

/* A freed buffer's data room may not be touched; an allocated one's may. */
static void test_free_buffers_are_poisoned(void **state)
{
    const struct hr_buf_config cfg = {.rx_mbufs = 63, .rx_data_room = 2176, .hdr_mbufs = 63, .chunks = 63};
    struct hr_stats stats = {0};
    struct hr_buf_ctx ctx;
    assert_int_equal(hr_buf_ctx_init(&ctx, &cfg, &stats), 0);
    struct rte_mempool *const pools[] = {ctx.rx_pool, ctx.hdr_pool};
    for (int i = 0; i < 2; i++) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(pools[i]);
        assert_non_null(m);
        uint8_t *first = rte_pktmbuf_mtod(m, uint8_t *), *last = (uint8_t *)m->buf_addr + m->buf_len - 1;
        assert_false(__asan_address_is_poisoned(first));
        assert_false(__asan_address_is_poisoned(last));
        rte_pktmbuf_free(m);
        assert_true(__asan_address_is_poisoned(first));
        assert_true(__asan_address_is_poisoned(last));
    }
    hr_buf_ctx_fini(&ctx);
}

static int setup(void **state)
{
    hr_test_eal_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_free_buffers_are_poisoned)};
    return cmocka_run_group_tests(tests, setup, NULL);
}

/* Arenas: what is allocated from one lies in its pages and in no other's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include <rte_malloc.h>
#include <rte_memzone.h>

#include "dataplane/buf/buf.h"
#include "dataplane/worker/arena.h"
#include "tests/support/eal.h"

#define LEN (24u << 20)

static int setup(void **state)
{
    hr_test_eal_init();
    return 0;
}

static bool inside(const struct hr_arena *a, const void *p)
{
    return (const char *)p >= (const char *)a->zone->addr && (const char *)p < (const char *)a->zone->addr + a->zone->len;
}

static void test_allocations_stay_inside(void **state)
{
    struct hr_arena a, b;
    static struct hr_stats stats;
    struct hr_buf_ctx bufs;
    assert_int_equal(hr_arena_create(0, LEN, &a), 0);
    assert_int_equal(hr_arena_create(1, LEN, &b), 0);
    assert_true((uintptr_t)a.zone->addr % 4096 == 0 && (uintptr_t)b.zone->addr % 4096 == 0);
    assert_false(inside(&a, b.zone->addr) || inside(&b, a.zone->addr));

    const struct hr_buf_config cfg = {.worker_id = 0, .socket_id = a.socket_id, .rx_mbufs = 2048,
                                      .rx_data_room = 2304, .hdr_mbufs = 1024, .chunks = 256};
    assert_int_equal(hr_buf_ctx_init(&bufs, &cfg, &stats), 0);
    void *other = rte_zmalloc_socket("other", 100000, 64, b.socket_id);
    assert_true(inside(&b, other));
    assert_true(inside(&a, bufs.rx_pool) && inside(&a, bufs.hdr_pool) && inside(&a, bufs.chunk_pool));

    /* The other worker's pages may be read-only while this one works. */
    assert_int_equal(mprotect(b.zone->addr, b.zone->len, PROT_READ), 0);
    struct rte_mbuf *m[64];
    assert_int_equal(rte_pktmbuf_alloc_bulk(bufs.rx_pool, m, 64), 0);
    for (int i = 0; i < 64; i++) {
        assert_true(inside(&a, m[i]) && inside(&a, m[i]->buf_addr));
        memset(m[i]->buf_addr, 1, m[i]->buf_len);
    }
    rte_pktmbuf_free_bulk(m, 64);
    assert_int_equal(mprotect(b.zone->addr, b.zone->len, PROT_READ | PROT_WRITE), 0);

    hr_buf_ctx_fini(&bufs);
    rte_free(other);
    hr_arena_destroy(&a);
    hr_arena_destroy(&b);
}

static void test_memory_comes_back(void **state)
{
    struct hr_arena a;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(hr_arena_create(0, 4 * LEN, &a), 0);
        void *x = rte_malloc_socket("x", LEN, 0, a.socket_id);
        assert_non_null(x);
        rte_free(x);
        hr_arena_destroy(&a);
    }
}

static void test_too_large(void **state)
{
    struct hr_arena a;
    assert_int_equal(hr_arena_create(0, 100ULL << 30, &a), HR_E_NOMEM);
    assert_int_equal(hr_arena_create(0, LEN, &a), 0);
    assert_null(rte_malloc_socket("x", 2 * LEN, 0, a.socket_id));
    hr_arena_destroy(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_stay_inside),
        cmocka_unit_test(test_memory_comes_back),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

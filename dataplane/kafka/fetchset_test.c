/* Sets of partitions against a plain model, in random order, until the pool is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/kafka/fetchset.h"

#define SETS       3
#define TOPICS     7
#define PARTITIONS 40
#define POOL       512

static bool model[SETS][TOPICS][PARTITIONS];

static uint32_t count(uint32_t s)
{
    uint32_t n = 0;
    for (uint32_t t = 0; t < TOPICS; t++)
        for (uint32_t p = 0; p < PARTITIONS; p++)
            n += model[s][t][p];
    return n;
}

static void compare(const struct hr_fetch_pool *pool, const struct hr_fetch_set *set, uint32_t s)
{
    const struct hr_fetch_member *m = NULL;
    uint32_t n = 0;
    while ((m = hr_fetch_set_next(pool, set, m)) != NULL) {
        assert_true(model[s][m->topic % TOPICS][m->partition]);
        n++;
    }
    assert_int_equal(n, set->n);
    assert_int_equal(n, count(s));
}

static void test_against_a_model(void **state)
{
    struct hr_fetch_pool pool;
    struct hr_fetch_set set[SETS];
    uint32_t full = 0;

    srand(7);
    assert_int_equal(hr_fetch_pool_init(&pool, POOL), 0);
    for (uint32_t s = 0; s < SETS; s++)
        hr_fetch_set_init(&set[s], s + 1);
    for (uint32_t i = 0; i < 60000; i++) {
        uint32_t s = (uint32_t)rand() % SETS, t = (uint32_t)rand() % TOPICS, p = (uint32_t)rand() % PARTITIONS;
        if (rand() % 4000 == 0) {
            hr_fetch_set_clear(&pool, &set[s]);
            memset(model[s], 0, sizeof(model[s]));
        } else if (rand() % 3 == 0) {
            hr_fetch_set_remove(&pool, &set[s], t, (int32_t)p);
            model[s][t][p] = false;
        } else if (hr_fetch_set_add(&pool, &set[s], t, (int32_t)p) == 0) {
            model[s][t][p] = true;
        } else {
            assert_false(model[s][t][p]);
            assert_int_equal(count(0) + count(1) + count(2), POOL);
            full++;
        }
        if (i % 500 == 0)
            for (uint32_t k = 0; k < SETS; k++)
                compare(&pool, &set[k], k);
    }
    assert_true(full > 0);
    for (uint32_t s = 0; s < SETS; s++)
        hr_fetch_set_clear(&pool, &set[s]);
    uint32_t n = 0;
    for (uint32_t i = pool.free; i; i = pool.members[i - 1].chain)
        n++;
    assert_int_equal(n, POOL);
    hr_fetch_pool_fini(&pool);
}

static void test_a_set_is_bounded(void **state)
{
    struct hr_fetch_pool pool;
    struct hr_fetch_set set;

    assert_int_equal(hr_fetch_pool_init(&pool, 2 * HR_FETCH_SET_MAX), 0);
    hr_fetch_set_init(&set, 1);
    for (int32_t p = 0; p < HR_FETCH_SET_MAX; p++)
        assert_int_equal(hr_fetch_set_add(&pool, &set, 1, p), 0);
    assert_int_equal(hr_fetch_set_add(&pool, &set, 1, 5), 0);
    assert_int_equal(hr_fetch_set_add(&pool, &set, 2, 5), HR_E_FULL);
    hr_fetch_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_a_set_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "dataplane/tcp/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define N 400

/* Every entry fires at the first turn at or after its tick, and never before. */
static void run(uint64_t start, uint64_t spread, uint64_t max_step, unsigned seed)
{
    static struct hr_wheel w;
    static struct hr_wheel_entry e[N];
    unsigned left = 0;

    srand(seed);
    memset(e, 0, sizeof(e));
    hr_wheel_init(&w, start);
    uint64_t now = start, at[N] = {0}; /* entries keep low bits only */
    for (unsigned turn = 0; turn < 3000 || left > 0; turn++) {
        unsigned i = (unsigned)rand() % N;
        if (turn < 3000) {
            left += !hr_wheel_armed(&e[i]);
            at[i] = now + 1 + ((uint64_t)rand() << 16 ^ (uint64_t)rand()) % spread;
            hr_wheel_arm(&w, &e[i], at[i]);
            i = (unsigned)rand() % N;
            if (rand() % 8 == 0) {
                left -= hr_wheel_armed(&e[i]);
                hr_wheel_disarm(&w, &e[i]);
            }
        }
        assert_int_equal(w.armed, left);
        uint64_t first = UINT64_MAX;
        for (unsigned k = 0; k < N; k++) {
            if (hr_wheel_armed(&e[k]) && at[k] < first)
                first = at[k];
        }
        if (left == 0)
            assert_true(hr_wheel_next(&w) == UINT64_MAX);
        else
            assert_true(hr_wheel_next(&w) <= (first < w.tick ? w.tick : first));
        if (turn >= 3000 || rand() % 2)
            now = hr_wheel_next(&w) == UINT64_MAX || hr_wheel_next(&w) < now ? now + 1 : hr_wheel_next(&w);
        else
            now += (uint64_t)rand() % max_step;
        uint64_t before = 0;
        for (struct hr_wheel_entry *x; (x = hr_wheel_expire(&w, now)) != NULL; left--) {
            assert_true(at[x - e] <= now);
            assert_true(at[x - e] >= before || at[x - e] < w.tick);
            before = at[x - e];
        }
        for (unsigned k = 0; k < N; k++)
            assert_true(!hr_wheel_armed(&e[k]) || at[k] > now);
    }
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 6; seed++) {
        run(seed * 1000003ULL, 200, 50, seed);
        run(seed * 65536ULL - 3, 3000, 700, seed);
        run(0xfffffff0ULL + seed, 300000, 70000, seed);
        run(seed, 1ULL << 26, 1ULL << 21, seed);
    }
}

static void test_order_and_move(void **state)
{
    static struct hr_wheel w;
    struct hr_wheel_entry a = {0}, b = {0};
    (void)state;
    hr_wheel_init(&w, 1000);
    assert_true(hr_wheel_next(&w) == UINT64_MAX);
    hr_wheel_arm(&w, &a, 1100);
    hr_wheel_arm(&w, &b, 1050);
    assert_int_equal(hr_wheel_next(&w) <= 1050, 1);
    assert_null(hr_wheel_expire(&w, 1049));
    assert_ptr_equal(hr_wheel_expire(&w, 1050), &b);
    assert_null(hr_wheel_expire(&w, 1050));
    hr_wheel_arm(&w, &a, 1200); /* moved */
    assert_null(hr_wheel_expire(&w, 1199));
    assert_ptr_equal(hr_wheel_expire(&w, 5000), &a);
    assert_false(hr_wheel_armed(&a));
    hr_wheel_arm(&w, &a, 3); /* long past */
    assert_ptr_equal(hr_wheel_expire(&w, 5001), &a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_order_and_move)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

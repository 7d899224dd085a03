#include "controlplane/loop/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t fake_now;

static uint64_t fake_clock(void)
{
    return fake_now;
}

#define N 200
static struct hr_timer timers[N];
static uint64_t fired[N];
static int n_fired;

static void note(struct hr_timer *timer)
{
    fired[n_fired++] = timer->due_us;
}

static void timers_fire_in_order_and_cancel(void **state)
{
    struct hr_loop *loop;
    unsigned seed = 42;
    int cancelled = 0;

    (void)state;
    fake_now = 1000;
    n_fired = 0;
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    for (int i = 0; i < N; i++) {
        timers[i] = (struct hr_timer){.fn = note};
        hr_timer_set(loop, &timers[i], 2000 + (uint64_t)rand_r(&seed) % 1000);
    }
    for (int i = 0; i < N; i += 3) {
        hr_timer_cancel(loop, &timers[i]);
        assert_false(hr_timer_is_set(&timers[i]));
        cancelled++;
    }
    for (int i = 1; i < N; i += 3)
        hr_timer_set(loop, &timers[i], 2000 + (uint64_t)rand_r(&seed) % 1000);
    assert_int_equal(hr_loop_turn(loop, 0), 0);
    fake_now = 2500;
    hr_loop_turn(loop, 0);
    for (int i = 0; i < n_fired; i++)
        assert_true(fired[i] <= 2500);
    fake_now = 3000;
    hr_loop_turn(loop, 0);
    assert_int_equal(n_fired, N - cancelled);
    for (int i = 1; i < n_fired; i++)
        assert_true(fired[i - 1] <= fired[i]);
    hr_loop_destroy(loop);
}

static struct hr_loop *re_loop;
static int re_count;

static void again(struct hr_timer *timer)
{
    re_count++;
    hr_timer_in(re_loop, timer, 0);
}

static void a_timer_that_rearms_does_not_starve(void **state)
{
    struct hr_timer timer = {.fn = again};

    (void)state;
    fake_now = 5;
    re_count = 0;
    assert_int_equal(hr_loop_create(fake_clock, &re_loop), 0);
    hr_timer_in(re_loop, &timer, 0);
    hr_loop_turn(re_loop, 0);
    assert_int_equal(re_count, 1);
    hr_loop_turn(re_loop, 0);
    assert_int_equal(re_count, 2);
    hr_loop_destroy(re_loop);
}

struct pair {
    struct hr_loop *loop;
    struct hr_watch a, b;
    int calls;
};

static void remove_other(struct hr_watch *watch, uint32_t events)
{
    struct pair *pair = watch->arg;

    (void)events;
    pair->calls++;
    hr_loop_remove(pair->loop, watch == &pair->a ? &pair->b : &pair->a);
}

static void a_watch_removed_in_the_same_turn_is_not_called(void **state)
{
    struct pair pair = {0};

    (void)state;
    assert_int_equal(hr_loop_create(NULL, &pair.loop), 0);
    pair.a = (struct hr_watch){.fd = eventfd(1, EFD_CLOEXEC), .fn = remove_other, .arg = &pair};
    pair.b = (struct hr_watch){.fd = eventfd(1, EFD_CLOEXEC), .fn = remove_other, .arg = &pair};
    assert_int_equal(hr_loop_add(pair.loop, &pair.a, EPOLLIN), 0);
    assert_int_equal(hr_loop_add(pair.loop, &pair.b, EPOLLIN), 0);
    assert_int_equal(hr_loop_turn(pair.loop, 1000000), 1);
    assert_int_equal(pair.calls, 1);
    assert_int_not_equal(pair.a.added, pair.b.added);
    close(pair.a.fd);
    close(pair.b.fd);
    hr_loop_destroy(pair.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_and_cancel),
        cmocka_unit_test(a_timer_that_rearms_does_not_starve),
        cmocka_unit_test(a_watch_removed_in_the_same_turn_is_not_called),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

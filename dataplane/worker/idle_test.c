#include "dataplane/worker/idle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/ipc/doorbell.h"

struct fixture {
    struct hr_idle idle;
    int control_ring_fd, control_wait_fd;
    struct hr_stats stats;
    _Atomic bool work;
    uint32_t asked, woken;
};

static bool may_sleep(void *arg)
{
    struct fixture *f = arg;
    f->asked++;
    return !atomic_load(&f->work);
}

static void awake(void *arg)
{
    ((struct fixture *)arg)->woken++;
}

static void start(struct fixture *f)
{
    *f = (struct fixture){0};
    assert_int_equal(hr_doorbell_create(&f->control_ring_fd, &f->control_wait_fd), 0);
    assert_int_equal(hr_idle_init(&f->idle, f->control_wait_fd, NULL, 0, 0), 0);
}

static void stop(struct fixture *f)
{
    hr_idle_fini(&f->idle);
    close(f->control_ring_fd);
    close(f->control_wait_fd);
}

static uint64_t rest(struct fixture *f, uint64_t sleep_us)
{
    const struct hr_idle_ops ops = {.may_sleep = may_sleep, .awake = awake, .arg = f};
    uint64_t begun_us = hr_now_us();
    hr_idle_rest(&f->idle, begun_us, begun_us + sleep_us, &ops, &f->stats);
    return hr_now_us() - begun_us;
}

static void rest_until_sleep(struct fixture *f)
{
    while (f->stats.counters[HR_CTR_loop_sleeps] == 0)
        rest(f, 1000);
}

static void test_spins_and_pauses_first(void **state)
{
    struct fixture f;
    start(&f);
    for (int i = 0; i < HR_IDLE_SPIN_TURNS + HR_IDLE_PAUSE_TURNS; i++)
        rest(&f, 1000000);
    assert_int_equal(f.asked, 0);
    rest(&f, 1000);
    assert_int_equal(f.asked, 1);
    assert_int_equal(f.stats.counters[HR_CTR_loop_sleeps], 1);
    /* A sleep that nobody ended goes on after one look, without spinning again. */
    rest(&f, 1000);
    assert_int_equal(f.stats.counters[HR_CTR_loop_sleeps], 2);
    assert_int_equal(f.stats.counters[HR_CTR_loop_wakeups], 0);
    assert_int_equal(f.woken, f.asked);
    stop(&f);
}

static void test_busy_never_sleeps(void **state)
{
    struct fixture f;
    start(&f);
    f.idle.busy = true;
    for (int i = 0; i < 3 * (HR_IDLE_SPIN_TURNS + HR_IDLE_PAUSE_TURNS); i++)
        rest(&f, 1000000);
    assert_int_equal(f.asked, 0);
    stop(&f);
}

static void test_work_that_came_meanwhile_cancels_the_sleep(void **state)
{
    struct fixture f;
    start(&f);
    rest_until_sleep(&f);
    uint64_t slept = f.stats.counters[HR_CTR_loop_sleeps];
    atomic_store(&f.work, true);
    rest(&f, 1000000);
    assert_int_equal(f.stats.counters[HR_CTR_loop_sleeps], slept);
    assert_int_equal(f.woken, f.asked);
    stop(&f);
}

static void *ring_control(void *arg)
{
    struct fixture *f = arg;
    while (!atomic_load(&f->idle.sleeping))
        ;
    hr_doorbell_ring(f->control_ring_fd);
    return NULL;
}

static void *wake_idle(void *arg)
{
    struct fixture *f = arg;
    while (!atomic_load(&f->idle.sleeping))
        ;
    hr_idle_wake(&f->idle);
    return NULL;
}

/* Either doorbell ends a sleep, once: the next one is slept to its end. */
static void test_doorbells_wake(void **state)
{
    void *(*const ringers[])(void *) = {ring_control, wake_idle};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        pthread_t thread;
        start(&f);
        rest_until_sleep(&f);
        assert_int_equal(pthread_create(&thread, NULL, ringers[i], &f), 0);
        while (f.stats.counters[HR_CTR_loop_wakeups] == 0)
            rest(&f, 90000);
        pthread_join(thread, NULL);
        assert_int_equal(f.stats.counters[HR_CTR_loop_wakeups], 1);
        assert_int_equal(f.idle.empty_turns, 0);
        uint64_t slept = f.stats.counters[HR_CTR_loop_sleeps];
        while (f.stats.counters[HR_CTR_loop_sleeps] == slept)
            rest(&f, 1000);
        assert_int_equal(f.stats.counters[HR_CTR_loop_wakeups], 1);
        stop(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spins_and_pauses_first),
        cmocka_unit_test(test_busy_never_sleeps),
        cmocka_unit_test(test_work_that_came_meanwhile_cancels_the_sleep),
        cmocka_unit_test(test_doorbells_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

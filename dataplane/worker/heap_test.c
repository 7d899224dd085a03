#include "dataplane/worker/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

/* Kept from being optimised away. */
static void *volatile sink;

static void *elsewhere(void *arg)
{
    sink = malloc(10);
    free(sink);
    return NULL;
}

static void test_counts_the_watched_thread_alone(void **state)
{
    uint64_t calls = 0;
    pthread_t other;

    hr_heap_watch(&calls);
    sink = malloc(100);
    assert_int_equal(calls, 1);
    sink = realloc(sink, 200);
    assert_int_equal(calls, 2);
    free(sink);
    assert_int_equal(calls, 3);
    sink = calloc(3, 7);
    free(sink);
    assert_int_equal(calls, 5);
    free(NULL);
    assert_int_equal(calls, 5);
    hr_heap_watch(NULL);

    assert_int_equal(pthread_create(&other, NULL, elsewhere, NULL), 0);
    pthread_join(other, NULL);
    sink = malloc(1);
    free(sink);
    assert_int_equal(calls, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_counts_the_watched_thread_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The replica map: what is put in is found by name and by id, what does not fit is left out, and nothing that a hostile
 * writer leaves there leads outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "shared/ipc/replicas.h"

static struct hr_replicas *map;

static int setup(void **state)
{
    map = malloc(sizeof(*map));
    assert_non_null(map);
    hr_replicas_init(map);
    map->generation = 1;
    return 0;
}

static int teardown(void **state)
{
    free(map);
    return 0;
}

static const char *why(void)
{
    const char *text = NULL;
    return hr_replicas_validate(map, &text) == 0 ? NULL : text;
}

static const struct hr_replicas_topic *by_name(const char *name)
{
    return hr_replicas_topic(map, hr_replicas_key_of_name(name, (uint32_t)strlen(name)));
}

static void test_found_both_ways(void **state)
{
    const uint8_t id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    uint16_t a = hr_replicas_add_broker(map, 10), b = hr_replicas_add_broker(map, 20);
    struct hr_replicas_partition *p = hr_replicas_add_topic(map, "orders", id, 3, HR_ZONE_READS_ON);
    assert_non_null(p);
    p[1].leader = a;
    p[1].isr[0] = b;
    assert_non_null(hr_replicas_add_topic(map, "old", NULL, 1, HR_ZONE_READS_NONE));
    assert_null(why());
    const struct hr_replicas_topic *t = by_name("orders");
    assert_non_null(t);
    assert_ptr_equal(t, hr_replicas_topic(map, hr_replicas_key_of_id(id)));
    assert_int_equal(t->reads, HR_ZONE_READS_ON);
    const struct hr_replicas_partition *found = hr_replicas_partition(map, t, 1);
    assert_int_equal(map->brokers[found->leader].node_id, 10);
    assert_int_equal(map->brokers[found->isr[0]].node_id, 20);
    assert_int_equal(found->isr[1], HR_REPLICAS_NO_BROKER);
    assert_int_equal(hr_replicas_partition(map, t, 0)->leader, HR_REPLICAS_NO_BROKER);
    assert_null(hr_replicas_partition(map, t, 3));
    assert_null(hr_replicas_partition(map, t, -1));
    assert_non_null(by_name("old"));
    assert_null(by_name("order"));
    /* The same bytes as a name and as an id are two keys. */
    assert_true(hr_replicas_key_of_name(id, 16) != hr_replicas_key_of_id(id));
}

static void test_full(void **state)
{
    char name[32];
    for (uint32_t i = 0; i < HR_REPLICAS_MAX_TOPICS; i++) {
        uint8_t id[16] = {(uint8_t)i, (uint8_t)(i >> 8), 1};
        snprintf(name, sizeof(name), "t%u", i);
        assert_non_null(hr_replicas_add_topic(map, name, id, 8, HR_ZONE_READS_NONE));
    }
    assert_null(why());
    assert_int_equal(map->n_partitions, HR_REPLICAS_MAX_PARTITIONS);
    assert_null(hr_replicas_add_topic(map, "more", NULL, 5, HR_ZONE_READS_NONE));
    assert_int_equal(map->n_left_out, 5);
    assert_null(by_name("more"));
    for (uint32_t i = 0; i < HR_REPLICAS_MAX_TOPICS; i += 97) {
        snprintf(name, sizeof(name), "t%u", i);
        assert_non_null(by_name(name));
    }
}

static void test_partitions_full_and_names_twice(void **state)
{
    assert_non_null(hr_replicas_add_topic(map, "large", NULL, HR_REPLICAS_MAX_PARTITIONS - 1, HR_ZONE_READS_NONE));
    assert_null(hr_replicas_add_topic(map, "two", NULL, 2, HR_ZONE_READS_NONE));
    assert_non_null(hr_replicas_add_topic(map, "one", NULL, 1, HR_ZONE_READS_NONE));
    assert_null(hr_replicas_add_topic(map, "one", NULL, 0, HR_ZONE_READS_NONE));
    assert_int_equal(map->n_left_out, 2);
    assert_null(why());
    for (uint32_t i = 0; i < HR_REPLICAS_MAX_BROKERS; i++)
        assert_int_equal(hr_replicas_add_broker(map, (int32_t)i), i);
    assert_int_equal(hr_replicas_add_broker(map, 1000), HR_REPLICAS_NO_BROKER);
    assert_null(why());
}

static void test_refused(void **state)
{
    struct hr_replicas *good = malloc(sizeof(*good));
    assert_non_null(good);
    hr_replicas_add_broker(map, 1);
    struct hr_replicas_partition *p = hr_replicas_add_topic(map, "t", NULL, 2, HR_ZONE_READS_AUTO);
    p[0].leader = 0;
    uint32_t place = 0;
    while (map->places[place].topic == 0)
        place++;
    assert_null(why());
    *good = *map;
#define WRONG(change)                                                                                        \
    do {                                                                                                     \
        *map = *good;                                                                                        \
        change;                                                                                              \
        assert_non_null(why());                                                                              \
    } while (0)
    WRONG(map->magic++);
    WRONG(map->size--);
    WRONG(map->generation = 0);
    WRONG(map->n_brokers = HR_REPLICAS_MAX_BROKERS + 1);
    WRONG(map->n_topics = HR_REPLICAS_MAX_TOPICS + 1);
    WRONG(map->n_partitions = HR_REPLICAS_MAX_PARTITIONS + 1);
    WRONG(map->brokers[0].up = 2);
    WRONG(map->brokers[0].node_id = -1);
    WRONG(map->topics[0].n = 3);
    WRONG(map->topics[0].first = UINT32_MAX);
    WRONG(map->topics[0].reads = HR_ZONE_READS_MAX);
    WRONG(map->places[place].topic = 2);
    WRONG(map->partitions[1].leader = 1);
    WRONG(map->partitions[1].isr[HR_REPLICAS_ISR_MAX - 1] = 1);
    /* A table without a free place is no loop without end. */
    *map = *good;
    for (uint32_t i = 0; i < HR_REPLICAS_PLACES; i++)
        map->places[i] = (struct hr_replicas_place){.key = 1, .topic = 1};
    assert_null(why());
    assert_null(by_name("nowhere"));
    free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_found_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_partitions_full_and_names_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Tables of who moves most: what stays, what is pushed out, and copies of what another process writes. */
#include "shared/ipc/zone_stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct hr_zone_top table[HR_ZONE_CLIENTS];

static int set_up(void **state)
{
    memset(table, 0, sizeof(table));
    return 0;
}

static void add(const char *key, uint8_t client, uint64_t bytes)
{
    struct hr_zone_moved moved = {.key = key, .len = (uint32_t)strlen(key), .client = client, .broker = 2, .bytes = bytes};
    hr_zone_top_add(table, HR_ZONE_CLIENTS, &moved);
}

static const struct hr_zone_top *find(const char *key, uint8_t client)
{
    static struct hr_zone_top copy;
    for (uint32_t i = 0; i < HR_ZONE_CLIENTS; i++)
        if (hr_zone_top_read(&table[i], &copy) && copy.len == strlen(key) && copy.client == client &&
            memcmp(copy.key, key, copy.len) == 0)
            return &copy;
    return NULL;
}

static uint64_t sum(void)
{
    struct hr_zone_top copy;
    uint64_t n = 0;
    for (uint32_t i = 0; i < HR_ZONE_CLIENTS; i++)
        if (hr_zone_top_read(&table[i], &copy))
            n += copy.bytes;
    return n;
}

static void the_same_is_added_up(void **state)
{
    add("a", 1, 10);
    add("b", 1, 5);
    add("a", 1, 7);
    add("a", 3, 1); /* from elsewhere: another */
    add("", 1, 2);
    add("none", 1, 0);
    assert_int_equal(find("a", 1)->bytes, 17);
    assert_int_equal(find("a", 1)->error, 0);
    assert_int_equal(find("a", 1)->broker, 2);
    assert_int_equal(find("a", 3)->bytes, 1);
    assert_int_equal(find("b", 1)->bytes, 5);
    assert_int_equal(find("", 1)->bytes, 2);
    assert_null(find("none", 1));
}

/* However many come by: no byte is lost, and who moves most is still there, not too low, with its error known. */
static void a_crowd_does_not_push_out_the_great(void **state)
{
    uint64_t added = 0;
    char name[32];
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "small-%u", i);
        add(name, 1, 1);
        add("great", 1, 3);
        added += 4;
    }
    assert_int_equal(sum(), added);
    const struct hr_zone_top *great = find("great", 1);
    assert_non_null(great);
    assert_true(great->bytes >= 60000 && great->bytes - great->error <= 60000);
    assert_true(great->error <= 20000 / (HR_ZONE_CLIENTS / HR_ZONE_TOP_WAYS));
}

static void long_names_are_cut(void **state)
{
    static char name[1000];
    memset(name, 'x', sizeof(name) - 1);
    add(name, 1, 4);
    name[500] = '\0';
    add(name, 1, 4);
    assert_int_equal(sum(), 8);
    name[HR_ZONE_KEY_MAX] = '\0';
    assert_int_equal(find(name, 1)->bytes, 8);
}

static void copies_are_checked(void **state)
{
    struct hr_zone_top good, copy;
    memset(&good, 0, sizeof(good));
    assert_false(hr_zone_top_read(&good, &copy)); /* free */
    good.bytes = 1;
    good.len = HR_ZONE_KEY_MAX;
    assert_true(hr_zone_top_read(&good, &copy));
#define WRONG(change)                                                                                        \
    do {                                                                                                     \
        struct hr_zone_top e = good;                                                                         \
        change;                                                                                              \
        assert_false(hr_zone_top_read(&e, &copy));                                                           \
    } while (0)
    WRONG(e.seq = 7); /* changing */
    WRONG(e.len = HR_ZONE_KEY_MAX + 1);
    WRONG(e.client = HR_ZONES_MAX);
    WRONG(e.broker = 255);
    WRONG(e.dir = HR_ZONE_DIRS);
    WRONG(e.is_id = 1); /* of 16 bytes */
#undef WRONG
}

static void classes(void **state)
{
    assert_int_equal(hr_zone_class_of(0), HR_ZONE_PRODUCE);
    assert_int_equal(hr_zone_class_of(1), HR_ZONE_FETCH);
    assert_int_equal(hr_zone_class_of(78), HR_ZONE_FETCH);
    assert_int_equal(hr_zone_class_of(2), HR_ZONE_OTHER);
    assert_int_equal(hr_zone_class_of(3), HR_ZONE_METADATA);
    assert_int_equal(hr_zone_class_of(11), HR_ZONE_GROUP);
    assert_int_equal(hr_zone_class_of(68), HR_ZONE_GROUP);
    assert_int_equal(hr_zone_class_of(94), HR_ZONE_OTHER);
    assert_int_equal(hr_zone_class_of(95), HR_ZONE_OTHER);
    assert_int_equal(hr_zone_class_of(-1), HR_ZONE_OTHER);
    assert_int_equal(hr_zone_class_of(INT32_MIN), HR_ZONE_OTHER);
    for (int i = 0; i < HR_ZONE_CLASS_MAX; i++)
        assert_true(hr_zone_class_name((enum hr_zone_class)i)[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_same_is_added_up, set_up),
        cmocka_unit_test_setup(a_crowd_does_not_push_out_the_great, set_up),
        cmocka_unit_test_setup(long_names_are_cut, set_up),
        cmocka_unit_test(copies_are_checked),
        cmocka_unit_test(classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "controlplane/metadata/apis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static struct hr_cluster_broker brokers[3];
static struct hr_cluster cluster = {.brokers = brokers, .n_brokers = 3};
static struct hr_apis apis;

static int setup(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        brokers[i] = (struct hr_cluster_broker){.id = (int32_t)i, .port = 9092};
        snprintf(brokers[i].host, sizeof(brokers[i].host), "b%u", i);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hr_apis_clear(&apis);
    return 0;
}

static void told(const char *host, const char *text)
{
    json_t *body = json_loads(text, 0, NULL);

    assert_non_null(body);
    hr_apis_told(&apis, host, 9092, body);
    json_decref(body);
}

/* "KEY:MIN-MAX" for each. */
static const char *common(void)
{
    static char text[512];

    text[0] = '\0';
    for (uint32_t i = 0; i < apis.n_common; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%d:%d-%d", i > 0 ? " " : "", apis.common[i].key,
                 apis.common[i].min, apis.common[i].max);
    return text;
}

#define API(key, min, max) "{\"ApiKey\":" #key ",\"MinVersion\":" #min ",\"MaxVersion\":" #max "}"
#define OLD "{\"ApiKeys\":[" API(0, 3, 9) "," API(1, 4, 12) "," API(3, 0, 12) "]}"
#define NEW "{\"ApiKeys\":[" API(0, 3, 12) "," API(1, 5, 16) "," API(3, 0, 12) "," API(60, 0, 1) "]}"

static void what_all_have_in_common(void **state)
{
    (void)state;
    told("b0", NEW);
    assert_string_equal(common(), "0:3-12 1:5-16 3:0-12 60:0-1");
    told("b1", OLD);
    assert_string_equal(common(), "0:3-9 1:5-12 3:0-12");
    /* It is asked again and is no other; its answer replaces the one before. */
    told("b0", NEW);
    assert_string_equal(common(), "0:3-9 1:5-12 3:0-12");
    told("b1", NEW);
    assert_string_equal(common(), "0:3-12 1:5-16 3:0-12 60:0-1");
    /* Ranges that do not meet. */
    told("b2", "{\"ApiKeys\":[" API(0, 3, 12) "," API(1, 17, 18) "," API(1, 0, 99) "]}");
    assert_string_equal(common(), "0:3-12");
}

static void who_restarts_is_forgotten(void **state)
{
    (void)state;
    told("b1", OLD);
    told("b0", NEW);
    hr_apis_keep(&apis, &cluster);
    assert_string_equal(common(), "0:3-9 1:5-12 3:0-12");
    brokers[1].fenced = true;
    hr_apis_keep(&apis, &cluster);
    assert_string_equal(common(), "0:3-12 1:5-16 3:0-12 60:0-1");
    told("b1", OLD);
    told("b0", NEW);
    strcpy(brokers[1].host, "elsewhere");
    hr_apis_keep(&apis, &cluster);
    assert_string_equal(common(), "0:3-12 1:5-16 3:0-12 60:0-1");
}

/* A name that is no broker's own is a bootstrap address. */
static void who_was_asked_last_stays(void **state)
{
    (void)state;
    hr_apis_keep(&apis, &cluster);
    assert_int_equal(apis.n_common, 0);
    told("bootstrap", OLD);
    hr_apis_keep(&apis, &cluster);
    assert_string_equal(common(), "0:3-9 1:4-12 3:0-12");
    told("b0", NEW);
    hr_apis_keep(&apis, &cluster);
    assert_string_equal(common(), "0:3-12 1:5-16 3:0-12 60:0-1");
}

static void what_makes_no_sense_is_left_out(void **state)
{
    (void)state;
    told("b0", "{\"ApiKeys\":[" API(0, 9, 3) "," API(-5, 0, 1) "," API(70000, 0, 1) "," API(3, 0, 12) "]}");
    assert_string_equal(common(), "3:0-12");
    told("b1", "{}");
    assert_string_equal(common(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_all_have_in_common, setup, teardown),
        cmocka_unit_test_setup_teardown(who_restarts_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_asked_last_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_is_left_out, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

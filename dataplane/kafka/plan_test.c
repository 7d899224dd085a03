/* The plans follow from the table's roles; this is the list of what they must come to. */
#include "dataplane/kafka/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
    int16_t key, first, last;
    enum hr_response_kind kind;
    bool optional, tagged;
} edited[] = {
    {0, 0, 9, HR_RESPONSE_WATCH, false, false},   {1, 0, 15, HR_RESPONSE_WATCH, false, false},
    {0, 10, 99, HR_RESPONSE_TAIL, false, true},   /* Produce */
    {1, 16, 99, HR_RESPONSE_TAIL, false, true},   /* Fetch */
    {3, 0, 99, HR_RESPONSE_PREFIX, false, false}, /* Metadata */
    {10, 0, 99, HR_RESPONSE_WHOLE, false, false}, /* FindCoordinator */
    {18, 0, 99, HR_RESPONSE_WHOLE, false, false}, /* ApiVersions */
    {32, 0, 99, HR_RESPONSE_WHOLE, true, false},  /* DescribeConfigs */
    {55, 2, 99, HR_RESPONSE_WHOLE, false, false}, /* DescribeQuorum */
    {60, 0, 99, HR_RESPONSE_WHOLE, false, false}, /* DescribeCluster */
    {78, 0, 99, HR_RESPONSE_TAIL, false, false},  /* ShareFetch */
    {79, 0, 99, HR_RESPONSE_TAIL, false, false},  /* ShareAcknowledge */
};

static void every_response(void **state)
{
    struct hr_plans *plans = NULL;
    bool known;
    uint32_t n = 0;

    assert_int_equal(hr_plans_create(&plans), 0);
    for (uint16_t i = 0; i < hr_kapis_n; i++) {
        int16_t key = hr_kapis[i].key;
        for (int16_t v = hr_kapis[i].versions.min; v <= hr_kapis[i].versions.max; v++) {
            const struct hr_plan *plan = hr_plans_find(plans, key, v, &known);
            assert_true(known);
            if (key == HR_KAPI_SASL_HANDSHAKE && v == 0) {
                assert_null(plan);
                continue;
            }
            if (!plan)
                fail_msg("no plan for api %d version %d", key, v);
            enum hr_response_kind kind = HR_RESPONSE_STREAM;
            bool optional = false, tagged = false;
            for (size_t k = 0; k < sizeof(edited) / sizeof(edited[0]); k++) {
                if (edited[k].key != key || v < edited[k].first || v > edited[k].last)
                    continue;
                kind = edited[k].kind;
                optional = edited[k].optional;
                tagged = edited[k].tagged;
            }
            if (plan->response_kind != kind || plan->optional != optional || plan->tail_tagged != tagged)
                fail_msg("api %d version %d: kind %d", key, v, plan->response_kind);
            enum hr_request_kind rq = key == 0              ? HR_REQUEST_ACKS
                                      : key == 1            ? HR_REQUEST_FETCH
                                      : key == 17           ? HR_REQUEST_LOGIN
                                      : key == 18 && v >= 5 ? HR_REQUEST_IDENTITY
                                                            : HR_REQUEST_STREAM;
            assert_int_equal(plan->request_kind, rq);
            assert_int_equal(plan->whole_walk != NULL, key == 1);
            n++;
        }
    }
    assert_true(n > 300);
    hr_plans_destroy(plans);
}

static void unknown(void **state)
{
    struct hr_plans *plans = NULL;
    struct hr_krange range;
    bool known;

    assert_int_equal(hr_plans_create(&plans), 0);
    static const int16_t keys[] = {-1, 4, 5, 6, 7, 52, 58, 95, 127, 128, 32767, -32768};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        assert_null(hr_plans_find(plans, keys[i], 0, &known));
        assert_false(known);
        assert_false(hr_plan_range(keys[i], &range));
    }
    static const int16_t versions[] = {-1, 14, 31, 32, 32767, -32768};
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        assert_null(hr_plans_find(plans, 3, versions[i], &known));
        assert_true(known);
    }
    assert_true(hr_plan_range(HR_KAPI_SASL_HANDSHAKE, &range));
    assert_int_equal(range.min, 0); /* librdkafka knows no SASL where it is not offered, and uses 1 */
    assert_int_equal(range.max, 1);
    assert_null(hr_plans_find(plans, HR_KAPI_SASL_HANDSHAKE, 0, &known));
    assert_true(hr_plan_range(HR_KAPI_PRODUCE, &range));
    assert_int_equal(range.min, 0); /* librdkafka compresses only where Produce 0 is offered */
    hr_plans_destroy(plans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_response),
        cmocka_unit_test(unknown),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}

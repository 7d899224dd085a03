/* The table is checked for what its users rely on: order, disjoint ranges, tags that fit, no cycles; and spot
 * by spot against facts of the protocol that are easy to lose in generation. */
#include "shared/kafka/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MAX_DEPTH 8 /* the codec's recursion and the walkers' stacks are sized for less than this */

static const struct hr_kfield *child(const struct hr_kfield *fields, uint16_t n, const char *name)
{
    for (uint16_t i = 0; i < n; i++) {
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    }
    fail_msg("no field %s", name);
    return NULL;
}

static const struct hr_kfield *at(const struct hr_kmessage *message, const char *a, const char *b,
                                  const char *c)
{
    assert_non_null(message);
    const struct hr_kfield *f = child(message->fields, message->n_fields, a);
    if (b != NULL)
        f = child(f->children, f->n_children, b);
    if (c != NULL)
        f = child(f->children, f->n_children, c);
    return f;
}

static void check_fields(const char *message, const struct hr_kfield *fields, uint16_t n, int depth)
{
    if (depth > MAX_DEPTH)
        fail_msg("%s: nested too deeply", message);
    for (uint16_t i = 0; i < n; i++) {
        const struct hr_kfield *f = &fields[i];
        assert_true(f->type > HR_KT_NONE && f->type < HR_KT_MAX);
        assert_true(f->role < HR_KR_MAX);
        assert_int_equal(f->type == HR_KT_STRUCT, f->n_children > 0);
        assert_int_equal(f->n_children > 0, f->children != NULL);
        if (f->tagged.min != HR_KVERSION_NONE) {
            /* Kafka gives a message's tags from zero up: walkers keep them in small arrays. */
            assert_true(f->tag < 16);
            for (uint16_t k = 0; k < i; k++)
                assert_false(fields[k].tagged.min != HR_KVERSION_NONE && fields[k].tag == f->tag);
        }
        check_fields(message, f->children, f->n_children, depth + 1);
    }
}

static void test_table_is_sound(void **state)
{
    assert_true(hr_kapis_n > 70);
    for (uint16_t i = 0; i < hr_kapis_n; i++) {
        const struct hr_kapi *api = &hr_kapis[i];
        if (i > 0)
            assert_true(hr_kapis[i - 1].key < api->key);
        assert_ptr_equal(hr_kapi_find(api->key), api);
        assert_true(api->latest_stable.min >= api->versions.min);
        for (int16_t v = api->versions.min; v <= api->versions.max; v++) {
            const struct hr_kmessage *request = hr_krequest_find(api->key, v);
            const struct hr_kmessage *response = hr_kresponse_find(api->key, v);
            assert_non_null(request);
            assert_non_null(response);
            assert_int_equal(hr_krange_has(request->flexible, v), hr_krange_has(response->flexible, v));
        }
        assert_null(hr_krequest_find(api->key, api->versions.min - 1));
        assert_null(hr_krequest_find(api->key, api->versions.max + 1));
        assert_null(hr_kresponse_find(api->key, api->versions.max + 1));
        for (int k = 0; k < HR_KAPI_MAX_MESSAGES && api->requests[k] != NULL; k++) {
            check_fields(api->name, api->requests[k]->fields, api->requests[k]->n_fields, 1);
            check_fields(api->name, api->responses[k]->fields, api->responses[k]->n_fields, 1);
        }
    }
}

static void test_unknown_is_null(void **state)
{
    static const int16_t inter_broker[] = {4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 73, 82};
    assert_null(hr_kapi_find(-1));
    assert_null(hr_kapi_find(INT16_MIN));
    assert_null(hr_kapi_find(INT16_MAX));
    assert_null(hr_kapi_find((int16_t)(hr_kapis[hr_kapis_n - 1].key + 1)));
    assert_null(hr_krequest_find(0, -1));
    assert_null(hr_krequest_find(0, INT16_MAX));
    for (size_t i = 0; i < sizeof(inter_broker) / sizeof(inter_broker[0]); i++)
        assert_null(hr_kapi_find(inter_broker[i]));
}

static void test_both_lines_are_covered(void **state)
{
    const struct hr_kapi *produce = hr_kapi_find(0), *fetch = hr_kapi_find(1);
    assert_int_equal(produce->versions.min, 0);
    assert_int_equal(produce->versions.max, 13);
    assert_int_equal(fetch->versions.min, 0);
    assert_int_equal(fetch->versions.max, 18);
    assert_ptr_not_equal(hr_krequest_find(1, 3), hr_krequest_find(1, 4));
    assert_string_equal(hr_kapi_find(74)->name, "ListConfigResources");
    /* InitProducerId 6 is known but not stable; ShareFetch 0 was early access. */
    assert_int_equal(hr_kapi_find(22)->versions.max, 6);
    assert_int_equal(hr_kapi_find(22)->latest_stable.max, 5);
    assert_int_equal(hr_kapi_find(78)->versions.min, 0);
    assert_int_equal(hr_kapi_find(78)->latest_stable.min, 1);
}

static void test_headers(void **state)
{
    assert_int_equal(hr_krequest_header_version(0, 8), 1);
    assert_int_equal(hr_krequest_header_version(0, 9), 2);
    assert_int_equal(hr_krequest_header_version(17, 1), 1);
    assert_int_equal(hr_krequest_header_version(18, 3), 2);
    assert_int_equal(hr_krequest_header_version(18, 99), 1);
    assert_int_equal(hr_kresponse_header_version(18, 3), 0);
    assert_int_equal(hr_kresponse_header_version(3, 8), 0);
    assert_int_equal(hr_kresponse_header_version(3, 9), 1);
    assert_true(at(&hr_krequest_header, "ClientId", NULL, NULL)->no_flex);
    assert_false(hr_krange_has(hr_krequest_header.versions, 0));
    assert_true(hr_krange_has(hr_krequest_header.flexible, 2));
    assert_true(hr_krange_has(hr_kresponse_header.flexible, 1));
}

static void test_roles(void **state)
{
    const struct hr_kmessage *fetch = hr_kresponse_find(1, 17);
    const struct hr_kfield *endpoints = at(fetch, "NodeEndpoints", NULL, NULL);
    assert_int_equal(endpoints->role, HR_KR_ENDPOINTS);
    assert_true(endpoints->is_array);
    assert_true(hr_krange_has(endpoints->tagged, 16));
    assert_false(hr_krange_has(endpoints->tagged, 15));
    assert_int_equal(endpoints->tag, 0);
    assert_int_equal(at(fetch, "NodeEndpoints", "Host", NULL)->role, HR_KR_HOST);
    assert_int_equal(at(fetch, "Responses", "Partitions", "ErrorCode")->role, HR_KR_PARTITION_ERROR);
    assert_int_equal(at(fetch, "Responses", "Partitions", "Records")->type, HR_KT_RECORDS);
    assert_int_equal(at(fetch, "Responses", "Partitions", "CurrentLeader")->tag, 1);

    const struct hr_kmessage *share = hr_kresponse_find(78, 1);
    assert_false(hr_krange_has(at(share, "NodeEndpoints", NULL, NULL)->tagged, 1));
    assert_int_equal(at(share, "NodeEndpoints", NULL, NULL)->role, HR_KR_ENDPOINTS);

    assert_int_equal(at(hr_kresponse_find(10, 0), "Host", NULL, NULL)->role, HR_KR_HOST);
    assert_int_equal(at(hr_kresponse_find(10, 4), "Coordinators", "Port", NULL)->role, HR_KR_PORT);
    assert_int_equal(at(hr_kresponse_find(60, 0), "Brokers", "BrokerId", NULL)->role, HR_KR_NODE_ID);
    assert_int_equal(at(hr_kresponse_find(55, 2), "Nodes", NULL, NULL)->role, HR_KR_QUORUM_NODES);
    assert_int_equal(at(hr_kresponse_find(32, 4), "Results", "Configs", "Value")->role, HR_KR_CONFIG_VALUE);
    assert_int_equal(at(hr_kresponse_find(32, 0), "Results", "Configs", "Value")->role, HR_KR_CONFIG_VALUE);
    assert_int_equal(at(hr_krequest_find(0, 3), "Acks", NULL, NULL)->role, HR_KR_ACKS);
    assert_int_equal(at(hr_krequest_find(0, 0), "Acks", NULL, NULL)->role, HR_KR_ACKS);
    assert_string_equal(hr_krole_name(HR_KR_ACKS), "ACKS");
    assert_string_equal(hr_krole_name(HR_KR_NONE), "none");
}

static void test_defaults(void **state)
{
    assert_string_equal(at(hr_krequest_find(18, 5), "NodeId", NULL, NULL)->def, "-1");
    assert_string_equal(at(hr_krequest_find(18, 5), "ClusterId", NULL, NULL)->def, "null");
    assert_string_equal(at(hr_krequest_find(1, 12), "MaxBytes", NULL, NULL)->def, "0x7fffffff");
    assert_null(at(hr_krequest_find(1, 12), "MaxWaitMs", NULL, NULL)->def);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sound),
        cmocka_unit_test(test_unknown_is_null),
        cmocka_unit_test(test_both_lines_are_covered),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

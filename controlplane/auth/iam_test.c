/* Known answers: AWS's own test suite of Signature Version 4, a public client's vector of the MSK login, and one with a
 * session token. */
#include "controlplane/auth/iam.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/auth/crypto.h"

#define AT_20211014T130500Z 1634216700
#define AT_20240101T000000Z 1704067200
#define AT_20150830T123600Z 1440938160

static const struct hr_aws_keys suite = {.id = "AKIDEXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"};

static void test_suite(void **state)
{
    struct hr_sigv4_date date;
    char hex[65], authorization[512];

    hr_sigv4_date(AT_20150830T123600Z, &date);
    assert_string_equal(date.full, "20150830T123600Z");
    assert_string_equal(date.day, "20150830");
    /* get-vanilla */
    assert_int_equal(hr_sigv4_sign(&suite, &date, "us-east-1", "service",
                                   "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n"
                                   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", hex), 0);
    assert_string_equal(hex, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    /* post-x-www-form-urlencoded */
    assert_int_equal(hr_sigv4_post(&suite, "us-east-1", "service", "example.amazonaws.com", "Param1=value1", &date,
                                   authorization, sizeof(authorization)), 0);
    assert_string_equal(authorization,
                        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                        "SignedHeaders=content-type;host;x-amz-date, "
                        "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
    assert_int_equal(hr_sigv4_post(&suite, "us-east-1", "service", "example.amazonaws.com", "Param1=value1", &date,
                                   authorization, 100), HR_E_TOO_LARGE);
}

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static void test_payload_without_token(void **state)
{
    struct hr_aws_keys keys = {.id = "ACCESS_KEY", .secret = "SECRET_KEY"};
    char out[HR_IAM_PAYLOAD_MAX];
    json_t *json;
    size_t n;

    assert_int_equal(hr_iam_payload(&keys, "us-east-1", "localhost", "test", 300, AT_20211014T130500Z, out, sizeof(out),
                                    &n), 0);
    json = json_loadb(out, n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_int_equal(json_object_size(json), 10);
    assert_string_equal(member(json, "x-amz-signature"),
                        "6b8d25f9b45b9c7db9da855a49112d80379224153a27fd279c305a5b7940d1a7");
    assert_string_equal(member(json, "version"), "2020_10_22");
    assert_string_equal(member(json, "host"), "localhost");
    assert_string_equal(member(json, "user-agent"), "test");
    assert_string_equal(member(json, "action"), "kafka-cluster:Connect");
    assert_string_equal(member(json, "x-amz-algorithm"), "AWS4-HMAC-SHA256");
    assert_string_equal(member(json, "x-amz-credential"), "ACCESS_KEY/20211014/us-east-1/kafka-cluster/aws4_request");
    assert_string_equal(member(json, "x-amz-date"), "20211014T130500Z");
    assert_string_equal(member(json, "x-amz-signedheaders"), "host");
    assert_string_equal(member(json, "x-amz-expires"), "300");
    json_decref(json);
}

static const struct hr_aws_keys temporary = {
    .id = "AKIDEXAMPLE", .secret = "SECRETEXAMPLE", .token = "TOKEN/EX+AMPLE="};
static const char temporary_signature[] = "8243677bab82cb0f4a34f8a5f1369b8150f12ce9c6ec54dc8eb8fba504d2384e";

static void test_payload_with_token(void **state)
{
    char out[HR_IAM_PAYLOAD_MAX];
    json_t *json;
    size_t n;

    assert_int_equal(hr_iam_payload(&temporary, "us-west-2", "kafka.us-west-2.amazonaws.com", "test", 900,
                                    AT_20240101T000000Z, out, sizeof(out), &n), 0);
    json = json_loadb(out, n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_int_equal(json_object_size(json), 11);
    assert_string_equal(member(json, "x-amz-signature"), temporary_signature);
    assert_string_equal(member(json, "x-amz-security-token"), "TOKEN/EX+AMPLE=");
    json_decref(json);
    assert_int_equal(hr_iam_payload(&temporary, "us-west-2", "a\"b", "test", 900, 0, out, sizeof(out), &n),
                     HR_E_INVALID);
    assert_int_equal(hr_iam_payload(&temporary, "us-west-2", "a", "test", 900, 0, out, 100, &n), HR_E_TOO_LARGE);
}

static void test_oauth_token(void **state)
{
    char *out = malloc(HR_IAM_TOKEN_MAX), url[2048];
    size_t n, n_url;

    assert_int_equal(hr_iam_token(&temporary, "us-west-2", "head race/1", 900, AT_20240101T000000Z, out,
                                  HR_IAM_TOKEN_MAX, &n), 0);
    assert_int_equal(hr_base64url_decode(out, n, (uint8_t *)url, sizeof(url) - 1, &n_url), 0);
    url[n_url] = '\0';
    assert_string_equal(
        url, "https://kafka.us-west-2.amazonaws.com/?Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256"
             "&X-Amz-Credential=AKIDEXAMPLE%2F20240101%2Fus-west-2%2Fkafka-cluster%2Faws4_request"
             "&X-Amz-Date=20240101T000000Z&X-Amz-Expires=900&X-Amz-Security-Token=TOKEN%2FEX%2BAMPLE%3D"
             "&X-Amz-SignedHeaders=host"
             "&X-Amz-Signature=8243677bab82cb0f4a34f8a5f1369b8150f12ce9c6ec54dc8eb8fba504d2384e"
             "&User-Agent=head%20race%2F1");
    free(out);
}

static void test_region(void **state)
{
    char region[HR_AWS_REGION_MAX];

    assert_true(hr_iam_region("b-1.demo.abcdef.c2.kafka.eu-central-1.amazonaws.com", region));
    assert_string_equal(region, "eu-central-1");
    assert_true(hr_iam_region("boot-xyz.c3.kafka-serverless.us-east-1.amazonaws.com", region));
    assert_string_equal(region, "us-east-1");
    assert_true(hr_iam_region("b-1.demo.abcdef.c2.kafka.cn-north-1.amazonaws.com.cn", region));
    assert_string_equal(region, "cn-north-1");
    assert_false(hr_iam_region("kafka.example.com", region));
    assert_false(hr_iam_region("b-1.kafka.a.b.amazonaws.com", region));
    assert_false(hr_iam_region("b-1.kafka..amazonaws.com", region));
    assert_false(hr_iam_region("b-1.kafka.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.amazonaws.com", region));
}

static int reply(const char *text)
{
    const char *why = NULL;
    int err = hr_iam_check_reply((const uint8_t *)text, strlen(text), &why);

    assert_true(err == 0 || why);
    return err;
}

static void test_reply(void **state)
{
    assert_int_equal(reply("{\"version\":\"2020_10_22\",\"request-id\":\"x\"}"), 0);
    assert_int_equal(reply("{\"version\":\"2020_10_23\"}"), HR_E_INVALID);
    assert_int_equal(reply("{}"), HR_E_INVALID);
    assert_int_equal(reply("[]"), HR_E_INVALID);
    assert_int_equal(reply(""), HR_E_INVALID);
    assert_int_equal(reply("{\"version\":\"2020_10_22\""), HR_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),       cmocka_unit_test(test_payload_without_token),
        cmocka_unit_test(test_payload_with_token), cmocka_unit_test(test_oauth_token),
        cmocka_unit_test(test_region),      cmocka_unit_test(test_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Every source against a mock of AWS's services over HTTP; signatures of AssumeRole are made again by the mock. Time and
 * environment are the test's. */
#include "controlplane/auth/credentials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/auth/http.h"
#include "controlplane/auth/mock_http.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

/* -- the world --------------------------------------------------------------------------------------------- */

static struct {
    const char *name;
    char value[256];
} variables[16];
static int n_variables;
static int64_t clock_off_s;

static const char *test_env(const char *name)
{
    for (int i = 0; i < n_variables; i++) {
        if (strcmp(variables[i].name, name) == 0)
            return variables[i].value;
    }
    return NULL;
}

static void set_env(const char *name, const char *value)
{
    variables[n_variables].name = name;
    snprintf(variables[n_variables++].value, sizeof(variables[0].value), "%s", value);
}

static int64_t test_now(void)
{
    return time(NULL) + clock_off_s;
}

static const struct hr_aws_world world = {test_env, test_now};

/* -- the mock ---------------------------------------------------------------------------------------------- */

static uint16_t port;
static struct hr_aws_keys signer; /* whose signature the mock's STS wants */
static char last_form[4096];
static int expires_in_s, n_asked;
static bool deny;

static void iso(char *out, size_t cap, int64_t at)
{
    time_t t = (time_t)at;
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, cap, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void sts(const struct mock_request *request, struct mock_reply *reply)
{
    const char *authorization = mock_header(request, "Authorization"), *stamp = mock_header(request, "X-Amz-Date");
    const char *token = mock_header(request, "X-Amz-Security-Token");
    bool web = strstr(request->body, "Action=AssumeRoleWithWebIdentity") != NULL;
    char expiration[32], host[64], want[1024] = "";
    struct hr_sigv4_date date;

    snprintf(last_form, sizeof(last_form), "%s", request->body);
    if (!web) {
        snprintf(host, sizeof(host), "127.0.0.1:%u", port);
        if (stamp && strlen(stamp) == 16) {
            strcpy(date.full, stamp);
            snprintf(date.day, sizeof(date.day), "%.8s", stamp);
            (void)!hr_sigv4_post(&signer, "us-east-1", "sts", host, request->body, &date, want, sizeof(want));
        }
        deny = deny || !authorization || strcmp(authorization, want) != 0 ||
               strcmp(token ? token : "", signer.token) != 0;
    }
    if (deny) {
        reply->status = 403;
        strcpy(reply->body, "<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code>"
                            "<Message>Signature expired</Message></Error></ErrorResponse>");
        return;
    }
    iso(expiration, sizeof(expiration), time(NULL) + expires_in_s);
    reply->status = 200;
    snprintf(reply->body, sizeof(reply->body),
             "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA%s</AccessKeyId>"
             "<SecretAccessKey>s3cr3t</SecretAccessKey><SessionToken>tok/en+=</SessionToken>"
             "<Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>",
             web ? "WEB" : "ROLE", expiration);
}

static void answer(const struct mock_request *request, struct mock_reply *reply)
{
    char expiration[32];
    const char *token;

    n_asked++;
    iso(expiration, sizeof(expiration), time(NULL) + expires_in_s);
    if (strcmp(request->path, "/") == 0 && strcmp(request->method, "POST") == 0) {
        sts(request, reply);
    } else if (strcmp(request->path, "/latest/api/token") == 0) {
        reply->status = strcmp(request->method, "PUT") == 0 &&
                                mock_header(request, "X-aws-ec2-metadata-token-ttl-seconds") && !deny
                            ? 200 : 403;
        strcpy(reply->body, "metadata-token");
    } else if (strncmp(request->path, "/latest/meta-data/iam/security-credentials/", 43) == 0) {
        token = mock_header(request, "X-aws-ec2-metadata-token");
        reply->status = token && strcmp(token, "metadata-token") == 0 ? 200 : 401;
        if (request->path[43] == '\0')
            strcpy(reply->body, "my-role");
        else if (strcmp(request->path + 43, "my-role") == 0)
            snprintf(reply->body, sizeof(reply->body),
                     "{\"Code\":\"Success\",\"AccessKeyId\":\"ASIAEC2\",\"SecretAccessKey\":\"x\",\"Token\":\"t\","
                     "\"Expiration\":\"%s\"}", expiration);
    } else if (strcmp(request->path, "/container") == 0) {
        token = mock_header(request, "Authorization");
        reply->status = token && strcmp(token, "secret-token") == 0 ? 200 : 401;
        snprintf(reply->body, sizeof(reply->body),
                 "{\"AccessKeyId\":\"ASIAECS\",\"SecretAccessKey\":\"x\",\"Token\":\"t\",\"Expiration\":\"%s\"}",
                 expiration);
    }
}

/* -- the fixture ------------------------------------------------------------------------------------------- */

static struct hr_loop *loop;
static struct hr_http *http;
static struct hr_aws_config config;
static struct hr_credentials *credentials;
static struct hr_credentials_info info;
static int n_changed;
static char file[64];

static void on_changed(void *owner)
{
    (void)owner;
    n_changed++;
}

static int set_up(void **state)
{
    n_variables = n_changed = n_asked = 0;
    clock_off_s = 0;
    deny = false;
    expires_in_s = 3600;
    memset(&signer, 0, sizeof(signer));
    port = mock_http_start(answer);
    assert_int_equal(hr_loop_create(NULL, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    config = (struct hr_aws_config){.source = HR_AWS_DEFAULT, .region = "us-east-1"};
    snprintf(config.sts_url, sizeof(config.sts_url), "http://127.0.0.1:%u", port);
    snprintf(config.metadata_url, sizeof(config.metadata_url), "http://127.0.0.1:%u/", port);
    file[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    hr_credentials_destroy(credentials);
    credentials = NULL;
    hr_http_destroy(http);
    hr_loop_destroy(loop);
    mock_http_stop();
    if (file[0])
        unlink(file);
    return 0;
}

static void write_file(const char *text)
{
    FILE *f;

    if (!file[0]) {
        strcpy(file, "/tmp/hr-aws-XXXXXX");
        close(mkstemp(file));
    }
    f = fopen(file, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Until the first verdict; the keys, or NULL. */
static const struct hr_aws_keys *start(void)
{
    assert_int_equal(hr_credentials_create(loop, http, &world, &config, on_changed, NULL, &credentials), 0);
    assert_int_equal(n_changed, 0);
    while (n_changed == 0)
        hr_loop_turn(loop, 100000);
    hr_credentials_get_info(credentials, &info);
    return hr_credentials_get(credentials);
}

static void test_environment(void **state)
{
    const struct hr_aws_keys *keys;

    set_env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    set_env("AWS_SECRET_ACCESS_KEY", "secret");
    keys = start();
    assert_non_null(keys);
    assert_string_equal(keys->id, "AKIDEXAMPLE");
    assert_string_equal(keys->token, "");
    assert_int_equal(info.source, HR_AWS_ENVIRONMENT);
    assert_int_equal(info.expires_s, 0);
    assert_int_equal(n_asked, 0);
}

static void test_environment_incomplete(void **state)
{
    set_env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    assert_null(start());
    assert_string_equal(info.error, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set");
}

static void test_file(void **state)
{
    const struct hr_aws_keys *keys;

    write_file("# mine\n[other]\naws_access_key_id = A\naws_secret_access_key=B\n\n[prod]\n"
               "aws_access_key_id=AKIDPROD \r\naws_secret_access_key = s=ec\nregion = x\n");
    config.source = HR_AWS_FILE;
    strcpy(config.file, file);
    strcpy(config.profile, "prod");
    keys = start();
    assert_non_null(keys);
    assert_string_equal(keys->id, "AKIDPROD");
    assert_string_equal(keys->secret, "s=ec");
}

static void test_file_without_profile(void **state)
{
    write_file("[prod]\naws_access_key_id=A\n");
    config.source = HR_AWS_FILE;
    strcpy(config.file, file);
    assert_null(start());
    assert_non_null(strstr(info.error, "there is no profile [default]"));
}

static void test_assume_role(void **state)
{
    const struct hr_aws_keys *keys;

    set_env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    set_env("AWS_SECRET_ACCESS_KEY", "secret");
    set_env("AWS_SESSION_TOKEN", "session/+");
    signer = (struct hr_aws_keys){.id = "AKIDEXAMPLE", .secret = "secret", .token = "session/+"};
    strcpy(config.role_arn, "arn:aws:iam::123456789012:role/kafka");
    strcpy(config.session_name, "team-a@prod");
    strcpy(config.external_id, "x y");
    keys = start();
    assert_string_equal(info.error, "");
    assert_non_null(keys);
    assert_string_equal(keys->id, "ASIAROLE");
    assert_string_equal(keys->token, "tok/en+=");
    assert_true(keys->expires_s > test_now() + 3500);
    assert_string_equal(last_form, "Action=AssumeRole&Version=2011-06-15"
                                   "&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fkafka"
                                   "&RoleSessionName=team-a%40prod&ExternalId=x%20y");
    assert_int_equal(n_asked, 1); /* once per role and refresh */
}

static void test_refused_names_the_skew(void **state)
{
    set_env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    set_env("AWS_SECRET_ACCESS_KEY", "wrong");
    signer = (struct hr_aws_keys){.id = "AKIDEXAMPLE", .secret = "secret"};
    strcpy(config.role_arn, "arn:aws:iam::123456789012:role/kafka");
    clock_off_s = -1000;
    assert_null(start());
    assert_non_null(strstr(info.error, "AssumeRole: SignatureDoesNotMatch: Signature expired; our clock is "));
    assert_non_null(strstr(info.error, " s behind"));
    assert_true(info.skew_s > 990 && info.skew_s < 1010);
    assert_null(strstr(info.error, "wrong"));
}

static void test_web_identity(void **state)
{
    const struct hr_aws_keys *keys;

    write_file("eyJ0b2tlbg.a.b\n");
    set_env("AWS_WEB_IDENTITY_TOKEN_FILE", file);
    set_env("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod");
    set_env("AWS_ROLE_SESSION_NAME", "pod-1");
    keys = start();
    assert_non_null(keys);
    assert_int_equal(info.source, HR_AWS_WEB_IDENTITY);
    assert_string_equal(keys->id, "ASIAWEB");
    assert_string_equal(last_form, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3A"
                                   "role%2Fpod&RoleSessionName=pod-1&WebIdentityToken=eyJ0b2tlbg.a.b");
}

/* The pod's own role first, then with its keys the role that the configuration names. */
static void test_web_identity_then_role(void **state)
{
    const struct hr_aws_keys *keys;

    write_file("token");
    set_env("AWS_WEB_IDENTITY_TOKEN_FILE", file);
    set_env("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod");
    strcpy(config.role_arn, "arn:aws:iam::2:role/kafka");
    signer = (struct hr_aws_keys){.id = "ASIAWEB", .secret = "s3cr3t", .token = "tok/en+="};
    keys = start();
    assert_string_equal(info.error, "");
    assert_non_null(keys);
    assert_string_equal(keys->id, "ASIAROLE");
    assert_int_equal(n_asked, 2);
}

static void test_container(void **state)
{
    const struct hr_aws_keys *keys;
    char url[64];

    write_file("secret-token\n");
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/container", port);
    set_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", url);
    set_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file);
    keys = start();
    assert_non_null(keys);
    assert_int_equal(info.source, HR_AWS_CONTAINER);
    assert_string_equal(keys->id, "ASIAECS");
}

static void test_container_elsewhere(void **state)
{
    set_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1.example.com/container");
    set_env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret-token");
    assert_null(start());
    assert_non_null(strstr(info.error, "must be https"));
}

static void test_instance(void **state)
{
    const struct hr_aws_keys *keys = start();

    assert_non_null(keys);
    assert_int_equal(info.source, HR_AWS_INSTANCE);
    assert_string_equal(keys->id, "ASIAEC2");
    assert_int_equal(n_asked, 3);
}

static void test_instance_without_version_2(void **state)
{
    deny = true;
    assert_null(start());
    assert_non_null(strstr(info.error, "the metadata service gives no token (HTTP status 403)"));
}

static void test_keys_end_with_their_time(void **state)
{
    assert_non_null(start());
    deny = true;
    clock_off_s = 3599;
    assert_non_null(hr_credentials_get(credentials));
    clock_off_s = 3601;
    assert_null(hr_credentials_get(credentials));
}

/* Short-lived keys are renewed at half their life: no test waits for longer ones. */
static void test_renewal(void **state)
{
    struct hr_credentials_info later;
    uint64_t give_up = hr_now_us() + 20 * HR_US_PER_S;

    expires_in_s = 3;
    assert_non_null(start());
    do {
        hr_loop_turn(loop, 100000);
        hr_credentials_get_info(credentials, &later);
    } while (later.renewals < 2 && hr_now_us() < give_up);
    assert_true(later.renewals >= 2);
    assert_true(later.expires_s > info.expires_s);
    assert_non_null(hr_credentials_get(credentials));
}

static void test_session_names(void **state)
{
    const char *const bad[] = {"a", "a b", "a/b", "\xc3\xa4\xc3\xa4"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        strcpy(config.session_name, bad[i]);
        assert_int_equal(hr_credentials_create(loop, http, &world, &config, on_changed, NULL, &credentials),
                         HR_E_INVALID);
    }
}

static void test_times(void **state)
{
    assert_int_equal(hr_aws_time("2024-01-01T00:00:00Z"), 1704067200);
    assert_int_equal(hr_aws_time("2024-01-01T00:00:00.123Z"), 1704067200);
    assert_int_equal(hr_aws_time("2024-01-01T00:00:00"), -1);
    assert_int_equal(hr_aws_time("2024-13-01T00:00:00Z"), -1);
    assert_int_equal(hr_aws_time("2024-01-01 00:00:00Z"), -1);
    assert_int_equal(hr_aws_time(""), -1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_environment),   T(test_environment_incomplete),
        T(test_file),          T(test_file_without_profile),
        T(test_assume_role),   T(test_refused_names_the_skew),
        T(test_web_identity),  T(test_web_identity_then_role),
        T(test_container),     T(test_container_elsewhere),
        T(test_instance),      T(test_instance_without_version_2),
        T(test_keys_end_with_their_time), T(test_renewal),
        T(test_session_names), cmocka_unit_test(test_times),
    };

    hr_log_init("test", HR_LOG_ERROR, HR_LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

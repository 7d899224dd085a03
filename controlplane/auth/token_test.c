/* Client credentials against a mock of a token endpoint over HTTP. */
#include "controlplane/auth/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/auth/http.h"
#include "controlplane/auth/mock_http.h"
#include "controlplane/auth/secret.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

static struct hr_loop *loop;
static struct hr_http *http;
static struct hr_secret *secret;
static struct hr_token *token;
static char path[32], url[64], form[512], authorization[256];
static int n_asked, n_changed;
static unsigned status;
static const char *answer_text;
static uint64_t ahead_us;

static uint64_t test_clock(void)
{
    return hr_now_us() + ahead_us;
}

static void endpoint(const struct mock_request *request, struct mock_reply *reply)
{
    const char *sent = mock_header(request, "Authorization");

    n_asked++;
    snprintf(form, sizeof(form), "%s", request->body);
    snprintf(authorization, sizeof(authorization), "%s", sent ? sent : "");
    reply->status = status;
    if (answer_text[0] == '#')
        snprintf(reply->body, sizeof(reply->body), "{\"access_token\":\"t%d\",\"expires_in\":100}", n_asked);
    else
        snprintf(reply->body, sizeof(reply->body), "%s", answer_text);
}

static void on_changed(void *owner)
{
    (void)owner;
    n_changed++;
}

static int set_up(void **state)
{
    struct hr_config_secret config = {.n_args = 0};
    int fd;

    n_asked = n_changed = 0;
    ahead_us = 0;
    status = 200;
    answer_text = "#";
    strcpy(path, "/tmp/hr-token-XXXXXX");
    fd = mkstemp(path);
    assert_int_equal(write(fd, "s:e c\n", 6), 6);
    close(fd);
    strcpy(config.file, path);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/token", mock_http_start(endpoint));
    assert_int_equal(hr_loop_create(test_clock, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    assert_int_equal(hr_secret_create(loop, &config, NULL, NULL, &secret), 0);
    assert_int_equal(hr_token_create(loop, http, url, "my id", "kafka read", secret, on_changed, NULL, &token), 0);
    return 0;
}

static int tear_down(void **state)
{
    hr_token_destroy(token);
    hr_secret_destroy(secret);
    hr_http_destroy(http);
    hr_loop_destroy(loop);
    mock_http_stop();
    unlink(path);
    return 0;
}

static void wait_for(int *counter, int n)
{
    uint64_t give_up = hr_now_us() + 20 * HR_US_PER_S;

    while (*counter < n && hr_now_us() < give_up)
        hr_loop_turn(loop, 50000);
    assert_int_equal(*counter, n);
}

static void expect(const char *want)
{
    char why[HR_TOKEN_WHY_MAX] = "";
    const char *text;
    size_t len;

    if (hr_token_get(token, &text, &len, why) != 0)
        fail_msg("%s", why);
    assert_string_equal(text, want);
    assert_int_equal(len, strlen(want));
}

static void expect_error(const char *want)
{
    char why[HR_TOKEN_WHY_MAX] = "";
    const char *text;
    size_t len;

    assert_int_equal(hr_token_get(token, &text, &len, why), HR_E_AGAIN);
    if (!strstr(why, want))
        fail_msg("%s", why);
    assert_null(strstr(why, "s:e c"));
}

static void test_asked_kept_and_renewed(void **state)
{
    expect_error("has not answered yet");
    wait_for(&n_changed, 1);
    expect("t1");
    assert_string_equal(form, "grant_type=client_credentials&scope=kafka%20read");
    /* base64 of "my%20id:s%3Ae%20c" */
    assert_string_equal(authorization, "Basic bXklMjBpZDpzJTNBZSUyMGM=");
    ahead_us = 79 * HR_US_PER_S;
    hr_loop_turn(loop, 0);
    assert_int_equal(n_asked, 1);
    ahead_us = 81 * HR_US_PER_S;
    wait_for(&n_asked, 2);
    while (hr_loop_turn(loop, 20000) > 0)
        ;
    expect("t2");
}

static void test_expired_while_the_endpoint_is_away(void **state)
{
    wait_for(&n_changed, 1);
    status = 503;
    answer_text = "busy";
    ahead_us = 81 * HR_US_PER_S;
    wait_for(&n_changed, 2); /* the error is news */
    expect("t1");            /* and the token still good */
    ahead_us = 101 * HR_US_PER_S;
    expect_error("HTTP status 503: the answer is no JSON");
    status = 200;
    answer_text = "#";
    ahead_us += 60 * HR_US_PER_S;
    wait_for(&n_changed, 3);
    expect(n_asked == 3 ? "t3" : "t4");
}

static void test_refused(void **state)
{
    status = 401;
    answer_text = "{\"error\":\"invalid_client\"}";
    wait_for(&n_changed, 1);
    expect_error("the token endpoint: HTTP status 401: invalid_client");
}

static void test_doubt(void **state)
{
    wait_for(&n_changed, 1);
    hr_token_doubt(token);
    hr_loop_turn(loop, 0);
    assert_int_equal(n_asked, 1);
    ahead_us = 11 * HR_US_PER_S;
    wait_for(&n_asked, 2);
}

static void test_answers(void **state)
{
    static const char *const bad[] = {"", "[]", "{}", "{\"access_token\":7}", "{\"access_token\":\"\"}",
                                      "{\"access_token\":\"a\",\"token_type\":\"mac\"}", "{\"error\":\"x\"}"};
    static const char negative[] = "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":-5}";
    static const char silent[] = "{\"access_token\":\"a\"}";
    char text[HR_TOKEN_MAX], why[HR_TOKEN_WHY_MAX];
    int64_t lives;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_not_equal(hr_token_parse(bad[i], strlen(bad[i]), text, &lives, why), 0);
    assert_int_equal(hr_token_parse(negative, sizeof(negative) - 1, text, &lives, why), 0);
    assert_int_equal(lives, 1);
    assert_int_equal(hr_token_parse(silent, sizeof(silent) - 1, text, &lives, why), 0);
    assert_int_equal(lives, 300);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_asked_kept_and_renewed), T(test_expired_while_the_endpoint_is_away), T(test_refused), T(test_doubt),
        cmocka_unit_test(test_answers),
    };

    hr_log_init("test", HR_LOG_ERROR, HR_LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "controlplane/auth/token.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controlplane/auth/crypto.h"
#include "controlplane/auth/http.h"
#include "controlplane/auth/secret.h"
#include "controlplane/auth/sigv4.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define TIMEOUT_MS   5000
#define ANSWER_MAX   65536
#define RETRY_MIN_US HR_US_PER_S
#define RETRY_MAX_US (60 * HR_US_PER_S)
#define DOUBT_US     (10 * HR_US_PER_S)
#define LIVES_S      300     /* where the endpoint does not say */
#define LIVES_MAX_S  86400
#define TEXT_MAX     512
#define HEADER_MAX   (4 * (HR_SECRET_MAX + TEXT_MAX) + 64) /* base64 of three bytes for each */

struct hr_token {
    struct hr_loop *loop;
    struct hr_http *http;
    char url[TEXT_MAX], client_id[TEXT_MAX], scope[TEXT_MAX];
    struct hr_secret *secret;
    void (*changed)(void *owner);
    void *owner;
    struct hr_http_call *call;
    struct hr_timer timer; /* the next request */
    uint64_t asked_us, until_us, retry_us;
    char text[HR_TOKEN_MAX];
    char error[HR_TOKEN_WHY_MAX];
};

static int bad(char why[HR_TOKEN_WHY_MAX], int err, const char *text)
{
    snprintf(why, HR_TOKEN_WHY_MAX, "%s", text);
    return err;
}

int hr_token_parse(const char *text, size_t len, char *ret_text, int64_t *ret_lives_s, char why[HR_TOKEN_WHY_MAX])
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    const json_t *token = json_object_get(root, "access_token"), *lives = json_object_get(root, "expires_in");
    const char *type = json_string_value(json_object_get(root, "token_type"));
    const char *code = json_string_value(json_object_get(root, "error"));
    char shown[96];
    int err = 0;

    if (!root) {
        err = bad(why, HR_E_INVALID, "the answer is no JSON");
    } else if (code) {
        hr_log_escape(shown, sizeof(shown), code, (uint32_t)strlen(code));
        err = bad(why, HR_E_REFUSED, shown);
    } else if (!json_is_string(token) || json_string_length(token) == 0 || json_string_length(token) >= HR_TOKEN_MAX) {
        err = bad(why, HR_E_INVALID, "the answer has no access_token, or one that is too long");
    } else if (type && strcasecmp(type, "bearer") != 0) {
        err = bad(why, HR_E_INVALID, "the token is not of type Bearer");
    } else {
        memcpy(ret_text, json_string_value(token), json_string_length(token) + 1);
        *ret_lives_s = json_is_integer(lives) ? json_integer_value(lives) : LIVES_S;
        if (*ret_lives_s < 1)
            *ret_lives_s = 1;
        if (*ret_lives_s > LIVES_MAX_S)
            *ret_lives_s = LIVES_MAX_S;
    }
    json_decref(root);
    return err;
}

static void fail(struct hr_token *t, const char *why)
{
    bool other = strcmp(t->error, why) != 0;

    t->retry_us = t->retry_us ? t->retry_us * 2 : RETRY_MIN_US;
    if (t->retry_us > RETRY_MAX_US)
        t->retry_us = RETRY_MAX_US;
    hr_timer_in(t->loop, &t->timer, t->retry_us);
    if (!other)
        return;
    snprintf(t->error, sizeof(t->error), "%s", why);
    hr_log_error("oauth: no token: %s", t->error);
    t->changed(t->owner);
}

static void answered(void *arg, const struct hr_http_reply *reply)
{
    struct hr_token *t = arg;
    char why[HR_TOKEN_WHY_MAX] = "", text[HR_TOKEN_WHY_MAX + 64], *token = malloc(HR_TOKEN_MAX);
    int64_t lives_s;

    t->call = NULL;
    if (!token)
        snprintf(why, sizeof(why), "out of memory");
    else if (reply->err)
        snprintf(why, sizeof(why), "%s", reply->why);
    else if (hr_token_parse(reply->body, reply->len, token, &lives_s, why) == 0 && reply->status != 200)
        snprintf(why, sizeof(why), "a token, and no success");
    if (why[0]) {
        snprintf(text, sizeof(text), "the token endpoint: %s", why);
        if (!reply->err && reply->status != 200)
            snprintf(text, sizeof(text), "the token endpoint: HTTP status %u: %s", reply->status, why);
        text[HR_TOKEN_WHY_MAX - 1] = '\0';
        fail(t, text);
    } else {
        bool had = t->until_us > hr_loop_now(t->loop) && !t->error[0];

        memcpy(t->text, token, HR_TOKEN_MAX);
        t->error[0] = '\0';
        t->retry_us = 0;
        t->until_us = hr_loop_now(t->loop) + (uint64_t)lives_s * HR_US_PER_S;
        hr_timer_in(t->loop, &t->timer, (uint64_t)lives_s * HR_US_PER_S * 8 / 10);
        if (!had)
            t->changed(t->owner);
    }
    if (token)
        hr_wipe(token, HR_TOKEN_MAX);
    free(token);
}

/* RFC 6749 2.3.1: id and secret, each encoded, by HTTP's Basic. */
static int authorization(const struct hr_token *t, const char *secret, size_t len, char *ret_header, size_t cap)
{
    size_t cap_pair = 3 * (HR_SECRET_MAX + TEXT_MAX) + 2;
    char *pair = calloc(1, cap_pair), *copy = calloc(1, len + 1);
    int err = HR_E_NOMEM;

    if (pair && copy) {
        memcpy(copy, secret, len);
        err = hr_sigv4_encode(t->client_id, pair, cap_pair);
        if (!err) {
            strcat(pair, ":");
            err = hr_sigv4_encode(copy, pair, cap_pair);
        }
        strcpy(ret_header, "Authorization: Basic ");
        if (!err)
            err = hr_base64_encode(pair, strlen(pair), ret_header + strlen(ret_header), cap - strlen(ret_header));
    }
    if (pair)
        hr_wipe(pair, cap_pair);
    if (copy)
        hr_wipe(copy, len);
    free(pair);
    free(copy);
    return err;
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_token *t = timer->arg;
    char form[64 + 3 * TEXT_MAX] = "grant_type=client_credentials", why[HR_SECRET_WHY_MAX] = "";
    char *header = malloc(HEADER_MAX);
    struct hr_http_request request = {.url = t->url,
                                      .headers = {"Content-Type: application/x-www-form-urlencoded",
                                                  "Accept: application/json", header},
                                      .body = form,
                                      .timeout_ms = TIMEOUT_MS,
                                      .max_bytes = ANSWER_MAX};
    const char *secret;
    size_t len;
    int err = header ? 0 : HR_E_NOMEM;

    t->asked_us = hr_loop_now(t->loop);
    if (!err && t->scope[0]) {
        strcat(form, "&scope=");
        err = hr_sigv4_encode(t->scope, form, sizeof(form));
    }
    if (!err)
        err = hr_secret_get(t->secret, &secret, &len, why);
    if (!err && (err = authorization(t, secret, len, header, HEADER_MAX)) == 0)
        err = hr_http_send(t->http, &request, answered, t, &t->call);
    if (err)
        fail(t, why[0] ? why : hr_strerror(err));
    if (header)
        hr_wipe(header, HEADER_MAX);
    free(header);
}

int hr_token_create(struct hr_loop *loop, struct hr_http *http, const char *url, const char *client_id,
                    const char *scope, struct hr_secret *secret, void (*changed)(void *owner), void *owner,
                    struct hr_token **ret_token)
{
    struct hr_token *t = calloc(1, sizeof(*t));

    if (!t)
        return HR_E_NOMEM;
    if ((size_t)snprintf(t->url, sizeof(t->url), "%s", url) >= sizeof(t->url) ||
        (size_t)snprintf(t->client_id, sizeof(t->client_id), "%s", client_id) >= sizeof(t->client_id) ||
        (size_t)snprintf(t->scope, sizeof(t->scope), "%s", scope) >= sizeof(t->scope)) {
        free(t);
        return HR_E_TOO_LARGE;
    }
    t->loop = loop;
    t->http = http;
    t->secret = secret;
    t->changed = changed;
    t->owner = owner;
    t->timer = (struct hr_timer){.fn = on_timer, .arg = t};
    hr_timer_in(loop, &t->timer, 0);
    *ret_token = t;
    return 0;
}

void hr_token_destroy(struct hr_token *t)
{
    if (!t)
        return;
    hr_http_cancel(t->call);
    hr_timer_cancel(t->loop, &t->timer);
    hr_wipe(t, sizeof(*t));
    free(t);
}

int hr_token_get(const struct hr_token *t, const char **ret_text, size_t *ret_len, char why[HR_TOKEN_WHY_MAX])
{
    if (t->until_us <= hr_loop_now(t->loop))
        return bad(why, HR_E_AGAIN, t->error[0] ? t->error : "the token endpoint has not answered yet");
    *ret_text = t->text;
    *ret_len = strlen(t->text);
    return 0;
}

void hr_token_doubt(struct hr_token *t)
{
    if (!t->call)
        hr_timer_set(t->loop, &t->timer, t->asked_us + DOUBT_US);
}

#include "controlplane/auth/oauth.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define SEPARATOR '\x01'

static int bad(const char **ret_why, const char *why)
{
    *ret_why = why;
    return HR_E_INVALID;
}

/* RFC 6750 2.1: b64token. */
static bool token_ok(const char *token, size_t len)
{
    while (len > 0 && token[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)token[i]) && !strchr("-._~+/", token[i]))
            return false;
        if (token[i] == '\0')
            return false;
    }
    return len > 0;
}

static int take_auth(const char *value, size_t len, struct hr_oauth_message *ret, const char **ret_why)
{
    if (len < 8 || strncasecmp(value, "bearer ", 7) != 0)
        return bad(ret_why, "the message is not of scheme Bearer");
    value += 7;
    len -= 7;
    while (len > 0 && *value == ' ') {
        value++;
        len--;
    }
    if (!token_ok(value, len))
        return bad(ret_why, "the token holds characters that none may have");
    ret->token = value;
    ret->token_len = len;
    return 0;
}

/* RFC 5801 4: only names, no channel binding. */
static int take_gs2(const char **at, size_t *left, struct hr_oauth_message *ret, const char **ret_why)
{
    const char *comma;
    size_t n;

    ret->authzid[0] = '\0';
    if (*left < 3 || memcmp(*at, "n,", 2) != 0 || !(comma = memchr(*at + 2, ',', *left - 2)))
        return bad(ret_why, "the message does not begin with n,,");
    n = (size_t)(comma - *at - 2);
    if (n > 0) {
        if (n < 3 || memcmp(*at + 2, "a=", 2) != 0 || n - 2 >= sizeof(ret->authzid) || memchr(*at + 4, '\0', n - 2))
            return bad(ret_why, "the authorization id is malformed");
        memcpy(ret->authzid, *at + 4, n - 2);
        ret->authzid[n - 2] = '\0';
    }
    *left -= (size_t)(comma + 1 - *at);
    *at = comma + 1;
    return 0;
}

int hr_oauth_parse(const uint8_t *msg, size_t len, struct hr_oauth_message *ret_message, const char **ret_why)
{
    const char *at = (const char *)msg;
    size_t left = len;
    int err;

    ret_message->token = NULL;
    if ((err = take_gs2(&at, &left, ret_message, ret_why)))
        return err;
    if (left < 2 || at[0] != SEPARATOR || at[left - 1] != SEPARATOR)
        return bad(ret_why, "the message is not framed by ^A");
    at++;
    left--;
    while (left > 1 || (left == 1 && *at != SEPARATOR)) {
        const char *end = memchr(at, SEPARATOR, left), *equals;
        size_t n;

        if (!end || end == at || !(equals = memchr(at, '=', (size_t)(end - at))))
            return bad(ret_why, "the message holds something that is not key=value");
        n = (size_t)(equals - at);
        for (size_t i = 0; i < n; i++) {
            if (!isalpha((unsigned char)at[i]))
                return bad(ret_why, "a key may hold letters alone");
        }
        if (n == 4 && memcmp(at, "auth", 4) == 0) {
            if (ret_message->token)
                return bad(ret_why, "the message has two tokens");
            if ((err = take_auth(equals + 1, (size_t)(end - equals - 1), ret_message, ret_why)))
                return err;
        }
        left -= (size_t)(end + 1 - at);
        at = end + 1;
    }
    if (left != 1)
        return bad(ret_why, "the message does not end in ^A^A");
    if (!ret_message->token)
        return bad(ret_why, "the message has no token");
    return 0;
}

int hr_oauth_format(const char *token, size_t token_len, char *ret_out, size_t cap, size_t *ret_len)
{
    static const char head[] = "n,,\x01" "auth=Bearer ";
    size_t n = sizeof(head) - 1;

    if (!token_ok(token, token_len))
        return HR_E_INVALID;
    if (n + token_len + 2 > cap)
        return HR_E_TOO_LARGE;
    memcpy(ret_out, head, n);
    memcpy(ret_out + n, token, token_len);
    ret_out[n + token_len] = ret_out[n + token_len + 1] = SEPARATOR;
    *ret_len = n + token_len + 2;
    return 0;
}

/* The signature, then the claims: what an unsigned token says is worth nothing, not even as a reason. */
static int check_with(struct hr_oauth_check *check, void *key)
{
    int err = hr_jwt_verify(&check->jwt, key);

    if (err) {
        check->why = "the token's signature is wrong";
        return err;
    }
    return hr_jwt_check(&check->jwt, check->rules, check->now_s, &check->identity, &check->why);
}

static int look(struct hr_oauth_check *check)
{
    void *key;
    int err = hr_jwks_source_get(check->source, check->jwt.kid, check->jwt.alg, &check->wait, &key, &check->why);

    if (err == HR_E_NOT_FOUND)
        return HR_E_REFUSED;
    return err ? err : check_with(check, key);
}

static void on_keys(struct hr_jwks_wait *wait)
{
    struct hr_oauth_check *check = wait->arg;
    int err = look(check);

    if (err != HR_E_AGAIN)
        check->done(check, err);
}

int hr_oauth_check_start(struct hr_oauth_check *check, struct hr_jwks_source *source, const struct hr_jwt_rules *rules,
                         int64_t now_s, const char *token, size_t len,
                         void (*done)(struct hr_oauth_check *check, int err))
{
    int err;

    *check = (struct hr_oauth_check){.source = source, .rules = rules, .now_s = now_s, .done = done};
    check->wait = (struct hr_jwks_wait){.fn = on_keys, .arg = check};
    if ((err = hr_jwt_parse(token, len, &check->jwt, &check->why)))
        return err;
    check->parsed = true;
    return look(check);
}

void hr_oauth_check_end(struct hr_oauth_check *check)
{
    hr_jwks_wait_cancel(&check->wait);
    if (check->parsed)
        hr_jwt_end(&check->jwt);
    check->parsed = false;
}

#include "controlplane/auth/sigv4.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "controlplane/auth/crypto.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

void hr_sigv4_date(int64_t now_s, struct hr_sigv4_date *ret_date)
{
    time_t now = (time_t)now_s;
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(ret_date->full, sizeof(ret_date->full), "%Y%m%dT%H%M%SZ", &tm);
    memcpy(ret_date->day, ret_date->full, 8);
    ret_date->day[8] = '\0';
}

int hr_sigv4_encode(const char *text, char *ret_text, size_t cap)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = strlen(ret_text);

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (n + 4 > cap)
            return HR_E_TOO_LARGE;
        if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-_.~", c)) {
            ret_text[n++] = (char)c;
        } else {
            ret_text[n++] = '%';
            ret_text[n++] = digits[c >> 4];
            ret_text[n++] = digits[c & 15];
        }
        ret_text[n] = '\0';
    }
    return 0;
}

static int hash_hex(const char *text, char ret_hex[65])
{
    uint8_t hash[HR_DIGEST_MAX];
    int err = hr_digest(HR_SHA256, text, strlen(text), hash);

    if (!err)
        hr_hex_encode(hash, 32, ret_hex);
    return err;
}

static void scope_of(const struct hr_sigv4_date *date, const char *region, const char *service, char *out, size_t cap)
{
    snprintf(out, cap, "%s/%s/%s/aws4_request", date->day, region, service);
}

int hr_sigv4_sign(const struct hr_aws_keys *keys, const struct hr_sigv4_date *date, const char *region,
                  const char *service, const char *canonical, char ret_hex[65])
{
    const char *const chain[] = {date->day, region, service, "aws4_request"};
    char first[HR_AWS_SECRET_MAX + 4], text[512], scope[128], hash[65];
    uint8_t key[HR_DIGEST_MAX], next[HR_DIGEST_MAX];
    int err, n;

    if ((err = hash_hex(canonical, hash)))
        return err;
    scope_of(date, region, service, scope, sizeof(scope));
    n = snprintf(text, sizeof(text), ALGORITHM "\n%s\n%s\n%s", date->full, scope, hash);
    if ((size_t)n >= sizeof(text))
        return HR_E_TOO_LARGE;
    n = snprintf(first, sizeof(first), "AWS4%s", keys->secret);
    for (int i = 0; i < 4 && !err; i++) {
        err = hr_hmac(HR_SHA256, i == 0 ? (const void *)first : key, i == 0 ? (size_t)n : 32, chain[i],
                      strlen(chain[i]), next);
        memcpy(key, next, 32);
    }
    if (!err && (err = hr_hmac(HR_SHA256, key, 32, text, strlen(text), next)) == 0)
        hr_hex_encode(next, 32, ret_hex);
    hr_wipe(first, sizeof(first));
    hr_wipe(key, sizeof(key));
    hr_wipe(next, sizeof(next));
    return err;
}

/* "&name=value", encoded. */
static int add(char *query, size_t cap, const char *name, const char *value)
{
    size_t n = strlen(query);
    int written = snprintf(query + n, cap - n, "%s%s=", n > 0 ? "&" : "", name);

    if ((size_t)written >= cap - n)
        return HR_E_TOO_LARGE;
    return hr_sigv4_encode(value, query, cap);
}

int hr_sigv4_presign(const struct hr_aws_keys *keys, const char *region, const char *service, const char *host,
                     const char *action, uint32_t expires_s, int64_t now_s, struct hr_sigv4_presigned *ret)
{
    static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    char canonical[HR_SIGV4_QUERY_MAX + HR_AWS_HOST_MAX + 128], scope[128], expires[16];
    int err, n;

    hr_sigv4_date(now_s, &ret->date);
    scope_of(&ret->date, region, service, scope, sizeof(scope));
    n = snprintf(ret->credential, sizeof(ret->credential), "%s/%s", keys->id, scope);
    if ((size_t)n >= sizeof(ret->credential) || strlen(host) >= HR_AWS_HOST_MAX)
        return HR_E_TOO_LARGE;
    snprintf(expires, sizeof(expires), "%u", expires_s);
    ret->query[0] = '\0';
    if ((err = add(ret->query, sizeof(ret->query), "Action", action)) ||
        (err = add(ret->query, sizeof(ret->query), "X-Amz-Algorithm", ALGORITHM)) ||
        (err = add(ret->query, sizeof(ret->query), "X-Amz-Credential", ret->credential)) ||
        (err = add(ret->query, sizeof(ret->query), "X-Amz-Date", ret->date.full)) ||
        (err = add(ret->query, sizeof(ret->query), "X-Amz-Expires", expires)) ||
        (keys->token[0] && (err = add(ret->query, sizeof(ret->query), "X-Amz-Security-Token", keys->token))) ||
        (err = add(ret->query, sizeof(ret->query), "X-Amz-SignedHeaders", "host")))
        return err;
    n = snprintf(canonical, sizeof(canonical), "GET\n/\n%s\nhost:%s\n\nhost\n%s", ret->query, host, empty);
    if ((size_t)n >= sizeof(canonical))
        return HR_E_TOO_LARGE;
    err = hr_sigv4_sign(keys, &ret->date, region, service, canonical, ret->signature);
    hr_wipe(canonical, sizeof(canonical));
    return err;
}

int hr_sigv4_post(const struct hr_aws_keys *keys, const char *region, const char *service, const char *host,
                  const char *body, const struct hr_sigv4_date *date, char *ret_authorization, size_t cap)
{
    char canonical[HR_AWS_TOKEN_MAX + HR_AWS_HOST_MAX + 512], hash[65], signature[65], scope[128];
    const char *token_header = keys->token[0] ? "\nx-amz-security-token:" : "";
    const char *signed_headers =
        keys->token[0] ? "content-type;host;x-amz-date;x-amz-security-token" : "content-type;host;x-amz-date";
    int err, n;

    if ((err = hash_hex(body, hash)))
        return err;
    n = snprintf(canonical, sizeof(canonical),
                 "POST\n/\n\ncontent-type:application/x-www-form-urlencoded\nhost:%s\nx-amz-date:%s%s%s\n\n%s\n%s", host,
                 date->full, token_header, keys->token, signed_headers, hash);
    if ((size_t)n >= sizeof(canonical))
        return HR_E_TOO_LARGE;
    err = hr_sigv4_sign(keys, date, region, service, canonical, signature);
    hr_wipe(canonical, sizeof(canonical));
    if (err)
        return err;
    scope_of(date, region, service, scope, sizeof(scope));
    n = snprintf(ret_authorization, cap, ALGORITHM " Credential=%s/%s, SignedHeaders=%s, Signature=%s", keys->id, scope,
                 signed_headers, signature);
    return (size_t)n < cap ? 0 : HR_E_TOO_LARGE;
}

#include "controlplane/auth/iam.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/crypto.h"

#define SERVICE "kafka-cluster"
#define ACTION  "kafka-cluster:Connect"
#define VERSION "2020_10_22"
#define REPLY_MAX 4096

bool hr_iam_region(const char *host, char ret_region[HR_AWS_REGION_MAX])
{
    static const char *const services[] = {".kafka.", ".kafka-serverless."};

    for (int i = 0; i < 2; i++) {
        const char *at = strstr(host, services[i]), *end;

        if (!at)
            continue;
        at += strlen(services[i]);
        end = strstr(at, ".amazonaws.com"); /* and .amazonaws.com.cn */
        if (!end || end == at || end - at >= HR_AWS_REGION_MAX || memchr(at, '.', (size_t)(end - at)))
            return false;
        memcpy(ret_region, at, (size_t)(end - at));
        ret_region[end - at] = '\0';
        return true;
    }
    return false;
}

/* Printable ASCII that needs no escape in JSON: keys, names and dates never have anything else. */
static bool plain_text(const char *text)
{
    for (; *text; text++) {
        if (*text < 0x20 || *text > 0x7e || *text == '"' || *text == '\\')
            return false;
    }
    return true;
}

int hr_iam_payload(const struct hr_aws_keys *keys, const char *region, const char *host, const char *user_agent,
                   uint32_t expires_s, int64_t now_s, char *ret_out, size_t cap, size_t *ret_len)
{
    struct hr_sigv4_presigned *p = malloc(sizeof(*p));
    int err, n;

    if (!p)
        return HR_E_NOMEM;
    err = plain_text(keys->id) && plain_text(keys->token) && plain_text(host) && plain_text(user_agent) &&
                  plain_text(region)
              ? hr_sigv4_presign(keys, region, SERVICE, host, ACTION, expires_s, now_s, p)
              : HR_E_INVALID;
    if (!err) {
        n = snprintf(ret_out, cap,
                     "{\"version\":\"" VERSION "\",\"host\":\"%s\",\"user-agent\":\"%s\",\"action\":\"" ACTION
                     "\",\"x-amz-algorithm\":\"AWS4-HMAC-SHA256\",\"x-amz-credential\":\"%s\",\"x-amz-date\":\"%s\","
                     "%s%s%s\"x-amz-signedheaders\":\"host\",\"x-amz-expires\":\"%u\",\"x-amz-signature\":\"%s\"}",
                     host, user_agent, p->credential, p->date.full,
                     keys->token[0] ? "\"x-amz-security-token\":\"" : "", keys->token, keys->token[0] ? "\"," : "",
                     expires_s, p->signature);
        if ((size_t)n >= cap)
            err = HR_E_TOO_LARGE;
        else
            *ret_len = (size_t)n;
    }
    hr_wipe(p, sizeof(*p));
    free(p);
    return err;
}

int hr_iam_check_reply(const uint8_t *msg, size_t len, const char **ret_why)
{
    json_error_t error;
    json_t *reply = len <= REPLY_MAX ? json_loadb((const char *)msg, len, JSON_REJECT_DUPLICATES, &error) : NULL;
    const char *version = json_string_value(json_object_get(reply, "version"));
    int err = 0;

    if (!reply) {
        *ret_why = "the broker's answer to AWS_MSK_IAM is no JSON";
        err = HR_E_INVALID;
    } else if (!version || strcmp(version, VERSION) != 0) {
        *ret_why = "the broker's answer to AWS_MSK_IAM is of another version than " VERSION;
        err = HR_E_INVALID;
    }
    json_decref(reply);
    return err;
}

int hr_iam_token(const struct hr_aws_keys *keys, const char *region, const char *user_agent, uint32_t expires_s,
                 int64_t now_s, char *ret_out, size_t cap, size_t *ret_len)
{
    struct hr_sigv4_presigned *p = malloc(sizeof(*p));
    size_t url_cap = HR_SIGV4_QUERY_MAX + 512;
    char host[HR_AWS_REGION_MAX + 32], *url = malloc(url_cap);
    int err = HR_E_NOMEM, n;

    if (!p || !url)
        goto out;
    n = snprintf(host, sizeof(host), "kafka.%s.amazonaws.com", region);
    if ((size_t)n >= sizeof(host)) {
        err = HR_E_TOO_LARGE;
        goto out;
    }
    if ((err = hr_sigv4_presign(keys, region, SERVICE, host, ACTION, expires_s, now_s, p)))
        goto out;
    /* The user agent is not signed. */
    n = snprintf(url, url_cap, "https://%s/?%s&X-Amz-Signature=%s&User-Agent=", host, p->query, p->signature);
    err = (size_t)n >= url_cap ? HR_E_TOO_LARGE : hr_sigv4_encode(user_agent, url, url_cap);
    if (!err && (err = hr_base64url_encode(url, strlen(url), ret_out, cap)) == 0)
        *ret_len = strlen(ret_out);
out:
    if (p)
        hr_wipe(p, sizeof(*p));
    if (url)
        hr_wipe(url, url_cap);
    free(p);
    free(url);
    return err;
}

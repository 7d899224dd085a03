/* Answers of AWS's services, which are trusted to be AWS's and not to be well-formed: every length is checked, values
 * are printable ASCII. */
#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "controlplane/auth/credentials.h"
#include "controlplane/auth/crypto.h"
#include "shared/base/log.h"

static int HR_PRINTF(3, 4) failed(char why[HR_AWS_WHY_MAX], int err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, HR_AWS_WHY_MAX, fmt, args);
    va_end(args);
    return err;
}

static bool take(const char *text, size_t len, char *ret, size_t cap)
{
    if (len >= cap)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > 0x7e)
            return false;
    }
    memcpy(ret, text, len);
    ret[len] = '\0';
    return true;
}

int64_t hr_aws_time(const char *text)
{
    struct tm tm = {0};
    int n = 0;

    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec, &n) != 6)
        return -1;
    text += n;
    if (*text == '.')
        for (text++; isdigit((unsigned char)*text);)
            text++;
    if ((strcmp(text, "Z") != 0 && strcmp(text, "+00:00") != 0) || tm.tm_year < 1970 || tm.tm_mon < 1 ||
        tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 ||
        tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
        return -1;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return timegm(&tm);
}

static bool member(const json_t *object, const char *name, char *ret, size_t cap)
{
    const json_t *value = json_object_get(object, name);

    return json_is_string(value) && json_string_length(value) > 0 &&
           take(json_string_value(value), json_string_length(value), ret, cap);
}

int hr_aws_parse_json(const char *text, size_t len, struct hr_aws_keys *ret_keys, char why[HR_AWS_WHY_MAX])
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    const char *code = json_string_value(json_object_get(root, "Code"));
    struct hr_aws_keys keys = {0};
    char expiration[64] = "", shown[64];
    int err = 0;

    if (!root) {
        err = failed(why, HR_E_INVALID, "the answer is no JSON");
    } else if (code && strcmp(code, "Success") != 0) {
        hr_log_escape(shown, sizeof(shown), code, (uint32_t)strlen(code));
        err = failed(why, HR_E_REFUSED, "the service says %s", shown);
    } else if (!member(root, "AccessKeyId", keys.id, sizeof(keys.id)) ||
               !member(root, "SecretAccessKey", keys.secret, sizeof(keys.secret)) ||
               !member(root, "Token", keys.token, sizeof(keys.token)) ||
               !member(root, "Expiration", expiration, sizeof(expiration)) ||
               (keys.expires_s = hr_aws_time(expiration)) <= 0) {
        err = failed(why, HR_E_INVALID, "the answer lacks AccessKeyId, SecretAccessKey, Token or Expiration");
    }
    if (!err)
        *ret_keys = keys;
    hr_wipe(&keys, sizeof(keys));
    json_decref(root);
    return err;
}

/* The text of the first such element, which holds no other element and no entity. */
static bool element(const char *text, const char *name, char *ret, size_t cap)
{
    char open[40], close[40];
    const char *at, *end;

    snprintf(open, sizeof(open), "<%s>", name);
    snprintf(close, sizeof(close), "</%s>", name);
    at = strstr(text, open);
    if (!at)
        return false;
    at += strlen(open);
    end = strstr(at, close);
    if (!end || memchr(at, '<', (size_t)(end - at)) || memchr(at, '&', (size_t)(end - at)))
        return false;
    return end > at && take(at, (size_t)(end - at), ret, cap);
}

/* An error's words, made fit for a log. */
static void words(const char *text, const char *name, char *ret, size_t cap)
{
    char open[40];
    const char *at, *end;

    ret[0] = '\0';
    snprintf(open, sizeof(open), "<%s>", name);
    if ((at = strstr(text, open)) && (end = strstr(at, "</")))
        hr_log_escape(ret, (uint32_t)cap, at + strlen(open), (uint32_t)(end - at - (long)strlen(open)));
}

int hr_aws_parse_sts(const char *text, struct hr_aws_keys *ret_keys, char why[HR_AWS_WHY_MAX])
{
    char expiration[64], code[64], message[200];
    struct hr_aws_keys keys = {0};
    int err = 0;

    if (strstr(text, "<Error>")) {
        words(text, "Code", code, sizeof(code));
        words(text, "Message", message, sizeof(message));
        return failed(why, HR_E_REFUSED, "%s: %s", code, message);
    }
    if (!element(text, "AccessKeyId", keys.id, sizeof(keys.id)) ||
        !element(text, "SecretAccessKey", keys.secret, sizeof(keys.secret)) ||
        !element(text, "SessionToken", keys.token, sizeof(keys.token)) ||
        !element(text, "Expiration", expiration, sizeof(expiration)) ||
        (keys.expires_s = hr_aws_time(expiration)) <= 0)
        err = failed(why, HR_E_INVALID, "the answer lacks AccessKeyId, SecretAccessKey, SessionToken or Expiration");
    else
        *ret_keys = keys;
    hr_wipe(&keys, sizeof(keys));
    return err;
}

struct setting {
    const char *name, *value;
    size_t n_name, n_value;
};

/* "name = value" of one line. */
static bool setting_of(const char *line, size_t len, struct setting *ret)
{
    const char *equals = memchr(line, '=', len), *end = line + len;

    if (!equals)
        return false;
    ret->name = line;
    ret->n_name = (size_t)(equals - line);
    while (ret->n_name > 0 && isspace((unsigned char)ret->name[ret->n_name - 1]))
        ret->n_name--;
    ret->value = equals + 1;
    while (ret->value < end && isspace((unsigned char)*ret->value))
        ret->value++;
    while (end > ret->value && isspace((unsigned char)end[-1]))
        end--;
    ret->n_value = (size_t)(end - ret->value);
    return true;
}

static bool is(const struct setting *setting, const char *name)
{
    return setting->n_name == strlen(name) && memcmp(setting->name, name, setting->n_name) == 0;
}

int hr_aws_parse_file(const char *text, const char *profile, struct hr_aws_keys *ret_keys, char why[HR_AWS_WHY_MAX])
{
    struct hr_aws_keys keys = {0};
    bool within = false, seen = false, good = true;
    int err = 0;

    while (*text) {
        size_t len = strcspn(text, "\n");
        const char *line = text;
        struct setting s;

        text += len + (text[len] != '\0');
        while (len > 0 && isspace((unsigned char)line[len - 1]))
            len--;
        if (len == 0 || line[0] == '#' || line[0] == ';')
            continue;
        if (line[0] == '[') {
            within = len == strlen(profile) + 2 && memcmp(line + 1, profile, len - 2) == 0 && line[len - 1] == ']';
            seen = seen || within;
            continue;
        }
        if (!within || isspace((unsigned char)line[0]) || !setting_of(line, len, &s))
            continue;
        if (is(&s, "aws_access_key_id"))
            good = take(s.value, s.n_value, keys.id, sizeof(keys.id)) && good;
        else if (is(&s, "aws_secret_access_key"))
            good = take(s.value, s.n_value, keys.secret, sizeof(keys.secret)) && good;
        else if (is(&s, "aws_session_token"))
            good = take(s.value, s.n_value, keys.token, sizeof(keys.token)) && good;
    }
    if (!seen)
        err = failed(why, HR_E_NOT_FOUND, "there is no profile [%s]", profile);
    else if (!good || !keys.id[0] || !keys.secret[0])
        err = failed(why, HR_E_INVALID, "profile [%s] has no good aws_access_key_id and aws_secret_access_key", profile);
    else
        *ret_keys = keys;
    hr_wipe(&keys, sizeof(keys));
    return err;
}

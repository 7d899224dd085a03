#include "controlplane/auth/credentials.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/auth/crypto.h"
#include "controlplane/auth/http.h"
#include "controlplane/auth/imds.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define TIMEOUT_MS     5000
#define ANSWER_MAX     (64u * 1024)
#define FILE_MAX       (64u * 1024)
#define RENEW_BEFORE_S 300
#define READ_AGAIN_US  (60 * HR_US_PER_S)
#define RETRY_MIN_US   HR_US_PER_S
#define RETRY_MAX_US   (60 * HR_US_PER_S)
#define SKEW_NAMED_S   60
#define FORM_MAX       (HR_AWS_TOKEN_MAX * 3 + 4096)
#define HEADER_MAX     (HR_AWS_TOKEN_MAX + 64)

/* X(name): what is being asked, in the order in which one source asks */
#define STEPS(X)                                                                                                       \
    X(IDLE)                                                                                                            \
    X(WEB_IDENTITY)                                                                                                    \
    X(CONTAINER)                                                                                                       \
    X(METADATA_TOKEN)                                                                                                  \
    X(METADATA_ROLE)                                                                                                   \
    X(METADATA_KEYS)                                                                                                   \
    X(ASSUME_ROLE)

enum step {
#define X(name) STEP_##name,
    STEPS(X)
#undef X
};

struct hr_credentials {
    struct hr_loop *loop;
    struct hr_http *http;
    const struct hr_aws_world *world;
    struct hr_aws_config config;
    void (*changed)(void *owner);
    void *owner;
    enum step step;
    struct hr_http_call *call;
    struct hr_timer timer;
    uint64_t retry_us;
    bool have;
    struct hr_aws_keys keys; /* in use */
    struct hr_aws_keys base; /* what the role is assumed with */
    char metadata_token[256];
    struct hr_credentials_info info;
    char error[HR_AWS_WHY_MAX + 160];
};

static const char *real_env(const char *name)
{
    return getenv(name);
}

static int64_t real_now(void)
{
    return time(NULL);
}

const struct hr_aws_world hr_aws_real_world = {real_env, real_now};

static const char *const source_names[HR_AWS_SOURCE_MAX] = {
#define X(name, text) [HR_AWS_##name] = text,
    HR_AWS_SOURCES(X)
#undef X
};

const char *hr_aws_source_name(enum hr_aws_source source)
{
    return source_names[source] ? source_names[source] : "none";
}

static const char *env(const struct hr_credentials *c, const char *name)
{
    const char *value = c->world->env(name);

    return value ? value : "";
}

/* -- the end of a try ------------------------------------------------------------------------------------- */

static void HR_PRINTF(2, 3) fail(struct hr_credentials *c, const char *fmt, ...)
{
    char text[sizeof(c->error)], skew[96] = "";
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text) - sizeof(skew), fmt, args);
    va_end(args);
    if (c->info.skew_s > SKEW_NAMED_S || c->info.skew_s < -SKEW_NAMED_S)
        snprintf(skew, sizeof(skew), "; our clock is %lld s %s", (long long)llabs(c->info.skew_s),
                 c->info.skew_s > 0 ? "behind" : "ahead");
    strcat(text, skew);
    c->step = STEP_IDLE;
    hr_wipe(&c->base, sizeof(c->base));
    c->info.failures++;
    c->retry_us = c->retry_us ? c->retry_us * 2 : RETRY_MIN_US;
    if (c->retry_us > RETRY_MAX_US)
        c->retry_us = RETRY_MAX_US;
    hr_timer_in(c->loop, &c->timer, c->retry_us);
    if (strcmp(text, c->error) == 0)
        return; /* said already */
    memcpy(c->error, text, sizeof(c->error));
    hr_log_error("aws: credentials (%s): %s", hr_aws_source_name(c->info.source), c->error);
    c->changed(c->owner);
}

static void succeed(struct hr_credentials *c, const struct hr_aws_keys *keys)
{
    bool other = !c->have || strcmp(c->keys.id, keys->id) != 0 || strcmp(c->keys.secret, keys->secret) != 0 ||
                 strcmp(c->keys.token, keys->token) != 0;
    int64_t now = c->world->now_s(), left = keys->expires_s - now;

    if (keys->expires_s && left <= 0) {
        fail(c, "the credentials have expired already");
        return;
    }
    c->step = STEP_IDLE;
    c->retry_us = 0;
    c->have = true;
    c->keys = *keys;
    c->error[0] = '\0';
    c->info.renewals++;
    hr_wipe(&c->base, sizeof(c->base));
    if (keys->expires_s)
        hr_timer_in(c->loop, &c->timer,
                    (uint64_t)(left > 2 * RENEW_BEFORE_S ? left - RENEW_BEFORE_S : left > 1 ? left / 2 : 1) * HR_US_PER_S);
    else
        hr_timer_in(c->loop, &c->timer, READ_AGAIN_US);
    if (other)
        c->changed(c->owner);
}

/* -- asking ------------------------------------------------------------------------------------------------ */

static void answered(void *arg, const struct hr_http_reply *reply);

static void send_request(struct hr_credentials *c, enum step step, const struct hr_http_request *request)
{
    c->step = step;
    if (hr_http_send(c->http, request, answered, c, &c->call) != 0) {
        c->call = NULL;
        fail(c, "%s cannot be asked", request->url);
    }
}

static const char *sts_url(const struct hr_credentials *c, char url[HR_AWS_TEXT_MAX])
{
    const char *given = c->config.sts_url[0] ? c->config.sts_url : env(c, "AWS_ENDPOINT_URL_STS");

    if (*given)
        snprintf(url, HR_AWS_TEXT_MAX, "%s", given);
    else
        snprintf(url, HR_AWS_TEXT_MAX, "https://sts.%s.amazonaws.com", c->config.region);
    return url;
}

/* The Host header: the URL without its scheme and path. */
static void host_of(const char *url, char *ret, size_t cap)
{
    const char *at = strstr(url, "://");

    at = at ? at + 3 : url;
    snprintf(ret, cap, "%.*s", (int)strcspn(at, "/"), at);
}

static int form_add(char *form, const char *name, const char *value)
{
    size_t n = strlen(form);

    if (n + strlen(name) + 3 > FORM_MAX)
        return HR_E_TOO_LARGE;
    snprintf(form + n, FORM_MAX - n, "%s%s=", n > 0 ? "&" : "", name);
    return hr_sigv4_encode(value, form, FORM_MAX);
}

static const char *session_name(const struct hr_credentials *c)
{
    return c->config.session_name[0] ? c->config.session_name : "headrace";
}

static void assume_role(struct hr_credentials *c)
{
    char url[HR_AWS_TEXT_MAX], host[HR_AWS_TEXT_MAX], authorization[1024], date_header[64];
    char *form = calloc(1, FORM_MAX), *token_header = calloc(1, HEADER_MAX);
    struct hr_sigv4_date date;
    int err = HR_E_NOMEM;

    if (!form || !token_header)
        goto out;
    hr_sigv4_date(c->world->now_s(), &date);
    host_of(sts_url(c, url), host, sizeof(host));
    snprintf(form, FORM_MAX, "Action=AssumeRole&Version=2011-06-15");
    if ((err = form_add(form, "RoleArn", c->config.role_arn)) ||
        (err = form_add(form, "RoleSessionName", session_name(c))) ||
        (c->config.external_id[0] && (err = form_add(form, "ExternalId", c->config.external_id))))
        goto out;
    strcpy(authorization, "Authorization: ");
    if ((err = hr_sigv4_post(&c->base, c->config.region, "sts", host, form, &date,
                             authorization + strlen(authorization), sizeof(authorization) - strlen(authorization))))
        goto out;
    snprintf(date_header, sizeof(date_header), "X-Amz-Date: %s", date.full);
    snprintf(token_header, HEADER_MAX, "X-Amz-Security-Token: %s", c->base.token);
    send_request(c, STEP_ASSUME_ROLE,
                 &(struct hr_http_request){.url = url,
                                           .headers = {"Content-Type: application/x-www-form-urlencoded", date_header,
                                                       authorization, c->base.token[0] ? token_header : NULL},
                                           .body = form,
                                           .timeout_ms = TIMEOUT_MS,
                                           .max_bytes = ANSWER_MAX});
out:
    if (err)
        fail(c, "the request to STS cannot be made: %s", hr_strerror(err));
    if (token_header)
        hr_wipe(token_header, HEADER_MAX);
    hr_wipe(authorization, sizeof(authorization));
    free(form);
    free(token_header);
}

/* The role that is to be assumed with the source's keys; a web identity without a role of its own has used it. */
static bool role_is_due(const struct hr_credentials *c)
{
    return c->config.role_arn[0] && !(c->info.source == HR_AWS_WEB_IDENTITY && !*env(c, "AWS_ROLE_ARN"));
}

static void have_base(struct hr_credentials *c, const struct hr_aws_keys *keys)
{
    if (!role_is_due(c)) {
        succeed(c, keys);
        return;
    }
    c->base = *keys;
    assume_role(c);
}

/* The whole file with a NUL behind it, which the caller wipes; NULL after fail(). */
static char *read_file(struct hr_credentials *c, const char *path)
{
    char *text = calloc(1, FILE_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    size_t len = 0;

    while (text && fd >= 0 && len < FILE_MAX && (n = read(fd, text + len, FILE_MAX - len)) > 0)
        len += (size_t)n;
    if (fd < 0 || n < 0) {
        fail(c, "%s cannot be read: %s", path, strerror(errno));
        free(text);
        text = NULL;
    } else if (len == FILE_MAX || strlen(text) != len) {
        fail(c, "%s is too large, or no text", path);
        hr_wipe(text, len);
        free(text);
        text = NULL;
    }
    if (fd >= 0)
        close(fd);
    return text;
}

static void drop_text(char *text)
{
    hr_wipe(text, strlen(text));
    free(text);
}

static void from_environment(struct hr_credentials *c)
{
    const char *id = env(c, "AWS_ACCESS_KEY_ID"), *secret = env(c, "AWS_SECRET_ACCESS_KEY");
    const char *token = env(c, "AWS_SESSION_TOKEN");
    struct hr_aws_keys keys = {0};

    if (!*id || !*secret || strlen(id) >= sizeof(keys.id) || strlen(secret) >= sizeof(keys.secret) ||
        strlen(token) >= sizeof(keys.token)) {
        fail(c, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set");
        return;
    }
    strcpy(keys.id, id);
    strcpy(keys.secret, secret);
    strcpy(keys.token, token);
    have_base(c, &keys);
    hr_wipe(&keys, sizeof(keys));
}

static void from_file(struct hr_credentials *c)
{
    const char *path = c->config.file[0] ? c->config.file : env(c, "AWS_SHARED_CREDENTIALS_FILE");
    char *text, why[HR_AWS_WHY_MAX] = "";
    struct hr_aws_keys keys;

    if (!*path) {
        fail(c, "no file is named");
        return;
    }
    if (!(text = read_file(c, path)))
        return;
    if (hr_aws_parse_file(text, c->config.profile[0] ? c->config.profile : "default", &keys, why) == 0) {
        have_base(c, &keys);
        hr_wipe(&keys, sizeof(keys));
    } else {
        fail(c, "%s: %s", path, why);
    }
    drop_text(text);
}

static void from_web_identity(struct hr_credentials *c)
{
    const char *path = env(c, "AWS_WEB_IDENTITY_TOKEN_FILE"), *role = env(c, "AWS_ROLE_ARN");
    const char *name = env(c, "AWS_ROLE_SESSION_NAME");
    char url[HR_AWS_TEXT_MAX], *form, *token;
    int err;

    if (!*role)
        role = c->config.role_arn;
    if (!*path || !*role) {
        fail(c, "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN are not both set");
        return;
    }
    if (!(token = read_file(c, path)))
        return;
    token[strcspn(token, "\r\n")] = '\0';
    form = calloc(1, FORM_MAX);
    if (form)
        snprintf(form, FORM_MAX, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15");
    if (!form || (err = form_add(form, "RoleArn", role)) ||
        (err = form_add(form, "RoleSessionName", *name ? name : session_name(c))) ||
        (err = form_add(form, "WebIdentityToken", token)))
        fail(c, "%s: the token is too long", path);
    else
        send_request(c, STEP_WEB_IDENTITY,
                     &(struct hr_http_request){.url = sts_url(c, url),
                                               .headers = {"Content-Type: application/x-www-form-urlencoded"},
                                               .body = form,
                                               .timeout_ms = TIMEOUT_MS,
                                               .max_bytes = ANSWER_MAX});
    if (form)
        drop_text(form);
    drop_text(token);
}

/* Tokens are sent without TLS only to addresses that never leave the host. */
static bool local_url(const char *url)
{
    static const char *const good[] = {"http://169.254.170.2", "http://169.254.170.23", "http://[fd00:ec2::23]",
                                       "http://127.0.0.1", "http://localhost", "http://[::1]"};

    if (strncmp(url, "https://", 8) == 0)
        return true;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        size_t n = strlen(good[i]);

        if (strncmp(url, good[i], n) == 0 && (url[n] == '/' || url[n] == ':'))
            return true;
    }
    return false;
}

static void from_container(struct hr_credentials *c)
{
    const char *relative = env(c, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = env(c, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *token = env(c, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    const char *token_file = env(c, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    char url[1024], *read = NULL, header[HEADER_MAX];

    snprintf(url, sizeof(url), "%s%s", *relative ? "http://169.254.170.2" : "", *relative ? relative : full);
    if (!local_url(url)) {
        fail(c, "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or one of the container services' own addresses");
        return;
    }
    if (*token_file) {
        if (!(read = read_file(c, token_file)))
            return;
        read[strcspn(read, "\r\n")] = '\0';
        token = read;
    }
    if ((size_t)snprintf(header, sizeof(header), "Authorization: %s", token) >= sizeof(header))
        fail(c, "the container's authorization token is too long");
    else
        send_request(c, STEP_CONTAINER,
                     &(struct hr_http_request){.url = url,
                                               .headers = {*token ? header : NULL},
                                               .timeout_ms = TIMEOUT_MS,
                                               .max_bytes = ANSWER_MAX,
                                               .direct = true});
    hr_wipe(header, sizeof(header));
    if (read)
        drop_text(read);
}

/* One request to the instance metadata service: the token first, then with it the rest. */
static void ask_metadata(struct hr_credentials *c, enum step step, const char *path)
{
    const char *given = c->config.metadata_url[0] ? c->config.metadata_url : env(c, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    char url[1024], header[sizeof(c->metadata_token) + 32];
    bool first = step == STEP_METADATA_TOKEN;

    hr_imds_url(url, sizeof(url), given, path);
    if (first)
        snprintf(header, sizeof(header), "X-aws-ec2-metadata-token-ttl-seconds: 21600");
    else
        snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %s", c->metadata_token);
    send_request(c, step,
                 &(struct hr_http_request){.url = url,
                                           .method = first ? "PUT" : NULL,
                                           .headers = {header},
                                           .timeout_ms = TIMEOUT_MS,
                                           .max_bytes = ANSWER_MAX,
                                           .direct = true});
    hr_wipe(header, sizeof(header));
}

#define ROLES "/latest/meta-data/iam/security-credentials/"

/* -- answers ----------------------------------------------------------------------------------------------- */

static void take_keys(struct hr_credentials *c, enum step step, const struct hr_http_reply *reply)
{
    bool sts = step == STEP_WEB_IDENTITY || step == STEP_ASSUME_ROLE;
    char why[HR_AWS_WHY_MAX] = "";
    struct hr_aws_keys keys;
    int err = sts ? hr_aws_parse_sts(reply->body, &keys, why) : hr_aws_parse_json(reply->body, reply->len, &keys, why);

    if (!err && reply->status != 200)
        snprintf(why, sizeof(why), "HTTP status %u", reply->status);
    if (err || reply->status != 200) {
        fail(c, "%s: %s%s", step == STEP_ASSUME_ROLE ? "AssumeRole" : step == STEP_WEB_IDENTITY
                                                                          ? "AssumeRoleWithWebIdentity"
                                                                      : step == STEP_CONTAINER ? "the container's service"
                                                                                               : "the metadata service",
             reply->status != 200 && err != HR_E_REFUSED ? "no success, " : "", why);
    } else if (step == STEP_ASSUME_ROLE) {
        succeed(c, &keys);
    } else {
        have_base(c, &keys);
    }
    hr_wipe(&keys, sizeof(keys));
}

static void answered(void *arg, const struct hr_http_reply *reply)
{
    struct hr_credentials *c = arg;
    char role[128], path[256];

    c->call = NULL;
    c->info.skew_s = reply->date_s ? reply->date_s - c->world->now_s() : 0;
    if (reply->err) {
        fail(c, "the %s cannot be reached: %s", c->step == STEP_ASSUME_ROLE || c->step == STEP_WEB_IDENTITY
                                                    ? "security token service (STS)" : "credentials' service",
             reply->why);
        return;
    }
    switch (c->step) {
    case STEP_METADATA_TOKEN:
        if (reply->status == 200 && hr_imds_word(reply, c->metadata_token, sizeof(c->metadata_token)))
            ask_metadata(c, STEP_METADATA_ROLE, ROLES);
        else
            fail(c, "the metadata service gives no token (HTTP status %u): is version 2 on, and the hop limit above 1 "
                    "for containers?", reply->status);
        return;
    case STEP_METADATA_ROLE:
        if (reply->status == 200 && hr_imds_word(reply, role, sizeof(role)) && !strchr(role, '/')) {
            snprintf(path, sizeof(path), ROLES "%s", role);
            ask_metadata(c, STEP_METADATA_KEYS, path);
        } else {
            fail(c, "the instance has no role (HTTP status %u): give it an instance profile", reply->status);
        }
        return;
    case STEP_WEB_IDENTITY:
    case STEP_CONTAINER:
    case STEP_METADATA_KEYS:
    case STEP_ASSUME_ROLE:
        take_keys(c, c->step, reply);
        return;
    case STEP_IDLE:
        return;
    }
}

/* -- life -------------------------------------------------------------------------------------------------- */

static enum hr_aws_source pick(const struct hr_credentials *c)
{
    if (c->config.source != HR_AWS_DEFAULT)
        return c->config.source;
    if (*env(c, "AWS_ACCESS_KEY_ID"))
        return HR_AWS_ENVIRONMENT;
    if (*env(c, "AWS_WEB_IDENTITY_TOKEN_FILE"))
        return HR_AWS_WEB_IDENTITY;
    if (c->config.file[0] || *env(c, "AWS_SHARED_CREDENTIALS_FILE"))
        return HR_AWS_FILE;
    if (*env(c, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || *env(c, "AWS_CONTAINER_CREDENTIALS_FULL_URI"))
        return HR_AWS_CONTAINER;
    return HR_AWS_INSTANCE;
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_credentials *c = timer->arg;

    c->info.source = pick(c);
    switch (c->info.source) {
    case HR_AWS_ENVIRONMENT:
        from_environment(c);
        return;
    case HR_AWS_WEB_IDENTITY:
        from_web_identity(c);
        return;
    case HR_AWS_FILE:
        from_file(c);
        return;
    case HR_AWS_CONTAINER:
        from_container(c);
        return;
    case HR_AWS_INSTANCE:
        ask_metadata(c, STEP_METADATA_TOKEN, "/latest/api/token");
        return;
    case HR_AWS_SOURCE_NONE:
    case HR_AWS_DEFAULT:
    case HR_AWS_SOURCE_MAX:
        return;
    }
}

static bool session_name_ok(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)name[i]) && !strchr("_+=,.@-", name[i]))
            return false;
    }
    return n == 0 || n >= 2;
}

int hr_credentials_create(struct hr_loop *loop, struct hr_http *http, const struct hr_aws_world *world,
                          const struct hr_aws_config *config, void (*changed)(void *owner), void *owner,
                          struct hr_credentials **ret_credentials)
{
    struct hr_credentials *c;

    if (config->source <= HR_AWS_SOURCE_NONE || config->source >= HR_AWS_SOURCE_MAX ||
        !session_name_ok(config->session_name))
        return HR_E_INVALID;
    if (!(c = calloc(1, sizeof(*c))))
        return HR_E_NOMEM;
    c->loop = loop;
    c->http = http;
    c->world = world;
    c->config = *config;
    c->changed = changed;
    c->owner = owner;
    c->info.source = pick(c);
    c->timer = (struct hr_timer){.fn = on_timer, .arg = c};
    hr_timer_in(loop, &c->timer, 0);
    *ret_credentials = c;
    return 0;
}

void hr_credentials_destroy(struct hr_credentials *c)
{
    if (!c)
        return;
    hr_http_cancel(c->call);
    hr_timer_cancel(c->loop, &c->timer);
    hr_wipe(c, sizeof(*c));
    free(c);
}

const struct hr_aws_keys *hr_credentials_get(const struct hr_credentials *c)
{
    return c->have && (c->keys.expires_s == 0 || c->keys.expires_s > c->world->now_s()) ? &c->keys : NULL;
}

void hr_credentials_get_info(const struct hr_credentials *c, struct hr_credentials_info *ret_info)
{
    *ret_info = c->info;
    ret_info->role_arn = c->config.role_arn;
    ret_info->expires_s = c->have ? c->keys.expires_s : 0;
    ret_info->error = c->error;
}

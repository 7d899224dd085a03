/* AWS credentials: where they come from, and having fresh ones before the old expire.
 *
 * A source gives keys; with a role on top, STS gives the role's keys for them. Files and environment are read again each
 * minute, temporary keys are renewed five minutes before they expire, or at half their life when that is shorter. While
 * renewal fails the old keys stay in use until they expire, and the next try comes after 1 s, then ever longer up to a
 * minute.
 *
 *   environment     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   web-identity    AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN (EKS): AssumeRoleWithWebIdentity
 *   file            a file as ~/.aws/credentials is
 *   container       AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI (ECS, EKS Pod Identity)
 *   instance        the metadata service of EC2, version 2
 *   default         the first of these, in this order, for which something is set; else instance
 *
 * Errors say when our clock and the service's differ: signatures depend on it. */
#pragma once

#include <stdint.h>

#include "controlplane/auth/sigv4.h"
#include "shared/base/error.h"

struct hr_credentials;
struct hr_http;
struct hr_loop;

/* X(name, text as configured) */
#define HR_AWS_SOURCES(X)                                                                                              \
    X(DEFAULT, "default")                                                                                              \
    X(ENVIRONMENT, "environment")                                                                                      \
    X(WEB_IDENTITY, "web-identity")                                                                                    \
    X(FILE, "file")                                                                                                    \
    X(CONTAINER, "container")                                                                                          \
    X(INSTANCE, "instance")

enum hr_aws_source {
    HR_AWS_SOURCE_NONE = 0,
#define X(name, text) HR_AWS_##name,
    HR_AWS_SOURCES(X)
#undef X
        HR_AWS_SOURCE_MAX
};
const char *hr_aws_source_name(enum hr_aws_source source);

#define HR_AWS_TEXT_MAX 256

struct hr_aws_config {
    enum hr_aws_source source;
    char region[HR_AWS_REGION_MAX]; /* whose STS is asked */
    char file[HR_AWS_TEXT_MAX];     /* source file; "": AWS_SHARED_CREDENTIALS_FILE */
    char profile[64];               /* in it; "": default */
    char role_arn[HR_AWS_TEXT_MAX]; /* "": none */
    char session_name[65];          /* of the role: 2 to 64 of [A-Za-z0-9_+=,.@-]; "": headrace */
    char external_id[HR_AWS_TEXT_MAX];
    char sts_url[HR_AWS_TEXT_MAX];      /* "": AWS_ENDPOINT_URL_STS, else https://sts.<region>.amazonaws.com */
    char metadata_url[HR_AWS_TEXT_MAX]; /* "": AWS_EC2_METADATA_SERVICE_ENDPOINT, else http://169.254.169.254 */
};

/* What it needs of the world; tests give their own. */
struct hr_aws_world {
    const char *(*env)(const char *name);
    int64_t (*now_s)(void); /* seconds since 1970 */
};
extern const struct hr_aws_world hr_aws_real_world;

/* changed: there are keys where there were none, or other ones; or the error is another. Never from within this call. */
HR_MUST_CHECK int hr_credentials_create(struct hr_loop *loop, struct hr_http *http, const struct hr_aws_world *world,
                                        const struct hr_aws_config *config, void (*changed)(void *owner), void *owner,
                                        struct hr_credentials **ret_credentials);
void hr_credentials_destroy(struct hr_credentials *credentials);
/* Borrowed until the loop's next turn; NULL: there are none that have not expired, and hr_credentials_get_info() says
 * why. */
const struct hr_aws_keys *hr_credentials_get(const struct hr_credentials *credentials);

struct hr_credentials_info {
    enum hr_aws_source source; /* never DEFAULT */
    const char *role_arn;      /* "": none */
    int64_t expires_s;         /* 0: never, or there are none */
    int64_t skew_s;            /* service's clock minus ours, as of the last answer */
    uint64_t renewals, failures;
    const char *error; /* of the last try, "" if it succeeded */
};
void hr_credentials_get_info(const struct hr_credentials *credentials, struct hr_credentials_info *ret_info);

/* -- answers (credentials_parse.c), apart for tests and fuzzing ------------------------------------------- */

#define HR_AWS_WHY_MAX 320

/* "2024-01-01T00:00:00Z", fractions allowed; -1 if it is something else. */
int64_t hr_aws_time(const char *text);
/* container and instance: {"AccessKeyId": ..., "SecretAccessKey": ..., "Token": ..., "Expiration": ...}. */
HR_MUST_CHECK int hr_aws_parse_json(const char *text, size_t len, struct hr_aws_keys *ret_keys,
                                    char why[HR_AWS_WHY_MAX]);
/* STS. REFUSED: an error's answer, with its code and message in why. text ends in NUL. */
HR_MUST_CHECK int hr_aws_parse_sts(const char *text, struct hr_aws_keys *ret_keys, char why[HR_AWS_WHY_MAX]);
/* [profile], then name = value. text ends in NUL. */
HR_MUST_CHECK int hr_aws_parse_file(const char *text, const char *profile, struct hr_aws_keys *ret_keys,
                                    char why[HR_AWS_WHY_MAX]);

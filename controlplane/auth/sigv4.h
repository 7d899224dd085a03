/* AWS Signature Version 4: requests that STS is asked with (in headers), and the presigned query that MSK takes for a
 * login (iam.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/base/error.h"

#define HR_AWS_ID_MAX     132
#define HR_AWS_SECRET_MAX 132
#define HR_AWS_TOKEN_MAX  4100
#define HR_AWS_REGION_MAX 32
#define HR_AWS_HOST_MAX   256

/* What signs. Wiped by its owner. */
struct hr_aws_keys {
    char id[HR_AWS_ID_MAX];
    char secret[HR_AWS_SECRET_MAX];
    char token[HR_AWS_TOKEN_MAX]; /* "": long-lived keys */
    int64_t expires_s;            /* seconds since 1970; 0: never */
};

/* "20240101T000000Z" and its first 8 characters. */
struct hr_sigv4_date {
    char full[17], day[9];
};
void hr_sigv4_date(int64_t now_s, struct hr_sigv4_date *ret_date);

/* RFC 3986 2.3: all but the unreserved characters as %XX, appended to ret_text (a string). TOO_LARGE. */
HR_MUST_CHECK int hr_sigv4_encode(const char *text, char *ret_text, size_t cap);

/* The canonical request's signature as hex. service: "kafka-cluster", "sts". */
HR_MUST_CHECK int hr_sigv4_sign(const struct hr_aws_keys *keys, const struct hr_sigv4_date *date, const char *region,
                                const char *service, const char *canonical, char ret_hex[65]);

/* A presigned GET of "/", action in the query, the host alone signed. */
#define HR_SIGV4_QUERY_MAX (HR_AWS_TOKEN_MAX * 3 + 1024)
struct hr_sigv4_presigned {
    struct hr_sigv4_date date;
    char credential[HR_AWS_ID_MAX + HR_AWS_REGION_MAX + 64];
    char query[HR_SIGV4_QUERY_MAX]; /* in canonical order, without the signature */
    char signature[65];
};
HR_MUST_CHECK int hr_sigv4_presign(const struct hr_aws_keys *keys, const char *region, const char *service,
                                   const char *host, const char *action, uint32_t expires_s, int64_t now_s,
                                   struct hr_sigv4_presigned *ret);

/* A POST of "/" with a form as body: the value of its Authorization header. Signed are content-type
 * (application/x-www-form-urlencoded), host, x-amz-date and, with a token, x-amz-security-token. */
HR_MUST_CHECK int hr_sigv4_post(const struct hr_aws_keys *keys, const char *region, const char *service,
                                const char *host, const char *body, const struct hr_sigv4_date *date,
                                char *ret_authorization, size_t cap);

/* Logging in to Amazon MSK with an IAM identity, in both forms:
 *
 * - AWS_MSK_IAM: one message, a JSON object with a presigned query's parts, signed for the broker's own name;
 * - OAUTHBEARER: a token that is the presigned URL of the region's service, good at every broker of the region.
 *
 * There is nothing to check on the server's side: who has no AWS secret cannot verify either, so that a listener cannot
 * terminate them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/auth/sigv4.h"
#include "shared/base/error.h"

#define HR_IAM_EXPIRES_S   900 /* of a signature; AWS's own default and most */
#define HR_IAM_PAYLOAD_MAX (HR_AWS_TOKEN_MAX + 2048)
#define HR_IAM_TOKEN_MAX   ((HR_SIGV4_QUERY_MAX + 512) * 4 / 3 + 8)

/* "us-east-1" out of "b-1.name.id.c2.kafka.us-east-1.amazonaws.com" and the like. False: not such a name. */
bool hr_iam_region(const char *host, char ret_region[HR_AWS_REGION_MAX]);

/* The message of AWS_MSK_IAM. INVALID: keys or host hold characters that they never have. */
HR_MUST_CHECK int hr_iam_payload(const struct hr_aws_keys *keys, const char *region, const char *host,
                                 const char *user_agent, uint32_t expires_s, int64_t now_s, char *ret_out, size_t cap,
                                 size_t *ret_len);
/* The broker's answer to it. INVALID with *ret_why. */
HR_MUST_CHECK int hr_iam_check_reply(const uint8_t *msg, size_t len, const char **ret_why);

/* The token for OAUTHBEARER. */
HR_MUST_CHECK int hr_iam_token(const struct hr_aws_keys *keys, const char *region, const char *user_agent,
                               uint32_t expires_s, int64_t now_s, char *ret_out, size_t cap, size_t *ret_len);

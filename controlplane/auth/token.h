/* A token for OAUTHBEARER by client credentials (RFC 6749 4.4): asked for at the issuer's token endpoint with an id and a
 * secret, kept until 80 % of its life have passed, then asked for again. While that fails the old one stays in use until it
 * expires; the next try comes after 1 s, then ever longer up to a minute. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/base/error.h"

#define HR_TOKEN_MAX     16384
#define HR_TOKEN_WHY_MAX 280

struct hr_http;
struct hr_loop;
struct hr_secret;
struct hr_token;

/* Strings are copied, scope "": none asked for; the secret is borrowed, and must outlive this. changed: there is a token
 * where there was none, or the error is another; never from within this call. */
HR_MUST_CHECK int hr_token_create(struct hr_loop *loop, struct hr_http *http, const char *url, const char *client_id,
                                  const char *scope, struct hr_secret *secret, void (*changed)(void *owner),
                                  void *owner, struct hr_token **ret_token);
/* NULL is allowed. */
void hr_token_destroy(struct hr_token *token);

/* Borrowed until the loop's next turn. AGAIN: there is none that has not expired; why says more. */
HR_MUST_CHECK int hr_token_get(const struct hr_token *token, const char **ret_text, size_t *ret_len,
                               char why[HR_TOKEN_WHY_MAX]);
/* The broker refused it: another one is asked for, not within ten seconds of the last. */
void hr_token_doubt(struct hr_token *token);

/* The endpoint's answer, apart for fuzzing. ret_text holds HR_TOKEN_MAX bytes. INVALID, REFUSED with why. */
HR_MUST_CHECK int hr_token_parse(const char *text, size_t len, char *ret_text, int64_t *ret_lives_s,
                                 char why[HR_TOKEN_WHY_MAX]);

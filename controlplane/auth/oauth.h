/* OAUTHBEARER (RFC 7628) as Kafka speaks it: the client's message both ways, and the check of a token against an
 * issuer.
 *
 *   n,[a=authzid],^A auth=Bearer <token>^A [key=value^A]... ^A
 *
 * A broker answers a bad token with success and {"status": ...}, to which the client replies with one ^A, and only then
 * comes the error: sasl_server.c and login.c do that. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/auth/jwt.h"
#include "shared/base/error.h"

/* A client's message, taken apart; the token points into it. */
struct hr_oauth_message {
    char authzid[HR_PRINCIPAL_MAX]; /* "" if none */
    const char *token;
    size_t token_len;
};

/* INVALID with *ret_why. */
HR_MUST_CHECK int hr_oauth_parse(const uint8_t *msg, size_t len, struct hr_oauth_message *ret_message,
                                 const char **ret_why);
/* TOO_LARGE; INVALID: a token with characters that none has (RFC 6750 2.1). */
HR_MUST_CHECK int hr_oauth_format(const char *token, size_t token_len, char *ret_out, size_t cap, size_t *ret_len);

/* One token being checked, which may have to wait for the issuer's keys. The owner keeps it and the token alive, and
 * ends it with hr_oauth_check_end(), also after its callback. */
struct hr_oauth_check {
    struct hr_jwks_wait wait;
    struct hr_jwks_source *source;
    const struct hr_jwt_rules *rules;
    int64_t now_s;
    struct hr_jwt jwt;
    void (*done)(struct hr_oauth_check *check, int err);
    struct hr_jwt_identity identity; /* of a good token */
    const char *why;                 /* of a bad one */
    bool parsed;
};

/* 0: check->identity holds; REFUSED or INVALID: check->why says why; AGAIN: done() is called later with one of these. */
HR_MUST_CHECK int hr_oauth_check_start(struct hr_oauth_check *check, struct hr_jwks_source *source,
                                       const struct hr_jwt_rules *rules, int64_t now_s, const char *token, size_t len,
                                       void (*done)(struct hr_oauth_check *check, int err));
void hr_oauth_check_end(struct hr_oauth_check *check);

/* Signed tokens (JWS compact, RFC 7515; JWT, RFC 7519): taken apart, checked, and what they say.
 *
 * RS256, PS256 and ES256 alone: `none`, HS* and everything else is refused before a key is looked at, and a key fits
 * only the algorithms that its kind allows. Headers that must be understood (`crit`) are refused. `exp` is required. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/auth/jwks.h"
#include "shared/base/error.h"
#include "shared/ipc/login.h"

#define HR_JWT_MAX       (32u * 1024)
#define HR_JWT_SCOPES    8

struct hr_jwt {
    enum hr_jwt_alg alg;
    const char *kid; /* in header, NULL: none */
    json_t *header, *claims;
    const char *signed_text; /* in the token, which must outlive this */
    size_t signed_len;
    uint8_t signature[1024];
    size_t signature_len;
};

/* INVALID with *ret_why, a static text; ret_jwt then needs no hr_jwt_end(). */
HR_MUST_CHECK int hr_jwt_parse(const char *token, size_t len, struct hr_jwt *ret_jwt, const char **ret_why);
void hr_jwt_end(struct hr_jwt *jwt);

/* key: as hr_jwks_find() gives it for jwt->alg. REFUSED when the signature is not this key's. */
HR_MUST_CHECK int hr_jwt_verify(const struct hr_jwt *jwt, void *key);

/* What a token must say. NULL: not looked at; strings are borrowed. */
struct hr_jwt_rules {
    const char *issuer;
    const char *audience;
    const char *scopes[HR_JWT_SCOPES]; /* all of them, in claim "scope" (a text, or a list) or "scp" */
    const char *principal_claim;       /* NULL: "sub" */
    int64_t skew_s;                    /* how far clocks may be apart */
};

struct hr_jwt_identity {
    char principal[HR_PRINCIPAL_MAX]; /* without "User:" */
    int64_t expires_s;                /* seconds since 1970 */
};

/* now_s: seconds since 1970. REFUSED with *ret_why, a static text. */
HR_MUST_CHECK int hr_jwt_check(const struct hr_jwt *jwt, const struct hr_jwt_rules *rules, int64_t now_s,
                               struct hr_jwt_identity *ret_identity, const char **ret_why);

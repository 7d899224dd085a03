/* Keys that sign tokens: a JWK set (RFC 7517), and where one comes from.
 *
 * A set is public keys alone: RSA of 2048 to 8192 bits for RS256 and PS256, P-256 for ES256. Keys of other kinds, or
 * for encryption, are left out; symmetric keys are, too, so that HS256 has nothing to be checked with.
 *
 * A source fetches the set over HTTP, or reads it from a file, and keeps it. It is fetched again after refresh_us, and
 * when a token names a key that the set does not have (the issuer has rotated), but not within refetch_us of the last
 * time: tokens with made-up names cost the issuer nothing. What was fetched stays in use while fetching fails, up to
 * keep_us. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/base/error.h"

#define HR_JWKS_KEYS_MAX  64
#define HR_JWKS_BYTES_MAX (1024u * 1024)
#define HR_JWKS_WHY_MAX   256

struct hr_http;
struct hr_jwks;
struct hr_jwks_source;
struct hr_loop;

/* X(name): algorithms (RFC 7518 3.1); no other is ever accepted */
#define HR_JWT_ALGS(X) X(RS256) X(PS256) X(ES256)

enum hr_jwt_alg {
    HR_JWT_ALG_NONE = 0,
#define X(name) HR_JWT_##name,
    HR_JWT_ALGS(X)
#undef X
        HR_JWT_ALG_MAX
};

/* INVALID with why: no JSON, no set, or no key in it of use. */
HR_MUST_CHECK int hr_jwks_parse(const char *text, size_t len, struct hr_jwks **ret_jwks, char why[HR_JWKS_WHY_MAX]);
/* The same of a file. INVALID with why, too, where it cannot be read. */
HR_MUST_CHECK int hr_jwks_load(const char *path, struct hr_jwks **ret_jwks, char why[HR_JWKS_WHY_MAX]);
void hr_jwks_free(struct hr_jwks *jwks);
uint32_t hr_jwks_count(const struct hr_jwks *jwks);
/* kid: NULL when the token names none, which fits if exactly one key of the set is for alg. Returns an EVP_PKEY,
 * borrowed, or NULL. */
void *hr_jwks_find(const struct hr_jwks *jwks, const char *kid, enum hr_jwt_alg alg);

struct hr_jwks_config {
    const char *url;     /* NULL: it is in file */
    const char *file;    /* looked at as often as a URL is asked */
    const char *ca_file; /* NULL: the system's */
    uint64_t refresh_us, refetch_us, keep_us;
    uint32_t timeout_ms;
};

/* Who waits for a fetch; the owner keeps it alive. */
struct hr_jwks_wait {
    void (*fn)(struct hr_jwks_wait *wait);
    void *arg;
    struct hr_jwks_wait *next;
    struct hr_jwks_source *source; /* NULL: does not wait */
};

/* Strings are copied. Fetches at once. */
HR_MUST_CHECK int hr_jwks_source_create(struct hr_loop *loop, struct hr_http *http,
                                        const struct hr_jwks_config *config, struct hr_jwks_source **ret_source);
void hr_jwks_source_destroy(struct hr_jwks_source *source);
/* The key, borrowed until the loop's next turn. AGAIN: a fetch is under way that may bring it, and wait is called after
 * it, never from within; NOT_FOUND: there is none, and it was asked for lately; *ret_why says more. */
HR_MUST_CHECK int hr_jwks_source_get(struct hr_jwks_source *source, const char *kid, enum hr_jwt_alg alg,
                                     struct hr_jwks_wait *wait, void **ret_key, const char **ret_why);
void hr_jwks_wait_cancel(struct hr_jwks_wait *wait);

struct hr_jwks_info {
    uint32_t keys;
    uint64_t fetched_us; /* last success, 0: never */
    uint64_t fetches, failures;
    const char *error; /* of the last fetch, "" if it succeeded */
};
void hr_jwks_source_get_info(const struct hr_jwks_source *source, struct hr_jwks_info *ret_info);

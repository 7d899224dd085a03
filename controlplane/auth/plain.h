/* PLAIN (RFC 4616): the message both ways, and the check of a password against the same verifiers that SCRAM uses, so
 * that no password is stored.
 *
 * A check costs as many iterations as the verifier says. A success is remembered for some minutes as a keyed hash over
 * user, verifier and password: the next login with the same password costs one hash, and a changed verifier misses.
 * What is not remembered takes an attempt of its source (attempts.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "controlplane/auth/attempts.h"
#include "controlplane/auth/scram.h"
#include "shared/base/error.h"

#define HR_PLAIN_CACHE_PLACES 1024
#define HR_PLAIN_KEEP_US      (5ull * 60 * 1000000)

/* A client's message, taken apart; password points into it. */
struct hr_plain {
    char user[HR_SCRAM_USER_MAX];
    const char *password;
    size_t password_len;
};

/* As Kafka does: authzid must be empty or the user's name. INVALID with *ret_why. */
HR_MUST_CHECK int hr_plain_parse(const uint8_t *msg, size_t len, struct hr_plain *ret_plain, const char **ret_why);
/* NUL user NUL password. INVALID: a NUL inside; TOO_LARGE. */
HR_MUST_CHECK int hr_plain_format(const char *user, const char *password, size_t password_len, char *ret_out,
                                  size_t cap, size_t *ret_len);

struct hr_plain_cache {
    uint8_t key[32];
    struct {
        uint8_t mac[32];
        uint64_t until_us;
    } places[HR_PLAIN_CACHE_PLACES];
};

HR_MUST_CHECK int hr_plain_cache_init(struct hr_plain_cache *cache);

/* 0: the password is the user's. REFUSED: it is not, or there is no such user, at the same cost; BUSY: the source has
 * no attempts left. */
HR_MUST_CHECK int hr_plain_check(struct hr_plain_cache *cache, struct hr_attempts *attempts,
                                 const struct hr_addr *source, uint64_t now_us, hr_scram_lookup_fn *lookup, void *arg,
                                 const struct hr_plain *plain);

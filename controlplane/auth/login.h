/* Logging in to a broker: the bytes of SaslHandshake v1 and SaslAuthenticate v2 (KIP-152, KIP-368), without I/O.
 *
 * The owner sends what hr_login_output() gives, feeds what the broker answers, and so on until the verdict:
 *
 *   hr_login_create()
 *   loop: send hr_login_output(), hr_login_sent(); receive, hr_login_feed()
 *   HR_LOGIN_DONE: hr_login_lifetime_ms() says for how long; bytes behind the last answer are the owner's
 *
 * Frames are made by hand and not by the codec of shared/kafka/json.h, whose JSON would hold secrets in memory that
 * nobody wipes. Everything of the login is wiped by hr_login_destroy(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/auth/scram.h"
#include "controlplane/auth/sigv4.h"
#include "shared/base/error.h"

struct hr_login;

/* X(name, Kafka's name) */
#define HR_MECHANISMS(X)                                                                                               \
    X(PLAIN, "PLAIN")                                                                                                  \
    X(SCRAM_SHA_256, "SCRAM-SHA-256")                                                                                  \
    X(SCRAM_SHA_512, "SCRAM-SHA-512")                                                                                  \
    X(OAUTHBEARER, "OAUTHBEARER")                                                                                      \
    X(AWS_MSK_IAM, "AWS_MSK_IAM")

enum hr_mechanism {
    HR_MECHANISM_NONE = 0,
#define X(name, text) HR_MECH_##name,
    HR_MECHANISMS(X)
#undef X
        HR_MECHANISM_MAX
};
const char *hr_mechanism_name(enum hr_mechanism mechanism);

/* Copied by hr_login_create(), but for the cache, which must outlive the login. */
struct hr_login_with {
    enum hr_mechanism mechanism;
    const char *user;             /* PLAIN, SCRAM */
    const char *secret;           /* PLAIN, SCRAM: the password; OAUTHBEARER: the token */
    size_t secret_len;
    struct hr_scram_cache *cache; /* SCRAM; may be NULL */
    const struct hr_aws_keys *keys; /* AWS_MSK_IAM; OAUTHBEARER without a secret: MSK's own token */
    const char *region;             /* with keys */
    const char *host;               /* AWS_MSK_IAM: the broker's name as dialled */
    int64_t now_s;                  /* seconds since 1970 */
    const char *client_id;
    int32_t correlation_id; /* of the first request; the others count up */
};

#define HR_LOGIN_WHY_MAX   320
#define HR_LOGIN_FRAME_MAX 65536 /* of an answer */

enum hr_login_verdict {
    HR_LOGIN_MORE = 0, /* there may be output, and more input is awaited */
    HR_LOGIN_DONE,
    HR_LOGIN_REFUSED,  /* the broker said no */
    HR_LOGIN_BROKEN,   /* it spoke nonsense, or cannot be logged in to */
};

HR_MUST_CHECK int hr_login_create(const struct hr_login_with *with, struct hr_login **ret_login);
void hr_login_destroy(struct hr_login *login); /* NULL is allowed */

/* What is to be sent now; NULL: nothing. Wiped by hr_login_sent(), which is due before the next input. */
const uint8_t *hr_login_output(const struct hr_login *login, size_t *ret_len);
void hr_login_sent(struct hr_login *login);

/* *ret_used: all of len, unless the login has ended before. After another verdict than MORE nothing is taken. */
enum hr_login_verdict hr_login_feed(struct hr_login *login, const uint8_t *data, size_t len, size_t *ret_used);
/* Why it was refused or broken; what the broker said is escaped. */
const char *hr_login_why(const struct hr_login *login);
/* 0: for ever. Otherwise the broker wants a new login before this has passed. */
uint64_t hr_login_lifetime_ms(const struct hr_login *login);
/* Of a life so long: when the new one is due, 85 %, as Kafka's clients do. */
static inline uint64_t hr_login_due(uint64_t life_us)
{
    return life_us / 100 * 85;
}

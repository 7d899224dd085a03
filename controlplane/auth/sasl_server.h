/* The server's side of a login on a listener that terminates authentication: frames of a client that has not proven who
 * it is, answered as a broker does, without I/O.
 *
 *   client                                       Headrace
 *     ApiVersions (any version)                   -> the versions that the realm has, or 35
 *     SaslHandshake 1                             -> 0 and the mechanisms, or 33 and the end
 *     SaslAuthenticate 0-2, once or twice         -> 0 and the mechanism's answer, or 58 after a delay, and the end
 *   or, after SaslHandshake 0, tokens with a length and without Kafka's headers: an answer for each, and for a login
 *   that fails nothing but the end.
 *
 * Anything else before the login ends the connection without an answer (34 where it has a code for it). After the login
 * the owner hands the connection over; what the client has sent behind it stays untaken.
 *
 * The owner feeds bytes and looks at the verdict; AGAIN means that the issuer's keys are being fetched, and that
 * resumed() is called when it is worth to feed on (with no bytes, or with those left). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/auth/login.h"
#include "controlplane/auth/oauth.h"
#include "controlplane/auth/plain.h"
#include "shared/base/addr.h"
#include "shared/base/error.h"

#define HR_SASL_RECEIVE_MAX 524288 /* sasl.server.max.receive.size of a broker */
#define HR_SASL_DELAY_MS    100    /* connection.failed.authentication.delay.ms of a broker */

struct hr_sasl_server;

/* Versions that a client may use after its login. */
struct hr_sasl_api {
    int16_t key, min, max;
};

/* Whom a listener lets in, and how it checks; shared by all its logins, outlives them. */
struct hr_sasl_realm {
    uint32_t mechanisms;          /* bits 1 << enum hr_mechanism; AWS_MSK_IAM is not among them: nobody but AWS can check it */
    hr_scram_lookup_fn *lookup;   /* PLAIN, SCRAM */
    void *lookup_arg;
    struct hr_plain_cache *plain; /* PLAIN */
    struct hr_attempts *attempts; /* failures of all mechanisms; PLAIN takes one for each check */
    struct hr_jwks_source *keys;  /* OAUTHBEARER */
    const struct hr_jwt_rules *rules;
    uint64_t lifetime_ms; /* told to the client, cut to the token's; 0: for ever */
    const struct hr_sasl_api *apis; /* what ApiVersions is answered with; ApiVersions itself is among them */
    uint32_t n_apis;
    bool (*allowed)(void *arg, const char *principal); /* NULL: everybody who has proven who it is */
    void *allowed_arg;
};

/* Why a login failed. X(name, text) */
#define HR_SASL_REASONS(X)                                                                                             \
    X(bad_credentials, "wrong password, or no such user")                                                              \
    X(bad_token, "the token is not good here")                                                                         \
    X(too_many_attempts, "too many attempts from this address")                                                        \
    X(not_allowed, "the listener does not let this user in")                                                           \
    X(bad_mechanism, "a mechanism that the listener does not offer")                                                   \
    X(changed_principal, "a login in mid-session as somebody else, or by another mechanism, than the first")           \
    X(bad_frame, "no login: malformed, out of turn, or something else altogether")

enum hr_sasl_reason {
    HR_SASL_REASON_NONE = 0,
#define X(name, text) HR_SASL_REASON_##name,
    HR_SASL_REASONS(X)
#undef X
        HR_SASL_REASON_MAX
};

enum hr_sasl_verdict {
    HR_SASL_MORE = 0,
    HR_SASL_DONE,   /* hr_sasl_server_identity() says who */
    HR_SASL_FAILED, /* send the output, but HR_SASL_DELAY_MS later, then close */
    HR_SASL_CLOSE,  /* close without an answer */
    HR_SASL_WAIT,   /* for keys: resumed() will be called */
};

struct hr_sasl_identity {
    enum hr_mechanism mechanism;
    char principal[HR_PRINCIPAL_MAX]; /* without "User:" */
    uint64_t lifetime_ms;             /* as told to the client; 0: for ever */
};

HR_MUST_CHECK int hr_sasl_server_create(const struct hr_sasl_realm *realm, const struct hr_addr *source,
                                        void (*resumed)(void *owner), void *owner,
                                        struct hr_sasl_server **ret_server);
void hr_sasl_server_destroy(struct hr_sasl_server *server); /* NULL is allowed */

/* A login in mid-session: who logged in before, and how; nobody else may (KIP-368). principal is borrowed. */
void hr_sasl_server_expect(struct hr_sasl_server *server, enum hr_mechanism mechanism, const char *principal);

/* now_us: of a steady clock; now_s: seconds since 1970. Takes whole frames one after the other, as long as no answer
 * waits to be sent. */
enum hr_sasl_verdict hr_sasl_server_feed(struct hr_sasl_server *server, uint64_t now_us, int64_t now_s,
                                         const uint8_t *data, size_t len, size_t *ret_used);
/* NULL: nothing. Wiped by hr_sasl_server_sent(), which is due before the next input. */
const uint8_t *hr_sasl_server_output(const struct hr_sasl_server *server, size_t *ret_len);
void hr_sasl_server_sent(struct hr_sasl_server *server);

/* After DONE. */
const struct hr_sasl_identity *hr_sasl_server_identity(const struct hr_sasl_server *server);
enum hr_sasl_reason hr_sasl_server_reason(const struct hr_sasl_server *server); /* after FAILED and CLOSE */
/* After FAILED and CLOSE: for the log, and whom the client said to be ("" if it did not get that far; escaped). */
const char *hr_sasl_server_why(const struct hr_sasl_server *server);
const char *hr_sasl_server_claimed(const struct hr_sasl_server *server);

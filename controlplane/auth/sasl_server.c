#include "controlplane/auth/sasl_server.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/sasl_frame.h"
#include "shared/base/log.h"
#include "shared/base/wipe.h"
#include "shared/base/wipebuf.h"

#define OUTPUT_MAX    16384
#define INVALID_TOKEN "{\"status\":\"invalid_token\"}"

/* X(name): what the client may send */
#define STATES(X)                                                                                                      \
    X(START)     /* ApiVersions, once, or SaslHandshake */                                                             \
    X(HANDSHAKE) /* SaslHandshake */                                                                                   \
    X(FIRST)     /* the mechanism's first message */                                                                   \
    X(SECOND)    /* SCRAM: the proof; OAUTHBEARER: ^A after a bad token */                                             \
    X(KEYS)      /* nothing: the issuer's keys are awaited */                                                          \
    X(ENDED)

enum state {
#define X(name) STATE_##name,
    STATES(X)
#undef X
};

struct hr_sasl_server {
    const struct hr_sasl_realm *realm;
    struct hr_addr source;
    void (*resumed)(void *owner);
    void *owner;
    enum state state;
    enum hr_sasl_verdict verdict;
    enum hr_sasl_reason reason;
    enum hr_mechanism expected_mechanism; /* of a login in mid-session; NONE: the first */
    const char *expected;                 /* its principal */
    bool raw; /* SaslHandshake 0: tokens without headers */
    uint64_t now_us;
    int64_t now_s;
    int16_t version;        /* of the SaslAuthenticate that is answered next */
    int32_t correlation_id; /* of the request that is answered next */
    struct hr_scram_server scram;
    struct hr_oauth_check check;
    bool check_used, check_done;
    int check_err;
    struct hr_sasl_identity identity;
    uint8_t size_bytes[4];
    uint32_t n_size, size;
    struct hr_wipebuf frame; /* what has arrived of it */
    uint8_t output[OUTPUT_MAX];
    size_t n_output;
    char authzid[HR_PRINCIPAL_MAX], claimed[HR_PRINCIPAL_MAX], why[HR_LOGIN_WHY_MAX], token_why[HR_LOGIN_WHY_MAX];
};

static enum hr_sasl_verdict end(struct hr_sasl_server *s, enum hr_sasl_verdict verdict, const char *why)
{
    s->state = STATE_ENDED;
    s->verdict = verdict;
    if (s->reason == HR_SASL_REASON_NONE)
        s->reason = HR_SASL_REASON_bad_frame;
    snprintf(s->why, sizeof(s->why), "%s", why);
    return verdict;
}

static enum hr_sasl_verdict close_silently(struct hr_sasl_server *s, const char *why)
{
    return end(s, HR_SASL_CLOSE, why);
}

static bool is_scram(const struct hr_sasl_server *s)
{
    return s->identity.mechanism == HR_MECH_SCRAM_SHA_256 || s->identity.mechanism == HR_MECH_SCRAM_SHA_512;
}

/* -- answers ----------------------------------------------------------------------------------------------- */

static struct hr_sasl_writer begin(struct hr_sasl_server *s)
{
    struct hr_sasl_writer w = {s->output, sizeof(s->output), 0, false};

    hr_sasl_put_i32(&w, 0);
    hr_sasl_put_i32(&w, s->correlation_id);
    return w;
}

static void finish(struct hr_sasl_server *s, struct hr_sasl_writer *w)
{
    hr_sasl_put_size(w);
    s->n_output = w->len;
}

static void answer_handshake(struct hr_sasl_server *s, int16_t error)
{
    struct hr_sasl_writer w = begin(s);
    int32_t n = 0;

    hr_sasl_put_i16(&w, error);
    for (int m = HR_MECHANISM_NONE + 1; m < HR_MECHANISM_MAX; m++)
        n += (s->realm->mechanisms & 1u << m) != 0;
    hr_sasl_put_i32(&w, n);
    for (int m = HR_MECHANISM_NONE + 1; m < HR_MECHANISM_MAX; m++) {
        if (s->realm->mechanisms & 1u << m)
            hr_sasl_put_string(&w, hr_mechanism_name((enum hr_mechanism)m));
    }
    finish(s, &w);
}

static void answer_authenticate(struct hr_sasl_server *s, int16_t error, const char *text, const char *bytes, size_t len,
                                uint64_t lifetime_ms)
{
    struct hr_sasl_writer w = {s->output, sizeof(s->output), 0, false};

    if (s->raw) {
        if (error)
            return;
        hr_sasl_put_i32(&w, (int32_t)len);
        hr_sasl_put(&w, bytes, len);
        s->n_output = w.len;
        return;
    }
    w = begin(s);
    if (s->version >= 2) {
        hr_sasl_put_uvarint(&w, 0); /* response header v1 */
        hr_sasl_put_i16(&w, error);
        hr_sasl_put_compact(&w, text, text ? strlen(text) : 0);
        hr_sasl_put_compact(&w, bytes, len);
    } else {
        hr_sasl_put_i16(&w, error);
        hr_sasl_put_string(&w, text);
        hr_sasl_put_i32(&w, (int32_t)len);
        hr_sasl_put(&w, bytes, len);
    }
    if (s->version >= 1)
        hr_sasl_put_i64(&w, (int64_t)lifetime_ms);
    if (s->version >= 2)
        hr_sasl_put_uvarint(&w, 0);
    finish(s, &w);
}

/* As a broker words it; why is for our log. */
static enum hr_sasl_verdict refuse(struct hr_sasl_server *s, const char *text, const char *why)
{
    answer_authenticate(s, HR_SASL_AUTHENTICATION_FAILED, text, "", 0, 0);
    return end(s, s->raw ? HR_SASL_CLOSE : HR_SASL_FAILED, why);
}

static enum hr_sasl_verdict refuse_credentials(struct hr_sasl_server *s, const char *why)
{
    char text[160];

    if (s->reason == HR_SASL_REASON_NONE)
        s->reason = s->identity.mechanism == HR_MECH_OAUTHBEARER ? HR_SASL_REASON_bad_token : HR_SASL_REASON_bad_credentials;
    if (s->identity.mechanism == HR_MECH_PLAIN)
        return refuse(s, "Authentication failed: Invalid username or password", why);
    snprintf(text, sizeof(text), "Authentication failed during authentication due to invalid credentials with SASL "
                                 "mechanism %s", hr_mechanism_name(s->identity.mechanism));
    return refuse(s, text, why);
}

static enum hr_sasl_verdict succeed(struct hr_sasl_server *s, const char *principal, const char *bytes, size_t len,
                                    uint64_t lifetime_ms)
{
    char text[HR_PRINCIPAL_MAX * 4 + 64], shown[HR_PRINCIPAL_MAX * 4];

    if (s->realm->allowed && !s->realm->allowed(s->realm->allowed_arg, principal)) {
        hr_log_escape(shown, sizeof(shown), principal, (uint32_t)strlen(principal));
        snprintf(text, sizeof(text), "Authentication failed: User:%s is not allowed on this listener", shown);
        s->reason = HR_SASL_REASON_not_allowed;
        return refuse(s, text, "its name is not in the listener's list");
    }
    if (s->expected && strcmp(s->expected, principal) != 0) {
        s->reason = HR_SASL_REASON_changed_principal;
        return refuse(s, "Authentication failed: Cannot change principals during re-authentication",
                      "it is another principal than the session's");
    }
    snprintf(s->identity.principal, sizeof(s->identity.principal), "%s", principal);
    s->identity.lifetime_ms = lifetime_ms;
    answer_authenticate(s, 0, NULL, bytes, len, lifetime_ms);
    return end(s, HR_SASL_DONE, "");
}

/* -- mechanisms -------------------------------------------------------------------------------------------- */

static void claim(struct hr_sasl_server *s, const char *user)
{
    hr_log_escape(s->claimed, sizeof(s->claimed), user, (uint32_t)strlen(user));
}

static enum hr_sasl_verdict refuse_attempt(struct hr_sasl_server *s)
{
    s->reason = HR_SASL_REASON_too_many_attempts;
    return refuse_credentials(s, "too many attempts from this address");
}

static enum hr_sasl_verdict on_plain(struct hr_sasl_server *s, const uint8_t *msg, size_t len)
{
    struct hr_plain plain;
    const char *why = "";

    if (hr_plain_parse(msg, len, &plain, &why) != 0)
        return refuse_credentials(s, why);
    claim(s, plain.user);
    switch (hr_plain_check(s->realm->plain, s->realm->attempts, &s->source, s->now_us, s->realm->lookup,
                           s->realm->lookup_arg, &plain)) {
    case 0:
        return succeed(s, plain.user, "", 0, s->realm->lifetime_ms);
    case HR_E_BUSY:
        return refuse_attempt(s);
    default:
        return refuse_credentials(s, "wrong password, or no such user");
    }
}

/* Between a SCRAM login's two messages the user may have been removed, or have another password. */
static bool is_still_valid(struct hr_sasl_server *s, enum hr_digest hash)
{
    struct hr_scram_verifier now;
    bool there = s->realm->lookup(s->realm->lookup_arg, s->scram.user, hash, &now) &&
                 CRYPTO_memcmp(now.stored_key, s->scram.verifier.stored_key, sizeof(now.stored_key)) == 0;

    hr_wipe(&now, sizeof(now));
    return there;
}

static enum hr_sasl_verdict on_scram(struct hr_sasl_server *s, const uint8_t *msg, size_t len)
{
    enum hr_digest hash = s->identity.mechanism == HR_MECH_SCRAM_SHA_256 ? HR_SHA256 : HR_SHA512;
    char out[HR_SCRAM_MESSAGE_MAX];
    const char *why = "";
    size_t n;

    if (s->state == STATE_FIRST) {
        if (!hr_attempts_left(s->realm->attempts, &s->source, s->now_us))
            return refuse_attempt(s);
        if (hr_scram_server_first(&s->scram, hash, s->realm->lookup, s->realm->lookup_arg, NULL, msg, len, out,
                                  sizeof(out), &n, &why) != 0)
            return refuse_credentials(s, why);
        claim(s, s->scram.user);
        answer_authenticate(s, 0, NULL, out, n, 0);
        s->state = STATE_SECOND;
        return HR_SASL_MORE;
    }
    if (!hr_attempts_left(s->realm->attempts, &s->source, s->now_us))
        return refuse_attempt(s); /* others of this address failed since */
    if (s->scram.known && !is_still_valid(s, hash))
        return refuse_credentials(s, "the user was removed or changed meanwhile");
    if (hr_scram_server_final(&s->scram, msg, len, out, sizeof(out), &n, &why) != 0) {
        (void)hr_attempts_take(s->realm->attempts, &s->source, s->now_us); /* what succeeds costs nothing */
        return refuse_credentials(s, why);
    }
    return succeed(s, s->scram.user, out, n, s->realm->lifetime_ms);
}

/* A token has been judged. RFC 7628 3.2.2: a refusal is told in JSON first, and as an error only after one more
 * message. */
static enum hr_sasl_verdict judged(struct hr_sasl_server *s, int err)
{
    const struct hr_jwt_identity *who = &s->check.identity;
    uint64_t left_ms, lifetime_ms = s->realm->lifetime_ms;

    if (err) {
        (void)hr_attempts_take(s->realm->attempts, &s->source, s->now_us);
        snprintf(s->token_why, sizeof(s->token_why), "%s", s->check.why ? s->check.why : hr_strerror(err));
        answer_authenticate(s, 0, NULL, INVALID_TOKEN, strlen(INVALID_TOKEN), 0);
        s->state = STATE_SECOND;
        return HR_SASL_MORE;
    }
    claim(s, who->principal);
    if (s->authzid[0] && strcmp(s->authzid, who->principal) != 0)
        return refuse_credentials(s, "the authorization id differs from the token's subject");
    /* Clocks may be apart by the allowed skew: a token at its end lives for one more second. */
    left_ms = who->expires_s > s->now_s ? (uint64_t)(who->expires_s - s->now_s) * 1000 : 1000;
    if (lifetime_ms == 0 || left_ms < lifetime_ms)
        lifetime_ms = left_ms;
    return succeed(s, who->principal, "", 0, lifetime_ms);
}

static void on_judged(struct hr_oauth_check *check, int err)
{
    struct hr_sasl_server *s = (struct hr_sasl_server *)((char *)check - offsetof(struct hr_sasl_server, check));

    s->check_done = true;
    s->check_err = err;
    s->resumed(s->owner);
}

static enum hr_sasl_verdict on_oauth(struct hr_sasl_server *s, const uint8_t *msg, size_t len)
{
    struct hr_oauth_message message;
    const char *why = "";
    int err;

    if (s->state == STATE_SECOND) {
        s->reason = HR_SASL_REASON_bad_token;
        if (len != 1 || msg[0] != '\x01')
            return refuse(s, "Authentication failed: the client goes on after its token was refused", s->token_why);
        return refuse(s, INVALID_TOKEN, s->token_why);
    }
    if (hr_oauth_parse(msg, len, &message, &why) != 0)
        return refuse_credentials(s, why);
    memcpy(s->authzid, message.authzid, sizeof(s->authzid));
    if (!hr_attempts_left(s->realm->attempts, &s->source, s->now_us))
        return refuse_attempt(s);
    s->check_used = true;
    err = hr_oauth_check_start(&s->check, s->realm->keys, s->realm->rules, s->now_s, message.token, message.token_len,
                               on_judged);
    if (err != HR_E_AGAIN)
        return judged(s, err);
    s->state = STATE_KEYS;
    return HR_SASL_WAIT;
}

static enum hr_sasl_verdict on_token(struct hr_sasl_server *s, const uint8_t *msg, size_t len)
{
    if (s->identity.mechanism == HR_MECH_PLAIN)
        return on_plain(s, msg, len);
    return is_scram(s) ? on_scram(s, msg, len) : on_oauth(s, msg, len);
}

/* -- frames ------------------------------------------------------------------------------------------------ */

/* KIP-511: letters and digits, with "." and "-" inside. */
static bool software_ok(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isalnum(text[i]) && (i == 0 || i == len - 1 || (text[i] != '.' && text[i] != '-')))
            return false;
    }
    return len > 0;
}

static int16_t api_versions_max(const struct hr_sasl_realm *realm)
{
    for (uint32_t i = 0; i < realm->n_apis; i++) {
        if (realm->apis[i].key == HR_KAPI_API_VERSIONS)
            return realm->apis[i].max;
    }
    return 0;
}

/* What stands behind the error code. Cluster and node of version 5 are left out: a login is to no certain node. */
static void put_apis(const struct hr_sasl_realm *realm, int16_t version, struct hr_sasl_writer *w)
{
    bool flexible = version >= 3;

    if (flexible)
        hr_sasl_put_uvarint(w, realm->n_apis + 1);
    else
        hr_sasl_put_i32(w, (int32_t)realm->n_apis);
    for (uint32_t i = 0; i < realm->n_apis; i++) {
        hr_sasl_put_i16(w, realm->apis[i].key);
        hr_sasl_put_i16(w, realm->apis[i].min);
        hr_sasl_put_i16(w, realm->apis[i].max);
        if (flexible)
            hr_sasl_put_uvarint(w, 0);
    }
    if (version >= 1)
        hr_sasl_put_i32(w, 0); /* throttle time */
    if (flexible)
        hr_sasl_put_uvarint(w, 0);
}

static enum hr_sasl_verdict on_api_versions(struct hr_sasl_server *s, int16_t version, struct hr_sasl_reader *r)
{
    struct hr_sasl_writer w = begin(s);
    const uint8_t *name, *software_version;
    size_t n_name, n_version;

    if (s->state != STATE_START)
        return close_silently(s, "a second ApiVersions before the login");
    if (version < 0 || version > api_versions_max(s->realm)) {
        hr_sasl_put_i16(&w, HR_SASL_UNSUPPORTED_VERSION);
        hr_sasl_put_i32(&w, 1);
        hr_sasl_put_i16(&w, HR_KAPI_API_VERSIONS);
        hr_sasl_put_i16(&w, 0);
        hr_sasl_put_i16(&w, api_versions_max(s->realm));
        finish(s, &w);
        return HR_SASL_MORE; /* and may ask again */
    }
    if (version >= 3) {
        name = hr_sasl_get_compact(r, &n_name);
        software_version = hr_sasl_get_compact(r, &n_version);
        if (version <= 4) /* later versions have more, which is of no use here */
            hr_sasl_skip_tags(r);
        if (r->overrun || !name || !software_version)
            return close_silently(s, "a malformed ApiVersions");
        if (!software_ok(name, n_name) || !software_ok(software_version, n_version))
            return close_silently(s, "ApiVersions with a software name that Kafka does not allow");
    }
    hr_sasl_put_i16(&w, 0);
    put_apis(s->realm, version, &w);
    if (w.overrun)
        return close_silently(s, "there are more APIs than an answer holds");
    finish(s, &w);
    s->state = STATE_HANDSHAKE;
    return HR_SASL_MORE;
}

static enum hr_sasl_verdict on_handshake(struct hr_sasl_server *s, int16_t version, struct hr_sasl_reader *r)
{
    size_t len;
    const uint8_t *name = hr_sasl_get_string(r, &len);
    char shown[64], why[96];

    if (version < 0 || version > 1 || !name || r->overrun || r->left != 0)
        return close_silently(s, "a malformed SaslHandshake, or of an unknown version");
    if (s->state != STATE_START && s->state != STATE_HANDSHAKE) {
        answer_handshake(s, HR_SASL_ILLEGAL_STATE);
        return end(s, HR_SASL_FAILED, "a second SaslHandshake");
    }
    for (int m = HR_MECHANISM_NONE + 1; m < HR_MECHANISM_MAX; m++) {
        const char *known = hr_mechanism_name((enum hr_mechanism)m);

        if (s->expected && m != (int)s->expected_mechanism)
            continue;
        if ((s->realm->mechanisms & 1u << m) && strlen(known) == len && memcmp(known, name, len) == 0)
            s->identity.mechanism = (enum hr_mechanism)m;
    }
    if (s->identity.mechanism == HR_MECHANISM_NONE) {
        hr_log_escape(shown, sizeof(shown), (const char *)name, (uint32_t)len);
        snprintf(why, sizeof(why), "mechanism %s is not offered", shown);
        answer_handshake(s, HR_SASL_UNSUPPORTED_MECHANISM);
        s->reason = s->expected ? HR_SASL_REASON_changed_principal : HR_SASL_REASON_bad_mechanism;
        return end(s, HR_SASL_FAILED, why);
    }
    answer_handshake(s, 0);
    s->raw = version == 0;
    s->state = STATE_FIRST;
    return HR_SASL_MORE;
}

static enum hr_sasl_verdict on_authenticate(struct hr_sasl_server *s, int16_t version, struct hr_sasl_reader *r)
{
    const uint8_t *bytes;
    size_t len;

    if (version < 0 || version > 2)
        return close_silently(s, "SaslAuthenticate of an unknown version");
    bytes = version >= 2 ? hr_sasl_get_compact(r, &len) : hr_sasl_get_bytes(r, &len);
    if (version >= 2)
        hr_sasl_skip_tags(r);
    if (!bytes || r->overrun || r->left != 0)
        return close_silently(s, "a malformed SaslAuthenticate");
    s->version = version;
    if (s->state != STATE_FIRST && s->state != STATE_SECOND) {
        answer_authenticate(s, HR_SASL_ILLEGAL_STATE, "SaslAuthenticate request received without a prior SaslHandshake",
                            "", 0, 0);
        return end(s, HR_SASL_FAILED, "SaslAuthenticate without SaslHandshake");
    }
    return on_token(s, bytes, len);
}

static enum hr_sasl_verdict take_frame(struct hr_sasl_server *s)
{
    struct hr_sasl_reader r = {s->frame.data, s->frame.len, false};
    int16_t key, version;
    size_t len;

    if (s->raw)
        return on_token(s, s->frame.data ? s->frame.data : (const uint8_t *)"", s->frame.len);
    key = hr_sasl_get_i16(&r);
    version = hr_sasl_get_i16(&r);
    s->correlation_id = hr_sasl_get_i32(&r);
    (void)hr_sasl_get_string(&r, &len); /* client id */
    if ((key == HR_KAPI_API_VERSIONS && version >= 3) || (key == HR_KAPI_SASL_AUTHENTICATE && version >= 2))
        hr_sasl_skip_tags(&r);
    /* An unknown version of ApiVersions has a header that nobody knows. */
    if (r.overrun && !(key == HR_KAPI_API_VERSIONS && version > api_versions_max(s->realm)))
        return close_silently(s, "a malformed request header");
    switch (key) {
    case HR_KAPI_API_VERSIONS:
        return on_api_versions(s, version, &r);
    case HR_KAPI_SASL_HANDSHAKE:
        return on_handshake(s, version, &r);
    case HR_KAPI_SASL_AUTHENTICATE:
        return on_authenticate(s, version, &r);
    default:
        return close_silently(s, "another request before the login");
    }
}

/* False: the size is out of bounds. */
static bool take_size(struct hr_sasl_server *s)
{
    s->size = (uint32_t)s->size_bytes[0] << 24 | (uint32_t)s->size_bytes[1] << 16 | (uint32_t)s->size_bytes[2] << 8 |
              s->size_bytes[3];
    return s->size <= HR_SASL_RECEIVE_MAX && (s->raw || s->size >= 10);
}

static void frame_done(struct hr_sasl_server *s)
{
    hr_wipebuf_clear(&s->frame); /* it may have held a password */
    s->n_size = 0;
}

enum hr_sasl_verdict hr_sasl_server_feed(struct hr_sasl_server *s, uint64_t now_us, int64_t now_s, const uint8_t *data,
                                         size_t len, size_t *ret_used)
{
    size_t used = 0;

    *ret_used = 0;
    s->now_us = now_us;
    s->now_s = now_s;
    if (s->state == STATE_KEYS) {
        if (!s->check_done)
            return HR_SASL_WAIT;
        s->verdict = judged(s, s->check_err);
        frame_done(s);
    }
    while (s->verdict == HR_SASL_MORE && s->n_output == 0) {
        uint32_t n;

        if (s->n_size < 4) {
            if (used == len)
                break;
            s->size_bytes[s->n_size++] = data[used++];
            if (s->n_size == 4 && !take_size(s))
                close_silently(s, "the size of a request is out of bounds");
            continue;
        }
        n = s->size - s->frame.len < len - used ? s->size - s->frame.len : (uint32_t)(len - used);
        if (hr_wipebuf_append(&s->frame, data + used, n) != 0) {
            close_silently(s, "out of memory");
            break;
        }
        used += n;
        if (s->frame.len < s->size)
            break;
        s->verdict = take_frame(s);
        if (s->verdict != HR_SASL_WAIT)
            frame_done(s);
    }
    *ret_used = used;
    if (s->verdict != HR_SASL_WAIT)
        return s->verdict;
    s->verdict = HR_SASL_MORE; /* the state says that it waits */
    return HR_SASL_WAIT;
}

/* -- life -------------------------------------------------------------------------------------------------- */

int hr_sasl_server_create(const struct hr_sasl_realm *realm, const struct hr_addr *source, void (*resumed)(void *owner),
                          void *owner, struct hr_sasl_server **ret_server)
{
    struct hr_sasl_server *s = calloc(1, sizeof(*s));

    if (!s)
        return HR_E_NOMEM;
    s->realm = realm;
    s->source = *source;
    s->resumed = resumed;
    s->owner = owner;
    *ret_server = s;
    return 0;
}

void hr_sasl_server_expect(struct hr_sasl_server *s, enum hr_mechanism mechanism, const char *principal)
{
    s->expected_mechanism = mechanism;
    s->expected = principal;
}

void hr_sasl_server_destroy(struct hr_sasl_server *s)
{
    if (!s)
        return;
    if (s->check_used)
        hr_oauth_check_end(&s->check);
    hr_wipebuf_free(&s->frame);
    hr_wipe(s, sizeof(*s));
    free(s);
}

const uint8_t *hr_sasl_server_output(const struct hr_sasl_server *s, size_t *ret_len)
{
    *ret_len = s->n_output;
    return s->n_output > 0 ? s->output : NULL;
}

void hr_sasl_server_sent(struct hr_sasl_server *s)
{
    hr_wipe(s->output, s->n_output);
    s->n_output = 0;
}

const struct hr_sasl_identity *hr_sasl_server_identity(const struct hr_sasl_server *s)
{
    return &s->identity;
}

enum hr_sasl_reason hr_sasl_server_reason(const struct hr_sasl_server *s)
{
    return s->reason;
}

const char *hr_sasl_server_why(const struct hr_sasl_server *s)
{
    return s->why;
}

const char *hr_sasl_server_claimed(const struct hr_sasl_server *s)
{
    return s->claimed;
}

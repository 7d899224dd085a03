#include "controlplane/auth/login.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/crypto.h"
#include "controlplane/auth/iam.h"
#include "controlplane/auth/oauth.h"
#include "controlplane/auth/plain.h"
#include "controlplane/auth/sasl_frame.h"
#include "shared/base/log.h"

/* X(name): which answer is awaited */
#define STATES(X)                                                                                                      \
    X(HANDSHAKE)                                                                                                       \
    X(FIRST)  /* to the mechanism's first message */                                                                   \
    X(SECOND) /* SCRAM: to the proof; OAUTHBEARER: to the ^A after a bad token */                                      \
    X(ENDED)

enum state {
#define X(name) STATE_##name,
    STATES(X)
#undef X
};

struct hr_login {
    struct hr_login_with with; /* its pointers lead to the copies below */
    struct hr_aws_keys keys;
    char user[HR_SCRAM_USER_MAX], host[HR_AWS_HOST_MAX], region[HR_AWS_REGION_MAX], client_id[128];
    char *secret;
    enum state state;
    enum hr_login_verdict verdict;
    int32_t correlation_id; /* of the answer that is awaited */
    struct hr_scram_client scram;
    uint64_t lifetime_ms;
    uint8_t *output;
    size_t n_output, cap_output;
    uint8_t size_bytes[4];
    uint32_t n_size, size;
    uint8_t *frame;
    uint32_t n_frame;
    char why[HR_LOGIN_WHY_MAX];
};

static const char *const mechanism_names[HR_MECHANISM_MAX] = {[HR_MECHANISM_NONE] = "none",
#define X(name, text) [HR_MECH_##name] = text,
                                                              HR_MECHANISMS(X)
#undef X
};

const char *hr_mechanism_name(enum hr_mechanism mechanism)
{
    return mechanism_names[mechanism];
}

static enum hr_login_verdict end(struct hr_login *login, enum hr_login_verdict verdict, const char *why)
{
    login->state = STATE_ENDED;
    login->verdict = verdict;
    if (why != login->why)
        snprintf(login->why, sizeof(login->why), "%s", why);
    return verdict;
}

static enum hr_login_verdict broken(struct hr_login *login, const char *why)
{
    return end(login, HR_LOGIN_BROKEN, why);
}

static bool is_scram(const struct hr_login *login)
{
    return login->with.mechanism == HR_MECH_SCRAM_SHA_256 || login->with.mechanism == HR_MECH_SCRAM_SHA_512;
}

/* -- output ------------------------------------------------------------------------------------------------ */

static int put_request(struct hr_login *login, int16_t key, int16_t version, struct hr_sasl_writer *w)
{
    hr_sasl_put_i32(w, 0); /* the size, when it is known */
    hr_sasl_put_i16(w, key);
    hr_sasl_put_i16(w, version);
    hr_sasl_put_i32(w, login->correlation_id);
    hr_sasl_put_string(w, login->with.client_id);
    return w->overrun ? HR_E_TOO_LARGE : 0;
}

static void finish_request(struct hr_login *login, struct hr_sasl_writer *w)
{
    hr_sasl_put_size(w);
    login->n_output = w->len;
}

static int make_handshake(struct hr_login *login)
{
    struct hr_sasl_writer w = {login->output, login->cap_output, 0, false};
    int err = put_request(login, HR_KAPI_SASL_HANDSHAKE, 1, &w);

    hr_sasl_put_string(&w, hr_mechanism_name(login->with.mechanism));
    if (w.overrun)
        err = HR_E_TOO_LARGE;
    if (!err)
        finish_request(login, &w);
    return err;
}

/* SaslAuthenticate around the mechanism's message. */
static int make_authenticate(struct hr_login *login, const char *message, size_t len)
{
    struct hr_sasl_writer w = {login->output, login->cap_output, 0, false};
    int err;

    login->correlation_id++;
    err = put_request(login, HR_KAPI_SASL_AUTHENTICATE, 2, &w);
    hr_sasl_put_uvarint(&w, 0); /* no tagged fields: request header v2 */
    hr_sasl_put_compact(&w, message, len);
    hr_sasl_put_uvarint(&w, 0);
    if (w.overrun)
        err = HR_E_TOO_LARGE;
    if (!err)
        finish_request(login, &w);
    return err;
}

static int iam_message(const struct hr_login *login, char *out, size_t cap, size_t *ret_len)
{
    const struct hr_login_with *with = &login->with;

    return hr_iam_payload(with->keys, with->region, with->host, with->client_id, HR_IAM_EXPIRES_S, with->now_s, out,
                          cap, ret_len);
}

/* RFC 7628 around the token that was given, or that is made of AWS keys. */
static int oauth_message(const struct hr_login *login, char *out, size_t cap, size_t *ret_len)
{
    const struct hr_login_with *with = &login->with;
    char *token;
    size_t n;
    int err;

    if (!with->keys)
        return hr_oauth_format(with->secret, with->secret_len, out, cap, ret_len);
    if (!(token = malloc(HR_IAM_TOKEN_MAX)))
        return HR_E_NOMEM;
    err = hr_iam_token(with->keys, with->region, with->client_id, HR_IAM_EXPIRES_S, with->now_s, token,
                       HR_IAM_TOKEN_MAX, &n);
    if (!err)
        err = hr_oauth_format(token, n, out, cap, ret_len);
    hr_wipe(token, HR_IAM_TOKEN_MAX);
    free(token);
    return err;
}

/* The mechanism's first message. */
static int first_message(struct hr_login *login)
{
    const struct hr_login_with *with = &login->with;
    size_t cap = login->cap_output, n = 0;
    char *out = malloc(cap);
    int err = HR_E_INVALID;

    if (!out)
        return HR_E_NOMEM;
    switch (with->mechanism) {
    case HR_MECH_PLAIN:
        err = hr_plain_format(with->user, with->secret, with->secret_len, out, cap, &n);
        break;
    case HR_MECH_SCRAM_SHA_256:
    case HR_MECH_SCRAM_SHA_512:
        err = hr_scram_client_first(&login->scram, with->mechanism == HR_MECH_SCRAM_SHA_256 ? HR_SHA256 : HR_SHA512,
                                    with->user, NULL, out, cap, &n);
        break;
    case HR_MECH_OAUTHBEARER:
        err = oauth_message(login, out, cap, &n);
        break;
    case HR_MECH_AWS_MSK_IAM:
        err = iam_message(login, out, cap, &n);
        break;
    case HR_MECHANISM_NONE:
    case HR_MECHANISM_MAX:
        break;
    }
    if (!err)
        err = make_authenticate(login, out, n);
    hr_wipe(out, cap);
    free(out);
    return err;
}

/* -- answers ----------------------------------------------------------------------------------------------- */

static enum hr_login_verdict on_handshake(struct hr_login *login, struct hr_sasl_reader *r)
{
    int16_t error = hr_sasl_get_i16(r);
    int32_t n = hr_sasl_get_i32(r);
    size_t at;
    int err;

    if (error == HR_SASL_UNSUPPORTED_MECHANISM) {
        snprintf(login->why, sizeof(login->why), "the broker does not offer %s; it offers",
                 hr_mechanism_name(login->with.mechanism));
        for (int32_t i = 0; i < n && i < 8 && !r->overrun; i++) {
            size_t len;
            const uint8_t *name = hr_sasl_get_string(r, &len);
            char shown[64];

            if (!name)
                break;
            hr_log_escape(shown, sizeof(shown), (const char *)name, (uint32_t)len);
            at = strlen(login->why);
            snprintf(login->why + at, sizeof(login->why) - at, "%s %s", i > 0 ? "," : "", shown);
        }
        if (n <= 0) {
            at = strlen(login->why);
            snprintf(login->why + at, sizeof(login->why) - at, " none");
        }
        return end(login, HR_LOGIN_REFUSED, login->why);
    }
    if (error != 0) {
        snprintf(login->why, sizeof(login->why), "the broker refused SaslHandshake with error %d", error);
        return end(login, HR_LOGIN_REFUSED, login->why);
    }
    for (int32_t i = 0; i < n && !r->overrun; i++) {
        size_t len;

        (void)hr_sasl_get_string(r, &len);
    }
    if (n < 0 || r->overrun || r->left != 0)
        return broken(login, "the broker's answer to SaslHandshake is malformed");
    if ((err = first_message(login))) {
        snprintf(login->why, sizeof(login->why), "the first message of %s cannot be made: %s",
                 hr_mechanism_name(login->with.mechanism), hr_strerror(err));
        return broken(login, login->why);
    }
    login->state = STATE_FIRST;
    return HR_LOGIN_MORE;
}

struct authenticated {
    int16_t error;
    const uint8_t *text, *bytes;
    size_t n_text, n_bytes;
    int64_t lifetime_ms;
};

static bool read_authenticated(struct hr_sasl_reader *r, struct authenticated *ret)
{
    hr_sasl_skip_tags(r); /* response header v1 */
    ret->error = hr_sasl_get_i16(r);
    ret->text = hr_sasl_get_compact(r, &ret->n_text);
    ret->bytes = hr_sasl_get_compact(r, &ret->n_bytes);
    ret->lifetime_ms = hr_sasl_get_i64(r);
    hr_sasl_skip_tags(r);
    return !r->overrun && r->left == 0 && ret->lifetime_ms >= 0;
}

static enum hr_login_verdict done(struct hr_login *login, const struct authenticated *a)
{
    login->lifetime_ms = (uint64_t)a->lifetime_ms;
    return end(login, HR_LOGIN_DONE, "");
}

/* The mechanism's next step for a message of the broker that was no error. */
static enum hr_login_verdict step(struct hr_login *login, const struct authenticated *a)
{
    char out[HR_SCRAM_MESSAGE_MAX], shown[160];
    const char *why = "";
    size_t n;
    int err;

    if (is_scram(login)) {
        if (login->state == STATE_SECOND) {
            err = hr_scram_client_verify(&login->scram, a->bytes, a->n_bytes, &why);
            return err ? end(login, err == HR_E_REFUSED ? HR_LOGIN_REFUSED : HR_LOGIN_BROKEN, why) : done(login, a);
        }
        err = hr_scram_client_final(&login->scram, login->with.secret, login->with.secret_len, login->with.cache,
                                    a->bytes, a->n_bytes, out, sizeof(out), &n, &why);
        if (!err)
            err = make_authenticate(login, out, n);
        hr_wipe(out, sizeof(out));
        if (err)
            return broken(login, why);
        login->state = STATE_SECOND;
        return HR_LOGIN_MORE;
    }
    if (login->with.mechanism == HR_MECH_AWS_MSK_IAM)
        return hr_iam_check_reply(a->bytes, a->n_bytes, &why) ? broken(login, why) : done(login, a);
    if (login->with.mechanism == HR_MECH_OAUTHBEARER && a->n_bytes > 0) {
        /* RFC 7628 3.2.3: the token was refused; the reason is in JSON, and one more message fetches the error. */
        if (login->state == STATE_SECOND || make_authenticate(login, "\x01", 1) != 0)
            return broken(login, "the broker repeats that it refuses the token");
        hr_log_escape(shown, sizeof(shown), (const char *)a->bytes, (uint32_t)a->n_bytes);
        snprintf(login->why, sizeof(login->why), "the broker refused the token: %s", shown);
        login->state = STATE_SECOND;
        return HR_LOGIN_MORE;
    }
    if (login->state == STATE_SECOND) /* of OAUTHBEARER: refused and then accepted */
        return broken(login, "the broker took back that it refuses the token");
    return done(login, a);
}

static enum hr_login_verdict on_authenticated(struct hr_login *login, struct hr_sasl_reader *r)
{
    struct authenticated a = {0};
    char shown[240];

    if (!read_authenticated(r, &a))
        return broken(login, "the broker's answer to SaslAuthenticate is malformed");
    if (a.error == 0)
        return step(login, &a);
    if (login->with.mechanism == HR_MECH_OAUTHBEARER && login->state == STATE_SECOND)
        return end(login, HR_LOGIN_REFUSED, login->why);
    hr_log_escape(shown, sizeof(shown), a.text ? (const char *)a.text : "", (uint32_t)a.n_text);
    snprintf(login->why, sizeof(login->why), "the broker refused the login (error %d): %s", a.error, shown);
    return end(login, HR_LOGIN_REFUSED, login->why);
}

static enum hr_login_verdict take_frame(struct hr_login *login)
{
    struct hr_sasl_reader r = {login->frame, login->n_frame, false};

    if (hr_sasl_get_i32(&r) != login->correlation_id)
        return broken(login, "the broker answered another request than the login's");
    return login->state == STATE_HANDSHAKE ? on_handshake(login, &r) : on_authenticated(login, &r);
}

enum hr_login_verdict hr_login_feed(struct hr_login *login, const uint8_t *data, size_t len, size_t *ret_used)
{
    size_t used = 0;

    *ret_used = 0;
    if (login->verdict != HR_LOGIN_MORE)
        return login->verdict;
    while (used < len && login->verdict == HR_LOGIN_MORE) {
        uint32_t n;

        if (login->n_output > 0) {
            broken(login, "the broker spoke before it was asked");
            break;
        }
        if (login->n_size < 4) {
            login->size_bytes[login->n_size++] = data[used++];
            if (login->n_size < 4)
                continue;
            login->size = (uint32_t)login->size_bytes[0] << 24 | (uint32_t)login->size_bytes[1] << 16 |
                          (uint32_t)login->size_bytes[2] << 8 | login->size_bytes[3];
            if (login->size < 6 || login->size > HR_LOGIN_FRAME_MAX)
                broken(login, "the size of the broker's answer is out of bounds");
            continue;
        }
        n = login->size - login->n_frame < len - used ? login->size - login->n_frame : (uint32_t)(len - used);
        memcpy(login->frame + login->n_frame, data + used, n);
        login->n_frame += n;
        used += n;
        if (login->n_frame == login->size) {
            take_frame(login);
            login->n_frame = login->n_size = 0;
        }
    }
    *ret_used = used;
    return login->verdict;
}

/* -- life -------------------------------------------------------------------------------------------------- */

static bool copy_text(const char **text, char *to, size_t cap)
{
    if (*text && (size_t)snprintf(to, cap, "%s", *text) >= cap)
        return false;
    *text = to;
    return true;
}

static int copy_with(struct hr_login *login)
{
    struct hr_login_with *with = &login->with;

    if (!copy_text(&with->user, login->user, sizeof(login->user)) ||
        !copy_text(&with->host, login->host, sizeof(login->host)) ||
        !copy_text(&with->region, login->region, sizeof(login->region)) ||
        !copy_text(&with->client_id, login->client_id, sizeof(login->client_id)))
        return HR_E_TOO_LARGE;
    if (with->keys) {
        login->keys = *with->keys;
        with->keys = &login->keys;
    }
    if (!(login->secret = malloc(with->secret_len + 1)))
        return HR_E_NOMEM;
    if (with->secret_len > 0)
        memcpy(login->secret, with->secret, with->secret_len);
    with->secret = login->secret;
    return 0;
}

int hr_login_create(const struct hr_login_with *with, struct hr_login **ret_login)
{
    struct hr_login *login = calloc(1, sizeof(*login));
    int err = HR_E_NOMEM;

    if (!login)
        return HR_E_NOMEM;
    login->with = *with;
    login->correlation_id = with->correlation_id;
    login->cap_output = (with->keys ? HR_IAM_TOKEN_MAX : 0) + with->secret_len + 4096;
    login->output = malloc(login->cap_output);
    login->frame = malloc(HR_LOGIN_FRAME_MAX);
    if (login->output && login->frame && (err = copy_with(login)) == 0)
        err = make_handshake(login);
    if (err)
        hr_login_destroy(login);
    else
        *ret_login = login;
    return err;
}

void hr_login_destroy(struct hr_login *login)
{
    if (!login)
        return;
    if (login->output)
        hr_wipe(login->output, login->cap_output);
    if (login->frame)
        hr_wipe(login->frame, HR_LOGIN_FRAME_MAX);
    if (login->secret)
        hr_wipe(login->secret, login->with.secret_len);
    free(login->secret);
    free(login->output);
    free(login->frame);
    hr_wipe(login, sizeof(*login));
    free(login);
}

const uint8_t *hr_login_output(const struct hr_login *login, size_t *ret_len)
{
    *ret_len = login->n_output;
    return login->n_output > 0 ? login->output : NULL;
}

void hr_login_sent(struct hr_login *login)
{
    hr_wipe(login->output, login->n_output);
    login->n_output = 0;
}

const char *hr_login_why(const struct hr_login *login)
{
    return login->why;
}

uint64_t hr_login_lifetime_ms(const struct hr_login *login)
{
    return login->lifetime_ms;
}

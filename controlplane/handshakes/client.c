/* The client's connection. Its login is spoken on it as it is, or inside its TLS session; either way the bytes behind the
 * login are the session's: of plain text the worker has them, and is told how many the login was; of TLS it has the
 * records, and is given the rest of the one in which the login ended. */
#include <string.h>
#include <time.h>

#include "controlplane/handshakes/impl.h"
#include "shared/base/clock.h"

void hr_shake_flush(struct hr_conn *conn, struct hr_tls *tls)
{
    const uint8_t *data;
    uint32_t n = tls ? hr_tls_output(tls, &data) : 0;

    if (n == 0)
        return;
    (void)!hr_conn_send(conn, data, n); /* who misses bytes runs into the deadline */
    hr_tls_output_done(tls);
}

void hr_shake_send(struct hr_conn *conn, struct hr_tls *tls, const uint8_t *data, size_t len)
{
    if (!tls) {
        (void)!hr_conn_send(conn, data, (uint32_t)len);
        return;
    }
    (void)!hr_tls_write(tls, data, (uint32_t)len);
    hr_shake_flush(conn, tls);
}

/* -- bytes -------------------------------------------------------------------------------------------------------- */

/* Room for len more bytes; NULL: too many, or no memory. */
static uint8_t *room_for(struct shake *s, uint32_t len)
{
    if (len > SHAKE_BYTES_MAX || s->input.len + len > SHAKE_BYTES_MAX)
        return NULL;
    return hr_wipebuf_room(&s->input, len);
}

/* The next record's plain text, all of it and nothing of another. False: there is none, or the session has failed. */
static bool read_record(struct shake *s)
{
    uint8_t *to = room_for(s, HR_TLS_RECORD_MAX);
    uint32_t got = 0, rest = 0;
    int err;

    if (!to) {
        hr_shake_fail_login(s, HR_LOGIN_REASON_internal, "");
        return false;
    }
    err = hr_tls_read(s->client_session, to, 1, &got); /* from now on it is known how much there is */
    if (!err && got == 1 && hr_tls_pending(s->client_session) > 0)
        err = hr_tls_read(s->client_session, to + 1, hr_tls_pending(s->client_session), &rest);
    hr_shake_flush(s->client, s->client_session);
    s->input.len += got + rest;
    if (err == HR_E_CLOSED)
        hr_shake_fail_login(s, HR_LOGIN_REASON_closed, "");
    else if (err)
        hr_shake_fail_tls(s, HR_TLS_CLIENTS, hr_tls_get_reason(s->client_session), hr_tls_detail(s->client_session));
    return !err && got > 0;
}

/* -- the login ---------------------------------------------------------------------------------------------------- */

/* What the login has to say to the client. */
static void send_answer(struct shake *s)
{
    size_t len;
    const uint8_t *out = hr_sasl_server_output(s->sasl, &len);

    if (!out)
        return;
    hr_shake_send(s->client, s->client_session, out, len);
    hr_sasl_server_sent(s->sasl);
}

static void known(struct shake *s)
{
    const struct hr_sasl_identity *who = hr_sasl_server_identity(s->sasl);

    s->login.mechanism = (uint8_t)who->mechanism;
    if (who->lifetime_ms)
        s->login.expires_us = hr_loop_now(s->all->loop) + who->lifetime_ms * HR_US_PER_MS;
    memcpy(s->login.principal, who->principal, strlen(who->principal));
    s->all->info.logins[who->mechanism]++;
    hr_sasl_server_destroy(s->sasl);
    s->sasl = NULL;
    hr_shake_client_known(s);
}

void hr_shake_refuse_now(struct shake *s)
{
    send_answer(s);
    if (s->client_session)
        hr_tls_close(s->client_session);
    hr_shake_end(s);
}

/* Whole frames, one after the other, as far as there are bytes. */
static void run(struct shake *s)
{
    for (;;) {
        size_t used;
        enum hr_sasl_verdict verdict = hr_sasl_server_feed(s->sasl, hr_loop_now(s->all->loop), time(NULL),
                                                           s->input.data, s->input.len, &used);
        hr_wipebuf_drop(&s->input, (uint32_t)used);
        s->used += s->client_session ? 0 : (uint32_t)used;
        switch (verdict) {
        case HR_SASL_WAIT:
            return;
        case HR_SASL_FAILED: /* a guess costs the time of the delay */
            hr_shake_say_login(s, hr_sasl_server_reason(s->sasl), hr_sasl_server_why(s->sasl));
            s->all->info.failed++;
            hr_shake_set_state(s, SHAKE_REFUSING);
            hr_timer_in(s->all->loop, &s->timer, HR_SASL_DELAY_MS * HR_US_PER_MS);
            return;
        case HR_SASL_CLOSE:
            hr_shake_fail_login(s, hr_sasl_server_reason(s->sasl), hr_sasl_server_why(s->sasl));
            return;
        case HR_SASL_DONE:
            send_answer(s);
            known(s);
            return;
        case HR_SASL_MORE:
            break;
        }
        send_answer(s);
        if (s->input.len > 0 && used > 0)
            continue;
        if (!s->client_session || !read_record(s))
            return; /* it may have failed, and then there is nothing to be done here */
    }
}

/* The issuer's keys have come, or will not. */
static void on_resumed(void *owner)
{
    struct shake *s = owner;

    if (s->state == SHAKE_LOGIN)
        run(s);
}

void hr_shake_login_begin(struct shake *s)
{
    hr_shake_set_state(s, SHAKE_LOGIN);
    if (hr_sasl_server_create(hr_realm_sasl(s->realm), &s->from.client, on_resumed, s, &s->sasl) != 0)
        hr_shake_fail_login(s, HR_LOGIN_REASON_internal, "");
    else
        run(s); /* it may have sent more than its handshake */
}

static void take_plain(struct shake *s, const uint8_t *data, uint32_t len)
{
    uint8_t *to = room_for(s, len);

    if (!to) {
        hr_shake_fail_login(s, HR_SASL_REASON_bad_frame, "more bytes than a login has");
        return;
    }
    memcpy(to, data, len);
    s->input.len += len;
    run(s);
}

/* -- the connection ----------------------------------------------------------------------------------------------- */

static void on_opened(void *owner)
{
    (void)owner; /* it was when we got it */
}

static void on_data(void *owner, const uint8_t *data, uint32_t len)
{
    struct shake *s = owner;
    int err;

    if (s->state != SHAKE_CLIENT && s->state != SHAKE_LOGIN)
        return; /* the worker keeps it for the session */
    if (!s->client_session) {
        if (s->state == SHAKE_LOGIN)
            take_plain(s, data, len);
        return;
    }
    err = hr_tls_input(s->client_session, data, len);
    hr_shake_flush(s->client, s->client_session);
    if (err == HR_E_TOO_LARGE)
        hr_shake_fail_login(s, HR_SASL_REASON_bad_frame, "more bytes than a login has");
    else if (err)
        hr_shake_fail_tls(s, HR_TLS_CLIENTS, hr_tls_get_reason(s->client_session), hr_tls_detail(s->client_session));
    else if (s->state == SHAKE_LOGIN)
        run(s);
    else if (hr_tls_get_state(s->client_session) == HR_TLS_OPEN)
        hr_shake_client_open(s);
}

static void on_eof(void *owner)
{
    struct shake *s = owner;

    if (s->state == SHAKE_CLIENT)
        hr_shake_fail_tls(s, HR_TLS_CLIENTS, HR_TLS_REASON_closed, "");
    else if (s->state == SHAKE_LOGIN)
        hr_shake_fail_login(s, HR_LOGIN_REASON_closed, "");
}

static void on_closed(void *owner, int err, const char *why)
{
    struct shake *s = owner;
    bool late = err == HR_E_TIMEOUT;

    if (s->state == SHAKE_LOGIN) {
        s->all->info.failed++;
        hr_shake_say_login(s, late ? HR_LOGIN_REASON_timeout : HR_LOGIN_REASON_closed, why);
    } else if (s->state != SHAKE_LINGER && s->state != SHAKE_REFUSING) {
        s->all->info.failed++;
        hr_shake_say_tls(s, HR_TLS_CLIENTS, late ? HR_TLS_REASON_timeout : HR_TLS_REASON_closed, why);
    }
    hr_shake_finish(s);
}

static void on_started(void *owner)
{
    struct shake *s = owner;

    s->all->info.started++;
    hr_shake_say_started(s);
    hr_shake_finish(s);
}

const struct hr_conn_ops hr_shake_client_ops = {
    .opened = on_opened, .data = on_data, .eof = on_eof, .closed = on_closed, .started = on_started};

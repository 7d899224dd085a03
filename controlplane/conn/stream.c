/* Callbacks of the owner may release the stream at any moment: leave() says whether it has happened, and whoever got
 * true touches the stream no more. */
#include "controlplane/conn/stream.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/loop/loop.h"
#include "controlplane/tls/handshake.h"
#include "controlplane/tls/store.h"
#include "shared/base/clock.h"

#define PIECE 16384

struct hr_stream {
    struct hr_loop *loop;
    struct hr_conn *conn;
    const struct hr_conn_ops *ops;
    void *owner;
    struct hr_tls_store *store; /* NULL: plaintext */
    struct hr_tls *tls;         /* from `opened` of the connection on */
    struct hr_timer deadline;   /* of the handshake */
    char host[HR_POLICY_HOST_MAX];
    uint16_t port;
    uint32_t timeout_ms;
    unsigned depth;             /* callbacks of the owner that are under way */
    bool counted, ended, released;
};

static void destroy(struct hr_stream *s)
{
    hr_timer_cancel(s->loop, &s->deadline);
    hr_conn_release(s->conn);
    hr_tls_free(s->tls);
    free(s);
}

static void enter(struct hr_stream *s)
{
    s->depth++;
}

static bool leave(struct hr_stream *s)
{
    if (--s->depth > 0 || !s->released)
        return s->released;
    destroy(s);
    return true;
}

static void flush(struct hr_stream *s)
{
    const uint8_t *data;
    uint32_t n = s->tls ? hr_tls_output(s->tls, &data) : 0;

    if (n == 0)
        return;
    (void)!hr_conn_send(s->conn, data, n); /* a handshake that misses bytes runs into its deadline */
    hr_tls_output_done(s->tls);
}

/* True when the stream is gone. */
static bool end(struct hr_stream *s, int err, const char *why)
{
    if (s->ended)
        return false;
    s->ended = true;
    hr_timer_cancel(s->loop, &s->deadline);
    enter(s);
    s->ops->closed(s->owner, err, why);
    return leave(s);
}

static void count(struct hr_stream *s)
{
    if (s->counted)
        return;
    s->counted = true;
    hr_tls_store_count(s->store, HR_TLS_BROKERS, s->tls);
}

static bool failed(struct hr_stream *s)
{
    char why[320];
    enum hr_tls_reason reason = hr_tls_get_reason(s->tls);

    flush(s); /* the alert */
    count(s);
    snprintf(why, sizeof(why), "TLS: %s%s%s%s", hr_tls_reason_text(reason), *hr_tls_detail(s->tls) ? " (" : "",
             hr_tls_detail(s->tls), *hr_tls_detail(s->tls) ? ")" : "");
    return end(s, reason == HR_TLS_REASON_timeout ? HR_E_TIMEOUT : HR_E_REFUSED, why);
}

static void on_deadline(struct hr_timer *timer)
{
    struct hr_stream *s = timer->arg;

    if (s->tls && hr_tls_expire(s->tls, hr_loop_now(s->loop)))
        failed(s);
}

static void on_opened(void *owner)
{
    struct hr_stream *s = owner;
    struct hr_tls_client *client = s->store ? hr_tls_store_client(s->store) : NULL;
    uint64_t deadline_us = hr_loop_now(s->loop) + s->timeout_ms * HR_US_PER_MS;

    if (!s->store) {
        enter(s);
        s->ops->opened(s->owner);
        leave(s);
        return;
    }
    if (!client || hr_tls_connect(client, s->host, s->port, deadline_us, &s->tls) != 0) {
        end(s, HR_E_AGAIN, "TLS cannot be begun: see the log for what is wrong with its files");
        return;
    }
    hr_timer_set(s->loop, &s->deadline, deadline_us);
    flush(s);
}

/* What is decrypted goes up. True when the stream is gone. */
static bool deliver(struct hr_stream *s)
{
    uint8_t plain[PIECE];
    uint32_t n = 0;
    bool gone = false;
    int err = 0;

    while (!gone && !s->ended && (err = hr_tls_read(s->tls, plain, sizeof(plain), &n)) == 0 && n > 0) {
        flush(s);
        enter(s);
        s->ops->data(s->owner, plain, n);
        gone = leave(s);
    }
    OPENSSL_cleanse(plain, sizeof(plain));
    if (gone || s->ended || err == 0)
        return gone;
    flush(s);
    if (err != HR_E_CLOSED)
        return failed(s);
    enter(s);
    s->ops->eof(s->owner);
    return leave(s);
}

static void on_data(void *owner, const uint8_t *data, uint32_t len)
{
    struct hr_stream *s = owner;
    bool gone = false;

    if (!s->store) {
        enter(s);
        s->ops->data(s->owner, data, len);
        leave(s);
        return;
    }
    for (uint32_t at = 0, n; at < len && !gone && !s->ended; at += n) {
        bool was_open = hr_tls_get_state(s->tls) == HR_TLS_OPEN;
        int err;

        n = len - at < PIECE ? len - at : PIECE;
        err = hr_tls_input(s->tls, data + at, n);
        if (err) {
            failed(s);
            return;
        }
        flush(s);
        if (!was_open && hr_tls_get_state(s->tls) == HR_TLS_OPEN) {
            hr_timer_cancel(s->loop, &s->deadline);
            count(s);
            enter(s);
            s->ops->opened(s->owner);
            gone = leave(s);
        }
        if (!gone && !s->ended && hr_tls_get_state(s->tls) == HR_TLS_OPEN)
            gone = deliver(s);
    }
}

static void on_eof(void *owner)
{
    struct hr_stream *s = owner;

    if (s->tls && hr_tls_get_state(s->tls) == HR_TLS_RUNNING) {
        hr_tls_eof(s->tls);
        failed(s);
        return;
    }
    if (s->ended)
        return;
    enter(s);
    s->ops->eof(s->owner);
    leave(s);
}

static void on_closed(void *owner, int err, const char *why)
{
    struct hr_stream *s = owner;

    if (s->tls && hr_tls_get_state(s->tls) == HR_TLS_RUNNING) {
        hr_tls_eof(s->tls);
        count(s);
    }
    end(s, err, why);
}

static const struct hr_conn_ops conn_ops = {
    .opened = on_opened, .data = on_data, .eof = on_eof, .closed = on_closed};

int hr_stream_open(struct hr_loop *loop, struct hr_conns *conns, struct hr_tls_store *tls, const char *host,
                   const struct hr_addr *addr, uint16_t port, uint32_t timeout_ms, const struct hr_conn_ops *ops,
                   void *owner, struct hr_stream **ret_stream)
{
    struct hr_stream *s;
    int err;

    if (tls && !hr_tls_store_client(tls))
        return HR_E_AGAIN;
    s = calloc(1, sizeof(*s));
    if (!s)
        return HR_E_NOMEM;
    s->loop = loop;
    s->ops = ops;
    s->owner = owner;
    s->store = tls;
    s->port = port;
    s->timeout_ms = timeout_ms;
    s->deadline = (struct hr_timer){.fn = on_deadline, .arg = s};
    snprintf(s->host, sizeof(s->host), "%s", host);
    err = hr_conn_open(conns, addr, port, timeout_ms, &conn_ops, s, &s->conn);
    if (err) {
        free(s);
        return err;
    }
    *ret_stream = s;
    return 0;
}

int hr_stream_send(struct hr_stream *s, const void *data, uint32_t len)
{
    const uint8_t *sealed;
    uint32_t n;
    int err;

    if (s->ended)
        return HR_E_CLOSED;
    if (!s->store)
        return hr_conn_send(s->conn, data, len);
    if (!s->tls || hr_tls_write(s->tls, data, len) != 0)
        return HR_E_CLOSED;
    n = hr_tls_output(s->tls, &sealed);
    err = hr_conn_send(s->conn, sealed, n);
    hr_tls_output_done(s->tls);
    return err;
}

void hr_stream_release(struct hr_stream *s)
{
    if (!s || s->released)
        return;
    s->released = true;
    if (s->tls && !s->ended) {
        hr_tls_close(s->tls);
        flush(s);
    }
    if (s->depth == 0)
        destroy(s);
}

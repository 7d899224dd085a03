/* OpenSSL's memory BIOs carry the bytes, whole records in and whatever it says out. */
#include "controlplane/tls/handshake.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/tls/impl.h"
#include "shared/base/addr.h"

/* -- failing ---------------------------------------------------------------------------------------------------- */

static int fail(struct hr_tls *t, enum hr_tls_reason reason)
{
    if (t->state == HR_TLS_FAILED)
        return HR_E_INVALID;
    t->state = HR_TLS_FAILED;
    if (t->reason == HR_TLS_REASON_NONE)
        t->reason = reason;
    return HR_E_INVALID;
}

/* OpenSSL says why. A reason that one of our callbacks gave counts more. */
static int fail_ssl(struct hr_tls *t)
{
    unsigned long err = ERR_peek_error();
    enum hr_tls_reason reason = hr_tls_reason_of(t->ssl, err);
    long verified = SSL_get_verify_result(t->ssl);

    if (ERR_GET_LIB(err) == ERR_LIB_SSL && ERR_GET_REASON(err) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        snprintf(t->detail, sizeof(t->detail), "%s", X509_verify_cert_error_string(verified));
    else if (err != 0 && ERR_reason_error_string(err))
        snprintf(t->detail, sizeof(t->detail), "%s", ERR_reason_error_string(err));
    ERR_clear_error();
    return fail(t, reason);
}

/* -- life ------------------------------------------------------------------------------------------------------- */

static int create(SSL_CTX *ctx, uint64_t deadline_us, struct hr_tls **ret_tls)
{
    struct hr_tls *t = calloc(1, sizeof(*t));
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

    ERR_clear_error();
    if (!t || !in || !out || (t->ssl = SSL_new(ctx)) == NULL) {
        BIO_free(in);
        BIO_free(out);
        free(t);
        return HR_E_NOMEM;
    }
    BIO_set_mem_eof_return(in, -1);
    BIO_set_mem_eof_return(out, -1);
    SSL_set_bio(t->ssl, in, out);
    SSL_set_app_data(t->ssl, t);
    t->state = HR_TLS_RUNNING;
    t->node_id = -1;
    t->deadline_us = deadline_us;
    *ret_tls = t;
    return 0;
}

/* Goes on with the handshake as far as the bytes that OpenSSL has allow. */
static int step(struct hr_tls *t)
{
    ERR_clear_error();
    int ret = SSL_do_handshake(t->ssl);

    hr_tls_look_at_output(t);
    if (ret == 1) {
        t->state = HR_TLS_OPEN;
        /* A ticket that TLS 1.2 renews when it resumes is not announced by OpenSSL's callback. */
        if (t->client && SSL_session_reused(t->ssl) && SSL_version(t->ssl) == TLS1_2_VERSION)
            hr_tls_resume_put(t->client->resume, t->sni, t->port, SSL_get1_session(t->ssl));
        return 0;
    }
    return SSL_get_error(t->ssl, ret) == SSL_ERROR_WANT_READ ? 0 : fail_ssl(t);
}

int hr_tls_accept(struct hr_tls_server *server, uint64_t deadline_us, struct hr_tls **ret_tls)
{
    struct hr_tls *t;
    int err = create(server->ctx, deadline_us, &t);

    if (err)
        return err;
    t->server = hr_tls_server_ref(server);
    SSL_set_accept_state(t->ssl);
    *ret_tls = t;
    return 0;
}

/* The name is checked by OpenSSL as part of the chain's verification. */
static bool set_host(struct hr_tls *t, const char *host)
{
    struct hr_addr addr;

    if (hr_addr_parse(host, &addr))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), host) == 1;
    SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(t->ssl, host) == 1 && SSL_set1_host(t->ssl, host) == 1;
}

int hr_tls_connect(struct hr_tls_client *client, const char *host, uint16_t port, uint64_t deadline_us,
                   struct hr_tls **ret_tls)
{
    SSL_SESSION *session;
    struct hr_tls *t;
    int err;

    if (host[0] == '\0' || strlen(host) >= HR_POLICY_HOST_MAX)
        return HR_E_INVALID;
    err = create(client->ctx, deadline_us, &t);
    if (err)
        return err;
    t->client = hr_tls_client_ref(client);
    t->port = port;
    snprintf(t->sni, sizeof(t->sni), "%s", host);
    session = hr_tls_resume_take(client->resume, host, port);
    if (session) {
        (void)!SSL_set_session(t->ssl, session); /* one that has become useless: a full handshake */
        SSL_SESSION_free(session);
    }
    SSL_set_connect_state(t->ssl);
    if (!set_host(t, host) || step(t) != 0) {
        hr_tls_free(t);
        return HR_E_NOMEM;
    }
    *ret_tls = t;
    return 0;
}

void hr_tls_free(struct hr_tls *t)
{
    if (!t)
        return;
    /* Else OpenSSL would take the end for a sign of trouble, and the session for not resumable. */
    if (t->state == HR_TLS_OPEN)
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    hr_tls_server_unref(t->server);
    hr_tls_client_unref(t->client);
    if (t->in) {
        OPENSSL_cleanse(t->in, t->in_cap);
        free(t->in);
    }
    OPENSSL_cleanse(t, sizeof(*t));
    free(t);
}

/* -- bytes ------------------------------------------------------------------------------------------------------ */

static int keep(struct hr_tls *t, const uint8_t *data, uint32_t len)
{
    if (t->in_len + len > t->in_cap) {
        uint32_t cap = t->in_cap ? t->in_cap : 2048;
        uint8_t *in;

        while (cap < t->in_len + len)
            cap *= 2;
        in = realloc(t->in, cap); /* ciphertext: what the old place held is no secret */
        if (!in)
            return HR_E_NOMEM;
        t->in = in;
        t->in_cap = cap;
    }
    memcpy(t->in + t->in_len, data, len);
    t->in_len += len;
    return 0;
}

/* Length of the record at the head of what was kept, header included; 0: not all of the header is there yet.
 * RECORD_MAX + 1: it is no TLS record. */
static uint32_t record_len(const struct hr_tls *t)
{
    uint32_t len;

    if (t->in_len < HEADER)
        return t->in_len > 0 && (t->in[0] < TYPE_CCS || t->in[0] > TYPE_DATA) ? HR_TLS_RECORD_MAX + 1 : 0;
    len = HEADER + (uint32_t)(t->in[3] << 8 | t->in[4]);
    if (t->in[0] < TYPE_CCS || t->in[0] > TYPE_DATA || t->in[1] != 3 || len > HR_TLS_RECORD_MAX)
        return HR_TLS_RECORD_MAX + 1;
    return len;
}

static bool feed(struct hr_tls *t, uint32_t len)
{
    if (BIO_write(SSL_get_rbio(t->ssl), t->in, (int)len) != (int)len)
        return false;
    t->consumed += len;
    t->in_len -= len;
    memmove(t->in, t->in + len, t->in_len);
    return true;
}

/* The next whole record to OpenSSL. 0: done; AGAIN: it is not all there; INVALID: failed. */
static int feed_record(struct hr_tls *t)
{
    uint32_t len = record_len(t);

    if (len > HR_TLS_RECORD_MAX) {
        if (t->consumed == 0)
            return fail(t, HR_TLS_REASON_not_tls);
        /* OpenSSL finds the words for it. */
        return feed(t, t->in_len) ? 0 : fail(t, HR_TLS_REASON_internal);
    }
    if (len == 0 || t->in_len < len)
        return HR_E_AGAIN;
    return feed(t, len) ? 0 : fail(t, HR_TLS_REASON_internal);
}

int hr_tls_input(struct hr_tls *t, const uint8_t *data, uint32_t len)
{
    int err;

    if (t->state == HR_TLS_FAILED)
        return HR_E_INVALID;
    if (t->state == HR_TLS_OPEN && (len > HR_TLS_BACKLOG_MAX || t->in_len + len > HR_TLS_BACKLOG_MAX))
        return HR_E_TOO_LARGE;
    if (t->state == HR_TLS_RUNNING &&
        (len > HR_TLS_HANDSHAKE_MAX || t->consumed + t->in_len + len > HR_TLS_HANDSHAKE_MAX))
        return fail(t, HR_TLS_REASON_too_large);
    if (keep(t, data, len) != 0)
        return fail(t, HR_TLS_REASON_internal);
    while (t->state == HR_TLS_RUNNING) {
        bool garbage = record_len(t) > HR_TLS_RECORD_MAX;

        err = feed_record(t);
        if (err == HR_E_AGAIN)
            return 0;
        if (err || step(t) != 0)
            return HR_E_INVALID;
        if (garbage)
            return fail(t, HR_TLS_REASON_bad_message);
    }
    return t->state == HR_TLS_FAILED ? HR_E_INVALID : 0;
}

void hr_tls_eof(struct hr_tls *t)
{
    if (t->state == HR_TLS_RUNNING)
        fail(t, HR_TLS_REASON_closed);
}

bool hr_tls_expire(struct hr_tls *t, uint64_t now_us)
{
    if (t->state != HR_TLS_RUNNING || now_us < t->deadline_us)
        return false;
    fail(t, HR_TLS_REASON_timeout);
    return true;
}

uint32_t hr_tls_output(struct hr_tls *t, const uint8_t **ret_data)
{
    char *data = NULL;
    long len = BIO_get_mem_data(SSL_get_wbio(t->ssl), &data);

    *ret_data = (const uint8_t *)data;
    return (uint32_t)len;
}

void hr_tls_output_done(struct hr_tls *t)
{
    (void)!BIO_reset(SSL_get_wbio(t->ssl));
    t->out_seen = 0;
}

int hr_tls_read(struct hr_tls *t, uint8_t *buf, uint32_t cap, uint32_t *ret_len)
{
    uint32_t n = 0;

    if (t->state != HR_TLS_OPEN)
        return HR_E_INVALID;
    while (n < cap) {
        size_t got = 0;
        int err;

        ERR_clear_error();
        int ret = SSL_read_ex(t->ssl, buf + n, cap - n, &got);
        hr_tls_look_at_output(t); /* a KeyUpdate may have been answered */
        if (ret == 1) {
            n += (uint32_t)got;
            continue;
        }
        err = SSL_get_error(t->ssl, ret);
        if (err == SSL_ERROR_ZERO_RETURN) {
            if (n > 0)
                break;
            return HR_E_CLOSED;
        }
        if (err != SSL_ERROR_WANT_READ) {
            t->reason = HR_TLS_REASON_NONE;
            return fail_ssl(t);
        }
        err = feed_record(t);
        if (err == HR_E_AGAIN)
            break;
        if (err)
            return err;
    }
    *ret_len = n;
    return 0;
}

int hr_tls_write(struct hr_tls *t, const void *data, uint32_t len)
{
    size_t done;

    if (t->state != HR_TLS_OPEN)
        return HR_E_INVALID;
    ERR_clear_error();
    if (len > 0 && (SSL_write_ex(t->ssl, data, len, &done) != 1 || done != len))
        return fail_ssl(t);
    hr_tls_look_at_output(t);
    return 0;
}

void hr_tls_close(struct hr_tls *t)
{
    if (t->state != HR_TLS_OPEN)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
    hr_tls_look_at_output(t);
}

/* -- questions -------------------------------------------------------------------------------------------------- */

enum hr_tls_state hr_tls_get_state(const struct hr_tls *t)
{
    return t->state;
}

enum hr_tls_reason hr_tls_get_reason(const struct hr_tls *t)
{
    return t->reason;
}

const char *hr_tls_detail(const struct hr_tls *t)
{
    return t->detail;
}

const char *hr_tls_sni(const struct hr_tls *t)
{
    return t->sni;
}

int32_t hr_tls_node_id(const struct hr_tls *t)
{
    return t->node_id;
}

bool hr_tls_resumed(const struct hr_tls *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

X509 *hr_tls_peer_cert(const struct hr_tls *t)
{
    return SSL_get0_peer_certificate(t->ssl);
}

int hr_tls_principal(const struct hr_tls *t, char *name, size_t cap)
{
    X509 *cert = t->server ? hr_tls_peer_cert(t) : NULL;

    return cert ? hr_principal_of(t->server->principal, cert, name, cap) : HR_E_NOT_FOUND;
}

uint8_t hr_tls_version(const struct hr_tls *t)
{
    if (!SSL_get_current_cipher(t->ssl))
        return HR_TLS_VERSION_NONE;
    switch (SSL_version(t->ssl)) {
    case TLS1_3_VERSION:
        return HR_TLS_1_3;
    case TLS1_2_VERSION:
        return HR_TLS_1_2;
    default:
        return HR_TLS_VERSION_NONE;
    }
}

uint8_t hr_tls_suite(const struct hr_tls *t)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);

    switch (cipher ? SSL_CIPHER_get_protocol_id(cipher) : 0) {
    case 0x1301:
    case 0xc02b: /* ECDHE-ECDSA, ECDHE-RSA */
    case 0xc02f:
        return HR_TLS_AES_128_GCM_SHA256;
    case 0x1302:
    case 0xc02c:
    case 0xc030:
        return HR_TLS_AES_256_GCM_SHA384;
    case 0x1303:
        return HR_TLS_CHACHA20_POLY1305_SHA256;
    default:
        return HR_TLS_SUITE_NONE;
    }
}

uint64_t hr_tls_consumed(const struct hr_tls *t)
{
    return t->consumed;
}

uint32_t hr_tls_pending(const struct hr_tls *t)
{
    return (uint32_t)SSL_pending(t->ssl);
}

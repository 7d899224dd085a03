/* OpenSSL's memory BIOs carry the bytes. What the hand-off needs and OpenSSL does not tell is learnt from its
 * callbacks: traffic secrets from the key log, records of either direction from the message callback, which is
 * called for each record header in the order in which keys change. TLS 1.2's explicit nonces are read from the
 * records that go out. */
#include "controlplane/tls/handshake.h"

#include <ctype.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/tls/impl.h"
#include "controlplane/tls/secrets.h"
#include "shared/base/addr.h"

#define HEADER      5
#define TYPE_CCS    20
#define TYPE_DATA   23
#define KEY_UPDATE  24 /* RFC 8446 4: the message's type */
#define SERVER_KEYS "SERVER_TRAFFIC_SECRET_0 "
#define CLIENT_KEYS "CLIENT_TRAFFIC_SECRET_0 "

static const char *const reason_names[] = {
    "none",
#define X(name, text) #name,
    HR_TLS_REASONS(X)
#undef X
};
static const char *const reason_texts[] = {
    "none",
#define X(name, text) text,
    HR_TLS_REASONS(X)
#undef X
};

const char *hr_tls_reason_name(unsigned reason)
{
    return reason < HR_TLS_REASON_MAX ? reason_names[reason] : "?";
}

const char *hr_tls_reason_text(unsigned reason)
{
    return reason < HR_TLS_REASON_MAX ? reason_texts[reason] : "?";
}

/* -- what OpenSSL tells ---------------------------------------------------------------------------------------- */

static bool from_hex(const char *hex, uint8_t *out, uint32_t cap, uint32_t *ret_len)
{
    uint32_t n = 0;

    for (; isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1]); hex += 2) {
        unsigned byte;

        if (n == cap || sscanf(hex, "%2x", &byte) != 1)
            return false;
        out[n++] = (uint8_t)byte;
    }
    *ret_len = n;
    return *hex == '\0' && n > 0;
}

/* "LABEL client_random secret" in hex, in the moment in which the keys come into use. */
void hr_tls_on_keylog(const SSL *ssl, const char *line)
{
    struct hr_tls *t = hr_tls_of(ssl);
    bool by_server = strncmp(line, SERVER_KEYS, strlen(SERVER_KEYS)) == 0;
    const char *secret = strrchr(line, ' ');

    if (!t || (!by_server && strncmp(line, CLIENT_KEYS, strlen(CLIENT_KEYS)) != 0))
        return;
    struct hr_tls_count *count = by_server == (t->server != NULL) ? &t->wr : &t->rd;

    *count = (struct hr_tls_count){0};
    if (!from_hex(secret + 1, count->secret, sizeof(count->secret), &count->secret_len))
        t->keys_lost = true;
}

static const EVP_MD *handshake_md(const struct hr_tls *t)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);

    return cipher ? SSL_CIPHER_get_handshake_digest(cipher) : NULL;
}

/* RFC 8446 7.2: the next generation, which OpenSSL does not log. */
static void key_update(struct hr_tls *t, struct hr_tls_count *count)
{
    const EVP_MD *md = handshake_md(t);
    uint8_t next[48];

    if (!md || !hr_tls_expand_label(md, count->secret, count->secret_len, "traffic upd", next, count->secret_len)) {
        t->keys_lost = true;
        return;
    }
    memcpy(count->secret, next, count->secret_len);
    OPENSSL_cleanse(next, sizeof(next));
    count->records = 0;
    count->generation++;
}

void hr_tls_on_message(int written, int version, int type, const void *buf, size_t len, SSL *ssl, void *arg)
{
    struct hr_tls *t = hr_tls_of(ssl);
    const uint8_t *bytes = buf;

    (void)version, (void)arg;
    if (!t || len == 0)
        return;
    struct hr_tls_count *count = written ? &t->wr : &t->rd;
    bool tls13 = SSL_version(ssl) == TLS1_3_VERSION;

    if (type == SSL3_RT_HEADER) {
        if (tls13 && bytes[0] == TYPE_DATA)
            count->records++;
        else if (!tls13 && bytes[0] == TYPE_CCS)
            count->records = 0; /* the next one is the first under the new keys */
        else if (!tls13)
            count->records++;
    } else if (type == SSL3_RT_HANDSHAKE && bytes[0] == KEY_UPDATE && tls13 && count->secret_len > 0) {
        key_update(t, count);
    }
}

/* -- failing ---------------------------------------------------------------------------------------------------- */

static enum hr_tls_reason verify_reason(long result)
{
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
        return HR_TLS_REASON_expired;
    case X509_V_ERR_CERT_REVOKED:
        return HR_TLS_REASON_revoked;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return HR_TLS_REASON_wrong_name;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return HR_TLS_REASON_unknown_ca;
    default:
        return HR_TLS_REASON_bad_certificate;
    }
}

static enum hr_tls_reason error_reason(const SSL *ssl, unsigned long err)
{
    int reason = ERR_GET_REASON(err);

    if (err == 0 || ERR_GET_LIB(err) == ERR_LIB_SYS)
        return HR_TLS_REASON_closed;
    if (ERR_GET_LIB(err) != ERR_LIB_SSL)
        return HR_TLS_REASON_bad_message; /* of the library that parses certificates, keys, points */
    if (reason >= SSL_AD_REASON_OFFSET)
        return HR_TLS_REASON_peer_alert;
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return verify_reason(SSL_get_verify_result(ssl));
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return HR_TLS_REASON_no_certificate;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_UNKNOWN_PROTOCOL:
        return HR_TLS_REASON_protocol_version;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return HR_TLS_REASON_no_shared_cipher;
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_DECRYPTION_FAILED:
    case SSL_R_DIGEST_CHECK_FAILED:
    case SSL_R_BAD_SIGNATURE:
        return HR_TLS_REASON_decrypt_error;
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return HR_TLS_REASON_too_large;
    case ERR_R_MALLOC_FAILURE:
    case ERR_R_INTERNAL_ERROR:
        return HR_TLS_REASON_internal;
    default:
        return HR_TLS_REASON_bad_message;
    }
}

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
    enum hr_tls_reason reason = error_reason(t->ssl, err);
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

/* Explicit nonces of TLS 1.2's records among what was just written; whole records only are in the output. */
static void look_at_output(struct hr_tls *t)
{
    const uint8_t *data;
    uint32_t len = hr_tls_output(t, &data);

    while (len - t->out_seen >= HEADER) {
        const uint8_t *record = data + t->out_seen;
        uint32_t body = (uint32_t)(record[3] << 8 | record[4]);

        if (len - t->out_seen < HEADER + body)
            return;
        t->out_seen += HEADER + body;
        if (record[0] == TYPE_CCS || body < 8)
            continue;
        t->last_nonce = 0;
        for (int i = 0; i < 8; i++)
            t->last_nonce = t->last_nonce << 8 | record[HEADER + i];
        t->wrote_nonce = true;
    }
}

/* Goes on with the handshake as far as the bytes that OpenSSL has allow. */
static int step(struct hr_tls *t)
{
    ERR_clear_error();
    int ret = SSL_do_handshake(t->ssl);

    look_at_output(t);
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
        look_at_output(t); /* a KeyUpdate may have been answered */
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
    look_at_output(t);
    return 0;
}

void hr_tls_close(struct hr_tls *t)
{
    if (t->state != HR_TLS_OPEN)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
    look_at_output(t);
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

/* -- hand-off --------------------------------------------------------------------------------------------------- */

static uint16_t fragment_max(const struct hr_tls *t)
{
    uint8_t code = SSL_SESSION_get_max_fragment_length(SSL_get0_session(t->ssl));

    return code >= TLSEXT_max_fragment_length_512 && code <= TLSEXT_max_fragment_length_4096
               ? (uint16_t)(512u << (code - TLSEXT_max_fragment_length_512))
               : HR_TLS_FRAGMENT_MAX;
}

static void direction_13(const struct hr_tls_count *count, struct hr_tls_direction *d)
{
    memcpy(d->traffic_secret, count->secret, count->secret_len);
    d->seq = count->records;
    d->generation = count->generation;
}

static bool directions_12(const struct hr_tls *t, struct hr_tls_secrets *s)
{
    uint8_t master[SSL_MAX_MASTER_KEY_LENGTH], client[32], server[32];
    uint8_t block[2 * (HR_TLS_KEY_MAX + HR_TLS_FIXED_IV_LEN)];
    size_t key = hr_tls_key_len(s->suite), iv = HR_TLS_FIXED_IV_LEN;
    size_t master_len = SSL_SESSION_get_master_key(SSL_get0_session(t->ssl), master, sizeof(master));
    const EVP_MD *md = handshake_md(t);
    struct hr_tls_direction *by_client = t->server ? &s->read : &s->write;
    struct hr_tls_direction *by_server = t->server ? &s->write : &s->read;
    bool ok = md && t->wrote_nonce && SSL_get_client_random(t->ssl, client, 32) == 32 &&
              SSL_get_server_random(t->ssl, server, 32) == 32 &&
              hr_tls_key_block(md, master, master_len, server, client, block, 2 * (key + iv));

    if (ok) {
        memcpy(by_client->key, block, key);
        memcpy(by_server->key, block + key, key);
        memcpy(by_client->fixed_iv, block + 2 * key, iv);
        memcpy(by_server->fixed_iv, block + 2 * key + iv, iv);
        s->read.seq = t->rd.records;
        s->write.seq = t->wr.records;
        s->write.explicit_nonce = t->last_nonce + 1;
    }
    OPENSSL_cleanse(master, sizeof(master));
    OPENSSL_cleanse(block, sizeof(block));
    return ok;
}

int hr_tls_hand_off(struct hr_tls *t, struct hr_tls_secrets *ret_secrets)
{
    struct hr_tls_secrets s;
    const uint8_t *data;
    bool ok;

    memset(&s, 0, sizeof(s));
    if (t->state != HR_TLS_OPEN)
        return HR_E_INVALID;
    if (hr_tls_output(t, &data) > 0 || hr_tls_pending(t) > 0 || BIO_ctrl_pending(SSL_get_rbio(t->ssl)) > 0)
        return HR_E_BUSY;
    s.version = hr_tls_version(t);
    s.suite = hr_tls_suite(t);
    s.role = t->server ? HR_TLS_SERVER : HR_TLS_CLIENT;
    s.fragment_max = fragment_max(t);
    if (s.version == HR_TLS_1_3) {
        ok = !t->keys_lost && t->rd.secret_len == hr_tls_hash_len(s.suite) && t->rd.secret_len == t->wr.secret_len;
        if (ok) {
            direction_13(&t->rd, &s.read);
            direction_13(&t->wr, &s.write);
        }
    } else {
        ok = !t->keys_lost && s.version == HR_TLS_1_2 && s.suite != HR_TLS_SUITE_NONE && directions_12(t, &s);
    }
    ok = ok && hr_tls_secrets_check(&s) == 0;
    if (ok)
        *ret_secrets = s;
    OPENSSL_cleanse(&s, sizeof(s));
    OPENSSL_cleanse(&t->rd, sizeof(t->rd));
    OPENSSL_cleanse(&t->wr, sizeof(t->wr));
    t->keys_lost = true; /* they are the worker's now */
    return ok ? 0 : HR_E_UNSUPPORTED;
}

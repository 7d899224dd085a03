#include "controlplane/tls/test_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>

#include "controlplane/tls/test_records.h"

struct pki pki;
SSL_SESSION *peer_session;
time_t peer_clock_ahead_s;

time_t time(time_t *ret)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec + peer_clock_ahead_s;
    return now.tv_sec + peer_clock_ahead_s;
}

static const struct pki_leaf leaves[] = {
    {.name = "rsa", .cn = "rsa", .san = "DNS:*.kafka.test,DNS:kafka.test", .rsa = true},
    {.name = "ec", .cn = "ec", .san = "DNS:*.kafka.test,DNS:kafka.test,IP:127.0.0.1"},
    {.name = "third", .cn = "third", .san = "DNS:other.test"},
    {.name = "client", .cn = "alice"},
    {.name = "expired", .cn = "old", .san = "DNS:kafka.test", .days_from = -20, .days_to = -10},
};

int peer_setup(void **s)
{
    (void)s;
    pki_open(&pki);
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
        pki_leaf(&pki, &leaves[i]);
    pki_leaf(&pki, &(struct pki_leaf){.name = "foreign", .cn = "mallory", .san = "DNS:kafka.test", .ca = &pki.other_ca});
    return 0;
}

int peer_teardown(void **s)
{
    (void)s;
    peer_forget_session();
    pki_close(&pki);
    return 0;
}

const struct peer_suite peer_suites[PEER_SUITES] = {
    {true, "TLS_AES_128_GCM_SHA256", HR_TLS_AES_128_GCM_SHA256},
    {true, "TLS_AES_256_GCM_SHA384", HR_TLS_AES_256_GCM_SHA384},
    {true, "TLS_CHACHA20_POLY1305_SHA256", HR_TLS_CHACHA20_POLY1305_SHA256},
    {false, "ECDHE-RSA-AES128-GCM-SHA256", HR_TLS_AES_128_GCM_SHA256},
    {false, "ECDHE-ECDSA-AES128-GCM-SHA256", HR_TLS_AES_128_GCM_SHA256},
    {false, "ECDHE-RSA-AES256-GCM-SHA384", HR_TLS_AES_256_GCM_SHA384},
    {false, "ECDHE-ECDSA-AES256-GCM-SHA384", HR_TLS_AES_256_GCM_SHA384},
};

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(peer_session);
    peer_session = session;
    return 1;
}

void peer_open(struct peer *p, bool server, const char *cert)
{
    p->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (cert) {
        struct hr_config_certificate files = pki_cert(&pki, cert);

        assert_int_equal(SSL_CTX_use_certificate_chain_file(p->ctx, files.chain.path), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(p->ctx, files.key.path, SSL_FILETYPE_PEM), 1);
    }
    if (server) {
        SSL_CTX_set_session_id_context(p->ctx, (const unsigned char *)"t", 1);
    } else {
        SSL_CTX_set_session_cache_mode(p->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(p->ctx, on_session);
    }
}

void peer_only(struct peer *p, bool tls13, const char *suite)
{
    if (tls13) {
        SSL_CTX_set_min_proto_version(p->ctx, TLS1_3_VERSION);
        assert_int_equal(SSL_CTX_set_ciphersuites(p->ctx, suite), 1);
    } else {
        SSL_CTX_set_max_proto_version(p->ctx, TLS1_2_VERSION);
        assert_int_equal(SSL_CTX_set_cipher_list(p->ctx, suite), 1);
    }
}

void peer_start(struct peer *p, const char *sni)
{
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

    BIO_set_mem_eof_return(in, -1);
    p->ssl = SSL_new(p->ctx);
    SSL_set_bio(p->ssl, in, out);
    if (SSL_is_server(p->ssl)) {
        SSL_set_accept_state(p->ssl);
    } else {
        SSL_set_connect_state(p->ssl);
        if (sni)
            SSL_set_tlsext_host_name(p->ssl, sni);
    }
}

void peer_close(struct peer *p)
{
    if (p->ssl)
        SSL_set_shutdown(p->ssl, 3);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    memset(p, 0, sizeof(*p));
}

int peer_say(struct peer *p, struct hr_tls *t, uint32_t piece)
{
    uint8_t buf[20000];
    int n, err = 0;

    while ((n = BIO_read(SSL_get_wbio(p->ssl), buf, (int)(piece < sizeof(buf) ? piece : sizeof(buf)))) > 0 && !err)
        err = hr_tls_input(t, buf, (uint32_t)n);
    return err;
}

uint32_t peer_hear(struct hr_tls *t, struct peer *p)
{
    const uint8_t *data;
    uint32_t n = hr_tls_output(t, &data);

    if (n > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(p->ssl), data, (int)n), n);
    hr_tls_output_done(t);
    return n;
}

int peer_shake(struct hr_tls *t, struct peer *p, uint32_t piece)
{
    int err = 0;

    for (int i = 0; i < 10; i++) {
        peer_hear(t, p);
        ERR_clear_error();
        SSL_do_handshake(p->ssl);
        if ((err = peer_say(p, t, piece)) != 0)
            break;
    }
    peer_hear(t, p);
    ERR_clear_error();
    SSL_do_handshake(p->ssl);
    return err;
}

void peer_sees_cn(const struct peer *p, const char *cn)
{
    char seen[64];

    X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(p->ssl)), NID_commonName, seen, sizeof(seen));
    assert_string_equal(seen, cn);
}

struct hr_config_listener peer_listener(int n, const char *const *certs)
{
    struct hr_config_listener l = {.policy = {.name = "kafka", .mode = HR_LISTENER_KAFKA}};

    l.policy.tls = 1;
    for (int i = 0; i < n; i++)
        l.tls.certs[l.tls.n_certs++] = pki_cert(&pki, certs[i]);
    return l;
}

struct hr_tls_server *peer_server(const struct hr_config_listener *l, const struct hr_tls_server *previous)
{
    struct hr_tls_server *server;
    struct hr_tls_why why;

    if (hr_tls_server_create(l, previous, &server, &why) != 0)
        fail_msg("%s", why.text);
    return server;
}

struct hr_tls_server *peer_default_server(void)
{
    static const char *const certs[] = {"ec", "rsa"};
    struct hr_config_listener l = peer_listener(2, certs);

    return peer_server(&l, NULL);
}

struct hr_tls_client *peer_client(const char *ca, const char *cert)
{
    struct hr_config_cluster_tls tls = {.on = true, .ca = pki_file(&pki, ca)};
    struct hr_tls_client *client;
    struct hr_tls_why why;

    if (cert)
        tls.cert = pki_cert(&pki, cert);
    if (hr_tls_client_create(&tls, &client, &why) != 0)
        fail_msg("%s", why.text);
    return client;
}

void peer_forget_session(void)
{
    SSL_SESSION_free(peer_session);
    peer_session = NULL;
}

bool peer_visit(struct hr_tls_server *server, bool tls13, const char *sni, const char *cert)
{
    struct hr_tls_secrets secrets;
    struct peer p;
    struct hr_tls *t;
    bool resumed;
    char byte;

    peer_open(&p, false, cert);
    peer_only(&p, tls13, tls13 ? peer_suites[0].name : peer_suites[3].name);
    peer_start(&p, sni);
    if (peer_session)
        assert_int_equal(SSL_set_session(p.ssl, peer_session), 1);
    assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
    assert_int_equal(peer_shake(t, &p, 50000), 0);
    assert_int_equal(hr_tls_get_state(t), HR_TLS_OPEN);
    assert_int_equal(SSL_read(p.ssl, &byte, 1), -1); /* takes the tickets */
    resumed = hr_tls_resumed(t);
    assert_int_equal(resumed, SSL_session_reused(p.ssl));
    assert_int_equal(hr_tls_peer_cert(t) != NULL, cert != NULL);
    assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
    assert_int_equal(records_go_on(&p, &secrets, NULL, 0), 0);
    hr_tls_free(t);
    peer_close(&p);
    return resumed;
}

enum hr_tls_reason peer_refused(struct hr_tls_server *server, const char *sni, const char *cert, const char *alert)
{
    enum hr_tls_reason reason;
    struct hr_tls_secrets secrets;
    struct peer p;
    struct hr_tls *t;
    char byte;

    peer_open(&p, false, cert);
    peer_start(&p, sni);
    if (peer_session)
        assert_int_equal(SSL_set_session(p.ssl, peer_session), 1);
    assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
    assert_int_equal(peer_shake(t, &p, 50000), HR_E_INVALID);
    assert_int_equal(hr_tls_get_state(t), HR_TLS_FAILED);
    assert_int_equal(hr_tls_hand_off(t, &secrets), HR_E_INVALID);
    ERR_clear_error();
    SSL_read(p.ssl, &byte, 1);
    const char *said = SSL_alert_desc_string_long(ERR_GET_REASON(ERR_peek_error()) - SSL_AD_REASON_OFFSET);
    if (!ERR_peek_error())
        said = "nothing"; /* taken by the handshake call before */
    if (alert && strcmp(said, "nothing") != 0)
        assert_string_equal(said, alert);
    reason = hr_tls_get_reason(t);
    hr_tls_free(t);
    peer_close(&p);
    return reason;
}

/* The driver against OpenSSL itself, both versions and roles, and the hand-off proven by going on by hand: after it,
 * records that the test seals and opens with the keys that were handed off, at the numbers that were handed off,
 * are understood by the peer's untouched OpenSSL, and the peer's by the test. */
#include "controlplane/tls/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "controlplane/tls/context.h"
#include "controlplane/tls/principal.h"
#include "controlplane/tls/secrets.h"
#include "controlplane/tls/test_pki.h"

#define DEADLINE 1000000u

/* The clock of certificates and tickets, OpenSSL's included, is the test's. */
static time_t ahead_s;

time_t time(time_t *ret)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec + ahead_s;
    return now.tv_sec + ahead_s;
}

static struct pki pki;
static X509 *leaf_cert, *client_cert;

static int setup(void **s)
{
    (void)s;
    pki_open(&pki);
    X509_free(pki_leaf(&pki, &(struct pki_leaf){.name = "rsa", .cn = "rsa", .san = "DNS:*.kafka.test,DNS:kafka.test", .rsa = true}));
    X509_free(pki_leaf(&pki, &(struct pki_leaf){.name = "ec", .cn = "ec", .san = "DNS:*.kafka.test,DNS:kafka.test,IP:127.0.0.1"}));
    leaf_cert = pki_leaf(&pki, &(struct pki_leaf){.name = "third", .cn = "third", .san = "DNS:other.test"});
    client_cert = pki_leaf(&pki, &(struct pki_leaf){.name = "client", .cn = "alice"});
    X509_free(pki_leaf(&pki, &(struct pki_leaf){.name = "expired", .cn = "old", .san = "DNS:kafka.test", .days_from = -20, .days_to = -10}));
    X509_free(pki_leaf(&pki, &(struct pki_leaf){.name = "foreign", .cn = "mallory", .san = "DNS:kafka.test", .ca = &pki.other_ca}));
    return 0;
}

static int teardown(void **s)
{
    (void)s;
    X509_free(leaf_cert);
    X509_free(client_cert);
    pki_close(&pki);
    return 0;
}

/* -- the peer: plain OpenSSL ----------------------------------------------------------------------------------- */

struct peer {
    SSL_CTX *ctx;
    SSL *ssl;
};

static SSL_SESSION *peer_session; /* the newest that a client peer was offered */

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(peer_session);
    peer_session = session;
    return 1;
}

static void peer_open(struct peer *p, bool server, const char *cert)
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

static void peer_start(struct peer *p, const char *sni)
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

static void peer_close(struct peer *p)
{
    if (p->ssl)
        SSL_set_shutdown(p->ssl, 3);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    memset(p, 0, sizeof(*p));
}

/* What the peer has to say, in pieces of at most `piece` bytes, to ours. */
static int peer_to_us(struct peer *p, struct hr_tls *t, uint32_t piece)
{
    uint8_t buf[20000];
    int n, err = 0;

    while ((n = BIO_read(SSL_get_wbio(p->ssl), buf, (int)(piece < sizeof(buf) ? piece : sizeof(buf)))) > 0 && !err)
        err = hr_tls_input(t, buf, (uint32_t)n);
    return err;
}

static uint32_t us_to_peer(struct hr_tls *t, struct peer *p)
{
    const uint8_t *data;
    uint32_t n = hr_tls_output(t, &data);

    if (n > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(p->ssl), data, (int)n), n);
    hr_tls_output_done(t);
    return n;
}

/* Until nobody has more to say. Returns the error of our side. */
static int shake(struct hr_tls *t, struct peer *p, uint32_t piece)
{
    int err = 0;

    for (int i = 0; i < 10; i++) {
        us_to_peer(t, p);
        ERR_clear_error();
        SSL_do_handshake(p->ssl);
        if ((err = peer_to_us(p, t, piece)) != 0)
            break;
    }
    us_to_peer(t, p);
    ERR_clear_error();
    SSL_do_handshake(p->ssl);
    return err;
}

static struct hr_config_listener listener_with(int n, const char *const *certs)
{
    struct hr_config_listener l = {.policy = {.name = "kafka", .mode = HR_LISTENER_KAFKA}};

    l.policy.tls = 1;
    for (int i = 0; i < n; i++)
        l.tls.certs[l.tls.n_certs++] = pki_cert(&pki, certs[i]);
    return l;
}

static struct hr_tls_server *server_of(const struct hr_config_listener *l, const struct hr_tls_server *previous)
{
    struct hr_tls_server *server;
    struct hr_tls_why why;

    if (hr_tls_server_create(l, previous, &server, &why) != 0)
        fail_msg("%s", why.text);
    return server;
}

static struct hr_tls_server *default_server(void)
{
    static const char *const certs[] = {"ec", "rsa"};
    struct hr_config_listener l = listener_with(2, certs);

    return server_of(&l, NULL);
}

static struct hr_tls_client *client_of(const char *ca, const char *cert)
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

/* -- a record layer by hand -------------------------------------------------------------------------------------- */

struct hand {
    const EVP_CIPHER *cipher;
    uint8_t key[32], iv[12];
    uint64_t seq, nonce;
    bool tls13;
};

static void hand_open(struct hand *h, const struct hr_tls_secrets *s, const struct hr_tls_direction *d)
{
    const EVP_MD *md = s->suite == HR_TLS_AES_256_GCM_SHA384 ? EVP_sha384() : EVP_sha256();

    memset(h, 0, sizeof(*h));
    h->tls13 = s->version == HR_TLS_1_3;
    h->cipher = s->suite == HR_TLS_AES_128_GCM_SHA256   ? EVP_aes_128_gcm()
                : s->suite == HR_TLS_AES_256_GCM_SHA384 ? EVP_aes_256_gcm()
                                                        : EVP_chacha20_poly1305();
    h->seq = d->seq;
    h->nonce = d->explicit_nonce;
    if (h->tls13) {
        assert_true(hr_tls_expand_label(md, d->traffic_secret, hr_tls_hash_len(s->suite), "key", h->key,
                                        hr_tls_key_len(s->suite)));
        assert_true(hr_tls_expand_label(md, d->traffic_secret, hr_tls_hash_len(s->suite), "iv", h->iv, 12));
    } else {
        memcpy(h->key, d->key, 32);
        memcpy(h->iv, d->fixed_iv, 4);
    }
}

static void hand_nonce(const struct hand *h, uint64_t number, uint8_t nonce[12])
{
    memcpy(nonce, h->iv, 12);
    for (int i = 0; i < 8; i++) {
        uint8_t byte = (uint8_t)(number >> (56 - 8 * i));

        nonce[4 + i] = h->tls13 ? nonce[4 + i] ^ byte : byte;
    }
}

static void hand_aad(const struct hand *h, uint8_t type, uint32_t len, uint8_t aad[13], int *ret_len)
{
    if (h->tls13) {
        memcpy(aad, (uint8_t[]){23, 3, 3, (uint8_t)(len >> 8), (uint8_t)len}, 5);
        *ret_len = 5;
        return;
    }
    for (int i = 0; i < 8; i++)
        aad[i] = (uint8_t)(h->seq >> (56 - 8 * i));
    memcpy(aad + 8, (uint8_t[]){type, 3, 3, (uint8_t)(len >> 8), (uint8_t)len}, 5);
    *ret_len = 13;
}

static uint32_t hand_seal(struct hand *h, const char *text, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t plain[256], nonce[12], aad[13];
    uint32_t n = (uint32_t)strlen(text), explicit = h->tls13 ? 0 : 8, len;
    int aad_len, got;

    memcpy(plain, text, n);
    if (h->tls13)
        plain[n++] = 23;
    len = explicit + n + 16;
    hand_nonce(h, h->tls13 ? h->seq : h->nonce, nonce);
    hand_aad(h, 23, h->tls13 ? len : n, aad, &aad_len);
    memcpy(out, (uint8_t[]){23, 3, 3, (uint8_t)(len >> 8), (uint8_t)len}, 5);
    if (explicit)
        memcpy(out + 5, nonce + 4, 8);
    assert_int_equal(EVP_EncryptInit_ex(ctx, h->cipher, NULL, h->key, nonce), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &got, aad, aad_len), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out + 5 + explicit, &got, plain, (int)n), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, out + 5 + explicit + n, &got), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + 5 + explicit + n), 1);
    EVP_CIPHER_CTX_free(ctx);
    h->seq++;
    h->nonce++;
    return 5 + len;
}

/* Opens one record; returns its content type, -1 when the tag is wrong. */
static int hand_unseal(struct hand *h, const uint8_t *record, char *text, uint32_t *ret_len)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t nonce[12], aad[13];
    uint32_t len = (uint32_t)(record[3] << 8 | record[4]), explicit = h->tls13 ? 0 : 8, n = len - explicit - 16;
    uint64_t number = h->seq;
    int aad_len, got, ok, type = record[0];

    if (explicit) {
        number = 0;
        for (int i = 0; i < 8; i++)
            number = number << 8 | record[5 + i];
    }
    hand_nonce(h, number, nonce);
    hand_aad(h, record[0], h->tls13 ? len : n, aad, &aad_len);
    EVP_DecryptInit_ex(ctx, h->cipher, NULL, h->key, nonce);
    EVP_DecryptUpdate(ctx, NULL, &got, aad, aad_len);
    EVP_DecryptUpdate(ctx, (uint8_t *)text, &got, record + 5 + explicit, (int)n);
    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(record + 5 + explicit + n));
    ok = EVP_DecryptFinal_ex(ctx, (uint8_t *)text + n, &got);
    EVP_CIPHER_CTX_free(ctx);
    h->seq++;
    if (ok != 1)
        return -1;
    if (h->tls13) {
        while (n > 0 && text[n - 1] == 0)
            n--;
        type = text[--n];
    }
    text[n] = '\0';
    *ret_len = n;
    return type;
}

/* Both directions after the hand-off. `leftover`: bytes of the peer that our OpenSSL has not had. Returns how many
 * records came before the first with data (tickets, towards a client). */
static int go_on_by_hand(struct peer *p, const struct hr_tls_secrets *s, const uint8_t *leftover, uint32_t n)
{
    struct hand rd, wr;
    uint8_t bytes[8192], record[1024];
    char text[4096], got[256];
    uint32_t len, at = 0;
    int tickets = 0;

    hand_open(&rd, s, &s->read);
    hand_open(&wr, s, &s->write);
    for (int round = 0; round < 3; round++) {
        len = hand_seal(&wr, "from the worker", record);
        assert_int_equal(BIO_write(SSL_get_rbio(p->ssl), record, (int)len), len);
        ERR_clear_error();
        int read = SSL_read(p->ssl, got, sizeof(got));
        if (read != 15)
            fail_msg("the peer does not understand record %d: %s", round, ERR_reason_error_string(ERR_peek_error()));
        assert_memory_equal(got, "from the worker", 15);
    }
    if (n > 0)
        memcpy(bytes, leftover, n);
    for (int i = 0; i < 3; i++)
        assert_int_equal(SSL_write(p->ssl, "from the peer", 13), 13);
    n += (uint32_t)BIO_read(SSL_get_wbio(p->ssl), bytes + n, (int)(sizeof(bytes) - n));
    for (int seen = 0; seen < 3;) {
        assert_true(at + 5 <= n);
        int type = hand_unseal(&rd, bytes + at, text, &len);

        if (type == 22) {
            tickets++;
        } else {
            assert_int_equal(type, 23);
            assert_string_equal(text, "from the peer");
            seen++;
        }
        at += 5 + (uint32_t)(bytes[at + 3] << 8 | bytes[at + 4]);
    }
    assert_int_equal(at, n);
    return tickets;
}

static void peer_suite(struct peer *p, bool tls13, const char *suite)
{
    if (tls13) {
        SSL_CTX_set_min_proto_version(p->ctx, TLS1_3_VERSION);
        assert_int_equal(SSL_CTX_set_ciphersuites(p->ctx, suite), 1);
    } else {
        SSL_CTX_set_max_proto_version(p->ctx, TLS1_2_VERSION);
        assert_int_equal(SSL_CTX_set_cipher_list(p->ctx, suite), 1);
    }
}

static const struct {
    bool tls13;
    const char *name;
    uint8_t suite;
} suites[] = {
    {true, "TLS_AES_128_GCM_SHA256", HR_TLS_AES_128_GCM_SHA256},
    {true, "TLS_AES_256_GCM_SHA384", HR_TLS_AES_256_GCM_SHA384},
    {true, "TLS_CHACHA20_POLY1305_SHA256", HR_TLS_CHACHA20_POLY1305_SHA256},
    {false, "ECDHE-RSA-AES128-GCM-SHA256", HR_TLS_AES_128_GCM_SHA256},
    {false, "ECDHE-ECDSA-AES128-GCM-SHA256", HR_TLS_AES_128_GCM_SHA256},
    {false, "ECDHE-RSA-AES256-GCM-SHA384", HR_TLS_AES_256_GCM_SHA384},
    {false, "ECDHE-ECDSA-AES256-GCM-SHA384", HR_TLS_AES_256_GCM_SHA384},
};
#define N_SUITES (sizeof(suites) / sizeof(suites[0]))

/* -- tests ------------------------------------------------------------------------------------------------------ */

static void server_hands_off(void **s)
{
    (void)s;
    for (size_t i = 0; i < N_SUITES; i++) {
        for (uint32_t piece = 1; piece < 40000; piece *= 190) {
            struct hr_tls_server *server = default_server();
            struct hr_tls_secrets secrets;
            struct peer p;
            struct hr_tls *t;

            peer_open(&p, false, NULL);
            peer_suite(&p, suites[i].tls13, suites[i].name);
            peer_start(&p, "b1.kafka.test");
            assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
            assert_int_equal(shake(t, &p, piece), 0);
            assert_int_equal(hr_tls_get_state(t), HR_TLS_OPEN);
            assert_string_equal(hr_tls_sni(t), "b1.kafka.test");
            assert_int_equal(hr_tls_suite(t), suites[i].suite);
            assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
            assert_int_equal(secrets.role, HR_TLS_SERVER);
            assert_int_equal(secrets.version, suites[i].tls13 ? HR_TLS_1_3 : HR_TLS_1_2);
            assert_int_equal(secrets.fragment_max, 16384);
            assert_int_equal(secrets.read.seq, suites[i].tls13 ? 0 : 1);
            go_on_by_hand(&p, &secrets, NULL, 0);
            /* Once only. */
            assert_int_equal(hr_tls_hand_off(t, &secrets), HR_E_UNSUPPORTED);
            hr_tls_free(t);
            peer_close(&p);
            hr_tls_server_unref(server);
        }
    }
}

/* A broker sends its TLS 1.3 tickets with its Finished or after it: they stay for the worker. */
static void client_hands_off(void **s)
{
    (void)s;
    for (size_t i = 0; i < N_SUITES; i++) {
        struct hr_tls_client *client = client_of("ca.crt", NULL);
        struct hr_tls_secrets secrets;
        struct peer p;
        struct hr_tls *t;
        uint8_t leftover[4096];
        uint64_t sent = 0;
        uint32_t n;

        peer_open(&p, true, strstr(suites[i].name, "ECDSA") ? "ec" : "rsa");
        peer_suite(&p, suites[i].tls13, suites[i].name);
        peer_start(&p, NULL);
        assert_int_equal(hr_tls_connect(client, "b2.kafka.test", 9094, DEADLINE, &t), 0);
        for (int round = 0; round < 4; round++) {
            us_to_peer(t, &p);
            SSL_do_handshake(p.ssl);
            n = (uint32_t)BIO_read(SSL_get_wbio(p.ssl), leftover, sizeof(leftover));
            if ((int)n <= 0)
                continue;
            sent += n;
            assert_int_equal(hr_tls_input(t, leftover, n), 0);
            if (sent > hr_tls_consumed(t)) /* what the worker would find at the head of its queue */
                memmove(leftover, leftover + n - (sent - hr_tls_consumed(t)), sent - hr_tls_consumed(t));
        }
        us_to_peer(t, &p);
        assert_int_equal(hr_tls_get_state(t), HR_TLS_OPEN);
        assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
        assert_int_equal(secrets.role, HR_TLS_CLIENT);
        int tickets = go_on_by_hand(&p, &secrets, leftover, (uint32_t)(sent - hr_tls_consumed(t)));
        assert_int_equal(tickets, suites[i].tls13 ? 2 : 0);
        hr_tls_free(t);
        peer_close(&p);
        hr_tls_client_unref(client);
    }
}

/* A login inside the session, KeyUpdates of either side among it, then the hand-off. */
static void talk_then_hand_off(void **s)
{
    (void)s;
    for (size_t i = 0; i < N_SUITES; i++) {
        for (int role = 0; role < 2; role++) {
            struct hr_tls_server *server = default_server();
            struct hr_tls_client *client = client_of("ca.crt", NULL);
            struct hr_tls_secrets secrets;
            struct peer p;
            struct hr_tls *t;
            uint8_t buf[64];
            uint32_t n;

            peer_open(&p, role == 1, role == 1 ? (strstr(suites[i].name, "ECDSA") ? "ec" : "rsa") : NULL);
            peer_suite(&p, suites[i].tls13, suites[i].name);
            peer_start(&p, NULL);
            assert_int_equal(role == 1 ? hr_tls_connect(client, "kafka.test", 9094, DEADLINE, &t)
                                       : hr_tls_accept(server, DEADLINE, &t), 0);
            assert_int_equal(shake(t, &p, 1000), 0);
            for (int round = 0; round < 5; round++) {
                if (suites[i].tls13 && round == 2)
                    assert_int_equal(SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
                assert_int_equal(SSL_write(p.ssl, "token", 5), 5);
                assert_int_equal(peer_to_us(&p, t, 7), 0);
                assert_int_equal(hr_tls_read(t, buf, sizeof(buf), &n), 0);
                assert_int_equal(n, 5);
                assert_int_equal(hr_tls_write(t, "answer", 6), 0);
                assert_int_equal(hr_tls_hand_off(t, &secrets), HR_E_BUSY); /* the answer is not sent */
                us_to_peer(t, &p);
                assert_int_equal(SSL_read(p.ssl, buf, sizeof(buf)), 6);
            }
            assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
            assert_int_equal(secrets.read.generation, suites[i].tls13 ? 1 : 0);
            assert_int_equal(secrets.write.generation, suites[i].tls13 ? 1 : 0);
            assert_int_equal(go_on_by_hand(&p, &secrets, NULL, 0), 0);
            hr_tls_free(t);
            peer_close(&p);
            hr_tls_server_unref(server);
            hr_tls_client_unref(client);
        }
    }
}

/* Bytes that a client sends right behind its Finished are not OpenSSL's. */
static void early_bird(void **s)
{
    struct hr_tls_server *server = default_server();
    struct hr_tls_secrets secrets;
    struct hand rd;
    struct peer p;
    struct hr_tls *t;
    uint8_t buf[4096];
    char text[256];
    uint32_t n, len;

    (void)s;
    peer_open(&p, false, NULL);
    peer_suite(&p, true, suites[0].name);
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
    SSL_do_handshake(p.ssl);
    assert_int_equal(peer_to_us(&p, t, 100000), 0);
    us_to_peer(t, &p);
    assert_int_equal(SSL_do_handshake(p.ssl), 1);
    assert_int_equal(SSL_write(p.ssl, "request", 7), 7);
    n = (uint32_t)BIO_read(SSL_get_wbio(p.ssl), buf, sizeof(buf));
    uint64_t before = hr_tls_consumed(t);
    assert_int_equal(hr_tls_input(t, buf, n), 0);
    assert_int_equal(hr_tls_get_state(t), HR_TLS_OPEN);
    uint32_t used = (uint32_t)(hr_tls_consumed(t) - before);
    assert_int_equal(n - used, 5 + 7 + 1 + 16);
    us_to_peer(t, &p);
    assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
    assert_int_equal(secrets.write.seq, 2); /* its two tickets */
    hand_open(&rd, &secrets, &secrets.read);
    assert_int_equal(hand_unseal(&rd, buf + used, text, &len), 23);
    assert_string_equal(text, "request");
    hr_tls_free(t);
    peer_close(&p);
    hr_tls_server_unref(server);
}

static void fragment_limit(void **s)
{
    (void)s;
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct hr_tls_server *server = default_server();
        struct hr_tls_secrets secrets;
        struct peer p;
        struct hr_tls *t;

        peer_open(&p, false, NULL);
        SSL_CTX_set_tlsext_max_fragment_length(p.ctx, TLSEXT_max_fragment_length_512);
        peer_suite(&p, tls13, tls13 ? suites[0].name : suites[3].name);
        peer_start(&p, NULL);
        assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
        assert_int_equal(shake(t, &p, 50000), 0);
        assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
        assert_int_equal(secrets.fragment_max, 512);
        go_on_by_hand(&p, &secrets, NULL, 0);
        hr_tls_free(t);
        peer_close(&p);
        hr_tls_server_unref(server);
    }
}

/* One connection to server under sni, resuming what the one before was offered; true when it was resumed. */
static bool visit(struct hr_tls_server *server, bool tls13, const char *sni, const char *cert)
{
    struct hr_tls_secrets secrets;
    struct peer p;
    struct hr_tls *t;
    bool resumed;
    char byte;

    peer_open(&p, false, cert);
    peer_suite(&p, tls13, tls13 ? suites[0].name : suites[3].name);
    peer_start(&p, sni);
    if (peer_session)
        assert_int_equal(SSL_set_session(p.ssl, peer_session), 1);
    assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
    assert_int_equal(shake(t, &p, 50000), 0);
    assert_int_equal(hr_tls_get_state(t), HR_TLS_OPEN);
    assert_int_equal(SSL_read(p.ssl, &byte, 1), -1); /* takes the tickets */
    resumed = hr_tls_resumed(t);
    assert_int_equal(resumed, SSL_session_reused(p.ssl));
    assert_int_equal(hr_tls_peer_cert(t) != NULL, cert != NULL);
    assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
    assert_int_equal(go_on_by_hand(&p, &secrets, NULL, 0), 0);
    hr_tls_free(t);
    peer_close(&p);
    return resumed;
}

static void forget_session(void)
{
    SSL_SESSION_free(peer_session);
    peer_session = NULL;
}

static void resumption(void **s)
{
    (void)s;
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct hr_tls_server *server = default_server();

        forget_session();
        assert_false(visit(server, tls13, "b1.kafka.test", NULL));
        assert_true(visit(server, tls13, "b1.kafka.test", NULL));
        assert_true(visit(server, tls13, "b1.kafka.test", NULL));
        /* Bound to the name. */
        assert_false(visit(server, tls13, "b2.kafka.test", NULL));
        assert_true(visit(server, tls13, "b2.kafka.test", NULL));
        /* Keys rotate: a ticket outlives two of them. */
        assert_int_equal(hr_tls_server_rotate(server), 0);
        assert_int_equal(hr_tls_server_rotate(server), 0);
        assert_true(visit(server, tls13, "b2.kafka.test", NULL));
        for (int i = 0; i < 3; i++)
            assert_int_equal(hr_tls_server_rotate(server), 0);
        assert_false(visit(server, tls13, "b2.kafka.test", NULL));
        /* Of another process, or another listener. */
        struct hr_tls_server *other = default_server();
        assert_false(visit(other, tls13, "b2.kafka.test", NULL));
        hr_tls_server_unref(other);
        hr_tls_server_unref(server);
    }
    forget_session();
}

static void client_resumes(void **s)
{
    (void)s;
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct hr_tls_client *client = client_of("ca.crt", NULL);
        SSL_CTX *ctx = NULL;

        for (int round = 0; round < 3; round++) {
            struct hr_tls_secrets secrets;
            struct peer p;
            struct hr_tls *t;
            uint8_t byte;
            uint32_t n;

            peer_open(&p, true, "rsa");
            if (ctx) {
                SSL_CTX_free(p.ctx);
                p.ctx = ctx;
            } else {
                peer_suite(&p, tls13, tls13 ? suites[0].name : suites[3].name);
                ctx = p.ctx;
            }
            SSL_CTX_up_ref(ctx);
            peer_start(&p, NULL);
            assert_int_equal(hr_tls_connect(client, "kafka.test", 9094, DEADLINE, &t), 0);
            assert_int_equal(shake(t, &p, 50000), 0);
            assert_int_equal(hr_tls_read(t, &byte, 1, &n), 0); /* takes the tickets */
            assert_int_equal(n, 0);
            assert_int_equal(hr_tls_resumed(t), round > 0);
            assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
            assert_int_equal(go_on_by_hand(&p, &secrets, NULL, 0), 0);
            hr_tls_free(t);
            peer_close(&p);
        }
        SSL_CTX_free(ctx);
        hr_tls_client_unref(client);
    }
}

/* -- names ------------------------------------------------------------------------------------------------------ */

static struct hr_config_listener sni_listener(void)
{
    static const char *const certs[] = {"ec", "rsa"};
    struct hr_config_listener l = listener_with(2, certs);

    l.policy.by_name = 1;
    snprintf(l.bootstrap_host, sizeof(l.bootstrap_host), "kafka.test");
    snprintf(l.policy.adv_host, sizeof(l.policy.adv_host), "b$(nodeId).kafka.test");
    l.policy.node_id_min = 1;
    l.policy.node_id_max = 99;
    return l;
}

static void names_and_nodes(void **s)
{
    struct hr_config_listener l = sni_listener();
    int32_t node;

    (void)s;
    assert_int_equal(hr_tls_sni_node(&l, "kafka.test", &node), 0);
    assert_int_equal(node, -1);
    assert_int_equal(hr_tls_sni_node(&l, "B7.Kafka.Test", &node), 0);
    assert_int_equal(node, 7);
    assert_int_equal(hr_tls_sni_node(&l, "b99.kafka.test", &node), 0);
    assert_int_equal(node, 99);
    static const char *const wrong[] = {"b0.kafka.test", "b100.kafka.test", "b01.kafka.test", "b.kafka.test", "b1.kafka.tes",
                                        "b1.kafka.test.", "b1xkafka.test", "c1.kafka.test", "", "b99999999999999999999.kafka.test"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(hr_tls_sni_node(&l, wrong[i], &node), HR_E_NOT_FOUND);
}

/* Returns the reason; the peer must have had the alert. */
static enum hr_tls_reason refused(struct hr_tls_server *server, const char *sni, const char *cert, const char *alert)
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
    assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
    assert_int_equal(shake(t, &p, 50000), HR_E_INVALID);
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

static void nodes_by_name(void **s)
{
    struct hr_config_listener l = sni_listener();
    struct hr_tls_server *server = server_of(&l, NULL);
    struct peer p;
    struct hr_tls *t;

    (void)s;
    for (int node = -1; node < 13; node += 7) {
        char name[64] = "KAFKA.test";

        if (node >= 0)
            snprintf(name, sizeof(name), "b%d.kafka.test", node);
        peer_open(&p, false, NULL);
        peer_start(&p, name);
        assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
        assert_int_equal(shake(t, &p, 50000), 0);
        assert_int_equal(hr_tls_node_id(t), node);
        hr_tls_free(t);
        peer_close(&p);
    }
    assert_int_equal(refused(server, NULL, NULL, "unrecognized name"), HR_TLS_REASON_no_name);
    assert_int_equal(refused(server, "c1.kafka.test", NULL, "unrecognized name"), HR_TLS_REASON_unrecognized_name);
    hr_tls_server_unref(server);
}

static void certificate_by_name(void **s)
{
    static const char *const certs[] = {"rsa", "third", "ec"};
    static const struct {
        const char *sni, *suite, *cn;
    } cases[] = {
        {"other.test", NULL, "third"},
        {"b1.kafka.test", "ECDHE-RSA-AES128-GCM-SHA256", "rsa"},
        {"b1.kafka.test", "ECDHE-ECDSA-AES128-GCM-SHA256", "ec"},
        {"nobody.test", "ECDHE-RSA-AES128-GCM-SHA256", "rsa"},
        {"nobody.test", "ECDHE-ECDSA-AES128-GCM-SHA256", "third"},
        {NULL, "ECDHE-RSA-AES128-GCM-SHA256", "rsa"},
    };
    struct hr_config_listener l = listener_with(3, certs);
    struct hr_tls_server *server = server_of(&l, NULL);

    (void)s;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer p;
        struct hr_tls *t;
        char cn[64];

        peer_open(&p, false, NULL);
        if (cases[i].suite)
            peer_suite(&p, false, cases[i].suite);
        peer_start(&p, cases[i].sni);
        assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
        assert_int_equal(shake(t, &p, 50000), 0);
        X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(p.ssl)), NID_commonName, cn, sizeof(cn));
        assert_string_equal(cn, cases[i].cn);
        hr_tls_free(t);
        peer_close(&p);
    }
    hr_tls_server_unref(server);
}

/* -- clients' certificates ---------------------------------------------------------------------------------------- */

static void client_certificates(void **s)
{
    static const char *const certs[] = {"ec", "rsa"};
    struct hr_config_listener l = listener_with(2, certs);
    struct hr_tls_server *server, *next;

    (void)s;
    forget_session();
    l.tls.client_auth = HR_CONFIG_CLIENT_AUTH_REQUIRED;
    l.tls.client_ca = pki_file(&pki, "ca.crt");
    server = server_of(&l, NULL);
    assert_int_equal(refused(server, NULL, NULL, NULL), HR_TLS_REASON_no_certificate);
    assert_int_equal(refused(server, NULL, "foreign", NULL), HR_TLS_REASON_unknown_ca);
    assert_int_equal(refused(server, NULL, "expired", NULL), HR_TLS_REASON_expired);
    for (int tls13 = 0; tls13 < 2; tls13++) {
        forget_session();
        assert_false(visit(server, tls13, NULL, "client"));
        assert_true(visit(server, tls13, NULL, "client"));
    }

    /* The same rules anew: tickets stay good. A list that does not name it: earlier ones are void. */
    next = server_of(&l, server);
    assert_true(visit(next, true, NULL, "client"));
    hr_tls_server_unref(server);
    server = next;
    pki_crl(&pki, "list", leaf_cert);
    l.tls.client_crl = pki_file(&pki, "list.crl");
    next = server_of(&l, server);
    assert_false(visit(next, true, NULL, "client"));
    assert_true(visit(next, true, NULL, "client"));
    hr_tls_server_unref(server);
    server = next;
    /* Revoked. */
    pki_crl(&pki, "list", client_cert);
    next = server_of(&l, server);
    assert_int_equal(refused(next, NULL, "client", NULL), HR_TLS_REASON_revoked);
    hr_tls_server_unref(next);
    hr_tls_server_unref(server);

    /* Optional: without one, but not with a bad one. */
    l.tls.client_auth = HR_CONFIG_CLIENT_AUTH_OPTIONAL;
    server = server_of(&l, NULL);
    forget_session();
    assert_false(visit(server, true, NULL, NULL));
    forget_session();
    assert_int_equal(refused(server, NULL, "client", NULL), HR_TLS_REASON_revoked);
    assert_int_equal(refused(server, NULL, "foreign", NULL), HR_TLS_REASON_unknown_ca);
    hr_tls_server_unref(server);
    forget_session();
}

/* Time passes between a ticket and its use; what was good at the handshake is judged anew. */
static void time_passes(void **s)
{
    static const char *const certs[] = {"ec", "rsa"};
    static const struct {
        const char *cert;
        time_t end_s; /* of something, seconds from the start of the test */
        bool list;
        enum hr_tls_reason then;
    } cases[] = {
        {"short", 86400, false, HR_TLS_REASON_expired},         /* the certificate */
        {"long", 3650L * 86400, false, HR_TLS_REASON_expired},  /* that of its CA */
        {"client", 30L * 86400, true, HR_TLS_REASON_expired},   /* the list of revoked ones */
    };
    struct hr_config_listener l = listener_with(2, certs);

    (void)s;
    X509_free(pki_leaf(&pki, &(struct pki_leaf){.name = "short", .cn = "short", .days_from = -1, .days_to = 1}));
    X509_free(pki_leaf(&pki, &(struct pki_leaf){.name = "long", .cn = "long", .days_from = -1, .days_to = 7000}));
    pki_crl(&pki, "none", NULL);
    l.tls.client_auth = HR_CONFIG_CLIENT_AUTH_REQUIRED;
    l.tls.client_ca = pki_file(&pki, "ca.crt");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int tls13 = 0; tls13 < 2; tls13++) {
            l.tls.client_crl = cases[i].list ? pki_file(&pki, "none.crl") : (struct hr_config_file){0};
            struct hr_tls_server *server = server_of(&l, NULL);

            forget_session();
            ahead_s = cases[i].end_s - 1800;
            assert_false(visit(server, tls13, NULL, cases[i].cert));
            ahead_s = cases[i].end_s - 1200;
            assert_true(visit(server, tls13, NULL, cases[i].cert)); /* and the ticket of this one */
            assert_non_null(peer_session);
            ahead_s = cases[i].end_s + 600;
            assert_int_equal(refused(server, NULL, cases[i].cert, NULL), cases[i].then);
            ahead_s = 0;
            hr_tls_server_unref(server);
        }
    }
    /* Nobody's certificate: a ticket lasts for as long as it is told to. */
    struct hr_tls_server *server = default_server();
    forget_session();
    assert_false(visit(server, true, NULL, NULL));
    ahead_s = HR_TLS_TICKET_LIFETIME_S - 600;
    assert_true(visit(server, true, NULL, NULL));
    ahead_s += HR_TLS_TICKET_LIFETIME_S + 600;
    assert_false(visit(server, true, NULL, NULL));
    ahead_s = 0;
    hr_tls_server_unref(server);
    forget_session();
}

/* The name that access rules know, at the first visit and when the client comes back. */
static void principals(void **s)
{
    static const char *const certs[] = {"ec"};
    struct hr_config_listener l = listener_with(1, certs);
    struct hr_tls_server *server, *next;
    char name[HR_PRINCIPAL_MAX];
    struct peer p;
    struct hr_tls *t;

    (void)s;
    l.tls.client_auth = HR_CONFIG_CLIENT_AUTH_OPTIONAL;
    l.tls.client_ca = pki_file(&pki, "ca.crt");
    l.tls.principal_source = HR_CONFIG_PRINCIPAL_DN;
    snprintf(l.tls.principal_rules, sizeof(l.tls.principal_rules), "RULE:^CN=([^,]*),.*$/$1/U");
    server = server_of(&l, NULL);
    forget_session();
    for (int round = 0; round < 3; round++) {
        if (round == 1)
            forget_session(); /* nobody's */
        peer_open(&p, false, round > 0 ? "client" : NULL);
        peer_start(&p, NULL);
        if (round == 2)
            assert_int_equal(SSL_set_session(p.ssl, peer_session), 1);
        assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
        assert_int_equal(shake(t, &p, 50000), 0);
        SSL_read(p.ssl, name, 1); /* takes the tickets */
        assert_int_equal(hr_tls_resumed(t), round == 2);
        assert_int_equal(hr_tls_principal(t, name, sizeof(name)), round > 0 ? 0 : HR_E_NOT_FOUND);
        if (round > 0)
            assert_string_equal(name, "ALICE");
        hr_tls_free(t);
        peer_close(&p);
    }
    /* Nobody by these rules: at the handshake, and with the ticket of before, whose keys are the same. */
    snprintf(l.tls.principal_rules, sizeof(l.tls.principal_rules), "RULE:^CN=bob,.*$/bob/");
    next = server_of(&l, server);
    assert_int_equal(refused(next, NULL, "client", NULL), HR_TLS_REASON_no_principal);
    hr_tls_server_unref(next);
    l.tls.principal_source = HR_CONFIG_PRINCIPAL_SAN_DNS;
    next = server_of(&l, server);
    assert_int_equal(refused(next, NULL, "client", NULL), HR_TLS_REASON_no_principal);
    hr_tls_server_unref(next);
    hr_tls_server_unref(server);
    forget_session();
}

/* -- what goes wrong ------------------------------------------------------------------------------------------------ */

static enum hr_tls_reason broker_refused(const char *cert, const char *ca, const char *host)
{
    struct hr_tls_client *client = client_of(ca, NULL);
    enum hr_tls_reason reason;
    struct peer p;
    struct hr_tls *t;

    peer_open(&p, true, cert);
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_connect(client, host, 9094, DEADLINE, &t), 0);
    int err = shake(t, &p, 50000);
    reason = hr_tls_get_reason(t);
    assert_int_equal(err != 0, reason != HR_TLS_REASON_NONE);
    assert_int_equal(err != 0, hr_tls_get_state(t) == HR_TLS_FAILED);
    hr_tls_free(t);
    peer_close(&p);
    hr_tls_client_unref(client);
    return reason;
}

static void broker_certificates(void **s)
{
    (void)s;
    assert_int_equal(broker_refused("ec", "ca.crt", "b1.kafka.test"), HR_TLS_REASON_NONE);
    assert_int_equal(broker_refused("ec", "ca.crt", "127.0.0.1"), HR_TLS_REASON_NONE);
    assert_int_equal(broker_refused("ec", "ca.crt", "other.test"), HR_TLS_REASON_wrong_name);
    assert_int_equal(broker_refused("ec", "ca.crt", "127.0.0.2"), HR_TLS_REASON_wrong_name);
    assert_int_equal(broker_refused("ec", "ca.crt", "a.b1.kafka.test"), HR_TLS_REASON_wrong_name);
    assert_int_equal(broker_refused("ec", "other-ca.crt", "b1.kafka.test"), HR_TLS_REASON_unknown_ca);
    assert_int_equal(broker_refused("expired", "ca.crt", "kafka.test"), HR_TLS_REASON_expired);
}

static void client_shows_its_certificate(void **s)
{
    struct hr_tls_client *client = client_of("ca.crt", "client");
    struct peer p;
    struct hr_tls *t;

    (void)s;
    peer_open(&p, true, "ec");
    SSL_CTX_set_verify(p.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    assert_int_equal(SSL_CTX_load_verify_file(p.ctx, pki_file(&pki, "ca.crt").path), 1);
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_connect(client, "kafka.test", 9094, DEADLINE, &t), 0);
    assert_int_equal(shake(t, &p, 50000), 0);
    assert_int_equal(SSL_is_init_finished(p.ssl), 1);
    assert_int_equal(X509_cmp(SSL_get0_peer_certificate(p.ssl), client_cert), 0);
    hr_tls_free(t);
    peer_close(&p);
    hr_tls_client_unref(client);
}

static enum hr_tls_reason first_bytes(const void *data, uint32_t len)
{
    struct hr_tls_server *server = default_server();
    enum hr_tls_reason reason;
    struct hr_tls *t;
    int err = 0;

    assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
    for (uint32_t i = 0; i < len && !err; i += 1000)
        err = hr_tls_input(t, (const uint8_t *)data + i, len - i < 1000 ? len - i : 1000);
    reason = hr_tls_get_reason(t);
    hr_tls_free(t);
    hr_tls_server_unref(server);
    return reason;
}

static void strangers(void **s)
{
    static const uint8_t kafka[] = {0, 0, 0, 40, 0, 18, 0, 3}, old[] = {22, 3, 1, 0, 5, 1, 0, 0, 1, 0};
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 48};
    static uint8_t zeros[70000] = {22, 3, 1, 0x40, 0}; /* a message that says it is very long */

    (void)s;
    assert_int_equal(first_bytes(kafka, sizeof(kafka)), HR_TLS_REASON_not_tls);
    assert_int_equal(first_bytes("GET / HTTP/1.1\r\n\r\n", 18), HR_TLS_REASON_not_tls);
    assert_int_equal(first_bytes("\x80\x2e\x01\x03\x01", 5), HR_TLS_REASON_not_tls); /* SSL 2's hello */
    assert_int_equal(first_bytes(old, sizeof(old)), HR_TLS_REASON_bad_message);
    assert_int_equal(first_bytes(alert, sizeof(alert)), HR_TLS_REASON_bad_message);
    zeros[5] = 1, zeros[6] = 1, zeros[7] = 0xff, zeros[8] = 0xff;
    for (uint32_t i = 0; i < 4; i++)
        memcpy(zeros + i * 16389, "\x16\x03\x01\x40\x00", 5);
    assert_true(first_bytes(zeros, sizeof(zeros)) == HR_TLS_REASON_too_large ||
                first_bytes(zeros, sizeof(zeros)) == HR_TLS_REASON_bad_message);
    static uint8_t drip[80000]; /* records of one byte each, for ever */
    for (uint32_t i = 0; i + 6 <= sizeof(drip); i += 6)
        memcpy(drip + i, "\x16\x03\x01\x00\x01\x01", 6);
    assert_int_not_equal(first_bytes(drip, sizeof(drip)), HR_TLS_REASON_NONE);
}

static void old_protocol(void **s)
{
    struct hr_tls_server *server = default_server();
    struct peer p;
    struct hr_tls *t;

    (void)s;
    peer_open(&p, false, NULL);
    SSL_CTX_set_security_level(p.ctx, 0);
    SSL_CTX_set_min_proto_version(p.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(p.ctx, TLS1_1_VERSION);
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
    assert_int_equal(shake(t, &p, 50000), HR_E_INVALID);
    assert_int_equal(hr_tls_get_reason(t), HR_TLS_REASON_protocol_version);
    hr_tls_free(t);
    peer_close(&p);

    peer_open(&p, false, NULL); /* AES-CBC only */
    peer_suite(&p, false, "ECDHE-RSA-AES128-SHA");
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
    assert_int_equal(shake(t, &p, 50000), HR_E_INVALID);
    assert_int_equal(hr_tls_get_reason(t), HR_TLS_REASON_no_shared_cipher);
    hr_tls_free(t);
    peer_close(&p);
    hr_tls_server_unref(server);
}

static void clocks_and_ends(void **s)
{
    struct hr_tls_server *server = default_server();
    struct hr_tls *t;

    (void)s;
    assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
    assert_false(hr_tls_expire(t, DEADLINE - 1));
    assert_true(hr_tls_expire(t, DEADLINE));
    assert_int_equal(hr_tls_get_reason(t), HR_TLS_REASON_timeout);
    hr_tls_free(t);
    assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
    hr_tls_eof(t);
    assert_int_equal(hr_tls_get_reason(t), HR_TLS_REASON_closed);
    assert_int_equal(hr_tls_input(t, (const uint8_t *)"x", 1), HR_E_INVALID);
    hr_tls_free(t);
    hr_tls_server_unref(server);
}

/* A peer's own bytes with one of them changed, cut or doubled, at every place: never a hand-off of a session that
 * the peer does not share, never a leak, always an end. */
static void garbage_in_every_state(void **s)
{
    struct hr_tls_server *server = default_server();
    unsigned failed = 0, open = 0;

    (void)s;
    srand(5);
    for (int tls13 = 0; tls13 < 2; tls13++) {
        for (int i = 0; i < 700; i++) {
            struct peer p;
            struct hr_tls *t;
            uint8_t buf[8192];
            uint32_t at = (uint32_t)rand() % 290, sent = 0;
            int how = rand() % 3, err = 0;

            peer_open(&p, false, NULL);
            peer_suite(&p, tls13, tls13 ? suites[0].name : suites[3].name);
            peer_start(&p, "b1.kafka.test");
            assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
            for (int round = 0; round < 4 && !err; round++) {
                us_to_peer(t, &p);
                ERR_clear_error();
                SSL_do_handshake(p.ssl);
                int n = BIO_read(SSL_get_wbio(p.ssl), buf, 4096);

                if (n <= 0)
                    continue;
                if (at >= sent && at < sent + (uint32_t)n) {
                    uint32_t here = at - sent;

                    if (how == 0) {
                        buf[here] ^= (uint8_t)(1 + rand() % 255);
                    } else if (how == 1) {
                        memmove(buf + here, buf + here + 1, (uint32_t)n - here - 1);
                        n--;
                    } else {
                        RAND_bytes(buf + here, n - (int)here);
                    }
                }
                sent += (uint32_t)n;
                err = hr_tls_input(t, buf, (uint32_t)n);
            }
            if (err)
                failed++;
            else if (hr_tls_get_state(t) == HR_TLS_OPEN)
                open++;
            else
                hr_tls_eof(t);
            assert_true(hr_tls_get_state(t) != HR_TLS_FAILED || hr_tls_get_reason(t) != HR_TLS_REASON_NONE);
            hr_tls_free(t);
            peer_close(&p);
        }
    }
    assert_true(failed > 600);
    /* Damage behind the end of a handshake, and the few bytes that TLS does not protect. */
    assert_true(open < 400);
    hr_tls_server_unref(server);
}

/* -- files ------------------------------------------------------------------------------------------------------------ */

static void wrong(struct hr_config_certificate files, const char *in_file, const char *text)
{
    struct hr_tls_cert cert;
    struct hr_tls_why why;

    assert_int_equal(hr_tls_cert_load(&files, &cert, &why), HR_E_CONFIG);
    assert_non_null(why.file);
    if (!strstr(why.file->path, in_file) || !strstr(why.text, text))
        fail_msg("%s: %s", why.file->path, why.text);
}

static void files_that_are_wrong(void **s)
{
    struct hr_config_certificate ok = pki_cert(&pki, "ec"), files = ok;
    struct hr_tls_cert cert;
    struct hr_tls_why why;

    (void)s;
    files.key = pki_cert(&pki, "rsa").key;
    wrong(files, "rsa.key", "is not the key of the certificate in");
    files = ok;
    files.chain = pki_file(&pki, "absent.crt");
    wrong(files, "absent.crt", "cannot be opened");
    pki_write(&pki, "empty.crt", "");
    files.chain = pki_file(&pki, "empty.crt");
    wrong(files, "empty.crt", "is empty");
    pki_write(&pki, "text.crt", "hello\n");
    files.chain = pki_file(&pki, "text.crt");
    wrong(files, "text.crt", "holds no certificate");
    pki_write(&pki, "damaged.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    files.chain = pki_file(&pki, "damaged.crt");
    wrong(files, "damaged.crt", "is damaged");
    files = ok;
    files.key = ok.chain;
    wrong(files, "ec.crt", "holds no private key");
    X509_free(pki_leaf(&pki, &(struct pki_leaf){.name = "weak", .cn = "weak", .rsa = true, .rsa_bits = 1024}));
    wrong(pki_cert(&pki, "weak"), "weak.key", "1024 bits");

    assert_int_equal(hr_tls_cert_load(&ok, &cert, &why), 0);
    assert_true(hr_tls_cert_matches(&cert, "b1.kafka.test"));
    assert_false(hr_tls_cert_matches(&cert, "b1.other.test"));
    hr_tls_cert_free(&cert);
    ok = pki_cert(&pki, "expired");
    assert_int_equal(hr_tls_cert_load(&ok, &cert, &why), 0);
    assert_int_equal(hr_tls_cert_check_dates(&cert, time(NULL), &why), HR_E_CONFIG);
    assert_non_null(strstr(why.text, "has expired on"));
    hr_tls_cert_free(&cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_hands_off),
        cmocka_unit_test(client_hands_off),
        cmocka_unit_test(talk_then_hand_off),
        cmocka_unit_test(early_bird),
        cmocka_unit_test(fragment_limit),
        cmocka_unit_test(resumption),
        cmocka_unit_test(client_resumes),
        cmocka_unit_test(names_and_nodes),
        cmocka_unit_test(nodes_by_name),
        cmocka_unit_test(certificate_by_name),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(time_passes),
        cmocka_unit_test(principals),
        cmocka_unit_test(broker_certificates),
        cmocka_unit_test(client_shows_its_certificate),
        cmocka_unit_test(strangers),
        cmocka_unit_test(old_protocol),
        cmocka_unit_test(clocks_and_ends),
        cmocka_unit_test(garbage_in_every_state),
        cmocka_unit_test(files_that_are_wrong),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

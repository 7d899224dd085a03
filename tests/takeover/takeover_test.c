/* A TLS connection's whole life: its handshake in the control plane's code, its records in the worker's, against
 * OpenSSL on the other side, which notices nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/ssl.h>

#include "controlplane/tls/context.h"
#include "controlplane/tls/handshake.h"
#include "controlplane/tls/test_pki.h"
#include "tests/support/record_fixture.h"

#define DEADLINE 1000000u

static struct pki pki;
static struct rx x;
static uint8_t bytes[200000], got[200000], wire[400000];

struct kind {
    bool tls13;
    const char *name;
    uint8_t suite;
};
static const struct kind kinds[] = {
    {true, "TLS_AES_128_GCM_SHA256", HR_TLS_AES_128_GCM_SHA256},
    {true, "TLS_AES_256_GCM_SHA384", HR_TLS_AES_256_GCM_SHA384},
    {true, "TLS_CHACHA20_POLY1305_SHA256", HR_TLS_CHACHA20_POLY1305_SHA256},
    {false, "ECDHE-ECDSA-AES128-GCM-SHA256", HR_TLS_AES_128_GCM_SHA256},
    {false, "ECDHE-ECDSA-AES256-GCM-SHA384", HR_TLS_AES_256_GCM_SHA384},
};

static int setup(void **state)
{
    (void)state;
    pki_open(&pki);
    pki_leaf(&pki, &(struct pki_leaf){.name = "ec", .cn = "ec", .san = "DNS:kafka.test"});
    rx_init(&x, 2); /* keys change all the time */
    for (uint32_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 11 >> 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pki_close(&pki);
    return rx_fini(&x) ? 0 : -1;
}

static SSL *peer(const struct kind *k, bool server, SSL_CTX **ret_ctx)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (k->tls13) {
        SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
        assert_int_equal(SSL_CTX_set_ciphersuites(ctx, k->name), 1);
    } else {
        SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
        assert_int_equal(SSL_CTX_set_cipher_list(ctx, k->name), 1);
    }
    if (server) {
        struct hr_config_certificate files = pki_cert(&pki, "ec");
        assert_int_equal(SSL_CTX_use_certificate_chain_file(ctx, files.chain.path), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, files.key.path, SSL_FILETYPE_PEM), 1);
    }
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl, in, BIO_new(BIO_s_mem()));
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    SSL_set_tlsext_host_name(ssl, "kafka.test");
    *ret_ctx = ctx;
    return ssl;
}

/* Everything that the peer has to say reaches our receive queue. */
static void peer_to_queue(SSL *ssl)
{
    int n;
    while ((n = BIO_read(SSL_get_wbio(ssl), wire, sizeof(wire))) > 0)
        rx_feed(&x, wire, (uint32_t)n, 1448, RX_MERGED);
}

static void queue_to_peer(SSL *ssl)
{
    uint32_t n = rx_drain(&x, &x.out, wire, sizeof(wire));
    if (n > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(ssl), wire, (int)n), (int)n);
}

/* The handshake; what its code has not had stands in the receive queue, as with a worker. */
static void shake(struct hr_tls *t, SSL *ssl)
{
    uint64_t sent = 0;
    for (int round = 0; round < 5; round++) {
        const uint8_t *data;
        uint32_t n = hr_tls_output(t, &data);
        if (n > 0)
            assert_int_equal(BIO_write(SSL_get_rbio(ssl), data, (int)n), (int)n);
        hr_tls_output_done(t);
        SSL_do_handshake(ssl);
        int m = BIO_read(SSL_get_wbio(ssl), wire, sizeof(wire));
        if (m > 0) {
            assert_int_equal(hr_tls_input(t, wire, (uint32_t)m), 0);
            rx_feed(&x, wire, (uint32_t)m, 1448, RX_MERGED);
            sent += (uint64_t)m;
        }
    }
    assert_int_equal(hr_tls_get_state(t), HR_TLS_OPEN);
    assert_true(hr_tls_consumed(t) <= sent);
    hr_pieceq_drop(&x.bufs, &x.in, (uint32_t)hr_tls_consumed(t));
}

static void open_all(void)
{
    struct hr_rec_opened o;
    bool again;
    do {
        hr_rec_open(x.rec, x.leg, &x.in, UINT32_MAX, &o);
        assert_int_equal(o.verdict, HR_DROP_MAX);
    } while (o.again);
    hr_rec_seal(x.rec, x.leg, &x.out, &again); /* what is due in return */
}

static void talk(const struct kind *k, SSL *ssl)
{
    for (uint32_t round = 1; round < 6; round++) {
        uint32_t len = round * 30011;
        bool again;
        assert_int_equal(SSL_write(ssl, bytes, (int)len), (int)len);
        if (k->tls13 && round == 3)
            assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(ssl, bytes, 10), 10);
        peer_to_queue(ssl);
        open_all();
        assert_int_equal(rx_drain(&x, hr_rec_plain(x.leg), got, sizeof(got)), len + 10);
        assert_memory_equal(got, bytes, len);
        assert_memory_equal(got + len, bytes, 10);

        rx_push_plain(&x, bytes, len, 1448, RX_MERGED);
        hr_rec_seal(x.rec, x.leg, &x.out, &again);
        assert_false(again);
        queue_to_peer(ssl);
        for (uint32_t at = 0; at < len;) {
            int n = SSL_read(ssl, got + at, (int)(len - at));
            assert_true(n > 0);
            at += (uint32_t)n;
        }
        assert_memory_equal(got, bytes, len);
    }
    struct hr_rec_info info;
    hr_rec_leg_get_info(x.leg, &info);
    if (k->tls13)
        assert_true(info.read_generation > 1 && info.write_generation > 2);
    else
        assert_true(hr_rec_worn_out(x.leg));
}

static void part(SSL *ssl, SSL_CTX *ctx)
{
    char byte;
    assert_int_equal(SSL_shutdown(ssl), 0);
    peer_to_queue(ssl);
    open_all();
    assert_true(hr_rec_ended(x.leg));
    assert_true(hr_rec_say_goodbye(x.rec, x.leg, HR_REC_ALERT_close_notify, &x.out) > 0);
    queue_to_peer(ssl);
    assert_int_equal(SSL_read(ssl, &byte, 1), 0);
    assert_int_equal(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    rx_leg_close(&x);
}

static void take_over(struct hr_tls *t, const struct kind *k)
{
    struct hr_tls_secrets secrets;
    assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
    assert_int_equal(secrets.suite, k->suite);
    rx_leg(&x, &secrets);
    hr_wipe(&secrets, sizeof(secrets));
    hr_tls_free(t);
}

static void test_towards_clients(void **state)
{
    struct hr_config_listener l = {.policy = {.name = "kafka", .mode = HR_LISTENER_KAFKA, .tls = 1}};
    struct hr_tls_server *server;
    struct hr_tls_why why;
    (void)state;
    l.tls.certs[l.tls.n_certs++] = pki_cert(&pki, "ec");
    if (hr_tls_server_create(&l, NULL, &server, &why) != 0)
        fail_msg("%s", why.text);
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        SSL_CTX *ctx;
        SSL *ssl = peer(&kinds[i], false, &ctx);
        struct hr_tls *t;
        assert_int_equal(hr_tls_accept(server, DEADLINE, &t), 0);
        shake(t, ssl);
        take_over(t, &kinds[i]);
        talk(&kinds[i], ssl);
        part(ssl, ctx);
    }
    hr_tls_server_unref(server);
}

static void test_towards_brokers(void **state)
{
    struct hr_config_cluster_tls config = {.on = true, .ca = pki_file(&pki, "ca.crt")};
    struct hr_tls_client *client;
    struct hr_tls_why why;
    (void)state;
    if (hr_tls_client_create(&config, &client, &why) != 0)
        fail_msg("%s", why.text);
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        SSL_CTX *ctx;
        SSL *ssl = peer(&kinds[i], true, &ctx);
        struct hr_tls *t;
        assert_int_equal(hr_tls_connect(client, "kafka.test", 9094, DEADLINE, &t), 0);
        shake(t, ssl);
        take_over(t, &kinds[i]);
        talk(&kinds[i], ssl);
        part(ssl, ctx);
    }
    assert_true(x.stats.counters[HR_CTR_tls_tickets_skipped] > 0); /* they came after the hand-off */
    hr_tls_client_unref(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_towards_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(test_towards_brokers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The hand-off, proven by going on by hand: after it, records that the test seals and opens with the keys that were
 * handed off, at the numbers that were handed off, are understood by the peer's untouched OpenSSL, and the peer's by
 * the test. */
#include "controlplane/tls/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "controlplane/tls/test_peer.h"
#include "controlplane/tls/test_records.h"

static void server_hands_off(void **s)
{
    (void)s;
    for (size_t i = 0; i < PEER_SUITES; i++) {
        for (uint32_t piece = 1; piece < 40000; piece *= 190) {
            struct hr_tls_server *server = peer_default_server();
            struct hr_tls_secrets secrets;
            struct peer p;
            struct hr_tls *t;

            peer_open(&p, false, NULL);
            peer_only(&p, peer_suites[i].tls13, peer_suites[i].name);
            peer_start(&p, "b1.kafka.test");
            assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
            assert_int_equal(peer_shake(t, &p, piece), 0);
            assert_int_equal(hr_tls_get_state(t), HR_TLS_OPEN);
            assert_string_equal(hr_tls_sni(t), "b1.kafka.test");
            assert_int_equal(hr_tls_suite(t), peer_suites[i].suite);
            assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
            assert_int_equal(secrets.role, HR_TLS_SERVER);
            assert_int_equal(secrets.version, peer_suites[i].tls13 ? HR_TLS_1_3 : HR_TLS_1_2);
            assert_int_equal(secrets.fragment_max, 16384);
            assert_int_equal(secrets.read.seq, peer_suites[i].tls13 ? 0 : 1);
            records_go_on(&p, &secrets, NULL, 0);
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
    for (size_t i = 0; i < PEER_SUITES; i++) {
        struct hr_tls_client *client = peer_client("ca.crt", NULL);
        struct hr_tls_secrets secrets;
        struct peer p;
        struct hr_tls *t;
        uint8_t leftover[4096];
        uint64_t sent = 0;
        uint32_t n;

        peer_open(&p, true, strstr(peer_suites[i].name, "ECDSA") ? "ec" : "rsa");
        peer_only(&p, peer_suites[i].tls13, peer_suites[i].name);
        peer_start(&p, NULL);
        assert_int_equal(hr_tls_connect(client, "b2.kafka.test", 9094, PEER_DEADLINE, &t), 0);
        for (int round = 0; round < 4; round++) {
            peer_hear(t, &p);
            SSL_do_handshake(p.ssl);
            n = (uint32_t)BIO_read(SSL_get_wbio(p.ssl), leftover, sizeof(leftover));
            if ((int)n <= 0)
                continue;
            sent += n;
            assert_int_equal(hr_tls_input(t, leftover, n), 0);
            if (sent > hr_tls_consumed(t)) /* what the worker would find at the head of its queue */
                memmove(leftover, leftover + n - (sent - hr_tls_consumed(t)), sent - hr_tls_consumed(t));
        }
        peer_hear(t, &p);
        assert_int_equal(hr_tls_get_state(t), HR_TLS_OPEN);
        assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
        assert_int_equal(secrets.role, HR_TLS_CLIENT);
        int tickets = records_go_on(&p, &secrets, leftover, (uint32_t)(sent - hr_tls_consumed(t)));
        assert_int_equal(tickets, peer_suites[i].tls13 ? 2 : 0);
        hr_tls_free(t);
        peer_close(&p);
        hr_tls_client_unref(client);
    }
}

/* A login inside the session, KeyUpdates of either side among it, then the hand-off. */
static void talk_then_hand_off(void **s)
{
    (void)s;
    for (size_t i = 0; i < PEER_SUITES; i++) {
        for (int role = 0; role < 2; role++) {
            struct hr_tls_server *server = peer_default_server();
            struct hr_tls_client *client = peer_client("ca.crt", NULL);
            struct hr_tls_secrets secrets;
            struct peer p;
            struct hr_tls *t;
            uint8_t buf[64];
            uint32_t n;

            peer_open(&p, role == 1, role == 1 ? (strstr(peer_suites[i].name, "ECDSA") ? "ec" : "rsa") : NULL);
            peer_only(&p, peer_suites[i].tls13, peer_suites[i].name);
            peer_start(&p, NULL);
            assert_int_equal(role == 1 ? hr_tls_connect(client, "kafka.test", 9094, PEER_DEADLINE, &t)
                                       : hr_tls_accept(server, PEER_DEADLINE, &t), 0);
            assert_int_equal(peer_shake(t, &p, 1000), 0);
            for (int round = 0; round < 5; round++) {
                if (peer_suites[i].tls13 && round == 2)
                    assert_int_equal(SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
                assert_int_equal(SSL_write(p.ssl, "token", 5), 5);
                assert_int_equal(peer_say(&p, t, 7), 0);
                assert_int_equal(hr_tls_read(t, buf, sizeof(buf), &n), 0);
                assert_int_equal(n, 5);
                assert_int_equal(hr_tls_write(t, "answer", 6), 0);
                assert_int_equal(hr_tls_hand_off(t, &secrets), HR_E_BUSY); /* the answer is not sent */
                peer_hear(t, &p);
                assert_int_equal(SSL_read(p.ssl, buf, sizeof(buf)), 6);
            }
            assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
            assert_int_equal(secrets.read.generation, peer_suites[i].tls13 ? 1 : 0);
            assert_int_equal(secrets.write.generation, peer_suites[i].tls13 ? 1 : 0);
            assert_int_equal(records_go_on(&p, &secrets, NULL, 0), 0);
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
    struct hr_tls_server *server = peer_default_server();
    struct hr_tls_secrets secrets;
    struct record_keys rd;
    struct peer p;
    struct hr_tls *t;
    uint8_t buf[4096];
    char text[256];
    uint32_t n, len;

    (void)s;
    peer_open(&p, false, NULL);
    peer_only(&p, true, peer_suites[0].name);
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
    SSL_do_handshake(p.ssl);
    assert_int_equal(peer_say(&p, t, 100000), 0);
    peer_hear(t, &p);
    assert_int_equal(SSL_do_handshake(p.ssl), 1);
    assert_int_equal(SSL_write(p.ssl, "request", 7), 7);
    n = (uint32_t)BIO_read(SSL_get_wbio(p.ssl), buf, sizeof(buf));
    uint64_t before = hr_tls_consumed(t);
    assert_int_equal(hr_tls_input(t, buf, n), 0);
    assert_int_equal(hr_tls_get_state(t), HR_TLS_OPEN);
    uint32_t used = (uint32_t)(hr_tls_consumed(t) - before);
    assert_int_equal(n - used, 5 + 7 + 1 + 16);
    peer_hear(t, &p);
    assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
    assert_int_equal(secrets.write.seq, 2); /* its two tickets */
    record_keys_open(&rd, &secrets, &secrets.read);
    assert_int_equal(record_unseal(&rd, buf + used, text, &len), 23);
    assert_string_equal(text, "request");
    hr_tls_free(t);
    peer_close(&p);
    hr_tls_server_unref(server);
}

static void fragment_limit(void **s)
{
    (void)s;
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct hr_tls_server *server = peer_default_server();
        struct hr_tls_secrets secrets;
        struct peer p;
        struct hr_tls *t;

        peer_open(&p, false, NULL);
        SSL_CTX_set_tlsext_max_fragment_length(p.ctx, TLSEXT_max_fragment_length_512);
        peer_only(&p, tls13, tls13 ? peer_suites[0].name : peer_suites[3].name);
        peer_start(&p, NULL);
        assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
        assert_int_equal(peer_shake(t, &p, 50000), 0);
        assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
        assert_int_equal(secrets.fragment_max, 512);
        records_go_on(&p, &secrets, NULL, 0);
        hr_tls_free(t);
        peer_close(&p);
        hr_tls_server_unref(server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_hands_off),
        cmocka_unit_test(client_hands_off),
        cmocka_unit_test(talk_then_hand_off),
        cmocka_unit_test(early_bird),
        cmocka_unit_test(fragment_limit),
    };
    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}

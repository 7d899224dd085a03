/* The driver against what is no handshake, an old one, one that stops, and one that is damaged. */
#include "controlplane/tls/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/rand.h>

#include "controlplane/tls/test_peer.h"

static enum hr_tls_reason first_bytes(const void *data, uint32_t len)
{
    struct hr_tls_server *server = peer_default_server();
    enum hr_tls_reason reason;
    struct hr_tls *t;
    int err = 0;

    assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
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
    struct hr_tls_server *server = peer_default_server();
    struct peer p;
    struct hr_tls *t;

    (void)s;
    peer_open(&p, false, NULL);
    SSL_CTX_set_security_level(p.ctx, 0);
    SSL_CTX_set_min_proto_version(p.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(p.ctx, TLS1_1_VERSION);
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
    assert_int_equal(peer_shake(t, &p, 50000), HR_E_INVALID);
    assert_int_equal(hr_tls_get_reason(t), HR_TLS_REASON_protocol_version);
    hr_tls_free(t);
    peer_close(&p);

    peer_open(&p, false, NULL); /* AES-CBC only */
    peer_only(&p, false, "ECDHE-RSA-AES128-SHA");
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
    assert_int_equal(peer_shake(t, &p, 50000), HR_E_INVALID);
    assert_int_equal(hr_tls_get_reason(t), HR_TLS_REASON_no_shared_cipher);
    hr_tls_free(t);
    peer_close(&p);
    hr_tls_server_unref(server);
}

static void clocks_and_ends(void **s)
{
    struct hr_tls_server *server = peer_default_server();
    struct hr_tls *t;

    (void)s;
    assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
    assert_false(hr_tls_expire(t, PEER_DEADLINE - 1));
    assert_true(hr_tls_expire(t, PEER_DEADLINE));
    assert_int_equal(hr_tls_get_reason(t), HR_TLS_REASON_timeout);
    hr_tls_free(t);
    assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
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
    struct hr_tls_server *server = peer_default_server();
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
            peer_only(&p, tls13, tls13 ? peer_suites[0].name : peer_suites[3].name);
            peer_start(&p, "b1.kafka.test");
            assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
            for (int round = 0; round < 4 && !err; round++) {
                peer_hear(t, &p);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers),
        cmocka_unit_test(old_protocol),
        cmocka_unit_test(clocks_and_ends),
        cmocka_unit_test(garbage_in_every_state),
    };
    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}

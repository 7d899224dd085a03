/* Tickets: who comes back is known, for as long as its name, the keys, the certificates and the clock allow. */
#include "controlplane/tls/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "controlplane/tls/test_peer.h"
#include "controlplane/tls/test_records.h"

static void resumption(void **s)
{
    (void)s;
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct hr_tls_server *server = peer_default_server();

        peer_forget_session();
        assert_false(peer_visit(server, tls13, "b1.kafka.test", NULL));
        assert_true(peer_visit(server, tls13, "b1.kafka.test", NULL));
        assert_true(peer_visit(server, tls13, "b1.kafka.test", NULL));
        /* Bound to the name. */
        assert_false(peer_visit(server, tls13, "b2.kafka.test", NULL));
        assert_true(peer_visit(server, tls13, "b2.kafka.test", NULL));
        /* Keys rotate: a ticket outlives two of them. */
        assert_int_equal(hr_tls_server_rotate(server), 0);
        assert_int_equal(hr_tls_server_rotate(server), 0);
        assert_true(peer_visit(server, tls13, "b2.kafka.test", NULL));
        for (int i = 0; i < 3; i++)
            assert_int_equal(hr_tls_server_rotate(server), 0);
        assert_false(peer_visit(server, tls13, "b2.kafka.test", NULL));
        /* Of another process, or another listener. */
        struct hr_tls_server *other = peer_default_server();
        assert_false(peer_visit(other, tls13, "b2.kafka.test", NULL));
        hr_tls_server_unref(other);
        hr_tls_server_unref(server);
    }
    peer_forget_session();
}

static void client_resumes(void **s)
{
    (void)s;
    for (int tls13 = 0; tls13 < 2; tls13++) {
        struct hr_tls_client *client = peer_client("ca.crt", NULL);
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
                peer_only(&p, tls13, tls13 ? peer_suites[0].name : peer_suites[3].name);
                ctx = p.ctx;
            }
            SSL_CTX_up_ref(ctx);
            peer_start(&p, NULL);
            assert_int_equal(hr_tls_connect(client, "kafka.test", 9094, PEER_DEADLINE, &t), 0);
            assert_int_equal(peer_shake(t, &p, 50000), 0);
            assert_int_equal(hr_tls_read(t, &byte, 1, &n), 0); /* takes the tickets */
            assert_int_equal(n, 0);
            assert_int_equal(hr_tls_resumed(t), round > 0);
            assert_int_equal(hr_tls_hand_off(t, &secrets), 0);
            assert_int_equal(records_go_on(&p, &secrets, NULL, 0), 0);
            hr_tls_free(t);
            peer_close(&p);
        }
        SSL_CTX_free(ctx);
        hr_tls_client_unref(client);
    }
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
    struct hr_config_listener l = peer_listener(2, certs);

    (void)s;
    pki_leaf(&pki, &(struct pki_leaf){.name = "short", .cn = "short", .days_from = -1, .days_to = 1});
    pki_leaf(&pki, &(struct pki_leaf){.name = "long", .cn = "long", .days_from = -1, .days_to = 7000});
    pki_crl(&pki, "none", NULL);
    l.tls.client_auth = HR_CONFIG_CLIENT_AUTH_REQUIRED;
    l.tls.client_ca = pki_file(&pki, "ca.crt");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int tls13 = 0; tls13 < 2; tls13++) {
            l.tls.client_crl = cases[i].list ? pki_file(&pki, "none.crl") : (struct hr_config_file){0};
            struct hr_tls_server *server = peer_server(&l, NULL);

            peer_forget_session();
            peer_clock_ahead_s = cases[i].end_s - 1800;
            assert_false(peer_visit(server, tls13, NULL, cases[i].cert));
            peer_clock_ahead_s = cases[i].end_s - 1200;
            assert_true(peer_visit(server, tls13, NULL, cases[i].cert)); /* and the ticket of this one */
            assert_non_null(peer_session);
            peer_clock_ahead_s = cases[i].end_s + 600;
            assert_int_equal(peer_refused(server, NULL, cases[i].cert, NULL), cases[i].then);
            peer_clock_ahead_s = 0;
            hr_tls_server_unref(server);
        }
    }
    /* Nobody's certificate: a ticket lasts for as long as it is told to. */
    struct hr_tls_server *server = peer_default_server();
    peer_forget_session();
    assert_false(peer_visit(server, true, NULL, NULL));
    peer_clock_ahead_s = HR_TLS_TICKET_LIFETIME_S - 600;
    assert_true(peer_visit(server, true, NULL, NULL));
    peer_clock_ahead_s += HR_TLS_TICKET_LIFETIME_S + 600;
    assert_false(peer_visit(server, true, NULL, NULL));
    peer_clock_ahead_s = 0;
    hr_tls_server_unref(server);
    peer_forget_session();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumption),
        cmocka_unit_test(client_resumes),
        cmocka_unit_test(time_passes),
    };
    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}

/* Certificates of clients and of brokers: which are good, who they say it is, and ours towards brokers. */
#include "controlplane/tls/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "controlplane/tls/principal.h"
#include "controlplane/tls/test_peer.h"

static void client_certificates(void **s)
{
    static const char *const certs[] = {"ec", "rsa"};
    struct hr_config_listener l = peer_listener(2, certs);
    struct hr_tls_server *server, *next;

    (void)s;
    peer_forget_session();
    l.tls.client_auth = HR_CONFIG_CLIENT_AUTH_REQUIRED;
    l.tls.client_ca = pki_file(&pki, "ca.crt");
    server = peer_server(&l, NULL);
    assert_int_equal(peer_refused(server, NULL, NULL, NULL), HR_TLS_REASON_no_certificate);
    assert_int_equal(peer_refused(server, NULL, "foreign", NULL), HR_TLS_REASON_unknown_ca);
    assert_int_equal(peer_refused(server, NULL, "expired", NULL), HR_TLS_REASON_expired);
    for (int tls13 = 0; tls13 < 2; tls13++) {
        peer_forget_session();
        assert_false(peer_visit(server, tls13, NULL, "client"));
        assert_true(peer_visit(server, tls13, NULL, "client"));
    }

    /* The same rules anew: tickets stay good. A list that does not name it: earlier ones are void. */
    next = peer_server(&l, server);
    assert_true(peer_visit(next, true, NULL, "client"));
    hr_tls_server_unref(server);
    server = next;
    pki_crl(&pki, "list", "third");
    l.tls.client_crl = pki_file(&pki, "list.crl");
    next = peer_server(&l, server);
    assert_false(peer_visit(next, true, NULL, "client"));
    assert_true(peer_visit(next, true, NULL, "client"));
    hr_tls_server_unref(server);
    server = next;
    /* Revoked. */
    pki_crl(&pki, "list", "client");
    next = peer_server(&l, server);
    assert_int_equal(peer_refused(next, NULL, "client", NULL), HR_TLS_REASON_revoked);
    hr_tls_server_unref(next);
    hr_tls_server_unref(server);

    /* Optional: without one, but not with a bad one. */
    l.tls.client_auth = HR_CONFIG_CLIENT_AUTH_OPTIONAL;
    server = peer_server(&l, NULL);
    peer_forget_session();
    assert_false(peer_visit(server, true, NULL, NULL));
    peer_forget_session();
    assert_int_equal(peer_refused(server, NULL, "client", NULL), HR_TLS_REASON_revoked);
    assert_int_equal(peer_refused(server, NULL, "foreign", NULL), HR_TLS_REASON_unknown_ca);
    hr_tls_server_unref(server);
    peer_forget_session();
}

/* The name that access rules know, at the first visit and when the client comes back. */
static void principals(void **s)
{
    static const char *const certs[] = {"ec"};
    struct hr_config_listener l = peer_listener(1, certs);
    struct hr_tls_server *server, *next;
    char name[HR_PRINCIPAL_MAX];
    struct peer p;
    struct hr_tls *t;

    (void)s;
    l.tls.client_auth = HR_CONFIG_CLIENT_AUTH_OPTIONAL;
    l.tls.client_ca = pki_file(&pki, "ca.crt");
    l.tls.principal_source = HR_CONFIG_PRINCIPAL_DN;
    snprintf(l.tls.principal_rules, sizeof(l.tls.principal_rules), "RULE:^CN=([^,]*),.*$/$1/U");
    server = peer_server(&l, NULL);
    peer_forget_session();
    for (int round = 0; round < 3; round++) {
        if (round == 1)
            peer_forget_session(); /* nobody's */
        peer_open(&p, false, round > 0 ? "client" : NULL);
        peer_start(&p, NULL);
        if (round == 2)
            assert_int_equal(SSL_set_session(p.ssl, peer_session), 1);
        assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
        assert_int_equal(peer_shake(t, &p, 50000), 0);
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
    next = peer_server(&l, server);
    assert_int_equal(peer_refused(next, NULL, "client", NULL), HR_TLS_REASON_no_principal);
    hr_tls_server_unref(next);
    l.tls.principal_source = HR_CONFIG_PRINCIPAL_SAN_DNS;
    next = peer_server(&l, server);
    assert_int_equal(peer_refused(next, NULL, "client", NULL), HR_TLS_REASON_no_principal);
    hr_tls_server_unref(next);
    hr_tls_server_unref(server);
    peer_forget_session();
}

static enum hr_tls_reason broker_refused(const char *cert, const char *ca, const char *host)
{
    struct hr_tls_client *client = peer_client(ca, NULL);
    enum hr_tls_reason reason;
    struct peer p;
    struct hr_tls *t;

    peer_open(&p, true, cert);
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_connect(client, host, 9094, PEER_DEADLINE, &t), 0);
    int err = peer_shake(t, &p, 50000);
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
    struct hr_tls_client *client = peer_client("ca.crt", "client");
    struct peer p;
    struct hr_tls *t;

    (void)s;
    peer_open(&p, true, "ec");
    SSL_CTX_set_verify(p.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    assert_int_equal(SSL_CTX_load_verify_file(p.ctx, pki_file(&pki, "ca.crt").path), 1);
    peer_start(&p, NULL);
    assert_int_equal(hr_tls_connect(client, "kafka.test", 9094, PEER_DEADLINE, &t), 0);
    assert_int_equal(peer_shake(t, &p, 50000), 0);
    assert_int_equal(SSL_is_init_finished(p.ssl), 1);
    peer_sees_cn(&p, "alice");
    hr_tls_free(t);
    peer_close(&p);
    hr_tls_client_unref(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(principals),
        cmocka_unit_test(broker_certificates),
        cmocka_unit_test(client_shows_its_certificate),
    };
    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}

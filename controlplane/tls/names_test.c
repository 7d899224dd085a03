/* What clients ask for by name: a node, and a certificate. */
#include "controlplane/tls/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "controlplane/tls/test_peer.h"

static struct hr_config_listener sni_listener(void)
{
    static const char *const certs[] = {"ec", "rsa"};
    struct hr_config_listener l = peer_listener(2, certs);

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

static void nodes_by_name(void **s)
{
    struct hr_config_listener l = sni_listener();
    struct hr_tls_server *server = peer_server(&l, NULL);
    struct peer p;
    struct hr_tls *t;

    (void)s;
    for (int node = -1; node < 13; node += 7) {
        char name[64] = "KAFKA.test";

        if (node >= 0)
            snprintf(name, sizeof(name), "b%d.kafka.test", node);
        peer_open(&p, false, NULL);
        peer_start(&p, name);
        assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
        assert_int_equal(peer_shake(t, &p, 50000), 0);
        assert_int_equal(hr_tls_node_id(t), node);
        hr_tls_free(t);
        peer_close(&p);
    }
    assert_int_equal(peer_refused(server, NULL, NULL, "unrecognized name"), HR_TLS_REASON_no_name);
    assert_int_equal(peer_refused(server, "c1.kafka.test", NULL, "unrecognized name"), HR_TLS_REASON_unrecognized_name);
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
    struct hr_config_listener l = peer_listener(3, certs);
    struct hr_tls_server *server = peer_server(&l, NULL);

    (void)s;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer p;
        struct hr_tls *t;

        peer_open(&p, false, NULL);
        if (cases[i].suite)
            peer_only(&p, false, cases[i].suite);
        peer_start(&p, cases[i].sni);
        assert_int_equal(hr_tls_accept(server, PEER_DEADLINE, &t), 0);
        assert_int_equal(peer_shake(t, &p, 50000), 0);
        peer_sees_cn(&p, cases[i].cn);
        hr_tls_free(t);
        peer_close(&p);
    }
    hr_tls_server_unref(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_nodes),
        cmocka_unit_test(nodes_by_name),
        cmocka_unit_test(certificate_by_name),
    };
    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}

#include "controlplane/handshakes/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "controlplane/auth/users.h"

struct rig rig;
static struct pki pki;
static char folder[] = "/tmp/hr-shakes-XXXXXX";

static uint64_t clock_us(void)
{
    return rig.now_us;
}

static int pick(void *owner, int32_t node_id, struct hr_handshake_broker *ret)
{
    (void)owner;
    ret->node_id = node_id < 0 ? 3 : node_id;
    ret->addr = hr_addr_from_v4(htonl(0x0a010003));
    ret->port = 9094;
    snprintf(ret->host, sizeof(ret->host), "b3.k.test");
    return rig.no_broker;
}

static struct hr_identity *who(void *owner, const char *listener, const char *principal, uint16_t *ret_index,
                               char why[HR_LOGIN_WHY_MAX])
{
    (void)owner, (void)listener, (void)principal;
    *ret_index = 0;
    snprintf(why, HR_LOGIN_WHY_MAX, "nobody");
    return rig.identity;
}

static const struct hr_handshake_ops ops = {.broker = pick, .identity = who};

void rig_write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

int rig_set_up_all(void **state)
{
    (void)state;
    pki_open(&pki);
    struct hr_users *users;
    char why[HR_USERS_WHY_MAX];

    assert_non_null(mkdtemp(folder));
    snprintf(rig.users_file, sizeof(rig.users_file), "%s/users", folder);
    snprintf(rig.secret_file, sizeof(rig.secret_file), "%s/secret", folder);
    assert_int_equal(hr_users_create(&users), 0);
    assert_int_equal(hr_users_set(users, "alice", "pencil", 6, 4096), 0);
    assert_int_equal(hr_users_set(users, "bob", "rubber", 6, 4096), 0);
    assert_int_equal(hr_users_save(rig.users_file, users, why), 0);
    hr_users_free(users);
    rig_write_file(rig.secret_file, "pencil\n");
    pki_leaf(&pki, &(struct pki_leaf){.name = "k", .cn = "k", .san = "DNS:k.test,DNS:*.k.test"});
    return 0;
}

int rig_tear_down_all(void **state)
{
    (void)state;
    pki_close(&pki);
    unlink(rig.users_file);
    unlink(rig.secret_file);
    char lock[80];
    snprintf(lock, sizeof(lock), "%s.lock", rig.users_file);
    unlink(lock);
    rmdir(folder);
    return 0;
}

void rig_configure(void)
{
    hr_tls_store_configure(rig.store, rig.config);
    hr_realms_configure(rig.realms, rig.config);
    hr_handshakes_configure(rig.handshakes, rig.config);
}

int rig_set_up(void **state)
{
    struct hr_config_listener *l;

    (void)state;
    memset(&rig.heard, 0, sizeof(rig.heard));
    rig.no_broker = 0;
    rig.now_us = 1000 * HR_US_PER_S;
    mock_open(&rig.mock);
    assert_int_equal(hr_loop_create(clock_us, &rig.loop), 0);
    assert_int_equal(hr_conns_create(rig.loop, &rig.conns), 0);
    hr_conns_attached(rig.conns, MOCK_WORKERS, mock_link, &rig.mock);
    assert_int_equal(hr_tls_store_create(rig.loop, &rig.store), 0);
    assert_int_equal(hr_http_create(rig.loop, &rig.http), 0);
    assert_int_equal(hr_realms_create(rig.loop, rig.http, &rig.realms), 0);
    assert_int_equal(hr_handshakes_create(rig.loop, rig.conns, rig.store, rig.realms, &ops, NULL, &rig.handshakes), 0);
    rig.config = calloc(1, sizeof(*rig.config));
    rig.config->n_listeners = 2;
    for (int i = 0; i < 2; i++) {
        l = &rig.config->listeners[i];
        snprintf(l->policy.name, sizeof(l->policy.name), "%s", i == 0 ? "ports" : "names");
        l->policy.mode = HR_LISTENER_KAFKA;
        l->policy.bind = hr_addr_from_v4(htonl(0x0a000005));
        l->policy.bootstrap_port = (uint16_t)(9092 + i);
        l->policy.tls = 1;
        l->policy.by_name = (uint8_t)i;
        l->policy.node_port_base = 9200;
        l->policy.node_id_max = 9;
        l->policy.handshake_timeout_ms = 10000;
        snprintf(l->policy.adv_host, sizeof(l->policy.adv_host), "b$(nodeId).k.test");
        snprintf(l->bootstrap_host, sizeof(l->bootstrap_host), "k.test");
        l->tls.n_certs = 1;
        l->tls.certs[0] = pki_cert(&pki, "k");
    }
    rig.config->cluster.tls.ca = pki_file(&pki, "ca.crt");
    rig_configure();
    return 0;
}

int rig_tear_down(void **state)
{
    struct hr_handshakes_info info;

    (void)state;
    hr_handshakes_get_info(rig.handshakes, &info);
    assert_int_equal(info.under_way, 0);
    assert_int_equal(info.accepted, info.started + info.failed);
    hr_handshakes_destroy(rig.handshakes);
    hr_realms_destroy(rig.realms);
    hr_identity_destroy(rig.identity);
    rig.identity = NULL;
    hr_http_destroy(rig.http);
    hr_conns_destroy(rig.conns);
    hr_tls_store_destroy(rig.store);
    hr_loop_destroy(rig.loop);
    mock_close(&rig.mock);
    free(rig.config);
    return 0;
}

/* -- the worker --------------------------------------------------------------------------------------- */

void rig_control_plane_runs(void)
{
    struct hr_msg msgs[64];
    int n;

    for (uint32_t w = 0; w < MOCK_WORKERS; w++) {
        while ((n = hr_link_recv(mock_link(&rig.mock, w), msgs, 64)) > 0) {
            for (int i = 0; i < n; i++)
                assert_int_equal(hr_conns_event(rig.conns, w, &msgs[i]), 0);
        }
        hr_conns_pump(rig.conns, w);
    }
    hr_loop_turn(rig.loop, 0);
}

void rig_worker_runs(uint64_t id, SSL *peer)
{
    static uint8_t bytes[65536];
    struct hr_msg msg;

    while ((msg = mock_command(&rig.mock, RIG_WORKER)).type != 0) {
        rig.heard.n[msg.type]++;
        rig.heard.last[msg.type] = msg;
        if (msg.type == HR_CMD_CONN_DATA) {
            uint32_t n = mock_take_data(&rig.mock, RIG_WORKER, &msg, bytes);

            if (msg.id == rig.sent_id && rig.heard.n_sent + n <= sizeof(rig.heard.sent)) {
                memcpy(rig.heard.sent + rig.heard.n_sent, bytes, n);
                rig.heard.n_sent += n;
            }
            if (msg.id == id && peer)
                assert_int_equal(BIO_write(SSL_get_rbio(peer), bytes, (int)n), n);
        } else if (msg.type == HR_CMD_SESSION_START) {
            const uint8_t *data;

            assert_int_equal(hr_link_slot_read(&rig.mock.worker[RIG_WORKER], msg.u.start.slot, sizeof(rig.heard.start), &data), 0);
            memcpy(&rig.heard.start, data, sizeof(rig.heard.start));
            assert_int_equal(hr_link_slot_done(&rig.mock.worker[RIG_WORKER], msg.u.start.slot, HR_EV_SLOT_FREE), 0);
            for (uint32_t at = 0, i = 0; at < msg.u.start.unread_len; at += HR_SLOT_SIZE, i++) {
                uint32_t left = msg.u.start.unread_len - at, n = left < HR_SLOT_SIZE ? left : HR_SLOT_SIZE;

                assert_int_equal(hr_link_slot_read(&rig.mock.worker[RIG_WORKER], msg.u.start.unread[i], n, &data), 0);
                memcpy(rig.heard.unread + at, data, n);
                assert_int_equal(hr_link_slot_done(&rig.mock.worker[RIG_WORKER], msg.u.start.unread[i], HR_EV_SLOT_FREE), 0);
            }
        } else if (msg.type == HR_CMD_SLOT_FREE) {
            assert_int_equal(hr_link_slot_returned(&rig.mock.worker[RIG_WORKER], msg.u.data.slot), 0);
        }
    }
}

void rig_runs(void)
{
    rig_control_plane_runs();
    rig_worker_runs(0, NULL);
}

void rig_accept(uint64_t id, uint16_t port)
{
    struct hr_msg msg = {.type = HR_EV_CONN_ACCEPTED, .id = id};

    msg.u.accepted.client = hr_addr_from_v4(htonl(0x0a000064));
    msg.u.accepted.client_port = 40000;
    msg.u.accepted.local = hr_addr_from_v4(htonl(0x0a000005));
    msg.u.accepted.local_port = port;
    mock_event(&rig.mock, RIG_WORKER, msg, NULL, 0);
    rig_control_plane_runs();
}

void rig_event(uint16_t type, uint64_t id)
{
    mock_event(&rig.mock, RIG_WORKER, (struct hr_msg){.type = type, .id = id}, NULL, 0);
    rig_control_plane_runs();
}

void rig_input(uint64_t id, const void *data, uint32_t len)
{
    mock_event(&rig.mock, RIG_WORKER, (struct hr_msg){.type = HR_EV_CONN_DATA, .id = id}, data, len);
    rig_runs();
}

void rig_opened(uint64_t conn)
{
    struct hr_msg opened = {.type = HR_EV_CONN_OPENED, .id = rig.heard.last[HR_CMD_CONN_OPEN].id};

    opened.u.opened.conn = conn;
    mock_event(&rig.mock, RIG_WORKER, opened, NULL, 0);
}

uint64_t rig_conn(uint32_t index)
{
    return (uint64_t)RIG_WORKER << 56 | 7ULL << 32 | index;
}

SSL *rig_peer(bool server, const char *sni)
{
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    struct hr_config_certificate files = pki_cert(&pki, "k");
    SSL *ssl;

    if (server) {
        assert_int_equal(SSL_CTX_use_certificate_chain_file(ctx, files.chain.path), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, files.key.path, SSL_FILETYPE_PEM), 1);
    }
    ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    if (sni)
        SSL_set_tlsext_host_name(ssl, sni);
    return ssl;
}

uint32_t rig_talk(uint64_t id, SSL *peer)
{
    static uint8_t bytes[65536];
    uint32_t sent = 0;

    for (int i = 0; i < 6; i++) {
        ERR_clear_error();
        SSL_do_handshake(peer);
        int n = BIO_read(SSL_get_wbio(peer), bytes, sizeof(bytes));

        for (int at = 0; at < n; at += 1000) {
            struct hr_msg msg = {.type = HR_EV_CONN_DATA, .id = id};

            mock_event(&rig.mock, RIG_WORKER, msg, bytes + at, (uint32_t)(n - at < 1000 ? n - at : 1000));
        }
        sent += n > 0 ? (uint32_t)n : 0;
        rig_control_plane_runs();
        rig_worker_runs(id, peer);
    }
    return sent;
}

/* -- logins ------------------------------------------------------------------------------------------- */

void rig_let_log_in(uint32_t mechanisms, bool tls)
{
    struct hr_config_listener *l = &rig.config->listeners[0];

    l->policy.tls = tls;
    l->policy.login = 1;
    l->auth.mode = HR_CONFIG_AUTH_TERMINATE;
    l->auth.mechanisms = mechanisms;
    l->auth.attempts_per_minute = 100;
    l->auth.session_lifetime_s = 60;
    snprintf(l->auth.users, sizeof(l->auth.users), "%s", rig.users_file);
    rig_configure();
}

void rig_log_in_at_brokers(enum hr_config_mechanism mechanism)
{
    struct hr_config_broker_auth auth = {.mechanism = mechanism, .username = "alice"};
    struct hr_config_listener *l = &rig.config->listeners[1];

    snprintf(auth.secret.file, sizeof(auth.secret.file), "%s", rig.secret_file);
    if (!rig.identity)
        assert_int_equal(hr_identity_create(rig.loop, rig.http, &auth, NULL, NULL, &rig.identity), 0);
    l->policy.tls = l->policy.by_name = 0;
    l->policy.broker_login = 1;
    l->policy.node_port_base = 9300;
    l->auth.mode = HR_CONFIG_AUTH_OPEN;
    l->auth.attempts_per_minute = 1;
    rig_configure();
}

struct hr_login *rig_login(enum hr_mechanism mechanism, const char *user, const char *password)
{
    const struct hr_login_with with = {.mechanism = mechanism, .user = user, .secret = password,
                                       .secret_len = strlen(password), .client_id = "c", .correlation_id = 7};
    struct hr_login *login;

    assert_int_equal(hr_login_create(&with, &login), 0);
    return login;
}

uint32_t rig_log_in(uint64_t id, struct hr_login *login, enum hr_login_verdict want)
{
    enum hr_login_verdict verdict = HR_LOGIN_MORE;
    uint32_t total = 0;

    rig.sent_id = id;
    while (verdict == HR_LOGIN_MORE) {
        uint8_t bytes[8192];
        size_t n, used;
        const uint8_t *out = hr_login_output(login, &n);

        assert_non_null(out);
        memcpy(bytes, out, n);
        total += (uint32_t)n;
        hr_login_sent(login);
        rig.heard.n_sent = 0;
        rig_input(id, bytes, (uint32_t)n);
        if (rig.heard.n_sent == 0) { /* a refusal takes its time */
            rig.now_us += 99 * HR_US_PER_MS;
            rig_runs();
            assert_int_equal(rig.heard.n_sent, 0);
            rig.now_us += 1 * HR_US_PER_MS;
            rig_runs();
        }
        verdict = hr_login_feed(login, rig.heard.sent, rig.heard.n_sent, &used);
    }
    assert_int_equal(verdict, want);
    rig.sent_id = 0;
    return total;
}

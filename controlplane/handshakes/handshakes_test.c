/* Clients of OpenSSL's against the control plane's half, with the worker's end of the rings played by the test. */
#include "controlplane/handshakes/handshakes.h"

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
#include <openssl/ssl.h>

#include "controlplane/auth/http.h"
#include "controlplane/auth/identity.h"
#include "controlplane/auth/realm.h"
#include "controlplane/auth/users.h"
#include "controlplane/conn/conn.h"
#include "controlplane/conn/mock_dataplane.h"
#include "controlplane/loop/loop.h"
#include "controlplane/tls/store.h"
#include "controlplane/tls/test_pki.h"
#include "shared/base/clock.h"
#include "shared/config/config.h"
#include "shared/tls/start.h"

#define WORKER 1

static uint64_t fake_now;
static struct pki pki;
static struct mock_dataplane mock;
static struct hr_loop *loop;
static struct hr_conns *conns;
static struct hr_tls_store *store;
static struct hr_http *http;
static struct hr_realms *realms;
static struct hr_identity *identity;
static struct hr_handshakes *handshakes;
static char folder[] = "/tmp/hr-shakes-XXXXXX", users_file[64], secret_file[64];
static struct hr_config *config;
static int no_broker; /* an error instead of a broker; 0: there is one */

/* What the worker has heard. */
static struct {
    uint32_t n[HR_CMD_MAX];
    struct hr_msg last[HR_CMD_MAX];
    struct hr_session_start start;
    uint8_t unread[HR_CONN_UNREAD_MAX];
    uint8_t sent[65536]; /* to connection sent_id */
    uint32_t n_sent;
} heard;
static uint64_t sent_id;

static uint64_t fake_clock(void)
{
    return fake_now;
}

static int pick(void *owner, int32_t node_id, struct hr_handshake_broker *ret)
{
    (void)owner;
    ret->node_id = node_id < 0 ? 3 : node_id;
    ret->addr = hr_addr_from_v4(htonl(0x0a010003));
    ret->port = 9094;
    snprintf(ret->host, sizeof(ret->host), "b3.k.test");
    return no_broker;
}

static struct hr_identity *who(void *owner, const char *listener, const char *principal, uint16_t *ret_index,
                               char why[HR_LOGIN_WHY_MAX])
{
    (void)owner, (void)listener, (void)principal;
    *ret_index = 0;
    snprintf(why, HR_LOGIN_WHY_MAX, "nobody");
    return identity;
}

static const struct hr_handshake_ops ops = {.broker = pick, .identity = who};

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static int set_up_all(void **state)
{
    (void)state;
    pki_open(&pki);
    struct hr_users *users;
    char why[HR_USERS_WHY_MAX];

    assert_non_null(mkdtemp(folder));
    snprintf(users_file, sizeof(users_file), "%s/users", folder);
    snprintf(secret_file, sizeof(secret_file), "%s/secret", folder);
    assert_int_equal(hr_users_create(&users), 0);
    assert_int_equal(hr_users_set(users, "alice", "pencil", 6, 4096), 0);
    assert_int_equal(hr_users_set(users, "bob", "rubber", 6, 4096), 0);
    assert_int_equal(hr_users_save(users_file, users, why), 0);
    hr_users_free(users);
    write_file(secret_file, "pencil\n");
    pki_leaf(&pki, &(struct pki_leaf){.name = "k", .cn = "k", .san = "DNS:k.test,DNS:*.k.test"});
    return 0;
}

static int tear_down_all(void **state)
{
    (void)state;
    pki_close(&pki);
    unlink(users_file);
    unlink(secret_file);
    char lock[80];
    snprintf(lock, sizeof(lock), "%s.lock", users_file);
    unlink(lock);
    rmdir(folder);
    return 0;
}

static int set_up(void **state)
{
    struct hr_config_listener *l;

    (void)state;
    memset(&heard, 0, sizeof(heard));
    no_broker = 0;
    fake_now = 1000 * HR_US_PER_S;
    mock_open(&mock);
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    assert_int_equal(hr_conns_create(loop, &conns), 0);
    hr_conns_attached(conns, MOCK_WORKERS, mock_link, &mock);
    assert_int_equal(hr_tls_store_create(loop, &store), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    assert_int_equal(hr_realms_create(loop, http, &realms), 0);
    assert_int_equal(hr_handshakes_create(loop, conns, store, realms, &ops, NULL, &handshakes), 0);
    config = calloc(1, sizeof(*config));
    config->n_listeners = 2;
    for (int i = 0; i < 2; i++) {
        l = &config->listeners[i];
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
    config->cluster.tls.ca = pki_file(&pki, "ca.crt");
    hr_tls_store_configure(store, config);
    hr_handshakes_configure(handshakes, config);
    return 0;
}

static int tear_down(void **state)
{
    struct hr_handshakes_info info;

    (void)state;
    hr_handshakes_get_info(handshakes, &info);
    assert_int_equal(info.under_way, 0);
    assert_int_equal(info.accepted, info.started + info.failed);
    hr_handshakes_destroy(handshakes);
    hr_realms_destroy(realms);
    hr_identity_destroy(identity);
    identity = NULL;
    hr_http_destroy(http);
    hr_conns_destroy(conns);
    hr_tls_store_destroy(store);
    hr_loop_destroy(loop);
    mock_close(&mock);
    free(config);
    return 0;
}

/* -- the worker --------------------------------------------------------------------------------------- */

static void control_plane_runs(void)
{
    struct hr_msg msgs[64];
    int n;

    for (uint32_t w = 0; w < MOCK_WORKERS; w++) {
        while ((n = hr_link_recv(mock_link(&mock, w), msgs, 64)) > 0) {
            for (int i = 0; i < n; i++)
                assert_int_equal(hr_conns_event(conns, w, &msgs[i]), 0);
        }
        hr_conns_pump(conns, w);
    }
    hr_loop_turn(loop, 0);
}

/* Commands; bytes for connection `id` go to the peer. */
static void worker_runs(uint64_t id, SSL *peer)
{
    static uint8_t bytes[65536];
    struct hr_msg msg;

    while ((msg = mock_command(&mock, WORKER)).type != 0) {
        heard.n[msg.type]++;
        heard.last[msg.type] = msg;
        if (msg.type == HR_CMD_CONN_DATA) {
            uint32_t n = mock_take_data(&mock, WORKER, &msg, bytes);

            if (msg.id == sent_id && heard.n_sent + n <= sizeof(heard.sent)) {
                memcpy(heard.sent + heard.n_sent, bytes, n);
                heard.n_sent += n;
            }
            if (msg.id == id && peer)
                assert_int_equal(BIO_write(SSL_get_rbio(peer), bytes, (int)n), n);
        } else if (msg.type == HR_CMD_SESSION_START) {
            const uint8_t *data;

            assert_int_equal(hr_link_slot_read(&mock.worker[WORKER], msg.u.start.slot, sizeof(heard.start), &data), 0);
            memcpy(&heard.start, data, sizeof(heard.start));
            assert_int_equal(hr_link_slot_done(&mock.worker[WORKER], msg.u.start.slot, HR_EV_SLOT_FREE), 0);
            for (uint32_t at = 0, i = 0; at < msg.u.start.unread_len; at += HR_SLOT_SIZE, i++) {
                uint32_t left = msg.u.start.unread_len - at, n = left < HR_SLOT_SIZE ? left : HR_SLOT_SIZE;

                assert_int_equal(hr_link_slot_read(&mock.worker[WORKER], msg.u.start.unread[i], n, &data), 0);
                memcpy(heard.unread + at, data, n);
                assert_int_equal(hr_link_slot_done(&mock.worker[WORKER], msg.u.start.unread[i], HR_EV_SLOT_FREE), 0);
            }
        } else if (msg.type == HR_CMD_SLOT_FREE) {
            assert_int_equal(hr_link_slot_returned(&mock.worker[WORKER], msg.u.data.slot), 0);
        }
    }
}

static void accepted(uint64_t id, uint16_t port)
{
    struct hr_msg msg = {.type = HR_EV_CONN_ACCEPTED, .id = id};

    msg.u.accepted.client = hr_addr_from_v4(htonl(0x0a000064));
    msg.u.accepted.client_port = 40000;
    msg.u.accepted.local = hr_addr_from_v4(htonl(0x0a000005));
    msg.u.accepted.local_port = port;
    mock_event(&mock, WORKER, msg, NULL, 0);
    control_plane_runs();
}

static void event(uint16_t type, uint64_t id)
{
    mock_event(&mock, WORKER, (struct hr_msg){.type = type, .id = id}, NULL, 0);
    control_plane_runs();
}

static uint64_t conn_id(uint32_t index)
{
    return (uint64_t)WORKER << 56 | 7ULL << 32 | index;
}

static SSL *peer_open(bool server, const char *sni)
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

/* Bytes both ways until nobody has more. Returns how many the peer has sent. */
static uint32_t talk(uint64_t id, SSL *peer)
{
    static uint8_t bytes[65536];
    uint32_t sent = 0;

    for (int i = 0; i < 6; i++) {
        ERR_clear_error();
        SSL_do_handshake(peer);
        int n = BIO_read(SSL_get_wbio(peer), bytes, sizeof(bytes));

        for (int at = 0; at < n; at += 1000) {
            struct hr_msg msg = {.type = HR_EV_CONN_DATA, .id = id};

            mock_event(&mock, WORKER, msg, bytes + at, (uint32_t)(n - at < 1000 ? n - at : 1000));
        }
        sent += n > 0 ? (uint32_t)n : 0;
        control_plane_runs();
        worker_runs(id, peer);
    }
    return sent;
}

/* -- tests -------------------------------------------------------------------------------------------- */

static void a_client_becomes_a_session(void **state)
{
    SSL *peer = peer_open(false, NULL);
    uint32_t sent;

    (void)state;
    accepted(conn_id(5), 9207); /* node 7's port */
    sent = talk(conn_id(5), peer);
    assert_int_equal(SSL_is_init_finished(peer), 1);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 1);
    const struct hr_msg *start = &heard.last[HR_CMD_SESSION_START];
    assert_int_equal(start->id, conn_id(5));
    assert_int_equal(start->u.start.node_id, 7);
    assert_int_equal(start->u.start.broker, 0);
    assert_int_equal(start->u.start.client_skip, sent);
    assert_int_equal(heard.start.client_tls, 1);
    assert_int_equal(heard.start.broker_tls, 0);
    assert_int_equal(hr_tls_secrets_check(&heard.start.client), 0);
    assert_int_equal(heard.start.client.role, HR_TLS_SERVER);
    assert_int_equal(heard.start.client.write.seq, 2);
    /* More of the client's is the worker's. */
    assert_int_equal(SSL_write(peer, "x", 1), 1);
    talk(conn_id(5), peer);
    event(HR_EV_SESSION_STARTED, conn_id(5));
    assert_int_equal(heard.n[HR_CMD_CONN_ABORT], 0);
    assert_int_equal(hr_tls_store_counters(store, HR_TLS_CLIENTS)->done, 1);
    SSL_free(peer);
}

static void the_name_says_which_node(void **state)
{
    static const struct {
        const char *name;
        int node;
    } cases[] = {{"k.test", -1}, {"b0.k.test", 0}, {"b9.k.test", 9}};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        SSL *peer = peer_open(false, cases[i].name);

        accepted(conn_id(i), 9093);
        talk(conn_id(i), peer);
        assert_int_equal(heard.n[HR_CMD_SESSION_START], i + 1);
        assert_int_equal(heard.last[HR_CMD_SESSION_START].u.start.node_id, cases[i].node);
        event(HR_EV_SESSION_STARTED, conn_id(i));
        SSL_free(peer);
    }
    SSL *peer = peer_open(false, "b10.k.test");
    accepted(conn_id(9), 9093);
    talk(conn_id(9), peer);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 3);
    assert_int_equal(hr_tls_store_counters(store, HR_TLS_CLIENTS)->failed[HR_TLS_REASON_unrecognized_name], 1);
    assert_int_equal(heard.n[HR_CMD_CONN_SHUTDOWN], 1); /* behind the alert */
    event(HR_EV_CONN_CLOSED, conn_id(9));
    SSL_free(peer);
}

static void brokers_speak_tls(void **state)
{
    SSL *peer = peer_open(false, NULL), *broker = peer_open(true, NULL);
    struct hr_msg opened = {.type = HR_EV_CONN_OPENED};
    uint32_t sent;

    (void)state;
    config->cluster.tls.on = true;
    hr_tls_store_configure(store, config);
    hr_handshakes_configure(handshakes, config);
    accepted(conn_id(5), 9092);
    talk(conn_id(5), peer);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 0);
    assert_int_equal(heard.n[HR_CMD_CONN_OPEN], 1);
    assert_int_equal(heard.last[HR_CMD_CONN_OPEN].u.open.port, 9094);
    assert_int_equal(heard.last[HR_CMD_CONN_OPEN].u.open.hold, 1);
    opened.id = heard.last[HR_CMD_CONN_OPEN].id;
    opened.u.opened.conn = conn_id(6);
    mock_event(&mock, WORKER, opened, NULL, 0);
    control_plane_runs();
    worker_runs(conn_id(6), broker);
    sent = talk(conn_id(6), broker);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 1);
    const struct hr_msg *start = &heard.last[HR_CMD_SESSION_START];
    assert_int_equal(start->id, conn_id(5));
    assert_int_equal(start->u.start.broker, conn_id(6));
    assert_int_equal(start->u.start.node_id, 3);
    assert_true(start->u.start.broker_skip < sent); /* its tickets are left for the worker */
    assert_int_equal(heard.start.broker_tls, 1);
    assert_int_equal(heard.start.broker.role, HR_TLS_CLIENT);
    assert_int_equal(hr_tls_secrets_check(&heard.start.broker), 0);
    assert_string_equal(SSL_get_servername(broker, TLSEXT_NAMETYPE_host_name), "b3.k.test");
    event(HR_EV_SESSION_STARTED, conn_id(5));
    assert_int_equal(heard.n[HR_CMD_CONN_ABORT], 0);
    SSL_free(peer);
    SSL_free(broker);
}

static void plaintext_clients_of_tls_brokers(void **state)
{
    SSL *broker = peer_open(true, NULL);
    struct hr_msg opened = {.type = HR_EV_CONN_OPENED};

    (void)state;
    config->cluster.tls.on = true;
    config->listeners[0].policy.tls = 0;
    hr_tls_store_configure(store, config);
    hr_handshakes_configure(handshakes, config);
    accepted(conn_id(5), 9203);
    worker_runs(0, NULL);
    assert_int_equal(heard.n[HR_CMD_CONN_OPEN], 1);
    opened.id = heard.last[HR_CMD_CONN_OPEN].id;
    opened.u.opened.conn = conn_id(6);
    mock_event(&mock, WORKER, opened, NULL, 0);
    mock_event(&mock, WORKER, (struct hr_msg){.type = HR_EV_CONN_DATA, .id = conn_id(5)}, "request", 7);
    control_plane_runs();
    worker_runs(conn_id(6), broker);
    talk(conn_id(6), broker);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 1);
    assert_int_equal(heard.start.client_tls, 0);
    assert_int_equal(heard.last[HR_CMD_SESSION_START].u.start.client_skip, 0);
    event(HR_EV_SESSION_STARTED, conn_id(5));
    SSL_free(broker);
}

static void no_broker_serves(void **state)
{
    SSL *peer = peer_open(false, NULL);

    (void)state;
    no_broker = HR_E_NOT_FOUND;
    config->cluster.tls.on = true;
    hr_tls_store_configure(store, config);
    hr_handshakes_configure(handshakes, config);
    accepted(conn_id(5), 9092);
    talk(conn_id(5), peer);
    assert_int_equal(heard.n[HR_CMD_CONN_SHUTDOWN], 1);
    event(HR_EV_CONN_CLOSED, conn_id(5));
    SSL_free(peer);
}

/* A control plane that has just begun does not know the brokers at once. */
static void brokers_become_known(void **state)
{
    SSL *peer = peer_open(false, NULL);

    (void)state;
    config->cluster.tls.on = true;
    hr_tls_store_configure(store, config);
    hr_handshakes_configure(handshakes, config);
    for (uint64_t id = 5; id < 7; id++) {
        no_broker = HR_E_AGAIN;
        accepted(conn_id(id), 9092);
        talk(conn_id(id), peer);
        fake_now += HR_US_PER_S;
        control_plane_runs();
        worker_runs(0, NULL);
        assert_int_equal(heard.n[HR_CMD_CONN_SHUTDOWN], 0);
        if (id == 5) { /* in time */
            no_broker = 0;
            fake_now += HR_US_PER_S;
            control_plane_runs();
            worker_runs(0, NULL);
            assert_int_equal(heard.n[HR_CMD_CONN_OPEN], 1);
        } else { /* or not */
            fake_now += 10 * HR_US_PER_S;
            control_plane_runs();
            worker_runs(0, NULL);
            assert_int_equal(heard.n[HR_CMD_CONN_SHUTDOWN], 1);
            assert_int_equal(heard.n[HR_CMD_CONN_OPEN], 1);
        }
        event(HR_EV_CONN_CLOSED, conn_id(id));
        SSL_free(peer);
        peer = peer_open(false, NULL);
    }
    SSL_free(peer);
}

static void ends_of_all_kinds(void **state)
{
    const struct hr_tls_counters *c = hr_tls_store_counters(store, HR_TLS_CLIENTS);
    SSL *peer;

    (void)state;
    accepted(conn_id(1), 9092); /* silence */
    fake_now += 10 * HR_US_PER_S;
    control_plane_runs();
    worker_runs(0, NULL);
    assert_int_equal(c->failed[HR_TLS_REASON_timeout], 1);
    assert_int_equal(heard.n[HR_CMD_CONN_SHUTDOWN], 1);
    fake_now += 2 * HR_US_PER_S; /* and it does not close either */
    control_plane_runs();
    worker_runs(0, NULL);
    assert_int_equal(heard.n[HR_CMD_CONN_ABORT], 1);

    accepted(conn_id(1), 9092);
    event(HR_EV_CONN_EOF, conn_id(1));
    event(HR_EV_CONN_CLOSED, conn_id(1));
    assert_int_equal(c->failed[HR_TLS_REASON_closed], 1);

    accepted(conn_id(1), 9092);
    event(HR_EV_CONN_FAILED, conn_id(1)); /* reset */
    assert_int_equal(c->failed[HR_TLS_REASON_closed], 2);

    accepted(conn_id(1), 9092);
    mock_event(&mock, WORKER, (struct hr_msg){.type = HR_EV_CONN_DATA, .id = conn_id(1)}, "\0\0\0\x20kafka", 9);
    control_plane_runs();
    assert_int_equal(c->failed[HR_TLS_REASON_not_tls], 1);
    event(HR_EV_CONN_CLOSED, conn_id(1));

    accepted(conn_id(1), 4711); /* no listener of ours */
    worker_runs(0, NULL);
    assert_int_equal(heard.n[HR_CMD_CONN_ABORT], 2);

    peer = peer_open(false, NULL); /* the worker cannot make a session of it */
    accepted(conn_id(1), 9092);
    talk(conn_id(1), peer);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 1);
    event(HR_EV_CONN_FAILED, conn_id(1));
    SSL_free(peer);

    accepted(conn_id(1), 9092); /* the dataplane goes away */
    hr_conns_detached(conns);
}

/* -- logins ------------------------------------------------------------------------------------------- */

/* Listener 0: clients log in by these mechanisms, with or without TLS. */
static void let_log_in(uint32_t mechanisms, bool tls)
{
    struct hr_config_listener *l = &config->listeners[0];

    l->policy.tls = tls;
    l->policy.login = 1;
    l->auth.mode = HR_CONFIG_AUTH_TERMINATE;
    l->auth.mechanisms = mechanisms;
    l->auth.attempts_per_minute = 100;
    l->auth.session_lifetime_s = 60;
    snprintf(l->auth.users, sizeof(l->auth.users), "%s", users_file);
    hr_tls_store_configure(store, config);
    hr_realms_configure(realms, config);
    hr_handshakes_configure(handshakes, config);
}

#define PLAIN    (1u << HR_MECH_PLAIN)
#define SCRAM512 (1u << HR_MECH_SCRAM_SHA_512)

static struct hr_login *client_login(enum hr_mechanism mechanism, const char *user, const char *password)
{
    const struct hr_login_with with = {.mechanism = mechanism, .user = user, .secret = password,
                                       .secret_len = strlen(password), .client_id = "c", .correlation_id = 7};
    struct hr_login *login;

    assert_int_equal(hr_login_create(&with, &login), 0);
    return login;
}

static void from_peer(uint64_t id, const void *data, uint32_t len)
{
    mock_event(&mock, WORKER, (struct hr_msg){.type = HR_EV_CONN_DATA, .id = id}, data, len);
    control_plane_runs();
    worker_runs(0, NULL);
}

/* A client's login on a plaintext connection. Returns the bytes of the login. */
static uint32_t log_in(uint64_t id, struct hr_login *login, enum hr_login_verdict want)
{
    enum hr_login_verdict verdict = HR_LOGIN_MORE;
    uint32_t total = 0;

    sent_id = id;
    while (verdict == HR_LOGIN_MORE) {
        uint8_t bytes[8192];
        size_t n, used;
        const uint8_t *out = hr_login_output(login, &n);

        assert_non_null(out);
        memcpy(bytes, out, n);
        total += (uint32_t)n;
        hr_login_sent(login);
        heard.n_sent = 0;
        from_peer(id, bytes, (uint32_t)n);
        if (heard.n_sent == 0) { /* a refusal takes its time */
            fake_now += 99 * HR_US_PER_MS;
            control_plane_runs();
            worker_runs(0, NULL);
            assert_int_equal(heard.n_sent, 0);
            fake_now += 1 * HR_US_PER_MS;
            control_plane_runs();
            worker_runs(0, NULL);
        }
        verdict = hr_login_feed(login, heard.sent, heard.n_sent, &used);
    }
    assert_int_equal(verdict, want);
    sent_id = 0;
    return total;
}

static void a_login_on_plain_text(void **state)
{
    struct hr_handshakes_info info;
    struct hr_login *login;
    uint32_t n;

    (void)state;
    let_log_in(SCRAM512 | PLAIN, false);
    for (enum hr_mechanism m = HR_MECH_PLAIN; m <= HR_MECH_SCRAM_SHA_512; m += 2) {
        uint32_t starts = heard.n[HR_CMD_SESSION_START];

        accepted(conn_id(m), 9204);
        login = client_login(m, "alice", "pencil");
        n = log_in(conn_id(m), login, HR_LOGIN_DONE);
        assert_int_equal(hr_login_lifetime_ms(login), 60000);
        hr_login_destroy(login);
        assert_int_equal(heard.n[HR_CMD_SESSION_START], starts + 1);
        const struct hr_msg *start = &heard.last[HR_CMD_SESSION_START];
        assert_int_equal(start->u.start.client_skip, n);
        assert_int_equal(start->u.start.unread_len, 0);
        assert_int_equal(start->u.start.node_id, 4);
        assert_int_equal(heard.start.login.mechanism, m);
        assert_int_equal(heard.start.login.terminates, 1);
        assert_string_equal(heard.start.login.principal, "alice");
        assert_int_equal(heard.start.login.expires_us, fake_now + 60 * HR_US_PER_S);
        from_peer(conn_id(m), "request", 7); /* the worker has it */
        event(HR_EV_SESSION_STARTED, conn_id(m));
    }
    assert_int_equal(heard.n[HR_CMD_CONN_OPEN], 0);
    hr_handshakes_get_info(handshakes, &info);
    assert_int_equal(info.logins[HR_MECH_PLAIN], 1);
    assert_int_equal(info.logins[HR_MECH_SCRAM_SHA_512], 1);
}

static void logins_that_fail(void **state)
{
    static const struct {
        enum hr_mechanism mechanism;
        const char *user, *password;
        enum hr_sasl_reason reason;
    } cases[] = {
        {HR_MECH_PLAIN, "alice", "wrong", HR_SASL_REASON_bad_credentials},
        {HR_MECH_SCRAM_SHA_512, "alice", "wrong", HR_SASL_REASON_bad_credentials},
        {HR_MECH_SCRAM_SHA_512, "nobody", "pencil", HR_SASL_REASON_bad_credentials},
        {HR_MECH_SCRAM_SHA_256, "alice", "pencil", HR_SASL_REASON_bad_mechanism},
        {HR_MECH_PLAIN, "bob", "rubber", HR_SASL_REASON_not_allowed},
        {HR_MECH_SCRAM_SHA_512, "bob", "rubber", HR_SASL_REASON_not_allowed},
    };
    struct hr_handshakes_info info;

    (void)state;
    config->listeners[0].auth.n_allow = 1;
    snprintf(config->listeners[0].auth.allow[0], HR_CONFIG_ALLOW_TEXT, "al*");
    let_log_in(SCRAM512 | PLAIN, false);
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hr_login *login = client_login(cases[i].mechanism, cases[i].user, cases[i].password);
        uint64_t before;

        hr_handshakes_get_info(handshakes, &info);
        before = info.login_failed[cases[i].reason];
        accepted(conn_id(i), 9092);
        log_in(conn_id(i), login, HR_LOGIN_REFUSED);
        hr_login_destroy(login);
        hr_handshakes_get_info(handshakes, &info);
        assert_int_equal(info.login_failed[cases[i].reason], before + 1);
        assert_int_equal(heard.n[HR_CMD_CONN_SHUTDOWN], i + 1);
        event(HR_EV_CONN_CLOSED, conn_id(i));
    }
    /* No login at all, none in time, and none to the end. */
    accepted(conn_id(20), 9092);
    from_peer(conn_id(20), "\0\0\0\x0a\0\3\0\0\0\0\0\0\0\0", 14);
    event(HR_EV_CONN_CLOSED, conn_id(20));
    accepted(conn_id(21), 9092);
    fake_now += 10 * HR_US_PER_S;
    control_plane_runs();
    event(HR_EV_CONN_CLOSED, conn_id(21));
    accepted(conn_id(22), 9092);
    event(HR_EV_CONN_EOF, conn_id(22));
    event(HR_EV_CONN_CLOSED, conn_id(22));
    hr_handshakes_get_info(handshakes, &info);
    assert_int_equal(info.login_failed[HR_SASL_REASON_bad_frame], 1);
    assert_int_equal(info.login_failed[HR_LOGIN_REASON_timeout], 1);
    assert_int_equal(info.login_failed[HR_LOGIN_REASON_closed], 1);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 0);
    assert_int_equal(heard.n[HR_CMD_CONN_OPEN], 0);
}

/* In its TLS session, and what stands behind the login in the same record comes along. */
static void a_login_inside_tls(void **state)
{
    SSL *peer = peer_open(false, NULL);
    struct hr_login *login = client_login(HR_MECH_PLAIN, "alice", "pencil");
    enum hr_login_verdict verdict = HR_LOGIN_MORE;
    static uint8_t bytes[16384];
    uint32_t sent, early = 0;

    (void)state;
    let_log_in(PLAIN, true);
    accepted(conn_id(5), 9207);
    sent = talk(conn_id(5), peer);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 0);
    while (verdict == HR_LOGIN_MORE) {
        size_t n, used;
        const uint8_t *out = hr_login_output(login, &n);
        bool last = heard.n[HR_CMD_CONN_DATA] > 2;
        int got;

        memset(bytes, 'e', sizeof(bytes));
        memcpy(bytes, out, n);
        early = last ? 10000 : 0;
        hr_login_sent(login);
        assert_int_equal(SSL_write(peer, bytes, (int)(n + early)), n + early);
        if (last)
            assert_int_equal(SSL_write(peer, "in a record of its own", 22), 22);
        sent += talk(conn_id(5), peer);
        got = SSL_read(peer, bytes, sizeof(bytes));
        assert_true(got > 0);
        verdict = hr_login_feed(login, bytes, (size_t)got, &used);
    }
    assert_int_equal(verdict, HR_LOGIN_DONE);
    hr_login_destroy(login);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 1);
    const struct hr_msg *start = &heard.last[HR_CMD_SESSION_START];
    assert_int_equal(start->u.start.unread_len, early);
    for (uint32_t i = 0; i < early; i++)
        assert_int_equal(heard.unread[i], 'e');
    /* The other record is the worker's: header, type and tag of TLS 1.3 around its bytes. */
    assert_int_equal(start->u.start.client_skip, sent - (5 + 22 + 1 + 16));
    assert_int_equal(heard.start.client_tls, 1);
    assert_int_equal(hr_tls_secrets_check(&heard.start.client), 0);
    assert_string_equal(heard.start.login.principal, "alice");
    event(HR_EV_SESSION_STARTED, conn_id(5));
    SSL_free(peer);
}

static void not_resumed(void *owner)
{
    (void)owner;
    fail_msg("a login by password waits for nobody");
}

/* Ten clients at once, two connections in a second: each has its moment, and who would be too late is told so. */
static void connections_are_paced(void **state)
{
    struct hr_config_broker_auth with = {.mechanism = HR_CONFIG_MECH_SCRAM_SHA_512, .username = "alice"};
    struct hr_handshakes_info info;
    uint64_t opened_at[32];
    uint32_t n = 0;

    (void)state;
    snprintf(with.secret.file, sizeof(with.secret.file), "%s", secret_file);
    assert_int_equal(hr_identity_create(loop, http, &with, NULL, NULL, &identity), 0);
    let_log_in(SCRAM512, false);
    config->listeners[1].policy.tls = config->listeners[1].policy.by_name = 0;
    config->listeners[1].policy.broker_login = 1;
    config->listeners[1].auth.mode = HR_CONFIG_AUTH_OPEN;
    config->listeners[1].auth.attempts_per_minute = 1;
    config->listeners[1].policy.node_port_base = 9300;
    config->pacing.rate = 4;
    config->pacing.instances = 2;
    hr_realms_configure(realms, config);
    hr_handshakes_configure(handshakes, config);
    for (uint32_t i = 0; i < 30; i++)
        accepted(conn_id(30 + i), 9093);
    hr_handshakes_get_info(handshakes, &info);
    /* The last that can have its turn within ten seconds; the others hear of it at once. */
    assert_int_equal(info.login_failed[HR_LOGIN_REASON_timeout], 9);
    assert_int_equal(info.paced_now, 20);
    for (uint64_t begun = fake_now; fake_now < begun + 9950 * HR_US_PER_MS; fake_now += 10 * HR_US_PER_MS) {
        uint32_t before = heard.n[HR_CMD_CONN_OPEN];

        control_plane_runs();
        worker_runs(0, NULL);
        for (uint32_t k = before; k < heard.n[HR_CMD_CONN_OPEN]; k++)
            opened_at[n++] = fake_now;
    }
    assert_int_equal(n, 21);
    for (uint32_t i = 1; i < n; i++) /* and a tenth of a second may come early */
        assert_in_range(opened_at[i] - opened_at[i - 1], (i == 1 ? 390 : 490) * HR_US_PER_MS, 510 * HR_US_PER_MS);
    hr_handshakes_get_info(handshakes, &info);
    assert_int_equal(info.paced_now, 0);
    assert_int_equal(info.paced, 20);
    assert_in_range(info.paced_ms, 90000, 110000);
    hr_conns_detached(conns); /* the dataplane goes away with all of them */
    hr_conns_attached(conns, MOCK_WORKERS, mock_link, &mock);
}

/* What a broker of MSK's says above its limits: the client waits, and gets its session. */
static void a_broker_has_too_many(void **state)
{
    static const char no[] = "\0\0\0\x23\0\0\0\2\0\0\x3a\x12Too many connects\1\0\0\0\0\0\0\0\0\0";
    static const char yes[] = "\0\0\0\x11\0\0\0\1\0\0\0\0\0\1\0\5PLAIN";
    static const char welcome[] = "\0\0\0\x12\0\0\0\2\0\0\0\0\1\0\0\0\0\0\0\0\0\0";
    struct hr_config_broker_auth with = {.mechanism = HR_CONFIG_MECH_PLAIN, .username = "alice"};
    struct hr_msg opened = {.type = HR_EV_CONN_OPENED};
    struct hr_handshakes_info info;

    (void)state;
    snprintf(with.secret.file, sizeof(with.secret.file), "%s", secret_file);
    assert_int_equal(hr_identity_create(loop, http, &with, NULL, NULL, &identity), 0);
    let_log_in(SCRAM512, false);
    config->listeners[1].policy.tls = config->listeners[1].policy.by_name = 0;
    config->listeners[1].policy.broker_login = 1;
    config->listeners[1].auth.mode = HR_CONFIG_AUTH_OPEN;
    config->listeners[1].auth.attempts_per_minute = 1;
    config->listeners[1].policy.node_port_base = 9300;
    hr_realms_configure(realms, config);
    hr_handshakes_configure(handshakes, config);
    accepted(conn_id(5), 9093);
    for (uint32_t round = 0; round < 3; round++) {
        for (int i = 0; i < 100 && heard.n[HR_CMD_CONN_OPEN] == round; i++, fake_now += 50 * HR_US_PER_MS) {
            control_plane_runs();
            worker_runs(0, NULL);
        }
        assert_int_equal(heard.n[HR_CMD_CONN_OPEN], round + 1);
        opened.id = heard.last[HR_CMD_CONN_OPEN].id;
        opened.u.opened.conn = conn_id(6 + round);
        mock_event(&mock, WORKER, opened, NULL, 0);
        control_plane_runs();
        worker_runs(0, NULL);
        from_peer(conn_id(6 + round), yes, sizeof(yes) - 1);
        from_peer(conn_id(6 + round), round < 2 ? no : welcome, round < 2 ? sizeof(no) - 1 : sizeof(welcome) - 1);
    }
    hr_handshakes_get_info(handshakes, &info);
    assert_int_equal(info.backed_off, 2);
    assert_int_equal(info.paced, 2);
    assert_int_equal(info.failed, 0);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 1);
    event(HR_EV_SESSION_STARTED, conn_id(5));
}

/* Nobody asks who the client is; the broker asks who we are. */
static void a_login_at_the_broker(void **state)
{
    const struct hr_config_broker_auth auth = {.mechanism = HR_CONFIG_MECH_SCRAM_SHA_512, .username = "alice"};
    struct hr_config_broker_auth with = auth;
    struct hr_addr source = hr_addr_from_v4(htonl(0x0a000005));
    struct hr_msg opened = {.type = HR_EV_CONN_OPENED};
    struct hr_sasl_server *broker;
    struct hr_handshakes_info info;

    (void)state;
    snprintf(with.secret.file, sizeof(with.secret.file), "%s", secret_file);
    assert_int_equal(hr_identity_create(loop, http, &with, NULL, NULL, &identity), 0);
    for (int round = 0; round < 2; round++) {
        uint32_t answered = 0, starts = heard.n[HR_CMD_SESSION_START];
        enum hr_sasl_verdict verdict = HR_SASL_MORE;

        if (round == 1)
            write_file(secret_file, "another\n");
        let_log_in(SCRAM512, false); /* the broker uses it as well, by its realm */
        const struct hr_sasl_realm *realm = hr_realm_sasl(hr_realms_find(realms, "ports"));
        assert_int_equal(hr_sasl_server_create(realm, &source, not_resumed, NULL, &broker), 0);
        config->listeners[1].policy.tls = config->listeners[1].policy.by_name = 0;
        config->listeners[1].policy.broker_login = 1;
        config->listeners[1].auth.mode = HR_CONFIG_AUTH_OPEN;
        config->listeners[1].auth.attempts_per_minute = 1;
        config->listeners[1].policy.node_port_base = 9300;
        hr_realms_configure(realms, config);
        hr_handshakes_configure(handshakes, config);
        accepted(conn_id(5), 9093);
        worker_runs(0, NULL);
        opened.id = heard.last[HR_CMD_CONN_OPEN].id;
        opened.u.opened.conn = conn_id(6);
        sent_id = conn_id(6);
        heard.n_sent = 0;
        mock_event(&mock, WORKER, opened, NULL, 0);
        control_plane_runs();
        worker_runs(0, NULL);
        while (verdict == HR_SASL_MORE && heard.n_sent > 0) {
            size_t used, n;

            verdict = hr_sasl_server_feed(broker, fake_now, 0, heard.sent, heard.n_sent, &used);
            const uint8_t *out = hr_sasl_server_output(broker, &n);
            heard.n_sent = 0;
            answered += (uint32_t)n;
            from_peer(conn_id(6), out, (uint32_t)n);
            hr_sasl_server_sent(broker);
        }
        hr_sasl_server_destroy(broker);
        sent_id = 0;
        hr_handshakes_get_info(handshakes, &info);
        if (round == 1) {
            assert_int_equal(verdict, HR_SASL_FAILED);
            assert_int_equal(info.login_failed[HR_LOGIN_REASON_broker_refused], 1);
            assert_int_equal(heard.n[HR_CMD_SESSION_START], starts);
            event(HR_EV_CONN_CLOSED, conn_id(5));
            continue;
        }
        assert_int_equal(verdict, HR_SASL_DONE);
        assert_int_equal(info.broker_logins[HR_MECH_SCRAM_SHA_512], 1);
        assert_int_equal(heard.n[HR_CMD_SESSION_START], 1);
        const struct hr_msg *start = &heard.last[HR_CMD_SESSION_START];
        assert_int_equal(start->u.start.broker, conn_id(6));
        assert_int_equal(start->u.start.broker_skip, answered);
        assert_int_equal(start->u.start.client_skip, 0);
        assert_string_equal(heard.start.login.principal, "ANONYMOUS");
        assert_string_equal(heard.start.login.identity_name, "alice");
        assert_int_equal(heard.start.login.terminates, 1); /* no login of a client's goes where we have logged in */
        assert_int_equal(heard.start.login.broker_mechanism, HR_MECH_SCRAM_SHA_512);
        assert_int_equal(heard.start.login.broker_expires_us, fake_now + 60 * HR_US_PER_S);
        assert_int_equal(heard.start.login.broker_due_us, fake_now + 51 * HR_US_PER_S);
        event(HR_EV_SESSION_STARTED, conn_id(5));
    }
    write_file(secret_file, "pencil\n");
}

/* Who asked for no node in particular is tried elsewhere. */
static void a_broker_that_does_not_accept(void **state)
{
    struct hr_msg failed = {.type = HR_EV_CONN_FAILED};

    (void)state;
    config->cluster.tls.on = true;
    config->listeners[0].policy.tls = 0;
    hr_tls_store_configure(store, config);
    hr_handshakes_configure(handshakes, config);
    for (int asks = 0; asks < 2; asks++) {
        uint32_t opened = heard.n[HR_CMD_CONN_OPEN], ends = heard.n[HR_CMD_CONN_SHUTDOWN];
        uint32_t tries = asks ? 1 : 3;

        accepted(conn_id(5), asks ? 9203 : 9092);
        worker_runs(0, NULL);
        for (uint32_t i = 0; i < tries; i++) {
            assert_int_equal(heard.n[HR_CMD_CONN_OPEN], opened + i + 1);
            assert_int_equal(heard.n[HR_CMD_CONN_SHUTDOWN], ends);
            failed.id = heard.last[HR_CMD_CONN_OPEN].id;
            mock_event(&mock, WORKER, failed, NULL, 0);
            control_plane_runs();
            worker_runs(0, NULL);
        }
        assert_int_equal(heard.n[HR_CMD_CONN_OPEN], opened + tries);
        assert_int_equal(heard.n[HR_CMD_CONN_SHUTDOWN], ends + 1);
        event(HR_EV_CONN_CLOSED, conn_id(5));
    }
}

static void a_removed_user_under_way(void **state)
{
    struct hr_login *login = client_login(HR_MECH_PLAIN, "alice", "pencil");

    (void)state;
    let_log_in(PLAIN, false);
    config->listeners[0].policy.broker_login = 1;
    hr_handshakes_configure(handshakes, config);
    accepted(conn_id(5), 9092);
    log_in(conn_id(5), login, HR_LOGIN_DONE);
    hr_login_destroy(login);
    assert_int_equal(heard.n[HR_CMD_CONN_OPEN], 1);
    assert_int_equal(hr_handshakes_end_principal(handshakes, "alic"), 0);
    assert_int_equal(hr_handshakes_end_principal(handshakes, "alice"), 1);
    worker_runs(0, NULL);
    assert_int_equal(heard.n[HR_CMD_CONN_SHUTDOWN], 1);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 0);
    event(HR_EV_CONN_CLOSED, conn_id(5));
}

static void a_flood_of_half_handshakes(void **state)
{
    struct hr_handshakes_info info;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++)
        accepted(conn_id(i), 9092);
    hr_handshakes_get_info(handshakes, &info);
    assert_int_equal(info.under_way, 1000);
    /* One that means it gets through among them. */
    SSL *peer = peer_open(false, NULL);
    accepted(conn_id(1001), 9092);
    talk(conn_id(1001), peer);
    assert_int_equal(heard.n[HR_CMD_SESSION_START], 1);
    event(HR_EV_SESSION_STARTED, conn_id(1001));
    SSL_free(peer);
    hr_conns_detached(conns);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_client_becomes_a_session), T(the_name_says_which_node), T(brokers_speak_tls),
        T(plaintext_clients_of_tls_brokers), T(no_broker_serves), T(brokers_become_known),
        T(ends_of_all_kinds), T(a_flood_of_half_handshakes),
        T(a_login_on_plain_text), T(logins_that_fail), T(a_login_inside_tls), T(connections_are_paced), T(a_broker_has_too_many),
        T(a_login_at_the_broker),
        T(a_broker_that_does_not_accept), T(a_removed_user_under_way),
    };

    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}

/* The refresh state machine against a fake broker; time is a variable. */
#include "controlplane/metadata/metadata.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "controlplane/auth/identity.h"
#include "controlplane/dns/dns.h"
#include "controlplane/loop/loop.h"
#include "controlplane/metadata/fake_broker.h"
#include "shared/base/clock.h"
#include "controlplane/tls/store.h"
#include "controlplane/tls/test_pki.h"
#include "shared/config/config.h"

/* -- the fixture -------------------------------------------------------------------------------------- */

static uint64_t fake_now;
static struct hr_loop *loop;
static struct hr_dns *dns;
static struct hr_tls_store *tls_store; /* NULL but where a test says otherwise */
static struct hr_metadata *md;
static struct hr_config *config;
static int n_changed;

static uint64_t fake_clock(void)
{
    return fake_now;
}

static void no_dns(struct hr_resolver *resolver, struct hr_dns *cache, const char *host)
{
    (void)resolver;
    (void)cache;
    (void)host;
}

static struct hr_resolver resolver = {.start = no_dns};

static void on_dns_changed(void *owner)
{
    (void)owner;
    hr_metadata_dns_changed(md);
}

static void on_changed(void *owner)
{
    (void)owner;
    n_changed++;
}

static void turn(void)
{
    for (int i = 0; i < 10; i++)
        hr_loop_turn(loop, 0);
}

static void pass_ms(uint64_t ms)
{
    fake_now += ms * HR_US_PER_MS;
    turn();
}

static enum hr_metadata_state state_now(void)
{
    struct hr_metadata_info info;

    hr_metadata_get_info(md, &info);
    return info.state;
}

static const char *last_error(void)
{
    static struct hr_metadata_info info;

    hr_metadata_get_info(md, &info);
    return info.last_error;
}

static int set_up(void **state)
{
    (void)state;
    fake_now = 1000 * HR_US_PER_S;
    n_changed = n_opened = open_error = 0;
    current = NULL;
    config = calloc(1, sizeof(*config));
    config->cluster.n_bootstrap = 2;
    strcpy(config->cluster.bootstrap[0].host, "10.0.0.1");
    config->cluster.bootstrap[0].port = 9092;
    strcpy(config->cluster.bootstrap[1].host, "10.0.0.2");
    config->cluster.bootstrap[1].port = 9092;
    config->cluster.refresh_ms = 30000;
    config->cluster.refresh_min_ms = 1000;
    config->cluster.request_timeout_ms = 10000;
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    assert_int_equal(hr_dns_create(loop, &resolver, on_dns_changed, NULL, &dns), 0);
    assert_int_equal(hr_metadata_create(loop, NULL, dns, tls_store, on_changed, NULL, &md), 0);
    hr_metadata_configure(md, config);
    assert_int_equal(state_now(), HR_METADATA_STOPPED);
    hr_metadata_start(md);
    return 0;
}

static int tear_down(void **state)
{
    struct hr_metadata_info info;

    (void)state;
    hr_metadata_get_info(md, &info);
    assert_int_equal(info.illegal_transitions, 0);
    hr_metadata_destroy(md);
    hr_dns_destroy(dns);
    hr_loop_destroy(loop);
    free(config);
    return 0;
}

/* Answers whatever is asked until the state machine is READY again. */
static void serve(int n_brokers)
{
    for (int i = 0; i < 6 && state_now() != HR_METADATA_READY; i++) {
        struct request request;

        if (state_now() == HR_METADATA_CONNECTING)
            current->ops->opened(current->owner);
        request = take_request();
        if (request.key == 18)
            reply(&request, request.version, versions_body);
        else if (request.key == 3)
            reply(&request, request.version, metadata_body(n_brokers));
        else
            reply(&request, request.version, describe_body);
        json_decref(request.body);
    }
    assert_int_equal(state_now(), HR_METADATA_READY);
}

/* -- tests -------------------------------------------------------------------------------------------- */

static void it_learns_the_cluster_over_one_connection(void **state)
{
    struct request request;

    (void)state;
    assert_int_equal(state_now(), HR_METADATA_CONNECTING);
    assert_int_equal(current->port, 9092);
    current->ops->opened(current->owner);
    request = take_request();
    assert_int_equal(request.key, 18);
    assert_int_equal(request.version, 3);
    reply(&request, 3, versions_body);
    json_decref(request.body);
    request = take_request();
    assert_int_equal(request.key, 3);
    assert_int_equal(request.version, 12);
    assert_true(json_is_null(json_object_get(request.body, "Topics"))); /* all of them */
    assert_true(json_is_false(json_object_get(request.body, "AllowAutoTopicCreation")));
    reply(&request, 12, metadata_body(3));
    json_decref(request.body);
    assert_int_equal(n_changed, 0);
    request = take_request();
    assert_int_equal(request.key, 60);
    assert_int_equal(request.version, 2);
    assert_true(json_is_true(json_object_get(request.body, "IncludeFencedBrokers")));
    reply(&request, 2, describe_body);
    json_decref(request.body);
    assert_int_equal(n_changed, 1);
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 3);
    assert_string_equal(hr_metadata_cluster(md)->id, "c1");
    assert_int_equal(n_opened, 1);
}

static void it_refreshes_in_time_on_the_same_connection(void **state)
{
    (void)state;
    serve(3);
    pass_ms(29999);
    assert_int_equal(state_now(), HR_METADATA_READY);
    pass_ms(2);
    assert_int_equal(state_now(), HR_METADATA_ASKING);
    serve(3);
    assert_int_equal(n_changed, 2);
    assert_int_equal(n_opened, 1);
}

static void hints_hasten_it_but_not_beyond_the_limit(void **state)
{
    struct request request;

    (void)state;
    serve(3);
    for (int i = 0; i < 100; i++)
        hr_metadata_hint(md);
    turn();
    assert_int_equal(state_now(), HR_METADATA_READY);
    pass_ms(1000);
    assert_int_equal(state_now(), HR_METADATA_ASKING);
    hr_metadata_hint(md); /* while asking: once more, later */
    serve(3);
    turn();
    assert_int_equal(state_now(), HR_METADATA_READY);
    pass_ms(1000);
    assert_int_equal(state_now(), HR_METADATA_ASKING);
    serve(3);
    pass_ms(5000);
    assert_int_equal(state_now(), HR_METADATA_READY);
    pass_ms(25000);
    request = take_request();
    assert_int_equal(request.key, 3);
    json_decref(request.body);
}

static void an_old_broker_is_asked_in_its_own_versions(void **state)
{
    struct request request;

    (void)state;
    current->ops->opened(current->owner);
    request = take_request();
    /* KIP-511: error 35 in a version 0 body. */
    reply(&request, 0, "{\"ErrorCode\":35,\"ApiKeys\":[{\"ApiKey\":18,\"MinVersion\":0,\"MaxVersion\":2}]}");
    json_decref(request.body);
    request = take_request();
    assert_int_equal(request.key, 18);
    assert_int_equal(request.version, 0);
    reply(&request, 0, "{\"ErrorCode\":0,\"ApiKeys\":[{\"ApiKey\":3,\"MinVersion\":0,\"MaxVersion\":1}]}");
    json_decref(request.body);
    request = take_request();
    assert_int_equal(request.key, 3);
    assert_int_equal(request.version, 1);
    reply(&request, 1, metadata_body(2));
    json_decref(request.body);
    assert_int_equal(state_now(), HR_METADATA_READY); /* no DescribeCluster there */
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 2);
}

/* What a broken or hostile broker may send to the first request; each ends the connection and moves on. */
static void bad_answers_move_on_to_the_next_broker(void **state)
{
    static const struct {
        const char *bytes;
        uint32_t n;
        const char *why;
    } cases[] = {
        {"\xff\xff\xff\xff", 4, "size -1"},
        {"\x80\x00\x00\x00", 4, "size -2147483648"},
        {"\x00\x00\x00\x00", 4, "size 0"},
        {"\x00\x00\x00\x03", 4, "size 3"},
        {"\x7f\xff\xff\xff", 4, "size 2147483647"},
        {"HTTP/1.1 400 Bad Request\r\n", 26, "size"},
        {"\x00\x00\x00\x04\x00\x00\x00\x63", 8, "another request"},
        {"\x00\x00\x00\x04\x00\x00\x00\x01", 8, ""},
        {"\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x7f\xff\xff\xff", 14, "ApiKeys"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int opened = n_opened;
        struct hr_metadata_info info;
        uint64_t failures;

        hr_metadata_get_info(md, &info);
        failures = info.failures;
        if (state_now() == HR_METADATA_WAITING)
            pass_ms(6000);
        opened = n_opened;
        assert_int_equal(state_now(), HR_METADATA_CONNECTING);
        current->ops->opened(current->owner);
        json_decref(take_request().body);
        deliver((const uint8_t *)cases[i].bytes, cases[i].n, cases[i].n);
        hr_metadata_get_info(md, &info);
        assert_int_equal(info.failures, failures + 1);
        if (!strstr(last_error(), cases[i].why))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, last_error(), cases[i].why);
        assert_true(n_opened > opened || state_now() == HR_METADATA_WAITING);
        assert_null(hr_metadata_cluster(md));
    }
    if (state_now() == HR_METADATA_WAITING)
        pass_ms(6000);
    serve(1);
    assert_string_equal(last_error(), "");
}

static void a_frame_that_ends_early_is_a_close(void **state)
{
    static uint8_t frame[65536];
    struct request request;
    uint32_t n;

    (void)state;
    current->ops->opened(current->owner);
    request = take_request();
    n = encode(18, 3, request.correlation_id, versions_body, frame);
    json_decref(request.body);
    deliver(frame, n - 1, 1);
    assert_int_equal(state_now(), HR_METADATA_VERSIONS);
    current->ops->eof(current->owner);
    assert_non_null(strstr(last_error(), "closed"));
    assert_int_equal(n_opened, 2);
}

static void bytes_nobody_asked_for_end_the_connection(void **state)
{
    static uint8_t frame[65536];

    (void)state;
    serve(3);
    deliver(frame, encode(3, 12, 1, metadata_body(1), frame), 100);
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 3);
    assert_true(n_opened > 1);
}

static void a_silent_broker_times_out(void **state)
{
    (void)state;
    current->ops->opened(current->owner);
    json_decref(take_request().body);
    pass_ms(10001);
    assert_non_null(strstr(last_error(), "in time"));
    assert_int_equal(n_opened, 2);
}

static void when_all_fail_it_waits_longer_each_time(void **state)
{
    int opened;

    (void)state;
    for (int round = 0; round < 8; round++) {
        while (state_now() == HR_METADATA_CONNECTING)
            current->ops->closed(current->owner, HR_E_REFUSED, "connection refused");
        assert_int_equal(state_now(), HR_METADATA_WAITING);
        if (round < 7)
            pass_ms(5000);
    }
    assert_int_equal(n_opened, 16);
    opened = n_opened;
    pass_ms(4000);
    assert_int_equal(n_opened, opened); /* the longest pause is 5 s */
    pass_ms(1000);
    assert_int_equal(n_opened, opened + 1);
    serve(2);
}

static void a_lost_connection_takes_nothing_away(void **state)
{
    (void)state;
    serve(3);
    current->ops->closed(current->owner, HR_E_CLOSED, "closed by the peer");
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 3);
    assert_int_equal(state_now(), HR_METADATA_CONNECTING);
    assert_int_equal(n_opened, 2);
    /* A known broker first, not the bootstrap list. */
    assert_int_equal(current->addr.b[14], 1);
    serve(3);
    hr_metadata_stop(md);
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 3);
    assert_null(current);
    hr_metadata_start(md);
    serve(3);
}

static void a_vanished_broker_is_watched_for_and_remembered(void **state)
{
    uint32_t n;

    (void)state;
    serve(3);
    pass_ms(30001);
    serve(2);
    assert_int_equal(hr_metadata_departed(md, &n)->id, 3);
    assert_int_equal(n, 1);
    for (int i = 0; i < 5; i++) {
        pass_ms(1000);
        assert_int_equal(state_now(), HR_METADATA_ASKING);
        serve(2);
    }
    pass_ms(1000);
    serve(3);
    hr_metadata_departed(md, &n);
    assert_int_equal(n, 0);
    pass_ms(2000);
    assert_int_equal(state_now(), HR_METADATA_READY); /* back to the interval */
    pass_ms(30001);
    serve(2);
    for (int i = 0; i < 60; i++) {
        pass_ms(1000);
        if (state_now() == HR_METADATA_ASKING)
            serve(2);
    }
    pass_ms(2000);
    assert_int_equal(state_now(), HR_METADATA_READY); /* it gives up hurrying after a minute */
    for (int i = 0; i < 25; i++) {
        pass_ms(30001);
        serve(2);
    }
    hr_metadata_departed(md, &n);
    assert_int_equal(n, 0); /* and forgets after ten */
}

static void a_broker_that_hangs_up_on_describe_cluster_is_not_asked_again(void **state)
{
    struct request request;

    (void)state;
    current->ops->opened(current->owner);
    request = take_request();
    reply(&request, 3, versions_body);
    json_decref(request.body);
    request = take_request();
    reply(&request, 12, metadata_body(3));
    json_decref(request.body);
    assert_int_equal(state_now(), HR_METADATA_DESCRIBING);
    current->ops->closed(current->owner, HR_E_CLOSED, "closed by the peer");
    assert_int_equal(n_changed, 1);
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 3);
    current->ops->opened(current->owner);
    request = take_request();
    reply(&request, 3, versions_body);
    json_decref(request.body);
    request = take_request();
    reply(&request, 12, metadata_body(3));
    json_decref(request.body);
    assert_int_equal(state_now(), HR_METADATA_READY);
}

static void metadata_without_brokers_is_a_failure(void **state)
{
    struct request request;

    (void)state;
    serve(3);
    pass_ms(30001);
    request = take_request();
    reply(&request, 12, "{\"Brokers\":[],\"Topics\":[]}");
    json_decref(request.body);
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 3);
    assert_non_null(strstr(last_error(), "no usable broker"));
    assert_int_equal(n_changed, 1);
}

static void names_are_resolved_first(void **state)
{
    struct hr_addr addr = hr_addr_from_v4(htonl(0x0a000909));

    (void)state;
    hr_metadata_stop(md);
    strcpy(config->cluster.bootstrap[0].host, "b.example");
    config->cluster.n_bootstrap = 1;
    hr_metadata_configure(md, config);
    hr_metadata_start(md);
    assert_int_equal(state_now(), HR_METADATA_RESOLVING);
    hr_dns_answer(dns, "b.example", 0, &addr, 1, 60);
    assert_int_equal(state_now(), HR_METADATA_CONNECTING);
    assert_true(hr_addr_equal(&current->addr, &addr));
    serve(1);
    /* And a name that never resolves is given up for the next. */
    hr_metadata_stop(md);
    strcpy(config->cluster.bootstrap[0].host, "never.example");
    hr_metadata_start(md);
    current->ops->closed(current->owner, HR_E_REFUSED, "connection refused");
    hr_metadata_configure(md, config);
    assert_int_equal(state_now(), HR_METADATA_RESOLVING);
    pass_ms(3001);
    assert_int_equal(state_now(), HR_METADATA_WAITING);
    assert_non_null(strstr(last_error(), "resolved"));
}

static void a_reloaded_bootstrap_list_is_asked_at_once(void **state)
{
    (void)state;
    serve(3);
    strcpy(config->cluster.bootstrap[0].host, "10.7.7.7");
    config->cluster.n_bootstrap = 1;
    hr_metadata_configure(md, config);
    assert_int_equal(state_now(), HR_METADATA_CONNECTING);
    assert_int_equal(current->addr.b[15], 7);
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 3);
    serve(2);
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 2);
    /* The same list again disturbs nothing. */
    hr_metadata_configure(md, config);
    assert_int_equal(state_now(), HR_METADATA_READY);
}

/* -- brokers that speak TLS: OpenSSL's own server in front of the fake broker --------------------------- */

static struct pki pki;

static SSL *tls_broker(const char *cert)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    struct hr_config_certificate files = pki_cert(&pki, cert);
    SSL *ssl;

    assert_int_equal(SSL_CTX_use_certificate_chain_file(ctx, files.chain.path), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, files.key.path, SSL_FILETYPE_PEM), 1);
    ssl = SSL_new(ctx);
    SSL_CTX_free(ctx);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
    SSL_set_accept_state(ssl);
    return ssl;
}

/* What was sent on the connection, to the server; what it has to say, back in pieces. */
static void shuttle(SSL *ssl)
{
    uint8_t bytes[32768];
    int n;

    if (!current)
        return;
    if (current->n_sent > 0)
        assert_int_equal(BIO_write(SSL_get_rbio(ssl), current->sent, (int)current->n_sent), current->n_sent);
    current->n_sent = 0;
    ERR_clear_error();
    SSL_do_handshake(ssl);
    n = BIO_read(SSL_get_wbio(ssl), bytes, sizeof(bytes));
    if (n > 0)
        deliver(bytes, (uint32_t)n, 1000);
}

static void handshake(SSL *ssl)
{
    current->ops->opened(current->owner);
    for (int i = 0; i < 2; i++)
        shuttle(ssl);
}

/* Takes the request out of the session, and puts the answer into it. */
static void serve_tls(SSL *ssl)
{
    static uint8_t frame[65536];
    struct request request;
    const char *body;
    int n;

    assert_int_equal(BIO_write(SSL_get_rbio(ssl), current->sent, (int)current->n_sent), current->n_sent);
    n = SSL_read(ssl, current->sent, sizeof(current->sent));
    assert_true(n > 0);
    current->n_sent = (uint32_t)n;
    request = take_request();
    body = request.key == 18 ? versions_body : request.key == 3 ? metadata_body(2) : describe_body;
    n = (int)encode(request.key, request.version, request.correlation_id, body, frame);
    json_decref(request.body);
    assert_int_equal(SSL_write(ssl, frame, n), n);
    n = BIO_read(SSL_get_wbio(ssl), frame, sizeof(frame));
    deliver(frame, (uint32_t)n, 1000);
}

static int set_up_tls(void **state)
{
    pki_open(&pki);
    pki_leaf(&pki, &(struct pki_leaf){.name = "b1", .cn = "b1", .san = "IP:10.0.0.1"});
    pki_leaf(&pki, &(struct pki_leaf){.name = "b9", .cn = "b9", .san = "IP:10.0.0.9"});
    set_up(state);
    hr_metadata_stop(md);
    hr_metadata_destroy(md);
    assert_int_equal(hr_tls_store_create(loop, &tls_store), 0);
    config->cluster.tls.on = true;
    config->cluster.tls.ca = pki_file(&pki, "ca.crt");
    hr_tls_store_configure(tls_store, config);
    current = NULL;
    assert_int_equal(hr_metadata_create(loop, NULL, dns, tls_store, on_changed, NULL, &md), 0);
    hr_metadata_configure(md, config);
    hr_metadata_start(md);
    return 0;
}

static int tear_down_tls(void **state)
{
    hr_metadata_stop(md);
    hr_tls_store_destroy(tls_store);
    tls_store = NULL;
    tear_down(state);
    pki_close(&pki);
    return 0;
}

static void it_refreshes_over_tls(void **state)
{
    SSL *ssl = tls_broker("b1");

    (void)state;
    assert_int_equal(state_now(), HR_METADATA_CONNECTING);
    handshake(ssl);
    for (int i = 0; i < 4 && state_now() != HR_METADATA_READY; i++)
        serve_tls(ssl);
    assert_int_equal(state_now(), HR_METADATA_READY);
    assert_int_equal(hr_metadata_cluster(md)->n_brokers, 2);
    assert_int_equal(hr_tls_store_counters(tls_store, HR_TLS_BROKERS)->done, 1);
    /* Again on the same session; then the broker closes it by an alert. */
    pass_ms(30000);
    for (int i = 0; i < 4 && state_now() != HR_METADATA_READY; i++)
        serve_tls(ssl);
    assert_int_equal(state_now(), HR_METADATA_READY);
    SSL_shutdown(ssl);
    shuttle(ssl);
    assert_int_not_equal(state_now(), HR_METADATA_READY);
    SSL_free(ssl);
}

static void it_refuses_a_broker_of_another_name(void **state)
{
    SSL *ssl = tls_broker("b9");

    (void)state;
    handshake(ssl);
    assert_non_null(strstr(last_error(), "IP address mismatch"));
    assert_int_equal(hr_tls_store_counters(tls_store, HR_TLS_BROKERS)->failed[HR_TLS_REASON_wrong_name], 1);
    assert_null(hr_metadata_cluster(md));
    SSL_free(ssl);
}

static void it_says_that_a_broker_speaks_no_tls(void **state)
{
    (void)state;
    current->ops->opened(current->owner);
    deliver((const uint8_t *)"\0\0\0\x10nonsense", 12, 12);
    assert_non_null(strstr(last_error(), "are no TLS"));
}

static void a_handshake_has_its_time(void **state)
{
    int before = n_opened;

    (void)state;
    current->ops->opened(current->owner);
    pass_ms(20000);
    assert_non_null(strstr(last_error(), "not complete within its time"));
    assert_true(n_opened > before);
}

/* -- logging in ------------------------------------------------------------------------------------------ */

static struct hr_identity *identity;
static char secret_path[32];

static void on_identity_changed(void *owner)
{
    (void)owner;
}

static int set_up_login(void **state)
{
    struct hr_config_broker_auth auth = {.mechanism = HR_CONFIG_MECH_PLAIN, .username = "headrace"};
    int fd;

    strcpy(secret_path, "/tmp/hr-secret-XXXXXX");
    fd = mkstemp(secret_path);
    assert_int_equal(write(fd, "pencil\n", 7), 7);
    close(fd);
    strcpy(auth.secret.file, secret_path);
    set_up(state);
    assert_int_equal(hr_identity_create(loop, NULL, &auth, on_identity_changed, NULL, &identity), 0);
    hr_metadata_set_identity(md, identity);
    return 0;
}

static int tear_down_login(void **state)
{
    hr_metadata_set_identity(md, NULL);
    hr_identity_destroy(identity);
    unlink(secret_path);
    return tear_down(state);
}

/* The broker's part of a login by PLAIN. */
static void accept_login(const char *answer)
{
    struct request request;

    assert_int_equal(state_now(), HR_METADATA_CONNECTING);
    current->ops->opened(current->owner);
    assert_int_equal(state_now(), HR_METADATA_LOGIN);
    request = take_request();
    assert_int_equal(request.key, 17);
    assert_int_equal(request.version, 1);
    assert_string_equal(json_string_value(json_object_get(request.body, "Mechanism")), "PLAIN");
    reply(&request, 1, "{\"ErrorCode\":0,\"Mechanisms\":[\"PLAIN\"]}");
    json_decref(request.body);
    request = take_request();
    assert_int_equal(request.key, 36);
    assert_int_equal(request.version, 2);
    assert_string_equal(json_string_value(json_object_get(request.body, "AuthBytes")),
                        "00686561647261636500" "70656e63696c"); /* NUL headrace NUL pencil */
    reply(&request, 2, answer);
    json_decref(request.body);
}

static void a_broker_that_wants_a_login_gets_one(void **state)
{
    int connections;

    (void)state;
    accept_login("{\"ErrorCode\":0,\"AuthBytes\":\"\",\"SessionLifetimeMs\":100000}");
    assert_int_equal(state_now(), HR_METADATA_VERSIONS);
    serve(3);
    connections = n_opened;
    /* Refreshes use it until 85 % of its life have passed; then comes a new connection, and nothing is lost. */
    pass_ms(30000);
    serve(3);
    pass_ms(30000);
    serve(3);
    assert_int_equal(n_opened, connections);
    pass_ms(30000);
    assert_int_equal(n_opened, connections + 1);
    assert_non_null(hr_metadata_cluster(md));
    accept_login("{\"ErrorCode\":0,\"AuthBytes\":\"\",\"SessionLifetimeMs\":0}");
    serve(3);
    assert_string_equal(last_error(), "");
}

static void a_refused_login_says_why(void **state)
{
    (void)state;
    accept_login("{\"ErrorCode\":58,\"ErrorMessage\":\"Bad credentials\",\"AuthBytes\":\"\"}");
    assert_non_null(strstr(last_error(), "the broker refused the login (error 58): Bad credentials"));
    /* The next candidate is asked, with the secret as it is now. */
    accept_login("{\"ErrorCode\":0,\"AuthBytes\":\"\",\"SessionLifetimeMs\":0}");
    serve(3);
}

static void a_login_that_takes_too_long_ends(void **state)
{
    int before = n_opened;

    (void)state;
    current->ops->opened(current->owner);
    assert_int_equal(state_now(), HR_METADATA_LOGIN);
    pass_ms(10001);
    assert_int_equal(n_opened, before + 1);
    assert_non_null(strstr(last_error(), "did not answer in time"));
}

static void without_a_secret_no_connection_is_opened(void **state)
{
    int before;

    (void)state;
    unlink(secret_path);
    before = n_opened;
    hr_metadata_set_identity(md, NULL);
    hr_metadata_set_identity(md, identity);
    assert_int_equal(n_opened, before + 1); /* for the moment without an identity */
    assert_non_null(strstr(last_error(), "cannot be opened"));
    assert_int_equal(state_now(), HR_METADATA_WAITING);
}

int main(void)
{
#define L(name) cmocka_unit_test_setup_teardown(name, set_up_login, tear_down_login)
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(it_learns_the_cluster_over_one_connection),
        T(it_refreshes_in_time_on_the_same_connection),
        T(hints_hasten_it_but_not_beyond_the_limit),
        T(an_old_broker_is_asked_in_its_own_versions),
        T(bad_answers_move_on_to_the_next_broker),
        T(a_frame_that_ends_early_is_a_close),
        T(bytes_nobody_asked_for_end_the_connection),
        T(a_silent_broker_times_out),
        T(when_all_fail_it_waits_longer_each_time),
        T(a_lost_connection_takes_nothing_away),
        T(a_vanished_broker_is_watched_for_and_remembered),
        T(a_broker_that_hangs_up_on_describe_cluster_is_not_asked_again),
        T(metadata_without_brokers_is_a_failure),
        T(names_are_resolved_first),
        T(a_reloaded_bootstrap_list_is_asked_at_once),
        L(a_broker_that_wants_a_login_gets_one),
        L(a_refused_login_says_why),
        L(a_login_that_takes_too_long_ends),
        L(without_a_secret_no_connection_is_opened),
#undef T
#define T(name) cmocka_unit_test_setup_teardown(name, set_up_tls, tear_down_tls)
        T(it_refreshes_over_tls),
        T(it_refuses_a_broker_of_another_name),
        T(it_says_that_a_broker_speaks_no_tls),
        T(a_handshake_has_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

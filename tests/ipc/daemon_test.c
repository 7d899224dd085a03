/* The whole control plane against the dataplane's real end of the attachment, with workers and brokers played
 * by this file: one thread turns both sides until what is awaited has happened. */
#include "controlplane/daemon/daemon.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/ipc/played_dataplane.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/metrics/metrics.h"
#include "controlplane/metrics/text.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/tls/store.h"
#include "controlplane/tls/test_pki.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define PATIENCE_US (20 * HR_US_PER_S)

/* -- the control plane -------------------------------------------------------------------------------- */

static struct hr_daemon *cp;
static char dir[64];

static void cp_start(void)
{
    struct hr_config *config = calloc(1, sizeof(*config));
    struct hr_config_errors *errors = calloc(1, sizeof(*errors));
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/headrace.cfg", dir);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "dataplane: { workers = [0]; ports = ({ name = \"p0\"; device = \"net_null0\"; addresses = "
            "[\"10.0.0.5/24\"]; }); };\n"
            "cluster: { bootstrap = (\"10.9.9.1:9092\"); refresh_ms = 1000; refresh_min_ms = 50; };\n"
            "listeners = ({ name = \"kafka\"; address = \"10.0.0.5\"; bootstrap_port = 9092; node_port_base "
            "= 9200; });\n"
            "control: { runtime_dir = \"%s\"; metrics_address = \"\"; };\n"
            "log: { level = \"error\"; };\n",
            dir);
    fclose(file);
    if (hr_config_load(path, config, errors) != 0)
        fail_msg("%s", errors->text[0]);
    free(errors);
    assert_int_equal(hr_daemon_create(config, &cp), 0);
}

static void turn(void)
{
    dp_turn();
    if (cp)
        assert_true(hr_loop_turn(cp->loop, 1000) >= 0);
}

static void await(bool (*done)(void))
{
    uint64_t end = hr_now_us() + PATIENCE_US;

    while (!done()) {
        if (hr_now_us() > end)
            fail_msg("what was awaited did not happen");
        turn();
    }
}

static bool is_ready(void)
{
    const char *why;

    return hr_daemon_ready(cp, &why);
}

/* One request over the control socket, as headracectl does it. The caller owns the answer. */
static json_t *ask(const char *request)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    uint64_t end = hr_now_us() + PATIENCE_US;
    static char answer[1 << 20];
    size_t n = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    json_t *json;

    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control.sock", dir);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    assert_int_equal(send(fd, "\n", 1, 0), 1);
    while (n == 0 || answer[n - 1] != '\n') {
        ssize_t got = recv(fd, answer + n, sizeof(answer) - n, MSG_DONTWAIT);

        if (got > 0)
            n += (size_t)got;
        assert_true(hr_now_us() < end);
        turn();
    }
    close(fd);
    json = json_loadb(answer, n, 0, NULL);
    assert_non_null(json);
    return json;
}

static void expect_ok(json_t *answer)
{
    if (!json_is_true(json_object_get(answer, "ok")))
        fail_msg("%s", json_string_value(json_object_get(answer, "error")));
}

static void expect_error(json_t *answer, const char *code)
{
    assert_true(json_is_false(json_object_get(answer, "ok")));
    assert_string_equal(json_string_value(json_object_get(answer, "code")), code);
    json_decref(answer);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/hr-daemon-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    dp_start(dir);
    cp_start();
    return 0;
}

static int tear_down(void **state)
{
    char path[128];

    (void)state;
    hr_daemon_destroy(cp);
    cp = NULL;
    if (dp.attach)
        dp_stop();
    snprintf(path, sizeof(path), "%s/headrace.cfg", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* both sockets were removed */
    return 0;
}

/* -- tests -------------------------------------------------------------------------------------------- */

static void it_attaches_learns_and_publishes(void **state)
{
    (void)state;
    await(is_ready);
    assert_int_equal(dp.policies, 1); /* one snapshot, not a worse one before it */
    assert_true(dp.policy.cluster_known);
    assert_string_equal(dp.policy.cluster_id, "mock-cluster");
    assert_int_equal(dp.policy.n_brokers, 3);
    assert_int_equal(dp.policy.brokers[2].node_id, 3);
    assert_int_equal(dp.policy.brokers[2].port, 9003);
    assert_int_equal(dp.policy.brokers[2].flags, HR_BROKER_ALIVE);
    assert_string_equal(dp.policy.zones.name[dp.policy.brokers[2].zone], "zone-a");
    assert_int_equal(dp.policy.n_listeners, 1);
    assert_int_equal(dp.policy.listeners[0].bootstrap_port, 9092);
}

static bool four_brokers(void)
{
    return dp.policy.n_brokers == 4;
}

static void news_of_the_cluster_reach_the_workers(void **state)
{
    struct hr_msg hint = {.type = HR_EV_HINT};

    (void)state;
    await(is_ready);
    dp.n_brokers = 4;
    send_event(1, &hint, NULL, 0);
    await(four_brokers);
    assert_int_equal(dp.policies, 2);
}

static bool reattached(void)
{
    return cp->attaches == 2 && is_ready();
}

static void a_new_dataplane_is_attached_and_gets_the_policy(void **state)
{
    uint64_t begin;

    (void)state;
    await(is_ready);
    dp_stop();
    for (int i = 0; i < 50; i++)
        turn();
    assert_false(is_ready());
    expect_error(ask("{\"cmd\":\"workers\"}"), "CLOSED");
    dp_start(dir);
    dp.silent = true; /* what is known must do */
    begin = hr_now_us();
    await(reattached);
    assert_true(hr_now_us() - begin < HR_US_PER_S);
    assert_int_equal(dp.policy.n_brokers, 3);
    assert_true(dp.policy.cluster_known);
}

static bool attached_again(void)
{
    return cp->attached_us != 0;
}

static bool four_brokers_now(void)
{
    return dp.policy.n_brokers == 4;
}

static bool all_draining(void)
{
    return dp.policy.listeners[0].draining;
}

/* As after kill -9 of the control plane: the dataplane keeps its snapshot until a better one is known. */
static void a_restarted_control_plane_publishes_nothing_worse(void **state)
{
    uint64_t generation, begin;

    (void)state;
    await(is_ready);
    generation = dp.policy.generation;
    hr_daemon_destroy(cp);
    cp = NULL;
    for (int i = 0; i < 20; i++)
        turn();
    dp.silent = true;
    begin = hr_now_us();
    cp_start();
    await(attached_again);
    assert_true(hr_now_us() - begin < HR_US_PER_S);
    /* Longer than the time after which a first snapshot goes out without the cluster. */
    for (begin = hr_now_us(); hr_now_us() - begin < 4 * HR_US_PER_S;)
        turn();
    assert_int_equal(dp.policies, 1);
    assert_int_equal(dp.policy.generation, generation);
    assert_true(is_ready()); /* on what the one before has left */
    /* And what the operator wants is done meanwhile, with the brokers that were known. */
    json_decref(ask("{\"cmd\":\"drain\",\"target\":\"2\"}"));
    expect_error(ask("{\"cmd\":\"drain\",\"target\":\"12\"}"), "NOT_FOUND");
    json_decref(ask("{\"cmd\":\"drain\",\"target\":\"kafka\"}"));
    await(all_draining);
    assert_int_equal(dp.policy.n_brokers, 3);
    assert_true(dp.policy.cluster_known);
    dp.silent = false;
    dp.n_brokers = 4;
    hr_metadata_stop(cp->metadata); /* the request under way was swallowed: ask anew */
    hr_metadata_start(cp->metadata);
    await(four_brokers_now);
    assert_true(dp.policy.generation > generation);
}

/* Both die, one after the other, before the cluster has answered again: what the first control plane knew
 * still reaches the last dataplane. */
static void a_new_dataplane_gets_what_was_inherited(void **state)
{
    (void)state;
    await(is_ready);
    hr_daemon_destroy(cp);
    cp = NULL;
    for (int i = 0; i < 20; i++)
        turn();
    dp.silent = true;
    cp_start();
    await(attached_again);
    dp_stop();
    for (int i = 0; i < 50; i++)
        turn();
    dp_start(dir);
    dp.silent = true;
    await(reattached);
    assert_int_equal(dp.policy.n_brokers, 3);
    assert_true(dp.policy.cluster_known);
}

static void commands_show_what_is(void **state)
{
    json_t *answer, *list, *item;
    size_t i;

    (void)state;
    await(is_ready);
    answer = ask("{\"cmd\":\"status\"}");
    expect_ok(answer);
    assert_true(json_is_true(json_object_get(answer, "ready")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(answer, "dataplane"), "workers")), 2);
    json_decref(answer);

    answer = ask("{\"cmd\":\"brokers\"}");
    expect_ok(answer);
    list = json_object_get(answer, "brokers");
    assert_int_equal(json_array_size(list), 3);
    item = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(item, "address")), "10.9.9.9");
    assert_true(json_is_true(json_object_get(item, "controller")));
    assert_int_equal(json_integer_value(json_object_get(item, "leads")), 1);
    json_decref(answer);

    answer = ask("{\"cmd\":\"topics\",\"topic\":\"orders\"}");
    expect_ok(answer);
    item = json_array_get(json_object_get(answer, "topics"), 0);
    assert_int_equal(json_array_size(json_object_get(item, "partition_list")), 1);
    json_decref(answer);
    expect_error(ask("{\"cmd\":\"topics\",\"topic\":\"none\"}"), "NOT_FOUND");

    HR_COUNT_N(hr_region_stats(dp.region, 1), kafka_requests, 77);
    answer = ask("{\"cmd\":\"counters\"}");
    expect_ok(answer);
    item = json_array_get(json_object_get(answer, "workers"), 1);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(item, "counters"), "kafka_requests")),
                     77);
    json_decref(answer);

    answer = ask("{\"cmd\":\"workers\"}");
    expect_ok(answer);
    json_array_foreach(json_object_get(answer, "workers"), i, item)
        assert_true(json_is_true(json_object_get(item, "responds")));
    json_decref(answer);
    expect_error(ask("{\"cmd\":\"no such\"}"), "UNSUPPORTED");
}

static void sessions_are_listed_and_killed(void **state)
{
    json_t *answer, *item;

    (void)state;
    await(is_ready);
    answer = ask("{\"cmd\":\"connections\"}");
    expect_ok(answer);
    assert_true(json_is_true(json_object_get(answer, "complete")));
    assert_int_equal(json_array_size(json_object_get(answer, "connections")), 2);
    item = json_array_get(json_object_get(answer, "connections"), 0);
    assert_string_equal(json_string_value(json_object_get(item, "client")), "10.0.0.200");
    assert_string_equal(json_string_value(json_object_get(item, "last_api")), "Produce");
    /* All of it is the worker's memory: whoever attaches shows the same. */
    static const char *const told[][2] = {
        {"via", "10.0.0.254"},        {"vpc_endpoint", "vpce-1"},      {"client_protocol", "TLSv1.3"},
        {"client_cipher", "AES-128-GCM"}, {"broker_protocol", "plain"}, {"broker_cipher", ""},
        {"sni", ""},                  {"principal", "CN=app,O=x"},     {"mechanism", "mTLS"},
        {"broker_identity", "team-a"}, {"broker_mechanism", "AWS_MSK_IAM"},
    };
    for (size_t k = 0; k < sizeof(told) / sizeof(told[0]); k++)
        assert_string_equal(json_string_value(json_object_get(item, told[k][0])), told[k][1]);
    assert_true(json_is_null(json_object_get(item, "client_reauth_s")));
    assert_true(json_real_value(json_object_get(item, "broker_reauth_s")) <= 90);
    assert_true(json_real_value(json_object_get(item, "broker_expires_s")) >
                json_real_value(json_object_get(item, "broker_reauth_s")));
    assert_non_null(strstr(json_string_value(json_object_get(item, "client_id")), "\\x22x\\x22"));
    json_decref(answer);
    answer = ask("{\"cmd\":\"kill\",\"id\":\"0100000000000042\"}");
    expect_ok(answer);
    json_decref(answer);
    assert_int_equal(dp.killed, 0x0100000000000042);
    expect_error(ask("{\"cmd\":\"kill\",\"id\":\"0100000000000043\"}"), "NOT_FOUND");
    expect_error(ask("{\"cmd\":\"kill\",\"id\":\"0700000000000042\"}"), "NOT_FOUND");
    expect_error(ask("{\"cmd\":\"kill\",\"id\":\"zz\"}"), "INVALID");
    expect_error(ask("{\"cmd\":\"kill\"}"), "INVALID");
}

static bool none_draining(void)
{
    return !dp.policy.listeners[0].draining;
}

static bool node_draining(void)
{
    return dp.policy.brokers[1].flags & HR_BROKER_DRAINING;
}

static bool limit_lowered(void)
{
    return dp.policy.listeners[0].max_connections == 7;
}

static void changes_reach_the_workers(void **state)
{
    const char *why = "";

    (void)state;
    await(is_ready);
    json_decref(ask("{\"cmd\":\"drain\"}"));
    await(all_draining);
    assert_false(hr_daemon_ready(cp, &why));
    assert_string_equal(why, "draining");
    json_decref(ask("{\"cmd\":\"undrain\"}"));
    await(none_draining);
    json_decref(ask("{\"cmd\":\"drain\",\"target\":\"2\"}"));
    await(node_draining);
    expect_error(ask("{\"cmd\":\"drain\",\"target\":\"12\"}"), "NOT_FOUND");
    expect_error(ask("{\"cmd\":\"drain\",\"target\":\"nobody\"}"), "NOT_FOUND");
    json_decref(ask("{\"cmd\":\"set\",\"key\":\"listeners.kafka.max_connections\",\"value\":\"7\"}"));
    await(limit_lowered);
    expect_error(ask("{\"cmd\":\"set\",\"key\":\"listeners.kafka.max_connections\",\"value\":\"0\"}"),
                 "INVALID");
    expect_error(ask("{\"cmd\":\"set\",\"key\":\"listeners.other.max_connections\",\"value\":\"1\"}"),
                 "NOT_FOUND");
    expect_error(ask("{\"cmd\":\"set\",\"key\":\"limits.max_connections\",\"value\":\"10001\"}"), "INVALID");
    expect_error(ask("{\"cmd\":\"set\",\"key\":\"limits.max_connections\",\"value\":\"-1\"}"), "INVALID");
    expect_error(ask("{\"cmd\":\"set\",\"key\":\"tcp.msl_ms\",\"value\":\"1000\"}"), "UNSUPPORTED");
    expect_error(ask("{\"cmd\":\"set\",\"key\":\"log.level\",\"value\":\"loud\"}"), "INVALID");
}

static bool killed(void)
{
    return dp.killed != 0;
}

static void what_does_not_end_by_itself_is_ended_at_the_deadline(void **state)
{
    uint64_t begin;

    (void)state;
    await(is_ready);
    json_decref(ask("{\"cmd\":\"set\",\"key\":\"limits.drain_timeout_ms\",\"value\":\"300\"}"));
    begin = hr_now_us();
    json_decref(ask("{\"cmd\":\"drain\",\"target\":\"1\"}")); /* the played sessions are with node 2 */
    while (hr_now_us() - begin < 600 * HR_US_PER_MS)
        turn();
    assert_int_equal(dp.killed, 0);
    begin = hr_now_us();
    json_decref(ask("{\"cmd\":\"drain\",\"target\":\"2\"}"));
    await(killed);
    assert_true(hr_now_us() - begin >= 300 * HR_US_PER_MS);
    assert_int_equal(dp.killed & 0xff, 0x42);
}

static bool limit_back(void)
{
    return dp.policy.listeners[0].max_connections == 10000;
}

static void a_bad_reload_changes_nothing_a_good_one_all(void **state)
{
    char path[128];
    json_t *answer;
    FILE *file;

    (void)state;
    await(is_ready);
    json_decref(ask("{\"cmd\":\"set\",\"key\":\"listeners.kafka.max_connections\",\"value\":\"7\"}"));
    await(limit_lowered);
    snprintf(path, sizeof(path), "%s/headrace.cfg", dir);
    file = fopen(path, "a");
    fputs("nonsense = 1;\n", file);
    fclose(file);
    expect_error(ask("{\"cmd\":\"reload\"}"), "CONFIG");
    assert_int_equal(dp.policy.listeners[0].max_connections, 7);
    file = fopen(path, "r+");
    fseek(file, -(long)strlen("nonsense = 1;\n"), SEEK_END);
    assert_int_equal(ftruncate(fileno(file), ftell(file)), 0);
    fclose(file);
    answer = ask("{\"cmd\":\"reload\"}");
    expect_ok(answer);
    assert_int_equal(json_array_size(json_object_get(answer, "changes")), 1);
    json_decref(answer);
    await(limit_back);
}

static void metrics_name_every_counter(void **state)
{
    struct hr_text text = {0};
    char line[128];

    (void)state;
    await(is_ready);
    HR_COUNT_N(hr_region_stats(dp.region, 0), rx_packets, 12345);
    HR_DROP(hr_region_stats(dp.region, 1), tcp_paws);
    hr_metrics_write(cp, &text);
    assert_false(text.failed);
    for (int i = 0; i < HR_CTR_MAX; i++) {
        snprintf(line, sizeof(line), "\nheadrace_%s_total{worker=\"1\"} ", hr_counter_info[i].name);
        assert_non_null(strstr(text.bytes, line));
    }
    for (int i = 0; i < HR_DROP_MAX; i++) {
        snprintf(line, sizeof(line), "\nheadrace_drops_total{worker=\"0\",reason=\"%s\"} ",
                 hr_drop_info[i].name);
        assert_non_null(strstr(text.bytes, line));
    }
    assert_non_null(strstr(text.bytes, "\nheadrace_rx_packets_total{worker=\"0\"} 12345\n"));
    assert_non_null(strstr(text.bytes, "\nheadrace_drops_total{worker=\"1\",reason=\"tcp_paws\"} 1\n"));
    assert_non_null(strstr(text.bytes, "\nheadrace_ready 1\n"));
    assert_non_null(strstr(text.bytes, "\nheadrace_broker_info{node=\"3\",host=\"10.9.9.9\",port=\"9003\","
                                       "zone=\"zone-a\"} 1\n"));
    hr_text_free(&text);
}

/* What alarms are made of: when each certificate in use ends. */
static void metrics_say_when_certificates_end(void **state)
{
    struct hr_config *with_tls = malloc(sizeof(*with_tls));
    struct hr_text text = {0};
    struct pki pki;
    char line[512];

    (void)state;
    pki_open(&pki);
    pki_leaf(&pki, &(struct pki_leaf){.name = "m", .cn = "m", .days_from = -1, .days_to = 90});
    X509 *cert = pki_x509(&pki, "m");
    *with_tls = *cp->config;
    with_tls->listeners[0].policy.tls = 1;
    with_tls->listeners[0].tls.n_certs = 1;
    with_tls->listeners[0].tls.certs[0] = pki_cert(&pki, "m");
    hr_tls_store_configure(cp->tls, with_tls);
    hr_metrics_write(cp, &text);
    snprintf(line, sizeof(line), "\nheadrace_certificate_expiry_seconds{owner=\"%s\",use=\"server\",file=\"%s/m.crt\","
             "subject=\"CN=m,O=Headrace tests\"} %lld\n", with_tls->listeners[0].policy.name, pki.dir,
             (long long)hr_tls_time(X509_get0_notAfter(cert)));
    if (!strstr(text.bytes, line))
        fail_msg("no %s", line);
    hr_text_free(&text);
    hr_tls_store_configure(cp->tls, cp->config);
    free(with_tls);
    X509_free(cert);
    pki_close(&pki);
}

static void damaged_events_are_counted_not_believed(void **state)
{
    struct hr_msg msg = {.type = HR_EV_SLOT_FREE};
    uint64_t before;

    (void)state;
    await(is_ready);
    before = cp->events_invalid;
    msg.u.data.slot = 5;
    send_event(0, &msg, NULL, 0);
    msg.u.data.slot = 5000000;
    send_event(0, &msg, NULL, 0);
    msg = (struct hr_msg){.type = HR_EV_CONN_DATA, .id = 1};
    msg.u.data.slot = 9999;
    send_event(0, &msg, NULL, 0);
    msg = (struct hr_msg){.type = HR_EV_LOG};
    msg.u.log.event = 9999;
    msg.u.log.reason = 9999;
    send_event(0, &msg, NULL, 0);
    for (int i = 0; i < 20; i++)
        turn();
    assert_int_equal(cp->events_invalid, before + 3);
    assert_true(is_ready());
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(it_attaches_learns_and_publishes),
        T(news_of_the_cluster_reach_the_workers),
        T(a_new_dataplane_is_attached_and_gets_the_policy),
        T(a_restarted_control_plane_publishes_nothing_worse),
        T(a_new_dataplane_gets_what_was_inherited),
        T(commands_show_what_is),
        T(sessions_are_listed_and_killed),
        T(changes_reach_the_workers),
        T(what_does_not_end_by_itself_is_ended_at_the_deadline),
        T(a_bad_reload_changes_nothing_a_good_one_all),
        T(metrics_name_every_counter),
        T(metrics_say_when_certificates_end),
        T(damaged_events_are_counted_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The worker's end of the rings against a control plane's end in the same process, with real connections. */
#include "dataplane/control/control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "dataplane/control/impl.h"
#include "dataplane/proxy/impl.h"
#include "shared/ipc/doorbell.h"
#include "shared/tls/start.h"
#include "tests/support/proxy_rig.h"
#include "tests/support/tls_peer.h"

#define WORKER 2 /* as in the rig */

static struct pr r;
static int memfd, ring_fd, wait_fd;
static struct hr_region *region;
static struct hr_link up; /* the control plane's end */

/* What the control plane has heard. */
static struct {
    uint32_t n[HR_EV_MAX];
    struct hr_msg last[HR_EV_MAX];
    struct rf_bytes data;
    struct hr_session_info infos[64];
    uint32_t n_infos;
    uint16_t order[4096]; /* types */
    uint32_t n_order;
} heard;
static bool keep_slots; /* the control plane does not give slots back */

static void relink(uint32_t session)
{
    hr_control_relink(r.control, session);
    assert_int_equal(hr_link_init_control(&up, region, WORKER, session, -1), 0);
}

static int setup(void **state)
{
    const uint32_t lcores[HR_MAX_WORKERS] = {0};
    pr_open(&r, NULL);
    rf_free(&heard.data);
    memset(&heard, 0, sizeof(heard));
    keep_slots = false;
    assert_int_equal(hr_region_create(WORKER + 1, lcores, "test", &memfd, &region), 0);
    assert_int_equal(hr_doorbell_create(&ring_fd, &wait_fd), 0);
    const struct hr_control_config cfg = {.worker_id = WORKER,
                                          .socket_id = SOCKET_ID_ANY,
                                          .region = region,
                                          .doorbell_fd = ring_fd,
                                          .bufs = &r.in.bufs,
                                          .tcp = r.in.tcp,
                                          .proxy = r.proxy,
                                          .stats = &r.in.stats};
    assert_int_equal(hr_control_create(&cfg, &r.control), 0);
    relink(1);
    return 0;
}

static int teardown(void **state)
{
    pr_close(&r);
    hr_region_unmap(region, hr_region_size(WORKER + 1));
    close(memfd);
    close(ring_fd);
    close(wait_fd);
    return 0;
}

static void finish(void)
{
    const char *wrong = pr_close(&r);
    if (wrong)
        fail_msg("%s", wrong);
}

static void take(const struct hr_msg *m)
{
    const uint8_t *p;
    heard.n[m->type]++;
    heard.last[m->type] = *m;
    if (heard.n_order < 4096)
        heard.order[heard.n_order++] = m->type;
    if (m->type == HR_EV_SLOT_FREE)
        assert_int_equal(hr_link_slot_returned(&up, m->u.data.slot), 0);
    if (m->type != HR_EV_CONN_DATA && m->type != HR_EV_SESSION_INFO)
        return;
    assert_int_equal(hr_link_slot_read(&up, m->u.data.slot, m->u.data.len, &p), 0);
    if (m->type == HR_EV_CONN_DATA) {
        rf_append(&heard.data, p, m->u.data.len);
    } else {
        uint32_t n = m->u.data.len / (uint32_t)sizeof(struct hr_session_info);
        assert_int_equal(m->u.data.len % sizeof(struct hr_session_info), 0);
        assert_true(heard.n_infos + n <= 64);
        memcpy(&heard.infos[heard.n_infos], p, m->u.data.len);
        heard.n_infos += n;
    }
    if (!keep_slots)
        assert_int_equal(hr_link_slot_done(&up, m->u.data.slot, HR_CMD_SLOT_FREE), 0);
}

/* So many messages at most. */
static uint32_t hear_some(uint32_t max)
{
    struct hr_msg msgs[64];
    int n = hr_link_recv(&up, msgs, max < 64 ? max : 64);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++)
        take(&msgs[i]);
    hr_link_flush(&up);
    return (uint32_t)n;
}

static void hear(void)
{
    while (hear_some(64) > 0)
        ;
}

/* Both sides, for so long. */
static void run(uint64_t us)
{
    for (uint64_t i = 0; i < us / PR_MS; i++) {
        pr_run(&r, PR_MS);
        hear();
    }
}

static void command(uint16_t type, uint64_t id, struct hr_msg m)
{
    m.type = type;
    m.id = id;
    assert_int_equal(hr_link_send(&up, &m), 0);
}

static void open_conn(uint64_t request, uint32_t ip, uint16_t port, uint32_t timeout_ms)
{
    struct hr_msg m = {0};
    m.u.open.addr = hr_addr_from_v4(htonl(ip));
    m.u.open.port = port;
    m.u.open.timeout_ms = timeout_ms;
    command(HR_CMD_CONN_OPEN, request, m);
}

static uint64_t opened(uint64_t request)
{
    assert_int_equal(heard.n[HR_EV_CONN_OPENED], 1);
    assert_int_equal(heard.last[HR_EV_CONN_OPENED].id, request);
    return heard.last[HR_EV_CONN_OPENED].u.opened.conn;
}

static void send_down(uint64_t conn, const void *data, uint32_t len)
{
    struct hr_msg m = {0};
    uint8_t *p;
    assert_int_equal(hr_link_slot_alloc(&up, &m.u.data.slot, &p), 0);
    memcpy(p, data, len);
    m.u.data.len = len;
    command(HR_CMD_CONN_DATA, conn, m);
    hr_link_slot_sent(&up, m.u.data.slot);
}

static void test_open_and_data(void **state)
{
    open_conn(77, PR_TARGET_IP, 5201, 1000);
    run(20 * PR_MS);
    uint64_t conn = opened(77);
    assert_true(heard.last[HR_EV_CONN_OPENED].u.opened.local_port >= 40000);
    struct pr_peer *target = pr_accepted_at(&r, PR_TARGET_IP);
    send_down(conn, "question", 8);
    run(20 * PR_MS);
    assert_int_equal(target->got.len, 8);
    assert_int_equal(heard.n[HR_EV_SLOT_FREE], 1);
    pr_send(&r, target, "answer", 6);
    pr_shutdown(&r, target);
    run(20 * PR_MS);
    assert_int_equal(heard.data.len, 6);
    assert_memory_equal(heard.data.p, "answer", 6);
    assert_int_equal(heard.n[HR_EV_CONN_EOF], 1);
    assert_int_equal(heard.n[HR_EV_CONN_CLOSED], 0);
    command(HR_CMD_CONN_SHUTDOWN, conn, (struct hr_msg){0});
    run(100 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_CLOSED], 1);
    assert_true(target->closed);
    /* Bytes, their end, then the connection's. */
    assert_int_equal(heard.order[heard.n_order - 1], HR_EV_CONN_CLOSED);
    assert_int_equal(heard.order[heard.n_order - 2], HR_EV_CONN_EOF);
    /* Each message is counted once: what each side heard is what the other sent. */
    assert_int_equal(PR_COUNT(&r, ipc_messages_tx), heard.n_order);
    assert_int_equal(PR_COUNT(&r, ipc_messages_rx), 4);
    finish();
}

/* The first connection is there before any policy is: the zone of its peer is found when one says it. */
static void test_zone_of_a_connection(void **state)
{
    open_conn(77, PR_TARGET_IP, 5201, 1000);
    run(20 * PR_MS);
    uint64_t conn = opened(77);
    const struct hr_zone_link *links = r.zones->link[HR_ZONE_PEER_CONTROL][HR_ZONE_NONE];
    uint64_t nowhere = links[0].tx_packets;
    assert_true(nowhere > 0);
    struct hr_policy *p = pr_next_policy(&r);
    p->zones.n_nets = p->zones.scope[HR_ZONE_GLOBAL].n = 1;
    p->zones.nets[0] = (struct hr_zone_net){.addr = hr_addr_from_v4(htonl(PR_TARGET_IP)), .bits = 128, .zone = 3};
    pr_adopt(&r);
    hr_control_policy_changed(r.control);
    send_down(conn, "question", 8);
    run(20 * PR_MS);
    assert_int_equal(links[0].tx_packets, nowhere);
    assert_true(r.zones->link[HR_ZONE_PEER_CONTROL][3][0].tx_packets > 0);
    command(HR_CMD_CONN_ABORT, conn, (struct hr_msg){0});
    run(20 * PR_MS);
    finish();
}

static void test_failures(void **state)
{
    pr_host(&r, PR_TARGET_IP)->refuse = true;
    pr_host(&r, PR_BROKER_IP(0))->silent = true;
    open_conn(1, PR_TARGET_IP, 5201, 1000);
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_FAILED], 1);
    assert_int_equal(heard.last[HR_EV_CONN_FAILED].id, 1);
    assert_int_equal(heard.last[HR_EV_CONN_FAILED].u.failed.failure, HR_TCP_FAIL_REFUSED);
    open_conn(2, PR_BROKER_IP(0), 9092, 500);
    run(600 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_FAILED], 2);
    assert_int_equal(heard.last[HR_EV_CONN_FAILED].u.failed.failure, HR_TCP_FAIL_TIMEOUT);
    open_conn(3, PR_TARGET_IP, 0, 500);
    run(5 * PR_MS);
    assert_int_equal(heard.last[HR_EV_CONN_FAILED].id, 3);
    assert_int_equal(PR_DROPS(&r, ipc_invalid), 1);
    /* A time that does not fit 32 bits of microseconds is a long time, not a short one. */
    open_conn(4, PR_BROKER_IP(0), 9092, 4294968);
    run(500 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_FAILED], 3);
    finish();
}

static void test_reset_and_abort(void **state)
{
    open_conn(1, PR_TARGET_IP, 5201, 1000);
    run(20 * PR_MS);
    uint64_t conn = opened(1);
    struct pr_peer *target = pr_accepted_at(&r, PR_TARGET_IP);
    pr_send(&r, target, "last words", 10);
    run(10 * PR_MS);
    pr_reset(&r, target);
    run(10 * PR_MS);
    assert_int_equal(heard.data.len, 10);
    assert_int_equal(heard.n[HR_EV_CONN_FAILED], 1);
    assert_int_equal(heard.last[HR_EV_CONN_FAILED].id, conn);
    send_down(conn, "too late", 8);
    run(10 * PR_MS);
    assert_int_equal(heard.n[HR_EV_SLOT_FREE], 1);

    heard.n[HR_EV_CONN_OPENED] = 0;
    open_conn(2, PR_TARGET_IP, 5201, 1000);
    run(20 * PR_MS);
    uint32_t before = heard.n_order;
    assert_int_not_equal(opened(2), conn);
    command(HR_CMD_CONN_ABORT, opened(2), (struct hr_msg){0});
    run(20 * PR_MS);
    assert_true(pr_accepted_at(&r, PR_TARGET_IP)->failed);
    assert_int_equal(heard.n_order, before); /* no further event */
    finish();
}

/* Without slots the bytes stay in the receive queue; nothing is lost, and a pause is counted once. */
static void test_slots_exhausted(void **state)
{
    static uint8_t data[HR_SLOTS * HR_SLOT_SIZE + 100000];
    for (uint32_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 13 >> 4);
    open_conn(1, PR_TARGET_IP, 5201, 1000);
    run(20 * PR_MS);
    struct pr_peer *target = pr_accepted_at(&r, PR_TARGET_IP);
    keep_slots = true;
    pr_send(&r, target, data, sizeof(data));
    pr_shutdown(&r, target);
    run(3 * PR_S);
    assert_true(heard.data.len <= HR_SLOTS * HR_SLOT_SIZE);
    assert_int_equal(heard.n[HR_EV_CONN_DATA], HR_SLOTS);
    assert_int_equal(heard.n[HR_EV_CONN_EOF], 0);
    assert_int_equal(PR_DROPS(&r, ipc_slots), 1);
    keep_slots = false;
    for (uint32_t slot = 0; slot < HR_SLOTS; slot++)
        assert_int_equal(hr_link_slot_done(&up, slot, HR_CMD_SLOT_FREE), 0);
    run(10 * PR_S);
    assert_int_equal(heard.data.len, sizeof(data));
    assert_memory_equal(heard.data.p, data, sizeof(data));
    assert_int_equal(heard.n[HR_EV_CONN_EOF], 1);
    assert_int_equal(heard.order[heard.n_order - 1], HR_EV_CONN_EOF);
    finish();
}

/* A control plane that does not read its events: no answer is lost, it comes later. */
static void test_events_unread(void **state)
{
    uint32_t sent = 0;
    for (int turn = 0; turn < 100; turn++) {
        struct hr_msg m = {.type = HR_CMD_PING, .id = sent};
        for (int i = 0; i < 32; i++, m.id = sent)
            if (hr_link_send(&up, &m) == 0)
                sent++;
        pr_run(&r, PR_MS);
    }
    assert_true(sent > 1500);
    run(500 * PR_MS);
    assert_int_equal(heard.n[HR_EV_PONG], sent);
    assert_int_equal(heard.last[HR_EV_PONG].id, sent - 1);
    assert_int_equal(PR_COUNT(&r, ipc_lost), 0);
    finish();
}

static void test_adopt(void **state)
{
    struct rf_bytes b = {0};
    struct pr_peer *client = pr_connect(&r, 9203);
    run(20 * PR_MS);
    struct pr_peer *broker = pr_accepted_at(&r, PR_BROKER_IP(1));
    struct hr_session_info info;
    uint32_t next;
    assert_int_equal(hr_proxy_list(r.proxy, 0, &info, 1, &next), 1);

    rf_request(&b, 12, 3, 1, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    pr_send(&r, client, b.p, b.len);
    rf_free(&b);
    run(20 * PR_MS);
    command(HR_CMD_CONN_ADOPT, info.id, (struct hr_msg){0});
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_FAILED], 1); /* an answer is owed */
    assert_int_equal(heard.last[HR_EV_CONN_FAILED].id, info.id);
    rf_response(&b, 12, 3, 1, "{'ThrottleTimeMs':0,'ErrorCode':0}");
    pr_send(&r, broker, b.p, b.len);
    rf_free(&b);
    run(20 * PR_MS);

    command(HR_CMD_CONN_ADOPT, info.id, (struct hr_msg){0});
    run(20 * PR_MS);
    uint64_t conn = opened(info.id);
    assert_true(broker->fin);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    pr_send(&r, client, "hello above", 11);
    run(20 * PR_MS);
    assert_int_equal(heard.data.len, 11);
    client->got.len = 0;
    send_down(conn, "hello below", 11);
    command(HR_CMD_CONN_SHUTDOWN, conn, (struct hr_msg){0});
    run(20 * PR_MS);
    assert_int_equal(client->got.len, 11);
    assert_true(client->fin);
    pr_shutdown(&r, client);
    run(50 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_CLOSED], 1);
    finish();
}

static void list(uint32_t from, uint32_t max)
{
    struct hr_msg m = {0};
    m.u.list.from = from;
    m.u.list.max = max;
    heard.n_infos = 0;
    heard.n[HR_EV_SESSION_LIST_END] = 0;
    command(HR_CMD_SESSION_LIST, 9, m);
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_SESSION_LIST_END], 1);
    assert_int_equal(heard.last[HR_EV_SESSION_LIST_END].id, 9);
}

static void test_list_and_kill(void **state)
{
    list(0, 100);
    assert_int_equal(heard.n_infos, 0);
    for (int i = 0; i < PR_SESSIONS; i++) {
        pr_connect(&r, 5201);
        run(10 * PR_MS);
    }
    list(0, 100);
    assert_int_equal(heard.n_infos, PR_SESSIONS);
    assert_int_equal(heard.last[HR_EV_SESSION_LIST_END].u.list.from, 0);
    list(0, 3);
    assert_int_equal(heard.n_infos, 3);
    uint32_t from = heard.last[HR_EV_SESSION_LIST_END].u.list.from;
    assert_int_not_equal(from, 0);
    uint64_t id = heard.infos[2].id;
    list(from, 100);
    assert_int_equal(heard.n_infos, PR_SESSIONS - 3);
    assert_int_not_equal(heard.infos[0].id, id);

    command(HR_CMD_SESSION_KILL, id, (struct hr_msg){0});
    run(20 * PR_MS);
    assert_int_equal(heard.last[HR_EV_SESSION_KILLED].u.failed.failure, 0);
    command(HR_CMD_SESSION_KILL, id, (struct hr_msg){0});
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_SESSION_KILLED], 2);
    assert_int_equal(heard.last[HR_EV_SESSION_KILLED].u.failed.failure, 1);
    assert_int_equal(hr_proxy_sessions(r.proxy), PR_SESSIONS - 1);
    finish();
}

/* Several slots' worth of sessions in a large table: in steps, and complete. */
static void test_list_large(void **state)
{
    struct hr_proxy_config cfg = r.proxy->cfg;
    struct hr_proxy *small = r.proxy;
    cfg.max_sessions = 20000;
    assert_int_equal(hr_proxy_create(&cfg, r.now_us, &r.proxy), 0);
    hr_proxy_set_policy(r.proxy, r.policy);
    /* Places far apart are taken, as after much coming and going. */
    for (uint32_t i = 0; i < 60; i++)
        r.proxy->sessions[i * 333].state = HR_SESSION_RELAYING;
    hr_control_destroy(r.control);
    const struct hr_control_config control_cfg = {.worker_id = WORKER,
                                                  .socket_id = SOCKET_ID_ANY,
                                                  .region = region,
                                                  .doorbell_fd = ring_fd,
                                                  .bufs = &r.in.bufs,
                                                  .tcp = r.in.tcp,
                                                  .proxy = r.proxy,
                                                  .stats = &r.in.stats};
    assert_int_equal(hr_control_create(&control_cfg, &r.control), 0);
    relink(2);
    list(0, 1000);
    assert_int_equal(heard.n_infos, 60);
    assert_true(heard.n[HR_EV_SESSION_INFO] > 1);
    for (uint32_t i = 0; i < 60; i++) {
        assert_int_equal((uint32_t)heard.infos[i].id, i * 333);
        r.proxy->sessions[i * 333].state = HR_SESSION_FREE;
    }
    hr_control_destroy(r.control);
    r.control = NULL;
    hr_proxy_destroy(r.proxy);
    r.proxy = small;
    finish();
}

/* Another control plane: the connections of the first are reset, its messages mean nothing any more. */
static void test_relink(void **state)
{
    static uint8_t data[200000];
    open_conn(1, PR_TARGET_IP, 5201, 1000);
    run(20 * PR_MS);
    uint64_t conn = opened(1);
    struct pr_peer *target = pr_accepted_at(&r, PR_TARGET_IP), *client = pr_connect(&r, 5201);
    run(20 * PR_MS);
    pr_send(&r, target, data, sizeof(data));
    keep_slots = true;
    run(10 * PR_MS);
    open_conn(2, PR_TARGET_IP, 5201, 1000);
    relink(2);
    keep_slots = false;
    uint32_t before = heard.n_order;
    pr_run(&r, 20 * PR_MS);
    assert_true(target->failed);
    assert_false(client->failed || client->fin); /* sessions are not the control plane's */
    hear();
    assert_int_equal(heard.n_order, before);
    send_down(conn, "stale", 5);
    heard.n[HR_EV_CONN_OPENED] = 0;
    open_conn(3, PR_TARGET_IP, 5201, 1000);
    run(20 * PR_MS);
    assert_int_not_equal(opened(3), conn);
    heard.data.len = 0;
    pr_send(&r, pr_accepted_at(&r, PR_TARGET_IP), data, sizeof(data));
    run(PR_S);
    assert_int_equal(heard.data.len, sizeof(data)); /* all slots are there again */
    finish();
}

/* As many connections as there are places, then one more. */
static void test_many_connections(void **state)
{
    pr_host(&r, PR_TARGET_IP)->silent = true;
    for (int round = 0; round < 3; round++) {
        heard.n[HR_EV_CONN_FAILED] = 0;
        for (uint32_t i = 0; i < 150; i++) { /* the rig's TCP has 128 */
            open_conn(1000 + i, PR_TARGET_IP, 5201, 300);
            run(PR_MS);
        }
        run(400 * PR_MS);
        assert_int_equal(heard.n[HR_EV_CONN_FAILED], 150);
    }
    assert_int_equal(r.in.stats.gauges[HR_GAUGE_tcp_conns], 0);
    finish();
}

/* -- clients' connections that the control plane does a handshake on ------------------------------------------ */

static void need_handshakes(uint32_t max, uint32_t rate)
{
    struct hr_policy_listener *l = &pr_next_policy(&r)->listeners[0];
    l->tls = 1;
    l->handshake_timeout_ms = 2000;
    l->max_handshakes = max;
    l->handshake_rate = rate;
    pr_adopt(&r);
    hr_control_policy_changed(r.control);
}

/* What start_session() says beside its arguments. */
static struct hr_session_login start_login;
static uint32_t start_unread;
static bool start_plain;
static struct tp client_write, client_read; /* of the client whose session has been started */

static void start_session(uint64_t client, uint64_t broker, int32_t node_id, uint32_t client_skip, uint32_t broker_skip)
{
    struct hr_msg m = {0};
    uint8_t *data;
    assert_int_equal(hr_link_slot_alloc(&up, &m.u.start.slot, &data), 0);
    const struct hr_session_start start = {
        .client_tls = !start_plain,
        .client = tp_secrets(HR_TLS_1_3, HR_TLS_AES_128_GCM_SHA256, HR_TLS_SERVER, 7),
        .login = start_login,
    };
    memcpy(data, &start, sizeof(start));
    m.u.start.broker = broker;
    m.u.start.node_id = node_id;
    m.u.start.client_skip = client_skip;
    m.u.start.broker_skip = broker_skip;
    m.u.start.unread_len = start_unread;
    for (uint32_t i = 0; i * HR_SLOT_SIZE < start_unread; i++)
        assert_int_equal(hr_link_slot_alloc(&up, &m.u.start.unread[i], &data), 0);
    command(HR_CMD_SESSION_START, client, m);
    hr_link_slot_sent(&up, m.u.start.slot);
    for (uint32_t i = 0; i * HR_SLOT_SIZE < start_unread; i++)
        hr_link_slot_sent(&up, m.u.start.unread[i]);
}

/* The keys that it will be handed over with. */
static void client_keys(void)
{
    const struct hr_tls_secrets s = tp_secrets(HR_TLS_1_3, HR_TLS_AES_128_GCM_SHA256, HR_TLS_SERVER, 7);
    tp_init(&client_write, s.version, s.suite, &s.read);
    tp_init(&client_read, s.version, s.suite, &s.write);
}

static uint32_t send_record(struct pr_peer *client, const struct rf_bytes *b)
{
    uint8_t record[512];
    uint32_t n = tp_seal(&client_write, 23, b->p, b->len, 0, record);
    pr_send(&r, client, record, n);
    return n;
}

static const char request_body[] = "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}";

/* A load balancer's header is the worker's: the control plane hears who the client is, and sees what comes behind. */
static void test_handshake_behind_a_load_balancer(void **state)
{
    static const char header[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x05\xc8\x22\x23\x84";
    struct hr_addr client = hr_addr_from_v4(htonl(0xc0000207));
    need_handshakes(10, 1000);
    struct hr_policy *policy = pr_next_policy(&r);
    policy->listeners[0].n_trusted = 1;
    policy->listeners[0].trusted[0] = (struct hr_policy_trusted){hr_addr_from_v4(htonl(PR_CLIENT_IP)), 128};
    pr_adopt(&r);
    struct pr_peer *lb = pr_connect(&r, 9203);
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_ACCEPTED], 0);
    pr_send(&r, lb, header, sizeof(header) - 1);
    pr_send(&r, lb, "client hello", 12);
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_ACCEPTED], 1);
    const struct hr_msg m = heard.last[HR_EV_CONN_ACCEPTED];
    assert_memory_equal(&m.u.accepted.client, &client, sizeof(client));
    assert_int_equal(m.u.accepted.client_port, 51234);
    assert_int_equal(m.u.accepted.local_port, 9203);
    assert_int_equal(heard.data.len, 12);
    assert_memory_equal(heard.data.p, "client hello", 12);
    client_keys();
    start_session(m.id, 0, 3, 12, 0);
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_SESSION_STARTED], 1);
    struct hr_session_info info;
    uint32_t next;
    assert_int_equal(hr_proxy_list(r.proxy, 0, &info, 1, &next), 1);
    assert_memory_equal(&info.client, &client, sizeof(client));
    assert_int_equal(info.client_port, 51234);
    assert_int_equal(hr_addr_v4_be(&info.via), htonl(PR_CLIENT_IP));
    finish();
}

/* The bytes of a handshake stay with the control plane, what the client sends behind them is the session's. */
static void test_handshake_then_session(void **state)
{
    struct rf_bytes b = {0};
    need_handshakes(10, 1000);
    struct pr_peer *client = pr_connect(&r, 9203);
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_ACCEPTED], 1);
    const struct hr_msg m = heard.last[HR_EV_CONN_ACCEPTED];
    assert_int_equal(m.u.accepted.local_port, 9203);
    assert_int_equal(m.u.accepted.client_port, client->flow.local_port);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    pr_send(&r, client, "client hello", 12);
    run(20 * PR_MS);
    send_down(m.id, "server hello", 12);
    rf_request(&b, 12, 3, 1, request_body);
    pr_send(&r, client, "finished", 8);
    client_keys();
    uint32_t sealed = send_record(client, &b);
    run(20 * PR_MS);
    assert_int_equal(heard.data.len, 20 + sealed); /* all of it has been seen above */
    assert_int_equal(client->got.len, 12);
    assert_int_equal(pr_n_accepted(&r), 0);
    /* Whose login is another than the policy asks for does not get one. */
    struct pr_peer *other = pr_connect(&r, 9203);
    run(20 * PR_MS);
    pr_next_policy(&r)->listeners[0].login = 1;
    pr_adopt(&r);
    hr_control_policy_changed(r.control);
    start_session(heard.last[HR_EV_CONN_ACCEPTED].id, 0, 3, 0, 0);
    run(20 * PR_MS);
    assert_true(other->failed);
    start_login = (struct hr_session_login){.mechanism = 1, .terminates = 1, .expires_us = UINT64_MAX, .principal = "alice"};
    start_session(m.id, 0, 3, 20, 0);
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_SESSION_STARTED], 1);
    assert_int_equal(heard.last[HR_EV_SESSION_STARTED].id, m.id);
    assert_int_equal(hr_proxy_sessions(r.proxy), 1);
    struct hr_session_info info;
    uint32_t next;
    assert_int_equal(hr_proxy_list(r.proxy, 0, &info, 1, &next), 1);
    assert_memory_equal(&info.login, &start_login, sizeof(info.login));
    start_login = (struct hr_session_login){0};
    struct pr_peer *broker = pr_accepted_at(&r, PR_BROKER_IP(1));
    assert_int_equal(broker->got.len, b.len);
    assert_memory_equal(broker->got.p, b.p, b.len);
    /* It is nobody's of the control plane any more. */
    command(HR_CMD_CONN_ABORT, m.id, (struct hr_msg){0});
    relink(2);
    run(20 * PR_MS);
    assert_int_equal(hr_proxy_sessions(r.proxy), 1);
    assert_false(client->failed);
    rf_free(&b);
    finish();
}

/* Both legs come from above. */
static void test_both_legs_handed_over(void **state)
{
    struct rf_bytes b = {0};
    need_handshakes(10, 1000);
    struct pr_peer *client = pr_connect(&r, 9092);
    run(20 * PR_MS);
    const uint64_t id = heard.last[HR_EV_CONN_ACCEPTED].id;
    struct hr_msg m = {0};
    m.u.open.addr = hr_addr_from_v4(htonl(PR_BROKER_IP(2)));
    m.u.open.port = 9092;
    m.u.open.timeout_ms = 1000;
    m.u.open.hold = 1;
    command(HR_CMD_CONN_OPEN, 77, m);
    run(20 * PR_MS);
    const uint64_t broker_id = opened(77);
    struct pr_peer *broker = pr_accepted_at(&r, PR_BROKER_IP(2));
    pr_send(&r, broker, "tickets", 7);
    run(20 * PR_MS);
    /* One that is no client's cannot be the client, nor can one that has gone be the broker; more than was told
     * cannot be skipped. Each ends the connection that was to become a session. */
    start_session(broker_id, id, 5, 0, 0);
    run(20 * PR_MS);
    assert_int_equal(PR_DROPS(&r, handshake_refused), 1);
    assert_true(broker->failed);
    heard.n[HR_EV_CONN_OPENED] = 0;
    command(HR_CMD_CONN_OPEN, 78, m);
    run(20 * PR_MS);
    broker = pr_accepted_at(&r, PR_BROKER_IP(2));
    pr_send(&r, broker, "tickets", 7);
    rf_request(&b, 12, 3, 1, request_body);
    client_keys();
    send_record(client, &b);
    run(20 * PR_MS);
    start_session(id, opened(78), 5, 0, 7);
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_SESSION_STARTED], 1);
    assert_int_equal(broker->got.len, b.len);
    rf_free(&b);
    rf_response(&b, 12, 3, 1, "{'ThrottleTimeMs':0,'ErrorCode':0}");
    pr_send(&r, broker, b.p, b.len);
    run(20 * PR_MS);
    uint8_t type, content[TP_RECORD_MAX];
    uint32_t len;
    assert_int_equal(tp_open(&client_read, client->got.p, client->got.len, &type, content, &len), client->got.len);
    assert_int_equal(type, 23);
    assert_int_equal(len, b.len);
    assert_memory_equal(content, b.p, b.len);
    rf_free(&b);
    finish();
}

/* What a control plane may not say; slots come back all the same. */
static void test_starts_that_make_no_sense(void **state)
{
    (void)state;
    need_handshakes(10, 1000);
    for (unsigned i = 0; i < 2; i++) {
        struct pr_peer *client = pr_connect(&r, 9203);
        run(20 * PR_MS);
        uint32_t slots = up.n_tx_slot_free;
        start_plain = i == 0;
        start_unread = i == 0 ? 5000 : 0; /* of a client that speaks plain text */
        memset(start_login.principal, i == 1 ? 'x' : 0, sizeof(start_login.principal)); /* without an end */
        start_session(heard.last[HR_EV_CONN_ACCEPTED].id, 0, 3, 0, 0);
        run(20 * PR_MS);
        assert_int_equal(up.n_tx_slot_free, slots);
        assert_true(client->failed);
    }
    assert_int_equal(heard.n[HR_EV_SESSION_STARTED], 0);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    start_unread = 0;
    start_plain = false;
    memset(&start_login, 0, sizeof(start_login));
    finish();
}

static void test_handshakes_are_bounded(void **state)
{
    struct pr_peer *peers[6];
    need_handshakes(12, 1000); /* a quarter of them for one address */
    for (int i = 0; i < 4; i++)
        peers[i] = pr_connect(&r, 9092);
    run(50 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_ACCEPTED], 3);
    assert_int_equal(PR_DROPS(&r, handshake_limit), 1);
    assert_true(peers[0]->failed + peers[1]->failed + peers[2]->failed + peers[3]->failed == 1);
    /* Their time passes: the control plane has said nothing. */
    run(3500 * PR_MS);
    assert_int_equal(PR_DROPS(&r, handshake_timeout), 3);
    assert_int_equal(heard.n[HR_EV_CONN_FAILED], 3);
    for (int i = 0; i < 4; i++)
        assert_true(peers[i]->failed);
    /* What the source has at other workers counts, too. */
    need_handshakes(12, 1000);
    for (uint32_t i = 0; i < HR_RATE_CLIENTS; i++)
        r.counts[WORKER + 1].handshakes_from[i] = 3;
    peers[0] = pr_connect(&r, 9092);
    run(50 * PR_MS);
    assert_true(peers[0]->failed);
    assert_int_equal(PR_DROPS(&r, handshake_limit), 2);
    memset(r.counts[WORKER + 1].handshakes_from, 0, sizeof(r.counts->handshakes_from));
    /* Others have all places. */
    hr_proxy_set_handshakes(r.proxy, 0, 12);
    peers[0] = pr_connect(&r, 9092);
    run(50 * PR_MS);
    assert_true(peers[0]->failed);
    assert_int_equal(PR_DROPS(&r, handshake_limit), 3);
    /* There is room again, but one address gets a quarter of the rate only: 10 a second, the first tenth at once. */
    need_handshakes(1000, 40);
    for (int i = 0; i < 6; i++)
        peers[i] = pr_connect(&r, 9092);
    run(50 * PR_MS);
    assert_true(PR_DROPS(&r, handshake_rate) >= 3);
    assert_true(heard.n[HR_EV_CONN_ACCEPTED] > 3);
    finish();
}

/* Clients that come while no control plane reads wait for the next one; those that it knew end with it. */
static void test_handshakes_wait_for_a_control_plane(void **state)
{
    need_handshakes(100, 1000);
    struct pr_peer *known = pr_connect(&r, 9092);
    run(20 * PR_MS);
    hr_control_relink(r.control, 0);
    struct pr_peer *waits = pr_connect(&r, 9092);
    pr_run(&r, 500 * PR_MS);
    assert_true(known->failed);
    assert_true(waits->connected && !waits->failed);
    relink(3);
    heard.n[HR_EV_CONN_ACCEPTED] = 0;
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_ACCEPTED], 1);
    assert_in_range(heard.last[HR_EV_CONN_ACCEPTED].u.accepted.waited_ms, 450, 550);
    /* And not for ever. */
    hr_control_relink(r.control, 0);
    struct pr_peer *in_vain = pr_connect(&r, 9092);
    pr_run(&r, 2500 * PR_MS);
    assert_true(waits->failed);
    assert_true(in_vain->failed);
    assert_int_equal(PR_DROPS(&r, handshake_absent), 1);
    finish();
}

/* One client's largest login, or all of one source's, leave slots to others; what waits goes up as slots come back. */
static void test_a_login_does_not_take_all_slots(void **state)
{
    static uint8_t data[200000];
    struct pr_peer *clients[3];
    (void)state;
    need_handshakes(100, 1000);
    memset(data, 'x', sizeof(data));
    keep_slots = true;
    for (uint32_t i = 0; i < 3; i++) {
        clients[i] = pr_connect(&r, 9203);
        run(20 * PR_MS);
        pr_send(&r, clients[i], data, sizeof(data));
        run(PR_S / 2);
        assert_int_equal(heard.n[HR_EV_CONN_DATA], i == 0 ? HR_CONTROL_SLOTS_CONN : HR_CONTROL_SLOTS_SOURCE);
    }
    /* Metadata goes on, and so does a login in mid-session. */
    open_conn(1, PR_TARGET_IP, 5201, 1000);
    run(20 * PR_MS);
    pr_send(&r, pr_accepted_at(&r, PR_TARGET_IP), "answer", 6);
    run(20 * PR_MS);
    assert_int_equal(heard.n[HR_EV_CONN_DATA], HR_CONTROL_SLOTS_SOURCE + 1);
    uint32_t slot, n = 0;
    while (hr_control_slot_take(r.control, &slot)) {
        struct hr_msg m = {.type = HR_EV_SESSION_AUTH, .u.auth = {.slot = slot, .len = 1}};
        assert_true(hr_control_slot_send(r.control, &m));
        n++;
    }
    assert_int_equal(n, HR_CONTROL_SLOTS_AUTH);
    assert_true(r.control->link.n_tx_slot_free > 0);
    /* Who has gone has nobody's slots, and its place may be another's by the time that they come back. */
    pr_reset(&r, clients[0]);
    run(20 * PR_MS);
    command(HR_CMD_CONN_ABORT, heard.last[HR_EV_CONN_ACCEPTED].id, (struct hr_msg){0});
    run(20 * PR_MS);
    keep_slots = false;
    heard.data.len = 0;
    const uint8_t *p;
    for (uint32_t i = 0; i < HR_SLOTS; i++) {
        (void)!hr_link_slot_read(&up, i, 1, &p); /* where take() has not */
        (void)!hr_link_slot_done(&up, i, HR_CMD_SLOT_FREE);
    }
    run(PR_S);
    assert_true(heard.data.len > 0);
    assert_int_equal(r.control->slots_auth, 0);
    for (uint32_t i = 0; i < HR_RATE_CLIENTS; i++)
        assert_int_equal(r.control->slots_from[i], 0);
    assert_int_equal(r.control->link.n_tx_slot_free, HR_SLOTS);
    finish();
}

/* What is in the middle of its handshake when a drain begins does not become a session behind its back. */
static void test_no_session_begins_in_a_drain(void **state)
{
    (void)state;
    need_handshakes(10, 1000);
    struct pr_peer *client = pr_connect(&r, 9203);
    run(20 * PR_MS);
    hr_proxy_drain(r.proxy, r.now_us + 5 * PR_S);
    run(20 * PR_MS);
    start_session(heard.last[HR_EV_CONN_ACCEPTED].id, 0, 3, 0, 0);
    run(20 * PR_MS);
    assert_true(client->failed);
    assert_int_equal(heard.n[HR_EV_SESSION_STARTED], 0);
    assert_int_equal(PR_DROPS(&r, draining), 1);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    finish();
}

/* Each place is used by one connection, waits in the list once, and counts where it should. */
static void check_places(void)
{
    static bool waits[HR_CONTROL_MAX_CONNS];
    uint32_t n_handshakes = 0, of_sources = 0;
    memset(waits, 0, sizeof(waits));
    for (const struct hr_control_conn *c = r.control->waiting; c; c = c->next_waiting) {
        assert_true(c->waiting);
        assert_false(waits[c - r.control->conns]); /* or the list has a loop */
        waits[c - r.control->conns] = true;
    }
    for (uint32_t i = 0; i < HR_CONTROL_MAX_CONNS; i++) {
        const struct hr_control_conn *c = &r.control->conns[i];
        assert_int_equal(c->waiting, waits[i]);
        if (c->leg.conn)
            assert_ptr_equal(hr_tcp_user(c->leg.conn), &c->leg);
        assert_true(c->used || (!c->leg.conn && !c->handshake && c->owed == 0 && c->slots == 0));
        n_handshakes += c->handshake;
    }
    for (uint32_t i = 0; i < HR_RATE_CLIENTS; i++)
        of_sources += r.counts[WORKER].handshakes_from[i];
    assert_int_equal(r.control->n_handshakes_all, n_handshakes);
    assert_int_equal(of_sources, n_handshakes);
    assert_true(r.control->n_handshakes[0] <= n_handshakes);
}

static uint32_t dice;
static uint32_t roll(uint32_t n)
{
    dice = dice * 1664525u + 1013904223u;
    return (dice >> 8) % n;
}

/* Clients come, go, and become sessions, while the ring has no room for what is to be told of them most of the time. */
static void test_places_when_the_ring_is_full(void **state)
{
    for (uint32_t seed = 1; seed <= 12; seed++) {
        struct pr_peer *clients[40];
        uint32_t n = 0, n_opens = 0;
        dice = seed;
        need_handshakes(200, 100000);
        start_plain = false;
        for (uint32_t step = 0; step < 400; step++) {
            struct hr_msg pong = {.type = HR_EV_PONG};
            uint64_t id = heard.last[HR_EV_CONN_ACCEPTED].id;
            r.control->first_free_hint = 0; /* the place that was left last is taken next */
            switch (roll(8)) {
            case 0:
                if (n < 40)
                    clients[n++] = pr_connect(&r, 9203);
                break;
            case 1:
                if (n > 0 && clients[n - 1]->connected && clients[n - 1]->conn && !clients[n - 1]->fin)
                    pr_send(&r, clients[n - 1], "x", 1);
                break;
            case 2:
                if (n > 0 && clients[n - 1]->conn)
                    pr_reset(&r, clients[n - 1]);
                break;
            case 3:
                if (id)
                    start_session(id - roll(2), 0, 3, 0, 0); /* it, or its neighbour */
                break;
            case 4:
                if (id && roll(4) > 0) /* and another takes its place in the same breath */
                    command(HR_CMD_CONN_ABORT, id, (struct hr_msg){0});
                else
                    hr_control_policy_changed(r.control);
                if (roll(2) && n_opens < 20)
                    open_conn(5000 + n_opens++, PR_TARGET_IP, 5201, 100);
                break;
            case 5:
                if (roll(10) == 0)
                    relink(seed * 1000 + step + 2);
                break;
            case 6:
                while (r.control->linked && hr_link_send(&r.control->link, &pong) == 0)
                    ;
                break;
            case 7:
                if (roll(3) == 0)
                    hear();
                else
                    hear_some(1 + roll(4));
                break;
            }
            pr_run(&r, PR_MS);
            check_places();
            if (up.n_tx_slot_free < 8)
                hear();
        }
        hear();
        pr_run(&r, 4 * PR_S);
        hear();
        pr_run(&r, 4 * PR_S);
        check_places();
        assert_int_equal(r.control->n_handshakes_all, 0);
        assert_null(r.control->waiting);
        assert_int_equal(teardown(state), 0);
        assert_int_equal(setup(state), 0);
    }
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_open_and_data),
        T(test_zone_of_a_connection),
        T(test_failures),
        T(test_reset_and_abort),
        T(test_slots_exhausted),
        T(test_events_unread),
        T(test_adopt),
        T(test_list_and_kill),
        T(test_list_large),
        T(test_relink),
        T(test_many_connections),
        T(test_handshake_behind_a_load_balancer),
        T(test_handshake_then_session),
        T(test_both_legs_handed_over), T(test_starts_that_make_no_sense),
        T(test_handshakes_are_bounded),
        T(test_handshakes_wait_for_a_control_plane),
        T(test_a_login_does_not_take_all_slots),
        T(test_no_session_begins_in_a_drain),
        T(test_places_when_the_ring_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

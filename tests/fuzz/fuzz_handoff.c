/* A control plane that hands connections over as it likes: SESSION_START with any connection, any slot, any secrets, any
 * login and any bytes that came before. The input is the message's fields, then bytes that are laid over a start which
 * would be good. Whatever comes, slots come back wiped, no connection is lost and every buffer returns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/control/control.h"
#include "dataplane/proxy/proxy.h"
#include "shared/ipc/doorbell.h"
#include "shared/ipc/region_impl.h"
#include "shared/tls/start.h"
#include "tests/support/proxy_rig.h"
#include "tests/support/tls_peer.h"

#define WORKER 2 /* as in the rig */
#define MS     1000

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pr r;
static struct hr_region *region;
static int ring_fd, wait_fd;
static struct hr_link up; /* the control plane's end */
static uint64_t client_id, broker_id;
static uint32_t session;

#define check(ok) check_at((ok), __LINE__)
static void check_at(bool ok, int line)
{
    if (!ok && fprintf(stderr, "line %d\n", line) > 0)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint32_t lcores[HR_MAX_WORKERS];
    int memfd;

    (void)argc, (void)argv;
    check(hr_region_create(WORKER + 1, lcores, "fuzz", &memfd, &region) == 0);
    check(hr_doorbell_create(&ring_fd, &wait_fd) == 0);
    return 0;
}

static void run(uint32_t ms)
{
    struct hr_msg msgs[64];
    const uint8_t *text;
    int n;

    for (uint32_t i = 0; i < ms; i++) {
        pr_run(&r, MS);
        while ((n = hr_link_recv(&up, msgs, 64)) > 0) {
            for (int k = 0; k < n; k++) {
                if (msgs[k].type == HR_EV_CONN_ACCEPTED)
                    client_id = msgs[k].id;
                else if (msgs[k].type == HR_EV_CONN_OPENED)
                    broker_id = msgs[k].u.opened.conn;
                else if (msgs[k].type == HR_EV_SLOT_FREE)
                    (void)!hr_link_slot_returned(&up, msgs[k].u.data.slot); /* the input may have named another */
                else if (msgs[k].type == HR_EV_CONN_DATA &&
                         hr_link_slot_read(&up, msgs[k].u.data.slot, msgs[k].u.data.len, &text) == 0)
                    check(hr_link_slot_done(&up, msgs[k].u.data.slot, HR_CMD_SLOT_FREE) == 0);
            }
        }
        check(n == 0);
        hr_link_flush(&up);
    }
}

static void command(uint16_t type, uint64_t id, struct hr_msg m)
{
    m.type = type;
    m.id = id;
    check(hr_link_send(&up, &m) == 0);
}

static void open_rig(bool listener_tls, bool cluster_tls)
{
    pr_open(&r, NULL);
    struct hr_policy *policy = pr_next_policy(&r);
    policy->cluster_tls = cluster_tls;
    for (uint32_t i = 0; i < policy->n_listeners; i++) {
        struct hr_policy_listener *l = &policy->listeners[i];
        l->tls = listener_tls && l->mode == HR_LISTENER_KAFKA;
        l->handshake_timeout_ms = 2000;
        l->max_handshakes = l->handshake_rate = 100;
    }
    const struct hr_control_config cfg = {.worker_id = WORKER,
                                          .socket_id = SOCKET_ID_ANY,
                                          .region = region,
                                          .doorbell_fd = ring_fd,
                                          .bufs = &r.in.bufs,
                                          .tcp = r.in.tcp,
                                          .proxy = r.proxy,
                                          .stats = &r.in.stats};
    check(hr_control_create(&cfg, &r.control) == 0);
    session++;
    hr_control_relink(r.control, session);
    check(hr_link_init_control(&up, region, WORKER, session, -1) == 0);
    pr_adopt(&r);
    hr_control_policy_changed(r.control);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hr_msg m = {0};
    struct hr_session_start start = {0};
    uint32_t slot = 0;
    uint8_t *bytes = NULL;

    if (size < 16)
        return 0;
    bool client_tls = data[0] & 1, broker_tls = data[0] & 2;
    uint8_t version = data[0] & 4 ? HR_TLS_1_2 : HR_TLS_1_3;
    open_rig(client_tls, broker_tls);
    client_id = broker_id = 0;
    struct pr_peer *client = pr_connect(&r, data[0] & 8 ? 9203 : 9092);
    run(20);
    pr_send(&r, client, "a handshake and more", 20);
    if (broker_tls) {
        m.u.open.addr = hr_addr_from_v4(htonl(PR_BROKER_IP(1)));
        m.u.open.port = 9092;
        m.u.open.timeout_ms = 1000;
        m.u.open.hold = !(data[0] & 16);
        command(HR_CMD_CONN_OPEN, 77, m);
    }
    run(20);
    m = (struct hr_msg){0};
    m.u.start.broker = data[0] & 32 ? data[1] : broker_id;
    m.u.start.node_id = (int8_t)data[2];
    m.u.start.client_skip = data[3] % 32u;
    m.u.start.broker_skip = data[4] % 4u;
    m.u.start.unread_len = data[0] & 64 ? (uint32_t)data[5] << 8 | data[6] : 0;
    start.client_tls = client_tls;
    start.broker_tls = broker_tls;
    if (client_tls)
        start.client = tp_secrets(version, HR_TLS_AES_128_GCM_SHA256, HR_TLS_SERVER, 7);
    if (broker_tls)
        start.broker = tp_secrets(version, HR_TLS_AES_256_GCM_SHA384, HR_TLS_CLIENT, 8);
    size_t at = (size_t)(data[7] << 8 | data[8]) % sizeof(start), n = size - 16;
    memcpy((uint8_t *)&start + at, data + 16, n < sizeof(start) - at ? n : sizeof(start) - at);

    check(hr_link_slot_alloc(&up, &slot, &bytes) == 0);
    memcpy(bytes, &start, sizeof(start));
    m.u.start.slot = data[9] & 128 ? data[9] & 127 : slot;
    uint32_t unread[HR_UNREAD_SLOTS], n_unread = 0;
    for (; n_unread < HR_UNREAD_SLOTS && n_unread * HR_SLOT_SIZE < m.u.start.unread_len; n_unread++) {
        uint8_t *text;
        check(hr_link_slot_alloc(&up, &unread[n_unread], &text) == 0);
        memset(text, data[10], HR_SLOT_SIZE);
        m.u.start.unread[n_unread] = data[11] & 128 ? data[11] & 127 : unread[n_unread];
    }
    command(HR_CMD_SESSION_START, data[12] & 128 ? data[12] : client_id, m);
    hr_link_slot_sent(&up, slot);
    for (uint32_t i = 0; i < n_unread; i++)
        hr_link_slot_sent(&up, unread[i]);
    run(20);
    if (m.u.start.slot == slot && hr_proxy_sessions(r.proxy) > 0)
        for (size_t i = 0; i < sizeof(start); i++)
            check(bytes[i] == 0); /* nobody else can read it any more */
    check(hr_proxy_sessions(r.proxy) <= 1);
    if (!client->failed && client->conn)
        pr_send(&r, client, data, (uint32_t)(size < 600 ? size : 600));
    run(20);
    check(r.in.stats.counters[HR_CTR_payload_copied_bytes] == 0);
    check(pr_close(&r) == NULL);
    return 0;
}

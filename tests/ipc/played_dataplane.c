#include "tests/ipc/played_dataplane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/ipc/mock_broker.h"
#include "shared/base/clock.h"
#include "shared/config/config.h"
#include "shared/ipc/build_id.h"
#include "shared/tls/secrets.h"

struct played_dataplane dp;

static int on_relink(void *owner, uint32_t session)
{
    (void)owner;
    dp.n_in = 0;
    for (uint32_t w = 0; w < N_WORKERS; w++)
        assert_int_equal(hr_link_init_worker(&dp.links[w], dp.region, w, session,
                                             hr_attach_event_ring_fd(dp.attach),
                                             hr_region_stats(dp.region, w)),
                         0);
    return 0;
}

static int on_policy(void *owner, const struct hr_policy *policy)
{
    (void)owner;
    dp.policy = *policy;
    dp.policies++;
    for (uint32_t w = 0; w < N_WORKERS; w++)
        HR_GAUGE_SET(hr_region_stats(dp.region, w), policy_generation, policy->generation);
    return 0;
}

static const struct hr_attach_ops dp_ops = {
    .relink = on_relink, .policy = on_policy};

void send_event(uint32_t w, struct hr_msg *msg, const void *data, uint32_t len)
{
    if (data) {
        uint8_t *slot;

        assert_int_equal(hr_link_slot_alloc(&dp.links[w], &msg->u.data.slot, &slot), 0);
        memcpy(slot, data, len);
        msg->u.data.len = len;
    }
    assert_int_equal(hr_link_send(&dp.links[w], msg), 0);
    if (data)
        hr_link_slot_sent(&dp.links[w], msg->u.data.slot);
}

static void broker_bytes(uint32_t w, uint64_t conn)
{
    static uint8_t out[65536];
    uint32_t n_out, used;

    while (!dp.silent &&
           (used = mock_broker_answer(dp.in, dp.n_in, dp.n_brokers, "10.9.9.9", out, &n_out)) > 0) {
        memmove(dp.in, dp.in + used, dp.n_in - used);
        dp.n_in -= used;
        for (uint32_t at = 0; at < n_out; at += HR_SLOT_SIZE) {
            struct hr_msg msg = {.type = HR_EV_CONN_DATA, .id = conn};

            send_event(w, &msg, out + at, n_out - at < HR_SLOT_SIZE ? n_out - at : HR_SLOT_SIZE);
        }
    }
}

static void send_session(uint32_t w, uint64_t request)
{
    struct hr_session_info info = {.id = (uint64_t)w << 56 | 0x42,
                                   .client = hr_addr_from_v4(htonl(0x0a0000c8)),
                                   .client_port = 40000,
                                   .node_id = 2,
                                   .bytes_up = 1234,
                                   .last_api_key = 0,
                                   .state = 2,
                                   .mode = HR_LISTENER_KAFKA,
                                   .client_version = HR_TLS_1_3,
                                   .client_suite = HR_TLS_AES_128_GCM_SHA256,
                                   .asked_node_id = -1,
                                   .via = hr_addr_from_v4(htonl(0x0a0000fe)),
                                   .via_port = 7,
                                   .vpc_endpoint = "vpce-1",
                                   .login = {.principal = "CN=app,O=x",
                                             .identity_name = "team-a",
                                             .broker_mechanism = HR_CONFIG_MECH_AWS_MSK_IAM,
                                             .broker_due_us = hr_now_us() + 90 * HR_US_PER_S,
                                             .broker_expires_us = hr_now_us() + 100 * HR_US_PER_S},
                                   .client_id = "producer \"x\""};
    struct hr_msg msg = {.type = HR_EV_SESSION_INFO, .id = request};

    send_event(w, &msg, &info, sizeof(info));
    msg = (struct hr_msg){.type = HR_EV_SESSION_LIST_END, .id = request};
    send_event(w, &msg, NULL, 0);
}

static void worker_command(uint32_t w, const struct hr_msg *cmd)
{
    struct hr_msg msg = {.id = cmd->id};
    const uint8_t *data;

    switch (cmd->type) {
    case HR_CMD_CONN_OPEN:
        msg.type = HR_EV_CONN_OPENED;
        msg.u.opened.conn = ++dp.next_conn;
        dp.n_in = 0;
        send_event(w, &msg, NULL, 0);
        break;
    case HR_CMD_CONN_DATA:
        assert_int_equal(hr_link_slot_read(&dp.links[w], cmd->u.data.slot, cmd->u.data.len, &data), 0);
        assert_true(dp.n_in + cmd->u.data.len <= sizeof(dp.in));
        memcpy(dp.in + dp.n_in, data, cmd->u.data.len);
        dp.n_in += cmd->u.data.len;
        assert_int_equal(hr_link_slot_done(&dp.links[w], cmd->u.data.slot, HR_EV_SLOT_FREE), 0);
        broker_bytes(w, cmd->id);
        break;
    case HR_CMD_SLOT_FREE:
        assert_int_equal(hr_link_slot_returned(&dp.links[w], cmd->u.data.slot), 0);
        break;
    case HR_CMD_SESSION_LIST:
        send_session(w, cmd->id);
        break;
    case HR_CMD_SESSION_KILL:
        dp.killed = cmd->id;
        msg.type = HR_EV_SESSION_KILLED;
        msg.u.failed.failure = (cmd->id & 0xff) != 0x42;
        send_event(w, &msg, NULL, 0);
        break;
    case HR_CMD_PING:
        msg.type = HR_EV_PONG;
        send_event(w, &msg, NULL, 0);
        break;
    }
}

void dp_turn(void)
{
    if (!dp.attach)
        return;
    hr_attach_poll(dp.attach, 0);
    for (uint32_t w = 0; w < N_WORKERS && hr_attach_is_attached(dp.attach); w++) {
        struct hr_msg cmd;

        while (hr_link_recv(&dp.links[w], &cmd, 1) == 1)
            worker_command(w, &cmd);
        hr_link_flush(&dp.links[w]);
    }
}

void dp_start(const char *runtime_dir)
{
    static const uint32_t lcores[N_WORKERS] = {1, 2};
    struct hr_attach_config config = {.runtime_dir = runtime_dir,
                                      .socket_user = "",
                                      .n_workers = N_WORKERS,
                                      .build_id = hr_build_id,
                                      .ops = &dp_ops};

    memset(&dp, 0, sizeof(dp));
    dp.n_brokers = 3;
    assert_int_equal(hr_region_create(N_WORKERS, lcores, hr_build_id, &dp.memfd, &dp.region), 0);
    config.memfd = dp.memfd;
    config.region = dp.region;
    assert_int_equal(hr_attach_create(&config, &dp.attach), 0);
}

void dp_stop(void)
{
    hr_attach_destroy(dp.attach);
    hr_region_unmap(dp.region, hr_region_size(N_WORKERS));
    close(dp.memfd);
    dp.attach = NULL;
}

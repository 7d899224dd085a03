#include "controlplane/conn/mock_dataplane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

void mock_reset(struct mock_dataplane *mock)
{
    mock->session++;
    for (uint32_t w = 0; w < MOCK_WORKERS; w++) {
        assert_int_equal(hr_link_init_worker(&mock->worker[w], mock->region, w, mock->session, -1,
                                             hr_region_stats(mock->region, w)),
                         0);
        assert_int_equal(hr_link_init_control(&mock->control[w], mock->control_region, w, mock->session, -1),
                         0);
    }
}

void mock_open(struct mock_dataplane *mock)
{
    static const uint32_t lcores[MOCK_WORKERS] = {1, 2};

    memset(mock, 0, sizeof(*mock));
    assert_int_equal(hr_region_create(MOCK_WORKERS, lcores, "mock", &mock->memfd, &mock->region), 0);
    assert_int_equal(hr_region_map(mock->memfd, &mock->control_region, &mock->control_size), 0);
    mock_reset(mock);
}

void mock_close(struct mock_dataplane *mock)
{
    hr_region_unmap(mock->control_region, mock->control_size);
    hr_region_unmap(mock->region, hr_region_size(MOCK_WORKERS));
    close(mock->memfd);
}

struct hr_link *mock_link(void *arg, uint32_t worker)
{
    struct mock_dataplane *mock = arg;

    return worker < MOCK_WORKERS ? &mock->control[worker] : NULL;
}

struct hr_msg mock_command(struct mock_dataplane *mock, uint32_t worker)
{
    struct hr_msg msg = {0};

    for (;;) {
        int n = hr_link_recv(&mock->worker[worker], &msg, 1);

        assert_true(n >= 0);
        if (n == 0)
            return (struct hr_msg){0};
        if (msg.type != HR_CMD_SLOT_FREE)
            return msg;
        assert_int_equal(hr_link_slot_returned(&mock->worker[worker], msg.u.data.slot), 0);
    }
}

uint32_t mock_take_data(struct mock_dataplane *mock, uint32_t worker, const struct hr_msg *msg, uint8_t *buf)
{
    const uint8_t *data;

    assert_int_equal(hr_link_slot_read(&mock->worker[worker], msg->u.data.slot, msg->u.data.len, &data), 0);
    memcpy(buf, data, msg->u.data.len);
    assert_int_equal(hr_link_slot_done(&mock->worker[worker], msg->u.data.slot, HR_EV_SLOT_FREE), 0);
    return msg->u.data.len;
}

void mock_event(struct mock_dataplane *mock, uint32_t worker, struct hr_msg msg, const void *data,
                uint32_t len)
{
    if (data) {
        uint8_t *slot_data;

        assert_int_equal(hr_link_slot_alloc(&mock->worker[worker], &msg.u.data.slot, &slot_data), 0);
        memcpy(slot_data, data, len);
        msg.u.data.len = len;
    }
    assert_int_equal(hr_link_send(&mock->worker[worker], &msg), 0);
    if (data)
        hr_link_slot_sent(&mock->worker[worker], msg.u.data.slot);
}

/* A worker's end of the rings without a worker: what tests of the control plane talk to. It uses the real
 * region and the real links; the test reads commands and writes events. */
#pragma once

#include <stdint.h>

#include "shared/ipc/link.h"
#include "shared/ipc/messages.h"

#define MOCK_WORKERS 2

struct mock_dataplane {
    int memfd;
    struct hr_region *region;         /* the dataplane's mapping */
    struct hr_region *control_region; /* the control plane's */
    uint32_t control_size;
    struct hr_link worker[MOCK_WORKERS];
    struct hr_link control[MOCK_WORKERS];
    uint32_t session;
};

void mock_open(struct mock_dataplane *mock);
void mock_close(struct mock_dataplane *mock);
/* As after a restart of either side: a new session, empty rings, all slots free. */
void mock_reset(struct mock_dataplane *mock);
/* The control plane's links, for hr_conns_attached() and its like; arg is the mock. */
struct hr_link *mock_link(void *arg, uint32_t worker);

/* The next command that the worker gets; type 0 when there is none. */
struct hr_msg mock_command(struct mock_dataplane *mock, uint32_t worker);
/* Takes the bytes of a CONN_DATA command and gives the slot back. Returns the length. */
uint32_t mock_take_data(struct mock_dataplane *mock, uint32_t worker, const struct hr_msg *msg, uint8_t *buf);
/* Sends an event, with payload in a slot when data is not NULL. */
void mock_event(struct mock_dataplane *mock, uint32_t worker, struct hr_msg msg, const void *data,
                uint32_t len);

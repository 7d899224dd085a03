/* A dataplane without packets, for tests of the daemon: the real end of the attachment and real links, with
 * the workers and the brokers behind them played. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/control/attach.h"
#include "shared/ipc/link.h"
#include "shared/ipc/policy.h"

#define N_WORKERS 2

struct played_dataplane {
    int memfd;
    struct hr_region *region;
    struct hr_attach *attach;
    struct hr_link links[N_WORKERS];
    struct hr_policy policy; /* adopted */
    int policies;            /* how many were */
    bool silent;             /* brokers do not answer */
    int n_brokers;           /* that the brokers name */
    uint64_t next_conn;
    uint8_t in[65536];
    uint32_t n_in;
    uint64_t killed; /* session that SESSION_KILL named last */
};

extern struct played_dataplane dp;

void dp_start(const char *runtime_dir);
void dp_stop(void);
/* Does what is due; returns soon. */
void dp_turn(void);
/* Sends an event, with payload in a slot when data is not NULL. */
void send_event(uint32_t w, struct hr_msg *msg, const void *data, uint32_t len);

/* Clients' connections from being accepted by a worker to being a session of it: the TLS handshake with the client,
 * the broker's connection and its handshake where brokers speak TLS, and the command that hands both over.
 *
 *   accepted --> CLIENT --> BROKER --> STARTING --> (the worker's)
 *                   \___________\_________\--> LINGER: the alert leaves, then the connection
 *
 * Steps that a configuration does not need are left out. Workers bound how many there are and for how long
 * (dataplane/proxy/accept.c); the deadline is kept here, too, so that a client hears of it from TLS. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"
#include "shared/base/error.h"
#include "shared/ipc/policy.h"

struct hr_config;
struct hr_conns;
struct hr_handshakes;
struct hr_loop;
struct hr_tls_store;

/* Where a client's requests are to go. */
struct hr_handshake_broker {
    int32_t node_id;
    struct hr_addr addr;
    uint16_t port;
    char host[HR_POLICY_HOST_MAX]; /* as metadata calls it: what its certificate is for */
};

struct hr_handshake_ops {
    /* node_id -1: any. False: there is none that serves. */
    bool (*broker)(void *owner, int32_t node_id, struct hr_handshake_broker *ret_broker);
};

HR_MUST_CHECK int hr_handshakes_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_tls_store *store,
                                       const struct hr_handshake_ops *ops, void *owner,
                                       struct hr_handshakes **ret_handshakes);
void hr_handshakes_destroy(struct hr_handshakes *handshakes);
/* At start and after a reload; config is not kept. */
void hr_handshakes_configure(struct hr_handshakes *handshakes, const struct hr_config *config);

struct hr_handshakes_info {
    uint32_t under_way;
    uint64_t accepted, started, failed;
};
void hr_handshakes_get_info(const struct hr_handshakes *handshakes, struct hr_handshakes_info *ret_info);

/* Clients' connections from being accepted by a worker to being a session of it: the TLS handshake with the client, its
 * login, the broker's connection with its handshake, our login there, and the command that hands both over.
 *
 *   accepted --> CLIENT --> LOGIN --> BROKER --> BROKER_LOGIN --> STARTING --> (the worker's)
 *                   \____|    |  \________\___________\__________\--> LINGER: the last word leaves, then the connection
 *                             \--> REFUSING: the answer to a login that failed is held back --> LINGER
 *
 * Steps that a configuration does not need are left out. Where clients log in here, no broker hears of one that has not.
 * Workers bound how many there are and for how long (dataplane/proxy/accept.c); the deadline is kept here, too, so that a
 * client hears of it from TLS. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/auth/login.h"
#include "shared/base/addr.h"
#include "shared/base/error.h"
#include "shared/ipc/policy.h"

struct hr_config;
struct hr_conns;
struct hr_handshakes;
struct hr_identity;
struct hr_loop;
struct hr_realms;
struct hr_tls_store;

/* Where a client's requests are to go. */
struct hr_handshake_broker {
    int32_t node_id;
    struct hr_addr addr;
    uint16_t port;
    char host[HR_POLICY_HOST_MAX]; /* as metadata calls it: what its certificate is for */
};

struct hr_handshake_ops {
    /* node_id -1: any. NOT_FOUND: there is none that serves; AGAIN: none is known yet. */
    int (*broker)(void *owner, int32_t node_id, struct hr_handshake_broker *ret_broker);
    /* Who a client of that principal ("" unknown) is to the brokers, where its listener logs in to them: borrowed, NULL
     * with why when there is nobody. *ret_index: its place among the identities. */
    struct hr_identity *(*identity)(void *owner, const char *listener, const char *principal, uint16_t *ret_index,
                                    char why[HR_LOGIN_WHY_MAX]);
};

/* Why a client did not become a session although TLS, if any, was done: the reasons of its login
 * (controlplane/auth/sasl_server.h), in their order, and those behind it. X(name, text) */
#define HR_LOGIN_REASONS(X)                                                                                            \
    X(timeout, "it took too long")                                                                                     \
    X(closed, "the client closed the connection before its login was over")                                            \
    X(no_credentials, "there is nothing to log in to the brokers with")                                                \
    X(broker_refused, "the broker refused our login")                                                                  \
    X(broker_broken, "the broker did not answer our login as a broker does")                                           \
    X(internal, "out of memory, or another trouble of ours")

enum hr_login_reason {
    HR_LOGIN_REASON_NONE = 0,
    HR_LOGIN_REASON_OF_CLIENT = 32, /* above all of enum hr_sasl_reason */
#define X(name, text) HR_LOGIN_REASON_##name,
    HR_LOGIN_REASONS(X)
#undef X
        HR_LOGIN_REASON_MAX
};
/* "" for what is none. */
const char *hr_login_reason_name(unsigned reason);
const char *hr_login_reason_text(unsigned reason);

/* realms: of listeners that ask who their clients are. */
HR_MUST_CHECK int hr_handshakes_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_tls_store *store,
                                       struct hr_realms *realms, const struct hr_handshake_ops *ops, void *owner,
                                       struct hr_handshakes **ret_handshakes);
void hr_handshakes_destroy(struct hr_handshakes *handshakes);
/* At start and after a reload; config is not kept. The realms have it already. */
void hr_handshakes_configure(struct hr_handshakes *handshakes, const struct hr_config *config);
/* Ends all that this principal has under way; returns how many. */
uint32_t hr_handshakes_end_principal(struct hr_handshakes *handshakes, const char *principal);

struct hr_handshakes_info {
    uint32_t under_way;
    uint64_t accepted, started, failed;
    uint64_t logins[HR_MECHANISM_MAX];        /* of clients, by mechanism */
    uint64_t broker_logins[HR_MECHANISM_MAX]; /* of ours */
    uint64_t login_failed[HR_LOGIN_REASON_MAX];
    uint32_t paced_now;         /* clients that wait for their turn at a broker */
    uint64_t paced, paced_ms;   /* that have waited, and how long in all */
    uint64_t backed_off;        /* brokers that had too many connections: tried again */
};
void hr_handshakes_get_info(const struct hr_handshakes *handshakes, struct hr_handshakes_info *ret_info);

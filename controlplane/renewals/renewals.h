/* Logins in mid-session (KIP-368), the control plane's half: a worker says that a client has begun one, or that ours at a
 * broker is due, and who both are; frames go back and forth as SESSION_AUTH messages (dataplane/proxy/auth.c has the other
 * half). Nothing is known here of a session before that and after it.
 *
 * A client is judged by its listener's realm, and may be nobody else than before, by no other mechanism. To a broker we
 * are who we were: an identity that the configuration has changed meanwhile ends the session, whose broker would refuse
 * another. While there are no credentials, or no such broker, it is tried again; the session's requests go on until the
 * old login expires, and then wait. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/auth/login.h"
#include "shared/base/error.h"
#include "shared/ipc/policy.h"

struct hr_identity;
struct hr_link;
struct hr_loop;
struct hr_msg;
struct hr_realms;
struct hr_renewals;

#define HR_RENEWALS_MAX 16384 /* at once; a worker's session whose one finds no room is ended */

struct hr_renewal_ops {
    /* The broker's name, as it is dialled. False: it is not known now. */
    bool (*host)(void *owner, int32_t node_id, char host[HR_POLICY_HOST_MAX]);
    /* As struct hr_handshake_ops has it. */
    struct hr_identity *(*identity)(void *owner, const char *listener, const char *principal, uint16_t *ret_index,
                                    char why[HR_LOGIN_WHY_MAX]);
    /* The listener with that place in the policy, NULL: none. */
    const char *(*listener)(void *owner, uint16_t index);
};

HR_MUST_CHECK int hr_renewals_create(struct hr_loop *loop, struct hr_realms *realms, const struct hr_renewal_ops *ops,
                                     void *owner, struct hr_renewals **ret_renewals);
void hr_renewals_destroy(struct hr_renewals *renewals); /* NULL is allowed */
/* As hr_conns_attached() and hr_conns_detached(): what is under way ends with its dataplane. */
void hr_renewals_attached(struct hr_renewals *renewals, uint32_t n_workers,
                          struct hr_link *(*link)(void *arg, uint32_t worker), void *arg);
void hr_renewals_detached(struct hr_renewals *renewals);
/* A SESSION_AUTH or SESSION_AUTH_BEGIN event. INVALID when it makes no sense. */
HR_MUST_CHECK int hr_renewals_event(struct hr_renewals *renewals, uint32_t worker, const struct hr_msg *msg);

struct hr_renewals_info {
    uint32_t under_way;
    uint64_t clients, brokers;               /* that succeeded */
    uint64_t clients_failed, brokers_failed; /* each ended its session */
};
void hr_renewals_get_info(const struct hr_renewals *renewals, struct hr_renewals_info *ret_info);

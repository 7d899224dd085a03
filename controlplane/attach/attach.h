/* The control plane's end of the attachment to the dataplane.
 *
 * One object for the life of the process. It connects to the dataplane's socket, says hello, receives the
 * shared region and the doorbells, initialises one link per worker, and starts again whenever the dataplane
 * goes away. It keeps the newest policy that was published and hands it to every dataplane it attaches to,
 * so a caller publishes once and need not care whether somebody listens just now.
 *
 * Everything happens on the thread that calls hr_attach_client_poll(), never blocking. The callbacks come
 * from within that call; they may use links and publish, but must not destroy the client. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/ipc/link.h"
#include "shared/ipc/policy.h"
#include "shared/ipc/replicas.h"

struct hr_attach_client;

struct hr_attach_client_ops {
    /* Attached: region, workers and links are valid from now on, with a new session number. Whatever was
     * pending in an earlier session (requests, connections) is gone. */
    void (*attached)(void *owner);
    /* The dataplane went away; called while region and links are still mapped, which end on return. */
    void (*lost)(void *owner, const char *why);
    /* The dataplane refused us: another build's ABI, or another control plane is attached. Called once per
     * distinct reason; the client goes on trying. */
    void (*refused)(void *owner, const char *why);
    /* Every worker uses this generation. */
    void (*policy_ok)(void *owner, uint64_t generation);
    /* The dataplane's validation refused it; workers stay on what they had. */
    void (*policy_bad)(void *owner, uint64_t generation, const char *why);
};

/* socket_path is copied; ops and owner must outlive the client. Does not connect yet. */
HR_MUST_CHECK int hr_attach_client_create(const char *socket_path, const struct hr_attach_client_ops *ops,
                                          void *owner, struct hr_attach_client **ret_client);
void hr_attach_client_destroy(struct hr_attach_client *client);

/* For the caller's epoll (level-triggered): readable whenever hr_attach_client_poll() has something to do,
 * reconnect timer included. Never changes. */
int hr_attach_client_fd(const struct hr_attach_client *client);
/* Does what is due: connects, reads answers, calls back. */
void hr_attach_client_poll(struct hr_attach_client *client);

bool hr_attach_client_attached(const struct hr_attach_client *client);
/* NULL when not attached. */
struct hr_region *hr_attach_client_region(const struct hr_attach_client *client);
/* 0 when not attached. */
uint32_t hr_attach_client_workers(const struct hr_attach_client *client);
uint32_t hr_attach_client_session(const struct hr_attach_client *client);
/* The link to a worker; NULL when not attached or out of range. */
struct hr_link *hr_attach_client_link(struct hr_attach_client *client, uint32_t worker);

/* The doorbell that workers ring when they have sent events, for the caller's epoll: -1 when not attached, and
 * another one after each attach (add it in attached(), remove it in lost()). When it is readable: call
 * hr_doorbell_clear(), then receive from every link until it is empty and hr_link_sleep_begin() says so. */
int hr_attach_client_doorbell(const struct hr_attach_client *client);

/* Publishes a copy of *policy; generation must be higher than the last one. At most one generation is under
 * way, and only the newest of those that wait behind it is sent. INVALID (with *ret_why) when our own
 * hr_policy_validate() refuses it: nothing is sent. */
HR_MUST_CHECK int hr_attach_client_publish(struct hr_attach_client *client, const struct hr_policy *policy,
                                           const char **ret_why);
/* The same of a replica map, which the client gives the next generation; borrowed until the next call, which may change
 * it in place: it is copied only when it goes out. NULL: there is none any more. */
void hr_attach_client_publish_replicas(struct hr_attach_client *client, struct hr_replicas *map);
/* The generation that every worker uses, 0 if none in this session. */
uint64_t hr_attach_client_adopted(const struct hr_attach_client *client);

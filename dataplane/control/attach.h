/* The dataplane's end of the attachment of a control plane, on the main thread.
 *
 * A listening unix socket (SOCK_SEQPACKET, dataplane.sock in the runtime directory) accepts one control plane
 * at a time. Its life:
 *
 *   LISTENING -> HELLO arrived -> RELINKING (workers re-initialise their links) -> ATTACHED
 *
 * The socket is the liveness check: a peer that was killed has hung up, so its place is free at once. Policies
 * and replica maps are copied out of the shared region into private memory, validated there, and only then handed
 * on; while the workers adopt one, no further message is read, so the peer waits by itself.
 *
 * Nothing here blocks and nothing is trusted: region and messages are written by a process with fewer rights
 * than ours. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/ipc/link.h"
#include "shared/ipc/policy.h"
#include "shared/ipc/replicas.h"

struct hr_attach;

struct hr_attach_ops {
    /* Every worker shall call hr_link_init_worker() with this session between two batches. 0: done already;
     * HR_E_AGAIN: hr_attach_relinked() will say so; anything else refuses the control plane. */
    int (*relink)(void *owner, uint32_t session);
    /* A new policy, validated, in private memory that stays unchanged until the workers have left it, which is
     * when a later policy has been adopted. 0: every worker uses it already; HR_E_AGAIN: hr_attach_adopted()
     * will say so; anything else: the control plane is told that it was refused. */
    int (*policy)(void *owner, const struct hr_policy *policy);
    /* A control plane is attached (its pid, for the log), or is gone. May be NULL. */
    void (*attached)(void *owner, uint32_t session, int32_t pid);
    void (*detached)(void *owner, const char *why);
    /* As policy() does, with a replica map and hr_attach_replicas_adopted(). NULL: they are refused. */
    int (*replicas)(void *owner, const struct hr_replicas *map);
};

struct hr_attach_config {
    const char *runtime_dir; /* exists; dataplane.sock is made in it, a stale one removed */
    const char *socket_user; /* may connect besides us and root; "" = nobody else */
    int memfd;               /* of the region; stays the caller's */
    struct hr_region *region;
    uint32_t n_workers;
    const char *build_id;
    const struct hr_attach_ops *ops;
    void *owner;
};

/* Creates the socket and the doorbells. EXISTS when another dataplane listens on the socket; SYSTEM with errno;
 * NOT_FOUND when socket_user is unknown. Strings are copied, ops is borrowed. */
HR_MUST_CHECK int hr_attach_create(const struct hr_attach_config *config, struct hr_attach **ret_attach);
/* Closes everything and removes the socket. */
void hr_attach_destroy(struct hr_attach *attach);

/* For worker i, valid until destroy: the fd to sleep on (commands were written), and the fd that its link rings
 * (events were written), the same one for all workers. */
int hr_attach_worker_wait_fd(const struct hr_attach *attach, uint32_t worker);
int hr_attach_event_ring_fd(const struct hr_attach *attach);

/* For the caller's epoll, level-triggered; never changes. */
int hr_attach_fd(const struct hr_attach *attach);
/* Waits at most timeout_ms (0: not at all, -1: until something happens) and does what is due. */
void hr_attach_poll(struct hr_attach *attach, int timeout_ms);

/* The answers to ops that returned HR_E_AGAIN, from the main thread. Those of a session or generation that is
 * no longer awaited are ignored. */
void hr_attach_relinked(struct hr_attach *attach, uint32_t session);
void hr_attach_adopted(struct hr_attach *attach, uint64_t generation);
void hr_attach_replicas_adopted(struct hr_attach *attach, uint64_t generation);

bool hr_attach_is_attached(const struct hr_attach *attach);

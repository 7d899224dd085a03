/* A session: one client leg, one broker leg and sometimes a second one, and what stands between them.
 *
 * Private to dataplane/proxy. A session belongs to one worker and lives in a preallocated array; its id
 * (worker, generation, index) is what the control plane and headracectl name it by. Both legs' connections
 * point back to a struct hr_leg, the first member of which says what owns the connection. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/proxy/leg.h"
#include "dataplane/proxy/proxy.h"
#include "shared/base/addr.h"

struct hr_relay;
struct hr_tcp_conn;

/* X(name, meaning) */
#define HR_SESSION_STATES(X)                                                                                 \
    X(FREE, "in the free list")                                                                              \
    X(CONNECTING, "client leg accepted, broker leg being opened")                                            \
    X(RELAYING, "both legs are up")                                                                          \
    X(CLOSING, "a leg has ended; the other finishes what is queued")

enum hr_session_state {
#define X(name, text) HR_SESSION_##name,
    HR_SESSION_STATES(X)
#undef X
    HR_SESSION_STATE_MAX
};

#define HR_SESSION_MAX_TRIES 3 /* brokers tried for one bootstrap connection */

/* One for each session, idle or not: what is needed only while the broker leg is being opened shares its place
 * with what is needed only afterwards. */
struct hr_session {
    struct hr_leg client;
    struct hr_leg broker;
    struct hr_relay *relay; /* NULL for mode "tcp" */
    uint64_t last_active_us;
    uint64_t bytes_up, bytes_down;
    uint16_t listener;   /* index in the policy */
    uint8_t state;       /* enum hr_session_state */
    uint8_t mode;        /* enum hr_listener_mode */
    uint8_t tries;       /* brokers tried so far */
    bool client_fin : 1;     /* the client closed its half */
    bool broker_fin : 1;     /* the broker closed its half */
    bool client_failed : 1;  /* the leg is dead; what it had received is still being delivered */
    bool broker_failed : 1;
    bool client_shut : 1;    /* our FIN towards the client is queued */
    bool broker_shut : 1;    /* our FIN towards the broker is queued */
    bool in_run_list : 1;    /* bytes are left to move this turn */
    bool has_origin : 1;     /* who its client is has been told by a load balancer */
    bool stuck : 1;          /* bytes waited for something when it ran last: whatever happens may be that */

    int32_t node_id;     /* the broker of this session, also once a bootstrap session has chosen one */
    int32_t asked_node_id; /* as the client's port says: -1 on the bootstrap listener */
    uint32_t index;
    uint32_t generation;
    union {
        uint64_t connect_deadline_us; /* CONNECTING */
        uint64_t request_begun_us;    /* later: a request frame has been incomplete since; 0 = none */
    };
    union {
        int32_t tried[HR_SESSION_MAX_TRIES]; /* CONNECTING */
        struct { /* later */
            uint32_t requests_seen; /* by the relay, when request_begun_us was noted; its low half */
            uint32_t branch;        /* number in the proxy's table of second legs (branch.c), 0: none */
        };
    };
    uint32_t login; /* place in the worker's table of logins (logins.c); 0: nobody has logged in */
    uint64_t opened_us;
    struct hr_session *next; /* free list or run list */
};
_Static_assert(sizeof(struct hr_session) <= 128, "two cache lines");

/* A session's second broker leg: it answers fetches from the client's zone. */
struct hr_branch {
    struct hr_leg leg;
    struct hr_session *session; /* NULL: free */
    uint32_t next_free; /* number, 0: none */
    int32_t node_id;
    bool up;    /* connected */
    bool ended; /* by the peer, or failed; what it had sent may still be read */
    bool again; /* with the session's own broker: asked what a follower has not answered */
    uint64_t used_us;
};

/* Of its client or broker leg. */
static inline struct hr_session *hr_leg_session(struct hr_leg *leg)
{
    size_t at = leg->kind == HR_LEG_CLIENT ? offsetof(struct hr_session, client) : offsetof(struct hr_session, broker);
    return (struct hr_session *)(void *)((char *)leg - at);
}

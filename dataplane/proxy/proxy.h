/* Sessions: accepting clients, choosing brokers, moving bytes between the legs, ending well.
 *
 * One struct hr_proxy serves one worker. It is driven by the worker's turn: hr_proxy_on_syn() from TCP's
 * callback, hr_proxy_event() for each connection with news, hr_proxy_run() once per turn for sessions that
 * could not finish their work, hr_proxy_advance() for what depends on time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/tcp/tcp.h"
#include "shared/ipc/messages.h"
#include "shared/ipc/policy.h"

struct hr_proxy;
struct hr_leg;
struct hr_origin;
struct hr_relay_ctx;
struct hr_replicas;
struct hr_rec;
struct hr_tls_secrets;
struct hr_zone_stats;

/* Clients are told apart by a hash of their addresses, into so many. */
#define HR_RATE_CLIENTS 256

/* Sessions that one worker has open, for the others to read: limits hold over all workers. Written by its worker
 * alone. Relaxed, because a limit may be off by what happens elsewhere in the same moment. */
struct hr_open_counts {
    _Atomic uint32_t sessions;
    _Atomic uint32_t of_listener[HR_POLICY_MAX_LISTENERS]; /* by index in the worker's policy */
    _Atomic uint32_t handshakes[HR_POLICY_MAX_LISTENERS];  /* with the control plane; the same */
    _Atomic uint32_t handshakes_from[HR_RATE_CLIENTS];     /* by who the client is, hashed alike at all workers */
} __attribute__((aligned(64)));

struct hr_proxy_config {
    unsigned worker_id;
    uint32_t n_workers;
    struct hr_open_counts *counts; /* of all workers, by worker id; outlive the proxy */
    int socket_id;
    uint32_t max_sessions;
    uint32_t max_branches; /* second broker legs; 0: none */
    uint32_t max_logins; /* sessions with a login; 0: none has */
    bool proxy_protocol; /* a listener may stand behind load balancers that tell who their clients are */
    uint16_t source_port_min, source_port_max; /* this worker's share, inclusive */
    uint8_t port_key[16];      /* random per process: source ports, client addresses */
    uint32_t connect_rate;     /* opens towards brokers per second; 0: not limited */
    struct hr_tcp *tcp;
    struct hr_buf_ctx *bufs;
    struct hr_stats *stats;
    struct hr_zone_stats *zones;
    struct hr_relay_ctx *relays;
    struct hr_rec *rec; /* NULL: no leg speaks TLS */
    void *owner;
    /* The local addresses for an active open to remote, best first; returns how many, 0 without a route. */
    uint32_t (*source_addrs)(void *owner, const struct hr_addr *remote, struct hr_addr *ret_locals,
                             uint32_t max);
    /* Will answers to this flow reach this worker's queue, as far as that is known? NULL: any port will do. */
    bool (*arrives_here)(void *owner, const struct hr_flow *flow);
    /* A metadata hint for the control plane: something in the policy looks stale. */
    void (*hint)(void *owner, uint16_t listener, int32_t node_id);
    /* A client's connection that needs the control plane first: gives it, and returns the leg that it became; NULL:
     * no room, it is the caller's again. origin: NULL where nobody told. */
    struct hr_leg *(*hand_up)(void *owner, struct hr_tcp_conn *conn, uint16_t listener, const struct hr_origin *origin,
                              uint32_t source, uint32_t timeout_ms);
    /* A slot for bytes that go up with a message, NULL: none is free; and that message, which has the slot in u.data.
     * False: no room, the slot has been given back. */
    uint8_t *(*slot_take)(void *owner, uint32_t *ret_slot);
    bool (*slot_send)(void *owner, struct hr_msg *msg);
    /* An event for the log; msg->u.log is filled, the rest is the callee's. */
    void (*log)(void *owner, struct hr_msg *msg);
};

HR_MUST_CHECK int hr_proxy_create(const struct hr_proxy_config *cfg, uint64_t now_us, struct hr_proxy **ret_proxy);
void hr_proxy_destroy(struct hr_proxy *proxy);

/* The worker's private snapshot; valid until the next call. NULL before the first. */
void hr_proxy_set_policy(struct hr_proxy *proxy, const struct hr_policy *policy);

/* The worker's replica map; the same. */
void hr_proxy_set_replicas(struct hr_proxy *proxy, const struct hr_replicas *map);

/* Ends all sessions at their next frame boundary; those left at deadline_us are reset. New connections are
 * refused from now on. */
void hr_proxy_drain(struct hr_proxy *proxy, uint64_t deadline_us);
/* Resets all sessions, now. */
void hr_proxy_end_all(struct hr_proxy *proxy);
/* Sessions that are open now. */
uint32_t hr_proxy_sessions(const struct hr_proxy *proxy);

struct hr_tcp_accept hr_proxy_on_syn(struct hr_proxy *proxy, const struct hr_flow *flow);
/* conn has just been accepted and has no leg yet. Returns the leg it became, NULL when it was refused (conn
 * is gone then). */
struct hr_leg *hr_proxy_accepted(struct hr_proxy *proxy, struct hr_tcp_conn *conn, uint64_t now_us);
/* News of a leg of the kind PREFACE. Returns the leg that the connection is now, whose news the rest of events is; NULL:
 * it is gone. */
struct hr_leg *hr_proxy_preface(struct hr_proxy *proxy, struct hr_leg *leg, uint32_t events, uint64_t now_us);
/* News of one of a session's legs. */
void hr_proxy_event(struct hr_proxy *proxy, struct hr_leg *leg, uint32_t events, uint64_t now_us);
/* Continues sessions that were cut off by a bound; true if some are left. */
bool hr_proxy_run(struct hr_proxy *proxy, uint64_t now_us);
/* Timeouts, a bounded number of sessions per call; returns the time to be called again. */
uint64_t hr_proxy_advance(struct hr_proxy *proxy, uint64_t now_us);

/* A handshake that hand_up() took with this source is over, whatever became of it. */
void hr_proxy_handshake_over(struct hr_proxy *proxy, uint32_t source);
/* Handshakes under way on this worker, by listener, for the limit over all workers. */
void hr_proxy_set_handshakes(struct hr_proxy *proxy, uint32_t listener, uint32_t n);
/* The listener of a client's connection in the policy of now; HR_POLICY_MAX_LISTENERS: none any more. */
uint32_t hr_proxy_listener_of(const struct hr_proxy *proxy, const struct hr_tcp_conn *conn);

/* The zone of a host that is no client: a broker's, or its network's. */
uint8_t hr_proxy_zone_of(const struct hr_proxy *proxy, const struct hr_addr *addr);

/* Opens a connection from one of this worker's source ports. NOT_FOUND: no route; FULL: ports exhausted; NOMEM:
 * the connection table is full. */
HR_MUST_CHECK int hr_proxy_connect(struct hr_proxy *proxy, const struct hr_addr *remote, uint16_t port,
                                   uint32_t timeout_us, struct hr_tcp_conn **ret_conn);

/* Describes up to max sessions from index from on; *ret_next is where to continue, 0 when complete. Looks at a
 * bounded number of places in the table, so it may return 0 before the end. Returns how many were written. */
uint32_t hr_proxy_list(const struct hr_proxy *proxy, uint32_t from, struct hr_session_info *infos, uint32_t max,
                       uint32_t *ret_next);
/* Ends a session now (reset both ways). NOT_FOUND when it is gone. */
HR_MUST_CHECK int hr_proxy_kill(struct hr_proxy *proxy, uint64_t session_id);
/* What becomes a leg of a session: a connection that somebody else has had until now. */
struct hr_join_leg {
    struct hr_tcp_conn *conn;
    const struct hr_tls_secrets *secrets; /* NULL: plain text; else the record layer begins with them */
    uint32_t skip;                        /* bytes at the front of its receive queue that have been dealt with */
    bool fin;                             /* the event FIN has been seen */
    const struct hr_origin *origin;       /* of the client; NULL: nobody told, it is the connection's peer */
    struct hr_pieceq *unread;             /* with secrets: plain text that comes before what is received; NULL: none */
};
/* Makes a session of a client's connection and a broker's, with the frame boundary of both behind what is skipped.
 * broker.conn NULL: it is opened here, as plain text, to node_id (-1: to any). What is skipped of a plaintext leg is
 * wiped: it may be a login. login: NULL where there was none. The connections have no owner at this moment; on failure
 * they have none still: INVALID: no such listener, bad secrets, or a leg that speaks TLS where the policy of now wants
 * plain text, or the other way round; FULL: a limit is reached, counted. Success may mean that the session has ended
 * already. */
struct hr_session_login;
HR_MUST_CHECK int hr_proxy_join(struct hr_proxy *proxy, uint32_t listener, int32_t node_id,
                                const struct hr_join_leg *client, const struct hr_join_leg *broker,
                                const struct hr_session_login *login, uint64_t now_us, uint64_t *ret_session_id);

/* A command SESSION_AUTH with its bytes, which are borrowed. INVALID: it makes no sense. */
HR_MUST_CHECK int hr_proxy_auth(struct hr_proxy *proxy, const struct hr_msg *msg, const uint8_t *data, uint64_t now_us);
/* Another control plane will be there: what the last one had begun is over, what is due is said again. */
void hr_proxy_auth_restart(struct hr_proxy *proxy);

/* Takes the client leg out of a session and closes the rest of it. NOT_FOUND, or BUSY when a request is
 * partly forwarded or unanswered. The connection's user pointer is NULL afterwards. */
HR_MUST_CHECK int hr_proxy_detach_client(struct hr_proxy *proxy, uint64_t session_id,
                                         struct hr_tcp_conn **ret_conn);

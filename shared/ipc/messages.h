/* The ABI between the dataplane and the control plane: what lies in the shared region, what travels in the
 * rings and over the attach socket. Changing anything here means raising HR_IPC_ABI.
 *
 *   region (sealed-size memfd, owned by the dataplane)
 *     struct hr_region             head: magic, ABI, geometry
 *     per worker: struct hr_stats  counters, written by the worker
 *     per worker: struct hr_zone_stats  bytes by zone, likewise
 *     per worker: struct hr_sleep  which reader waits for its doorbell
 *     per worker: commands ring    control plane -> worker, struct hr_msg elements
 *     per worker: events ring      worker -> control plane
 *     per worker: command slots, event slots   payload that rides along, HR_SLOT_SIZE each
 *     HR_POLICY_SLOTS x struct hr_policy        written by the control plane, copied out by the dataplane
 *     HR_POLICY_SLOTS x struct hr_replicas      the same
 *
 * Both sides treat the region as hostile: a message is copied out, validated, then used; ring geometry is
 * checked against private copies; slot numbers are checked against ownership. Offsets, never pointers. */
#pragma once

#include <stdint.h>

#include "shared/base/addr.h"
#include "shared/ipc/login.h"

#define HR_IPC_MAGIC 0x48524950u /* "HRIP" */
#define HR_IPC_ABI 4
#define HR_RING_SIZE 1024 /* messages; more than all slots of both directions, so slot returns always fit */
#define HR_SLOTS 128      /* per worker and direction */
#define HR_SLOT_SIZE 4096
#define HR_POLICY_SLOTS 2
#define HR_UNREAD_SLOTS 4 /* of SESSION_START: the plain text of one TLS record */
#define HR_MAX_WORKERS 32
#define HR_BUILD_ID_MAX 48
#define HR_VPC_ENDPOINT_MAX 32 /* "vpce-" and 17 digits, the NUL included */

/* Commands, control plane -> worker. X(name, meaning) */
#define HR_COMMANDS(X)                                                                                       \
    X(CONN_OPEN, "open a control-owned connection to u.open.addr:port; answered CONN_OPENED or CONN_FAILED. " \
                 "u.open.hold: its bytes are told but kept, for SESSION_START")                              \
    X(CONN_ADOPT, "hand the client leg of session `id` to the control plane; its broker leg is closed")      \
    X(CONN_DATA, "send u.data.len bytes of command slot u.data.slot on connection `id`")                     \
    X(CONN_SHUTDOWN, "FIN after what was queued on connection `id`")                                         \
    X(CONN_ABORT, "RST connection `id`; no further event for it")                                            \
    X(SLOT_FREE, "event slot u.data.slot has been read")                                                     \
    X(SESSION_LIST, "describe sessions from index u.list.from on, at most u.list.max; request `id`")         \
    X(SESSION_START, "make a session of the client's connection `id` and the broker's u.start.broker: both " \
                     "held, the first bytes skipped; secrets in command slot u.start.slot, struct "          \
                     "hr_session_start; what the client has sent behind its login and the control plane has decrypted, in " \
                     "u.start.unread. Answered SESSION_STARTED or CONN_FAILED")                              \
    X(SESSION_KILL, "end session `id`; answered SESSION_KILLED")                                             \
    X(SESSION_AUTH, "for a login in mid-session of leg u.auth.leg of session `id`: u.auth.len bytes of the answer to the " \
                    "client's frame, or of the next frame to the broker, are in command slot u.auth.slot; wiped")               \
    X(PING, "answered PONG with the same `id`")

/* Events, worker -> control plane. X(name, meaning) */
#define HR_EVENTS(X)                                                                                         \
    X(CONN_OPENED, "request `id` has become connection u.opened.conn")                                       \
    X(CONN_FAILED, "request or connection `id` failed: u.failed.failure, enum hr_tcp_failure as text index") \
    X(CONN_ACCEPTED, "a client's connection `id` waits for the control plane's handshake: u.accepted; held")  \
    X(CONN_DATA, "u.data.len bytes of connection `id` are in event slot u.data.slot")                        \
    X(CONN_EOF, "the peer of connection `id` closed its half")                                               \
    X(CONN_CLOSED, "connection `id` is gone")                                                                \
    X(SLOT_FREE, "command slot u.data.slot has been read")                                                   \
    X(SESSION_INFO, "event slot u.data.slot holds u.data.len bytes of struct hr_session_info; request `id`") \
    X(SESSION_LIST_END, "no more for request `id`; u.list.from is where to continue, 0 = complete")          \
    X(SESSION_STARTED, "connection `id`, and the broker's with it, have become a session")                   \
    X(SESSION_KILLED, "session `id` ended, u.failed.failure 0, or was not found, 1")                         \
    X(SESSION_AUTH_BEGIN, "leg u.auth.leg of session `id` has to log in again: the client has begun to, or the "  \
                          "broker wants it; event slot u.auth.slot holds struct hr_session_auth_begin")      \
    X(SESSION_AUTH, "u.auth.len bytes of the client's SASL frame, or of the broker's answer to ours, are in "  \
                    "event slot u.auth.slot; u.auth.more: they go on")                                      \
    X(HINT, "metadata looks stale: a broker answered NOT_LEADER, or a node id is unknown")                   \
    X(LOG, "a worker's log event: u.log")                                                                    \
    X(PONG, "answer to PING `id`")

enum hr_msg_type {
    HR_MSG_NONE = 0,
#define X(name, ...) HR_CMD_##name,
    HR_COMMANDS(X)
#undef X
    HR_CMD_MAX,
    HR_EV_FIRST = 64,
#define X(name, ...) HR_EV_##name,
    HR_EVENTS(X)
#undef X
    HR_EV_MAX
};

/* X(name): the legs of a session, in messages about logins in mid-session */
#define HR_AUTH_LEGS(X) X(CLIENT) X(BROKER)

enum hr_auth_leg {
#define X(name) HR_AUTH_LEG_##name,
    HR_AUTH_LEGS(X)
#undef X
    HR_AUTH_LEG_MAX
};

/* What a command of type SESSION_AUTH means for the login. X(name, meaning) */
#define HR_AUTH_OVERS(X)                                                                                     \
    X(NEXT, "it goes on: with the client's next frame, with the broker's answer to this one")                \
    X(DONE, "it has succeeded; for the client with this answer, for the broker without a frame")             \
    X(FAILED, "the session ends, for the client behind this answer if there is one")

enum hr_auth_over {
#define X(name, meaning) HR_AUTH_##name,
    HR_AUTH_OVERS(X)
#undef X
    HR_AUTH_OVER_MAX
};

/* What workers log; formatted by the control plane. X(name, level, format) with arguments as %u/%s
 * placeholders documented in the text: {a} {b} numbers, {addr}, {port}, {node}, {reason}. */
#define HR_LOG_EVENTS(X)                                                                                     \
    X(SESSION_OPEN_FAILED, HR_LOG_WARN, "session from {addr}:{port} to node {node} not opened: {reason}")    \
    X(SESSION_CLOSED, HR_LOG_DEBUG, "session of {addr}:{port} with node {node} closed: {reason}")            \
    X(BAD_INPUT, HR_LOG_WARN, "session of {addr}:{port} with node {node} closed: {reason}, api {a} version {b}") \
    X(ORIGIN_BAD, HR_LOG_WARN, "connection from load balancer {addr}:{port} refused: {reason}")              \
    X(POOL_LOW, HR_LOG_WARN, "packet buffers are short: {a} of {b} free")                                    \
    X(ADDR_DUPLICATE, HR_LOG_ERROR, "address {addr} is in use by another host: not used here until a restart") \
    X(DRAIN_DONE, HR_LOG_INFO, "drain complete, {a} sessions ended at their deadline")

enum hr_log_event {
    HR_LOGEV_NONE = 0,
#define X(name, ...) HR_LOGEV_##name,
    HR_LOG_EVENTS(X)
#undef X
    HR_LOGEV_MAX
};

/* One ring element: two cache lines, a multiple of 4 as rte_ring wants. */
struct hr_msg {
    uint16_t type;    /* enum hr_msg_type */
    uint16_t reserved;
    uint32_t session; /* attach number: a message of another attach is dropped and counted */
    uint64_t id;      /* connection, session or request, by type; the sender of a request chooses it */
    union {
        struct {
            struct hr_addr addr;
            uint16_t port;
            uint16_t hold; /* 0 or 1 */
            uint32_t timeout_ms;
        } open;
        struct {
            struct hr_addr client, local;
            uint16_t client_port, local_port;
            uint32_t waited_ms; /* since it was accepted, while no control plane was there */
        } accepted;
        struct {
            uint64_t broker;   /* connection, 0: the worker opens it */
            int32_t node_id;   /* that the client asked for, -1: any */
            uint32_t client_skip, broker_skip; /* bytes of the peers that the control plane has used up */
            uint32_t slot;
            uint32_t unread_len;              /* plain text of a client that speaks TLS: it comes first */
            uint32_t unread[HR_UNREAD_SLOTS]; /* slots that hold it, each but the last one full */
        } start;
        struct {
            uint64_t conn;
            uint16_t local_port;
        } opened;
        struct {
            uint32_t failure;
        } failed;
        struct {
            uint32_t slot;
            uint32_t len; /* <= HR_SLOT_SIZE */
        } data;
        struct {
            uint32_t slot, len; /* as in data */
            uint8_t leg;        /* enum hr_auth_leg */
            uint8_t more;       /* 0 or 1: the frame goes on in the next message */
            uint8_t over;       /* commands: enum hr_auth_over */
            uint8_t reserved[5];
            uint64_t due_us, expires_us; /* of a login that is DONE, as in struct hr_session_login */
        } auth;
        struct {
            uint32_t from;
            uint32_t max;
        } list;
        struct {
            int32_t node_id;
            uint16_t listener;
        } hint;
        struct {
            uint16_t event;  /* enum hr_log_event */
            uint16_t reason; /* enum hr_drop */
            int32_t node_id;
            struct hr_addr addr;
            uint16_t port;
            uint64_t a, b;
        } log;
        uint8_t raw[112];
    } u;
};
_Static_assert(sizeof(struct hr_msg) == 128, "two cache lines");

/* A session as headracectl shows it; several per slot. */
struct hr_session_info {
    uint64_t id; /* worker in the top byte, then a generation, then the index */
    struct hr_addr client;
    struct hr_addr broker;
    uint16_t client_port;
    uint16_t broker_port;
    uint16_t local_port; /* the listener port the client used */
    uint16_t listener;   /* index in the policy */
    struct hr_addr via;  /* the load balancer that told of the client; any: none, the client itself is connected */
    uint16_t via_port;
    uint8_t client_version, client_suite, broker_version, broker_suite; /* enum hr_tls_version, hr_tls_suite; 0: plain */
    int32_t node_id;
    int32_t asked_node_id; /* by the client, by its port or the name it used; -1: any */
    uint32_t in_flight;
    uint64_t opened_us, last_active_us; /* the dataplane's clock: CLOCK_MONOTONIC */
    uint64_t bytes_up, bytes_down;
    uint64_t requests, responses;
    uint32_t client_srtt_us, broker_srtt_us;
    uint32_t bufs_held;
    int16_t last_api_key;
    uint8_t state; /* enum hr_session_state, dataplane/proxy */
    uint8_t mode;  /* enum hr_listener_mode */
    char client_id[48];
    char vpc_endpoint[HR_VPC_ENDPOINT_MAX]; /* AWS PrivateLink's, through which the client came; "": none */
    struct hr_session_login login;
};

/* What the slot of a SESSION_AUTH_BEGIN event holds. */
struct hr_session_auth_begin {
    struct hr_session_login login;
    struct hr_addr client;
    int32_t node_id;
    uint16_t client_port;
    uint16_t listener; /* index in the policy */
};

/* Whether the reader of a ring sleeps, so that its writer must ring; on cache lines of their own. Set by the
 * reader, cleared by either side (link.c says with which memory order). */
struct hr_sleep {
    uint32_t commands __attribute__((aligned(64))); /* the worker */
    uint32_t events __attribute__((aligned(64)));   /* the control plane */
};

struct hr_region {
    uint32_t magic;
    uint32_t abi;
    uint32_t n_workers;
    uint32_t total_size;
    uint64_t started_us;
    char build_id[HR_BUILD_ID_MAX];
    struct {
        /* Byte offsets from the region's start. For people and debuggers: each side computes its own. */
        uint32_t stats, zones, sleeping, commands, events, command_slots, event_slots;
        uint32_t lcore;
    } worker[HR_MAX_WORKERS];
    uint32_t policy[HR_POLICY_SLOTS]; /* byte offsets */
    uint32_t replicas[HR_POLICY_SLOTS];
};

/* Attach socket (SOCK_SEQPACKET, /run/headrace/dataplane.sock), control plane <-> dataplane main thread.
 * X(name, meaning) */
#define HR_ATTACH_MSGS(X)                                                                                    \
    X(HELLO, "control plane: abi, build id")                                                                 \
    X(WELCOME, "dataplane: abi, build id, session; carries the memfd, then one doorbell per worker (to ring " \
               "when a command was written), then the doorbell that workers ring (events), by SCM_RIGHTS")   \
    X(REFUSED, "dataplane: why (version mismatch, another control plane is attached)")                       \
    X(POLICY, "control plane: slot u.policy.slot holds generation u.policy.generation")                      \
    X(POLICY_OK, "dataplane: every worker uses that generation; its slot may be reused")                     \
    X(POLICY_BAD, "dataplane: refused, text says why; nothing changed")                                      \
    X(REPLICAS, "control plane: slot u.policy.slot holds a replica map of generation u.policy.generation")   \
    X(REPLICAS_OK, "dataplane: every worker uses that generation; its slot may be reused")                   \
    X(REPLICAS_BAD, "dataplane: refused, text says why; nothing changed")

enum hr_attach_type {
    HR_ATTACH_NONE = 0,
#define X(name, ...) HR_ATTACH_##name,
    HR_ATTACH_MSGS(X)
#undef X
    HR_ATTACH_MAX
};

struct hr_attach_msg {
    uint32_t magic;
    uint16_t type;
    uint16_t reserved;
    uint32_t abi;
    uint32_t session;
    uint64_t generation;
    uint32_t slot;
    uint32_t region_size;
    char build_id[HR_BUILD_ID_MAX];
    char text[160]; /* NUL-terminated */
};

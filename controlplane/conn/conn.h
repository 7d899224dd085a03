/* Control-owned connections: TCP connections that a worker holds and the control plane speaks on.
 *
 * This is the only way in which the control plane talks to brokers: it opens no kernel socket towards them,
 * so it needs no route of its own and sees the network exactly as the proxied traffic does. A connection is
 * a stream with callbacks; bytes travel in payload slots beside the rings (shared/ipc/messages.h).
 *
 * Ownership: hr_conn_open() gives the caller a connection. It stays valid until the caller calls
 * hr_conn_release(), which also resets it when it still lives; after the `closed` callback releasing is all
 * that is left to do. Releasing inside any callback of the connection is allowed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"
#include "shared/base/error.h"

struct hr_conn;
struct hr_conns;
struct hr_link;
struct hr_loop;
struct hr_msg;

#define HR_CONN_MAX       8192 /* connections at once, released ones that await an answer included */
#define HR_CONN_QUEUE_MAX (1024u * 1024) /* bytes queued for sending, per connection */

struct hr_conn_ops {
    void (*opened)(void *owner);
    /* data is valid until return. */
    void (*data)(void *owner, const uint8_t *data, uint32_t len);
    /* The peer closed its half; sending is still possible. */
    void (*eof)(void *owner);
    /* The end, called once: CLOSED, REFUSED, TIMEOUT, ... and a text. Not called for what the owner releases.
     */
    void (*closed)(void *owner, int err, const char *why);
    /* It has become a session: only releasing is left. NULL where hr_conn_start_session() is never called. */
    void (*started)(void *owner);
};

/* A client's connection that a worker accepted for us to do the handshake. */
struct hr_conn_accepted {
    struct hr_addr client, local;
    uint16_t client_port, local_port;
    uint32_t waited_ms; /* until we came to be there */
};

/* The worker chosen is the next in turn. timeout_ms: until opened. AGAIN: no dataplane is attached; FULL: too
 * many. The callbacks never come from within this call. */
HR_MUST_CHECK int hr_conn_open(struct hr_conns *conns, const struct hr_addr *addr, uint16_t port,
                               uint32_t timeout_ms, const struct hr_conn_ops *ops, void *owner,
                               struct hr_conn **ret_conn);
/* The same on the worker of another connection, and held: its bytes stay with the worker as well, so that the two can
 * become a session (hr_conn_start_session). */
HR_MUST_CHECK int hr_conn_open_beside(struct hr_conn *beside, const struct hr_addr *addr, uint16_t port,
                                      uint32_t timeout_ms, const struct hr_conn_ops *ops, void *owner,
                                      struct hr_conn **ret_conn);
/* Queues a copy. FULL when the queue has no room for all of it; CLOSED after shutdown or the end. */
HR_MUST_CHECK int hr_conn_send(struct hr_conn *conn, const void *data, uint32_t len);
/* FIN after what is queued. */
void hr_conn_shutdown(struct hr_conn *conn);
/* What becomes of a client's connection, all of it borrowed for the call. skip: bytes of the peer that were used up.
 * secrets: NULL for a plaintext leg; they are copied into the slot that the worker wipes, and nowhere else. */
#define HR_CONN_UNREAD_MAX 16384 /* the plain text of one TLS record (RFC 8446 5.1) */
struct hr_session_login;
struct hr_tls_secrets;
struct hr_conn_start {
    uint32_t client_skip, broker_skip;
    const struct hr_tls_secrets *client_secrets, *broker_secrets;
    const uint8_t *unread; /* decrypted bytes of the client that belong to the session: it comes first */
    uint32_t unread_len;   /* at most HR_CONN_UNREAD_MAX, and 0 without client_secrets */
    struct hr_conn *broker; /* NULL: the worker opens it */
    int32_t node_id;        /* that the broker is, or that is asked for; -1: any */
    const struct hr_session_login *login; /* NULL: nobody has logged in */
};
/* The worker makes a session of it, behind what is queued for sending on either. 0: the command is under way;
 * `started` or `closed` follows for the client's connection, and the broker's needs no more than its release. AGAIN: no
 * room in the ring now, or bytes are still queued: try again. */
HR_MUST_CHECK int hr_conn_start_session(struct hr_conn *client, const struct hr_conn_start *how);
/* The owner is done with it; NULL is allowed. */
void hr_conn_release(struct hr_conn *conn);

/* The table of connections, for whoever runs the links. */
HR_MUST_CHECK int hr_conns_create(struct hr_loop *loop, struct hr_conns **ret_conns);
void hr_conns_destroy(struct hr_conns *conns);
/* Who takes clients' connections: fills ops and owner, or returns false to refuse. Without one all are refused. */
void hr_conns_on_accept(struct hr_conns *conns,
                        bool (*accept)(void *arg, struct hr_conn *conn, const struct hr_conn_accepted *accepted,
                                       const struct hr_conn_ops **ret_ops, void **ret_owner),
                        void *arg);
/* A dataplane is attached: link(arg, worker) gives its links until hr_conns_detached(). */
void hr_conns_attached(struct hr_conns *conns, uint32_t n_workers,
                       struct hr_link *(*link)(void *arg, uint32_t worker), void *arg);
/* It is gone: every connection ends with CLOSED. Links are not touched any more. */
void hr_conns_detached(struct hr_conns *conns);
/* A CONN_* or SLOT_FREE event of that worker. Returns INVALID when it makes no sense (counted by the caller).
 */
HR_MUST_CHECK int hr_conns_event(struct hr_conns *conns, uint32_t worker, const struct hr_msg *msg);
/* After a batch of events of one worker: sends what room there is now for. */
void hr_conns_pump(struct hr_conns *conns, uint32_t worker);

struct hr_conns_info {
    uint32_t open, opening;
    uint64_t opened, failed, accepted, bytes_in, bytes_out;
};
void hr_conns_get_info(const struct hr_conns *conns, struct hr_conns_info *ret_info);

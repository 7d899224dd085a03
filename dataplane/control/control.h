/* The worker's end of the rings: commands in, events out, and the connections that the control plane owns.
 *
 * A control-owned connection is an ordinary TCP connection whose bytes travel in payload slots instead of
 * another leg: received bytes go up as CONN_DATA while slots are free (else they stay in the receive queue
 * and the window closes), and bytes from above are queued for sending. Metadata refresh lives on it.
 *
 * Threads: the worker alone. Nothing here blocks: a full ring keeps connection news for the next turn and drops
 * log events, counted. A held connection's bytes go up by copy and stay in the receive queue as well, which bounds them
 * by its window: when the connection becomes a session's, the control plane says how many it has used up, and the rest
 * need not come back. Clients' connections that wait for a handshake are bounded by the listener's limits
 * (dataplane/proxy/accept.c) and by time, which is kept here: they wait for a control plane that is being restarted,
 * and those that one had when it went away are reset. No command is taken while there is no room for its answer. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/proxy/leg.h"
#include "dataplane/tcp/tcp.h"
#include "shared/ipc/link.h"

struct hr_control;
struct hr_origin;
struct hr_proxy;

/* At once per worker; metadata needs one, handshakes will need many. */
#define HR_CONTROL_MAX_CONNS 1024
/* Of these, so many are never for clients' handshakes: a handshake may need one more, for its broker, and metadata has
 * to go on. */
#define HR_CONTROL_KEPT_CONNS (HR_CONTROL_MAX_CONNS / 2 + 32)
/* Event slots that hold bytes of one client in the middle of its handshake or login, of all clients of one source, and of
 * logins in mid-session together: nobody's largest frame keeps others from theirs. */
#define HR_CONTROL_SLOTS_CONN   (HR_SLOTS / 8)
#define HR_CONTROL_SLOTS_SOURCE (HR_SLOTS / 4)
#define HR_CONTROL_SLOTS_AUTH   (HR_SLOTS / 4)
/* Commands handled per turn at most, so that packets do not wait. */
#define HR_CONTROL_BATCH 32
/* Steps of a session listing per turn at most; each looks at a bounded part of the table. */
#define HR_CONTROL_LIST_STEPS 4
/* Deadlines of handshakes are looked at so often. */
#define HR_CONTROL_SWEEP_US 100000u
/* So much later than its time a handshake is ended here: the control plane, if there is one, says it in TLS. */
#define HR_CONTROL_GRACE_US 1000000u
/* An open takes no longer, whatever is asked. */
#define HR_CONTROL_OPEN_MAX_MS (60u * 60 * 1000)

struct hr_control_config {
    unsigned worker_id;
    int socket_id;
    struct hr_region *region;
    int doorbell_fd; /* rung for the control plane */
    struct hr_buf_ctx *bufs;
    struct hr_tcp *tcp;
    struct hr_proxy *proxy;
    struct hr_stats *stats;
};

HR_MUST_CHECK int hr_control_create(const struct hr_control_config *cfg, struct hr_control **ret_control);
void hr_control_destroy(struct hr_control *control);

/* Resets all control-owned connections; nothing is told. */
void hr_control_end_all(struct hr_control *control);
/* Starts over for a newly attached control plane: rings re-initialised, slots reclaimed, the connections of
 * the previous one aborted. Session 0: none is attached, and what there is to tell waits for the next. Worker, between
 * two batches. */
void hr_control_relink(struct hr_control *control, uint32_t session);

/* Handles commands and continues what waited for slots or ring room. True if it did anything or has more to do. */
bool hr_control_poll(struct hr_control *control, uint64_t now_us);
/* When it must be polled again although nothing happens; UINT64_MAX: not for that. */
uint64_t hr_control_deadline(const struct hr_control *control);
/* Around a sleep: from begin to end the control plane rings our doorbell. begin: false when commands wait. */
HR_MUST_CHECK bool hr_control_sleep_begin(struct hr_control *control);
void hr_control_sleep_end(struct hr_control *control);
/* A client's connection that was accepted for the control plane to do the handshake on: of that listener of the
 * policy of now, for so long; origin: who the client is, NULL: the connection's peer. Returns its leg; NULL: no room. It waits when no control plane is attached. */
struct hr_leg *hr_control_accepted(struct hr_control *control, struct hr_tcp_conn *conn, uint16_t listener,
                                   const struct hr_origin *origin, uint32_t source, uint32_t timeout_ms, uint64_t now_us);
/* The proxy has adopted another policy: listeners may have other places. */
void hr_control_policy_changed(struct hr_control *control);
/* News of a control-owned connection. */
void hr_control_event(struct hr_control *control, struct hr_leg *leg, uint32_t events);
/* Rings the control plane's doorbell if something was sent. */
void hr_control_flush(struct hr_control *control);

/* A slot for bytes that go up, NULL: none is free, or nobody is there; and the message that goes with it, its slot in
 * u.data. False: no room in the ring, the slot has been given back. */
uint8_t *hr_control_slot_take(struct hr_control *control, uint32_t *ret_slot);
bool hr_control_slot_send(struct hr_control *control, struct hr_msg *msg);

/* A message that may be lost: log events, hints. */
void hr_control_report(struct hr_control *control, struct hr_msg *msg);

/* Control-owned connections of one worker; private to this folder.
 *
 *   control.c    commands, events, bytes up and down
 *   handshake.c  clients' connections on their way through the control plane, and what becomes of them */
#pragma once

#include "dataplane/control/control.h"
#include "dataplane/proxy/origin.h"
#include "dataplane/proxy/proxy.h"

/* News owed to the control plane about one connection. */
enum owed { OWED_OPENED = 1, OWED_FAILED = 2, OWED_EOF = 4, OWED_CLOSED = 8, OWED_ACCEPTED = 16, OWED_STARTED = 32 };
#define OWED_OVER (OWED_FAILED | OWED_CLOSED) /* the connection is at its end */

struct hr_control_conn {
    struct hr_leg leg; /* the first member; leg.conn NULL: the TCP connection is gone, news may be owed */
    bool used;
    uint8_t owed;      /* enum owed */
    uint8_t failure;   /* enum hr_tcp_failure */
    bool opened;       /* the control plane knows the connection by its id */
    bool eof_pending;  /* FIN arrived; told after the bytes before it */
    bool starved;      /* paused for lack of a slot, and counted */
    bool hold;         /* bytes that went up stay in the receive queue */
    bool dialled;      /* the control plane's own: it is in the zone of its peer's address */
    bool handshake;    /* a client's: counts for its listener, and has a deadline */
    bool fin;          /* FIN has arrived */
    bool has_origin;   /* a client's: */
    struct hr_origin origin; /* who it is, as a load balancer has told */
    uint16_t listener; /* in the policy of now; HR_POLICY_MAX_LISTENERS: gone */
    uint32_t source;   /* of a handshake: hr_proxy_handshake_over() */
    uint32_t told;     /* held bytes that went up */
    uint32_t slots;    /* of a handshake: event slots with its bytes that have not come back */
    uint64_t accepted_us, deadline_us;
    uint32_t generation;
    uint64_t request;  /* of CONN_OPEN */
    struct hr_control_conn *next_waiting;
    bool waiting;      /* in the list of those with news or bytes that could not go up */
};

/* Whose bytes are in an event slot that is out. */
struct slot_user {
    enum { SLOT_USER_NONE = 0, SLOT_USER_CONN, SLOT_USER_SOURCE, SLOT_USER_AUTH } kind; /* SOURCE: its connection is over */
    uint32_t index, source; /* of a connection */
};

struct hr_control {
    struct hr_control_config cfg;
    struct hr_link link;
    bool linked;
    struct hr_control_conn conns[HR_CONTROL_MAX_CONNS];
    uint32_t first_free_hint;
    struct hr_control_conn *waiting;
    uint32_t n_handshakes[HR_POLICY_MAX_LISTENERS];
    struct slot_user slot_users[HR_SLOTS];
    uint32_t slots_from[HR_RATE_CLIENTS], slots_auth;
    uint32_t n_handshakes_all; /* of listeners that have gone, too */
    uint64_t now_us, next_sweep_us;
    /* A session listing in progress: continued turn by turn. */
    bool listing;
    uint64_t list_request;
    uint32_t list_from, list_left;
};

struct hr_control_conn *hr_control_find(struct hr_control *control, uint64_t id);
/* A free entry, with its leg ready but for the connection; NULL: all are used. */
struct hr_control_conn *hr_control_take(struct hr_control *control);
/* A dialled connection's bytes count for the zone where the policy of now has its peer: for none before the first. */
void hr_control_find_zone(struct hr_control *control, struct hr_control_conn *c);
/* Gives the connection back to TCP; the entry stays for what is owed. */
void hr_control_drop(struct hr_control *control, struct hr_control_conn *c, bool reset);
/* The same, and frees the entry. */
void hr_control_forget(struct hr_control *control, struct hr_control_conn *c);
/* Tells the control plane what is owed, now or on a later turn. */
void hr_control_tell(struct hr_control *control, struct hr_control_conn *c);
void hr_control_count_handshake(struct hr_control *control, const struct hr_control_conn *c, int change);

/* handshake.c */
void hr_control_sweep(struct hr_control *control, uint64_t now_us);
void hr_control_start(struct hr_control *control, const struct hr_msg *msg);

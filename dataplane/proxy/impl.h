/* Private to dataplane/proxy: the proxy's own state and the calls between its files.
 *
 *   proxy.c    creation, the session table, listing
 *   accept.c   SYN policy, opening a session
 *   preface.c  connections of load balancers until it is said whose they are; origin.c reads what they say
 *   connect.c  choice of broker, rate of opens
 *   ports.c    source ports
 *   relay.c    moving bytes, ends of legs
 *   tls.c      legs that speak TLS: around the relay, and their last word
 *   auth.c     logins in mid-session
 *   branch.c   the second broker leg
 *   join.c     sessions made of connections that the control plane had
 *   logins.c   who their clients are, where somebody has asked
 *   zones.c    who is where, and who moves bytes between zones
 *   sweep.c    timeouts and drain */
#pragma once

#include "dataplane/kafka/reader.h"
#include "dataplane/kafka/reauth.h"
#include "dataplane/kafka/relay.h"
#include "dataplane/proxy/origin.h"
#include "dataplane/proxy/proxy.h"
#include "dataplane/proxy/session.h"
#include "dataplane/tls/record.h"
#include "shared/ipc/zone_stats.h"

/* A broker that refused or did not answer is not chosen for bootstrap connections for this long. */
#define HR_SUSPECT_US (5 * 1000 * 1000ULL)
/* The sweep visits every session about once in this time. */
#define HR_SWEEP_US (200 * 1000ULL)
#define HR_SWEEP_STEPS 8
/* but no more than so many sessions at once, in more steps then. */
#define HR_SWEEP_MAX 1024
/* In one turn no more than so many, and places in the table. */
#define HR_SWEEP_TURN 8
#define HR_SWEEP_TURN_PLACES 128
/* Places that one call of hr_proxy_list() looks at. */
#define HR_LIST_SCAN 4096

/* Connections of load balancers that wait for their header, and for how long. */
#define HR_PREFACES_MAX 1024
#define HR_PREFACE_US (5 * 1000 * 1000ULL)

/* Counters of RFC 6056 3.3.4. */
#define HR_PORT_COUNTERS 64
/* Opens towards brokers are limited in all and by client address, hashed; so much time's worth may come at once. */
#define HR_RATE_BURST_NS 100000000u

/* What is kept of a session with a login (logins.c). */
struct hr_login_place {
    struct hr_session_login login;
    struct hr_reauth reauth;
    union {
        uint32_t session;   /* its index */
        uint32_t next_free; /* not used: 0: the last */
    };
    uint32_t client_told, broker_told; /* bytes of a frame that have gone up */
    uint64_t broker_waits_until_us;    /* for our first frame, since it has been wanted; 0: it has not been */
    bool used;
    bool client_begun, broker_begun;   /* the control plane knows of the login */
};

struct hr_suspect {
    int32_t node_id;
    uint64_t until_us;
};
#define HR_MAX_SUSPECTS 16

/* preface.c; all of it NULL where no listener has use for it. */
struct hr_prefaces {
    struct hr_preface *table, *free;
    struct hr_preface *first, *last; /* those who wait */
    struct hr_origin *origins;       /* of sessions, by index, where has_origin says so */
};

struct hr_proxy {
    struct hr_proxy_config cfg;
    const struct hr_policy *policy;
    struct hr_session *sessions; /* max_sessions of them */
    struct hr_session *free;
    struct hr_branch *branches; /* numbers begin with 1 */
    uint32_t free_branch;
    const struct hr_replicas *replicas; /* NULL: none yet */
    uint32_t n_open;
    uint32_t listener_open[HR_POLICY_MAX_LISTENERS];
    struct hr_login_place *logins; /* cfg.max_logins of them, from place 1 on */
    uint32_t free_login;           /* the first of those free; 0: none */
    struct hr_prefaces prefaces;
    struct hr_session *run_first, *run_last;
    struct hr_suspect suspects[HR_MAX_SUSPECTS];
    uint32_t next_suspect;
    uint32_t next_port[HR_PORT_COUNTERS];
    uint64_t rate_of_all, rate_of_clients[HR_RATE_CLIENTS]; /* ns, see connect.c */
    uint64_t handshakes_of_listener[HR_POLICY_MAX_LISTENERS], handshakes_of_clients[HR_RATE_CLIENTS]; /* the same */
    uint64_t rng;
    uint32_t sweep_index, sweep_left; /* the next place, and how many more in this step */
    uint64_t next_sweep_us;
    bool draining;
    bool brokers_drain;    /* the policy has such */
    bool drain_told;       /* the log knows that the last session has ended */
    uint64_t drain_deadline_us;
    uint64_t drain_resets; /* sessions that the deadline ended */
    uint32_t unnoted, note_at; /* bytes since it was noted who moves them, and when that is due */
    struct hr_pieceq waste; /* what a relay makes for a leg that takes no more; empty between calls */
};

enum hr_leg_end {
    HR_END_FIN,  /* FIN after what is queued; TCP finishes on its own */
    HR_END_RST,  /* RST after what is queued */
    HR_END_ABORT /* RST now */
};

static inline const struct hr_policy_listener *hr_session_listener(const struct hr_proxy *proxy,
                                                                   const struct hr_session *s)
{
    return proxy->policy && s->listener < proxy->policy->n_listeners ? &proxy->policy->listeners[s->listener]
                                                                     : NULL;
}

uint64_t hr_session_id(const struct hr_proxy *proxy, const struct hr_session *s);
struct hr_session *hr_session_find(const struct hr_proxy *proxy, uint64_t id);

/* Notes whose connection the leg has, where it has one. */
static inline void hr_leg_set_zone(struct hr_leg *leg, uint8_t zone)
{
    leg->zone = zone;
    if (leg->conn)
        hr_tcp_set_peer(leg->conn, leg->kind == HR_LEG_CLIENT ? HR_ZONE_PEER_CLIENT : HR_ZONE_PEER_BROKER, zone);
}

/* Takes a session from the free list, NULL if none. */
struct hr_session *hr_session_take(struct hr_proxy *proxy);
/* Gives both legs' connections back to TCP, each ended as said, counts why, frees the session.
 * HR_DROP_MAX: an orderly end that is no drop. */
void hr_session_end(struct hr_proxy *proxy, struct hr_session *s, enum hr_drop reason,
                    enum hr_leg_end client_end, enum hr_leg_end broker_end);

/* Ends a session that is not over: FIN where a frame ends or nothing is known of frames, RST inside one. */
void hr_session_cut(struct hr_proxy *proxy, struct hr_session *s, enum hr_drop reason);

/* Keeps the counts; listener may be HR_POLICY_MAX_LISTENERS or above: none. */
void hr_proxy_count_open(struct hr_proxy *proxy, uint32_t listener, int change);

/* A bucket of a tenth of a second's tokens; see connect.c. May there be one more, and there is one more. */
bool hr_rate_conforms(uint64_t theoretical_ns, uint64_t now_ns);
void hr_rate_take(uint64_t *theoretical_ns, uint64_t now_ns, uint32_t rate);

/* May this client cause one more open towards a broker? It is counted then. */
bool hr_session_rate_allows(struct hr_proxy *proxy, const struct hr_session *s, uint64_t now_us);
/* Gives a leg's connection back to TCP. */
void hr_leg_end(struct hr_proxy *proxy, struct hr_leg *leg, enum hr_leg_end how);

/* ---- the second broker leg ---- */
struct hr_branch *hr_branch_at(const struct hr_proxy *proxy, const struct hr_session *s);
/* The relay has a consumer's fetch: are there other places than the broker of the session for it? */
void hr_session_may_read_elsewhere(struct hr_proxy *proxy, struct hr_session *s);
/* The leg for the request that wants a branch; NULL: it is being opened. It may be the broker's, too. */
struct hr_leg *hr_branch_for_request(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us);
/* After bytes have moved: what the end or the silence of the branch means. blocked: answers wait for the client. False:
 * the session has ended. */
HR_MUST_CHECK bool hr_branch_settle(struct hr_proxy *proxy, struct hr_session *s, bool blocked, uint64_t now_us);
void hr_branch_close(struct hr_proxy *proxy, struct hr_session *s, enum hr_leg_end how);
void hr_branch_event(struct hr_proxy *proxy, struct hr_leg *leg, uint32_t events, uint64_t now_us);

/* Opens the broker leg; on failure the session has been ended. */
void hr_session_connect(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us);
/* The broker leg could not be opened: tries another broker or ends the session. */
void hr_session_connect_failed(struct hr_proxy *proxy, struct hr_session *s, enum hr_tcp_failure failure,
                               uint64_t now_us);

/* Notes whose bytes those are that have moved since the last time: the session's, with a broker in this zone. */
void hr_session_note(struct hr_proxy *proxy, const struct hr_session *s, uint8_t broker_zone, enum hr_zone_dir dir);
/* n bytes have moved; now and then it is noted whose. */
static inline void hr_session_moved(struct hr_proxy *proxy, const struct hr_session *s, uint8_t broker_zone,
                                    enum hr_zone_dir dir, uint32_t n)
{
    proxy->unnoted += n;
    if (proxy->unnoted >= proxy->note_at)
        hr_session_note(proxy, s, broker_zone, dir);
}

/* Moves what can be moved in both directions; may end the session. */
void hr_session_run(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us);
/* True when a frame of this direction has been forwarded in part. */
bool hr_session_mid_frame(const struct hr_session *s, bool request);
/* True when no frame is under way and no answer is owed. */
bool hr_session_at_boundary(const struct hr_session *s);
/* True when the session must not start another request. */
bool hr_session_draining(const struct hr_proxy *proxy, const struct hr_session *s);

/* No session of this listener begins any more, whatever its connection has gone through before. */
static inline bool hr_proxy_drains(const struct hr_proxy *proxy, const struct hr_policy_listener *listener)
{
    return proxy->draining || listener->draining;
}
/* HR_DROP_MAX: there is room for one more session of this listener. */
enum hr_drop hr_proxy_over_limit(const struct hr_proxy *proxy, const struct hr_policy_listener *listener);

/* Of a leg that speaks TLS: bytes that have been opened and not been relayed. */
uint32_t hr_leg_opened(const struct hr_proxy *proxy, const struct hr_leg *leg);
/* Of a leg that speaks TLS: what is to be sealed. */
struct hr_pieceq *hr_leg_unsealed(const struct hr_proxy *proxy, const struct hr_leg *leg);
/* Seals and sends it, and what else is due. True: memory was short, call it again later. */
bool hr_leg_seal(struct hr_proxy *proxy, const struct hr_leg *leg);
/* The peer has said close_notify; nobody else can end its half like that. False of plain text. */
bool hr_leg_ended(const struct hr_proxy *proxy, const struct hr_leg *leg);
/* A fatal alert is to be sent before the leg ends, however it ends. */
bool hr_leg_alert_due(const struct hr_proxy *proxy, const struct hr_leg *leg);
/* A key of one of the legs has sealed enough, and cannot be changed. */
bool hr_session_worn_out(const struct hr_proxy *proxy, const struct hr_session *s);
/* FIN behind what is queued; close_notify, or the alert that is due, goes before it. */
void hr_leg_shutdown(struct hr_proxy *proxy, const struct hr_leg *leg);
void hr_leg_goodbye(struct hr_proxy *proxy, const struct hr_leg *leg);
/* accept.c: the client of a new connection is known; the leg that the connection becomes, NULL: it is gone. */
struct hr_leg *hr_proxy_admit(struct hr_proxy *proxy, struct hr_tcp_conn *conn, const struct hr_origin *origin,
                              uint64_t now_us);

/* preface.c */
HR_MUST_CHECK int hr_prefaces_create(struct hr_proxy *proxy);
void hr_prefaces_destroy(struct hr_proxy *proxy);
bool hr_origin_trusted(const struct hr_policy_listener *listener, const struct hr_addr *addr);
struct hr_leg *hr_preface_begin(struct hr_proxy *proxy, struct hr_tcp_conn *conn, uint64_t now_us);
/* Ends those whose time is up; when the next one's is. */
uint64_t hr_prefaces_advance(struct hr_proxy *proxy, uint64_t now_us);
void hr_prefaces_end_all(struct hr_proxy *proxy);
/* They are new connections still, which a drain refuses. */
void hr_prefaces_drain(struct hr_proxy *proxy);
/* Who a session's client is: origin NULL, the peer of its connection. ret_port may be NULL. */
void hr_session_set_origin(struct hr_proxy *proxy, struct hr_session *s, const struct hr_origin *origin);
const struct hr_origin *hr_session_origin(const struct hr_proxy *proxy, const struct hr_session *s);
const struct hr_addr *hr_session_client(const struct hr_proxy *proxy, const struct hr_session *s, uint16_t *ret_port);

/* logins.c: the table; a place in it, 0 when none is free; giving one back (0: nothing). */
HR_MUST_CHECK int hr_logins_create(struct hr_proxy *proxy);
uint32_t hr_logins_take(struct hr_proxy *proxy, const struct hr_session *s, const struct hr_session_login *login);
void hr_logins_give_back(struct hr_proxy *proxy, uint32_t place);
/* place: not 0. */
struct hr_login_place *hr_logins_place(const struct hr_proxy *proxy, uint32_t place);
/* place 0: NULL, nobody has logged in. */
struct hr_session_login *hr_logins_at(const struct hr_proxy *proxy, uint32_t place);

/* enum hr_tls_version and enum hr_tls_suite, both 0 for plain text. */
void hr_leg_get_protocol(const struct hr_proxy *proxy, const struct hr_leg *leg, uint8_t *ret_version,
                         uint8_t *ret_suite);
/* Gives its record layer back. */
void hr_leg_close_tls(struct hr_proxy *proxy, struct hr_leg *leg);

/* auth.c, of sessions with a login. Before the relay is called: what time it is. After it: what is due to go up. */
void hr_session_auth_clock(struct hr_proxy *proxy, const struct hr_session *s, uint64_t now_us);
void hr_session_auth_up(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us);
/* Wipes what is left; before the legs end. */
void hr_session_auth_end(struct hr_proxy *proxy, struct hr_session *s);

/* Bytes that a leg has received and that have not been relayed. */
static inline uint32_t hr_leg_unread(const struct hr_proxy *proxy, const struct hr_leg *leg)
{
    uint32_t n = hr_tcp_rcvq(leg->conn)->bytes;
    return leg->tls ? n + hr_leg_opened(proxy, leg) : n;
}

/* The queue that bytes for this leg are appended to; NULL where it takes no more. */
static inline struct hr_pieceq *hr_leg_out(const struct hr_proxy *proxy, const struct hr_leg *leg)
{
    struct hr_pieceq *sndq = hr_tcp_sndq(leg->conn);
    return leg->tls && sndq ? hr_leg_unsealed(proxy, leg) : sndq;
}

/* splitmix64: spreads source ports and bootstrap choices; no secret depends on it. */
uint64_t hr_proxy_random(struct hr_proxy *proxy);

void hr_proxy_log(struct hr_proxy *proxy, enum hr_log_event event, const struct hr_session *s,
                  enum hr_drop reason, uint64_t a, uint64_t b);

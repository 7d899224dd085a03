/* TCP, sans-IO: segments and a clock go in, segments and events come out.
 *
 * Nothing here touches a port, a system clock or the heap (after hr_tcp_create), so the whole stack runs in
 * a unit test against itself over a seeded lossy link. One struct hr_tcp serves one worker; a connection
 * belongs to it for life.
 *
 * How a turn of the owner goes:
 *   1. hr_tcp_set_now(), then hr_tcp_input_take() for each burst of received segments
 *   2. hr_tcp_advance() fires the timers that are due
 *   3. hr_tcp_next_event() until NULL: the owner reads, queues, shuts down, aborts
 *   4. hr_tcp_flush() sends what the turn made ready, through config.emit; hr_tcp_pace_deadline() says when it
 *      would send more
 *
 * Terms are those of RFC 9293 (SND.UNA, RCV.WND, ...). All times are microseconds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/buf/buf.h"
#include "shared/base/addr.h"
#include "shared/base/counters.h"
#include "shared/base/error.h"
#include "shared/ipc/zone_stats.h"

struct hr_net_way;
struct hr_tcp;
struct hr_tcp_conn;

/* X(name): RFC 9293 3.3.2 */
#define HR_TCP_STATES(X)                                                                                     \
    X(CLOSED) X(SYN_SENT) X(SYN_RECEIVED) X(ESTABLISHED) X(FIN_WAIT_1) X(FIN_WAIT_2) X(CLOSE_WAIT)           \
    X(CLOSING) X(LAST_ACK) X(TIME_WAIT)

enum hr_tcp_state {
#define X(name) HR_TCP_##name,
    HR_TCP_STATES(X)
#undef X
    HR_TCP_STATE_MAX
};

/* What happened to a connection since its last event; a set. */
enum hr_tcp_event {
    HR_TCP_EV_NONE = 0,
    HR_TCP_EV_ACCEPTED = 1 << 0,  /* a passive open completed; the first event of an accepted connection */
    HR_TCP_EV_CONNECTED = 1 << 1, /* an active open completed */
    HR_TCP_EV_READABLE = 1 << 2,  /* new bytes in the receive queue */
    HR_TCP_EV_ACKED = 1 << 3,     /* so much of the send queue was acknowledged and released as was asked for */
    HR_TCP_EV_FIN = 1 << 4,       /* the peer closed its half, after all bytes in the receive queue */
    HR_TCP_EV_CLOSED = 1 << 5,    /* both halves are closed and acknowledged; release it */
    HR_TCP_EV_FAILED = 1 << 6,    /* reset, refused, timed out: see hr_tcp_conn_info.error; release it */
};

/* Why a connection failed. X(name, text) */
#define HR_TCP_FAILURES(X)                                                                                   \
    X(RESET, "reset by the peer")                                                                            \
    X(REFUSED, "connection refused")                                                                         \
    X(TIMEOUT, "retransmissions unanswered")                                                                 \
    X(KEEPALIVE, "keepalive probes unanswered")                                                              \
    X(PERSIST, "zero window for too long")                                                                   \
    X(HALF_CLOSE, "half-closed and silent for too long")                                                                   \
    X(UNREACHABLE, "destination unreachable")                                                                \
    X(ABORTED, "aborted by the owner")

enum hr_tcp_failure {
    HR_TCP_FAIL_NONE = 0,
#define X(name, text) HR_TCP_FAIL_##name,
    HR_TCP_FAILURES(X)
#undef X
    HR_TCP_FAIL_MAX
};

const char *hr_tcp_state_name(enum hr_tcp_state state);
const char *hr_tcp_failure_text(enum hr_tcp_failure failure);

/* X(name, text): congestion control */
#define HR_TCP_CONG_ALGORITHMS(X) X(CUBIC, "cubic") X(RENO, "reno")

enum hr_tcp_cong_algorithm {
#define X(name, text) HR_TCP_CONG_##name,
    HR_TCP_CONG_ALGORITHMS(X)
#undef X
    HR_TCP_CONG_MAX
};

/* What the owner says to a SYN. */
struct hr_tcp_accept {
    bool accept;       /* false: answered by RST, the owner has counted why */
};

/* What may leave by a port; 0: no limit. */
struct hr_tcp_allowance {
    uint64_t bytes_per_s; /* of Ethernet frames */
    uint32_t packets_per_s;
    uint32_t burst_us;    /* so much time's worth at once */
};
#define HR_TCP_MAX_PORTS 8

struct hr_tcp_config {
    unsigned worker_id;
    int socket_id;
    uint32_t max_conns;        /* connection blocks; allocated at creation */
    uint32_t max_time_wait;    /* connections in TIME-WAIT, 64 bytes each; beyond, the oldest gives way */
    uint32_t max_half_open;    /* SYN-RECEIVED at once; further SYNs are answered by cookies */
    uint32_t rcv_wnd_initial;  /* bytes offered at first (default 64 KiB) */
    uint32_t rcv_wnd_max;      /* bytes offered at most per connection */
    uint32_t snd_buf_max;      /* bytes in the send queue above which hr_tcp_send_room() is 0 */
    uint32_t ooo_max_pieces;   /* out-of-order pieces kept per connection */
    uint32_t conn_bufs_max;    /* buffers held per connection (receive, out-of-order and send queue) */
    uint32_t rx_pool_reserve;  /* receive buffers never pinned by connections, so that packets still arrive */
    enum hr_tcp_cong_algorithm cong; /* CUBIC (RFC 9438) */
    uint32_t initial_cwnd_segs; /* 10, RFC 6928 */
    uint32_t rto_min_us;       /* 200 ms; RFC 6298 says 1 s, a deviation written down in docs */
    uint32_t rto_max_us;       /* 60 s */
    uint32_t delayed_ack_us;   /* 4 ms */
    uint32_t msl_us;           /* TIME-WAIT lasts twice this; default 5 s, tuples are reused under RFC 6191 */
    uint32_t keepalive_us;     /* idle before the first probe; 240 s, under the 350 s of AWS; 0 = off */
    uint32_t keepalive_interval_us; /* between probes; 15 s */
    uint8_t keepalive_probes;  /* unanswered probes before the connection fails; 4 */
    uint8_t syn_retries;       /* 5 */
    uint32_t user_timeout_us;  /* sent data that is not acknowledged for longer fails the connection; 30 s */
    uint32_t zero_window_us;   /* a zero window for longer does too; 10 min, less where buffers are short */
    uint32_t half_close_us;    /* our half is closed, the peer's is open and silent for longer; 60 s */
    uint8_t hash_key[16];      /* flow table; random per process */
    uint8_t isn_key[16];       /* RFC 6528, SYN cookies; random per process, shared by workers */
    uint16_t max_tx_segs;      /* mbufs per packet that the port takes, header mbuf included; >= 2 */

    struct hr_buf_ctx *bufs;
    struct hr_stats *stats;
    struct hr_zone_link (*links)[HR_ZONES_MAX][2]; /* by peer: where segments are counted; NULL: nowhere */
    void *owner; /* passed to the callbacks */

    /* Asks about a SYN to flow->local:local_port. */
    struct hr_tcp_accept (*on_syn)(void *owner, const struct hr_flow *flow);
    /* The largest segment payload toward remote that the route carries (MTU less IP and TCP headers without
     * options: RFC 9293 3.7.1). */
    uint16_t (*path_mss)(void *owner, const struct hr_addr *local, const struct hr_addr *remote);
    /* The port, below HR_TCP_MAX_PORTS, by which segments to remote leave, and what each may send. NULL: one port. */
    uint8_t (*path_port)(void *owner, const struct hr_addr *local, const struct hr_addr *remote);
    struct hr_tcp_allowance allowance[HR_TCP_MAX_PORTS];
    /* Takes a segment: m starts with the TCP header, payload behind it or chained, checksum field 0, room for
     * Ethernet and IP headers in front. The network layer fills checksums and addresses. */
    void (*emit_take)(void *owner, const struct hr_flow *flow, struct rte_mbuf *m);
    /* Where the flow's segments have a prepared way (dataplane/net/way.h), they leave by it and not through emit_take.
     * NULL as a result, or instead of this: they have none. */
    struct hr_net_way *(*way)(void *owner, const struct hr_flow *flow);
};

/* Fills in every default; the caller sets pools, callbacks and keys. */
void hr_tcp_config_default(struct hr_tcp_config *cfg);

/* All memory is allocated here. */
HR_MUST_CHECK int hr_tcp_create(const struct hr_tcp_config *cfg, uint64_t now_us, struct hr_tcp **ret_tcp);
/* Drops every connection without a word on the wire and frees all. */
void hr_tcp_destroy(struct hr_tcp *tcp);

void hr_tcp_set_now(struct hr_tcp *tcp, uint64_t now_us);

/* A burst of segments as in dataplane/buf/segment.h, in the order of their arrival; the network layer has verified
 * their checksums. Takes them all, and uses the array. */
void hr_tcp_input_take(struct hr_tcp *tcp, struct rte_mbuf **segs, uint32_t n);

/* An ICMP error about a segment of ours (RFC 5927: acted on only where the embedded sequence number is in
 * flight; in synchronised states it is soft). mtu is the next hop's for "fragmentation needed", else 0. */
void hr_tcp_icmp_error(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t seq, bool hard, uint16_t mtu);

/* Fires due timers. Returns the time of the next deadline, UINT64_MAX if none: the owner may sleep till then. */
uint64_t hr_tcp_advance(struct hr_tcp *tcp);

/* The next connection with news, NULL if none; *ret_events is a set of enum hr_tcp_event. */
struct hr_tcp_conn *hr_tcp_next_event(struct hr_tcp *tcp, uint32_t *ret_events);

/* Sends everything that is ready, acknowledgements last. Bounded per call by max_segments; true if work is
 * left (call again next turn). */
bool hr_tcp_flush(struct hr_tcp *tcp, uint32_t max_segments);

/* When pacing lets more leave, UINT64_MAX if nothing waits: hr_tcp_advance() and hr_tcp_flush() have something to
 * do then. Ask after a flush; hr_tcp_advance() counts it in what it returns. */
uint64_t hr_tcp_pace_deadline(const struct hr_tcp *tcp);

/* Active open; the flow must be unused (EXISTS: choose another source port; a TIME-WAIT entry is reused
 * where RFC 6191 allows; INVALID: the remote address is no host's). timeout_us bounds the open, 0 = by syn_retries
 * alone. */
HR_MUST_CHECK int hr_tcp_connect(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t timeout_us,
                                 struct hr_tcp_conn **ret_conn);

/* The receive queue: in-order payload. The owner takes bytes out with hr_pieceq_move()/hr_pieceq_drop() and
 * then tells hr_tcp_consumed(). */
struct hr_pieceq *hr_tcp_rcvq(struct hr_tcp_conn *conn);

/* n bytes have left the receive queue; downstream says how many bytes and buffers the owner still holds for
 * this connection elsewhere (the other leg's send queue). The window offered follows: it grows while pools
 * have room, closes when the caps are reached, and never shrinks below what was offered. Call it also when
 * downstream changed with n = 0. */
void hr_tcp_consumed(struct hr_tcp *tcp, struct hr_tcp_conn *conn, uint32_t n, uint32_t downstream_bytes,
                     uint32_t downstream_bufs);

/* The same for bytes that went on to another connection of ours, whose send queue is all that holds them. That one
 * also says how large the window should be: room for what it can have in flight, and for as much again on its way.
 * It will have HR_TCP_EV_ACKED as soon as what leaves its queue matters to the window: call this again then. */
void hr_tcp_relayed(struct hr_tcp *tcp, struct hr_tcp_conn *conn, uint32_t n, struct hr_tcp_conn *to);

/* At least this many bytes must fit beyond what stands in the receive queue (a frame being held); raises the
 * window where the budget closed it, so that both sides do not wait for ever. 0 withdraws it. */
void hr_tcp_want(struct hr_tcp *tcp, struct hr_tcp_conn *conn, uint32_t bytes);

/* Bytes that the send queue takes before it is full. */
uint32_t hr_tcp_send_room(const struct hr_tcp *tcp, const struct hr_tcp_conn *conn);
/* Bytes and buffers in the send queue, unacknowledged included. */
uint32_t hr_tcp_send_bytes(const struct hr_tcp_conn *conn);
uint32_t hr_tcp_send_bufs(const struct hr_tcp_conn *conn);

/* Moves the first n bytes of src into the send queue. NOMEM: nothing moved. The room is advice, not
 * enforced. CLOSED after shutdown or failure. */
HR_MUST_CHECK int hr_tcp_send_move(struct hr_tcp *tcp, struct hr_tcp_conn *conn, struct hr_pieceq *src,
                                   uint32_t n);
/* The send queue itself, to append to; hr_tcp_send_appended() then. NULL after shutdown or failure. */
struct hr_pieceq *hr_tcp_sndq(struct hr_tcp_conn *conn);
void hr_tcp_send_appended(struct hr_tcp *tcp, struct hr_tcp_conn *conn);
/* As hr_tcp_send_move(), for bytes made here: copied into header buffers. */
HR_MUST_CHECK int hr_tcp_send_bytes_copy(struct hr_tcp *tcp, struct hr_tcp_conn *conn, const void *data,
                                         uint32_t n);

/* Asks for HR_TCP_EV_ACKED, once, when n more bytes of the send queue have been acknowledged, or all where it holds
 * less; not where it is empty. What was asked for before is forgotten. Acknowledgements are no news otherwise. */
void hr_tcp_ask_acked(struct hr_tcp_conn *conn, uint32_t n);

/* FIN after everything queued. */
void hr_tcp_shutdown(struct hr_tcp *tcp, struct hr_tcp_conn *conn);

/* RST now; queues are dropped. The connection is gone after this call, no further event. */
void hr_tcp_abort(struct hr_tcp *tcp, struct hr_tcp_conn *conn);

/* As hr_tcp_release(), but the connection ends by RST, once everything queued has been acknowledged; at once
 * where nothing is. What the peer sends meanwhile is not read. */
void hr_tcp_release_reset(struct hr_tcp *tcp, struct hr_tcp_conn *conn);

/* The owner will not look at it again. After CLOSED or FAILED this frees it; earlier, queues for the owner
 * are dropped and the connection finishes closing on its own (a FIN is sent if none was). */
void hr_tcp_release(struct hr_tcp *tcp, struct hr_tcp_conn *conn);
/* Released connections that have not delivered everything, FIN included, yet. */
uint32_t hr_tcp_lingering(const struct hr_tcp *tcp);

void hr_tcp_set_user(struct hr_tcp_conn *conn, void *user);
void *hr_tcp_user(const struct hr_tcp_conn *conn);
const struct hr_flow *hr_tcp_flow(const struct hr_tcp_conn *conn);

/* For people: headracectl connections. */
struct hr_tcp_conn_info {
    enum hr_tcp_state state;
    enum hr_tcp_failure error;
    uint32_t srtt_us, rto_us;
    uint32_t cwnd, ssthresh;    /* bytes */
    uint32_t snd_wnd, rcv_wnd;  /* bytes */
    uint16_t mss;
    uint32_t in_flight;         /* bytes */
    uint32_t snd_queued, rcv_queued; /* bytes */
    uint64_t retransmits;
    uint64_t last_rx_us;
};
void hr_tcp_conn_get_info(const struct hr_tcp *tcp, const struct hr_tcp_conn *conn,
                          struct hr_tcp_conn_info *ret_info);

/* Whose connection it is, and where they are: what it sends and receives from now on is counted for them. */
void hr_tcp_set_peer(struct hr_tcp_conn *conn, enum hr_zone_peer peer, uint8_t zone);

/* Does this flow exist here? Used by hand-off and by source port choice. */
bool hr_tcp_flow_exists(const struct hr_tcp *tcp, const struct hr_flow *flow);

/* What the files of this folder share: the connection block, the stack, and one section per file.
 *
 *   stack.c     configuration, memory, clock
 *   conn.c      life of a connection, its state machine, the owner's calls
 *   flow.c      the keyed flow table, initial sequence numbers, timestamp offsets
 *   burst.c     a burst's way in: rows of segments, lookups, header prediction
 *   input.c     a segment's: checks, RST, SYN, handshake, FIN
 *   syncookie.c handshakes without memory, above the backlog's mark
 *   time_wait.c what is left of a connection that we closed first
 *   ack.c       what an acknowledgement does
 *   sack.c      the SACK option as it arrives
 *   xmit.c      what was sent when, and what became of it: the scoreboard
 *   rack.c      what is lost (RFC 8985 6)
 *   tlp.c       the probe that saves the tail (RFC 8985 7)
 *   prr.c       how fast the window falls (RFC 9937)
 *   undo.c      F-RTO (RFC 5682) and DSACK: what was lost was not
 *   recovery.c  what an ACK or a timer means for what is in flight; NewReno (RFC 6582)
 *   pmtu.c      the largest segment that the path carries
 *   reass.c     payload in order, and out of order until it is
 *   ackpolicy.c when what was received is acknowledged
 *   window.c    the receive window
 *   output.c    what is sent, and in which order
 *   segment.c   how a segment is put together
 *   pace.c      when they may leave: bursts, and the ports' allowances
 *   timers.c    retransmission, delayed ACK, persist, keepalive, TIME-WAIT
 *   rtt.c       RFC 6298
 *   cong.c      when the congestion window may change; cong_cubic.c and cong_reno.c say by how much
 *   hystart.c   when the first slow start ends
 *   options.c, wheel.c, seqtree.c, seq.h  without any of the above
 *
 * A connection is in the flow table from its SYN until CLOSED (or TIME-WAIT, for which there is another table). While it has something to send it is in the
 * dirty list, while it has news for its owner in the event list, and its one timer entry stands in the wheel
 * at or before the earliest of its deadlines. */
#pragma once

#include <rte_tcp.h>
#include <stddef.h>
#include <sys/queue.h>

#include "dataplane/net/way.h"
#include "dataplane/tcp/mutant.h"
#include "dataplane/tcp/options.h"
#include "dataplane/tcp/seq.h"
#include "dataplane/tcp/tcp.h"
#include "dataplane/tcp/wheel.h"
#include "dataplane/tcp/xmit.h"

/* Fixed-size objects, allocated at creation. */
struct hr_tcp_slab {
    void *mem;
    void *free; /* linked through the objects' first word */
    uint32_t n_free, n;
};

/* A piece received out of order. */
struct hr_tcp_ooo {
    struct hr_tcp_ooo *next;
    struct rte_mbuf *mbuf;
    uint16_t off, len; /* as struct hr_piece */
};

/* A contiguous range behind a gap. */
struct hr_tcp_island {
    struct hr_seqnode node; /* by the first byte; first member */
    uint32_t end;
    struct hr_tcp_ooo *first, *last; /* pieces without a gap or overlap */
    TAILQ_ENTRY(hr_tcp_island) link; /* the one that changed last in front */
};

/* What a connection needs only while it holds bytes behind a gap, or has a duplicate to report. */
struct hr_tcp_gaps {
    struct hr_seqtree tree; /* islands, which do not touch */
    TAILQ_HEAD(, hr_tcp_island) recent;
    uint32_t n;             /* pieces */
    struct hr_tcp_range dsack;
    bool dsack_due; /* RFC 2883: dsack is to be reported */
};

/* What congestion control knows beside cwnd and ssthresh. The first slow start is over for good when congestion
 * avoidance begins, so the two share their words. */
enum hr_tcp_cong_phase {
    HR_TCP_CONG_START = 0, /* the first slow start: HyStart++ watches */
    HR_TCP_CONG_CSS,       /* its conservative part (RFC 9406) */
    HR_TCP_CONG_LATER,     /* ssthresh has been found: slow start below, avoidance above */
};

struct hr_tcp_cong {
    union {
        struct { /* START, CSS */
            uint32_t round_end;    /* the round ends when this is acknowledged */
            uint32_t last_min_us;  /* least RTT of the round before, UINT32_MAX: none */
            uint32_t round_min_us; /* and of this one */
            uint32_t css_min_us;   /* where CSS began */
        } start;
        struct { /* LATER; bytes */
            uint32_t w_max;        /* window before the last reduction; 0: begin at what is */
            uint32_t cwnd_prior;
            uint32_t w_est;        /* what Reno would have; 0: begin at what is */
            uint32_t inflection_ms; /* when the curve stands at w_max; valid while running */
        } cubic;
    };
    uint32_t acked;     /* avoidance: bytes acknowledged toward its next step */
    uint8_t phase;      /* enum hr_tcp_cong_phase */
    uint8_t samples;    /* HyStart++: of RTT, in this round, up to 8 */
    uint8_t css_rounds;
    bool running;       /* the curve's clock runs: the window is in use */
};

/* RFC 5682 */
enum hr_tcp_frto {
    HR_TCP_FRTO_OFF = 0,
    HR_TCP_FRTO_FIRST,  /* step 2: the first segment was sent again */
    HR_TCP_FRTO_SECOND, /* step 3: and was acknowledged, new segments followed */
};

/* A window before it was reduced, for when that turns out to have been wrong. */
struct hr_tcp_cong_saved {
    uint32_t cwnd, ssthresh;
    struct hr_tcp_cong cong;
};

/* RFC 9937, bytes */
struct hr_tcp_prr {
    uint32_t delivered, out;
    uint32_t recover_fs; /* in flight when recovery began */
};

/* What a connection needs only while something it sent is not acknowledged: positions in the send queue,
 * what was sent when, the state of loss recovery. Attached when the first byte (or the FIN) leaves, given back
 * when all is acknowledged; SND.UNA = SND.NXT if and only if there is none, once the connection is
 * synchronised. */
struct hr_tcp_flight {
    struct hr_piece_iter nxt_it; /* at snd_nxt; chunk NULL: not known */
    struct hr_piece_iter rtx_it; /* at rtx_it_seq, likewise */
    uint32_t rtx_it_seq;
    uint32_t recover;        /* RecoveryPoint */
    uint32_t rtt_seq;        /* RTT is taken when this is acknowledged */

    /* RACK (RFC 8985 5.3): the delivered segment that was sent last, its round trip; what is delivered ends at
     * fack. */
    uint32_t fack;
    uint64_t rack_xmit_us;
    uint32_t rack_end;
    uint32_t rack_rtt_us;
    uint32_t dsack_round;    /* duplicates count again when this is acknowledged */

    /* Deadlines, 0 = none; conn.rtx_at is the first of them. */
    uint64_t rto_at;         /* RFC 6298 */
    uint64_t pto_at;         /* tail loss probe, RFC 8985 7.2 */
    uint64_t reo_at;         /* the reordering window ends, RFC 8985 6.2 step 5 */

    struct hr_tcp_prr prr;
    struct hr_tcp_cong_saved undo; /* the window before the recovery that began at undo_una */
    uint32_t undo_una;
    uint32_t undo_bytes;     /* sent again since, and not reported as duplicate yet */
    uint32_t mtu_probe_end;  /* a larger segment ends here, if mtu_probe_on */
    bool mtu_probe_on;
    bool undo_on;
    bool undo_timeout;       /* it began, or went on, with a timeout */
    bool dsack_round_on;
    /* Pacing, bytes: sent and not worked off at the connection's rate at burst_us (low bits of the clock), and the
     * most that this may be. */
    uint32_t burst, burst_max, burst_us;
    bool tlp_due;            /* a probe is to leave */
    bool rtx_force;          /* the next retransmission goes out whatever cwnd says */
    uint8_t frto;            /* enum hr_tcp_frto */
    uint8_t force_new;       /* segments of new data that go out whatever cwnd says (RFC 5682) */

    struct hr_tcp_xmit xmit; /* last: not cleared on attachment */
};

/* Loss recovery. */
enum hr_tcp_recovery {
    HR_TCP_RECOVERY_NONE = 0,
    HR_TCP_RECOVERY_FAST, /* RFC 8985 and RFC 9937, or RFC 6582 */
    HR_TCP_RECOVERY_RTO,  /* after a timeout */
};

/* Connections that have something to send, those with news for their owner, and those that pacing lets wait: FIFOs
 * through the blocks' own indices. Who no longer wants to be in one stays until its turn and is passed over then:
 * leaving costs nothing, and a block needs one link for each. */
enum hr_tcp_fifo_id { HR_TCP_FIFO_DIRTY, HR_TCP_FIFO_EVENTS, HR_TCP_FIFO_WAIT, HR_TCP_FIFO_MAX };
struct hr_tcp_fifo {
    uint32_t first, last; /* index + 1 */
};

/* One block per connection, idle or not: what is needed only sometimes is in objects that come from slabs (flight,
 * gaps, the queues' chunks). In the order of a segment's way: the first line and the second are all that an
 * acknowledgement looks at, the third is what sending adds. */
struct hr_tcp_conn {
    struct hr_flow flow;
    uint8_t state;       /* enum hr_tcp_state */
    uint8_t recovery : 4; /* enum hr_tcp_recovery */
    uint8_t peer : 4;    /* enum hr_zone_peer, and its zone below: whose link counts the segments */
    uint8_t rcv_wscale : 4, snd_wscale : 4;
    uint8_t mtu_probe_min : 6; /* when to try mss_full again: minutes, modulo 64 */

    bool active : 1;         /* opened by hr_tcp_connect() */
    bool announced : 1;      /* the owner knows it (ACCEPTED is queued, or it called connect) */
    bool released : 1;       /* the owner has left */
    bool reset_at_end : 1;   /* and wants a RST behind what is queued */
    bool ts_on : 1;          /* RFC 7323 timestamps */
    bool sack_on : 1;
    bool wscale_on : 1;
    bool fin_queued : 1;     /* by the owner */
    bool fin_sent : 1;
    bool rcv_fin_known : 1;  /* the peer's FIN is at rcv_fin_seq */
    bool taken : 1;          /* the owner has taken bytes */
    bool rcv_growing : 1;    /* the window grows with what is drained */
    bool syn_due : 1;        /* SYN or SYN-ACK is to be sent */
    bool ack_now : 1;
    bool probe_due : 1;      /* zero-window probe */
    bool ka_due : 1;         /* keepalive probe */
    bool persist : 1;        /* rtx_at is the persist timer */
    bool cwnd_limited : 1;   /* cwnd held something back the last time */
    bool dirty : 1;          /* has something to send, perhaps */
    bool dirty_queued : 1;   /* stands in that FIFO, also when it has been freed meanwhile */
    bool event_queued : 1;   /* likewise */
    bool waiting : 1;        /* for its pace or its port; no data leaves meanwhile */
    bool wait_queued : 1;    /* stands in such a FIFO, likewise */
    bool rack_reordering : 1; /* segments were seen to overtake each other (RFC 8985 6.2 step 3) */
    bool tlp_out : 1;        /* a tail loss probe is not accounted for; it ended at tlp_end */
    bool tlp_again : 1;      /* it repeated a segment */
    bool rtt_fresh : 1;      /* RTT was measured since the last probe */
    bool syn_lost : 1;       /* the handshake needed retransmission: RFC 6298 5.7 */
    bool in_use : 1;
    bool acked_asked : 1;    /* the owner is to hear when SND.UNA has reached acked_mark */
    uint8_t zone : 4;

    uint32_t rcv_nxt;
    uint32_t rcv_adv;        /* right edge offered; never moves back */
    uint32_t ts_recent;      /* RFC 7323 */
    uint32_t last_ack_sent;
    uint32_t snd_una;        /* the send queue's bytes start here */

    /* Receive and ACK. */
    uint32_t snd_nxt;        /* the highest sent, plus one */
    uint32_t snd_wnd;
    uint32_t snd_wnd_max;
    uint32_t snd_wl1, snd_wl2;
    uint32_t ts_recent_ms;   /* when it was set, in our clock */
    struct hr_pieceq sndq;
    struct hr_tcp_flight *flight; /* NULL: nothing is in flight */
    uint8_t events;      /* set of enum hr_tcp_event, not fetched yet */
    uint8_t quickacks;   /* segments still to be acknowledged at once */
    uint8_t ka_probes;
    uint8_t ack_segs;    /* segments received in order and not acknowledged yet */
    uint32_t acked_mark;

    /* Congestion, and what else sending reads. */
    uint32_t cwnd, ssthresh; /* bytes */
    struct hr_tcp_cong cong;
    uint32_t ts_offset;
    uint16_t mss;            /* of the path and the peer, options not deducted */
    uint16_t smss;           /* payload of a full segment */
    uint32_t srtt_us, rttvar_us, rto_us; /* srtt 0: no sample yet */
    uint8_t backoff;     /* doublings of the RTO, also of the persist interval */
    uint8_t retries;     /* unanswered retransmissions of SND.UNA */
    uint8_t dup_due;     /* duplicate ACKs owed to a peer without SACK, which counts them */
    uint8_t failure;     /* enum hr_tcp_failure */
    uint32_t next[HR_TCP_FIFO_MAX]; /* index + 1: behind it in that FIFO */
    int16_t deficit;         /* bytes that its next turn has above a quantum, or below if the last was cut short */
    uint8_t port;            /* by which its segments leave */
    uint8_t dupacks;

    /* Payload received, and the window. */
    struct hr_pieceq rcvq;
    struct hr_tcp_gaps *gaps; /* NULL: nothing is out of order */
    uint32_t rcv_target;     /* bytes of window that the budget grants now */
    uint32_t down_bytes, down_bufs; /* held by the owner elsewhere */
    uint32_t want;
    uint32_t offered_bufs;   /* this connection's part of hr_tcp.offered_bufs */
    uint32_t drained;        /* bytes gone for good since drained_since_us */
    uint32_t drained_since_us; /* low bits of the clock */
    uint32_t stalled_since_ms; /* SND.UNA has not moved, or the window has been closed */
    uint32_t ack_at_us;      /* deadline of the delayed ACK, low bits of the clock; 0: none */
    uint16_t rcv_seg;        /* running mean of received segment sizes: a buffer's worth of bytes */
    uint16_t adv_mss;        /* our MSS option */

    /* Deadlines, 0 = none. */
    uint64_t rtx_at;         /* SYN, persist; else the first of the flight's */
    uint64_t ka_at;          /* keepalive */
    uint64_t end_at;         /* connect timeout, FIN-WAIT-2 */
    uint64_t last_rx_us;
    uint64_t last_tx_us;     /* data; during the handshake: the first SYN */
    struct hr_wheel_entry timer;

    /* Seldom. */
    void *user;
    uint32_t hash;           /* of a free block: index + 1 of the next free one */
    uint32_t iss, irs;
    uint32_t rcv_fin_seq;
    uint32_t retransmits;
    uint32_t min_rtt_us;     /* smallest of late, 0: none */
    uint32_t min_rtt_ms;     /* when it was seen */
    uint32_t tlp_end;        /* TLP.end_seq, SND.NXT when the probe left */
    uint16_t mss_full;       /* what mss was before the path's MTU lowered it; 0: it did not */
    uint16_t challenge_s;    /* the second in which challenges and answers were counted */
    uint8_t rack_mult;       /* the reordering window is this much, plus one, times a quarter of min_rtt_us */
    uint8_t rack_persist;    /* for so many recoveries more */
    uint8_t challenges : 4; /* challenge ACKs sent in that second */
    uint8_t answers : 4;    /* and answers to probes */
} __attribute__((aligned(64)));

/* There is one for each leg, idle or not; a field more is a decision. */
_Static_assert(HR_ZONES_MAX <= 16 && (int)HR_ZONE_PEER_MAX <= 16, "bits of a connection");
_Static_assert(sizeof(struct hr_tcp_conn) <= 384, "a connection block is six cache lines");
_Static_assert(offsetof(struct hr_tcp_conn, snd_nxt) == 64 && offsetof(struct hr_tcp_conn, cwnd) == 128,
               "lookup, acceptance and ACK in two lines");

/* Flow table: eight connections in a cache line, found by sixteen bits of their hash. */
#define HR_TCP_FLOW_KEYS 5
#define HR_TCP_BUCKET_WAYS 8
struct hr_tcp_bucket {
    uint16_t tag[HR_TCP_BUCKET_WAYS];
    uint32_t conn[HR_TCP_BUCKET_WAYS]; /* index + 1, 0 = free */
    uint32_t passed; /* connections that belong here and found it full: they stand in a following bucket */
} __attribute__((aligned(64)));

/* A connection in TIME-WAIT. Links are index + 1, 0 = none. */
#define HR_TCP_TIME_WAIT_MAX 0xffffffu
struct hr_tcp_time_wait {
    struct hr_flow flow;
    uint32_t snd_nxt, rcv_nxt;
    uint32_t ts_recent;
    uint32_t next, prev;      /* in order of expiry; next: of the free list */
    uint32_t hash_next : 24;
    uint32_t answers : 7;     /* ACKs sent from here */
    uint32_t ts_on : 1;
    uint16_t until;           /* in ticks, see time_wait.c */
    uint16_t wnd;             /* as the last segment said it */
};
_Static_assert(sizeof(struct hr_tcp_time_wait) == 64, "a cache line, as promised");

struct hr_tcp_time_waits {
    struct hr_tcp_time_wait *entries;
    uint32_t *buckets;        /* index + 1 */
    uint32_t bucket_mask;
    uint32_t first, last, free;
};

/* What is known of the path to an address; mss 0: nothing. */
#define HR_TCP_PMTU_ENTRIES 256
struct hr_tcp_pmtu {
    struct hr_addr remote;
    uint32_t until_ms;
    uint16_t mss;
};

/* The two keys in use, by parity of their epoch. */
struct hr_tcp_syncookies {
    uint64_t epoch[2];
    uint8_t key[2][16];
    uint64_t valid_until_us; /* no cookie is out there after this */
};

/* A port's allowance: sending adds the time it takes at the allowed rate, passing time pays it off, and up to
 * burst_ps may be owed. */
struct hr_tcp_port {
    uint64_t debt_ps, burst_ps, ps_per_byte, ps_per_packet;
    struct hr_tcp_fifo backlog;
};

/* What the segments of one connection's turn have in common: their headers, as they go in front of each. Behind a pad
 * those of link and network (if there is a prepared way), then TCP's, with timestamps or without: so the
 * HR_BUF_FRONT bytes that end with them are in the block either way. */
#define HR_TCP_RUN_TCP_MAX 32
struct hr_tcp_run {
    struct hr_net_way *way;     /* NULL: segments go to emit_take() */
    uint64_t ol_flags, tx_offload;
    uint32_t len;               /* payload bytes for which lengths and checksum in the block hold */
    uint16_t head_len, tcp_len; /* headers that are written, and TCP's part of them */
    bool ready;                 /* the rest is filled in */
    uint32_t n, budget;         /* segments sent in this flush, and what they may come to */
    uint32_t bytes;             /* of those of this turn, with their TCP headers */
    uint8_t block[HR_BUF_FRONT - sizeof(struct rte_tcp_hdr) + HR_TCP_RUN_TCP_MAX];
};

#define HR_TCP_PACE_SLOTS 64
struct hr_tcp_pace {
    struct hr_tcp_fifo slot[HR_TCP_PACE_SLOTS];
    uint64_t used;     /* a bit per slot */
    uint64_t slot_now; /* up to this all have been emptied */
    uint64_t refilled_us;
    uint32_t limited;  /* a bit per port */
    const struct hr_tcp_conn *turn_of; /* it came from a backlog and need not join it again */
    struct hr_tcp_port port[HR_TCP_MAX_PORTS];
};

#define HR_TCP_RX_BURST 32 /* segments that go in together */

struct hr_tcp {
    struct hr_tcp_config cfg;
    struct hr_buf_ctx *bufs;
    struct hr_stats *stats;
    struct hr_zone_link (*links)[HR_ZONES_MAX][2];
    const struct hr_tcp_cong_ops *cong;
    uint64_t now_us;
    uint32_t now_ms;

    struct hr_tcp_conn *conns;
    uint32_t free_head; /* index + 1, linked through hash */
    uint32_t n_conns, n_half_open, n_time_wait;
    uint32_t n_lingering; /* released, and their FIN is not acknowledged yet */
    struct hr_tcp_bucket *buckets;
    uint32_t n_buckets;
    uint64_t flow_key[HR_TCP_FLOW_KEYS];
    uint32_t flow_changes; /* counts what was put into the table or taken out */

    struct hr_zone_link unread_links[HR_ZONE_PEER_MAX][HR_ZONES_MAX][2]; /* of who does not ask for them */

    struct hr_buf_bin bin; /* of the burst that is being taken in: what it brought or acknowledged is given back with it */

    struct hr_tcp_fifo fifo[HR_TCP_FIFO_WAIT]; /* those who wait stand in pace */
    struct hr_tcp_time_waits time_wait;
    struct hr_wheel wheel;
    struct hr_tcp_pace pace;
    struct hr_tcp_run run;
    struct hr_tcp_slab ooo_slab, island_slab, gaps_slab, xmit_slab, flight_slab;

    struct hr_tcp_syncookies cookies;
    struct hr_tcp_pmtu pmtu[HR_TCP_PMTU_ENTRIES];
    struct { /* the search for connections that have been stalled longest */
        uint32_t at;        /* the round has come so far */
        uint32_t oldest_ms; /* seen in it */
        uint32_t limit_ms;  /* from the round before; 0: not known yet */
    } stalled;
    uint32_t pool_free;    /* receive buffers free, about: taken at hr_tcp_set_now() */
    uint32_t offered_bufs; /* windows offered, in buffers */
    uint8_t rcv_wscale;
    bool no_mbuf;          /* the header pool was empty in this flush */
    uint32_t illegal_transitions; /* a bug if it is not 0 */
};

/* A segment on its way in. */
struct hr_tcp_seg {
    struct rte_mbuf *m; /* the payload; NULL once taken, or where there is none */
    uint32_t seq, ack;
    uint32_t len;       /* payload bytes */
    uint32_t wnd;       /* not scaled */
    uint8_t flags;      /* RTE_TCP_*_FLAG; FIN is cleared when it is trimmed off */
    struct hr_tcp_opts opts;
};

/* stack.c */
void *hr_tcp_slab_get(struct hr_tcp_slab *s);
void hr_tcp_slab_put(struct hr_tcp_slab *s, void *obj);
/* Is every object back? For tests. */
bool hr_tcp_slabs_full(const struct hr_tcp *tcp);

/* conn.c */
struct hr_tcp_conn *hr_tcp_conn_new(struct hr_tcp *tcp, const struct hr_flow *flow);
void hr_tcp_conn_free(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_set_state(struct hr_tcp *tcp, struct hr_tcp_conn *c, enum hr_tcp_state state);
void hr_tcp_post(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t events);
/* Ends it for cause; c may be freed by this. */
void hr_tcp_fail(struct hr_tcp *tcp, struct hr_tcp_conn *c, enum hr_tcp_failure failure);
/* Ends it in good order; c may be freed by this. */
void hr_tcp_closed(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* Both halves are closed and we were first: c ends here, an entry of the other table stays; c may be freed. */
void hr_tcp_enter_time_wait(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* The handshake is complete. */
void hr_tcp_established(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* MSS, scale, timestamps and SACK as the peer's SYN says. */
void hr_tcp_apply_syn(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg);
void hr_tcp_set_mss(struct hr_tcp_conn *c, uint16_t mss);

static inline bool hr_tcp_synchronized(const struct hr_tcp_conn *c)
{
    return c->state >= HR_TCP_ESTABLISHED;
}

/* May the peer still send data? */
static inline bool hr_tcp_can_receive(const struct hr_tcp_conn *c)
{
    return c->state == HR_TCP_ESTABLISHED || c->state == HR_TCP_FIN_WAIT_1 || c->state == HR_TCP_FIN_WAIT_2;
}

/* conn.c: index + 1, as lists and the flow table hold it. */
static inline uint32_t hr_tcp_conn_no(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    return (uint32_t)(c - tcp->conns) + 1;
}

/* Of connections that do not stand in it, nor in another with the same link. */
static inline void hr_tcp_fifo_push(struct hr_tcp *tcp, struct hr_tcp_fifo *q, enum hr_tcp_fifo_id id,
                                    struct hr_tcp_conn *c)
{
    uint32_t no = hr_tcp_conn_no(tcp, c);
    c->next[id] = 0;
    *(q->last == 0 ? &q->first : &tcp->conns[q->last - 1].next[id]) = no;
    q->last = no;
}

static inline void hr_tcp_fifo_push_front(struct hr_tcp *tcp, struct hr_tcp_fifo *q, enum hr_tcp_fifo_id id,
                                          struct hr_tcp_conn *c)
{
    c->next[id] = q->first;
    q->first = hr_tcp_conn_no(tcp, c);
    if (q->last == 0)
        q->last = q->first;
}

static inline struct hr_tcp_conn *hr_tcp_fifo_pop(struct hr_tcp *tcp, struct hr_tcp_fifo *q, enum hr_tcp_fifo_id id)
{
    if (q->first == 0)
        return NULL;
    struct hr_tcp_conn *c = &tcp->conns[q->first - 1];
    q->first = c->next[id];
    if (q->first == 0)
        q->last = 0;
    return c;
}

/* flow.c */
void hr_tcp_flow_init(struct hr_tcp *tcp);
uint32_t hr_tcp_flow_hash(const struct hr_tcp *tcp, const struct hr_flow *flow);
struct hr_tcp_conn *hr_tcp_flow_find(const struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t hash);
/* Its bucket will be looked at soon. */
void hr_tcp_flow_prefetch(const struct hr_tcp *tcp, uint32_t hash);
void hr_tcp_flow_insert(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_flow_remove(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* RFC 6528 sequence number and RFC 7323 timestamp offset of a flow. */
void hr_tcp_flow_secrets(const struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t *ret_iss,
                         uint32_t *ret_ts_offset);

/* input.c: a segment by all the rules; c: its connection, NULL if there is none. seg->m is what is left of it. */
void hr_tcp_segment_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_flow *flow, uint32_t hash,
                          struct hr_tcp_seg *seg);
/* An ACK that may answer an attack; a few per second and connection (RFC 5961 7). There is no limit over all
 * connections that one of them could be seen to use up (CVE-2016-5696). */
void hr_tcp_challenge_ack(struct hr_tcp *tcp, struct hr_tcp_conn *c);

/* syncookie.c */
void hr_tcp_syncookie_init(struct hr_tcp_syncookies *k);
/* Answers a SYN without keeping anything. */
void hr_tcp_syncookie_send(struct hr_tcp *tcp, const struct hr_flow *flow, const struct hr_tcp_seg *syn);
/* Is this the ACK of a cookie? Then *ret_syn is the SYN that it answered, as far as it is known. */
bool hr_tcp_syncookie_check(struct hr_tcp *tcp, const struct hr_flow *flow, const struct hr_tcp_seg *seg,
                            struct hr_tcp_seg *ret_syn);

/* pmtu.c */
/* The peer and the route allow for mss; sets what the path is known to carry. */
void hr_tcp_pmtu_open(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint16_t mss);
/* ICMP names an MTU, about what is in flight. False: it makes nothing smaller. */
bool hr_tcp_pmtu_told(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint16_t mtu);
/* A retransmission timeout. */
void hr_tcp_pmtu_timeout(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* SND.UNA has moved; retries are not forgotten yet, recovery has not been told yet. */
void hr_tcp_pmtu_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* Bytes of a larger segment that is to be tried now, 0: none; only where mss_full is set. */
uint32_t hr_tcp_pmtu_probe(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, uint32_t pipe);
void hr_tcp_pmtu_probe_sent(struct hr_tcp_conn *c);

/* time_wait.c */
HR_MUST_CHECK int hr_tcp_time_wait_init(struct hr_tcp *tcp);
void hr_tcp_time_wait_fini(struct hr_tcp *tcp);
struct hr_tcp_time_wait *hr_tcp_time_wait_find(const struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t hash);
/* c is about to be CLOSED. */
void hr_tcp_time_wait_add(struct hr_tcp *tcp, const struct hr_tcp_conn *c);
void hr_tcp_time_wait_remove(struct hr_tcp *tcp, struct hr_tcp_time_wait *tw);
/* RFC 6191: may this SYN begin a new connection? */
bool hr_tcp_time_wait_reusable(const struct hr_tcp_time_wait *tw, const struct hr_tcp_seg *seg);
/* Any other segment. */
void hr_tcp_time_wait_input(struct hr_tcp *tcp, struct hr_tcp_time_wait *tw, const struct hr_tcp_seg *seg);
/* Entries whose time is over go; returns when the next one's is, UINT64_MAX if there is none. */
uint64_t hr_tcp_time_wait_advance(struct hr_tcp *tcp);

/* ack.c: false: the segment is to be dropped (c may be gone if it returns false) */
bool hr_tcp_ack_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg, bool old);

/* recovery.c */
/* Something is about to be in flight. False: no object is free. */
HR_MUST_CHECK bool hr_tcp_flight_attach(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* Nothing is in flight any more, or the connection ends. */
void hr_tcp_flight_detach(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* An ACK moved SND.UNA by acked bytes, and brought what d tells; dup: it counts as a duplicate. */
void hr_tcp_recovery_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d,
                           uint32_t acked, bool dup);
void hr_tcp_recovery_timeout(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_recovery_reo_timer(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_recovery_lose_rest(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* Everything in flight is to be sent again, without a verdict on the path's capacity (smaller MTU). */
void hr_tcp_recovery_resend(struct hr_tcp_conn *c);
uint32_t hr_tcp_recovery_pipe(const struct hr_tcp_conn *c);
/* The next lost range, at most a segment long. */
bool hr_tcp_recovery_lost(const struct hr_tcp_conn *c, struct hr_tcp_range *ret);

/* rack.c */
void hr_tcp_rack_delivered(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d);
void hr_tcp_rack_dsack(struct hr_tcp_conn *c);
void hr_tcp_rack_recovered(struct hr_tcp_conn *c);
/* True: something is lost that was not before. */
bool hr_tcp_rack_detect(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_rack_timeout(struct hr_tcp *tcp, struct hr_tcp_conn *c);

/* tlp.c */
/* TLP.max_ack_delay: a lone segment's ACK may be delayed for so long. */
#define HR_TCP_MAX_ACK_DELAY_US 200000
/* A probe that races its ACK is of no use, and a peer may be as busy as we are. */
#define HR_TCP_PTO_MIN_US 2000
#define HR_TCP_PTO_WITHOUT_RTT_US 1000000
/* RFC 8985 7.2: how long the probe waits. */
static inline uint32_t hr_tcp_tlp_wait_us(const struct hr_tcp_conn *c)
{
    if (c->srtt_us == 0)
        return HR_TCP_PTO_WITHOUT_RTT_US;
    return RTE_MAX(2 * c->srtt_us, (uint32_t)HR_TCP_PTO_MIN_US) +
           (c->snd_nxt - c->snd_una <= c->smss ? HR_TCP_MAX_ACK_DELAY_US : 0);
}
void hr_tcp_tlp_schedule(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_tlp_fire(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_tlp_sent(struct hr_tcp *tcp, struct hr_tcp_conn *c, bool again);
bool hr_tcp_tlp_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t ack, const struct hr_tcp_range *dsack,
                      bool dup);

/* prr.c */
void hr_tcp_prr_begin(struct hr_tcp_prr *p, uint32_t flight, uint32_t sacked, const struct hr_tcp_delivered *d);
uint32_t hr_tcp_prr_cwnd(struct hr_tcp_prr *p, uint32_t pipe, uint32_t ssthresh, uint32_t smss,
                         uint32_t delivered, bool safe);

/* undo.c */
void hr_tcp_undo_mark(struct hr_tcp_conn *c);
void hr_tcp_undo_dsack(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_range *r);
bool hr_tcp_frto_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d, bool advanced,
                       bool dup);

/* sack.c */
/* Notes what the blocks say; d NULL: nothing is in flight. True: *ret_dsack is a duplicate that the peer
 * reports. */
bool hr_tcp_sack_take(struct hr_tcp_conn *c, const struct hr_tcp_seg *seg, struct hr_tcp_delivered *d,
                      struct hr_tcp_range *ret_dsack);

/* reass.c */
void hr_tcp_reass_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg);
/* The next bytes of a connection for which nothing waits out of order: n segments, hdr_len of header before each one's
 * payload, `bytes` of payload in all. Takes them. Only the first may be beyond hr_tcp_reass_room(). */
void hr_tcp_reass_row(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct rte_mbuf **segs, uint32_t n, uint32_t hdr_len,
                      uint32_t bytes);
/* Buffers that may come in order before the connection holds too many. */
uint32_t hr_tcp_reass_room(const struct hr_tcp *tcp, const struct hr_tcp_conn *c);
void hr_tcp_reass_clear(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* [start, end) arrived again: the next ACK says so (RFC 2883), where the peer speaks SACK. */
void hr_tcp_reass_duplicate(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t start, uint32_t end);
/* The duplicate has been reported. */
void hr_tcp_reass_reported(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* Pieces held out of order. */
static inline uint32_t hr_tcp_reass_pieces(const struct hr_tcp_conn *c)
{
    return c->gaps == NULL ? 0 : c->gaps->n;
}
/* Where the last of them ends; RCV.NXT if there is none. */
uint32_t hr_tcp_reass_end(const struct hr_tcp_conn *c);
/* The blocks to report, newest first; returns how many (at most max). */
uint32_t hr_tcp_reass_sack(const struct hr_tcp_conn *c, struct hr_tcp_range *ret, uint32_t max);
/* Cuts bytes off a chain; returns the chain that is left. */
struct rte_mbuf *hr_tcp_trim_head(struct rte_mbuf *m, uint32_t n);
struct rte_mbuf *hr_tcp_trim_to(struct rte_mbuf *m, uint32_t len);

/* ackpolicy.c */
void hr_tcp_ack_soon(struct hr_tcp *tcp, struct hr_tcp_conn *c); /* in the next flush */
/* So many segments came in order. */
void hr_tcp_ack_received(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t segs);
/* The sender starts, or starts again: no thinning for a while. */
void hr_tcp_ack_quick(struct hr_tcp_conn *c);
/* The deadline of the delayed ACK, 0 = none. What seems to lie further ahead than it ever may is long past. */
static inline uint64_t hr_tcp_ack_at(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    uint32_t left_us = c->ack_at_us - (uint32_t)tcp->now_us;
    return c->ack_at_us == 0 ? 0 : tcp->now_us + (left_us <= tcp->cfg.delayed_ack_us + 1 ? left_us : 0);
}
void hr_tcp_ack_fire(struct hr_tcp *tcp, struct hr_tcp_conn *c);

/* An acceptable segment of the peer's: what it says beside its bytes and its acknowledgement. */
static inline void hr_tcp_heard(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    /* RFC 7323 4.3 (2) */
    if (c->ts_on && (hr_seq_leq(seg->seq, c->last_ack_sent) || HR_MUTANT(TS_RECENT_ALWAYS)) &&
        !hr_seq_lt(seg->opts.tsval, c->ts_recent)) {
        c->ts_recent = seg->opts.tsval;
        c->ts_recent_ms = tcp->now_ms;
    }
    if (tcp->now_us - c->last_rx_us > c->rto_us)
        hr_tcp_ack_quick(c);
    c->last_rx_us = tcp->now_us;
    c->ka_probes = 0;
}

/* A segment left, and with it the acknowledgement of all that came. */
void hr_tcp_ack_sent(struct hr_tcp_conn *c);

/* What counts the segments of this connection. */
static inline struct hr_zone_link *hr_tcp_link(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, bool v6)
{
    return &tcp->links[c->peer][c->zone][v6];
}

/* window.c */
/* Moves the right edge as far as the budget allows; called before a segment leaves. */
void hr_tcp_window_advance(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* The window's part of hr_tcp.offered_bufs, anew. It follows when a segment leaves, not when one arrives: what has
 * come in of an offered window counts for so long, which is little. */
void hr_tcp_window_account(struct hr_tcp *tcp, struct hr_tcp_conn *c);

/* output.c */
void hr_tcp_mark_dirty(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_unmark_dirty(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* Bytes that have not been sent once. */
static inline uint32_t hr_tcp_unsent(const struct hr_tcp_conn *c)
{
    return c->fin_sent ? 0 : c->snd_una + c->sndq.bytes - c->snd_nxt;
}
/* Is there anything that has not been sent once? */
static inline bool hr_tcp_waits(const struct hr_tcp_conn *c)
{
    return hr_tcp_unsent(c) > 0 || (c->fin_queued && !c->fin_sent);
}

/* segment.c */
/* A segment without connection, at once; false when no buffer was free. */
bool hr_tcp_send_stateless(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t seq, uint32_t ack, uint8_t flags,
                           uint16_t wnd, const struct hr_tcp_opts *opts);
void hr_tcp_send_rst(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t seq, uint32_t ack, bool with_ack);
void hr_tcp_send_conn_rst(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* What every segment of a connection says about its receiving half. */
static inline uint16_t hr_tcp_window_field(const struct hr_tcp_conn *c)
{
    uint32_t wnd = hr_seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0;
    return (uint16_t)RTE_MIN(wnd >> c->rcv_wscale, 65535u);
}
/* A segment of c's without payload, with other options than timestamps alone; ack 0 and no ACK flag: none. */
bool hr_tcp_send_options(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t seq, uint32_t ack, uint8_t flags,
                         uint16_t wnd, struct hr_tcp_opts *opts);
/* A segment of c's without payload. */
bool hr_tcp_send_bare(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t seq, uint8_t flags);
/* Sends len bytes of the queue from seq on, in segments of seg bytes, and the FIN behind them if fin. Returns the bytes
 * that went, the FIN counted: fewer where buffers are short or the turn's budget ends; at least one segment is within
 * it. */
uint32_t hr_tcp_send_data(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t seq, uint32_t len, uint32_t seg, bool fin);

/* pace.c */
void hr_tcp_pace_init(struct hr_tcp *tcp);
/* So much may leave at once, whatever the rate. */
static inline uint32_t hr_tcp_pace_initial(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    return tcp->cfg.initial_cwnd_segs * (uint32_t)c->smss;
}
/* The burst in flight has reached its limit: may len bytes more leave? If not, c waits. */
HR_MUST_CHECK bool hr_tcp_pace_burst(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t len);
/* May c's port send? If not, c waits. */
HR_MUST_CHECK bool hr_tcp_pace_port(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* A segment of c's leaves, so long with its TCP header. */
void hr_tcp_pace_charge(struct hr_tcp *tcp, const struct hr_tcp_conn *c, uint32_t len);
/* Its turn ended with more to send. */
void hr_tcp_pace_again(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_pace_refill(struct hr_tcp *tcp);
/* The next whose port may send again; NULL: nobody. */
struct hr_tcp_conn *hr_tcp_pace_next(struct hr_tcp *tcp);
bool hr_tcp_pace_ready(const struct hr_tcp *tcp); /* is there one? */
/* Those whose pace lets them go on become dirty. */
void hr_tcp_pace_advance(struct hr_tcp *tcp);

/* timers.c */
/* The deadlines changed: sees to it that the wheel fires in time. */
void hr_tcp_timer_arm(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_timer_stop(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* Starts the retransmission timer anew if anything is in flight, else stops it. */
void hr_tcp_rtx_restart(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* The same where an ACK has just moved SND.UNA and nothing is lost: the timeout is not backed off, nobody stalls. */
void hr_tcp_rtx_plain(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* One of the flight's deadlines changed. */
void hr_tcp_rtx_sync(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_ka_restart(struct hr_tcp *tcp, struct hr_tcp_conn *c);

/* rtt.c */
void hr_tcp_rtt_sample(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t rtt_us);
static inline uint32_t hr_tcp_rtt_since(const struct hr_tcp *tcp, uint64_t at_us)
{
    /* A stamp may be some ticks ahead of the clock (xmit.c). */
    uint64_t us = tcp->now_us > at_us ? tcp->now_us - at_us : 1;
    return us > UINT32_MAX / 4 ? UINT32_MAX / 4 : (uint32_t)us;
}
/* SND.UNA moved over what was sent once, beginning at oldest_us. */
void hr_tcp_rtt_plain(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint64_t oldest_us, uint32_t newest_rtt_us);
/* An ACK brought news. */
void hr_tcp_rtt_acked(const struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d);
/* RTO with its backoff. */
uint32_t hr_tcp_rto(const struct hr_tcp *tcp, const struct hr_tcp_conn *c);

/* cong.c, and an algorithm per cong_NAME.c */
struct hr_tcp_cong_ops {
    const char *name;
    /* Congestion avoidance: so many bytes left the network (at most a window) and the window was in use. */
    void (*avoid)(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t acked);
    /* Loss with so much in flight, or a timeout: the new ssthresh. cwnd is still the old one. */
    uint32_t (*reduce)(struct hr_tcp_conn *c, uint32_t flight, bool timeout);
};
extern const struct hr_tcp_cong_ops hr_tcp_cong_cubic, hr_tcp_cong_reno;
const struct hr_tcp_cong_ops *hr_tcp_cong_find(enum hr_tcp_cong_algorithm algorithm);

void hr_tcp_cong_init(struct hr_tcp *tcp, struct hr_tcp_conn *c);
/* New data was acknowledged; flight_before: SND.NXT - SND.UNA before it was. */
void hr_tcp_cong_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t acked, uint32_t flight_before);
/* For each RTT sample, the more the better: HyStart++ wants eight per round trip. */
void hr_tcp_cong_rtt(struct hr_tcp_conn *c, uint32_t rtt_us);
/* Fast recovery begins: cwnd and ssthresh are what they shall be after it (RFC 9937 starts from the window before
 * and ends at ssthresh). acked: what the ACK that told of the loss has taken out of the flight just now. */
void hr_tcp_cong_loss(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t acked);
void hr_tcp_cong_timeout(struct hr_tcp *tcp, struct hr_tcp_conn *c);
void hr_tcp_cong_recovered(struct hr_tcp_conn *c);
void hr_tcp_cong_idle(struct hr_tcp *tcp, struct hr_tcp_conn *c); /* about to send with nothing in flight */
/* Before hr_tcp_cong_loss() or hr_tcp_cong_timeout(), and when that proved to be spurious (RFC 9438 4.9). */
void hr_tcp_cong_save(const struct hr_tcp_conn *c, struct hr_tcp_cong_saved *ret);
void hr_tcp_cong_undo(struct hr_tcp_conn *c, const struct hr_tcp_cong_saved *saved);
/* The first slow start is over. */
void hr_tcp_cong_leave_start(struct hr_tcp_conn *c);

/* hystart.c */
#define HR_TCP_CSS_GROWTH_SHIFT 2 /* RFC 9406: CSS_GROWTH_DIVISOR 4 */
void hr_tcp_hystart_init(struct hr_tcp_conn *c);
void hr_tcp_hystart_rtt(struct hr_tcp_conn *c, uint32_t rtt_us);
void hr_tcp_hystart_acked(struct hr_tcp_conn *c);

/* cong_cubic.c, for tests */
uint32_t hr_tcp_cbrt(uint64_t a); /* rounded down; a < 2^63 */
/* The curve at t_ms from its inflection, bytes. */
uint32_t hr_tcp_cubic_window(uint32_t w_max, int32_t t_ms, uint16_t smss);

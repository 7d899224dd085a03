/* What was sent when: the transmit records of a connection, and with them the scoreboard (RFC 6675 3).
 *
 *   SND.UNA                                                            SND.NXT
 *      |  lost  | SACKed |  in flight, sent at t2  |  lost  | in flight, t3 |
 *
 * Records cover SND.UNA to SND.NXT without a gap. What left in one burst is one record as long as it shares one
 * fate; a SACK block or a retransmission cuts it. A record is in one of three states:
 *
 *   in flight   in a list in the order of transmission (RFC 8985: by time, then by sequence number)
 *   lost        in the list of what is to be sent again, about by sequence number
 *   SACKed      in no list; neighbours are joined, the time of transmission is forgotten
 *
 * So pipe is a subtraction, RACK looks only at what it declares lost, and a SACK block costs one look-up. The
 * first record is part of the set, so that one can always send; further ones come from the slab, of which SACK
 * blocks may take half, and one connection a sixteenth: beyond, blocks are not noted and bursts share a record.
 *
 * struct hr_tcp_delivered collects what one ACK says was delivered, for all who want to know. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "dataplane/tcp/options.h"
#include "dataplane/tcp/seq.h"
#include "dataplane/tcp/seqtree.h"

struct hr_tcp_slab;

enum hr_txrec_state {
    HR_TXREC_IN_FLIGHT = 0,
    HR_TXREC_LOST,
    HR_TXREC_SACKED,
};

struct hr_txrec {
    struct hr_seqnode node; /* by the first byte; first member */
    uint32_t end;
    uint8_t state;          /* enum hr_txrec_state */
    bool retransmitted;     /* at least once: Karn's ambiguity */
    bool known;             /* was SACKed before a timeout: its delivery is no news */
    uint64_t xmit_us;       /* the last transmission */
    TAILQ_ENTRY(hr_txrec) link; /* by state */
};
TAILQ_HEAD(hr_txrec_list, hr_txrec);

struct hr_tcp_xmit {
    struct hr_seqtree tree;
    struct hr_txrec_list in_time, lost;
    uint32_t sacked_bytes, lost_bytes;
    uint32_t n_sacked;      /* SACKed records: islands at the receiver */
    bool first_used;
    struct hr_txrec first;
    uint64_t ahead_us;      /* the newest time of transmission, where it was set ahead of the clock; else older */
    struct hr_tcp_slab *slab;
};

/* Filled in before: what a retransmission's delivery is judged by (RFC 8985 6.2 step 2), and the highest that
 * was delivered before this ACK. */
struct hr_tcp_delivered {
    uint64_t now_us;
    uint32_t min_rtt_us;
    uint32_t fack;
    uint32_t recover;      /* original counts below it (RFC 5682) */
    uint32_t echo_ms;      /* our clock as the ACK echoes it */
    bool has_echo;
    /* Found. */
    uint32_t acked;        /* bytes that are news by the cumulative acknowledgement */
    uint32_t sacked;       /* and by SACK blocks */
    uint64_t xmit_us;      /* the transmission made last among those delivered; 0: none is certain */
    uint32_t end;          /* and its last byte, plus one */
    uint64_t oldest_us;    /* the first of those acknowledged in order, 0: none */
    uint32_t highest;      /* what was delivered, now or before, ends here */
    bool ambiguous;        /* one of those was sent more than once */
    bool earlier;          /* an earlier copy than the last was delivered, says the echo */
    bool original;         /* something below recover was delivered that was sent once */
    bool reordered;        /* such a segment arrived behind a later one */
};

static inline struct hr_txrec *hr_txrec_of(struct hr_seqnode *node)
{
    return (struct hr_txrec *)(void *)node;
}

/* In flight, and has been since it was sent, once. */
static inline bool hr_txrec_is_plain(const struct hr_txrec *r)
{
    return r->state == HR_TXREC_IN_FLIGHT && !r->retransmitted && !r->known;
}

/* RACK_sent_after() of RFC 8985 6.2: is (t1, end1) later than (t2, end2)? */
bool hr_txrec_sent_after(uint64_t t1, uint32_t end1, uint64_t t2, uint32_t end2);

void hr_tcp_xmit_init(struct hr_tcp_xmit *x, struct hr_tcp_slab *slab, uint32_t seed);
void hr_tcp_xmit_clear(struct hr_tcp_xmit *x);

/* May new data be noted? Where not, the peer has SACKed all up to SND.NXT and records are short. */
bool hr_tcp_xmit_room(const struct hr_tcp_xmit *x);
/* New data [seq, end) leaves; there is room. */
void hr_tcp_xmit_sent_first(struct hr_tcp_xmit *x, uint32_t seq, uint32_t end, uint64_t now_us);
static inline void hr_tcp_xmit_sent(struct hr_tcp_xmit *x, uint32_t seq, uint32_t end, uint64_t now_us)
{
    struct hr_txrec *last = hr_txrec_of(x->tree.last);
    if (last != NULL && last->xmit_us == now_us && hr_txrec_is_plain(last) && TAILQ_NEXT(last, link) == NULL)
        last->end = end; /* the burst goes on */
    else
        hr_tcp_xmit_sent_first(x, seq, end, now_us);
}
/* [seq, end), of one record that is not SACKed, leaves again. */
void hr_tcp_xmit_sent_again(struct hr_tcp_xmit *x, uint32_t seq, uint32_t end, uint64_t now_us);

/* Where all is in flight: was everything up to una sent once? Then it can be dropped without further questions;
 * the result is when the last of it left. */
bool hr_tcp_xmit_plain_bursts(const struct hr_tcp_xmit *x, uint32_t una);
static inline bool hr_tcp_xmit_plain(const struct hr_tcp_xmit *x, uint32_t una)
{
    const struct hr_txrec *r = hr_txrec_of(x->tree.first);
    return hr_txrec_is_plain(r) && (hr_seq_leq(una, r->end) || hr_tcp_xmit_plain_bursts(x, una));
}
uint64_t hr_tcp_xmit_drop_bursts(struct hr_tcp_xmit *x, uint32_t una);
static inline uint64_t hr_tcp_xmit_drop_plain(struct hr_tcp_xmit *x, uint32_t una)
{
    struct hr_txrec *r = hr_txrec_of(x->tree.first);
    if (!hr_seq_lt(una, r->end))
        return hr_tcp_xmit_drop_bursts(x, una);
    r->node.seq = una; /* part of a burst */
    return r->xmit_us;
}
/* Everything below una is with the peer. */
void hr_tcp_xmit_acked(struct hr_tcp_xmit *x, uint32_t una, struct hr_tcp_delivered *d);
/* The peer holds [start, end), which lies between SND.UNA and SND.NXT. */
void hr_tcp_xmit_sacked(struct hr_tcp_xmit *x, uint32_t start, uint32_t end, struct hr_tcp_delivered *d);
/* The peer may have thrown away what it SACKed (RFC 2018 8): all of it is in flight again. */
void hr_tcp_xmit_unsack(struct hr_tcp_xmit *x);

/* A record in flight is lost. */
void hr_tcp_xmit_lose(struct hr_tcp_xmit *x, struct hr_txrec *r);
/* The first bytes, up to len, are lost unless they are SACKed. */
void hr_tcp_xmit_lose_first(struct hr_tcp_xmit *x, uint32_t len);
void hr_tcp_xmit_lose_all(struct hr_tcp_xmit *x);
/* What was called lost is in flight after all. */
void hr_tcp_xmit_found(struct hr_tcp_xmit *x);
/* What is to be sent again next; false: nothing. */
bool hr_tcp_xmit_next_lost(const struct hr_tcp_xmit *x, struct hr_tcp_range *ret);

/* RFC 6675 4: the estimate of what is in the network, of una to nxt. */
static inline uint32_t hr_tcp_xmit_pipe(const struct hr_tcp_xmit *x, uint32_t una, uint32_t nxt)
{
    return nxt - una - x->sacked_bytes - x->lost_bytes;
}

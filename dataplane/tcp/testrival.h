/* For tests: a flow of somebody else's through the bottleneck of a path (testpath.h), as a Linux host sends it: CUBIC
 * with HyStart (delay and ACK train), its growth of at least a twentieth per round trip until the first loss, its Reno
 * region, PRR, one reduction per round trip. It always has something to send.
 *
 * It is a model, not a stack: packets have numbers that are used once, the path keeps their order, so a packet is lost
 * when one is acknowledged that was sent three later, and what was lost is sent again as one packet more. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tp_path;

#define TR_RING (1u << 14) /* packets on their way, at most */

struct tr_rival {
    uint64_t start_us;  /* begins so long after tp_open() */
    uint64_t delivered; /* packets of the path's MSS less timestamps */
    uint64_t reductions;
    double cwnd, ssthresh; /* packets */

    /* Packets by number, modulo TR_RING. */
    uint64_t sent_at[TR_RING], back_at[TR_RING]; /* back_at 0: dropped */
    uint64_t next, arrived, oldest; /* to be sent; to come back; not known to have arrived or to be lost */
    uint32_t unacked;      /* arrived, and the ACK waits for another */
    double pipe;
    uint64_t progress_at;

    /* CUBIC. */
    double w_max, origin, w_tcp, k_s, ack_cnt, delay_min_us;
    uint64_t epoch_at;
    /* HyStart. */
    uint64_t round_end, round_at, last_ack_at;
    double round_rtt_us;
    uint32_t samples;
    /* PRR. */
    bool recovering;
    uint64_t recover;
    double prior, prr_delivered, prr_out;
};

/* Everything that is due now; returns when there will be more. */
uint64_t tr_turn(struct tr_rival *r, struct tp_path *p);

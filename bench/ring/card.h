/* An emulated network card: descriptor rings in memory, and the driver's half of a DPDK port in front of them.
 *
 * The driver's half is what the worker calls through rte_eth_rx_burst() and rte_eth_tx_burst(), and so part of what
 * is measured: it reads descriptors, fills in mbufs, posts fresh buffers in bulk, writes transmit descriptors and
 * frees what has been sent, in bulk too. The card's half is called by the wire, outside the measured section: it
 * says where the next frame goes, marks descriptors done, and walks what is to be sent.
 *
 * Received frames land in buffers in the order in which they were posted, so the number of receive descriptors says
 * how much memory the wire cycles through.
 *
 * Threads: one; driver and card take turns. */
#pragma once

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

#define RB_CARD_TX_DESC 4096u
#define RB_CARD_MAX_SEGS 17 /* mbufs per packet, as ENA takes them */

struct rb_card_desc {
    uint64_t addr;
    uint32_t hash;
    uint16_t len;
    uint16_t flags;
};

struct rb_card {
    struct rte_mempool *pool; /* receive buffers come from here */
    uint16_t port_id;
    uint32_t n_rx, n_tx; /* powers of two */
    struct rb_card_desc *rx, *tx;
    struct rte_mbuf **rx_mbuf, **tx_mbuf;
    uint64_t rearm, rx_flags; /* what each received mbuf starts with */
    /* The driver's: all count up, an index is the count modulo the ring. */
    uint32_t rx_next, rx_posted;
    uint32_t tx_next, tx_freed;
    /* The card's. */
    uint32_t rx_done, tx_done;
    uint64_t no_buffer; /* frames lost because no buffer was posted */
    /* What DPDK's table of burst functions points at. */
    void *queue[1], *callbacks[1];
} __attribute__((aligned(128))); /* two workers' queues are written by two cores */

/* n_rx: receive descriptors, a power of two. cksum: received checksums count as verified. Takes over port_id in
 * DPDK's table; aborts when memory is short. */
void rb_card_open(struct rb_card *card, uint16_t port_id, struct rte_mempool *pool, uint32_t n_rx, bool cksum);
/* Gives every buffer back. */
void rb_card_close(struct rb_card *card);

/* Where the next frame of len bytes is to be written; NULL (counted) when no buffer is posted. */
uint8_t *rb_card_rx_place(struct rb_card *card);
void rb_card_rx_done(struct rb_card *card, uint16_t len, uint32_t hash);
/* Frames that the driver has not taken yet. */
static inline uint32_t rb_card_rx_waiting(const struct rb_card *card)
{
    return card->rx_done - card->rx_next;
}

/* The next descriptor to be sent, NULL if there is none; *ret_last: it ends its packet. Counts as sent. */
const struct rb_card_desc *rb_card_tx_next(struct rb_card *card, bool *ret_last);

/* Drops from all caches: the frames that wait, their descriptors, the descriptors to be written next. */
void rb_card_flush_caches(struct rb_card *card);

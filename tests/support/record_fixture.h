/* A record layer with one leg, its peer, and queues to feed and to read. For tests and fuzzing of dataplane/tls. */
#pragma once

#include "dataplane/buf/buf.h"
#include "dataplane/tls/record.h"
#include "tests/support/tls_peer.h"

/* How bytes come to stand in the receive queue. */
enum rx_shape {
    RX_MERGED,    /* buffers of up to 1448 bytes, ours alone */
    RX_REFERRED,  /* the same, each referred to by somebody else as well */
    RX_INTERLEAVED, /* disjoint ranges of one buffer after the other, three bytes of something else between them */
    RX_SHAPE_MAX
};

struct rx {
    struct hr_buf_ctx bufs;
    struct hr_stats stats;
    struct hr_rec *rec;
    const void *lib; /* LeakSanitizer does not look into a mapping of our own */
    struct hr_rec_leg *leg;
    struct tp peer_write, peer_read; /* of the peer: what it seals, what it opens */
    struct hr_pieceq in, out;
    struct rte_mbuf *held[4096]; /* references of somebody else */
    uint32_t n_held;
};

void rx_init(struct rx *x, uint32_t rekey_records);
/* False where anything has leaked. */
bool rx_fini(struct rx *x);
/* A leg from these secrets; the peer is its mirror. */
void rx_leg(struct rx *x, const struct hr_tls_secrets *secrets);
/* Everything that the leg and the queues hold goes. */
void rx_leg_close(struct rx *x);

/* Appends to the receive queue, cut into pieces of at most `piece` bytes. */
void rx_feed(struct rx *x, const uint8_t *p, uint32_t len, uint32_t piece, enum rx_shape shape);
/* The bytes that must not change in RX_INTERLEAVED have not. */
bool rx_guards_intact(const struct rx *x);
/* Appends plain bytes to what is to be sealed. */
void rx_push_plain(struct rx *x, const uint8_t *p, uint32_t len, uint32_t piece, enum rx_shape shape);
/* Copies and drops all of a queue; returns its length. */
uint32_t rx_drain(struct rx *x, struct hr_pieceq *q, uint8_t *ret, uint32_t max);

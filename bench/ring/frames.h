/* What clients and brokers of the bench say to each other: one request and one response, made once.
 *
 * Both are Kafka frames (Produce, version 11, one topic, one partition, acks = all) padded to the size asked for: the
 * request by its records, the response by the name of its topic. They are sent by reference, again and again, so
 * that the generator costs little; a relay of mode "tcp" gets the same bytes. */
#pragma once

#include "dataplane/buf/buf.h"

#define RB_FRAME_PIECES 8

struct rb_frame {
    uint32_t len; /* bytes, size field included */
    uint8_t *bytes;
    struct rte_mempool *pool;
    uint32_t n;
    struct hr_piece piece[RB_FRAME_PIECES];
};

#define RB_REQUEST_MIN 64u
#define RB_RESPONSE_MIN 64u

/* total: bytes of the whole frame. */
void rb_frame_request(struct rb_frame *frame, uint32_t total);
void rb_frame_response(struct rb_frame *frame, uint32_t total);
void rb_frame_free(struct rb_frame *frame);

/* Appends the frame to q, by reference. False: no chunk is free. */
bool rb_frame_append(const struct rb_frame *frame, struct hr_buf_ctx *bufs, struct hr_pieceq *q);
/* Are the first n bytes of q those of the frame from `at` on, and round again? */
bool rb_frame_equal(const struct rb_frame *frame, uint32_t at, const struct hr_pieceq *q, uint32_t n);

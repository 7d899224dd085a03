/* A walker over a Kafka frame that stands in a queue of pieces. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dataplane/buf/buf.h"
#include "shared/kafka/walk.h"

/* A place in a queue: off bytes behind the beginning of a piece, which may lie beyond its end. So going on costs
 * nothing, and the pieces on the way are looked at only when bytes are. Changes at the queue's front end it. */
struct hr_frame_cursor {
    const struct hr_piece_chunk *chunk;
    uint32_t index;
    uint32_t off;
};

static inline void hr_frame_cursor_at(struct hr_frame_cursor *at, const struct hr_pieceq *q, uint32_t off)
{
    at->chunk = q->first;
    at->index = q->first ? q->first->head : 0;
    at->off = off;
}

/* The bytes from there to the end of the piece that they stand in; there must be one. */
static inline const uint8_t *hr_frame_cursor_bytes(struct hr_frame_cursor *at, uint32_t *ret_len)
{
    const struct hr_piece *p = &at->chunk->piece[at->index];

    while (at->off >= p->len) {
        at->off -= p->len;
        if (++at->index == at->chunk->tail) {
            at->chunk = at->chunk->next;
            at->index = at->chunk->head;
        }
        p = &at->chunk->piece[at->index];
    }
    *ret_len = p->len - at->off;
    return hr_piece_data(p) + at->off;
}

/* Walks on at a place of the queue, over at most *left bytes, all of which are there; both say then how far it came.
 * MORE: *left is used up. What is skipped is not looked for; what is read comes in runs, one for each piece. */
static inline enum hr_kwalk_event hr_framewalk_next(struct hr_kwalk *w, struct hr_frame_cursor *at, uint32_t *left)
{
    for (;;) {
        uint32_t run = 0, used = hr_kwalk_pass(w, *left);
        at->off += used;
        *left -= used;
        const uint8_t *p = *left > 0 ? hr_frame_cursor_bytes(at, &run) : NULL;
        enum hr_kwalk_event ev = hr_kwalk_next(w, p, run < *left ? run : *left, &used);
        at->off += used;
        *left -= used;
        if (ev != HR_KWALK_MORE || *left == 0)
            return ev;
    }
}

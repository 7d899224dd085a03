/* A walker over a whole Kafka frame in a queue of pieces: the header's schema first, then the body's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/buf/buf.h"
#include "shared/kafka/walk.h"

#define HR_FRAME_SIZE_LEN 4 /* bytes of the size in front, which does not count itself */

struct hr_framewalk {
    struct hr_kwalk w;
    const struct hr_kmessage *body;
    int16_t version;
    bool in_header;
    uint32_t body_at; /* frame offset of the body, once the header is passed */
};

/* Prepares for a frame of total bytes, size included; pos behind the size is the first byte fed. */
void hr_framewalk_init(struct hr_framewalk *fw, const struct hr_kmessage *header, int16_t header_version,
                       const struct hr_kmessage *body, int16_t version, uint32_t total);

/* Sets *it and *left for walking on in q, whose first byte has frame offset base, over at most limit bytes of
 * q. The caller keeps both for one batch. */
void hr_framewalk_start(const struct hr_framewalk *fw, const struct hr_pieceq *q, uint32_t base,
                        uint32_t limit, struct hr_piece_iter *it, uint32_t *left);

/* Walks the header only: DONE once it is passed (body_at is set then), MORE or BAD. */
enum hr_kwalk_event hr_framewalk_header(struct hr_framewalk *fw, struct hr_piece_iter *it, uint32_t *left);

/* The next event of the body, after the header, whose events are not reported; DONE at the body's end, MORE
 * when *left is used up. */
enum hr_kwalk_event hr_framewalk_next(struct hr_framewalk *fw, struct hr_piece_iter *it, uint32_t *left);

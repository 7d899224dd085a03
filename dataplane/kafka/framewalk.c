/* The iterator and the walker advance together; neither looks at bytes that are skipped. */
#include "dataplane/kafka/framewalk.h"

#include <stddef.h>

void hr_framewalk_init(struct hr_framewalk *fw, const struct hr_kmessage *header, int16_t header_version,
                       const struct hr_kmessage *body, int16_t version, uint32_t total)
{
    hr_kwalk_init(&fw->w, header, header_version, HR_FRAME_SIZE_LEN, total);
    fw->body = body;
    fw->version = version;
    fw->in_header = true;
    fw->body_at = 0;
}

void hr_framewalk_start(const struct hr_framewalk *fw, const struct hr_pieceq *q, uint32_t base,
                        uint32_t limit, struct hr_piece_iter *it, uint32_t *left)
{
    uint32_t off = fw->w.pos - base;

    if (limit > q->bytes)
        limit = q->bytes;
    *left = limit > off ? limit - off : 0;
    hr_piece_iter_at(it, q, off < q->bytes ? off : q->bytes);
}

/* Feeds runs until an event other than MORE, or until *left is used up. */
static enum hr_kwalk_event feed(struct hr_kwalk *w, struct hr_piece_iter *it, uint32_t *left)
{
    for (;;) {
        uint32_t run = 0, used;
        const uint8_t *p = *left > 0 ? hr_piece_iter_peek(it, &run) : NULL;
        if (run > *left)
            run = *left;
        enum hr_kwalk_event ev = hr_kwalk_next(w, p, run, &used);
        if (used > 0) {
            hr_piece_iter_advance(it, used);
            *left -= used;
        }
        if (ev != HR_KWALK_MORE || *left == 0)
            return ev;
    }
}

enum hr_kwalk_event hr_framewalk_header(struct hr_framewalk *fw, struct hr_piece_iter *it, uint32_t *left)
{
    while (fw->in_header) {
        enum hr_kwalk_event ev = feed(&fw->w, it, left);
        if (ev == HR_KWALK_MORE || ev == HR_KWALK_BAD)
            return ev;
        if (ev == HR_KWALK_DONE) {
            fw->in_header = false;
            fw->body_at = fw->w.pos;
            hr_kwalk_init(&fw->w, fw->body, fw->version, fw->body_at, fw->w.end);
        }
    }
    return HR_KWALK_DONE;
}

enum hr_kwalk_event hr_framewalk_next(struct hr_framewalk *fw, struct hr_piece_iter *it, uint32_t *left)
{
    enum hr_kwalk_event ev = hr_framewalk_header(fw, it, left);

    return ev == HR_KWALK_DONE ? feed(&fw->w, it, left) : ev;
}

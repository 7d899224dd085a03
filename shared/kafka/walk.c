/* How a program is run. Integers that lie in the run are read where they are; one that the run's end cuts is
 * collected byte by byte (have, acc). What is left to skip at the end of a run is kept in `skip`, so that every step
 * finds its position exact. */
#include "shared/kafka/walk.h"

#include <stddef.h>

#include "shared/kafka/wire.h"

#define AGAIN HR_KWALK_MAX /* from a step: no event, go on with the next step */

struct run {
    const uint8_t *data;
    uint32_t at;   /* frame offset of data[0] */
    uint32_t len;
    uint32_t i;    /* next byte */
    uint32_t stop; /* what may be read at once ends here: at the run's end, or where the limit is in it */
};

static const struct hr_kstep bad_step = {.code = HR_KS_BAD};

static inline uint32_t pos(const struct run *r)
{
    return r->at + r->i;
}

static inline void find_stop(const struct hr_kwalk *w, struct run *r)
{
    r->stop = w->limit - r->at < r->len ? w->limit - r->at : r->len;
}

static enum hr_kwalk_event bad(struct hr_kwalk *w)
{
    w->step = &bad_step;
    return HR_KWALK_BAD;
}

/* Passes over n bytes; what the run does not hold of them is passed over in later ones. */
static inline enum hr_kwalk_event pass(struct hr_kwalk *w, struct run *r, uint64_t n)
{
    uint32_t here = r->stop - r->i;

    if (n <= here) {
        r->i += (uint32_t)n;
        return AGAIN;
    }
    if (n > w->limit - pos(r))
        return bad(w);
    w->skip = (uint32_t)n - here;
    r->i = r->stop;
    return HR_KWALK_MORE;
}

enum got {
    GOT = 0,
    GOT_MORE, /* the run ended in the middle */
    GOT_BAD,
};

/* Of an integer that the run's end cuts, or that an earlier one has cut. */
static __attribute__((noinline)) enum got collect_fixed(struct hr_kwalk *w, struct run *r, uint32_t n, uint64_t *ret)
{
    if (w->have == 0 && w->limit - pos(r) < n)
        return GOT_BAD;
    for (; w->have < n; w->have++) {
        if (r->i == r->len)
            return GOT_MORE;
        w->acc = (w->acc << 8) | r->data[r->i++];
    }
    *ret = w->acc;
    w->acc = 0;
    w->have = 0;
    return GOT;
}

/* A big-endian integer of 1, 2, 4 or 8 bytes, as unsigned. */
static inline enum got read_fixed(struct hr_kwalk *w, struct run *r, uint32_t n, uint64_t *ret)
{
    if (w->have != 0 || r->stop - r->i < n) {
        struct run slow = *r; /* *r itself stays in registers */
        enum got got = collect_fixed(w, &slow, n, ret);
        r->i = slow.i;
        return got;
    }
    const uint8_t *p = r->data + r->i;
    *ret = n == 2 ? hr_kget16(p) : n == 4 ? hr_kget32(p) : n == 1 ? *p : (uint64_t)hr_kget32(p) << 32 | hr_kget32(p + 4);
    r->i += n;
    return GOT;
}

/* A varint of several bytes, or one that may be cut. */
static __attribute__((noinline)) enum got collect_varint(struct hr_kwalk *w, struct run *r, uint32_t *ret)
{
    for (;;) {
        if (pos(r) >= w->limit)
            return GOT_BAD;
        if (r->i == r->len)
            return GOT_MORE;
        uint8_t b = r->data[r->i];
        if (w->have == HR_KVARINT_MAX - 1 && b > 0x0f)
            return GOT_BAD; /* a sixth byte, or more than 32 bits */
        w->acc |= (uint64_t)(b & 0x7f) << (7 * w->have);
        w->have++;
        r->i++;
        if (!(b & 0x80))
            break;
    }
    *ret = (uint32_t)w->acc;
    w->acc = 0;
    w->have = 0;
    return GOT;
}

static inline enum got read_varint(struct hr_kwalk *w, struct run *r, uint32_t *ret)
{
    if (w->have != 0 || r->i >= r->stop || (r->data[r->i] & 0x80)) {
        struct run slow = *r;
        enum got got = collect_varint(w, &slow, ret);
        r->i = slow.i;
        return got;
    }
    *ret = r->data[r->i++];
    return GOT;
}

/* A length or count in the form that the version has: int16, int32 or compact. -1: null. */
static inline enum got read_length(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s, int64_t *ret)
{
    enum got got;

    if (s->width == 0) {
        uint32_t v;
        got = read_varint(w, r, &v);
        if (got == GOT)
            *ret = (int64_t)v - 1;
    } else {
        uint64_t v;
        got = read_fixed(w, r, s->width, &v);
        if (got == GOT)
            *ret = s->width == 2 ? (int16_t)v : (int32_t)v;
    }
    if (got == GOT && *ret < (s->nullable ? -1 : 0))
        return GOT_BAD;
    return got;
}

static inline enum hr_kwalk_event not_got(struct hr_kwalk *w, enum got got)
{
    return got == GOT_MORE ? HR_KWALK_MORE : bad(w);
}

static inline enum hr_kwalk_event report(struct hr_kwalk *w, const struct run *r, enum hr_kwalk_event ev,
                                         const struct hr_kfield *field)
{
    w->field = field;
    w->offset = pos(r);
    w->length = 0;
    return ev;
}

static inline enum hr_kwalk_event step_int(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    uint64_t v = 0;
    enum got got = read_fixed(w, r, s->width, &v);

    if (got != GOT)
        return not_got(w, got);
    w->step = s + 1;
    if (s->unless_zero && v == 0)
        return AGAIN;
    uint32_t unused = 64 - 8u * s->width;
    w->field = s->field;
    w->value = s->is_signed ? (int64_t)(v << unused) >> unused : (int64_t)v;
    w->offset = pos(r) - s->width;
    w->length = s->width;
    return HR_KWALK_VALUE;
}

static inline enum hr_kwalk_event step_length(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    int64_t n = -1;
    enum got got = read_length(w, r, s, &n);

    if (got != GOT)
        return not_got(w, got);
    w->step = s + 1;
    uint32_t len = n > 0 ? (uint32_t)n : 0;
    if (!s->field)
        return pass(w, r, len);
    if (len > w->limit - pos(r))
        return bad(w);
    w->field = s->field;
    w->offset = pos(r);
    w->length = (int32_t)n;
    w->skip = len;
    return HR_KWALK_VALUE;
}

static inline enum hr_kwalk_event step_count(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    int64_t n = -1;
    enum got got = read_length(w, r, s, &n);

    if (got != GOT)
        return not_got(w, got);
    if (n > 0 && s->n == 0) {
        if (n > w->limit - pos(r)) /* an element takes a byte at least */
            return bad(w);
        w->level[s->level].left = (uint32_t)n;
        w->step = s + 1;
        return AGAIN;
    }
    w->step = w->steps + s->to;
    return n > 0 ? pass(w, r, (uint64_t)n * s->n) : AGAIN;
}

static inline enum hr_kwalk_event step_present(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    uint64_t v = 0;
    enum got got = read_fixed(w, r, 1, &v);

    if (got != GOT)
        return not_got(w, got);
    w->step = (int8_t)v < 0 ? w->steps + s->to : s + 1;
    return AGAIN;
}

static inline enum hr_kwalk_event step_tags(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    if (r->i >= r->stop)
        return pos(r) >= w->limit ? bad(w) : HR_KWALK_MORE;
    if (r->data[r->i] == 0) {
        r->i++;
        w->step = w->steps + s->to;
        return AGAIN;
    }
    w->step = s + 1;
    return report(w, r, HR_KWALK_TAGS, NULL);
}

static inline enum hr_kwalk_event step_tag_count(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    uint32_t n = 0;
    enum got got = read_varint(w, r, &n);

    if (got != GOT)
        return not_got(w, got);
    if (n > (w->limit - pos(r)) / 2) /* a tag and a size each */
        return bad(w);
    w->level[s->level].left = n;
    w->step = n == 0 ? w->steps + s->to : s + 1;
    return AGAIN;
}

static enum hr_kwalk_event step_tag(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    const struct hr_kstep *known = s + 2;
    uint32_t tag = 0;
    enum got got = read_varint(w, r, &tag);

    if (got != GOT)
        return not_got(w, got);
    w->level[s->level].known = 0;
    for (uint32_t i = 0; i < s->n; i++)
        if (known[i].n == tag)
            w->level[s->level].known = known[i].to;
    w->step = s + 1;
    return AGAIN;
}

/* A tagged field has ended: the step behind it. tag: the section's TAG. */
static const struct hr_kstep *next_tag(struct hr_kwalk *w, const struct hr_kstep *tag)
{
    return --w->level[tag->level].left > 0 ? tag : w->steps + tag->to;
}

static enum hr_kwalk_event step_tag_size(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    struct hr_kwalk_level *level = &w->level[s->level];
    uint32_t size = 0;
    enum got got = read_varint(w, r, &size);

    if (got != GOT)
        return not_got(w, got);
    if (size > w->limit - pos(r))
        return bad(w);
    if (level->known == 0) {
        w->step = next_tag(w, s - 1);
        return pass(w, r, size);
    }
    level->end = pos(r) + size;
    level->limit = w->limit;
    w->limit = level->end;
    find_stop(w, r);
    w->step = w->steps + level->known;
    return AGAIN;
}

static enum hr_kwalk_event step_tag_end(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    const struct hr_kwalk_level *level = &w->level[s->level];

    if (pos(r) != level->end)
        return bad(w);
    w->limit = level->limit;
    find_stop(w, r);
    w->step = next_tag(w, w->steps + s->to);
    return AGAIN;
}

static inline enum hr_kwalk_event step(struct hr_kwalk *w, struct run *r)
{
    const struct hr_kstep *s = w->step;

    switch ((enum hr_kstep_code)s->code) {
    case HR_KS_SKIP:
        w->step = s + 1;
        return pass(w, r, s->n);
    case HR_KS_INT:
        return step_int(w, r, s);
    case HR_KS_LENGTH:
        return step_length(w, r, s);
    case HR_KS_ARRAY:
        w->step = s + 1;
        return report(w, r, HR_KWALK_ARRAY, s->field);
    case HR_KS_COUNT:
        return step_count(w, r, s);
    case HR_KS_LOOP:
        w->step = --w->level[s->level].left > 0 ? w->steps + s->to : s + 1;
        return AGAIN;
    case HR_KS_ARRAY_END:
        w->step = s + 1;
        return report(w, r, HR_KWALK_ARRAY_END, s->field);
    case HR_KS_PRESENT:
        return step_present(w, r, s);
    case HR_KS_TAGS:
        return step_tags(w, r, s);
    case HR_KS_TAG_COUNT:
        return step_tag_count(w, r, s);
    case HR_KS_TAG:
        return step_tag(w, r, s);
    case HR_KS_TAG_SIZE:
        return step_tag_size(w, r, s);
    case HR_KS_TAG_END:
        return step_tag_end(w, r, s);
    case HR_KS_BODY:
        w->body_at = pos(r);
        w->step = s + 1;
        return AGAIN;
    case HR_KS_END:
        return report(w, r, HR_KWALK_DONE, NULL);
    case HR_KS_KNOWN: /* data, never stepped on */
    case HR_KS_BAD:
        break;
    }
    return bad(w);
}

void hr_kwalk_init(struct hr_kwalk *w, const struct hr_kprogram *program, uint32_t at, uint32_t end)
{
    w->pos = at;
    w->end = end;
    w->field = NULL;
    w->value = 0;
    w->offset = at;
    w->length = 0;
    w->body_at = 0;
    w->limit = end;
    w->skip = 0;
    w->have = 0;
    w->acc = 0;
    w->steps = program->step;
    w->step = at <= end ? program->step : &bad_step;
}

enum hr_kwalk_event hr_kwalk_next(struct hr_kwalk *w, const uint8_t *data, uint32_t len, uint32_t *ret_used)
{
    struct run r = {.data = data, .at = w->pos, .len = len};
    enum hr_kwalk_event ev;

    if (w->skip > 0) {
        r.i = w->skip < len ? w->skip : len;
        w->skip -= r.i;
    }
    find_stop(w, &r);
    if (w->skip > 0)
        ev = HR_KWALK_MORE;
    else
        do
            ev = step(w, &r);
        while (ev == AGAIN);
    *ret_used = r.i;
    w->pos += r.i;
    return ev;
}

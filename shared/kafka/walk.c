/* How a program is run. Integers that lie in the run are read where they are; one that the run's end cuts is
 * collected byte by byte (have, acc). What is left to skip at the end of a run is kept in `skip`, so that every step
 * finds its position exact.
 *
 * A function per code; each either consumes from the run or only moves on. All are inlined into one loop, in which the
 * run stays in registers: this is worth half of a walk. */
#include "shared/kafka/walk.h"

#include <stddef.h>

#include "shared/kafka/wire.h"

#define AGAIN HR_KWALK_MAX /* from a step: no event, go on with the next step */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

struct run {
    const uint8_t *data;
    uint32_t len;
    uint32_t i;    /* next byte */
    uint32_t stop; /* what may be read at once ends here: at the run's end, or where the limit is in it; 0 while an
                      integer is being collected */
    const struct hr_kstep *step; /* the next */
};

const struct hr_kstep hr_kwalk_bad_step = {.code = HR_KS_BAD};

/* w->pos is that of data[0] until the run is over. */
ALWAYS_INLINE uint32_t pos(const struct hr_kwalk *w, const struct run *r)
{
    return w->pos + r->i;
}

ALWAYS_INLINE uint32_t room(const struct hr_kwalk *w, const struct run *r)
{
    return w->limit - pos(w, r);
}

ALWAYS_INLINE void find_stop(const struct hr_kwalk *w, struct run *r)
{
    uint32_t n = w->limit - w->pos;

    r->stop = n < r->len ? n : r->len;
}

ALWAYS_INLINE enum hr_kwalk_event bad(struct run *r)
{
    r->step = &hr_kwalk_bad_step;
    return HR_KWALK_BAD;
}

ALWAYS_INLINE void jump(const struct hr_kwalk *w, struct run *r, uint16_t to)
{
    r->step = w->steps + to;
}

/* Passes over n bytes; what the run does not hold of them is passed over in later ones. */
ALWAYS_INLINE enum hr_kwalk_event pass(struct hr_kwalk *w, struct run *r, uint64_t n)
{
    uint32_t here = r->stop - r->i;

    if (n <= here) {
        r->i += (uint32_t)n;
        return AGAIN;
    }
    if (n > room(w, r))
        return bad(r);
    w->skip = (uint32_t)n - here;
    r->i = r->stop;
    return HR_KWALK_MORE;
}

enum got {
    GOT = 0,
    GOT_MORE, /* the run ended in the middle */
    GOT_BAD,
};

/* Of an integer that the run's end cuts, or that an earlier one has cut. *i: the next byte of data. */
static __attribute__((noinline)) enum got collect_fixed(struct hr_kwalk *w, const uint8_t *data, uint32_t len,
                                                        uint32_t *i, uint32_t n, uint64_t *ret)
{
    if (w->have == 0) {
        if (w->limit - w->pos - *i < n)
            return GOT_BAD;
        w->acc = 0;
    }
    for (; w->have < n; w->have++) {
        if (*i == len)
            return GOT_MORE;
        w->acc = (w->acc << 8) | data[(*i)++];
    }
    *ret = w->acc;
    w->have = 0;
    return GOT;
}

/* A big-endian integer of 1, 2, 4 or 8 bytes, as unsigned. */
ALWAYS_INLINE enum got read_fixed(struct hr_kwalk *w, struct run *r, uint32_t n, uint64_t *ret)
{
    if (r->stop - r->i < n) {
        uint32_t i = r->i; /* r->i itself stays in a register */
        uint64_t v = 0;
        enum got got = collect_fixed(w, r->data, r->len, &i, n, &v);
        r->i = i;
        *ret = v;
        find_stop(w, r);
        return got;
    }
    const uint8_t *p = r->data + r->i;
    r->i += n;
    if (n == 2)
        *ret = hr_kget16(p);
    else if (n == 4)
        *ret = hr_kget32(p);
    else
        *ret = n == 1 ? *p : (uint64_t)hr_kget32(p) << 32 | hr_kget32(p + 4);
    return GOT;
}

/* A varint of several bytes, or one that may be cut. */
static __attribute__((noinline)) enum got collect_varint(struct hr_kwalk *w, const uint8_t *data, uint32_t len,
                                                         uint32_t *i, uint32_t *ret)
{
    for (;;) {
        if (w->pos + *i >= w->limit)
            return GOT_BAD;
        if (*i == len)
            return GOT_MORE;
        uint8_t b = data[*i];
        if (w->have == HR_KVARINT_MAX - 1 && b > 0x0f)
            return GOT_BAD; /* a sixth byte, or more than 32 bits */
        w->acc = (w->have == 0 ? 0 : w->acc) | (uint64_t)(b & 0x7f) << (7 * w->have);
        w->have++;
        ++*i;
        if (!(b & 0x80))
            break;
    }
    *ret = (uint32_t)w->acc;
    w->have = 0;
    return GOT;
}

ALWAYS_INLINE enum got read_varint(struct hr_kwalk *w, struct run *r, uint32_t *ret)
{
    if (r->i >= r->stop || (r->data[r->i] & 0x80)) {
        uint32_t i = r->i, v = 0;
        enum got got = collect_varint(w, r->data, r->len, &i, &v);
        r->i = i;
        *ret = v;
        find_stop(w, r);
        return got;
    }
    *ret = r->data[r->i++];
    return GOT;
}

/* A length or count in the form that the version has: int16, int32 or compact (width 0). -1: null. */
ALWAYS_INLINE enum got read_length(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s, uint32_t width,
                                   int64_t *ret)
{
    enum got got;

    if (width == 0) {
        uint32_t v = 0;
        got = read_varint(w, r, &v);
        *ret = (int64_t)v - 1;
    } else {
        uint64_t v = 0;
        got = read_fixed(w, r, width, &v);
        *ret = width == 2 ? (int16_t)v : (int32_t)v;
    }
    if (*ret < 0 && got == GOT && (*ret < -1 || !s->nullable))
        return GOT_BAD;
    return got;
}

ALWAYS_INLINE enum hr_kwalk_event not_got(struct run *r, enum got got)
{
    return got == GOT_MORE ? HR_KWALK_MORE : bad(r);
}

ALWAYS_INLINE enum hr_kwalk_event report(struct hr_kwalk *w, const struct run *r, enum hr_kwalk_event ev,
                                         const struct hr_kfield *field)
{
    w->field = field;
    w->offset = pos(w, r);
    w->length = 0;
    return ev;
}

ALWAYS_INLINE enum hr_kwalk_event step_int(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    uint64_t v = 0;
    enum got got = read_fixed(w, r, s->width, &v);

    if (got != GOT)
        return not_got(r, got);
    r->step = s + 1;
    if (s->unless_zero && v == 0)
        return pass(w, r, s->n);
    if (s->n <= room(w, r))
        w->skip = s->n;
    else
        bad(r); /* and so will the next call say; the value itself is there */
    uint32_t unused = 64 - 8u * s->width;
    w->field = s->field;
    w->value = s->is_signed ? (int64_t)(v << unused) >> unused : (int64_t)v;
    w->offset = pos(w, r) - s->width;
    w->length = s->width;
    return HR_KWALK_VALUE;
}

ALWAYS_INLINE enum hr_kwalk_event step_string(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    int64_t n;
    enum got got = read_length(w, r, s, s->width, &n);

    if (got != GOT)
        return not_got(r, got);
    if (n > room(w, r))
        return bad(r);
    r->step = s + 1;
    w->field = s->field;
    w->offset = pos(w, r);
    w->length = (int32_t)n;
    w->skip = n > 0 ? (uint32_t)n : 0;
    return HR_KWALK_VALUE;
}

ALWAYS_INLINE enum hr_kwalk_event step_value(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    if (s->n > room(w, r))
        return bad(r);
    r->step = s + 1;
    w->field = s->field;
    w->offset = pos(w, r);
    w->length = s->n;
    w->skip = s->n;
    return HR_KWALK_VALUE;
}

ALWAYS_INLINE enum hr_kwalk_event step_length(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s,
                                              uint32_t width)
{
    int64_t n;
    enum got got = read_length(w, r, s, width, &n);

    if (got != GOT)
        return not_got(r, got);
    r->step = s + 1;
    return pass(w, r, (n > 0 ? (uint64_t)n : 0) + s->n);
}

ALWAYS_INLINE enum hr_kwalk_event step_count(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s,
                                             uint32_t width)
{
    int64_t n;
    enum got got = read_length(w, r, s, width, &n);

    if (got != GOT)
        return not_got(r, got);
    if (n <= 0) {
        jump(w, r, s->to);
        return AGAIN;
    }
    if (s->n > 0) {
        jump(w, r, s->to);
        return pass(w, r, (uint64_t)n * s->n);
    }
    if (n > room(w, r)) /* an element takes a byte at least */
        return bad(r);
    w->level[s->level].left = (uint32_t)n;
    r->step = s + 1;
    return AGAIN;
}

ALWAYS_INLINE enum hr_kwalk_event step_loop(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    if (--w->level[s->level].left > 0)
        jump(w, r, s->to);
    else
        r->step = s + 1;
    return AGAIN;
}

ALWAYS_INLINE enum hr_kwalk_event step_present(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    uint64_t v = 0;
    enum got got = read_fixed(w, r, 1, &v);

    if (got != GOT)
        return not_got(r, got);
    if ((int8_t)v < 0)
        jump(w, r, s->to);
    else
        r->step = s + 1;
    return AGAIN;
}

ALWAYS_INLINE enum hr_kwalk_event step_tags(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    if (r->i >= r->stop)
        return room(w, r) == 0 ? bad(r) : HR_KWALK_MORE;
    if (r->data[r->i] == 0) {
        r->i++;
        jump(w, r, s->to);
        return AGAIN;
    }
    r->step = s + 1;
    return report(w, r, HR_KWALK_TAGS, NULL);
}

ALWAYS_INLINE enum hr_kwalk_event step_tag_count(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    uint32_t n = 0;
    enum got got = read_varint(w, r, &n);

    if (got != GOT)
        return not_got(r, got);
    if (n == 0) {
        jump(w, r, s->to);
        return AGAIN;
    }
    if (n > room(w, r) / 2) /* a tag and a size each */
        return bad(r);
    w->level[s->level].left = n;
    r->step = s + 1;
    return AGAIN;
}

ALWAYS_INLINE enum hr_kwalk_event step_tag(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    const struct hr_kstep *known = s + 2;
    uint32_t tag = 0;
    enum got got = read_varint(w, r, &tag);

    if (got != GOT)
        return not_got(r, got);
    w->level[s->level].known = 0;
    for (uint32_t i = 0; i < s->n; i++)
        if (known[i].n == tag)
            w->level[s->level].known = known[i].to;
    r->step = s + 1;
    return AGAIN;
}

/* A tagged field has ended: the step behind it. tag: the section's TAG. */
ALWAYS_INLINE const struct hr_kstep *next_tag(struct hr_kwalk *w, const struct hr_kstep *tag)
{
    return --w->level[tag->level].left > 0 ? tag : w->steps + tag->to;
}

ALWAYS_INLINE enum hr_kwalk_event step_tag_size(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    struct hr_kwalk_level *level = &w->level[s->level];
    uint32_t size = 0;
    enum got got = read_varint(w, r, &size);

    if (got != GOT)
        return not_got(r, got);
    if (size > room(w, r))
        return bad(r);
    if (level->known == 0) {
        r->step = next_tag(w, s - 1);
        return pass(w, r, size);
    }
    level->end = pos(w, r) + size;
    level->limit = w->limit;
    w->limit = level->end;
    find_stop(w, r);
    jump(w, r, level->known);
    return AGAIN;
}

ALWAYS_INLINE enum hr_kwalk_event step_tag_end(struct hr_kwalk *w, struct run *r, const struct hr_kstep *s)
{
    const struct hr_kwalk_level *level = &w->level[s->level];

    if (pos(w, r) != level->end)
        return bad(r);
    w->limit = level->limit;
    find_stop(w, r);
    r->step = next_tag(w, w->steps + s->to);
    return AGAIN;
}

ALWAYS_INLINE enum hr_kwalk_event step(struct hr_kwalk *w, struct run *r)
{
    const struct hr_kstep *s = r->step;

    switch ((enum hr_kstep_code)s->code) {
    case HR_KS_SKIP:
        r->step = s + 1;
        return pass(w, r, s->n);
    case HR_KS_INT:
        return step_int(w, r, s);
    case HR_KS_STRING:
        return step_string(w, r, s);
    case HR_KS_VALUE:
        return step_value(w, r, s);
    case HR_KS_LENGTH:
        return step_length(w, r, s, 0);
    case HR_KS_LENGTH_FIXED:
        return step_length(w, r, s, s->width);
    case HR_KS_ARRAY:
        r->step = s + 1;
        return report(w, r, HR_KWALK_ARRAY, s->field);
    case HR_KS_COUNT:
        return step_count(w, r, s, 0);
    case HR_KS_COUNT_FIXED:
        return step_count(w, r, s, 4);
    case HR_KS_LOOP:
        return step_loop(w, r, s);
    case HR_KS_ARRAY_END:
        r->step = s + 1;
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
        w->body_at = pos(w, r);
        r->step = s + 1;
        return AGAIN;
    case HR_KS_END:
        return report(w, r, HR_KWALK_DONE, NULL);
    case HR_KS_KNOWN: /* data, never stepped on */
    case HR_KS_BAD:
        return bad(r);
    }
    __builtin_unreachable(); /* the compiler of programs is ours */
}

enum hr_kwalk_event hr_kwalk_next(struct hr_kwalk *w, const uint8_t *data, uint32_t len, uint32_t *ret_used)
{
    uint32_t skipped = hr_kwalk_pass(w, len);
    struct run r = {.data = data, .len = len, .step = w->step};
    enum hr_kwalk_event ev;

    if (w->skip > 0) {
        *ret_used = skipped;
        return HR_KWALK_MORE;
    }
    w->pos -= skipped;
    r.i = skipped;
    if (w->have == 0)
        find_stop(w, &r);
    do
        ev = step(w, &r);
    while (ev == AGAIN);
    *ret_used = r.i;
    w->pos += r.i;
    w->step = r.step;
    return ev;
}

/* How the walker is built: `step` says what the next byte means; a function per step either consumes from
 * the run or only moves on. Steps that read or report first pass over `skip`, so that a position is exact
 * whenever it is told. Fields of fixed width without a role only add to skip. */
#include "shared/kafka/walk.h"

#include <stddef.h>

#include "shared/kafka/wire.h"

enum step {
    STEP_FIELD = 0, /* choose the next field of the innermost struct */
    STEP_ELEMENT,   /* begin an element of an array of structs */
    STEP_PRESENT,   /* the byte before a nullable struct: -1 null, 1 present */
    STEP_INT,       /* an integer with a role */
    STEP_LENGTH,    /* of a string, bytes or records */
    STEP_ANNOUNCE,  /* an array with a role begins */
    STEP_COUNT,     /* of an array */
    STEP_ARRAY_END, /* an array with a role ended */
    STEP_TAGS,      /* the top-level tag section begins */
    STEP_TAG_COUNT,
    STEP_TAG_NUMBER,
    STEP_TAG_SIZE,
    STEP_END, /* the message is over: pass over what is left to skip */
    STEP_BAD,
};

#define AGAIN HR_KWALK_MAX /* from a step: no event, go on with the next step */

struct run {
    const uint8_t *p;
    uint32_t left;
};

uint32_t hr_ktype_width(uint8_t type)
{
    switch ((enum hr_ktype)type) {
    case HR_KT_BOOL:
    case HR_KT_INT8:
        return 1;
    case HR_KT_INT16:
    case HR_KT_UINT16:
        return 2;
    case HR_KT_INT32:
    case HR_KT_UINT32:
        return 4;
    case HR_KT_INT64:
    case HR_KT_FLOAT64:
        return 8;
    case HR_KT_UUID:
        return 16;
    case HR_KT_NONE:
    case HR_KT_STRING:
    case HR_KT_BYTES:
    case HR_KT_RECORDS:
    case HR_KT_STRUCT:
    case HR_KT_MAX:
        break;
    }
    return 0;
}

static enum hr_kwalk_event bad(struct hr_kwalk *w)
{
    w->step = STEP_BAD;
    return HR_KWALK_BAD;
}

static uint32_t room(const struct hr_kwalk *w)
{
    return w->limit - w->pos - w->skip;
}

static void consume(struct hr_kwalk *w, struct run *r, uint32_t n)
{
    if (n == 0) /* the run may be empty and r->p NULL, to which not even 0 may be added (C11 6.5.6) */
        return;
    r->p += n;
    r->left -= n;
    w->pos += n;
}

/* True when nothing is left to skip. */
static bool skipped(struct hr_kwalk *w, struct run *r)
{
    uint32_t n = w->skip < r->left ? w->skip : r->left;

    consume(w, r, n);
    w->skip -= n;
    return w->skip == 0;
}

enum got {
    GOT = 0,
    GOT_MORE, /* the run ended in the middle */
    GOT_BAD,
};

/* A big-endian integer of n bytes (1-8), as unsigned. */
static enum got read_fixed(struct hr_kwalk *w, struct run *r, uint32_t n, uint64_t *ret)
{
    if (w->have == 0 && w->limit - w->pos < n)
        return GOT_BAD;
    while (w->have < n) {
        if (r->left == 0)
            return GOT_MORE;
        w->acc = (w->acc << 8) | *r->p;
        w->have++;
        consume(w, r, 1);
    }
    *ret = w->acc;
    w->acc = 0;
    w->have = 0;
    return GOT;
}

static enum got read_varint(struct hr_kwalk *w, struct run *r, uint32_t *ret)
{
    for (;;) {
        if (w->pos >= w->limit)
            return GOT_BAD;
        if (r->left == 0)
            return GOT_MORE;
        uint8_t b = *r->p;
        if (w->have == HR_KVARINT_MAX - 1 && b > 0x0f)
            return GOT_BAD; /* a sixth byte, or more than 32 bits */
        w->acc |= (uint64_t)(b & 0x7f) << (7 * w->have);
        w->have++;
        consume(w, r, 1);
        if (!(b & 0x80))
            break;
    }
    *ret = (uint32_t)w->acc;
    w->acc = 0;
    w->have = 0;
    return GOT;
}

/* Is there a field of this struct in this version at all, or a tag section? */
static bool takes_bytes(const struct hr_kwalk *w, const struct hr_kfield *f)
{
    if (w->flexible)
        return true;
    for (uint16_t i = 0; i < f->n_children; i++)
        if (hr_krange_has(f->children[i].versions, w->version))
            return true;
    return false;
}

static enum hr_kwalk_event push(struct hr_kwalk *w, const struct hr_kfield *owner, uint32_t count)
{
    if (w->depth == HR_KWALK_DEPTH)
        return bad(w);
    w->stack[w->depth++] = (struct hr_kwalk_frame){
        .fields = owner->children,
        .n_fields = owner->n_children,
        .owner = owner,
        .elems_left = count - 1,
    };
    w->step = STEP_ELEMENT;
    return AGAIN;
}

static enum hr_kwalk_event struct_done(struct hr_kwalk *w);

/* The current field of the innermost struct has been passed (or will be, once skip is). */
static enum hr_kwalk_event field_done(struct hr_kwalk *w)
{
    struct hr_kwalk_frame *f = &w->stack[w->depth - 1];

    if (!f->in_tag) {
        f->index++;
        w->step = STEP_FIELD;
        return AGAIN;
    }
    if (w->pos + w->skip != f->tag_end)
        return bad(w);
    f->in_tag = false;
    w->limit = f->saved_limit;
    if (--f->tags_left == 0)
        return struct_done(w);
    w->step = STEP_TAG_NUMBER;
    return AGAIN;
}

static enum hr_kwalk_event struct_done(struct hr_kwalk *w)
{
    struct hr_kwalk_frame *f = &w->stack[w->depth - 1];

    if (f->elems_left > 0) {
        f->elems_left--;
        f->index = 0;
        w->step = STEP_ELEMENT;
        return AGAIN;
    }
    const struct hr_kfield *owner = f->owner;
    w->depth--;
    if (!owner) {
        w->step = STEP_END;
        return AGAIN;
    }
    if (owner->is_array && owner->role != HR_KR_NONE) {
        w->cur = owner;
        w->step = STEP_ARRAY_END;
        return AGAIN;
    }
    return field_done(w);
}

static bool compact(const struct hr_kwalk *w, const struct hr_kfield *f)
{
    return w->flexible && !f->no_flex;
}

/* Begins w->cur, or one element of it (not of an array of structs). */
static enum hr_kwalk_event begin_value(struct hr_kwalk *w)
{
    const struct hr_kfield *f = w->cur;
    uint32_t width = hr_ktype_width(f->type);

    if (width == 0) {
        w->step = STEP_LENGTH;
        return AGAIN;
    }
    if (f->role != HR_KR_NONE && width <= 8) {
        w->step = STEP_INT;
        return AGAIN;
    }
    if (room(w) < width)
        return bad(w);
    w->skip += width;
    return field_done(w);
}

static enum hr_kwalk_event begin_field(struct hr_kwalk *w, const struct hr_kfield *f)
{
    w->cur = f;
    if (f->is_array) {
        w->step = f->role != HR_KR_NONE ? STEP_ANNOUNCE : STEP_COUNT;
        return AGAIN;
    }
    if (f->type != HR_KT_STRUCT)
        return begin_value(w);
    if (hr_krange_has(f->nullable, w->version)) {
        w->step = STEP_PRESENT;
        return AGAIN;
    }
    return push(w, f, 1);
}

static enum hr_kwalk_event step_field(struct hr_kwalk *w)
{
    struct hr_kwalk_frame *f = &w->stack[w->depth - 1];

    while (f->index < f->n_fields) {
        const struct hr_kfield *field = &f->fields[f->index];
        if (hr_krange_has(field->versions, w->version) && !hr_krange_has(field->tagged, w->version))
            return begin_field(w, field);
        f->index++;
    }
    if (!w->flexible)
        return struct_done(w);
    w->step = w->depth == 1 ? STEP_TAGS : STEP_TAG_COUNT;
    return AGAIN;
}

static enum hr_kwalk_event step_present(struct hr_kwalk *w, struct run *r)
{
    uint64_t v;

    switch (read_fixed(w, r, 1, &v)) {
    case GOT_MORE:
        return HR_KWALK_MORE;
    case GOT_BAD:
        return bad(w);
    case GOT:
        break;
    }
    if ((int8_t)v < 0)
        return field_done(w);
    return push(w, w->cur, 1);
}

static int64_t sign_extend(uint64_t v, const struct hr_kfield *f)
{
    switch ((enum hr_ktype)f->type) {
    case HR_KT_INT8:
        return (int8_t)v;
    case HR_KT_INT16:
        return (int16_t)v;
    case HR_KT_INT32:
        return (int32_t)v;
    case HR_KT_BOOL:
    case HR_KT_UINT16:
    case HR_KT_UINT32:
    case HR_KT_INT64:
    case HR_KT_FLOAT64:
    case HR_KT_NONE:
    case HR_KT_UUID:
    case HR_KT_STRING:
    case HR_KT_BYTES:
    case HR_KT_RECORDS:
    case HR_KT_STRUCT:
    case HR_KT_MAX:
        break;
    }
    return (int64_t)v;
}

/* The step after a value: the next element of an array of primitives, or the next field. */
static enum hr_kwalk_event value_done(struct hr_kwalk *w)
{
    if (w->elems > 0 && --w->elems > 0)
        return begin_value(w);
    return field_done(w);
}

static enum hr_kwalk_event step_int(struct hr_kwalk *w, struct run *r)
{
    const struct hr_kfield *f = w->cur;
    uint32_t width = hr_ktype_width(f->type);
    uint64_t v;

    switch (read_fixed(w, r, width, &v)) {
    case GOT_MORE:
        return HR_KWALK_MORE;
    case GOT_BAD:
        return bad(w);
    case GOT:
        break;
    }
    w->field = f;
    w->value = sign_extend(v, f);
    w->offset = w->pos - width;
    w->length = (int32_t)width;
    return value_done(w) == HR_KWALK_BAD ? HR_KWALK_BAD : HR_KWALK_VALUE;
}

/* A length or count in the form that the version has: int16, int32 or compact. -1: null. */
static enum got read_length(struct hr_kwalk *w, struct run *r, uint32_t fixed_width, int64_t *ret)
{
    if (compact(w, w->cur)) {
        uint32_t v;
        enum got got = read_varint(w, r, &v);
        if (got == GOT)
            *ret = (int64_t)v - 1;
        return got;
    }
    uint64_t v;
    enum got got = read_fixed(w, r, fixed_width, &v);
    if (got == GOT) {
        *ret = fixed_width == 2 ? (int16_t)v : (int32_t)v;
        if (*ret < -1)
            return GOT_BAD;
    }
    return got;
}

static enum hr_kwalk_event step_length(struct hr_kwalk *w, struct run *r)
{
    const struct hr_kfield *f = w->cur;
    int64_t n = -1;

    switch (read_length(w, r, f->type == HR_KT_STRING ? 2 : 4, &n)) {
    case GOT_MORE:
        return HR_KWALK_MORE;
    case GOT_BAD:
        return bad(w);
    case GOT:
        break;
    }
    /* Null elements are nowhere allowed: nullable speaks of the array then. */
    if (n > (int64_t)room(w) || (n < 0 && (f->is_array || !hr_krange_has(f->nullable, w->version))))
        return bad(w);
    w->field = f;
    w->offset = w->pos;
    w->length = (int32_t)n;
    if (n > 0)
        w->skip = (uint32_t)n;
    enum hr_kwalk_event ev = value_done(w);
    if (ev == AGAIN && f->role != HR_KR_NONE)
        return HR_KWALK_VALUE;
    return ev;
}

static enum hr_kwalk_event array_done(struct hr_kwalk *w)
{
    if (w->cur->role == HR_KR_NONE)
        return field_done(w);
    w->step = STEP_ARRAY_END;
    return AGAIN;
}

static enum hr_kwalk_event step_count(struct hr_kwalk *w, struct run *r)
{
    const struct hr_kfield *f = w->cur;
    int64_t n = -1;

    switch (read_length(w, r, 4, &n)) {
    case GOT_MORE:
        return HR_KWALK_MORE;
    case GOT_BAD:
        return bad(w);
    case GOT:
        break;
    }
    if (n > (int64_t)room(w) || (n < 0 && !hr_krange_has(f->nullable, w->version)))
        return bad(w);
    if (n <= 0)
        return array_done(w);
    if (f->type == HR_KT_STRUCT)
        return takes_bytes(w, f) ? push(w, f, (uint32_t)n) : array_done(w);

    uint64_t width = hr_ktype_width(f->type);
    if (width > 0) {
        if ((uint64_t)n * width > room(w))
            return bad(w);
        w->skip = (uint32_t)((uint64_t)n * width);
        return array_done(w);
    }
    w->elems = (uint32_t)n;
    return begin_value(w);
}

static enum hr_kwalk_event step_tag_count(struct hr_kwalk *w, struct run *r)
{
    struct hr_kwalk_frame *f = &w->stack[w->depth - 1];

    switch (read_varint(w, r, &f->tags_left)) {
    case GOT_MORE:
        return HR_KWALK_MORE;
    case GOT_BAD:
        return bad(w);
    case GOT:
        break;
    }
    if (f->tags_left == 0)
        return struct_done(w);
    if (f->tags_left > room(w) / 2) /* a tag and a size each */
        return bad(w);
    w->step = STEP_TAG_NUMBER;
    return AGAIN;
}

static enum hr_kwalk_event step_tag_number(struct hr_kwalk *w, struct run *r)
{
    struct hr_kwalk_frame *f = &w->stack[w->depth - 1];
    uint32_t tag;

    switch (read_varint(w, r, &tag)) {
    case GOT_MORE:
        return HR_KWALK_MORE;
    case GOT_BAD:
        return bad(w);
    case GOT:
        break;
    }
    w->cur = NULL;
    for (uint16_t i = 0; i < f->n_fields; i++)
        if (f->fields[i].tag == tag && hr_krange_has(f->fields[i].tagged, w->version))
            w->cur = &f->fields[i];
    w->step = STEP_TAG_SIZE;
    return AGAIN;
}

static enum hr_kwalk_event step_tag_size(struct hr_kwalk *w, struct run *r)
{
    struct hr_kwalk_frame *f = &w->stack[w->depth - 1];
    uint32_t size;

    switch (read_varint(w, r, &size)) {
    case GOT_MORE:
        return HR_KWALK_MORE;
    case GOT_BAD:
        return bad(w);
    case GOT:
        break;
    }
    if (size > room(w))
        return bad(w);
    if (!w->cur) {
        w->skip = size;
        if (--f->tags_left == 0)
            return struct_done(w);
        w->step = STEP_TAG_NUMBER;
        return AGAIN;
    }
    f->in_tag = true;
    f->tag_end = w->pos + size;
    f->saved_limit = w->limit;
    w->limit = f->tag_end;
    return begin_field(w, w->cur);
}

static enum hr_kwalk_event report(struct hr_kwalk *w, enum hr_kwalk_event ev, const struct hr_kfield *field)
{
    w->field = field;
    w->offset = w->pos;
    w->length = 0;
    return ev;
}

static enum hr_kwalk_event step(struct hr_kwalk *w, struct run *r)
{
    if (w->step != STEP_FIELD && w->step != STEP_BAD && !skipped(w, r))
        return HR_KWALK_MORE;
    switch ((enum step)w->step) {
    case STEP_FIELD:
        return step_field(w);
    case STEP_ELEMENT:
        w->step = STEP_FIELD;
        return AGAIN;
    case STEP_PRESENT:
        return step_present(w, r);
    case STEP_INT:
        return step_int(w, r);
    case STEP_LENGTH:
        return step_length(w, r);
    case STEP_ANNOUNCE:
        w->step = STEP_COUNT;
        return report(w, HR_KWALK_ARRAY, w->cur);
    case STEP_COUNT:
        return step_count(w, r);
    case STEP_ARRAY_END: {
        const struct hr_kfield *owner = w->cur;
        if (field_done(w) == HR_KWALK_BAD)
            return HR_KWALK_BAD;
        return report(w, HR_KWALK_ARRAY_END, owner);
    }
    case STEP_TAGS:
        w->step = STEP_TAG_COUNT;
        return report(w, HR_KWALK_TAGS, NULL);
    case STEP_TAG_COUNT:
        return step_tag_count(w, r);
    case STEP_TAG_NUMBER:
        return step_tag_number(w, r);
    case STEP_TAG_SIZE:
        return step_tag_size(w, r);
    case STEP_END:
        return report(w, HR_KWALK_DONE, NULL);
    case STEP_BAD:
        return HR_KWALK_BAD;
    }
    return bad(w);
}

void hr_kwalk_init(struct hr_kwalk *w, const struct hr_kmessage *message, int16_t version, uint32_t pos,
                   uint32_t end)
{
    w->pos = pos;
    w->end = end;
    w->limit = end;
    w->field = NULL;
    w->value = 0;
    w->offset = pos;
    w->length = 0;
    w->skip = 0;
    w->acc = 0;
    w->have = 0;
    w->step = pos <= end ? STEP_FIELD : STEP_BAD;
    w->depth = 1;
    w->flexible = hr_krange_has(message->flexible, version);
    w->version = version;
    w->elems = 0;
    w->cur = NULL;
    w->stack[0] = (struct hr_kwalk_frame){.fields = message->fields, .n_fields = message->n_fields};
}

enum hr_kwalk_event hr_kwalk_next(struct hr_kwalk *w, const uint8_t *data, uint32_t len, uint32_t *ret_used)
{
    struct run r = {data, len};
    enum hr_kwalk_event ev;

    do
        ev = step(w, &r);
    while (ev == AGAIN);
    *ret_used = len - r.left;
    return ev;
}

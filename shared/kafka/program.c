/* The compiler: recursive descent over the schema. Places that steps jump to are barriers, over which skips are not
 * joined. */
#include "shared/kafka/program.h"

#include <stdlib.h>

#include "shared/kafka/wire.h"

struct builder {
    struct hr_kprogram *program;
    uint32_t cap;
    uint32_t barrier; /* steps below this number are not joined with what follows */
    int16_t version;
    bool flexible;
    uint32_t roles;
    int err;
};

static uint32_t here(const struct builder *b)
{
    return b->program->n;
}

/* Where steps will jump to. */
static uint32_t label(struct builder *b)
{
    b->barrier = here(b);
    return b->barrier;
}

/* Appends a step; returns its number. After a failure everything lands in the last one. */
static uint32_t emit(struct builder *b, struct hr_kstep step)
{
    if (b->program->n == b->cap) {
        uint32_t cap = b->cap * 2;
        struct hr_kprogram *more =
            cap > UINT16_MAX ? NULL : realloc(b->program, sizeof(*more) + cap * sizeof(more->step[0]));
        if (!more) {
            b->err = cap > UINT16_MAX ? HR_E_UNSUPPORTED : HR_E_NOMEM;
            return b->program->n - 1;
        }
        b->program = more;
        b->cap = cap;
    }
    if (step.level >= HR_KPROGRAM_LEVELS) {
        b->err = HR_E_UNSUPPORTED;
        step.level = 0;
    }
    b->program->step[b->program->n] = step;
    return b->program->n++;
}

static struct hr_kstep *at(struct builder *b, uint32_t i)
{
    return &b->program->step[i];
}

/* Steps that can pass over what stands behind them. */
static bool skips(const struct hr_kstep *s)
{
    return s->code == HR_KS_SKIP || s->code == HR_KS_INT || s->code == HR_KS_LENGTH || s->code == HR_KS_LENGTH_FIXED;
}

static void skip(struct builder *b, uint32_t n)
{
    struct hr_kstep *last = here(b) > b->barrier ? at(b, here(b) - 1) : NULL;

    if (last && skips(last) && last->n + n <= UINT16_MAX)
        last->n = (uint16_t)(last->n + n);
    else
        emit(b, (struct hr_kstep){.code = HR_KS_SKIP, .n = (uint16_t)n});
}

static bool told(const struct builder *b, const struct hr_kfield *f)
{
    return f->role != HR_KR_NONE && (b->roles & (1u << f->role));
}

static uint8_t length_width(const struct builder *b, const struct hr_kfield *f, uint8_t width)
{
    return b->flexible && !f->no_flex ? 0 : width;
}

static void primitive(struct builder *b, const struct hr_kfield *f)
{
    uint32_t width = hr_ktype_width(f->type);

    if (width == 0) {
        uint8_t fixed = length_width(b, f, f->type == HR_KT_STRING ? 2 : 4);
        emit(b, (struct hr_kstep){
                    .code = told(b, f) ? HR_KS_STRING : fixed ? HR_KS_LENGTH_FIXED : HR_KS_LENGTH,
                    .width = fixed,
                    /* Null elements are nowhere allowed: nullable speaks of the array then. */
                    .nullable = !f->is_array && hr_krange_has(f->nullable, b->version),
                    .field = f,
                });
    } else if (told(b, f) && width <= 8) {
        emit(b, (struct hr_kstep){
                    .code = HR_KS_INT,
                    .width = (uint8_t)width,
                    .is_signed = f->type == HR_KT_INT8 || f->type == HR_KT_INT16 || f->type == HR_KT_INT32,
                    .unless_zero = f->role == HR_KR_PARTITION_ERROR,
                    .field = f,
                });
    } else if (told(b, f)) {
        emit(b, (struct hr_kstep){.code = HR_KS_VALUE, .n = (uint16_t)width, .field = f});
    } else {
        skip(b, width);
    }
}

static void a_struct(struct builder *b, const struct hr_kfield *fields, uint16_t n, uint8_t level);

/* Of an array's elements; the array's COUNT stands at count_at. */
static void elements(struct builder *b, const struct hr_kfield *f, uint8_t level, uint32_t count_at)
{
    uint32_t first = label(b);

    if (f->type == HR_KT_STRUCT)
        a_struct(b, f->children, f->n_children, (uint8_t)(level + 1));
    else
        primitive(b, f);
    if (here(b) == first + 1 && at(b, first)->code == HR_KS_SKIP) {
        at(b, count_at)->n = at(b, first)->n;
        b->program->n = first;
    } else if (here(b) > first) {
        emit(b, (struct hr_kstep){.code = HR_KS_LOOP, .level = level, .to = (uint16_t)first});
    }
    at(b, count_at)->to = (uint16_t)label(b);
}

static void field(struct builder *b, const struct hr_kfield *f, uint8_t level)
{
    if (f->is_array) {
        if (told(b, f))
            emit(b, (struct hr_kstep){.code = HR_KS_ARRAY, .field = f});
        uint8_t fixed = length_width(b, f, 4);
        uint32_t count = emit(b, (struct hr_kstep){
                                     .code = fixed ? HR_KS_COUNT_FIXED : HR_KS_COUNT,
                                     .level = level,
                                     .width = fixed,
                                     .nullable = hr_krange_has(f->nullable, b->version),
                                 });
        elements(b, f, level, count);
        if (told(b, f))
            emit(b, (struct hr_kstep){.code = HR_KS_ARRAY_END, .field = f});
    } else if (f->type != HR_KT_STRUCT) {
        primitive(b, f);
    } else if (hr_krange_has(f->nullable, b->version)) {
        uint32_t present = emit(b, (struct hr_kstep){.code = HR_KS_PRESENT});
        a_struct(b, f->children, f->n_children, level);
        at(b, present)->to = (uint16_t)label(b);
    } else {
        a_struct(b, f->children, f->n_children, level);
    }
}

static bool is_tagged(const struct builder *b, const struct hr_kfield *f)
{
    return hr_krange_has(f->versions, b->version) && hr_krange_has(f->tagged, b->version);
}

static void tags(struct builder *b, const struct hr_kfield *fields, uint16_t n, uint8_t level)
{
    uint32_t count = emit(b, (struct hr_kstep){.code = HR_KS_TAG_COUNT, .level = level});
    uint32_t tag = emit(b, (struct hr_kstep){.code = HR_KS_TAG, .level = level});
    uint32_t first = emit(b, (struct hr_kstep){.code = HR_KS_TAG_SIZE, .level = level}) + 1;

    for (uint16_t i = 0; i < n; i++)
        if (is_tagged(b, &fields[i]))
            emit(b, (struct hr_kstep){.code = HR_KS_KNOWN, .n = fields[i].tag, .field = &fields[i]});
    uint32_t behind = here(b);
    at(b, tag)->n = (uint16_t)(behind - first);
    for (uint32_t i = first; i < behind && b->err == 0; i++) {
        at(b, i)->to = (uint16_t)label(b);
        field(b, at(b, i)->field, (uint8_t)(level + 1));
        emit(b, (struct hr_kstep){.code = HR_KS_TAG_END, .level = level, .to = (uint16_t)tag});
    }
    at(b, count)->to = at(b, tag)->to = (uint16_t)label(b);
}

static void untagged(struct builder *b, const struct hr_kfield *fields, uint16_t n, uint8_t level)
{
    for (uint16_t i = 0; i < n && b->err == 0; i++)
        if (hr_krange_has(fields[i].versions, b->version) && !is_tagged(b, &fields[i]))
            field(b, &fields[i], level);
}

static void a_struct(struct builder *b, const struct hr_kfield *fields, uint16_t n, uint8_t level)
{
    untagged(b, fields, n, level);
    if (b->flexible)
        tags(b, fields, n, level);
}

static void message(struct builder *b, const struct hr_kmessage *m, int16_t version, uint32_t roles, bool tell_tags)
{
    b->version = version;
    b->flexible = hr_krange_has(m->flexible, version);
    b->roles = roles;
    untagged(b, m->fields, m->n_fields, 0);
    if (!b->flexible)
        return;
    uint32_t told_at = tell_tags ? emit(b, (struct hr_kstep){.code = HR_KS_TAGS}) : 0;
    tags(b, m->fields, m->n_fields, 0);
    if (tell_tags)
        at(b, told_at)->to = (uint16_t)label(b);
}

int hr_kprogram_create(const struct hr_kprogram_spec *spec, struct hr_kprogram **ret_program)
{
    struct builder b = {.cap = 32};

    b.program = malloc(sizeof(*b.program) + b.cap * sizeof(b.program->step[0]));
    if (!b.program)
        return HR_E_NOMEM;
    b.program->n = 0;
    if (spec->header) {
        skip(&b, HR_KPROGRAM_FRAME_SIZE);
        message(&b, spec->header, spec->header_version, 0, false);
    }
    if (spec->split)
        emit(&b, (struct hr_kstep){.code = HR_KS_BODY});
    if (spec->body)
        message(&b, spec->body, spec->version, spec->roles, spec->tags);
    emit(&b, (struct hr_kstep){.code = HR_KS_END});
    if (b.err != 0) {
        free(b.program);
        return b.err;
    }
    *ret_program = b.program;
    return 0;
}

void hr_kprogram_destroy(struct hr_kprogram *program)
{
    free(program);
}

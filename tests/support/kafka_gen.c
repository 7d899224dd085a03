#include "tests/support/kafka_gen.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

uint32_t kgen_random(struct kgen *g, uint32_t below)
{
    g->seed = g->seed * 6364136223846793005ull + 1442695040888963407ull;
    return below ? (uint32_t)(g->seed >> 33) % below : 0;
}

static void byte(struct kgen *g, unsigned b)
{
    if (g->len == g->cap)
        abort();
    g->buf[g->len++] = (uint8_t)b;
}

static void big_endian(struct kgen *g, uint64_t v, int width)
{
    for (int i = width - 1; i >= 0; i--)
        byte(g, (unsigned)(v >> (8 * i)) & 0xff);
}

static void varint(struct kgen *g, uint32_t v)
{
    for (; v > 127; v >>= 7)
        byte(g, (v & 127) | 128);
    byte(g, v);
}

static struct kgen_event *event(struct kgen *g, enum hr_kwalk_event ev, const struct hr_kfield *f)
{
    if (g->n_events == KGEN_MAX_EVENTS)
        abort();
    struct kgen_event *e = &g->events[g->n_events++];
    *e = (struct kgen_event){.event = ev, .field = f, .offset = g->len};
    return e;
}

static void a_struct(struct kgen *g, const struct hr_kfield *fields, int n, int16_t version, bool flex,
                     int depth);

static int width_of(uint8_t type)
{
    static const int widths[HR_KT_MAX] = {
        [HR_KT_BOOL] = 1,   [HR_KT_INT8] = 1,  [HR_KT_INT16] = 2, [HR_KT_UINT16] = 2,  [HR_KT_INT32] = 4,
        [HR_KT_UINT32] = 4, [HR_KT_INT64] = 8, [HR_KT_UUID] = 16, [HR_KT_FLOAT64] = 8,
    };
    return widths[type];
}

static bool is_signed(uint8_t type)
{
    return type == HR_KT_INT8 || type == HR_KT_INT16 || type == HR_KT_INT32 || type == HR_KT_INT64;
}

static void an_int(struct kgen *g, const struct hr_kfield *f)
{
    int width = width_of(f->type);
    uint64_t raw = ((uint64_t)kgen_random(g, 1u << 30) << 34) ^ ((uint64_t)kgen_random(g, 1u << 30) << 10) ^
                   kgen_random(g, 1024);

    if (kgen_random(g, 3) == 0)
        raw = kgen_random(g, 40);
    uint64_t v = width < 8 ? raw & ((1ull << (8 * width)) - 1) : raw;
    bool told = f->role != HR_KR_NONE && (f->role != HR_KR_PARTITION_ERROR || v != 0);
    if (told) {
        struct kgen_event *e = event(g, HR_KWALK_VALUE, f);
        e->length = width;
        e->value = (int64_t)v; /* of an id: none */
        if (is_signed(f->type) && width < 8 && (v >> (8 * width - 1)))
            e->value = (int64_t)(v | ~((1ull << (8 * width)) - 1));
    }
    if (width == 16)
        big_endian(g, ~v, 8);
    big_endian(g, v, width == 16 ? 8 : width);
}

static void length(struct kgen *g, bool compact, int width, int64_t n)
{
    if (compact)
        varint(g, (uint32_t)(n + 1));
    else
        big_endian(g, (uint64_t)n, width);
}

static void one(struct kgen *g, const struct hr_kfield *f, int16_t version, bool flex, int depth)
{
    bool may_be_null = !f->is_array && hr_krange_has(f->nullable, version);

    if (f->type == HR_KT_STRUCT) {
        if (may_be_null) {
            bool null = kgen_random(g, 3) == 0;
            byte(g, null ? 0xff : 1);
            if (null)
                return;
        }
        a_struct(g, f->children, f->n_children, version, flex, depth + 1);
        return;
    }
    if (width_of(f->type) > 0) {
        an_int(g, f);
        return;
    }
    static const uint32_t sizes[] = {0, 1, 5, 20, 126, 127, 128, 300, 3000};
    uint32_t n = sizes[kgen_random(g, g->len > g->cap / 4 ? 3 : 9)];
    bool null = may_be_null && kgen_random(g, 4) == 0;
    length(g, flex && !f->no_flex, f->type == HR_KT_STRING ? 2 : 4, null ? -1 : (int64_t)n);
    if (f->role != HR_KR_NONE)
        event(g, HR_KWALK_VALUE, f)->length = null ? -1 : (int32_t)n;
    for (uint32_t i = 0; !null && i < n; i++)
        byte(g, 'a' + (i + n) % 26);
}

static void a_field(struct kgen *g, const struct hr_kfield *f, int16_t version, bool flex, int depth)
{
    if (!f->is_array) {
        one(g, f, version, flex, depth);
        return;
    }
    if (f->role != HR_KR_NONE)
        event(g, HR_KWALK_ARRAY, f);
    bool null = hr_krange_has(f->nullable, version) && kgen_random(g, 4) == 0;
    uint32_t n = kgen_random(g, g->len > g->cap / 4 ? 2 : depth > 2 ? 3 : 6);
    if (kgen_random(g, 20) == 0 && f->type != HR_KT_STRUCT && g->len < g->cap / 4)
        n += 130;
    length(g, flex, 4, null ? -1 : (int64_t)n);
    for (uint32_t i = 0; !null && i < n; i++)
        one(g, f, version, flex, depth);
    if (f->role != HR_KR_NONE)
        event(g, HR_KWALK_ARRAY_END, f);
}

/* A known tagged field: its size comes first, so it is made behind and moved. */
static void a_tag(struct kgen *g, const struct hr_kfield *f, int16_t version, int depth)
{
    varint(g, f->tag);
    uint32_t at = g->len, first_event = g->n_events;
    g->len += 5;
    a_field(g, f, version, true, depth);
    uint32_t size = g->len - at - 5;
    g->len = at;
    varint(g, size);
    uint32_t shift = at + 5 - g->len;
    memmove(g->buf + g->len, g->buf + at + 5, size);
    g->len += size;
    for (uint32_t i = first_event; i < g->n_events; i++)
        g->events[i].offset -= shift;
}

static void tags(struct kgen *g, const struct hr_kfield *fields, int n, int16_t version, int depth)
{
    const struct hr_kfield *chosen[64];
    uint32_t count = 0, unknown = kgen_random(g, 5) == 0 ? 1 + kgen_random(g, 2) : 0;

    for (int i = 0; i < n && count < 64; i++)
        if (hr_krange_has(fields[i].versions, version) && hr_krange_has(fields[i].tagged, version) &&
            kgen_random(g, 2) == 0)
            chosen[count++] = &fields[i];
    if (depth == 0 && count + unknown > 0)
        event(g, HR_KWALK_TAGS, NULL);
    varint(g, count + unknown);
    for (uint32_t i = 0; i < count; i++)
        a_tag(g, chosen[i], version, depth);
    for (uint32_t i = 0; i < unknown; i++) {
        uint32_t size = kgen_random(g, 200);
        varint(g, 1000 + i * 100000);
        varint(g, size);
        while (size-- > 0)
            byte(g, 0xee);
    }
}

static void a_struct(struct kgen *g, const struct hr_kfield *fields, int n, int16_t version, bool flex,
                     int depth)
{
    for (int i = 0; i < n; i++)
        if (hr_krange_has(fields[i].versions, version) && !hr_krange_has(fields[i].tagged, version))
            a_field(g, &fields[i], version, flex, depth);
    if (!flex)
        return;
    tags(g, fields, n, version, depth);
}

void kgen_message(struct kgen *g, const struct hr_kmessage *message, int16_t version)
{
    g->len = 0;
    g->n_events = 0;
    a_struct(g, message->fields, message->n_fields, version, hr_krange_has(message->flexible, version), 0);
}

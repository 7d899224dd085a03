/* Recursive descent over the schema. A count or a tagged field's size is written first as it was and again
 * once what it counts is known; what stands behind is then moved, which costs little in frames this small. */
#include "dataplane/kafka/transcode.h"

#include <stddef.h>
#include <string.h>

#include "shared/kafka/wire.h"

static void fail(struct hr_xc *x, int err)
{
    if (x->err == 0)
        x->err = err;
}

/* n input bytes, NULL after a failure. */
static const uint8_t *take(struct hr_xc *x, uint64_t n)
{
    if (x->err == 0 && n > x->limit - x->pos)
        fail(x, HR_E_INVALID);
    if (x->err != 0)
        return NULL;
    const uint8_t *p = x->in + x->pos;
    x->pos += (uint32_t)n;
    return p;
}

/* Room for n output bytes, NULL after a failure. */
static uint8_t *give(struct hr_xc *x, uint64_t n)
{
    if (x->err == 0 && n > x->cap - x->n)
        fail(x, HR_E_TOO_LARGE);
    if (x->err != 0)
        return NULL;
    uint8_t *p = x->out + x->n;
    x->n += (uint32_t)n;
    return p;
}

static void put(struct hr_xc *x, const void *data, uint64_t n)
{
    uint8_t *p = give(x, n);

    if (p && n > 0)
        memcpy(p, data, n);
}

static void copy(struct hr_xc *x, uint64_t n)
{
    const uint8_t *p = take(x, n);

    if (p)
        put(x, p, n);
}

static uint32_t get_varint(struct hr_xc *x)
{
    uint32_t v = 0;

    if (x->err != 0)
        return 0;
    uint32_t n = hr_kvarint_get(x->in + x->pos, x->limit - x->pos, &v);
    if (n == 0) {
        fail(x, HR_E_INVALID);
        return 0;
    }
    x->pos += n;
    return v;
}

static void put_varint(struct hr_xc *x, uint32_t v)
{
    uint8_t b[HR_KVARINT_MAX];

    put(x, b, hr_kvarint_put(b, v));
}

static bool compact(const struct hr_xc *x, const struct hr_kfield *f)
{
    return x->flexible && !f->no_flex;
}

/* A length or count; -1: null. */
static int64_t get_length(struct hr_xc *x, const struct hr_kfield *f, uint32_t width)
{
    if (compact(x, f)) {
        int64_t v = (int64_t)get_varint(x) - 1;
        return x->err == 0 ? v : -1;
    }
    const uint8_t *p = take(x, width);
    if (!p)
        return -1;
    int64_t v = width == 2 ? (int16_t)hr_kget16(p) : (int32_t)hr_kget32(p);
    if (v < -1)
        fail(x, HR_E_INVALID);
    return v;
}

static void put_length(struct hr_xc *x, const struct hr_kfield *f, uint32_t width, int64_t v)
{
    uint8_t b[4];

    if (compact(x, f)) {
        put_varint(x, (uint32_t)(v + 1));
    } else if (width == 2) {
        hr_kput16(b, (uint16_t)v);
        put(x, b, 2);
    } else {
        hr_kput32(b, (uint32_t)v);
        put(x, b, 4);
    }
}

static uint32_t length_width(const struct hr_kfield *f)
{
    return f->type == HR_KT_STRING ? 2 : 4;
}

int64_t hr_xc_get_int(struct hr_xc *x, const struct hr_kfield *f)
{
    const uint8_t *p = take(x, hr_ktype_width(f->type));

    if (!p)
        return 0;
    switch ((enum hr_ktype)f->type) {
    case HR_KT_BOOL:
        return p[0];
    case HR_KT_INT8:
        return (int8_t)p[0];
    case HR_KT_INT16:
        return (int16_t)hr_kget16(p);
    case HR_KT_UINT16:
        return hr_kget16(p);
    case HR_KT_INT32:
        return (int32_t)hr_kget32(p);
    case HR_KT_UINT32:
        return hr_kget32(p);
    case HR_KT_INT64:
        return (int64_t)(((uint64_t)hr_kget32(p) << 32) | hr_kget32(p + 4));
    case HR_KT_FLOAT64:
    case HR_KT_UUID:
    case HR_KT_STRING:
    case HR_KT_BYTES:
    case HR_KT_RECORDS:
    case HR_KT_STRUCT:
    case HR_KT_NONE:
    case HR_KT_MAX:
        break;
    }
    fail(x, HR_E_INVALID);
    return 0;
}

void hr_xc_put_int(struct hr_xc *x, const struct hr_kfield *f, int64_t v)
{
    uint32_t width = hr_ktype_width(f->type);
    uint8_t b[8];

    for (uint32_t i = 0; i < width && i < 8; i++)
        b[i] = (uint8_t)((uint64_t)v >> (8 * (width - 1 - i)));
    put(x, b, width <= 8 ? width : 0);
}

const uint8_t *hr_xc_get_string(struct hr_xc *x, const struct hr_kfield *f, int32_t *ret_len)
{
    int64_t len = get_length(x, f, length_width(f));

    *ret_len = -1;
    if (x->err == 0 && len < 0 && (f->is_array || !hr_krange_has(f->nullable, x->version)))
        fail(x, HR_E_INVALID);
    if (x->err != 0 || len < 0)
        return NULL;
    const uint8_t *p = take(x, (uint64_t)len);
    if (p)
        *ret_len = (int32_t)len;
    return p;
}

void hr_xc_put_string(struct hr_xc *x, const struct hr_kfield *f, const void *p, int32_t len)
{
    put_length(x, f, length_width(f), len);
    if (len > 0)
        put(x, p, (uint32_t)len);
}

static void do_struct(struct hr_xc *x, const struct hr_kfield *fields, uint16_t n, struct hr_xc_struct *s,
                      bool top);

/* One value that is not an array, or one element. */
static void do_single(struct hr_xc *x, const struct hr_kfield *f, bool *ret_drop)
{
    uint32_t width = hr_ktype_width(f->type);

    if (width > 0) {
        copy(x, width);
    } else if (f->type == HR_KT_STRUCT) {
        struct hr_xc_struct s = {0};
        if (!f->is_array && hr_krange_has(f->nullable, x->version)) {
            const uint8_t *p = take(x, 1);
            if (!p)
                return;
            put(x, p, 1);
            if ((int8_t)*p < 0)
                return;
        }
        do_struct(x, f->children, f->n_children, &s, false);
        *ret_drop = s.drop;
    } else {
        int32_t len;
        const uint8_t *p = hr_xc_get_string(x, f, &len);
        if (x->err == 0)
            hr_xc_put_string(x, f, p, len);
    }
}

static void do_array(struct hr_xc *x, const struct hr_kfield *f, bool empty)
{
    int64_t count = get_length(x, f, 4);
    uint32_t count_at = x->n;

    if (x->err == 0 && (count > x->limit - x->pos || (count < 0 && !hr_krange_has(f->nullable, x->version))))
        fail(x, HR_E_INVALID);
    put_length(x, f, 4, count);
    uint32_t first = x->n;
    int64_t kept = 0;
    for (int64_t i = 0; i < count && x->err == 0; i++) {
        uint32_t mark = x->n;
        bool drop = false;
        do_single(x, f, &drop);
        if (drop || empty)
            x->n = mark;
        else
            kept++;
    }
    if (x->err != 0 || count <= 0 || kept == count)
        return;
    /* Fewer elements: the count can only become shorter. */
    uint32_t body = x->n - first;
    x->n = count_at;
    put_length(x, f, 4, kept);
    memmove(x->out + x->n, x->out + first, body);
    x->n += body;
}

static void do_field(struct hr_xc *x, const struct hr_kfield *f, struct hr_xc_struct *s)
{
    enum hr_xc_verdict verdict = x->field ? x->field(x, s, f) : HR_XC_COPY;
    bool drop;

    if (verdict == HR_XC_DONE)
        return;
    if (f->is_array)
        do_array(x, f, verdict == HR_XC_EMPTY);
    else
        do_single(x, f, &drop);
}

/* A tagged field that the schema knows: its size is written again behind the value. */
static void do_tagged(struct hr_xc *x, const struct hr_kfield *f, struct hr_xc_struct *s, uint32_t size)
{
    uint32_t outer = x->limit;
    uint32_t size_at = x->n;

    if (x->err == 0 && size > x->limit - x->pos)
        fail(x, HR_E_INVALID);
    put_varint(x, size);
    if (x->err != 0)
        return;
    uint32_t body_at = x->n;
    x->limit = x->pos + size;
    do_field(x, f, s);
    if (x->err == 0 && x->pos != x->limit)
        fail(x, HR_E_INVALID);
    x->limit = outer;
    if (x->err != 0)
        return;

    uint32_t new_size = x->n - body_at;
    uint32_t old_width = body_at - size_at, new_width = hr_kvarint_len(new_size);
    if (new_width > old_width && !give(x, new_width - old_width))
        return;
    memmove(x->out + size_at + new_width, x->out + body_at, new_size);
    hr_kvarint_put(x->out + size_at, new_size);
    x->n = size_at + new_width + new_size;
}

static void do_tags(struct hr_xc *x, const struct hr_kfield *fields, uint16_t n, struct hr_xc_struct *s)
{
    uint32_t count = get_varint(x);

    put_varint(x, count);
    for (uint32_t i = 0; i < count && x->err == 0; i++) {
        uint32_t tag = get_varint(x);
        uint32_t size = get_varint(x);
        const struct hr_kfield *known = NULL;
        for (uint16_t k = 0; k < n; k++)
            if (fields[k].tag == tag && hr_krange_has(fields[k].tagged, x->version))
                known = &fields[k];
        put_varint(x, tag);
        if (known) {
            do_tagged(x, known, s, size);
        } else {
            put_varint(x, size);
            copy(x, size);
        }
    }
}

static void do_struct(struct hr_xc *x, const struct hr_kfield *fields, uint16_t n, struct hr_xc_struct *s,
                      bool top)
{
    for (uint16_t i = 0; i < n && x->err == 0; i++) {
        const struct hr_kfield *f = &fields[i];
        if (!hr_krange_has(f->versions, x->version) || hr_krange_has(f->tagged, x->version))
            continue;
        do_field(x, f, s);
        if (top && f == x->stop_after) {
            x->stopped = true;
            return;
        }
    }
    if (x->flexible)
        do_tags(x, fields, n, s);
    if (x->struct_end && x->err == 0)
        x->struct_end(x, s);
}

int hr_xc_message(struct hr_xc *x, const struct hr_kmessage *message)
{
    struct hr_xc_struct s = {0};

    x->flexible = hr_krange_has(message->flexible, x->version);
    do_struct(x, message->fields, message->n_fields, &s, true);
    return x->err;
}

int hr_xc_value(struct hr_xc *x, const struct hr_kfield *f)
{
    struct hr_xc_struct s = {0};

    do_field(x, f, &s);
    return x->err;
}

/* A tag section is checked first, then laid out anew from the checked parts; see tail.h for the layouts. */
#include "dataplane/kafka/tail.h"

#include <stddef.h>
#include <string.h>

#include "shared/kafka/wire.h"

#define FILLER_TAG 126 /* and the next; both take one byte */

/* A tag section, checked; positions are offsets in the tail. */
struct section {
    const uint8_t *in;
    uint32_t first; /* the first tag, behind the count */
    uint32_t end;
    uint32_t count;
    uint32_t max_tag;
    uint32_t endpoints, endpoints_end; /* the tag of the endpoints .. the end of its value; equal: none */
    uint32_t value;                    /* where their value begins */
};

static bool read_tag(const uint8_t *in, uint32_t *pos, uint32_t end, uint32_t *ret_tag, uint32_t *ret_value)
{
    uint32_t size;
    uint32_t n = hr_kvarint_get(in + *pos, end - *pos, ret_tag);

    if (n == 0)
        return false;
    *pos += n;
    n = hr_kvarint_get(in + *pos, end - *pos, &size);
    if (n == 0 || size > end - *pos - n)
        return false;
    *ret_value = *pos + n;
    *pos += n + size;
    return true;
}

/* Reads the section that fills in[from..end). endpoints_tag -1: not looked for. */
static int read_section(struct section *s, const uint8_t *in, uint32_t from, uint32_t end,
                        int32_t endpoints_tag)
{
    *s = (struct section){.in = in, .end = end};
    uint32_t n = hr_kvarint_get(in + from, end - from, &s->count);
    uint32_t pos = from + n;

    if (n == 0 || s->count > end - pos)
        return HR_E_INVALID;
    s->first = pos;
    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t at = pos, tag, value;
        if (!read_tag(in, &pos, end, &tag, &value))
            return HR_E_INVALID;
        if (endpoints_tag >= 0 && tag == (uint32_t)endpoints_tag) {
            if (s->endpoints_end != 0)
                return HR_E_INVALID;
            s->endpoints = at;
            s->endpoints_end = pos;
            s->value = value;
        }
        if (tag > s->max_tag)
            s->max_tag = tag;
    }
    /* Fillers take the numbers behind the highest. */
    return pos == end && s->max_tag < UINT32_MAX - 2 ? 0 : HR_E_INVALID;
}

/* The size that makes a filler take exactly room bytes in all. */
static bool filler_size(uint32_t tag, uint32_t room, uint32_t *ret_size)
{
    uint32_t tag_len = hr_kvarint_len(tag);

    for (uint32_t w = 1; w <= HR_KVARINT_MAX; w++) {
        if (room < tag_len + w)
            return false;
        if (hr_kvarint_len(room - tag_len - w) == w) {
            *ret_size = room - tag_len - w;
            return true;
        }
    }
    return false;
}

static uint8_t *put_filler(uint8_t *p, uint32_t tag, uint32_t size)
{
    p += hr_kvarint_put(p, tag);
    p += hr_kvarint_put(p, size);
    memset(p, 0, size);
    return p + size;
}

/* Chooses fillers for room bytes: their number, or -1. */
static int choose_fillers(uint32_t tag, uint32_t room, uint32_t ret_size[2])
{
    if (room == 0)
        return 0;
    if (filler_size(tag, room, &ret_size[0]))
        return 1;
    ret_size[0] = 0;
    uint32_t one = hr_kvarint_len(tag) + 1;
    if (tag < UINT32_MAX && room > one && filler_size(tag + 1, room - one, &ret_size[1]))
        return 2;
    return -1;
}

/* Writes the section again in exactly len bytes: its tagged fields in their order, the endpoints replaced by
 * value (NULL: left out), then fillers. False: that cannot be done. */
static bool write_section(const struct section *s, const uint8_t *value, uint32_t value_len, uint8_t *out,
                          uint32_t len)
{
    bool had = s->endpoints_end > 0;
    uint32_t others = s->end - s->first - (s->endpoints_end - s->endpoints);
    uint32_t tag = 0, tag_len = 0, size[2] = {0};

    if (had && value) {
        tag_len = hr_kvarint_get(s->in + s->endpoints, s->end - s->endpoints, &tag);
        others += tag_len + hr_kvarint_len(value_len) + value_len;
    }
    uint32_t count = s->count - (had && !value ? 1 : 0);
    uint32_t filler_tag = s->max_tag >= FILLER_TAG ? s->max_tag + 1 : FILLER_TAG;
    int fillers = 0;
    for (;; fillers++) {
        uint64_t need = (uint64_t)others + hr_kvarint_len(count + (uint32_t)fillers);
        if (fillers > 2 || need > len)
            return false;
        if (choose_fillers(filler_tag, (uint32_t)(len - need), size) == fillers)
            break;
    }

    uint8_t *p = out + hr_kvarint_put(out, count + (uint32_t)fillers);
    uint32_t before = had ? s->endpoints - s->first : s->end - s->first;
    memcpy(p, s->in + s->first, before);
    p += before;
    if (had) {
        if (value) {
            p += hr_kvarint_put(p, tag);
            p += hr_kvarint_put(p, value_len);
            memcpy(p, value, value_len);
            p += value_len;
        }
        memcpy(p, s->in + s->endpoints_end, s->end - s->endpoints_end);
        p += s->end - s->endpoints_end;
    }
    for (int i = 0; i < fillers; i++)
        p = put_filler(p, filler_tag + (uint32_t)i, size[i]);
    return true;
}

/* What a tail is made of, and where its new form goes. */
struct job {
    struct hr_edit *e;
    const struct hr_kfield *f; /* the endpoints */
    int16_t version;
    const uint8_t *in;
    uint32_t len;
    uint8_t *out;
    uint8_t *scratch;
    uint32_t cap;
};

/* Tells the endpoints at in[at..) anew in scratch, with or without racks; *ret_used: how long they were. */
static int endpoints(struct job *j, uint32_t at, uint32_t end, bool racks, uint32_t *ret_used,
                     uint32_t *ret_len)
{
    j->e->drop_racks = !racks;
    j->e->nodes_hidden = 0;
    return hr_edit_endpoints(j->e, j->f, true, j->version, j->in + at, end - at, j->scratch, j->cap, ret_used,
                             ret_len);
}

static int rewrite_tagged(struct job *j, enum hr_tail *ret_tail)
{
    struct section s;
    uint32_t used, n;
    int err = read_section(&s, j->in, 0, j->len, j->f->tag);

    if (err != 0)
        return err;
    *ret_tail = HR_TAIL_SAME;
    if (s.endpoints_end == s.endpoints)
        return 0;
    for (int racks = 1; racks >= 0; racks--) {
        err = endpoints(j, s.value, s.endpoints_end, racks, &used, &n);
        if (err != 0)
            return err;
        if (used != s.endpoints_end - s.value)
            return HR_E_INVALID;
        if (n == used && memcmp(j->scratch, j->in + s.value, n) == 0)
            return 0;
        if (write_section(&s, j->scratch, n, j->out, j->len)) {
            *ret_tail = HR_TAIL_REWRITTEN;
            return 0;
        }
    }
    *ret_tail = HR_TAIL_HIDDEN;
    return write_section(&s, NULL, 0, j->out, j->len) ? 0 : HR_E_INVALID;
}

static int rewrite_array(struct job *j, enum hr_tail *ret_tail)
{
    struct section s;
    uint32_t used, n;
    int err;

    *ret_tail = HR_TAIL_SAME;
    for (int racks = 1; racks >= 0; racks--) {
        err = endpoints(j, 0, j->len, racks, &used, &n);
        if (err == 0)
            err = read_section(&s, j->in, used, j->len, -1);
        if (err != 0)
            return err;
        if (n == used && memcmp(j->scratch, j->in, n) == 0)
            return 0;
        if (n < j->len && write_section(&s, NULL, 0, j->out + n, j->len - n)) {
            memcpy(j->out, j->scratch, n);
            *ret_tail = HR_TAIL_REWRITTEN;
            return 0;
        }
    }
    *ret_tail = HR_TAIL_HIDDEN;
    j->out[0] = 1; /* a compact count of 0 */
    return write_section(&s, NULL, 0, j->out + 1, j->len - 1) ? 0 : HR_E_INVALID;
}

int hr_tail_rewrite(struct hr_edit *e, const struct hr_kmessage *message, int16_t version, bool tagged,
                    const uint8_t *in, uint32_t len, uint8_t *out, uint8_t *scratch, uint32_t cap,
                    enum hr_tail *ret_tail)
{
    const struct hr_kfield *f = hr_kmessage_field(message, version, HR_KR_ENDPOINTS);

    if (!f || !hr_krange_has(message->flexible, version))
        return HR_E_INVALID; /* no version has endpoints without tag sections */
    struct job j = {e, f, version, in, len, out, scratch, cap};
    return tagged ? rewrite_tagged(&j, ret_tail) : rewrite_array(&j, ret_tail);
}

#include "dataplane/tcp/options.h"

#include <string.h>

#include "dataplane/tcp/mutant.h"

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
    return p + 4;
}

/* One option of known kind; len counts its two leading bytes. */
static int parse_one(uint8_t kind, const uint8_t *p, uint32_t len, struct hr_tcp_opts *o)
{
    switch (kind) {
    case HR_TCP_OPT_MSS:
        if (len != 4)
            return HR_E_INVALID;
        o->has_mss = true;
        o->mss = (uint16_t)(p[2] << 8 | p[3]);
        return 0;
    case HR_TCP_OPT_WSCALE:
        if (len != 3)
            return HR_E_INVALID;
        o->has_wscale = true;
        o->wscale = p[2] > HR_TCP_WSCALE_MAX && !HR_MUTANT(SCALE_OF_15) ? HR_TCP_WSCALE_MAX : p[2]; /* RFC 7323 2.3 */
        return 0;
    case HR_TCP_OPT_SACK_OK:
        if (len != 2)
            return HR_E_INVALID;
        o->sack_ok = true;
        return 0;
    case HR_TCP_OPT_SACK:
        if (len < 10 || (len - 2) % 8 != 0)
            return HR_E_INVALID;
        for (uint32_t at = 2; at < len && o->n_sack < HR_TCP_SACK_BLOCKS; at += 8)
            o->sack[o->n_sack++] = (struct hr_tcp_range){hr_tcp_opts_get32(p + at), hr_tcp_opts_get32(p + at + 4)};
        return 0;
    case HR_TCP_OPT_TS:
        if (len != 10)
            return HR_E_INVALID;
        o->has_ts = true;
        o->tsval = hr_tcp_opts_get32(p + 2);
        o->tsecr = hr_tcp_opts_get32(p + 6);
        return 0;
    default:
        return 0;
    }
}

int hr_tcp_opts_parse_each(const uint8_t *p, uint32_t len, struct hr_tcp_opts *ret_opts)
{
    struct hr_tcp_opts o;

    memset(&o, 0, sizeof(o));
    while (len > 0 && p[0] != HR_TCP_OPT_END) {
        if (p[0] == HR_TCP_OPT_NOP) {
            p++;
            len--;
            continue;
        }
        if (len < 2 || p[1] < 2 || p[1] > len)
            return HR_E_INVALID;
        uint32_t n = p[1];
        int err = parse_one(p[0], p, n, &o);
        if (err != 0)
            return err;
        p += n;
        len -= n;
    }
    *ret_opts = o;
    return 0;
}

uint32_t hr_tcp_opts_write(uint8_t *dst, const struct hr_tcp_opts *o)
{
    uint8_t *p = dst;

    if (o->has_mss) {
        *p++ = HR_TCP_OPT_MSS;
        *p++ = 4;
        *p++ = (uint8_t)(o->mss >> 8);
        *p++ = (uint8_t)o->mss;
    }
    if (o->has_wscale) {
        *p++ = HR_TCP_OPT_NOP;
        *p++ = HR_TCP_OPT_WSCALE;
        *p++ = 3;
        *p++ = o->wscale;
    }
    if (o->sack_ok) {
        *p++ = HR_TCP_OPT_NOP;
        *p++ = HR_TCP_OPT_NOP;
        *p++ = HR_TCP_OPT_SACK_OK;
        *p++ = 2;
    }
    if (o->has_ts) {
        *p++ = HR_TCP_OPT_NOP;
        *p++ = HR_TCP_OPT_NOP;
        *p++ = HR_TCP_OPT_TS;
        *p++ = 10;
        p = put32(p, o->tsval);
        p = put32(p, o->tsecr);
    }
    uint32_t room = HR_TCP_OPTS_MAX - (uint32_t)(p - dst);
    if (o->n_sack > 0 && room >= 12) {
        uint32_t n = (room - 4) / 8;
        if (n > o->n_sack)
            n = o->n_sack;
        *p++ = HR_TCP_OPT_NOP;
        *p++ = HR_TCP_OPT_NOP;
        *p++ = HR_TCP_OPT_SACK;
        *p++ = (uint8_t)(2 + 8 * n);
        for (uint32_t i = 0; i < n; i++) {
            p = put32(p, o->sack[i].start);
            p = put32(p, o->sack[i].end);
        }
    }
    return (uint32_t)(p - dst);
}

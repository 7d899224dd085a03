/* TCP options: MSS, window scale, SACK, timestamps. Unknown ones are skipped (RFC 9293 3.2). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "shared/base/error.h"

#define HR_TCP_OPT_END 0
#define HR_TCP_OPT_NOP 1
#define HR_TCP_OPT_MSS 2
#define HR_TCP_OPT_WSCALE 3
#define HR_TCP_OPT_SACK_OK 4
#define HR_TCP_OPT_SACK 5
#define HR_TCP_OPT_TS 8

#define HR_TCP_SACK_BLOCKS 4    /* as many as 40 bytes of options hold */
#define HR_TCP_OPTS_MAX 40      /* bytes */
#define HR_TCP_TS_OPT_BYTES 12  /* padded by two NOPs */
#define HR_TCP_MSS_DEFAULT 536  /* RFC 9293 3.7.1 */
#define HR_TCP_MSS_MIN 88       /* smaller ones only serve to make us work: raised to this */
#define HR_TCP_WSCALE_MAX 14    /* RFC 7323 2.3 */

struct hr_tcp_range {
    uint32_t start, end; /* end is the first sequence number behind */
};

struct hr_tcp_opts {
    bool has_mss, has_wscale, has_ts, sack_ok;
    uint8_t wscale; /* at most 14 */
    uint8_t n_sack;
    uint16_t mss;
    uint32_t tsval, tsecr;
    struct hr_tcp_range sack[HR_TCP_SACK_BLOCKS];
};

static inline uint32_t hr_tcp_opts_get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* How the options of nearly every segment begin: NOP, NOP, timestamps of ten bytes (RFC 7323 appendix A). */
static inline bool hr_tcp_opts_usual(const uint8_t *p)
{
    static const uint8_t usual[4] = {HR_TCP_OPT_NOP, HR_TCP_OPT_NOP, HR_TCP_OPT_TS, 10};
    return memcmp(p, usual, sizeof(usual)) == 0;
}

/* Option by option, for the next function. */
HR_MUST_CHECK int hr_tcp_opts_parse_each(const uint8_t *p, uint32_t len, struct hr_tcp_opts *ret_opts);

/* Parses len bytes. INVALID where a length runs over the end or contradicts its kind. What ret_opts says of n_sack
 * holds for sack: the rest of it is not written. */
HR_MUST_CHECK static inline int hr_tcp_opts_parse(const uint8_t *p, uint32_t len, struct hr_tcp_opts *ret_opts)
{
    bool has_ts = len == HR_TCP_TS_OPT_BYTES && hr_tcp_opts_usual(p);
    if (!has_ts && len > 0)
        return hr_tcp_opts_parse_each(p, len, ret_opts);
    ret_opts->has_mss = ret_opts->has_wscale = ret_opts->sack_ok = false;
    ret_opts->mss = ret_opts->wscale = ret_opts->n_sack = 0;
    ret_opts->has_ts = has_ts;
    ret_opts->tsval = has_ts ? hr_tcp_opts_get32(p + 4) : 0;
    ret_opts->tsecr = has_ts ? hr_tcp_opts_get32(p + 8) : 0;
    return 0;
}

/* Writes the options that are set (mss, wscale and sack_ok are for SYNs), padded to a multiple of four;
 * returns the bytes. dst holds HR_TCP_OPTS_MAX; SACK blocks that do not fit are left out. */
uint32_t hr_tcp_opts_write(uint8_t *dst, const struct hr_tcp_opts *opts);

/* SYN cookies (RFC 4987 3.6): above the backlog's mark a SYN is answered without keeping anything. What would
 * have been kept travels in the SYN-ACK and comes back in the ACK that completes the handshake.
 *
 *   sequence number   | 28 bits of MAC | key parity | MSS index (3) |
 *   timestamp         | clock of the tuple, rounded down (27) | SACK | window scale (4), 15 = none |
 *
 * The MAC covers the tuple, the peer's sequence number, and what the two low parts say, so none can be
 * exchanged for another. The key changes every EPOCH_US; the one before is still accepted. Without timestamps
 * there is no place for window scale and SACK, and the connection goes without them.
 *
 * The timestamp clock is that of every connection of the tuple (hr_tcp_flow_secrets), at most 31 ms behind:
 * later segments agree with it, and it grows from one use of the tuple to the next. */
#include <string.h>

#include "dataplane/tcp/impl.h"
#include "shared/base/siphash.h"

#define EPOCH_US (1ULL << 25) /* 34 s: a cookie lives for one to two of these */
#define WSCALE_NONE 15u
#define TS_BITS 31u
#define NO_TS 0xffu

/* What a peer's MSS is rounded down to: none at all, the default, IPv6's minimum, tunnels, Ethernet under IPv6
 * and IPv4, jumbo frames under either. */
static const uint16_t mss_table[8] = {HR_TCP_MSS_MIN, HR_TCP_MSS_DEFAULT, 1220, 1360, 1440, 1460, 8940, 8960};

void hr_tcp_syncookie_init(struct hr_tcp_syncookies *k)
{
    memset(k, 0, sizeof(*k));
    k->epoch[0] = k->epoch[1] = UINT64_MAX; /* no key yet */
}

/* Keys are derived from the one that all workers share, as they are needed. */
static const uint8_t *key_of(struct hr_tcp *tcp, uint64_t epoch)
{
    struct hr_tcp_syncookies *k = &tcp->cookies;
    unsigned parity = epoch & 1;

    if (k->epoch[parity] != epoch) {
        for (unsigned half = 0; half < 2; half++) {
            uint64_t what[2] = {epoch, half};
            uint64_t h = hr_siphash(tcp->cfg.isn_key, what, sizeof(what));
            memcpy(&k->key[parity][half * 8], &h, 8);
        }
        k->epoch[parity] = epoch;
    }
    return k->key[parity];
}

static uint32_t cookie(struct hr_tcp *tcp, uint64_t epoch, const struct hr_flow *flow, uint32_t irs, uint32_t mss,
                       uint8_t ts_bits)
{
    struct {
        struct hr_flow flow;
        uint32_t irs;
        uint8_t mss, ts_bits;
        uint8_t zero[6];
    } said = {.flow = *flow, .irs = irs, .mss = (uint8_t)mss, .ts_bits = ts_bits};
    _Static_assert(sizeof(said) == 48, "hashed as bytes: no padding");
    uint32_t mac = (uint32_t)hr_siphash(key_of(tcp, epoch), &said, sizeof(said));
    return (mac & ~15u) | (uint32_t)(epoch & 1) << 3 | mss;
}

static uint8_t ts_bits_of(const struct hr_tcp_opts *o)
{
    if (!o->has_ts)
        return NO_TS;
    uint32_t wscale = o->has_wscale ? RTE_MIN(o->wscale, (uint8_t)HR_TCP_WSCALE_MAX) : WSCALE_NONE;
    return (uint8_t)(wscale | (o->sack_ok ? 16u : 0));
}

void hr_tcp_syncookie_send(struct hr_tcp *tcp, const struct hr_flow *flow, const struct hr_tcp_seg *syn)
{
    uint16_t peer_mss = syn->opts.has_mss ? syn->opts.mss : HR_TCP_MSS_DEFAULT;
    uint8_t bits = ts_bits_of(&syn->opts);
    uint64_t epoch = tcp->now_us / EPOCH_US;
    uint32_t mss = RTE_DIM(mss_table) - 1;
    uint32_t iss, ts_offset;

    while (mss > 0 && mss_table[mss] > peer_mss)
        mss--;
    hr_tcp_flow_secrets(tcp, flow, &iss, &ts_offset);
    iss = cookie(tcp, epoch, flow, syn->seq, mss, bits);

    struct hr_tcp_opts o = {
        .has_mss = true,
        .mss = RTE_MAX(tcp->cfg.path_mss(tcp->cfg.owner, &flow->local, &flow->remote), HR_TCP_MSS_MIN),
        .has_ts = syn->opts.has_ts,
        .tsecr = syn->opts.tsval,
    };
    if (o.has_ts) {
        uint32_t clock = tcp->now_ms + ts_offset;
        o.tsval = (clock & ~TS_BITS) | bits;
        if (hr_seq_gt(o.tsval, clock))
            o.tsval -= TS_BITS + 1;
        o.sack_ok = syn->opts.sack_ok;
        o.has_wscale = syn->opts.has_wscale;
        o.wscale = tcp->rcv_wscale;
    }
    tcp->cookies.valid_until_us = tcp->now_us + 2 * EPOCH_US;
    if (hr_tcp_send_stateless(tcp, flow, iss, syn->seq + 1, RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG,
                              (uint16_t)RTE_MIN(tcp->cfg.rcv_wnd_initial, 65535u), &o))
        HR_COUNT(tcp->stats, tcp_syn_cookie_tx);
}

bool hr_tcp_syncookie_check(struct hr_tcp *tcp, const struct hr_flow *flow, const struct hr_tcp_seg *seg,
                            struct hr_tcp_seg *ret_syn)
{
    uint32_t iss = seg->ack - 1, mss = iss & 7;
    uint8_t bits = seg->opts.has_ts ? seg->opts.tsecr & TS_BITS : NO_TS;
    uint64_t epoch = tcp->now_us / EPOCH_US;

    if ((epoch & 1) != (iss >> 3 & 1))
        epoch--;
    if (iss != cookie(tcp, epoch, flow, seg->seq - 1, mss, bits))
        return false;

    *ret_syn = (struct hr_tcp_seg){
        .seq = seg->seq - 1,
        .wnd = seg->wnd,
        .flags = RTE_TCP_SYN_FLAG,
        .opts = {.has_mss = true, .mss = mss_table[mss], .has_ts = seg->opts.has_ts, .tsval = seg->opts.tsval},
    };
    if (seg->opts.has_ts) {
        ret_syn->opts.sack_ok = bits & 16;
        ret_syn->opts.has_wscale = (bits & 15) != WSCALE_NONE;
        ret_syn->opts.wscale = ret_syn->opts.has_wscale ? bits & 15 : 0;
    }
    return true;
}

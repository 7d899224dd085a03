/* The path's MTU: what ICMP says (RFC 1191, RFC 8201), what silence says (RFC 4821 7.7), and what other connections
 * to the same address have found out.
 *
 * Sizes are MSS: without IP and TCP headers, with options. A connection whose size was lowered remembers the one
 * it could have (mss_full) and when to try that again (mtu_probe_min): one segment of that size then leaves among
 * smaller ones. Its acknowledgement restores the size, its loss costs what any loss costs and puts the next try
 * off. Two timeouts in a row lower the size for a guess, each further one for the next; since a router that says
 * nothing and an outage look the same, that is tried again as soon as anything gets through.
 *
 * The cache is a table without chains: an entry that another one displaces costs its connections a timeout. */
#include "dataplane/tcp/impl.h"
#include "shared/base/siphash.h"

#define VALID_S 600 /* RFC 1191 6.3, RFC 8201 4: at least five minutes, ten recommended */
#define PROBE_BEHIND 4 /* small segments that must follow a large one, so that its loss shows by ACKs */
#define TIMEOUTS 2
#define MTU_MIN_V6 1280

/* Guesses: Ethernet; IPv6's minimum, and tunnels; what every host must take (RFC 9293 3.7.1). */
static const uint16_t guesses[] = {1460, 1220, HR_TCP_MSS_DEFAULT};

static unsigned now_min(const struct hr_tcp *tcp)
{
    return (unsigned)(tcp->now_us / 60000000);
}

static struct hr_tcp_pmtu *slot(struct hr_tcp *tcp, const struct hr_addr *remote)
{
    return &tcp->pmtu[hr_siphash(tcp->cfg.hash_key, remote, sizeof(*remote)) % HR_TCP_PMTU_ENTRIES];
}

static void learn(struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    *slot(tcp, &c->flow.remote) =
        (struct hr_tcp_pmtu){.remote = c->flow.remote, .until_ms = tcp->now_ms + VALID_S * 1000, .mss = c->mss};
}

void hr_tcp_pmtu_open(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint16_t mss)
{
    const struct hr_tcp_pmtu *known = slot(tcp, &c->flow.remote);

    c->mss_full = 0;
    if (known->mss != 0 && known->mss < mss && (int32_t)(known->until_ms - tcp->now_ms) > 0 &&
        hr_addr_equal(&known->remote, &c->flow.remote)) {
        c->mss_full = mss;
        c->mtu_probe_min = (now_min(tcp) + (known->until_ms - tcp->now_ms) / 60000 + 1) & 63;
        mss = known->mss;
    }
    hr_tcp_set_mss(c, mss);
}

static void lower(struct hr_tcp_conn *c, uint16_t mss, unsigned try_again_min)
{
    if (c->mss_full == 0)
        c->mss_full = c->mss;
    c->mtu_probe_min = try_again_min & 63;
    hr_tcp_set_mss(c, mss);
}

bool hr_tcp_pmtu_told(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint16_t mtu)
{
    bool v4 = hr_addr_is_v4(&c->flow.remote);
    uint16_t headers = 20 + (v4 ? 20 : 40);
    uint16_t mss = mtu > headers + HR_TCP_MSS_MIN ? (uint16_t)(mtu - headers) : HR_TCP_MSS_MIN;

    if (mss >= c->mss || !hr_tcp_synchronized(c) || c->flight == NULL || (!v4 && mtu < MTU_MIN_V6))
        return false;
    HR_COUNT(tcp->stats, tcp_pmtu_told);
    lower(c, mss, now_min(tcp) + VALID_S / 60);
    learn(tcp, c);
    c->flight->mtu_probe_on = false;
    hr_tcp_recovery_resend(c);
    hr_tcp_mark_dirty(tcp, c);
    return true;
}

void hr_tcp_pmtu_timeout(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint32_t flight = c->snd_nxt - c->snd_una;

    c->flight->mtu_probe_on = false;
    for (unsigned i = 0; i < RTE_DIM(guesses) && !HR_MUTANT(NO_BLACK_HOLE) && c->retries >= TIMEOUTS + i; i++) {
        if (guesses[i] < c->mss && guesses[i] < flight) {
            HR_COUNT(tcp->stats, tcp_pmtu_guess);
            lower(c, guesses[i], now_min(tcp));
            return;
        }
    }
}

void hr_tcp_pmtu_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    if (c->retries >= TIMEOUTS && c->mss_full != 0) /* the small ones get through */
        learn(tcp, c);
    if (!f->mtu_probe_on || hr_seq_lt(c->snd_una, f->mtu_probe_end))
        return;
    f->mtu_probe_on = false;
    if (c->recovery == HR_TCP_RECOVERY_NONE && f->xmit.lost_bytes == 0) {
        HR_COUNT(tcp->stats, tcp_pmtu_restored);
        hr_tcp_set_mss(c, c->mss_full);
        c->mss_full = 0;
        c->cwnd = RTE_MAX(c->cwnd, (uint32_t)c->smss);
        slot(tcp, &c->flow.remote)->mss = 0;
    } else {
        c->mtu_probe_min = (now_min(tcp) + VALID_S / 60) & 63;
        learn(tcp, c);
    }
}

uint32_t hr_tcp_pmtu_probe(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, uint32_t pipe)
{
    uint32_t full = (uint32_t)c->mss_full - (c->mss - c->smss);
    uint32_t behind = PROBE_BEHIND * (uint32_t)c->smss;
    uint32_t wnd_end = c->snd_una + c->snd_wnd;

    if (((now_min(tcp) - c->mtu_probe_min) & 63) >= 32 || c->recovery != HR_TCP_RECOVERY_NONE ||
        (c->flight != NULL && c->flight->mtu_probe_on))
        return 0;
    if (hr_tcp_unsent(c) < full + behind || c->cwnd < pipe + full + behind ||
        hr_seq_lt(wnd_end, c->snd_nxt + full + behind))
        return 0;
    return full;
}

void hr_tcp_pmtu_probe_sent(struct hr_tcp_conn *c)
{
    c->flight->mtu_probe_on = true;
    c->flight->mtu_probe_end = c->snd_nxt;
}

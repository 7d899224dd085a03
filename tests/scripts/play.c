/* Plays a script against a backend. It keeps what the relative numbers of the script are relative to, builds the
 * peer's segments, and compares what comes back field by field. Whatever the TCP sends must be expected: a segment
 * that no line asks for is a failure. */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/scripts/script.h"

struct view { /* a parsed segment */
    uint16_t sport, dport, wnd, urg, mss;
    uint32_t seq, ack, tsval, tsecr, len;
    uint8_t flags, wscale;
    bool has_mss, has_wscale, has_sackok, has_ts;
    unsigned n_sack;
    uint32_t sack_start[PS_SACKS], sack_end[PS_SACKS];
    const uint8_t *payload;
};

struct play {
    const struct ps_script *sc;
    const struct ps_backend *b;
    uint64_t start, last;   /* of the script; of the last event */
    uint32_t peer_isn, iss;
    uint16_t peer_port;
    uint8_t peer_wscale, tcp_wscale; /* as offered in the SYNs */
    bool peer_wscale_offered, tcp_wscale_offered, peer_ts_offered, tcp_ts_offered;
    uint32_t peer_win;
    uint32_t last_tsval;    /* of the TCP's */
    struct ps_sent sent;
    bool waiting;           /* sent holds a segment that no line has taken */
    uint64_t written;
    char *report;
    size_t size, used;
};

#define TS_BASE 70000u /* the peer's clock at the start */

static bool say(struct play *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool say(struct play *p, const char *fmt, ...)
{
    va_list ap;
    if (p->used + 256 > p->size) /* the newest lines matter */
        p->used = (size_t)snprintf(p->report, p->size, "...\n");
    va_start(ap, fmt);
    int n = vsnprintf(p->report + p->used, p->size - p->used, fmt, ap);
    va_end(ap);
    p->used += (size_t)n < p->size - p->used ? (size_t)n : p->size - p->used - 1;
    return false;
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v)
{
    v = htonl(v);
    memcpy(p, &v, 4);
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static bool parse_options(const uint8_t *p, uint32_t len, struct view *v)
{
    while (len > 0 && p[0] != 0) {
        if (p[0] == 1) {
            p++;
            len--;
            continue;
        }
        if (len < 2 || p[1] < 2 || p[1] > len)
            return false;
        switch (p[0]) {
        case 2:
            v->has_mss = true;
            v->mss = (uint16_t)(p[2] << 8 | p[3]);
            break;
        case 3:
            v->has_wscale = true;
            v->wscale = p[2];
            break;
        case 4:
            v->has_sackok = true;
            break;
        case 5:
            for (uint32_t at = 2; at + 8 <= p[1] && v->n_sack < PS_SACKS; at += 8, v->n_sack++) {
                v->sack_start[v->n_sack] = get32(p + at);
                v->sack_end[v->n_sack] = get32(p + at + 4);
            }
            break;
        case 8:
            v->has_ts = true;
            v->tsval = get32(p + 2);
            v->tsecr = get32(p + 6);
            break;
        }
        len -= p[1];
        p += p[1];
    }
    return true;
}

static bool view_of(const struct ps_sent *s, struct view *v)
{
    const uint8_t *p = s->bytes;
    uint32_t header = s->len < 20 ? 0 : (p[12] >> 4) * 4u;

    memset(v, 0, sizeof(*v));
    if (header < 20 || header > s->len)
        return false;
    v->sport = (uint16_t)(p[0] << 8 | p[1]);
    v->dport = (uint16_t)(p[2] << 8 | p[3]);
    v->seq = get32(p + 4);
    v->ack = get32(p + 8);
    v->flags = p[13];
    v->wnd = (uint16_t)(p[14] << 8 | p[15]);
    v->urg = (uint16_t)(p[18] << 8 | p[19]);
    v->payload = p + header;
    v->len = s->len - header;
    return parse_options(p + 20, header - 20, v);
}

static uint32_t window_of(const struct play *p, const struct view *v)
{
    bool scaled = p->tcp_wscale_offered && p->peer_wscale_offered && !(v->flags & PS_SYN);
    return (uint32_t)v->wnd << (scaled ? p->tcp_wscale : 0);
}

static void flags_text(uint8_t flags, char *dst)
{
    static const char letters[] = "FSRPAUEC";
    for (int i = 0; i < 8; i++) {
        if (flags & 1u << i)
            *dst++ = letters[i];
    }
    *dst = 0;
}

static void trace_sent(struct play *p, const struct view *v, uint64_t at)
{
    char f[9], sacks[100] = "";
    int n = 0;
    flags_text(v->flags, f);
    for (unsigned i = 0; i < v->n_sack; i++)
        n += snprintf(sacks + n, sizeof(sacks) - (size_t)n, "%s%d:%d", i ? "," : " sack ",
                      (int)(v->sack_start[i] - p->peer_isn), (int)(v->sack_end[i] - p->peer_isn));
    say(p, "%10.6f  out %-3s %d:%d ack %d win %u%s%s%s\n", (double)(at - p->start) / 1e6, f, (int)(v->seq - p->iss),
        (int)(v->seq - p->iss + v->len), (int)(v->ack - p->peer_isn), window_of(p, v), sacks,
        v->has_mss ? " mss" : "", v->has_ts ? " ts" : "");
}

/* ---- what the peer sends ---- */

static uint32_t put_options(struct play *p, const struct ps_segment *s, uint8_t *o)
{
    uint8_t *start = o;
    bool syn = s->flags & PS_SYN;
    bool ts = syn ? s->ts == PS_PRESENT
                  : s->ts == PS_PRESENT || (s->ts == PS_ANY && p->peer_ts_offered && p->tcp_ts_offered);

    if (s->mss == PS_PRESENT) {
        memcpy(o, "\2\4", 2);
        put16(o + 2, s->mss_value);
        o += 4;
    }
    if (s->wscale == PS_PRESENT) {
        memcpy(o, "\1\3\3", 3);
        o[3] = s->wscale_value;
        o += 4;
    }
    if (s->sackok == PS_PRESENT) {
        memcpy(o, "\1\1\4\2", 4);
        o += 4;
    }
    if (ts) {
        uint32_t now = TS_BASE + (uint32_t)((p->b->now() - p->start) / 1000);
        memcpy(o, "\1\1\10\12", 4);
        put32(o + 4, s->has_tsval ? TS_BASE + (uint32_t)s->tsval : now);
        put32(o + 8, s->flags & PS_ACK ? p->last_tsval : 0);
        o += 12;
    }
    if (s->n_sack > 0) {
        memcpy(o, "\1\1\5", 3);
        o[3] = (uint8_t)(2 + 8 * s->n_sack);
        o += 4;
        for (unsigned i = 0; i < s->n_sack; i++, o += 8) {
            put32(o, p->iss + (uint32_t)s->sack_start[i]);
            put32(o + 4, p->iss + (uint32_t)s->sack_end[i]);
        }
    }
    return (uint32_t)(o - start);
}

static void inject(struct play *p, const struct ps_segment *s)
{
    uint8_t seg[9216] = {0};

    if (s->has_isn)
        p->peer_isn = s->isn;
    if (s->flags & PS_SYN) {
        p->peer_wscale_offered = s->wscale == PS_PRESENT;
        p->peer_wscale = s->wscale_value > 14 ? 14 : s->wscale_value;
        p->peer_ts_offered = s->ts == PS_PRESENT;
    }
    if (s->win_op != 0)
        p->peer_win = s->win;
    bool scaled = p->peer_wscale_offered && p->tcp_wscale_offered && !(s->flags & PS_SYN);
    uint32_t wnd = p->peer_win >> (scaled ? p->peer_wscale : 0);
    put16(seg, p->peer_port);
    put16(seg + 2, p->sc->active ? PS_ACTIVE_PORT : PS_LOCAL_PORT);
    put32(seg + 4, s->absolute ? (uint32_t)s->seq : p->peer_isn + (uint32_t)s->seq);
    put32(seg + 8, s->has_ack ? p->iss + (uint32_t)s->ack : 0);
    seg[13] = s->flags;
    put16(seg + 14, (uint16_t)(wnd > 65535 ? 65535 : wnd));
    put16(seg + 18, s->urg);
    uint32_t header = 20 + put_options(p, s, seg + 20), len = (uint32_t)(s->end - s->seq);
    seg[12] = (uint8_t)(header / 4 << 4);
    for (uint32_t i = 0; i < len; i++)
        seg[header + i] = (uint8_t)(ps_pattern((uint64_t)(s->seq + i)) ^ (s->junk ? 0xff : 0));
    char f[9];
    flags_text(s->flags, f);
    say(p, "%10.6f  in  %-3s %d:%d ack %d win %u%s\n", (double)(p->b->now() - p->start) / 1e6, f, (int)s->seq, (int)s->end,
        (int)s->ack, p->peer_win, s->n_sack ? " sack" : "");
    p->b->inject(seg, header + len);
}

/* ---- what the TCP sends ---- */

static const char *presence(enum ps_want want, bool there, const char *present, const char *absent)
{
    if (want == PS_PRESENT && !there)
        return absent;
    if (want == PS_ABSENT && there)
        return present;
    return NULL;
}

/* The first difference, or NULL. */
static const char *differs(struct play *p, const struct ps_segment *s, const struct view *v)
{
    bool syn = v->flags & PS_SYN, rst = v->flags & PS_RST;
    uint8_t ignore = s->psh_matters ? 0 : PS_PSH;
    const char *d;

    if ((v->flags & ~ignore) != (s->flags & ~ignore))
        return "flags";
    if (v->dport != p->peer_port)
        return "port";
    uint32_t iss = syn ? v->seq : p->iss;
    if (v->seq != (s->absolute ? (uint32_t)s->seq : iss + (uint32_t)s->seq))
        return "sequence number";
    if (v->len != (uint32_t)(s->end - s->seq))
        return "length";
    if (s->has_ack && v->ack != p->peer_isn + (uint32_t)s->ack)
        return "acknowledgement number";
    if (s->has_urg && v->urg != s->urg)
        return "urgent pointer";
    uint32_t win = window_of(p, v);
    if ((s->win_op == '=' && win != s->win) || (s->win_op == '>' && win <= s->win) || (s->win_op == '<' && win >= s->win))
        return "window";
    for (uint32_t i = 0; i < v->len && !s->absolute; i++) {
        if (v->payload[i] != ps_pattern((uint64_t)(s->seq + i)))
            return "payload";
    }
    if ((d = presence(s->mss, v->has_mss, "an MSS option", "no MSS option")) != NULL ||
        (d = presence(s->wscale, v->has_wscale, "a window scale option", "no window scale option")) != NULL ||
        (d = presence(s->sackok, v->has_sackok, "SACK permitted", "no SACK permitted")) != NULL ||
        (d = presence(s->sack, v->n_sack > 0, "SACK blocks", "no SACK blocks")) != NULL ||
        (d = presence(s->ts, v->has_ts, "timestamps", "no timestamps")) != NULL)
        return d;
    if (s->ts == PS_ANY && !syn && !rst && v->has_ts != (p->peer_ts_offered && p->tcp_ts_offered))
        return "timestamps";
    if (!syn && (v->has_mss || v->has_wscale || v->has_sackok))
        return "an option of SYNs";
    if (s->mss == PS_PRESENT && v->mss != s->mss_value)
        return "MSS";
    if (s->has_tsecr && v->tsecr != TS_BASE + (uint32_t)s->tsecr)
        return "echoed timestamp";
    if (s->n_sack > 0 && v->n_sack != s->n_sack)
        return "number of SACK blocks";
    for (unsigned i = 0; i < s->n_sack; i++) {
        if (v->sack_start[i] != p->peer_isn + (uint32_t)s->sack_start[i] ||
            v->sack_end[i] != p->peer_isn + (uint32_t)s->sack_end[i])
            return "SACK blocks";
    }
    return NULL;
}

static bool wait_sent(struct play *p, uint64_t until)
{
    if (!p->waiting)
        p->waiting = p->b->next(until, &p->sent);
    return p->waiting;
}

/* What a segment says about the connection, once a line has taken it. */
static void learn(struct play *p, const struct view *v)
{
    if (v->flags & PS_SYN) {
        if (v->seq != p->iss)
            p->written = 0; /* a new connection */
        p->iss = v->seq;
        p->tcp_wscale_offered = v->has_wscale;
        p->tcp_wscale = v->wscale;
        p->tcp_ts_offered = v->has_ts;
    }
    if (v->has_ts)
        p->last_tsval = v->tsval;
    p->last = p->sent.at_us;
    p->waiting = false;
}

static bool expect(struct play *p, const struct ps_event *e)
{
    struct view v;
    const uint32_t slack = p->b->slack_us;
    uint64_t lo = p->last + e->lo_us, hi = p->last + e->hi_us + 10000 + (slack ? slack + e->hi_us / 10 : 0);
    uint64_t early = slack ? 5000 + e->lo_us / 10 : 1000;
    const char *d;

    if (!wait_sent(p, hi))
        return e->verb == PS_MAYBE || say(p, "nothing came\n");
    if (!view_of(&p->sent, &v))
        return say(p, "what came is no TCP segment\n");
    d = differs(p, &e->seg, &v);
    if (d != NULL && e->verb == PS_MAYBE)
        return true;
    trace_sent(p, &v, p->sent.at_us);
    if (d != NULL)
        return say(p, "not as expected: %s\n", d);
    if (p->sent.at_us + early < lo)
        return say(p, "too early by %.1f ms\n", (double)(lo - p->sent.at_us) / 1e3);
    if (p->sent.at_us > hi)
        return say(p, "too late by %.1f ms\n", (double)(p->sent.at_us - hi) / 1e3);
    learn(p, &v);
    return true;
}

/* Time passes; nothing may come. */
static bool pass(struct play *p, uint64_t delta)
{
    struct view v;
    uint64_t until = p->last + delta;

    if (wait_sent(p, until)) {
        if (view_of(&p->sent, &v))
            trace_sent(p, &v, p->sent.at_us);
        return say(p, "nobody expected that segment\n");
    }
    p->last = until > p->b->now() ? until : p->b->now();
    return true;
}

/* A check of what the owner sees: at once in virtual time; the kernel is given its slack. */
static bool seen(struct play *p, const struct ps_event *e)
{
    const struct ps_backend *b = p->b;
    uint64_t until = b->now() + b->slack_us;
    char what[64] = "";

    for (;;) {
        switch (e->verb) {
        case PS_ACCEPTED:
            if (b->accepted())
                return true;
            break;
        case PS_CONNECTED:
            if (b->connected())
                return true;
            break;
        case PS_EOF:
            if (b->at_eof())
                return true;
            break;
        case PS_GOT:
            if (b->got() == e->n)
                return true;
            snprintf(what, sizeof(what), "%lld bytes", (long long)b->got());
            break;
        case PS_FAILED:
            if (strcmp(b->failure(), e->word) == 0)
                return true;
            snprintf(what, sizeof(what), "\"%.40s\"", b->failure());
            break;
        case PS_STATE:
            if (strcmp(b->state(), e->word) == 0)
                return true;
            snprintf(what, sizeof(what), "%.40s", b->state());
            break;
        default:
            return false;
        }
        if (b->now() >= until)
            return say(p, "the owner does not see that: %s\n", what);
        if (p->waiting)
            usleep(2000);
        else
            p->waiting = b->next(b->now() + 2000, &p->sent);
    }
}

static void write_bytes(struct play *p, uint32_t n)
{
    static uint8_t bytes[1 << 20];
    n = n > sizeof(bytes) ? sizeof(bytes) : n;
    for (uint32_t i = 0; i < n; i++)
        bytes[i] = ps_pattern(p->written + 1 + i);
    p->b->write(bytes, n);
    p->written += n;
}

static bool step(struct play *p, const struct ps_event *e)
{
    const struct ps_backend *b = p->b;

    if (e->verb == PS_OUT || e->verb == PS_MAYBE)
        return expect(p, e);
    if (e->verb >= PS_ACCEPTED)
        return seen(p, e);
    if (!pass(p, e->lo_us))
        return false;
    switch (e->verb) {
    case PS_IN:
        inject(p, &e->seg);
        break;
    case PS_CONNECT:
        b->connect(p->peer_port);
        break;
    case PS_WRITE:
        write_bytes(p, e->n);
        break;
    case PS_SHUTDOWN:
        b->shutdown();
        break;
    case PS_CLOSE:
        b->close();
        break;
    case PS_ABORT:
        b->abort();
        break;
    case PS_READ:
    case PS_NOREAD:
        b->reading(e->verb == PS_READ);
        break;
    case PS_PORT:
        p->peer_port = (uint16_t)e->n;
        break;
    case PS_ICMP:
        say(p, "%10.6f  icmp %s\n", (double)(b->now() - p->start) / 1e6, e->word);
        b->icmp(e->word, e->n, p->peer_port, p->iss + (uint32_t)e->at);
        break;
    default:
        break;
    }
    return true;
}

bool ps_play(const struct ps_script *sc, const struct ps_backend *b, enum ps_who side, char *report, size_t size)
{
    static struct play p;
    char line[256];

    memset(&p, 0, sizeof(p));
    p.sc = sc;
    p.b = b;
    p.start = p.last = b->now();
    p.peer_port = PS_PEER_PORT;
    p.peer_isn = sc->peer_isn;
    p.peer_win = sc->peer_win;
    p.report = report;
    p.size = size;
    report[0] = 0;
    for (unsigned i = 0; i < sc->n_events; i++) {
        const struct ps_event *e = &sc->event[i];
        if (e->who != PS_BOTH && e->who != side)
            continue;
        if (!step(&p, e)) {
            ps_line(sc, e->line, line, sizeof(line));
            return say(&p, "%s.pkt line %u, against %s: %s\n", sc->name, e->line, b->name, line);
        }
    }
    if (!pass(&p, 0)) /* what the last event called forth must have been expected too */
        return say(&p, "%s.pkt, against %s: behind the last line\n", sc->name, b->name);
    return true;
}

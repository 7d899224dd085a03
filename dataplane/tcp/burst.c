/* A burst's way in, up to the rules of RFC 9293 (input.c). Segments of a connection arrive in rows, so work is done
 * per row where it can be:
 *
 *   1. each segment: is it like the one before it, or is its header whole? Rows are cut: segments of one flow with the
 *      same acknowledgement, window, header length and flags.
 *   2. each row: its connection is looked up, while others' memory is on its way.
 *   3. each row, in the order of arrival: what is as expected (header prediction) is taken with all that follows it
 *      as expected; anything else takes the long way, alone.
 *
 * What is taken at once is to the sending half one segment: those behind the first repeat what it says, only their
 * bytes are new. RFC 7323 4.3 (2) looks at the first alone, too: those behind it begin above Last.ACK.sent. */
#include <string.h>

#include "dataplane/buf/segment.h"
#include "dataplane/tcp/impl.h"

struct row {
    uint32_t first;           /* the index of its first segment */
    uint32_t of;              /* the row that looks up the connection: itself, or an earlier one of the same flow */
    uint32_t hash;
    uint32_t changes;         /* hr_tcp.flow_changes when conn was looked up */
    struct hr_tcp_conn *conn; /* NULL: none */
    struct hr_flow flow;
};

static uint32_t header_len(const struct rte_mbuf *m)
{
    return (rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *)->data_off >> 4) * 4u;
}

/* Its data is no longer needed: goes back with the rest of the burst. */
static void spend(struct hr_tcp *tcp, struct rte_mbuf *m)
{
    if (likely(m->nb_segs == 1))
        hr_buf_bin_add(&tcp->bin, m);
    else
        rte_pktmbuf_free(m);
}

static uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint32_t load32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Acknowledgement, data offset, flags but PSH, window. */
static inline uint64_t likeness(const uint8_t *th)
{
    return load64(th + offsetof(struct rte_tcp_hdr, recv_ack)) |
           rte_cpu_to_be_64((uint64_t)RTE_TCP_PSH_FLAG << 16);
}

/* Cuts the burst into rows, without what has no whole header; returns how many. *n: segments, before and after. One
 * row more begins where the last ends. */
static uint32_t cut(struct hr_tcp *tcp, struct rte_mbuf **segs, uint32_t *n, struct row *rows)
{
    uint32_t n_rows = 0, kept = 0;
    /* The first of the row. */
    uint32_t type = 0, hdr_len = UINT32_MAX, ports = 0;
    uint64_t addrs = 0, like = 0;
    const uint8_t *first = NULL;

    for (uint32_t i = 0; i < *n; i++) {
        struct rte_mbuf *m = segs[i];
        const uint8_t *th = rte_pktmbuf_mtod(m, const uint8_t *);
        if (m->data_len >= hdr_len && m->packet_type == type && load64(th - 8) == addrs && load32(th) == ports &&
            likeness(th) == like && (type == RTE_PTYPE_L3_IPV4 || memcmp(th - 32, first - 32, 24) == 0)) {
            segs[kept++] = m;
            continue;
        }
        uint32_t len;
        if (m->data_len < sizeof(struct rte_tcp_hdr) || (len = header_len(m)) < sizeof(struct rte_tcp_hdr) ||
            m->data_len < len) {
            HR_DROP(tcp->stats, tcp_short);
            spend(tcp, m);
            continue;
        }
        bool known = kept > 0 && hr_segment_same_flow(segs[kept - 1], m);
        rows[n_rows].of = known ? rows[n_rows - 1].of : n_rows;
        rows[n_rows++].first = kept;
        segs[kept++] = m;
        first = th;
        type = m->packet_type;
        hdr_len = len;
        addrs = load64(th - 8);
        ports = load32(th);
        like = likeness(th);
    }
    rows[n_rows].first = kept;
    *n = kept;
    return n_rows;
}

static void look_up(struct hr_tcp *tcp, struct rte_mbuf *const *segs, struct row *rows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (rows[i].of != i)
            continue;
        hr_segment_flow(segs[rows[i].first], &rows[i].flow);
        rows[i].hash = hr_tcp_flow_hash(tcp, &rows[i].flow);
        hr_tcp_flow_prefetch(tcp, rows[i].hash);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (rows[i].of != i)
            continue;
        struct hr_tcp_conn *c = hr_tcp_flow_find(tcp, &rows[i].flow, rows[i].hash);
        if (c != NULL)
            rte_prefetch0(&c->snd_nxt);
        rows[i].conn = c;
        rows[i].changes = tcp->flow_changes;
    }
}

/* INVALID: the options are. seg->m still begins at the header. */
static inline int parse(struct rte_mbuf *m, uint32_t hdr_len, struct hr_tcp_seg *seg)
{
    const struct rte_tcp_hdr *th = rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *);

    seg->m = m;
    seg->seq = rte_be_to_cpu_32(th->sent_seq);
    seg->ack = rte_be_to_cpu_32(th->recv_ack);
    seg->wnd = rte_be_to_cpu_16(th->rx_win);
    seg->flags = th->tcp_flags;
    seg->len = m->pkt_len - hdr_len;
    return hr_tcp_opts_parse((const uint8_t *)(th + 1), hdr_len - sizeof(*th), &seg->opts);
}

/* Is this what nearly every segment is (header prediction): the next bytes, or none, of an established connection,
 * nothing special in its flags or options, nothing waiting for it? Then no check of input.c can refuse it. */
static inline bool expected(const struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    const uint8_t special = RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG | RTE_TCP_RST_FLAG | RTE_TCP_ACK_FLAG;
    return c->state == HR_TCP_ESTABLISHED && (seg->flags & special) == RTE_TCP_ACK_FLAG && seg->seq == c->rcv_nxt &&
           seg->len <= c->rcv_adv - c->rcv_nxt && seg->opts.has_ts == c->ts_on && seg->opts.n_sack == 0 &&
           (!c->ts_on || hr_seq_geq(seg->opts.tsval, c->ts_recent)) && c->gaps == NULL && !c->released &&
           !c->rcv_fin_known && !c->persist;
}

/* Acknowledges nothing new and brings the window that is known: it says nothing to the sending half. */
static inline bool says_nothing(const struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    return seg->ack == c->snd_una && seg->wnd << c->snd_wscale == c->snd_wnd && c->recovery == HR_TCP_RECOVERY_NONE &&
           !c->tlp_out;
}

/* How many of a row's n segments, beginning with seg, can be taken at once: those behind it continue it. It is as
 * expected, brings bytes, and says nothing to the sending half any more. seg->seq becomes that of the last, seg->len the
 * bytes of all. */
static uint32_t alike(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, struct rte_mbuf *const *segs, uint32_t n,
                      uint32_t hdr_len, struct hr_tcp_seg *seg)
{
    const bool ts = c->ts_on;
    const uint32_t ts_recent = c->ts_recent, start = seg->seq, window = c->rcv_adv - start;
    uint32_t room = hr_tcp_reass_room(tcp, c), bufs = segs[0]->nb_segs, bytes = seg->len, before = 0, k = 1;

    if (hdr_len != sizeof(struct rte_tcp_hdr) + (ts ? HR_TCP_TS_OPT_BYTES : 0))
        return 1;
    for (; k < n; k++) {
        const struct rte_mbuf *m = segs[k];
        const uint8_t *th = rte_pktmbuf_mtod(m, const uint8_t *);
        uint32_t len = m->pkt_len - hdr_len;
        if (hr_tcp_opts_get32(th + offsetof(struct rte_tcp_hdr, sent_seq)) != start + bytes || len == 0 ||
            (bytes + len > window && !HR_MUTANT(ROW_BEYOND_WINDOW)) || (bufs >= room && !HR_MUTANT(ROW_WITHOUT_LIMIT)))
            break;
        if (ts && (!hr_tcp_opts_usual(th + sizeof(struct rte_tcp_hdr)) ||
                   (hr_seq_lt(hr_tcp_opts_get32(th + sizeof(struct rte_tcp_hdr) + 4), ts_recent) &&
                    !HR_MUTANT(ROW_WITHOUT_PAWS))))
            break;
        before = bytes;
        bytes += len;
        bufs += m->nb_segs;
    }
    seg->seq = start + before;
    seg->len = bytes;
    return k;
}

/* A segment that is expected(), and those behind it that can be taken with it. Returns how many. */
static inline uint32_t expected_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg,
                                      uint32_t hdr_len, struct rte_mbuf **segs, uint32_t n)
{
    hr_tcp_heard(tcp, c, seg);
    if ((seg->len == 0 || !says_nothing(c, seg)) && !hr_tcp_ack_input(tcp, c, seg, false)) {
        spend(tcp, segs[0]);
        return 1;
    }
    if (seg->len == 0) {
        spend(tcp, segs[0]);
        return 1;
    }
    uint32_t k = 1;
    if (says_nothing(c, seg)) {
        k = alike(tcp, c, segs, n, hdr_len, seg);
        c->snd_wl1 = seg->seq;
        c->snd_wl2 = seg->ack;
    }
    hr_tcp_reass_row(tcp, c, segs, k, hdr_len, seg->len);
    return k;
}

/* row: the one that looked up the connection. */
static void row_input(struct hr_tcp *tcp, struct row *row, struct rte_mbuf **segs, uint32_t n)
{
    for (uint32_t i = 0; i < n;) {
        struct hr_tcp_seg seg;
        uint32_t hdr_len = header_len(segs[i]);
        if (parse(segs[i], hdr_len, &seg) != 0) {
            HR_DROP(tcp->stats, tcp_options);
            spend(tcp, segs[i++]);
            continue;
        }
        if (row->changes != tcp->flow_changes) { /* by segments before this one */
            row->conn = hr_tcp_flow_find(tcp, &row->flow, row->hash);
            row->changes = tcp->flow_changes;
        }
        struct hr_tcp_conn *c = row->conn;
        if (likely(c != NULL && expected(c, &seg))) {
            i += expected_input(tcp, c, &seg, hdr_len, &segs[i], n - i);
        } else {
            seg.m = hr_tcp_trim_head(segs[i++], hdr_len);
            hr_tcp_segment_input(tcp, c, &row->flow, row->hash, &seg);
            rte_pktmbuf_free(seg.m);
        }
    }
}

static void burst_input(struct hr_tcp *tcp, struct rte_mbuf **segs, uint32_t n)
{
    struct row rows[HR_TCP_RX_BURST + 1];
    uint32_t n_rows = cut(tcp, segs, &n, rows);

    look_up(tcp, segs, rows, n_rows);
    for (uint32_t i = 0; i < n_rows; i++)
        row_input(tcp, &rows[rows[i].of], &segs[rows[i].first], rows[i + 1].first - rows[i].first);
    hr_buf_bin_empty(&tcp->bin);
}

void hr_tcp_input_take(struct hr_tcp *tcp, struct rte_mbuf **segs, uint32_t n)
{
    HR_COUNT_N(tcp->stats, tcp_segs_rx, n);
    for (; n > HR_TCP_RX_BURST; n -= HR_TCP_RX_BURST, segs += HR_TCP_RX_BURST)
        burst_input(tcp, segs, HR_TCP_RX_BURST);
    burst_input(tcp, segs, n);
}

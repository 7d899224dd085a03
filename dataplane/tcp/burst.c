/* A burst's way in, up to the rules of RFC 9293 (input.c). Segments of a connection arrive in rows, so work is done
 * per row where it can be:
 *
 *   1. each segment: does it continue the one before it, or is its header whole? Rows are cut: consecutive bytes of one
 *      flow, the rest of the header the same, timestamps in order.
 *   2. each row: its connection is looked up, while others' memory is on its way.
 *   3. each row, in the order of arrival: where its first segment is as expected (header prediction) and there is room
 *      for all, all is taken at once; anything else takes the long way, alone.
 *
 * What is taken at once is to the sending half one segment: those behind the first repeat what it says, only their
 * bytes are new. RFC 7323 4.3 (2) looks at the first alone, too: those behind it begin above Last.ACK.sent. */
#include <string.h>

#include "dataplane/buf/segment.h"
#include "dataplane/tcp/impl.h"
#include "shared/base/vec.h"

struct row {
    uint32_t first;           /* the index of its first segment */
    uint32_t hdr_len;         /* bytes of TCP header of each */
    bool valid;               /* the options of seg are */
    uint32_t bytes, bufs;     /* payload of all its segments, and the buffers that it stands in */
    uint32_t of;              /* the row that looks up the connection: itself, or an earlier one of the same flow */
    uint32_t hash;
    uint32_t changes;         /* hr_tcp.flow_changes when conn was looked up */
    struct hr_tcp_conn *conn; /* NULL: none */
    struct hr_flow flow;
    struct hr_tcp_seg seg;    /* the first one, then each that goes in alone */
};

#define USUAL_LEN (sizeof(struct rte_tcp_hdr) + HR_TCP_TS_OPT_BYTES)

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

/* What the segments of a row have in common stands in the 32 bytes from the addresses on (IPv4; IPv6: from the second
 * half of our own), as far as the mask says: not the sequence number, PSH, checksum, urgent pointer. */
#define HEAD_FROM (-8)
static const uint8_t plain_mask[sizeof(hr_vec32)] = {
    [0 ... 11] = 0xff, [16 ... 20] = 0xff, [21] = (uint8_t)~RTE_TCP_PSH_FLAG, [22 ... 23] = 0xff};
static const uint8_t usual_mask[sizeof(hr_vec32)] = { /* the options too, up to the timestamps */
    [0 ... 11] = 0xff, [16 ... 20] = 0xff, [21] = (uint8_t)~RTE_TCP_PSH_FLAG, [22 ... 23] = 0xff, [28 ... 31] = 0xff};

static inline uint32_t seq_of(const uint8_t *th)
{
    return hr_tcp_opts_get32(th + offsetof(struct rte_tcp_hdr, sent_seq));
}

/* Of the usual options. */
static inline uint32_t tsval_of(const uint8_t *th)
{
    return hr_tcp_opts_get32(th + sizeof(struct rte_tcp_hdr) + 4);
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

/* seq: where the next segment would begin. */
static inline void end_row(struct row *row, uint32_t seq, uint32_t bufs)
{
    row->bytes = seq - row->seg.seq;
    row->bufs = bufs;
}

/* Cuts the burst into rows, without what has no whole header; returns how many. *n: segments, before and after. One
 * row more begins where the last ends. */
static uint32_t cut(struct hr_tcp *tcp, struct rte_mbuf **segs, uint32_t *n, struct row *rows)
{
    uint32_t n_rows = 0, kept = 0;
    struct row *row = NULL;
    /* Of the row: its head, and what continues it. hdr_len UINT32_MAX: nothing does. */
    uint32_t type = 0, hdr_len = UINT32_MAX, seq = 0, tsval = 0, bufs = 0;
    hr_vec32 head = {0}, mask = {0};
    const uint8_t *first = NULL;

    for (uint32_t i = 0; i < *n; i++) {
        struct rte_mbuf *m = segs[i];
        const uint8_t *th = rte_pktmbuf_mtod(m, const uint8_t *);
        if (m->data_len >= hdr_len && m->pkt_len > hdr_len && m->packet_type == type && seq_of(th) == seq) {
            bool stamped = hdr_len == USUAL_LEN;
            uint32_t at = stamped ? tsval_of(th) : 0;
            hr_vec32 d = (*(const hr_vec32_at *)(th + HEAD_FROM) ^ head) & mask;
            if (hr_vec32_is_zero(&d) && (hr_seq_geq(at, tsval) || HR_MUTANT(ROW_WITHOUT_PAWS)) &&
                (type == RTE_PTYPE_L3_IPV4 || memcmp(th - 32, first - 32, 24) == 0)) {
                segs[kept++] = m;
                bufs += m->nb_segs;
                seq += m->pkt_len - hdr_len;
                tsval = at;
                continue;
            }
        }
        uint32_t len;
        if (m->data_len < sizeof(struct rte_tcp_hdr) || (len = header_len(m)) < sizeof(struct rte_tcp_hdr) ||
            m->data_len < len) {
            HR_DROP(tcp->stats, tcp_short);
            spend(tcp, m);
            continue;
        }
        bool known = kept > 0 && hr_segment_same_flow(segs[kept - 1], m);
        if (row != NULL)
            end_row(row, seq, bufs);
        row = &rows[n_rows];
        row->of = known ? rows[n_rows - 1].of : n_rows;
        n_rows++;
        row->first = kept;
        row->hdr_len = len;
        row->valid = parse(m, len, &row->seg) == 0;
        bufs = m->nb_segs;
        segs[kept++] = m;

        bool usual = len == USUAL_LEN && hr_tcp_opts_usual(th + sizeof(struct rte_tcp_hdr));
        seq = row->seg.seq + row->seg.len;
        tsval = usual ? tsval_of(th) : 0;
        hdr_len = m->pkt_len > len && (usual || len == sizeof(struct rte_tcp_hdr)) ? len : UINT32_MAX;
        type = m->packet_type;
        first = th;
        head = *(const hr_vec32_at *)(th + HEAD_FROM);
        memcpy(&mask, usual ? usual_mask : plain_mask, sizeof(mask));
    }
    if (row != NULL)
        end_row(row, seq, bufs);
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

/* A segment that is expected(), the first of n that continue each other, with so many bytes in so many buffers. Returns
 * how many were taken: all or one. */
static inline uint32_t expected_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg,
                                      uint32_t hdr_len, struct rte_mbuf **segs, uint32_t n, uint32_t bytes,
                                      uint32_t bufs)
{
    hr_tcp_heard(tcp, c, seg);
    if ((seg->len == 0 || !says_nothing(c, seg)) && (!hr_tcp_ack_input(tcp, c, seg, false) || seg->len == 0)) {
        spend(tcp, segs[0]);
        return 1;
    }
    bool silent = says_nothing(c, seg);
    if (n > 1 && (!silent || (bytes > c->rcv_adv - seg->seq && !HR_MUTANT(ROW_BEYOND_WINDOW)) ||
                  (bufs > hr_tcp_reass_room(tcp, c) && !HR_MUTANT(ROW_WITHOUT_LIMIT)))) {
        n = 1;
        bytes = seg->len;
    }
    if (silent) {
        c->snd_wl1 = seg->seq + bytes - (segs[n - 1]->pkt_len - hdr_len);
        c->snd_wl2 = seg->ack;
    }
    hr_tcp_reass_row(tcp, c, segs, n, hdr_len, bytes);
    return n;
}

/* Of a row's segments, all have headers of one length. */
static inline void count_received(struct hr_tcp *tcp, const struct hr_tcp_conn *c, bool v6, uint32_t n, uint32_t bytes)
{
    struct hr_zone_link *link = hr_tcp_link(tcp, c, v6);
    link->rx_packets += n;
    link->rx_bytes += bytes;
}

/* of: the row that looked up the connection. */
static inline void row_input(struct hr_tcp *tcp, struct row *row, struct row *of, struct rte_mbuf **segs, uint32_t n)
{
    struct hr_tcp_seg *seg = &row->seg;
    uint32_t bytes = row->bytes, bufs = row->bufs, hdr_len = row->hdr_len;

    if (likely(of->conn != NULL && of->changes == tcp->flow_changes))
        count_received(tcp, of->conn, segs[0]->packet_type != RTE_PTYPE_L3_IPV4, n, n * hdr_len + bytes);
    for (;;) {
        uint32_t taken = 1, its_bytes = seg->len, its_bufs = segs[0]->nb_segs;
        if (of->changes != tcp->flow_changes) { /* by segments before this one */
            of->conn = hr_tcp_flow_find(tcp, &of->flow, of->hash);
            of->changes = tcp->flow_changes;
        }
        struct hr_tcp_conn *c = of->conn;
        if (!row->valid) {
            HR_DROP(tcp->stats, tcp_options);
            spend(tcp, segs[0]);
        } else if (likely(c != NULL && expected(c, seg))) {
            taken = expected_input(tcp, c, seg, hdr_len, segs, n, bytes, bufs);
        } else {
            seg->m = hr_tcp_trim_head(segs[0], hdr_len);
            hr_tcp_segment_input(tcp, c, &of->flow, of->hash, seg);
            rte_pktmbuf_free(seg->m);
        }
        if (taken == n)
            return;
        segs++; /* alone */
        n--;
        bytes -= its_bytes;
        bufs -= its_bufs;
        row->valid = parse(segs[0], hdr_len, seg) == 0;
    }
}

static void burst_input(struct hr_tcp *tcp, struct rte_mbuf **segs, uint32_t n)
{
    struct row rows[HR_TCP_RX_BURST + 1];
    uint32_t n_rows = cut(tcp, segs, &n, rows);

    look_up(tcp, segs, rows, n_rows);
    for (uint32_t i = 0; i < n_rows; i++)
        row_input(tcp, &rows[i], &rows[rows[i].of], &segs[rows[i].first], rows[i + 1].first - rows[i].first);
    hr_buf_bin_empty(&tcp->bin);
}

void hr_tcp_input_take(struct hr_tcp *tcp, struct rte_mbuf **segs, uint32_t n)
{
    HR_COUNT_N(tcp->stats, tcp_segs_rx, n);
    for (; n > HR_TCP_RX_BURST; n -= HR_TCP_RX_BURST, segs += HR_TCP_RX_BURST)
        burst_input(tcp, segs, HR_TCP_RX_BURST);
    burst_input(tcp, segs, n);
}

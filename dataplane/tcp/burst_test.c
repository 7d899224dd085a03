/* Bursts: what goes in together ends as what goes in one by one. */
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/buf/segment.h"
#include "dataplane/tcp/testcheck.h"
#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"
#include "tests/support/inject.h"

static struct tc_memory memory;

/* Flushes and looks at everything. */
static void check(void)
{
    flush();
    const char *wrong = tc_check(tcp, &memory);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

static struct rte_mbuf *burst[64];
static uint32_t n_burst;

/* To the burst; the peer's next segment if s is seq. */
static struct rte_mbuf *put(uint32_t s, uint8_t flags, uint32_t len)
{
    struct rte_mbuf *m = make(s, ack, flags, len, 65535);
    hr_segment_set_addrs(m, &peer, &us);
    burst[n_burst++] = m;
    return m;
}

static void go(void)
{
    hr_tcp_input_take(tcp, burst, n_burst);
    n_burst = 0;
}

static void put_row(uint32_t n, uint32_t len)
{
    for (uint32_t i = 0; i < n; i++)
        put(seq + i * len, i + 1 == n ? ACK | PSH : ACK, len);
}

/* ---- one by one, by hand ---- */

static void test_row(void **state)
{
    (void)state;
    for (int ts = 0; ts < 2; ts++) {
        peer_port = (uint16_t)(40000 + ts);
        establish(ts == 1, true, true);
        uint64_t segs = stats.counters[HR_CTR_tcp_segs_rx];
        put_row(8, 1000);
        go();
        check_rcvq(seq, 8000);
        assert_int_equal(hr_tcp_rcvq(conn)->n_pieces, 8);
        assert_int_equal(conn->snd_wl1, seq + 7000);
        assert_int_equal(events_of(conn), HR_TCP_EV_READABLE);
        assert_int_equal(stats.counters[HR_CTR_tcp_segs_rx], segs + 8);
        assert_int_equal(said()->ack, seq + 8000);
        assert_int_equal(n_out, 1);
    }
    peer_port = 40000;
}

/* Longer than what goes in together. */
static void test_long_burst(void **state)
{
    (void)state;
    establish(true, true, true);
    put_row(HR_TCP_RX_BURST + 9, 150);
    go();
    check_rcvq(seq, (HR_TCP_RX_BURST + 9) * 150);
}

static void test_two_flows_in_turns(void **state)
{
    (void)state;
    establish(true, true, true);
    struct hr_tcp_conn *first = conn;
    uint32_t first_ack = ack;
    peer_port = 40001;
    establish(true, true, true);
    uint32_t second_ack = ack;
    for (uint32_t i = 0; i < 12; i++) {
        peer_port = (uint16_t)(40000 + (i / 2) % 2);
        ack = i / 2 % 2 == 0 ? first_ack : second_ack;
        put(seq + (i / 4 * 2 + i % 2) * 300, ACK, 300);
    }
    go();
    check_rcvq(seq, 1800);
    conn = first;
    check_rcvq(seq, 1800);
    peer_port = 40000;
}

static void small_window(struct hr_tcp_config *c)
{
    c->rcv_wnd_initial = c->rcv_wnd_max = 5000;
}

static int setup_small_window(void **state)
{
    return setup_with(state, 2048, small_window);
}

static void test_window_ends_in_the_middle(void **state)
{
    (void)state;
    establish(true, true, true);
    uint32_t room = conn->rcv_adv - seq;
    assert_in_range(room, 3001, 5000);
    put_row(8, 1000);
    go();
    check_rcvq(seq, room);
    assert_true(stats.drops[HR_DROP_tcp_out_of_window] > 0);
    assert_int_equal(said()->ack, seq + room);
}

static void few_buffers(struct hr_tcp_config *c)
{
    c->conn_bufs_max = 4;
}

static int setup_few_buffers(void **state)
{
    return setup_with(state, 2048, few_buffers);
}

static void test_buffers_end_in_the_middle(void **state)
{
    (void)state;
    establish(true, true, true);
    conn->rcv_adv = seq + 65535; /* offered when buffers seemed to be larger */
    put_row(12, 300);
    go();
    check_rcvq(seq, 8 * 300); /* twice the limit is where arrivals are refused */
    assert_int_equal(stats.drops[HR_DROP_tcp_rcv_pool], 4);
    assert_int_equal(said()->ack, seq + 8 * 300);
    hr_pieceq_drop(&bufs, hr_tcp_rcvq(conn), 8 * 300);
    seq += 8 * 300;
    put_row(4, 300); /* again, now that there is room */
    go();
    check_rcvq(seq, 4 * 300);
}

/* Not even the first finds a buffer's place. */
static void test_pool_at_its_end(void **state)
{
    (void)state;
    establish(true, true, true);
    put_row(5, 1000);
    tcp->pool_free = 1;
    go();
    check_rcvq(seq, 0);
    assert_int_equal(stats.drops[HR_DROP_tcp_rcv_pool], 5);
    assert_int_equal(said()->ack, seq);
}

static void test_chunks_at_their_end(void **state)
{
    void *chunks[1024];
    uint32_t n = 0;
    (void)state;
    establish(true, true, true);
    put_row(2, 1000);
    go();
    while (n < RTE_DIM(chunks) && rte_mempool_get(bufs.chunk_pool, &chunks[n]) == 0)
        n++;
    seq += 2000;
    put_row(32, 1000);
    go();
    assert_int_equal(hr_tcp_rcvq(conn)->n_pieces, HR_PIECE_CHUNK_N);
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, HR_PIECE_CHUNK_N * 1000);
    assert_int_equal(stats.drops[HR_DROP_tcp_rcv_pool], 2 + 32 - HR_PIECE_CHUNK_N);
    assert_int_equal(said()->ack, seq + (HR_PIECE_CHUNK_N - 2) * 1000);
    rte_mempool_put_bulk(bufs.chunk_pool, chunks, n);
}

static void test_old_timestamp_in_the_middle(void **state)
{
    (void)state;
    establish(true, true, true);
    put(seq, ACK, 500);
    put(seq + 500, ACK, 500);
    opts.tsval -= 1;
    put(seq + 1000, ACK, 500);
    opts.tsval += 1;
    put(seq + 1500, ACK, 500);
    go();
    check_rcvq(seq, 1000);
    assert_int_equal(stats.drops[HR_DROP_tcp_paws], 1);
    assert_int_equal(hr_tcp_reass_pieces(conn), 1);
    put(seq + 1000, ACK, 500);
    go();
    check_rcvq(seq, 2000);
}

/* The timestamp that is echoed is that of the first, which the last ACK was short of (RFC 7323 4.3). */
static void test_echo_of_a_row(void **state)
{
    (void)state;
    establish(true, true, true);
    for (uint32_t i = 0; i < 4; i++) {
        opts.tsval = 1010 + i;
        put(seq + i * 500, ACK, 500);
    }
    go();
    assert_int_equal(said()->opts.tsecr, 1010);
}

static void test_reset_in_the_middle(void **state)
{
    (void)state;
    establish(true, true, true);
    put(seq, ACK, 500);
    put(seq + 500, ACK | RST, 0);
    put(seq + 500, ACK, 500);
    go();
    assert_int_equal(conn->state, HR_TCP_CLOSED);
    assert_int_equal(events_of(conn) & HR_TCP_EV_FAILED, HR_TCP_EV_FAILED);
    hr_tcp_release(tcp, conn);
    assert_int_equal(stats.drops[HR_DROP_tcp_no_conn], 1); /* the third */
}

/* Handshake, bytes and FIN in one burst: the row's connection comes to be in its middle. */
static void test_whole_life_in_one_burst(void **state)
{
    (void)state;
    establish(false, false, false);
    hr_tcp_abort(tcp, conn);
    assert_int_equal(tcp->n_conns, 0);
    feed(seq, 0, SYN, 0);
    struct out *o = said();
    ack = o->seq + 1;
    seq++;
    put(seq, ACK, 0);
    put_row(4, 400);
    put(seq + 1600, ACK | FIN, 0);
    put(seq + 1601, ACK | RST, 0);
    put(seq, SYN, 0);
    go();
    uint32_t events;
    conn = hr_tcp_next_event(tcp, &events);
    assert_int_equal(events, HR_TCP_EV_ACCEPTED | HR_TCP_EV_READABLE | HR_TCP_EV_FIN | HR_TCP_EV_FAILED);
    hr_tcp_release(tcp, conn);
    assert_int_equal(tcp->n_conns, 1); /* the second SYN's */
}

static void test_broken_headers_between(void **state)
{
    (void)state;
    establish(false, true, true);
    put(seq, ACK, 500);
    struct rte_mbuf *m = put(seq + 500, ACK, 500);
    rte_pktmbuf_mtod(m, struct rte_tcp_hdr *)->data_off = 0x40;
    m = put(seq + 500, ACK, 500);
    rte_pktmbuf_mtod(m, struct rte_tcp_hdr *)->data_off = 0x60;
    memset(rte_pktmbuf_mtod_offset(m, void *, 20), 2, 4); /* an MSS of two bytes */
    put(seq + 500, ACK, 500);
    m = put(seq + 1000, ACK, 0);
    m->data_len = m->pkt_len = 19;
    put(seq + 1000, ACK, 500);
    go();
    check_rcvq(seq, 1500);
    assert_int_equal(stats.drops[HR_DROP_tcp_short], 2);
    assert_int_equal(stats.drops[HR_DROP_tcp_options], 1);
}

/* ---- and by chance: two connections get the same, one of them in bursts ---- */

static uint64_t seed;

static uint32_t chance(uint32_t n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)((seed >> 33) % n);
}

struct wanted {
    uint32_t at, len, back, wnd; /* at: from the peer's first byte; back: bytes that it does not acknowledge yet */
    uint8_t flags;
    struct hr_tcp_opts opts;
    uint32_t first_mbuf; /* bytes of payload in the first of a chain */
};

static struct side {
    struct hr_tcp_conn *conn;
    uint32_t acked_from; /* our first byte */
    uint16_t port;
    uint8_t said[64][8];
} side[2];

static struct rte_mbuf *make_wanted(const struct side *s, const struct wanted *w)
{
    opts = w->opts;
    opts.tsecr = tcp->now_ms + s->conn->ts_offset;
    peer_port = s->port;
    struct rte_mbuf *m = make(7001 + w->at, s->conn->snd_nxt - w->back, w->flags, w->len, (uint16_t)w->wnd);
    if (w->first_mbuf < w->len) {
        struct rte_mbuf *tail = rte_pktmbuf_alloc(bufs.rx_pool);
        uint32_t n = w->len - w->first_mbuf;
        assert_non_null(tail);
        m->data_len = (uint16_t)(m->data_len - n);
        memcpy(rte_pktmbuf_append(tail, (uint16_t)n), rte_pktmbuf_mtod_offset(m, void *, m->data_len), n);
        m->next = tail;
        m->nb_segs = 2;
        if (n % 2 == 1 && n > 2) { /* of three */
            struct rte_mbuf *last = rte_pktmbuf_alloc(bufs.rx_pool);
            assert_non_null(last);
            tail->data_len = (uint16_t)(n / 2);
            memcpy(rte_pktmbuf_append(last, (uint16_t)(n - n / 2)), rte_pktmbuf_mtod_offset(tail, void *, n / 2),
                   n - n / 2);
            tail->next = last;
            m->nb_segs = 3;
        }
    }
    hr_segment_set_addrs(m, &peer, &us);
    return m;
}

static void same_bytes(void)
{
    static uint8_t bytes[2][1 << 17];
    uint32_t n = hr_tcp_rcvq(side[0].conn)->bytes;
    assert_int_equal(n, hr_tcp_rcvq(side[1].conn)->bytes);
    assert_true(n <= sizeof(bytes[0]));
    for (int i = 0; i < 2; i++)
        hr_pieceq_peek(hr_tcp_rcvq(side[i].conn), 0, bytes[i], n);
    assert_memory_equal(bytes[0], bytes[1], n);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(bytes[0][i], (uint8_t)(side[0].conn->rcv_nxt - n - side[0].conn->rcv_fin_known + i));
}

static void same_state(void)
{
    const struct hr_tcp_conn *a = side[0].conn, *b = side[1].conn;
    uint32_t d = side[0].acked_from - side[1].acked_from;
#define SAME(field) assert_int_equal(a->field, b->field)
    SAME(state), SAME(rcv_nxt), SAME(rcv_adv), SAME(ts_recent), SAME(ts_recent_ms), SAME(last_ack_sent);
    SAME(snd_wnd), SAME(snd_wnd_max), SAME(snd_wl1), SAME(events), SAME(quickacks), SAME(ack_segs), SAME(ack_now);
    SAME(last_rx_us), SAME(rcv_fin_known), SAME(dup_due), SAME(dupacks), SAME(sndq.bytes), SAME(cwnd);
    SAME(dirty), SAME(challenges), SAME(recovery);
    if (!a->ack_now) /* else no deadline counts any more, and a row does not set one first */
        SAME(ack_at_us);
    assert_int_equal(a->snd_una, b->snd_una + d);
    assert_int_equal(a->snd_nxt, b->snd_nxt + d);
    assert_int_equal(a->snd_wl2, b->snd_wl2 + d);
    assert_int_equal(hr_tcp_reass_pieces(a), hr_tcp_reass_pieces(b));
    assert_int_equal(hr_tcp_reass_end(a), hr_tcp_reass_end(b));
#undef SAME
}

/* What both said since the last time is the same but for ports and the first number. */
static void same_said(void)
{
    uint32_t seen[2] = {0, 0}, words[2][512][5];
    n_out = 0;
    check();
    for (unsigned i = 0; i < n_out; i++) {
        int k = out[i].flow.remote_port == side[1].port;
        const uint32_t w[5] = {out[i].seq - side[k].acked_from, out[i].ack, out[i].len, out[i].flags, out[i].opts.n_sack};
        memcpy(words[k][seen[k]++], w, sizeof(w));
    }
    assert_int_equal(seen[0], seen[1]);
    assert_memory_equal(words[0], words[1], seen[0] * sizeof(words[0][0]));
}

/* The next segment of a peer that mostly streams. *next: what it sends next. */
static struct wanted something(bool ts, uint32_t *next)
{
    struct wanted w = {.at = *next, .len = 1 + chance(chance(2) ? 1400 : 300), .flags = ACK, .wnd = 65535};
    w.opts = (struct hr_tcp_opts){.has_ts = ts, .tsval = 1000 + *next / 4000};
    w.first_mbuf = w.len;
    if (chance(4) == 0)
        w.len = w.first_mbuf = 0;
    if (chance(4) == 0)
        w.flags |= PSH;
    switch (chance(40)) {
    case 0: /* a gap */
        w.at += 1 + chance(2000);
        return w;
    case 1: /* again */
        w.at -= chance(3000) < *next ? chance(RTE_MIN(*next, 3000u) + 1) : 0;
        return w;
    case 2:
        w.opts.tsval -= 1 + chance(50);
        break;
    case 3:
        w.opts.has_ts = !ts;
        break;
    case 4:
        w.wnd = 20000 + chance(40000);
        break;
    case 5:
        w.back = chance(2000);
        break;
    case 6:
        w.flags |= RTE_TCP_URG_FLAG;
        break;
    case 7: /* a report of what was not sent */
        w.opts.n_sack = 1;
        w.opts.sack[0] = (struct hr_tcp_range){1, 2};
        break;
    case 8:
        w.first_mbuf = w.len > 0 ? chance(w.len) : 0;
        break;
    case 9:
        w.flags |= SYN;
        break;
    case 10:
        w.flags &= (uint8_t)~ACK;
        break;
    case 11: /* beyond the window, perhaps */
        w.at += 60000;
        return w;
    case 12:
        w.opts.has_mss = true; /* says nothing here, but makes the header another one */
        w.opts.mss = 1000;
        break;
    default:
        break;
    }
    if (w.opts.has_ts == ts && w.opts.tsval >= 1000 + *next / 4000 && (w.flags & (ACK | SYN)) == ACK)
        *next += w.len;
    return w;
}

static void stream(uint64_t from, bool ts, bool sack)
{
    uint32_t next = 0;
    seed = from;
    for (int k = 0; k < 2; k++) {
        side[k].port = peer_port = (uint16_t)(41000 + k);
        establish(ts, sack, true);
        side[k].acked_from = ack;
        side[k].conn = conn;
    }
    for (unsigned turn = 0; turn < 60; turn++) {
        if (chance(3) == 0) { /* something for it to acknowledge */
            for (int k = 0; k < 2; k++) {
                conn = side[k].conn;
                queue(1000);
            }
            same_said();
        }
        n_burst = 0;
        for (uint32_t n = 1 + chance(20); n > 0; n--) {
            struct wanted w = something(ts, &next);
            burst[n_burst++] = make_wanted(&side[0], &w);
            struct rte_mbuf *m = make_wanted(&side[1], &w);
            hr_tcp_input_take(tcp, &m, 1);
        }
        go();
        same_state();
        same_bytes();
        for (int k = 0; k < 2; k++) /* what did not arrive is sent again from here */
            assert_int_equal(events_of(side[k].conn) & ~(uint32_t)(HR_TCP_EV_READABLE | HR_TCP_EV_ACKED), 0);
        next = side[0].conn->rcv_nxt - 7001;
        if (chance(3) == 0) {
            for (int k = 0; k < 2; k++) {
                uint32_t n = hr_tcp_rcvq(side[k].conn)->bytes;
                hr_pieceq_drop(&bufs, hr_tcp_rcvq(side[k].conn), n);
                hr_tcp_consumed(tcp, side[k].conn, n, 0, 0);
            }
        }
        same_said();
        if (chance(5) == 0) {
            pass(chance(6000));
            same_state();
        }
    }
    for (int k = 0; k < 2; k++)
        hr_tcp_abort(tcp, side[k].conn);
    check();
    n_out = 0;
}

static void test_bursts_are_their_segments(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 400; i++) {
        stream(i, i & 1, i & 2);
    }
    peer_port = 40000;
}

static void one_target(struct hr_tcp_config *c)
{
    c->rcv_wnd_max = c->rcv_wnd_initial; /* the mean size of what arrives then decides nothing */
}

static int setup_one_target(void **state)
{
    return setup_with(state, 4096, one_target);
}

static int finish(void **state)
{
    check();
    tc_forget(&memory);
    return teardown(state);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, finish)
    const struct CMUnitTest tests[] = {
        T(test_row),
        T(test_long_burst),
        T(test_two_flows_in_turns),
        cmocka_unit_test_setup_teardown(test_window_ends_in_the_middle, setup_small_window, finish),
        cmocka_unit_test_setup_teardown(test_buffers_end_in_the_middle, setup_few_buffers, finish),
        T(test_pool_at_its_end),
        T(test_chunks_at_their_end),
        T(test_old_timestamp_in_the_middle),
        T(test_echo_of_a_row),
        T(test_reset_in_the_middle),
        T(test_whole_life_in_one_burst),
        T(test_broken_headers_between),
        cmocka_unit_test_setup_teardown(test_bursts_are_their_segments, setup_one_target, finish),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

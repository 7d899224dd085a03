/* SYN cookies: what a SYN offered comes back through the final ACK, and nothing else does. */
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"

#define EPOCH_US (1ULL << 25)

/* The backlog is full up to its mark: from now on SYNs are answered by cookies. */
static void fill_backlog(void)
{
    uint16_t was = peer_port;
    for (peer_port = 1000; peer_port < 1000 + cfg.max_half_open; peer_port++)
        feed(1, 0, SYN, 0);
    flush();
    peer_port = was;
    n_out = 0;
}

static void offer(uint16_t mss, bool ts, bool sack, int wscale)
{
    opts = (struct hr_tcp_opts){.has_mss = mss != 0, .mss = mss, .has_ts = ts, .tsval = 777, .sack_ok = sack,
                                .has_wscale = wscale >= 0, .wscale = (uint8_t)(wscale < 0 ? 0 : wscale)};
}

/* A SYN that is answered at once and leaves nothing behind. */
static struct out *cookie(void)
{
    uint32_t before = tcp->n_conns;
    n_out = 0;
    feed(seq, 0, SYN, 0);
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].flags, SYN | ACK);
    assert_int_equal(out[0].ack, seq + 1);
    assert_int_equal(tcp->n_conns, before);
    assert_int_equal(events_of(NULL), 0); /* the owner hears of it with the final ACK, not before */
    return &out[0];
}

static void answer_opts(const struct out *o)
{
    opts = (struct hr_tcp_opts){.has_ts = o->opts.has_ts, .tsval = 778, .tsecr = o->opts.tsval};
}

/* The connection that the final ACK makes; NULL: it made none. */
static struct hr_tcp_conn *finish(uint32_t acked, uint32_t len)
{
    uint32_t events;
    feed(seq + 1, acked, ACK, len);
    struct hr_tcp_conn *c = hr_tcp_next_event(tcp, &events);
    if (c != NULL) {
        assert_true(events & HR_TCP_EV_ACCEPTED);
        assert_int_equal(c->state, HR_TCP_ESTABLISHED);
    }
    return c;
}

static void test_all_options_come_back(void **state)
{
    (void)state;
    fill_backlog();
    for (int scale = -1; scale <= 15; scale++) {
        for (int sack = 0; sack < 2; sack++) {
            peer_port++;
            offer(1460, true, sack, scale);
            struct out o = *cookie();
            assert_true(o.opts.has_ts);
            assert_int_equal(o.opts.tsecr, 777);
            assert_int_equal(o.opts.sack_ok, sack);
            assert_int_equal(o.opts.has_wscale, scale >= 0);
            assert_int_equal(o.opts.mss, 1460);
            assert_int_equal(o.wnd, 65535);
            answer_opts(&o);
            struct hr_tcp_conn *c = finish(o.seq + 1, 0);
            assert_non_null(c);
            assert_true(c->ts_on);
            assert_int_equal(c->sack_on, sack);
            assert_int_equal(c->wscale_on, scale >= 0);
            assert_int_equal(c->snd_wscale, scale < 0 ? 0 : scale > 14 ? 14 : scale);
            assert_int_equal(c->rcv_wscale, scale < 0 ? 0 : tcp->rcv_wscale);
            assert_int_equal(c->mss, 1460);
            assert_int_equal(c->snd_wnd, 65535u << c->snd_wscale);
            assert_int_equal(c->rto_us, 1000000); /* the round trip was not timed */
            hr_tcp_abort(tcp, c);
        }
    }
    assert_int_equal(stats.counters[HR_CTR_tcp_syn_cookie_tx], 34);
    assert_int_equal(stats.counters[HR_CTR_tcp_syn_cookie_ok], 34);
    assert_int_equal(tcp->n_half_open, cfg.max_half_open);
}

static void test_without_timestamps(void **state)
{
    (void)state;
    fill_backlog();
    offer(1400, false, true, 7);
    struct out o = *cookie();
    assert_false(o.opts.has_ts || o.opts.sack_ok || o.opts.has_wscale);
    answer_opts(&o);
    conn = finish(o.seq + 1, 100);
    assert_non_null(conn);
    assert_false(conn->ts_on || conn->sack_on || conn->wscale_on);
    assert_int_equal(conn->rcv_wscale, 0);
    assert_int_equal(conn->mss, 1360);
    check_rcvq(seq + 1, 100); /* what came with the ACK is not lost */
    queue(3000);
    assert_int_equal(said()->len, 3000 - 2 * 1360);
}

static void test_mss_table(void **state)
{
    static const uint16_t in[] = {0, 1, 88, 535, 536, 1219, 1220, 1380, 1439, 1440, 1459, 1460, 8939, 8948, 8960, 65535};
    static const uint16_t want[] = {536, 88, 88, 88, 536, 536, 1220, 1360, 1360, 1440, 1440, 1460, 1460, 8940, 8960, 8960};
    (void)state;
    path_mss_ = 65535;
    fill_backlog();
    for (unsigned i = 0; i < RTE_DIM(in); i++) {
        peer_port++;
        offer(in[i], i & 1, false, -1);
        opts.has_mss = i > 0;
        struct out o = *cookie();
        assert_int_equal(o.opts.mss, 65535); /* ours is said as it is */
        answer_opts(&o);
        struct hr_tcp_conn *c = finish(o.seq + 1, 0);
        assert_non_null(c);
        assert_int_equal(c->mss, want[i]);
        hr_tcp_abort(tcp, c);
    }
}

static void test_forged(void **state)
{
    (void)state;
    fill_backlog();
    offer(1460, true, true, 7);
    struct out o = *cookie();
    answer_opts(&o);
    for (unsigned bit = 0; bit < 32; bit++) /* every bit of it counts */
        assert_null(finish((o.seq ^ 1u << bit) + 1, 0));
    for (unsigned bit = 0; bit < 5; bit++) { /* and what the timestamp says */
        opts.tsecr = o.opts.tsval ^ 1u << bit;
        assert_null(finish(o.seq + 1, 0));
    }
    opts.has_ts = false;
    assert_null(finish(o.seq + 1, 0));
    answer_opts(&o);
    seq++; /* another connection's numbers */
    assert_null(finish(o.seq + 1, 0));
    seq--;
    peer_port++;
    assert_null(finish(o.seq + 1, 0));
    peer_port--;
    feed(seq + 1, o.seq + 1, ACK | RST, 0);
    feed(seq + 1, o.seq + 1, ACK | SYN, 0);
    assert_int_equal(stats.drops[HR_DROP_tcp_cookie_bad], 32 + 5 + 3);
    n_out = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        assert_null(finish((uint32_t)(i * 2654435761u), 0));
        assert_int_equal(out[0].flags, RST);
        n_out = 0;
    }
    assert_int_equal(tcp->n_conns, cfg.max_half_open);
    assert_non_null(finish(o.seq + 1, 0)); /* the true one all the while */
}

static void test_keys_rotate(void **state)
{
    uint32_t seqs[4];
    (void)state;
    fill_backlog();
    pass(EPOCH_US - now % EPOCH_US); /* an epoch begins */
    fill_backlog();
    offer(1460, true, true, 7);
    for (unsigned i = 0; i < 4; i++) {
        seqs[i] = cookie()->seq;
        struct out o = out[0];
        answer_opts(&o);
        if (i > 0) /* of the epoch before: still good */
            assert_non_null(conn = finish(seqs[i - 1] + 1, 0));
        if (i > 0)
            hr_tcp_abort(tcp, conn);
        if (i > 1) /* of the one before that: not any more */
            assert_null(finish(seqs[i - 2] + 1, 0));
        offer(1460, true, true, 7);
        pass(EPOCH_US);
        for (unsigned k = 0; k < 4; k++)
            pass(1000000);
        fill_backlog();
        now -= 4000000;
        hr_tcp_set_now(tcp, now);
    }
    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < i; k++)
            assert_true((seqs[i] ^ seqs[k]) >> 4 != 0);
}

/* Timestamps agree with those that follow, and grow from one use of a tuple to the next. */
static void test_timestamps_agree(void **state)
{
    uint32_t last = 0;
    (void)state;
    fill_backlog();
    for (unsigned i = 0; i < 200; i++) {
        offer(1460, true, i & 1, (int)(i % 15));
        struct out o = *cookie();
        if (i > 0)
            assert_true(hr_seq_geq(o.opts.tsval, last));
        answer_opts(&o);
        conn = finish(o.seq + 1, 0);
        assert_non_null(conn);
        queue(10);
        struct out *data = said();
        assert_true(hr_seq_geq(data->opts.tsval, o.opts.tsval));
        assert_in_range(data->opts.tsval - o.opts.tsval, 0, 31);
        last = data->opts.tsval;
        hr_tcp_abort(tcp, conn);
        now += 32000;
        hr_tcp_set_now(tcp, now);
    }
}

static void test_only_while_needed(void **state)
{
    (void)state;
    feed(5, 6, ACK, 0); /* no cookie is out there: nothing is checked */
    assert_int_equal(stats.drops[HR_DROP_tcp_no_conn], 1);
    fill_backlog();
    offer(1460, true, true, 7);
    struct out o = *cookie();
    answer_opts(&o);
    refuse_syns = true; /* the listener has gone since */
    assert_null(finish(o.seq + 1, 0));
    assert_int_equal(out[n_out - 1].flags, RST);
    refuse_syns = false;
    uint16_t was = peer_port;
    for (peer_port = 2000; tcp->n_conns < cfg.max_conns; peer_port++) { /* no block is left */
        struct hr_flow flow = {us, peer, 9092, peer_port};
        assert_non_null(hr_tcp_conn_new(tcp, &flow));
    }
    peer_port = was;
    assert_null(finish(o.seq + 1, 0));
    assert_int_equal(stats.drops[HR_DROP_tcp_conn_limit], 1);
    assert_int_equal(stats.drops[HR_DROP_tcp_cookie_bad], 0);
    now += 2 * EPOCH_US + 1;
    hr_tcp_set_now(tcp, now);
    assert_null(finish(o.seq + 1, 0));
    assert_int_equal(stats.drops[HR_DROP_tcp_cookie_bad], 0);
    assert_int_equal(stats.drops[HR_DROP_tcp_no_conn], 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_all_options_come_back), T(test_without_timestamps), T(test_mss_table),         T(test_forged),
        T(test_keys_rotate),           T(test_timestamps_agree),   T(test_only_while_needed),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* TIME-WAIT: a small entry that answers, expires, is reused and cannot be talked out of its time. */
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"

#define S 1000000ULL

/* We close first; the block is gone, the entry is there. */
static void close_first(bool ts)
{
    establish(ts, true, true);
    opts.tsval = 5000;
    hr_tcp_shutdown(tcp, conn);
    flush();
    n_out = 0;
    feed(seq, ack + 1, ACK, 0);
    assert_int_equal(conn->state, HR_TCP_FIN_WAIT_2);
    feed(seq, ack + 1, FIN | ACK, 0);
    seq++;
    ack++;
    assert_true(events_of(conn) & HR_TCP_EV_CLOSED);
    hr_tcp_release(tcp, conn);
    conn = NULL;
    assert_int_equal(tcp->n_conns, 0);
    assert_int_equal(tcp->n_time_wait, 1);
    assert_int_equal(n_out, 1); /* the ACK of the FIN */
    assert_int_equal(out[0].flags, ACK);
    assert_int_equal(out[0].ack, seq);
    assert_int_equal(out[0].seq, ack);
    assert_int_equal(out[0].opts.has_ts, ts);
    n_out = 0;
}

static void test_expires(void **state)
{
    (void)state;
    close_first(true);
    assert_true(hr_tcp_advance(tcp) <= now + 2 * cfg.msl_us + 20000);
    pass(2 * cfg.msl_us - 1);
    assert_int_equal(tcp->n_time_wait, 1);
    pass(20000);
    assert_int_equal(tcp->n_time_wait, 0);
    assert_int_equal(hr_tcp_advance(tcp), UINT64_MAX);
    assert_int_equal(tcp->wheel.armed, 0);
}

static void test_last_fin_again(void **state)
{
    (void)state;
    close_first(true);
    pass(8 * S);
    feed(seq - 1, ack, FIN | ACK, 0); /* it has not seen our ACK: 2 MSL from here */
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].ack, seq);
    pass(8 * S);
    assert_int_equal(tcp->n_time_wait, 1);
    pass(3 * S);
    assert_int_equal(tcp->n_time_wait, 0);
}

/* RFC 1337 and blind segments: nothing shortens, lengthens or multiplies. */
static void test_assassination(void **state)
{
    (void)state;
    close_first(true);
    feed(seq, 0, RST, 0);
    feed(seq, ack, RST | ACK, 0);
    assert_int_equal(n_out, 0);
    assert_int_equal(tcp->n_time_wait, 1);
    assert_int_equal(stats.drops[HR_DROP_tcp_time_wait], 2);
    feed(seq, ack, ACK, 0);
    feed(seq + 1000, ack - 7, ACK, 0);
    assert_int_equal(n_out, 0); /* two that answer each other's ACKs would never end */
    feed(seq - 100, ack, ACK, 100);
    assert_int_equal(n_out, 1);
    opts.tsval = 4999; /* PAWS */
    feed(seq - 1, ack, FIN | ACK, 0);
    assert_int_equal(n_out, 2);
    assert_int_equal(stats.drops[HR_DROP_tcp_paws], 1);
    opts.has_ts = false;
    feed(seq - 1, ack, FIN | ACK, 0);
    assert_int_equal(n_out, 2);
    opts.has_ts = true;
    opts.tsval = 4000;
    for (unsigned i = 0; i < 300; i++) /* an old SYN is answered, but not for ever */
        feed(seq - 50, 0, SYN, 0);
    assert_int_equal(n_out, 99); /* a hundred with the first of all */
    pass(2 * cfg.msl_us + 20000);
    assert_int_equal(tcp->n_time_wait, 0);
}

static uint32_t reopened(void)
{
    struct out *o = said();
    assert_non_null(o);
    assert_int_equal(o->flags, SYN | ACK);
    assert_true(hr_seq_gt(o->seq, ack + 65535)); /* beyond what the old connection sent */
    assert_int_equal(tcp->n_time_wait, 0);
    assert_int_equal(tcp->n_conns, 1);
    return o->seq;
}

/* RFC 6191 2: every case of its list. */
static void test_reuse_by_peer(void **state)
{
    (void)state;
    close_first(true);
    feed(seq - 3000, 0, SYN, 0); /* the same timestamp, older numbers */
    assert_int_equal(tcp->n_time_wait, 1);
    opts.tsval = 5001; /* a newer timestamp, older numbers */
    feed(seq - 3000, 0, SYN, 0);
    reopened();
    feed(seq - 2999, 0, RST, 0);

    close_first(true);
    feed(seq + 1, 0, SYN, 0); /* the same timestamp, newer numbers */
    reopened();
    feed(seq + 2, 0, RST, 0);

    close_first(false);
    feed(seq, 0, SYN, 0); /* without timestamps: by numbers */
    assert_int_equal(tcp->n_time_wait, 1);
    feed(seq + 1, 0, SYN, 0);
    reopened();
    feed(seq + 2, 0, RST, 0);

    close_first(false);
    opts.has_ts = true; /* timestamps are new: nothing old can have them */
    feed(seq - 3000, 0, SYN, 0);
    reopened();
    feed(seq - 2999, 0, RST, 0);

    close_first(true);
    opts.has_ts = false; /* none any more: by numbers */
    feed(seq - 3000, 0, SYN, 0);
    assert_int_equal(tcp->n_time_wait, 1);
    feed(seq + 1, 0, SYN, 0);
    reopened();
    assert_int_equal(stats.counters[HR_CTR_tcp_time_wait_reused], 5);
}

static void test_reuse_by_us(void **state)
{
    struct hr_flow flow = {us, peer, 9092, 40000};
    struct hr_tcp_conn *c;
    (void)state;
    flow.remote_port = peer_port;
    close_first(false);
    assert_int_equal(hr_tcp_connect(tcp, &flow, 0, &c), HR_E_EXISTS);
    while (tcp->n_time_wait > 0)
        pass(S);
    close_first(true);
    assert_int_equal(hr_tcp_connect(tcp, &flow, 0, &c), 0);
    assert_int_equal(tcp->n_time_wait, 0);
    struct out *o = said();
    assert_int_equal(o->flags, SYN);
    assert_true(hr_seq_gt(o->seq, ack + 65535));
    hr_tcp_abort(tcp, c);
}

/* Above the backlog's mark a reuse gets a cookie where timestamps tell the two apart, else nothing. */
static void test_reuse_above_the_mark(void **state)
{
    (void)state;
    close_first(false);
    uint16_t was = peer_port;
    for (peer_port = 1000; peer_port < 1000 + cfg.max_half_open; peer_port++)
        feed(1, 0, SYN, 0);
    peer_port = was;
    flush();
    n_out = 0;
    feed(seq + 1, 0, SYN, 0);
    assert_int_equal(n_out, 0);
    assert_int_equal(stats.drops[HR_DROP_tcp_syn_backlog], 1);
    assert_int_equal(tcp->n_time_wait, 0);
    feed(seq + 1, 0, SYN, 0); /* sent again: there is no entry any more */
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].flags, SYN | ACK);
}

static void test_full_table(void **state)
{
    (void)state;
    uint16_t first = peer_port;
    assert_int_equal(cfg.max_time_wait, 8);
    for (unsigned i = 0; i < 20; i++, peer_port++) {
        establish(true, true, true);
        hr_tcp_shutdown(tcp, conn);
        flush();
        feed(seq, ack + 1, FIN | ACK, 0);
        events_of(conn);
        hr_tcp_release(tcp, conn);
        assert_int_equal(tcp->n_time_wait, i < 8 ? i + 1 : 8);
    }
    assert_int_equal(stats.counters[HR_CTR_tcp_time_wait_recycled], 12);
    for (unsigned i = 0; i < 20; i++) { /* the youngest eight are left */
        struct hr_flow flow = {us, peer, 9092, (uint16_t)(first + i)};
        bool there = hr_tcp_time_wait_find(tcp, &flow, hr_tcp_flow_hash(tcp, &flow)) != NULL;
        assert_int_equal(there, i >= 12);
    }
    peer_port = first;
}

/* Many at random against a plain model: nothing is lost, nothing stays. */
static void test_against_model(void **state)
{
    uint64_t until[64] = {0}, rng = 5;
    (void)state;
    for (unsigned step = 0; step < 20000; step++) {
        rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
        unsigned i = (unsigned)(rng >> 33) % 64, n = 0;
        struct hr_flow flow = {us, peer, 9092, (uint16_t)(100 + i)};
        struct hr_tcp_time_wait *tw = hr_tcp_time_wait_find(tcp, &flow, hr_tcp_flow_hash(tcp, &flow));
        for (unsigned k = 0; k < 64; k++)
            n += until[k] != 0;
        assert_int_equal(tcp->n_time_wait, n);
        assert_int_equal(tw != NULL, until[i] != 0);
        if (tw != NULL && rng >> 60 & 1) {
            hr_tcp_time_wait_remove(tcp, tw);
            until[i] = 0;
        } else if (tw == NULL && n < cfg.max_time_wait) {
            struct hr_tcp_conn c = {.flow = flow, .hash = hr_tcp_flow_hash(tcp, &flow)};
            hr_tcp_time_wait_add(tcp, &c);
            until[i] = ((now + 2 * cfg.msl_us) >> 13) + 1;
        }
        pass(rng >> 40 & 0x1fffff);
        for (unsigned k = 0; k < 64; k++)
            until[k] = until[k] <= now >> 13 ? 0 : until[k];
    }
}

static int setup_small(void **state)
{
    int err = setup(state);
    hr_tcp_destroy(tcp);
    cfg.max_time_wait = 8;
    assert_int_equal(hr_tcp_create(&cfg, now, &tcp), 0);
    return err;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_expires),
        T(test_last_fin_again),
        T(test_assassination),
        T(test_reuse_by_peer),
        T(test_reuse_by_us),
        T(test_reuse_above_the_mark),
        T(test_against_model),
        cmocka_unit_test_setup_teardown(test_full_table, setup_small, teardown),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a relay makes of the segments that it receives: the owner moves the bytes of one connection to another once
 * per batch, as a worker's turn does, and the segments that leave are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"
#include "tests/support/inject.h"

#define MSS 1448

struct leg {
    struct hr_tcp_conn *conn;
    uint16_t port;
    uint32_t seq, ack;
    struct hr_tcp_opts opts;
};
static struct leg from, to;

static void open_leg(struct leg *l, uint16_t port)
{
    peer_port = port;
    establish(true, true, true);
    *l = (struct leg){conn, port, seq, ack, opts};
}

static void enter(const struct leg *l)
{
    peer_port = l->port;
    conn = l->conn;
    opts = l->opts;
}

/* The peer of `from` sends a segment, as large as it likes. */
static void receive(uint32_t len, uint8_t flags)
{
    enter(&from);
    struct rte_mbuf *head = NULL, *last = NULL;
    for (uint32_t left = len; left > 0 || head == NULL;) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
        assert_non_null(m);
        if (head == NULL) {
            struct rte_tcp_hdr *th = (struct rte_tcp_hdr *)(void *)rte_pktmbuf_append(m, sizeof(*th));
            memset(th, 0, sizeof(*th));
            uint32_t opt_len = hr_tcp_opts_write((uint8_t *)rte_pktmbuf_append(m, 12), &opts);
            th->src_port = rte_cpu_to_be_16(peer_port);
            th->dst_port = rte_cpu_to_be_16(9092);
            th->sent_seq = rte_cpu_to_be_32(from.seq);
            th->recv_ack = rte_cpu_to_be_32(from.ack);
            th->data_off = (uint8_t)((20 + opt_len) / 4 << 4);
            th->tcp_flags = flags;
            th->rx_win = rte_cpu_to_be_16(65535);
            head = m;
        } else {
            last->next = m;
            head->nb_segs++;
        }
        uint32_t n = RTE_MIN(left, 2000u);
        memset(rte_pktmbuf_append(m, (uint16_t)n), 'b', n);
        if (m != head)
            head->pkt_len += n;
        last = m;
        left -= n;
    }
    hr_inject_take(tcp, &peer, &us, head);
    from.seq += len;
}

/* What may leave leaves, in this moment and in so much time behind it. Returns the data segments on `to`. */
static unsigned leave(uint64_t then_us)
{
    unsigned data = 0;

    said();
    pass(then_us);
    for (unsigned i = 0; i < n_out; i++) {
        if (out[i].flow.remote_port != to.port || out[i].len == 0)
            continue;
        assert_int_equal(out[i].seq, to.ack);
        to.ack += out[i].len;
        data++;
    }
    return data;
}

/* The end of a batch: what came moves over first. */
static unsigned end_of_batch(uint64_t then_us)
{
    struct hr_pieceq *q = hr_tcp_rcvq(from.conn);
    uint32_t n = q->bytes;

    assert_int_equal(hr_tcp_send_move(tcp, to.conn, q, n), 0);
    hr_tcp_relayed(tcp, from.conn, n, to.conn);
    return leave(then_us);
}

static void to_acknowledges(void)
{
    enter(&to);
    feed(to.seq, to.ack, ACK, 0);
    hr_tcp_relayed(tcp, from.conn, 0, to.conn);
    enter(&from);
}

/* However it was cut, what arrives in one batch leaves as one segment, and the last byte has PSH. */
static void test_message_leaves_whole(void **state)
{
    static const uint32_t cuts[][4] = {{1448}, {4, 1444}, {1, 1, 1}, {700, 700, 48}, {300, 300, 300, 300}, {1}};
    (void)state;
    open_leg(&from, 1001);
    open_leg(&to, 1002);
    for (unsigned i = 0; i < 200; i++) {
        const uint32_t *c = cuts[i % RTE_DIM(cuts)];
        uint32_t sum = 0;
        for (unsigned k = 0; k < 4 && c[k] > 0; k++) {
            receive(c[k], ACK | (i % 2 ? PSH : 0));
            sum += c[k];
        }
        assert_int_equal(end_of_batch(0), 1);
        for (unsigned k = 0; k < n_out; k++) {
            if (out[k].flow.remote_port == to.port) {
                assert_int_equal(out[k].len, sum);
                assert_true(out[k].flags & PSH);
            }
        }
        if (i % 3 == 0) /* No Nagle: what is in flight holds nothing back */
            to_acknowledges();
    }
}

/* Two messages in one batch are joined as well; the boundary between full segments needs no PSH. */
static void test_messages_join(void **state)
{
    (void)state;
    open_leg(&from, 1001);
    open_leg(&to, 1002);
    for (unsigned i = 0; i < 30; i++)
        receive(100, ACK | PSH);
    assert_int_equal(end_of_batch(0), 3);
    unsigned pushed = 0;
    for (unsigned i = 0; i < n_out; i++)
        pushed += out[i].flow.remote_port == to.port && (out[i].flags & PSH);
    assert_int_equal(pushed, 1);
}

/* Bulk of 8948 bytes a segment in batches of 1 to 32, as the load has it. */
static void test_bulk_to_a_small_mss(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        uint64_t rng = seed, segments = 0;
        uint32_t begin;
        open_leg(&from, (uint16_t)(1000 + 2 * seed));
        open_leg(&to, (uint16_t)(1001 + 2 * seed));
        begin = to.ack;
        for (unsigned round = 0; round < 400; round++) {
            rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
            uint32_t want = 1 + (uint32_t)(rng >> 33) % 32;
            uint32_t room = (from.conn->rcv_adv - from.conn->rcv_nxt) / 8948;
            for (uint32_t i = 0; i < RTE_MIN(want, room); i++)
                receive(8948, ACK);
            segments += end_of_batch(100);
            if ((rng >> 20) % 4 != 0)
                to_acknowledges();
        }
        for (unsigned i = 0; i < 100 && hr_tcp_send_bytes(to.conn) > 0; i++) {
            to_acknowledges();
            segments += end_of_batch(100);
        }
        uint32_t bytes = to.ack - begin;
        double ratio = (double)segments / ((bytes + MSS - 1) / MSS);
        print_message("seed %lu: %u bytes in %lu segments, %.4f of what is needed\n", (unsigned long)seed, bytes,
                      (unsigned long)segments, ratio);
        assert_true(bytes > 5000000);
        assert_true(ratio <= 1.02);
        hr_tcp_abort(tcp, from.conn);
        hr_tcp_abort(tcp, to.conn);
    }
}

/* A long path behind a short one: the window grows with what the long one can have in flight, or what is in flight
 * there would fill it. */
static void test_window_follows_the_other_leg(void **state)
{
    (void)state;
    open_leg(&from, 1001);
    open_leg(&to, 1002);
    enter(&from);
    uint32_t before = from.conn->rcv_target;
    to.conn->cwnd = 300000;
    to.conn->snd_wnd = 1 << 20;
    hr_tcp_relayed(tcp, from.conn, 0, to.conn);
    assert_int_equal(from.conn->rcv_target, before); /* nothing was ever taken */
    from.conn->taken = true;
    hr_tcp_relayed(tcp, from.conn, 0, to.conn);
    assert_int_equal(from.conn->rcv_target, RTE_MIN(600000u, tcp->cfg.rcv_wnd_max));
    to.conn->snd_wnd = 0; /* its reader stopped: no reason for more */
    to.conn->cwnd = 1 << 24;
    hr_tcp_relayed(tcp, from.conn, 0, to.conn);
    assert_int_equal(from.conn->rcv_target, RTE_MIN(600000u, tcp->cfg.rcv_wnd_max));
}

static uint32_t offered(void)
{
    return from.conn->rcv_adv - from.conn->rcv_nxt;
}

/* Who relays hears of acknowledgements when they make room that the other leg's peer may be waiting for, and of no
 * others. */
static void test_room_is_told_in_time(void **state)
{
    (void)state;
    unsigned acks = 0, told = 0;
    const uint32_t step = 1460; /* the MSS that is offered */
    open_leg(&from, 1001);
    open_leg(&to, 1002);
    uint32_t acked = to.ack;
    for (unsigned round = 0; round < 100; round++) {
        while (offered() >= MSS && round % 3 != 2) /* all that it may; now and then it pauses */
            receive(MSS, ACK);
        end_of_batch(0);
        events_of(NULL);
        uint64_t drain = round % 2 ? UINT32_MAX : 20000;
        for (uint32_t left = (uint32_t)drain; left >= MSS && hr_seq_lt(acked, to.ack); acks++, left -= MSS) {
            acked += RTE_MIN((uint32_t)MSS, to.ack - acked);
            enter(&to);
            feed(to.seq, acked, ACK, 0);
            if (events_of(to.conn) & HR_TCP_EV_ACKED) {
                told++;
                hr_tcp_relayed(tcp, from.conn, 0, to.conn);
            }
            leave(1000);
            int64_t more = (int64_t)from.conn->rcv_target - hr_tcp_send_bytes(to.conn) - offered();
            assert_true(more < (offered() < step ? step : RTE_MAX(2 * step, from.conn->rcv_target / 4)));
        }
    }
    print_message("%u acknowledgements, %u told\n", acks, told);
    assert_true(acks > 1000 && told > 0 && told < acks / 4);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_message_leaves_whole),
        T(test_messages_join),
        T(test_bulk_to_a_small_mss),
        T(test_window_follows_the_other_leg),
        T(test_room_is_told_in_time),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "dataplane/tcp/testflight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

uint32_t flight_base;

struct hr_tcp_xmit *flight_xmit(void)
{
    return &conn->flight->xmit;
}

void flight_start(bool ts, bool sack, uint32_t n)
{
    establish(ts, sack, true);
    for (int i = 0; i < 10; i++) { /* measured ten times, so that the variance is small */
        queue(100);
        said();
        pass(RTT);
        ack += 100;
        opts.tsval++;
        opts.tsecr = tcp->now_ms + conn->ts_offset - RTT / 1000;
        feed(seq, ack, ACK, 0);
        said();
    }
    assert_null(conn->flight);
    conn->min_rtt_us = conn->srtt_us = RTT; /* the handshake took no time */
    conn->cwnd = 20 * MSS;
    flight_base = ack;
    queue(n * MSS);
    said();
    assert_int_equal(n_out, n);
    pass(RTT);
    n_out = 0;
}

void flight_acks(uint32_t upto, uint32_t from, uint32_t to, uint32_t echo_us)
{
    opts.n_sack = from < to ? 1 : 0;
    opts.sack[0] = (struct hr_tcp_range){flight_base + from * MSS, flight_base + to * MSS};
    opts.tsval++;
    opts.tsecr = (uint32_t)((now - echo_us) / 1000) + conn->ts_offset;
    feed(seq, flight_base + upto * MSS, ACK, 0);
    opts.n_sack = 0;
}

void flight_reports(uint32_t upto, uint32_t dup)
{
    opts.n_sack = 1;
    opts.sack[0] = (struct hr_tcp_range){flight_base + dup * MSS, flight_base + (dup + 1) * MSS};
    opts.tsval++;
    opts.tsecr = tcp->now_ms + conn->ts_offset;
    feed(seq, flight_base + upto * MSS, ACK, 0);
    opts.n_sack = 0;
}

void flight_sent_is(unsigned i, uint32_t segment)
{
    assert_true(i < n_out);
    assert_int_equal(out[i].seq, flight_base + segment * MSS);
}

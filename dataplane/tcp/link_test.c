/* The whole stack against itself: opening, moving bytes, closing, and everything that a bad path does to it.
 * Every test ends with nothing held anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testlink.h"

static struct tl_link link_;
#define A (&link_.end[0])
#define B (&link_.end[1])

#define S 1000000ULL

/* assert that names the seed */
#define check(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            print_error("seed %lu: %s\n", (unsigned long)link_.seed, #cond);                                 \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

static void finish(void)
{
    const char *wrong = tl_close(&link_);
    if (wrong != NULL) {
        print_error("seed %lu: %s\n", (unsigned long)link_.seed, wrong);
        fail();
    }
}

/* Both sides close and TIME-WAIT passes. */
static void close_both(void)
{
    A->app.shutdown_when_sent = B->app.shutdown_when_sent = true;
    check(tl_run(&link_, 600 * S, tl_both_closed));
    check(A->app.closed && B->app.closed);
    tl_run(&link_, 61 * S, tl_never);
}

static void test_open_and_close(void **state)
{
    (void)state;
    tl_open(&link_, 1, NULL);
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    check(A->app.conn->srtt_us >= 10000 && A->app.conn->srtt_us < 12000);
    check(B->app.conn->srtt_us >= 10000 && B->app.conn->srtt_us < 12000);
    check(A->app.conn->ts_on && A->app.conn->sack_on && A->app.conn->wscale_on);
    check(hr_tcp_cookie(B->app.conn) == 9092);
    check(A->app.conn->smss == 1448);
    close_both();
    check(A->app.fin && B->app.fin);
    finish();
}

static void test_bulk_clean(void **state)
{
    (void)state;
    tl_open(&link_, 2, NULL);
    A->app.to_send = 8 << 20;
    B->app.to_send = 3 << 20;
    tl_connect(&link_);
    check(tl_run(&link_, 60 * S, tl_both_done));
    check(!A->app.corrupt && !B->app.corrupt);
    check(A->stats.counters[HR_CTR_tcp_retransmit_segs] == 0);
    check(B->stats.counters[HR_CTR_tcp_retransmit_segs] == 0);
    check(B->stats.counters[HR_CTR_payload_copied_bytes] == 0);
    close_both();
    finish();
}

static void plain(int end, struct hr_tcp_config *cfg)
{
    (void)end;
    cfg->rcv_wnd_max = 60000; /* no scale needed: one shift less to hide behind */
}

/* Everything at once, by seed: bytes both ways arrive exactly, and both sides come to an end. */
static void storm(uint64_t seed)
{
    tl_open(&link_, seed, seed % 5 == 0 ? plain : NULL);
    double level = tl_uniform(&link_);
    link_.loss[0] = level * 0.3 * tl_uniform(&link_);
    link_.loss[1] = level * 0.3 * tl_uniform(&link_);
    link_.dup = tl_random(&link_) % 3 == 0 ? 0.05 : 0;
    link_.reorder = tl_random(&link_) % 3 == 0 ? 0.1 : 0;
    link_.delay_us = (uint32_t)(tl_random(&link_) % 20000) + 10;
    link_.jitter_us = (uint32_t)(tl_random(&link_) % 3 == 0 ? tl_random(&link_) % 5000 : 0);
    A->path_mss = (uint16_t)(tl_random(&link_) % 4 == 0 ? 536 : 1460);
    A->app.to_send = tl_random(&link_) % 400000;
    B->app.to_send = tl_random(&link_) % 400000;
    A->app.write_max = tl_random(&link_) % 2 ? 3000 : 0;
    A->app.shutdown_when_sent = B->app.shutdown_when_sent = true;
    A->cfg.syn_retries = 5;
    tl_connect(&link_);
    check(tl_run(&link_, 3600 * S, tl_both_closed));
    if (!(A->app.failed && A->app.failure == HR_TCP_FAIL_TIMEOUT)) { /* 30 % loss may beat the handshake */
        check(A->app.received == B->app.to_send);
        check(B->app.received == A->app.to_send);
        if (A->app.failed || B->app.failed)
            print_error("%s %s\n", hr_tcp_failure_text(A->app.failure), hr_tcp_failure_text(B->app.failure));
        check(!A->app.failed && !B->app.failed);
    }
    check(!A->app.corrupt && !B->app.corrupt);
    link_.loss[0] = link_.loss[1] = 0;
    tl_run(&link_, 200 * S, tl_never);
    finish();
}

static void test_storms(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < 1200; seed++)
        storm(seed);
}

int main(int argc, char **argv)
{
    if (argc > 1) { /* one storm, to look at */
        tl_global_init();
        storm(strtoull(argv[1], NULL, 10));
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_and_close),
        cmocka_unit_test(test_bulk_clean),
        cmocka_unit_test(test_storms),
    };
    tl_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

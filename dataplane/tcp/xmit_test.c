/* The transmit records against a map of bytes, around the wrap of the sequence space; the rules one by one; and
 * the work that ten thousand holes cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/impl.h"
#include "dataplane/tcp/xmit.h"

static struct hr_tcp_slab slab;
static struct hr_tcp_xmit x;

static void slab_of(uint32_t n)
{
    free(slab.mem);
    slab = (struct hr_tcp_slab){.mem = calloc(n, sizeof(struct hr_txrec)), .n = n};
    assert_non_null(slab.mem);
    for (uint32_t i = 0; i < n; i++)
        hr_tcp_slab_put(&slab, (struct hr_txrec *)slab.mem + i);
    hr_tcp_xmit_init(&x, &slab, 1);
}

static void done(void)
{
    hr_tcp_xmit_clear(&x);
    assert_int_equal(slab.n_free, slab.n);
    assert_int_equal(x.tree.n, 0);
    free(slab.mem);
    slab.mem = NULL;
}

struct byte {
    uint8_t state;
    bool again, known;
    uint64_t at;
};

static void check(const struct byte *b, uint32_t base, uint32_t una, uint32_t nxt)
{
    uint32_t at = base + una, n = 0, sacked = 0, lost = 0, islands = 0, listed = 0;
    bool before = false;

    for (struct hr_seqnode *s = x.tree.first; s != NULL; s = hr_seqtree_next(s)) {
        struct hr_txrec *r = hr_txrec_of(s);
        assert_int_equal(s->seq, at);
        assert_true(hr_seq_lt(at, r->end));
        for (; at != r->end; at++) {
            const struct byte *e = &b[at - base];
            assert_int_equal(r->state, e->state);
            if (r->state == HR_TXREC_SACKED)
                continue;
            assert_int_equal(r->retransmitted, e->again);
            assert_int_equal(r->known, e->known);
            assert_int_equal(r->xmit_us, e->at);
        }
        uint32_t len = r->end - s->seq;
        sacked += r->state == HR_TXREC_SACKED ? len : 0;
        lost += r->state == HR_TXREC_LOST ? len : 0;
        islands += r->state == HR_TXREC_SACKED;
        assert_false(before && r->state == HR_TXREC_SACKED); /* neighbours are joined */
        before = r->state == HR_TXREC_SACKED;
        n += r->state != HR_TXREC_SACKED;
    }
    assert_int_equal(at, base + nxt);
    assert_int_equal(sacked, x.sacked_bytes);
    assert_int_equal(lost, x.lost_bytes);
    assert_int_equal(islands, x.n_sacked);
    const struct hr_txrec *r, *prev = NULL;
    TAILQ_FOREACH(r, &x.in_time, link) {
        assert_int_equal(r->state, HR_TXREC_IN_FLIGHT);
        if (prev != NULL && !r->known && !prev->known) /* in the order of RFC 8985 6.2 */
            assert_true(hr_txrec_sent_after(r->xmit_us, r->end, prev->xmit_us, prev->end));
        prev = r;
        listed++;
    }
    TAILQ_FOREACH(r, &x.lost, link) {
        assert_int_equal(r->state, HR_TXREC_LOST);
        listed++;
    }
    assert_int_equal(listed, n);
    assert_int_equal(hr_tcp_xmit_pipe(&x, base + una, base + nxt), nxt - una - sacked - lost);
}

/* When [.., end) counts as sent: now, or a tick after what left before and stands above. */
static uint64_t stamp_of(uint32_t end, uint64_t now)
{
    const struct hr_txrec *last = TAILQ_LAST(&x.in_time, hr_txrec_list);
    uint64_t at = last == NULL ? now : RTE_MAX(now, last->xmit_us);
    return at + (last != NULL && last->xmit_us == at && hr_seq_gt(last->end, end));
}

static void test_against_map(void **state)
{
    (void)state;
    srand(11);
    for (unsigned round = 0; round < 400; round++) {
        static struct byte b[3000];
        uint32_t base = (uint32_t)-1000, una = 0, nxt = 0;
        uint64_t now = 1000;

        slab_of(4096);
        memset(b, 0, sizeof(b));
        for (unsigned step = 0; step < 150; step++) {
            struct hr_tcp_delivered d = {.now_us = now, .fack = base + una};
            struct hr_tcp_range r;
            now += (unsigned)rand() % 3;
            switch (rand() % 6) {
            case 0:
            case 1: { /* new */
                uint32_t len = 1 + (uint32_t)rand() % 60;
                if (nxt + len > 2999 || !hr_tcp_xmit_room(&x))
                    break;
                uint64_t at = stamp_of(base + nxt + len, now);
                hr_tcp_xmit_sent(&x, base + nxt, base + nxt + len, now);
                for (uint32_t i = 0; i < len; i++)
                    b[nxt + i] = (struct byte){.at = at};
                nxt += len;
                break;
            }
            case 2:
            case 3: { /* SACK */
                if (nxt - una < 3)
                    break;
                uint32_t lo = una + 1 + (uint32_t)rand() % (nxt - una - 2);
                uint32_t hi = RTE_MIN(nxt, lo + 1 + (uint32_t)rand() % 50), news = 0;
                for (uint32_t i = lo; i < hi; i++) {
                    news += b[i].state != HR_TXREC_SACKED;
                    b[i].state = HR_TXREC_SACKED;
                }
                hr_tcp_xmit_sacked(&x, base + lo, base + hi, &d);
                assert_int_equal(d.sacked, news);
                break;
            }
            case 4: /* loss and retransmission */
                if (rand() % 2 && !TAILQ_EMPTY(&x.in_time)) {
                    struct hr_txrec *l = TAILQ_FIRST(&x.in_time);
                    for (uint32_t i = l->node.seq - base; i < l->end - base; i++)
                        b[i].state = HR_TXREC_LOST;
                    hr_tcp_xmit_lose(&x, l);
                } else if (hr_tcp_xmit_next_lost(&x, &r)) {
                    if (r.end - r.start > 20)
                        r.end = r.start + 20;
                    uint64_t at = stamp_of(r.end, now);
                    hr_tcp_xmit_sent_again(&x, r.start, r.end, now);
                    for (uint32_t i = r.start - base; i < r.end - base; i++) {
                        b[i].state = HR_TXREC_IN_FLIGHT;
                        b[i].again = true;
                        b[i].at = at;
                    }
                }
                break;
            default: { /* cumulative */
                if (rand() % 3 || nxt == una)
                    break;
                uint32_t to = una + 1 + (uint32_t)rand() % (nxt - una), news = 0;
                while (to < nxt && b[to].state == HR_TXREC_SACKED) /* a receiver does not leave it below a gap */
                    to++;
                for (; una < to; una++)
                    news += b[una].state != HR_TXREC_SACKED;
                hr_tcp_xmit_acked(&x, base + una, &d);
                assert_int_equal(d.acked, news);
                break;
            }
            }
            check(b, base, una, nxt);
        }
        if (round % 2) { /* the peer reneges: all counts as in flight, then as lost */
            hr_tcp_xmit_unsack(&x);
            assert_int_equal(x.sacked_bytes, 0);
            assert_int_equal(x.n_sacked, 0);
            assert_int_equal(hr_tcp_xmit_pipe(&x, base + una, base + nxt), nxt - una - x.lost_bytes);
            hr_tcp_xmit_lose_all(&x);
            assert_int_equal(x.lost_bytes, nxt - una);
        }
        done();
    }
}

/* One record per burst: what leaves at the same microsecond shares it. */
static void test_burst_is_one_record(void **state)
{
    (void)state;
    slab_of(256);
    for (uint32_t i = 0; i < 16; i++)
        hr_tcp_xmit_sent(&x, 1000 * i, 1000 * i + 1000, 50);
    assert_int_equal(x.tree.n, 1);
    assert_int_equal(slab.n_free, slab.n); /* and it is part of the set */
    for (uint32_t i = 16; i < 32; i++)
        hr_tcp_xmit_sent(&x, 1000 * i, 1000 * i + 1000, 60);
    assert_int_equal(x.tree.n, 2);
    struct hr_tcp_delivered d = {.now_us = 70, .recover = 90000};
    hr_tcp_xmit_sacked(&x, 4000, 5000, &d);
    assert_int_equal(x.tree.n, 4);
    assert_int_equal(d.sacked, 1000);
    assert_int_equal(d.xmit_us, 50);
    assert_int_equal(d.end, 5000);
    hr_tcp_xmit_sacked(&x, 5000, 6000, &d); /* the block grows: no further record */
    assert_int_equal(x.tree.n, 4);
    assert_int_equal(x.n_sacked, 1);
    hr_tcp_xmit_sacked(&x, 4000, 18000, &d); /* into the second burst */
    assert_int_equal(x.tree.n, 3);
    assert_int_equal(d.xmit_us, 60);
    assert_int_equal(d.end, 18000);
    assert_int_equal(hr_tcp_xmit_pipe(&x, 0, 32000), 18000);
    done();
}

/* RFC 8985 6.2 step 2: a retransmission's delivery counts only where no earlier copy can be meant. */
static void test_delivery_of_retransmission(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        slab_of(256);
        hr_tcp_xmit_sent(&x, 0, 1000, 10000);
        hr_tcp_xmit_lose_first(&x, 1000);
        hr_tcp_xmit_sent_again(&x, 0, 1000, 20000);
        struct hr_tcp_delivered d = {.now_us = 29000, .min_rtt_us = how == 1 ? 9500 : 5000};
        d.has_echo = how >= 2;
        d.echo_ms = how == 2 ? 19 : 20;
        hr_tcp_xmit_acked(&x, 1000, &d);
        assert_int_equal(d.acked, 1000);
        assert_true(d.ambiguous);
        assert_false(d.original);
        assert_int_equal(d.xmit_us, how == 1 || how == 2 ? 0 : 20000);
        done();
    }
    /* Behind a gap the echo is of an earlier segment, and says nothing. */
    slab_of(256);
    hr_tcp_xmit_sent(&x, 0, 2000, 10000);
    hr_tcp_xmit_sent_again(&x, 1000, 2000, 20000);
    struct hr_tcp_delivered d = {.now_us = 29000, .min_rtt_us = 5000, .has_echo = true, .echo_ms = 10};
    hr_tcp_xmit_sacked(&x, 1000, 2000, &d);
    assert_int_equal(d.xmit_us, 20000);
    done();
}

/* Step 3: a segment sent once that arrives behind a later one shows reordering. */
static void test_reordering_seen(void **state)
{
    (void)state;
    slab_of(256);
    hr_tcp_xmit_sent(&x, 0, 5000, 10);
    struct hr_tcp_delivered d = {.now_us = 20, .fack = 0};
    hr_tcp_xmit_sacked(&x, 3000, 4000, &d);
    assert_false(d.reordered);
    d = (struct hr_tcp_delivered){.now_us = 21, .fack = 4000};
    hr_tcp_xmit_sacked(&x, 1000, 2000, &d);
    assert_true(d.reordered);
    hr_tcp_xmit_lose_first(&x, 1000);
    hr_tcp_xmit_sent_again(&x, 0, 1000, 22);
    d = (struct hr_tcp_delivered){.now_us = 30, .fack = 4000};
    hr_tcp_xmit_acked(&x, 2000, &d); /* sent again: shows nothing */
    assert_false(d.reordered);
    assert_false(d.original);
    assert_int_equal(d.acked, 1000);
    done();
}

/* What was SACKed before a timeout is no proof of anything when it is delivered again. */
static void test_unsacked_is_known(void **state)
{
    (void)state;
    struct hr_tcp_range r;
    slab_of(256);
    hr_tcp_xmit_sent(&x, 0, 3000, 10);
    struct hr_tcp_delivered d = {.now_us = 20, .recover = 90000};
    hr_tcp_xmit_sacked(&x, 1000, 2000, &d);
    assert_true(d.original);
    hr_tcp_xmit_unsack(&x);
    hr_tcp_xmit_lose_all(&x);
    assert_true(hr_tcp_xmit_next_lost(&x, &r));
    assert_int_equal(r.start, 0);
    hr_tcp_xmit_sent_again(&x, 0, 1000, 30);
    assert_true(hr_tcp_xmit_next_lost(&x, &r)); /* what was never SACKed goes first */
    assert_int_equal(r.start, 2000);
    d = (struct hr_tcp_delivered){.now_us = 40};
    hr_tcp_xmit_sacked(&x, 1000, 2000, &d);
    assert_false(d.original);
    assert_int_equal(d.sacked, 1000);
    done();
}

/* Records run out: data still leaves, blocks are not noted, and nothing goes wrong. */
static void test_records_are_short(void **state)
{
    (void)state;
    struct hr_tcp_delivered d = {.now_us = 20, .recover = 90000};
    slab_of(8);
    for (uint32_t i = 0; i < 100; i++) {
        assert_true(hr_tcp_xmit_room(&x));
        hr_tcp_xmit_sent(&x, 10 * i, 10 * i + 10, 100 + i);
    }
    assert_int_equal(slab.n_free, 0);
    hr_tcp_xmit_sacked(&x, 500, 510, &d);
    assert_int_equal(d.sacked, 0);
    hr_tcp_xmit_lose_first(&x, 5);
    assert_int_equal(x.lost_bytes, 10); /* it cannot be cut */
    hr_tcp_xmit_sent_again(&x, 0, 5, 300);
    assert_int_equal(x.lost_bytes, 0);
    hr_tcp_xmit_acked(&x, 995, &d);
    assert_int_equal(x.tree.n, 1);
    done();
}

/* Half of the slab is for those who send. */
static void test_blocks_leave_half(void **state)
{
    (void)state;
    struct hr_tcp_delivered d = {.now_us = 20, .recover = 90000};
    slab_of(100);
    hr_tcp_xmit_sent(&x, 0, 10000, 10);
    for (uint32_t i = 0; i < 1000; i++)
        hr_tcp_xmit_sacked(&x, 10 * i + 5, 10 * i + 6, &d);
    assert_true(slab.n_free >= slab.n / 2 - 1);
    assert_true(d.sacked < 40);
    done();
}

/* Nodes visited per SACK block: ten thousand holes against one. */
static void test_work_per_block(void **state)
{
    enum { HOLES = 10000 };
    struct hr_tcp_delivered d = {.now_us = 20, .recover = 90000};
    (void)state;
    slab_of(64 * HOLES);
    hr_tcp_xmit_sent(&x, 0, 4 * HOLES + 4, 10);
    uint64_t before = x.tree.visited;
    for (uint32_t i = 0; i < HOLES; i++) /* in an order of the attacker's choice */
        hr_tcp_xmit_sacked(&x, 4 * ((i * 7919u) % HOLES) + 2, 4 * ((i * 7919u) % HOLES) + 3, &d);
    assert_int_equal(x.n_sacked, HOLES);
    assert_int_equal(x.tree.n, 2 * HOLES + 1);
    assert_true((x.tree.visited - before) / HOLES < 40);
    before = x.tree.visited;
    for (uint32_t i = 0; i < HOLES; i++) /* said again: nothing changes */
        hr_tcp_xmit_sacked(&x, 4 * ((i * 6007u) % HOLES) + 2, 4 * ((i * 6007u) % HOLES) + 3, &d);
    assert_int_equal(d.sacked, HOLES);
    assert_true((x.tree.visited - before) / HOLES < 30);
    done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_map),
        cmocka_unit_test(test_burst_is_one_record),
        cmocka_unit_test(test_delivery_of_retransmission),
        cmocka_unit_test(test_reordering_seen),
        cmocka_unit_test(test_unsacked_is_known),
        cmocka_unit_test(test_records_are_short),
        cmocka_unit_test(test_blocks_leave_half),
        cmocka_unit_test(test_work_per_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

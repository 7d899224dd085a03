/* Several workers on one thread, in turns, with real sessions through them: nobody writes what is another's.
 *
 * While a worker has its turn, the arenas of all others are read-only: a stray write ends the test by a fault. What
 * they share by design (rings between them, statistics, drivers) lies elsewhere. The one exception is a turn in which
 * something waits to be taken over (a neighbour's news): its buffer goes back to the pool that it came from. The card
 * spreads flows by a hash that the workers have to learn; from then on no packet is in the wrong queue. Both ends of
 * the traffic are the generator of the ring bench. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include <rte_memzone.h>

#include "bench/ring/peers.h"
#include "bench/ring/proxy.h"
#include "dataplane/worker/impl.h"
#include "tests/support/eal.h"

#define START_US (1000 * 1000000ULL)
#define STEP_US  20

struct rig {
    struct rb_proxy proxy;
    struct rb_peers peers;
    struct hr_rss rss;
    uint32_t truth;     /* how the card really spreads */
    uint64_t now_us;
    uint32_t n_workers;
    bool isolated; /* turns are taken with the others' memory read-only */
    uint64_t alone; /* such turns */
};

static struct rig r;

static void protect(uint32_t except, int prot)
{
    for (uint32_t i = 0; i < r.n_workers; i++) {
        const struct rte_memzone *zone = rb_proxy_worker(&r.proxy, i)->arena.zone;
        if (i != except)
            assert_int_equal(mprotect(zone->addr, zone->len, prot), 0);
    }
}

static void to_proxy(void)
{
    struct rb_queue *q = &r.peers.out;
    for (int n = 0; n < 64 && rb_queue_n(q) > 0; n++) {
        struct rte_mbuf *frame = q->frame[q->head++ % RB_QUEUE];
        uint8_t head[54];
        const uint8_t *h = rte_pktmbuf_read(frame, 0, sizeof(head), head);
        struct hr_flow flow = {0};
        uint32_t hash = 0, queue = 0; /* what is not TCP goes to the first queue, as cards have it */
        if (h && h[12] == 8 && h[13] == 0) {
            uint32_t src_be, dst_be;
            memcpy(&src_be, h + 26, 4);
            memcpy(&dst_be, h + 30, 4);
            flow.remote = hr_addr_from_v4(src_be);
            flow.local = hr_addr_from_v4(dst_be);
            flow.remote_port = (uint16_t)(h[34] << 8 | h[35]);
            flow.local_port = (uint16_t)(h[36] << 8 | h[37]);
            hash = hr_rss_hash(&r.rss, r.truth, &flow);
            queue = r.rss.table[hash & (r.rss.n_table - 1u)];
        }
        struct rb_card *card = rb_proxy_card(&r.proxy, queue);
        uint8_t *to = rb_card_rx_place(card);
        assert_non_null(to);
        for (const struct rte_mbuf *m = frame; m; m = m->next) {
            memcpy(to, rte_pktmbuf_mtod(m, const void *), m->data_len);
            to += m->data_len;
        }
        rb_card_rx_done(card, (uint16_t)frame->pkt_len, hash);
        rte_pktmbuf_free(frame);
    }
}

static void from_proxy(uint32_t worker)
{
    struct rb_queue *q = &r.peers.in;
    struct rb_card *card = rb_proxy_card(&r.proxy, worker);
    const struct rb_card_desc *d;
    bool last;
    while ((d = rb_card_tx_next(card, &last)) != NULL) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(r.peers.bufs.rx_pool);
        assert_true(m != NULL && rb_queue_n(q) < RB_QUEUE);
        for (;; d = rb_card_tx_next(card, &last)) {
            memcpy(rte_pktmbuf_append(m, d->len), (const void *)(uintptr_t)d->addr, d->len);
            if (last)
                break;
        }
        m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        q->frame[q->tail++ % RB_QUEUE] = m;
    }
}

static void step(void)
{
    uint64_t due_us;
    rb_peers_turn(&r.peers, r.now_us);
    to_proxy();
    for (uint32_t i = 0; i < r.n_workers; i++) {
        bool alone = r.isolated && !hr_handoff_pending(r.proxy.group.handoff, i);
        if (alone)
            protect(i, PROT_READ);
        hr_worker_turn(rb_proxy_worker(&r.proxy, i), r.now_us, &due_us);
        if (alone)
            protect(i, PROT_READ | PROT_WRITE);
        r.alone += alone;
        from_proxy(i);
    }
    r.now_us += STEP_US;
}

static uint64_t handed_over(void)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < r.n_workers; i++)
        n += rb_proxy_worker(&r.proxy, i)->stats->counters[HR_CTR_handoff_out];
    return n;
}

static void on_up(void *owner, struct rb_peer *peer)
{
    if (peer->client)
        rb_peers_ask(&r.peers, peer, 4);
}

static void open_rig(uint32_t n_workers, uint32_t truth, bool known)
{
    hr_test_eal_init_mb(384);
    memset(&r, 0, sizeof(r));
    r.n_workers = n_workers;
    r.truth = truth;
    r.now_us = START_US;
    r.rss = (struct hr_rss){.key_len = 40, .n_table = 128};
    for (int i = 0; i < 40; i++)
        r.rss.key[i] = (uint8_t)(i * 37 + 11);
    for (int i = 0; i < 128; i++)
        r.rss.table[i] = (uint16_t)((uint32_t)i % n_workers);
    const struct rb_proxy_config proxy = {.mtu = 1500, .cksum = true, .mbufs = 3072, .rx_desc = 512, .memory_mb = 240,
                                          .max_connections = 256, .n_workers = n_workers,
                                          .rss = known ? &r.rss : NULL};
    const struct rb_peers_config peers = {.mtu = 1500, .cksum = true, .max_peers = 1024, .request_bytes = 6000,
                                          .response_bytes = 200, .port = RB_KAFKA_PORT, .broker_port = RB_KAFKA_PORT,
                                          .on_up = on_up};
    rb_proxy_open(&r.proxy, &proxy, r.now_us);
    rb_peers_open(&r.peers, &peers, r.proxy.data_room, r.now_us);
}

static void close_rig(void)
{
    rb_proxy_close(&r.proxy); /* looks at the pools */
    rb_peers_close(&r.peers);
}

/* n more clients, and all their answers. */
static void exchange(uint32_t n)
{
    uint64_t want = r.peers.n_answers + 4ULL * n, until_us = r.now_us + 20 * 1000000ULL;
    for (uint32_t i = 0; i < n; i++)
        assert_non_null(rb_peers_connect(&r.peers));
    while (r.peers.n_answers < want) {
        step();
        if (r.now_us > until_us || r.peers.n_failed > 0)
            fail_msg("%lu of %lu answers, %lu connections failed", (unsigned long)r.peers.n_answers,
                     (unsigned long)want, (unsigned long)r.peers.n_failed);
    }
}

/* Nobody knows where flows arrive: what comes to the wrong queue is handed over. */
static void test_hand_over(void **state)
{
    open_rig(2, 0, false);
    exchange(48);
    assert_true(handed_over() > 100);
    for (uint32_t i = 0; i < 2; i++) {
        const struct hr_stats *stats = rb_proxy_worker(&r.proxy, i)->stats;
        assert_true(stats->counters[HR_CTR_sessions_opened] > 5);
        assert_int_equal(stats->counters[HR_CTR_payload_copied_bytes], 0);
    }
    close_rig();
}

/* The first answers to each worker may reach another's queue; once it has seen enough, none does. */
static void test_nothing_is_shared(void **state)
{
    static const uint32_t truths[] = {0, HR_RSS_KEY_REVERSED | HR_RSS_START_ONES, HR_RSS_SORTED | HR_RSS_16_BITS};
    for (uint32_t i = 0; i < sizeof(truths) / sizeof(truths[0]); i++) {
        open_rig(2 + i, truths[i], true);
        exchange(40);
        uint64_t before = handed_over();
        r.isolated = true;
        exchange(80);
        if (handed_over() != before)
            fail_msg("model %u: %lu packets in the wrong queue", truths[i], (unsigned long)(handed_over() - before));
        assert_true(r.alone > 20);
        for (uint32_t k = 0; k < r.n_workers; k++)
            assert_true(rb_proxy_worker(&r.proxy, k)->stats->counters[HR_CTR_sessions_opened] > 10);
        close_rig();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hand_over),
        cmocka_unit_test(test_nothing_is_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

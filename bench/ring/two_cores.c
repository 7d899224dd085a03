/* The generator's half of two cores: its wire, and its step in real time. See rings.h. */
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ring/loop.h"
#include "bench/ring/rings.h"

#define BURST 32u

static void die(const char *what)
{
    fprintf(stderr, "ring bench: %s\n", what);
    exit(1);
}

/* A copy in one buffer of that pool; NULL when it is empty. */
static struct rte_mbuf *copy(const struct rte_mbuf *frame, struct rte_mempool *pool, bool cksum)
{
    struct rte_mbuf *to = rte_pktmbuf_alloc(pool);
    if (!to)
        return NULL;
    for (const struct rte_mbuf *m = frame; m; m = m->next)
        memcpy(rte_pktmbuf_append(to, m->data_len), rte_pktmbuf_mtod(m, const void *), m->data_len);
    to->ol_flags = cksum ? RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
    return to;
}

static void from_worker(struct rb_loop *l)
{
    struct rb_queue *in = &l->peers.in;
    struct rte_mbuf *frames[BURST];
    unsigned n;
    while (RB_QUEUE - rb_queue_n(in) >= BURST &&
           (n = rte_ring_dequeue_burst(l->proxy.from, (void **)frames, BURST, NULL)) > 0) {
        for (unsigned i = 0; i < n; i++) {
            struct rte_mbuf *m = copy(frames[i], l->peers.bufs.rx_pool, l->cfg.proxy.cksum);
            if (!m)
                die("the generator is out of buffers");
            in->frame[in->tail++ % RB_QUEUE] = m;
            rb_tally_out(&l->tally, rte_pktmbuf_mtod(m, const uint8_t *));
        }
        rte_pktmbuf_free_bulk(frames, n);
    }
}

static void to_worker(struct rb_loop *l)
{
    struct rb_queue *out = &l->peers.out;
    struct rte_mbuf *frames[BURST];
    while (rb_queue_n(out) > 0 && rte_ring_free_count(l->proxy.to) >= l->cfg.burst) {
        unsigned n = 0;
        for (; n < l->cfg.burst && rb_queue_n(out) > 0; n++) {
            struct rte_mbuf *frame = out->frame[out->head % RB_QUEUE];
            frames[n] = copy(frame, hr_worker_rx_pool(l->proxy.worker), l->cfg.proxy.cksum);
            if (!frames[n])
                break; /* the worker's buffers are all in use: later */
            rb_tally_in(&l->tally, rte_pktmbuf_mtod(frames[n], const uint8_t *));
            rte_pktmbuf_free(frame);
            out->head++;
        }
        if (n == 0)
            return;
        rte_ring_enqueue_burst(l->proxy.to, (void **)frames, n, NULL);
    }
}

void rb_loop_step_two_cores(struct rb_loop *l)
{
    from_worker(l);
    l->now_ns = rb_wall_ns(l);
    rb_peers_turn(&l->peers, l->now_ns / 1000);
    to_worker(l);
    l->now_ns = rb_wall_ns(l);
}

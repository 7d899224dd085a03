/* The generator's half of two cores: its wire, and its step in real time. See rings.h. */
#include <rte_mbuf.h>
#include <string.h>

#include "bench/ring/loop.h"
#include "bench/ring/rings.h"

#define BURST 32u

/* Copies a frame into one buffer. */
static void copy(struct rte_mbuf *to, const struct rte_mbuf *frame, bool cksum)
{
    for (const struct rte_mbuf *m = frame; m; m = m->next)
        memcpy(rte_pktmbuf_append(to, m->data_len), rte_pktmbuf_mtod(m, const void *), m->data_len);
    to->ol_flags = cksum ? RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
}

static void from_worker(struct rb_loop *l)
{
    struct rb_queue *in = &l->peers.in;
    struct rte_mbuf *frames[BURST], *to[BURST];
    /* Who was off its core for long finds more than it has buffers for: the rest waits in the ring meanwhile. */
    while (RB_QUEUE - rb_queue_n(in) >= BURST && !rte_ring_empty(l->proxy.from) &&
           rte_pktmbuf_alloc_bulk(l->peers.bufs.rx_pool, to, BURST) == 0) {
        unsigned n = rte_ring_dequeue_burst(l->proxy.from, (void **)frames, BURST, NULL);
        for (unsigned i = 0; i < n; i++) {
            copy(to[i], frames[i], l->cfg.proxy.cksum);
            in->frame[in->tail++ % RB_QUEUE] = to[i];
            rb_tally_out(&l->tally, rte_pktmbuf_mtod(to[i], const uint8_t *));
        }
        rte_pktmbuf_free_bulk(to + n, BURST - n);
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
            frames[n] = rte_pktmbuf_alloc(hr_worker_rx_pool(l->proxy.worker));
            if (!frames[n])
                break; /* the worker's buffers are all in use: later */
            copy(frames[n], frame, l->cfg.proxy.cksum);
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

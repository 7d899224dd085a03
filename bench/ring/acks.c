/* Acknowledgements alone: the brokers' are held back on the wire while clients send, then played to the proxy with
 * nothing else. Each acknowledges new data, two segments for the most part, so that buffers are released too. */
#include <rte_ip.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"
#include "dataplane/worker/impl.h"

#define WARM_UP 8 /* requests per client before the first round */
#define GATHER_US 20000 /* long enough for delayed acknowledgements, too short for retransmissions */

struct acks {
    struct rb_loop loop;
    bool holding;
};

/* From a broker: its port is the sender's. */
static bool from_broker(const struct rte_mbuf *frame)
{
    const struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(frame, const struct rte_tcp_hdr *, 34);
    return tcp->src_port == RTE_BE16(RB_KAFKA_PORT) || tcp->src_port == RTE_BE16(RB_TCP_PORT);
}

static bool hold(void *owner, const struct rte_mbuf *frame)
{
    const struct acks *x = owner;
    return x->holding && from_broker(frame);
}

static void ask_all(struct acks *x)
{
    struct rb_loop *l = &x->loop;
    for (uint32_t i = 0; i < l->cfg.peers.max_peers; i++)
        if (l->peers.peers[i].conn && l->peers.peers[i].client)
            rb_peers_ask(&l->peers, &l->peers.peers[i], 1);
}

/* Until every request has its answer: no longer, or congestion windows would start over after idle. */
static void finish(struct acks *x)
{
    struct rb_loop *l = &x->loop;
    uint64_t until_ns = l->now_ns + 60 * 1000000000ULL;
    while (l->peers.n_answers < l->peers.n_asked) {
        rb_loop_step(l);
        if (l->now_ns > until_ns) {
            fprintf(stderr, "ring bench: answers do not come\n");
            exit(1);
        }
    }
}

/* Clients send a request each, which congestion windows have room for by now; the acknowledgements wait, and brokers
 * say nothing else. */
static void gather(struct acks *x)
{
    struct rb_loop *l = &x->loop;
    uint64_t until_ns = l->now_ns + GATHER_US * 1000;
    x->holding = l->peers.brokers_mute = true;
    ask_all(x);
    while (l->now_ns < until_ns)
        rb_loop_step(l);
    x->holding = false;
}

void rb_scenario_acks(const struct rb_options *o)
{
    static struct acks x;
    struct rb_loop *l = &x.loop;
    struct rb_loop_config cfg;
    rb_options_loop(o, &cfg);
    cfg.peers.owner = &x;
    rb_loop_open(l, &cfg);
    l->counted = o->counted;
    l->hold = hold;
    l->hold_owner = &x;
    rb_loop_connect(l, o->conns);
    for (uint32_t i = 0; i < WARM_UP; i++) {
        ask_all(&x);
        finish(&x);
    }

    struct rb_metric per_ack = {"cycles_per_ack", "TSC cycles", "proxy turns, ACKs of new data alone"};
    struct rb_metric answers = {"sent_per_ack", "1", "segments that the proxy sent meanwhile, per ACK"};
    uint64_t n_acks = 0;
    for (uint32_t round = 0; round < o->rounds; round++) {
        gather(&x);
        /* Played by hand: the generator stands still. */
        struct rb_queue *out = &l->peers.out;
        if (rb_queue_n(out) > 0 || rb_queue_n(&l->held) == 0) {
            fprintf(stderr, "ring bench: no acknowledgements to play\n");
            exit(1);
        }
        while (rb_queue_n(&l->held) > 0)
            out->frame[out->tail++ % RB_QUEUE] = l->held.frame[l->held.head++ % RB_QUEUE];
        uint32_t n = rb_queue_n(out);
        rb_loop_measure(l, true);
        l->frozen = true;
        while (rb_queue_n(out) > 0)
            rb_loop_step(l);
        l->frozen = false;
        rb_loop_measure(l, false);
        n_acks += n;
        rb_metric_add(&per_ack, (double)(l->tally.cycles + l->tally.gap_cycles) / n);
        rb_metric_add(&answers, (double)l->tally.frames_out / n);
        l->peers.brokers_mute = false;
        finish(&x);
    }
    if (o->counted)
        rb_print_one(o->label, "acks", "count", "ACKs in counted turns", (double)n_acks);
    else
        rb_metric_print(&per_ack, o->label);
    rb_metric_print(&answers, o->label);
    rb_loop_close(l);
}

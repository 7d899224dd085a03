/* Clients with a fixed number of requests under way each: bulk with large requests, saturation with small ones. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"
#include "dataplane/worker/impl.h"

#define MAX_US (3600 * 1000000ULL)

struct exchange {
    struct rb_loop loop;
    bool stop;
};

static void ask_again(void *owner, struct rb_peer *peer)
{
    struct exchange *x = owner;
    if (!x->stop)
        rb_peers_ask(&x->loop.peers, peer, 1);
}

/* Until so many data segments, or so many answers, have come out of the proxy since the tally began. */
static void run(struct exchange *x, bool by_answers, uint64_t n)
{
    struct rb_loop *l = &x->loop;
    uint64_t answers = l->peers.n_answers + n, segments = l->tally.data_out + n;
    uint64_t until_ns = l->now_ns + MAX_US * 1000;
    while (by_answers ? l->peers.n_answers < answers : l->tally.data_out < segments) {
        rb_loop_step(l);
        if (l->now_ns > until_ns || l->peers.n_failed > 0) {
            fprintf(stderr, "ring bench: traffic has stopped (%lu connections failed)\n",
                    (unsigned long)l->peers.n_failed);
            exit(1);
        }
    }
}

static uint64_t counter(const struct rb_loop *l, enum hr_counter c)
{
    return rb_proxy_counter(&l->proxy, c);
}

void rb_scenario_exchange(const struct rb_options *o)
{
    static struct exchange x;
    struct rb_loop *l = &x.loop;
    bool small = o->request <= o->mtu;
    struct rb_loop_config cfg;
    rb_options_loop(o, &cfg);
    cfg.peers.owner = &x;
    cfg.peers.on_answer = ask_again;
    rb_loop_open(l, &cfg);
    l->counted = o->counted;
    rb_loop_connect(l, o->conns);

    for (uint32_t i = 0; i < cfg.peers.max_peers; i++)
        if (l->peers.peers[i].conn && l->peers.peers[i].client)
            rb_peers_ask(&l->peers, &l->peers.peers[i], o->in_flight);
    /* Windows, caches and how ACKs are sent (each at first) reach their steady state, and every byte is compared; then
     * without comparing. */
    run(&x, small, small ? 20 * o->conns : o->per_round / 2);
    l->peers.verify = false;
    run(&x, small, o->per_round / 4);

    struct rb_metric per_byte = {"cycles_per_byte", "TSC cycles/B", "proxy turns of one core, payload bytes sent"};
    struct rb_metric per_seg = {"cycles_per_segment", "TSC cycles", "proxy turns of one core, data segments sent"};
    struct rb_metric per_exchange = {"cycles_per_exchange", "TSC cycles", "proxy turns of one core, answers"};
    struct rb_metric goodput = {"goodput", "MB/s", "payload bytes sent by the proxy, real time, two cores"};
    struct rb_metric rate = {"exchanges", "1/s", "answers, real time, two cores"};
    struct rb_metric acks = {"acks_per_segment", "ratio", "segments without payload, both ways, per data segment"};
    struct rb_metric burst = {"frames_per_turn", "frames", "frames received per turn"};
    struct rb_metric gaps = {"host_gaps", "turns", "turns above 50 us, left out of the cycles"};
    struct rb_metric copied = {"copied_per_byte", "ratio", "payload bytes that the proxy copied per byte sent"};
    for (uint32_t round = 0; round < o->rounds; round++) {
        uint64_t before = l->peers.n_answers, copied_before = counter(l, HR_CTR_payload_copied_bytes);
        uint64_t begun_ns = l->now_ns;
        rb_loop_measure(l, true);
        run(&x, small, o->per_round);
        rb_loop_measure(l, false);
        const struct rb_tally *t = &l->tally;
        double answers = (double)(l->peers.n_answers - before), share = 1;
        /* What a turn brought that the host interrupted is counted, its cycles are not: scale. */
        if (t->gaps > 0)
            share = (double)(t->turns - t->gaps) / (double)t->turns;
        rb_metric_add(&goodput, (double)t->bytes_out * 1000 / (double)(l->now_ns - begun_ns));
        rb_metric_add(&rate, answers * 1e9 / (double)(l->now_ns - begun_ns));
        rb_metric_add(&per_byte, (double)t->cycles / ((double)t->bytes_out * share));
        rb_metric_add(&per_seg, (double)t->cycles / ((double)t->data_out * share));
        rb_metric_add(&per_exchange, (double)t->cycles / (answers * share));
        rb_metric_add(&acks, (double)(t->frames_in - t->data_in + t->frames_out - t->data_out) / (double)t->data_out);
        rb_metric_add(&burst, (double)t->frames_in / (double)t->turns);
        rb_metric_add(&gaps, (double)t->gaps);
        rb_metric_add(&copied, (double)(counter(l, HR_CTR_payload_copied_bytes) - copied_before) / (double)t->bytes_out);
        if (o->counted) {
            rb_print_one(o->label, "segments", "count", "data segments sent in counted turns", (double)t->data_out);
            rb_print_one(o->label, "answers", "count", "answers in counted turns", answers);
        }
    }
    if (o->two_cores) {
        rb_metric_print(small ? &rate : &goodput, o->label);
    } else if (!o->counted) {
        if (!small) {
            rb_metric_print(&per_byte, o->label);
            rb_metric_print(&per_seg, o->label);
        } else {
            rb_metric_print(&per_exchange, o->label);
        }
    }
    rb_metric_print(&acks, o->label);
    if (!o->two_cores)
        rb_metric_print(&burst, o->label);
    rb_metric_print(&copied, o->label);
    if (o->workers > 1)
        rb_print_one(o->label, "handed_over", "segments", "from worker to worker; those before they had learnt the hash",
                     (double)counter(l, HR_CTR_handoff_out));
    if (!o->counted && !o->two_cores)
        rb_metric_print(&gaps, o->label);
    if (counter(l, HR_CTR_tcp_retransmit_segs) > 0 || l->proxy.card.no_buffer > 0)
        rb_print_one(o->label, "retransmitted", "segments", "by the proxy, on a wire that loses nothing",
                     (double)counter(l, HR_CTR_tcp_retransmit_segs));
    x.stop = true;
    rb_loop_settle(l, 2000000);
    rb_loop_close(l);
}

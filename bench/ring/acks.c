/* Acknowledgements alone, scripted: brokers fall silent while each client sends a request; then a run of pure ACKs is
 * played to the proxy, one connection after the other, each ACK two segments further, up to where the brokers' own
 * acknowledgements ended. Every ACK so takes one lookup, advances SND.UNA and releases two buffers. */
#include <rte_ip.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"

#define WARM_UP 8 /* requests per client before the first round */
#define GATHER_US 20000 /* and less than any retransmission timeout */
#define TCP_AT 34 /* in a frame */

/* One broker leg, found by the proxy's port. */
struct leg {
    struct rte_mbuf *last; /* the acknowledgement that the broker sent last, held; NULL: none */
    uint32_t acked;        /* as the proxy knows */
};

struct acks {
    struct rb_loop loop;
    struct leg leg[65536];
    bool holding;
};

static void die(const char *what)
{
    fprintf(stderr, "ring bench: %s\n", what);
    exit(1);
}

static bool hold(void *owner, struct rte_mbuf *frame)
{
    struct acks *x = owner;
    const struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod_offset(frame, const struct rte_tcp_hdr *, TCP_AT);
    if (rte_pktmbuf_data_len(frame) < TCP_AT + sizeof(*tcp) ||
        (tcp->src_port != RTE_BE16(RB_KAFKA_PORT) && tcp->src_port != RTE_BE16(RB_TCP_PORT)))
        return false;
    struct leg *leg = &x->leg[rte_be_to_cpu_16(tcp->dst_port)];
    if (!x->holding) {
        leg->acked = rte_be_to_cpu_32(tcp->recv_ack);
        return false;
    }
    rte_pktmbuf_free(leg->last); /* NULL will do */
    leg->last = frame;
    return true;
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
        if (l->now_ns > until_ns)
            die("answers do not come");
    }
}

/* Clients send a request each, which congestion windows have room for by now; brokers say nothing. Time stands still as
 * far as pacing lets it: probes of the tail (RFC 8985 7) would come soon. */
static void gather(struct acks *x, const struct rb_options *o)
{
    struct rb_loop *l = &x->loop;
    uint64_t bytes = l->tally.bytes_out + (uint64_t)o->conns * o->request;
    uint64_t until_ns = l->now_ns + GATHER_US * 1000;
    x->holding = l->peers.brokers_mute = l->still = true;
    ask_all(x);
    while (l->tally.bytes_out < bytes)
        if (rb_loop_step(l), l->now_ns > until_ns)
            die("requests do not get through at once: they are too long for the congestion window");
    rb_loop_step(l); /* the brokers' last acknowledgements */
    x->holding = false;
}

static void queue_copy(struct rb_peers *p, const struct rte_mbuf *frame, uint32_t ack)
{
    struct rte_mbuf *m = rte_pktmbuf_copy(frame, p->bufs.rx_pool, 0, UINT32_MAX);
    if (!m)
        die("the generator is out of buffers");
    rte_pktmbuf_mtod_offset(m, struct rte_tcp_hdr *, TCP_AT)->recv_ack = rte_cpu_to_be_32(ack);
    p->out.frame[p->out.tail++ % RB_QUEUE] = m;
}

/* Queues the run; returns how many. */
static uint32_t script(struct acks *x, uint32_t step)
{
    struct rb_peers *p = &x->loop.peers;
    uint32_t n = 0;
    for (bool any = true; any;) {
        any = false;
        for (uint32_t port = 0; port < 65536; port++) {
            struct leg *leg = &x->leg[port];
            if (!leg->last)
                continue;
            uint32_t end = rte_be_to_cpu_32(
                rte_pktmbuf_mtod_offset(leg->last, struct rte_tcp_hdr *, TCP_AT)->recv_ack);
            uint32_t left = end - leg->acked;
            leg->acked += RTE_MIN(step, left);
            queue_copy(p, leg->last, leg->acked);
            n++;
            any = true;
            if (leg->acked != end)
                continue;
            rte_pktmbuf_free(leg->last);
            leg->last = NULL;
        }
    }
    return n;
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
    l->hold_take = hold;
    l->hold_owner = &x;
    rb_loop_connect(l, o->conns);
    for (uint32_t i = 0; i < WARM_UP; i++) {
        ask_all(&x);
        finish(&x);
    }

    struct rb_metric per_ack = {"cycles_per_ack", "TSC cycles", "proxy turns, ACKs of two segments each and nothing else"};
    struct rb_metric answers = {"sent_per_ack", "ratio", "segments that the proxy sent meanwhile, per ACK"};
    uint64_t n_acks = 0;
    for (uint32_t round = 0; round < o->rounds; round++) {
        gather(&x, o);
        if (rb_queue_n(&l->peers.out) > 0)
            die("something besides acknowledgements is under way");
        uint32_t n = script(&x, 2 * (o->mtu - 52));
        rb_loop_measure(l, true);
        l->frozen = true;
        while (rb_queue_n(&l->peers.out) > 0)
            rb_loop_step(l);
        l->frozen = l->still = false;
        rb_loop_measure(l, false);
        n_acks += n;
        rb_metric_add(&per_ack, (double)l->tally.cycles / n);
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

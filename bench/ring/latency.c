/* What the proxy adds to a request and its answer, open loop, in simulated time.
 *
 * Requests arrive by a Poisson schedule that is fixed beforehand, whatever the proxy does, each on a client chosen at
 * random; its latency runs from its scheduled arrival to the moment at which the whole answer leaves the proxy. Wire,
 * generator and brokers take no time, and each turn of the proxy moves the clock by the cycles that it was measured to
 * take: so latency is the proxy's work and the waiting for it, both ways together, and nothing else.
 *
 * Every level of load is run twice: once a turn that the host interrupted moves the clock by all that it took, and once
 * by no more than the last undisturbed turn, as if there had been no interruption.
 *
 * Load is a share of the highest rate at which the backlog stays flat, which is looked for first, by bisection and
 * without interruptions, or the search would find the host's gaps. Flat means at no more than a request per client:
 * where several wait on each connection they share segments and cost less each, so there is a second rate, at which
 * a backlog of ten thousand stays flat too, that nobody gets to who does not stand there already.
 *
 * With two cores time is real: wire, generator and brokers take theirs too, and interruptions cannot be left out.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"

#define WAITING 256u   /* requests on one connection at once */
#define SEARCH_STEPS 8
#define SEARCH_REQUESTS 40000u
#define BACKLOG_MAX 20000u

struct client {
    uint64_t at_ns[WAITING];
    uint32_t head, tail;
};

struct latency {
    struct rb_loop loop;
    struct client *clients;      /* by peer index */
    struct rb_peer **up;
    uint32_t n_up;
    uint64_t rng;
    uint64_t next_ns;            /* the next arrival */
    double interval_ns;
    uint32_t outstanding;
    bool overflow;
    struct hr_hist hist;         /* of the last run */
};

static double uniform(struct latency *x)
{
    x->rng ^= x->rng << 13;
    x->rng ^= x->rng >> 7;
    x->rng ^= x->rng << 17;
    return ((double)(x->rng >> 11) + 0.5) / 9007199254740992.0;
}

static void on_up(void *owner, struct rb_peer *peer)
{
    struct latency *x = owner;
    x->up[x->n_up++] = peer;
}

static void on_answer(void *owner, struct rb_peer *peer)
{
    struct latency *x = owner;
    struct client *c = &x->clients[peer->index];
    x->outstanding--;
    hr_hist_record(&x->hist, x->loop.now_ns - c->at_ns[c->head++ % WAITING]);
}

static void arrivals(struct latency *x, uint32_t *left)
{
    while (*left > 0 && x->next_ns <= x->loop.now_ns) {
        struct rb_peer *peer = x->up[(uint32_t)(uniform(x) * x->n_up)];
        struct client *c = &x->clients[peer->index];
        if (c->tail - c->head == WAITING) {
            x->overflow = true;
            return;
        }
        c->at_ns[c->tail++ % WAITING] = x->next_ns;
        rb_peers_ask(&x->loop.peers, peer, 1);
        x->outstanding++;
        (*left)--;
        x->next_ns += (uint64_t)(-log(uniform(x)) * x->interval_ns) + 1;
    }
    x->loop.wake_ns = *left > 0 ? x->next_ns : UINT64_MAX;
}

/* n requests at that rate, and their answers; true while the backlog stayed flat. */
static bool run(struct latency *x, double per_second, uint32_t n)
{
    struct rb_loop *l = &x->loop;
    uint32_t left = n;
    double sum[4] = {0}, steps[4] = {0};
    x->interval_ns = 1e9 / per_second;
    x->next_ns = l->now_ns + 1;
    x->overflow = false;
    hr_hist_reset(&x->hist);
    while (left > 0 || x->outstanding > 0) {
        arrivals(x, &left);
        if (x->overflow || x->outstanding > BACKLOG_MAX) {
            x->overflow = true;
            left = 0; /* too much: only drain */
        }
        rb_loop_step(l);
        uint32_t quarter = (uint32_t)((uint64_t)(n - left) * 4 / (n + 1));
        if (left > 0) {
            sum[quarter] += x->outstanding;
            steps[quarter]++;
        }
        if (l->peers.n_failed > 0) {
            fprintf(stderr, "ring bench: connections fail\n");
            exit(1);
        }
    }
    l->wake_ns = UINT64_MAX;
    if (x->overflow || steps[1] == 0 || steps[3] == 0)
        return false;
    double late = sum[3] / steps[3];
    return late <= 1.25 * (sum[1] / steps[1]) + 16 && late <= x->n_up;
}

static double saturation(struct latency *x)
{
    double low = 10000, high = 20000;
    while (run(x, high, SEARCH_REQUESTS)) {
        low = high;
        high *= 2;
    }
    for (int i = 0; i < SEARCH_STEPS; i++) {
        double middle = (low + high) / 2;
        *(run(x, middle, SEARCH_REQUESTS) ? &low : &high) = middle;
    }
    return low;
}

static const struct level {
    const char *name;
    double load;
    struct rb_metric p50, p99, p999, p50_all, p999_all;
} levels_template[] = {
#define ROW(percent, share)                                                                                            \
    {percent, share,                                                                                                   \
     {"p50_at_" percent, "ns", "added by the proxy to request and answer, simulated time, host gaps left out"},         \
     {"p99_at_" percent, "ns", "the same"},                                                                            \
     {"p99_9_at_" percent, "ns", "the same"},                                                                          \
     {"p50_with_gaps_at_" percent, "ns", "with all that host gaps took"},                                                            \
     {"p99_9_with_gaps_at_" percent, "ns", "with all that host gaps took"}}
    ROW("50", 0.5),
    ROW("80", 0.8),
};
#define N_LEVELS (sizeof(levels_template) / sizeof(levels_template[0]))

void rb_scenario_latency(const struct rb_options *o)
{
    static struct latency x;
    static struct level levels[N_LEVELS];
    static struct hr_hist merged[N_LEVELS];
    struct rb_metric rate = {"saturation", "requests/s", "highest rate of arrivals at which the backlog stays flat"};
    struct rb_metric gaps = {"host_gaps", "turns", "turns above 50 us"};
    struct rb_loop_config cfg;
    rb_options_loop(o, &cfg);
    cfg.cycles_clock = !o->two_cores;
    cfg.peers.owner = &x;
    cfg.peers.on_up = on_up;
    cfg.peers.on_answer = on_answer;
    x.rng = 0x9e3779b97f4a7c15ULL;
    x.clients = calloc(cfg.peers.max_peers, sizeof(*x.clients));
    x.up = calloc(o->conns, sizeof(*x.up));
    if (!x.clients || !x.up) {
        fprintf(stderr, "ring bench: no memory\n");
        exit(1);
    }
    rb_loop_open(&x.loop, &cfg);
    rb_loop_connect(&x.loop, o->conns);
    x.loop.smooth_gaps = true;
    run(&x, 50000, 10 * o->conns);
    x.loop.peers.verify = false;

    memcpy(levels, levels_template, sizeof(levels));
    for (uint32_t round = 0; round < o->rounds; round++) {
        x.loop.smooth_gaps = true;
        double most = saturation(&x);
        rb_metric_add(&rate, most);
        rb_loop_measure(&x.loop, true);
        for (uint32_t i = 0; i < N_LEVELS; i++) {
            struct level *v = &levels[i];
            x.loop.smooth_gaps = true;
            run(&x, most * v->load, o->per_round);
            rb_metric_add(&v->p50, (double)hr_hist_percentile(&x.hist, 50));
            rb_metric_add(&v->p99, (double)hr_hist_percentile(&x.hist, 99));
            rb_metric_add(&v->p999, (double)hr_hist_percentile(&x.hist, 99.9));
            hr_hist_merge(&merged[i], &x.hist);
            x.loop.smooth_gaps = false;
            if (o->two_cores)
                continue;
            run(&x, most * v->load, o->per_round);
            rb_metric_add(&v->p50_all, (double)hr_hist_percentile(&x.hist, 50));
            rb_metric_add(&v->p999_all, (double)hr_hist_percentile(&x.hist, 99.9));
        }
        rb_metric_add(&gaps, (double)x.loop.tally.gaps);
        rb_loop_measure(&x.loop, false);
    }
    rb_metric_print(&rate, o->label);
    for (uint32_t i = 0; i < N_LEVELS; i++) {
        levels[i].p50.hist = &merged[i];
        if (o->two_cores)
            levels[i].p50.method = "from scheduled arrival to answer, real time, two cores";
        rb_metric_print(&levels[i].p50, o->label);
        rb_metric_print(&levels[i].p99, o->label);
        rb_metric_print(&levels[i].p999, o->label);
        rb_metric_print(&levels[i].p50_all, o->label);
        rb_metric_print(&levels[i].p999_all, o->label);
    }
    if (!o->two_cores)
        rb_metric_print(&gaps, o->label);
    rb_loop_close(&x.loop);
    free(x.clients);
    free(x.up);
}

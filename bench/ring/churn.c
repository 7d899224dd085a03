/* Connections that come and go: a client connects, is closed once its session is up, and all that follows is counted,
 * up to the end of TIME-WAIT. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"
#include "dataplane/worker/impl.h"

/* Open at once: sessions come up in waves of this many. */
#define WAVE_MAX 128u

struct churn {
    struct rb_loop loop;
    struct rb_peer *up[WAVE_MAX];
    uint32_t n_up;
};

static void on_up(void *owner, struct rb_peer *peer)
{
    struct churn *x = owner;
    x->up[x->n_up++] = peer;
}

static void die(const char *what)
{
    fprintf(stderr, "ring bench: %s\n", what);
    exit(1);
}

static void wave(struct churn *x, uint32_t n)
{
    struct rb_loop *l = &x->loop;
    uint64_t until_ns = l->now_ns + 60 * 1000000000ULL;
    x->n_up = 0;
    rb_loop_connect(l, n);
    for (uint32_t i = 0; i < x->n_up; i++)
        rb_peers_close_one(&l->peers, x->up[i]);
    while (l->peers.n_clients_up > 0 || l->peers.n_brokers_up > 0) {
        rb_loop_step(l);
        if (l->now_ns > until_ns || l->peers.n_failed > 0)
            die("sessions do not close");
    }
}

void rb_scenario_churn(const struct rb_options *o)
{
    static struct churn x;
    struct rb_loop *l = &x.loop;
    struct rb_loop_config cfg;
    rb_options_loop(o, &cfg);
    cfg.peers.owner = &x;
    cfg.peers.on_up = on_up;
    rb_loop_open(l, &cfg);
    l->counted = o->counted;
    uint32_t size = o->conns < WAVE_MAX ? o->conns : WAVE_MAX;
    wave(&x, size);

    struct rb_metric per_conn = {"cycles_per_connection", "TSC cycles",
                                 "proxy turns: both handshakes, all FINs, end of TIME-WAIT"};
    struct rb_metric gaps = {"host_gaps", "turns", "turns above 50 us, left out of the cycles"};
    for (uint32_t round = 0; round < o->rounds; round++) {
        uint32_t n = 0;
        rb_loop_measure(l, true);
        for (; n < o->per_round; n += size)
            wave(&x, size);
        /* TIME-WAIT of the last ones. */
        uint64_t until_ns = l->now_ns + 3 * (uint64_t)l->proxy.config->tcp.msl_ms * 1000000;
        while (l->now_ns < until_ns)
            rb_loop_step(l);
        rb_loop_measure(l, false);
        rb_metric_add(&per_conn, (double)l->tally.cycles / n);
        rb_metric_add(&gaps, (double)l->tally.gaps);
        if (o->counted)
            rb_print_one(o->label, "connections", "count", "connections in counted turns", n);
    }
    if (!o->counted) {
        rb_metric_print(&per_conn, o->label);
        rb_metric_print(&gaps, o->label);
    }
    rb_loop_close(l);
}

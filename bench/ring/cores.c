/* Several workers at the same time, each on a core of its own. The generator has its turn on the first core; then every core
 * moves its worker's frames, as a card's queue would, and makes its turn; then the generator's again. So the workers meet as
 * those of a real instance do, in what they share and in the machine's caches and memory, while each one's frames are in
 * its own core's caches, as with one worker. Only the workers' turns count. */
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_pause.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/ring/loop.h"

struct lane {
    struct rb_loop *loop;
    uint32_t worker;
    uint64_t now_us;
    bool worked;
    uint32_t bytes;
    struct rb_tally tally;
    struct rb_queue out;
    /* Steps asked for (by the first core, release; seen here, acquire) and done (the other way round). */
    _Atomic uint32_t asked __attribute__((aligned(128)));
    _Atomic uint32_t done __attribute__((aligned(128)));
};

struct rb_cores {
    _Atomic bool stop;
    struct lane lane[RB_MAX_WORKERS];
};

/* Another core is at work, for about as long as this one was; if it lost its CPU, it may need ours. */
static void wait_on(uint32_t *tries)
{
    if (++*tries % 4096 == 0)
        sched_yield();
    else
        rte_pause();
}

static void step(struct lane *k)
{
    struct rb_loop *l = k->loop;

    k->bytes = rb_wire_in(l, k->worker, &k->tally);
    k->worked = rb_loop_due(l, k->worker, k->now_us);
    if (!k->worked)
        return;
    uint64_t cycles = rb_turn_cycles(l, k->worker, k->now_us);
    if (l->measuring)
        rb_tally_turn(&k->tally, cycles, rb_is_gap(l, cycles));
    k->bytes = RTE_MAX(k->bytes, rb_wire_out(l, k->worker, &k->out, &k->tally));
}

static int core(void *arg)
{
    struct lane *k = arg;
    for (uint32_t next = 1;; next++) {
        uint32_t tries = 0;
        while (atomic_load_explicit(&k->asked, memory_order_acquire) != next) {
            if (atomic_load_explicit(&k->loop->cores->stop, memory_order_acquire))
                return 0;
            wait_on(&tries);
        }
        step(k);
        atomic_store_explicit(&k->done, next, memory_order_release);
    }
}

static void add(struct rb_tally *to, const struct rb_tally *t)
{
    to->cycles += t->cycles;
    to->turns += t->turns;
    to->gap_cycles += t->gap_cycles;
    to->gaps += t->gaps;
    to->frames_in += t->frames_in;
    to->frames_out += t->frames_out;
    to->data_in += t->data_in;
    to->data_out += t->data_out;
    to->bytes_in += t->bytes_in;
    to->bytes_out += t->bytes_out;
}

bool rb_cores_step(struct rb_loop *l, uint64_t now_us, uint32_t *ret_most)
{
    struct rb_cores *c = l->cores;
    struct rb_queue *in = &l->peers.in;
    uint32_t n = l->proxy.group.n_workers;
    bool worked = false;

    for (uint32_t i = n; i-- > 0;) {
        c->lane[i].now_us = now_us;
        if (i > 0)
            atomic_fetch_add_explicit(&c->lane[i].asked, 1, memory_order_release);
        else
            step(&c->lane[0]);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct lane *k = &c->lane[i];
        uint32_t tries = 0;
        while (atomic_load_explicit(&k->done, memory_order_acquire) !=
               atomic_load_explicit(&k->asked, memory_order_relaxed))
            wait_on(&tries);
        while (rb_queue_n(&k->out) > 0 && rb_queue_n(in) < RB_QUEUE)
            in->frame[in->tail++ % RB_QUEUE] = k->out.frame[k->out.head++ % RB_QUEUE];
        add(&l->tally, &k->tally);
        k->tally = (struct rb_tally){0};
        *ret_most = RTE_MAX(*ret_most, k->bytes);
        worked |= k->worked;
    }
    return worked;
}

void rb_cores_open(struct rb_loop *l)
{
    unsigned lcore = rte_lcore_id();

    l->cores = rte_zmalloc("rb_cores", sizeof(*l->cores), 128);
    for (uint32_t i = 0; l->cores && i < l->proxy.group.n_workers; i++) {
        l->cores->lane[i].loop = l;
        l->cores->lane[i].worker = i;
        if (i == 0)
            continue;
        lcore = rte_get_next_lcore(lcore, 1, 0);
        if (lcore >= RTE_MAX_LCORE || rte_eal_remote_launch(core, &l->cores->lane[i], lcore) != 0) {
            fprintf(stderr, "ring bench: a core for each worker\n");
            exit(1);
        }
    }
    if (!l->cores)
        exit(1);
}

void rb_cores_close(struct rb_loop *l)
{
    atomic_store_explicit(&l->cores->stop, true, memory_order_release);
    rte_eal_mp_wait_lcore();
    rte_free(l->cores);
    l->cores = NULL;
}

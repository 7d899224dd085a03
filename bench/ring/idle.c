/* Memory of idle connections.
 *
 * What a worker takes at start-up is computed twice, for two numbers of sessions and the same number of packet buffers;
 * the difference by session is what one more idle pair of connections costs: both TCP blocks, the session, its Kafka
 * cursor, its timers and its share of the flow table, and whatever else grows with the limit. Then so many sessions are
 * opened, and must hold no packet buffer once nothing is under way. */
#include <malloc.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"
#include "dataplane/worker/impl.h"

/* Allocated from the worker's arena, and from libc's heap. */
static double bytes_taken(const struct rb_options *o, uint32_t max_connections)
{
    static struct rb_proxy proxy;
    struct rte_malloc_socket_stats arena;
    struct rb_loop_config cfg;
    rb_options_loop(o, &cfg);
    cfg.proxy.max_connections = max_connections;
    struct mallinfo2 before = mallinfo2();
    rb_proxy_open(&proxy, &cfg.proxy, RB_START_US);
    struct mallinfo2 after = mallinfo2();
    if (rte_malloc_get_socket_stats(proxy.worker->socket_id, &arena) != 0) {
        fprintf(stderr, "ring bench: the worker's arena has no statistics\n");
        exit(1);
    }
    rb_proxy_close(&proxy);
    return (double)arena.heap_allocsz_bytes + (double)(after.uordblks + after.hblkhd) -
           (double)(before.uordblks + before.hblkhd);
}

void rb_scenario_idle(const struct rb_options *o)
{
    static struct rb_loop loop;
    struct rb_loop_config cfg;
    uint32_t n = o->conns;
    double once = bytes_taken(o, n), twice = bytes_taken(o, 2 * n);
    rb_print_one(o->label, "bytes_per_pair", "B", "bytes taken for twice the sessions less those for once, by session",
                 (twice - once) / n);

    rb_options_loop(o, &cfg);
    rb_loop_open(&loop, &cfg);
    rb_loop_connect(&loop, n);
    rb_loop_settle(&loop, 5000000);
    rb_print_one(o->label, "established_pairs", "pairs", "sessions up, nothing under way",
                 (double)hr_proxy_sessions(loop.proxy.worker->proxy));
    const struct rb_card *card = &loop.proxy.card;
    uint32_t sent = card->tx_next - card->tx_freed; /* the card's until it frees its next batch */
    rb_print_one(o->label, "buffers_held", "buffers", "receive and header buffers held by established idle pairs",
                 (double)rb_proxy_held(&loop.proxy) +
                     (double)rte_mempool_in_use_count(loop.proxy.worker->bufs.hdr_pool) - sent);
    rb_print_one(o->label, "chunks_held", "chunks", "queue chunks held by established idle pairs",
                 (double)rte_mempool_in_use_count(loop.proxy.worker->bufs.chunk_pool));
    rb_loop_close(&loop);
}

/* Memory of idle connections.
 *
 * What a worker takes at start-up is computed twice, for two numbers of sessions and the same number of packet buffers;
 * the difference by session is what one more idle pair of connections costs: both TCP blocks, the session, its Kafka
 * cursor, its timers, its share of the flow table, with TLS the records' state and keys, and whatever else grows with the
 * limit. Then so many sessions are
 * opened, and must hold no packet buffer once nothing is under way. */
#include <malloc.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"
#include "dataplane/tls/impl.h"
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
    /* The record layer's mapping is neither's. */
    double mapped = proxy.worker->rec ? (double)proxy.worker->rec->mapped : 0;
    rb_proxy_close(&proxy);
    return mapped + (double)arena.heap_allocsz_bytes + (double)(after.uordblks + after.hblkhd) -
           (double)(before.uordblks + before.hblkhd);
}

void rb_scenario_idle(const struct rb_options *o)
{
    static struct rb_loop loop;
    struct rb_loop_config cfg;
    uint32_t n = o->conns;
    double per_pair = (bytes_taken(o, 2 * n) - bytes_taken(o, n)) / n;
    rb_print_one(o->label, "bytes_per_pair", "B", "bytes taken for twice the sessions less those for once, by session",
                 per_pair);
    if (o->tls.client) {
        struct rb_options plain = *o;
        plain.tls.client = plain.tls.broker = false;
        rb_print_one(o->label, "bytes_above_plain", "B", "the same, less that of plain pairs",
                     per_pair - (bytes_taken(&plain, 2 * n) - bytes_taken(&plain, n)) / n);
    }

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

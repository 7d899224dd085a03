#include "dataplane/buf/buf.h"

#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/eal.h"

static struct hr_buf_ctx ctx;
static struct hr_stats stats;

static int setup(void **state)
{
    struct hr_buf_config cfg = {.socket_id = SOCKET_ID_ANY,
                                .rx_mbufs = 64,
                                .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048,
                                .hdr_mbufs = 64,
                                .chunks = 16};
    (void)state;
    hr_test_eal_init();
    memset(&stats, 0, sizeof(stats));
    return hr_buf_ctx_init(&ctx, &cfg, &stats);
}

/* Every test must leave the pools as it found them. */
static int teardown(void **state)
{
    (void)state;
    int leaked = rte_mempool_in_use_count(ctx.rx_pool) + rte_mempool_in_use_count(ctx.hdr_pool) +
                 rte_mempool_in_use_count(ctx.indirect_pool) + rte_mempool_in_use_count(ctx.chunk_pool);
    if (ctx.held != 0)
        leaked++;
    hr_buf_ctx_fini(&ctx);
    return leaked;
}

/* A received buffer with len bytes, counting up from first. */
static struct rte_mbuf *received(uint32_t len, uint8_t first)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(ctx.rx_pool);
    assert_non_null(m);
    uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)len);
    for (uint32_t i = 0; i < len; i++)
        p[i] = (uint8_t)(first + i);
    return m;
}

static void push(struct hr_pieceq *q, uint32_t len, uint8_t first)
{
    assert_int_equal(hr_pieceq_push_mbuf_take(&ctx, q, received(len, first)), 0);
}

/* The queue's bytes count up from first. */
static void assert_counts_up(const struct hr_pieceq *q, uint8_t first)
{
    uint8_t *all = malloc(q->bytes + 1);
    hr_pieceq_peek(q, 0, all, q->bytes);
    for (uint32_t i = 0; i < q->bytes; i++)
        assert_int_equal(all[i], (uint8_t)(first + i));
    free(all);
}

static void test_push_and_drop(void **state)
{
    struct hr_pieceq q;
    (void)state;
    hr_pieceq_init(&q);
    for (unsigned i = 0; i < 40; i++) /* more than one chunk */
        push(&q, 512, 0);
    assert_int_equal(q.bytes, 40 * 512);
    assert_int_equal(q.n_pieces, 40);
    assert_int_equal(ctx.held, 40);
    assert_counts_up(&q, 0);
    hr_pieceq_drop(&ctx, &q, 39 * 512 + 100);
    assert_int_equal(q.n_pieces, 1);
    assert_int_equal(q.bytes, 412);
    assert_counts_up(&q, 100);
    assert_int_equal(rte_mempool_in_use_count(ctx.chunk_pool), 1);
    hr_pieceq_clear(&ctx, &q);
    assert_int_equal(q.n_pieces, 0);
    assert_null(q.first);
    assert_int_equal(ctx.held_peak, 40);
}

static void test_small_pieces_coalesce(void **state)
{
    struct hr_pieceq q;
    (void)state;
    hr_pieceq_init(&q);
    for (unsigned i = 0; i < 100; i++)
        push(&q, 10, (uint8_t)(10 * i));
    assert_int_equal(q.n_pieces, 1);
    assert_int_equal(q.bytes, 1000);
    assert_counts_up(&q, 0);
    assert_int_equal(stats.counters[HR_CTR_coalesced_bytes], 990);
    push(&q, HR_COPY_BREAK, (uint8_t)1000); /* large enough to stay where it is */
    assert_int_equal(q.n_pieces, 2);
    hr_pieceq_clear(&ctx, &q);
}

/* A buffer that something else refers to (a transmit ring) is never written to. */
static void test_no_coalescing_into_shared(void **state)
{
    struct hr_pieceq q;
    struct hr_piece_iter it;
    uint32_t len;
    (void)state;
    hr_pieceq_init(&q);
    push(&q, 300, 0);
    hr_piece_iter_at(&it, &q, 0);
    struct rte_mbuf *tx = hr_buf_attach(&ctx, &it, 300, 4, &len);
    assert_non_null(tx);
    assert_ptr_equal(tx, q.first->piece[0].mbuf);
    push(&q, 10, (uint8_t)300);
    assert_int_equal(q.n_pieces, 2);
    assert_int_equal(tx->data_len, 300);
    rte_pktmbuf_free(tx);
    hr_pieceq_clear(&ctx, &q);
}

/* Packets from a port: headers cut off, chains cut up, crumbs together, over the ends of chunks. */
static void test_push_packets(void **state)
{
    struct rte_mbuf *pkts[40];
    struct hr_pieceq q;
    uint32_t bytes = 0;
    (void)state;
    hr_pieceq_init(&q);
    for (uint32_t i = 0; i < 40; i++) { /* the last bytes of one are followed by the first of the next */
        uint32_t len = i % 10 == 7 ? 20 : 300 + i;
        pkts[i] = received(8 + len, (uint8_t)(bytes - 8));
        if (i % 10 == 3) {
            struct rte_mbuf *tail = received(270, (uint8_t)(bytes + len));
            assert_int_equal(rte_pktmbuf_chain(pkts[i], tail), 0);
            len += 270;
        }
        bytes += len;
    }
    assert_int_equal(hr_pieceq_push_packets_take(&ctx, &q, pkts, 40, 8), 40);
    assert_int_equal(q.bytes, bytes);
    assert_int_equal(q.n_pieces, 40 + 4 - 4); /* tails of chains stand alone, crumbs with those before them */
    assert_int_equal(ctx.held, q.n_pieces);
    assert_counts_up(&q, 0);
    hr_pieceq_clear(&ctx, &q);
}

static void test_push_packets_without_chunks(void **state)
{
    struct rte_mbuf *pkts[HR_PIECE_CHUNK_N + 4];
    void *chunks[64];
    struct hr_pieceq q;
    uint32_t n = 0;
    (void)state;
    hr_pieceq_init(&q);
    push(&q, 300, 0);
    while (n < 64 && rte_mempool_get(ctx.chunk_pool, &chunks[n]) == 0)
        n++;
    for (uint32_t i = 0; i < RTE_DIM(pkts); i++)
        pkts[i] = received(300, (uint8_t)(300 * (i + 1)));
    assert_int_equal(hr_pieceq_push_packets_take(&ctx, &q, pkts, RTE_DIM(pkts), 0), HR_PIECE_CHUNK_N - 1);
    assert_int_equal(q.n_pieces, HR_PIECE_CHUNK_N);
    assert_counts_up(&q, 0);
    rte_mempool_put_bulk(ctx.chunk_pool, chunks, n);
    hr_pieceq_clear(&ctx, &q);
}

static void test_push_bytes(void **state)
{
    struct hr_pieceq q;
    uint8_t data[3000];
    (void)state;
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)i;
    hr_pieceq_init(&q);
    assert_int_equal(hr_pieceq_push_bytes(&ctx, &q, data, 7), 0);
    assert_int_equal(hr_pieceq_push_bytes(&ctx, &q, data + 7, sizeof(data) - 7), 0);
    assert_int_equal(q.bytes, sizeof(data));
    assert_counts_up(&q, 0);

    /* All or nothing: exhaust the header pool. */
    struct rte_mbuf *held[64];
    unsigned n = 0;
    while (n < 64 && rte_mempool_avail_count(ctx.hdr_pool) > 1)
        held[n++] = rte_pktmbuf_alloc(ctx.hdr_pool);
    uint32_t before = q.bytes;
    assert_int_equal(hr_pieceq_push_bytes(&ctx, &q, data, 2000), HR_E_NOMEM);
    assert_int_equal(q.bytes, before);
    assert_counts_up(&q, 0);
    while (n > 0)
        rte_pktmbuf_free(held[--n]);
    hr_pieceq_clear(&ctx, &q);
}

static void test_wipe(void **state)
{
    struct hr_pieceq q;
    uint8_t data[3000], zeros[3000] = {0}, all[3000];
    (void)state;
    memset(data, 7, sizeof(data));
    hr_pieceq_init(&q);
    hr_pieceq_wipe(&q, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(hr_pieceq_push_bytes(&ctx, &q, data, 1000), 0);
    hr_pieceq_wipe(&q, 2500);
    assert_int_equal(q.bytes, 3000);
    hr_pieceq_peek(&q, 0, all, 3000);
    assert_memory_equal(all, zeros, 2500);
    assert_memory_equal(all + 2500, data, 500);
    hr_pieceq_clear(&ctx, &q);
}

static void test_move_splits(void **state)
{
    struct hr_pieceq a, b;
    (void)state;
    hr_pieceq_init(&a);
    hr_pieceq_init(&b);
    push(&a, 1000, 0);
    push(&a, 1000, (uint8_t)1000);
    assert_int_equal(hr_pieceq_move(&ctx, &b, &a, 1300), 0);
    assert_int_equal(a.bytes, 700);
    assert_int_equal(b.bytes, 1300);
    assert_int_equal(b.n_pieces, 2);
    assert_int_equal(ctx.held, 3);
    assert_counts_up(&b, 0);
    assert_counts_up(&a, (uint8_t)1300);
    assert_int_equal(rte_mbuf_refcnt_read(a.first->piece[a.first->head].mbuf), 2);

    /* What was cut grows together again. */
    assert_int_equal(hr_pieceq_move(&ctx, &b, &a, 700), 0);
    assert_int_equal(b.n_pieces, 2);
    assert_int_equal(ctx.held, 2);
    assert_counts_up(&b, 0);
    assert_int_equal(rte_mbuf_refcnt_read(b.last->piece[b.last->tail - 1].mbuf), 1);
    hr_pieceq_clear(&ctx, &b);
}

static void test_move_without_chunks_moves_nothing(void **state)
{
    struct hr_pieceq a, b;
    void *chunks[16];
    unsigned n = 0;
    (void)state;
    hr_pieceq_init(&a);
    hr_pieceq_init(&b);
    for (unsigned i = 0; i < 35; i++)
        push(&a, 512, 0);
    push(&b, 512, 0);
    while (n < 16 && rte_mempool_get(ctx.chunk_pool, &chunks[n]) == 0)
        n++;
    assert_int_equal(hr_pieceq_move(&ctx, &b, &a, 34 * 512), HR_E_NOMEM);
    assert_int_equal(a.bytes, 35 * 512);
    assert_int_equal(b.bytes, 512);
    while (n > 0)
        rte_mempool_put(ctx.chunk_pool, chunks[--n]);
    assert_int_equal(hr_pieceq_move(&ctx, &b, &a, 34 * 512), 0);
    assert_int_equal(b.n_pieces, 35);
    assert_counts_up(&b, 0);
    hr_pieceq_clear(&ctx, &a);
    hr_pieceq_clear(&ctx, &b);
}

static void test_iterator_survives_push_and_drop(void **state)
{
    struct hr_pieceq q;
    struct hr_piece_iter it;
    uint32_t len;
    (void)state;
    hr_pieceq_init(&q);
    hr_piece_iter_at(&it, &q, 0);
    assert_null(hr_piece_iter_peek(&it, &len));
    assert_int_equal(len, 0);

    push(&q, 300, 0);
    hr_piece_iter_at(&it, &q, 250);
    const uint8_t *p = hr_piece_iter_peek(&it, &len);
    assert_int_equal(len, 50);
    assert_int_equal(*p, 250);
    hr_pieceq_drop(&ctx, &q, 200);
    p = hr_piece_iter_peek(&it, &len);
    assert_int_equal(len, 50);
    assert_int_equal(*p, 250);

    hr_piece_iter_advance(&it, 50);
    assert_null(hr_piece_iter_peek(&it, &len));
    push(&q, 20, (uint8_t)300); /* coalesces into the piece it stands behind */
    p = hr_piece_iter_peek(&it, &len);
    assert_int_equal(len, 20);
    assert_int_equal(*p, (uint8_t)300);
    hr_piece_iter_advance(&it, 20);
    for (unsigned i = 0; i < 40; i++)
        push(&q, 300, (uint8_t)(320 + 300 * i));
    p = hr_piece_iter_peek(&it, &len);
    assert_int_equal(len, 300);
    assert_int_equal(*p, (uint8_t)320);
    hr_piece_iter_advance(&it, 35 * 300 + 1);
    p = hr_piece_iter_peek(&it, &len);
    assert_int_equal(len, 299);
    assert_int_equal(*p, (uint8_t)(320 + 35 * 300 + 1));
    hr_pieceq_clear(&ctx, &q);
}

static void test_attach(void **state)
{
    struct hr_pieceq q;
    struct hr_piece_iter it;
    uint32_t len;
    (void)state;
    hr_pieceq_init(&q);
    push(&q, 1000, 0);
    push(&q, 1000, (uint8_t)1000);
    push(&q, 1000, (uint8_t)2000);

    /* One whole buffer: the buffer itself. */
    hr_piece_iter_at(&it, &q, 0);
    struct rte_mbuf *m = hr_buf_attach(&ctx, &it, 1000, 4, &len);
    assert_int_equal(len, 1000);
    assert_ptr_equal(m, q.first->piece[0].mbuf);
    assert_null(m->next);
    rte_pktmbuf_free(m);

    /* Two whole buffers: the first by an indirect mbuf, because its next is needed. */
    hr_piece_iter_at(&it, &q, 0);
    m = hr_buf_attach(&ctx, &it, 2000, 4, &len);
    assert_int_equal(len, 2000);
    assert_int_equal(m->nb_segs, 2);
    assert_int_equal(m->pkt_len, 2000);
    assert_true(RTE_MBUF_CLONED(m));
    assert_ptr_equal(m->next, q.first->piece[1].mbuf);
    assert_null(q.first->piece[0].mbuf->next);
    rte_pktmbuf_free(m);

    /* Parts; the iterator goes on from there. */
    hr_piece_iter_at(&it, &q, 500);
    m = hr_buf_attach(&ctx, &it, 700, 4, &len);
    assert_int_equal(len, 700);
    assert_int_equal(m->nb_segs, 2);
    assert_int_equal(*rte_pktmbuf_mtod(m, uint8_t *), (uint8_t)500);
    assert_int_equal(m->next->data_len, 200);
    assert_int_equal(q.first->piece[0].mbuf->data_len, 1000);
    rte_pktmbuf_free(m);
    m = hr_buf_attach(&ctx, &it, 5000, 4, &len); /* to the end of the queue */
    assert_int_equal(len, 1800);
    rte_pktmbuf_free(m);

    /* The limit of mbufs cuts. */
    hr_piece_iter_at(&it, &q, 100);
    m = hr_buf_attach(&ctx, &it, 2500, 2, &len);
    assert_int_equal(len, 1900);
    assert_int_equal(m->nb_segs, 2);
    rte_pktmbuf_free(m);

    /* A trimmed piece that nobody else refers to goes out as the buffer itself too. */
    hr_pieceq_drop(&ctx, &q, 300);
    hr_piece_iter_at(&it, &q, 0);
    m = hr_buf_attach(&ctx, &it, 700, 2, &len);
    assert_ptr_equal(m, q.first->piece[q.first->head].mbuf);
    assert_int_equal(m->data_len, 700);
    assert_int_equal(*rte_pktmbuf_mtod(m, uint8_t *), (uint8_t)300);

    /* Trimmed while on the wire: indirect, and what is on the wire does not change. */
    hr_pieceq_drop(&ctx, &q, 100);
    hr_piece_iter_at(&it, &q, 0);
    struct rte_mbuf *again = hr_buf_attach(&ctx, &it, 600, 2, &len);
    assert_true(RTE_MBUF_CLONED(again));
    assert_int_equal(*rte_pktmbuf_mtod(again, uint8_t *), (uint8_t)400);
    assert_int_equal(m->data_len, 700);
    rte_pktmbuf_free(again);
    rte_pktmbuf_free(m);
    hr_pieceq_clear(&ctx, &q);
}

static void test_attach_without_mbufs(void **state)
{
    struct hr_pieceq q;
    struct hr_piece_iter it;
    struct rte_mbuf *held[128];
    unsigned n = 0;
    uint32_t len;
    (void)state;
    hr_pieceq_init(&q);
    push(&q, 1000, 0);
    push(&q, 1000, 0);
    while (n < 128 && rte_mempool_avail_count(ctx.indirect_pool) > 0)
        held[n++] = rte_pktmbuf_alloc(ctx.indirect_pool);
    hr_piece_iter_at(&it, &q, 10);
    assert_null(hr_buf_attach(&ctx, &it, 1500, 4, &len));
    hr_piece_iter_peek(&it, &len);
    assert_int_equal(len, 990); /* not moved */
    assert_true(stats.counters[HR_CTR_mbuf_alloc_failed] > 0);
    while (n > 0)
        rte_pktmbuf_free(held[--n]);
    hr_pieceq_clear(&ctx, &q);
}

/* Bytes of our own never take the last headers. */
static void test_headers_keep_their_share(void **state)
{
    struct hr_pieceq q;
    static uint8_t data[512];
    (void)state;
    hr_pieceq_init(&q);
    while (hr_pieceq_push_bytes(&ctx, &q, data, sizeof(data)) == 0)
        ;
    assert_int_equal(rte_mempool_avail_count(ctx.hdr_pool), 64 / 8);
    assert_int_equal(hr_buf_pool_free(ctx.hdr_pool), 64 / 8);
    hr_pieceq_clear(&ctx, &q);
}

/* A packet with headers in front of the next len bytes; the headers are junk, and so is all that may be theirs. */
static struct rte_mbuf *in_place(struct hr_piece_iter *it, uint32_t len)
{
    struct rte_mbuf *m = hr_buf_in_place(it, len, 54);
    if (m == NULL)
        return NULL;
    assert_int_equal(m->data_len, 54 + len);
    assert_int_equal(m->pkt_len, 54 + len);
    assert_int_equal(rte_mbuf_refcnt_read(m), 2);
    memset(rte_pktmbuf_mtod_offset(m, uint8_t *, 54 - HR_BUF_FRONT), 0xee, HR_BUF_FRONT);
    return m;
}

static void test_headers_in_place(void **state)
{
    struct hr_pieceq q, other;
    struct hr_piece_iter it;
    (void)state;
    hr_pieceq_init(&q);
    hr_pieceq_init(&other);
    hr_piece_iter_at(&it, &q, 0);
    assert_null(in_place(&it, 1));
    push(&q, 1000, 0);
    push(&q, 1000, (uint8_t)1000);
    hr_piece_iter_at(&it, &q, 0);
    struct rte_mbuf *m = in_place(&it, 1000), *next = in_place(&it, 600);
    assert_ptr_equal(m, q.first->piece[0].mbuf);
    assert_ptr_equal(next, q.first->piece[1].mbuf);
    assert_int_equal(*rte_pktmbuf_mtod_offset(m, uint8_t *, 54 + 999), (uint8_t)999);
    assert_int_equal(*rte_pktmbuf_mtod_offset(next, uint8_t *, 54), (uint8_t)1000);
    assert_null(in_place(&it, 400)); /* in the middle of a piece */
    assert_counts_up(&q, 0);

    /* While it is on the wire it stays as it is. */
    hr_piece_iter_at(&it, &q, 0);
    assert_null(in_place(&it, 1000));
    rte_pktmbuf_free(m);
    m = in_place(&it, 1000);
    assert_non_null(m);
    rte_pktmbuf_free(m);
    rte_pktmbuf_free(next);

    hr_piece_iter_at(&it, &q, 1);
    assert_null(in_place(&it, 999)); /* what stands in front is the queue's */
    hr_piece_iter_at(&it, &q, 0);
    assert_null(in_place(&it, 1001)); /* more than the piece */
    hr_pieceq_drop(&ctx, &q, 300);
    hr_piece_iter_at(&it, &q, 0);
    m = in_place(&it, 700);
    assert_non_null(m);
    assert_counts_up(&q, (uint8_t)300);
    rte_pktmbuf_free(m);

    /* One buffer in two queues: neither may, until one is done with it. */
    assert_int_equal(hr_pieceq_move(&ctx, &other, &q, 200), 0);
    hr_piece_iter_at(&it, &other, 0);
    assert_null(in_place(&it, 200));
    hr_piece_iter_at(&it, &q, 0);
    assert_null(in_place(&it, 500));
    assert_counts_up(&other, (uint8_t)300);
    hr_pieceq_clear(&ctx, &other);
    m = in_place(&it, 500);
    assert_non_null(m);
    assert_counts_up(&q, (uint8_t)500);
    rte_pktmbuf_free(m);
    /* Twice in one queue, and then joined again. */
    assert_int_equal(hr_pieceq_move(&ctx, &other, &q, 100), 0);
    hr_piece_iter_at(&it, &other, 0);
    assert_null(in_place(&it, 100));
    assert_int_equal(hr_pieceq_move(&ctx, &other, &q, q.bytes), 0);
    hr_piece_iter_at(&it, &other, 0);
    m = in_place(&it, 500);
    assert_non_null(m);
    assert_counts_up(&other, (uint8_t)500);
    rte_pktmbuf_free(m);
    hr_pieceq_clear(&ctx, &other);

    /* No room in front; not a buffer of its own. */
    struct rte_mbuf *tight = received(1000, 0);
    rte_pktmbuf_prepend(tight, RTE_PKTMBUF_HEADROOM - HR_BUF_FRONT + 1);
    assert_int_equal(hr_pieceq_push_mbuf_take(&ctx, &q, tight), 0);
    hr_piece_iter_at(&it, &q, 0);
    assert_null(in_place(&it, 1000));
    hr_pieceq_clear(&ctx, &q);
    struct rte_mbuf *whole = received(1000, 0), *part = rte_pktmbuf_alloc(ctx.indirect_pool);
    rte_pktmbuf_attach(part, whole);
    assert_int_equal(hr_pieceq_push_mbuf_take(&ctx, &q, part), 0);
    rte_pktmbuf_free(whole);
    hr_piece_iter_at(&it, &q, 0);
    assert_null(in_place(&it, 1000));
    hr_pieceq_clear(&ctx, &q);
}

/* From chunk to chunk, and on behind the end when more has come. */
static void test_in_place_along_a_queue(void **state)
{
    struct hr_pieceq q;
    struct hr_piece_iter it;
    (void)state;
    hr_pieceq_init(&q);
    push(&q, 300, 0);
    hr_piece_iter_at(&it, &q, 0);
    for (unsigned i = 0; i < 50; i++) {
        struct rte_mbuf *m = in_place(&it, 300);
        assert_non_null(m);
        assert_int_equal(*rte_pktmbuf_mtod_offset(m, uint8_t *, 54), (uint8_t)(300 * i));
        rte_pktmbuf_free(m);
        assert_null(in_place(&it, 1));
        push(&q, 300, (uint8_t)(300 * (i + 1)));
    }
    hr_piece_iter_at(&it, &q, 0);
    for (unsigned i = 0; i < 51; i++) {
        struct rte_mbuf *m = in_place(&it, 300);
        assert_ptr_equal(m, q.first == NULL ? NULL : it.chunk->piece[it.index].mbuf);
        rte_pktmbuf_free(m);
    }
    assert_counts_up(&q, 0);
    hr_pieceq_clear(&ctx, &q);
}

/* Random operations against a plain byte array; what is on the wire meanwhile stays as it left. */
static void test_against_model(void **state)
{
    static uint8_t model[1 << 16];
    struct hr_pieceq a, b;
    uint32_t na = 0, nb = 0; /* model: a's bytes, then b's in a second array */
    static uint8_t model_b[1 << 16];
    struct {
        struct rte_mbuf *m;
        uint8_t bytes[1500];
    } ring[6] = {{NULL, {0}}};
    unsigned n_in_place = 0;
    (void)state;
    srand(20250101);
    hr_pieceq_init(&a);
    hr_pieceq_init(&b);
    for (unsigned step = 0; step < 20000; step++) {
        uint32_t n = (uint32_t)rand() % (rand() % 4 ? 100 : 1400) + 1;
        uint8_t bytes[1500];
        for (uint32_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)rand();
        switch (rand() % 7) {
        case 0: {
            if (a.n_pieces + b.n_pieces > 40)
                break;
            struct rte_mbuf *m = received(n, 0);
            memcpy(rte_pktmbuf_mtod(m, void *), bytes, n);
            assert_int_equal(hr_pieceq_push_mbuf_take(&ctx, &a, m), 0);
            memcpy(model + na, bytes, n);
            na += n;
            break;
        }
        case 1:
            if (hr_pieceq_push_bytes(&ctx, &a, bytes, n) == 0) {
                memcpy(model + na, bytes, n);
                na += n;
            }
            break;
        case 2:
            n = RTE_MIN(n, na);
            if (hr_pieceq_move(&ctx, &b, &a, n) == 0) {
                memcpy(model_b + nb, model, n);
                nb += n;
                memmove(model, model + n, na -= n);
            }
            break;
        case 3:
            n = RTE_MIN(n * 2, nb);
            hr_pieceq_drop(&ctx, &b, n);
            memmove(model_b, model_b + n, nb -= n);
            break;
        case 4:
        case 5:
        case 6: { /* what is on the wire arrives, something else leaves */
            unsigned slot = (unsigned)rand() % RTE_DIM(ring);
            struct hr_piece_iter it;
            if (ring[slot].m != NULL) {
                assert_memory_equal(rte_pktmbuf_mtod(ring[slot].m, void *), ring[slot].bytes, ring[slot].m->data_len);
                rte_pktmbuf_free(ring[slot].m);
                ring[slot].m = NULL;
            }
            hr_piece_iter_at(&it, &b, nb == 0 ? 0 : (uint32_t)rand() % nb);
            if (nb > 0 && rand() % 2) /* from the beginning of a piece */
                it.off = it.chunk->piece[it.index].off;
            if (nb > 0 && (ring[slot].m = in_place(&it, n)) != NULL) {
                n_in_place++;
                memcpy(ring[slot].bytes, rte_pktmbuf_mtod(ring[slot].m, void *), ring[slot].m->data_len);
            }
            break;
        }
        }
        static uint8_t got[1 << 16];
        assert_int_equal(a.bytes, na);
        assert_int_equal(b.bytes, nb);
        hr_pieceq_peek(&a, 0, got, na);
        assert_memory_equal(got, model, na);
        hr_pieceq_peek(&b, 0, got, nb);
        assert_memory_equal(got, model_b, nb);
        assert_int_equal(ctx.held, a.n_pieces + b.n_pieces);
        if (na > 30000 || nb > 30000) {
            hr_pieceq_clear(&ctx, &a);
            hr_pieceq_clear(&ctx, &b);
            na = nb = 0;
        }
    }
    assert_true(n_in_place > 100);
    for (unsigned i = 0; i < RTE_DIM(ring); i++)
        rte_pktmbuf_free(ring[i].m);
    hr_pieceq_clear(&ctx, &a);
    hr_pieceq_clear(&ctx, &b);
}

/* Every position of a queue of three pieces, with each kind of neighbour: the bytes around a gap stay. */
static void test_gaps_at_every_position(void **state)
{
    (void)state;
    for (unsigned shared = 0; shared < 16; shared++) {
        for (uint32_t at = 0; at <= 900; at += at % 300 > 2 && at % 300 < 297 ? 49 : 1) {
            struct hr_pieceq q;
            struct hr_piece_iter it;
            struct rte_mbuf *held[3];
            uint8_t all[1000];
            hr_pieceq_init(&q);
            for (unsigned i = 0; i < 3; i++)
                push(&q, 300, (uint8_t)(300 * i));
            for (unsigned i = 0; i < 3; i++) {
                held[i] = q.first->piece[i].mbuf;
                rte_mbuf_refcnt_update(held[i], shared & 1u << i ? 1 : 0);
            }
            hr_piece_iter_at(&it, &q, at);
            for (unsigned n = 0; n < 3; n++) { /* one behind the other */
                uint8_t *gap = hr_pieceq_gap(&ctx, &q, &it, 7, shared & 8);
                assert_non_null(gap);
                memset(gap, 0xee - (int)n, 7);
            }
            assert_int_equal(q.bytes, 921);
            hr_pieceq_peek(&q, 0, all, 921);
            for (uint32_t i = 0; i < 921; i++)
                assert_int_equal(all[i], i < at ? (uint8_t)i : i < at + 21 ? 0xee - (i - at) / 7 : (uint8_t)(i - 21));
            if (at < 900) { /* what follows is where the position says */
                uint32_t have;
                const uint8_t *p = hr_piece_iter_peek(&it, &have);
                assert_non_null(p);
                assert_int_equal(*p, (uint8_t)at);
            }
            assert_int_equal(stats.counters[HR_CTR_edited_bytes], 0);
            hr_pieceq_clear(&ctx, &q);
            for (unsigned i = 0; i < 3; i++)
                if (shared & 1u << i)
                    rte_pktmbuf_free_seg(held[i]);
        }
    }
}

/* Where a buffer of its own is needed and none is free, nothing changes. */
static void test_gap_without_memory(void **state)
{
    struct hr_pieceq q;
    struct hr_piece_iter it;
    void *small[64];
    unsigned n = 0;
    (void)state;
    hr_pieceq_init(&q);
    push(&q, 600, 0);
    while (n < 64 && rte_mempool_get(ctx.hdr_pool, &small[n]) == 0)
        n++;
    hr_piece_iter_at(&it, &q, 300);
    assert_null(hr_pieceq_gap(&ctx, &q, &it, 5, true));
    assert_int_equal(q.bytes, 600);
    assert_counts_up(&q, 0);
    hr_piece_iter_at(&it, &q, 0);
    while (n > 0)
        rte_mempool_put(ctx.hdr_pool, small[--n]);
    uint8_t *gap = hr_pieceq_gap(&ctx, &q, &it, 5, true);
    assert_non_null(gap);
    assert_int_equal(q.bytes, 605);
    hr_pieceq_clear(&ctx, &q);
}

/* The slot that is needed is the first of a further chunk. */
static void test_gap_at_the_end_of_a_chunk(void **state)
{
    (void)state;
    for (uint32_t at = 0; at <= 62 * 256; at += 128) {
        struct hr_pieceq q;
        struct hr_piece_iter it;
        struct rte_mbuf *held[62];
        unsigned n = 0;
        hr_pieceq_init(&q);
        for (unsigned i = 0; i < 62; i++)
            push(&q, 256, 0);
        for (struct hr_piece_chunk *c = q.first; c != NULL; c = c->next)
            for (unsigned i = c->head; i < c->tail; i++) {
                held[n++] = c->piece[i].mbuf;
                rte_mbuf_refcnt_update(c->piece[i].mbuf, 1);
            }
        assert_int_equal(n, 62);
        hr_piece_iter_at(&it, &q, at);
        uint8_t *gap = hr_pieceq_gap(&ctx, &q, &it, 1, true);
        assert_non_null(gap);
        *gap = 0x77;
        uint8_t all[62 * 256 + 1];
        hr_pieceq_peek(&q, 0, all, sizeof(all));
        for (uint32_t i = 0; i < sizeof(all); i++)
            assert_int_equal(all[i], i < at ? (uint8_t)i : i == at ? 0x77 : (uint8_t)(i - 1));
        hr_pieceq_clear(&ctx, &q);
        while (n > 0)
            rte_pktmbuf_free_seg(held[--n]);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_push_and_drop),
        T(test_small_pieces_coalesce),
        T(test_no_coalescing_into_shared),
        T(test_push_packets),
        T(test_push_packets_without_chunks),
        T(test_push_bytes), T(test_wipe),
        T(test_move_splits),
        T(test_move_without_chunks_moves_nothing),
        T(test_iterator_survives_push_and_drop),
        T(test_attach),
        T(test_attach_without_mbufs),
        T(test_headers_keep_their_share),
        T(test_headers_in_place),
        T(test_in_place_along_a_queue),
        T(test_against_model),
        cmocka_unit_test_setup_teardown(test_gaps_at_every_position, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gap_without_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gap_at_the_end_of_a_chunk, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

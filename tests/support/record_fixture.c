#include "tests/support/record_fixture.h"

#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/tls/impl.h"
#include "tests/support/eal.h"

#define GUARD 0xa5
#define GUARD_LEN 3

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "record fixture: %s\n", what);
        abort();
    }
}

void rx_init(struct rx *x, uint32_t rekey_records)
{
    static const struct hr_buf_config cfg = {.socket_id = SOCKET_ID_ANY,
                                             .rx_mbufs = 4096,
                                             .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048,
                                             .hdr_mbufs = 4096,
                                             .chunks = 1024};
    memset(x, 0, sizeof(*x));
    hr_test_eal_init();
    must(hr_buf_ctx_init(&x->bufs, &cfg, &x->stats) == 0, "pools");
    const struct hr_rec_config rc = {
        .max_legs = 4, .max_keys = 4, .rekey_records = rekey_records, .bufs = &x->bufs, .stats = &x->stats};
    must(hr_rec_create(&rc, &x->rec) == 0, "record layer");
    x->lib = x->rec->lib;
    hr_pieceq_init(&x->in);
    hr_pieceq_init(&x->out);
}

static void let_go(struct rx *x)
{
    for (uint32_t i = 0; i < x->n_held; i++)
        rte_pktmbuf_free_seg(x->held[i]);
    x->n_held = 0;
}

void rx_leg(struct rx *x, const struct hr_tls_secrets *s)
{
    must(hr_rec_leg_open(x->rec, s, &x->leg) == 0, "leg");
    tp_init(&x->peer_write, s->version, s->suite, &s->read);
    tp_init(&x->peer_read, s->version, s->suite, &s->write);
}

void rx_leg_close(struct rx *x)
{
    if (x->leg)
        hr_rec_leg_close(x->rec, x->leg);
    x->leg = NULL;
    hr_pieceq_clear(&x->bufs, &x->in);
    hr_pieceq_clear(&x->bufs, &x->out);
    let_go(x);
}

bool rx_fini(struct rx *x)
{
    rx_leg_close(x);
    bool clean = rte_mempool_in_use_count(x->bufs.rx_pool) == 0 && rte_mempool_in_use_count(x->bufs.hdr_pool) == 0 &&
                 rte_mempool_in_use_count(x->bufs.chunk_pool) == 0 && x->bufs.held == 0 &&
                 x->stats.counters[HR_CTR_payload_copied_bytes] == 0 && x->stats.gauges[HR_GAUGE_tls_legs] == 0;
    hr_rec_destroy(x->rec);
    hr_buf_ctx_fini(&x->bufs);
    return clean;
}

static struct rte_mbuf *fresh(struct rx *x)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(x->bufs.rx_pool);
    must(m != NULL, "no buffer");
    m->hash.usr = 0;
    return m;
}

static void append(struct rx *x, struct hr_pieceq *q, const uint8_t *p, uint32_t len, uint32_t piece,
                   enum rx_shape shape)
{
    struct rte_mbuf *m = NULL; /* RX_INTERLEAVED: the one under way */
    uint32_t at = 0;
    if (piece > 1448)
        piece = 1448;
    while (len > 0) {
        uint32_t n = len < piece ? len : piece;
        if (shape != RX_INTERLEAVED) {
            m = fresh(x);
            memcpy(rte_pktmbuf_append(m, (uint16_t)n), p, n);
            if (shape == RX_REFERRED) {
                must(x->n_held < RTE_DIM(x->held), "too many pieces");
                rte_mbuf_refcnt_update(m, 1);
                x->held[x->n_held++] = m;
            }
            must(hr_pieceq_push_mbuf_take(&x->bufs, q, m) == 0, "push");
        } else {
            if (!m || at + n + GUARD_LEN > m->buf_len) {
                must(x->n_held < RTE_DIM(x->held), "too many pieces");
                m = fresh(x);
                m->data_len = 0;
                memset(m->buf_addr, GUARD, m->buf_len);
                x->held[x->n_held++] = m; /* our own reference, so that nobody takes what lies between for free */
                m->hash.usr = piece;
                at = GUARD_LEN;
            }
            memcpy((uint8_t *)m->buf_addr + at, p, n);
            rte_mbuf_refcnt_update(m, 1);
            must(hr_pieceq_push_take(&x->bufs, q, (struct hr_piece){.mbuf = m, .off = (uint16_t)at, .len = (uint16_t)n}) ==
                     0,
                 "push");
            at += n;
            m->data_len = (uint16_t)at; /* where the next check for guards looks */
            at += GUARD_LEN;
        }
        p += n;
        len -= n;
    }
}

void rx_feed(struct rx *x, const uint8_t *p, uint32_t len, uint32_t piece, enum rx_shape shape)
{
    append(x, &x->in, p, len, piece, shape);
}

void rx_push_plain(struct rx *x, const uint8_t *p, uint32_t len, uint32_t piece, enum rx_shape shape)
{
    append(x, hr_rec_unsealed(x->leg), p, len, piece, shape);
}

bool rx_guards_intact(const struct rx *x)
{
    for (uint32_t i = 0; i < x->n_held; i++) {
        const uint8_t *p = x->held[i]->buf_addr;
        if (x->held[i]->hash.usr == 0)
            continue; /* RX_REFERRED: nothing lies between */
        uint32_t end = x->held[i]->data_len, step = x->held[i]->hash.usr + GUARD_LEN;
        for (uint32_t j = 0; j < GUARD_LEN; j++) {
            if (p[end + j] != GUARD)
                return false;
            for (uint32_t at = 0; at < end; at += step)
                if (p[at + j] != GUARD)
                    return false;
        }
    }
    return true;
}

uint32_t rx_drain(struct rx *x, struct hr_pieceq *q, uint8_t *ret, uint32_t max)
{
    uint32_t n = q->bytes;
    must(n <= max, "more than expected");
    hr_pieceq_peek(q, 0, ret, n);
    hr_pieceq_clear(&x->bufs, q);
    return n;
}

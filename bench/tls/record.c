/* Cycles per byte of the record layer: sealing and opening of what stands in buffers as segments bring it, and the
 * cipher alone over the same buffers, in the same run. TSC cycles; medians over many rounds, on a warm cache.
 *
 *     tls-record [MSS...]          default: 1448 8948 */
#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/tls/impl.h"
#include "tests/support/eal.h"

#define ROUNDS 401
#define BYTES (256u << 10) /* in a round */

static struct hr_buf_ctx bufs;
static struct hr_stats stats;

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double median(uint64_t *cycles)
{
    qsort(cycles, ROUNDS, sizeof(*cycles), by_value);
    return (double)cycles[ROUNDS / 2] / BYTES;
}

static void must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "tls-record: %s\n", what);
        exit(1);
    }
}

static void fill(struct hr_pieceq *q, uint32_t mss)
{
    for (uint32_t left = BYTES; left > 0;) {
        uint32_t n = left < mss ? left : mss;
        struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
        must(m != NULL, "no buffer");
        memset(rte_pktmbuf_append(m, (uint16_t)n), (int)left, n);
        must(hr_pieceq_push_mbuf_take(&bufs, q, m) == 0, "no chunk");
        left -= n;
    }
}

/* The cipher over the pieces of q, a record for each 16 KiB, nothing else. */
static void cipher_alone(struct hr_rec *rec, struct hr_rec_leg *leg, struct hr_pieceq *q)
{
    static const uint8_t header[5] = {23, 3, 3, 64, 17};
    uint8_t tag[HR_AEAD_TAG_LEN];
    struct hr_aead_key *key = NULL;
    struct hr_piece_iter it;
    uint32_t in_record = 0;

    hr_piece_iter_at(&it, q, 0);
    for (uint32_t left = q->bytes; left > 0;) {
        uint32_t have;
        uint8_t *p = (uint8_t *)(uintptr_t)hr_piece_iter_peek(&it, &have);
        if (!key)
            key = hr_rec_begin(rec, leg, &leg->write, header, NULL, HR_TLS_FRAGMENT_MAX);
        hr_aead_seal(rec->lib, key, &rec->op, p, have);
        in_record += have;
        if (in_record + have > HR_TLS_FRAGMENT_MAX || left == have) {
            hr_aead_seal_end(rec->lib, key, &rec->op, tag);
            key = NULL;
            in_record = 0;
        }
        hr_piece_iter_advance(&it, have);
        left -= have;
    }
}

static void measure(struct hr_rec *rec, uint8_t suite, uint32_t mss, bool shared)
{
    static uint64_t cipher[ROUNDS], seal[ROUNDS], open[ROUNDS];
    struct hr_tls_secrets a = {.version = HR_TLS_1_3, .suite = suite, .role = HR_TLS_SERVER, .fragment_max = 16384};
    memset(a.read.traffic_secret, 1, hr_tls_hash_len(suite));
    memset(a.write.traffic_secret, 2, hr_tls_hash_len(suite));
    struct hr_tls_secrets b = a;
    b.role = HR_TLS_CLIENT;
    b.read = a.write;
    b.write = a.read;
    struct hr_rec_leg *from, *to;
    must(hr_rec_leg_open(rec, &a, &from) == 0 && hr_rec_leg_open(rec, &b, &to) == 0, "no leg");

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct hr_pieceq in;
        struct hr_rec_opened o;
        bool again;
        hr_pieceq_init(&in);
        fill(&in, mss);
        uint64_t seq = from->write.seq, begun = rte_rdtsc();
        cipher_alone(rec, from, &in);
        cipher[i] = rte_rdtsc() - begun;
        from->write.seq = seq;
        must(hr_pieceq_move(&bufs, hr_rec_unsealed(from), &in, in.bytes) == 0, "no chunk");
        if (shared) /* as where a boundary falls into every buffer: nothing around the content fits in */
            for (struct hr_piece_chunk *c = hr_rec_unsealed(from)->first; c; c = c->next)
                for (uint32_t j = c->head; j < c->tail; j++)
                    rte_mbuf_refcnt_update(c->piece[j].mbuf, 1);
        begun = rte_rdtsc();
        hr_rec_seal(rec, from, &in, &again);
        seal[i] = rte_rdtsc() - begun;
        must(!again, "no memory");
        if (shared)
            for (struct hr_piece_chunk *c = in.first; c; c = c->next)
                for (uint32_t j = c->head; j < c->tail; j++)
                    if (rte_mbuf_refcnt_read(c->piece[j].mbuf) > 1)
                        rte_mbuf_refcnt_update(c->piece[j].mbuf, -1);
        begun = rte_rdtsc();
        do {
            hr_rec_open(rec, to, &in, UINT32_MAX, &o);
        } while (o.again);
        open[i] = rte_rdtsc() - begun;
        must(o.verdict == HR_DROP_MAX && hr_rec_plain(to)->bytes == BYTES, "it does not open");
        hr_pieceq_clear(&bufs, hr_rec_plain(to));
    }
    printf("%-18s mss %5u %-8s cipher %.3f  seal %.3f  open %.3f cycles/B\n", hr_tls_suite_text(suite), mss,
           shared ? "shared" : "own", median(cipher), median(seal), median(open));
    hr_rec_leg_close(rec, from);
    hr_rec_leg_close(rec, to);
}

int main(int argc, char **argv)
{
    static char *usual[] = {"1448", "8948"};
    const struct hr_buf_config cfg = {.socket_id = SOCKET_ID_ANY,
                                      .rx_mbufs = 2047,
                                      .rx_data_room = RTE_PKTMBUF_HEADROOM + 9216,
                                      .hdr_mbufs = 2047,
                                      .chunks = 255};
    const struct hr_rec_config rc = {
        .max_legs = 2, .max_keys = 4, .rekey_records = 1u << 24, .bufs = &bufs, .stats = &stats};
    struct hr_rec *rec;

    hr_test_eal_init();
    must(hr_buf_ctx_init(&bufs, &cfg, &stats) == 0, "no pools");
    must(hr_rec_create(&rc, &rec) == 0, "no record layer: may memory be locked?");
    for (int i = 0; i < (argc > 1 ? argc - 1 : 2); i++) {
        uint32_t mss = (uint32_t)atoi(argc > 1 ? argv[i + 1] : usual[i]);
        must(mss >= 256 && mss <= 9000, "MSS: 256 to 9000");
        for (uint8_t suite = HR_TLS_AES_128_GCM_SHA256; suite < HR_TLS_SUITE_MAX; suite++) {
            measure(rec, suite, mss, false);
            measure(rec, suite, mss, true);
        }
    }
    hr_rec_destroy(rec);
    hr_buf_ctx_fini(&bufs);
    return 0;
}

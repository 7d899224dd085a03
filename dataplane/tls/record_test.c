/* Opening and sealing: known answers, every cipher against OpenSSL, every way to cut, everything that is wrong. */
#include "dataplane/tls/record.h"

#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/record_fixture.h"

static struct rx x;
static uint8_t wire[4 * TP_RECORD_MAX], got[4 * TP_RECORD_MAX], content[4 * 16384];

static int setup(void **state)
{
    (void)state;
    rx_init(&x, 1u << 24);
    for (uint32_t i = 0; i < sizeof(content); i++)
        content[i] = (uint8_t)(i * 7 + (i >> 8));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rx_fini(&x) ? 0 : -1;
}

static uint32_t from_hex(const char *hex, uint8_t *out)
{
    uint32_t n = 0;
    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        char byte[3] = {hex[0], hex[1], 0};
        out[n++] = (uint8_t)strtoul(byte, NULL, 16);
        hex++;
    }
    return n;
}

static struct hr_rec_opened open_all(void)
{
    struct hr_rec_opened o, sum = {.verdict = HR_DROP_MAX};
    do {
        hr_rec_open(x.rec, x.leg, &x.in, UINT32_MAX, &o);
        sum.taken += o.taken;
        sum.verdict = o.verdict;
        sum.want = o.want;
        sum.reply = o.reply;
    } while (o.again);
    return sum;
}

static uint32_t seal_all(void)
{
    bool again;
    uint32_t n = hr_rec_seal(x.rec, x.leg, &x.out, &again);
    assert_false(again);
    return n;
}

/* RFC 8448 3: application data and alerts of the simple handshake, both directions, after one ticket. */
static void test_rfc8448_trace(void **state)
{
    static const char client_data[] =
        "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8"
        "a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4";
    static const char server_data[] =
        "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9"
        "7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d";
    static const char client_alert[] = "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3";
    static const char server_alert[] = "17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9";
    struct hr_tls_secrets s = {.version = HR_TLS_1_3,
                               .suite = HR_TLS_AES_128_GCM_SHA256,
                               .role = HR_TLS_SERVER,
                               .fragment_max = HR_TLS_FRAGMENT_MAX};
    uint8_t expected[128];
    (void)state;
    from_hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", s.read.traffic_secret);
    from_hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643", s.write.traffic_secret);
    s.write.seq = 1;
    rx_leg(&x, &s);

    uint32_t n = from_hex(client_data, wire);
    rx_feed(&x, wire, n, 20, RX_REFERRED);
    assert_int_equal(open_all().verdict, HR_DROP_MAX);
    assert_int_equal(rx_drain(&x, hr_rec_plain(x.leg), got, sizeof(got)), 50);
    for (int i = 0; i < 50; i++)
        assert_int_equal(got[i], i);

    rx_push_plain(&x, got, 50, 50, RX_MERGED);
    n = from_hex(server_data, expected);
    assert_int_equal(seal_all(), n);
    assert_int_equal(rx_drain(&x, &x.out, got, sizeof(got)), n);
    assert_memory_equal(got, expected, n);

    n = from_hex(client_alert, wire);
    rx_feed(&x, wire, n, 1448, RX_MERGED);
    assert_int_equal(open_all().verdict, HR_DROP_MAX);
    assert_true(hr_rec_ended(x.leg));
    n = from_hex(server_alert, expected);
    assert_int_equal(hr_rec_say_goodbye(x.rec, x.leg, HR_REC_ALERT_close_notify, &x.out), n);
    assert_int_equal(rx_drain(&x, &x.out, got, sizeof(got)), n);
    assert_memory_equal(got, expected, n);
    /* Nothing follows the last word. */
    rx_push_plain(&x, content, 100, 100, RX_MERGED);
    assert_int_equal(seal_all(), 0);
    assert_int_equal(hr_rec_say_goodbye(x.rec, x.leg, HR_REC_ALERT_decode_error, &x.out), 0);
}

struct combination {
    uint8_t version, suite;
};
static const struct combination combinations[] = {
    {HR_TLS_1_3, HR_TLS_AES_128_GCM_SHA256},        {HR_TLS_1_3, HR_TLS_AES_256_GCM_SHA384},
    {HR_TLS_1_3, HR_TLS_CHACHA20_POLY1305_SHA256}, {HR_TLS_1_2, HR_TLS_AES_128_GCM_SHA256},
    {HR_TLS_1_2, HR_TLS_AES_256_GCM_SHA384},
};
#define N_COMBINATIONS (sizeof(combinations) / sizeof(combinations[0]))

static void leg_of(const struct combination *c, uint8_t role, uint16_t fragment_max)
{
    struct hr_tls_secrets s = tp_secrets(c->version, c->suite, role, 99u + c->suite);
    s.fragment_max = fragment_max;
    rx_leg(&x, &s);
}

/* What the peer makes of what stands in out: plain bytes in got, all of application data. */
static uint32_t peer_reads(uint32_t *ret_records, uint32_t *ret_longest)
{
    uint32_t n = rx_drain(&x, &x.out, wire, sizeof(wire)), at = 0, len = 0;
    *ret_records = *ret_longest = 0;
    while (at < n) {
        uint8_t type;
        uint32_t one;
        int r = tp_open(&x.peer_read, wire + at, n - at, &type, got + len, &one);
        assert_true(r > 0);
        assert_int_equal(type, 23);
        at += (uint32_t)r;
        len += one;
        (*ret_records)++;
        if (one > *ret_longest)
            *ret_longest = one;
    }
    return len;
}

static void test_every_cipher_opens_what_openssl_seals(void **state)
{
    static const uint32_t lens[] = {1, 15, 16, 17, 300, 1448, 5000, 16384};
    (void)state;
    for (unsigned c = 0; c < N_COMBINATIONS; c++)
        for (unsigned shape = 0; shape < RX_SHAPE_MAX; shape++) {
            leg_of(&combinations[c], HR_TLS_SERVER, 16384);
            for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
                uint32_t padding = i % 3 * 80;
                if (combinations[c].version == HR_TLS_1_2 || lens[i] + 1 + padding > 16384 + 1)
                    padding = 0;
                uint32_t n = tp_seal(&x.peer_write, 23, content, lens[i], padding, wire);
                rx_feed(&x, wire, n, 97 + i * 300, shape);
                struct hr_rec_opened o = open_all();
                assert_int_equal(o.verdict, HR_DROP_MAX);
                assert_int_equal(o.taken, n);
                assert_int_equal(x.in.bytes, 0);
                assert_true(rx_guards_intact(&x));
                assert_int_equal(rx_drain(&x, hr_rec_plain(x.leg), got, sizeof(got)), lens[i]);
                assert_memory_equal(got, content, lens[i]);
            }
            rx_leg_close(&x);
        }
}

static void test_openssl_opens_what_every_cipher_seals(void **state)
{
    static const uint32_t lens[] = {1, 15, 16, 17, 300, 1448, 5000, 16384, 16385, 40000};
    uint32_t records, longest;
    (void)state;
    for (unsigned c = 0; c < N_COMBINATIONS; c++)
        for (unsigned shape = 0; shape < RX_SHAPE_MAX; shape++) {
            leg_of(&combinations[c], HR_TLS_SERVER, 16384);
            for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
                rx_push_plain(&x, content, lens[i], 61 + i * 170, shape);
                uint32_t n = seal_all();
                assert_int_equal(n, x.out.bytes);
                assert_int_equal(hr_rec_unsealed(x.leg)->bytes, 0);
                assert_true(rx_guards_intact(&x));
                assert_int_equal(peer_reads(&records, &longest), lens[i]);
                assert_memory_equal(got, content, lens[i]);
                assert_true(longest <= 16384);
                assert_true(records <= lens[i] / 12000 + 1);
            }
            rx_leg_close(&x);
        }
}

/* Two records, cut in two at every byte, each part in a buffer that others refer to; then byte by byte. */
static void test_cut_at_every_byte(void **state)
{
    (void)state;
    for (unsigned c = 0; c < N_COMBINATIONS; c++) {
        for (uint32_t at = 0; at <= 200; at++) {
            leg_of(&combinations[c], HR_TLS_CLIENT, 16384);
            uint32_t one = tp_seal(&x.peer_write, 23, content, 60, 0, wire), n = one;
            n += tp_seal(&x.peer_write, 23, content + 60, 50, 0, wire + n);
            uint32_t first = at < n ? at : n;
            rx_feed(&x, wire, first, 1448, RX_REFERRED);
            struct hr_rec_opened o = open_all();
            assert_int_equal(o.verdict, HR_DROP_MAX);
            uint32_t begun = first < one ? first : first - one;
            if (begun >= 5) /* so many bytes as are missing */
                assert_int_equal(o.want, first < n ? (first < one ? one : n) - first : 5 + 16384 + (combinations[c].version == HR_TLS_1_3 ? 256u : 24u));
            else
                assert_true(o.want >= 5 + 16384);
            rx_feed(&x, wire + first, n - first, at == 200 ? 1 : 1448, RX_REFERRED);
            assert_int_equal(open_all().verdict, HR_DROP_MAX);
            assert_int_equal(rx_drain(&x, hr_rec_plain(x.leg), got, sizeof(got)), 110);
            assert_memory_equal(got, content, 110);
            rx_leg_close(&x);
        }
    }
}

/* No byte of a record goes on before all of it is there and verified, and none of one that is not right. */
static void test_tampering(void **state)
{
    (void)state;
    for (unsigned c = 0; c < N_COMBINATIONS; c++) {
        for (uint32_t at = 0; at < 90; at++) {
            leg_of(&combinations[c], HR_TLS_SERVER, 16384);
            uint32_t n = tp_seal(&x.peer_write, 23, content, 48, 0, wire);
            if (at >= n) {
                rx_leg_close(&x);
                break;
            }
            wire[at] ^= 1;
            rx_feed(&x, wire, n, 30, RX_INTERLEAVED);
            rx_feed(&x, content, 300, 300, RX_MERGED); /* so that a longer length finds its bytes */
            struct hr_rec_opened o = open_all();
            assert_int_not_equal(o.verdict, HR_DROP_MAX);
            if (at >= 5 || (at >= 1 && at < 3 && combinations[c].version == HR_TLS_1_3)) {
                assert_int_equal(o.verdict, HR_DROP_tls_bad_record_mac);
                assert_int_equal(hr_rec_alert_due(x.leg), HR_REC_ALERT_bad_record_mac);
            }
            assert_int_equal(hr_rec_plain(x.leg)->bytes, 0);
            assert_true(rx_guards_intact(&x));
            rx_leg_close(&x);
        }
    }
}

static void test_replayed_and_swapped_records(void **state)
{
    (void)state;
    for (unsigned c = 0; c < N_COMBINATIONS; c++) {
        leg_of(&combinations[c], HR_TLS_SERVER, 16384);
        uint32_t n = tp_seal(&x.peer_write, 23, content, 48, 0, wire);
        rx_feed(&x, wire, n, 1448, RX_MERGED);
        rx_feed(&x, wire, n, 1448, RX_MERGED);
        assert_int_equal(open_all().verdict, HR_DROP_tls_bad_record_mac);
        assert_int_equal(hr_rec_plain(x.leg)->bytes, 48);
        rx_leg_close(&x);

        leg_of(&combinations[c], HR_TLS_SERVER, 16384);
        tp_seal(&x.peer_write, 23, content, 48, 0, wire);
        n = tp_seal(&x.peer_write, 23, content, 48, 0, wire);
        rx_feed(&x, wire, n, 1448, RX_MERGED);
        assert_int_equal(open_all().verdict, HR_DROP_tls_bad_record_mac);
        rx_leg_close(&x);
    }
}

/* Judged by the header alone, before the rest has come. */
static void test_lengths_are_judged_first(void **state)
{
    (void)state;
    for (unsigned c = 0; c < N_COMBINATIONS; c++)
        for (unsigned small = 0; small < 2; small++) {
            bool v13 = combinations[c].version == HR_TLS_1_3;
            uint32_t most = (small ? 512 : 16384) + (v13 ? 256 : 24), least = v13 ? 17 : 24;
            const struct {
                uint32_t length;
                enum hr_drop verdict;
            } cases[] = {{most, HR_DROP_MAX},
                         {most + 1, HR_DROP_tls_record_overflow},
                         {65535, HR_DROP_tls_record_overflow},
                         {least, HR_DROP_MAX},
                         {least - 1, HR_DROP_tls_malformed},
                         {0, HR_DROP_tls_malformed}};
            for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                const uint8_t header[] = {23, 3, 3, (uint8_t)(cases[i].length >> 8), (uint8_t)cases[i].length};
                leg_of(&combinations[c], HR_TLS_SERVER, small ? 512 : 16384);
                rx_feed(&x, header, sizeof(header), 1448, RX_MERGED);
                struct hr_rec_opened o = open_all();
                assert_int_equal(o.verdict, cases[i].verdict);
                assert_int_equal(o.want, o.verdict == HR_DROP_MAX ? cases[i].length : 0);
                rx_leg_close(&x);
            }
        }
}

/* RFC 8446 5.2: the content's own limit holds whatever the padding leaves room for. */
static void test_content_above_the_limit(void **state)
{
    (void)state;
    leg_of(&combinations[0], HR_TLS_SERVER, 512);
    uint32_t n = tp_seal(&x.peer_write, 23, content, 512, 200, wire);
    rx_feed(&x, wire, n, 1448, RX_MERGED);
    assert_int_equal(open_all().verdict, HR_DROP_MAX);
    n = tp_seal(&x.peer_write, 23, content, 513, 100, wire);
    rx_feed(&x, wire, n, 1448, RX_MERGED);
    assert_int_equal(open_all().verdict, HR_DROP_tls_record_overflow);
    assert_int_equal(hr_rec_alert_due(x.leg), HR_REC_ALERT_record_overflow);
    assert_int_equal(hr_rec_plain(x.leg)->bytes, 512);
}

static void test_types_that_have_no_place(void **state)
{
    static const uint8_t bad_13[] = {0, 20, 21, 22, 24, 128}, bad_12[] = {0, 20, 24, 128};
    (void)state;
    for (unsigned i = 0; i < sizeof(bad_13); i++) { /* outside */
        const uint8_t header[] = {bad_13[i], 3, 3, 0, 40};
        leg_of(&combinations[0], HR_TLS_SERVER, 16384);
        rx_feed(&x, header, sizeof(header), 1448, RX_MERGED);
        assert_int_equal(open_all().verdict, HR_DROP_tls_unexpected);
        rx_leg_close(&x);
    }
    for (unsigned i = 0; i < sizeof(bad_12); i++) {
        const uint8_t header[] = {bad_12[i], 3, 3, 0, 40};
        leg_of(&combinations[3], HR_TLS_SERVER, 16384);
        rx_feed(&x, header, sizeof(header), 1448, RX_MERGED);
        assert_int_equal(open_all().verdict, HR_DROP_tls_unexpected);
        rx_leg_close(&x);
    }
    static const uint8_t inner[] = {0, 20, 24, 128};
    for (unsigned i = 0; i < sizeof(inner); i++) {
        leg_of(&combinations[0], HR_TLS_SERVER, 16384);
        uint8_t zeros[20] = {0}; /* type 0 with a content of zeros: nothing but padding */
        uint32_t n = tp_seal(&x.peer_write, inner[i], zeros, sizeof(zeros), 3, wire);
        rx_feed(&x, wire, n, 1448, RX_MERGED);
        assert_int_equal(open_all().verdict, HR_DROP_tls_unexpected);
        assert_int_equal(hr_rec_alert_due(x.leg), HR_REC_ALERT_unexpected_message);
        rx_leg_close(&x);
    }
}

static void test_floods_of_empty_records_are_bounded(void **state)
{
    (void)state;
    for (unsigned c = 0; c < N_COMBINATIONS; c++) {
        leg_of(&combinations[c], HR_TLS_SERVER, 16384);
        for (unsigned round = 0; round < 3; round++) { /* data between them makes them harmless */
            for (unsigned i = 0; i < HR_REC_BARREN_MAX; i++) {
                uint32_t n = tp_seal(&x.peer_write, 23, NULL, 0, 0, wire);
                rx_feed(&x, wire, n, 1448, RX_MERGED);
            }
            uint32_t n = tp_seal(&x.peer_write, 23, content, 1, 0, wire);
            rx_feed(&x, wire, n, 1448, RX_MERGED);
            assert_int_equal(open_all().verdict, HR_DROP_MAX);
        }
        assert_int_equal(hr_rec_plain(x.leg)->bytes, 3);
        for (unsigned i = 0; i < HR_REC_BARREN_MAX + 1; i++) {
            uint32_t n = tp_seal(&x.peer_write, 23, NULL, 0, 0, wire);
            rx_feed(&x, wire, n, 1448, RX_MERGED);
        }
        assert_int_equal(open_all().verdict, HR_DROP_tls_barren);
        rx_leg_close(&x);
    }
}

/* Records of a byte each do not cost a piece each. */
static void test_crumbs_share_buffers(void **state)
{
    (void)state;
    leg_of(&combinations[0], HR_TLS_SERVER, 16384);
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t n = tp_seal(&x.peer_write, 23, content + i, 1, 0, wire);
        rx_feed(&x, wire, n, 1448, i % 2 ? RX_REFERRED : RX_MERGED);
        assert_int_equal(open_all().verdict, HR_DROP_MAX);
    }
    assert_true(hr_rec_plain(x.leg)->n_pieces < 10);
    assert_int_equal(rx_drain(&x, hr_rec_plain(x.leg), got, sizeof(got)), 2000);
    assert_memory_equal(got, content, 2000);
}

/* One call opens no more than its share, and no more than is wanted. */
static void test_work_per_call_is_bounded(void **state)
{
    struct hr_rec_opened o;
    (void)state;
    leg_of(&combinations[0], HR_TLS_SERVER, 16384);
    for (unsigned i = 0; i < HR_REC_RECORDS_PER_CALL + 3; i++) {
        uint32_t n = tp_seal(&x.peer_write, 23, content, 10, 0, wire);
        rx_feed(&x, wire, n, 1448, RX_MERGED);
    }
    hr_rec_open(x.rec, x.leg, &x.in, 0, &o);
    assert_int_equal(o.taken, 0);
    assert_int_equal(o.want, 0);
    hr_rec_open(x.rec, x.leg, &x.in, 15, &o);
    assert_int_equal(hr_rec_plain(x.leg)->bytes, 20);
    hr_rec_open(x.rec, x.leg, &x.in, UINT32_MAX, &o);
    assert_true(o.again);
    assert_int_equal(hr_rec_plain(x.leg)->bytes, 20 + 10 * HR_REC_RECORDS_PER_CALL);
    hr_rec_open(x.rec, x.leg, &x.in, UINT32_MAX, &o);
    assert_false(o.again);
    assert_int_equal(hr_rec_plain(x.leg)->bytes, 10 * HR_REC_RECORDS_PER_CALL + 30);
}

static void test_small_negotiated_records(void **state)
{
    uint32_t records, longest;
    (void)state;
    for (unsigned shape = 0; shape < RX_SHAPE_MAX; shape++) {
        leg_of(&combinations[0], HR_TLS_SERVER, 512);
        rx_push_plain(&x, content, 20000, 1448, shape);
        seal_all();
        assert_true(rx_guards_intact(&x));
        assert_int_equal(peer_reads(&records, &longest), 20000);
        assert_memory_equal(got, content, 20000);
        assert_int_equal(longest, 512);
        rx_leg_close(&x);
    }
}

/* Records end where buffers end, and what stands around the content costs no further buffer where there is room. */
static void test_geometry(void **state)
{
    uint32_t records, longest;
    (void)state;
    leg_of(&combinations[0], HR_TLS_SERVER, 16384);
    rx_push_plain(&x, content, 20 * 1448, 1448, RX_MERGED);
    seal_all();
    assert_int_equal(x.out.n_pieces, 20);
    assert_int_equal(rte_mempool_in_use_count(x.bufs.hdr_pool), 0);
    assert_int_equal(peer_reads(&records, &longest), 20 * 1448);
    assert_int_equal(records, 2);
    assert_int_equal(longest, 11 * 1448);
    rx_leg_close(&x);

    /* Somebody else refers to the buffers: the rest stands in small ones. */
    leg_of(&combinations[0], HR_TLS_SERVER, 16384);
    rx_push_plain(&x, content, 3 * 1448, 1448, RX_REFERRED);
    seal_all();
    assert_int_equal(x.out.n_pieces, 5);
    assert_int_equal(rte_mempool_in_use_count(x.bufs.hdr_pool), 2);
    assert_int_equal(peer_reads(&records, &longest), 3 * 1448);
    assert_int_equal(records, 1);
}

/* Memory runs out at every step in turn: nothing is lost, doubled or sealed twice. */
static void test_sealing_without_memory(void **state)
{
    (void)state;
    for (uint32_t spare = 0; spare < 12; spare++) {
        static void *taken[4096];
        uint32_t n = 0, records, longest;
        bool again;
        leg_of(&combinations[0], HR_TLS_SERVER, 512);
        rx_push_plain(&x, content, 6000, 1448, RX_REFERRED);
        uint32_t keep = x.bufs.hdr_pool->size / 8 + spare; /* below an eighth, payload gets none */
        while (rte_mempool_avail_count(x.bufs.hdr_pool) > keep)
            assert_int_equal(rte_mempool_get(x.bufs.hdr_pool, &taken[n++]), 0);
        hr_rec_seal(x.rec, x.leg, &x.out, &again);
        assert_true(again);
        hr_rec_seal(x.rec, x.leg, &x.out, &again);
        assert_true(again);
        while (n > 0)
            rte_mempool_put(x.bufs.hdr_pool, taken[--n]);
        seal_all();
        assert_int_equal(peer_reads(&records, &longest), 6000);
        assert_memory_equal(got, content, 6000);
        rx_leg_close(&x);
    }
}

/* Memory runs out while the last word is said, before or behind the alert's own record: it is left unsaid, and what was
 * sealed for it leads to nothing later. */
static void test_goodbye_without_memory(void **state)
{
    static void *taken[4096];
    (void)state;
    for (uint32_t spare = 0; spare < 3; spare++) {
        uint32_t n = 0;
        bool again;
        leg_of(&combinations[0], HR_TLS_SERVER, 16384);
        rx_push_plain(&x, content, HR_PIECE_CHUNK_N * 1448, 1448, RX_REFERRED);
        assert_int_equal(hr_pieceq_move(&x.bufs, &x.out, hr_rec_unsealed(x.leg), HR_PIECE_CHUNK_N * 1448), 0);
        while (rte_mempool_get(x.bufs.chunk_pool, &taken[n]) == 0)
            n++;
        for (uint32_t i = 0; i < spare; i++)
            rte_mempool_put(x.bufs.chunk_pool, taken[--n]);
        uint32_t said = hr_rec_say_goodbye(x.rec, x.leg, HR_REC_ALERT_close_notify, &x.out);
        while (n > 0)
            rte_mempool_put(x.bufs.chunk_pool, taken[--n]);
        assert_true(spare < 2 ? said == 0 : said > 0);
        assert_int_equal(x.stats.counters[HR_CTR_tls_close_notify_tx], spare == 2);
        assert_int_equal(hr_rec_unsealed(x.leg)->bytes, 0);
        rx_push_plain(&x, content, 100, 100, RX_MERGED);
        assert_int_equal(hr_rec_seal(x.rec, x.leg, &x.out, &again), 0);
        assert_false(again);
        assert_int_equal(hr_rec_unsealed(x.leg)->bytes, 0);
        assert_int_equal(hr_rec_say_goodbye(x.rec, x.leg, HR_REC_ALERT_close_notify, &x.out), 0);
        assert_int_equal(x.out.bytes, HR_PIECE_CHUNK_N * 1448 + said);
        rx_leg_close(&x);
    }
}

static void test_passing_on_without_memory(void **state)
{
    void *taken[1024];
    uint32_t n = 0;
    struct hr_rec_opened o;
    (void)state;
    leg_of(&combinations[0], HR_TLS_SERVER, 16384);
    uint32_t len = tp_seal(&x.peer_write, 23, content, 5000, 0, wire);
    rx_feed(&x, wire, len, 500, RX_REFERRED);
    while (rte_mempool_get(x.bufs.chunk_pool, &taken[n]) == 0)
        n++;
    for (unsigned i = 0; i < 3; i++) {
        hr_rec_open(x.rec, x.leg, &x.in, UINT32_MAX, &o);
        assert_int_equal(o.verdict, HR_DROP_MAX);
        assert_true(o.again);
        assert_int_equal(hr_rec_plain(x.leg)->bytes, 0);
    }
    while (n > 0)
        rte_mempool_put(x.bufs.chunk_pool, taken[--n]);
    assert_int_equal(open_all().verdict, HR_DROP_MAX);
    assert_int_equal(rx_drain(&x, hr_rec_plain(x.leg), got, sizeof(got)), 5000);
    assert_memory_equal(got, content, 5000);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_rfc8448_trace),
        T(test_every_cipher_opens_what_openssl_seals),
        T(test_openssl_opens_what_every_cipher_seals),
        T(test_cut_at_every_byte),
        T(test_tampering),
        T(test_replayed_and_swapped_records),
        T(test_lengths_are_judged_first),
        T(test_content_above_the_limit),
        T(test_types_that_have_no_place),
        T(test_floods_of_empty_records_are_bounded),
        T(test_work_per_call_is_bounded),
        T(test_crumbs_share_buffers),
        T(test_small_negotiated_records),
        T(test_geometry),
        T(test_sealing_without_memory),
        T(test_goodbye_without_memory),
        T(test_passing_on_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

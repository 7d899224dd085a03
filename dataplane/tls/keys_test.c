/* Secrets in memory: where they lie, what is left of them, how many expanded keys there are; heap calls. */
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tls/hkdf.h"
#include "dataplane/tls/impl.h"
#include "dataplane/worker/heap.h"
#include "tests/support/record_fixture.h"

#if defined(__has_feature)
#define HR_SANITIZED __has_feature(address_sanitizer)
#else
#define HR_SANITIZED 0
#endif

static struct rx x;
static uint8_t wire[TP_RECORD_MAX], content[16384];

static int setup(void **state)
{
    (void)state;
    rx_init(&x, 1u << 24);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rx_fini(&x) ? 0 : -1;
}

/* Locked, left out of core dumps, not inherited: as the kernel tells it. */
static void test_mapping(void **state)
{
    char line[512], flags[512] = "";
    bool ours = false;
    (void)state;
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2 && strchr(line, '-') < strchr(line, ' '))
            ours = from <= (unsigned long)x.rec && (unsigned long)x.rec < to &&
                   to - from >= x.rec->mapped;
        else if (ours && strncmp(line, "VmFlags:", 8) == 0)
            strcpy(flags, line);
    }
    fclose(f);
#if !defined(__SANITIZE_ADDRESS__) && !HR_SANITIZED /* they make mlock() do nothing */
    assert_non_null(strstr(flags, " lo"));
#endif
    assert_non_null(strstr(flags, " dd"));
    assert_non_null(strstr(flags, " dc"));
}

static bool lies_in(const uint8_t *hay, size_t len, const uint8_t *needle, size_t n)
{
    return memmem(hay, len, needle, n) != NULL;
}

/* A closed leg leaves nothing: secrets, keys, expanded keys (whose first round key is the key itself). */
static void test_wiped(void **state)
{
    const uint8_t *mapping = (const uint8_t *)x.rec;
    (void)state;
    for (uint8_t version = HR_TLS_1_2; version <= HR_TLS_1_3; version++) {
        struct hr_tls_secrets s = tp_secrets(version, HR_TLS_AES_128_GCM_SHA256, HR_TLS_SERVER, 3);
        uint8_t old_secret[32], keys[2][16];
        rx_leg(&x, &s);
        memcpy(keys[0], x.leg->read.key, 16);
        memcpy(keys[1], x.leg->write.key, 16);
        memcpy(old_secret, x.leg->read.secret, 32);
        uint32_t n = tp_seal(&x.peer_write, 23, content, 1000, 0, wire);
        rx_feed(&x, wire, n, 1448, RX_MERGED);
        struct hr_rec_opened o;
        hr_rec_open(x.rec, x.leg, &x.in, UINT32_MAX, &o);
        assert_int_equal(o.verdict, HR_DROP_MAX);
        bool again;
        rx_push_plain(&x, content, 100, 100, RX_MERGED);
        hr_rec_seal(x.rec, x.leg, &x.out, &again);
        assert_true(lies_in(mapping, x.rec->mapped, keys[0], 16)); /* the search would find it */
        assert_true(lies_in(mapping, x.rec->mapped, keys[1], 16));
        if (version == HR_TLS_1_3) { /* forward secrecy: an update leaves nothing of the generation before */
            hr_rec_half_update(x.rec, x.leg, &x.leg->read);
            assert_false(lies_in(mapping, x.rec->mapped, keys[0], 16));
            assert_false(lies_in(mapping, x.rec->mapped, old_secret, 32));
        }
        rx_leg_close(&x);
        for (int i = 0; i < 2; i++)
            assert_false(lies_in(mapping, x.rec->mapped, keys[i], 16));
        assert_false(lies_in(mapping, x.rec->mapped, s.read.traffic_secret, 16));
        assert_false(lies_in(mapping, x.rec->mapped, s.write.traffic_secret, 16));
    }
}

/* More directions than places: all work, those in use stay expanded. */
static void test_places_for_keys(void **state)
{
    struct hr_rec_leg *legs[4];
    struct tp peers[4];
    struct hr_rec_opened o;
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct hr_tls_secrets s = tp_secrets(HR_TLS_1_3, HR_TLS_AES_256_GCM_SHA384, HR_TLS_SERVER, 50 + i);
        assert_int_equal(hr_rec_leg_open(x.rec, &s, &legs[i]), 0);
        tp_init(&peers[i], s.version, s.suite, &s.read);
    }
    struct hr_tls_secrets s = tp_secrets(HR_TLS_1_3, HR_TLS_AES_256_GCM_SHA384, HR_TLS_SERVER, 60);
    struct hr_rec_leg *one_too_many = NULL;
    assert_int_equal(hr_rec_leg_open(x.rec, &s, &one_too_many), HR_E_FULL);
    s.fragment_max = 1;
    assert_int_equal(hr_rec_leg_open(x.rec, &s, &one_too_many), HR_E_INVALID);

    for (unsigned round = 0; round < 10; round++)
        for (unsigned i = 0; i < 4; i++) {
            uint32_t n = tp_seal(&peers[i], 23, content, 100, 0, wire);
            rx_feed(&x, wire, n, 1448, RX_MERGED);
            hr_rec_open(x.rec, legs[i], &x.in, UINT32_MAX, &o);
            assert_int_equal(o.verdict, HR_DROP_MAX);
        }
    assert_int_equal(x.stats.counters[HR_CTR_tls_keys_expanded], 4); /* four places, four directions in use */

    for (unsigned round = 0; round < 10; round++)
        for (unsigned i = 0; i < 4; i++) {
            bool again;
            uint32_t n = tp_seal(&peers[i], 23, content, 100, 0, wire);
            rx_feed(&x, wire, n, 1448, RX_MERGED);
            hr_rec_open(x.rec, legs[i], &x.in, UINT32_MAX, &o);
            assert_int_equal(o.verdict, HR_DROP_MAX);
            hr_pieceq_clear(&x.bufs, hr_rec_plain(legs[i]));
            assert_int_equal(hr_pieceq_push_bytes(&x.bufs, hr_rec_unsealed(legs[i]), content, 10), 0);
            assert_true(hr_rec_seal(x.rec, legs[i], &x.out, &again) > 0);
        }
    assert_int_equal(x.stats.counters[HR_CTR_tls_keys_expanded], 4 + 79); /* eight do not fit: each but the first had gone */
    for (unsigned i = 0; i < 4; i++)
        hr_rec_leg_close(x.rec, legs[i]);
}

static void test_key_derivation(void **state)
{
    static const char *const labels[] = {"key", "iv", "traffic upd"};
    (void)state;
    for (uint8_t suite = HR_TLS_AES_128_GCM_SHA256; suite < HR_TLS_SUITE_MAX; suite++) {
        uint8_t secret[48], ours[48], theirs[48];
        uint32_t hash = hr_tls_hash_len(suite);
        for (unsigned round = 0; round < 50; round++)
            for (unsigned i = 0; i < 3; i++) {
                uint32_t len = i == 0 ? hr_tls_key_len(suite) : i == 1 ? 12 : hash;
                for (uint32_t j = 0; j < hash; j++)
                    secret[j] = (uint8_t)(round * 31 + j * 17);
                hr_hkdf_expand_label(x.rec->lib, hash, secret, labels[i], ours, len);
                tp_expand_label(suite, secret, labels[i], theirs, len);
                assert_memory_equal(ours, theirs, len);
            }
    }
}

/* A connection's whole life after its handshake calls no heap. */
static void test_no_heap(void **state)
{
    static uint8_t records[40][1100];
    uint32_t lens[40];
    uint64_t calls = 0;
    (void)state;
    for (uint8_t suite = HR_TLS_AES_128_GCM_SHA256; suite < HR_TLS_SUITE_MAX; suite++) {
        const uint8_t update[] = {24, 0, 0, 1, 1};
        struct hr_tls_secrets s = tp_secrets(HR_TLS_1_3, suite, HR_TLS_SERVER, 3);
        struct tp peer;
        tp_init(&peer, s.version, s.suite, &s.read);
        for (unsigned i = 0; i < 40; i++) {
            lens[i] = i == 20 ? tp_seal(&peer, 22, update, 5, 0, records[i]) : tp_seal(&peer, 23, content, 1000, 0, records[i]);
            if (i == 20)
                tp_update(&peer);
        }
        hr_heap_watch(&calls);
        assert_int_equal(hr_rec_leg_open(x.rec, &s, &x.leg), 0);
        for (unsigned i = 0; i < 40; i++) {
            struct hr_rec_opened o;
            bool again;
            rx_feed(&x, records[i], lens[i], 1448, RX_MERGED);
            hr_rec_open(x.rec, x.leg, &x.in, UINT32_MAX, &o);
            assert_int_equal(o.verdict, HR_DROP_MAX);
            struct hr_pieceq *plain = hr_rec_plain(x.leg);
            assert_int_equal(hr_pieceq_move(&x.bufs, hr_rec_unsealed(x.leg), plain, plain->bytes), 0);
            hr_rec_seal(x.rec, x.leg, &x.out, &again);
            assert_false(again);
        }
        assert_true(x.out.bytes > 39000);
        hr_rec_leg_close(x.rec, x.leg);
        hr_heap_watch(NULL);
        x.leg = NULL;
        hr_pieceq_clear(&x.bufs, &x.out);
        assert_int_equal(calls, 0);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_mapping), T(test_wiped), T(test_places_for_keys), T(test_key_derivation), T(test_no_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Cards whose hash functions differ, simulated: the learner finds out which, and then misses no queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <rte_thash.h>

#include "dataplane/net/rss.h"

static uint64_t rng;

static uint32_t rnd(void)
{
    rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(rng >> 32);
}

static struct hr_flow random_flow(bool v6)
{
    struct hr_flow f = {.local = hr_addr_from_v4(htonl(0x0a000005)), .remote = hr_addr_from_v4(rnd()),
                        .local_port = (uint16_t)rnd(), .remote_port = (uint16_t)rnd()};
    if (v6)
        for (int i = 0; i < 16; i++) {
            f.local.b[i] = (uint8_t)rnd();
            f.remote.b[i] = (uint8_t)rnd();
        }
    return f;
}

static struct hr_rss card(uint16_t n_queues)
{
    struct hr_rss rss = {.key_len = 40, .n_table = 128};
    for (int i = 0; i < 40; i++)
        rss.key[i] = (uint8_t)rnd();
    for (int i = 0; i < 128; i++)
        rss.table[i] = (uint16_t)(i % n_queues);
    return rss;
}

/* The verification suite that NDIS publishes, and DPDK's own implementation as a second opinion. */
static void test_known_answers(void **state)
{
    static const uint8_t key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
                                    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
                                    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};
    struct hr_rss rss = {.key_len = 40};
    memcpy(rss.key, key, 40);
    struct hr_flow f = {.remote_port = 2794, .local_port = 1766};
    f.remote = hr_addr_from_v4(htonl(0x420995bb)); /* 66.9.149.187 */
    f.local = hr_addr_from_v4(htonl(0xa18e6450));  /* 161.142.100.80 */
    assert_int_equal(hr_rss_hash(&rss, 0, &f), 0x51ccc178);
    assert_int_equal(hr_rss_hash(&rss, HR_RSS_16_BITS, &f), 0xc178);
    assert_int_equal(hr_rss_hash(&rss, HR_RSS_START_ONES, &f), 0x51ccc178 ^ 0xffffffff);
    for (int i = 0; i < 100; i++) {
        rng = (uint64_t)i;
        f = random_flow(false);
        uint32_t in[3] = {ntohl(hr_addr_v4_be(&f.remote)), ntohl(hr_addr_v4_be(&f.local)),
                          (uint32_t)f.remote_port << 16 | f.local_port};
        assert_int_equal(hr_rss_hash(&rss, 0, &f), rte_softrss(in, 3, key));
        struct hr_flow back = {.local = f.remote, .remote = f.local, .local_port = f.remote_port,
                               .remote_port = f.local_port};
        assert_int_equal(hr_rss_hash(&rss, HR_RSS_SORTED, &f), hr_rss_hash(&rss, HR_RSS_SORTED, &back));
    }
}

/* Each card is the truth once; hash told or not; 2 to 8 queues; both families. */
static void test_every_model_is_learned(void **state)
{
    for (uint32_t truth = 0; truth < HR_RSS_MODELS; truth++)
        for (uint16_t n_queues = 2; n_queues <= 8; n_queues++)
            for (int told = 0; told < 2; told++) {
                rng = truth * 1000 + n_queues * 10 + (uint32_t)told;
                struct hr_rss rss = card(n_queues);
                struct hr_rss_learner l;
                hr_rss_learner_init(&l);
                uint32_t wrong = 0, predicted = 0;
                for (int i = 0; i < 2000; i++) {
                    struct hr_flow f = random_flow(i % 3 == 0);
                    uint32_t hash = hr_rss_hash(&rss, truth, &f);
                    uint16_t queue = rss.table[hash & 127];
                    int guess = hr_rss_queue(&l, &rss, &f);
                    predicted += guess >= 0;
                    wrong += guess >= 0 && guess != queue;
                    hr_rss_observe(&l, &rss, &f, queue, told ? &hash : NULL);
                }
                if (wrong || predicted != 2000u - (told ? HR_RSS_ENOUGH_HASHES : HR_RSS_ENOUGH_QUEUES))
                    fail_msg("model %u, %u queues, hash %s: %u of %u wrong", truth, n_queues, told ? "told" : "untold",
                             wrong, predicted);
            }
}

/* A worker sees its own queue alone: that is enough. */
static void test_one_queue_is_enough(void **state)
{
    for (uint32_t truth = 0; truth < HR_RSS_MODELS; truth++) {
        rng = truth;
        struct hr_rss rss = card(4);
        struct hr_rss_learner l;
        hr_rss_learner_init(&l);
        uint32_t wrong = 0;
        for (int i = 0; i < 4000; i++) {
            struct hr_flow f = random_flow(false);
            uint16_t queue = rss.table[hr_rss_hash(&rss, truth, &f) & 127];
            int guess = hr_rss_queue(&l, &rss, &f);
            wrong += guess >= 0 && guess != queue;
            if (queue == 1)
                hr_rss_observe(&l, &rss, &f, queue, NULL);
        }
        assert_int_equal(wrong, 0);
        assert_true(hr_rss_queue(&l, &rss, &(struct hr_flow){0}) >= 0);
    }
}

/* A card that spreads by something else is not believed to be any of ours for long, and a changed table is noticed. */
static void test_unknown_card(void **state)
{
    rng = 7;
    struct hr_rss rss = card(4), none = {0};
    struct hr_rss_learner l;
    hr_rss_learner_init(&l);
    for (int i = 0; i < 1000; i++) {
        struct hr_flow f = random_flow(false);
        hr_rss_observe(&l, &rss, &f, (uint16_t)(rnd() % 4), NULL);
        assert_int_equal(hr_rss_queue(&l, &rss, &f), -1);
    }
    assert_true(l.restarts > 10);

    hr_rss_learner_init(&l);
    struct hr_flow f = random_flow(false);
    for (int i = 0; i < 1000; i++)
        hr_rss_observe(&l, &none, &f, 0, NULL);
    assert_int_equal(hr_rss_queue(&l, &none, &f), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_every_model_is_learned),
        cmocka_unit_test(test_one_queue_is_enough),
        cmocka_unit_test(test_unknown_card),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

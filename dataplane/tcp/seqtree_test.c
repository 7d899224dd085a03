/* The set against a sorted array, around the wrap of the sequence space, and its depth under orders that a
 * peer might choose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/seq.h"
#include "dataplane/tcp/seqtree.h"

#define N 20000
static struct hr_seqnode node[N];

static void check_links(const struct hr_seqtree *t)
{
    const struct hr_seqnode *n = t->first, *before = NULL;
    uint32_t count = 0;

    for (; n != NULL; before = n, n = hr_seqtree_next(n)) {
        assert_ptr_equal(hr_seqtree_prev(n), before);
        if (before != NULL)
            assert_true(hr_seq_lt(before->seq, n->seq));
        if (n->parent != NULL)
            assert_true(n->parent->prio >= n->prio);
        count++;
    }
    assert_ptr_equal(t->last, before);
    assert_int_equal(t->n, count);
}

static void test_against_array(void **state)
{
    (void)state;
    srand(3);
    for (unsigned round = 0; round < 200; round++) {
        struct hr_seqtree t;
        uint32_t base = (uint32_t)-150;
        struct hr_seqnode *at[300] = {0};
        unsigned used = 0;

        hr_seqtree_init(&t, round);
        for (unsigned step = 0; step < 400; step++) {
            uint32_t i = (uint32_t)rand() % 300;
            if (at[i] == NULL) {
                struct hr_seqnode *n = &node[used++];
                struct hr_seqnode *prev = hr_seqtree_floor(&t, base + i);
                n->seq = base + i;
                hr_seqtree_insert(&t, prev, n);
                at[i] = n;
            } else {
                hr_seqtree_remove(&t, at[i]);
                at[i] = NULL;
            }
            uint32_t probe = (uint32_t)rand() % 300;
            struct hr_seqnode *want = NULL;
            for (uint32_t k = 0; k <= probe; k++)
                want = at[k] != NULL ? at[k] : want;
            assert_ptr_equal(hr_seqtree_floor(&t, base + probe), want);
        }
        check_links(&t);
        while (t.n > 0)
            hr_seqtree_remove(&t, t.root);
        assert_null(t.root);
        assert_null(t.first);
        assert_null(t.last);
    }
}

/* Steps per operation stay near 2 ln n in whatever order the ranges come. */
static void test_depth(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 4; order++) {
        struct hr_seqtree t;

        hr_seqtree_init(&t, 1);
        srand(5);
        for (uint32_t i = 0; i < N; i++) {
            uint32_t k = order == 0 ? i : order == 1 ? N - 1 - i : order == 2 ? (i * 7919u) % N
                       : (i & 1 ? i / 2 : N - 1 - i / 2);
            node[i].seq = 1000 * k;
            hr_seqtree_insert(&t, hr_seqtree_floor(&t, 1000 * k), &node[i]);
        }
        assert_int_equal(t.n, N);
        check_links(&t);
        uint64_t before = t.visited, worst = 0;
        for (uint32_t i = 0; i < N; i++) {
            uint64_t one = t.visited;
            assert_int_equal(hr_seqtree_floor(&t, 1000 * i + 500)->seq, 1000 * i);
            worst = t.visited - one > worst ? t.visited - one : worst;
        }
        assert_true((t.visited - before) / N < 30);
        assert_true(worst < 60);
        before = t.visited;
        for (uint32_t i = 0; i < N; i++)
            hr_seqtree_remove(&t, &node[(i * 7919u) % N]);
        assert_true((t.visited - before) / N < 4);
        assert_int_equal(t.n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_array), cmocka_unit_test(test_depth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

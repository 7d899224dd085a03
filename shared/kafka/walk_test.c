#include "shared/kafka/walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/kafka_gen.h"
#include "tests/support/kafka_programs.h"

#define CAP  (1u << 20)
#define BASE 7 /* messages do not begin at frame offset 0 */

static uint8_t buffer[CAP];
static struct kgen gen = {.buf = buffer, .cap = CAP};

/* What a program is to tell of what the generator made. */
struct asked {
    const struct hr_kprogram *program;
    uint32_t roles;
    bool tags;
};

static const struct kgen_event *next_asked(const struct asked *a, uint32_t *at)
{
    while (*at < gen.n_events) {
        const struct kgen_event *e = &gen.events[(*at)++];
        if (e->event == HR_KWALK_TAGS ? a->tags : (a->roles & (1u << e->field->role)) != 0)
            return e;
    }
    return NULL;
}

/* Walks buf in runs of 1..max_run bytes and compares with what the generator expects. */
static void walk_and_compare(const struct asked *a, uint32_t max_run)
{
    struct hr_kwalk w;
    uint32_t at = 0, next = 0;
    const struct kgen_event *e;

    hr_kwalk_init(&w, a->program, BASE, BASE + gen.len);
    for (;;) {
        uint32_t run = 1 + kgen_random(&gen, max_run), used;
        if (run > gen.len - at)
            run = gen.len - at;
        if (kgen_random(&gen, 2) == 0)
            at += hr_kwalk_pass(&w, run < gen.len - at ? run : gen.len - at);
        if (run > gen.len - at)
            run = gen.len - at;
        enum hr_kwalk_event ev = hr_kwalk_next(&w, buffer + at, run, &used);
        assert_true(used <= run);
        at += used;
        assert_int_equal(w.pos, BASE + at);
        if (ev == HR_KWALK_MORE) {
            assert_int_equal(used, run);
            assert_true(at < gen.len);
            continue;
        }
        if (ev == HR_KWALK_DONE)
            break;
        assert_int_not_equal(ev, HR_KWALK_BAD);
        e = next_asked(a, &next);
        assert_non_null(e);
        assert_int_equal(ev, e->event);
        assert_ptr_equal(w.field, e->field);
        if (ev != HR_KWALK_ARRAY_END || e->event != HR_KWALK_ARRAY_END)
            assert_int_equal(w.offset, BASE + e->offset);
        if (ev == HR_KWALK_VALUE) {
            assert_int_equal(w.length, e->length);
            if (e->field->type != HR_KT_STRING && e->field->type != HR_KT_UUID)
                assert_int_equal(w.value, e->value);
        }
        if (ev == HR_KWALK_ARRAY || ev == HR_KWALK_TAGS)
            assert_int_equal(w.pos, BASE + e->offset);
        if (ev == HR_KWALK_ARRAY_END)
            assert_int_equal(w.pos, BASE + e->offset);
    }
    assert_null(next_asked(a, &next));
    assert_int_equal(at, gen.len);
}

static void each_message(void (*fn)(const struct hr_kmessage *m, int16_t version))
{
    for (uint16_t i = 0; i < hr_kapis_n; i++) {
        for (int16_t v = hr_kapis[i].versions.min; v <= hr_kapis[i].versions.max; v++) {
            const struct hr_kmessage *rq = hr_krequest_find(hr_kapis[i].key, v);
            const struct hr_kmessage *rs = hr_kresponse_find(hr_kapis[i].key, v);
            if (rq)
                fn(rq, v);
            if (rs)
                fn(rs, v);
        }
    }
    for (int16_t v = 1; v <= 2; v++)
        fn(&hr_krequest_header, v);
    for (int16_t v = 0; v <= 1; v++)
        fn(&hr_kresponse_header, v);
}

static void check_events(const struct hr_kmessage *m, int16_t version, const struct asked *a)
{
    for (int round = 0; round < 6; round++) {
        kgen_message(&gen, m, version);
        static const uint32_t runs[] = {CAP, 1, 2, 7, 100, 1500};
        for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
            if (gen.len > 100000 && runs[i] < 7)
                continue;
            walk_and_compare(a, runs[i]);
        }
    }
}

static void check_every_role(const struct hr_kmessage *m, int16_t version)
{
    struct asked a = {every_role(m, version), HR_KPROGRAM_EVERY_ROLE, true};

    check_events(m, version, &a);
}

/* What nobody asks for is passed over, and joined with what else is passed over. */
static void check_some_roles(const struct hr_kmessage *m, int16_t version)
{
    struct asked a = {.roles = kgen_random(&gen, 3) > 0 ? kgen_random(&gen, 1u << 30) : 0};
    struct hr_kprogram *program;

    a.tags = kgen_random(&gen, 2) == 0;
    struct hr_kprogram_spec spec = {.body = m, .version = version, .roles = a.roles, .tags = a.tags};
    assert_int_equal(hr_kprogram_create(&spec, &program), 0);
    assert_true(program->n <= every_role(m, version)->n);
    a.program = program;
    check_events(m, version, &a);
    hr_kprogram_destroy(program);
}

static void some_roles_of_every_message(void **state)
{
    gen.seed = 45;
    each_message(check_some_roles);
}

static void every_message_in_pieces(void **state)
{
    gen.seed = 42;
    print_message("seed %llu\n", (unsigned long long)gen.seed);
    each_message(check_every_role);
}

/* A frame that ends early must end in BAD, never in DONE or in waiting. */
static void check_truncated(const struct hr_kmessage *m, int16_t version)
{
    kgen_message(&gen, m, version);
    for (int i = 0; i < 20 && gen.len > 0; i++) {
        uint32_t end = kgen_random(&gen, gen.len), used;
        struct hr_kwalk w;
        enum hr_kwalk_event ev;
        hr_kwalk_init(&w, every_role(m, version), 0, end);
        do
            ev = hr_kwalk_next(&w, buffer + w.pos, end - w.pos, &used);
        while (ev != HR_KWALK_BAD && ev != HR_KWALK_DONE && ev != HR_KWALK_MORE);
        assert_int_equal(ev, HR_KWALK_BAD);
        assert_int_equal(hr_kwalk_next(&w, buffer, gen.len, &used), HR_KWALK_BAD);
        assert_int_equal(used, 0);
    }
}

static void truncated(void **state)
{
    gen.seed = 43;
    each_message(check_truncated);
}

/* Random damage: any outcome, but inside the bounds and within bounded steps. */
static void check_damaged(const struct hr_kmessage *m, int16_t version)
{
    kgen_message(&gen, m, version);
    for (int i = 0; i < 10 && gen.len > 0; i++) {
        struct hr_kwalk w;
        enum hr_kwalk_event ev;
        uint32_t used, steps = 0;
        buffer[kgen_random(&gen, gen.len)] = (uint8_t)kgen_random(&gen, 256);
        hr_kwalk_init(&w, every_role(m, version), 0, gen.len);
        do {
            ev = hr_kwalk_next(&w, buffer + w.pos, gen.len - w.pos, &used);
            assert_true(w.pos <= gen.len);
            assert_true(++steps <= 3 * gen.len + 16);
        } while (ev != HR_KWALK_BAD && ev != HR_KWALK_DONE);
    }
}

static void damaged(void **state)
{
    gen.seed = 44;
    each_message(check_damaged);
}

/* --- a schema of its own, for what the table may not hold --- */

static const struct hr_kfield leaf[] = {
    {.name = "N",
     .type = HR_KT_INT32,
     .role = HR_KR_NODE_ID,
     .versions = {0, HR_KVERSION_ANY},
     .nullable = {HR_KVERSION_NONE, 0},
     .tagged = {HR_KVERSION_NONE, 0}},
};
static const struct hr_kfield fields[] = {
    {.name = "A",
     .type = HR_KT_STRUCT,
     .is_array = true,
     .role = HR_KR_BROKERS,
     .versions = {0, HR_KVERSION_ANY},
     .nullable = {HR_KVERSION_NONE, 0},
     .tagged = {HR_KVERSION_NONE, 0},
     .n_children = 1,
     .children = leaf},
    {.name = "T",
     .type = HR_KT_STRING,
     .role = HR_KR_HOST,
     .versions = {0, HR_KVERSION_ANY},
     .nullable = {HR_KVERSION_NONE, 0},
     .tagged = {0, HR_KVERSION_ANY},
     .tag = 3},
};
static const struct hr_kmessage tiny = {
    .name = "Tiny", .versions = {0, 0}, .flexible = {0, HR_KVERSION_ANY}, .n_fields = 2, .fields = fields};

static enum hr_kwalk_event outcome(const uint8_t *p, uint32_t len, uint32_t frame)
{
    struct hr_kwalk w;
    enum hr_kwalk_event ev;
    uint32_t used;

    hr_kwalk_init(&w, every_role(&tiny, 0), 0, frame);
    do
        ev = hr_kwalk_next(&w, p + w.pos, len - w.pos, &used);
    while (ev != HR_KWALK_BAD && ev != HR_KWALK_DONE && ev != HR_KWALK_MORE);
    return ev;
}

static void bounds(void **state)
{
    static const struct {
        uint8_t b[16];
        uint32_t len;
        enum hr_kwalk_event want;
    } cases[] = {
        {{1, 0}, 2, HR_KWALK_DONE},
        {{0, 0}, 2, HR_KWALK_BAD},                            /* null where it may not be */
        {{2, 0, 0, 0, 5, 0, 0}, 7, HR_KWALK_DONE},            /* one element */
        {{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, 6, HR_KWALK_BAD}, /* more elements than bytes */
        {{0xff, 0xff, 0xff, 0xff, 0x1f, 0}, 6, HR_KWALK_BAD}, /* more than 32 bits */
        {{0x80, 0x80, 0x80, 0x80, 0x80, 0}, 6, HR_KWALK_BAD}, /* a sixth byte */
        {{0x81, 0x80, 0x00, 0}, 4, HR_KWALK_DONE},            /* longer than need be, but 0 */
        {{1, 1, 3, 2, 2, 'x'}, 6, HR_KWALK_DONE},             /* the known tag */
        {{1, 1, 3, 3, 2, 'x', 0}, 7, HR_KWALK_BAD},           /* its size too large */
        {{1, 1, 3, 1, 2, 'x'}, 6, HR_KWALK_BAD},              /* its size too small */
        {{1, 1, 3, 2, 3, 'x', 'y'}, 7, HR_KWALK_BAD},         /* a string that leaves its tag */
        {{1, 1, 9, 3, 0, 0, 0}, 7, HR_KWALK_DONE},            /* an unknown one */
        {{1, 1, 9, 4, 0, 0, 0}, 7, HR_KWALK_BAD},             /* that leaves the frame */
        {{1, 9, 9, 0}, 4, HR_KWALK_BAD},                      /* more tags than bytes */
        {{1, 2, 9, 0, 3, 1, 1}, 7, HR_KWALK_DONE},            /* any order */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum hr_kwalk_event got = outcome(cases[i].b, cases[i].len, cases[i].len);
        if (got != cases[i].want)
            fail_msg("case %zu: %d", i, (int)got);
    }
    /* The frame goes on, but the bytes have not come. */
    assert_int_equal(outcome(cases[2].b, 4, 7), HR_KWALK_MORE);
    assert_int_equal(outcome(cases[0].b, 0, 0), HR_KWALK_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_in_pieces),
        cmocka_unit_test(some_roles_of_every_message),
        cmocka_unit_test(truncated),
        cmocka_unit_test(damaged),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests_name("walk", tests, NULL, NULL);
}

#include "dataplane/kafka/transcode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/kafka_gen.h"

#define CAP (1u << 20)

static uint8_t in[CAP], out[CAP];
static struct kgen gen = {.buf = in, .cap = CAP};

static void each_message(void (*fn)(const struct hr_kmessage *m, int16_t version))
{
    for (uint16_t i = 0; i < hr_kapis_n; i++) {
        for (int16_t v = hr_kapis[i].versions.min; v <= hr_kapis[i].versions.max; v++) {
            if (hr_krequest_find(hr_kapis[i].key, v))
                fn(hr_krequest_find(hr_kapis[i].key, v), v);
            if (hr_kresponse_find(hr_kapis[i].key, v))
                fn(hr_kresponse_find(hr_kapis[i].key, v), v);
        }
    }
}

static struct hr_xc job(int16_t version)
{
    return (struct hr_xc){.in = in, .limit = gen.len, .out = out, .cap = gen.len, .version = version};
}

/* Without a hook what comes out is what went in, and it needs no byte more. */
static void copies(const struct hr_kmessage *m, int16_t version)
{
    for (int i = 0; i < 5; i++) {
        kgen_message(&gen, m, version);
        struct hr_xc x = job(version);
        assert_int_equal(hr_xc_message(&x, m), 0);
        assert_int_equal(x.pos, gen.len);
        assert_int_equal(x.n, gen.len);
        assert_memory_equal(in, out, gen.len);
    }
}

static void short_of_room(const struct hr_kmessage *m, int16_t version)
{
    kgen_message(&gen, m, version);
    for (int i = 0; i < 5 && gen.len > 0; i++) {
        struct hr_xc x = job(version);
        x.cap = kgen_random(&gen, gen.len);
        assert_int_equal(hr_xc_message(&x, m), HR_E_TOO_LARGE);
        assert_true(x.n <= x.cap);
        x = job(version);
        x.limit = kgen_random(&gen, gen.len);
        assert_int_equal(hr_xc_message(&x, m), HR_E_INVALID);
    }
}

/* A hook that makes every string longer, so that tagged fields' sizes and compact lengths change their width.
 */
static enum hr_xc_verdict lengthen(struct hr_xc *x, struct hr_xc_struct *s, const struct hr_kfield *f)
{
    char big[400];
    int32_t len;

    if (f->type != HR_KT_STRING || f->is_array)
        return HR_XC_COPY;
    const uint8_t *p = hr_xc_get_string(x, f, &len);
    if (len < 0 || len > 200) {
        hr_xc_put_string(x, f, p, len);
        return HR_XC_DONE;
    }
    memset(big, 'z', sizeof(big));
    if (len > 0)
        memcpy(big, p, (size_t)len);
    hr_xc_put_string(x, f, big, len + 150);
    return HR_XC_DONE;
}

static enum hr_xc_verdict shorten(struct hr_xc *x, struct hr_xc_struct *s, const struct hr_kfield *f)
{
    int32_t len;

    if (f->type != HR_KT_STRING || f->is_array)
        return HR_XC_COPY;
    const uint8_t *p = hr_xc_get_string(x, f, &len);
    hr_xc_put_string(x, f, p, len >= 150 && len <= 350 ? len - 150 : len);
    return HR_XC_DONE;
}

static void there_and_back(const struct hr_kmessage *m, int16_t version)
{
    static uint8_t larger[8 * CAP];

    for (int i = 0; i < 3; i++) {
        kgen_message(&gen, m, version);
        struct hr_xc x = job(version);
        x.out = larger;
        x.cap = sizeof(larger);
        x.field = lengthen;
        assert_int_equal(hr_xc_message(&x, m), 0);
        assert_true(x.n >= gen.len);
        struct hr_xc y = {
            .in = larger, .limit = x.n, .out = out, .cap = CAP, .version = version, .field = shorten};
        assert_int_equal(hr_xc_message(&y, m), 0);
        assert_int_equal(y.pos, x.n);
        /* Strings of 300 were shortened without having been made longer; all others came back. */
        if (y.n == gen.len)
            assert_memory_equal(in, out, gen.len);
        else
            assert_true(y.n < gen.len);
    }
}

static void identity(void **state)
{
    gen.seed = 7;
    each_message(copies);
}

static void bounds(void **state)
{
    gen.seed = 8;
    each_message(short_of_room);
}

static void widths(void **state)
{
    gen.seed = 9;
    each_message(there_and_back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity),
        cmocka_unit_test(bounds),
        cmocka_unit_test(widths),
    };
    return cmocka_run_group_tests_name("transcode", tests, NULL, NULL);
}

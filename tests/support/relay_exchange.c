#include "tests/support/relay_exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

uint32_t rf_in_flight(const struct rf *f)
{
    struct hr_relay_state s;

    hr_relay_get_state(f->relay, &s);
    return s.in_flight;
}

void rf_expect(struct rf *f, uint64_t seed, int16_t key, int16_t version, int32_t correlation_id)
{
    struct rf_bytes b = {0};

    rf_reset(f, 3);
    f->seed = seed;
    rf_bare_request(&b, key, version, correlation_id);
    rf_play_requests(f, b.p, b.len);
    assert_int_equal(f->request.verdict, HR_DROP_MAX);
    assert_int_equal(rf_in_flight(f), 1);
    rf_free(&b);
}

void rf_assert_client_got(const struct rf *f, const struct rf_bytes *want)
{
    if (f->to_client.len != want->len || memcmp(f->to_client.p, want->p, want->len) != 0) {
        for (uint32_t i = 0; i < f->to_client.len && i < 400; i++)
            fprintf(stderr, "%02x", f->to_client.p[i]);
        fprintf(stderr, "\n");
        for (uint32_t i = 0; i < want->len && i < 400; i++)
            fprintf(stderr, "%02x", want->p[i]);
        fprintf(stderr, "\n");
        fail_msg("%u bytes instead of %u, or others", f->to_client.len, want->len);
    }
}

void rf_becomes(struct rf *f, int16_t key, int16_t version, const char *in, const char *out)
{
    struct rf_bytes from = {0}, to = {0};

    rf_response(&from, key, version, 77, in);
    rf_response(&to, key, version, 77, out);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        rf_expect(f, seed, key, version, 77);
        rf_play_responses(f, from.p, from.len);
        if (f->response.verdict != HR_DROP_MAX)
            fail_msg("api %d version %d: verdict %d", key, version, f->response.verdict);
        rf_assert_client_got(f, &to);
        assert_int_equal(rf_in_flight(f), 0);
        assert_int_equal(f->stats.counters[HR_CTR_kafka_responses], 1);
        assert_int_equal(f->stats.counters[HR_CTR_kafka_response_bytes], from.len);
        assert_int_equal(f->stats.counters[HR_CTR_payload_copied_bytes], 0);
        assert_true(rf_balanced(f));
    }
    rf_free(&from);
    rf_free(&to);
}

void rf_ends(struct rf *f, int16_t key, int16_t version, const void *p, uint32_t len, enum hr_drop want)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        rf_expect(f, seed, key, version, 77);
        rf_play_responses(f, p, len);
        if (f->response.verdict != want)
            fail_msg("verdict %d instead of %d", f->response.verdict, want);
        assert_true(rf_balanced(f));
    }
}

const char *rf_text(const char *fmt, ...)
{
    static char buf[4][1 << 16];
    static unsigned next;
    char *p = buf[next++ % 4];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(p, sizeof(buf[0]), fmt, ap);
    va_end(ap);
    return p;
}

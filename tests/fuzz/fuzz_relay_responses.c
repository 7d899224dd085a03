/* The relay's response side. Modes: the broker's stream as it is; bodies with a right header and size;
 * well-formed random messages with a few bytes changed, which get past the schema to the edits. What comes
 * out must be frames again, and a body that followed its schema before an edit must do so behind it. */
#include <stdlib.h>
#include <string.h>

#include "shared/kafka/walk.h"
#include "shared/kafka/wire.h"
#include "tests/support/kafka_gen.h"
#include "tests/support/kafka_programs.h"
#include "tests/support/relay_fixture.h"

#define HOLD_MAX 16384u
#define BODY_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rf f;
static uint8_t body[BODY_MAX];
static struct kgen gen = {.buf = body, .cap = BODY_MAX};

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Does the body of a frame follow the schema to its last byte? */
static bool well_formed(int16_t key, int16_t version, const uint8_t *frame, uint32_t len)
{
    struct hr_kwalk w;
    enum hr_kwalk_event ev;
    uint32_t used, at = 8;

    if (hr_kresponse_header_version(key, version) == 1)
        at++; /* made here: no tags */
    if (key == 18 && len >= at + 2 && hr_kget16(frame + at) == 35)
        version = 0;
    if (at > len)
        return false;
    hr_kwalk_init(&w, every_role(hr_kresponse_find(key, version), version), at, len);
    do
        ev = hr_kwalk_next(&w, frame + w.pos, len - w.pos, &used);
    while (ev != HR_KWALK_DONE && ev != HR_KWALK_BAD);
    return ev == HR_KWALK_DONE && w.pos == len;
}

static void one_response(int16_t key, int16_t version, const uint8_t *p, uint32_t len)
{
    static struct rf_bytes b;
    uint8_t head[9] = {0};

    b.len = 0;
    rf_bare_request(&b, key, version, 77);
    rf_play_requests(&f, b.p, b.len);
    if (f.request.verdict != HR_DROP_MAX) {
        check(key == 17 && version == 0);
        return;
    }
    uint32_t n = hr_kresponse_header_version(key, version) == 1 ? 9 : 8;
    hr_kput32(head, n - 4 + len);
    hr_kput32(head + 4, 77);
    b.len = 0;
    rf_append(&b, head, n);
    rf_append(&b, p, len);
    rf_play_responses(&f, b.p, b.len);
    for (uint32_t i = 0; i <= b.len && f.response.blocked && f.response.verdict == HR_DROP_MAX; i++)
        rf_play_responses(&f, "", 0);
    bool good = well_formed(key, version, b.p, b.len);
    if (f.response.verdict != HR_DROP_MAX) {
        check(!good || f.response.verdict == HR_DROP_kafka_hold_max);
        return;
    }
    struct hr_relay_state s;
    hr_relay_get_state(f.relay, &s);
    check(s.in_flight == 0 && s.responses == 1 && !s.response_mid_frame);
    check(hr_kget32(f.to_client.p) == f.to_client.len - 4);
    if (good)
        check(well_formed(key, version, f.to_client.p, f.to_client.len));
    if (f.stats.counters[HR_CTR_kafka_edits_held] == 0)
        check(f.to_client.len == b.len);
    if (f.stats.counters[HR_CTR_edited_bytes] == 0)
        check(memcmp(f.to_client.p, b.p, b.len) == 0);
}

static void mutated(int16_t key, int16_t version, const uint8_t *p, size_t n)
{
    gen.seed = 0;
    for (int i = 0; i < 4 && n > 0; i++, n--)
        gen.seed = gen.seed << 8 | *p++;
    gen.seed += 1;
    kgen_message(&gen, hr_kresponse_find(key, version), version);
    for (; n >= 3 && gen.len > 0; p += 3, n -= 3)
        body[hr_kget16(p) % gen.len] = p[2];
    one_response(key, version, body, gen.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;

    if (size < 6 || size > 32768)
        return 0;
    if (!ready)
        rf_init(&f, 3, HOLD_MAX);
    ready = true;
    rf_reset(&f, 3);
    f.seed = data[1] + 1u;
    f.room = data[2] ? data[2] * 16u : UINT32_MAX / 2;
    const struct hr_kapi *api = &hr_kapis[data[3] % hr_kapis_n];
    int16_t version = (int16_t)(api->versions.min + data[4] % (api->versions.max - api->versions.min + 1));
    switch (data[0] % 3) {
    case 0: {
        struct rf_bytes b = {0};
        for (int i = 0; i < 3; i++)
            rf_bare_request(&b, api->key, version, i);
        rf_play_requests(&f, b.p, b.len);
        rf_play_responses(&f, data + 5, (uint32_t)size - 5);
        rf_free(&b);
        break;
    }
    case 1:
        one_response(api->key, version, data + 5, (uint32_t)size - 5);
        break;
    default:
        mutated(api->key, version, data + 5, size - 5);
        break;
    }
    check(f.response.verdict <= HR_DROP_MAX);
    check(f.stats.counters[HR_CTR_payload_copied_bytes] == 0);
    check(rf_balanced(&f));
    return 0;
}

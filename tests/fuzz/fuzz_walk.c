/* The walker and the transcoder on hostile bytes. The first bytes choose API, version, direction and the
 * runs; the rest is the message. Runs of any size must tell the same story as one run, and the transcoder,
 * which reads the same bytes by recursion, must come to the same verdict. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/kafka/transcode.h"
#include "shared/kafka/walk.h"
#include "tests/support/kafka_programs.h"

#define MESSAGE_MAX (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

struct story {
    enum hr_kwalk_event end;
    uint32_t pos;
    uint32_t events;
    uint64_t hash;
};

static void add(struct story *s, uint64_t v)
{
    s->hash = (s->hash ^ v) * 0x100000001b3ull;
}

static struct story tell(const struct hr_kmessage *m, int16_t version, const uint8_t *p, uint32_t len,
                         uint32_t seed)
{
    struct story s = {0};
    struct hr_kwalk w;
    uint32_t steps = 0;

    hr_kwalk_init(&w, every_role(m, version), 0, len);
    for (;;) {
        uint32_t run = len - w.pos, used, before = w.pos;
        if (seed) {
            seed = seed * 1664525u + 1013904223u;
            uint32_t most = 1 + (seed >> 24) % 7;
            run = run < most ? run : most;
        }
        enum hr_kwalk_event ev = hr_kwalk_next(&w, p + w.pos, run, &used);
        check(used <= run && w.pos == before + used && w.pos <= len);
        check(++steps <= 4 * len + 16);
        if (ev == HR_KWALK_MORE) {
            check(used == run && w.pos < len);
            continue;
        }
        if (ev == HR_KWALK_DONE || ev == HR_KWALK_BAD) {
            s.end = ev;
            s.pos = ev == HR_KWALK_DONE ? w.pos : 0;
            return s;
        }
        if (ev == HR_KWALK_VALUE) {
            check(w.offset <= len && (w.length < 0 || (uint32_t)w.length <= len - w.offset));
            add(&s, (uint64_t)w.length);
        }
        if (ev != HR_KWALK_TAGS) /* an empty section that is longer than need be is told, in its shortest form not */
            s.events++;
        add(&s, ev);
        add(&s, w.offset);
        add(&s, (uint64_t)(uintptr_t)w.field);
        if (ev == HR_KWALK_VALUE && w.field->type != HR_KT_STRING)
            add(&s, (uint64_t)w.value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[MESSAGE_MAX];

    if (size < 4 || size > MESSAGE_MAX)
        return 0;
    const struct hr_kapi *api = &hr_kapis[data[0] % hr_kapis_n];
    int16_t version = (int16_t)(api->versions.min + data[1] % (api->versions.max - api->versions.min + 1));
    const struct hr_kmessage *m =
        data[2] & 1 ? hr_krequest_find(api->key, version) : hr_kresponse_find(api->key, version);
    uint32_t seed = data[3], len = (uint32_t)size - 4;
    if (!m)
        return 0;

    struct story whole = tell(m, version, data + 4, len, 0);
    struct story parts = tell(m, version, data + 4, len, seed * 2654435761u + 1);
    check(whole.end == parts.end && whole.pos == parts.pos);
    check(whole.hash == parts.hash && whole.events == parts.events);

    struct hr_xc x = {.in = data + 4, .limit = len, .out = out, .cap = len, .version = version};
    int err = hr_xc_message(&x, m);
    check((err == 0) == (whole.end == HR_KWALK_DONE));
    if (err == 0) {
        check(x.pos == whole.pos && x.n <= x.pos);
        /* What it wrote is canonical: the same again. */
        struct story again = tell(m, version, out, x.n, 0);
        check(again.end == HR_KWALK_DONE && again.pos == x.n && again.events == whole.events);
    }
    return 0;
}

/* The relay's request side on any bytes in any pieces. In one mode the input is the client's stream as it is;
 * in the other it is bodies for which sizes and headers are made, so that frames get past their headers. */
#include <stdlib.h>
#include <string.h>

#include "shared/kafka/wire.h"
#include "tests/support/relay_fixture.h"

#define HOLD_MAX 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void wrap(struct rf_bytes *b, const uint8_t *p, size_t n)
{
    while (n >= 4) {
        const struct hr_kapi *api = &hr_kapis[p[0] % hr_kapis_n];
        int16_t version = (int16_t)(api->versions.min + p[1] % (api->versions.max - api->versions.min + 2));
        uint32_t len = hr_kget16(p + 2) & 0x3ff;
        uint8_t head[12];
        p += 4;
        n -= 4;
        len = len < n ? len : (uint32_t)n;
        hr_kput32(head, 8 + len);
        hr_kput16(head + 4, (uint16_t)api->key);
        hr_kput16(head + 6, (uint16_t)version);
        hr_kput32(head + 8, len);
        rf_append(b, head, sizeof(head));
        rf_append(b, p, len);
        p += len;
        n -= len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rf f;
    static bool ready;
    static struct rf_bytes b;

    if (size < 4 || size > 32768)
        return 0;
    if (!ready)
        rf_init(&f, 3, HOLD_MAX);
    ready = true;
    rf_reset(&f, data[0] & 1 ? -1 : 3);
    f.seed = data[1] + 1u;
    f.room = data[2] ? data[2] * 16u : UINT32_MAX / 2;
    f.listener->max_frame_bytes = 65536;
    b.len = 0;
    if (data[0] & 2)
        wrap(&b, data + 3, size - 3);
    else
        rf_append(&b, data + 3, (uint32_t)size - 3);
    rf_play_requests(&f, b.p, b.len);

    check(f.request.verdict <= HR_DROP_MAX);
    check(f.request.want <= 72u * 1024);
    check(f.to_broker.len <= b.len); /* nothing is ever added */
    check(f.stats.counters[HR_CTR_payload_copied_bytes] == 0);
    struct hr_relay_state s;
    hr_relay_get_state(f.relay, &s);
    check(strlen(s.client_id) < sizeof(s.client_id));
    check(s.in_flight <= 1024 && s.in_flight <= s.requests);
    check(rf_balanced(&f));
    return 0;
}

/* The JSON codec on hostile bytes. The first four bytes choose API, version, direction and the size of
 * pieces; the rest is the message. What decodes must encode; the result is canonical, so a second round must
 * change neither the JSON nor the bytes, and it is never longer than the input. And the walker, which reads
 * the same schema in another way and in pieces, must find the message's end where the codec finds it. */
#include "shared/kafka/json.h"
#include "shared/kafka/walk.h"
#include "tests/support/kafka_programs.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* The walker is the more lenient of the two (it looks at neither UTF-8 nor the order of tags), never the
 * stricter. */
static void walk_too(const struct hr_kmessage *message, int16_t version, const uint8_t *data, uint32_t len,
                     uint32_t piece, uint32_t want_end)
{
    struct hr_kwalk w;
    enum hr_kwalk_event ev;
    uint32_t at = 0;

    hr_kwalk_init(&w, every_role(message, version), 0, len);
    do {
        uint32_t run = len - at < piece ? len - at : piece, used = 0;
        ev = hr_kwalk_next(&w, data + at, run, &used);
        check(used <= run && (ev != HR_KWALK_MORE || (used == run && run > 0)));
        at += used;
    } while (ev != HR_KWALK_DONE && ev != HR_KWALK_BAD);
    check(ev == HR_KWALK_DONE && w.pos == want_end && at == want_end);
}

static void round_trip(const struct hr_kmessage *message, int16_t version, const uint8_t *data, uint32_t len,
                       uint32_t piece)
{
    static uint8_t first[OUT_MAX], second[OUT_MAX];
    char why[HR_KJSON_WHY_MAX];
    json_t *a = NULL, *b = NULL;
    uint32_t used = 0, n = 0, m = 0;

    if (hr_kjson_decode(message, version, data, len, &a, &used, why) != 0) {
        check(why[0] != '\0' && memchr(why, '\0', HR_KJSON_WHY_MAX) != NULL);
        return;
    }
    check(used <= len);
    walk_too(message, version, data, len, piece, used);
    check(hr_kjson_encode(message, version, a, first, OUT_MAX, &n, why) == 0);
    check(n <= used);
    check(hr_kjson_decode(message, version, first, n, &b, &used, why) == 0);
    check(used == n);
    check(json_equal(a, b));
    check(hr_kjson_encode(message, version, b, second, OUT_MAX, &m, why) == 0);
    check(m == n && memcmp(first, second, n) == 0);
    json_decref(a);
    json_decref(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > OUT_MAX)
        return 0;
    const struct hr_kapi *api = &hr_kapis[data[0] % hr_kapis_n];
    int16_t version = (int16_t)(api->versions.min + data[1] % (api->versions.max - api->versions.min + 1));
    const struct hr_kmessage *message;
    switch (data[2] % 4) {
    case 0:
        message = hr_krequest_find(api->key, version);
        break;
    case 1:
        message = hr_kresponse_find(api->key, version);
        break;
    case 2:
        message = &hr_krequest_header;
        version = hr_krequest_header_version(api->key, version);
        break;
    default:
        message = &hr_kresponse_header;
        version = hr_kresponse_header_version(api->key, version);
        break;
    }
    round_trip(message, version, data + 4, (uint32_t)size - 4, 1 + data[3]);
    return 0;
}

/* The record layer on hostile input. In one mode the input is the stream as it comes from the wire; in the other it
 * is a list of records (type, padding, content) that are sealed with the right keys first, so that what stands behind
 * the tag is reached: messages, alerts, updates. What we would say in return is sealed, and read by the peer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/record_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(c) check_at((c), __LINE__)
static void check_at(bool holds, int line)
{
    if (!holds && fprintf(stderr, "line %d\n", line) > 0)
        abort();
}

static struct rx x;

static uint32_t plain_bytes; /* of application data that the peer has sealed */

static uint32_t seal_records(const uint8_t *p, size_t n, uint8_t *out, uint32_t max)
{
    uint32_t len = 0;
    while (n >= 3 && len + TP_RECORD_MAX <= max) {
        static const uint8_t types[] = {23, 23, 22, 22, 21, 20, 24, 0};
        uint8_t type = types[p[0] & 7];
        uint32_t padding = p[0] & 8 ? p[1] : 0, content = p[2];
        p += 3;
        n -= 3;
        content = content < n ? content : (uint32_t)n;
        len += tp_seal(&x.peer_write, type, p, content, padding, out + len);
        if (type == 22 && x.peer_write.version == HR_TLS_1_3 && content == 5 && p[0] == 24)
            tp_update(&x.peer_write);
        /* Type 0 is padding: what stands in front of it is the type then. */
        plain_bytes += type == 23 || type == 0 ? content : 0;
        p += content;
        n -= content;
    }
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t versions[] = {HR_TLS_1_3, HR_TLS_1_2}, suites[] = {1, 2, 3, 1};
    static uint8_t wire[1 << 17], back[1 << 18];
    static bool ready;

    if (size < 4 || size > 2048)
        return 0;
    if (!ready)
        rx_init(&x, 1);
    ready = true;
    uint8_t version = versions[data[0] & 1], suite = suites[data[0] >> 1 & 3];
    if (version == HR_TLS_1_2 && suite == HR_TLS_CHACHA20_POLY1305_SHA256)
        suite = HR_TLS_AES_128_GCM_SHA256;
    struct hr_tls_secrets s = tp_secrets(version, suite, data[0] & 8 ? HR_TLS_SERVER : HR_TLS_CLIENT, 1);
    s.fragment_max = data[0] & 16 ? 512 : 16384;
    rx_leg(&x, &s);
    uint32_t piece = data[1] + 1u, n;
    enum rx_shape shape = data[2] % RX_SHAPE_MAX;
    uint32_t enough = data[2] & 64 ? 100 : UINT32_MAX;
    plain_bytes = 0;
    if (data[0] & 32) {
        n = (uint32_t)size - 3;
        memcpy(wire, data + 3, n);
    } else {
        n = seal_records(data + 3, size - 3, wire, sizeof(wire));
        if (data[0] & 64 && n > 0)
            wire[(data[1] * 251u) % n] ^= data[2] | 1;
    }

    struct hr_rec_opened o = {.verdict = HR_DROP_MAX};
    uint32_t taken = 0, said = 0;
    for (uint32_t at = 0; at < n && o.verdict == HR_DROP_MAX;) {
        uint32_t step = n - at < 700 ? n - at : 700;
        rx_feed(&x, wire + at, step, piece, shape);
        at += step;
        do {
            bool again;
            hr_rec_open(x.rec, x.leg, &x.in, enough, &o);
            taken += o.taken;
            check(o.want <= 5 + 16384 + 256);
            struct hr_pieceq *plain = hr_rec_plain(x.leg);
            said += plain->bytes;
            check(hr_pieceq_move(&x.bufs, hr_rec_unsealed(x.leg), plain, plain->bytes) == 0);
            hr_rec_seal(x.rec, x.leg, &x.out, &again);
            check(!again);
        } while (o.verdict == HR_DROP_MAX && (o.again || (enough != UINT32_MAX && o.taken > 0)));
    }
    check(taken <= n);
    check((data[0] & 32) ? said == 0 : said <= plain_bytes);
    check(rx_guards_intact(&x));
    check(x.stats.counters[HR_CTR_payload_copied_bytes] == 0);
    hr_rec_say_goodbye(x.rec, x.leg, hr_rec_alert_due(x.leg), &x.out);

    /* Whatever happened, what we have sealed is whole records with our plain text in them. */
    n = rx_drain(&x, &x.out, back, sizeof(back));
    uint32_t heard = 0;
    for (uint32_t at = 0; at < n;) {
        static uint8_t content[TP_RECORD_MAX];
        uint8_t type;
        uint32_t len;
        int r = tp_open(&x.peer_read, back + at, n - at, &type, content, &len);
        check(r > 0);
        at += (uint32_t)r;
        heard += type == 23 ? len : 0;
        if (type == 22) {
            check(version == HR_TLS_1_3 && len == 5 && content[0] == 24);
            tp_update(&x.peer_read);
        }
    }
    check(heard == said);
    rx_leg_close(&x);
    return 0;
}

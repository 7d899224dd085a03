#include "bench/e2e/nullbroker/batch.h"

#include <stdlib.h>
#include <string.h>

#include "shared/kafka/wire.h"

#define BATCH_OVERHEAD 61u
#define AT_LENGTH 8u
#define AT_EPOCH 12u
#define AT_MAGIC 16u
#define AT_CRC 17u
#define AT_ATTRIBUTES 21u
#define AT_LAST_DELTA 23u
#define AT_BASE_TIME 27u
#define AT_MAX_TIME 35u
#define AT_PRODUCER 43u /* id, epoch, base sequence: 8 + 2 + 4 bytes of -1 */
#define AT_COUNT 57u
#define RECORD_OVERHEAD_MAX 24u

uint32_t nb_crc32c(const uint8_t *data, uint32_t len)
{
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

static void put64(uint8_t *p, uint64_t v)
{
    hr_kput32(p, (uint32_t)(v >> 32));
    hr_kput32(p + 4, (uint32_t)v);
}

/* Records have signed varints (zigzag) where messages have unsigned ones. */
static uint32_t zigzag(int32_t v)
{
    return ((uint32_t)v << 1) ^ (uint32_t)(v >> 31);
}

static uint32_t put_record(uint8_t *p, uint32_t offset_delta, uint32_t record_bytes)
{
    uint32_t body = 1 /* attributes */ + 1 /* timestamp delta 0 */ + hr_kvarint_len(zigzag((int32_t)offset_delta)) +
                    1 /* no key */ + hr_kvarint_len(zigzag((int32_t)record_bytes)) + record_bytes + 1 /* headers */;
    uint8_t *start = p;

    p += hr_kvarint_put(p, zigzag((int32_t)body));
    *p++ = 0;
    *p++ = 0;
    p += hr_kvarint_put(p, zigzag((int32_t)offset_delta));
    *p++ = (uint8_t)zigzag(-1);
    p += hr_kvarint_put(p, zigzag((int32_t)record_bytes));
    for (uint32_t i = 0; i < record_bytes; i++)
        *p++ = (uint8_t)('a' + (i + offset_delta) % 26);
    *p++ = 0;
    return (uint32_t)(p - start);
}

int nb_batch_make(struct nb_batch *batch, uint32_t batch_bytes, uint32_t record_bytes)
{
    uint32_t cap = batch_bytes + record_bytes + BATCH_OVERHEAD + 2 * RECORD_OVERHEAD_MAX;
    uint8_t *b = calloc(1, cap);
    if (!b)
        return HR_E_NOMEM;
    uint32_t len = BATCH_OVERHEAD, n = 0;
    do {
        len += put_record(b + len, n, record_bytes);
        n++;
    } while (len + record_bytes + RECORD_OVERHEAD_MAX <= batch_bytes);

    const uint64_t time_ms = 1700000000000ull; /* any: the same in each run */
    hr_kput32(b + AT_LENGTH, len - AT_EPOCH);
    b[AT_MAGIC] = 2;
    hr_kput32(b + AT_LAST_DELTA, n - 1);
    put64(b + AT_BASE_TIME, time_ms);
    put64(b + AT_MAX_TIME, time_ms);
    memset(b + AT_PRODUCER, 0xff, 14);
    hr_kput32(b + AT_COUNT, n);
    hr_kput32(b + AT_CRC, nb_crc32c(b + AT_ATTRIBUTES, len - AT_ATTRIBUTES));
    *batch = (struct nb_batch){.bytes = b, .len_bytes = len, .n_records = n};
    return 0;
}

/* The batch that the null broker serves: taken apart again record by record. */
#include "bench/e2e/nullbroker/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "shared/kafka/wire.h"

static void crc_known_answers(void **state)
{
    uint8_t zeros[32] = {0}, rising[32];
    for (uint8_t i = 0; i < 32; i++)
        rising[i] = i;
    /* RFC 3720 B.4 */
    assert_int_equal(nb_crc32c(zeros, 32), 0x8a9136aa);
    assert_int_equal(nb_crc32c(rising, 32), 0x46dd794e);
    assert_int_equal(nb_crc32c((const uint8_t *)"123456789", 9), 0xe3069283);
}

static int32_t take_varint(const uint8_t **p, const uint8_t *end)
{
    uint32_t v = 0;
    uint32_t n = hr_kvarint_get(*p, (uint32_t)(end - *p), &v);
    assert_true(n > 0);
    *p += n;
    return (int32_t)(v >> 1) ^ -(int32_t)(v & 1);
}

static void records_add_up(uint32_t batch_bytes, uint32_t record_bytes, uint32_t expect_min)
{
    struct nb_batch b;
    assert_int_equal(nb_batch_make(&b, batch_bytes, record_bytes), 0);
    assert_true(b.n_records >= expect_min);
    if (b.n_records > 1)
        assert_true(b.len_bytes <= batch_bytes);
    assert_int_equal(hr_kget32(b.bytes), 0);
    assert_int_equal(hr_kget32(b.bytes + 4), 0);
    assert_int_equal(hr_kget32(b.bytes + 8), b.len_bytes - NB_BATCH_HEAD);
    assert_int_equal(b.bytes[16], 2);
    assert_int_equal(hr_kget32(b.bytes + 17), nb_crc32c(b.bytes + 21, b.len_bytes - 21));
    assert_int_equal(hr_kget32(b.bytes + 23), b.n_records - 1);
    assert_int_equal(hr_kget32(b.bytes + 57), b.n_records);

    const uint8_t *p = b.bytes + 61, *end = b.bytes + b.len_bytes;
    for (uint32_t i = 0; i < b.n_records; i++) {
        int32_t len = take_varint(&p, end);
        const uint8_t *record_end = p + len;
        p++; /* attributes */
        assert_int_equal(take_varint(&p, end), 0);
        assert_int_equal(take_varint(&p, end), i);
        assert_int_equal(take_varint(&p, end), -1);
        assert_int_equal(take_varint(&p, end), record_bytes);
        p += record_bytes;
        assert_int_equal(take_varint(&p, end), 0);
        assert_ptr_equal(p, record_end);
    }
    assert_ptr_equal(p, end);
    free(b.bytes);
}

static void batches_hold_their_records(void **state)
{
    records_add_up(16384, 1000, 15);
    records_add_up(128, 1, 2);
    records_add_up(16384, 100, 100);
    records_add_up(128, 100000, 1); /* one that is larger than the batch was to be */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_known_answers),
        cmocka_unit_test(batches_hold_their_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A record batch (message format v2) made once and served for ever: its CRC covers everything behind the CRC
 * itself, so the base offset in front of it may be another one each time. */
#pragma once

#include <stdint.h>

#include "shared/base/error.h"

#define NB_BATCH_HEAD 12 /* base offset and batch length: what each copy has of its own */

struct nb_batch {
    uint8_t *bytes; /* whole, with base offset 0 */
    uint32_t len_bytes;
    uint32_t n_records;
};

/* CRC-32C (RFC 3720 B.4). */
uint32_t nb_crc32c(const uint8_t *data, uint32_t len);

/* A batch of about batch_bytes whose records have values of record_bytes; at least one record. NOMEM. */
HR_MUST_CHECK int nb_batch_make(struct nb_batch *batch, uint32_t batch_bytes, uint32_t record_bytes);

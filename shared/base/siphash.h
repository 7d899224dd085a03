/* SipHash-2-4 (Aumasson and Bernstein): a keyed hash for tables that the network fills, so that nobody
 * without the key can choose buckets or guess initial sequence numbers. */
#pragma once

#include <stdint.h>

/* Hash of len bytes under a 16-byte key. The result is the same on every host byte order. */
uint64_t hr_siphash(const uint8_t key[16], const void *data, uint32_t len);

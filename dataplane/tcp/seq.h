/* Sequence numbers wrap (RFC 9293 3.4): they are compared only here. The same holds for timestamps
 * (RFC 7323 5.2). Right while the two are less than 2^31 apart. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

static inline int32_t hr_seq_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

static inline bool hr_seq_lt(uint32_t a, uint32_t b)
{
    return hr_seq_diff(a, b) < 0;
}

static inline bool hr_seq_leq(uint32_t a, uint32_t b)
{
    return hr_seq_diff(a, b) <= 0;
}

static inline bool hr_seq_gt(uint32_t a, uint32_t b)
{
    return hr_seq_diff(a, b) > 0;
}

static inline bool hr_seq_geq(uint32_t a, uint32_t b)
{
    return hr_seq_diff(a, b) >= 0;
}

static inline uint32_t hr_seq_max(uint32_t a, uint32_t b)
{
    return hr_seq_gt(a, b) ? a : b;
}

static inline uint32_t hr_seq_min(uint32_t a, uint32_t b)
{
    return hr_seq_lt(a, b) ? a : b;
}

/* 32 bytes that are compared at once, under a mask: what headers have in common. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#ifdef __SSE4_1__
#include <immintrin.h>
#endif

typedef uint64_t hr_vec32 __attribute__((vector_size(32)));
typedef hr_vec32 hr_vec32_at __attribute__((aligned(1), may_alias)); /* anywhere in a packet */

static inline bool hr_vec32_is_zero(const hr_vec32 *v)
{
#if defined(__AVX__)
    return _mm256_testz_si256((__m256i)*v, (__m256i)*v);
#elif defined(__SSE4_1__)
    const __m128i *half = (const __m128i *)v;
    __m128i both = _mm_or_si128(half[0], half[1]);
    return _mm_testz_si128(both, both);
#else
    return ((*v)[0] | (*v)[1] | (*v)[2] | (*v)[3]) == 0;
#endif
}

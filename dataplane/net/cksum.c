#include "dataplane/net/cksum.h"

#include <stdbool.h>
#include <string.h>

/* 32 bytes: one AVX2 register, or two of SSE or NEON. */
typedef uint64_t hr_vec __attribute__((vector_size(32)));

/* Whole 64-byte blocks. Each 64-bit lane counts 32-bit words, which are pairs of 16-bit words modulo
 * 0xffff; four accumulators keep the additions independent. */
static inline __attribute__((always_inline)) uint64_t sum_blocks(const uint8_t *p, size_t n_blocks)
{
    hr_vec a = {0}, b = {0}, c = {0}, d = {0};
    for (; n_blocks > 0; n_blocks--, p += 64) {
        hr_vec x, y;
        memcpy(&x, p, sizeof(x));
        memcpy(&y, p + 32, sizeof(y));
        a += x & 0xffffffff;
        b += x >> 32;
        c += y & 0xffffffff;
        d += y >> 32;
    }
    a += b;
    c += d;
    a += c;
    uint64_t s = a[0], t = a[1];
    s = (s & 0xffffffff) + (s >> 32) + (a[2] & 0xffffffff) + (a[2] >> 32);
    t = (t & 0xffffffff) + (t >> 32) + (a[3] & 0xffffffff) + (a[3] >> 32);
    return s + t;
}

static uint64_t sum_blocks_portable(const uint8_t *p, size_t n_blocks)
{
    return sum_blocks(p, n_blocks);
}

static uint64_t (*sum_blocks_best)(const uint8_t *p, size_t n_blocks) = sum_blocks_portable;

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t sum_blocks_avx2(const uint8_t *p, size_t n_blocks)
{
    return sum_blocks(p, n_blocks);
}

__attribute__((constructor)) static void choose(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2"))
        sum_blocks_best = sum_blocks_avx2;
}
#endif

uint64_t hr_cksum_add(uint64_t sum, const void *data, size_t len)
{
    const uint8_t *p = data;
    if (len >= 64) {
        sum += sum_blocks_best(p, len / 64);
        p += len & ~(size_t)63;
        len &= 63;
    }
    for (; len >= 4; len -= 4, p += 4) {
        uint32_t w;
        memcpy(&w, p, 4);
        sum += w;
    }
    if (len > 0) {
        uint32_t w = 0;
        memcpy(&w, p, len);
        sum += w;
    }
    return sum;
}

uint64_t hr_cksum_add_chain(uint64_t sum, const struct rte_mbuf *m, uint32_t off, uint32_t len)
{
    bool odd = false;
    for (; m != NULL && len > 0; m = m->next) {
        if (off >= m->data_len) {
            off -= m->data_len;
            continue;
        }
        uint32_t n = m->data_len - off;
        if (n > len)
            n = len;
        uint64_t part = hr_cksum_add(0, rte_pktmbuf_mtod_offset(m, const void *, off), n);
        if (odd) {
            /* These bytes are the other halves of their words: swap (RFC 1071 2 (B)). */
            part = __builtin_bswap16(hr_cksum_fold(part));
        }
        sum += part;
        odd ^= (n & 1) != 0;
        len -= n;
        off = 0;
    }
    return sum;
}

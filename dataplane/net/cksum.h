/* The Internet checksum (RFC 1071) over memory and over mbuf chains.
 *
 * A sum is a 64-bit count of 16-bit words in the machine's own byte order: the one's complement sum does not
 * mind the order as long as all words share it (RFC 1071 2 (B)), so nothing is swapped until the folded
 * result is stored as it is. A sum holds 2^32 words before it could overflow, far above any packet.
 *
 * The inner loop is written on compiler vectors, so it becomes NEON or SSE without intrinsics; on x86 an
 * AVX2 build of the same loop is chosen at start where the CPU has it. */
#pragma once

#include <rte_mbuf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "shared/base/addr.h"

/* Adds len bytes that stand at an even offset of what is summed. An odd last byte counts as if followed by a
 * zero byte. */
uint64_t hr_cksum_add(uint64_t sum, const void *data, size_t len);

/* Adds bytes [off, off + len) of the chain; odd segment lengths are fine. The range must lie in the chain. */
uint64_t hr_cksum_add_chain(uint64_t sum, const struct rte_mbuf *m, uint32_t off, uint32_t len);

/* The pseudo-header of RFC 9293 3.1 for IPv4. len: TCP header and payload. */
static inline uint64_t hr_cksum_pseudo_v4(uint32_t src_be, uint32_t dst_be, uint8_t proto, uint16_t len)
{
    return (uint64_t)src_be + dst_be + rte_cpu_to_be_16(proto) + rte_cpu_to_be_16(len);
}

/* The pseudo-header of either family (RFC 9293 3.1, RFC 8200 8.1). The first twelve bytes of an IPv4 address as
 * we hold it add 0xffff, which is nothing in ones' complement, so one sum serves both. */
static inline uint64_t hr_cksum_pseudo(const struct hr_addr *src, const struct hr_addr *dst, uint8_t proto,
                                       uint32_t len)
{
    uint32_t w[8];
    memcpy(w, src, 16);
    memcpy(w + 4, dst, 16);
    uint64_t sum = (uint64_t)rte_cpu_to_be_16(proto) + rte_cpu_to_be_32(len);
    for (int i = 0; i < 8; i++)
        sum += w[i];
    return sum;
}

/* To 16 bits; 0xffff when the sum covers a correct checksum field. Store ~fold as a checksum field. */
static inline uint16_t hr_cksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Addresses and flows as every module passes them.
 *
 * An address is always 16 bytes in network order; IPv4 is held as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), so
 * that IPv6 needs no second set of structures. Ports are in host order. */
#pragma once

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define HR_ADDR_STR_MAX 46 /* "[" excluded; as INET6_ADDRSTRLEN */

struct hr_addr {
    uint8_t b[16];
};

/* A TCP flow as seen from this host. 36 bytes without padding, so it can be hashed and compared as bytes. */
struct hr_flow {
    struct hr_addr local;
    struct hr_addr remote;
    uint16_t local_port;
    uint16_t remote_port;
};

static inline struct hr_addr hr_addr_from_v4(uint32_t v4_be)
{
    struct hr_addr a = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}};
    memcpy(a.b + 12, &v4_be, 4);
    return a;
}

static inline bool hr_addr_is_v4(const struct hr_addr *a)
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(a->b, prefix, sizeof(prefix)) == 0;
}

static inline uint32_t hr_addr_v4_be(const struct hr_addr *a)
{
    uint32_t v4_be;
    memcpy(&v4_be, a->b + 12, 4);
    return v4_be;
}

static inline bool hr_addr_equal(const struct hr_addr *a, const struct hr_addr *b)
{
    return memcmp(a->b, b->b, 16) == 0;
}

/* "10.0.0.5" or "2600::5"; false for anything else. IPv4 written as IPv6 is refused: it would pass for IPv4. */
static inline bool hr_addr_parse(const char *text, struct hr_addr *ret_addr)
{
    uint32_t v4_be;
    struct hr_addr addr;
    if (inet_pton(AF_INET, text, &v4_be) == 1) {
        *ret_addr = hr_addr_from_v4(v4_be);
        return true;
    }
    if (inet_pton(AF_INET6, text, &addr) != 1 || hr_addr_is_v4(&addr))
        return false;
    *ret_addr = addr;
    return true;
}

static inline const char *hr_addr_format(const struct hr_addr *a, char text[HR_ADDR_STR_MAX])
{
    bool v4 = hr_addr_is_v4(a);
    return inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->b + 12 : a->b, text, HR_ADDR_STR_MAX);
}

/* "host:port", with an IPv6 address in brackets (RFC 5952 6). */
static inline void hr_hostport_format(const char *host, unsigned port, char *text, size_t cap)
{
    snprintf(text, cap, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
}

/* fe80::/10: means something on its own link alone (RFC 4291 2.5.6). */
static inline bool hr_addr_is_link_local(const struct hr_addr *a)
{
    return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

/* ff00::/8 */
static inline bool hr_addr_is_multicast6(const struct hr_addr *a)
{
    return a->b[0] == 0xff;
}

/* A group of hosts: ff00::/8, 224.0.0.0/4, 255.255.255.255. */
static inline bool hr_addr_is_group(const struct hr_addr *a)
{
    uint32_t v4 = ntohl(hr_addr_v4_be(a));
    return hr_addr_is_v4(a) ? v4 >> 28 == 14 || v4 == UINT32_MAX : hr_addr_is_multicast6(a);
}

/* 0.0.0.0 or ::, no host's address. */
static inline bool hr_addr_is_any(const struct hr_addr *a)
{
    static const struct hr_addr any6;
    return hr_addr_equal(a, &any6) || (hr_addr_is_v4(a) && hr_addr_v4_be(a) == 0);
}

/* The length of a prefix as one of all 128 bits, whichever family it was written in. */
static inline uint8_t hr_addr_prefix_bits(const struct hr_addr *a, uint8_t prefix)
{
    return (uint8_t)(hr_addr_is_v4(a) ? 96 + prefix : prefix);
}

/* The address with everything behind the first bits cleared. */
static inline struct hr_addr hr_addr_network(const struct hr_addr *a, uint8_t bits)
{
    struct hr_addr n = {{0}};
    memcpy(n.b, a->b, bits / 8);
    if (bits % 8 != 0)
        n.b[bits / 8] = (uint8_t)(a->b[bits / 8] & (0xff00 >> (bits % 8)));
    return n;
}

/* Whom a client is counted as: an IPv6 host owns its /64 and all addresses in it (RFC 4291 2.5.1). */
static inline struct hr_addr hr_addr_owner(const struct hr_addr *client)
{
    return hr_addr_is_v4(client) ? *client : hr_addr_network(client, 64);
}

/* Do the first bits of the 128 agree? ::/0 holds every address, those of IPv4 too. */
static inline bool hr_addr_in_prefix(const struct hr_addr *a, const struct hr_addr *net, uint8_t bits)
{
    uint32_t whole = bits / 8;
    if (memcmp(a->b, net->b, whole) != 0)
        return false;
    return bits % 8 == 0 || ((a->b[whole] ^ net->b[whole]) & (0xff00 >> (bits % 8)) & 0xff) == 0;
}

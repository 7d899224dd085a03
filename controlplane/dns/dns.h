/* Names to addresses: a cache that keeps itself fresh.
 *
 * Whoever needs a name asks each time it builds something from it; the answer comes at once from the cache,
 * and `changed` says when asking again would give another answer. Names in use are resolved again when their
 * TTL ends (between 5 s and 1 h), and early after a failed connect. A name that cannot be resolved for now
 * keeps its old addresses, because a broker does not move as often as a resolver fails. Address literals
 * pass through. Addresses of a family of which the ports have none are left out: they could not be reached.
 *
 * The cache does no I/O; struct hr_resolver does (cares.c), so that tests give the answers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"
#include "shared/base/error.h"

struct hr_dns;
struct hr_loop;

#define HR_DNS_ADDRS_MAX 8
#define HR_DNS_NAMES_MAX 1024
#define HR_DNS_TTL_MIN_S 5
#define HR_DNS_TTL_MAX_S 3600

/* Starts resolving host and later calls hr_dns_answer(), possibly from within start(). */
struct hr_resolver {
    void (*start)(struct hr_resolver *resolver, struct hr_dns *dns, const char *host);
};

/* changed may look names up. */
HR_MUST_CHECK int hr_dns_create(struct hr_loop *loop, struct hr_resolver *resolver,
                                void (*changed)(void *owner), void *owner, struct hr_dns **ret_dns);
void hr_dns_destroy(struct hr_dns *dns);

/* Addresses of host, best first; *ret_n >= 1. AGAIN: being resolved; NOT_FOUND: failed, will be tried again;
 * INVALID: not a name; FULL: too many names. */
HR_MUST_CHECK int hr_dns_lookup(struct hr_dns *dns, const char *host, struct hr_addr addrs[HR_DNS_ADDRS_MAX],
                                uint32_t *ret_n);
/* A connection to that address failed: the next address comes first from now on, and the name is resolved
 * again (at most once a second). */
void hr_dns_failed(struct hr_dns *dns, const char *host, const struct hr_addr *addr);

/* Something hints that the name's addresses are old: resolved again, at most once a second. */
void hr_dns_refresh(struct hr_dns *dns, const char *host);

/* The resolver's answer: err 0 and n >= 1 addresses, or an error. */
void hr_dns_answer(struct hr_dns *dns, const char *host, int err, const struct hr_addr *addrs, uint32_t n,
                   uint32_t ttl_s);

struct hr_dns_entry_info {
    const char *host;
    const struct hr_addr *addrs;
    uint32_t n;
    int err; /* of the last resolution */
    bool resolving;
    uint64_t next_us;  /* when it will be resolved again */
    uint64_t failures; /* resolutions that failed */
};
void hr_dns_each(const struct hr_dns *dns, void (*fn)(void *arg, const struct hr_dns_entry_info *info),
                 void *arg);

/* The real resolver, on c-ares: /etc/hosts, then DNS as /etc/resolv.conf says. */
/* Which addresses to ask for, and which go first where a name has both. */
struct hr_dns_families {
    bool ipv4, ipv6, ipv6_first;
};
HR_MUST_CHECK int hr_cares_create(struct hr_loop *loop, const struct hr_dns_families *families,
                                  struct hr_resolver **ret_resolver);
void hr_cares_destroy(struct hr_resolver *resolver);

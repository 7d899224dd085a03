/* What the files of dataplane/net share: the state of one worker's network layer.
 *
 *   net.c     life, addresses, time
 *   input.c   Ethernet and IPv4 reception, the segment's way to TCP
 *   output.c  IPv4 and Ethernet headers, the transmit bursts
 *   route.c   longest-prefix lookup and the cache in front of it
 *   neigh.c   the neighbour table: states, ageing, packets that wait
 *   arp.c     ARP packets, in and out
 *   icmp.c    echo, and errors that quote our segments
 *
 * Addresses are struct hr_addr throughout, IPv4 as ::ffff:a.b.c.d: one table of neighbours, one of routes and
 * one cache serve both families, and only headers know the difference. */
#pragma once

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "dataplane/net/net.h"
#include "shared/base/clock.h"

#define HR_NET_TX_BURST 64        /* packets per burst; a full burst is sent at once */
#define HR_NET_TX_TRIES 64        /* tx_burst calls in a row without progress before packets are dropped */
#define HR_NET_PREFETCH_AHEAD 4   /* packets */
#define HR_NET_MAX_LOCAL (HR_CONFIG_MAX_PORTS * HR_CONFIG_MAX_ADDRS)
#define HR_NET_TTL 64

#define HR_NEIGH_WAYS 8           /* entries per bucket */
#define HR_NEIGH_BUCKETS 512      /* 4,096 neighbours: a /20 subnet */
#define HR_NEIGH_MAX (HR_NEIGH_WAYS * HR_NEIGH_BUCKETS)
#define HR_NEIGH_PENDING 16       /* packets that wait for one neighbour */
#define HR_NEIGH_PENDING_QUEUES 128 /* neighbours for which packets wait at once */
#define HR_ROUTE_CACHE 1024       /* entries, direct mapped */

/* Times of the neighbour table. One request a second and destination is the limit of RFC 1122 2.3.2.1. */
#define HR_NEIGH_RETRY_US (1 * HR_US_PER_S)
#define HR_NEIGH_TRIES 3                      /* requests for an unknown MAC, broadcast */
#define HR_NEIGH_PROBES 3                     /* unicast requests that check a known MAC, before the broadcasts */
#define HR_NEIGH_REACHABLE_US (30 * HR_US_PER_S) /* a confirmation is believed for */
#define HR_NEIGH_IDLE_US (600 * HR_US_PER_S)  /* unused entries are forgotten after */
#define HR_NEIGH_FAILED_US (1 * HR_US_PER_S)  /* after failure, packets are dropped at once for */
#define HR_NEIGH_SCAN_US (50 * HR_US_PER_MS)  /* least time between two looks at the whole table */

/* X(name): those from REACHABLE on have a MAC. */
#define HR_NEIGH_STATES(X)                                                                                   \
    X(FREE)       /* no entry */                                                                             \
    X(FAILED)     /* did not answer; packets are dropped until the entry is freed */                         \
    X(INCOMPLETE) /* asked, packets wait */                                                                  \
    X(REACHABLE)  /* confirmed recently */                                                                   \
    X(STALE)      /* was confirmed; the next use asks again */                                               \
    X(PROBE)      /* in use while being asked again */

enum hr_neigh_state {
#define X(name) HR_NEIGH_##name,
    HR_NEIGH_STATES(X)
#undef X
    HR_NEIGH_STATE_MAX
};

struct hr_neigh {
    struct hr_addr addr;
    uint8_t port; /* index */
    uint8_t state;
    uint8_t tries;   /* requests sent in INCOMPLETE or PROBE */
    uint8_t pending; /* 1 + index of its queue of waiting packets; 0 = none */
    uint8_t mac[RTE_ETHER_ADDR_LEN];
    uint16_t reserved;
    uint32_t generation;  /* counts the neighbours that the entry has stood for */
    uint64_t deadline_us; /* when the state has something to do */
    uint64_t used_us;     /* last packet sent by it, 0 = never */
};

struct hr_net_pending {
    uint16_t n;
    struct rte_mbuf *pkts[HR_NEIGH_PENDING]; /* with IPv4 header, Ethernet header still to be filled */
};

struct hr_net_txq {
    uint16_t n;
    struct rte_mbuf *pkts[HR_NET_TX_BURST];
};

/* Where packets of a (local, remote) pair go; routes never change after start, neighbours do, so the
 * neighbour is checked at each use. */
struct hr_net_cached {
    struct hr_addr local, remote; /* remote of zeros: unused */
    uint32_t generation;          /* of the neighbour when it was looked up */
    uint16_t neigh;               /* index */
    uint16_t mtu;
};

struct hr_net {
    const struct hr_port *ports;
    struct hr_stats *stats;
    uint64_t now_us;
    uint32_t n_ports;
    uint32_t n_local;
    void *owner;
    struct hr_addr local[HR_NET_MAX_LOCAL]; /* every address of every port */
    uint8_t local_port[HR_NET_MAX_LOCAL];

    uint64_t next_deadline_us; /* no later than the earliest of the neighbours' */
    uint64_t seed;
    struct hr_net_config cfg;

    struct hr_net_txq txq[HR_CONFIG_MAX_PORTS];
    struct hr_net_cached cache[HR_ROUTE_CACHE];
    struct hr_neigh neigh[HR_NEIGH_MAX];
    struct hr_net_pending pending[HR_NEIGH_PENDING_QUEUES];
    uint8_t pending_free[HR_NEIGH_PENDING_QUEUES]; /* stack of 1 + index */
    uint16_t n_pending_free;
};

#define HR_NET_ETH_IP_LEN (RTE_ETHER_HDR_LEN + 20)

/* net.c */
/* Index into local, -1 if it is not ours. */
int hr_net_local_index(const struct hr_net *net, const struct hr_addr *addr);

/* output.c */
/* Queues a complete frame. */
void hr_net_tx_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m);
void hr_net_tx_flush_port(struct hr_net *net, uint32_t port_index);
/* Writes the Ethernet header into the 14 bytes that start m's data. */
void hr_net_fill_eth(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, const uint8_t dst[6],
                     uint16_t type);

/* route.c */
struct hr_net_hop {
    uint32_t port;
    uint16_t mtu;
    struct hr_addr addr; /* the neighbour to send to */
};
/* local NULL: any. NOT_FOUND without a route. */
HR_MUST_CHECK int hr_net_route(const struct hr_net *net, const struct hr_addr *local,
                               const struct hr_addr *remote, struct hr_net_hop *ret_hop);
/* Is it a neighbour that this port may have: in a connected subnet, or a gateway? */
bool hr_net_on_link(const struct hr_port *port, const struct hr_addr *addr);

/* Mixes an address into a hash: one wide multiplication of the two halves, each hidden by a key. */
static inline uint64_t hr_net_mix(uint64_t key, const struct hr_addr *addr)
{
    uint64_t half[2];
    memcpy(half, addr, sizeof(half));
    __uint128_t p = (__uint128_t)(half[0] ^ key) * (half[1] ^ 0x9e3779b97f4a7c15ULL);
    return (uint64_t)(p >> 64) ^ (uint64_t)p;
}
static inline struct hr_net_cached *hr_net_cache_slot(struct hr_net *net, const struct hr_addr *local,
                                                      const struct hr_addr *remote)
{
    uint64_t h = hr_net_mix(hr_net_mix(net->seed, local), remote);
    return &net->cache[h % HR_ROUTE_CACHE];
}

/* neigh.c */
/* Finds the entry, or makes one in state FREE, displacing another if its bucket is full: never NULL. To be
 * used at once. */
struct hr_neigh *hr_neigh_get(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr);
struct hr_neigh *hr_neigh_find(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr);
/* Sends the frame (Ethernet header room included, not filled) to the neighbour, now or when it answers. */
void hr_neigh_send_take(struct hr_net *net, struct hr_neigh *n, struct rte_mbuf *m);
/* The neighbour said its MAC. create: it asked for us, so we shall need it. */
void hr_neigh_heard(struct hr_net *net, const struct hr_net_news *news, bool create);
void hr_neigh_scan(struct hr_net *net);
void hr_neigh_clear(struct hr_net *net);

/* arp.c */
void hr_arp_input_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m);
/* Asks for addr; dst: the MAC to ask, NULL = all. */
void hr_arp_request(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr, const uint8_t *dst);

/* icmp.c */
/* m: the whole frame, trimmed; its addresses are checked. */
void hr_icmp_input_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, uint16_t l4_len);

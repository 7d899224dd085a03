/* What the files of dataplane/net share: the state of one worker's network layer.
 *
 *   net.c     life, addresses, time
 *   input.c   Ethernet and IP reception, the segment's way to TCP
 *   output.c  IP and Ethernet headers, the transmit bursts
 *   route.c   longest-prefix lookup and the cache in front of it
 *   neigh.c   the neighbour table: states, ageing, packets that wait
 *   arp.c     ARP packets, in and out
 *   icmp.c    echo, and errors that quote our segments
 *   icmp6.c   the same for IPv6, and how ICMPv6 messages are sent
 *   nd.c      neighbour solicitations and advertisements, in and out
 *   router.c  advertised default routers and MTU
 *   presence.c the first seconds: duplicate address detection, announcements, group memberships
 *   mcast.c   multicast groups that the port must let through
 *
 * Addresses are struct hr_addr throughout, IPv4 as ::ffff:a.b.c.d: one table of neighbours, one of routes and
 * one cache serve both families, and only headers know the difference. */
#pragma once

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "dataplane/net/net.h"
#include "dataplane/net/way.h"
#include "shared/base/clock.h"
#include "shared/base/vec.h"

#define HR_NET_TX_TRIES 64        /* tx_burst calls in a row without progress before packets are dropped */
#define HR_NET_PREFETCH_AHEAD 4   /* packets */
#define HR_NET_MAX_LOCAL (HR_CONFIG_MAX_PORTS * HR_PORT_MAX_ADDRS)
#define HR_NET_TTL 64 /* and hop limit */

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

/* Times of RFC 4861 10 and RFC 4862 5.1. */
#define HR_DAD_US (1100 * HR_US_PER_MS)       /* one probe and RetransTimer; the rest is for workers that start later */
#define HR_RS_INTERVAL_US (4 * HR_US_PER_S)
#define HR_RS_TRIES 3
#define HR_MLD_INTERVAL_US (60 * HR_US_PER_S) /* memberships are told again unasked: queries carry an extension header */
#define HR_NET_ROUTERS 4                      /* advertised default routers per port; RFC 4861 6.3.4 asks for two */

/* An address of ours. */
struct hr_net_local {
    struct hr_addr addr;
    uint8_t port; /* index */
    uint8_t bits; /* of its subnet */
    uint8_t state;
};
enum hr_local_state {
    HR_LOCAL_USABLE = 0,
    HR_LOCAL_TENTATIVE, /* IPv6: being checked; no packets but neighbour discovery's */
    HR_LOCAL_DUPLICATE, /* another host has it: never used */
};

struct hr_net_router {
    struct hr_addr addr;
    uint64_t until_us;
};
/* What routers told on one port. */
struct hr_net_advertised {
    uint32_t n;
    uint16_t mtu; /* 0: the port's */
    struct hr_net_router router[HR_NET_ROUTERS];
};

struct hr_net_pending {
    uint16_t n;
    struct rte_mbuf *pkts[HR_NEIGH_PENDING]; /* with IP header, Ethernet header still to be filled */
};

/* Where packets of a (local, remote) pair go; routes never change after start, neighbours do, so the
 * neighbour is checked at each use. */
struct hr_net_cached {
    struct hr_addr local, remote; /* remote of zeros: unused */
    uint32_t generation;          /* of the neighbour when it was looked up */
    uint16_t neigh;               /* index */
    struct hr_net_way way;        /* the neighbour's MAC is filled in at each use */
};

/* The head of a frame that was accepted as a TCP segment, and what of it was looked at for that (input.c). */
#define HR_NET_HEAD 64 /* bytes */
struct hr_net_seen {
    hr_vec32 want[2], mask[2];
    uint64_t cksums;      /* what the port said of its sums, as in ol_flags; UINT64_MAX: there was none yet */
    uint32_t packet_type;
    uint16_t l4;          /* where the segment begins */
    uint16_t min_len;     /* of the first mbuf of a frame that may be like it */
    uint16_t length_at, length_from; /* where its length field stands, and from where that counts */
};

struct hr_net {
    const struct hr_port *ports;
    struct hr_stats *stats;
    uint64_t now_us;
    uint32_t n_ports;
    uint32_t n_local;
    void *owner;
    struct hr_net_local local[HR_NET_MAX_LOCAL]; /* every address of every port */

    uint64_t next_deadline_us; /* no later than the earliest of the neighbours' */
    uint64_t presence_us;      /* when presence.c or router.c has something to do */
    uint64_t dad_end_us;       /* tentative addresses become usable; 0 = not begun, UINT64_MAX = done */
    uint64_t mld_us, rs_us;    /* next report, next solicitation; of the net that speaks */
    uint8_t rs_left;
    bool speaks;
    struct hr_net_advertised advertised[HR_CONFIG_MAX_PORTS];
    uint64_t seed;
    struct hr_net_config cfg;

    struct hr_net_txq txq[HR_CONFIG_MAX_PORTS];
    struct hr_net_seen seen[HR_CONFIG_MAX_PORTS]; /* by port: the frame that was accepted last */
    struct hr_net_cached cache[HR_ROUTE_CACHE];
    struct hr_neigh neigh[HR_NEIGH_MAX];
    struct hr_net_pending pending[HR_NEIGH_PENDING_QUEUES];
    uint8_t pending_free[HR_NEIGH_PENDING_QUEUES]; /* stack of 1 + index */
    uint16_t n_pending_free;
};

#define HR_NET_ETH_IP_LEN (RTE_ETHER_HDR_LEN + 20)
#define HR_NET_ETH_IP6_LEN (RTE_ETHER_HDR_LEN + 40)

/* net.c */
/* Index into local, -1 if it is not ours. */
int hr_net_local_index(const struct hr_net *net, const struct hr_addr *addr);
/* News of our own or of another worker. */
void hr_net_heard(struct hr_net *net, const struct hr_net_news *news);
/* The usable address of the port, of the same family, for talking to a neighbour: of the same subnet if there is
 * one. NULL where there is none. */
const struct hr_addr *hr_net_addr_toward(const struct hr_net *net, uint32_t port_index, const struct hr_addr *addr);
/* The usable address of ours that the packet is for, on that port; NULL if it is none. */
const struct hr_net_local *hr_net_local_on(const struct hr_net *net, uint32_t port_index, const struct hr_addr *addr);

/* output.c */
/* Queues a complete frame. */
void hr_net_tx_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m);
void hr_net_tx_flush(struct hr_net_txq *q);
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
/* Where packets go has changed: routers, addresses. */
static inline void hr_net_cache_clear(struct hr_net *net)
{
    memset(net->cache, 0, sizeof(net->cache));
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
/* The neighbour said its MAC. */
void hr_neigh_heard(struct hr_net *net, const struct hr_net_news *news);
void hr_neigh_scan(struct hr_net *net);
void hr_neigh_clear(struct hr_net *net);

/* arp.c */
void hr_arp_input_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m);
/* Asks for addr; dst: the MAC to ask, NULL = all. */
void hr_arp_request(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr, const uint8_t *dst);

/* icmp.c */
/* m: the whole frame, trimmed; its addresses are checked. */
void hr_icmp_input_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, uint16_t l4_len);

/* icmp6.c */
struct hr_ip6_in { /* a received ICMPv6 message, checked so far as the IPv6 header goes */
    struct hr_addr src, dst;
    uint32_t port_index;
    uint16_t l4_len;
    uint8_t hop_limit;
    bool multicast; /* dst is a group */
};
void hr_icmp6_input_take(struct hr_net *net, const struct hr_ip6_in *in, struct rte_mbuf *m);
/* A message of our own: body starts with type and code, checksum field 0; dst_mac NULL: that of the group dst. */
struct hr_icmp6_out {
    struct hr_addr src, dst;
    const uint8_t *dst_mac;
    uint8_t hop_limit;
    bool router_alert; /* RFC 2711: in a hop-by-hop header */
    uint16_t len;
    const void *body;
};
void hr_icmp6_send(struct hr_net *net, uint32_t port_index, const struct hr_icmp6_out *out);

/* nd.c */
struct hr_nd_options { /* NULL where absent */
    const uint8_t *source_mac, *target_mac;
    uint32_t mtu; /* 0 = absent */
};
/* False: malformed (RFC 4861 4.6: a length of 0, or beyond the message). */
bool hr_nd_options(const uint8_t *p, uint32_t len, struct hr_nd_options *ret_options);
/* Is it an address that one host can have? */
bool hr_nd_mac_is_host(const uint8_t mac[6]);
/* Validated: hop limit 255, code 0, checksum. msg: the contiguous message. False: malformed. */
bool hr_nd_solicitation(struct hr_net *net, const struct hr_ip6_in *in, const uint8_t *msg, const uint8_t eth_src[6]);
bool hr_nd_advertisement(struct hr_net *net, const struct hr_ip6_in *in, const uint8_t *msg, const uint8_t eth_src[6]);
/* Asks for addr; dst: the MAC to ask, NULL = its solicited-node group. */
void hr_nd_solicit(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr, const uint8_t *dst);
/* RFC 4862 5.4.2: asks from the unspecified address. */
void hr_nd_probe(struct hr_net *net, const struct hr_net_local *local);
/* Tells all nodes that the address is ours (RFC 4861 7.2.6). */
void hr_nd_announce(struct hr_net *net, const struct hr_net_local *local);

/* router.c */
bool hr_router_advertisement(struct hr_net *net, const struct hr_ip6_in *in, const uint8_t *msg);
void hr_router_heard(struct hr_net *net, const struct hr_net_news *news);
void hr_router_forget(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr);
/* The advertised default router to use now; NULL if there is none. */
const struct hr_addr *hr_router_pick(const struct hr_net *net, uint32_t port_index);
/* Drops expired ones; returns when the next expires. */
uint64_t hr_router_expire(struct hr_net *net);
void hr_router_solicit(struct hr_net *net, uint32_t port_index);

/* presence.c */
void hr_presence_begin(struct hr_net *net);
void hr_presence_run(struct hr_net *net);
/* Another host has an address of ours that is being checked. */
void hr_presence_duplicate(struct hr_net *net, const struct hr_addr *addr);

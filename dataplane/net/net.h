/* Ethernet, ARP, neighbour discovery, IPv4, IPv6 and ICMP of one worker.
 *
 * One struct hr_net serves one worker on all ports, with that worker's queue of each. Frames go in as
 * bursts; TCP segments come out through callbacks, verified (lengths, checksums) and trimmed. Segments to be
 * sent go in with their flow, get their headers and wait in the port's burst until hr_net_flush().
 *
 * How a turn of the owner goes:
 *   1. hr_net_advance() tells the time; cheap when no timer is due
 *   2. hr_net_input_take() for each port's burst
 *   3. TCP runs: hr_net_way() for each connection that sends, hr_net_emit_tcp_take() for each segment without a way
 *   4. hr_net_flush()
 *
 * Neighbours (the ARP and neighbour cache) are per worker, so that no lock is needed. An ARP packet or an ICMPv6
 * message reaches one worker only, whichever queue the card chose; that worker tells the owner by on_news, who
 * passes the news to the other workers' hr_net_learn(). An address is learned only from a packet that was sent
 * to us: an unsolicited one updates what is known and never adds (a broadcast flood cannot fill the table).
 *
 * IPv6 addresses are those of the configuration and the link-local one: nothing is made of advertised prefixes.
 * For the first second after a start they are checked for duplicates (RFC 4862 5.4) and not used; one that
 * another host has is never used, and said in on_news.
 *
 * Routes: the port that owns the flow's local address is used where it has a route (replies leave by the
 * port that was addressed), else the longest prefix over all ports.
 *
 * Threads: the worker alone. No heap after hr_net_create(). */
#pragma once

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/buf/buf.h"
#include "dataplane/net/port.h"
#include "shared/base/addr.h"
#include "shared/base/counters.h"
#include "shared/base/error.h"

struct hr_net;
struct hr_net_way;

/* How something was heard; a set. */
enum hr_net_heard {
    HR_HEARD_MAC = 1 << 0,       /* mac is told */
    HR_HEARD_ASKED_US = 1 << 1,  /* it will be spoken to: make an entry */
    HR_HEARD_CONFIRMED = 1 << 2, /* it answered: reachable now */
    HR_HEARD_OVERRIDE = 1 << 3,  /* counts more than the MAC that was known */
    HR_HEARD_ROUTER = 1 << 4,    /* it advertised itself: lifetime_s and mtu hold */
    HR_HEARD_HOST = 1 << 5,      /* it says that it is no router */
    HR_HEARD_DUPLICATE = 1 << 6, /* addr is ours, and this host's too */
};

/* What one worker heard and all must know: the other workers' hr_net_learn() gets it as it is. */
struct hr_net_news {
    struct hr_addr addr; /* of the neighbour */
    uint8_t mac[6];
    uint16_t heard;      /* set of enum hr_net_heard */
    uint32_t port_index;
    uint16_t lifetime_s; /* as default router; 0 = not any more */
    uint16_t mtu;        /* for the link; 0 = none told */
};

/* Room that hr_net_emit_tcp_take() needs in front of the TCP header. */
#define HR_NET_HEADROOM 64

struct hr_net_config {
    const struct hr_port *ports; /* n_ports of them, outlive the net */
    uint32_t n_ports;
    uint16_t queue; /* of every port */
    struct hr_buf_ctx *bufs; /* ARP packets come from hdr_pool, flat copies from rx_pool */
    struct hr_stats *stats;
    uint64_t hash_seed; /* random: neighbour buckets cannot be chosen by hosts in the subnet */
    void *owner; /* passed to the callbacks */

    /* TCP segments to our addresses, as in dataplane/buf/segment.h: those of a burst, in the order of their arrival,
     * n > 0. The first 20 bytes of each are contiguous, its checksum is right. The callee owns them and may use the
     * array. */
    void (*on_tcp_take)(void *owner, struct rte_mbuf **segs, uint32_t n);
    /* An ICMP error quotes a segment of ours. hard: protocol or port unreachable (RFC 1122 4.2.3.9), for IPv6
     * also prohibited (RFC 5461 2.1). mtu: the next hop's for "fragmentation needed" and "packet too big"
     * (RFC 1191, RFC 8201), else 0. The flow need not exist. May be NULL. */
    void (*on_icmp_error)(void *owner, const struct hr_flow *flow, uint32_t seq, bool hard, uint16_t mtu);
    /* Something was heard that concerns the other workers too. May be NULL. */
    void (*on_news)(void *owner, const struct hr_net_news *news);
    /* Sends like rte_eth_tx_burst(); NULL: that. Tests capture packets here. */
    uint16_t (*tx_burst)(void *owner, uint32_t port_index, struct rte_mbuf **pkts, uint16_t n);
};

/* All memory is allocated here. */
HR_MUST_CHECK int hr_net_create(const struct hr_net_config *cfg, struct hr_net **ret_net);
/* Frees queued and pending packets too. */
void hr_net_destroy(struct hr_net *net);

/* A burst of frames as the port gave them; takes all, and uses the array. */
void hr_net_input_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf **pkts, uint16_t n);

/* Sends a segment: m starts with the TCP header (checksum field 0; header contiguous, in a writable mbuf with
 * HR_NET_HEADROOM bytes in front), payload chained behind. Signature and duties are those of
 * hr_tcp_config.emit_take, with the net as first argument. Dropped and counted where there is no route or
 * the neighbour does not answer. */
void hr_net_emit_tcp_take(struct hr_net *net, const struct hr_flow *flow, struct rte_mbuf *m);

/* The prepared way of a flow's segments (way.h), NULL where each has to go through hr_net_emit_tcp_take(). */
struct hr_net_way *hr_net_way(struct hr_net *net, const struct hr_flow *flow);

/* Gives every port its queued packets. What the port does not take after a bounded number of tries is
 * dropped (tx_full). */
void hr_net_flush(struct hr_net *net);

/* Tells the time and does what is due (retries, ageing, the first second's checks). Returns the next deadline, UINT64_MAX if
 * there is none. Queues packets: flush afterwards. */
uint64_t hr_net_advance(struct hr_net *net, uint64_t now_us);

/* What another worker heard (on_news): updates what exists. */
void hr_net_learn(struct hr_net *net, const struct hr_net_news *news);

/* Announces every address of every port: IPv4 by gratuitous ARP (RFC 5227 2.3), so that neighbours forget an
 * earlier MAC, IPv6 by the same after the check for duplicates. From then on this net speaks for the host: group
 * memberships, router solicitations. Queue 0's worker calls it once, after hr_net_advance(), then flushes. */
void hr_net_announce(struct hr_net *net);

/* Largest TCP payload without options toward remote: the route's MTU less 40, for IPv6 less 60. 536 or 1220 where
 * there is no route. */
uint16_t hr_net_path_mss(const struct hr_net *net, const struct hr_addr *local, const struct hr_addr *remote);

/* The port by which segments to remote leave; 0 where there is no route. */
uint32_t hr_net_path_port(const struct hr_net *net, const struct hr_addr *local, const struct hr_addr *remote);

/* The source address for an active open. NOT_FOUND without a route. */
HR_MUST_CHECK int hr_net_source(const struct hr_net *net, const struct hr_addr *remote,
                                struct hr_addr *ret_local);
/* All addresses that would do, best first: those in the next hop's subnet, then the port's others (more
 * addresses mean more source ports), always of the remote's family and scope (RFC 6724 5). Returns how many of
 * max were written; 0 without a route. */
uint32_t hr_net_sources(const struct hr_net *net, const struct hr_addr *remote, struct hr_addr *ret_locals,
                        uint32_t max);

/* Is it an address of one of our ports? */
bool hr_net_is_local(const struct hr_net *net, const struct hr_addr *addr);

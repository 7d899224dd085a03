/* A network layer without a device, for tests: two ports, frames by hand, and everything that comes out is
 * kept for a look.
 *
 *   port 0: 10.1.0.1/24 and 10.1.0.2/24, gateway 10.1.0.254, MTU 1500
 *   port 1: 10.2.0.1/24, 10.9.0.0/16 via 10.2.0.9, 10.9.9.0/24 via 10.2.0.10, 10.8.0.0/16 via 10.2.0.9 with
 *           MTU 1500, MTU 9000
 *
 * With wire_setup6() the same over IPv6: a.b.c.d then means fd00::a.b.c.d, prefixes grow by 96 bits, and frames
 * are made and checked accordingly, so one test serves both families. */
#pragma once

#include "dataplane/buf/buf.h"
#include "dataplane/buf/segment.h"
#include "dataplane/net/net.h"

#define WIRE_MAX 64
#define WIRE_FRAME_MAX 9100

struct wire_frame {
    uint32_t port;
    uint32_t len;
    uint16_t n_segs;
    uint64_t ol_flags;
    uint8_t data[WIRE_FRAME_MAX];
};

struct wire {
    bool v6;
    struct hr_buf_ctx bufs;
    struct hr_stats stats;
    struct hr_port ports[2];
    struct hr_net *net;
    uint64_t now_us;

    struct wire_frame tx[WIRE_MAX]; /* frames sent, the first of them */
    uint32_t n_tx;                 /* all of them */
    bool tx_stuck; /* the port takes nothing */

    struct wire_frame tcp[WIRE_MAX]; /* segments delivered, from the TCP header on */
    struct hr_flow tcp_flow; /* of the last */
    uint32_t n_tcp;

    struct hr_flow icmp_flow; /* the last error */
    uint32_t icmp_seq, n_icmp;
    bool icmp_hard;
    uint16_t icmp_mtu;

    struct hr_net_news news; /* the last */
    uint32_t n_news;
};

extern struct wire wire;

int wire_setup(void **state);
int wire_setup6(void **state); /* the check for duplicates is over */
int wire_teardown(void **state); /* fails if a packet buffer is missing */

uint32_t ip4(const char *text); /* network order */
struct hr_addr addr_of(const char *text);
/* Where the segment begins in a frame. */
uint32_t l4_at(void);

/* An mbuf chain with these bytes, cut into segments of seg bytes (0: one segment). */
struct rte_mbuf *wire_mbuf(const void *data, uint32_t len, uint32_t seg);
/* Gives a frame to the net on port. */
void wire_rx(uint32_t port, const void *data, uint32_t len);
void wire_rx_mbuf(uint32_t port, struct rte_mbuf *m);
/* Lets time pass and flushes. */
uint64_t wire_pass(uint64_t us);

/* Frame makers; each returns the length. */
uint32_t make_arp(uint8_t *f, uint16_t op, const uint8_t sha[6], const char *sip, const uint8_t *tha,
                  const char *tip, const uint8_t dst[6]);
/* IP packet to port's MAC, header checksum right. */
uint32_t make_ip(uint8_t *f, uint32_t port, const char *src, const char *dst, uint8_t proto, const void *l4,
                 uint16_t l4_len);
/* TCP segment inside make_ip(), checksum right; payload counts up. */
uint32_t make_tcp(uint8_t *f, uint32_t port, const char *src, const char *dst, uint16_t sport, uint16_t dport,
                  uint16_t payload_len);
/* Recomputes the IPv4 header checksum after an edit. */
void fix_ip(uint8_t *f);

/* ICMPv6 message from src to dst, hop limit as given, checksum right; msg[2..3] are filled in. */
uint32_t make_icmp6(uint8_t *f, uint32_t port, const char *src, const char *dst, uint8_t hop_limit, uint8_t *msg,
                    uint16_t len);
/* Neighbour solicitation or advertisement; mac NULL: no option. */
uint32_t make_ns(uint8_t *f, uint32_t port, const char *src, const char *target, const uint8_t *mac);
uint32_t make_na(uint8_t *f, uint32_t port, const char *src, const char *dst, uint8_t flags, const char *target,
                 const uint8_t *mac);

/* The definition of RFC 1071, byte by byte. */
uint16_t naive_cksum(const uint8_t *p, uint32_t len, uint32_t start);
/* Is the frame an IP packet with right header and TCP checksums? */
bool frame_checksums_ok(const uint8_t *f, uint32_t len);

/* A segment to be emitted: 20-byte TCP header and payload in segments of seg bytes. */
struct rte_mbuf *wire_segment(uint16_t payload_len, uint32_t seg);
struct hr_flow flow_of(const char *local, const char *remote);

extern const uint8_t mac_peer[6], mac_gw[6], mac_bcast[6];

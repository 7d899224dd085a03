/* Ports: a network device that belongs to Headrace, and what it can do.
 *
 * One struct hr_port stands for one configured port. It is filled at start-up by the main thread and only
 * read afterwards, by all workers; each worker owns one receive and one transmit queue of it, with its own
 * number. What the device cannot do (checksums, packets of several mbufs) is said here by flags, and
 * dataplane/net does it in software.
 *
 * Kinds matter where DPDK's drivers differ: af_packet and af_xdp have no receive interrupts, but a socket
 * that can be polled; their MTU is that of the kernel's interface. */
#pragma once

#include <rte_ether.h>
#include <rte_mempool.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/eal.h"
#include "dataplane/net/rss.h"
#include "shared/config/config.h"

#define HR_PORT_MAX_QUEUES HR_CONFIG_MAX_WORKERS
#define HR_PORT_MAX_ADDRS (HR_CONFIG_MAX_ADDRS + 1) /* and the link-local one */
/* Connected subnets, configured routes, a gateway for each family. */
#define HR_PORT_MAX_ROUTES (HR_PORT_MAX_ADDRS + HR_CONFIG_MAX_ROUTES + 2)
#define HR_PORT_MTU_MAX 61000
#define HR_PORT_MTU_MIN6 1280 /* RFC 8200 5 */

enum hr_port_kind {
    HR_PORT_KIND_NONE = 0,
    HR_PORT_KIND_PCI,       /* a network card */
    HR_PORT_KIND_AF_PACKET, /* net_af_packet*: a kernel interface through a packet socket */
    HR_PORT_KIND_AF_XDP,    /* net_af_xdp* */
    HR_PORT_KIND_TAP,       /* net_tap* */
    HR_PORT_KIND_VDEV,      /* any other virtual device */
    HR_PORT_KIND_MAX
};

/* How a worker may sleep until the port has packets. */
enum hr_port_sleep {
    HR_PORT_SLEEP_NONE = 0, /* it cannot: poll with pauses */
    HR_PORT_SLEEP_SOCKET,   /* the driver's socket becomes readable */
    HR_PORT_SLEEP_INTR,     /* the card's receive interrupt, armed for each sleep */
};

struct hr_port_addr {
    struct hr_addr addr;
    uint8_t bits; /* of its subnet's prefix, as hr_addr_prefix_bits() */
};

struct hr_port_route {
    struct hr_addr net;
    struct hr_addr via; /* not if on_link */
    bool on_link;       /* the destination itself is the neighbour */
    bool v4;            /* the family that it is for: ::/0 is no way for IPv4 */
    uint8_t bits;
    uint16_t mtu;       /* bytes of an IP packet, at most the port's */
};

struct hr_port {
    char name[HR_POLICY_NAME_MAX];
    enum hr_port_kind kind;
    uint16_t port_id; /* DPDK's number */
    uint16_t n_queues;
    uint16_t mtu; /* bytes of an IP packet */
    struct rte_ether_addr mac;
    char ifname[16]; /* kernel interface of af_packet, af_xdp and tap, else "" */

    /* Negotiated. */
    bool rx_ip_cksum, rx_tcp_cksum, tx_ip_cksum, tx_tcp_cksum;
    bool rx_scatter;
    bool spreads; /* the device spreads flows over the queues by a hash */
    struct hr_rss rss; /* what it says about that */
    uint16_t hw_tx_segs;  /* mbufs per packet that the device takes; 1 = no chains */
    uint16_t max_tx_segs; /* what TCP may use, >= 2: longer packets are copied flat by dataplane/net */

    uint32_t n_addrs;
    struct hr_port_addr addrs[HR_PORT_MAX_ADDRS];
    bool accept_ra; /* default routers and the MTU for IPv6 come from router advertisements */
    uint32_t n_routes; /* longest prefix first */
    struct hr_port_route routes[HR_PORT_MAX_ROUTES];

    enum hr_port_sleep sleep;
    int rx_fd[HR_PORT_MAX_QUEUES];
    bool started;
};

/* The kind that a device string names. */
enum hr_port_kind hr_port_device_kind(const char *device);

/* The device string as the EAL gets it: for net_af_packet, blocksz, framesz and framecnt that fit the MTU
 * and qpairs = n_queues are added where the string does not set them; for net_af_xdp queue_count.
 * CONFIG where what the string sets cannot work (framesz does not divide blocksz, qpairs is not the number
 * of workers, ...). */
HR_MUST_CHECK int hr_port_device_args(const struct hr_config_port *cfg, uint16_t n_queues, char *ret_args,
                                      uint32_t cap, char why[HR_WHY_MAX]);

/* Bytes of data room (headroom included) that the receive buffers of this port need. A pool shared by
 * several ports uses the largest. */
uint32_t hr_port_data_room(const struct hr_config_port *cfg);

/* DPDK's number of a configured port, after hr_eal_start(). */
HR_MUST_CHECK int hr_port_find(const struct hr_config_port *cfg, uint16_t *ret_port_id,
                               char why[HR_WHY_MAX]);

/* Fills in addresses and routes alone, without a device: part of hr_port_setup(), and what tests use. */
HR_MUST_CHECK int hr_port_init_routes(struct hr_port *port, const struct hr_config_port *cfg,
                                      char why[HR_WHY_MAX]);

/* Is it one of the port's addresses? */
bool hr_port_has(const struct hr_port *port, const struct hr_addr *addr);

/* The MAC has become known: a port with IPv6 addresses gets its link-local one (RFC 4291 2.5.6, from the MAC as
 * in its appendix A), which neighbour discovery needs. */
void hr_port_set_mac(struct hr_port *port, const struct rte_ether_addr *mac);

/* Configures and starts the device: negotiates offloads, sets the MTU, gives queue i the buffers of
 * pool_per_queue[i]. On failure the device is stopped and closed again. */
HR_MUST_CHECK int hr_port_setup(struct hr_port *port, const struct hr_config_port *cfg, uint16_t port_id,
                                uint16_t n_queues, struct rte_mempool **pool_per_queue,
                                char why[HR_WHY_MAX]);

/* The descriptor that becomes readable when packets wait in the queue, -1 where there is none. Owned by
 * the driver. For af_packet and af_xdp, queue i has the i-th socket that the driver made, which is the one
 * it reads for that queue. */
int hr_port_rx_fd(const struct hr_port *port, uint16_t queue);

/* Around each sleep on hr_port_rx_fd(): arm, look for packets once more, sleep, disarm. Without effect on
 * sockets. 0, or UNSUPPORTED when this port cannot wake anybody. The queue's worker. */
HR_MUST_CHECK int hr_port_sleep_arm(const struct hr_port *port, uint16_t queue);
void hr_port_sleep_disarm(const struct hr_port *port, uint16_t queue);

/* Stops reception and transmission; workers must have stopped using it. close() also releases the device. */
void hr_port_stop(struct hr_port *port);
void hr_port_close(struct hr_port *port);

/* What drivers want done about once a second (ENA's watchdog runs on rte_timer). Main thread. */
void hr_ports_housekeep(void);

/* Port set-up: asks the driver what it can do, takes what helps, and starts the queues.
 *
 * Everything optional is tried and given up in turn (receive interrupts, a hash over several queues), since
 * what a driver says that it can do and what it accepts differ. */
#include "dataplane/net/port.h"

#include <errno.h>
#include <net/if.h>
#include <rte_ethdev.h>
#include <rte_timer.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/net/device.h"
#include "dataplane/net/mcast.h"
#include "dataplane/net/rxfd.h"

#define RX_DESC 1024
#define TX_DESC 1024
/* More mbufs per packet than this gain nothing; af_packet names no limit. */
#define TX_SEGS_MAX 32

/* Keeps the table sorted, longest prefix first; equal prefixes keep the order of the configuration. */
static void add_route(struct hr_port *port, const struct hr_config_addr *to, const struct hr_addr *via, uint16_t mtu)
{
    struct hr_port_route r = {.net = to->addr,
                              .on_link = via == NULL,
                              .v4 = hr_addr_is_v4(&to->addr),
                              .bits = hr_addr_prefix_bits(&to->addr, to->prefix),
                              .mtu = mtu != 0 && mtu < port->mtu ? mtu : port->mtu};
    if (via != NULL)
        r.via = *via;
    uint32_t at = port->n_routes++;
    for (; at > 0 && port->routes[at - 1].bits < r.bits; at--)
        port->routes[at] = port->routes[at - 1];
    port->routes[at] = r;
}

static int check_via(const struct hr_port *port, const struct hr_addr *via, bool v4, const char *what,
                     char why[HR_WHY_MAX])
{
    for (uint32_t i = 0; i < port->n_addrs && hr_addr_is_v4(via) == v4; i++) {
        const struct hr_port_addr *a = &port->addrs[i];
        if (hr_addr_is_v4(&a->addr) == v4 && !hr_addr_equal(via, &a->addr) &&
            (hr_addr_in_prefix(via, &a->addr, a->bits) || hr_addr_is_link_local(via)))
            return 0;
    }
    snprintf(why, HR_WHY_MAX, "port %s: the %s is not a neighbour: it must be in the subnet of one of the addresses",
             port->name, what);
    return HR_E_CONFIG;
}

static bool prefix_ok(const struct hr_config_addr *a)
{
    return a->prefix <= (hr_addr_is_v4(&a->addr) ? 32 : 128) && !hr_addr_is_multicast6(&a->addr);
}

int hr_port_init_routes(struct hr_port *port, const struct hr_config_port *cfg, char why[HR_WHY_MAX])
{
    snprintf(port->name, sizeof(port->name), "%s", cfg->name);
    port->mtu = cfg->mtu;
    port->n_addrs = 0;
    port->n_routes = 0;
    if (cfg->n_addrs == 0 || cfg->mtu < 576 || cfg->mtu > HR_PORT_MTU_MAX) {
        snprintf(why, HR_WHY_MAX, "port %s: needs an address, and an mtu of 576..%u", cfg->name, HR_PORT_MTU_MAX);
        return HR_E_CONFIG;
    }
    for (uint32_t i = 0; i < cfg->n_addrs; i++) {
        const struct hr_config_addr *a = &cfg->addrs[i];
        if (!prefix_ok(a)) {
            snprintf(why, HR_WHY_MAX, "port %s: address %u is no host's address", cfg->name, i);
            return HR_E_CONFIG;
        }
        if (!hr_addr_is_v4(&a->addr) && cfg->mtu < HR_PORT_MTU_MIN6) {
            snprintf(why, HR_WHY_MAX, "port %s: IPv6 needs an mtu of at least %u", cfg->name, HR_PORT_MTU_MIN6);
            return HR_E_CONFIG;
        }
        port->addrs[port->n_addrs++] =
            (struct hr_port_addr){.addr = a->addr, .bits = hr_addr_prefix_bits(&a->addr, a->prefix)};
        add_route(port, a, NULL, 0);
    }
    for (uint32_t i = 0; i < cfg->n_routes; i++) {
        const struct hr_config_route *r = &cfg->routes[i];
        char what[32];
        if (!prefix_ok(&r->to)) {
            snprintf(why, HR_WHY_MAX, "port %s: route %u leads to no hosts", cfg->name, i);
            return HR_E_CONFIG;
        }
        snprintf(what, sizeof(what), "gateway of route %u", i);
        int err = check_via(port, &r->via, hr_addr_is_v4(&r->to.addr), what, why);
        if (err != 0)
            return err;
        add_route(port, &r->to, &r->via, r->mtu);
    }
    if (cfg->has_gateway) {
        const struct hr_config_addr everywhere = {.addr = hr_addr_from_v4(0)};
        int err = check_via(port, &cfg->gateway, true, "gateway", why);
        if (err != 0)
            return err;
        add_route(port, &everywhere, &cfg->gateway, 0);
    }
    if (cfg->has_gateway6) {
        const struct hr_config_addr everywhere = {.prefix = 0};
        int err = check_via(port, &cfg->gateway6, false, "gateway6", why);
        if (err != 0)
            return err;
        add_route(port, &everywhere, &cfg->gateway6, 0);
    }
    port->accept_ra = cfg->accept_ra;
    return 0;
}

bool hr_port_has(const struct hr_port *port, const struct hr_addr *addr)
{
    for (uint32_t i = 0; i < port->n_addrs; i++) {
        if (hr_addr_equal(&port->addrs[i].addr, addr))
            return true;
    }
    return false;
}

void hr_port_set_mac(struct hr_port *port, const struct rte_ether_addr *mac)
{
    const uint8_t *m = mac->addr_bytes;
    const struct hr_config_addr ours = {
        .addr = {{0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}}, .prefix = 64};
    port->mac = *mac;
    for (uint32_t i = 0; i < port->n_addrs; i++) {
        if (hr_addr_is_v4(&port->addrs[i].addr))
            continue;
        port->addrs[port->n_addrs++] = (struct hr_port_addr){.addr = ours.addr, .bits = ours.prefix};
        add_route(port, &ours, NULL, 0);
        return;
    }
}

int hr_port_find(const struct hr_config_port *cfg, uint16_t *ret_port_id, char why[HR_WHY_MAX])
{
    char name[64];
    hr_port_device_name(cfg->device, name, sizeof(name));
    if (rte_eth_dev_get_port_by_name(name, ret_port_id) == 0)
        return 0;
    snprintf(why, HR_WHY_MAX, "port %s: DPDK did not make a port of device \"%.80s\": see its messages above",
             cfg->name, cfg->device);
    return HR_E_NOT_FOUND;
}

int hr_port_prepare_interface(const struct hr_config_port *cfg, const char *ifname, char why[HR_WHY_MAX])
{
    struct ifreq ifr;
    int err = 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        snprintf(why, HR_WHY_MAX, "port %s: socket: %s", cfg->name, strerror(errno));
        return HR_E_SYSTEM;
    }
    memset(&ifr, 0, sizeof(ifr));
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
    if (ioctl(fd, SIOCGIFMTU, &ifr) != 0 || ifr.ifr_mtu != cfg->mtu) {
        ifr.ifr_mtu = cfg->mtu;
        if (ioctl(fd, SIOCSIFMTU, &ifr) != 0) {
            snprintf(why, HR_WHY_MAX, "port %s: cannot set the MTU of %s to %u: %s", cfg->name, ifname, cfg->mtu,
                     strerror(errno));
            err = HR_E_SYSTEM;
        }
    }
    if (err == 0) {
        bool up = ioctl(fd, SIOCGIFFLAGS, &ifr) == 0 && (ifr.ifr_flags & IFF_UP) != 0;
        ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_UP);
        if (!up && ioctl(fd, SIOCSIFFLAGS, &ifr) != 0) {
            snprintf(why, HR_WHY_MAX, "port %s: cannot set %s up: %s", cfg->name, ifname, strerror(errno));
            err = HR_E_SYSTEM;
        }
    }
    close(fd);
    return err;
}

static int fail(struct hr_port *port, const char *what, int err, char why[HR_WHY_MAX])
{
    snprintf(why, HR_WHY_MAX, "port %s: %s: %s", port->name, what, strerror(err < 0 ? -err : err));
    return HR_E_SYSTEM;
}

/* rte_eth_dev_configure() with the wishes that are left after each refusal. */
static int configure(const struct hr_port *port, struct rte_eth_conf *conf)
{
    int err = rte_eth_dev_configure(port->port_id, port->n_queues, port->n_queues, conf);
    if (err != 0 && conf->intr_conf.rxq) {
        conf->intr_conf.rxq = 0;
        err = rte_eth_dev_configure(port->port_id, port->n_queues, port->n_queues, conf);
    }
    if (err != 0 && conf->rxmode.mq_mode == RTE_ETH_MQ_RX_RSS) {
        conf->rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
        conf->rxmode.offloads &= ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
        memset(&conf->rx_adv_conf, 0, sizeof(conf->rx_adv_conf));
        err = rte_eth_dev_configure(port->port_id, port->n_queues, port->n_queues, conf);
    }
    return err;
}

static uint16_t tx_segs(const struct rte_eth_dev_info *info, bool multi)
{
    uint16_t n = TX_SEGS_MAX;
    if (!multi)
        return 1;
    if (info->tx_desc_lim.nb_seg_max > 0 && info->tx_desc_lim.nb_seg_max < n)
        n = info->tx_desc_lim.nb_seg_max;
    if (info->tx_desc_lim.nb_mtu_seg_max > 0 && info->tx_desc_lim.nb_mtu_seg_max < n)
        n = info->tx_desc_lim.nb_mtu_seg_max;
    return n;
}

/* Chooses offloads and writes the device's configuration. */
static int negotiate(struct hr_port *port, const struct rte_eth_dev_info *info, uint32_t data_room,
                     struct rte_eth_conf *conf, char why[HR_WHY_MAX])
{
    bool kernel = port->ifname[0] != 0;
    uint64_t rx = info->rx_offload_capa, tx = info->tx_offload_capa;
    memset(conf, 0, sizeof(*conf));
    conf->rxmode.offloads = rx & (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM);
    conf->txmode.offloads =
        tx & (RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
    if (!kernel) {
        if (port->mtu < info->min_mtu || port->mtu > info->max_mtu) {
            snprintf(why, HR_WHY_MAX, "port %s: mtu %u: the device takes %u..%u", port->name, port->mtu,
                     info->min_mtu, info->max_mtu);
            return HR_E_CONFIG;
        }
        conf->rxmode.mtu = port->mtu;
        if ((uint32_t)port->mtu + RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN > data_room - RTE_PKTMBUF_HEADROOM) {
            if (!(rx & RTE_ETH_RX_OFFLOAD_SCATTER)) {
                snprintf(why, HR_WHY_MAX, "port %s: mtu %u needs larger buffers than %u bytes", port->name,
                         port->mtu, data_room);
                return HR_E_CONFIG;
            }
            conf->rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
        }
    }
    uint64_t tcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
    uint64_t rss = info->flow_type_rss_offloads & (tcp | RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6);
    if (port->n_queues > 1 && rss != 0) {
        conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf->rx_adv_conf.rss_conf.rss_hf = (rss & tcp) != 0 ? rss & tcp : rss;
        conf->rxmode.offloads |= rx & RTE_ETH_RX_OFFLOAD_RSS_HASH;
    }
    conf->intr_conf.rxq = port->kind == HR_PORT_KIND_PCI || port->kind == HR_PORT_KIND_TAP;
    return 0;
}

static int setup_queues(struct hr_port *port, struct rte_eth_dev_info *info, const struct rte_eth_conf *conf,
                        struct rte_mempool **pools, char why[HR_WHY_MAX])
{
    uint16_t n_rx = RX_DESC, n_tx = TX_DESC;
    int socket = rte_eth_dev_socket_id(port->port_id);
    int err = rte_eth_dev_adjust_nb_rx_tx_desc(port->port_id, &n_rx, &n_tx);
    if (err != 0)
        return fail(port, "descriptor counts", err, why);
    struct rte_eth_rxconf rxconf = info->default_rxconf;
    struct rte_eth_txconf txconf = info->default_txconf;
    rxconf.offloads = conf->rxmode.offloads;
    txconf.offloads = conf->txmode.offloads;
    for (uint16_t q = 0; q < port->n_queues; q++) {
        err = rte_eth_rx_queue_setup(port->port_id, q, n_rx, socket < 0 ? 0 : (unsigned)socket, &rxconf, pools[q]);
        if (err != 0)
            return fail(port, "receive queue", err, why);
        err = rte_eth_tx_queue_setup(port->port_id, q, n_tx, socket < 0 ? 0 : (unsigned)socket, &txconf);
        if (err != 0)
            return fail(port, "transmit queue", err, why);
    }
    return 0;
}

/* The key: one of ours where the card takes it (senders who know it can choose queues), else what the card says it
 * has. The table: what the card says, else the usual one. What is not true will be noticed (rss.h). */
static void learn_spreading(struct hr_port *port, const struct rte_eth_dev_info *info)
{
    struct hr_rss *rss = &port->rss;
    struct rte_eth_rss_conf conf = {.rss_key = rss->key, .rss_key_len = info->hash_key_size,
                                    .rss_hf = info->flow_type_rss_offloads & RTE_ETH_RSS_NONFRAG_IPV4_TCP};
    if (conf.rss_key_len == 0 || conf.rss_key_len > sizeof(rss->key))
        return;
    bool known = getrandom(rss->key, conf.rss_key_len, 0) == conf.rss_key_len &&
                 rte_eth_dev_rss_hash_update(port->port_id, &conf) == 0;
    if (!known)
        known = rte_eth_dev_rss_hash_conf_get(port->port_id, &conf) == 0 && conf.rss_key_len <= sizeof(rss->key);
    if (!known)
        return;
    rss->key_len = conf.rss_key_len;
    if (info->reta_size == 0 || info->reta_size > HR_RSS_TABLE_MAX || !rte_is_power_of_2(info->reta_size))
        return;
    struct rte_eth_rss_reta_entry64 entries[HR_RSS_TABLE_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};
    for (uint32_t i = 0; i < RTE_DIM(entries); i++)
        entries[i].mask = UINT64_MAX;
    rss->n_table = info->reta_size;
    bool told = info->reta_size >= RTE_ETH_RETA_GROUP_SIZE &&
                rte_eth_dev_rss_reta_query(port->port_id, entries, info->reta_size) == 0;
    for (uint16_t i = 0; i < rss->n_table; i++)
        rss->table[i] = told ? entries[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE]
                             : (uint16_t)(i % port->n_queues);
}

static int start(struct hr_port *port, struct rte_mempool **pools, char why[HR_WHY_MAX])
{
    struct rte_eth_dev_info info;
    struct rte_eth_conf conf;
    int err = rte_eth_dev_info_get(port->port_id, &info);
    if (err != 0)
        return fail(port, "device info", err, why);
    if (port->n_queues > info.max_rx_queues || port->n_queues > info.max_tx_queues) {
        snprintf(why, HR_WHY_MAX, "port %s: the device has %u receive and %u transmit queues: configure at most "
                 "that many workers", port->name, info.max_rx_queues, info.max_tx_queues);
        return HR_E_CONFIG;
    }
    err = negotiate(port, &info, rte_pktmbuf_data_room_size(pools[0]), &conf, why);
    if (err != 0)
        return err;
    struct hr_rxfd_mark mark;
    hr_rxfd_mark(&mark);
    err = configure(port, &conf);
    if (err != 0)
        return fail(port, "configuration refused", err, why);
    err = setup_queues(port, &info, &conf, pools, why);
    if (err != 0)
        return err;
    err = rte_eth_dev_start(port->port_id);
    if (err != 0)
        return fail(port, "start", err, why);
    port->started = true;
    struct rte_ether_addr mac;
    err = rte_eth_macaddr_get(port->port_id, &mac);
    if (err != 0)
        return fail(port, "MAC address", err, why);
    hr_port_set_mac(port, &mac);
    hr_mcast_join(port);

    port->rx_ip_cksum = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0;
    port->rx_tcp_cksum = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0;
    port->tx_ip_cksum = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
    port->tx_tcp_cksum = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM) != 0;
    port->rx_scatter = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_SCATTER) != 0;
    port->spreads = conf.rxmode.mq_mode == RTE_ETH_MQ_RX_RSS;
    if (port->spreads)
        learn_spreading(port, &info);
    port->hw_tx_segs = tx_segs(&info, (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0);
    port->max_tx_segs = port->hw_tx_segs < 2 ? TX_SEGS_MAX : port->hw_tx_segs;
    port->sleep = hr_rxfd_find(port, &mark, conf.intr_conf.rxq != 0);
    return 0;
}

int hr_port_setup(struct hr_port *port, const struct hr_config_port *cfg, uint16_t port_id, uint16_t n_queues,
                  struct rte_mempool **pool_per_queue, char why[HR_WHY_MAX])
{
    memset(port, 0, sizeof(*port));
    for (int q = 0; q < HR_PORT_MAX_QUEUES; q++)
        port->rx_fd[q] = -1;
    port->port_id = port_id;
    port->n_queues = n_queues;
    port->kind = hr_port_device_kind(cfg->device);
    int err = hr_port_init_routes(port, cfg, why);
    if (err != 0)
        return err;
    if (n_queues == 0 || n_queues > HR_PORT_MAX_QUEUES)
        return fail(port, "number of workers", EINVAL, why);
    if (port->kind == HR_PORT_KIND_AF_PACKET || port->kind == HR_PORT_KIND_AF_XDP ||
        port->kind == HR_PORT_KIND_TAP) {
        if (!hr_port_device_ifname(cfg->device, port->ifname))
            snprintf(port->ifname, sizeof(port->ifname), "dtap0"); /* net_tap's own name for its first */
    }
    if (port->ifname[0] != 0)
        err = hr_port_prepare_interface(cfg, port->ifname, why);
    if (err == 0)
        err = start(port, pool_per_queue, why);
    if (err != 0)
        hr_port_close(port);
    return err;
}

void hr_port_stop(struct hr_port *port)
{
    if (!port->started)
        return;
    port->started = false;
    (void)rte_eth_dev_stop(port->port_id); /* on failure close() does the rest */
}

void hr_port_close(struct hr_port *port)
{
    hr_port_stop(port);
    if (rte_eth_dev_is_valid_port(port->port_id))
        rte_eth_dev_close(port->port_id);
}

void hr_ports_housekeep(void)
{
    rte_timer_manage();
}

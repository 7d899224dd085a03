#include "dataplane/net/mcast.h"

#include <net/if.h>
#include <rte_ethdev.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct hr_addr hr_mcast_solicited_node(const struct hr_addr *addr)
{
    return (struct hr_addr){{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, addr->b[13], addr->b[14], addr->b[15]}};
}

struct hr_addr hr_mcast_all_nodes(void)
{
    return (struct hr_addr){{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
}

void hr_mcast_mac(const struct hr_addr *group, uint8_t ret_mac[6])
{
    ret_mac[0] = ret_mac[1] = 0x33;
    memcpy(ret_mac + 2, group->b + 12, 4);
}

uint32_t hr_mcast_groups(const struct hr_port *port, struct hr_addr ret_groups[HR_PORT_MAX_ADDRS + 1])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < port->n_addrs; i++) {
        if (hr_addr_is_v4(&port->addrs[i].addr))
            continue;
        if (n == 0)
            ret_groups[n++] = hr_mcast_all_nodes();
        struct hr_addr group = hr_mcast_solicited_node(&port->addrs[i].addr);
        uint32_t k = 0;
        while (k < n && !hr_addr_equal(&ret_groups[k], &group))
            k++;
        if (k == n)
            ret_groups[n++] = group;
    }
    return n;
}

static void join_kernel(const char *ifname, const struct rte_ether_addr *macs, uint32_t n)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    for (uint32_t i = 0; i < n; i++) {
        struct ifreq ifr;
        memset(&ifr, 0, sizeof(ifr));
        snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
        memcpy(ifr.ifr_hwaddr.sa_data, macs[i].addr_bytes, RTE_ETHER_ADDR_LEN);
        (void)ioctl(fd, SIOCADDMULTI, &ifr);
    }
    close(fd);
}

void hr_mcast_join(const struct hr_port *port)
{
    struct hr_addr groups[HR_PORT_MAX_ADDRS + 1];
    struct rte_ether_addr macs[HR_PORT_MAX_ADDRS + 1];
    uint32_t n = hr_mcast_groups(port, groups);
    if (n == 0)
        return;
    for (uint32_t i = 0; i < n; i++)
        hr_mcast_mac(&groups[i], macs[i].addr_bytes);
    if (port->ifname[0] != 0)
        join_kernel(port->ifname, macs, n);
    if (rte_eth_dev_set_mc_addr_list(port->port_id, macs, n) != 0)
        (void)rte_eth_allmulticast_enable(port->port_id);
}

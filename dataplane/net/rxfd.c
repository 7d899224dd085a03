/* What a worker sleeps on when a queue is empty.
 *
 * DPDK's af_packet and af_xdp drivers have no receive interrupts and do not show their sockets, but the
 * sockets are ours: they are found among the process's own descriptors. An af_packet socket is bound to its
 * interface; an af_xdp one does not say, so it is recognised by having appeared during this port's set-up.
 * Both drivers open one socket per queue in the order of the queues, and the kernel gives ascending numbers
 * while none is closed, so the i-th in ascending order is that of queue i. */
#include "dataplane/net/rxfd.h"

#include <linux/if_packet.h>
#include <net/if.h>
#include <rte_ethdev.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif

static int domain_of(int fd)
{
    int domain = -1;
    socklen_t len = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 ? domain : -1;
}

void hr_rxfd_mark(struct hr_rxfd_mark *ret_mark)
{
    memset(ret_mark, 0, sizeof(*ret_mark));
    for (int fd = 0; fd < HR_RXFD_SCAN; fd++) {
        if (domain_of(fd) == AF_XDP)
            ret_mark->xdp[fd / 64] |= 1ULL << (fd % 64);
    }
}

static bool belongs(const struct hr_port *port, const struct hr_rxfd_mark *mark, int fd, int domain, int ifindex)
{
    if (port->kind == HR_PORT_KIND_AF_XDP)
        return domain == AF_XDP && (mark->xdp[fd / 64] >> (fd % 64) & 1) == 0;
    struct sockaddr_ll sll;
    socklen_t len = sizeof(sll);
    return domain == AF_PACKET && getsockname(fd, (struct sockaddr *)&sll, &len) == 0 &&
           sll.sll_ifindex == ifindex;
}

enum hr_port_sleep hr_rxfd_find(struct hr_port *port, const struct hr_rxfd_mark *mark, bool interrupts)
{
    uint16_t q = 0;
    if (port->kind == HR_PORT_KIND_AF_PACKET || port->kind == HR_PORT_KIND_AF_XDP) {
        int ifindex = (int)if_nametoindex(port->ifname);
        for (int fd = 0; fd < HR_RXFD_SCAN && q < port->n_queues; fd++) {
            int domain = domain_of(fd);
            if (domain >= 0 && belongs(port, mark, fd, domain, ifindex))
                port->rx_fd[q++] = fd;
        }
        return q == port->n_queues ? HR_PORT_SLEEP_SOCKET : HR_PORT_SLEEP_NONE;
    }
    if (!interrupts)
        return HR_PORT_SLEEP_NONE;
    bool tap = port->kind == HR_PORT_KIND_TAP; /* its "interrupt" is the packets' own descriptor, always armed */
    for (; q < port->n_queues; q++) {
        int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port->port_id, q);
        if (fd < 0 || (!tap && rte_eth_dev_rx_intr_enable(port->port_id, q) != 0))
            return HR_PORT_SLEEP_NONE;
        if (!tap)
            (void)rte_eth_dev_rx_intr_disable(port->port_id, q);
        port->rx_fd[q] = fd;
    }
    return tap ? HR_PORT_SLEEP_SOCKET : HR_PORT_SLEEP_INTR;
}

int hr_port_rx_fd(const struct hr_port *port, uint16_t queue)
{
    return port->sleep != HR_PORT_SLEEP_NONE && queue < port->n_queues ? port->rx_fd[queue] : -1;
}

int hr_port_sleep_arm(const struct hr_port *port, uint16_t queue)
{
    int err;
    socklen_t len = sizeof(err);
    switch (port->sleep) {
    case HR_PORT_SLEEP_SOCKET:
        /* An interface that went down leaves an error that wakes every poll at once; reading clears it. */
        (void)getsockopt(port->rx_fd[queue], SOL_SOCKET, SO_ERROR, &err, &len);
        return 0;
    case HR_PORT_SLEEP_INTR:
        return rte_eth_dev_rx_intr_enable(port->port_id, queue) == 0 ? 0 : HR_E_UNSUPPORTED;
    case HR_PORT_SLEEP_NONE:
        break;
    }
    return HR_E_UNSUPPORTED;
}

void hr_port_sleep_disarm(const struct hr_port *port, uint16_t queue)
{
    if (port->sleep != HR_PORT_SLEEP_INTR)
        return;
    (void)rte_eth_dev_rx_intr_disable(port->port_id, queue);
    /* The card's eventfd counts until it is read (it does not block). */
    uint64_t count;
    if (read(port->rx_fd[queue], &count, sizeof(count)) < 0)
        return;
}

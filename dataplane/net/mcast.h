/* Multicast groups: which ones our IPv6 addresses need, and that the port lets them through.
 *
 * Neighbours ask for an address at its solicited-node group (RFC 4291 2.7.1), routers speak to all nodes. */
#pragma once

#include "dataplane/net/port.h"

/* ff02::1:ffXX:XXXX for the last three bytes of addr. */
struct hr_addr hr_mcast_solicited_node(const struct hr_addr *addr);
/* ff02::1 */
struct hr_addr hr_mcast_all_nodes(void);
/* The Ethernet address of a group (RFC 2464 7). */
void hr_mcast_mac(const struct hr_addr *group, uint8_t ret_mac[6]);

/* The groups of the port's addresses, all-nodes first; each once. Returns how many were written (0 without IPv6). */
uint32_t hr_mcast_groups(const struct hr_port *port, struct hr_addr ret_groups[HR_PORT_MAX_ADDRS + 1]);
/* Opens the port's filter for them: by the device's list, else by letting all multicast in, and at the kernel's
 * interface where there is one. A device that can do neither filters nothing, or is of no use for IPv6: the
 * duplicate check cannot tell, so this is tried and not insisted on. */
void hr_mcast_join(const struct hr_port *port);

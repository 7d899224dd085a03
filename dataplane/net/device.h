/* Device strings taken apart; private to dataplane/net. The public part is in port.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/port.h"

/* The kernel interface that a virtual device names ("iface="); false if none. */
bool hr_port_device_ifname(const char *device, char ret_ifname[16]);

/* The name under which DPDK knows the device. */
void hr_port_device_name(const char *device, char *ret_name, uint32_t cap);

/* The kernel's side of af_packet, af_xdp and tap: sets the interface's MTU, which the drivers cannot, and
 * sets it up. Before the EAL opens its sockets on it: one bound to an interface that is down starts with
 * an error, on which a poll never sleeps and the first transmission is lost. */
HR_MUST_CHECK int hr_port_prepare_interface(const struct hr_config_port *cfg, const char *ifname,
                                            char why[HR_WHY_MAX]);

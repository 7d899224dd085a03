/* Device strings taken apart; private to dataplane/net. The public part is in port.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The kernel interface that a virtual device names ("iface="); false if none. */
bool hr_port_device_ifname(const char *device, char ret_ifname[16]);

/* The name under which DPDK knows the device. */
void hr_port_device_name(const char *device, char *ret_name, uint32_t cap);

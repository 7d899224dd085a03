/* Finding what a worker can sleep on; private to dataplane/net. */
#pragma once

#include <stdbool.h>

#include "dataplane/net/port.h"

/* Descriptors below this are looked at; a driver's sockets are made at start-up, when few are open. */
#define HR_RXFD_SCAN 1024

/* Which AF_XDP sockets existed before the device was set up: those that appear belong to it. */
struct hr_rxfd_mark {
    uint64_t xdp[HR_RXFD_SCAN / 64];
};
void hr_rxfd_mark(struct hr_rxfd_mark *ret_mark);

/* Fills port->rx_fd; says how the port can be slept on. */
enum hr_port_sleep hr_rxfd_find(struct hr_port *port, const struct hr_rxfd_mark *mark, bool interrupts);

/* Who a connection is from, as the load balancer in front tells in its first bytes: the PROXY protocol, version 2.
 *
 *   12 bytes  signature
 *    1        version 2 and command: LOCAL (the load balancer's own, a health check) or PROXY
 *    1        family and protocol: TCP over IPv4 or IPv6, or not specified
 *    2        length of what follows
 *             addresses and ports of source and destination: 12 bytes for IPv4, 36 for IPv6
 *             records of type, length and value: a checksum, AWS's PrivateLink endpoint, and others, skipped */
#pragma once

#include <stdint.h>

#include "shared/base/addr.h"
#include "shared/base/error.h"
#include "shared/ipc/messages.h"

/* More than any sender has use for, and sure to arrive in one segment (the specification's own bound). */
#define HR_ORIGIN_HEADER_MAX 536

struct hr_origin {
    struct hr_addr addr; /* any: the header names nobody, the connection is its sender's own */
    uint16_t port;
    char vpc_endpoint[HR_VPC_ENDPOINT_MAX]; /* AWS PrivateLink's; "": none. [a-z0-9-] */
};

/* Reads the header at the front of the first len bytes of a connection. AGAIN: as far as it goes it is one, the rest is
 * missing; INVALID: it is none, or malformed, or its checksum is wrong; TOO_LARGE: longer than HR_ORIGIN_HEADER_MAX. */
HR_MUST_CHECK int hr_origin_read(const uint8_t *data, uint32_t len, uint32_t *ret_header_len,
                                 struct hr_origin *ret_origin);

/* The two backends of packet scripts. Each holds one TCP at a time. */
#pragma once

#include "tests/scripts/script.h"

/* Our stack, sans-IO, under a virtual clock; over IPv4 or IPv6 addresses. */
const struct ps_backend *ps_stack_open(const struct ps_script *script, bool ipv6);
/* NULL, or what the script has left behind that should not be there. */
const char *ps_stack_close(void);

/* The Linux kernel, behind a tun device in a network namespace that the calling process must have to itself.
 * NULL with a text in *ret_error where that cannot be had. */
const struct ps_backend *ps_kernel_open(const struct ps_script *script, const char **ret_error);

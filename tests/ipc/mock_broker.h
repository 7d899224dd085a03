/* A Kafka broker as far as the control plane's own requests go, for tests: bytes in, bytes out. */
#pragma once

#include <stdint.h>

/* Handles the first whole request frame in bytes, if there is one. Returns how many bytes it took (0: none
 * yet), and the answer's length in *ret_n (out needs 64 KiB). Brokers 1..n_brokers are named as host, host,
 * ... */
uint32_t mock_broker_answer(const uint8_t *bytes, uint32_t n, int n_brokers, const char *host, uint8_t *out,
                            uint32_t *ret_n);

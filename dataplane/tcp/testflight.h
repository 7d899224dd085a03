/* For tests of recovery: a connection that knows its round trip of 20 ms, with segments of one size in flight, and a peer
 * played by hand that says which of them it has. */
#pragma once

#include "dataplane/tcp/testpeer.h"

#define RTT 20000u
#define MSS ((uint32_t)conn->smss)

extern uint32_t flight_base; /* the first sequence number of the flight */

/* n segments are in flight, for a round trip. */
void flight_start(bool ts, bool sack, uint32_t n);
struct hr_tcp_xmit *flight_xmit(void);
/* The peer acknowledges all below segment upto, and holds segments [from, to) as well; echo_us: how long ago
 * what it answers to was sent. */
void flight_acks(uint32_t upto, uint32_t from, uint32_t to, uint32_t echo_us);
/* And reports segment dup as a duplicate. */
void flight_reports(uint32_t upto, uint32_t dup);
/* What went out as the i-th since the last look was this segment. */
void flight_sent_is(unsigned i, uint32_t segment);

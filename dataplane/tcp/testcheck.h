/* For tests: what must hold of a stack after every step, whatever a peer or a path has done to it.
 *
 *   timers      what is pending or unacknowledged has a timer, and the wheel fires in time for every deadline
 *   windows     the edge that was offered never moves back; sequence numbers stand in their order
 *   scoreboard  transmit records cover what is in flight, each in its list; pieces out of order do not overlap
 *   accounts    counts and sums of the stack are those of its connections; slabs and queues add up */
#pragma once

#include "dataplane/tcp/impl.h"

struct tc_edge {
    uint32_t iss, irs; /* of which connection */
    uint32_t rcv_adv;
};

/* One per stack, zeroed at its start. */
struct tc_memory {
    struct tc_edge *edge; /* by connection index */
    uint32_t n;
};

/* NULL, or what is wrong; the text is valid until the next call. Nothing may wait to be flushed. */
const char *tc_check(struct hr_tcp *tcp, struct tc_memory *memory);
void tc_forget(struct tc_memory *memory);

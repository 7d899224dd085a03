/* TLS in the ring bench: who has which keys, and a control plane that hands them over without a handshake.
 *
 * A handshake is the control plane's work (bench/tls/handshake.c measures it); what the worker does begins with the keys.
 * So the one played here answers each accepted connection with keys that both ends know, the same for all connections:
 * nothing is secret in a bench. Where the broker leg speaks TLS it opens that first, as the real one does.
 *
 * TLS 1.3; records of full size, as a client fills them, whose ends fall anywhere in a segment. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/ring/proxy.h"
#include "shared/ipc/link.h"
#include "shared/tls/secrets.h"

struct rb_tls {
    bool client, broker; /* which legs */
    uint8_t suite;       /* enum hr_tls_suite */
};

/* The keys of one end of the clients' leg, or of the brokers'. */
void rb_tls_secrets(const struct rb_tls *tls, bool client_leg, bool proxy_end, struct hr_tls_secrets *ret_secrets);

#define RB_CONTROL_PENDING 1024u

struct rb_control {
    struct rb_tls tls;
    struct rb_proxy *proxy;
    uint32_t n_links; /* workers that have been met */
    struct hr_link link[RB_MAX_WORKERS];
    uint32_t n_requests;
    uint64_t pending[RB_CONTROL_PENDING]; /* by request: the client that waits for its broker's connection */
    uint64_t n_started;
};

void rb_control_open(struct rb_control *control, const struct rb_tls *tls, struct rb_proxy *proxy);
/* Answers what the workers have said. True: commands wait for them. */
bool rb_control_turn(struct rb_control *control);

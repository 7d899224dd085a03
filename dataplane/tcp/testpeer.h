/* For tests: one stack and a peer that the test plays by hand, segment by segment. What the stack sends is
 * parsed into tp.out; what the peer sends follows tp.seq and tp.ack. */
#pragma once

#include "dataplane/tcp/impl.h"

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define PSH RTE_TCP_PSH_FLAG
#define ACK RTE_TCP_ACK_FLAG

struct out {
    struct hr_flow flow;
    uint32_t seq, ack, len;
    uint8_t flags;
    uint16_t wnd;
    struct hr_tcp_opts opts;
};

extern struct hr_buf_ctx bufs;
extern struct hr_stats stats;
extern struct hr_tcp *tcp;
extern struct hr_tcp_config cfg;
extern struct out out[512];
extern unsigned n_out;
extern uint64_t now;
extern struct hr_addr us, peer;
extern bool refuse_syns;         /* what the owner says to SYNs */
extern uint16_t path_mss_;       /* of every route */

/* The peer's side of the connection that most tests use. */
extern uint16_t peer_port;
extern uint32_t seq, ack;        /* next to send; next expected from us */
extern struct hr_tcp_conn *conn;
extern struct hr_tcp_opts opts;  /* on every segment that the peer sends */

/* For cmocka; the second fails if anything is left. */
int setup(void **state);
/* With a pool of another size and changes to the configuration. */
int setup_with(void **state, uint32_t rx_mbufs, void (*tweak)(struct hr_tcp_config *cfg));
int teardown(void **state);

void flush(void);
/* Time passes; timers fire. */
void pass(uint64_t us_);
/* A segment of the peer's. */
struct rte_mbuf *make(uint32_t s, uint32_t a, uint8_t flags, uint32_t len, uint16_t wnd);
/* The peer sends; its bytes count up with the sequence number. */
void feed_wnd(uint32_t s, uint32_t a, uint8_t flags, uint32_t len, uint16_t wnd);
void feed(uint32_t s, uint32_t a, uint8_t flags, uint32_t len);
/* What the stack said since the last time; NULL if nothing. */
struct out *said(void);
/* All events that wait for c; NULL: for anybody. */
uint32_t events_of(struct hr_tcp_conn *c);
/* Passive open by a peer with these options. */
void establish(bool ts, bool sack, bool wscale);
/* The receive queue holds len bytes that count up from a sequence number. */
void check_rcvq(uint32_t from, uint32_t len);
/* The owner sends n bytes. */
void queue(uint32_t n);

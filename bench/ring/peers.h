/* The load generator: all clients and all brokers, on Headrace's own network layer and TCP.
 *
 * Its frames wait in a queue for the wire, which takes them at its own pace; TCP is asked for no more segments than
 * the queue has room for, as a host's own transmit queue would. What applications do is a struct rb_load: how long a
 * request and a response are, and a callback for each answer. Time is told, never asked for.
 *
 * Clients are 10.0.1.1 to 10.0.1.4 and brokers 10.0.1.5 to 10.0.1.8, all on the proxy's link. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/ring/frames.h"
#include "bench/ring/tls.h"
#include "dataplane/net/net.h"
#include "dataplane/tcp/tcp.h"
#include "dataplane/tls/record.h"

#define RB_PROXY_IP 0x0a000005u
#define RB_CLIENT_IP(i) (0x0a000101u + (i))
#define RB_N_CLIENT_IPS 4u
#define RB_BROKER_IP(i) (0x0a000105u + (i))
#define RB_N_BROKERS 4u
#define RB_KAFKA_PORT 9092
#define RB_TCP_PORT 8081

#define RB_QUEUE 8192u /* frames; a power of two */

/* A FIFO of frames on their way. */
struct rb_queue {
    uint32_t head, tail;
    struct rte_mbuf *frame[RB_QUEUE];
};

static inline uint32_t rb_queue_n(const struct rb_queue *q)
{
    return q->tail - q->head;
}

struct rb_peer {
    struct hr_tcp_conn *conn; /* NULL: free */
    struct hr_rec_leg *tls;   /* NULL: plain text */
    bool client;
    bool up;
    bool wants;         /* stands in the list of those that have something to send */
    bool closing;       /* FIN queued */
    bool stalled;       /* does not read */
    uint32_t got;       /* bytes of the frame that is being received */
    uint32_t owed;      /* frames to be sent */
    uint32_t in_flight; /* client: requests without answer, owed ones included */
    uint32_t next;      /* index + 1: free list or list of wants */
    uint32_t index;
};

struct rb_peers_config {
    uint16_t mtu;
    bool cksum;          /* offloaded */
    uint32_t max_peers;
    uint32_t request_bytes, response_bytes;
    uint32_t rx_mbufs;   /* receive buffers; 0: 4096, enough for those who read at once */
    uint16_t port;       /* of the proxy's listener */
    uint16_t broker_port;
    struct rb_tls tls;
    void *owner;
    /* A client's connection is up; an answer has arrived completely; a connection is gone. Any may be NULL. */
    void (*on_up)(void *owner, struct rb_peer *peer);
    void (*on_answer)(void *owner, struct rb_peer *peer);
    void (*on_gone)(void *owner, struct rb_peer *peer);
};

struct rb_peers {
    struct rb_peers_config cfg;
    struct hr_port port;
    struct hr_stats stats;
    struct hr_buf_ctx bufs;
    struct hr_net *net;
    struct hr_tcp *tcp;
    struct hr_rec *rec; /* NULL: nobody speaks TLS */
    struct rb_frame request, response;
    struct rb_queue out, in; /* frames to the wire, from the wire */
    struct rb_peer *peers;
    uint32_t free_head, wants_head, wants_tail;
    uint32_t n_connects;     /* so far: gives each its flow */
    uint32_t n_clients_up, n_brokers_up;
    uint64_t n_asked, n_requests, n_answers; /* asked for; received completely */
    uint64_t n_failed;
    uint64_t deadline_us;    /* when the next turn is due */
    bool brokers_mute;       /* brokers leave their answers for later */
    bool verify;             /* compare what arrives, byte by byte */
};

void rb_peers_open(struct rb_peers *p, const struct rb_peers_config *cfg, uint32_t data_room, uint64_t now_us);
void rb_peers_close(struct rb_peers *p);

/* A client's active open; NULL when there is no room. */
struct rb_peer *rb_peers_connect(struct rb_peers *p);
/* Queues n more requests on a client's connection. */
void rb_peers_ask(struct rb_peers *p, struct rb_peer *peer, uint32_t n);
/* FIN after everything. */
void rb_peers_close_one(struct rb_peers *p, struct rb_peer *peer);

/* Takes what the wire brought and what is due, and queues what is to be sent. True if it did anything. */
bool rb_peers_turn(struct rb_peers *p, uint64_t now_us);

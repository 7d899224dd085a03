#include "bench/ring/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ring/peers.h"
#include "shared/tls/start.h"

#define BATCH 32
#define REQUEST_BIT (1ULL << 63)

static void die(const char *what)
{
    fprintf(stderr, "ring bench: %s\n", what);
    exit(1);
}

void rb_tls_secrets(const struct rb_tls *tls, bool client_leg, bool proxy_end, struct hr_tls_secrets *ret)
{
    uint32_t len = hr_tls_hash_len(tls->suite);
    /* The proxy is the server of its clients and a client of its brokers. */
    *ret = (struct hr_tls_secrets){.version = HR_TLS_1_3,
                                   .suite = tls->suite,
                                   .role = proxy_end == client_leg ? HR_TLS_SERVER : HR_TLS_CLIENT,
                                   .fragment_max = HR_TLS_FRAGMENT_MAX};
    memset(ret->read.traffic_secret, proxy_end ? 1 : 2, len);
    memset(ret->write.traffic_secret, proxy_end ? 2 : 1, len);
}

void rb_control_open(struct rb_control *c, const struct rb_tls *tls, struct rb_proxy *proxy)
{
    memset(c, 0, sizeof(*c));
    c->tls = *tls;
    c->proxy = proxy;
}

static void command(struct hr_link *link, struct hr_msg *msg)
{
    if (hr_link_send(link, msg) != 0)
        die("a ring of commands is full");
}

static void start(struct rb_control *c, struct hr_link *link, uint64_t client, uint64_t broker, int32_t node_id)
{
    struct hr_msg msg = {.type = HR_CMD_SESSION_START, .id = client};
    struct hr_session_start *start;
    uint8_t *data;

    if (hr_link_slot_alloc(link, &msg.u.start.slot, &data) != 0)
        die("no slot is free");
    start = (struct hr_session_start *)(void *)data;
    memset(start, 0, sizeof(*start));
    start->client_tls = c->tls.client;
    start->broker_tls = c->tls.broker;
    if (c->tls.client)
        rb_tls_secrets(&c->tls, true, true, &start->client);
    if (c->tls.broker)
        rb_tls_secrets(&c->tls, false, true, &start->broker);
    msg.u.start.broker = broker;
    msg.u.start.node_id = node_id;
    command(link, &msg);
    hr_link_slot_sent(link, msg.u.start.slot);
}

static void open_broker(struct rb_control *c, struct hr_link *link, uint64_t client)
{
    uint32_t n = c->n_requests++;
    struct hr_msg msg = {.type = HR_CMD_CONN_OPEN, .id = REQUEST_BIT | n};

    if (c->pending[n % RB_CONTROL_PENDING])
        die("more clients wait for brokers than there is room for");
    c->pending[n % RB_CONTROL_PENDING] = client;
    msg.u.open.addr = hr_addr_from_v4(htonl(RB_BROKER_IP(n % RB_N_BROKERS)));
    msg.u.open.port = RB_KAFKA_PORT;
    msg.u.open.timeout_ms = 10000;
    msg.u.open.hold = 1;
    command(link, &msg);
}

static void take(struct rb_control *c, struct hr_link *link, const struct hr_msg *msg)
{
    uint32_t n = (uint32_t)(msg->id & ~REQUEST_BIT);
    const uint8_t *data;

    switch (msg->type) {
    case HR_EV_CONN_ACCEPTED:
        if (c->tls.broker)
            open_broker(c, link, msg->id);
        else
            start(c, link, msg->id, 0, -1);
        break;
    case HR_EV_CONN_OPENED:
        start(c, link, c->pending[n % RB_CONTROL_PENDING], msg->u.opened.conn, (int32_t)(n % RB_N_BROKERS));
        c->pending[n % RB_CONTROL_PENDING] = 0;
        break;
    case HR_EV_CONN_DATA: /* what the client was too early with stays where it is */
        if (hr_link_slot_read(link, msg->u.data.slot, msg->u.data.len, &data) != 0 ||
            hr_link_slot_done(link, msg->u.data.slot, HR_CMD_SLOT_FREE) != 0)
            die("a slot is not what it should be");
        break;
    case HR_EV_SLOT_FREE:
        if (hr_link_slot_returned(link, msg->u.data.slot) != 0)
            die("a slot came back that was not away");
        break;
    case HR_EV_CONN_FAILED:
        die("a connection failed before it was part of a session");
        break;
    case HR_EV_SESSION_STARTED:
        c->n_started++;
        break;
    }
}

bool rb_control_turn(struct rb_control *c)
{
    struct hr_msg msgs[BATCH];
    bool sent = false;
    int n;

    while (c->n_links < c->proxy->group.n_workers && hr_worker_session(rb_proxy_worker(c->proxy, c->n_links)) == 1) {
        if (hr_link_init_control(&c->link[c->n_links], c->proxy->group.region, c->n_links, 1, -1) != 0)
            die("the played control plane finds no ring");
        c->n_links++;
    }
    for (uint32_t i = 0; i < c->n_links; i++) {
        while ((n = hr_link_recv(&c->link[i], msgs, BATCH)) > 0) {
            for (int k = 0; k < n; k++)
                take(c, &c->link[i], &msgs[k]);
            sent = true;
        }
        hr_link_flush(&c->link[i]);
    }
    return sent;
}

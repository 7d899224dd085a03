/* Broker legs: source ports (RFC 6056), TIME-WAIT under churn, a restart over living connections, the rate of opens.
 *
 * The first part joins the proxy's TCP to a broker's by a wire of one millisecond that carries headers alone,
 * so that hundreds of thousands of connections take seconds; for the last part it carries whole sessions. */
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/proxy/impl.h"
#include "dataplane/tcp/impl.h"
#include "shared/ipc/policy_sample.h"
#include "tests/support/eal.h"
#include "tests/support/inject.h"

#define MS 1000ULL
#define S 1000000ULL
#define N_WIRE 262144u
#define WIRE_US 500

static struct hr_buf_ctx bufs;
static struct hr_stats stats[2];
static struct hr_tcp *stack[2]; /* ours, the broker's */
static struct hr_tcp_config cfg[2];
static struct hr_open_counts counts;
static struct hr_policy policy;
static struct hr_proxy *proxy;
static uint64_t now;
static uint32_t n_sources;

static struct packet {
    uint64_t at;
    int to;
    struct hr_flow flow; /* as the sender sees it */
    struct rte_mbuf *m;
} wire[N_WIRE];
static uint32_t wire_head, wire_tail;

static void emit_take(void *owner, const struct hr_flow *flow, struct rte_mbuf *m)
{
    int from = owner == &cfg[1];
    assert_true(wire_tail - wire_head < N_WIRE);
    wire[wire_tail++ % N_WIRE] = (struct packet){now + WIRE_US, !from, *flow, m};
}

static struct hr_tcp_accept on_syn(void *owner, const struct hr_flow *flow)
{
    (void)flow;
    return (struct hr_tcp_accept){.accept = owner == &cfg[1]};
}

static uint16_t path_mss(void *owner, const struct hr_addr *local, const struct hr_addr *remote)
{
    (void)owner, (void)local, (void)remote;
    return 1460;
}

static uint32_t source_addrs(void *owner, const struct hr_addr *remote, struct hr_addr *ret_locals, uint32_t max)
{
    (void)owner, (void)remote;
    uint32_t n = n_sources < max ? n_sources : max;
    for (uint32_t i = 0; i < n; i++)
        ret_locals[i] = hr_addr_from_v4(htonl(0x0a000005 + i));
    return n;
}

static void hint(void *owner, uint16_t listener, int32_t node_id)
{
    (void)owner, (void)listener, (void)node_id;
}

static void log_event(void *owner, struct hr_msg *msg)
{
    (void)owner, (void)msg;
}

static void open_stack(int end, uint8_t key)
{
    hr_tcp_config_default(&cfg[end]);
    cfg[end].max_conns = 8192;
    cfg[end].max_half_open = 4096;
    cfg[end].max_time_wait = 65536;
    cfg[end].bufs = &bufs;
    cfg[end].stats = &stats[end];
    cfg[end].owner = &cfg[end];
    cfg[end].on_syn = on_syn;
    cfg[end].path_mss = path_mss;
    cfg[end].emit_take = emit_take;
    memset(cfg[end].isn_key, key, 16);
    memset(cfg[end].hash_key, key + 1, 16);
    assert_int_equal(hr_tcp_create(&cfg[end], now, &stack[end]), 0);
}

static struct hr_zone_stats zones;

static void open_proxy(uint16_t first, uint16_t last, uint8_t key)
{
    struct hr_proxy_config pc = {.n_workers = 1,
                                 .counts = &counts,
                                 .socket_id = SOCKET_ID_ANY,
                                 .max_sessions = 8,
                                 .source_port_min = first,
                                 .source_port_max = last,
                                 .tcp = stack[0],
                                 .bufs = &bufs,
                                 .stats = &stats[0],
                                 .zones = &zones,
                                 .source_addrs = source_addrs,
                                 .hint = hint,
                                 .log = log_event};
    memset(pc.port_key, key, 16);
    assert_int_equal(hr_proxy_create(&pc, now, &proxy), 0);
}

static int setup(void **state)
{
    (void)state;
    struct hr_buf_config b = {.socket_id = SOCKET_ID_ANY, .rx_mbufs = 1024,
                              .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048, .hdr_mbufs = 32768, .chunks = 64};
    memset(stats, 0, sizeof(stats));
    wire_head = wire_tail = 0;
    now = 77 * S;
    n_sources = 1;
    assert_int_equal(hr_buf_ctx_init(&bufs, &b, &stats[0]), 0);
    open_stack(0, 1);
    open_stack(1, 3);
    open_proxy(20000, 59999, 9);
    hr_policy_sample(&policy, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hr_proxy_destroy(proxy);
    for (; wire_head != wire_tail; wire_head++)
        rte_pktmbuf_free(wire[wire_head % N_WIRE].m);
    int bad = stack[0]->illegal_transitions + stack[1]->illegal_transitions != 0;
    hr_tcp_destroy(stack[0]);
    hr_tcp_destroy(stack[1]);
    bad += rte_mempool_in_use_count(bufs.hdr_pool) != 0;
    hr_buf_ctx_fini(&bufs);
    return bad;
}

static const struct hr_addr *broker(uint32_t i)
{
    static struct hr_addr a;
    a = hr_addr_from_v4(htonl(0x0a010001 + i));
    return &a;
}

/* Everything due now moves. on_event: what the application of an end does. */
static void turn(void (*on_event)(int end, struct hr_tcp_conn *c, uint32_t events))
{
    for (int end = 0; end < 2; end++)
        hr_tcp_set_now(stack[end], now);
    for (; wire_head != wire_tail && wire[wire_head % N_WIRE].at <= now; wire_head++) {
        struct packet *p = &wire[wire_head % N_WIRE];
        hr_inject_take(stack[p->to], &p->flow.local, &p->flow.remote, p->m);
    }
    for (int end = 0; end < 2; end++) {
        struct hr_tcp_conn *c;
        uint32_t events;
        while (hr_tcp_advance(stack[end]) <= now)
            ;
        while ((c = hr_tcp_next_event(stack[end], &events)) != NULL)
            on_event(end, c, events);
        while (hr_tcp_flush(stack[end], 1024))
            ;
    }
}

/* ---- churn ---- */

static uint32_t n_opened, n_failed;

/* We close as soon as the connection is up; the broker closes behind us. */
static void churn(int end, struct hr_tcp_conn *c, uint32_t events)
{
    if (end == 0 && events & HR_TCP_EV_CONNECTED)
        n_opened++;
    if (events & HR_TCP_EV_FAILED) {
        n_failed++;
        hr_tcp_release(stack[end], c);
    } else if ((end == 0 && events & HR_TCP_EV_CONNECTED) || events & (HR_TCP_EV_FIN | HR_TCP_EV_CLOSED)) {
        hr_tcp_release(stack[end], c);
    }
}

static void test_churn_never_runs_out(void **state)
{
    uint32_t most = 0;
    (void)state;
    n_opened = n_failed = 0;
    for (uint64_t ms = 0; ms < 120000; ms++, now += MS) {
        for (unsigned i = 0; i < 5; i++) {
            struct hr_tcp_conn *c;
            assert_int_equal(hr_proxy_connect(proxy, broker(0), 9092, 0, &c), 0);
        }
        turn(churn);
        most = most > stack[0]->n_conns ? most : stack[0]->n_conns;
    }
    for (unsigned i = 0; i < 12000; i++, now += MS)
        turn(churn);
    assert_int_equal(n_opened, 600000);
    assert_int_equal(n_failed, 0);
    assert_in_range(most, 5, 200); /* blocks go back at once; what waits is in the other table */
    assert_in_range(stats[0].counters[HR_CTR_tcp_time_wait_reused], 500000, 600000);
    assert_int_equal(stats[0].counters[HR_CTR_tcp_time_wait_recycled], 0);
    assert_int_equal(stats[0].counters[HR_CTR_tcp_retransmit_segs], 0);
    assert_int_equal(stack[0]->n_conns + stack[1]->n_conns + stack[0]->n_time_wait + stack[1]->n_time_wait, 0);
}

/* ---- ports ---- */

static uint16_t port_to(uint32_t b)
{
    struct hr_tcp_conn *c;
    assert_int_equal(hr_proxy_connect(proxy, broker(b), 9092, 0, &c), 0);
    return hr_tcp_flow(c)->local_port;
}

static void test_several_sources_give_more(void **state)
{
    struct hr_tcp_conn *c;
    (void)state;
    hr_proxy_destroy(proxy);
    open_proxy(20000, 20099, 9);
    for (n_sources = 1; n_sources <= 3; n_sources++) {
        for (unsigned i = 0; i < 100; i++)
            assert_in_range(port_to(0), 20000, 20099);
        assert_int_equal(hr_proxy_connect(proxy, broker(0), 9092, 0, &c), HR_E_FULL);
    }
    port_to(1); /* another broker is another tuple */
}

/* RFC 6056: a destination does not tell another one's ports, and comes back to its own late. */
static void test_ports_are_keyed(void **state)
{
    static uint8_t seen[65536];
    uint16_t first[64];
    unsigned near = 0;
    (void)state;
    for (unsigned b = 0; b < 64; b++) {
        first[b] = port_to(b);
        for (unsigned k = 0; k < b; k++)
            near += abs(first[b] - first[k]) < 64;
    }
    assert_true(near < 40); /* of 2,016 pairs; 6 by chance */
    memset(seen, 0, sizeof(seen));
    for (unsigned i = 0; i < 4000; i++) { /* no port twice in a row of this length */
        uint16_t p = port_to(0);
        assert_int_equal(seen[p], 0);
        seen[p] = 1;
    }
    unsigned same = 0;
    hr_proxy_destroy(proxy);
    open_proxy(20000, 59999, 10); /* another process, another key */
    for (unsigned b = 0; b < 64; b++)
        same += port_to(b) == first[b];
    assert_true(same < 4);
}

/* A range of which much is taken, in one block: the search does not give up in it. */
static void test_full_block(void **state)
{
    (void)state;
    struct hr_flow flow = {.local = hr_addr_from_v4(htonl(0x0a000005)), .remote = *broker(0), .remote_port = 9092};
    struct hr_tcp_conn *c;
    hr_proxy_destroy(proxy);
    open_proxy(20000, 23999, 9);
    for (flow.local_port = 20000; flow.local_port < 23600; flow.local_port++)
        assert_int_equal(hr_tcp_connect(stack[0], &flow, 0, &c), 0);
    for (unsigned i = 0; i < 200; i++)
        assert_in_range(port_to(0), 23600, 23999);
}

static void test_listener_ports_are_left_out(void **state)
{
    struct hr_tcp_conn *c;
    (void)state;
    hr_proxy_destroy(proxy);
    open_proxy(9201, 9310, 9); /* node ports are 9201 to 9299 */
    hr_proxy_set_policy(proxy, &policy);
    for (unsigned i = 0; i < 11; i++)
        assert_in_range(port_to(0), 9300, 9310);
    assert_int_equal(hr_proxy_connect(proxy, broker(0), 9092, 0, &c), HR_E_FULL);
    n_sources = 2; /* nobody listens on the second */
    for (unsigned i = 0; i < 110; i++)
        assert_in_range(port_to(0), 9201, 9310);
    assert_int_equal(hr_proxy_connect(proxy, broker(0), 9092, 0, &c), HR_E_FULL);
}

/* ---- restart ---- */

static uint32_t n_reset;

static void keep(int end, struct hr_tcp_conn *c, uint32_t events)
{
    if (end == 0 && events & HR_TCP_EV_CONNECTED)
        n_opened++;
    if (end == 0 && events & HR_TCP_EV_FAILED)
        n_failed++;
    if (end == 1 && events & HR_TCP_EV_FAILED)
        n_reset++;
    if (events & HR_TCP_EV_FAILED)
        hr_tcp_release(stack[end], c);
}

/* The dataplane is killed under a thousand connections. The brokers know nothing of it; the new one uses the
 * same ports, gets challenge ACKs for its SYNs, resets what is left and is connected within two seconds. */
static void test_restart_over_living_connections(void **state)
{
    struct hr_flow flow = {.local = hr_addr_from_v4(htonl(0x0a000005)), .remote = *broker(0), .remote_port = 9092};
    struct hr_tcp_conn *c;
    (void)state;
    n_opened = n_failed = n_reset = 0;
    for (flow.local_port = 30000; flow.local_port < 31000; flow.local_port++)
        assert_int_equal(hr_tcp_connect(stack[0], &flow, 0, &c), 0);
    for (unsigned i = 0; i < 100; i++, now += MS)
        turn(keep);
    assert_int_equal(n_opened, 1000);

    hr_proxy_destroy(proxy);
    hr_tcp_destroy(stack[0]); /* without a word */
    open_stack(0, 21);
    open_proxy(20000, 59999, 29);
    assert_int_equal(stack[1]->n_conns, 1000);
    for (flow.local_port = 30000; flow.local_port < 31000; flow.local_port++)
        assert_int_equal(hr_tcp_connect(stack[0], &flow, 0, &c), 0);
    uint64_t start = now;
    for (n_opened = 0; n_opened < 1000 && now < start + 10 * S; now += MS)
        turn(keep);
    assert_int_equal(n_opened, 1000);
    assert_true(now - start < 2 * S);
    for (unsigned i = 0; i < 100; i++, now += MS)
        turn(keep);
    assert_int_equal(n_failed, 0);
    assert_int_equal(n_reset, 1000); /* the brokers' old ends */
    assert_int_equal(stack[1]->n_conns, 1000);
    assert_int_equal(stats[1].counters[HR_CTR_tcp_challenge_ack], 1000);
}

/* ---- rate of opens ---- */

static uint32_t n_reached; /* connections that the target accepted */

/* The second stack plays the clients and the target of the policy's TCP listener. */
static void relay(int end, struct hr_tcp_conn *c, uint32_t events)
{
    if (end == 0) {
        struct hr_leg *leg = hr_tcp_user(c);
        if (leg == NULL && events & HR_TCP_EV_ACCEPTED)
            leg = hr_proxy_accepted(proxy, c, now);
        if (leg != NULL)
            hr_proxy_event(proxy, leg, events, now);
        return;
    }
    n_reached += (events & HR_TCP_EV_ACCEPTED) != 0;
    if (events & (HR_TCP_EV_FIN | HR_TCP_EV_FAILED | HR_TCP_EV_CLOSED))
        hr_tcp_release(stack[1], c);
}

static struct hr_tcp_accept ask_proxy(void *owner, const struct hr_flow *flow)
{
    (void)owner;
    return hr_proxy_on_syn(proxy, flow);
}

static int setup_relay(void **state)
{
    int err = setup(state);
    hr_proxy_destroy(proxy);
    hr_tcp_destroy(stack[0]);
    cfg[0].on_syn = ask_proxy;
    assert_int_equal(hr_tcp_create(&cfg[0], now, &stack[0]), 0);
    open_proxy(20000, 59999, 9);
    proxy->cfg.connect_rate = 10;
    hr_proxy_set_policy(proxy, &policy);
    return err;
}

static uint16_t client_port = 1024;

/* One open by a client of this address, which stays for 10 ms, or for good; true: it reached its broker. */
static bool open_for(uint32_t client, bool stay)
{
    uint32_t before = n_reached;
    struct hr_tcp_conn *c;
    struct hr_flow flow = {.local = hr_addr_from_v4(htonl(0x0a000064 + client)),
                           .remote = hr_addr_from_v4(htonl(0x0a000005)),
                           .local_port = ++client_port,
                           .remote_port = 5201};
    assert_int_equal(hr_tcp_connect(stack[1], &flow, 0, &c), 0);
    for (unsigned i = 0; i < 20; i++, now += MS) {
        turn(relay);
        hr_proxy_run(proxy, now);
        if (i == 9 && !stay && hr_tcp_flow_find(stack[1], &flow, hr_tcp_flow_hash(stack[1], &flow)) != NULL)
            hr_tcp_release(stack[1], c);
    }
    return n_reached > before;
}

static bool open_from(uint32_t client)
{
    return open_for(client, false);
}

static void test_connect_rate_of_a_client(void **state)
{
    unsigned looping = 0, other = 0;
    (void)state;
    for (unsigned i = 0; i < 300; i++) { /* one address every 20 ms; another one every 220 */
        looping += open_from(0);
        if (i % 10 == 9)
            other += open_from(1);
    }
    /* 6.6 s: five a second for one address, and the one that behaves gets in each time. */
    assert_in_range(looping, 30, 36);
    assert_int_equal(other, 30);
    assert_int_equal(stats[0].drops[HR_DROP_connect_rate], 300 - looping);
    assert_int_equal(stats[0].counters[HR_CTR_tcp_connect], looping + other);
}

static void test_connect_rate_of_all(void **state)
{
    unsigned reached = 0;
    (void)state;
    for (unsigned i = 0; i < 200; i++) /* each from an address of its own, in 4 s */
        reached += open_from(i);
    assert_in_range(reached, 38, 44);
    assert_int_equal(stats[0].drops[HR_DROP_connect_rate], 200 - reached);
    proxy->cfg.connect_rate = 0;
    for (unsigned i = 0; i < 10; i++)
        assert_true(open_from(i));
}

/* Source ports for four sessions: the fifth is refused and counted, the four go on, and when one ends another
 * may come. */
static void test_out_of_ports(void **state)
{
    (void)state;
    hr_proxy_destroy(proxy);
    open_proxy(20000, 20003, 9);
    hr_proxy_set_policy(proxy, &policy);
    for (unsigned i = 0; i < 4; i++)
        assert_true(open_for(i, true));
    for (unsigned i = 4; i < 10; i++)
        assert_false(open_from(i));
    assert_int_equal(stats[0].drops[HR_DROP_no_source_port], 6);
    assert_int_equal(hr_proxy_sessions(proxy), 4);
    struct hr_flow flow = {.local = hr_addr_from_v4(htonl(0x0a000064)), .remote = hr_addr_from_v4(htonl(0x0a000005)),
                           .local_port = (uint16_t)(client_port - 9), .remote_port = 5201};
    struct hr_tcp_conn *c = hr_tcp_flow_find(stack[1], &flow, hr_tcp_flow_hash(stack[1], &flow));
    assert_non_null(c);
    hr_tcp_abort(stack[1], c);
    for (unsigned i = 0; i < 10; i++, now += MS)
        turn(relay);
    assert_int_equal(hr_proxy_sessions(proxy), 3);
    assert_true(open_from(4));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_churn_never_runs_out),
        T(test_several_sources_give_more),
        T(test_ports_are_keyed),
        T(test_full_block),
        T(test_listener_ports_are_left_out),
        T(test_restart_over_living_connections),
        cmocka_unit_test_setup_teardown(test_connect_rate_of_a_client, setup_relay, teardown),
        cmocka_unit_test_setup_teardown(test_connect_rate_of_all, setup_relay, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_ports, setup_relay, teardown),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The stack as a whole: its configuration, its memory (all of it taken at creation), its clock. */
#include <rte_malloc.h>
#include <string.h>

#include "dataplane/tcp/impl.h"

const char *hr_tcp_state_name(enum hr_tcp_state state)
{
    static const char *const names[HR_TCP_STATE_MAX] = {
#define X(name) [HR_TCP_##name] = #name,
        HR_TCP_STATES(X)
#undef X
    };
    return (unsigned)state < HR_TCP_STATE_MAX ? names[state] : "?";
}

const char *hr_tcp_failure_text(enum hr_tcp_failure failure)
{
    static const char *const texts[HR_TCP_FAIL_MAX] = {
        [HR_TCP_FAIL_NONE] = "none",
#define X(name, text) [HR_TCP_FAIL_##name] = text,
        HR_TCP_FAILURES(X)
#undef X
    };
    return (unsigned)failure < HR_TCP_FAIL_MAX ? texts[failure] : "?";
}

void hr_tcp_config_default(struct hr_tcp_config *cfg)
{
    *cfg = (struct hr_tcp_config){
        .socket_id = SOCKET_ID_ANY,
        .max_conns = 4096,
        .max_time_wait = 4096,
        .max_half_open = 1024,
        .rcv_wnd_initial = 64 << 10,
        .rcv_wnd_max = 4 << 20,
        .snd_buf_max = 4 << 20,
        .ooo_max_pieces = 512,
        .conn_bufs_max = 4096,
        .rx_pool_reserve = 1024,
        .initial_cwnd_segs = 10,
        .rto_min_us = 200000,
        .rto_max_us = 60000000,
        .delayed_ack_us = 4000,
        .msl_us = 5000000,
        .keepalive_us = 240000000,
        .keepalive_interval_us = 15000000,
        .keepalive_probes = 4,
        .syn_retries = 5,
        .user_timeout_us = 30000000,
        .zero_window_us = 600000000,
        .half_close_us = 60000000,
        .max_tx_segs = 16,
    };
}

/* ---- slabs ---- */

static int slab_init(struct hr_tcp_slab *s, const char *name, uint32_t n, size_t size, int socket_id)
{
    s->mem = rte_zmalloc_socket(name, n * size, RTE_CACHE_LINE_SIZE, socket_id);
    if (s->mem == NULL)
        return HR_E_NOMEM;
    for (uint32_t i = n; i-- > 0;)
        hr_tcp_slab_put(s, (char *)s->mem + i * size);
    s->n = n;
    return 0;
}

void *hr_tcp_slab_get(struct hr_tcp_slab *s)
{
    void *obj = s->free;
    if (obj == NULL)
        return NULL;
    memcpy(&s->free, obj, sizeof(s->free));
    s->n_free--;
    return obj;
}

void hr_tcp_slab_put(struct hr_tcp_slab *s, void *obj)
{
    memcpy(obj, &s->free, sizeof(s->free));
    s->free = obj;
    s->n_free++;
}

static bool full(const struct hr_tcp_slab *s)
{
    return s->n_free == s->n;
}

bool hr_tcp_slabs_full(const struct hr_tcp *tcp)
{
    return full(&tcp->ooo_slab) && full(&tcp->island_slab) && full(&tcp->gaps_slab) && full(&tcp->xmit_slab) && full(&tcp->flight_slab);
}

/* ---- the stack ---- */

static bool config_ok(const struct hr_tcp_config *cfg)
{
    return cfg->max_conns > 0 && cfg->max_conns < UINT32_MAX / 4 && cfg->max_time_wait > 0 &&
           cfg->max_time_wait < HR_TCP_TIME_WAIT_MAX && cfg->msl_us <= 120000000 && cfg->max_tx_segs >= 2 &&
           cfg->bufs != NULL && cfg->stats != NULL && cfg->on_syn != NULL && cfg->path_mss != NULL && cfg->emit_take != NULL &&
           cfg->ooo_max_pieces <= UINT16_MAX && cfg->rcv_wnd_max <= 1u << 30 && cfg->initial_cwnd_segs > 0 &&
           (unsigned)cfg->cong < HR_TCP_CONG_MAX;
}

int hr_tcp_create(const struct hr_tcp_config *cfg, uint64_t now_us, struct hr_tcp **ret_tcp)
{
    if (!config_ok(cfg))
        return HR_E_INVALID;
    struct hr_tcp *tcp = rte_zmalloc_socket("hr_tcp", sizeof(*tcp), RTE_CACHE_LINE_SIZE, cfg->socket_id);
    if (tcp == NULL)
        return HR_E_NOMEM;
    tcp->cfg = *cfg;
    tcp->bufs = cfg->bufs;
    tcp->stats = cfg->stats;
    tcp->links = cfg->links != NULL ? cfg->links : tcp->unread_links;
    tcp->cong = hr_tcp_cong_find(cfg->cong);
    if (HR_MUTANT(ACK_LATE))
        tcp->cfg.delayed_ack_us = 40000;

    uint32_t n_ooo = RTE_MAX(cfg->bufs->rx_pool->size, 64u);
    uint32_t n_islands = RTE_MAX(n_ooo / 4, 64u); /* most gaps are followed by more than one buffer */
    uint32_t n_gaps = RTE_MIN(cfg->max_conns, n_ooo);
    /* What is in flight stands in buffers, so there is one for each of them at most; and a transmit record beyond
     * the first of a flight for each receive buffer (xmit.h says who may take how many). */
    uint32_t n_flight = RTE_MIN(cfg->max_conns, cfg->bufs->rx_pool->size + cfg->bufs->hdr_pool->size);
    uint32_t n_xmit = RTE_MAX(cfg->bufs->rx_pool->size, 1024u);
    tcp->n_buckets = (uint32_t)(3ULL * cfg->max_conns / 2 / HR_TCP_BUCKET_WAYS) + 1;
    tcp->buckets = rte_zmalloc_socket("hr_tcp_buckets", tcp->n_buckets * sizeof(*tcp->buckets),
                                      RTE_CACHE_LINE_SIZE, cfg->socket_id);
    tcp->conns = rte_zmalloc_socket("hr_tcp_conns", (size_t)cfg->max_conns * sizeof(*tcp->conns),
                                    RTE_CACHE_LINE_SIZE, cfg->socket_id);
    if (tcp->buckets == NULL || tcp->conns == NULL || hr_tcp_time_wait_init(tcp) != 0 ||
        slab_init(&tcp->ooo_slab, "hr_tcp_ooo", n_ooo, sizeof(struct hr_tcp_ooo), cfg->socket_id) != 0 ||
        slab_init(&tcp->island_slab, "hr_tcp_islands", n_islands, sizeof(struct hr_tcp_island), cfg->socket_id) != 0 ||
        slab_init(&tcp->gaps_slab, "hr_tcp_gaps", n_gaps, sizeof(struct hr_tcp_gaps), cfg->socket_id) != 0 ||
        slab_init(&tcp->xmit_slab, "hr_tcp_xmit", n_xmit, sizeof(struct hr_txrec), cfg->socket_id) != 0 ||
        slab_init(&tcp->flight_slab, "hr_tcp_flight", n_flight, sizeof(struct hr_tcp_flight), cfg->socket_id) != 0) {
        hr_tcp_destroy(tcp);
        return HR_E_NOMEM;
    }
    for (uint32_t i = cfg->max_conns; i-- > 0;) {
        tcp->conns[i].hash = tcp->free_head;
        tcp->free_head = i + 1;
    }
    /* The smallest scale that can say the largest window (RFC 7323 2.2). */
    while (tcp->rcv_wscale < HR_TCP_WSCALE_MAX && cfg->rcv_wnd_max >> tcp->rcv_wscale > 65535)
        tcp->rcv_wscale++;
    hr_tcp_flow_init(tcp);
    hr_wheel_init(&tcp->wheel, hr_wheel_tick(now_us));
    hr_tcp_syncookie_init(&tcp->cookies);
    hr_tcp_set_now(tcp, now_us);
    hr_tcp_pace_init(tcp);
    *ret_tcp = tcp;
    return 0;
}

void hr_tcp_destroy(struct hr_tcp *tcp)
{
    if (tcp == NULL)
        return;
    for (uint32_t i = 0; tcp->conns != NULL && tcp->n_conns > 0 && i < tcp->cfg.max_conns; i++) {
        if (tcp->conns[i].in_use)
            hr_tcp_conn_free(tcp, &tcp->conns[i]);
    }
    hr_tcp_time_wait_fini(tcp);
    rte_free(tcp->flight_slab.mem);
    rte_free(tcp->xmit_slab.mem);
    rte_free(tcp->gaps_slab.mem);
    rte_free(tcp->island_slab.mem);
    rte_free(tcp->ooo_slab.mem);
    rte_free(tcp->conns);
    rte_free(tcp->buckets);
    rte_free(tcp);
}

void hr_tcp_set_now(struct hr_tcp *tcp, uint64_t now_us)
{
    tcp->now_us = now_us;
    tcp->now_ms = (uint32_t)(now_us / 1000);
    tcp->pool_free = hr_buf_pool_free(tcp->bufs->rx_pool);
}

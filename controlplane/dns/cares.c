/* c-ares in our loop: it opens its own sockets and says which events it wants of each; its timeouts are one
 * timer of ours. The sockets are the kernel's: names are resolved over the management interface. */
#include <ares.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "controlplane/dns/dns.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define TRY_TIMEOUT_MS 1500
#define TRIES          3
#define RESOLV_CONF    "/etc/resolv.conf"

struct fd_watch {
    struct hr_watch watch; /* first: its arg is the resolver */
    struct fd_watch *next;
};

struct cares {
    struct hr_resolver resolver; /* first */
    struct hr_loop *loop;
    ares_channel channel;
    struct fd_watch *watches;
    struct hr_timer timer;
    uint32_t n_queries;
    struct timespec conf_mtime; /* of RESOLV_CONF when the channel read it */
    struct hr_dns_families families;
    bool closing;
};

struct query {
    struct cares *cares;
    struct hr_dns *dns;
    char host[256];
};

static void arm(struct cares *cares)
{
    struct timeval tv, *left = ares_timeout(cares->channel, NULL, &tv);

    if (!left)
        hr_timer_cancel(cares->loop, &cares->timer);
    else
        hr_timer_in(cares->loop, &cares->timer,
                    (uint64_t)left->tv_sec * HR_US_PER_S + (uint64_t)left->tv_usec);
}

static void on_ready(struct hr_watch *watch, uint32_t events)
{
    struct cares *cares = watch->arg;
    int fd = watch->fd; /* ares may close the socket, which frees the watch */

    ares_process_fd(cares->channel, events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? fd : ARES_SOCKET_BAD,
                    events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
    arm(cares);
}

static void on_timer(struct hr_timer *timer)
{
    struct cares *cares = timer->arg;

    ares_process_fd(cares->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(cares);
}

static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct cares *cares = arg;
    uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
    struct fd_watch **at = &cares->watches;

    while (*at && (*at)->watch.fd != fd)
        at = &(*at)->next;
    if (events == 0) {
        struct fd_watch *gone = *at;

        if (gone) {
            hr_loop_remove(cares->loop, &gone->watch);
            *at = gone->next;
            free(gone);
        }
        return;
    }
    if (*at) {
        hr_loop_modify(cares->loop, &(*at)->watch, events);
        return;
    }
    *at = calloc(1, sizeof(**at));
    if (!*at)
        return; /* the query times out */
    (*at)->watch = (struct hr_watch){.fd = fd, .fn = on_ready, .arg = cares};
    if (hr_loop_add(cares->loop, &(*at)->watch, events) != 0)
        hr_log_error("dns: cannot watch a socket");
}

static void take_family(const struct ares_addrinfo_node *node, int family, struct hr_addr addrs[HR_DNS_ADDRS_MAX],
                        uint32_t *n, uint32_t *ttl_s)
{
    for (; node && *n < HR_DNS_ADDRS_MAX; node = node->ai_next) {
        const struct sockaddr_in *sin = (const void *)node->ai_addr;
        const struct sockaddr_in6 *sin6 = (const void *)node->ai_addr;
        struct hr_addr addr;

        if (node->ai_family != family)
            continue;
        if (family == AF_INET)
            addr = hr_addr_from_v4(sin->sin_addr.s_addr);
        else
            memcpy(&addr, &sin6->sin6_addr, sizeof(addr));
        /* What would need a zone, or is IPv4 in disguise, is of no use. */
        if (family == AF_INET6 && (hr_addr_is_v4(&addr) || hr_addr_is_link_local(&addr)))
            continue;
        addrs[(*n)++] = addr;
        /* What /etc/hosts says has no TTL: 0, which the cache raises to its minimum. */
        if (node->ai_ttl >= 0 && (uint32_t)node->ai_ttl < *ttl_s)
            *ttl_s = (uint32_t)node->ai_ttl;
    }
}

static void on_addrinfo(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct query *query = arg;
    struct hr_addr addrs[HR_DNS_ADDRS_MAX];
    uint32_t n = 0, ttl_s = HR_DNS_TTL_MAX_S;
    int err = HR_E_NOT_FOUND;

    (void)timeouts;
    if (status == ARES_ETIMEOUT || status == ARES_ECONNREFUSED)
        err = HR_E_TIMEOUT;
    if (status == ARES_SUCCESS && info) {
        const struct hr_dns_families *wanted = &query->cares->families;

        if (wanted->ipv6 && wanted->ipv6_first)
            take_family(info->nodes, AF_INET6, addrs, &n, &ttl_s);
        if (wanted->ipv4)
            take_family(info->nodes, AF_INET, addrs, &n, &ttl_s);
        if (wanted->ipv6 && !wanted->ipv6_first)
            take_family(info->nodes, AF_INET6, addrs, &n, &ttl_s);
        /* A chain of aliases is as good as its shortest-lived link. */
        for (struct ares_addrinfo_cname *alias = info->cnames; alias; alias = alias->next) {
            if (alias->ttl >= 0 && (uint32_t)alias->ttl < ttl_s)
                ttl_s = (uint32_t)alias->ttl;
        }
        err = n > 0 ? 0 : HR_E_NOT_FOUND;
    }
    if (info)
        ares_freeaddrinfo(info);
    query->cares->n_queries--;
    if (!query->cares->closing)
        hr_dns_answer(query->dns, query->host, err, addrs, n, ttl_s);
    free(query);
}

static struct timespec conf_mtime(void)
{
    struct stat st;

    return stat(RESOLV_CONF, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

static int open_channel(struct cares *cares, ares_channel *ret_channel)
{
    struct ares_options options = {.timeout = TRY_TIMEOUT_MS,
                                   .tries = TRIES,
                                   .sock_state_cb = on_socket_state,
                                   .sock_state_cb_data = cares};

    cares->conf_mtime = conf_mtime();
    return ares_init_options(ret_channel, &options,
                             ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB) == ARES_SUCCESS
               ? 0
               : HR_E_SYSTEM;
}

/* c-ares reads resolv.conf when a channel is made. DHCP may write another one later. */
static void follow_conf(struct cares *cares)
{
    struct timespec now = conf_mtime();
    ares_channel channel;

    if (cares->n_queries > 0 ||
        (now.tv_sec == cares->conf_mtime.tv_sec && now.tv_nsec == cares->conf_mtime.tv_nsec))
        return;
    if (open_channel(cares, &channel) != 0)
        return;
    ares_destroy(cares->channel);
    cares->channel = channel;
    hr_log_info("dns: %s has changed and was read again", RESOLV_CONF);
}

static void start(struct hr_resolver *resolver, struct hr_dns *dns, const char *host)
{
    struct cares *cares = (struct cares *)resolver;
    const struct hr_dns_families *families = &cares->families;
    /* Not AF_INET6 alone: c-ares 1.18 leaks a name then that the hosts file has for IPv4 only. */
    int family = families->ipv6 ? AF_UNSPEC : AF_INET;
    struct ares_addrinfo_hints hints = {.ai_family = family, .ai_flags = ARES_AI_NOSORT};
    struct query *query = calloc(1, sizeof(*query));

    if (!query) {
        hr_dns_answer(dns, host, HR_E_NOMEM, NULL, 0, 0);
        return;
    }
    follow_conf(cares);
    query->cares = cares;
    query->dns = dns;
    strncpy(query->host, host, sizeof(query->host) - 1);
    cares->n_queries++;
    ares_getaddrinfo(cares->channel, query->host, NULL, &hints, on_addrinfo, query);
    arm(cares);
}

int hr_cares_create(struct hr_loop *loop, const struct hr_dns_families *families,
                    struct hr_resolver **ret_resolver)
{
    struct cares *cares = calloc(1, sizeof(*cares));

    if (!cares)
        return HR_E_NOMEM;
    cares->resolver.start = start;
    cares->loop = loop;
    cares->families = *families;
    cares->timer = (struct hr_timer){.fn = on_timer, .arg = cares};
    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS || open_channel(cares, &cares->channel) != 0) {
        free(cares);
        return HR_E_SYSTEM;
    }
    *ret_resolver = &cares->resolver;
    return 0;
}

void hr_cares_destroy(struct hr_resolver *resolver)
{
    struct cares *cares = (struct cares *)resolver;

    if (!cares)
        return;
    cares->closing = true;
    ares_destroy(cares->channel);
    hr_timer_cancel(cares->loop, &cares->timer);
    while (cares->watches) {
        struct fd_watch *watch = cares->watches;

        cares->watches = watch->next;
        hr_loop_remove(cares->loop, &watch->watch);
        free(watch);
    }
    ares_library_cleanup();
    free(cares);
}

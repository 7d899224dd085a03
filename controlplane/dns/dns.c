/* One entry per name, in a list: a few hundred at most, looked at when something changes. An entry that
 * nobody has asked for in an hour is dropped. */
#include "controlplane/dns/dns.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define UNUSED_US    (3600 * HR_US_PER_S)
#define RETRY_MIN_US (1 * HR_US_PER_S)
#define RETRY_MAX_US (30 * HR_US_PER_S)
#define HASTE_MIN_US (1 * HR_US_PER_S) /* between two resolutions because of failed connects */
#define HOST_MAX     253               /* RFC 1035 2.3.4, as text without the last dot */

struct entry {
    struct entry *next;
    char host[HOST_MAX + 1];
    struct hr_addr addrs[HR_DNS_ADDRS_MAX];
    uint32_t n;
    int err;
    bool resolving;
    uint64_t asked_us;
    uint64_t resolved_us; /* last answer, good or bad */
    uint64_t next_us;
    uint64_t retry_us;
    uint64_t failures;
};

struct hr_dns {
    struct hr_loop *loop;
    struct hr_resolver *resolver;
    void (*changed)(void *owner);
    void *owner;
    struct hr_timer refresh;
    struct entry *entries;
    uint32_t n_entries;
};

static void on_refresh(struct hr_timer *timer);

int hr_dns_create(struct hr_loop *loop, struct hr_resolver *resolver, void (*changed)(void *owner),
                  void *owner, struct hr_dns **ret_dns)
{
    struct hr_dns *dns = calloc(1, sizeof(*dns));

    if (!dns)
        return HR_E_NOMEM;
    dns->loop = loop;
    dns->resolver = resolver;
    dns->changed = changed;
    dns->owner = owner;
    dns->refresh = (struct hr_timer){.fn = on_refresh, .arg = dns};
    *ret_dns = dns;
    return 0;
}

void hr_dns_destroy(struct hr_dns *dns)
{
    if (!dns)
        return;
    hr_timer_cancel(dns->loop, &dns->refresh);
    while (dns->entries) {
        struct entry *entry = dns->entries;

        dns->entries = entry->next;
        free(entry);
    }
    free(dns);
}

static struct entry *find(struct hr_dns *dns, const char *host)
{
    for (struct entry *entry = dns->entries; entry; entry = entry->next) {
        if (strcmp(entry->host, host) == 0)
            return entry;
    }
    return NULL;
}

static void start(struct hr_dns *dns, struct entry *entry)
{
    if (entry->resolving)
        return;
    entry->resolving = true;
    dns->resolver->start(dns->resolver, dns, entry->host);
}

static void arm(struct hr_dns *dns)
{
    uint64_t first = UINT64_MAX;

    for (struct entry *entry = dns->entries; entry; entry = entry->next) {
        if (!entry->resolving && entry->next_us < first)
            first = entry->next_us;
    }
    if (first == UINT64_MAX)
        hr_timer_cancel(dns->loop, &dns->refresh);
    else
        hr_timer_set(dns->loop, &dns->refresh, first);
}

static void on_refresh(struct hr_timer *timer)
{
    struct hr_dns *dns = timer->arg;
    uint64_t now = hr_loop_now(dns->loop);

    for (struct entry **at = &dns->entries; *at;) {
        struct entry *entry = *at;

        if (!entry->resolving && entry->next_us <= now && entry->asked_us + UNUSED_US <= now) {
            *at = entry->next;
            dns->n_entries--;
            free(entry);
            continue;
        }
        at = &entry->next;
        /* An answer may come, and the list grow, within start(): new entries are put in front. */
        if (!entry->resolving && entry->next_us <= now)
            start(dns, entry);
    }
    arm(dns);
}

static bool is_name(const char *host)
{
    size_t len = strlen(host);

    if (len == 0 || len > HOST_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = host[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
              c == '_' || c == '.'))
            return false;
    }
    return true;
}

int hr_dns_lookup(struct hr_dns *dns, const char *host, struct hr_addr addrs[HR_DNS_ADDRS_MAX],
                  uint32_t *ret_n)
{
    struct hr_addr literal;
    struct entry *entry;

    if (hr_addr_parse(host, &literal)) {
        addrs[0] = literal;
        *ret_n = 1;
        return 0;
    }
    if (!is_name(host))
        return HR_E_INVALID;
    entry = find(dns, host);
    if (!entry) {
        if (dns->n_entries >= HR_DNS_NAMES_MAX)
            return HR_E_FULL;
        entry = calloc(1, sizeof(*entry));
        if (!entry)
            return HR_E_NOMEM;
        strcpy(entry->host, host);
        entry->next = dns->entries;
        dns->entries = entry;
        dns->n_entries++;
        entry->asked_us = hr_loop_now(dns->loop);
        start(dns, entry);
    }
    entry->asked_us = hr_loop_now(dns->loop);
    if (entry->n > 0) {
        memcpy(addrs, entry->addrs, entry->n * sizeof(addrs[0]));
        *ret_n = entry->n;
        return 0;
    }
    return entry->err ? HR_E_NOT_FOUND : HR_E_AGAIN;
}

static void hasten(struct hr_dns *dns, struct entry *entry)
{
    uint64_t soonest = entry->resolved_us + HASTE_MIN_US;

    if (!entry->resolving && soonest < entry->next_us) {
        entry->next_us = soonest;
        arm(dns);
    }
}

void hr_dns_refresh(struct hr_dns *dns, const char *host)
{
    struct entry *entry = find(dns, host);

    if (entry)
        hasten(dns, entry);
}

void hr_dns_failed(struct hr_dns *dns, const char *host, const struct hr_addr *addr)
{
    struct entry *entry = find(dns, host);

    if (!entry)
        return;
    hasten(dns, entry);
    if (entry->n > 1 && hr_addr_equal(&entry->addrs[0], addr)) {
        memmove(entry->addrs, entry->addrs + 1, (entry->n - 1) * sizeof(entry->addrs[0]));
        entry->addrs[entry->n - 1] = *addr;
        dns->changed(dns->owner);
    }
}

void hr_dns_answer(struct hr_dns *dns, const char *host, int err, const struct hr_addr *addrs, uint32_t n,
                   uint32_t ttl_s)
{
    struct entry *entry = find(dns, host);
    uint64_t now = hr_loop_now(dns->loop);
    struct hr_addr first = {{0}};
    bool had, changed = false;

    if (!entry)
        return;
    had = entry->n > 0;
    if (had)
        first = entry->addrs[0];
    entry->resolving = false;
    entry->resolved_us = now;
    if (err == 0 && n == 0)
        err = HR_E_NOT_FOUND;
    if (err) {
        if (!entry->err)
            hr_log_warn("dns: %s: not resolved (%s)%s", entry->host, hr_strerror(err),
                        had ? ", the old addresses stay in use" : "");
        changed = entry->err == 0 && !had;
        entry->err = err;
        entry->failures++;
        entry->retry_us = entry->retry_us ? entry->retry_us * 2 : RETRY_MIN_US;
        if (entry->retry_us > RETRY_MAX_US)
            entry->retry_us = RETRY_MAX_US;
        entry->next_us = now + entry->retry_us;
    } else {
        if (n > HR_DNS_ADDRS_MAX)
            n = HR_DNS_ADDRS_MAX;
        memcpy(entry->addrs, addrs, n * sizeof(addrs[0]));
        entry->n = n;
        /* The address in use stays first while it is still valid: resolvers rotate their answers, and that
         * must not make a new policy of each. */
        for (uint32_t i = 1; had && i < n; i++) {
            if (hr_addr_equal(&entry->addrs[i], &first)) {
                entry->addrs[i] = entry->addrs[0];
                entry->addrs[0] = first;
            }
        }
        changed = !had || !hr_addr_equal(&first, &entry->addrs[0]);
        entry->err = 0;
        entry->retry_us = 0;
        if (ttl_s < HR_DNS_TTL_MIN_S)
            ttl_s = HR_DNS_TTL_MIN_S;
        if (ttl_s > HR_DNS_TTL_MAX_S)
            ttl_s = HR_DNS_TTL_MAX_S;
        entry->next_us = now + ttl_s * HR_US_PER_S;
    }
    arm(dns);
    if (changed)
        dns->changed(dns->owner);
}

void hr_dns_each(const struct hr_dns *dns, void (*fn)(void *arg, const struct hr_dns_entry_info *info),
                 void *arg)
{
    for (const struct entry *entry = dns->entries; entry; entry = entry->next) {
        struct hr_dns_entry_info info = {
            .host = entry->host,
            .addrs = entry->addrs,
            .n = entry->n,
            .err = entry->err,
            .resolving = entry->resolving,
            .next_us = entry->next_us,
            .failures = entry->failures,
        };

        fn(arg, &info);
    }
}

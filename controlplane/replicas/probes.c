#include "controlplane/replicas/probes.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/dns/dns.h"
#include "controlplane/loop/loop.h"
#include "controlplane/metadata/kclient.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/kafka/schema.h"

#define VERSIONS_VERSION 0 /* every broker has it */
#define FRAME_MAX        (256u * 1024)

#define EVERY_US   (2 * HR_US_PER_S)
#define TIMEOUT_MS 2000
#define FAILURES   2
#define HOME_US    (10 * HR_US_PER_S)

struct probe {
    struct hr_probes *probes;
    struct hr_cluster_broker broker;
    struct hr_kclient *client; /* NULL: to be opened */
    struct hr_timer timer;
    bool wanted;
    bool up, known;         /* known: it has been up or down once */
    bool asking;
    uint32_t failures;      /* in a row */
    uint64_t answers_since_us;
    int16_t fetch_max;
    struct probe *next;
};

struct hr_probes {
    struct hr_loop *loop;
    struct hr_conns *conns;
    struct hr_dns *dns;
    void (*changed)(void *owner);
    void *owner;
    struct probe *first;
};

static struct probe *find(const struct hr_probes *probes, int32_t node_id)
{
    struct probe *p = probes->first;

    while (p && p->broker.id != node_id)
        p = p->next;
    return p;
}

static void set_up(struct probe *p, bool up, const char *why)
{
    if (p->known && p->up == up)
        return;
    if (p->known || !up)
        hr_log(up ? HR_LOG_INFO : HR_LOG_WARN, "broker %d %s%s", p->broker.id,
               up ? "answers again: reads may go there" : "does not answer: no reads go there: ", up ? "" : why);
    p->up = up;
    p->known = true;
    p->probes->changed(p->probes->owner);
}

static void failed(struct probe *p, int err, const char *why)
{
    hr_kclient_close(p->client);
    p->client = NULL;
    p->asking = false;
    p->answers_since_us = 0;
    p->failures++;
    if (err == HR_E_REFUSED || p->failures >= FAILURES)
        set_up(p, false, why);
}

static void on_connected(void *owner)
{
    struct probe *p = owner;
    json_t *body = json_object();
    int err = hr_kclient_request(p->client, HR_KAPI_API_VERSIONS, VERSIONS_VERSION, body, TIMEOUT_MS);

    json_decref(body);
    if (err)
        failed(p, err, hr_strerror(err));
}

static void on_answered(void *owner, int16_t api_key, int16_t version, const json_t *body)
{
    struct probe *p = owner;
    uint64_t now = hr_loop_now(p->probes->loop);
    int16_t fetch_max = -1;
    const json_t *item;
    size_t i;

    (void)api_key;
    (void)version;
    json_array_foreach(json_object_get(body, "ApiKeys"), i, item)
    {
        if (json_integer_value(json_object_get(item, "ApiKey")) == HR_KAPI_FETCH)
            fetch_max = (int16_t)json_integer_value(json_object_get(item, "MaxVersion"));
    }
    p->asking = false;
    p->failures = 0;
    if (p->answers_since_us == 0)
        p->answers_since_us = now;
    if (p->fetch_max != fetch_max) {
        p->fetch_max = fetch_max;
        p->probes->changed(p->probes->owner);
    }
    if (!p->up && (!p->known || now - p->answers_since_us >= HOME_US))
        set_up(p, true, "");
}

static void on_failed(void *owner, int err, const char *why)
{
    failed(owner, err, why);
}

static const struct hr_kclient_ops ops = {.connected = on_connected, .answered = on_answered, .failed = on_failed};

static void on_timer(struct hr_timer *timer)
{
    struct probe *p = timer->arg;
    struct hr_addr addrs[HR_DNS_ADDRS_MAX];
    uint32_t n;
    int err;

    hr_timer_in(p->probes->loop, &p->timer, EVERY_US);
    if (p->asking)
        return; /* has its own time */
    p->asking = true;
    if (p->client) {
        on_connected(p);
        return;
    }
    err = hr_dns_lookup(p->probes->dns, p->broker.host, addrs, &n);
    if (err == 0)
        err = hr_kclient_open(p->probes->loop, p->probes->conns, NULL, p->broker.host, &addrs[0], p->broker.port,
                              TIMEOUT_MS, FRAME_MAX, NULL, 0, &ops, p, &p->client);
    if (err == 0)
        return;
    p->client = NULL;
    p->asking = false;
    if (err != HR_E_AGAIN && err != HR_E_CLOSED) /* a name on its way, or no dataplane: nothing is known by it */
        failed(p, err, hr_strerror(err));
}

static void take_out(struct hr_probes *probes, struct probe **at)
{
    struct probe *p = *at;

    *at = p->next;
    hr_timer_cancel(probes->loop, &p->timer);
    hr_kclient_close(p->client);
    free(p);
}

static void want(struct hr_probes *probes, const struct hr_cluster_broker *broker, uint64_t delay_us)
{
    struct probe *p = find(probes, broker->id);

    if (!p) {
        p = calloc(1, sizeof(*p));
        if (!p)
            return;
        p->probes = probes;
        p->fetch_max = -1;
        p->timer = (struct hr_timer){.fn = on_timer, .arg = p};
        p->next = probes->first;
        probes->first = p;
        hr_timer_in(probes->loop, &p->timer, delay_us);
    } else if (p->broker.port != broker->port || strcmp(p->broker.host, broker->host) != 0) {
        hr_kclient_close(p->client); /* it has moved */
        p->client = NULL;
        p->asking = false;
    }
    p->broker = *broker;
    p->wanted = true;
}

void hr_probes_set(struct hr_probes *probes, const struct hr_cluster *cluster)
{
    for (struct probe *p = probes->first; p; p = p->next)
        p->wanted = false;
    for (uint32_t i = 0; cluster && i < cluster->n_brokers; i++)
        want(probes, &cluster->brokers[i], i * EVERY_US / 16 % EVERY_US); /* not all at once */
    for (struct probe **at = &probes->first; *at;) {
        if ((*at)->wanted)
            at = &(*at)->next;
        else
            take_out(probes, at);
    }
}

bool hr_probes_up(const struct hr_probes *probes, int32_t node_id, int16_t *ret_fetch_max)
{
    const struct probe *p = find(probes, node_id);

    *ret_fetch_max = p ? p->fetch_max : -1;
    return p && p->up;
}

int hr_probes_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_dns *dns, void (*changed)(void *owner),
                     void *owner, struct hr_probes **ret_probes)
{
    struct hr_probes *probes = calloc(1, sizeof(*probes));

    if (!probes)
        return HR_E_NOMEM;
    *probes = (struct hr_probes){.loop = loop, .conns = conns, .dns = dns, .changed = changed, .owner = owner};
    *ret_probes = probes;
    return 0;
}

void hr_probes_destroy(struct hr_probes *probes)
{
    if (!probes)
        return;
    hr_probes_set(probes, NULL);
    free(probes);
}

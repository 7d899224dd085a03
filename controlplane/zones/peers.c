#include "controlplane/zones/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/http.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define EVERY_US   HR_US_PER_S
#define TIMEOUT_MS 1000
#define ANSWER_MAX 4096
#define DOWN_AFTER 2
#define UP_AFTER   3

struct peer {
    struct hr_peers *peers;
    char url[HR_CONFIG_TEXT_MAX];
    struct hr_timer timer;
    struct hr_http_call *call; /* NULL: none under way */
    bool up, answered;         /* answered: once, whatever */
    uint32_t streak;           /* answers in a row that say otherwise */
};

struct hr_peers {
    struct hr_loop *loop;
    struct hr_http *http;
    void (*changed)(void *owner);
    void *owner;
    struct peer *peer[HR_POLICY_MAX_PEERS]; /* heap; NULL: free */
};

static void answered(void *arg, const struct hr_http_reply *reply)
{
    struct peer *p = arg;
    bool well = reply->err == 0 && reply->status == 200;
    uint32_t enough = !p->answered ? 1 : p->up ? DOWN_AFTER : UP_AFTER;

    p->call = NULL;
    p->streak = well != p->up || !p->answered ? p->streak + 1 : 0;
    p->answered = true;
    hr_timer_in(p->peers->loop, &p->timer, EVERY_US);
    if (p->streak < enough)
        return;
    p->streak = 0;
    if (well == p->up)
        return;
    p->up = well;
    if (well)
        hr_log_info("peer %s is up", p->url);
    else if (reply->err)
        hr_log_warn("peer %s is down: %s", p->url, reply->why ? reply->why : hr_strerror(reply->err));
    else
        hr_log_warn("peer %s is down: HTTP status %u", p->url, reply->status);
    p->peers->changed(p->peers->owner);
}

static void on_timer(struct hr_timer *timer)
{
    struct peer *p = timer->arg;
    const struct hr_http_request request = {
        .url = p->url, .timeout_ms = TIMEOUT_MS, .max_bytes = ANSWER_MAX, .direct = true};

    if (hr_http_send(p->peers->http, &request, answered, p, &p->call) != 0) {
        p->call = NULL;
        hr_timer_in(p->peers->loop, timer, EVERY_US);
    }
}

int hr_peers_create(struct hr_loop *loop, struct hr_http *http, void (*changed)(void *owner), void *owner,
                    struct hr_peers **ret_peers)
{
    struct hr_peers *peers = calloc(1, sizeof(*peers));

    if (!peers)
        return HR_E_NOMEM;
    *peers = (struct hr_peers){.loop = loop, .http = http, .changed = changed, .owner = owner};
    *ret_peers = peers;
    return 0;
}

static void forget(struct hr_peers *peers, struct peer **at)
{
    if (!*at)
        return;
    hr_timer_cancel(peers->loop, &(*at)->timer);
    hr_http_cancel((*at)->call);
    free(*at);
    *at = NULL;
}

void hr_peers_destroy(struct hr_peers *peers)
{
    if (!peers)
        return;
    for (uint32_t i = 0; i < HR_POLICY_MAX_PEERS; i++)
        forget(peers, &peers->peer[i]);
    free(peers);
}

static struct peer *find(const struct hr_peers *peers, const char *url)
{
    for (uint32_t i = 0; i < HR_POLICY_MAX_PEERS; i++) {
        if (peers->peer[i] && strcmp(peers->peer[i]->url, url) == 0)
            return peers->peer[i];
    }
    return NULL;
}

static bool named(const struct hr_config_zones *zones, const char *url)
{
    for (uint32_t i = 0; i < zones->n_peers; i++) {
        if (strcmp(zones->peers[i].health, url) == 0)
            return true;
    }
    return false;
}

static void add(struct hr_peers *peers, const char *url)
{
    struct peer **at = peers->peer;

    while (at < peers->peer + HR_POLICY_MAX_PEERS && *at)
        at++;
    if (at == peers->peer + HR_POLICY_MAX_PEERS || !(*at = calloc(1, sizeof(**at))))
        return; /* it stays down */
    (*at)->peers = peers;
    snprintf((*at)->url, sizeof((*at)->url), "%s", url);
    (*at)->timer = (struct hr_timer){.fn = on_timer, .arg = *at};
    hr_timer_in(peers->loop, &(*at)->timer, 0);
}

void hr_peers_configure(struct hr_peers *peers, const struct hr_config_zones *zones)
{
    for (uint32_t i = 0; i < HR_POLICY_MAX_PEERS; i++) {
        if (peers->peer[i] && !named(zones, peers->peer[i]->url))
            forget(peers, &peers->peer[i]);
    }
    for (uint32_t i = 0; i < zones->n_peers; i++) {
        const char *url = zones->peers[i].health;

        if (*url && !find(peers, url))
            add(peers, url);
    }
}

bool hr_peers_up(const struct hr_peers *peers, const char *url)
{
    const struct peer *p = *url ? find(peers, url) : NULL;

    return !*url || (p && p->up);
}

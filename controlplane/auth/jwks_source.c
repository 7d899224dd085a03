#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/http.h"
#include "controlplane/auth/jwks.h"
#include "controlplane/loop/loop.h"
#include "shared/base/log.h"

struct hr_jwks_source {
    struct hr_loop *loop;
    struct hr_http *http;
    struct hr_jwks_config config;
    char *url, *ca_file;
    struct hr_http_call *call; /* a fetch is under way */
    struct hr_timer timer;     /* the next one */
    struct hr_jwks *keys;      /* NULL: none yet */
    uint64_t asked_us;         /* start of the last fetch */
    struct hr_jwks_wait *waiting;
    bool *gone; /* while callbacks run: set when one of them destroyed the source */
    struct hr_jwks_info info;
    char error[HR_JWKS_WHY_MAX + 64];
};

/* What was asked for has come, or has not (NULL, and why). Takes the keys. */
static void taken(struct hr_jwks_source *source, struct hr_jwks *keys, const char *why)
{
    struct hr_jwks_wait *waiting = source->waiting;
    bool was_good = !source->error[0], gone = false;

    if (keys) {
        hr_jwks_free(source->keys);
        source->keys = keys;
        source->info.fetched_us = hr_loop_now(source->loop);
    }
    source->error[0] = '\0';
    if (!keys) {
        source->info.failures++;
        snprintf(source->error, sizeof(source->error), "the key set cannot be fetched: %s", why);
        if (was_good)
            hr_log_warn("oauth: %s: %s", source->url, source->error);
        if (source->keys && hr_loop_now(source->loop) - source->info.fetched_us > source->config.keep_us) {
            hr_jwks_free(source->keys);
            source->keys = NULL;
        }
    }
    hr_timer_in(source->loop, &source->timer, keys ? source->config.refresh_us : source->config.refetch_us);
    source->waiting = NULL;
    source->gone = &gone;
    while (waiting) {
        struct hr_jwks_wait *wait = waiting;

        /* A callback may cancel others that wait, so the rest stays reachable. */
        waiting = wait->next;
        source->waiting = waiting;
        wait->source = NULL;
        wait->fn(wait);
        if (gone)
            return; /* it was the last who needed the keys of a configuration that has been replaced */
        waiting = source->waiting;
        if (source->call)
            break; /* a new fetch: who is left waits for that one */
    }
    source->gone = NULL;
}

static void fetched(void *arg, const struct hr_http_reply *reply)
{
    struct hr_jwks_source *source = arg;
    struct hr_jwks *keys = NULL;
    char why[HR_JWKS_WHY_MAX] = "";

    source->call = NULL;
    if (reply->err)
        snprintf(why, sizeof(why), "%s", reply->why);
    else if (reply->status != 200)
        snprintf(why, sizeof(why), "HTTP status %u", reply->status);
    else
        (void)!hr_jwks_parse(reply->body, reply->len, &keys, why);
    taken(source, keys, why);
}

static void read_file(struct hr_jwks_source *source)
{
    struct hr_jwks *keys = NULL;
    char why[HR_JWKS_WHY_MAX] = "";

    (void)!hr_jwks_load(source->url, &keys, why);
    taken(source, keys, why);
}

static void fetch(struct hr_jwks_source *source)
{
    struct hr_http_request request = {.url = source->url,
                                      .ca_file = source->ca_file,
                                      .timeout_ms = source->config.timeout_ms,
                                      .max_bytes = HR_JWKS_BYTES_MAX};

    if (source->call)
        return;
    source->asked_us = hr_loop_now(source->loop);
    source->info.fetches++;
    if (source->config.file) {
        read_file(source);
        return;
    }
    if (hr_http_send(source->http, &request, fetched, source, &source->call) != 0) {
        source->call = NULL;
        snprintf(source->error, sizeof(source->error), "the key set cannot be fetched: out of memory, or a wrong URL");
        hr_timer_in(source->loop, &source->timer, source->config.refresh_us);
    }
}

static void on_timer(struct hr_timer *timer)
{
    fetch(timer->arg);
}

int hr_jwks_source_create(struct hr_loop *loop, struct hr_http *http, const struct hr_jwks_config *config,
                          struct hr_jwks_source **ret_source)
{
    struct hr_jwks_source *source = calloc(1, sizeof(*source));

    if (!source || !(source->url = strdup(config->file ? config->file : config->url)) ||
        (config->ca_file && !(source->ca_file = strdup(config->ca_file)))) {
        if (source)
            free(source->url);
        free(source);
        return HR_E_NOMEM;
    }
    source->loop = loop;
    source->http = http;
    source->config = *config;
    source->timer = (struct hr_timer){.fn = on_timer, .arg = source};
    fetch(source);
    *ret_source = source;
    return 0;
}

void hr_jwks_source_destroy(struct hr_jwks_source *source)
{
    if (!source)
        return;
    for (struct hr_jwks_wait *wait = source->waiting; wait; wait = wait->next)
        wait->source = NULL;
    if (source->gone)
        *source->gone = true;
    hr_http_cancel(source->call);
    hr_timer_cancel(source->loop, &source->timer);
    hr_jwks_free(source->keys);
    free(source->url);
    free(source->ca_file);
    free(source);
}

int hr_jwks_source_get(struct hr_jwks_source *source, const char *kid, enum hr_jwt_alg alg, struct hr_jwks_wait *wait,
                       void **ret_key, const char **ret_why)
{
    void *key = source->keys ? hr_jwks_find(source->keys, kid, alg) : NULL;

    if (key) {
        *ret_key = key;
        return 0;
    }
    if (!source->call && hr_loop_now(source->loop) - source->asked_us >= source->config.refetch_us) {
        fetch(source);
        if (source->config.file && source->keys && (key = hr_jwks_find(source->keys, kid, alg)) != NULL) {
            *ret_key = key;
            return 0;
        }
    }
    if (!source->call) {
        *ret_why = source->keys ? "the issuer has no such key" : source->error;
        return HR_E_NOT_FOUND;
    }
    wait->source = source;
    wait->next = source->waiting;
    source->waiting = wait;
    return HR_E_AGAIN;
}

void hr_jwks_wait_cancel(struct hr_jwks_wait *wait)
{
    struct hr_jwks_wait **at;

    if (!wait->source)
        return;
    for (at = &wait->source->waiting; *at && *at != wait;)
        at = &(*at)->next;
    if (*at)
        *at = wait->next;
    wait->source = NULL;
}

void hr_jwks_source_get_info(const struct hr_jwks_source *source, struct hr_jwks_info *ret_info)
{
    *ret_info = source->info;
    ret_info->keys = source->keys ? hr_jwks_count(source->keys) : 0;
    ret_info->error = source->error;
}

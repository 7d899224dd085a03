#include "controlplane/zones/instance.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/imds.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/ipc/zones.h"

#define TIMEOUT_MS   2000
#define ANSWER_MAX   1024
#define WAIT_MIN_US  (2 * HR_US_PER_S)
#define WAIT_MAX_US  (60 * HR_US_PER_S)
#define TOKEN_PATH   "/latest/api/token"
#define ZONE_ID_PATH "/latest/meta-data/placement/availability-zone-id"

struct hr_instance_zone {
    struct hr_loop *loop;
    struct hr_http *http;
    void (*changed)(void *owner);
    void *owner;
    struct hr_timer timer;
    struct hr_http_call *call; /* NULL: none under way */
    uint64_t wait_us;          /* before the next try, 0: not started */
    bool have_token;
    char token[512];
    char zone[HR_ZONE_NAME_MAX];
    char error[HR_HTTP_WHY_MAX];
};

static void failed(struct hr_instance_zone *i, const char *what, const char *why)
{
    char error[sizeof(i->error)];

    snprintf(error, sizeof(error), "%s: %s", what, why);
    if (strcmp(error, i->error) != 0)
        hr_log_warn("zones.own: the instance's metadata does not tell the zone yet: %s", error);
    memcpy(i->error, error, sizeof(error));
    i->have_token = false;
    hr_timer_in(i->loop, &i->timer, i->wait_us);
    i->wait_us = i->wait_us * 2 < WAIT_MAX_US ? i->wait_us * 2 : WAIT_MAX_US;
}

static void ask(struct hr_instance_zone *i);

static void answered(void *arg, const struct hr_http_reply *reply)
{
    struct hr_instance_zone *i = arg;
    const char *what = i->have_token ? ZONE_ID_PATH : TOKEN_PATH;
    char why[64];

    i->call = NULL;
    if (reply->err) {
        failed(i, what, reply->why ? reply->why : hr_strerror(reply->err));
    } else if (reply->status != 200) {
        snprintf(why, sizeof(why), "HTTP status %u", reply->status);
        failed(i, what, why);
    } else if (!i->have_token) {
        i->have_token = hr_imds_word(reply, i->token, sizeof(i->token));
        if (i->have_token)
            ask(i);
        else
            failed(i, what, "the answer is no token");
    } else if (!hr_imds_word(reply, i->zone, sizeof(i->zone))) {
        failed(i, what, "the answer is no zone's name");
    } else {
        i->error[0] = '\0';
        hr_log_info("zones.own: the instance runs in %s", i->zone);
        i->changed(i->owner);
    }
}

static void ask(struct hr_instance_zone *i)
{
    char url[512], header[sizeof(i->token) + 32];
    int err;

    hr_imds_url(url, sizeof(url), getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
                i->have_token ? ZONE_ID_PATH : TOKEN_PATH);
    if (i->have_token)
        snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %s", i->token);
    else
        snprintf(header, sizeof(header), "X-aws-ec2-metadata-token-ttl-seconds: 60");
    err = hr_http_send(i->http,
                       &(struct hr_http_request){.url = url,
                                                 .method = i->have_token ? NULL : "PUT",
                                                 .headers = {header},
                                                 .timeout_ms = TIMEOUT_MS,
                                                 .max_bytes = ANSWER_MAX,
                                                 .direct = true},
                       answered, i, &i->call);
    if (err) {
        i->call = NULL;
        failed(i, url, hr_strerror(err));
    }
}

static void on_timer(struct hr_timer *timer)
{
    ask(timer->arg);
}

int hr_instance_zone_create(struct hr_loop *loop, struct hr_http *http, void (*changed)(void *owner), void *owner,
                            struct hr_instance_zone **ret_instance)
{
    struct hr_instance_zone *i = calloc(1, sizeof(*i));

    if (!i)
        return HR_E_NOMEM;
    i->loop = loop;
    i->http = http;
    i->changed = changed;
    i->owner = owner;
    i->timer = (struct hr_timer){.fn = on_timer, .arg = i};
    *ret_instance = i;
    return 0;
}

void hr_instance_zone_destroy(struct hr_instance_zone *i)
{
    if (!i)
        return;
    hr_timer_cancel(i->loop, &i->timer);
    hr_http_cancel(i->call);
    free(i);
}

void hr_instance_zone_start(struct hr_instance_zone *i)
{
    if (i->wait_us)
        return;
    i->wait_us = WAIT_MIN_US;
    hr_timer_in(i->loop, &i->timer, 0);
}

const char *hr_instance_zone_get(const struct hr_instance_zone *i)
{
    return i->zone[0] ? i->zone : NULL;
}

const char *hr_instance_zone_error(const struct hr_instance_zone *i)
{
    return i->error;
}

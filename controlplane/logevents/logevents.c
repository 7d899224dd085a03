#include "controlplane/logevents/logevents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/counters.h"
#include "shared/base/log.h"
#include "shared/ipc/messages.h"

#define REPORT_US (10 * HR_US_PER_S) /* how often suppressed lines are counted out */

static const struct {
    const char *name;
    enum hr_log_level level;
    const char *format;
} events_table[HR_LOGEV_MAX] = {[HR_LOGEV_NONE] = {"unknown event", HR_LOG_WARN, ""},
#define X(name, level, format) [HR_LOGEV_##name] = {#name, level, format},
                                HR_LOG_EVENTS(X)
#undef X
};

struct budget {
    double tokens;
    uint64_t filled_us;
    uint64_t suppressed;
};

struct hr_logevents {
    struct hr_loop *loop;
    struct hr_timer report;
    struct budget budget[HR_LOGEV_MAX][HR_DROP_MAX + 1];
};

static void on_report(struct hr_timer *timer)
{
    struct hr_logevents *events = timer->arg;

    for (uint32_t e = 0; e < HR_LOGEV_MAX; e++) {
        for (uint32_t r = 0; r <= HR_DROP_MAX; r++) {
            struct budget *budget = &events->budget[e][r];

            if (budget->suppressed == 0)
                continue;
            hr_log(events_table[e].level, "%s%s%s: %llu more like this, not shown", events_table[e].name,
                   r < HR_DROP_MAX ? " " : "", r < HR_DROP_MAX ? hr_drop_info[r].name : "",
                   (unsigned long long)budget->suppressed);
            budget->suppressed = 0;
        }
    }
}

struct hr_logevents *hr_logevents_create(struct hr_loop *loop)
{
    struct hr_logevents *events = calloc(1, sizeof(*events));

    if (!events)
        return NULL;
    events->loop = loop;
    events->report = (struct hr_timer){.fn = on_report, .arg = events};
    for (uint32_t e = 0; e < HR_LOGEV_MAX; e++) {
        for (uint32_t r = 0; r <= HR_DROP_MAX; r++)
            events->budget[e][r].tokens = HR_LOGEVENTS_BURST;
    }
    return events;
}

void hr_logevents_destroy(struct hr_logevents *events)
{
    if (!events)
        return;
    hr_timer_cancel(events->loop, &events->report);
    free(events);
}

/* The value of one placeholder. False: no such placeholder. */
static bool expand(const char *name, size_t len, const struct hr_msg *msg, char *out, uint32_t cap)
{
#define IS(text) (len == sizeof(text) - 1 && memcmp(name, text, len) == 0)
    if (IS("a")) {
        snprintf(out, cap, "%llu", (unsigned long long)msg->u.log.a);
    } else if (IS("b")) {
        snprintf(out, cap, "%llu", (unsigned long long)msg->u.log.b);
    } else if (IS("port")) {
        snprintf(out, cap, "%u", msg->u.log.port);
    } else if (IS("node")) {
        if (msg->u.log.node_id < 0)
            snprintf(out, cap, "(bootstrap)");
        else
            snprintf(out, cap, "%d", msg->u.log.node_id);
    } else if (IS("addr")) {
        struct hr_addr addr = msg->u.log.addr;
        char addr_text[HR_ADDR_STR_MAX];

        /* In brackets where a port follows (RFC 5952 6). */
        snprintf(out, cap, hr_addr_is_v4(&addr) ? "%s" : "[%s]", hr_addr_format(&addr, addr_text));
    } else if (IS("reason")) {
        if (msg->u.log.reason < HR_DROP_MAX)
            snprintf(out, cap, "%s (%s)", hr_drop_info[msg->u.log.reason].name,
                     hr_drop_info[msg->u.log.reason].meaning);
        else if (msg->u.log.reason == HR_DROP_MAX)
            snprintf(out, cap, "normal end");
        else
            snprintf(out, cap, "reason %u", msg->u.log.reason);
    } else {
        return false;
    }
    return true;
#undef IS
}

void hr_logevents_format(const struct hr_msg *msg, char *text, uint32_t cap)
{
    const char *at;
    uint32_t used = 0;

    if (msg->u.log.event == HR_LOGEV_NONE || msg->u.log.event >= HR_LOGEV_MAX) {
        snprintf(text, cap, "unknown event %u of a worker", msg->u.log.event);
        return;
    }
    for (at = events_table[msg->u.log.event].format; *at && used + 1 < cap;) {
        const char *end = *at == '{' ? strchr(at, '}') : NULL;
        char value[192];
        size_t len;

        if (!end || !expand(at + 1, (size_t)(end - at - 1), msg, value, sizeof(value))) {
            text[used++] = *at++;
            continue;
        }
        len = strlen(value);
        if (len > cap - 1 - used)
            len = cap - 1 - used;
        memcpy(text + used, value, len);
        used += (uint32_t)len;
        at = end + 1;
    }
    text[used] = '\0';
}

void hr_logevents_event(struct hr_logevents *events, uint32_t worker, const struct hr_msg *msg)
{
    uint16_t event = msg->u.log.event < HR_LOGEV_MAX ? msg->u.log.event : HR_LOGEV_NONE;
    uint16_t reason = msg->u.log.reason < HR_DROP_MAX ? msg->u.log.reason : HR_DROP_MAX;
    enum hr_log_level level = events_table[event].level;
    struct budget *budget = &events->budget[event][reason];
    uint64_t now = hr_loop_now(events->loop);
    char text[512];

    if (level > hr_log_get_level())
        return;
    budget->tokens += (double)(now - budget->filled_us) / (double)HR_US_PER_S * HR_LOGEVENTS_PER_SECOND;
    if (budget->tokens > HR_LOGEVENTS_BURST)
        budget->tokens = HR_LOGEVENTS_BURST;
    budget->filled_us = now;
    if (budget->tokens < 1) {
        budget->suppressed++;
        if (!hr_timer_is_set(&events->report))
            hr_timer_in(events->loop, &events->report, REPORT_US);
        return;
    }
    budget->tokens -= 1;
    hr_logevents_format(msg, text, sizeof(text));
    hr_log(level, "worker %u: %s", worker, text);
}

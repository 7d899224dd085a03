/* Messages from workers, and where each kind of them goes. */
#include <string.h>

#include "controlplane/attach/attach.h"
#include "controlplane/conn/conn.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/daemon/impl.h"
#include "controlplane/dns/dns.h"
#include "controlplane/logevents/logevents.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/renewals/renewals.h"
#include "controlplane/sessions/sessions.h"
#include "shared/base/log.h"
#include "shared/ipc/doorbell.h"
#include "shared/ipc/link.h"

/* Messages of one worker handled before the others have their turn. */
#define EVENTS_BURST  256
#define EVENTS_ROUNDS 16

/* A worker saw signs that what it knows of a node, or of a listener's target, is old. Only connections that
 * failed are reported for a target. */
static void on_hint(struct hr_daemon *d, const struct hr_msg *msg)
{
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
    const struct hr_cluster_broker *broker =
        hr_cluster_find_broker(hr_metadata_cluster(d->metadata), msg->u.hint.node_id);
    const struct hr_policy_listener *listener = policy && msg->u.hint.listener < policy->n_listeners
                                                    ? &policy->listeners[msg->u.hint.listener]
                                                    : NULL;

    if (listener && listener->mode == HR_LISTENER_TCP) {
        for (uint32_t i = 0; i < d->config->n_listeners; i++) {
            if (strcmp(d->config->listeners[i].policy.name, listener->name) == 0)
                hr_dns_failed(d->dns, d->config->listeners[i].target.host, &listener->target);
        }
        return;
    }
    if (broker)
        hr_dns_refresh(d->dns, broker->host);
    hr_metadata_hint(d->metadata);
}

/* Log events also say which broker could not be reached: its name may have another address by now. */
static void on_log(struct hr_daemon *d, uint32_t worker, const struct hr_msg *msg)
{
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
    const struct hr_cluster_broker *broker;
    const struct hr_policy_broker *used;

    hr_logevents_event(d->logevents, worker, msg);
    if (msg->u.log.event != HR_LOGEV_SESSION_OPEN_FAILED || !policy ||
        (msg->u.log.reason != HR_DROP_broker_refused && msg->u.log.reason != HR_DROP_broker_timeout))
        return;
    broker = hr_cluster_find_broker(hr_metadata_cluster(d->metadata), msg->u.log.node_id);
    used = hr_policy_find_broker(policy, msg->u.log.node_id);
    if (broker && used)
        hr_dns_failed(d->dns, broker->host, &used->addr);
}

static void dispatch(struct hr_daemon *d, uint32_t worker, const struct hr_msg *msg)
{
    int err = 0;

    d->events++;
    switch (msg->type) {
    case HR_EV_CONN_ACCEPTED:
    case HR_EV_SESSION_STARTED:
    case HR_EV_CONN_OPENED:
    case HR_EV_CONN_FAILED:
    case HR_EV_CONN_DATA:
    case HR_EV_CONN_EOF:
    case HR_EV_CONN_CLOSED:
    case HR_EV_SLOT_FREE:
        err = hr_conns_event(d->conns, worker, msg);
        break;
    case HR_EV_SESSION_INFO:
    case HR_EV_SESSION_LIST_END:
    case HR_EV_SESSION_KILLED:
    case HR_EV_PONG:
        err = hr_sessions_event(d->sessions, worker, msg);
        break;
    case HR_EV_SESSION_AUTH_BEGIN:
    case HR_EV_SESSION_AUTH:
        err = hr_renewals_event(d->renewals, worker, msg);
        break;
    case HR_EV_HINT:
        on_hint(d, msg);
        break;
    case HR_EV_LOG:
        on_log(d, worker, msg);
        break;
    default:
        err = HR_E_INVALID;
        break;
    }
    if (err && d->events_invalid++ == 0)
        hr_log_error(
            "worker %u sent a message of type %u that makes no sense (%s); further ones are only counted",
            worker, msg->type, hr_strerror(err));
}

/* Takes what is there from one worker; true when something may be left. */
static bool take_from_worker(struct hr_daemon *d, uint32_t worker)
{
    static struct hr_msg msgs[EVENTS_BURST];
    struct hr_link *link = hr_attach_client_link(d->attach, worker);
    int n = link ? hr_link_recv(link, msgs, EVENTS_BURST) : 0;

    for (int i = 0; i < n; i++)
        dispatch(d, worker, &msgs[i]);
    if (n < 0 && d->events_invalid++ == 0)
        hr_log_error("worker %u: the events ring is damaged; nothing more is read until the next attach",
                     worker);
    /* Also when nothing came: SLOT_FREEs that found the ring full go out here. */
    hr_conns_pump(d->conns, worker);
    return n == EVENTS_BURST;
}

void hr_daemon_take_events(struct hr_daemon *d)
{
    uint32_t n_workers = hr_attach_client_workers(d->attach);

    for (int round = 0; round < EVENTS_ROUNDS; round++) {
        bool left = false;

        for (uint32_t w = 0; w < n_workers; w++) {
            struct hr_link *link = hr_attach_client_link(d->attach, w);

            left = take_from_worker(d, w) || left;
            if (link && !hr_link_sleep_begin(link)) {
                hr_link_sleep_end(link);
                left = true;
            }
        }
        if (!left)
            return;
    }
    hr_timer_in(d->loop, &d->take_again, 0); /* let the other descriptors have their turn */
}

void hr_daemon_on_take_again(struct hr_timer *timer)
{
    hr_daemon_take_events(timer->arg);
}

void hr_daemon_on_doorbell(struct hr_watch *watch, uint32_t events)
{
    struct hr_daemon *d = watch->arg;

    (void)events;
    hr_doorbell_clear(watch->fd);
    hr_daemon_take_events(d);
}

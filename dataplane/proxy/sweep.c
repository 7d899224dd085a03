/* What depends on time alone: idle sessions, requests that never complete, drain. The session array is swept
 * in steps of bounded size; every session is looked at about once per HR_SWEEP_US. A step takes as many turns as it
 * needs, of a few sessions each: what arrives meanwhile does not wait for all of it. */
#include "dataplane/proxy/impl.h"

void hr_proxy_drain(struct hr_proxy *proxy, uint64_t deadline_us)
{
    proxy->draining = true;
    proxy->drain_deadline_us = deadline_us;
    hr_prefaces_drain(proxy);
}

static void check(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us)
{
    const struct hr_policy_listener *listener = hr_session_listener(proxy, s);

    if (!listener) {
        hr_session_cut(proxy, s, HR_DROP_listener_removed);
        return;
    }
    if (hr_session_worn_out(proxy, s) && (!s->relay || hr_session_at_boundary(s))) {
        hr_session_cut(proxy, s, HR_DROP_tls_key_limit);
        return;
    }
    if (hr_session_draining(proxy, s) && hr_session_at_boundary(s) && s->state != HR_SESSION_CONNECTING) {
        hr_session_end(proxy, s, HR_DROP_MAX, HR_END_FIN, HR_END_FIN);
        return;
    }
    if (proxy->draining && now_us >= proxy->drain_deadline_us) {
        proxy->drain_resets++;
        hr_session_end(proxy, s, HR_DROP_drain_deadline, HR_END_ABORT, HR_END_ABORT);
        return;
    }
    if (listener->request_timeout_ms && s->state != HR_SESSION_CONNECTING && s->request_begun_us &&
        now_us - s->request_begun_us > listener->request_timeout_ms * 1000ULL) {
        hr_session_end(proxy, s, HR_DROP_kafka_request_stall,
                       hr_session_mid_frame(s, false) ? HR_END_RST : HR_END_FIN, HR_END_RST);
        return;
    }
    if (s->relay)
        hr_relay_ask_again(s->relay); /* what it was told last time may be otherwise by now */
    if (listener->idle_timeout_ms && now_us > s->last_active_us &&
        now_us - s->last_active_us > listener->idle_timeout_ms * 1000ULL)
        hr_session_cut(proxy, s, HR_DROP_idle_timeout);
    else
        hr_session_run(proxy, s, now_us); /* what stopped for lack of buffers has nobody else to wake it */
}

static void tell_drained(struct hr_proxy *proxy)
{
    struct hr_msg msg = {.type = HR_EV_LOG};
    if (!proxy->draining || proxy->drain_told)
        return;
    proxy->drain_told = true;
    msg.u.log.event = HR_LOGEV_DRAIN_DONE;
    msg.u.log.reason = HR_DROP_MAX;
    msg.u.log.node_id = -1;
    msg.u.log.a = proxy->drain_resets;
    proxy->cfg.log(proxy->cfg.owner, &msg);
}

static uint64_t sweep(struct hr_proxy *proxy, uint64_t now_us)
{
    if (proxy->n_open == 0) {
        tell_drained(proxy);
        return UINT64_MAX;
    }
    if (proxy->sweep_left == 0) {
        if (now_us < proxy->next_sweep_us)
            return proxy->next_sweep_us;
        uint32_t n = proxy->cfg.max_sessions / HR_SWEEP_STEPS + 1;
        if (n > HR_SWEEP_MAX)
            n = HR_SWEEP_MAX;
        proxy->sweep_left = n;
        proxy->next_sweep_us = now_us + HR_SWEEP_US * n / (proxy->cfg.max_sessions + HR_SWEEP_STEPS) + 1;
    }
    uint32_t checked = 0, places = 0;
    while (proxy->sweep_left > 0 && checked < HR_SWEEP_TURN && places++ < HR_SWEEP_TURN_PLACES) {
        struct hr_session *s = &proxy->sessions[proxy->sweep_index];
        proxy->sweep_left--;
        if (++proxy->sweep_index == proxy->cfg.max_sessions)
            proxy->sweep_index = 0;
        if (s->state == HR_SESSION_FREE)
            continue;
        check(proxy, s, now_us);
        checked++;
    }
    return proxy->sweep_left > 0 ? now_us : proxy->next_sweep_us;
}

uint64_t hr_proxy_advance(struct hr_proxy *proxy, uint64_t now_us)
{
    uint64_t next_us = sweep(proxy, now_us), next_preface_us = hr_prefaces_advance(proxy, now_us);

    return next_us < next_preface_us ? next_us : next_preface_us;
}

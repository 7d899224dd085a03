/* Legs that speak TLS. The relay reads and writes plain text; here is what stands between it and the connection: the
 * queue that it appends to, the sealing of that, and the last word. The record layer itself is dataplane/tls. */
#include "dataplane/proxy/impl.h"

static struct hr_rec_leg *tls_of(const struct hr_proxy *proxy, const struct hr_leg *leg)
{
    return hr_rec_leg_at(proxy->cfg.rec, leg->tls);
}

uint32_t hr_leg_opened(const struct hr_proxy *proxy, const struct hr_leg *leg)
{
    return hr_rec_plain(tls_of(proxy, leg))->bytes;
}

struct hr_pieceq *hr_leg_unsealed(const struct hr_proxy *proxy, const struct hr_leg *leg)
{
    return hr_rec_unsealed(tls_of(proxy, leg));
}

bool hr_leg_seal(struct hr_proxy *proxy, const struct hr_leg *leg)
{
    struct hr_rec_leg *tls = tls_of(proxy, leg);
    struct hr_pieceq *sndq = hr_tcp_sndq(leg->conn);
    bool again = false;

    if (!sndq)
        hr_pieceq_clear(proxy->cfg.bufs, hr_rec_unsealed(tls));
    else if (hr_rec_seal(proxy->cfg.rec, tls, sndq, &again))
        hr_tcp_send_appended(proxy->cfg.tcp, leg->conn);
    return again;
}

bool hr_leg_ended(const struct hr_proxy *proxy, const struct hr_leg *leg)
{
    return leg->tls && hr_rec_ended(tls_of(proxy, leg));
}

bool hr_leg_alert_due(const struct hr_proxy *proxy, const struct hr_leg *leg)
{
    return leg->tls && hr_rec_alert_due(tls_of(proxy, leg)) != HR_REC_ALERT_close_notify;
}

bool hr_session_worn_out(const struct hr_proxy *proxy, const struct hr_session *s)
{
    return (s->client.tls && hr_rec_worn_out(tls_of(proxy, &s->client))) ||
           (s->broker.tls && hr_rec_worn_out(tls_of(proxy, &s->broker)));
}

void hr_leg_goodbye(struct hr_proxy *proxy, const struct hr_leg *leg)
{
    struct hr_rec_leg *tls = tls_of(proxy, leg);
    enum hr_rec_alert alert = hr_rec_alert_due(tls);
    struct hr_pieceq *sndq = hr_tcp_sndq(leg->conn);

    if (!sndq)
        return;
    /* Bytes that cannot be sealed for lack of memory are lost: an orderly end would hide that. */
    if (hr_leg_seal(proxy, leg) && alert == HR_REC_ALERT_close_notify)
        alert = HR_REC_ALERT_internal_error;
    if (hr_rec_say_goodbye(proxy->cfg.rec, tls, alert, sndq))
        hr_tcp_send_appended(proxy->cfg.tcp, leg->conn);
}

void hr_leg_shutdown(struct hr_proxy *proxy, const struct hr_leg *leg)
{
    if (leg->tls)
        hr_leg_goodbye(proxy, leg);
    hr_tcp_shutdown(proxy->cfg.tcp, leg->conn);
}

void hr_leg_get_protocol(const struct hr_proxy *proxy, const struct hr_leg *leg, uint8_t *ret_version,
                         uint8_t *ret_suite)
{
    struct hr_rec_info info = {0};

    if (leg->tls)
        hr_rec_leg_get_info(tls_of(proxy, leg), &info);
    *ret_version = info.version;
    *ret_suite = info.suite;
}

void hr_leg_close_tls(struct hr_proxy *proxy, struct hr_leg *leg)
{
    if (!leg->tls)
        return;
    hr_rec_leg_close(proxy->cfg.rec, tls_of(proxy, leg));
    leg->tls = 0;
}

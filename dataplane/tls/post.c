/* What a peer says besides data once the handshake is over: handshake messages and alerts.
 *
 * Messages are read by the byte, because they may be cut over records in any way; only their four bytes of head are
 * kept. A ticket is skipped: the control plane took those that it wanted. KeyUpdate changes our read key at once and
 * may ask for ours; however often it asks, one answer is due (RFC 8446 4.6.3). Nobody renegotiates. */
#include <string.h>

#include "dataplane/tls/impl.h"

enum message_type {
    HELLO_REQUEST = 0,
    CLIENT_HELLO = 1,
    NEW_SESSION_TICKET = 4,
    KEY_UPDATE = 24
};

/* A ticket's fields at their largest (RFC 8446 4.6.1), and more than a ClientHello's. */
#define MESSAGE_MAX (4 + 4 + 256 + 2 * 65538)

static const struct hr_rec_outcome go_on = {HR_DROP_MAX, HR_REC_ALERT_close_notify};

static struct hr_rec_outcome end(enum hr_drop verdict, enum hr_rec_alert alert)
{
    return (struct hr_rec_outcome){verdict, alert};
}

/* Type and length are known. */
static struct hr_rec_outcome message_begins(struct hr_rec *rec, struct hr_rec_leg *leg)
{
    uint8_t type = leg->message.head[0];
    uint32_t len = (uint32_t)leg->message.head[1] << 16 | (uint32_t)leg->message.head[2] << 8 | leg->message.head[3];
    bool from_broker = leg->role == HR_TLS_CLIENT;

    if (leg->version == HR_TLS_1_3) {
        if (type == KEY_UPDATE && len != 1)
            return end(HR_DROP_tls_malformed, HR_REC_ALERT_decode_error);
        /* CertificateRequest among the rest: post-handshake authentication was not offered. */
        if (type != KEY_UPDATE && !(type == NEW_SESSION_TICKET && from_broker))
            return end(HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
        if (type == NEW_SESSION_TICKET)
            HR_COUNT(rec->cfg.stats, tls_tickets_skipped);
    } else {
        if (type != (from_broker ? HELLO_REQUEST : CLIENT_HELLO))
            return end(HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
        if (type == HELLO_REQUEST && len != 0)
            return end(HR_DROP_tls_malformed, HR_REC_ALERT_decode_error);
        HR_COUNT(rec->cfg.stats, tls_renegotiations_refused);
        leg->refusal_due = true;
    }
    if (len > MESSAGE_MAX)
        return end(HR_DROP_tls_malformed, HR_REC_ALERT_decode_error);
    leg->message.left = len;
    return go_on;
}

/* The body of a KeyUpdate; last: no byte of its record follows. */
static struct hr_rec_outcome key_update(struct hr_rec *rec, struct hr_rec_leg *leg, uint8_t request, bool last)
{
    if (request > 1)
        return end(HR_DROP_tls_malformed, HR_REC_ALERT_illegal_parameter);
    if (!last) /* RFC 8446 5.1: a key change is at the end of a record */
        return end(HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
    HR_COUNT(rec->cfg.stats, tls_key_updates_rx);
    hr_rec_half_update(rec, leg, &leg->read);
    leg->asked = false;
    if (request == 1)
        leg->update_due = true;
    return go_on;
}

static struct hr_rec_outcome message_bytes(struct hr_rec *rec, struct hr_rec_leg *leg, const uint8_t *p, uint32_t n,
                                           bool last)
{
    while (n > 0) {
        if (leg->message.have < sizeof(leg->message.head)) {
            leg->message.head[leg->message.have++] = *p++;
            n--;
            if (leg->message.have < sizeof(leg->message.head))
                continue;
            struct hr_rec_outcome o = message_begins(rec, leg);
            if (o.verdict != HR_DROP_MAX)
                return o;
        }
        uint32_t step = n < leg->message.left ? n : leg->message.left;
        if (step > 0 && leg->version == HR_TLS_1_3 && leg->message.head[0] == KEY_UPDATE) {
            struct hr_rec_outcome o = key_update(rec, leg, *p, last && n == 1);
            if (o.verdict != HR_DROP_MAX)
                return o;
        }
        p += step;
        n -= step;
        leg->message.left -= step;
        if (leg->message.left == 0)
            leg->message.have = 0;
    }
    return go_on;
}

struct hr_rec_outcome hr_rec_post_handshake(struct hr_rec *rec, struct hr_rec_leg *leg, const struct hr_pieceq *in,
                                            uint32_t at, uint32_t len)
{
    struct hr_piece_iter it;

    if (len == 0) /* RFC 8446 5.1 */
        return end(HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
    hr_piece_iter_at(&it, in, at);
    while (len > 0) {
        uint32_t have;
        const uint8_t *p = hr_piece_iter_peek(&it, &have);
        uint32_t n = have < len ? have : len;
        struct hr_rec_outcome o = message_bytes(rec, leg, p, n, n == len);
        if (o.verdict != HR_DROP_MAX)
            return o;
        hr_piece_iter_advance(&it, n);
        len -= n;
    }
    return go_on;
}

struct hr_rec_outcome hr_rec_post_alert(struct hr_rec *rec, struct hr_rec_leg *leg, const struct hr_pieceq *in,
                                        uint32_t at, uint32_t len)
{
    enum { WARNING = 1 };
    uint8_t alert[2];

    if (len != sizeof(alert)) /* TLS 1.2 would allow pieces and pairs; nobody sends them */
        return end(HR_DROP_tls_malformed, HR_REC_ALERT_decode_error);
    hr_pieceq_peek(in, at, alert, sizeof(alert));
    if (alert[1] == HR_REC_ALERT_close_notify) {
        HR_COUNT(rec->cfg.stats, tls_close_notify_rx);
        leg->ended = true;
        return go_on;
    }
    /* RFC 8446 6: the level means nothing there; a user_canceled precedes a close_notify. */
    bool harmless = leg->version == HR_TLS_1_3 ? alert[1] == HR_REC_ALERT_user_canceled : alert[0] == WARNING;
    if (harmless)
        return go_on;
    HR_COUNT(rec->cfg.stats, tls_alerts_rx);
    return end(HR_DROP_tls_peer_alert, HR_REC_ALERT_close_notify);
}

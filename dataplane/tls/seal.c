/* Records that leave: what stands in the leg's unsealed queue is framed and encrypted where it stands, once, and
 * moves to the send queue.
 *
 * The front of the unsealed queue is sealed (leg->sealed bytes), what follows is plain. A record is cut at the end
 * of a piece where one fits. Everything that needs memory comes first: the header's place, the trailer's place, a
 * cut; then the cipher runs, which cannot fail. Where memory is short in between, what has been done stays and the
 * next call goes on. Records of our own (KeyUpdate, alerts) stand between sealed and plain. */
#include <string.h>

#include "dataplane/tls/impl.h"

#define OWN_MAX 8 /* content bytes of a record of our own */
_Static_assert(OWN_MAX + HR_REC_OVERHEAD_MAX <= HR_PIECE_GAP_MAX, "such a record stands in one gap");

static uint32_t head_len(const struct hr_rec_leg *leg)
{
    return leg->version == HR_TLS_1_2 ? HR_REC_HEADER_LEN + HR_REC_NONCE_LEN : HR_REC_HEADER_LEN;
}

static uint32_t tail_len(const struct hr_rec_leg *leg)
{
    return leg->version == HR_TLS_1_2 ? HR_AEAD_TAG_LEN : 1 + HR_AEAD_TAG_LEN;
}

/* Writes a record's header and begins its encryption. */
static struct hr_aead_key *begin(struct hr_rec *rec, struct hr_rec_leg *leg, uint8_t *head, uint8_t type,
                                 uint32_t content)
{
    struct hr_rec_half *w = &leg->write;
    uint32_t length = head_len(leg) - HR_REC_HEADER_LEN + content + tail_len(leg);

    head[0] = leg->version == HR_TLS_1_3 ? HR_REC_APPLICATION_DATA : type;
    head[1] = head[2] = 3;
    head[3] = (uint8_t)(length >> 8);
    head[4] = (uint8_t)length;
    if (leg->version == HR_TLS_1_2) {
        for (int i = 0; i < HR_REC_NONCE_LEN; i++)
            head[HR_REC_HEADER_LEN + i] = (uint8_t)(w->explicit_nonce >> (56 - 8 * i));
        w->explicit_nonce++;
    }
    HR_COUNT(rec->cfg.stats, tls_records_tx);
    return hr_rec_begin(rec, leg, w, head, head + HR_REC_HEADER_LEN, content);
}

static void finish(struct hr_rec *rec, const struct hr_rec_leg *leg, struct hr_aead_key *key, uint8_t *tail,
                   uint8_t type)
{
    if (leg->version == HR_TLS_1_3) {
        *tail = type;
        hr_aead_seal(rec->lib, key, &rec->op, tail, 1);
        tail++;
    }
    hr_aead_seal_end(rec->lib, key, &rec->op, tail);
}

/* A record of our own behind what is sealed. False: no memory. */
static bool own_record(struct hr_rec *rec, struct hr_rec_leg *leg, uint8_t type, const uint8_t *content, uint32_t len)
{
    uint32_t head = head_len(leg), total = head + len + tail_len(leg);
    struct hr_piece_iter it;
    uint8_t *p;

    if (leg->unsealed.bytes == 0) {
        static const uint8_t room[HR_PIECE_GAP_MAX];
        uint32_t have;
        if (hr_pieceq_push_bytes(rec->cfg.bufs, &leg->unsealed, room, total) != 0)
            return false;
        hr_piece_iter_at(&it, &leg->unsealed, 0);
        p = (uint8_t *)(uintptr_t)hr_piece_iter_peek(&it, &have);
    } else {
        hr_piece_iter_at(&it, &leg->unsealed, leg->sealed);
        p = hr_pieceq_gap(rec->cfg.bufs, &leg->unsealed, &it, total, false);
        if (!p)
            return false;
    }
    struct hr_aead_key *key = begin(rec, leg, p, type, len);
    memcpy(p + head, content, len);
    hr_aead_seal(rec->lib, key, &rec->op, p + head, len);
    finish(rec, leg, key, p + head + len, type);
    leg->sealed += total;
    return true;
}

/* What has to go before more data. False: no memory. */
static bool due_records(struct hr_rec *rec, struct hr_rec_leg *leg)
{
    if (leg->refusal_due) {
        static const uint8_t refusal[] = {1 /* warning */, HR_REC_ALERT_no_renegotiation};
        if (!own_record(rec, leg, HR_REC_ALERT, refusal, sizeof(refusal)))
            return false;
        leg->refusal_due = false;
        HR_COUNT(rec->cfg.stats, tls_alerts_tx);
    }
    if (hr_rec_half_worn(rec, &leg->write)) {
        if (leg->version == HR_TLS_1_2)
            leg->worn_out = true;
        else
            leg->update_due = true;
    }
    if (leg->update_due) {
        const uint8_t update[] = {24, 0, 0, 1, leg->ask_due}; /* RFC 8446 4.6.3 */
        if (!own_record(rec, leg, HR_REC_HANDSHAKE, update, sizeof(update)))
            return false;
        if (leg->ask_due)
            leg->asked = true;
        leg->update_due = leg->ask_due = false;
        hr_rec_half_update(rec, leg, &leg->write);
        HR_COUNT(rec->cfg.stats, tls_key_updates_tx);
    }
    return true;
}

/* Content of the next record: whole pieces, where one fits; it stands at its first byte, end behind its last. */
static uint32_t cut(const struct hr_rec_leg *leg, const struct hr_piece_iter *from, uint32_t plain,
                    struct hr_piece_iter *ret_end)
{
    uint32_t n = 0;

    *ret_end = *from;
    while (n < plain) {
        uint32_t have;
        hr_piece_iter_peek(ret_end, &have);
        if (n + have > leg->fragment_max) {
            if (n > 0)
                break;
            have = leg->fragment_max;
        }
        hr_piece_iter_advance(ret_end, have);
        n += have;
    }
    return n;
}

/* One record of application data. False: no memory. */
static bool seal_record(struct hr_rec *rec, struct hr_rec_leg *leg)
{
    uint32_t head = head_len(leg);
    struct hr_piece_iter it, end;
    uint8_t *p;

    hr_piece_iter_at(&it, &leg->unsealed, leg->sealed);
    if (leg->header_made) {
        uint32_t have;
        p = (uint8_t *)(uintptr_t)hr_piece_iter_peek(&it, &have);
        hr_piece_iter_advance(&it, head);
    } else {
        p = hr_pieceq_gap(rec->cfg.bufs, &leg->unsealed, &it, head, true);
        if (!p)
            return false;
        leg->header_made = true;
    }
    uint32_t left = cut(leg, &it, leg->unsealed.bytes - leg->sealed - head, &end), n = left;
    uint8_t *tail = hr_pieceq_gap(rec->cfg.bufs, &leg->unsealed, &end, tail_len(leg), false);
    if (!tail)
        return false;

    struct hr_aead_key *key = begin(rec, leg, p, HR_REC_APPLICATION_DATA, n);
    while (left > 0) {
        uint32_t have;
        uint8_t *q = (uint8_t *)(uintptr_t)hr_piece_iter_peek(&it, &have);
        uint32_t step = have < left ? have : left;
        hr_rec_check_ours(&it);
        hr_rec_fetch_ahead(&it);
        hr_aead_seal(rec->lib, key, &rec->op, q, step); /* in place: the range is ours alone, see record.h */
        hr_piece_iter_advance(&it, step);
        left -= step;
    }
    finish(rec, leg, key, tail, HR_REC_APPLICATION_DATA);
    leg->header_made = false;
    leg->sealed += head + n + tail_len(leg);
    return true;
}

static uint32_t send_sealed(struct hr_rec *rec, struct hr_rec_leg *leg, struct hr_pieceq *out, bool *ret_again)
{
    uint32_t n = leg->sealed;
    if (n == 0)
        return 0;
    if (hr_pieceq_move(rec->cfg.bufs, out, &leg->unsealed, n) != 0) {
        *ret_again = true;
        return 0;
    }
    leg->sealed = 0;
    return n;
}

uint32_t hr_rec_seal(struct hr_rec *rec, struct hr_rec_leg *leg, struct hr_pieceq *out, bool *ret_again)
{
    *ret_again = false;
    if (leg->gone) {
        hr_pieceq_clear(rec->cfg.bufs, &leg->unsealed);
        return 0;
    }
    do {
        if (!due_records(rec, leg)) {
            *ret_again = true;
            break;
        }
        uint32_t framing = leg->sealed + (leg->header_made ? head_len(leg) : 0);
        if (leg->unsealed.bytes == framing)
            break;
        *ret_again = !seal_record(rec, leg);
    } while (!*ret_again);
    return send_sealed(rec, leg, out, ret_again);
}

uint32_t hr_rec_say_goodbye(struct hr_rec *rec, struct hr_rec_leg *leg, enum hr_rec_alert alert, struct hr_pieceq *out)
{
    const uint8_t content[] = {alert == HR_REC_ALERT_close_notify ? 1 : 2, (uint8_t)alert};
    bool again = false;

    if (leg->gone)
        return 0;
    leg->gone = true; /* with or without the alert: the connection ends behind it */
    uint32_t sent = send_sealed(rec, leg, out, &again), last = 0;
    hr_pieceq_clear(rec->cfg.bufs, &leg->unsealed);
    leg->sealed = 0;
    if (!again && own_record(rec, leg, HR_REC_ALERT, content, sizeof(content)))
        last = send_sealed(rec, leg, out, &again);
    hr_pieceq_clear(rec->cfg.bufs, &leg->unsealed);
    leg->sealed = 0;
    if (last && alert == HR_REC_ALERT_close_notify)
        HR_COUNT(rec->cfg.stats, tls_close_notify_tx);
    else if (last)
        HR_COUNT(rec->cfg.stats, tls_alerts_tx);
    return sent + last;
}

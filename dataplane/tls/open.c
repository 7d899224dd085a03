/* Records that arrive: from ciphertext in the receive queue to plain text in a queue of the leg's own, in place.
 *
 * A record waits in the receive queue until all of it is there; its length is checked before anything else of it is
 * believed. Then it is decrypted where it stands, and once its tag has been verified its content moves on and what
 * stood around it is dropped. What was verified but could not move for lack of memory is remembered (leg->opened):
 * no byte is decrypted twice. */
#include <string.h>

#include "dataplane/tls/impl.h"

/* TLS 1.3: padding and type may take so much beyond the content and tag (RFC 8446 5.2). */
#define EXPANSION_1_3 256

static uint32_t header_len(const struct hr_rec_leg *leg)
{
    return leg->version == HR_TLS_1_2 ? HR_REC_HEADER_LEN + HR_REC_NONCE_LEN : HR_REC_HEADER_LEN;
}

/* The most that may follow a header. */
static uint32_t length_max(const struct hr_rec_leg *leg)
{
    return leg->fragment_max + (leg->version == HR_TLS_1_2 ? HR_REC_NONCE_LEN + HR_AEAD_TAG_LEN : EXPANSION_1_3);
}

static uint32_t length_min(const struct hr_rec_leg *leg)
{
    return HR_AEAD_TAG_LEN + (leg->version == HR_TLS_1_2 ? HR_REC_NONCE_LEN : 1);
}

static bool fail(struct hr_rec_leg *leg, struct hr_rec_opened *ret, enum hr_drop verdict, enum hr_rec_alert alert)
{
    leg->alert = (uint8_t)alert;
    ret->verdict = verdict;
    return false;
}

/* Crumbs behind other content are copied into buffers that they share: a record of one byte would keep a piece, and
 * part of a chunk, for that byte. False: not one, or no buffer. */
static bool pass_on_crumb(struct hr_rec *rec, struct hr_rec_leg *leg, struct hr_pieceq *in)
{
    uint8_t crumb[HR_COPY_BREAK];

    if (leg->opened >= HR_COPY_BREAK || leg->plain.n_pieces == 0)
        return false;
    hr_pieceq_peek(in, 0, crumb, leg->opened);
    if (hr_pieceq_push_bytes(rec->cfg.bufs, &leg->plain, crumb, leg->opened) != 0)
        return false;
    hr_pieceq_drop(rec->cfg.bufs, in, leg->opened);
    HR_COUNT_N(rec->cfg.stats, coalesced_bytes, leg->opened);
    return true;
}

/* Moves what was verified on. False: no memory. */
static bool pass_on(struct hr_rec *rec, struct hr_rec_leg *leg, struct hr_pieceq *in, struct hr_rec_opened *ret)
{
    if (leg->opened > 0) {
        if (!pass_on_crumb(rec, leg, in) && hr_pieceq_move(rec->cfg.bufs, &leg->plain, in, leg->opened) != 0)
            return false;
        ret->taken += leg->opened;
        leg->opened = 0;
    }
    hr_pieceq_drop(rec->cfg.bufs, in, leg->trailer);
    ret->taken += leg->trailer;
    leg->trailer = 0;
    return true;
}

/* Decrypts len bytes at byte at of in where they stand, and verifies the tag behind them; *ret_last is the last byte
 * of them. The ranges are ours alone, see record.h, so the reference count of a buffer does not matter. */
static bool decrypt(struct hr_rec *rec, struct hr_aead_key *key, const struct hr_pieceq *in, uint32_t at, uint32_t len,
                    uint8_t *ret_last)
{
    struct hr_piece_iter it;
    uint8_t tag[HR_AEAD_TAG_LEN];

    hr_piece_iter_at(&it, in, at);
    while (len > 0) {
        uint32_t have;
        uint8_t *p = (uint8_t *)(uintptr_t)hr_piece_iter_peek(&it, &have);
        uint32_t n = have < len ? have : len;
        hr_rec_check_ours(&it);
        hr_rec_fetch_ahead(&it);
        hr_aead_open(rec->lib, key, &rec->op, p, n);
        *ret_last = p[n - 1];
        hr_piece_iter_advance(&it, n);
        len -= n;
    }
    for (uint32_t n = 0; n < sizeof(tag);) {
        uint32_t have;
        const uint8_t *p = hr_piece_iter_peek(&it, &have);
        uint32_t step = have < sizeof(tag) - n ? have : (uint32_t)sizeof(tag) - n;
        memcpy(tag + n, p, step);
        hr_piece_iter_advance(&it, step);
        n += step;
    }
    return hr_aead_open_end(rec->lib, key, &rec->op, tag);
}

/* TLSInnerPlaintext (RFC 8446 5.2): the last byte that is not zero is the type. Bytes in front of it, or UINT32_MAX
 * where all are zero. */
static uint32_t without_padding(const struct hr_pieceq *in, uint32_t at, uint32_t len, uint8_t *type)
{
    struct hr_piece_iter it;
    uint32_t found = UINT32_MAX;

    if (*type != 0)
        return len - 1;
    hr_piece_iter_at(&it, in, at);
    for (uint32_t done = 0; done < len;) {
        uint32_t have;
        const uint8_t *p = hr_piece_iter_peek(&it, &have);
        uint32_t n = have < len - done ? have : len - done;
        for (uint32_t i = n; i-- > 0;)
            if (p[i] != 0) {
                found = done + i;
                *type = p[i];
                break;
            }
        hr_piece_iter_advance(&it, n);
        done += n;
    }
    return found;
}

/* Of TLS 1.2 only a protected Alert, Handshake or ApplicationData may come; of TLS 1.3 nothing shows its type. */
static bool type_ok(const struct hr_rec_leg *leg, const uint8_t *header)
{
    if (leg->version == HR_TLS_1_3)
        return header[0] == HR_REC_APPLICATION_DATA;
    return (header[0] == HR_REC_APPLICATION_DATA || header[0] == HR_REC_ALERT || header[0] == HR_REC_HANDSHAKE) &&
           header[1] == 3 && header[2] == 3;
}

/* A record that is there: false where the call is over. */
static bool open_record(struct hr_rec *rec, struct hr_rec_leg *leg, struct hr_pieceq *in, uint32_t length,
                        const uint8_t *header, struct hr_rec_opened *ret)
{
    uint32_t head = header_len(leg), cipher_len = HR_REC_HEADER_LEN + length - head - HR_AEAD_TAG_LEN;
    uint8_t nonce[HR_REC_NONCE_LEN] = {0}, type = 0;

    /* Not reached while anybody obeys the limits; nonces never come twice. */
    if (leg->read.seq == UINT64_MAX)
        return fail(leg, ret, HR_DROP_tls_key_limit, HR_REC_ALERT_internal_error);
    if (leg->version == HR_TLS_1_2)
        hr_pieceq_peek(in, HR_REC_HEADER_LEN, nonce, sizeof(nonce));
    struct hr_aead_key *key = hr_rec_begin(rec, leg, &leg->read, header, nonce, cipher_len);
    if (!decrypt(rec, key, in, head, cipher_len, &type))
        return fail(leg, ret, HR_DROP_tls_bad_record_mac, HR_REC_ALERT_bad_record_mac);
    HR_COUNT(rec->cfg.stats, tls_records_rx);

    uint32_t content = cipher_len;
    if (leg->version == HR_TLS_1_3)
        content = without_padding(in, head, cipher_len, &type);
    else
        type = header[0];
    if (content == UINT32_MAX) /* RFC 8446 5.4 */
        return fail(leg, ret, HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
    if (content > leg->fragment_max)
        return fail(leg, ret, HR_DROP_tls_record_overflow, HR_REC_ALERT_record_overflow);
    if (hr_rec_mid_message(leg) && type != HR_REC_HANDSHAKE)
        return fail(leg, ret, HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);

    struct hr_rec_outcome o = {HR_DROP_MAX, HR_REC_ALERT_close_notify};
    uint32_t keep = 0;
    if (type == HR_REC_APPLICATION_DATA)
        keep = content;
    else if (type == HR_REC_HANDSHAKE)
        o = hr_rec_post_handshake(rec, leg, in, head, content);
    else if (type == HR_REC_ALERT)
        o = hr_rec_post_alert(rec, leg, in, head, content);
    else
        o = (struct hr_rec_outcome){HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message};
    if (o.verdict != HR_DROP_MAX)
        return fail(leg, ret, o.verdict, o.alert);

    leg->barren = keep > 0 ? 0 : leg->barren + 1;
    if (leg->barren > HR_REC_BARREN_MAX)
        return fail(leg, ret, HR_DROP_tls_barren, HR_REC_ALERT_unexpected_message);
    hr_pieceq_drop(rec->cfg.bufs, in, head);
    ret->taken += head;
    leg->opened = keep;
    leg->trailer = HR_REC_HEADER_LEN + length - head - keep;
    return true;
}

/* The peer's key has been used for long enough: ask for another, or see that the connection ends. */
static void note_wear(struct hr_rec *rec, struct hr_rec_leg *leg)
{
    if (!hr_rec_half_worn(rec, &leg->read))
        return;
    if (leg->version == HR_TLS_1_2) {
        leg->worn_out = true;
    } else if (!leg->asked && !leg->ask_due) {
        leg->update_due = leg->ask_due = true;
    }
}

void hr_rec_open(struct hr_rec *rec, struct hr_rec_leg *leg, struct hr_pieceq *in, uint32_t enough,
                 struct hr_rec_opened *ret)
{
    *ret = (struct hr_rec_opened){.verdict = HR_DROP_MAX};
    for (uint32_t n = 0;; n++) {
        if (!pass_on(rec, leg, in, ret)) {
            ret->again = true;
            break;
        }
        if (leg->ended) { /* RFC 8446 6.1: what follows is ignored */
            ret->taken += in->bytes;
            hr_pieceq_clear(rec->cfg.bufs, in);
            break;
        }
        if (leg->plain.bytes >= enough)
            break;
        if (in->bytes < HR_REC_HEADER_LEN) {
            ret->want = HR_REC_HEADER_LEN + length_max(leg) - in->bytes;
            break;
        }
        uint8_t header[HR_REC_HEADER_LEN];
        hr_pieceq_peek(in, 0, header, sizeof(header));
        uint32_t length = (uint32_t)header[3] << 8 | header[4];
        if (!type_ok(leg, header)) {
            fail(leg, ret, HR_DROP_tls_unexpected, HR_REC_ALERT_unexpected_message);
            break;
        }
        if (length > length_max(leg)) {
            fail(leg, ret, HR_DROP_tls_record_overflow, HR_REC_ALERT_record_overflow);
            break;
        }
        if (length < length_min(leg)) {
            fail(leg, ret, HR_DROP_tls_malformed, HR_REC_ALERT_decode_error);
            break;
        }
        if (in->bytes < HR_REC_HEADER_LEN + length) {
            ret->want = HR_REC_HEADER_LEN + length - in->bytes;
            break;
        }
        if (n == HR_REC_RECORDS_PER_CALL) {
            ret->again = true;
            break;
        }
        if (!open_record(rec, leg, in, length, header, ret))
            break;
        note_wear(rec, leg);
    }
    ret->reply = !leg->gone && (leg->update_due || leg->refusal_due);
}

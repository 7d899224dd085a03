/* Private to dataplane/tls: what a leg is made of, and the calls between the files.
 *
 *   record.c creation, legs, keys of a direction
 *   keys.c   expanded keys, least recently used first out
 *   open.c   records that arrive
 *   post.c   handshake messages and alerts that arrive after the handshake
 *   seal.c   records that leave
 *   hkdf.c   key derivation; aead_*.c ciphers */
#pragma once

#include <rte_prefetch.h>

#include "dataplane/tls/aead.h"
#include "dataplane/tls/record.h"

#define HR_REC_HEADER_LEN 5
#define HR_REC_NONCE_LEN 8 /* explicit, TLS 1.2 */

enum hr_rec_content {
    HR_REC_CHANGE_CIPHER_SPEC = 20,
    HR_REC_ALERT = 21,
    HR_REC_HANDSHAKE = 22,
    HR_REC_APPLICATION_DATA = 23
};

/* One direction. */
struct hr_rec_half {
    uint8_t secret[HR_TLS_SECRET_MAX]; /* TLS 1.3 */
    uint8_t key[HR_TLS_KEY_MAX];
    uint8_t iv[HR_AEAD_IV_LEN]; /* TLS 1.2: its fixed part */
    uint32_t cached;            /* place of the expanded key, 0: none */
    uint64_t seq;               /* of the next record */
    uint64_t explicit_nonce;    /* TLS 1.2, sealing: the next one */
    uint64_t blocks;            /* of 16 bytes, under this key: RFC 8446 5.5 */
    uint32_t generation;
    bool seals;
};

struct hr_rec_leg {
    struct hr_rec_leg *next_free;
    uint8_t version;  /* enum hr_tls_version, NONE: free */
    uint8_t suite;    /* enum hr_tls_suite */
    uint8_t role;     /* enum hr_tls_role */
    uint8_t alert;    /* enum hr_rec_alert, after a verdict */
    uint16_t fragment_max;
    uint8_t barren;   /* records in a row without application data */
    bool ended : 1;   /* close_notify has arrived */
    bool gone : 1;    /* we have said the last word: nothing is sealed any more */
    bool update_due : 1;      /* a KeyUpdate of ours, before the next record of application data */
    bool ask_due : 1;         /* it is to ask for the peer's too */
    bool asked : 1;           /* and has; until the peer's arrives */
    bool refusal_due : 1;     /* no_renegotiation */
    bool worn_out : 1;        /* TLS 1.2: a key is near its limit */
    bool header_made : 1;     /* sealing stopped for lack of memory behind the header's place */
    struct {
        uint8_t have;    /* bytes of the head */
        uint8_t head[4]; /* type and length of a handshake message that has begun */
        uint32_t left;   /* bytes of its body to come */
    } message;
    uint32_t opened;  /* bytes at the front of the receive queue that are plain text of a verified record */
    uint32_t trailer; /* and so many behind them to be dropped */
    uint32_t sealed;  /* bytes at the front of unsealed that are sealed */
    struct hr_pieceq plain, unsealed;
    struct hr_rec_half read, write;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct hr_rec_leg) <= 512, "one for each TLS leg, idle or not");

struct hr_rec_key {
    struct hr_aead_key key;
    struct hr_rec_half *owner; /* NULL: free */
    uint32_t prev, next;       /* a ring through place 0, most recently used first */
};

struct hr_rec {
    struct hr_rec_config cfg;
    struct hr_aead *lib;
    size_t mapped; /* bytes of this mapping */
    struct hr_rec_leg *legs, *free;
    struct hr_rec_key *keys;
    uint32_t n_open;
    struct hr_aead_op op; /* of the record under way: key stream, so here and not on the stack */
};

/* The expanded key of a direction, from now on the most recently used. */
struct hr_aead_key *hr_rec_key_get(struct hr_rec *rec, const struct hr_rec_leg *leg, struct hr_rec_half *half);
/* Wipes it, if there is one. */
void hr_rec_key_drop(struct hr_rec *rec, struct hr_rec_half *half);

/* TLS 1.3: the next generation of secrets (RFC 8446 7.2). */
void hr_rec_half_update(struct hr_rec *rec, const struct hr_rec_leg *leg, struct hr_rec_half *half);
/* Full-size records' worth of blocks under the current key, against the limit. */
bool hr_rec_half_worn(const struct hr_rec *rec, const struct hr_rec_half *half);
/* Begins the next record of a direction, in rec->op; counts it. In TLS 1.2 explicit_nonce is what the record
 * carries, and content_len what the additional data says; TLS 1.3 takes the header as it is. */
struct hr_aead_key *hr_rec_begin(struct hr_rec *rec, const struct hr_rec_leg *leg, struct hr_rec_half *half,
                                 const uint8_t header[HR_REC_HEADER_LEN], const uint8_t *explicit_nonce,
                                 uint32_t content_len);

/* What a record that is no application data means. HR_DROP_MAX: go on. */
struct hr_rec_outcome {
    enum hr_drop verdict;
    enum hr_rec_alert alert;
};
/* The content, at byte at of in, len bytes of it; a record's at once. */
struct hr_rec_outcome hr_rec_post_handshake(struct hr_rec *rec, struct hr_rec_leg *leg, const struct hr_pieceq *in,
                                            uint32_t at, uint32_t len);
struct hr_rec_outcome hr_rec_post_alert(struct hr_rec *rec, struct hr_rec_leg *leg, const struct hr_pieceq *in,
                                        uint32_t at, uint32_t len);

/* Debug builds check what record.h says of ownership as far as it can be seen from here: the bytes at the position are
 * in a buffer, not in a reference to one, and the next piece of the queue does not overlap them. */
static inline void hr_rec_check_ours(const struct hr_piece_iter *it)
{
#ifdef HR_MBUF_DEBUG
    const struct hr_piece *p = &it->chunk->piece[it->index];
    RTE_VERIFY(RTE_MBUF_DIRECT(p->mbuf) && rte_mbuf_refcnt_read(p->mbuf) > 0);
    if (it->index + 1 < it->chunk->tail && p[1].mbuf == p->mbuf)
        RTE_VERIFY(p[1].off >= p->off + p->len || p[1].off + p[1].len <= p->off);
#else
    (void)it;
#endif
}

/* A record waits for its end, while other connections' bytes pass: by then its first segments are in no near cache any
 * more. So, before the piece at the position goes through the cipher, the beginning of the next one is asked for (the
 * rest the processor does itself), and the buffer of the one behind that. */
#define HR_REC_FETCH 2048u
static inline void hr_rec_fetch_ahead(const struct hr_piece_iter *it)
{
    const struct hr_piece_chunk *c = it->chunk;
    uint32_t index = it->index + 1u;

    if (unlikely(index == c->tail)) {
        if ((c = c->next) == NULL)
            return;
        index = c->head;
    }
    const struct hr_piece *p = &c->piece[index];
    if (likely(index + 1u < c->tail))
        rte_prefetch0(p[1].mbuf);
    const uint8_t *data = hr_piece_data(p);
    for (uint32_t i = 0; i < RTE_MIN((uint32_t)p->len, HR_REC_FETCH); i += RTE_CACHE_LINE_SIZE)
        rte_prefetch0(data + i);
}

static inline bool hr_rec_mid_message(const struct hr_rec_leg *leg)
{
    return leg->message.have > 0;
}

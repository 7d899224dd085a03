/* The record layer of TLS 1.2 and 1.3 on packet buffers, sans-IO.
 *
 * The control plane does handshakes; what a worker takes over is struct hr_tls_secrets. From then on a leg's bytes
 * go through two queues of its own:
 *
 *     receive queue --open--> plain --> relay --> unsealed --seal--> send queue
 *
 * Ownership is by byte range. A queued range has one owner, whatever the reference count of its buffer says: where a
 * boundary falls inside a buffer, two pieces refer to it, on disjoint ranges, and each may be transformed in place.
 * Nothing else ever refers to a range that stands in one of these queues: a transmission refers to the send queue,
 * which holds ciphertext. So a retransmission never encrypts, and no payload is copied; a record's header and tag
 * are cut off the pieces, or stand in room that their buffers have, or in small buffers of their own.
 *
 * A record is opened when all of it is there, and its bytes go on only after its tag was verified. Records that we
 * make end where buffers end, as far as the negotiated size allows.
 *
 * Failures end the session: the verdict is a drop reason, hr_rec_alert_due() has what the peer should be told.
 *
 * Secrets lie in one locked mapping that core dumps leave out, and are wiped when their leg closes. Expanded keys
 * (about 1 KB for each direction) are kept for the directions used last only.
 *
 * Where to start: hr_rec_open() in open.c, hr_rec_seal() in seal.c; post.c has what a peer may say besides data. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/buf/buf.h"
#include "shared/tls/secrets.h"

struct hr_rec;     /* one worker's */
struct hr_rec_leg; /* one TLS connection's */

/* Records in a row that bring no application data: empty ones, tickets, key updates, warnings. */
#define HR_REC_BARREN_MAX 32
/* Records opened per call, so that other connections get their turn. */
#define HR_REC_RECORDS_PER_CALL 64
/* What a record has beyond its content: header 5, explicit nonce 8 (1.2), type 1 (1.3), tag 16. */
#define HR_REC_OVERHEAD_MAX 29

/* RFC 8446 6. X(name, number) */
#define HR_REC_ALERTS(X)                                                                                     \
    X(close_notify, 0) X(unexpected_message, 10) X(bad_record_mac, 20) X(record_overflow, 22)                \
    X(handshake_failure, 40) X(illegal_parameter, 47) X(decode_error, 50) X(internal_error, 80)              \
    X(user_canceled, 90) X(no_renegotiation, 100)

enum hr_rec_alert {
#define X(name, number) HR_REC_ALERT_##name = number,
    HR_REC_ALERTS(X)
#undef X
};

struct hr_rec_config {
    uint32_t max_legs;      /* TLS connections at once */
    uint32_t max_keys;      /* expanded keys kept, at least 2 */
    uint32_t rekey_records; /* full-size records (RFC 8446 5.5), or as many bytes of smaller ones, sealed or opened
                               with one key: TLS 1.3 updates its key then, TLS 1.2 is to be closed */
    struct hr_buf_ctx *bufs;
    struct hr_stats *stats;
};

/* All memory is allocated and locked here. REFUSED: it may not be locked; UNSUPPORTED: no such processor. */
HR_MUST_CHECK int hr_rec_create(const struct hr_rec_config *cfg, struct hr_rec **ret_rec);
/* Every leg has been closed. */
void hr_rec_destroy(struct hr_rec *rec);

/* A leg from what the control plane handed over; the caller wipes its copy. INVALID: the secrets are not; FULL: no
 * place left. */
HR_MUST_CHECK int hr_rec_leg_open(struct hr_rec *rec, const struct hr_tls_secrets *secrets,
                                  struct hr_rec_leg **ret_leg);
/* Wipes its secrets and gives back what its queues hold. */
void hr_rec_leg_close(struct hr_rec *rec, struct hr_rec_leg *leg);

/* A leg's place, from 1 on, for those who have no room for a pointer. */
uint32_t hr_rec_leg_place(const struct hr_rec *rec, const struct hr_rec_leg *leg);
struct hr_rec_leg *hr_rec_leg_at(const struct hr_rec *rec, uint32_t place);

/* Opened bytes that nobody has taken yet. */
struct hr_pieceq *hr_rec_plain(struct hr_rec_leg *leg);
/* Bytes to be sealed: append here, then hr_rec_seal(). Usually empty between calls. */
struct hr_pieceq *hr_rec_unsealed(struct hr_rec_leg *leg);

struct hr_rec_opened {
    enum hr_drop verdict; /* HR_DROP_MAX: go on; else close the leg for this reason */
    uint32_t taken;       /* bytes that left the receive queue */
    uint32_t want;        /* bytes that are missing for the next record; 0 where that is not what it waits for */
    bool again;           /* more could be opened: memory was short, or others have their turn */
    bool reply;           /* a record of our own is due: call hr_rec_seal() */
};

/* Opens records of in, the receive queue, until plain holds at least enough bytes. 0 opens none. */
void hr_rec_open(struct hr_rec *rec, struct hr_rec_leg *leg, struct hr_pieceq *in, uint32_t enough,
                 struct hr_rec_opened *ret);

/* Seals what is unsealed, and what else is due, to the end of out. Returns the bytes that out has got; ret_again:
 * some are left, memory was short. */
uint32_t hr_rec_seal(struct hr_rec *rec, struct hr_rec_leg *leg, struct hr_pieceq *out, bool *ret_again);

/* The last record: an alert, behind everything sealed (close_notify is an orderly end). What is still unsealed is
 * dropped. Once per leg; does nothing later. Returns the bytes that out has got; where memory is short, the alert is
 * not among them, and never comes. */
uint32_t hr_rec_say_goodbye(struct hr_rec *rec, struct hr_rec_leg *leg, enum hr_rec_alert alert,
                            struct hr_pieceq *out);
/* What to say after a verdict; close_notify where there was none. */
enum hr_rec_alert hr_rec_alert_due(const struct hr_rec_leg *leg);

/* The peer has said close_notify: what it sends later is dropped. */
bool hr_rec_ended(const struct hr_rec_leg *leg);
/* TLS 1.2 near the limit of its key: end the session where no frame is under way. */
bool hr_rec_worn_out(const struct hr_rec_leg *leg);

/* For people. */
struct hr_rec_info {
    uint8_t version, suite, role;
    uint16_t fragment_max;
    uint64_t read_seq, write_seq;
    uint32_t read_generation, write_generation;
};
void hr_rec_leg_get_info(const struct hr_rec_leg *leg, struct hr_rec_info *ret_info);

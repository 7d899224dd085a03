/* Logins in mid-session (KIP-368), as the relay of one session takes part in them. The control plane logs in, and
 * judges who logs in; here is where its frames stand among the others.
 *
 *   client's (a listener that terminates authentication)
 *     IDLE -> FRAME   SaslHandshake or SaslAuthenticate, whole, stands at the front of what the client has sent; it has
 *                     its record among the requests in flight, and nothing behind it is read
 *     FRAME -> ASKED  all of it has gone up
 *     ASKED -> REPLY  the answer is there, the frame has been wiped and dropped; the answer leaves when the record's turn
 *                     comes, and the session goes on
 *
 *   broker's
 *     IDLE -> READY   a frame of our own is there: it goes out at the next boundary between requests, with a record of
 *                     its own, and from then on (holds) the client's requests wait unread; those that come when it is due
 *                     wait for it for a moment, too: behind a request that the broker answers late they would be there
 *                     when the login has expired
 *     READY -> SENT   it is under way
 *     SENT -> ANSWER  its answer, whole, stands at the front of what the broker has sent: it does not go to the client
 *     ANSWER -> NEXT  all of it has gone up and been dropped; next comes another frame (READY), or the end (IDLE)
 *
 * Answers are matched by order, as any other: correlation ids of ours may equal a client's. Whoever owns the relay moves
 * frames up and answers down (dataplane/proxy/auth.c) and says what time it is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/buf/buf.h"

/* Of a client: sasl.server.max.receive.size of a broker. Ours to a broker, and answers of either kind. */
#define HR_REAUTH_CLIENT_MAX (4u + 524288u)
#define HR_REAUTH_FRAME_MAX  (4u + 65536u)

#define HR_REAUTH_CLIENT_STATES(X) X(IDLE) X(FRAME) X(ASKED) X(REPLY)
#define HR_REAUTH_BROKER_STATES(X) X(IDLE) X(READY) X(SENT) X(ANSWER) X(NEXT)

enum hr_reauth_client {
#define X(name) HR_REAUTH_CLIENT_##name,
    HR_REAUTH_CLIENT_STATES(X)
#undef X
};

enum hr_reauth_broker {
#define X(name) HR_REAUTH_BROKER_##name,
    HR_REAUTH_BROKER_STATES(X)
#undef X
};

struct hr_reauth {
    uint8_t client; /* enum hr_reauth_client */
    uint8_t broker; /* enum hr_reauth_broker */
    bool terminates;     /* the client's SASL frames are ours to answer */
    bool client_begun;   /* SaslHandshake has been answered: SaslAuthenticate is what may follow */
    bool client_ends;    /* the answer is the last that the client gets */
    bool client_expired; /* now; kept by the owner */
    bool broker_due;     /* the same */
    bool broker_expired; /* the same */
    bool broker_waits;   /* the same: it is due, and our first frame is awaited */
    bool broker_holds;   /* from our first frame until the login is over */
    bool wanted;         /* a request is there and the broker's login is due; cleared by the owner */
    uint32_t client_frame;   /* FRAME, ASKED: bytes of it */
    uint32_t broker_answer;  /* ANSWER: the same */
    struct hr_pieceq reply;  /* to the client */
    struct hr_pieceq frame;  /* to the broker */
    struct hr_pieceq sent;   /* references to it, to wipe it when it has been answered */
};

void hr_reauth_init(struct hr_reauth *reauth, bool terminates);
/* Wipes and gives back what it holds. */
void hr_reauth_fini(struct hr_buf_ctx *bufs, struct hr_reauth *reauth);

/* frame is complete. False: it is not a frame that may go now (SaslHandshake first, then SaslAuthenticate). */
bool hr_reauth_ready(struct hr_reauth *reauth);
/* The broker's answer has gone up and left its queue. */
struct hr_relay;
struct hr_relay_ctx;
void hr_reauth_answered(struct hr_relay_ctx *ctx, struct hr_relay *relay, struct hr_reauth *reauth);
/* The login to the broker is over: requests go on. */
void hr_reauth_over(struct hr_reauth *reauth);

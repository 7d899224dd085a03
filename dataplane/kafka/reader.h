/* A consumer's connection to a broker outside of the client's zone, whose fetches may go to a follower in that zone.
 *
 * All that is read of a Fetch is which partitions it is about: those of its fetch session, which earlier requests have
 * named (fetchset.h). When each of them has a replica that is in sync, in the zone, and on one and the same broker,
 * the request goes there as it is, over the session's second leg, the branch. A follower answers a consumer as a leader
 * does, but for offsets that it has not learned of yet.
 *
 * The session's owner opens the branch and says when it is gone. What has been sent on it and is not answered is kept
 * as a copy, so that it can be asked again elsewhere: requests are small, and there are one or two.
 *
 * While the topic's reads are "auto", bytes decide: a connection begins in the zone and stays while it carries
 * policy.zone_reads_min_bytes each second (half of it keeps it there), because a follower learns of new records one
 * fetch of its own later than the leader has them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/buf/buf.h"
#include "dataplane/kafka/fetchset.h"
#include "shared/base/counters.h"
#include "shared/ipc/policy.h"
#include "shared/ipc/replicas.h"
#include "shared/kafka/program.h"

/* Consumers' connections of one worker that are looked after, and partitions of all of them. */
#define HR_READERS_MAX      8192
#define HR_READER_MEMBERS   65536
/* Of the requests on a branch: how many, and the bytes that are kept of them. */
#define HR_READER_OUT_MAX   8
#define HR_READER_KEPT_MAX  (128u * 1024)
/* A longer Fetch is not looked into. */
#define HR_READER_FETCH_MAX (64u * 1024)
/* The first version that a follower answers a consumer (KIP-392). */
#define HR_READER_FETCH_MIN 11
/* A request's own time, and this: then the follower is taken for dead. */
#define HR_READER_GRACE_US  3000000u
/* The leader's for so long: after the branch has failed; after an error of the follower's. */
#define HR_READER_RETRY_US  10000000u
#define HR_READER_WARY_US   60000000u
/* The rate is looked at so often. */
#define HR_READER_RATE_US   5000000u

/* Why a consumer's fetch stays with the leader. X(name, text): each has a counter reads_home_<name>. */
#define HR_READER_REASONS(X)                                                                                 \
    X(off, "zone_reads is off for the listener or a topic")                                                  \
    X(old, "the client's version of Fetch is older than 11")                                                 \
    X(login, "the brokers want TLS or a login, or the client logged in through us")                          \
    X(replica, "a partition has no replica in the zone that is in sync and answers")                         \
    X(split, "the partitions' replicas in the zone are on several brokers")                                  \
    X(version, "the follower does not know the client's version of Fetch")                                   \
    X(rate, "too few bytes to be worth it")                                                                  \
    X(bypass, "the follower has failed lately")                                                              \
    X(limit, "too many connections, partitions or requests to keep account of")

enum hr_reader_reason {
    HR_READER_NONE = 0, /* it goes to the follower */
#define X(name, text) HR_READER_##name,
    HR_READER_REASONS(X)
#undef X
    HR_READER_REASON_MAX
};

#define X(name, text) _Static_assert(HR_CTR_reads_home_##name - HR_CTR_reads_home_off == HR_READER_##name - HR_READER_off, #name);
HR_READER_REASONS(X)
#undef X

struct hr_reader {
    uint32_t next_free; /* number, 0: none */
    int32_t home;       /* the broker that the session is with: the partitions' leader */
    int32_t target;     /* the follower, -1: none */
    int16_t target_version; /* its highest of Fetch */
    uint8_t zone;       /* of the client */
    uint8_t why;        /* enum hr_reader_reason, where there is no target */
    bool known : 1;     /* set is complete */
    bool asked_all : 1; /* the client has been made to name all partitions again */
    bool changed : 1;   /* since the target was looked for */
    bool always : 1;    /* every topic's reads are "on": bytes do not matter */
    bool worth_it : 1;
    uint32_t epoch;     /* of the map, when the target was looked for */
    struct hr_fetch_set set;
    uint64_t rate_since_us, rate_bytes;
    uint64_t bypass_until_us;
    struct hr_pieceq kept; /* requests without an answer, whole frames */
    uint32_t n_out;
    uint32_t wait_ms_of_next; /* of a request that waits for the branch */
    uint32_t wait_us;      /* the longest that one of them may take by itself */
    uint64_t late_at_us;   /* the oldest one is late then; UINT64_MAX: never */
};

/* What the readers of one worker share. */
struct hr_readers {
    struct hr_reader *readers; /* numbers begin with 1 */
    uint32_t n, free;
    struct hr_fetch_pool members;
    const struct hr_policy *policy;
    const struct hr_replicas *map; /* NULL: none yet */
    uint32_t epoch;                /* changes with either */
    uint8_t zone[HR_REPLICAS_MAX_BROKERS]; /* of the map's brokers, where reads may go now; HR_ZONE_NONE: they may not */
};

HR_MUST_CHECK int hr_readers_init(struct hr_readers *readers, uint32_t max_readers, uint32_t max_members);
void hr_readers_fini(struct hr_readers *readers);
/* policy is not NULL; both are borrowed until the next call. */
void hr_readers_adopt(struct hr_readers *readers, const struct hr_policy *policy, const struct hr_replicas *map);

/* NULL: all are in use. */
struct hr_reader *hr_reader_take(struct hr_readers *readers, int32_t home, uint8_t zone, uint64_t now_us);
void hr_reader_give_back(struct hr_readers *readers, struct hr_buf_ctx *bufs, struct hr_reader *reader);
static inline struct hr_reader *hr_reader_at(const struct hr_readers *readers, uint32_t number)
{
    return &readers->readers[number - 1];
}
static inline uint32_t hr_reader_number(const struct hr_readers *readers, const struct hr_reader *reader)
{
    return (uint32_t)(reader - readers->readers) + 1;
}

/* What a Fetch says besides its partitions. */
struct hr_reader_fetch {
    int16_t version;
    uint32_t len;
    uint32_t wait_ms;
    bool replica; /* no consumer: another broker */
    bool incremental; /* it changes a fetch session */
};
/* Reads a whole frame and keeps account of the fetch session; program: of that version, telling the roles that
 * FetchRequest has. */
void hr_reader_note(struct hr_readers *readers, struct hr_reader *reader, const struct hr_kprogram *program,
                    const uint8_t *frame, struct hr_reader_fetch *fetch);
/* Where that one goes: NONE: to reader->target, by the branch; else to the leader. */
enum hr_reader_reason hr_reader_decide(struct hr_readers *readers, struct hr_reader *reader,
                                       const struct hr_policy_listener *listener, const struct hr_reader_fetch *fetch,
                                       uint64_t now_us);

/* To the leader until then. */
static inline void hr_reader_bypass(struct hr_reader *reader, uint64_t until_us)
{
    if (reader->bypass_until_us < until_us)
        reader->bypass_until_us = until_us;
}
/* The request that waited goes out on the branch: it has been appended to kept. */
void hr_reader_sent(struct hr_reader *reader, uint64_t now_us);
/* The oldest of them has been answered. */
void hr_reader_answered(struct hr_reader *reader, struct hr_buf_ctx *bufs, uint64_t now_us);

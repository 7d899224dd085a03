/* The shared region and its rings, from both ends.
 *
 * Dataplane main thread: hr_region_create() once. For each attach the session number is raised and every
 * worker calls hr_link_init_worker() between two batches (rings re-initialised, all slots reclaimed), and only
 * then is the memfd handed out. Control plane: hr_region_map(), then hr_link_init_control() per worker.
 *
 * Rings are rte_ring, single producer and single consumer. Their geometry lies where the other process can
 * write, so each end keeps private copies and refuses to touch a ring whose head differs (INVALID). rte_ring's
 * own calls fetch size, mask and synchronisation mode again on each use, so a peer that changes them between
 * a check and the call could lead a copy outside the region or into an endless wait. The ends here therefore
 * do the single-producer and single-consumer steps on the ring's head and tail words themselves, with the
 * constants of this header; the layout stays rte_ring's, and rte_ring's calls work on the other end.
 *
 * An awake reader costs its writer no system call: a reader that is about to sleep says so in the region
 * (hr_link_sleep_begin), and only then does hr_link_flush() ring its doorbell. */
#pragma once

#include <rte_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/counters.h"
#include "shared/base/error.h"
#include "shared/ipc/messages.h"
#include "shared/ipc/policy.h"
#include "shared/ipc/replicas.h"
#include "shared/ipc/zone_stats.h"

/* One end's view of one worker's channel: the same struct on both sides, roles swapped. */
struct hr_link {
    struct rte_ring *tx, *rx;     /* in the region */
    uint32_t tx_head;             /* private copy of tx->prod.head: the next message we write */
    uint32_t rx_head;             /* private copy of rx->cons.head: the next message we read */
    uint32_t *tx_sleeping;        /* in the region: the reader of tx sleeps and wants its doorbell rung */
    uint32_t *rx_sleeping;        /* in the region: we do */
    uint8_t *tx_slots, *rx_slots; /* slots we fill and slots the peer fills */
    uint32_t tx_slot_free[HR_SLOTS]; /* stack of our free slots */
    uint32_t n_tx_slot_free;
    uint64_t tx_slot_busy[HR_SLOTS / 64]; /* bit set: the peer has it; a free of another slot is INVALID */
    uint64_t rx_slot_busy[HR_SLOTS / 64]; /* bit set: we have it from the peer */
    uint64_t rx_slot_owed[HR_SLOTS / 64]; /* bit set: done with, but the SLOT_FREE found the ring full */
    uint16_t owed_type;           /* type of the SLOT_FREE messages still to be sent */
    uint16_t rx_type_min, rx_type_max; /* the peer's message types; others are dropped */
    bool broken;                  /* the peer wrote nonsense: nothing more goes either way in this session */
    uint32_t session;
    int doorbell_fd;              /* rung after tx when the peer sleeps */
    bool need_doorbell;           /* something was sent since the last flush */
    uint64_t stale;               /* messages of another session that were dropped */
    uint64_t invalid;             /* messages of a type that the peer must not send, dropped */
    struct hr_stats *stats;       /* dataplane end only, else NULL */
};

/* Dataplane: creates the sealed memfd, lays it out and maps it. */
HR_MUST_CHECK int hr_region_create(uint32_t n_workers, const uint32_t *lcores, const char *build_id,
                                   int *ret_memfd, struct hr_region **ret_region);
/* Control plane: maps and checks it (magic, ABI, size, offsets). */
HR_MUST_CHECK int hr_region_map(int memfd, struct hr_region **ret_region, uint32_t *ret_size);
void hr_region_unmap(struct hr_region *region, uint32_t size);
/* Bytes of the region for this many workers. */
uint32_t hr_region_size(uint32_t n_workers);

/* Computed from the layout's constants, never from offsets that the peer could change. worker must be below
 * the region's number of workers, slot below HR_POLICY_SLOTS. */
struct hr_stats *hr_region_stats(struct hr_region *region, uint32_t worker);
struct hr_zone_stats *hr_region_zone_stats(struct hr_region *region, uint32_t worker);
struct hr_policy *hr_region_policy(struct hr_region *region, uint32_t n_workers, uint32_t slot);
struct hr_replicas *hr_region_replicas(struct hr_region *region, uint32_t n_workers, uint32_t slot);

/* Dataplane worker's end. Called by the worker itself between two batches; re-initialises both rings, and
 * reclaims and wipes all slots. */
HR_MUST_CHECK int hr_link_init_worker(struct hr_link *link, struct hr_region *region, uint32_t worker,
                                      uint32_t session, int doorbell_fd, struct hr_stats *stats);
/* Control plane's end, after the dataplane has re-initialised the rings. */
HR_MUST_CHECK int hr_link_init_control(struct hr_link *link, struct hr_region *region, uint32_t worker,
                                       uint32_t session, int doorbell_fd);

/* Queues one message (session filled in here). FULL: the caller retries or counts. LOG and HINT events are
 * refused earlier than others, so that they never take the room of what matters. INVALID: the peer wrote
 * nonsense into the ring's head; the link is dead until the next attach. */
HR_MUST_CHECK int hr_link_send(struct hr_link *link, struct hr_msg *msg);
/* Messages that hr_link_send() takes before it says FULL. */
uint32_t hr_link_send_room(const struct hr_link *link);
/* Takes up to max messages, copied out; messages of other sessions and of types that are not the peer's to
 * send are dropped and counted. Returns how many. INVALID: the ring's head was tampered with. */
int hr_link_recv(struct hr_link *link, struct hr_msg *msgs, uint32_t max);
/* Rings the peer's doorbell if something was sent since the last call and the peer sleeps. Once per batch. */
void hr_link_flush(struct hr_link *link);

/* The reader is about to wait for its doorbell. True: nothing is there to be read, and from now on the writer
 * rings; false: messages are waiting, or arrived just now, so do not sleep. */
HR_MUST_CHECK bool hr_link_sleep_begin(struct hr_link *link);
/* The reader is awake: the writer need not ring. */
void hr_link_sleep_end(struct hr_link *link);

/* A free slot of ours and its bytes; NOMEM when the peer holds all. */
HR_MUST_CHECK int hr_link_slot_alloc(struct hr_link *link, uint32_t *ret_slot, uint8_t **ret_data);
/* Marks it as handed over (call after a successful send) or gives it back unused. */
void hr_link_slot_sent(struct hr_link *link, uint32_t slot);
void hr_link_slot_cancel(struct hr_link *link, uint32_t slot); /* wiped */
/* The peer said SLOT_FREE. INVALID when it did not have it: count it, ignore it. */
HR_MUST_CHECK int hr_link_slot_returned(struct hr_link *link, uint32_t slot);
/* A received data message: checks slot and length and gives the bytes; the slot is ours until
 * hr_link_slot_done() wipes it and returns it (a SLOT_FREE message: free_type is HR_CMD_SLOT_FREE or HR_EV_SLOT_FREE). A
 * hostile peer may change the bytes while we look: read each byte once, or copy first. A SLOT_FREE that finds
 * the ring full is sent by a later hr_link_flush(). INVALID when the slot is out of range or ours already. */
HR_MUST_CHECK int hr_link_slot_read(struct hr_link *link, uint32_t slot, uint32_t len, const uint8_t **ret_data);
HR_MUST_CHECK int hr_link_slot_done(struct hr_link *link, uint32_t slot, uint16_t free_type);

/* One end of a worker's channel.
 *
 * Memory order. Messages: the writer's release store of prod.tail pairs with the reader's acquire load of it
 * (the elements are visible before the count); the reader's release store of cons.tail pairs with the writer's
 * acquire load of it (the elements have been read before they are overwritten). Sleeping: the writer stores
 * prod.tail, then reads the sleeping flag; the reader stores the flag, then reads prod.tail. A sequentially
 * consistent fence on both sides between the two steps makes sure that at least one of them sees the other's
 * store, so no message is left behind without a ring. */
#include "shared/ipc/link.h"

#include <rte_atomic.h>
#include <string.h>

#include "shared/base/wipe.h"
#include "shared/ipc/doorbell.h"
#include "shared/ipc/region_impl.h"

#define RING_MASK     (HR_RING_SIZE - 1u)
#define RING_CAPACITY (HR_RING_SIZE - 1u) /* rte_ring leaves one element empty */
/* Room that events of little worth leave to others: every slot's return and every slot's data. */
#define RING_RESERVE (2u * HR_SLOTS)

_Static_assert(RING_CAPACITY > 3 * HR_SLOTS, "slot traffic of both directions fits beside everything else");
_Static_assert((HR_RING_SIZE & RING_MASK) == 0, "a power of two, as rte_ring wants");

static inline bool bit_get(const uint64_t *bits, uint32_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static inline void bit_set(uint64_t *bits, uint32_t i)
{
    bits[i / 64] |= 1ULL << (i % 64);
}

static inline void bit_clear(uint64_t *bits, uint32_t i)
{
    bits[i / 64] &= ~(1ULL << (i % 64));
}

static inline struct hr_msg *ring_msgs(struct rte_ring *ring)
{
    return (struct hr_msg *)(ring + 1);
}

/* Whether the ring's head still says what rte_ring_init() wrote. Nothing here depends on it any more, but a
 * peer that writes there is broken or hostile, and rte_ring's own calls must not meet it. */
static bool ring_geometry_ok(const struct rte_ring *ring)
{
    return ring->size == HR_RING_SIZE && ring->mask == RING_MASK && ring->capacity == RING_CAPACITY &&
           ring->prod.sync_type == RTE_RING_SYNC_ST && ring->cons.sync_type == RTE_RING_SYNC_ST;
}

static int mark_broken(struct hr_link *link)
{
    if (!link->broken && link->stats != NULL)
        HR_DROP(link->stats, ipc_invalid);
    link->broken = true;
    return HR_E_INVALID;
}

static void link_reset(struct hr_link *link, uint32_t session, int doorbell_fd, struct hr_stats *stats)
{
    memset(link, 0, sizeof(*link));
    link->session = session;
    link->doorbell_fd = doorbell_fd;
    link->stats = stats;
    /* Low numbers on top: the same few slots stay in the cache. */
    for (uint32_t i = 0; i < HR_SLOTS; i++)
        link->tx_slot_free[i] = HR_SLOTS - 1 - i;
    link->n_tx_slot_free = HR_SLOTS;
}

int hr_link_init_worker(struct hr_link *link, struct hr_region *region, uint32_t worker, uint32_t session,
                        int doorbell_fd, struct hr_stats *stats)
{
    struct hr_region_channel *channel = hr_region_channel(region, worker);
    unsigned flags = RING_F_SP_ENQ | RING_F_SC_DEQ;
    if (worker >= HR_MAX_WORKERS || session == 0)
        return HR_E_INVALID;
    if (rte_ring_init(&channel->commands.ring, "commands", HR_RING_SIZE, flags) != 0 ||
        rte_ring_init(&channel->events.ring, "events", HR_RING_SIZE, flags) != 0)
        return HR_E_INVALID;
    __atomic_store_n(&channel->sleep.commands, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&channel->sleep.events, 0, __ATOMIC_RELAXED);
    /* A control plane that died may have left a session's keys or a login, on their way in either direction. */
    hr_wipe(channel->command_slots, sizeof(channel->command_slots));
    hr_wipe(channel->event_slots, sizeof(channel->event_slots));

    link_reset(link, session, doorbell_fd, stats);
    link->tx = &channel->events.ring;
    link->rx = &channel->commands.ring;
    link->tx_sleeping = &channel->sleep.events;
    link->rx_sleeping = &channel->sleep.commands;
    link->tx_slots = channel->event_slots[0];
    link->rx_slots = channel->command_slots[0];
    link->rx_type_min = HR_MSG_NONE + 1;
    link->rx_type_max = HR_CMD_MAX - 1;
    return 0;
}

int hr_link_init_control(struct hr_link *link, struct hr_region *region, uint32_t worker, uint32_t session,
                         int doorbell_fd)
{
    if (worker >= region->n_workers || worker >= HR_MAX_WORKERS || session == 0)
        return HR_E_INVALID;
    struct hr_region_channel *channel = hr_region_channel(region, worker);
    if (!ring_geometry_ok(&channel->commands.ring) || !ring_geometry_ok(&channel->events.ring))
        return HR_E_INVALID;

    link_reset(link, session, doorbell_fd, NULL);
    link->tx = &channel->commands.ring;
    link->rx = &channel->events.ring;
    link->tx_sleeping = &channel->sleep.commands;
    link->rx_sleeping = &channel->sleep.events;
    link->tx_slots = channel->command_slots[0];
    link->rx_slots = channel->event_slots[0];
    link->rx_type_min = HR_EV_FIRST + 1;
    link->rx_type_max = HR_EV_MAX - 1;
    return 0;
}

int hr_link_send(struct hr_link *link, struct hr_msg *msg)
{
    struct rte_ring *ring = link->tx;
    if (link->broken)
        return HR_E_INVALID;
    if (!ring_geometry_ok(ring))
        return mark_broken(link);
    uint32_t used = link->tx_head - __atomic_load_n(&ring->cons.tail, __ATOMIC_ACQUIRE);
    if (used > RING_CAPACITY)
        return mark_broken(link);
    uint32_t reserve = msg->type == HR_EV_LOG || msg->type == HR_EV_HINT ? RING_RESERVE : 0;
    if (used + reserve >= RING_CAPACITY)
        return HR_E_FULL;

    msg->session = link->session;
    memcpy(&ring_msgs(ring)[link->tx_head & RING_MASK], msg, sizeof(*msg));
    link->tx_head++;
    __atomic_store_n(&ring->prod.head, link->tx_head, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->prod.tail, link->tx_head, __ATOMIC_RELEASE);
    link->need_doorbell = true;
    if (link->stats != NULL)
        HR_COUNT(link->stats, ipc_messages_tx);
    return 0;
}

uint32_t hr_link_send_room(const struct hr_link *link)
{
    if (link->broken)
        return 0;
    uint32_t used = link->tx_head - __atomic_load_n(&link->tx->cons.tail, __ATOMIC_ACQUIRE);
    return used < RING_CAPACITY ? RING_CAPACITY - used : 0;
}

/* Whether a message that was copied out may be shown to the caller. */
static bool accept_message(struct hr_link *link, const struct hr_msg *msg)
{
    if (msg->session != link->session) {
        link->stale++;
        if (link->stats != NULL)
            HR_COUNT(link->stats, ipc_stale);
        return false;
    }
    if (msg->type < link->rx_type_min || msg->type > link->rx_type_max) {
        link->invalid++;
        if (link->stats != NULL)
            HR_DROP(link->stats, ipc_invalid);
        return false;
    }
    if (link->stats != NULL)
        HR_COUNT(link->stats, ipc_messages_rx);
    return true;
}

int hr_link_recv(struct hr_link *link, struct hr_msg *msgs, uint32_t max)
{
    struct rte_ring *ring = link->rx;
    if (link->broken)
        return HR_E_INVALID;
    if (!ring_geometry_ok(ring))
        return mark_broken(link);
    uint32_t available = __atomic_load_n(&ring->prod.tail, __ATOMIC_ACQUIRE) - link->rx_head;
    if (available > RING_CAPACITY)
        return mark_broken(link);
    if (available == 0 || max == 0)
        return 0;

    uint32_t n = 0;
    for (; available > 0 && n < max; available--) {
        memcpy(&msgs[n], &ring_msgs(ring)[link->rx_head++ & RING_MASK], sizeof(*msgs));
        if (accept_message(link, &msgs[n]))
            n++;
    }
    __atomic_store_n(&ring->cons.head, link->rx_head, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->cons.tail, link->rx_head, __ATOMIC_RELEASE);
    return (int)n;
}

static int send_slot_free(struct hr_link *link, uint32_t slot)
{
    struct hr_msg msg = {.type = link->owed_type};
    msg.u.data.slot = slot;
    return hr_link_send(link, &msg);
}

/* Slot returns that found the ring full. */
static void send_owed(struct hr_link *link)
{
    for (uint32_t word = 0; word < HR_SLOTS / 64; word++) {
        while (link->rx_slot_owed[word] != 0) {
            uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(link->rx_slot_owed[word]);
            if (send_slot_free(link, slot) < 0)
                return;
            bit_clear(link->rx_slot_owed, slot);
        }
    }
}

void hr_link_flush(struct hr_link *link)
{
    send_owed(link);
    if (!link->need_doorbell)
        return;
    link->need_doorbell = false;
    rte_atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with the fence in hr_link_sleep_begin() */
    /* Read before it is cleared: an awake reader's flag stays in our cache. Cleared here, so that a batch that
     * follows before the reader has woken up costs no second ring. */
    if (__atomic_load_n(link->tx_sleeping, __ATOMIC_RELAXED) != 0) {
        __atomic_store_n(link->tx_sleeping, 0, __ATOMIC_RELAXED);
        hr_doorbell_ring(link->doorbell_fd);
    }
}

bool hr_link_sleep_begin(struct hr_link *link)
{
    if (link->broken)
        return true;
    __atomic_store_n(link->rx_sleeping, 1, __ATOMIC_RELAXED);
    rte_atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with the fence in hr_link_flush() */
    if (__atomic_load_n(&link->rx->prod.tail, __ATOMIC_RELAXED) == link->rx_head)
        return true;
    __atomic_store_n(link->rx_sleeping, 0, __ATOMIC_RELAXED);
    return false;
}

void hr_link_sleep_end(struct hr_link *link)
{
    if (!link->broken)
        __atomic_store_n(link->rx_sleeping, 0, __ATOMIC_RELAXED);
}

int hr_link_slot_alloc(struct hr_link *link, uint32_t *ret_slot, uint8_t **ret_data)
{
    if (link->n_tx_slot_free == 0)
        return HR_E_NOMEM;
    uint32_t slot = link->tx_slot_free[--link->n_tx_slot_free];
    *ret_slot = slot;
    *ret_data = link->tx_slots + (size_t)slot * HR_SLOT_SIZE;
    return 0;
}

void hr_link_slot_sent(struct hr_link *link, uint32_t slot)
{
    bit_set(link->tx_slot_busy, slot);
}

void hr_link_slot_cancel(struct hr_link *link, uint32_t slot)
{
    hr_wipe(link->tx_slots + (size_t)slot * HR_SLOT_SIZE, HR_SLOT_SIZE);
    link->tx_slot_free[link->n_tx_slot_free++] = slot;
}

int hr_link_slot_returned(struct hr_link *link, uint32_t slot)
{
    if (slot >= HR_SLOTS || !bit_get(link->tx_slot_busy, slot))
        return HR_E_INVALID;
    bit_clear(link->tx_slot_busy, slot);
    link->tx_slot_free[link->n_tx_slot_free++] = slot;
    return 0;
}

int hr_link_slot_read(struct hr_link *link, uint32_t slot, uint32_t len, const uint8_t **ret_data)
{
    if (slot >= HR_SLOTS || len > HR_SLOT_SIZE || bit_get(link->rx_slot_busy, slot) ||
        bit_get(link->rx_slot_owed, slot))
        return HR_E_INVALID;
    bit_set(link->rx_slot_busy, slot);
    *ret_data = link->rx_slots + (size_t)slot * HR_SLOT_SIZE;
    return 0;
}

int hr_link_slot_done(struct hr_link *link, uint32_t slot, uint16_t free_type)
{
    if (slot >= HR_SLOTS || !bit_get(link->rx_slot_busy, slot))
        return HR_E_INVALID;
    bit_clear(link->rx_slot_busy, slot);
    hr_wipe(link->rx_slots + (size_t)slot * HR_SLOT_SIZE, HR_SLOT_SIZE);
    link->owed_type = free_type;
    if (send_slot_free(link, slot) < 0)
        bit_set(link->rx_slot_owed, slot);
    return 0;
}

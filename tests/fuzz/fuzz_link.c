/* A worker's link against a peer that writes anything anywhere in the shared region, between any two calls.
 * The input is a program: one byte of operation, then its arguments. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/ipc/doorbell.h"
#include "shared/ipc/link.h"
#include "shared/ipc/region_impl.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hr_region *region;
static int ring_fd, wait_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint32_t lcores[1] = {0};
    int memfd;
    if (hr_region_create(1, lcores, "fuzz", &memfd, &region) < 0 || hr_doorbell_create(&ring_fd, &wait_fd) < 0)
        abort();
    return 0;
}

struct input {
    const uint8_t *data;
    size_t left;
};

static uint32_t take(struct input *in, size_t n)
{
    uint32_t value = 0;
    if (in->left < n)
        n = in->left;
    memcpy(&value, in->data, n);
    in->data += n;
    in->left -= n;
    return value;
}

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Uses a received message as a worker would. */
static void use(struct hr_link *link, const struct hr_msg *msg)
{
    const uint8_t *bytes;
    check(msg->type > HR_MSG_NONE && msg->type < HR_CMD_MAX && msg->session == link->session);
    if (msg->type == HR_CMD_CONN_DATA && hr_link_slot_read(link, msg->u.data.slot, msg->u.data.len, &bytes) == 0) {
        const uint8_t *slots = hr_region_channel(region, 0)->command_slots[0];
        check(bytes >= slots && bytes + msg->u.data.len <= slots + HR_SLOTS * HR_SLOT_SIZE);
        if (msg->id & 1)
            check(hr_link_slot_done(link, msg->u.data.slot, HR_EV_SLOT_FREE) == 0);
    } else if (msg->type == HR_CMD_SLOT_FREE) {
        (void)!hr_link_slot_returned(link, msg->u.data.slot);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct hr_link worker, control;
    struct hr_stats *stats = hr_region_stats(region, 0);
    memset(stats, 0, sizeof(*stats));
    if (hr_link_init_worker(&worker, region, 0, 1, ring_fd, stats) < 0 ||
        hr_link_init_control(&control, region, 0, 1, ring_fd) < 0)
        abort();
    struct hr_region_channel *channel = hr_region_channel(region, 0);
    struct rte_ring *rings[2] = {&channel->commands.ring, &channel->events.ring};

    while (in.left > 0) {
        struct hr_msg msgs[16], msg = {0};
        uint32_t slot;
        uint8_t *bytes;
        switch (take(&in, 1) % 8) {
        case 0: { /* the peer writes into a ring's head */
            uint32_t which = take(&in, 1), value = take(&in, 4);
            memcpy((uint8_t *)rings[which & 1] + (which >> 1) * 4 % sizeof(struct rte_ring), &value, 4);
            break;
        }
        case 1: { /* or into a message */
            uint32_t where = take(&in, 2), value = take(&in, 4);
            memcpy((uint8_t *)channel->commands.msgs + where * 4u, &value, 4);
            break;
        }
        case 2: /* or sends one */
            msg.type = (uint16_t)take(&in, 1);
            msg.id = take(&in, 1);
            msg.u.data.slot = take(&in, 1);
            msg.u.data.len = take(&in, 2);
            (void)!hr_link_send(&control, &msg);
            break;
        case 3: {
            int n = hr_link_recv(&worker, msgs, 16);
            check(n <= 16);
            for (int i = 0; i < n; i++)
                use(&worker, &msgs[i]);
            break;
        }
        case 4:
            if (hr_link_slot_alloc(&worker, &slot, &bytes) < 0)
                break;
            check(slot < HR_SLOTS);
            memset(bytes, 1, HR_SLOT_SIZE);
            msg.type = HR_EV_CONN_DATA;
            msg.u.data.slot = slot;
            if (hr_link_send(&worker, &msg) == 0)
                hr_link_slot_sent(&worker, slot);
            else
                hr_link_slot_cancel(&worker, slot);
            break;
        case 5:
            if (hr_link_sleep_begin(&worker))
                hr_link_sleep_end(&worker);
            break;
        case 6:
            hr_link_flush(&worker);
            hr_doorbell_clear(wait_fd);
            break;
        case 7:
            (void)!hr_link_slot_done(&worker, take(&in, 1), HR_EV_SLOT_FREE);
            break;
        }
    }

    /* Every slot of ours is either free or with the peer. */
    uint32_t busy = 0;
    for (uint32_t i = 0; i < HR_SLOTS / 64; i++)
        busy += (uint32_t)__builtin_popcountll(worker.tx_slot_busy[i]);
    check(worker.n_tx_slot_free + busy == HR_SLOTS);
    return 0;
}

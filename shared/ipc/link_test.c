/* Region and links: the two ends in one process, in two threads, and in a process that is killed; what a
 * hostile peer may write into the region; and that the rings stay rte_ring's. */
#include "shared/ipc/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_ring_elem.h>

#include <cmocka.h>

#include "shared/ipc/doorbell.h"
#include "shared/ipc/region_impl.h"

static const uint32_t lcores[HR_MAX_WORKERS] = {1, 2, 3};

/* Two workers; worker 1 is used, so that an index mistaken for 0 shows. */
struct fixture {
    int memfd;
    uint32_t size;
    struct hr_region *worker_map, *control_map;
    struct hr_stats *stats;
    struct hr_link worker, control;
    int command_ring, command_wait, event_ring, event_wait;
};

static struct fixture f;

static void relink(uint32_t session)
{
    assert_int_equal(hr_link_init_worker(&f.worker, f.worker_map, 1, session, f.event_ring, f.stats), 0);
    assert_int_equal(hr_link_init_control(&f.control, f.control_map, 1, session, f.command_ring), 0);
}

static int setup(void **s)
{
    memset(&f, 0, sizeof(f));
    assert_int_equal(hr_region_create(2, lcores, "build", &f.memfd, &f.worker_map), 0);
    assert_int_equal(hr_region_map(f.memfd, &f.control_map, &f.size), 0);
    f.stats = hr_region_stats(f.worker_map, 1);
    assert_int_equal(hr_doorbell_create(&f.command_ring, &f.command_wait), 0);
    assert_int_equal(hr_doorbell_create(&f.event_ring, &f.event_wait), 0);
    relink(1);
    return 0;
}

static int teardown(void **s)
{
    hr_region_unmap(f.worker_map, hr_region_size(2));
    hr_region_unmap(f.control_map, f.size);
    close(f.memfd);
    close(f.command_ring);
    close(f.command_wait);
    close(f.event_ring);
    close(f.event_wait);
    return 0;
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

static struct hr_msg make(uint16_t type, uint64_t id)
{
    struct hr_msg msg = {.type = type, .id = id};
    return msg;
}

static void region(void **s)
{
    assert_int_equal(f.control_map->magic, HR_IPC_MAGIC);
    assert_int_equal(f.control_map->n_workers, 2);
    assert_int_equal(f.control_map->worker[1].lcore, 2);
    assert_string_equal(f.control_map->build_id, "build");
    /* Both maps are one memory. */
    f.stats->counters[HR_CTR_rx_packets] = 4711;
    assert_int_equal(hr_region_stats(f.control_map, 1)->counters[HR_CTR_rx_packets], 4711);
    assert_int_equal(hr_region_stats(f.control_map, 0)->counters[HR_CTR_rx_packets], 0);
    hr_region_policy(f.control_map, 2, 1)->generation = 99;
    assert_int_equal(hr_region_policy(f.worker_map, 2, 1)->generation, 99);
    assert_int_equal(hr_region_policy(f.worker_map, 2, 0)->generation, 0);
    /* The last byte of the last snapshot is inside. */
    uint8_t *end = (uint8_t *)(hr_region_policy(f.worker_map, 2, HR_POLICY_SLOTS - 1) + 1);
    assert_true(end <= (uint8_t *)f.worker_map + hr_region_size(2));
    /* Its size is sealed. */
    assert_int_equal(ftruncate(f.memfd, 4096), -1);
    assert_int_equal(ftruncate(f.memfd, hr_region_size(2) + 4096), -1);
    assert_int_equal(fcntl(f.memfd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

static void region_refused(void **s)
{
    struct hr_region *map;
    uint32_t size;
    int plain = memfd_create("unsealed", MFD_CLOEXEC);
    assert_int_equal(ftruncate(plain, hr_region_size(2)), 0);
    assert_int_equal(hr_region_map(plain, &map, &size), HR_E_INVALID); /* could shrink under us */
    close(plain);

    f.worker_map->abi++;
    assert_int_equal(hr_region_map(f.memfd, &map, &size), HR_E_VERSION);
    f.worker_map->abi--;
    f.worker_map->magic++;
    assert_int_equal(hr_region_map(f.memfd, &map, &size), HR_E_INVALID);
    f.worker_map->magic--;
    f.worker_map->n_workers = 3;
    assert_int_equal(hr_region_map(f.memfd, &map, &size), HR_E_INVALID);
    f.worker_map->n_workers = UINT32_MAX;
    assert_int_equal(hr_region_map(f.memfd, &map, &size), HR_E_INVALID);
    f.worker_map->n_workers = 2;
    f.worker_map->worker[1].events += 64;
    assert_int_equal(hr_region_map(f.memfd, &map, &size), HR_E_VERSION);
    f.worker_map->worker[1].events -= 64;
    assert_int_equal(hr_region_map(f.memfd, &map, &size), 0);
    hr_region_unmap(map, size);

    int memfd;
    assert_int_equal(hr_region_create(0, lcores, "b", &memfd, &map), HR_E_INVALID);
    assert_int_equal(hr_region_create(HR_MAX_WORKERS + 1, lcores, "b", &memfd, &map), HR_E_INVALID);
}

static void both_ways(void **s)
{
    struct hr_msg got[8], msg;
    uint64_t rx = f.stats->counters[HR_CTR_ipc_messages_rx], tx = f.stats->counters[HR_CTR_ipc_messages_tx];
    for (uint64_t id = 0; id < 5000; id++) { /* several times around the ring */
        msg = make(HR_CMD_PING, id);
        assert_int_equal(hr_link_send(&f.control, &msg), 0);
        assert_int_equal(hr_link_recv(&f.worker, got, 8), 1);
        assert_int_equal(got[0].id, id);
        assert_int_equal(got[0].type, HR_CMD_PING);
        msg = make(HR_EV_PONG, id);
        assert_int_equal(hr_link_send(&f.worker, &msg), 0);
        assert_int_equal(hr_link_recv(&f.control, got, 8), 1);
        assert_int_equal(got[0].id, id);
    }
    assert_int_equal(hr_link_recv(&f.control, got, 8), 0);
    assert_int_equal(f.stats->counters[HR_CTR_ipc_messages_rx], rx + 5000);
    assert_int_equal(f.stats->counters[HR_CTR_ipc_messages_tx], tx + 5000);
}

static void ring_full(void **s)
{
    struct hr_msg msg, got[100];
    uint32_t n = 0;
    do
        msg = make(HR_EV_LOG, n);
    while (hr_link_send(&f.worker, &msg) == 0 && ++n < 5000);
    assert_int_equal(n, HR_RING_SIZE - 1 - 2 * HR_SLOTS); /* logs leave room */
    do
        msg = make(HR_EV_CONN_EOF, n);
    while (hr_link_send(&f.worker, &msg) == 0 && ++n < 5000);
    assert_int_equal(n, HR_RING_SIZE - 1);
    assert_int_equal(hr_link_send(&f.worker, &msg), HR_E_FULL);

    uint32_t next = 0;
    int k;
    while ((k = hr_link_recv(&f.control, got, 100)) > 0) {
        for (int i = 0; i < k; i++)
            assert_int_equal(got[i].id, next++);
    }
    assert_int_equal(next, n);
    assert_int_equal(hr_link_send(&f.worker, &msg), 0);
}

/* A message's session and type are the peer's claim. */
static void stale_and_foreign(void **s)
{
    struct hr_msg msg = make(HR_CMD_PING, 1), got[4];
    f.control.session = 7;
    assert_int_equal(hr_link_send(&f.control, &msg), 0);
    f.control.session = 1;
    msg = make(HR_EV_PONG, 2); /* not a command */
    assert_int_equal(hr_link_send(&f.control, &msg), 0);
    msg = make(HR_CMD_MAX, 3);
    assert_int_equal(hr_link_send(&f.control, &msg), 0);
    msg = make(HR_MSG_NONE, 4);
    assert_int_equal(hr_link_send(&f.control, &msg), 0);
    msg = make(HR_CMD_PING, 5);
    assert_int_equal(hr_link_send(&f.control, &msg), 0);
    assert_int_equal(hr_link_recv(&f.worker, got, 1), 1); /* looks past the four others */
    assert_int_equal(got[0].id, 5);
    assert_int_equal(f.stats->counters[HR_CTR_ipc_stale], 1);
    assert_int_equal(f.stats->drops[HR_DROP_ipc_invalid], 3);
    assert_int_equal(f.worker.stale, 1);
    assert_int_equal(f.worker.invalid, 3);
}

static bool slots_are_clean(void)
{
    static const uint8_t clean[HR_SLOTS][HR_SLOT_SIZE];
    const struct hr_region_channel *channel = hr_region_channel(f.control_map, 1);
    return memcmp(channel->command_slots, clean, sizeof(clean)) == 0 &&
           memcmp(channel->event_slots, clean, sizeof(clean)) == 0;
}

static void relink_forgets(void **s)
{
    struct hr_msg msg = make(HR_CMD_PING, 1), got[4];
    uint32_t slot;
    uint8_t *data;
    assert_int_equal(hr_link_send(&f.control, &msg), 0);
    assert_int_equal(hr_link_slot_alloc(&f.worker, &slot, &data), 0);
    hr_link_slot_sent(&f.worker, slot);
    memcpy(data, "client's password", 17);
    assert_int_equal(hr_link_slot_alloc(&f.control, &slot, &data), 0); /* it dies before it says that it has filled it */
    memcpy(data + HR_SLOT_SIZE - 17, "session's secrets", 17);
    struct hr_link old_control = f.control;
    relink(2);
    assert_true(slots_are_clean());
    assert_int_equal(hr_link_recv(&f.worker, got, 4), 0);
    assert_int_equal(f.worker.n_tx_slot_free, HR_SLOTS);
    assert_int_equal(hr_link_slot_returned(&f.worker, slot), HR_E_INVALID);
    /* The old control plane, alive after all, sends once more: dropped by its session. */
    old_control.tx_head = f.control.tx_head;
    msg = make(HR_CMD_PING, 2);
    assert_int_equal(hr_link_send(&old_control, &msg), 0);
    assert_int_equal(hr_link_recv(&f.worker, got, 4), 0);
    assert_int_equal(f.worker.stale, 1);
}

static void tampered(void **s)
{
    struct rte_ring *rings[2] = {&hr_region_channel(f.control_map, 1)->commands.ring,
                                 &hr_region_channel(f.control_map, 1)->events.ring};
    struct hr_msg msg, got[4];
    for (int which = 0; which < 2; which++) {
        for (int field = 0; field < 7; field++) {
            relink(10);
            struct rte_ring *r = rings[which];
            uint64_t before = f.stats->drops[HR_DROP_ipc_invalid];
            switch (field) {
            case 0: r->size = 0xffffffff; break;
            case 1: r->mask = 0xffffffff; break;
            case 2: r->capacity = 0x7fffffff; break;
            case 3: r->prod.sync_type = RTE_RING_SYNC_MT_HTS; break;
            case 4: r->cons.sync_type = RTE_RING_SYNC_MT_HTS; break;
            case 5: r->prod.tail = HR_RING_SIZE; r->cons.tail = 5; break;
            case 6: r->prod.tail = 0x80000000; r->cons.tail = 0x80000000; break;
            }
            msg = make(HR_EV_PONG, 1);
            int err = which == 0 ? hr_link_recv(&f.worker, got, 4) : hr_link_send(&f.worker, &msg);
            assert_int_equal(err, HR_E_INVALID);
            assert_true(f.worker.broken);
            assert_int_equal(f.stats->drops[HR_DROP_ipc_invalid], before + 1);
            /* Stays dead, and is counted once. */
            assert_int_equal(hr_link_recv(&f.worker, got, 4), HR_E_INVALID);
            assert_int_equal(hr_link_send(&f.worker, &msg), HR_E_INVALID);
            assert_true(hr_link_sleep_begin(&f.worker));
            assert_int_equal(f.stats->drops[HR_DROP_ipc_invalid], before + 1);
        }
    }
    relink(11);
    both_ways(s);
}

static void slots(void **s)
{
    uint32_t slot, n = 0;
    uint8_t *data;
    const uint8_t *bytes;
    struct hr_msg msg = make(HR_EV_CONN_DATA, 1), got[HR_SLOTS];
    while (hr_link_slot_alloc(&f.worker, &slot, &data) == 0) {
        memset(data, (int)slot, HR_SLOT_SIZE);
        msg.u.data.slot = slot;
        msg.u.data.len = HR_SLOT_SIZE;
        assert_int_equal(hr_link_send(&f.worker, &msg), 0);
        hr_link_slot_sent(&f.worker, slot);
        n++;
    }
    assert_int_equal(n, HR_SLOTS);
    assert_int_equal(hr_link_recv(&f.control, got, HR_SLOTS), HR_SLOTS);
    for (uint32_t i = 0; i < n; i++) {
        slot = got[i].u.data.slot;
        assert_int_equal(hr_link_slot_read(&f.control, slot, HR_SLOT_SIZE, &bytes), 0);
        assert_int_equal(bytes[0], slot);
        assert_int_equal(bytes[HR_SLOT_SIZE - 1], slot);
        assert_int_equal(hr_link_slot_read(&f.control, slot, 1, &bytes), HR_E_INVALID); /* ours already */
        assert_int_equal(hr_link_slot_done(&f.control, slot, HR_CMD_SLOT_FREE), 0);
        assert_int_equal(hr_link_slot_done(&f.control, slot, HR_CMD_SLOT_FREE), HR_E_INVALID);
        assert_int_equal(bytes[0] | bytes[HR_SLOT_SIZE - 1], 0);
    }
    assert_int_equal(hr_link_slot_read(&f.control, HR_SLOTS, 1, &bytes), HR_E_INVALID);
    assert_int_equal(hr_link_slot_read(&f.control, UINT32_MAX, 1, &bytes), HR_E_INVALID);
    assert_int_equal(hr_link_slot_read(&f.control, 0, HR_SLOT_SIZE + 1, &bytes), HR_E_INVALID);

    assert_int_equal(hr_link_recv(&f.worker, got, HR_SLOTS), HR_SLOTS);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(got[i].type, HR_CMD_SLOT_FREE);
        assert_int_equal(hr_link_slot_returned(&f.worker, got[i].u.data.slot), 0);
        assert_int_equal(hr_link_slot_returned(&f.worker, got[i].u.data.slot), HR_E_INVALID);
    }
    assert_int_equal(hr_link_slot_returned(&f.worker, UINT32_MAX), HR_E_INVALID);
    assert_int_equal(f.worker.n_tx_slot_free, HR_SLOTS);
    assert_int_equal(hr_link_slot_alloc(&f.worker, &slot, &data), 0);
    assert_int_equal(hr_link_slot_returned(&f.worker, slot), HR_E_INVALID); /* allocated, never sent */
    memset(data, 1, HR_SLOT_SIZE);
    hr_link_slot_cancel(&f.worker, slot);
    assert_int_equal(data[0] | data[HR_SLOT_SIZE - 1], 0);
    assert_int_equal(f.worker.n_tx_slot_free, HR_SLOTS);
}

/* A return that finds the ring full leaves later. */
static void slot_owed(void **s)
{
    uint32_t slot;
    uint8_t *data;
    const uint8_t *bytes;
    struct hr_msg msg = make(HR_EV_CONN_DATA, 1), got[HR_RING_SIZE];
    assert_int_equal(hr_link_slot_alloc(&f.worker, &slot, &data), 0);
    hr_link_slot_sent(&f.worker, slot);
    assert_int_equal(hr_link_slot_read(&f.control, slot, 1, &bytes), 0);
    msg = make(HR_CMD_PING, 1);
    while (hr_link_send(&f.control, &msg) == 0)
        ;
    assert_int_equal(hr_link_slot_done(&f.control, slot, HR_CMD_SLOT_FREE), 0);
    assert_int_equal(hr_link_slot_read(&f.control, slot, 1, &bytes), HR_E_INVALID); /* the peer cannot have it */
    assert_int_equal(hr_link_recv(&f.worker, got, HR_RING_SIZE), HR_RING_SIZE - 1);
    hr_link_flush(&f.control);
    assert_int_equal(hr_link_recv(&f.worker, got, HR_RING_SIZE), 1);
    assert_int_equal(got[0].type, HR_CMD_SLOT_FREE);
    assert_int_equal(hr_link_slot_returned(&f.worker, got[0].u.data.slot), 0);
    assert_int_equal(hr_link_slot_read(&f.control, slot, 1, &bytes), 0);
}

static void doorbell_only_when_asleep(void **s)
{
    struct hr_msg msg = make(HR_EV_PONG, 1), got[4];
    assert_int_equal(hr_link_send(&f.worker, &msg), 0);
    hr_link_flush(&f.worker);
    assert_false(readable(f.event_wait, 0)); /* the reader is awake */
    assert_false(hr_link_sleep_begin(&f.control)); /* and must not sleep: a message waits */
    assert_int_equal(hr_link_recv(&f.control, got, 4), 1);

    assert_true(hr_link_sleep_begin(&f.control));
    hr_link_flush(&f.worker);
    assert_false(readable(f.event_wait, 0)); /* nothing was sent */
    assert_int_equal(hr_link_send(&f.worker, &msg), 0);
    assert_false(readable(f.event_wait, 0)); /* once per batch */
    hr_link_flush(&f.worker);
    assert_true(readable(f.event_wait, 0));
    hr_doorbell_clear(f.event_wait);
    assert_int_equal(hr_link_send(&f.worker, &msg), 0);
    hr_link_flush(&f.worker);
    assert_false(readable(f.event_wait, 0)); /* rung already: the reader is on its way */
    assert_int_equal(hr_link_recv(&f.control, got, 4), 2);

    assert_true(hr_link_sleep_begin(&f.control));
    hr_link_sleep_end(&f.control);
    assert_int_equal(hr_link_send(&f.worker, &msg), 0);
    hr_link_flush(&f.worker);
    assert_false(readable(f.event_wait, 0));
}

static void doorbell_never_blocks(void **s)
{
    /* A peer that made its end blocking and never reads does not hold us. */
    fcntl(f.event_wait, F_SETFL, 0);
    for (int i = 0; i < 100000; i++)
        hr_doorbell_ring(f.event_ring);
    assert_true(readable(f.event_wait, 0));
    hr_doorbell_clear(f.event_wait);
    assert_false(readable(f.event_wait, 0));
    close(f.event_wait);
    hr_doorbell_ring(f.event_ring); /* no SIGPIPE */
    f.event_wait = dup(f.event_ring);
}

/* rte_ring's own calls understand our rings, and we what they write. */
static void rte_ring_interoperates(void **s)
{
    struct rte_ring *commands = &hr_region_channel(f.control_map, 1)->commands.ring;
    struct rte_ring *events = &hr_region_channel(f.control_map, 1)->events.ring;
    struct hr_msg msg, got[4];
    for (uint64_t id = 0; id < 3000; id++) {
        msg = make(HR_CMD_PING, id);
        msg.session = 1;
        assert_int_equal(rte_ring_sp_enqueue_elem(commands, &msg, sizeof(msg)), 0);
        assert_int_equal(rte_ring_count(commands), 1);
        assert_int_equal(hr_link_recv(&f.worker, got, 4), 1);
        assert_int_equal(got[0].id, id);
        assert_int_equal(rte_ring_free_count(commands), HR_RING_SIZE - 1);
        msg = make(HR_EV_PONG, id);
        assert_int_equal(hr_link_send(&f.worker, &msg), 0);
        assert_int_equal(rte_ring_sc_dequeue_elem(events, got, sizeof(msg)), 0);
        assert_int_equal(got[0].id, id);
    }
}

#define PINGS 20000

/* A worker that sleeps on its doorbell: answers every ping, exits on id PINGS. */
static void *sleepy_worker(void *arg)
{
    struct hr_msg got[32];
    for (;;) {
        int n = hr_link_recv(&f.worker, got, 32);
        for (int i = 0; i < n; i++) {
            struct hr_msg msg = make(HR_EV_PONG, got[i].id);
            if (hr_link_send(&f.worker, &msg) < 0)
                return (void *)"send";
            if (got[i].id == PINGS) {
                hr_link_flush(&f.worker);
                return NULL;
            }
        }
        hr_link_flush(&f.worker);
        if (n == 0 && hr_link_sleep_begin(&f.worker)) {
            if (!readable(f.command_wait, 10000))
                return (void *)"a message was left behind without a ring";
            hr_doorbell_clear(f.command_wait);
            hr_link_sleep_end(&f.worker);
        }
    }
}

static void no_lost_wakeups(void **s)
{
    pthread_t thread;
    void *why;
    struct hr_msg got[32];
    uint64_t next = 1;
    assert_int_equal(pthread_create(&thread, NULL, sleepy_worker, NULL), 0);
    for (uint64_t id = 1; id <= PINGS; id++) {
        struct hr_msg msg = make(HR_CMD_PING, id);
        assert_int_equal(hr_link_send(&f.control, &msg), 0);
        hr_link_flush(&f.control);
        if (id % 7 != 0 && id != PINGS)
            continue; /* sometimes wait for the answers, sometimes run ahead */
        while (next <= id) {
            int n = hr_link_recv(&f.control, got, 32);
            for (int i = 0; i < n; i++)
                assert_int_equal(got[i].id, next++);
            if (n == 0 && hr_link_sleep_begin(&f.control)) {
                assert_true(readable(f.event_wait, 10000));
                hr_doorbell_clear(f.event_wait);
            }
        }
    }
    pthread_join(thread, &why);
    assert_string_equal(why != NULL ? why : "", "");
}

/* The child floods commands with data slots until it is killed, at any instruction. */
static void flood(uint64_t *ret_progress)
{
    struct hr_msg got[32];
    for (uint64_t id = 1;; id++) {
        uint32_t slot;
        uint8_t *data;
        struct hr_msg msg = make(HR_CMD_CONN_DATA, id);
        int n = hr_link_recv(&f.control, got, 32);
        for (int i = 0; i < n; i++) {
            if (hr_link_slot_returned(&f.control, got[i].u.data.slot) < 0)
                abort();
        }
        if (hr_link_slot_alloc(&f.control, &slot, &data) < 0) {
            id--;
            continue;
        }
        memset(data, (int)(id & 0xff), 64);
        msg.u.data.slot = slot;
        msg.u.data.len = 64;
        if (hr_link_send(&f.control, &msg) < 0)
            abort();
        hr_link_slot_sent(&f.control, slot);
        *ret_progress = id;
    }
}

static void peer_killed(void **s)
{
    uint64_t *progress = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned seed = 1;
    uint64_t total = 0;
    for (uint32_t session = 2; session < 62; session++) {
        relink(session);
        *progress = 0;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            flood(progress);
        uint64_t next = 1, goal = 200 + (uint64_t)rand_r(&seed) % 3000;
        bool killed = false;
        for (;;) {
            struct hr_msg got[32];
            int n = hr_link_recv(&f.worker, got, 32);
            assert_true(n >= 0);
            for (int i = 0; i < n; i++) {
                const uint8_t *bytes;
                assert_int_equal(got[i].id, next);
                assert_int_equal(hr_link_slot_read(&f.worker, got[i].u.data.slot, got[i].u.data.len, &bytes), 0);
                assert_int_equal(bytes[63], next & 0xff);
                next++;
                assert_int_equal(hr_link_slot_done(&f.worker, got[i].u.data.slot, HR_EV_SLOT_FREE), 0);
            }
            if (n == 0 && killed)
                break;
            if (next >= goal && !killed) {
                int status;
                kill(child, SIGKILL);
                assert_int_equal(waitpid(child, &status, 0), child);
                assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
                killed = true;
            }
        }
        total += next;
    }
    assert_true(total > 60 * 200);
    relink(100);
    both_ways(s);
    munmap(progress, 4096);
}

/* DPDK moves prod.head before it writes and prod.tail after: what a kill in between leaves. */
static void half_written(void **s)
{
    struct rte_ring *commands = &hr_region_channel(f.control_map, 1)->commands.ring;
    struct hr_msg got[4];
    commands->prod.head = 17;
    assert_int_equal(hr_link_recv(&f.worker, got, 4), 0);
    relink(2);
    assert_int_equal(commands->prod.head, 0);
    both_ways(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(region),
        T(region_refused),
        T(both_ways),
        T(ring_full),
        T(stale_and_foreign),
        T(relink_forgets),
        T(tampered),
        T(slots),
        T(slot_owed),
        T(doorbell_only_when_asleep),
        T(doorbell_never_blocks),
        T(rte_ring_interoperates),
        T(no_lost_wakeups),
        T(peer_killed),
        T(half_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

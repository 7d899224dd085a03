#include "shared/ipc/link.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/ipc/region_impl.h"

_Static_assert(sizeof(struct hr_region_channel) % 4096 == 0, "channels follow each other on page boundaries");
_Static_assert(offsetof(struct hr_region_channel, commands.msgs) ==
                   offsetof(struct hr_region_channel, commands) + sizeof(struct rte_ring),
               "rte_ring expects its elements right behind its head");

/* The peer maps the same file: without the size seals it could truncate it and kill us by SIGBUS. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

uint32_t hr_region_size(uint32_t n_workers)
{
    return (uint32_t)(HR_REGION_HEAD_SIZE + n_workers * sizeof(struct hr_region_channel) +
                      HR_POLICY_SLOTS * (HR_REGION_POLICY_SIZE + HR_REGION_REPLICAS_SIZE));
}

struct hr_stats *hr_region_stats(struct hr_region *region, uint32_t worker)
{
    return &hr_region_channel(region, worker)->stats;
}

struct hr_zone_stats *hr_region_zone_stats(struct hr_region *region, uint32_t worker)
{
    return &hr_region_channel(region, worker)->zones;
}

struct hr_policy *hr_region_policy(struct hr_region *region, uint32_t n_workers, uint32_t slot)
{
    uint8_t *policies = (uint8_t *)hr_region_channel(region, n_workers);
    return (struct hr_policy *)(policies + slot * HR_REGION_POLICY_SIZE);
}

struct hr_replicas *hr_region_replicas(struct hr_region *region, uint32_t n_workers, uint32_t slot)
{
    uint8_t *maps = (uint8_t *)hr_region_channel(region, n_workers) + HR_POLICY_SLOTS * HR_REGION_POLICY_SIZE;
    return (struct hr_replicas *)(maps + slot * HR_REGION_REPLICAS_SIZE);
}

static uint32_t offset_of(const struct hr_region *region, const void *part)
{
    return (uint32_t)((const uint8_t *)part - (const uint8_t *)region);
}

static void fill_head(struct hr_region *region, uint32_t n_workers, const uint32_t *lcores, const char *build_id)
{
    region->magic = HR_IPC_MAGIC;
    region->abi = HR_IPC_ABI;
    region->n_workers = n_workers;
    region->total_size = hr_region_size(n_workers);
    region->started_us = hr_now_us();
    snprintf(region->build_id, sizeof(region->build_id), "%s", build_id);
    for (uint32_t i = 0; i < n_workers; i++) {
        struct hr_region_channel *channel = hr_region_channel(region, i);
        region->worker[i].stats = offset_of(region, &channel->stats);
        region->worker[i].zones = offset_of(region, &channel->zones);
        region->worker[i].sleeping = offset_of(region, &channel->sleep);
        region->worker[i].commands = offset_of(region, &channel->commands);
        region->worker[i].events = offset_of(region, &channel->events);
        region->worker[i].command_slots = offset_of(region, channel->command_slots);
        region->worker[i].event_slots = offset_of(region, channel->event_slots);
        region->worker[i].lcore = lcores[i];
    }
    for (uint32_t i = 0; i < HR_POLICY_SLOTS; i++)
        region->policy[i] = offset_of(region, hr_region_policy(region, n_workers, i));
    for (uint32_t i = 0; i < HR_POLICY_SLOTS; i++)
        region->replicas[i] = offset_of(region, hr_region_replicas(region, n_workers, i));
}

int hr_region_create(uint32_t n_workers, const uint32_t *lcores, const char *build_id, int *ret_memfd,
                     struct hr_region **ret_region)
{
    if (n_workers == 0 || n_workers > HR_MAX_WORKERS)
        return HR_E_INVALID;

    int err = HR_E_SYSTEM;
    uint32_t size = hr_region_size(n_workers);
    int memfd = memfd_create("headrace", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memfd < 0)
        return HR_E_SYSTEM;
    if (ftruncate(memfd, size) < 0 || fcntl(memfd, F_ADD_SEALS, SEALS) < 0)
        goto out;
    /* Populated now, so that no worker takes a page fault later. */
    struct hr_region *region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memfd, 0);
    if (region == MAP_FAILED)
        goto out;
    fill_head(region, n_workers, lcores, build_id);
    *ret_region = region;
    *ret_memfd = memfd;
    return 0;
out:
    close(memfd);
    return err;
}

int hr_region_map(int memfd, struct hr_region **ret_region, uint32_t *ret_size)
{
    struct stat st;
    int seals = fcntl(memfd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(memfd, &st) < 0)
        return HR_E_INVALID;
    if (st.st_size < hr_region_size(1) || st.st_size > hr_region_size(HR_MAX_WORKERS))
        return HR_E_INVALID;
    uint32_t size = (uint32_t)st.st_size;
    struct hr_region *region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, memfd, 0);
    if (region == MAP_FAILED)
        return HR_E_SYSTEM;

    uint32_t n_workers = region->n_workers;
    int err = 0;
    if (region->magic != HR_IPC_MAGIC)
        err = HR_E_INVALID;
    else if (region->abi != HR_IPC_ABI)
        err = HR_E_VERSION;
    else if (n_workers == 0 || n_workers > HR_MAX_WORKERS || size != hr_region_size(n_workers) ||
             region->total_size != size)
        err = HR_E_INVALID;
    /* The offsets say how the other build laid it out: where they differ from ours, nothing else would fit. */
    for (uint32_t i = 0; err == 0 && i < n_workers; i++) {
        struct hr_region_channel *channel = hr_region_channel(region, i);
        if (region->worker[i].stats != offset_of(region, &channel->stats) ||
            region->worker[i].zones != offset_of(region, &channel->zones) ||
            region->worker[i].sleeping != offset_of(region, &channel->sleep) ||
            region->worker[i].commands != offset_of(region, &channel->commands) ||
            region->worker[i].events != offset_of(region, &channel->events) ||
            region->worker[i].command_slots != offset_of(region, channel->command_slots) ||
            region->worker[i].event_slots != offset_of(region, channel->event_slots))
            err = HR_E_VERSION;
    }
    if (err < 0) {
        munmap(region, size);
        return err;
    }
    *ret_region = region;
    *ret_size = size;
    return 0;
}

void hr_region_unmap(struct hr_region *region, uint32_t size)
{
    munmap(region, size);
}

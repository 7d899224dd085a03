/* How busy this machine's CPUs were between two moments, from /proc/stat: all of the wall time that was not
 * idle, not waiting for a disk, and not taken by the host (steal). */
#pragma once

#include <stdint.h>
#include <stdio.h>

#define HR_HOSTCPU_MAX 128

struct hr_hostcpu {
    uint64_t wall_ns;
    uint32_t n_cpus;
    double idle_s[HR_HOSTCPU_MAX]; /* idle and iowait */
    double steal_s[HR_HOSTCPU_MAX];
};

/* Wall time is CLOCK_MONOTONIC. Without /proc/stat n_cpus is 0. */
void hr_hostcpu_read(struct hr_hostcpu *ret);
/* {"wall_s", "busy_s", "steal_s", "per_cpu_busy_s": [...]} */
void hr_hostcpu_print(FILE *out, const struct hr_hostcpu *from, const struct hr_hostcpu *to);

#include "bench/e2e/hostcpu.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

void hr_hostcpu_read(struct hr_hostcpu *ret)
{
    FILE *f = fopen("/proc/stat", "re");
    struct timespec ts;
    char line[512];
    double hz = (double)sysconf(_SC_CLK_TCK);

    memset(ret, 0, sizeof(*ret));
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ret->wall_ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
    while (f && ret->n_cpus < HR_HOSTCPU_MAX && fgets(line, sizeof(line), f)) {
        unsigned cpu;
        unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
        if (line[3] < '0' || line[3] > '9') /* the sum of all */
            continue;
        if (sscanf(line, "cpu%u %llu %llu %llu %llu %llu %llu %llu %llu", &cpu, &user, &nice, &system, &idle, &iowait,
                   &irq, &softirq, &steal) != 9)
            continue;
        ret->idle_s[ret->n_cpus] = (double)(idle + iowait) / hz;
        ret->steal_s[ret->n_cpus] = (double)steal / hz;
        ret->n_cpus++;
    }
    if (f)
        fclose(f);
}

void hr_hostcpu_print(FILE *out, const struct hr_hostcpu *from, const struct hr_hostcpu *to)
{
    double wall_s = (double)(to->wall_ns - from->wall_ns) / 1e9, busy_s = 0, steal_s = 0;
    double each[HR_HOSTCPU_MAX];

    for (uint32_t i = 0; i < to->n_cpus; i++) {
        double steal = to->steal_s[i] - from->steal_s[i];
        each[i] = wall_s - (to->idle_s[i] - from->idle_s[i]) - steal;
        if (each[i] < 0) /* the kernel counts in ticks of 10 ms */
            each[i] = 0;
        busy_s += each[i];
        steal_s += steal;
    }
    fprintf(out, "{\"wall_s\": %.4f, \"busy_s\": %.4f, \"steal_s\": %.4f, \"per_cpu_busy_s\": [", wall_s, busy_s, steal_s);
    for (uint32_t i = 0; i < to->n_cpus; i++)
        fprintf(out, "%s%.4f", i ? ", " : "", each[i]);
    fputs("]}", out);
}

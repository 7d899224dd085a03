/* hr-bench-machine: what mood the machine is in, told in a tenth of a second.
 *
 * Guests are not always given the same two CPUs: a message between cores may take 100 ns now and 800 ns a minute
 * later. bench/run looks before and after each round, since figures from both moods do not belong together.
 *
 *   round trip   one cache line there and one back, between two pinned threads; several samples
 *   gaps         both threads read the clock without a pause; where it jumps, the host had other work */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAMPLES 9
#define TRIPS 5000
#define TRIPS_TIMEOUT_NS 200000000ull /* of one sample: the two CPUs may be one */
#define GAP_NS 10000u

struct line {
    _Alignas(64) _Atomic uint32_t value;
};

struct gaps {
    uint64_t over_10us, over_50us, max_ns, lost_ns, spun_ns;
};

static struct line there, back;
static atomic_bool echo_stop;
static atomic_uint at_start;
static int spin_ms = 30;

static uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static bool pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

static struct gaps spin(void)
{
    struct gaps g = {0};
    uint64_t begun = clock_ns(), last = begun, end = begun + (uint64_t)spin_ms * 1000000;
    while (last < end) {
        uint64_t now = clock_ns(), gap = now - last;
        if (gap > GAP_NS) {
            g.over_10us++;
            g.over_50us += gap > 5 * GAP_NS;
            g.lost_ns += gap;
            if (gap > g.max_ns)
                g.max_ns = gap;
        }
        last = now;
    }
    g.spun_ns = last - begun;
    return g;
}

/* Both threads begin to spin together. */
static void meet(void)
{
    atomic_fetch_add(&at_start, 1);
    uint64_t end = clock_ns() + TRIPS_TIMEOUT_NS;
    while (atomic_load(&at_start) < 2 && clock_ns() < end)
        ;
}

/* Release here, acquire in round_trip_ns(), and the other way round. */
static void *echo(void *arg)
{
    int cpu = ((const int *)arg)[1];
    static struct gaps gaps;
    uint32_t seen = 0;
    if (!pin(cpu))
        return NULL;
    while (!atomic_load_explicit(&echo_stop, memory_order_relaxed)) {
        uint32_t v = atomic_load_explicit(&there.value, memory_order_acquire);
        if (v != seen)
            atomic_store_explicit(&back.value, seen = v, memory_order_release);
    }
    meet();
    gaps = spin();
    return &gaps;
}

/* Nanoseconds of one trip there and back; 0: the other thread does not answer. */
static double round_trip_ns(uint32_t *seq)
{
    uint64_t begun = clock_ns();
    for (int i = 0; i < TRIPS; i++) {
        atomic_store_explicit(&there.value, ++*seq, memory_order_release);
        for (uint32_t spins = 1; atomic_load_explicit(&back.value, memory_order_acquire) != *seq; spins++)
            if (spins % 65536 == 0 && clock_ns() - begun > TRIPS_TIMEOUT_NS)
                return 0;
    }
    return (double)(clock_ns() - begun) / TRIPS;
}

static void print_gaps(int cpu, const struct gaps *g, const char *end)
{
    printf("{\"cpu\": %d, \"over_10us\": %llu, \"over_50us\": %llu, \"max_us\": %.1f, \"lost_share\": %.5f}%s", cpu,
           (unsigned long long)g->over_10us, (unsigned long long)g->over_50us, (double)g->max_ns / 1e3,
           (double)g->lost_ns / (double)g->spun_ns, end);
}

int main(int argc, char **argv)
{
    int cpus[2] = {0, 1};
    pthread_t thread;
    uint32_t seq = 0;
    void *theirs = NULL;

    if (argc > 4 || (argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))) {
        printf("usage: hr-bench-machine [CPU_A CPU_B [SPIN_MS]]    (default 0 1 30)\n");
        return argc > 4 ? 2 : 0;
    }
    if (argc > 2) {
        cpus[0] = atoi(argv[1]);
        cpus[1] = atoi(argv[2]);
    }
    if (argc > 3)
        spin_ms = atoi(argv[3]);
    if (!pin(cpus[0]) || pthread_create(&thread, NULL, echo, cpus) != 0) {
        fprintf(stderr, "hr-bench-machine: cannot run on CPU %d\n", cpus[0]);
        return 1;
    }
    printf("{\"round_trip_ns\": [");
    round_trip_ns(&seq); /* the first one waits for the thread to start */
    for (int i = 0; i < SAMPLES; i++)
        printf("%s%.1f", i ? ", " : "", round_trip_ns(&seq));
    atomic_store(&echo_stop, true);
    meet();
    struct gaps mine = spin();
    pthread_join(thread, &theirs);
    if (!theirs) {
        fprintf(stderr, "hr-bench-machine: cannot run on CPU %d\n", cpus[1]);
        return 1;
    }
    printf("], \"spin_ms\": %d, \"gaps\": [", spin_ms);
    print_gaps(cpus[0], &mine, ", ");
    print_gaps(cpus[1], theirs, "]}\n");
    return 0;
}

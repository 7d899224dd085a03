/* The ring bench's program: one scenario per run. bench/ring/run calls it for all of them. */
#include <getopt.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"

#define EAL_ARGS 16
#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

static const struct {
    const char *name;
    void (*run)(const struct rb_options *o);
} scenarios[] = {
    {"exchange", rb_scenario_exchange},
    {"churn", rb_scenario_churn},
    {"acks", rb_scenario_acks},
    {"latency", rb_scenario_latency},
    {"idle", rb_scenario_idle},
    {"pair", rb_scenario_pair},
    {"reference", rb_scenario_reference},
};

static void usage(FILE *to)
{
    fprintf(to, "usage: ring-bench [options] SCENARIO\n\nscenarios:");
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        fprintf(to, " %s", scenarios[i].name);
    fprintf(to, "\n\n"
                "  --label NAME          put in front of each metric (default \"ring\")\n"
                "  --mode kafka|tcp      Kafka-aware or raw relay (default kafka)\n"
                "  --tls none|client|both   legs that speak TLS 1.3 (default none)\n"
                "  --suite aes128|aes256|chacha20   (default aes128)\n"
                "  --mtu BYTES           1500 or 9000 (default 1500)\n"
                "  --conns N             clients (default 100)\n"
                "  --burst N             frames per turn of the proxy, at most 32 (default 32)\n"
                "  --ring-mb N           memory that received frames cycle through (default 8)\n"
                "  --request, --response BYTES   (default 65536 and 80)\n"
                "  --in-flight N         requests under way per client (default 2)\n"
                "  --rounds N            (default 9)\n"
                "  --per-round N         segments, answers or connections (default 100000)\n"
                "  --cold                flush frames and descriptors from the caches before each turn\n"
                "  --evict               drive everything out of the caches before each turn\n"
                "  --soft-cksum          checksums in software on both ends\n"
                "  --two-cores           in real time: the worker on --cpu, the generator on another\n"
                "  --workers N           so many, in turns on one core (default 1)\n"
                "  --parallel            two workers, each on a core of its own, at the same time\n"
                "  --counted             for callgrind --toggle-collect=rb_turn_counted\n"
                "  --cpu N               run on this CPU (default 1 where there is one)\n"
                "  --memory MB           packet memory (default 1024)\n"
                "  --build               print compiler and flags, and nothing else\n");
}

static uint32_t pow2_at_least(uint32_t n)
{
    uint32_t p = 32;
    while (p < n)
        p *= 2;
    return p;
}

void rb_options_loop(const struct rb_options *o, struct rb_loop_config *ret)
{
    struct hr_config_port port = {.mtu = (uint16_t)o->mtu};
    /* A buffer as the pool lays it out. */
    uint32_t buffer = hr_port_data_room(&port) + (uint32_t)sizeof(struct rte_mbuf);
    uint32_t rx_desc = pow2_at_least((uint32_t)(((uint64_t)o->ring_mb << 20) / buffer));
    /* With TLS the generator's frames are copies of their own: what is under way of them, twice for what is unsealed. */
    uint32_t copies = o->tls.client || o->tls.broker
                          ? RTE_MIN(2 * o->conns * o->in_flight * (o->request / 1024 + 2), (128u << 20) / buffer) : 0;
    *ret = (struct rb_loop_config){
        .proxy = {.mtu = (uint16_t)o->mtu,
                  .cksum = !o->soft_cksum,
                  .rx_desc = rx_desc,
                  .two_cores = o->two_cores,
                  .client_tls = o->tls.client,
                  .broker_tls = o->tls.broker,
                  .n_workers = o->workers,
                  /* Besides those that are posted: windows of 64 KB for all, but no more than 256 MB. */
                  .mbufs = rx_desc + RTE_MIN(RTE_MAX(o->conns * 64, 8192u), (256u << 20) / buffer),
                  .memory_mb = o->memory_mb / 4 * 3, /* the rest is the generator's */
                  .max_connections = o->max_connections ? o->max_connections : RTE_MAX(o->conns, 1000u)},
        .peers = {.mtu = (uint16_t)o->mtu,
                  .cksum = !o->soft_cksum,
                  .max_peers = 2 * o->conns + 4096,
                  .rx_mbufs = copies ? 4096 + copies : 0,
                  .tls = o->tls,
                  .request_bytes = o->request,
                  .response_bytes = o->response,
                  .port = o->tcp ? RB_TCP_PORT : RB_KAFKA_PORT,
                  .broker_port = o->tcp ? RB_TCP_PORT : RB_KAFKA_PORT},
        .burst = o->burst,
        .cold = o->cold,
        .evict = o->evict,
        .parallel = o->parallel,
    };
}

/* Bytes in free hugepages of 2 MB. */
static uint64_t free_hugepages(void)
{
    char line[128];
    unsigned long n = 0;
    FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "r");
    if (f && fgets(line, sizeof(line), f))
        n = strtoul(line, NULL, 10);
    if (f)
        fclose(f);
    return n << 21;
}

static void start_eal(uint32_t memory_mb, int cpu, bool two_cores, bool may_huge)
{
    char lcores[32], memory[16];
    char *argv[EAL_ARGS] = {"ring-bench", "--no-pci", "--no-shconf", "--no-telemetry", "--log-level=error"};
    int argc = 5;
    bool huge = may_huge && free_hugepages() >= (uint64_t)memory_mb << 20;
    if (two_cores)
        snprintf(lcores, sizeof(lcores), "0@%d,1@%d", cpu == 0 ? 1 : 0, cpu);
    else
        snprintf(lcores, sizeof(lcores), "0@%d", cpu);
    snprintf(memory, sizeof(memory), "%u", memory_mb);
    argv[argc++] = "--lcores";
    argv[argc++] = lcores;
    argv[argc++] = "-m";
    argv[argc++] = memory;
    argv[argc++] = huge ? "--in-memory" : "--no-huge";
    if (!huge && may_huge)
        fprintf(stderr, "ring bench: fewer than %u MB of free hugepages: on ordinary pages\n", memory_mb);
    if (rte_eal_init(argc, argv) < 0) {
        fprintf(stderr, "ring bench: the EAL does not start: %s\n", rte_strerror(rte_errno));
        exit(1);
    }
}

enum option_id {
    OPT_LABEL = 1, OPT_MODE, OPT_TLS, OPT_SUITE, OPT_MTU, OPT_CONNS, OPT_BURST, OPT_RING_MB, OPT_REQUEST, OPT_RESPONSE, OPT_IN_FLIGHT,
    OPT_ROUNDS, OPT_PER_ROUND, OPT_COLD, OPT_EVICT, OPT_SOFT_CKSUM, OPT_TWO_CORES, OPT_WORKERS, OPT_PARALLEL, OPT_COUNTED, OPT_CPU, OPT_MEMORY, OPT_BUILD, OPT_HELP,
};

static const struct option options[] = {
    {"label", required_argument, NULL, OPT_LABEL},
    {"mode", required_argument, NULL, OPT_MODE},
    {"tls", required_argument, NULL, OPT_TLS},
    {"suite", required_argument, NULL, OPT_SUITE},
    {"mtu", required_argument, NULL, OPT_MTU},
    {"conns", required_argument, NULL, OPT_CONNS},
    {"burst", required_argument, NULL, OPT_BURST},
    {"ring-mb", required_argument, NULL, OPT_RING_MB},
    {"request", required_argument, NULL, OPT_REQUEST},
    {"response", required_argument, NULL, OPT_RESPONSE},
    {"in-flight", required_argument, NULL, OPT_IN_FLIGHT},
    {"rounds", required_argument, NULL, OPT_ROUNDS},
    {"per-round", required_argument, NULL, OPT_PER_ROUND},
    {"cold", no_argument, NULL, OPT_COLD},
    {"evict", no_argument, NULL, OPT_EVICT},
    {"soft-cksum", no_argument, NULL, OPT_SOFT_CKSUM},
    {"two-cores", no_argument, NULL, OPT_TWO_CORES},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"parallel", no_argument, NULL, OPT_PARALLEL},
    {"counted", no_argument, NULL, OPT_COUNTED},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"build", no_argument, NULL, OPT_BUILD},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

static uint32_t number(const char *text, uint32_t lo, uint32_t hi)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || n < lo || n > hi) {
        fprintf(stderr, "ring-bench: %s: must be a number from %u to %u\n", text, lo, hi);
        exit(2);
    }
    return (uint32_t)n;
}

int main(int argc, char **argv)
{
    struct rb_options o = {.label = "ring", .tls.suite = HR_TLS_AES_128_GCM_SHA256, .mtu = 1500, .conns = 100, .burst = 32, .ring_mb = 8, .request = 65536,
                           .response = 80, .in_flight = 2, .rounds = 9, .per_round = 100000,
                           .memory_mb = 1024};
    int cpu = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 1 : 0, c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case OPT_LABEL: o.label = optarg; break;
        case OPT_MODE: o.tcp = strcmp(optarg, "tcp") == 0; break;
        case OPT_TLS:
            o.tls.broker = strcmp(optarg, "both") == 0;
            o.tls.client = o.tls.broker || strcmp(optarg, "client") == 0;
            break;
        case OPT_SUITE:
            o.tls.suite = strcmp(optarg, "aes256") == 0     ? HR_TLS_AES_256_GCM_SHA384
                          : strcmp(optarg, "chacha20") == 0 ? HR_TLS_CHACHA20_POLY1305_SHA256
                                                            : HR_TLS_AES_128_GCM_SHA256;
            break;
        case OPT_MTU: o.mtu = number(optarg, 1280, 9216); break;
        case OPT_CONNS: o.conns = number(optarg, 1, 200000); break;
        case OPT_BURST: o.burst = number(optarg, 1, 32); break;
        case OPT_RING_MB: o.ring_mb = number(optarg, 1, 4096); break;
        case OPT_REQUEST: o.request = number(optarg, RB_REQUEST_MIN, RB_FRAME_PIECES * 32768); break;
        case OPT_RESPONSE: o.response = number(optarg, RB_RESPONSE_MIN, 16384); break;
        case OPT_IN_FLIGHT: o.in_flight = number(optarg, 1, 1000); break;
        case OPT_ROUNDS: o.rounds = number(optarg, 1, RB_MAX_ROUNDS); break;
        case OPT_PER_ROUND: o.per_round = number(optarg, 1, 1000000000); break;
        case OPT_COLD: o.cold = true; break;
        case OPT_EVICT: o.evict = true; break;
        case OPT_SOFT_CKSUM: o.soft_cksum = true; break;
        case OPT_TWO_CORES: o.two_cores = true; break;
        case OPT_WORKERS: o.workers = number(optarg, 1, RB_MAX_WORKERS); break;
        case OPT_PARALLEL: o.parallel = true; o.workers = 2; break;
        case OPT_COUNTED: o.counted = true; break;
        case OPT_CPU: cpu = (int)number(optarg, 0, 1023); break;
        case OPT_MEMORY: o.memory_mb = number(optarg, 64, 1u << 20); break;
        case OPT_BUILD: printf("%s, %s, %s\n", COMPILER, RB_FLAGS, rte_version()); return 0;
        case OPT_HELP:
        case 'h': usage(stdout); return 0;
        default: usage(stderr); return 2;
        }
    }
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (optind < argc && strcmp(argv[optind], scenarios[i].name) == 0) {
            if ((o.two_cores || o.parallel) && o.tls.client) {
                fprintf(stderr, "ring-bench: --tls is for one core\n");
                return 2;
            }
            start_eal(o.memory_mb, cpu, o.two_cores || o.parallel, !o.counted); /* valgrind maps no hugepages */
            scenarios[i].run(&o);
            rte_eal_cleanup();
            return 0;
        }
    }
    usage(stderr);
    return 2;
}

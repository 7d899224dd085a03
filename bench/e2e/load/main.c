/* hr-load: Kafka requests at a given rate over kernel sockets, and how long their answers took.
 *
 * Open loop: arrivals are drawn beforehand from a Poisson process (schedule.h) and spread over the connections at
 * random. The latency of a request counts from the moment it was due, whether or not it could be sent then, so a
 * stall shows in every request that it delayed. With rate 0 the loop is closed: each connection keeps `window`
 * requests outstanding, which finds what the path can carry; latencies then count from the sending.
 *
 * One thread and one epoll set. The measured interval begins after the warm-up; CPU times of the whole machine
 * are read at its two ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/e2e/hostcpu.h"
#include "bench/e2e/load/conn.h"
#include "bench/e2e/load/request.h"
#include "bench/e2e/load/schedule.h"
#include "shared/base/hist.h"
#include "shared/kafka/wire.h"

#define MAX_CONNS 20000u
#define EVENTS 256
#define DRAIN_NS 2000000000ull /* for answers that are still out at the end */

static const char help[] =
    "hr-load: Kafka requests at a given rate, and how long their answers took\n"
    "\n"
    "  hr-load --connect ADDR:PORT --kind produce|fetch|small [options]\n"
    "\n"
    "  -c, --connect ADDR:PORT   a broker (the partition's leader), or what stands in front of it\n"
    "  -k, --kind KIND           produce, fetch, or small (one-record Produce)\n"
    "  -b, --bytes N             of each batch, response or small request (default 65536; small: 200)\n"
    "  -n, --connections N       (default 8)\n"
    "  -r, --rate N              requests a second of all connections, open loop; 0: closed loop (default 0)\n"
    "  -w, --window N            closed loop: outstanding requests of each connection (default 4)\n"
    "  -s, --seconds S           measured (default 2)\n"
    "  -W, --warmup S            before that (default 0.3)\n"
    "  -t, --topic NAME          (default bench)\n"
    "  -p, --partition N         (default 0)\n"
    "  -S, --seed N              of the schedule (default 1)\n"
    "  -h, --help\n"
    "\n"
    "Prints one JSON object. Exit status: 0, or 1 with a message when a connection broke or an answer was wrong.\n";

struct load {
    struct ld_request req;
    struct ld_conn *conns;
    uint32_t n_conns;
    uint32_t addr_be;
    uint16_t port;
    double rate, seconds, warmup;
    uint32_t window;
    uint64_t seed;
    struct ld_schedule schedule;
    int epoll_fd;

    uint64_t now_ns, from_ns, to_ns; /* the measured interval */
    bool open_loop, ended;
    struct hr_hist latency, lag;
    uint64_t due, answered, answered_bytes, unanswered, backlog_peak;
};

static struct load load = {.window = 4, .seconds = 2, .warmup = 0.3, .seed = 1};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "hr-load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static bool measured(uint64_t at_ns)
{
    return at_ns >= load.from_ns && at_ns < load.to_ns;
}

/* ---- sending and receiving --------------------------------------------------------------------------------- */

static void make_due(struct ld_conn *conn, uint64_t due_ns)
{
    if (ld_conn_due(conn, due_ns) != 0)
        die("out of memory");
    conn->dirty = true;
    load.unanswered++;
    load.due += measured(due_ns);
    if (load.unanswered > load.backlog_peak && measured(due_ns))
        load.backlog_peak = load.unanswered;
}

static void answered(void *arg, struct ld_conn *conn, uint64_t due_ns, uint32_t answer_bytes)
{
    (void)arg;
    load.unanswered--;
    if (measured(due_ns))
        hr_hist_record(&load.latency, load.now_ns - due_ns);
    if (measured(load.now_ns)) {
        load.answered++;
        load.answered_bytes += answer_bytes;
    }
    if (!load.open_loop && !load.ended)
        make_due(conn, load.now_ns);
}

static void send_due(struct ld_conn *conn)
{
    bool blocked;
    conn->dirty = false;
    if (ld_conn_send(conn, &load.req, &blocked) != 0)
        die("a connection broke while sending");
    if (blocked == conn->writable_wanted)
        return;
    conn->writable_wanted = blocked;
    struct epoll_event ev = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0u), .data.ptr = conn};
    if (epoll_ctl(load.epoll_fd, EPOLL_CTL_MOD, conn->fd, &ev) != 0)
        die("epoll");
}

static void receive(struct ld_conn *conn)
{
    struct ld_got got;
    load.now_ns = clock_ns();
    if (ld_conn_receive(conn, &load.req, answered, NULL, &got) != 0)
        die("a connection broke while receiving");
    errno = 0;
    if (got.error < 0)
        die("an answer is malformed or out of order");
    if (got.error > 0) {
        fprintf(stderr, "hr-load: the broker answers with error code %d\n", got.error);
        exit(1);
    }
    /* Requests may wait behind the limit of those in flight. */
    if (conn->dirty || (got.answers > 0 && conn->sent != conn->tail && !conn->writable_wanted))
        send_due(conn);
}

/* Everything that is due by now; returns when the next will be. */
static uint64_t issue(uint32_t *next, uint64_t start_ns, uint64_t *seed)
{
    load.now_ns = clock_ns();
    while (*next < load.schedule.n) {
        uint64_t due_ns = start_ns + load.schedule.due_ns[*next];
        if (due_ns > load.now_ns)
            return due_ns;
        struct ld_conn *conn = &load.conns[ld_random(seed) % load.n_conns];
        if (measured(due_ns))
            hr_hist_record(&load.lag, load.now_ns - due_ns);
        make_due(conn, due_ns);
        send_due(conn);
        (*next)++;
    }
    return UINT64_MAX;
}

static void turn(uint64_t until_ns)
{
    struct epoll_event events[EVENTS];
    uint64_t now_ns = clock_ns(), wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    struct timespec ts = {.tv_sec = (time_t)(wait_ns / 1000000000), .tv_nsec = (long)(wait_ns % 1000000000)};
    int n = epoll_pwait2(load.epoll_fd, events, EVENTS, &ts, NULL);
    for (int i = 0; i < n; i++) {
        struct ld_conn *conn = events[i].data.ptr;
        if (events[i].events & EPOLLOUT)
            send_due(conn);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            receive(conn);
    }
}

static void run(struct hr_hostcpu cpu[2])
{
    uint64_t start_ns = clock_ns(), seed = load.seed ^ 0x5bd1e995, next_due = UINT64_MAX;
    uint32_t next = 0;

    load.from_ns = start_ns + (uint64_t)(load.warmup * 1e9);
    load.to_ns = load.from_ns + (uint64_t)(load.seconds * 1e9);
    bool begun = false;
    load.now_ns = start_ns;
    for (uint32_t i = 0; !load.open_loop && i < load.n_conns; i++) {
        for (uint32_t k = 0; k < load.window; k++)
            make_due(&load.conns[i], start_ns);
        send_due(&load.conns[i]);
    }
    for (;;) {
        if (load.open_loop)
            next_due = issue(&next, start_ns, &seed);
        uint64_t now_ns = clock_ns(), mark_ns = begun ? load.to_ns : load.from_ns;
        if (!begun && now_ns >= load.from_ns) {
            hr_hostcpu_read(&cpu[0]);
            begun = true;
        }
        if (now_ns >= load.to_ns)
            break;
        turn(next_due < mark_ns ? next_due : mark_ns);
    }
    hr_hostcpu_read(&cpu[1]);
    load.ended = true;
    for (uint64_t end_ns = clock_ns() + DRAIN_NS; load.open_loop && load.unanswered > 0 && clock_ns() < end_ns;)
        turn(end_ns);
}

/* ---- before and after ----------------------------------------------------------------------------------------- */

/* Asks for the topic's id over a connection of its own: newer Fetch versions know no names. */
static void find_topic_id(const char *topic, char ret_uuid[40])
{
    uint8_t buf[65536];
    uint32_t len, have = 0;
    struct ld_conn conn;

    if (ld_conn_open(&conn, load.addr_be, load.port) != 0)
        die("cannot connect");
    if (ld_metadata_make(topic, buf, sizeof(buf), &len) != 0 || send(conn.fd, buf, len, MSG_NOSIGNAL) != (ssize_t)len)
        die("cannot ask for the topic");
    while (have < 4 || have < 4 + hr_kget32(buf)) {
        ssize_t n = recv(conn.fd, buf + have, sizeof(buf) - have, 0);
        if (n <= 0)
            die("no answer about the topic");
        have += (uint32_t)n;
    }
    errno = 0;
    if (ld_metadata_topic_id(buf + 4, have - 4, ret_uuid) != 0)
        die("the broker does not know the topic");
    ld_conn_close(&conn);
}

static void connect_all(void)
{
    load.conns = calloc(load.n_conns, sizeof(*load.conns));
    load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; load.conns && i < load.n_conns; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &load.conns[i]};
        if (ld_conn_open(&load.conns[i], load.addr_be, load.port) != 0 ||
            epoll_ctl(load.epoll_fd, EPOLL_CTL_ADD, load.conns[i].fd, &ev) != 0)
            die("cannot connect");
    }
    if (!load.conns || load.epoll_fd < 0)
        die("cannot start");
}

static void print_percentiles(const char *name, const struct hr_hist *h)
{
    printf("\"%s\": {\"p50\": %llu, \"p90\": %llu, \"p99\": %llu, \"p99.9\": %llu, \"max\": %llu}", name,
           (unsigned long long)hr_hist_percentile(h, 50), (unsigned long long)hr_hist_percentile(h, 90),
           (unsigned long long)hr_hist_percentile(h, 99), (unsigned long long)hr_hist_percentile(h, 99.9),
           (unsigned long long)(h->n ? h->max : 0));
}

/* [[slot, count], ...] */
static void print_counts(const struct hr_hist *h)
{
    const char *comma = "";
    putchar('[');
    for (uint32_t slot = hr_hist_next(h, 0); slot < HR_HIST_SLOTS; slot = hr_hist_next(h, slot + 1)) {
        printf("%s[%u, %llu]", comma, slot, (unsigned long long)h->counts[slot]);
        comma = ", ";
    }
    putchar(']');
}

static void report(const struct hr_hostcpu cpu[2])
{
    double requests_per_s = (double)load.answered / load.seconds;
    double payload = (double)load.answered * load.req.len + (double)load.answered_bytes;

    printf("{\"kind\": \"%s\", \"loop\": \"%s\", \"connections\": %u, \"rate\": %.1f, \"seconds\": %.3f, ",
           ld_kind_name(load.req.kind), load.open_loop ? "open" : "closed", load.n_conns, load.rate, load.seconds);
    printf("\"request_bytes\": %u, \"due\": %llu, \"answered\": %llu, \"unanswered\": %llu, \"backlog_peak\": %llu, ",
           load.req.len, (unsigned long long)load.due, (unsigned long long)load.answered,
           (unsigned long long)(load.open_loop ? load.unanswered : 0), (unsigned long long)load.backlog_peak);
    printf("\"requests_per_s\": %.1f, \"bytes\": %.0f, \"mb_per_s\": %.3f, ", requests_per_s, payload,
           payload / load.seconds / 1e6);
    print_percentiles("latency_ns", &load.latency);
    printf(", ");
    print_percentiles("lag_ns", &load.lag);
    printf(", \"cpu\": ");
    hr_hostcpu_print(stdout, &cpu[0], &cpu[1]);
    printf(", \"histogram_ns\": ");
    print_counts(&load.latency);
    printf("}\n");
}

static void take_address(char *text)
{
    struct in_addr addr;
    char *colon = strrchr(text, ':');
    errno = 0;
    if (!colon)
        die("--connect ADDR:PORT");
    *colon = 0;
    if (inet_pton(AF_INET, text, &addr) != 1 || atoi(colon + 1) <= 0)
        die("--connect ADDR:PORT");
    load.addr_be = addr.s_addr;
    load.port = (uint16_t)atoi(colon + 1);
}

static enum ld_kind kind_of(const char *name)
{
    for (int k = LD_KIND_NONE + 1; k < LD_KIND_MAX; k++)
        if (strcmp(name, ld_kind_name((enum ld_kind)k)) == 0)
            return (enum ld_kind)k;
    return LD_KIND_NONE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"connect", required_argument, NULL, 'c'}, {"kind", required_argument, NULL, 'k'},
        {"bytes", required_argument, NULL, 'b'},   {"connections", required_argument, NULL, 'n'},
        {"rate", required_argument, NULL, 'r'},    {"window", required_argument, NULL, 'w'},
        {"seconds", required_argument, NULL, 's'}, {"warmup", required_argument, NULL, 'W'},
        {"topic", required_argument, NULL, 't'},   {"partition", required_argument, NULL, 'p'},
        {"seed", required_argument, NULL, 'S'},    {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    enum ld_kind kind = LD_KIND_NONE;
    const char *topic = "bench";
    uint32_t bytes = 0;
    int32_t partition = 0;
    char uuid[40] = "";
    struct hr_hostcpu cpu[2];
    int opt;

    load.n_conns = 8;
    while ((opt = getopt_long(argc, argv, "c:k:b:n:r:w:s:W:t:p:S:h", options, NULL)) != -1) {
        switch (opt) {
        case 'c': take_address(optarg); break;
        case 'k': kind = kind_of(optarg); break;
        case 'b': bytes = (uint32_t)atoi(optarg); break;
        case 'n': load.n_conns = (uint32_t)atoi(optarg); break;
        case 'r': load.rate = atof(optarg); break;
        case 'w': load.window = (uint32_t)atoi(optarg); break;
        case 's': load.seconds = atof(optarg); break;
        case 'W': load.warmup = atof(optarg); break;
        case 't': topic = optarg; break;
        case 'p': partition = atoi(optarg); break;
        case 'S': load.seed = strtoull(optarg, NULL, 10); break;
        case 'h': fputs(help, stdout); return 0;
        default: fputs(help, stderr); return 2;
        }
    }
    errno = 0;
    load.open_loop = load.rate > 0;
    if (bytes == 0)
        bytes = kind == LD_SMALL ? 200 : 65536;
    if (!load.port || kind == LD_KIND_NONE || load.n_conns < 1 || load.n_conns > MAX_CONNS || load.rate < 0 ||
        !(load.seconds > 0) || load.warmup < 0 || load.window < 1 || bytes > (16u << 20) || optind < argc) {
        fputs(help, stderr);
        return 2;
    }
    if (load.open_loop && ld_schedule_make(&load.schedule, load.rate, load.warmup + load.seconds, load.seed) != 0)
        die("rate times seconds is too much");
    if (kind == LD_FETCH)
        find_topic_id(topic, uuid);
    if (ld_request_make(&load.req, kind, topic, uuid, partition, bytes) != 0)
        die("cannot make the request");
    prctl(PR_SET_TIMERSLACK, 1ul); /* the default rounds every wait by 50 us */
    connect_all();
    run(cpu);
    report(cpu);
    return 0;
}

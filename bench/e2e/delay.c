/* hr-delay: a wire with a length and with losses, between two kernel interfaces.
 *
 * Many kernels have no netem. This relay reads whole frames from one interface by a packet socket, holds each for
 * the one-way delay, drops some by a seeded generator, and writes them to the other interface; both directions
 * alike, first in first out. The queue of a direction is bounded: beyond it frames are dropped and counted.
 *
 *   hr-delay IFACE_A IFACE_B DELAY_US LOSS_PERCENT [SEED]
 *
 * Both interfaces should be without an address, and the kernel peers behind them without transmit checksum
 * offload (`ethtool -K IF tx off`). SIGTERM ends it and prints counters as JSON. */
#include <errno.h>
#include <net/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/e2e/load/schedule.h"

#define FRAME_MAX 9216u
#define QUEUE_FRAMES 8192u /* a power of two */
#define SOCKET_BYTES (16 << 20)

struct frame {
    uint64_t leave_ns;
    uint32_t len;
    uint8_t bytes[FRAME_MAX];
};

struct direction {
    int from, to;
    struct frame *frames;
    uint32_t head, tail;
    uint64_t passed, lost, overflowed;
};

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
    (void)sig;
    stopping = 1;
}

static uint64_t clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static int open_interface(const char *name)
{
    struct sockaddr_ll sa = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
    struct packet_mreq all = {.mr_ifindex = sa.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    int size = SOCKET_BYTES, one = 1;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (fd < 0 || sa.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0) {
        fprintf(stderr, "hr-delay: %s: %s\n", name, strerror(errno));
        exit(1);
    }
    return fd;
}

/* All frames that have arrived; their time is now. */
static void take(struct direction *d, uint64_t now_ns, uint64_t delay_ns, double loss, uint64_t *seed)
{
    for (;;) {
        struct frame *f = &d->frames[d->tail & (QUEUE_FRAMES - 1)];
        ssize_t n = recv(d->from, f->bytes, sizeof(f->bytes), MSG_DONTWAIT);
        if (n <= 0)
            return;
        if ((double)(ld_random(seed) >> 11) / 9007199254740992.0 < loss) {
            d->lost++;
            continue;
        }
        if (d->tail - d->head == QUEUE_FRAMES - 1) {
            d->overflowed++;
            continue;
        }
        f->len = (uint32_t)n;
        f->leave_ns = now_ns + delay_ns;
        d->tail++;
    }
}

/* Those whose time has come; returns when the next leaves. */
static uint64_t release(struct direction *d, uint64_t now_ns)
{
    while (d->head != d->tail) {
        const struct frame *f = &d->frames[d->head & (QUEUE_FRAMES - 1)];
        if (f->leave_ns > now_ns)
            return f->leave_ns;
        if (send(d->to, f->bytes, f->len, 0) < 0 && errno == ENOBUFS)
            d->overflowed++;
        else
            d->passed++;
        d->head++;
    }
    return UINT64_MAX;
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: hr-delay IFACE_A IFACE_B DELAY_US LOSS_PERCENT [SEED]\n");
        return 2;
    }
    uint64_t delay_ns = strtoull(argv[3], NULL, 10) * 1000, seed = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;
    double loss = atof(argv[4]) / 100;
    int a = open_interface(argv[1]), b = open_interface(argv[2]);
    struct direction way[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
    for (int i = 0; i < 2; i++) {
        way[i].frames = malloc(QUEUE_FRAMES * sizeof(struct frame));
        if (!way[i].frames)
            return 1;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    prctl(PR_SET_TIMERSLACK, 1ul);
    while (!stopping) {
        uint64_t now_ns = clock_ns(), next_ns = UINT64_MAX;
        for (int i = 0; i < 2; i++) {
            take(&way[i], now_ns, delay_ns, loss, &seed);
            uint64_t at_ns = release(&way[i], clock_ns());
            if (at_ns < next_ns)
                next_ns = at_ns;
        }
        now_ns = clock_ns();
        uint64_t wait_ns = next_ns == UINT64_MAX ? 100000000 : next_ns > now_ns ? next_ns - now_ns : 0;
        struct timespec ts = {.tv_nsec = (long)(wait_ns % 1000000000), .tv_sec = (time_t)(wait_ns / 1000000000)};
        struct pollfd fds[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
        ppoll(fds, 2, &ts, NULL);
    }
    for (int i = 0; i < 2; i++)
        printf("%s{\"passed\": %llu, \"lost\": %llu, \"overflowed\": %llu}%s", i ? ", " : "[",
               (unsigned long long)way[i].passed, (unsigned long long)way[i].lost, (unsigned long long)way[i].overflowed,
               i ? "]\n" : "");
    return 0;
}

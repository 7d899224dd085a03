/* States: WAITING for the timer to try (again), GREETING until the dataplane answers the hello, ATTACHED. Any
 * failure leads back to WAITING; the socket is the only thing that tells. */
#include "controlplane/attach/attach.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/ipc/build_id.h"

#define RETRY_MS    100  /* between two attempts to connect */
#define REFUSED_MS  500  /* after a refusal, which does not pass so quickly */
#define GREETING_MS 5000 /* for the workers to re-initialise their rings */

enum state { WAITING = 0, GREETING, ATTACHED };

struct hr_attach_client {
    char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    const struct hr_attach_client_ops *ops;
    void *owner;
    int epoll_fd, timer_fd;

    enum state state;
    int fd; /* -1 while WAITING */
    char last_refusal[sizeof(((struct hr_attach_msg *)0)->text)];

    /* Valid while ATTACHED. */
    struct hr_region *region;
    uint32_t region_size;
    uint32_t n_workers;
    uint32_t session;
    struct hr_link links[HR_MAX_WORKERS];
    int command_ring[HR_MAX_WORKERS];
    int event_wait;

    struct hr_policy *newest; /* what was published last; generation 0 = nothing yet */
    uint64_t under_way;       /* generation that the dataplane is looking at, 0 = none */
    uint64_t answered;        /* newest generation that it accepted or refused in this session */
    uint64_t adopted;         /* newest generation that it accepted in this session */
    uint32_t next_slot;

    struct hr_replicas *replicas; /* what was published last, the caller's; NULL: nothing */
    uint64_t replicas_under_way, replicas_answered;
    uint64_t replicas_generation;
    uint32_t next_replicas_slot;
};

/* 0 = as soon as possible. */
static void arm_timer(struct hr_attach_client *c, uint32_t ms)
{
    struct itimerspec when = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms > 0 ? (ms % 1000) * 1000000L : 1}};
    timerfd_settime(c->timer_fd, 0, &when, NULL);
}

static void disarm_timer(struct hr_attach_client *c)
{
    struct itimerspec never = {0};
    timerfd_settime(c->timer_fd, 0, &never, NULL);
}

static void close_fds(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

/* Back to WAITING from any state, whatever was there is released. */
static void disconnect(struct hr_attach_client *c, uint32_t retry_ms)
{
    if (c->state == ATTACHED) {
        hr_region_unmap(c->region, c->region_size);
        close_fds(c->command_ring, c->n_workers);
        close(c->event_wait);
        c->region = NULL;
        c->n_workers = 0;
        c->event_wait = -1;
        c->session = 0;
    }
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = WAITING;
    c->under_way = c->answered = c->adopted = 0;
    c->replicas_under_way = c->replicas_answered = 0;
    arm_timer(c, retry_ms);
}

static void lose(struct hr_attach_client *c, const char *why)
{
    if (c->state == ATTACHED)
        c->ops->lost(c->owner, why);
    disconnect(c, RETRY_MS);
}

static bool send_msg(struct hr_attach_client *c, struct hr_attach_msg *msg, enum hr_attach_type type)
{
    msg->magic = HR_IPC_MAGIC;
    msg->type = (uint16_t)type;
    msg->abi = HR_IPC_ABI;
    msg->session = c->session;
    snprintf(msg->build_id, sizeof(msg->build_id), "%s", hr_build_id);
    return send(c->fd, msg, sizeof(*msg), MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(*msg);
}

static void try_connect(struct hr_attach_client *c)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = 1};
    struct hr_attach_msg hello = {0};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", c->socket_path);
    c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0 || !send_msg(c, &hello, HR_ATTACH_HELLO)) {
        disconnect(c, RETRY_MS);
        return;
    }
    c->state = GREETING;
    arm_timer(c, GREETING_MS);
}

/* Sends the newest policy unless the dataplane has answered it or another is under way. */
static void send_policy(struct hr_attach_client *c)
{
    struct hr_attach_msg msg = {0};
    if (c->state != ATTACHED || c->under_way != 0 || c->newest->generation <= c->answered)
        return;
    msg.slot = c->next_slot;
    msg.generation = c->newest->generation;
    /* The dataplane reads the slot after it has received the message: the socket orders the two. */
    memcpy(hr_region_policy(c->region, c->n_workers, msg.slot), c->newest, sizeof(*c->newest));
    if (!send_msg(c, &msg, HR_ATTACH_POLICY))
        return; /* the hang-up is on its way to us */
    c->next_slot = (c->next_slot + 1) % HR_POLICY_SLOTS;
    c->under_way = msg.generation;
}

/* The same of the replica map. */
static void send_replicas(struct hr_attach_client *c)
{
    struct hr_attach_msg msg = {0};
    if (c->state != ATTACHED || c->replicas_under_way != 0 || c->replicas == NULL ||
        c->replicas->generation <= c->replicas_answered)
        return;
    msg.slot = c->next_replicas_slot;
    msg.generation = c->replicas->generation;
    memcpy(hr_region_replicas(c->region, c->n_workers, msg.slot), c->replicas, sizeof(*c->replicas));
    if (!send_msg(c, &msg, HR_ATTACH_REPLICAS))
        return;
    c->next_replicas_slot = (c->next_replicas_slot + 1) % HR_POLICY_SLOTS;
    c->replicas_under_way = msg.generation;
}

/* Takes over what came with the welcome; fds belong to us from here on. */
static int take_region(struct hr_attach_client *c, const struct hr_attach_msg *msg, int *fds, size_t n_fds)
{
    uint32_t size;
    if (n_fds < 3 || msg->session == 0)
        return HR_E_INVALID;
    int err = hr_region_map(fds[0], &c->region, &size);
    if (err < 0)
        return err;
    c->n_workers = (uint32_t)n_fds - 2;
    if (size != msg->region_size || size != hr_region_size(c->n_workers))
        err = HR_E_INVALID;
    for (uint32_t i = 0; err == 0 && i < c->n_workers; i++)
        err = hr_link_init_control(&c->links[i], c->region, i, msg->session, fds[1 + i]);
    if (err < 0) {
        hr_region_unmap(c->region, size);
        c->region = NULL;
        c->n_workers = 0;
        return err;
    }
    c->region_size = size;
    c->session = msg->session;
    memcpy(c->command_ring, fds + 1, c->n_workers * sizeof(int));
    c->event_wait = fds[n_fds - 1];
    close(fds[0]); /* the mapping holds it */
    return 0;
}

static void on_welcome(struct hr_attach_client *c, const struct hr_attach_msg *msg, int *fds, size_t n_fds)
{
    int err = take_region(c, msg, fds, n_fds);
    if (err < 0) {
        close_fds(fds, n_fds);
        c->ops->refused(c->owner, err == HR_E_VERSION ? "the shared region was laid out by another build"
                                                      : "the dataplane's welcome is malformed");
        disconnect(c, REFUSED_MS);
        return;
    }
    c->state = ATTACHED;
    c->last_refusal[0] = '\0';
    disarm_timer(c);
    c->ops->attached(c->owner);
    send_policy(c);
    send_replicas(c);
}

static void on_refused(struct hr_attach_client *c, const struct hr_attach_msg *msg)
{
    if (strcmp(msg->text, c->last_refusal) != 0) {
        memcpy(c->last_refusal, msg->text, sizeof(c->last_refusal));
        c->ops->refused(c->owner, c->last_refusal);
    }
    disconnect(c, REFUSED_MS);
}

static void on_policy_answer(struct hr_attach_client *c, const struct hr_attach_msg *msg)
{
    if (msg->generation != c->under_way)
        return;
    c->under_way = 0;
    c->answered = msg->generation;
    if (msg->type == HR_ATTACH_POLICY_OK) {
        c->adopted = msg->generation;
        c->ops->policy_ok(c->owner, msg->generation);
    } else {
        c->ops->policy_bad(c->owner, msg->generation, msg->text);
    }
    send_policy(c);
}

static void on_replicas_answer(struct hr_attach_client *c, const struct hr_attach_msg *msg)
{
    if (msg->generation != c->replicas_under_way)
        return;
    c->replicas_under_way = 0;
    c->replicas_answered = msg->generation;
    if (msg->type == HR_ATTACH_REPLICAS_BAD)
        hr_log_error("replica map: the dataplane refused generation %llu: %s; it keeps the one before",
                     (unsigned long long)msg->generation, msg->text);
    send_replicas(c);
}

/* One message with the descriptors that came with it: 1 = got one, 0 = none now, -1 = hang-up or nonsense. */
static int receive(struct hr_attach_client *c, struct hr_attach_msg *msg, int *fds, size_t *ret_n_fds)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE((HR_MAX_WORKERS + 2) * sizeof(int))];
    } control;
    struct iovec iov = {msg, sizeof(*msg)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes)};
    *ret_n_fds = 0;
    ssize_t n = recvmsg(c->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header); cmsg != NULL; cmsg = CMSG_NXTHDR(&header, cmsg)) {
        if (cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS && *ret_n_fds == 0) {
            *ret_n_fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(fds, CMSG_DATA(cmsg), *ret_n_fds * sizeof(int));
        }
    }
    bool whole = n == (ssize_t)sizeof(*msg) && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    if (!whole || msg->magic != HR_IPC_MAGIC) {
        close_fds(fds, *ret_n_fds);
        return -1;
    }
    msg->text[sizeof(msg->text) - 1] = '\0';
    msg->build_id[sizeof(msg->build_id) - 1] = '\0';
    return 1;
}

/* False when nothing more is to be read from this connection. */
static bool on_readable(struct hr_attach_client *c)
{
    struct hr_attach_msg msg;
    int fds[HR_MAX_WORKERS + 2];
    size_t n_fds;
    int got = receive(c, &msg, fds, &n_fds);
    if (got == 0)
        return false;
    if (got < 0) {
        lose(c, "the dataplane closed the connection");
        return false;
    }
    if (c->state == GREETING && msg.type == HR_ATTACH_WELCOME) {
        on_welcome(c, &msg, fds, n_fds);
        return c->state == ATTACHED;
    }
    close_fds(fds, n_fds);
    if (c->state == GREETING && msg.type == HR_ATTACH_REFUSED) {
        on_refused(c, &msg);
        return false;
    }
    if (c->state == ATTACHED && (msg.type == HR_ATTACH_POLICY_OK || msg.type == HR_ATTACH_POLICY_BAD)) {
        on_policy_answer(c, &msg);
        return true;
    }
    if (c->state == ATTACHED && (msg.type == HR_ATTACH_REPLICAS_OK || msg.type == HR_ATTACH_REPLICAS_BAD)) {
        on_replicas_answer(c, &msg);
        return true;
    }
    lose(c, "the dataplane sent an unexpected message");
    return false;
}

void hr_attach_client_poll(struct hr_attach_client *c)
{
    uint64_t expirations;
    if (read(c->timer_fd, &expirations, sizeof(expirations)) == (ssize_t)sizeof(expirations)) {
        if (c->state == GREETING)
            disconnect(c, RETRY_MS); /* no answer: begin again */
        else if (c->state == WAITING)
            try_connect(c);
    }
    while (c->fd >= 0 && on_readable(c))
        ;
}

int hr_attach_client_create(const char *socket_path, const struct hr_attach_client_ops *ops, void *owner,
                            struct hr_attach_client **ret_client)
{
    int err = HR_E_NOMEM;
    struct hr_attach_client *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return HR_E_NOMEM;
    c->ops = ops;
    c->owner = owner;
    c->fd = c->epoll_fd = c->timer_fd = c->event_wait = -1;
    if ((c->newest = calloc(1, sizeof(*c->newest))) == NULL)
        goto out;
    err = HR_E_TOO_LARGE;
    if (snprintf(c->socket_path, sizeof(c->socket_path), "%s", socket_path) >= (int)sizeof(c->socket_path))
        goto out;
    err = HR_E_SYSTEM;
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN};
    if (c->epoll_fd < 0 || c->timer_fd < 0 || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->timer_fd, &event) < 0)
        goto out;
    arm_timer(c, 0);
    *ret_client = c;
    return 0;
out:
    hr_attach_client_destroy(c);
    return err;
}

void hr_attach_client_destroy(struct hr_attach_client *c)
{
    if (c->timer_fd >= 0) {
        disconnect(c, 0);
        close(c->timer_fd);
    }
    if (c->epoll_fd >= 0)
        close(c->epoll_fd);
    free(c->newest);
    free(c);
}

int hr_attach_client_fd(const struct hr_attach_client *c)
{
    return c->epoll_fd;
}

bool hr_attach_client_attached(const struct hr_attach_client *c)
{
    return c->state == ATTACHED;
}

struct hr_region *hr_attach_client_region(const struct hr_attach_client *c)
{
    return c->region;
}

uint32_t hr_attach_client_workers(const struct hr_attach_client *c)
{
    return c->n_workers;
}

uint32_t hr_attach_client_session(const struct hr_attach_client *c)
{
    return c->session;
}

struct hr_link *hr_attach_client_link(struct hr_attach_client *c, uint32_t worker)
{
    return worker < c->n_workers ? &c->links[worker] : NULL;
}

int hr_attach_client_doorbell(const struct hr_attach_client *c)
{
    return c->event_wait;
}

int hr_attach_client_publish(struct hr_attach_client *c, const struct hr_policy *policy, const char **ret_why)
{
    int err = hr_policy_validate(policy, ret_why);
    if (err < 0)
        return err;
    if (policy->generation <= c->newest->generation) {
        *ret_why = "generation is not higher than the last one";
        return HR_E_INVALID;
    }
    memcpy(c->newest, policy, sizeof(*policy));
    send_policy(c);
    return 0;
}

void hr_attach_client_publish_replicas(struct hr_attach_client *c, struct hr_replicas *map)
{
    /* Another control plane may have published before us: a clock tells generations of both apart. */
    uint64_t now = hr_now_us();
    c->replicas_generation = now > c->replicas_generation ? now : c->replicas_generation + 1;
    c->replicas = map;
    if (map != NULL)
        map->generation = c->replicas_generation;
    send_replicas(c);
}

uint64_t hr_attach_client_adopted(const struct hr_attach_client *c)
{
    return c->adopted;
}

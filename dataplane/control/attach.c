#include "dataplane/control/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/base/log.h"
#include "shared/ipc/doorbell.h"

#define MAX_GUESTS 4 /* connections that have not said hello yet */
#define MAX_EVENTS 8

/* What an epoll event belongs to; guests are TAG_GUEST + index. */
enum { TAG_LISTEN = 0, TAG_CLIENT, TAG_GUEST };

enum state {
    LISTENING = 0, /* nobody is attached */
    RELINKING,     /* a control plane waits for the workers' links */
    ATTACHED,
};

/* What is published by generation. */
enum snapshot { SNAPSHOT_POLICY = 0, SNAPSHOT_REPLICAS, SNAPSHOT_MAX };

/* Workers use copy[current]; the other one is filled by a message and becomes current when all of them have adopted
 * it. */
struct snapshots {
    void *copy[2];
    uint32_t current;
};

static const size_t snapshot_size[SNAPSHOT_MAX] = {sizeof(struct hr_policy), sizeof(struct hr_replicas)};
static const uint16_t snapshot_ok[SNAPSHOT_MAX] = {HR_ATTACH_POLICY_OK, HR_ATTACH_REPLICAS_OK};
static const uint16_t snapshot_bad[SNAPSHOT_MAX] = {HR_ATTACH_POLICY_BAD, HR_ATTACH_REPLICAS_BAD};

struct hr_attach {
    char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    char build_id[HR_BUILD_ID_MAX];
    const struct hr_attach_ops *ops;
    void *owner;
    struct hr_region *region;
    uint32_t n_workers;
    int memfd;
    int epoll_fd, listen_fd;
    int guests[MAX_GUESTS]; /* -1 = free */
    uint32_t next_guest;    /* displaced next when all places are taken */

    enum state state;
    int client_fd;
    int32_t client_pid;
    uint32_t session; /* of the control plane that is or was attached last */

    /* Doorbells, one pair per worker for commands, one for everybody's events. Both ends stay open here, so that a
     * control plane that dies leaves them usable for the next. */
    int command_ring[HR_MAX_WORKERS], command_wait[HR_MAX_WORKERS];
    int event_ring, event_wait;

    struct snapshots snapshots[SNAPSHOT_MAX];
    uint64_t adopting;            /* generation that the workers are moving to, 0 = none */
    enum snapshot adopting_what;
    uint32_t adopting_session;    /* who sent it; somebody else needs no answer */
};

static int watch(struct hr_attach *a, int op, int fd, uint32_t events, uint32_t tag)
{
    struct epoll_event event = {.events = events, .data.u32 = tag};
    return epoll_ctl(a->epoll_fd, op, fd, &event) < 0 ? HR_E_SYSTEM : 0;
}

/* While the workers relink or adopt, only a hang-up is of interest. */
static void watch_client(struct hr_attach *a)
{
    bool busy = a->state == RELINKING || a->adopting != 0;
    if (a->client_fd >= 0)
        (void)!watch(a, EPOLL_CTL_MOD, a->client_fd, busy ? EPOLLRDHUP : EPOLLIN | EPOLLRDHUP, TAG_CLIENT);
}

static void detach(struct hr_attach *a, const char *why)
{
    bool was_attached = a->state == ATTACHED;
    close(a->client_fd);
    a->client_fd = -1;
    a->state = LISTENING;
    if (was_attached && a->ops->detached != NULL)
        a->ops->detached(a->owner, why);
    else if (!was_attached) /* the owner has never heard of it */
        hr_log_warn("control plane (pid %d) went before it was attached: %s", a->client_pid, why);
}

static struct hr_attach_msg make_msg(const struct hr_attach *a, enum hr_attach_type type)
{
    struct hr_attach_msg msg = {
        .magic = HR_IPC_MAGIC, .type = (uint16_t)type, .abi = HR_IPC_ABI, .session = a->session};
    snprintf(msg.build_id, sizeof(msg.build_id), "%s", a->build_id);
    return msg;
}

/* A peer whose socket buffer is full does not read: it is broken, and losing it is the answer. */
static bool send_msg(int fd, const struct hr_attach_msg *msg)
{
    return send(fd, msg, sizeof(*msg), MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(*msg);
}

static void answer(struct hr_attach *a, uint16_t type, uint64_t generation, const char *text)
{
    struct hr_attach_msg msg = make_msg(a, (enum hr_attach_type)type);
    msg.generation = generation;
    snprintf(msg.text, sizeof(msg.text), "%s", text);
    if (!send_msg(a->client_fd, &msg))
        detach(a, "it does not take our answers");
}

static void refuse(struct hr_attach *a, int fd, const char *why)
{
    struct hr_attach_msg msg = make_msg(a, HR_ATTACH_REFUSED);
    snprintf(msg.text, sizeof(msg.text), "%s", why);
    hr_log_warn("control plane refused: %s", why);
    (void)!send_msg(fd, &msg);
    close(fd);
}

/* memfd, one doorbell per worker to ring, the doorbell to wait for: as messages.h says. */
static void welcome(struct hr_attach *a)
{
    int fds[HR_MAX_WORKERS + 2];
    size_t n = 0;
    fds[n++] = a->memfd;
    for (uint32_t i = 0; i < a->n_workers; i++)
        fds[n++] = a->command_ring[i];
    fds[n++] = a->event_wait;

    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(fds))];
    } control;
    memset(&control, 0, sizeof(control));
    struct hr_attach_msg msg = make_msg(a, HR_ATTACH_WELCOME);
    msg.region_size = hr_region_size(a->n_workers);
    struct iovec iov = {&msg, sizeof(msg)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                            .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));

    a->state = ATTACHED;
    if (sendmsg(a->client_fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        detach(a, "it does not take our welcome");
        return;
    }
    watch_client(a);
    if (a->ops->attached != NULL)
        a->ops->attached(a->owner, a->session, a->client_pid);
}

/* Whether the peer at the other end of the current attachment still exists. */
static bool client_alive(const struct hr_attach *a)
{
    struct pollfd p = {.fd = a->client_fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 0;
}

static void start_attach(struct hr_attach *a, int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
        a->client_pid = peer.pid;
    a->client_fd = fd;
    a->state = RELINKING;
    a->session++;
    if (watch(a, EPOLL_CTL_MOD, fd, EPOLLRDHUP, TAG_CLIENT) < 0) {
        detach(a, "epoll failed");
        return;
    }
    int err = a->ops->relink(a->owner, a->session);
    if (err == 0) {
        welcome(a);
    } else if (err != HR_E_AGAIN) {
        char why[128];
        snprintf(why, sizeof(why), "the workers cannot re-initialise their rings: %s", hr_strerror(err));
        a->client_fd = -1;
        a->state = LISTENING;
        refuse(a, fd, why);
    }
}

static void handle_hello(struct hr_attach *a, int fd, const struct hr_attach_msg *msg)
{
    char why[160], theirs[2 * HR_BUILD_ID_MAX];
    if (msg->abi != HR_IPC_ABI) {
        snprintf(why, sizeof(why), "version mismatch: dataplane has ABI %u, control plane %u: install both from one build",
                 HR_IPC_ABI, msg->abi);
        refuse(a, fd, why);
        return;
    }
    if (strncmp(msg->build_id, a->build_id, sizeof(msg->build_id)) != 0) {
        hr_log_escape(theirs, sizeof(theirs), msg->build_id, (uint32_t)strnlen(msg->build_id, sizeof(msg->build_id)));
        snprintf(why, sizeof(why), "version mismatch: dataplane is %.40s, control plane %.40s: install both from one build",
                 a->build_id, theirs);
        refuse(a, fd, why);
        return;
    }
    if (a->client_fd >= 0 && client_alive(a)) {
        snprintf(why, sizeof(why), "another control plane is attached (pid %d)", a->client_pid);
        refuse(a, fd, why);
        return;
    }
    if (a->client_fd >= 0)
        detach(a, "it has gone");
    start_attach(a, fd);
}

static void adopt_now(struct hr_attach *a)
{
    uint64_t generation = a->adopting;
    bool tell = a->state == ATTACHED && a->adopting_session == a->session;
    a->snapshots[a->adopting_what].current ^= 1;
    a->adopting = 0;
    watch_client(a);
    if (tell)
        answer(a, snapshot_ok[a->adopting_what], generation, "");
}

static const char *check_copy(enum snapshot what, const void *copy, uint64_t generation)
{
    const struct hr_policy *policy = copy;
    const struct hr_replicas *map = copy;
    const char *why = NULL;
    bool is_policy = what == SNAPSHOT_POLICY;
    if ((is_policy ? hr_policy_validate(policy, &why) : hr_replicas_validate(map, &why)) < 0)
        return why;
    return (is_policy ? policy->generation : map->generation) == generation ? NULL : "the slot holds another generation";
}

static int hand_on(struct hr_attach *a, enum snapshot what, const void *copy)
{
    if (what == SNAPSHOT_POLICY)
        return a->ops->policy(a->owner, copy);
    return a->ops->replicas ? a->ops->replicas(a->owner, copy) : HR_E_UNSUPPORTED;
}

static void handle_snapshot(struct hr_attach *a, const struct hr_attach_msg *msg, enum snapshot what)
{
    void *copy = a->snapshots[what].copy[a->snapshots[what].current ^ 1];
    if (msg->slot >= HR_POLICY_SLOTS) {
        answer(a, snapshot_bad[what], msg->generation, "no such slot");
        return;
    }
    /* Copied first, then checked, and used from here on only as the copy. */
    const void *slot = what == SNAPSHOT_POLICY ? (void *)hr_region_policy(a->region, a->n_workers, msg->slot)
                                               : (void *)hr_region_replicas(a->region, a->n_workers, msg->slot);
    memcpy(copy, slot, snapshot_size[what]);
    const char *why = check_copy(what, copy, msg->generation);
    if (why != NULL) {
        answer(a, snapshot_bad[what], msg->generation, why);
        return;
    }
    a->adopting = msg->generation;
    a->adopting_what = what;
    a->adopting_session = a->session;
    int err = hand_on(a, what, copy);
    if (err == 0) {
        adopt_now(a);
    } else if (err == HR_E_AGAIN) {
        watch_client(a);
    } else {
        a->adopting = 0;
        answer(a, snapshot_bad[what], msg->generation, hr_strerror(err));
    }
}

static void handle_message(struct hr_attach *a, const struct hr_attach_msg *msg)
{
    if (msg->session != a->session) {
        detach(a, "it sent a message of another session");
        return;
    }
    switch ((enum hr_attach_type)msg->type) {
    case HR_ATTACH_POLICY:
        handle_snapshot(a, msg, SNAPSHOT_POLICY);
        break;
    case HR_ATTACH_REPLICAS:
        handle_snapshot(a, msg, SNAPSHOT_REPLICAS);
        break;
    case HR_ATTACH_NONE:
    case HR_ATTACH_HELLO:
    case HR_ATTACH_WELCOME:
    case HR_ATTACH_REFUSED:
    case HR_ATTACH_POLICY_OK:
    case HR_ATTACH_POLICY_BAD:
    case HR_ATTACH_REPLICAS_OK:
    case HR_ATTACH_REPLICAS_BAD:
    case HR_ATTACH_MAX:
    default:
        detach(a, "it sent a message that is not its to send");
        break;
    }
}

/* One message: 1 = got one, 0 = none now, -1 = the peer hung up or sent something else. */
static int receive(int fd, struct hr_attach_msg *msg)
{
    /* MSG_TRUNC: the true length, so that a longer message is not mistaken for one of ours. */
    ssize_t n = recv(fd, msg, sizeof(*msg), MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n != (ssize_t)sizeof(*msg) || msg->magic != HR_IPC_MAGIC)
        return -1;
    msg->build_id[sizeof(msg->build_id) - 1] = '\0';
    msg->text[sizeof(msg->text) - 1] = '\0';
    return 1;
}

static void on_client(struct hr_attach *a, uint32_t events)
{
    struct hr_attach_msg msg;
    if (a->client_fd < 0)
        return;
    if ((events & EPOLLIN) != 0 && a->state == ATTACHED && a->adopting == 0) {
        int got = receive(a->client_fd, &msg);
        if (got > 0)
            handle_message(a, &msg);
        else if (got < 0)
            detach(a, client_alive(a) ? "it sent a malformed message" : "it has gone");
        /* What it sent before it hung up is read first. */
        return;
    }
    if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0)
        detach(a, "it has gone");
}

static void on_guest(struct hr_attach *a, uint32_t i)
{
    struct hr_attach_msg msg;
    int fd = a->guests[i], got;
    if (fd < 0 || (got = receive(fd, &msg)) == 0)
        return;
    a->guests[i] = -1;
    if (got < 0 || msg.type != HR_ATTACH_HELLO)
        close(fd);
    else
        handle_hello(a, fd, &msg);
}

static void on_listen(struct hr_attach *a)
{
    int fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    uint32_t place = a->next_guest;
    for (uint32_t i = 0; i < MAX_GUESTS; i++) {
        if (a->guests[i] < 0)
            place = i;
    }
    if (a->guests[place] >= 0) { /* all are silent: the next in turn has waited longest */
        close(a->guests[place]);
        a->next_guest = (place + 1) % MAX_GUESTS;
    }
    if (watch(a, EPOLL_CTL_ADD, fd, EPOLLIN, TAG_GUEST + place) < 0) {
        close(fd);
        fd = -1;
    }
    a->guests[place] = fd;
}

void hr_attach_poll(struct hr_attach *a, int timeout_ms)
{
    struct epoll_event events[MAX_EVENTS];
    int n = epoll_wait(a->epoll_fd, events, MAX_EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        uint32_t tag = events[i].data.u32;
        if (tag == TAG_LISTEN)
            on_listen(a);
        else if (tag == TAG_CLIENT)
            on_client(a, events[i].events);
        else
            on_guest(a, tag - TAG_GUEST);
    }
}

void hr_attach_relinked(struct hr_attach *a, uint32_t session)
{
    if (a->state == RELINKING && session == a->session)
        welcome(a);
}

void hr_attach_adopted(struct hr_attach *a, uint64_t generation)
{
    if (a->adopting != 0 && a->adopting == generation && a->adopting_what == SNAPSHOT_POLICY)
        adopt_now(a);
}

void hr_attach_replicas_adopted(struct hr_attach *a, uint64_t generation)
{
    if (a->adopting != 0 && a->adopting == generation && a->adopting_what == SNAPSHOT_REPLICAS)
        adopt_now(a);
}

bool hr_attach_is_attached(const struct hr_attach *a)
{
    return a->state == ATTACHED;
}

int hr_attach_fd(const struct hr_attach *a)
{
    return a->epoll_fd;
}

int hr_attach_worker_wait_fd(const struct hr_attach *a, uint32_t worker)
{
    return a->command_wait[worker];
}

int hr_attach_event_ring_fd(const struct hr_attach *a)
{
    return a->event_ring;
}

/* Whether somebody still listens on the socket that lies there. */
static bool in_use(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    bool used = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN;
    close(fd);
    return used;
}

static int open_socket(struct hr_attach *a, const char *socket_user)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    gid_t group = (gid_t)-1;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", a->socket_path);
    if (socket_user[0] != '\0' && geteuid() == 0) {
        struct passwd *user = getpwnam(socket_user);
        if (user == NULL)
            return HR_E_NOT_FOUND;
        group = user->pw_gid;
    }
    if (in_use(&addr))
        return HR_E_EXISTS;
    unlink(a->socket_path);
    a->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (a->listen_fd < 0)
        return HR_E_SYSTEM;
    if (bind(a->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        close(a->listen_fd);
        a->listen_fd = -1;
        return HR_E_SYSTEM;
    }
    /* Ours, for the control plane's group to use: it may connect, and cannot put another socket in its place. The
     * folder may be writable for others, so no link is followed. Nobody can connect before listen(). */
    if (group != (gid_t)-1 && fchownat(AT_FDCWD, a->socket_path, (uid_t)-1, group, AT_SYMLINK_NOFOLLOW) < 0)
        return HR_E_SYSTEM;
    if (chmod(a->socket_path, 0660) < 0 || listen(a->listen_fd, 8) < 0)
        return HR_E_SYSTEM;
    return watch(a, EPOLL_CTL_ADD, a->listen_fd, EPOLLIN, TAG_LISTEN);
}

static void reset_fds(struct hr_attach *a)
{
    a->epoll_fd = a->listen_fd = a->client_fd = a->event_ring = a->event_wait = -1;
    for (uint32_t i = 0; i < HR_MAX_WORKERS; i++)
        a->command_ring[i] = a->command_wait[i] = -1;
    for (uint32_t i = 0; i < MAX_GUESTS; i++)
        a->guests[i] = -1;
}

int hr_attach_create(const struct hr_attach_config *config, struct hr_attach **ret_attach)
{
    struct hr_attach *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return HR_E_NOMEM;
    int err = HR_E_INVALID, saved_errno;
    reset_fds(a);
    a->ops = config->ops;
    a->owner = config->owner;
    a->region = config->region;
    a->n_workers = config->n_workers;
    a->memfd = config->memfd;
    snprintf(a->build_id, sizeof(a->build_id), "%s", config->build_id);
    int n = snprintf(a->socket_path, sizeof(a->socket_path), "%s/dataplane.sock", config->runtime_dir);
    if (n >= (int)sizeof(a->socket_path) || config->n_workers == 0 || config->n_workers > HR_MAX_WORKERS)
        goto out;

    err = HR_E_NOMEM;
    for (int i = 0; i < 2 * SNAPSHOT_MAX; i++) {
        if ((a->snapshots[i / 2].copy[i % 2] = calloc(1, snapshot_size[i / 2])) == NULL)
            goto out;
    }
    err = HR_E_SYSTEM;
    if ((a->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
        goto out;
    if ((err = hr_doorbell_create(&a->event_ring, &a->event_wait)) < 0)
        goto out;
    for (uint32_t i = 0; i < a->n_workers; i++) {
        if ((err = hr_doorbell_create(&a->command_ring[i], &a->command_wait[i])) < 0)
            goto out;
    }
    if ((err = open_socket(a, config->socket_user != NULL ? config->socket_user : "")) < 0)
        goto out;
    *ret_attach = a;
    return 0;
out:
    saved_errno = errno;
    /* Somebody else's socket is not ours to remove: only one that we bound. */
    if (a->listen_fd < 0)
        a->socket_path[0] = '\0';
    hr_attach_destroy(a);
    errno = saved_errno;
    return err;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void hr_attach_destroy(struct hr_attach *a)
{
    if (a->socket_path[0] != '\0')
        unlink(a->socket_path);
    close_fd(a->epoll_fd);
    close_fd(a->listen_fd);
    close_fd(a->client_fd);
    close_fd(a->event_ring);
    close_fd(a->event_wait);
    for (uint32_t i = 0; i < HR_MAX_WORKERS; i++) {
        close_fd(a->command_ring[i]);
        close_fd(a->command_wait[i]);
    }
    for (uint32_t i = 0; i < MAX_GUESTS; i++)
        close_fd(a->guests[i]);
    for (int i = 0; i < 2 * SNAPSHOT_MAX; i++)
        free(a->snapshots[i / 2].copy[i % 2]);
    free(a);
}

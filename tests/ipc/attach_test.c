/* The attach protocol with real sockets: the dataplane's end and control planes in one process, and a control
 * plane in another that is killed. Every wait ends as soon as what it waits for has happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/attach/attach.h"
#include "dataplane/control/attach.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/ipc/build_id.h"
#include "shared/ipc/doorbell.h"
#include "shared/ipc/policy_sample.h"

#define N_WORKERS 2

/* The dataplane's main thread as the test plays it. */
static struct {
    int memfd;
    struct hr_region *region;
    struct hr_attach *attach;
    struct hr_link links[N_WORKERS];
    int relink_result, policy_result; /* what the callbacks answer */
    uint32_t asked_session;
    const struct hr_policy *policy;
    int attached, detached;
} dp;

static int relink_links(uint32_t session)
{
    for (uint32_t i = 0; i < N_WORKERS; i++) {
        int err = hr_link_init_worker(&dp.links[i], dp.region, i, session, hr_attach_event_ring_fd(dp.attach),
                                      hr_region_stats(dp.region, i));
        if (err < 0)
            return err;
    }
    return 0;
}

static int on_relink(void *owner, uint32_t session)
{
    dp.asked_session = session;
    return dp.relink_result == 0 ? relink_links(session) : dp.relink_result;
}

static int on_policy(void *owner, const struct hr_policy *policy)
{
    dp.policy = policy;
    return dp.policy_result;
}

static void on_attached(void *owner, uint32_t session, int32_t pid)
{
    assert_true(pid > 0);
    dp.attached++;
}

static void on_detached(void *owner, const char *why)
{
    dp.detached++;
}

static const struct hr_attach_ops dp_ops = {on_relink, on_policy, on_attached, on_detached};

/* A control plane as the test plays it. */
struct cp {
    struct hr_attach_client *client;
    int attached, lost, refused;
    char why[200];
    uint64_t ok, bad;
};

static void cp_attached(void *owner)
{
    ((struct cp *)owner)->attached++;
}

static void cp_lost(void *owner, const char *why)
{
    struct cp *cp = owner;
    assert_non_null(hr_attach_client_link(cp->client, 0)); /* still mapped */
    cp->lost++;
}

static void cp_refused(void *owner, const char *why)
{
    struct cp *cp = owner;
    cp->refused++;
    snprintf(cp->why, sizeof(cp->why), "%s", why);
}

static void cp_ok(void *owner, uint64_t generation)
{
    ((struct cp *)owner)->ok = generation;
}

static void cp_bad(void *owner, uint64_t generation, const char *why)
{
    struct cp *cp = owner;
    cp->bad = generation;
    snprintf(cp->why, sizeof(cp->why), "%s", why);
}

static const struct hr_attach_client_ops cp_ops = {cp_attached, cp_lost, cp_refused, cp_ok, cp_bad};

static char dir[64], path[96];

static void dp_start(void)
{
    struct hr_attach_config config = {.runtime_dir = dir,
                                      .socket_user = "",
                                      .memfd = dp.memfd,
                                      .region = dp.region,
                                      .n_workers = N_WORKERS,
                                      .build_id = hr_build_id,
                                      .ops = &dp_ops};
    assert_int_equal(hr_attach_create(&config, &dp.attach), 0);
}

static int setup(void **s)
{
    static const uint32_t lcores[N_WORKERS] = {1, 2};
    memset(&dp, 0, sizeof(dp));
    snprintf(dir, sizeof(dir), "/tmp/hr-attach-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/dataplane.sock", dir);
    assert_int_equal(hr_region_create(N_WORKERS, lcores, hr_build_id, &dp.memfd, &dp.region), 0);
    dp_start();
    return 0;
}

static int teardown(void **s)
{
    hr_attach_destroy(dp.attach);
    assert_int_equal(access(path, F_OK), -1);
    hr_region_unmap(dp.region, hr_region_size(N_WORKERS));
    close(dp.memfd);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

static void cp_start(struct cp *cp)
{
    memset(cp, 0, sizeof(*cp));
    assert_int_equal(hr_attach_client_create(path, &cp_ops, cp, &cp->client), 0);
}

/* Runs both ends until the condition holds, at most 5 s. */
#define RUN_UNTIL(cp, condition)                                                                             \
    do {                                                                                                     \
        uint64_t until_ = hr_now_us() + 5 * HR_US_PER_S;                                                     \
        while (!(condition)) {                                                                               \
            struct pollfd ends_[2] = {{.fd = hr_attach_fd(dp.attach), .events = POLLIN},                     \
                                    {.fd = hr_attach_client_fd((cp)->client), .events = POLLIN}};            \
            if (hr_now_us() > until_)                                                                        \
                fail_msg("waited in vain for " #condition);                                                  \
            poll(ends_, 2, 100);                                                                             \
            hr_attach_poll(dp.attach, 0);                                                                    \
            hr_attach_client_poll((cp)->client);                                                             \
        }                                                                                                    \
    } while (0)

static void attach_and_talk(void **s)
{
    struct cp cp;
    struct hr_msg msg = {.type = HR_CMD_PING, .id = 7}, got[4];
    cp_start(&cp);
    assert_false(hr_attach_client_attached(cp.client));
    assert_int_equal(hr_attach_client_workers(cp.client), 0);
    assert_null(hr_attach_client_link(cp.client, 0));
    RUN_UNTIL(&cp, cp.attached && dp.attached);
    assert_int_equal(hr_attach_client_session(cp.client), 1);
    assert_int_equal(hr_attach_client_workers(cp.client), N_WORKERS);
    assert_null(hr_attach_client_link(cp.client, N_WORKERS));

    /* Worker 1 sleeps; a command wakes it, its answer wakes us; worker 0 hears nothing. */
    struct hr_link *link = hr_attach_client_link(cp.client, 1);
    struct pollfd worker[2] = {{.fd = hr_attach_worker_wait_fd(dp.attach, 0), .events = POLLIN},
                               {.fd = hr_attach_worker_wait_fd(dp.attach, 1), .events = POLLIN}};
    struct pollfd control = {.fd = hr_attach_client_doorbell(cp.client), .events = POLLIN};
    assert_true(hr_link_sleep_begin(&dp.links[1]));
    assert_true(hr_link_sleep_begin(link));
    assert_int_equal(hr_link_send(link, &msg), 0);
    hr_link_flush(link);
    assert_int_equal(poll(worker, 2, 1000), 1);
    assert_true(worker[1].revents & POLLIN);
    hr_doorbell_clear(worker[1].fd);
    assert_int_equal(hr_link_recv(&dp.links[1], got, 4), 1);
    assert_int_equal(got[0].id, 7);
    assert_int_equal(hr_link_recv(&dp.links[0], got, 4), 0);
    msg.type = HR_EV_PONG;
    assert_int_equal(hr_link_send(&dp.links[1], &msg), 0);
    hr_link_flush(&dp.links[1]);
    assert_int_equal(poll(&control, 1, 1000), 1);
    hr_doorbell_clear(control.fd);
    assert_int_equal(hr_link_recv(link, got, 4), 1);

    hr_attach_client_destroy(cp.client);
    uint64_t deadline = hr_now_us() + 5 * HR_US_PER_S;
    while (dp.detached == 0 && hr_now_us() < deadline)
        hr_attach_poll(dp.attach, 100);
    assert_int_equal(dp.detached, 1);
    assert_false(hr_attach_is_attached(dp.attach));
}

/* Workers that take their time. */
static void relink_later(void **s)
{
    struct cp cp;
    dp.relink_result = HR_E_AGAIN;
    cp_start(&cp);
    RUN_UNTIL(&cp, dp.asked_session == 1);
    assert_false(hr_attach_is_attached(dp.attach));
    hr_attach_relinked(dp.attach, 99); /* not the one that is awaited */
    assert_false(hr_attach_is_attached(dp.attach));
    assert_int_equal(relink_links(1), 0);
    hr_attach_relinked(dp.attach, 1);
    RUN_UNTIL(&cp, cp.attached);

    /* It dies while the workers relink for its successor's attempt: the next one gets a session of its own. */
    hr_attach_client_destroy(cp.client);
    cp_start(&cp);
    RUN_UNTIL(&cp, dp.asked_session == 2);
    hr_attach_client_destroy(cp.client);
    cp_start(&cp);
    RUN_UNTIL(&cp, dp.asked_session == 3);
    hr_attach_relinked(dp.attach, 2);
    assert_false(hr_attach_is_attached(dp.attach));
    assert_int_equal(relink_links(3), 0);
    hr_attach_relinked(dp.attach, 3);
    RUN_UNTIL(&cp, cp.attached);
    assert_int_equal(hr_attach_client_session(cp.client), 3);
    hr_attach_client_destroy(cp.client);
}

static void relink_impossible(void **s)
{
    struct cp cp;
    dp.relink_result = HR_E_NOMEM;
    cp_start(&cp);
    RUN_UNTIL(&cp, cp.refused);
    assert_non_null(strstr(cp.why, "cannot re-initialise"));
    dp.relink_result = 0;
    RUN_UNTIL(&cp, cp.attached); /* it goes on trying */
    hr_attach_client_destroy(cp.client);
}

static void second_refused(void **s)
{
    struct cp first, second;
    cp_start(&first);
    RUN_UNTIL(&first, first.attached);
    cp_start(&second);
    RUN_UNTIL(&second, second.refused);
    assert_non_null(strstr(second.why, "another control plane is attached (pid "));
    assert_int_equal(first.lost, 0);
    assert_true(hr_attach_is_attached(dp.attach));
    assert_int_equal(hr_attach_client_session(first.client), 1);
    /* When the first one ends, the second takes its place by itself. */
    hr_attach_client_destroy(first.client);
    RUN_UNTIL(&second, second.attached);
    assert_int_equal(second.refused, 1);
    assert_int_equal(hr_attach_client_session(second.client), 2);
    hr_attach_client_destroy(second.client);
}

/* A hello as another build would send it; returns the answer. */
static struct hr_attach_msg say(struct hr_attach_msg hello, size_t len)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct hr_attach_msg answer = {0};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(send(fd, &hello, len, 0), len);
    uint64_t deadline = hr_now_us() + 5 * HR_US_PER_S;
    ssize_t n;
    while ((n = recv(fd, &answer, sizeof(answer), 0)) < 0 && errno == EAGAIN && hr_now_us() < deadline)
        hr_attach_poll(dp.attach, 10);
    if (n <= 0)
        memset(&answer, 0, sizeof(answer));
    close(fd);
    return answer;
}

static void version_mismatch(void **s)
{
    struct hr_attach_msg hello = {.magic = HR_IPC_MAGIC, .type = HR_ATTACH_HELLO, .abi = HR_IPC_ABI + 1}, got;
    snprintf(hello.build_id, sizeof(hello.build_id), "%s", hr_build_id);
    got = say(hello, sizeof(hello));
    assert_int_equal(got.type, HR_ATTACH_REFUSED);
    char versions[64];
    snprintf(versions, sizeof(versions), "dataplane has ABI %d, control plane %d", HR_IPC_ABI, HR_IPC_ABI + 1);
    assert_non_null(strstr(got.text, versions));
    hello.abi = HR_IPC_ABI;
    memset(hello.build_id, 0xff, sizeof(hello.build_id)); /* not even terminated */
    got = say(hello, sizeof(hello));
    assert_int_equal(got.type, HR_ATTACH_REFUSED);
    assert_non_null(strstr(got.text, "version mismatch"));
    assert_non_null(strstr(got.text, hr_build_id));
    assert_int_equal(dp.asked_session, 0);

    /* Nonsense is hung up on. */
    snprintf(hello.build_id, sizeof(hello.build_id), "%s", hr_build_id);
    assert_int_equal(say(hello, sizeof(hello) - 1).type, HR_ATTACH_NONE);
    hello.magic++;
    assert_int_equal(say(hello, sizeof(hello)).type, HR_ATTACH_NONE);
    hello.magic--;
    hello.type = HR_ATTACH_POLICY;
    assert_int_equal(say(hello, sizeof(hello)).type, HR_ATTACH_NONE);
    assert_int_equal(dp.asked_session, 0);
    hello.type = HR_ATTACH_HELLO;
    assert_int_equal(say(hello, sizeof(hello)).type, HR_ATTACH_WELCOME);
}

/* Connections that say nothing do not keep a control plane out. */
static void silent_guests(void **s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fds[20];
    struct cp cp;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    for (int i = 0; i < 20; i++) {
        fds[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&addr, sizeof(addr)), 0);
        hr_attach_poll(dp.attach, 0);
    }
    cp_start(&cp);
    RUN_UNTIL(&cp, cp.attached);
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    hr_attach_client_destroy(cp.client);
}

static void policies(void **s)
{
    static struct hr_policy policy;
    struct cp cp;
    const char *why = "";
    hr_policy_sample(&policy, 10);
    cp_start(&cp);
    /* Published before anybody listens: sent once attached. */
    assert_int_equal(hr_attach_client_publish(cp.client, &policy, &why), 0);
    RUN_UNTIL(&cp, cp.ok == 10);
    assert_int_equal(dp.policy->generation, 10);
    assert_int_equal(hr_attach_client_adopted(cp.client), 10);
    const struct hr_policy *first = dp.policy;
    /* It is a private copy. */
    assert_false((const uint8_t *)first >= (uint8_t *)dp.region &&
                 (const uint8_t *)first < (uint8_t *)dp.region + hr_region_size(N_WORKERS));
    hr_region_policy(dp.region, N_WORKERS, 0)->generation = 666;
    assert_int_equal(first->generation, 10);

    /* Refused by ourselves. */
    policy.generation = 11;
    policy.n_brokers = 1000;
    assert_int_equal(hr_attach_client_publish(cp.client, &policy, &why), HR_E_INVALID);
    assert_string_equal(why, "too many brokers");
    hr_policy_sample(&policy, 10);
    assert_int_equal(hr_attach_client_publish(cp.client, &policy, &why), HR_E_INVALID);
    assert_string_equal(why, "generation is not higher than the last one");

    /* The workers take their time, meanwhile two more are published: only the newest follows. */
    dp.policy_result = HR_E_AGAIN;
    for (policy.generation = 12; policy.generation <= 14; policy.generation++)
        assert_int_equal(hr_attach_client_publish(cp.client, &policy, &why), 0);
    RUN_UNTIL(&cp, dp.policy->generation == 12);
    assert_ptr_not_equal(dp.policy, first); /* which the workers still use */
    assert_int_equal(first->generation, 10);
    hr_attach_adopted(dp.attach, 11); /* nobody waits for it */
    assert_int_equal(cp.ok, 10);
    hr_attach_adopted(dp.attach, 12);
    RUN_UNTIL(&cp, cp.ok == 12 && dp.policy->generation == 14);
    hr_attach_adopted(dp.attach, 14);
    RUN_UNTIL(&cp, cp.ok == 14);

    /* Refused by the dataplane's main thread. */
    dp.policy_result = HR_E_UNSUPPORTED;
    policy.generation = 15;
    assert_int_equal(hr_attach_client_publish(cp.client, &policy, &why), 0);
    RUN_UNTIL(&cp, cp.bad == 15);
    assert_int_equal(hr_attach_client_adopted(cp.client), 14);
    dp.policy_result = 0;
    policy.generation = 16;
    assert_int_equal(hr_attach_client_publish(cp.client, &policy, &why), 0);
    RUN_UNTIL(&cp, cp.ok == 16);
    hr_attach_client_destroy(cp.client);
}

/* A control plane that was taken over writes what it likes and says that it is a policy. */
static void hostile_policy(void **s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct hr_attach_msg msg = {.magic = HR_IPC_MAGIC, .type = HR_ATTACH_HELLO, .abi = HR_IPC_ABI}, got = {0};
    struct hr_policy *slot = hr_region_policy(dp.region, N_WORKERS, 1);
    snprintf(msg.build_id, sizeof(msg.build_id), "%s", hr_build_id);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    struct timeval timeout = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(send(fd, &msg, sizeof(msg), 0), sizeof(msg));
    hr_attach_poll(dp.attach, 1000);
    hr_attach_poll(dp.attach, 1000);
    assert_int_equal(recv(fd, &got, sizeof(got), 0), sizeof(got));
    assert_int_equal(got.type, HR_ATTACH_WELCOME);

    static const struct {
        uint32_t slot;
        uint64_t generation;
        bool tamper;
        const char *why;
    } cases[] = {
        {HR_POLICY_SLOTS, 5, false, "no such slot"},
        {UINT32_MAX, 5, false, "no such slot"},
        {1, 6, false, "the slot holds another generation"},
        {1, 5, true, "too many listeners"},
        {0, 5, false, "magic number wrong"},
    };
    msg.type = HR_ATTACH_POLICY;
    msg.session = got.session;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hr_policy_sample(slot, 5);
        if (cases[i].tamper)
            slot->n_listeners = UINT32_MAX;
        msg.slot = cases[i].slot;
        msg.generation = cases[i].generation;
        assert_int_equal(send(fd, &msg, sizeof(msg), 0), sizeof(msg));
        hr_attach_poll(dp.attach, 1000);
        assert_int_equal(recv(fd, &got, sizeof(got), 0), sizeof(got));
        assert_int_equal(got.type, HR_ATTACH_POLICY_BAD);
        assert_string_equal(got.text, cases[i].why);
        assert_null(dp.policy);
    }
    /* A message of another session ends the attachment. */
    msg.session++;
    assert_int_equal(send(fd, &msg, sizeof(msg), 0), sizeof(msg));
    hr_attach_poll(dp.attach, 1000);
    assert_int_equal(dp.detached, 1);
    assert_int_equal(recv(fd, &got, sizeof(got), 0), 0);
    close(fd);
}

/* The control plane dies while the workers adopt what it published. */
static void dies_while_adopting(void **s)
{
    static struct hr_policy policy;
    struct cp cp;
    const char *why = "";
    dp.policy_result = HR_E_AGAIN;
    hr_policy_sample(&policy, 3);
    cp_start(&cp);
    assert_int_equal(hr_attach_client_publish(cp.client, &policy, &why), 0);
    RUN_UNTIL(&cp, dp.policy != NULL);
    hr_attach_client_destroy(cp.client);
    const struct hr_policy *third = dp.policy;

    /* Its successor attaches at once; what it publishes waits until the workers are free. */
    cp_start(&cp);
    hr_policy_sample(&policy, 1);
    assert_int_equal(hr_attach_client_publish(cp.client, &policy, &why), 0);
    RUN_UNTIL(&cp, cp.attached);
    hr_attach_poll(dp.attach, 20);
    assert_int_equal(dp.policy->generation, 3);
    hr_attach_adopted(dp.attach, 3);
    dp.policy_result = 0;
    RUN_UNTIL(&cp, cp.ok == 1);
    assert_ptr_not_equal(dp.policy, third);
    assert_int_equal(cp.bad, 0);
    hr_attach_client_destroy(cp.client);
}

/* The dataplane restarts: the control plane attaches to the new one and publishes again by itself. */
static void dataplane_restarts(void **s)
{
    static struct hr_policy policy;
    struct cp cp;
    const char *why = "";
    hr_policy_sample(&policy, 3);
    cp_start(&cp);
    assert_int_equal(hr_attach_client_publish(cp.client, &policy, &why), 0);
    RUN_UNTIL(&cp, cp.ok == 3);
    hr_attach_destroy(dp.attach);
    cp.ok = 0;
    dp_start();
    RUN_UNTIL(&cp, cp.lost == 1 && cp.attached == 2 && cp.ok == 3);
    hr_attach_client_destroy(cp.client);
}

static void child(int ready)
{
    static struct cp cp;
    signal(SIGALRM, SIG_DFL);
    alarm(20);
    hr_log_set_level(HR_LOG_ERROR);
    if (hr_attach_client_create(path, &cp_ops, &cp, &cp.client) < 0)
        abort();
    for (;;) {
        struct pollfd p = {.fd = hr_attach_client_fd(cp.client), .events = POLLIN};
        poll(&p, 1, 1000);
        hr_attach_client_poll(cp.client);
        if (cp.attached && ready >= 0) {
            if (write(ready, "x", 1) != 1)
                abort();
            ready = -1;
        }
    }
}

static void killed(void **s)
{
    for (int round = 0; round < 10; round++) {
        int ready[2], status;
        assert_int_equal(pipe2(ready, O_NONBLOCK | O_CLOEXEC), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            child(ready[1]);
        char c;
        uint64_t deadline = hr_now_us() + 5 * HR_US_PER_S;
        while (read(ready[0], &c, 1) != 1 && hr_now_us() < deadline)
            hr_attach_poll(dp.attach, 20);
        assert_true(hr_attach_is_attached(dp.attach));
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);

        struct cp cp;
        uint64_t start = hr_now_us();
        cp_start(&cp);
        RUN_UNTIL(&cp, cp.attached);
        assert_true(hr_now_us() - start < HR_US_PER_S);
        assert_int_equal(cp.refused, 0); /* the dead one is not taken for alive */
        assert_int_equal(hr_attach_client_session(cp.client), 2 * round + 2);
        hr_attach_client_destroy(cp.client);
        close(ready[0]);
        close(ready[1]);
    }
}

static void socket_file(void **s)
{
    struct hr_attach_config config = {.runtime_dir = dir, .memfd = dp.memfd, .region = dp.region,
                                      .n_workers = N_WORKERS, .build_id = "b", .ops = &dp_ops};
    struct hr_attach *second;
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    /* A second dataplane does not take a live socket away, */
    assert_int_equal(hr_attach_create(&config, &second), HR_E_EXISTS);
    assert_int_equal(access(path, F_OK), 0);
    /* but a stale one is replaced. */
    hr_attach_destroy(dp.attach);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    close(fd);
    dp_start();
    struct cp cp;
    cp_start(&cp);
    RUN_UNTIL(&cp, cp.attached);
    hr_attach_client_destroy(cp.client);
    if (geteuid() == 0) {
        config.socket_user = "no-such-user-here";
        config.runtime_dir = "/tmp";
        assert_int_equal(hr_attach_create(&config, &second), HR_E_NOT_FOUND);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(attach_and_talk), T(relink_later),        T(relink_impossible),  T(second_refused), T(version_mismatch),
        T(silent_guests),   T(policies),            T(hostile_policy),     T(dies_while_adopting),
        T(dataplane_restarts), T(killed),           T(socket_file),
    };
    hr_log_set_level(HR_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* headrace-dataplane: the process that owns packets.
 *
 * The main thread brings everything up in order (configuration, EAL, shared region, pools, ports, workers),
 * gives up root, and then only serves: the attach socket, signals, policy adoption, drain. It never touches a
 * packet. Workers run on lcores of their own until asked to stop.
 *
 * SIGTERM and SIGINT drain and exit; a second one exits at once. */
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "dataplane/control/attach.h"
#include "dataplane/net/eal.h"
#include "dataplane/net/port.h"
#include "dataplane/worker/worker.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/notify.h"
#include "shared/config/config.h"
#include "shared/ipc/build_id.h"
#include "shared/ipc/link.h"

#define EXIT_CONFIG 2
/* How often the main thread looks after things that nobody announces. */
#define TICK_MS 100
#define HOUSEKEEP_US (1000 * 1000ULL)

struct dataplane {
    struct hr_config config;
    struct hr_port ports[HR_CONFIG_MAX_PORTS];
    struct hr_worker_group group;
    struct hr_attach *attach;
    int memfd;
    const struct hr_policy *policy; /* the newest, adopted or being adopted */
    bool policy_pending;
    const struct hr_replicas *replicas; /* the same */
    bool replicas_pending;
    bool relink_pending;
    uint32_t relink_session;
    bool draining;
    uint64_t drain_deadline_us;
};

static void usage(FILE *out)
{
    fprintf(out, "Usage: headrace-dataplane [--config FILE]\n"
                 "\n"
                 "The packet process of Headrace. Normally started by `headrace` or by systemd, as root; it\n"
                 "gives up root when its ports are open (dataplane.user in the configuration).\n"
                 "\n"
                 "  -c, --config FILE  configuration (default /etc/headrace/headrace.cfg)\n"
                 "  -h, --help         print this\n"
                 "  -V, --version      print version and build\n"
                 "\n"
                 "Exit status: 0 stopped as asked, 1 failed, 2 wrong usage or configuration.\n");
}

static int load_config(const char *path, struct hr_config *config)
{
    static struct hr_config_errors errors;
    int err = hr_config_load(path, config, &errors);
    for (uint32_t i = 0; err && i < errors.n; i++)
        fprintf(stderr, "%s\n", errors.text[i]);
    return err;
}

/* ---- what the attach protocol asks of us ------------------------------------------------------------- */

static bool workers_relinked(const struct dataplane *dp)
{
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        if (hr_worker_session(dp->group.workers[i]) != dp->relink_session)
            return false;
    return true;
}

static bool workers_adopted(const struct dataplane *dp)
{
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        if (hr_worker_generation(dp->group.workers[i]) != dp->policy->generation)
            return false;
    return true;
}

static bool workers_adopted_replicas(const struct dataplane *dp)
{
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        if (hr_worker_replicas_generation(dp->group.workers[i]) != dp->replicas->generation)
            return false;
    return true;
}

/* A worker answers within a turn, some microseconds: wait that long before asking to be called again. */
static int wait_for(struct dataplane *dp, bool (*done)(const struct dataplane *dp), bool *ret_pending)
{
    uint64_t deadline_us = hr_now_us() + 2000;
    do {
        if (done(dp)) {
            *ret_pending = false;
            return 0;
        }
        usleep(20);
    } while (hr_now_us() < deadline_us);
    *ret_pending = true;
    return HR_E_AGAIN;
}

static int on_relink(void *owner, uint32_t session)
{
    struct dataplane *dp = owner;
    dp->relink_session = session;
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        hr_worker_ask_relink(dp->group.workers[i], session);
    return wait_for(dp, workers_relinked, &dp->relink_pending);
}

static int on_policy(void *owner, const struct hr_policy *policy)
{
    struct dataplane *dp = owner;
    dp->policy = policy;
    hr_log_set_level(policy->log_level);
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        hr_worker_ask_policy(dp->group.workers[i], policy);
    return wait_for(dp, workers_adopted, &dp->policy_pending);
}

static int on_replicas(void *owner, const struct hr_replicas *map)
{
    struct dataplane *dp = owner;
    dp->replicas = map;
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        hr_worker_ask_replicas(dp->group.workers[i], map);
    return wait_for(dp, workers_adopted_replicas, &dp->replicas_pending);
}

static void on_attached(void *owner, uint32_t session, int32_t pid)
{
    hr_log_info("control plane attached: pid %d, session %u", pid, session);
}

/* Clients that come now have not been told to anybody: they wait for the next one. */
static void on_detached(void *owner, const char *why)
{
    struct dataplane *dp = owner;
    dp->relink_pending = false;
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        hr_worker_ask_relink(dp->group.workers[i], 0);
    hr_log_warn("control plane gone (%s): forwarding on the last policy", why);
}

/* And ends when that is done. */
static void start_drain(struct dataplane *dp)
{
    uint32_t timeout_ms = dp->policy ? dp->policy->drain_timeout_ms : dp->config.limits.drain_timeout_ms;
    dp->draining = true;
    dp->drain_deadline_us = hr_now_us() + timeout_ms * HR_US_PER_MS;
    hr_log_info("draining: no new connections, sessions end at their next frame boundary, at most %u ms",
                timeout_ms);
    hr_notify_stopping("draining");
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        hr_worker_ask_drain(dp->group.workers[i], dp->drain_deadline_us);
}

static const struct hr_attach_ops attach_ops = {
    .relink = on_relink,
    .policy = on_policy,
    .replicas = on_replicas,
    .attached = on_attached,
    .detached = on_detached,
};

/* ---- bringing up ------------------------------------------------------------------------------------- */

static int start_region(struct dataplane *dp)
{
    uint32_t lcores[HR_MAX_WORKERS];
    uint32_t n = dp->config.dataplane.n_workers;
    for (uint32_t i = 0; i < n; i++)
        lcores[i] = dp->config.dataplane.worker_lcores[i];
    int err = hr_region_create(n, lcores, hr_build_id, &dp->memfd, &dp->group.region);
    if (err) {
        hr_log_error("shared memory region: %s: %s", hr_strerror(err), strerror(errno));
        return err;
    }
    const struct hr_attach_config attach_config = {
        .runtime_dir = dp->config.control.runtime_dir,
        .socket_user = dp->config.control.user,
        .memfd = dp->memfd,
        .region = dp->group.region,
        .n_workers = n,
        .build_id = hr_build_id,
        .ops = &attach_ops,
        .owner = dp,
    };
    err = hr_attach_create(&attach_config, &dp->attach);
    if (err == HR_E_EXISTS)
        hr_log_error("another dataplane serves %s/dataplane.sock: stop it, or give this one its own "
                     "control.runtime_dir", dp->config.control.runtime_dir);
    else if (err == HR_E_NOT_FOUND)
        hr_log_error("user \"%s\" (control.user) does not exist: create it, or set control.user",
                     dp->config.control.user);
    else if (err)
        hr_log_error("attach socket in %s: %s (does the directory exist, and may we write there?)",
                     dp->config.control.runtime_dir, strerror(errno));
    return err;
}

static int start_workers(struct dataplane *dp, char why[HR_WHY_MAX])
{
    struct hr_worker_group *group = &dp->group;
    uint32_t data_room = 0;

    for (uint32_t i = 0; i < dp->config.dataplane.n_ports; i++) {
        uint32_t room = hr_port_data_room(&dp->config.dataplane.ports[i]);
        if (room > data_room)
            data_room = room;
    }
    snprintf(why, HR_WHY_MAX, "memory is too small for the configured limits: raise dataplane.memory_mb or lower "
                              "limits.max_connections");
    if (group->n_workers > 1) {
        int err = hr_handoff_create(group->n_workers, &group->handoff);
        if (err)
            return err;
    }
    for (uint32_t i = 0; i < group->n_workers; i++) {
        int err = hr_worker_create(group, i, data_room, &group->workers[i]);
        if (err)
            return err;
    }
    for (uint32_t i = 0; i < dp->config.dataplane.n_ports; i++) {
        struct rte_mempool *pools[HR_MAX_WORKERS];
        uint16_t port_id;
        for (uint32_t w = 0; w < group->n_workers; w++)
            pools[w] = hr_worker_rx_pool(group->workers[w]);
        int err = hr_port_find(&dp->config.dataplane.ports[i], &port_id, why);
        if (!err)
            err = hr_port_setup(&dp->ports[i], &dp->config.dataplane.ports[i], port_id, (uint16_t)group->n_workers,
                                pools, why);
        if (err)
            return err;
        group->n_ports++;
        group->steer.by_arrival = (i == 0 || group->steer.by_arrival) && dp->ports[i].spreads;
    }
    snprintf(why, HR_WHY_MAX, "memory is too small for the configured limits: raise dataplane.memory_mb or lower "
                              "limits.max_connections");
    for (uint32_t i = 0; i < group->n_workers; i++) {
        int err = hr_worker_build(group->workers[i], hr_now_us());
        if (err == HR_E_REFUSED)
            snprintf(why, HR_WHY_MAX, "memory for TLS keys cannot be locked: raise the limit on locked memory "
                                      "(LimitMEMLOCK, ulimit -l)");
        if (err)
            return err;
    }
    for (uint32_t i = 0; i < group->n_workers; i++)
        if (rte_eal_remote_launch(hr_worker_main, group->workers[i], hr_eal_worker_lcore(i)) != 0) {
            snprintf(why, HR_WHY_MAX, "worker %u could not be started on its lcore", i);
            return HR_E_SYSTEM;
        }
    return 0;
}

/* Ports and memory are open: nothing needs root from here on. */
static int give_up_root(const struct hr_config *config)
{
    const char *user = config->dataplane.user;
    if (!user[0] || geteuid() != 0)
        return 0;
    const struct passwd *pw = getpwnam(user);
    if (!pw) {
        hr_log_error("user \"%s\" (dataplane.user) does not exist: create it, or set dataplane.user", user);
        return HR_E_CONFIG;
    }
    /* setuid() clears the parent-death signal: a launcher that dies must still take us along. */
    int death_signal = 0;
    prctl(PR_GET_PDEATHSIG, &death_signal);
    if (initgroups(user, pw->pw_gid) != 0 || setgid(pw->pw_gid) != 0 || setuid(pw->pw_uid) != 0) {
        hr_log_error("cannot become user \"%s\": %s", user, strerror(errno));
        return HR_E_SYSTEM;
    }
    if (death_signal)
        prctl(PR_SET_PDEATHSIG, death_signal);
    return 0;
}

/* ---- serving ----------------------------------------------------------------------------------------- */

static uint32_t unfinished(const struct dataplane *dp)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        n += hr_worker_unfinished(dp->group.workers[i]);
    return n;
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Before any thread exists, so that all inherit it: signals are read from the descriptor alone. */
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void serve(struct dataplane *dp)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC), signal_fd = open_signals();
    struct epoll_event event = {.events = EPOLLIN, .data.fd = signal_fd};
    uint64_t next_housekeep_us = 0;

    if (epoll_fd < 0 || signal_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signal_fd, &event) != 0) {
        hr_log_error("epoll: %s", strerror(errno));
        return;
    }
    event.data.fd = hr_attach_fd(dp->attach);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event) != 0) {
        hr_log_error("epoll: %s", strerror(errno));
        return;
    }
    for (;;) {
        struct signalfd_siginfo info;
        bool pending = dp->policy_pending || dp->replicas_pending || dp->relink_pending;
        int n = epoll_wait(epoll_fd, &event, 1, pending ? 1 : dp->draining ? 10 : TICK_MS);
        if (n < 0 && errno != EINTR)
            break;
        while (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
            if (dp->draining)
                goto out; /* asked twice */
            start_drain(dp);
        }
        hr_attach_poll(dp->attach, 0);
        if (dp->relink_pending && workers_relinked(dp)) {
            dp->relink_pending = false;
            hr_attach_relinked(dp->attach, dp->relink_session);
        }
        if (dp->policy_pending && workers_adopted(dp)) {
            dp->policy_pending = false;
            hr_attach_adopted(dp->attach, dp->policy->generation);
        }
        if (dp->replicas_pending && workers_adopted_replicas(dp)) {
            dp->replicas_pending = false;
            hr_attach_replicas_adopted(dp->attach, dp->replicas->generation);
        }
        uint64_t now_us = hr_now_us();
        if (now_us >= next_housekeep_us) {
            next_housekeep_us = now_us + HOUSEKEEP_US;
            hr_ports_housekeep();
        }
        if (dp->draining &&
            (unfinished(dp) == 0 || now_us > dp->drain_deadline_us + HR_US_PER_S))
            break;
    }
out:
    close(signal_fd);
    close(epoll_fd);
}

static void stop_workers(struct dataplane *dp)
{
    /* The acknowledgements of the last FINs. */
    if (dp->draining)
        usleep(100 * 1000);
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        if (dp->group.workers[i])
            hr_worker_ask_stop(dp->group.workers[i]);
    rte_eal_mp_wait_lcore();
}

static void tear_down(struct dataplane *dp)
{
    /* What holds buffers goes before the workers, who own the pools. */
    for (uint32_t i = 0; i < dp->group.n_ports; i++)
        hr_port_close(&dp->ports[i]);
    hr_handoff_destroy(dp->group.handoff);
    for (uint32_t i = 0; i < dp->group.n_workers; i++)
        hr_worker_destroy(dp->group.workers[i]);
    hr_attach_destroy(dp->attach);
    hr_eal_stop();
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    static struct dataplane dp;
    const char *path = "/etc/headrace/headrace.cfg";
    char why[HR_WHY_MAX] = "";
    int c;

    while ((c = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            path = optarg;
            break;
        case 'h':
            usage(stdout);
            return 0;
        case 'V':
            printf("headrace-dataplane %s\n", hr_build_id);
            return 0;
        default:
            usage(stderr);
            return EXIT_CONFIG;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "headrace-dataplane: unexpected argument \"%s\"\n", argv[optind]);
        return EXIT_CONFIG;
    }
    if (load_config(path, &dp.config) != 0)
        return EXIT_CONFIG;
    hr_log_init("headrace-dataplane", dp.config.log.level, dp.config.log.format);
    block_signals();

    struct hr_worker_group *group = &dp.group;
    group->config = &dp.config;
    group->ports = dp.ports;
    group->n_workers = dp.config.dataplane.n_workers;
    group->steer = (struct hr_steer){.n_workers = group->n_workers,
                                     .source_port_min = dp.config.dataplane.source_port_min,
                                     .source_port_max = dp.config.dataplane.source_port_max};
    if (getrandom(group->steer.key, sizeof(group->steer.key), 0) < 0 ||
        getrandom(group->hash_key, sizeof(group->hash_key), 0) < 0 ||
        getrandom(group->isn_key, sizeof(group->isn_key), 0) < 0) {
        hr_log_error("getrandom: %s", strerror(errno));
        return 1;
    }
    if (start_region(&dp) != 0)
        return 1;
    if (hr_eal_start(&dp.config, why) != 0) {
        hr_log_error("%s", why);
        hr_attach_destroy(dp.attach);
        return 1;
    }
    for (uint32_t i = 0; i < group->n_workers; i++)
        group->doorbell_fds[i] = hr_attach_worker_wait_fd(dp.attach, i);
    group->control_doorbell_fd = hr_attach_event_ring_fd(dp.attach);

    int exit_code = 1;
    if (start_workers(&dp, why) != 0) {
        hr_log_error("%s", why);
    } else if (give_up_root(&dp.config) == 0) {
        hr_log_info("forwarding with %u worker%s on %u port%s, build %s", group->n_workers,
                    group->n_workers == 1 ? "" : "s", group->n_ports, group->n_ports == 1 ? "" : "s", hr_build_id);
        hr_notify_ready("forwarding");
        serve(&dp);
        exit_code = 0;
    }
    stop_workers(&dp);
    tear_down(&dp);
    hr_log_info("stopped");
    return exit_code;
}

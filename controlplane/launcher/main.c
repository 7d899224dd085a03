/* headrace: starts headrace-dataplane and headrace-controlplane, and brings either back when it dies. Nothing
 * depends on it while both run: systemd units do the same in production.
 *
 * One loop over a signalfd. Phases: RUNNING restarts what ends; DRAINING has asked the dataplane to finish and
 * waits for it until the deadline; ENDING has asked the control plane too; then we are gone. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controlplane/launcher/child.h"
#include "controlplane/launcher/leftovers.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/notify.h"
#include "shared/config/config.h"

#define DEFAULT_CONFIG   "/etc/headrace/headrace.cfg"
#define DRAIN_GRACE_MS   5000 /* beyond the drain deadline, for the dataplane to clean up */
#define CONTROL_GRACE_MS 5000
#define IMPATIENT_US     HR_US_PER_S /* a second signal that comes later than this means: at once */

enum exit_code { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_CONFIG = 2 };
enum phase { RUNNING = 0, DRAINING, ENDING };

struct launcher {
    struct hr_config *config;
    struct hr_child dataplane, controlplane;
    enum phase phase;
    uint64_t stop_us;      /* when the first signal came */
    uint64_t deadline_us;  /* of the current phase; then SIGKILL */
    bool made_runtime_dir; /* so it goes with us */
    bool failed;           /* somebody had to be killed, or gave up */
    int exit_code;
};

static void usage(FILE *to)
{
    fputs("Usage: headrace [--config FILE] [--libexec DIR]\n"
          "\n"
          "Starts headrace-dataplane and headrace-controlplane and restarts whichever dies.\n"
          "\n"
          "  -c, --config FILE   configuration (default " DEFAULT_CONFIG ")\n"
          "      --libexec DIR   where the two binaries are (beside this one)\n"
          "  -h, --help          print this\n"
          "  -V, --version       print the version\n"
          "\n"
          "SIGTERM and SIGINT drain the dataplane (limits.drain_timeout_ms), then stop both; a second one, a second\n"
          "or more later, stops both at once. SIGHUP lets the control plane reload the configuration.\n"
          "\n"
          "Exit status: 0 stopped as asked, 1 a process failed or had to be killed, 2 wrong usage or configuration.\n",
          to);
}

static int load_config(const char *path, struct hr_config *ret_config)
{
    struct hr_config_errors *errors = calloc(1, sizeof(*errors));
    if (errors == NULL)
        return HR_E_NOMEM;
    int err = hr_config_load(path, ret_config, errors);
    for (uint32_t i = 0; i < errors->n; i++)
        fprintf(stderr, "%s\n", errors->text[i]);
    free(errors);
    return err;
}

/* The folder of both sockets. With a control plane of another user it is that user's group's to make files in, and
 * sticky: it cannot remove what the dataplane made there. */
static int make_runtime_dir(struct launcher *l)
{
    const char *dir = l->config->control.runtime_dir, *name = l->config->control.user;
    l->made_runtime_dir = mkdir(dir, 0755) == 0;
    if (!l->made_runtime_dir && errno != EEXIST) {
        hr_log_error("control.runtime_dir %s cannot be made: %s", dir, strerror(errno));
        return HR_E_SYSTEM;
    }
    if (geteuid() != 0 || name[0] == '\0')
        return 0;
    const struct passwd *user = getpwnam(name);
    if (user == NULL) {
        hr_log_error("control.user \"%s\" does not exist: create it, or name another", name);
        return HR_E_NOT_FOUND;
    }
    if (chown(dir, 0, user->pw_gid) < 0 || chmod(dir, 01775) < 0) {
        hr_log_error("control.runtime_dir %s cannot be given to the group of \"%s\": %s", dir, name, strerror(errno));
        return HR_E_SYSTEM;
    }
    return 0;
}

/* One launcher for one folder: a second one would take the first one's processes for dead. Held until we end. */
static int lock_runtime_dir(const struct hr_config *config)
{
    const char *dir = config->control.runtime_dir;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        hr_log_error("another headrace runs in %s: stop it, or give this one its own control.runtime_dir and "
                     "dataplane.file_prefix", dir);
    else
        hr_log_error("control.runtime_dir %s cannot be locked: %s", dir, strerror(errno));
    return HR_E_BUSY;
}

static void remove_leftovers(const struct launcher *l)
{
    unsigned n = hr_leftovers_remove(l->config->dataplane.file_prefix, l->config->control.runtime_dir);
    if (n > 0)
        hr_log_info("removed %u files that a dead dataplane left", n);
}

static void start(struct hr_child *child)
{
    uint64_t now = hr_now_us();
    if (hr_child_start(child, now) < 0) {
        hr_log_error("%s cannot be forked: %s", child->name, strerror(errno));
        child->restart_us = now + HR_US_PER_S;
    }
}

/* Asks for the end of the control plane, after the dataplane's. */
static void end_controlplane(struct launcher *l)
{
    l->phase = ENDING;
    l->deadline_us = hr_now_us() + CONTROL_GRACE_MS * HR_US_PER_MS;
    hr_child_signal(&l->controlplane, SIGTERM);
}

static void stop(struct launcher *l, int code)
{
    l->exit_code = code;
    l->phase = DRAINING;
    l->stop_us = hr_now_us();
    l->deadline_us = l->stop_us + (l->config->limits.drain_timeout_ms + (uint64_t)DRAIN_GRACE_MS) * HR_US_PER_MS;
    hr_notify_stopping("draining");
    hr_child_signal(&l->dataplane, SIGTERM);
    if (l->dataplane.pid == 0)
        end_controlplane(l);
}

static void stop_now(struct launcher *l)
{
    l->failed = l->failed || l->dataplane.pid > 0;
    hr_child_signal(&l->dataplane, SIGKILL);
    hr_child_signal(&l->controlplane, l->phase == DRAINING ? SIGTERM : SIGKILL);
}

static void on_stop_signal(struct launcher *l, int signo)
{
    if (l->phase == RUNNING) {
        hr_log_info("%s: draining for at most %u ms", strsignal(signo), l->config->limits.drain_timeout_ms);
        stop(l, EXIT_OK);
    } else if (hr_now_us() - l->stop_us >= IMPATIENT_US) {
        hr_log_warn("%s again: stopping at once", strsignal(signo));
        stop_now(l);
    }
}

static void on_child_end(struct launcher *l, struct hr_child *child, int status)
{
    hr_child_ended(child, status, hr_now_us());
    bool clean = child->exit_code == 0;
    if (child == &l->dataplane && (!clean || l->phase != RUNNING))
        remove_leftovers(l);
    if (l->phase == RUNNING) {
        if (child->exit_code == EXIT_CONFIG && !child->settled) {
            hr_log_error("%s cannot work with this configuration: giving up", child->name);
            l->failed = true;
            stop(l, EXIT_CONFIG);
            return;
        }
        hr_log_info("%s starts again in %u ms", child->name,
                    (unsigned)((child->restart_us - hr_now_us()) / HR_US_PER_MS));
        return;
    }
    l->failed = l->failed || !clean;
    if (child == &l->dataplane && l->phase == DRAINING)
        end_controlplane(l);
}

static void reap(struct launcher *l)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == l->dataplane.pid)
            on_child_end(l, &l->dataplane, status);
        else if (pid == l->controlplane.pid)
            on_child_end(l, &l->controlplane, status);
    }
}

/* The control plane reloads; of what may change, the launcher itself uses only the drain deadline. */
static void reload(struct launcher *l)
{
    struct hr_config *fresh = calloc(1, sizeof(*fresh));
    struct hr_config_errors *errors = calloc(1, sizeof(*errors));
    if (fresh != NULL && errors != NULL && hr_config_load(l->config->path, fresh, errors) == 0)
        l->config->limits.drain_timeout_ms = fresh->limits.drain_timeout_ms;
    free(fresh);
    free(errors);
    hr_child_signal(&l->controlplane, SIGHUP);
}

/* What is due at this moment, and the time until the next such moment in milliseconds, -1 for none. */
static int do_due(struct launcher *l)
{
    struct hr_child *children[2] = {&l->dataplane, &l->controlplane};
    uint64_t now = hr_now_us(), next = UINT64_MAX;
    for (int i = 0; i < 2 && l->phase == RUNNING; i++) {
        if (children[i]->pid == 0 && children[i]->restart_us <= now)
            start(children[i]);
        if (children[i]->pid == 0 && children[i]->restart_us < next)
            next = children[i]->restart_us;
    }
    if (l->phase != RUNNING && now >= l->deadline_us) {
        hr_log_error("the deadline has passed: killing what still runs");
        l->failed = true;
        hr_child_signal(&l->dataplane, SIGKILL);
        if (l->phase == ENDING)
            hr_child_signal(&l->controlplane, SIGKILL);
        l->deadline_us = now + CONTROL_GRACE_MS * HR_US_PER_MS;
    }
    if (l->phase != RUNNING && l->deadline_us < next)
        next = l->deadline_us;
    if (next == UINT64_MAX)
        return -1;
    now = hr_now_us();
    return next <= now ? 0 : (int)((next - now) / HR_US_PER_MS + 1);
}

static void serve(struct launcher *l, int signal_fd)
{
    struct pollfd p = {.fd = signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;
    while (l->phase == RUNNING || l->dataplane.pid > 0 || l->controlplane.pid > 0) {
        poll(&p, 1, do_due(l));
        while (read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
            if (info.ssi_signo == SIGHUP)
                reload(l);
            else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
                on_stop_signal(l, (int)info.ssi_signo);
        }
        reap(l);
    }
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int find_children(struct launcher *l, const char *config, const char *libexec)
{
    struct hr_child *children[2] = {&l->dataplane, &l->controlplane};
    l->dataplane.name = "headrace-dataplane";
    l->dataplane.user = ""; /* drops by itself once devices and memory are set up */
    l->controlplane.name = "headrace-controlplane";
    l->controlplane.user = l->config->control.user;
    for (int i = 0; i < 2; i++) {
        char tried[3 * HR_CHILD_PATH_MAX];
        if (hr_child_find(children[i], libexec, tried, sizeof(tried)) < 0) {
            hr_log_error("%s not found in %s: install it there, or use --libexec", children[i]->name, tried);
            return HR_E_NOT_FOUND;
        }
        snprintf(children[i]->config, sizeof(children[i]->config), "%s", config);
    }
    return 0;
}

static int run(const char *path, const char *libexec)
{
    static struct launcher l;
    char config[PATH_MAX];
    l.config = calloc(1, sizeof(*l.config));
    if (l.config == NULL)
        return EXIT_FAILED;
    if (load_config(path, l.config) < 0 || realpath(path, config) == NULL)
        return EXIT_CONFIG;
    hr_log_init("headrace", l.config->log.level, l.config->log.format);
    if (find_children(&l, config, libexec) < 0)
        return EXIT_FAILED;
    int err = make_runtime_dir(&l);
    if (err < 0)
        return err == HR_E_NOT_FOUND ? EXIT_CONFIG : EXIT_FAILED;
    int signal_fd = open_signals();
    if (signal_fd < 0 || lock_runtime_dir(l.config) < 0)
        return EXIT_FAILED;
    hr_notify_ready("running");
    serve(&l, signal_fd);
    if (l.made_runtime_dir)
        rmdir(l.config->control.runtime_dir); /* fails if somebody else put something there, which then stays */
    hr_log_info("stopped");
    return l.exit_code != EXIT_OK ? l.exit_code : l.failed ? EXIT_FAILED : EXIT_OK;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"libexec", required_argument, NULL, 'l'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'V'},
                                            {0}};
    const char *config = DEFAULT_CONFIG, *libexec = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            config = optarg;
            break;
        case 'l':
            libexec = optarg;
            break;
        case 'h':
            usage(stdout);
            return EXIT_OK;
        case 'V':
            puts("headrace " HR_VERSION);
            return EXIT_OK;
        default:
            usage(stderr);
            return EXIT_CONFIG;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "headrace: unexpected argument \"%s\"\n", argv[optind]);
        usage(stderr);
        return EXIT_CONFIG;
    }
    return run(config, libexec);
}

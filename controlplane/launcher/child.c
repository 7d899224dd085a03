#include "controlplane/launcher/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/base/log.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define SETTLED_US     (2 * HR_US_PER_S)  /* lived so long: it worked */
#define STABLE_US      (10 * HR_US_PER_S) /* lived so long: its next restart is the first one again */

static bool try_path(struct hr_child *child, char *tried, uint32_t cap, const char *dir, const char *sub)
{
    size_t len = strlen(tried);
    int n = snprintf(child->path, sizeof(child->path), "%s%s/%s", dir, sub, child->name);
    snprintf(tried + len, cap - len, "%s%s%s", len > 0 ? ", " : "", dir, sub);
    return n < (int)sizeof(child->path) && access(child->path, X_OK) == 0;
}

int hr_child_find(struct hr_child *child, const char *libexec, char *ret_tried, uint32_t cap)
{
    /* Installed: side by side. In a build tree: controlplane/launcher/, controlplane/ and dataplane/. */
    static const char *const places[] = {"", "/..", "/../../dataplane", NULL};
    char own[HR_CHILD_PATH_MAX];
    ret_tried[0] = '\0';
    if (libexec != NULL)
        return try_path(child, ret_tried, cap, libexec, "") ? 0 : HR_E_NOT_FOUND;
    ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
    if (n < 0)
        return HR_E_SYSTEM;
    own[n] = '\0';
    const char *dir = dirname(own);
    for (int i = 0; places[i] != NULL; i++) {
        if (try_path(child, ret_tried, cap, dir, places[i]))
            return 0;
    }
    return HR_E_NOT_FOUND;
}

/* Gives up root for good. */
static int become(const char *name)
{
    const struct passwd *user = getpwnam(name);
    if (user == NULL || initgroups(name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
        return HR_E_SYSTEM;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? HR_E_SYSTEM : 0;
}

static void run(const struct hr_child *child, pid_t parent)
{
    char *argv[] = {(char *)child->name, "--config", (char *)child->config, NULL};
    sigset_t none;
    /* Opened while we may: the binary can lie in a folder that the child's user may not enter. */
    int fd = open(child->path, O_RDONLY | O_CLOEXEC);
    setpgid(0, 0); /* the terminal's Ctrl-C is for the launcher, who stops both in order */
    if (child->user[0] != '\0' && geteuid() == 0 && become(child->user) < 0) {
        hr_log_error("%s: cannot become user \"%s\": %s", child->name, child->user, strerror(errno));
        _exit(126);
    }
    /* Asked for after the change of user, which clears it. A launcher that is killed takes us along, and SIGTERM
     * lets the dataplane remove what it made. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(126);
    unsetenv("NOTIFY_SOCKET"); /* the service is the launcher */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(child->path, argv);
    if (errno == EACCES && fd >= 0)
        fexecve(fd, argv, environ);
    hr_log_error("%s: cannot be executed: %s", child->path, strerror(errno));
    _exit(127);
}

int hr_child_start(struct hr_child *child, uint64_t now_us)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return HR_E_SYSTEM;
    if (pid == 0)
        run(child, parent);
    child->pid = pid;
    child->started_us = now_us;
    child->restart_us = 0;
    hr_log_info("%s started: pid %d", child->name, (int)pid);
    return 0;
}

void hr_child_ended(struct hr_child *child, int status, uint64_t now_us)
{
    uint64_t lived_us = now_us - child->started_us;
    child->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (lived_us >= SETTLED_US)
        child->settled = true;
    if (lived_us >= STABLE_US || child->backoff_ms == 0)
        child->backoff_ms = BACKOFF_MIN_MS;
    child->restart_us = now_us + child->backoff_ms * HR_US_PER_MS;
    if (WIFSIGNALED(status))
        hr_log_warn("%s (pid %d) was killed by signal %d (%s)", child->name, (int)child->pid, WTERMSIG(status),
                    strsignal(WTERMSIG(status)));
    else if (child->exit_code != 0)
        hr_log_warn("%s (pid %d) ended with exit code %d", child->name, (int)child->pid, child->exit_code);
    else
        hr_log_info("%s (pid %d) ended", child->name, (int)child->pid);
    child->backoff_ms = child->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : child->backoff_ms * 2;
    child->pid = 0;
}

void hr_child_signal(const struct hr_child *child, int signo)
{
    if (child->pid > 0)
        kill(child->pid, signo);
}

#include "controlplane/auth/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controlplane/auth/crypto.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define RUN_MAX_US   (10 * HR_US_PER_S)
#define RUN_EVERY_US (300 * HR_US_PER_S)
#define RUN_LEAST_US (10 * HR_US_PER_S)
/* As much as a secret and its line end, and one more byte: who fills it has printed too much. */
#define READ_MAX (HR_SECRET_MAX + 3)

extern char **environ;

struct hr_secret {
    struct hr_loop *loop;
    struct hr_config_secret config;
    void (*changed)(void *owner);
    void *owner;
    char value[HR_SECRET_MAX];
    size_t len; /* 0: none */
    uint64_t generation;
    char error[HR_SECRET_WHY_MAX];
    /* file */
    struct stat seen;
    /* command */
    pid_t child; /* 0: none runs */
    bool late;   /* it was ended by us */
    struct hr_watch output, exit;
    struct hr_timer timer; /* its deadline while it runs, else the next run */
    uint64_t ran_us;
    char reading[READ_MAX];
    size_t n_reading;
};

/* Checks and takes it; the error otherwise. One line end at the end is the editor's. */
static const char *take(struct hr_secret *s, const char *text, size_t len)
{
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    if (len == 0)
        return "is empty";
    _Static_assert(HR_SECRET_MAX == 16384, "the texts say so");
    if (len > HR_SECRET_MAX)
        return "is longer than 16384 bytes";
    if (memchr(text, '\0', len))
        return "holds a NUL byte";
    hr_wipe(s->value, sizeof(s->value));
    memcpy(s->value, text, len);
    s->len = len;
    s->generation++;
    return NULL;
}

/* -- file -------------------------------------------------------------------------------------------------- */

static int read_file(struct hr_secret *s)
{
    char text[READ_MAX];
    const char *wrong = NULL;
    struct stat st = {0};
    size_t len = 0;
    ssize_t n = -1;
    int fd = open(s->config.file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) != 0) {
        snprintf(s->error, sizeof(s->error), "%s cannot be opened: %s", s->config.file, strerror(errno));
    } else if (s->len > 0 && st.st_ino == s->seen.st_ino && st.st_size == s->seen.st_size &&
               memcmp(&st.st_mtim, &s->seen.st_mtim, sizeof(st.st_mtim)) == 0 &&
               memcmp(&st.st_ctim, &s->seen.st_ctim, sizeof(st.st_ctim)) == 0) {
        s->error[0] = '\0';
    } else if (!S_ISREG(st.st_mode) || (st.st_mode & 07)) {
        snprintf(s->error, sizeof(s->error), "%s must be a regular file that others cannot read (mode 0600 or 0640)",
                 s->config.file);
    } else {
        while (len < sizeof(text) && (n = read(fd, text + len, sizeof(text) - len)) > 0)
            len += (size_t)n;
        wrong = n < 0 ? "cannot be read" : take(s, text, len);
        hr_wipe(text, sizeof(text));
        s->error[0] = '\0';
        if (wrong)
            snprintf(s->error, sizeof(s->error), "%s %s", s->config.file, wrong);
        else
            s->seen = st;
    }
    if (fd >= 0)
        close(fd);
    return s->error[0] ? HR_E_INVALID : 0;
}

/* -- command ----------------------------------------------------------------------------------------------- */

static void unwatch(struct hr_secret *s, struct hr_watch *watch)
{
    if (watch->added)
        hr_loop_remove(s->loop, watch);
    if (watch->fd >= 0)
        close(watch->fd);
    watch->fd = -1;
}

static void forget_child(struct hr_secret *s)
{
    unwatch(s, &s->output);
    unwatch(s, &s->exit);
    hr_wipe(s->reading, sizeof(s->reading));
    s->n_reading = 0;
    s->child = 0;
    s->late = false;
}

/* The command and all that it has started, for which it is the leader of a process group. Until it has been waited for,
 * nobody else has its number. */
static void kill_all(const struct hr_secret *s)
{
    kill(-s->child, SIGKILL);
}

/* What is there by now; its end, an error, or too much of it: no more is read. */
static void on_output(struct hr_watch *watch, uint32_t events)
{
    struct hr_secret *s = watch->arg;
    ssize_t n = -1;

    (void)events;
    while (s->n_reading < sizeof(s->reading)) {
        n = read(watch->fd, s->reading + s->n_reading, sizeof(s->reading) - s->n_reading);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            break;
        s->n_reading += (size_t)n;
    }
    if (s->n_reading == sizeof(s->reading))
        kill_all(s);
    unwatch(s, watch);
}

/* The command has ended: its verdict, and the time of the next run. */
static void on_exit_of_child(struct hr_watch *watch, uint32_t events)
{
    struct hr_secret *s = watch->arg;
    const char *wrong = NULL, *unfit = NULL;
    int status = 0;

    if (s->output.fd >= 0)
        on_output(&s->output, events); /* what it printed last */
    kill_all(s); /* what it has left behind */
    waitpid(s->child, &status, 0);
    if (s->n_reading == sizeof(s->reading))
        wrong = "printed more than 16384 bytes";
    else if (s->late)
        wrong = "did not end within 10 s";
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        wrong = "ended with an error";
    else if ((unfit = take(s, s->reading, s->n_reading)))
        wrong = "printed something that ";
    s->error[0] = '\0';
    if (wrong) {
        snprintf(s->error, sizeof(s->error), "the command %s %s%s", s->config.args[0], wrong, unfit ? unfit : "");
        hr_log_error("secret: %s", s->error);
    }
    forget_child(s);
    hr_timer_in(s->loop, &s->timer, wrong ? RUN_LEAST_US : RUN_EVERY_US);
    if (s->changed)
        s->changed(s->owner);
}

static void run(struct hr_secret *s)
{
    char *argv[HR_CONFIG_SECRET_ARGS + 1] = {0};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, ignored;
    int fds[2], err;

    s->ran_us = hr_loop_now(s->loop);
    for (uint32_t i = 0; i < s->config.n_args; i++)
        argv[i] = s->config.args[i];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        snprintf(s->error, sizeof(s->error), "no pipe: %s", strerror(errno));
        hr_timer_in(s->loop, &s->timer, RUN_LEAST_US);
        return;
    }
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none); /* ours are blocked: loop signals come by signalfd */
    sigemptyset(&ignored);
    sigaddset(&ignored, SIGPIPE);
    posix_spawnattr_setsigdefault(&attr, &ignored);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    err = posix_spawn(&s->child, argv[0], &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    close(fds[1]);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    s->output = (struct hr_watch){.fd = fds[0], .fn = on_output, .arg = s};
    s->exit = (struct hr_watch){.fd = err ? -1 : pidfd_open(s->child, 0), .fn = on_exit_of_child, .arg = s};
    if (!err && s->exit.fd >= 0 && hr_loop_add(s->loop, &s->output, EPOLLIN) == 0 &&
        hr_loop_add(s->loop, &s->exit, EPOLLIN) == 0) {
        hr_timer_in(s->loop, &s->timer, RUN_MAX_US);
        return;
    }
    if (!err) {
        err = errno;
        kill_all(s);
        waitpid(s->child, NULL, 0);
    }
    forget_child(s);
    snprintf(s->error, sizeof(s->error), "the command %s cannot be run: %s", argv[0], strerror(err));
    hr_log_error("secret: %s", s->error);
    hr_timer_in(s->loop, &s->timer, RUN_LEAST_US);
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_secret *s = timer->arg;

    if (!s->child) {
        run(s);
        return;
    }
    s->late = true;
    kill_all(s); /* on_exit_of_child() follows */
}

/* -- life -------------------------------------------------------------------------------------------------- */

int hr_secret_create(struct hr_loop *loop, const struct hr_config_secret *config, void (*changed)(void *owner),
                     void *owner, struct hr_secret **ret_secret)
{
    struct hr_secret *s = calloc(1, sizeof(*s));

    if (!s)
        return HR_E_NOMEM;
    s->loop = loop;
    s->config = *config;
    s->changed = changed;
    s->owner = owner;
    s->output.fd = s->exit.fd = -1;
    s->timer = (struct hr_timer){.fn = on_timer, .arg = s};
    if (config->n_args > 0)
        run(s);
    *ret_secret = s;
    return 0;
}

int hr_secret_check(const struct hr_config_secret *config, char why[HR_SECRET_WHY_MAX])
{
    struct hr_secret *s = calloc(1, sizeof(*s));
    int err = 0;

    if (!s)
        return HR_E_NOMEM;
    s->config = *config;
    if (config->file[0])
        err = read_file(s);
    else if (config->n_args > 0 && access(config->args[0], X_OK) != 0) {
        snprintf(s->error, sizeof(s->error), "the command %s cannot be run: %s", config->args[0], strerror(errno));
        err = HR_E_INVALID;
    }
    if (err)
        snprintf(why, HR_SECRET_WHY_MAX, "%s", s->error);
    hr_wipe(s, sizeof(*s));
    free(s);
    return err;
}

void hr_secret_destroy(struct hr_secret *s)
{
    if (!s)
        return;
    hr_timer_cancel(s->loop, &s->timer);
    if (s->child) {
        kill_all(s);
        waitpid(s->child, NULL, 0);
    }
    forget_child(s);
    hr_wipe(s, sizeof(*s));
    free(s);
}

int hr_secret_get(struct hr_secret *s, const char **ret_text, size_t *ret_len, char why[HR_SECRET_WHY_MAX])
{
    int err = 0;

    if (s->config.file[0])
        err = read_file(s);
    else if (s->len == 0)
        err = s->error[0] ? HR_E_INVALID : HR_E_AGAIN;
    if (err) {
        snprintf(why, HR_SECRET_WHY_MAX, "%s",
                 err == HR_E_AGAIN ? "the command that prints the secret has not ended yet" : s->error);
        return err;
    }
    *ret_text = s->value;
    *ret_len = s->len;
    return 0;
}

uint64_t hr_secret_generation(const struct hr_secret *s)
{
    return s->generation;
}

void hr_secret_doubt(struct hr_secret *s)
{
    if (s->config.n_args == 0 || s->child)
        return;
    hr_timer_set(s->loop, &s->timer, s->ran_us + RUN_LEAST_US);
}

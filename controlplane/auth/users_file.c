#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controlplane/auth/users_impl.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define LOOK_EVERY_US HR_US_PER_S
#define PATH_CAP      4096

static int HR_PRINTF(3, 4) failed(char why[HR_USERS_WHY_MAX], int err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, HR_USERS_WHY_MAX, fmt, args);
    va_end(args);
    return err;
}

int hr_users_load(const char *path, struct hr_users **ret_users, char why[HR_USERS_WHY_MAX])
{
    struct stat st;
    char *text = NULL;
    size_t len = 0;
    int err, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return failed(why, errno == ENOENT ? HR_E_NOT_FOUND : HR_E_SYSTEM, "%s: cannot be opened: %s", path,
                      strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        err = failed(why, HR_E_CONFIG, "%s: is no regular file", path);
        goto out;
    }
    if (st.st_mode & 077) {
        err = failed(why, HR_E_CONFIG, "%s: is of mode %04o, so others may read it: chmod 600 %s", path,
                     st.st_mode & 07777, path);
        goto out;
    }
    if (st.st_size > HR_USERS_FILE_MAX || !(text = malloc((size_t)st.st_size + 1))) {
        err = failed(why, HR_E_CONFIG, "%s: is too large", path);
        goto out;
    }
    while (len < (size_t)st.st_size) {
        ssize_t n = read(fd, text + len, (size_t)st.st_size - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    if (len < (size_t)st.st_size)
        err = failed(why, HR_E_SYSTEM, "%s: cannot be read whole", path);
    else
        err = hr_users_parse(path, text, len, ret_users, why);
out:
    if (text) {
        hr_wipe(text, len);
        free(text);
    }
    close(fd);
    return err;
}

int hr_users_lock(const char *path, char why[HR_USERS_WHY_MAX])
{
    char copy[PATH_CAP];
    int fd;

    snprintf(copy, sizeof(copy), "%s", path);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX) == 0)
        return fd;
    (void)failed(why, HR_E_SYSTEM, "%s: its folder cannot be locked: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return HR_E_SYSTEM;
}

static int write_all(FILE *file, const struct hr_users *users)
{
    char line[HR_USERS_LINE_MAX], secret[48];
    int err = hr_base64_encode(users->secret, sizeof(users->secret), secret, sizeof(secret));

    if (!err && fprintf(file, "# Written by headracectl: comments are not kept.\n! %s\n", secret) < 0)
        err = HR_E_SYSTEM;
    for (uint32_t i = 0; i < users->n && !err; i++) {
        err = hr_users_format(&users->table[i], line, sizeof(line));
        if (!err && fputs(line, file) < 0)
            err = HR_E_SYSTEM;
    }
    hr_wipe(line, sizeof(line));
    hr_wipe(secret, sizeof(secret));
    if (!err && (fflush(file) != 0 || fsync(fileno(file)) != 0))
        err = HR_E_SYSTEM;
    return err;
}

int hr_users_save(const char *path, const struct hr_users *users, char why[HR_USERS_WHY_MAX])
{
    char next[PATH_CAP], folder[PATH_CAP];
    struct stat st;
    FILE *file;
    int fd, err, folder_fd;

    if ((size_t)snprintf(next, sizeof(next), "%s.new", path) >= sizeof(next))
        return failed(why, HR_E_SYSTEM, "%s: the path is too long", path);
    unlink(next); /* of a change that was interrupted: we hold the lock */
    fd = open(next, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || !(file = fdopen(fd, "w"))) {
        err = failed(why, HR_E_SYSTEM, "%s: cannot be created: %s", next, strerror(errno));
        if (fd >= 0)
            close(fd);
        return err;
    }
    /* The control plane's user must still be able to read it. */
    if (stat(path, &st) == 0 && (st.st_uid != geteuid() || st.st_gid != getegid()) &&
        fchown(fd, st.st_uid, st.st_gid) != 0) {
        err = failed(why, HR_E_SYSTEM, "%s: cannot be given to the owner of %s: %s", next, path, strerror(errno));
        fclose(file);
        goto out;
    }
    err = write_all(file, users);
    if (fclose(file) != 0 || err || rename(next, path) != 0) {
        err = failed(why, HR_E_SYSTEM, "%s: cannot be written: %s", path, strerror(errno));
        goto out;
    }
    snprintf(folder, sizeof(folder), "%s", path);
    folder_fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd >= 0) {
        (void)fsync(folder_fd);
        close(folder_fd);
    }
    return 0;
out:
    unlink(next);
    return err;
}

/* -- watched --------------------------------------------------------------------------------------------- */

struct hr_user_store {
    struct hr_loop *loop;
    struct hr_timer timer;
    void (*changed)(void *owner);
    void *owner;
    struct hr_users *users;
    struct stat seen; /* of the file that was last read; zeroed: there was none */
    char path[PATH_CAP];
    char error[HR_USERS_WHY_MAX];
};

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mode == b->st_mode &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* True: there is a new table. */
static bool look(struct hr_user_store *store, bool first)
{
    struct stat now = {0};
    struct hr_users *users;

    if (stat(store->path, &now) != 0)
        now = (struct stat){0};
    if (!first && same_file(&now, &store->seen))
        return false;
    store->seen = now;
    if (hr_users_load(store->path, &users, store->error) != 0) {
        hr_log_error("users: %s%s", store->error, first ? "" : "; the users read before stay in force");
        return false;
    }
    hr_users_free(store->users);
    store->users = users;
    store->error[0] = '\0';
    hr_log_info("users: %s: %u verifiers", store->path, users->n);
    return true;
}

void hr_user_store_look(struct hr_user_store *store)
{
    if (look(store, false) && store->changed)
        store->changed(store->owner);
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_user_store *store = timer->arg;

    hr_user_store_look(store);
    hr_timer_in(store->loop, &store->timer, LOOK_EVERY_US);
}

int hr_user_store_create(struct hr_loop *loop, const char *path, void (*changed)(void *owner), void *owner,
                         struct hr_user_store **ret_store)
{
    struct hr_user_store *store = calloc(1, sizeof(*store));
    int err;

    if (!store)
        return HR_E_NOMEM;
    if ((size_t)snprintf(store->path, sizeof(store->path), "%s", path) >= sizeof(store->path) ||
        (err = hr_users_create(&store->users)) != 0) {
        free(store);
        return HR_E_NOMEM;
    }
    store->loop = loop;
    store->changed = changed;
    store->owner = owner;
    store->timer = (struct hr_timer){.fn = on_timer, .arg = store};
    look(store, true);
    hr_timer_in(loop, &store->timer, LOOK_EVERY_US);
    *ret_store = store;
    return 0;
}

void hr_user_store_destroy(struct hr_user_store *store)
{
    if (!store)
        return;
    hr_timer_cancel(store->loop, &store->timer);
    hr_users_free(store->users);
    free(store);
}

struct hr_users *hr_user_store_users(const struct hr_user_store *store)
{
    return store->users;
}

const char *hr_user_store_error(const struct hr_user_store *store)
{
    return store->error;
}

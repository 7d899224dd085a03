#include "controlplane/launcher/leftovers.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* "PREFIXmap_12": what the EAL calls its hugepage files. */
static bool is_map_of(const char *name, const char *prefix)
{
    size_t len = strlen(prefix);
    if (strncmp(name, prefix, len) != 0 || strncmp(name + len, "map_", 4) != 0 || name[len + 4] == '\0')
        return false;
    for (const char *p = name + len + 4; *p != '\0'; p++) {
        if (!isdigit((unsigned char)*p))
            return false;
    }
    return true;
}

/* Removes the plain files of a folder that want() chooses; no subfolder is entered. */
static unsigned remove_files(const char *dir, bool (*want)(const char *name, const char *prefix), const char *prefix)
{
    unsigned removed = 0;
    DIR *d = opendir(dir);
    if (d == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (want(entry->d_name, prefix) && unlinkat(dirfd(d), entry->d_name, 0) == 0)
            removed++;
    }
    closedir(d);
    return removed;
}

static bool any(const char *name, const char *prefix)
{
    return true;
}

unsigned hr_leftovers_remove_maps(const char *mount, const char *file_prefix)
{
    return remove_files(mount, is_map_of, file_prefix);
}

unsigned hr_leftovers_remove_runtime(const char *dpdk_dir, const char *file_prefix)
{
    char dir[4096];
    if (snprintf(dir, sizeof(dir), "%s/%s", dpdk_dir, file_prefix) >= (int)sizeof(dir))
        return 0;
    unsigned removed = remove_files(dir, any, NULL);
    return rmdir(dir) == 0 ? removed + 1 : removed;
}

/* Whether a dataplane listens there. */
static bool is_live(const char *socket_path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", socket_path);
    bool live = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 || errno == EAGAIN;
    close(fd);
    return live;
}

unsigned hr_leftovers_remove(const char *file_prefix, const char *runtime_dir)
{
    unsigned removed = 0;
    char path[4096], socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    snprintf(socket_path, sizeof(socket_path), "%s/dataplane.sock", runtime_dir);
    if (is_live(socket_path))
        return 0;
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    if (mounts != NULL) {
        for (struct mntent *m; (m = getmntent(mounts)) != NULL;) {
            if (strcmp(m->mnt_type, "hugetlbfs") == 0)
                removed += hr_leftovers_remove_maps(m->mnt_dir, file_prefix);
        }
        endmntent(mounts);
    }
    /* Where the EAL keeps its runtime folders: as root, and as somebody else. */
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    removed += hr_leftovers_remove_runtime("/var/run/dpdk", file_prefix);
    if (geteuid() != 0) {
        snprintf(path, sizeof(path), "%s/dpdk", xdg != NULL ? xdg : "/tmp");
        removed += hr_leftovers_remove_runtime(path, file_prefix);
    }
    if (unlink(socket_path) == 0)
        removed++;
    return removed;
}

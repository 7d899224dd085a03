/* One process that the launcher keeps running. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared/base/error.h"

#define HR_CHILD_PATH_MAX 4096

struct hr_child {
    const char *name; /* of the binary */
    const char *user; /* to become before exec, "" = stay who we are */
    char path[HR_CHILD_PATH_MAX];
    char config[HR_CHILD_PATH_MAX];
    pid_t pid;              /* 0 = not running */
    uint64_t started_us;
    uint64_t restart_us;    /* when to start it again; 0 = not scheduled */
    uint32_t backoff_ms;    /* before the next restart */
    bool settled;           /* it once ran long enough to count as working */
    int exit_code;          /* of the last end: as the process gave it, or 128 + signal */
};

/* Finds the binary in libexec, or beside our own, or where the build tree has it. NOT_FOUND with the places
 * that were tried in ret_tried. */
HR_MUST_CHECK int hr_child_find(struct hr_child *child, const char *libexec, char *ret_tried, uint32_t cap);
/* Forks and executes `path --config FILE`, in a process group of its own, to die with us. SYSTEM when it cannot
 * be forked; a failed exec shows as exit code 127. */
HR_MUST_CHECK int hr_child_start(struct hr_child *child, uint64_t now_us);
/* It has ended with this wait status: notes why, and when it may start again. */
void hr_child_ended(struct hr_child *child, int status, uint64_t now_us);
/* Sends a signal if it runs. */
void hr_child_signal(const struct hr_child *child, int signo);

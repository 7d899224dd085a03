/* Every packet script of tests/scripts against the Linux kernel. A script that says "kernel: same" must go through
 * as it is; one that says "kernel: differs: WHY" must go through with the kernel's lines, and must not with ours.
 *
 *   test-tcp-scripts-kernel FOLDER           all, several at a time
 *   test-tcp-scripts-kernel FILE.pkt [-v]    one; -v prints the conversation
 *
 * The kernel lives by the wall clock, so a script that fails is tried again: a machine that stood still is not a
 * difference. Exit 77, which is a skip, where no network namespace or tun device can be had. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/scripts/backends.h"

#define SCRIPTS_MAX 400
#define AT_ONCE 12
#define TRIES 4
#define SKIP 77

enum verdict { PASSED = 0, FAILED = 1, BROKEN = 2 };

struct job {
    const char *path;
    char name[80];
    bool differs;
    enum ps_who side;
    unsigned tries;
    pid_t pid;
    char *report; /* shared with the child */
};

#define REPORT 8192

static char paths[SCRIPTS_MAX][256];
static struct job jobs[2 * SCRIPTS_MAX];

static int child(const struct job *j)
{
    static struct ps_script script;
    const char *error;

    if (ps_load(j->path, &script, &error) != 0)
        return BROKEN;
    const struct ps_backend *b = ps_kernel_open(&script, &error);
    if (b == NULL) {
        snprintf(j->report, REPORT, "%s: %s\n", error, strerror(errno));
        return SKIP;
    }
    return ps_play(&script, b, j->side, j->report, REPORT) ? PASSED : FAILED;
}

static void start(struct job *j)
{
    j->tries++;
    fflush(NULL);
    j->pid = fork();
    if (j->pid == 0)
        _exit(child(j));
}

static unsigned prepare(const char *what)
{
    static struct ps_script script;
    unsigned n_paths = 0, n = 0;
    const char *error;

    if (strlen(what) > 4 && strcmp(what + strlen(what) - 4, ".pkt") == 0)
        snprintf(paths[n_paths++], sizeof(paths[0]), "%s", what);
    else
        n_paths = ps_find(what, paths, SCRIPTS_MAX);
    for (unsigned i = 0; i < n_paths; i++) {
        int line = ps_load(paths[i], &script, &error);
        if (line != 0) {
            fprintf(stderr, "%s:%d: %s\n", paths[i], line, error);
            exit(1);
        }
        bool differs = script.why[0] != 0;
        for (int side = 0; side < (differs ? 2 : 1); side++, n++) {
            jobs[n] = (struct job){.path = paths[i], .differs = differs, .side = side == 0 ? PS_KERNEL : PS_US};
            snprintf(jobs[n].name, sizeof(jobs[n].name), "%s%s", script.name, side ? "/differs" : "");
            jobs[n].report = mmap(NULL, REPORT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            if (jobs[n].report == MAP_FAILED)
                exit(1);
        }
        ps_unload(&script);
    }
    return n;
}

/* True: it is settled. */
static bool settle(struct job *j, int code, bool verbose, unsigned *failed)
{
    bool good = j->side == PS_KERNEL ? code == PASSED : code == FAILED;
    if (!good && j->side == PS_KERNEL && j->tries < TRIES)
        return false;
    if (!good || verbose)
        fprintf(stderr, "%s", j->report);
    if (!good && j->side == PS_US)
        fprintf(stderr, "%s: the kernel behaves as our lines say: it does not differ\n", j->path);
    printf("[ %s ] %s\n", good ? "      OK" : " FAILED ", j->name);
    *failed += !good;
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    bool verbose = argc > 2 && strcmp(argv[2], "-v") == 0;
    unsigned n = prepare(argv[1]), next = 0, running = 0, failed = 0, done = 0;
    if (n == 0) {
        fprintf(stderr, "no scripts in %s\n", argv[1]);
        return 1;
    }
    while (done < n) {
        while (running < AT_ONCE && next < n) {
            start(&jobs[next++]);
            running++;
        }
        int status;
        pid_t pid = wait(&status);
        for (unsigned i = 0; i < next; i++) {
            struct job *j = &jobs[i];
            if (j->pid != pid)
                continue;
            int code = WIFEXITED(status) ? WEXITSTATUS(status) : BROKEN;
            if (code == SKIP) {
                fprintf(stderr, "skipped: %s", j->report);
                return SKIP;
            }
            if (settle(j, code, verbose, &failed)) {
                running--;
                done++;
                j->pid = 0;
            } else {
                start(j);
            }
            break;
        }
    }
    printf("%u passed, %u failed\n", n - failed, failed);
    return failed != 0;
}

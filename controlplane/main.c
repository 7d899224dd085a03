/* headrace-controlplane: the unprivileged process that knows the configuration, the cluster and the policy.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "controlplane/daemon/daemon.h"
#include "controlplane/tls/memory.h"
#include "shared/base/log.h"
#include "shared/config/config.h"
#include "shared/ipc/build_id.h"

#define DEFAULT_CONFIG "/etc/headrace/headrace.cfg"
#define EXIT_FAILED    1
#define EXIT_USAGE     2 /* also: the configuration is wrong */

static void usage(FILE *to)
{
    fprintf(
        to,
        "Usage: headrace-controlplane [--config FILE]\n"
        "\n"
        "Headrace's control plane: learns the Kafka cluster, tells the dataplane what to do, and answers\n"
        "headracectl. It stays in the foreground and may be stopped and started while traffic flows.\n"
        "\n"
        "  -c, --config FILE  configuration (default " DEFAULT_CONFIG ")\n"
        "  -V, --version      print version and build\n"
        "  -h, --help         print this\n"
        "\n"
        "Signals: SIGHUP reloads the configuration, SIGTERM ends the process.\n"
        "Exit status: 0 ended as asked, 1 failed, 2 wrong usage or configuration.\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *path = DEFAULT_CONFIG;
    struct hr_config *config = calloc(1, sizeof(*config));
    struct hr_config_errors *errors = calloc(1, sizeof(*errors));
    struct hr_daemon *daemon;
    int opt, err;

    if (hr_tls_memory_init() != 0) {
        fprintf(stderr, "headrace-controlplane: somebody has used OpenSSL before it could be told to wipe what it frees\n");
        return EXIT_FAILED;
    }
    if (!config || !errors)
        return EXIT_FAILED;
    while ((opt = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1) {
        switch (opt) {
        case 'c':
            path = optarg;
            break;
        case 'V':
            printf("headrace-controlplane %s (build %s)\n", HR_VERSION, hr_build_id);
            return 0;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "headrace-controlplane: unexpected argument %s\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (hr_config_load(path, config, errors) != 0) {
        for (uint32_t i = 0; i < errors->n; i++)
            fprintf(stderr, "%s\n", errors->text[i]);
        fprintf(stderr, "headrace-controlplane: the configuration %s is refused\n", path);
        return EXIT_USAGE;
    }
    /* Whatever runs here never gains a right that we do not have. */
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* Passwords and keys are in memory: none of it goes into a core. */
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    hr_log_init("headrace-controlplane", config->log.level, config->log.format);
    hr_log_info("headrace-controlplane %s (build %s), configuration %s", HR_VERSION, hr_build_id, path);
    for (uint32_t i = 0; i < errors->n_warnings; i++)
        hr_log_warn("%s", errors->warnings[i]);
    free(errors);
    err = hr_daemon_create(config, &daemon);
    if (err)
        return err == HR_E_CONFIG ? EXIT_USAGE : EXIT_FAILED;
    err = hr_daemon_run(daemon);
    if (err)
        hr_log_error("ended by an error: %s", hr_strerror(err));
    hr_daemon_destroy(daemon);
    return err ? EXIT_FAILED : 0;
}

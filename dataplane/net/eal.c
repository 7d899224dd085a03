/* EAL start: checks first what the EAL would only report in its own terms, then builds its arguments. */
#include "dataplane/net/eal.h"

#include <errno.h>
#include <glob.h>
#include <net/if.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/net/device.h"
#include "dataplane/net/port.h"

#define MAX_ARGS (32 + 2 * HR_CONFIG_MAX_PORTS)

/* The EAL keeps pointers to its arguments. */
struct eal_args {
    int n;
    char *argv[MAX_ARGS + 1];
    char text[MAX_ARGS][HR_CONFIG_DEVICE_MAX + 96];
};
static struct eal_args args;

/* The first error that DPDK logged: it says more than its error code, and more than what follows from it. */
static char first_line[160];

static ssize_t log_write(void *cookie, const char *buf, size_t size)
{
    if (first_line[0] == 0) {
        size_t n = strcspn(buf, "\n");
        n = n < size ? n : size;
        snprintf(first_line, sizeof(first_line), "%.*s", (int)n, buf);
    }
    return write(STDERR_FILENO, buf, size) >= 0 ? (ssize_t)size : -1;
}

static void capture_log(void)
{
    static FILE *stream;
    if (stream == NULL)
        stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = log_write});
    if (stream != NULL) {
        setvbuf(stream, NULL, _IOLBF, 256);
        rte_openlog_stream(stream);
    }
}

static void add(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void add(const char *fmt, ...)
{
    if (args.n >= MAX_ARGS)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(args.text[args.n], sizeof(args.text[0]), fmt, ap);
    va_end(ap);
    args.argv[args.n] = args.text[args.n];
    args.n++;
}

unsigned hr_eal_worker_lcore(uint32_t worker)
{
    return 1 + worker;
}

static int check_cpu(const char *key, uint32_t cpu, char why[HR_WHY_MAX])
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < CPU_SETSIZE && sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_ISSET(cpu, &set))
        return 0;
    snprintf(why, HR_WHY_MAX,
             "dataplane.%s names CPU %u, which this process may not use: see `nproc` and `taskset -p $$`", key,
             cpu);
    return HR_E_CONFIG;
}

/* "0@2,1@3,2@3": logical core @ CPU. */
static int add_lcores(const struct hr_config_dataplane *dp, char why[HR_WHY_MAX])
{
    char list[HR_CONFIG_MAX_WORKERS * 12 + 16];
    int err = check_cpu("main_lcore", dp->main_lcore, why);
    int n = snprintf(list, sizeof(list), "0@%u", dp->main_lcore);
    for (uint32_t i = 0; err == 0 && i < dp->n_workers; i++) {
        err = check_cpu("workers", dp->worker_lcores[i], why);
        n += snprintf(list + n, sizeof(list) - (size_t)n, ",%u@%u", hr_eal_worker_lcore(i), dp->worker_lcores[i]);
    }
    add("--lcores");
    add("%s", list);
    add("--main-lcore=0");
    return err;
}

/* Megabytes of free hugepages of all sizes. */
static uint64_t free_hugepage_mb(void)
{
    glob_t g;
    uint64_t mb = 0;
    if (glob("/sys/kernel/mm/hugepages/hugepages-*kB", 0, NULL, &g) != 0)
        return 0;
    for (size_t i = 0; i < g.gl_pathc; i++) {
        char path[300];
        unsigned long size_kb = 0, n_free = 0;
        const char *dash = strrchr(g.gl_pathv[i], '-');
        snprintf(path, sizeof(path), "%s/free_hugepages", g.gl_pathv[i]);
        FILE *f = fopen(path, "re");
        if (f == NULL)
            continue;
        if (sscanf(dash, "-%lukB", &size_kb) == 1 && fscanf(f, "%lu", &n_free) == 1)
            mb += (uint64_t)size_kb * n_free / 1024;
        fclose(f);
    }
    globfree(&g);
    return mb;
}

static int add_memory(const struct hr_config_dataplane *dp, char why[HR_WHY_MAX])
{
    add("-m");
    add("%u", dp->memory_mb);
    if (!dp->hugepages) {
        add("--no-huge");
        add("--no-shconf");
        return 0;
    }
    /* Hugepages without files, so that a killed process leaves nothing behind. */
    add("--in-memory");
    uint64_t have = free_hugepage_mb();
    if (have < dp->memory_mb) {
        snprintf(why, HR_WHY_MAX,
                 "dataplane.memory_mb = %u, but only %llu MB of hugepages are free: reserve them (sysctl "
                 "vm.nr_hugepages=%u) or set dataplane.hugepages = false", dp->memory_mb,
                 (unsigned long long)have, (dp->memory_mb + 1) / 2);
        return HR_E_NOMEM;
    }
    return 0;
}

/* Is the card bound to a driver through which DPDK can have it? */
static int check_pci(const struct hr_config_port *port, const char *name, char why[HR_WHY_MAX])
{
    char path[128], driver[256];
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.40s", name);
    if (access(path, F_OK) != 0) {
        snprintf(why, HR_WHY_MAX, "port %s: there is no PCI device %.40s: see `lspci -D`", port->name, name);
        return HR_E_CONFIG;
    }
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.40s/driver", name);
    ssize_t n = readlink(path, driver, sizeof(driver) - 1);
    driver[n > 0 ? n : 0] = 0;
    const char *base = strrchr(driver, '/');
    base = base != NULL ? base + 1 : "no driver";
    /* Those that keep a kernel interface beside DPDK need no binding. */
    if (strcmp(base, "vfio-pci") == 0 || strcmp(base, "igb_uio") == 0 || strcmp(base, "uio_pci_generic") == 0 ||
        strncmp(base, "mlx", 3) == 0 || strcmp(base, "virtio-pci") == 0)
        return 0;
    snprintf(why, HR_WHY_MAX,
             "port %s: PCI device %.20s is bound to %.40s: bind it to vfio-pci (dpdk-devbind.py -b vfio-pci %.20s; "
             "see docs/operations.md)", port->name, name, base, name);
    return HR_E_CONFIG;
}

static int add_devices(const struct hr_config_dataplane *dp, char why[HR_WHY_MAX])
{
    bool any_pci = false;
    for (uint32_t i = 0; i < dp->n_ports; i++) {
        const struct hr_config_port *port = &dp->ports[i];
        char text[HR_CONFIG_DEVICE_MAX + 80], name[64], ifname[16];
        int err = hr_port_device_args(port, (uint16_t)dp->n_workers, text, sizeof(text), why);
        if (err != 0)
            return err;
        hr_port_device_name(port->device, name, sizeof(name));
        for (uint32_t k = 0; k < i; k++) {
            char other[64];
            hr_port_device_name(dp->ports[k].device, other, sizeof(other));
            if (strcmp(name, other) == 0) {
                snprintf(why, HR_WHY_MAX,
                         "ports %s and %s: both devices are named %.30s: number them (net_af_packet0, "
                         "net_af_packet1)", dp->ports[k].name, port->name, name);
                return HR_E_CONFIG;
            }
        }
        enum hr_port_kind kind = hr_port_device_kind(port->device);
        if (kind == HR_PORT_KIND_AF_PACKET || kind == HR_PORT_KIND_AF_XDP) {
            if (!hr_port_device_ifname(port->device, ifname) || if_nametoindex(ifname) == 0) {
                snprintf(why, HR_WHY_MAX,
                         "port %s: the interface of device \"%.80s\" does not exist here: see `ip link` (in "
                         "the same network namespace)", port->name, port->device);
                return HR_E_CONFIG;
            }
            err = hr_port_prepare_interface(port, ifname, why);
            if (err != 0)
                return err;
        }
        if (kind == HR_PORT_KIND_PCI) {
            any_pci = true;
            err = check_pci(port, name, why);
            if (err != 0)
                return err;
            add("--allow=%s", text);
        } else {
            add("--vdev=%s", text);
        }
    }
    if (!any_pci)
        add("--no-pci");
    return 0;
}

int hr_eal_start(const struct hr_config *cfg, char why[HR_WHY_MAX])
{
    const struct hr_config_dataplane *dp = &cfg->dataplane;
    memset(&args, 0, sizeof(args));
    add("headrace-dataplane");
    int err = add_lcores(dp, why);
    if (err == 0)
        err = add_memory(dp, why);
    if (err == 0)
        err = add_devices(dp, why);
    if (err != 0)
        return err;
    if (dp->file_prefix[0] != 0)
        add("--file-prefix=%s", dp->file_prefix);
    add("--no-telemetry");
    add("--log-level=error");
    args.argv[args.n] = NULL;

    capture_log();
    int n = rte_eal_init(args.n, args.argv);
    int eal_errno = rte_errno;
    /* Nothing is kept under /run/dpdk in the modes used here; the EAL makes its directory all the same. Away
     * with it now, so that a killed process leaves nothing behind. */
    rmdir(rte_eal_get_runtime_dir());
    if (n >= 0)
        return 0;
    const char *hint = "";
    if (geteuid() != 0)
        hint = "; start it as root (privileges are dropped later)";
    else if (eal_errno == ENOMEM)
        hint = "; less dataplane.memory_mb, or more memory";
    snprintf(why, HR_WHY_MAX, "DPDK did not start: %s%s%s%s", rte_strerror(eal_errno),
             first_line[0] != 0 ? ": " : "", first_line, hint);
    return eal_errno == ENOMEM ? HR_E_NOMEM : HR_E_SYSTEM;
}

void hr_eal_stop(void)
{
    rte_eal_cleanup();
}

/* Bringing up DPDK's environment layer (EAL) from the configuration.
 *
 * Every worker gets a logical core id of its own, and so does the main thread, even where the configuration
 * puts several of them on one CPU (a small machine): logical core 0 is the main thread, 1 + i is worker i.
 * Workers are started with rte_eal_remote_launch(fn, arg, hr_eal_worker_lcore(i)).
 *
 * Threads: the process's first thread, before any other thread exists; it becomes the main lcore. */
#pragma once

#include "shared/base/error.h"
#include "shared/config/config.h"

#define HR_WHY_MAX 256 /* room for a sentence that says what failed and what to do */

/* Starts the EAL with the configured CPUs, memory and devices (PCI allow-list and vdevs; see
 * hr_port_device_args()). Call once per process. CONFIG, NOMEM or SYSTEM with why filled. */
HR_MUST_CHECK int hr_eal_start(const struct hr_config *cfg, char why[HR_WHY_MAX]);

/* The logical core of worker i (0-based). */
unsigned hr_eal_worker_lcore(uint32_t worker);

/* Releases memory and devices; ports must be closed and workers have returned. */
void hr_eal_stop(void);

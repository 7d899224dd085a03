/* Which brokers answer: each is asked for its API versions every two seconds, on a connection of its own.
 *
 * A frozen broker still accepts TCP, so nothing less than an answer counts. Two silences make it down, a refused
 * connection at once; it is up again after ten seconds of answers. A broker that has just become known is up with its
 * first answer. The answer also says which versions of Fetch the broker has. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/metadata/cluster.h"
#include "shared/base/error.h"

struct hr_conns;
struct hr_dns;
struct hr_loop;
struct hr_probes;

/* changed: a broker went up or down. */
HR_MUST_CHECK int hr_probes_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_dns *dns,
                                   void (*changed)(void *owner), void *owner, struct hr_probes **ret_probes);
void hr_probes_destroy(struct hr_probes *probes);

/* These brokers, from now on; cluster is borrowed for the call. NULL: none. */
void hr_probes_set(struct hr_probes *probes, const struct hr_cluster *cluster);

/* Does it answer? *ret_fetch_max is its highest version of Fetch, -1 as long as it has never said. */
bool hr_probes_up(const struct hr_probes *probes, int32_t node_id, int16_t *ret_fetch_max);

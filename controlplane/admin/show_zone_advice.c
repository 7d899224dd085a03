/* `headracectl zones advise`. */
#include "controlplane/admin/zones_json.h"

#include <stdlib.h>

#include "controlplane/admin/server.h"
#include "controlplane/attach/attach.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/zones/advise.h"
#include "shared/base/clock.h"

#define MOVES_MAX 1000 /* in one answer: the best of them */

static json_t *moves_json(const struct hr_zone_map *map, const struct hr_zone_move *moves, uint32_t n, double months)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(array, json_pack("{s:s, s:i, s:i, s:o, s:i, s:o, s:f, s:f}", "topic", moves[i].topic->name,
                                               "partition", moves[i].partition->index, "leader",
                                               moves[i].partition->leader, "zone",
                                               hr_zones_name(map, moves[i].from_zone), "to", moves[i].to, "to_zone",
                                               hr_zones_name(map, moves[i].to_zone), "dollars",
                                               moves[i].saves, "per_month", moves[i].saves / months));
    return array;
}

json_t *hr_zones_advice(struct hr_daemon *d, struct hr_admin_request *request, const struct hr_policy *policy)
{
    const struct hr_cluster *cluster = hr_metadata_cluster(d->metadata);
    const struct hr_region *region = hr_attach_client_region(d->attach);
    struct hr_zone_whos topics = {0};
    struct hr_zone_move *moves;
    double seconds, sum = 0;
    json_t *result;
    uint32_t n;
    int err;

    if (!d->attached_us || !cluster) {
        hr_admin_fail(request, HR_E_NOT_FOUND, "%s", cluster ? "no dataplane is attached" : "the cluster is not known yet");
        return NULL;
    }
    hr_zones_read_topics(d, &topics);
    err = hr_zone_advise(d->config, policy, cluster, &topics, &moves, &n);
    hr_zone_whos_free(&topics);
    if (err) {
        hr_admin_fail(request, err, "%s", hr_strerror(err));
        return NULL;
    }
    if (n > MOVES_MAX)
        n = MOVES_MAX;
    seconds = (double)(hr_loop_now(d->loop) - region->started_us) / (double)HR_US_PER_S;
    for (uint32_t i = 0; i < n; i++)
        sum += moves[i].saves;
    result = json_pack("{s:o, s:f, s:f, s:f, s:o, s:o}", "moves", moves_json(&policy->zones, moves, n, seconds / HR_ZONES_MONTH_S),
                       "seconds", seconds, "dollars", sum, "per_month", sum / seconds * HR_ZONES_MONTH_S, "reassignment",
                       hr_zone_reassignment(moves, n), "election", hr_zone_election(moves, n));
    free(moves);
    return result;
}

/* A broker's answers, as the control plane reads them: the first byte picks API and version, the rest is the
 * response frame without its size. What decodes is turned into a cluster and read through. */
#include <stdlib.h>

#include "controlplane/metadata/cluster.h"
#include "controlplane/metadata/kclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void read_through(const struct hr_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->n_brokers; i++) {
        const struct hr_cluster_broker *b = &cluster->brokers[i];

        if (b->id < 0 || b->port == 0 || b->host[0] == '\0' || hr_cluster_find_broker(cluster, b->id) != b)
            abort();
        sink += hr_cluster_leads(cluster, b->id);
    }
    for (uint32_t t = 0; t < cluster->n_topics; t++) {
        for (uint32_t p = 0; p < cluster->topics[t].n_partitions; p++) {
            const struct hr_cluster_partition *part = &cluster->topics[t].partitions[p];

            for (uint16_t r = 0; r < part->n_replicas; r++)
                sink += (uint64_t)part->replicas[r];
            for (uint16_t r = 0; r < part->n_isr; r++)
                sink += (uint64_t)part->isr[r];
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        int16_t key, version;
    } kinds[] = {{3, 0},  {3, 1},  {3, 5},  {3, 8},  {3, 9}, {3, 12},
                 {60, 0}, {60, 1}, {60, 2}, {18, 0}, {18, 3}};
    static struct hr_cluster *known; /* what DescribeCluster's answers are added to */
    char why[HR_KCLIENT_WHY_MAX], why_not[128];
    int16_t version;
    json_t *body;
    unsigned kind;

    if (size < 1 || size > 256 * 1024)
        return 0;
    kind = data[0] % (sizeof(kinds) / sizeof(kinds[0]));
    if (hr_kclient_parse(data + 1, (uint32_t)size - 1, kinds[kind].key, kinds[kind].version, 1, &body,
                         &version, why) != 0)
        return 0;
    if (kinds[kind].key == 3) {
        struct hr_cluster *cluster;

        if (hr_cluster_parse(body, &cluster, why_not) == 0) {
            read_through(cluster);
            hr_cluster_free(known);
            known = cluster;
        }
    } else if (kinds[kind].key == 60 && known) {
        if (hr_cluster_add_describe(known, body) == 0)
            read_through(known);
    }
    json_decref(body);
    return 0;
}

#include "controlplane/zones/advise.h"

#include <stdlib.h>
#include <string.h>

static uint8_t zone_of(const struct hr_policy *policy, int32_t node_id)
{
    const struct hr_policy_broker *broker = hr_policy_find_broker(policy, node_id);

    return broker ? broker->zone : HR_ZONE_NONE;
}

static const struct hr_zone_who *find(const struct hr_zone_whos *topics, const char *name)
{
    for (uint32_t i = 0; i < topics->n; i++) {
        if (strcmp(topics->who[i].name, name) == 0)
            return &topics->who[i];
    }
    return NULL;
}

/* What the bytes produced to zone `from` would cost with a leader in `to`. */
static double cost(const struct hr_config *config, const struct hr_zone_map *map, const struct hr_zone_who *who,
                   uint8_t from, uint8_t to)
{
    double sum = 0;

    for (uint8_t c = 1; c < map->n; c++)
        sum += (double)who->bytes[c][from][HR_ZONE_UP] * hr_zone_path_price(config, map, c, to);
    return sum;
}

static bool in_sync(const struct hr_cluster_partition *p, int32_t node)
{
    for (uint32_t i = 0; i < p->n_isr; i++) {
        if (p->isr[i] == node)
            return true;
    }
    return false;
}

/* The best of a partition's replicas; false: its leader is. share: of the bytes to its leader's zone. */
static bool best_move(const struct hr_config *config, const struct hr_policy *policy, const struct hr_zone_who *who,
                      double share, struct hr_zone_move *move)
{
    const struct hr_cluster_partition *p = move->partition;
    double now = cost(config, &policy->zones, who, move->from_zone, move->from_zone);

    for (uint32_t i = 0; i < p->n_replicas; i++) {
        uint8_t zone = zone_of(policy, p->replicas[i]);
        double saves = zone ? (now - cost(config, &policy->zones, who, move->from_zone, zone)) * share : 0;

        if (p->replicas[i] == p->leader || !in_sync(p, p->replicas[i]) || saves <= move->saves)
            continue;
        move->to = p->replicas[i];
        move->to_zone = zone;
        move->saves = saves;
    }
    return move->saves > 0;
}

static int move_order(const void *a, const void *b)
{
    const struct hr_zone_move *x = a, *y = b;
    int by_topic;

    if (x->saves != y->saves)
        return x->saves < y->saves ? 1 : -1;
    by_topic = strcmp(x->topic->name, y->topic->name);
    return by_topic ? by_topic : x->partition->index - y->partition->index;
}

int hr_zone_advise(const struct hr_config *config, const struct hr_policy *policy, const struct hr_cluster *cluster,
                   const struct hr_zone_whos *topics, struct hr_zone_move **ret_moves, uint32_t *ret_n)
{
    struct hr_zone_move *moves = calloc(cluster->n_partitions + 1, sizeof(*moves));
    uint32_t n = 0;

    if (!moves)
        return HR_E_NOMEM;
    for (uint32_t t = 0; t < cluster->n_topics; t++) {
        const struct hr_cluster_topic *topic = &cluster->topics[t];
        const struct hr_zone_who *who = find(topics, topic->name);
        uint32_t led[HR_ZONES_MAX] = {0};

        for (uint32_t i = 0; who && i < topic->n_partitions; i++)
            led[zone_of(policy, topic->partitions[i].leader)]++;
        for (uint32_t i = 0; who && i < topic->n_partitions; i++) {
            struct hr_zone_move *move = &moves[n];

            *move = (struct hr_zone_move){.topic = topic, .partition = &topic->partitions[i]};
            move->from_zone = zone_of(policy, move->partition->leader);
            if (move->from_zone && best_move(config, policy, who, 1.0 / led[move->from_zone], move))
                n++;
        }
    }
    if (n > 1)
        qsort(moves, n, sizeof(*moves), move_order);
    *ret_moves = moves;
    *ret_n = n;
    return 0;
}

json_t *hr_zone_reassignment(const struct hr_zone_move *moves, uint32_t n)
{
    json_t *partitions = json_array();

    for (uint32_t i = 0; i < n; i++) {
        const struct hr_cluster_partition *p = moves[i].partition;
        json_t *replicas = json_array();

        json_array_append_new(replicas, json_integer(moves[i].to));
        for (uint32_t k = 0; k < p->n_replicas; k++) {
            if (p->replicas[k] != moves[i].to)
                json_array_append_new(replicas, json_integer(p->replicas[k]));
        }
        json_array_append_new(partitions, json_pack("{s:s, s:i, s:o}", "topic", moves[i].topic->name, "partition",
                                                    p->index, "replicas", replicas));
    }
    return json_pack("{s:i, s:o}", "version", 1, "partitions", partitions);
}

json_t *hr_zone_election(const struct hr_zone_move *moves, uint32_t n)
{
    json_t *partitions = json_array();

    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(partitions, json_pack("{s:s, s:i}", "topic", moves[i].topic->name, "partition",
                                                    moves[i].partition->index));
    return json_pack("{s:o}", "partitions", partitions);
}

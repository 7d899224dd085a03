#include "controlplane/metadata/apis.h"

#include <stdlib.h>
#include <string.h>

#include "shared/kafka/schema.h"

struct hr_apis_of {
    struct hr_apis_of *next;
    char host[HR_POLICY_HOST_MAX];
    uint16_t port;
    uint32_t n;
    struct hr_sasl_api apis[HR_APIS_MAX];
};

static const struct hr_sasl_api *find(const struct hr_apis_of *of, int16_t key)
{
    for (uint32_t i = 0; i < of->n; i++) {
        if (of->apis[i].key == key)
            return &of->apis[i];
    }
    return NULL;
}

static void intersect(struct hr_apis *apis)
{
    apis->n_common = 0;
    for (uint32_t i = 0; apis->first && i < apis->first->n; i++) {
        struct hr_sasl_api both = apis->first->apis[i];

        for (const struct hr_apis_of *of = apis->first->next; of; of = of->next) {
            const struct hr_sasl_api *its = find(of, both.key);

            if (!its || its->min > both.min)
                both.min = its ? its->min : INT16_MAX;
            if (its && its->max < both.max)
                both.max = its->max;
        }
        if (both.min <= both.max)
            apis->common[apis->n_common++] = both;
    }
}

/* As the workers' relay advertises it (dataplane/kafka/edit.c). */
static void read_body(struct hr_apis_of *of, const json_t *body)
{
    const json_t *item;
    size_t i;

    of->n = 0;
    json_array_foreach(json_object_get(body, "ApiKeys"), i, item)
    {
        json_int_t key = json_integer_value(json_object_get(item, "ApiKey"));
        json_int_t min = json_integer_value(json_object_get(item, "MinVersion"));
        json_int_t max = json_integer_value(json_object_get(item, "MaxVersion"));
        const struct hr_kapi *api = key >= 0 && key <= INT16_MAX ? hr_kapi_find((int16_t)key) : NULL;

        if (!api || of->n == HR_APIS_MAX || find(of, (int16_t)key))
            continue;
        if (min < api->versions.min)
            min = api->versions.min;
        if (max > api->versions.max)
            max = api->versions.max;
        if (min <= max)
            of->apis[of->n++] = (struct hr_sasl_api){(int16_t)key, (int16_t)min, (int16_t)max};
    }
}

void hr_apis_told(struct hr_apis *apis, const char *host, uint16_t port, const json_t *body)
{
    struct hr_apis_of **at = &apis->first, *of;

    while (*at && ((*at)->port != port || strcmp((*at)->host, host) != 0))
        at = &(*at)->next;
    of = *at;
    if (of)
        *at = of->next;
    else if (!(of = calloc(1, sizeof(*of))))
        return;
    strncpy(of->host, host, sizeof(of->host) - 1);
    of->port = port;
    read_body(of, body);
    of->next = apis->first;
    apis->first = of;
    intersect(apis);
}

static bool serves(const struct hr_cluster *cluster, const struct hr_apis_of *of)
{
    for (uint32_t i = 0; i < cluster->n_brokers; i++) {
        const struct hr_cluster_broker *b = &cluster->brokers[i];

        if (!b->fenced && b->port == of->port && strcmp(b->host, of->host) == 0)
            return true;
    }
    return false;
}

void hr_apis_keep(struct hr_apis *apis, const struct hr_cluster *cluster)
{
    for (struct hr_apis_of **at = apis->first ? &apis->first->next : NULL; at && *at;) {
        struct hr_apis_of *of = *at;

        if (serves(cluster, of)) {
            at = &of->next;
            continue;
        }
        *at = of->next;
        free(of);
    }
    intersect(apis);
}

void hr_apis_clear(struct hr_apis *apis)
{
    for (struct hr_apis_of *of = apis->first, *next; of; of = next) {
        next = of->next;
        free(of);
    }
    *apis = (struct hr_apis){0};
}

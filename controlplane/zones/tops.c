#include "controlplane/zones/tops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void id_text(const char *key, char text[37])
{
    const uint8_t *b = (const uint8_t *)key;

    snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* False: an id that nobody has. */
static bool name_of(const struct hr_zone_top *e, const struct hr_cluster *cluster, char *name, size_t cap)
{
    size_t len = 0;
    char id[37];

    if (e->is_id) {
        id_text(e->key, id);
        for (uint32_t i = 0; cluster && i < cluster->n_topics; i++) {
            if (strcmp(cluster->topics[i].id, id) == 0 && cluster->topics[i].name[0]) {
                snprintf(name, cap, "%s", cluster->topics[i].name);
                return true;
            }
        }
        snprintf(name, cap, "%s", id);
        return false;
    }
    for (uint32_t i = 0; i < e->len; i++) {
        unsigned char ch = (unsigned char)e->key[i];

        len += (size_t)snprintf(name + len, cap - len, ch >= 0x20 && ch < 0x7f ? "%c" : "\\x%02x", ch);
    }
    name[len] = '\0';
    return true;
}

static struct hr_zone_who *find(struct hr_zone_whos *whos, const char *name)
{
    struct hr_zone_who *more;

    for (uint32_t i = 0; i < whos->n; i++) {
        if (strcmp(whos->who[i].name, name) == 0)
            return &whos->who[i];
    }
    if (whos->n == whos->cap) {
        more = realloc(whos->who, (whos->cap + 64) * sizeof(*more));
        if (!more)
            return NULL;
        whos->who = more;
        whos->cap += 64;
    }
    more = &whos->who[whos->n++];
    memset(more, 0, sizeof(*more));
    snprintf(more->name, sizeof(more->name), "%s", name);
    return more;
}

void hr_zone_whos_add(struct hr_zone_whos *whos, const struct hr_zone_top *table, uint32_t n,
                      const struct hr_cluster *cluster)
{
    char name[sizeof(whos->who->name)];
    struct hr_zone_who *who;
    struct hr_zone_top e;

    for (uint32_t i = 0; i < n; i++) {
        if (!hr_zone_top_read(&table[i], &e))
            continue;
        whos->nameless += !name_of(&e, cluster, name, sizeof(name));
        who = find(whos, name);
        if (!who)
            return;
        who->bytes[e.client][e.broker][e.dir] += e.bytes;
        who->error += e.error;
    }
}

void hr_zone_whos_free(struct hr_zone_whos *whos)
{
    free(whos->who);
    *whos = (struct hr_zone_whos){0};
}

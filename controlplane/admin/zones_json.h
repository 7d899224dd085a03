/* The parts of what `headracectl zones` shows. Private to controlplane/admin. */
#pragma once

#include <jansson.h>

#include "controlplane/zones/tops.h"
#include "shared/ipc/zones.h"

struct hr_admin_request;
struct hr_daemon;
struct hr_policy;

#define HR_ZONES_HOUR_S  3600.0
#define HR_ZONES_MONTH_S (730 * HR_ZONES_HOUR_S) /* as AWS bills: a twelfth of a year */

/* A name as it came from a broker: JSON has no other text than UTF-8. */
json_t *hr_zones_text(const char *name);
/* Its name; null: not known. */
json_t *hr_zones_name(const struct hr_zone_map *map, uint8_t zone);
/* Adds bytes, costs and who moves most; nothing while no dataplane is attached. */
void hr_zones_add_bytes(struct hr_daemon *daemon, const struct hr_zone_map *map, json_t *obj);
/* The leaders to move, and how. NULL after the request has been failed. */
json_t *hr_zones_advice(struct hr_daemon *daemon, struct hr_admin_request *request, const struct hr_policy *policy);
/* Topics of all workers; the caller frees. Not while no dataplane is attached. */
void hr_zones_read_topics(struct hr_daemon *daemon, struct hr_zone_whos *ret_whos);

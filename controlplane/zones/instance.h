/* The availability zone of the EC2 instance that this process runs on, by its id (use1-az1), from the instance's
 * metadata service, version 2: a token first, with it the zone. An instance never moves, so it is asked until it has
 * answered once; every two seconds at first, every minute in the end. */
#pragma once

#include "shared/base/error.h"

struct hr_http;
struct hr_instance_zone;
struct hr_loop;

/* changed: the zone has become known; never from within a call of these. */
HR_MUST_CHECK int hr_instance_zone_create(struct hr_loop *loop, struct hr_http *http, void (*changed)(void *owner),
                                          void *owner, struct hr_instance_zone **ret_instance);
void hr_instance_zone_destroy(struct hr_instance_zone *instance);

/* Begins to ask; a second call changes nothing. */
void hr_instance_zone_start(struct hr_instance_zone *instance);
/* NULL: not known. */
const char *hr_instance_zone_get(const struct hr_instance_zone *instance);
/* Why it is not known, "" when nothing failed yet. */
const char *hr_instance_zone_error(const struct hr_instance_zone *instance);

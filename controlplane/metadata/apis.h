/* What the brokers can do, as far as they were asked: the versions of each request that all of them and Headrace know.
 *
 * Clients that log in here are told it before anybody knows which broker they will get to, so it must be true of each.
 * The connection that metadata comes by is to one broker at a time: each is remembered by its address as long as it is
 * named in the metadata and serves; one that restarts, perhaps as a newer one, is out of it for a while and then asked
 * anew. A broker that was never asked is not in it. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "controlplane/auth/sasl_server.h"
#include "controlplane/metadata/cluster.h"

#define HR_APIS_MAX 128

struct hr_apis_of;

struct hr_apis {
    struct hr_apis_of *first; /* the one that was asked last */
    struct hr_sasl_api common[HR_APIS_MAX];
    uint32_t n_common;
};

/* The body of an answer to ApiVersions, from the broker at that address. */
void hr_apis_told(struct hr_apis *apis, const char *host, uint16_t port, const json_t *body);
/* Forgets who does not serve any more; who was asked last stays: it may have been asked by another name. */
void hr_apis_keep(struct hr_apis *apis, const struct hr_cluster *cluster);
void hr_apis_clear(struct hr_apis *apis);

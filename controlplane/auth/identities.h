/* Everybody that Headrace is to the brokers: the one that broker_auth names, and one for each client's principal that has
 * its own (broker_auth.principals). They are made of the configuration; who has begun as one of before ends as that. */
#pragma once

#include <stdint.h>

#include "controlplane/auth/identity.h"

struct hr_config;
struct hr_identities;

/* changed: a login that was not possible may be now. */
HR_MUST_CHECK int hr_identities_create(struct hr_loop *loop, struct hr_http *http, void (*changed)(void *owner),
                                       void *owner, struct hr_identities **ret_identities);
void hr_identities_destroy(struct hr_identities *identities); /* NULL is allowed */
/* At start and after a reload; config is not kept. Who has not changed stays, with its credentials. */
void hr_identities_configure(struct hr_identities *identities, const struct hr_config *config);

/* All borrowed until the next configure; NULL: there is none. */
struct hr_identity *hr_identities_shared(const struct hr_identities *identities);
struct hr_identity *hr_identities_metadata(const struct hr_identities *identities);
struct hr_identity *hr_identities_of(const struct hr_identities *identities, const char *principal, uint16_t *ret_index);

/* By place, from 0 on; NULL: no more. *ret_principal: "" for the one of broker_auth. */
struct hr_identity *hr_identities_at(const struct hr_identities *identities, uint32_t place, const char **ret_principal);

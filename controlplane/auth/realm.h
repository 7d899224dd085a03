/* Realms: by what the clients of a listener log in, and who of them is let in; one for each listener that asks who its
 * clients are. They are made of the configuration and live on while a login uses them: who has begun under the rules of
 * before ends under them.
 *
 * Files of users are watched, key sets of issuers fetched, as long as a realm names them; listeners that name the same file
 * share it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/auth/sasl_server.h"
#include "shared/base/error.h"

struct hr_config;
struct hr_http;
struct hr_loop;
struct hr_realm;
struct hr_realms;

HR_MUST_CHECK int hr_realms_create(struct hr_loop *loop, struct hr_http *http, struct hr_realms **ret_realms);
/* Nobody uses one any more. */
void hr_realms_destroy(struct hr_realms *realms);
/* At start and after a reload; config is not kept. A listener whose group has not changed keeps its realm. */
void hr_realms_configure(struct hr_realms *realms, const struct hr_config *config);
/* What clients may do after their login, as ApiVersions says it before; copied. Until it was told: all that Headrace
 * knows. */
void hr_realms_set_apis(struct hr_realms *realms, const struct hr_sasl_api *apis, uint32_t n);
/* Looks at the files of users now, and not within a second. */
void hr_realms_look(struct hr_realms *realms);

/* NULL: the listener does not ask. Borrowed. */
struct hr_realm *hr_realms_find(const struct hr_realms *realms, const char *listener);
struct hr_realm *hr_realm_ref(struct hr_realm *realm);
void hr_realm_unref(struct hr_realm *realm); /* NULL is allowed */

/* For hr_sasl_server_create(). */
const struct hr_sasl_realm *hr_realm_sasl(const struct hr_realm *realm);
/* Whether the listener's list has this principal ("alice", without "User:"), or there is none. */
bool hr_realm_allows(const struct hr_realm *realm, const char *principal);
/* Why nobody, or not everybody, can log in at the moment: the file of users, the issuer's keys; "" if all is well. */
const char *hr_realm_trouble(const struct hr_realm *realm);

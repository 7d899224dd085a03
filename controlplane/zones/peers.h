/* Which other instances serve. Each URL that the configuration names for their health is asked every second; 200 within
 * a second is well. Two failures in a row are down, three good answers in a row up again, so that nothing flaps; before
 * the first answer an instance counts as down, and one good answer is enough. An instance that drains says so by its
 * /ready, and is left out like one that is dead. */
#pragma once

#include <stdbool.h>

#include "shared/base/error.h"
#include "shared/config/config.h"

struct hr_http;
struct hr_loop;
struct hr_peers;

/* changed: one is up or down; never from within a call of these. */
HR_MUST_CHECK int hr_peers_create(struct hr_loop *loop, struct hr_http *http, void (*changed)(void *owner), void *owner,
                                  struct hr_peers **ret_peers);
void hr_peers_destroy(struct hr_peers *peers);

/* Asks the URLs of this configuration from now on; those that stay keep what is known of them. */
void hr_peers_configure(struct hr_peers *peers, const struct hr_config_zones *zones);
/* "": nobody asks, it is up. */
bool hr_peers_up(const struct hr_peers *peers, const char *url);

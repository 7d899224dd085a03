/* Which of a broker's configuration keys hold addresses that clients must not see. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum hr_config_kind {
    HR_CONFIG_PLAIN = 0,
    HR_CONFIG_LISTENERS, /* becomes the virtual broker's listener */
    HR_CONFIG_BLANK,     /* shows addresses that clients cannot use: becomes empty */
    HR_CONFIG_NAMES,     /* speaks of listeners, mostly by name: emptied when its value holds a URL */
    HR_CONFIG_MAX
};

/* Of a key, not NUL-terminated. */
enum hr_config_kind hr_config_kind(const uint8_t *key, int32_t len);
/* Must a value of such a key be replaced? */
bool hr_config_shows_address(enum hr_config_kind kind, const uint8_t *value, int32_t len);
/* A broker resource's name as a node id; -1 for the default of all brokers, or what is no id. */
int32_t hr_config_node(const uint8_t *name, int32_t len);

/* Keys are matched by their whole name, or by their end, because plug-ins bring keys of their own. */
#include "dataplane/kafka/config_keys.h"

#include <stddef.h>
#include <string.h>

static bool is(const uint8_t *p, int32_t len, const char *s)
{
    return len >= 0 && (size_t)len == strlen(s) && memcmp(p, s, (size_t)len) == 0;
}

static bool ends(const uint8_t *p, int32_t len, const char *s)
{
    size_t n = strlen(s);

    return len >= 0 && (size_t)len >= n && memcmp(p + (size_t)len - n, s, n) == 0;
}

static bool contains(const uint8_t *p, int32_t len, const char *s)
{
    return len > 0 && memmem(p, (size_t)len, s, strlen(s)) != NULL;
}

/* The configuration keys of a broker that hold addresses: its listeners, the quorum's voters and bootstrap
 * servers, bootstrap servers of its own plug-ins, and what brokers before 3.0 and before KRaft had. */
enum hr_config_kind hr_config_kind(const uint8_t *key, int32_t len)
{
    static const char *const blank[] = {"zookeeper.connect", "host.name", "port", "advertised.port",
                                        "advertised.host.name"};

    if (is(key, len, "advertised.listeners") || is(key, len, "listeners"))
        return HR_CONFIG_LISTENERS;
    for (size_t i = 0; i < sizeof(blank) / sizeof(blank[0]); i++)
        if (is(key, len, blank[i]))
            return HR_CONFIG_BLANK;
    if (ends(key, len, "bootstrap.servers") || ends(key, len, "quorum.voters"))
        return HR_CONFIG_BLANK;
    return contains(key, len, "listener") ? HR_CONFIG_NAMES : HR_CONFIG_PLAIN;
}

bool hr_config_shows_address(enum hr_config_kind kind, const uint8_t *value, int32_t len)
{
    switch (kind) {
    case HR_CONFIG_LISTENERS:
    case HR_CONFIG_BLANK:
        return true;
    case HR_CONFIG_NAMES:
        return contains(value, len, "://");
    case HR_CONFIG_PLAIN:
    case HR_CONFIG_MAX:
        break;
    }
    return false;
}

int32_t hr_config_node(const uint8_t *name, int32_t len)
{
    int64_t v = 0;

    if (len <= 0 || len > 10)
        return -1;
    for (int32_t i = 0; i < len; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        v = v * 10 + (name[i] - '0');
    }
    return v <= INT32_MAX ? (int32_t)v : -1;
}

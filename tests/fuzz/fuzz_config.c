/* The configuration reader on arbitrary text; what it accepts must make listeners that a snapshot may hold. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/config/impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_suppressions(void);

/* libconfig forgets its string buffer when the text ends inside a string. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hr_config_errors errors;
    static struct hr_config config;
    /* Includes would read other files, and libconfig's own recursion is bounded by the input's length. */
    if (size > 16384 || memchr(data, '@', size) != NULL || memchr(data, '\0', size) != NULL)
        return 0;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    errors.n = 0;
    int err = hr_cfg_load_text("fuzz.cfg", "/nonexistent", text, &config, &errors);
    free(text);
    if ((err == 0) != (errors.n == 0))
        abort();
    if (err < 0)
        return 0;

    static struct hr_policy policy;
    memset(&policy, 0, sizeof(policy));
    policy.magic = HR_POLICY_MAGIC;
    policy.size = sizeof(policy);
    policy.generation = 1;
    policy.zones.n = 1;
    policy.log_level = (uint8_t)config.log.level;
    policy.max_sessions = config.limits.max_connections;
    policy.hold_max_bytes = config.limits.hold_max_bytes;
    policy.drain_timeout_ms = config.limits.drain_timeout_ms;
    policy.n_listeners = config.n_listeners;
    for (uint32_t i = 0; i < config.n_listeners; i++)
        policy.listeners[i] = config.listeners[i].policy;
    const char *why;
    if (hr_policy_validate(&policy, &why) < 0)
        abort();
    return 0;
}

#include "shared/base/counters.h"

#include <stddef.h>

const struct hr_counter_info hr_counter_info[HR_CTR_MAX] = {
#define X(name, meaning) [HR_CTR_##name] = {#name, meaning, NULL},
    HR_COUNTERS(X)
#undef X
};

const struct hr_counter_info hr_gauge_info[HR_GAUGE_MAX] = {
#define X(name, meaning) [HR_GAUGE_##name] = {#name, meaning, NULL},
    HR_GAUGES(X)
#undef X
};

const struct hr_counter_info hr_drop_info[HR_DROP_MAX] = {
#define X(name, meaning, remedy) [HR_DROP_##name] = {#name, meaning, remedy},
    HR_DROPS(X)
#undef X
};

/* What a run prints: for programs one JSON object a line on standard output, {"name", "unit", "method", "raw"}; for
 * people one line each on standard error, with the median and the interval that raw values give for it. */
#pragma once

#include <stdint.h>

#include "shared/base/hist.h"

#define RB_MAX_ROUNDS 101

/* One metric of several rounds. name is put behind the run's label. */
struct rb_metric {
    const char *name, *unit, *method;
    uint32_t n;
    double raw[RB_MAX_ROUNDS];
    const struct hr_hist *hist; /* printed too, as "histogram_ns"; NULL: none */
};

void rb_metric_add(struct rb_metric *m, double value);
void rb_metric_print(const struct rb_metric *m, const char *label);
/* A metric of one value. */
void rb_print_one(const char *label, const char *name, const char *unit, const char *method, double value);

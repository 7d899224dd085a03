#include "bench/ring/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rb_metric_add(struct rb_metric *m, double value)
{
    if (m->n < RB_MAX_ROUNDS)
        m->raw[m->n++] = value;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The rank whose order statistic starts an interval of at least 95 % for the median (with its mirror image), by the
 * binomial distribution; 0 when n is too small for one. */
static uint32_t interval_rank(uint32_t n)
{
    double p = 1, sum = 0;
    uint32_t rank = 0;
    for (uint32_t i = 0; i < n; i++)
        p /= 2;
    for (uint32_t k = 0; k < n / 2; k++) {
        sum += p;
        if (2 * sum > 0.05)
            break;
        rank = k + 1;
        p = p * (n - k) / (k + 1);
    }
    return rank;
}

void rb_metric_print(const struct rb_metric *m, const char *label)
{
    double sorted[RB_MAX_ROUNDS];

    if (m->n == 0)
        return;
    printf("{\"name\": \"%s.%s\", \"unit\": \"%s\", \"method\": \"%s\", \"raw\": [", label, m->name, m->unit, m->method);
    for (uint32_t i = 0; i < m->n; i++)
        printf("%s%.6g", i ? ", " : "", m->raw[i]);
    printf("]");
    if (m->hist) {
        printf(", \"histogram_ns\": ");
        hr_hist_print(stdout, m->hist);
    }
    printf("}\n");
    fflush(stdout);

    memcpy(sorted, m->raw, m->n * sizeof(sorted[0]));
    qsort(sorted, m->n, sizeof(sorted[0]), by_value);
    double median = m->n % 2 ? sorted[m->n / 2] : (sorted[m->n / 2 - 1] + sorted[m->n / 2]) / 2;
    uint32_t rank = interval_rank(m->n);
    fprintf(stderr, "  %-28s %12.4g", m->name, median);
    if (rank > 0)
        fprintf(stderr, "  [%.4g .. %.4g]", sorted[rank - 1], sorted[m->n - rank]);
    fprintf(stderr, "  %s\n", m->unit);
}

void rb_print_one(const char *label, const char *name, const char *unit, const char *method, double value)
{
    struct rb_metric m = {.name = name, .unit = unit, .method = method, .n = 1, .raw = {value}};
    rb_metric_print(&m, label);
}

#include "controlplane/zones/totals.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"

#define SAMPLE_US (10 * HR_US_PER_S)
#define SAMPLES   7 /* six steps of ten seconds */

/* All of it is 64-bit counters. */
#define WORDS(type) (sizeof(type) / sizeof(uint64_t))

struct hr_zone_totals_keeper {
    struct hr_loop *loop;
    bool (*read)(void *owner, struct hr_zone_totals *ret_totals);
    void *owner;
    struct hr_timer timer;
    uint32_t n, next; /* samples kept, and where the next goes */
    uint64_t at_us[SAMPLES];
    struct hr_zone_totals sample[SAMPLES];
};

static void add_words(void *to, const void *from, size_t n)
{
    uint64_t *t = to;
    const uint64_t *f = from;

    for (size_t i = 0; i < n; i++)
        t[i] += __atomic_load_n(&f[i], __ATOMIC_RELAXED);
}

void hr_zone_totals_add(struct hr_zone_totals *totals, const struct hr_zone_stats *stats)
{
    add_words(totals->bytes, stats->bytes, WORDS(totals->bytes));
    add_words(totals->steered, stats->steered, WORDS(totals->steered));
    add_words(totals->link, stats->link, WORDS(totals->link));
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_zone_totals_keeper *k = timer->arg;
    struct hr_zone_totals *sample = &k->sample[k->next];

    hr_timer_in(k->loop, timer, SAMPLE_US);
    memset(sample, 0, sizeof(*sample));
    if (!k->read(k->owner, sample))
        return;
    k->at_us[k->next] = hr_loop_now(k->loop);
    k->next = (k->next + 1) % SAMPLES;
    if (k->n < SAMPLES)
        k->n++;
}

int hr_zone_totals_keeper_create(struct hr_loop *loop, bool (*read)(void *owner, struct hr_zone_totals *ret_totals),
                                 void *owner, struct hr_zone_totals_keeper **ret_keeper)
{
    struct hr_zone_totals_keeper *k = calloc(1, sizeof(*k));

    if (!k)
        return HR_E_NOMEM;
    k->loop = loop;
    k->read = read;
    k->owner = owner;
    k->timer = (struct hr_timer){.fn = on_timer, .arg = k};
    *ret_keeper = k;
    return 0;
}

void hr_zone_totals_keeper_destroy(struct hr_zone_totals_keeper *k)
{
    if (!k)
        return;
    hr_timer_cancel(k->loop, &k->timer);
    free(k);
}

void hr_zone_totals_keeper_restart(struct hr_zone_totals_keeper *k)
{
    k->n = k->next = 0;
    hr_timer_in(k->loop, &k->timer, 0);
}

bool hr_zone_totals_get(struct hr_zone_totals_keeper *k, struct hr_zone_totals *now, struct hr_zone_totals *added,
                        double *ret_s)
{
    const uint64_t *then;
    uint64_t *to = (uint64_t *)added;
    uint32_t oldest = (k->next + SAMPLES - k->n) % SAMPLES;

    memset(now, 0, sizeof(*now));
    memset(added, 0, sizeof(*added));
    *ret_s = 0;
    if (!k->read(k->owner, now))
        return false;
    if (k->n == 0)
        return true;
    *ret_s = (double)(hr_loop_now(k->loop) - k->at_us[oldest]) / (double)HR_US_PER_S;
    then = (const uint64_t *)&k->sample[oldest];
    for (size_t i = 0; i < WORDS(*added); i++) {
        uint64_t n = ((const uint64_t *)now)[i];

        to[i] = n > then[i] ? n - then[i] : 0;
    }
    return true;
}

#include "shared/base/nearest.h"

#include <stdint.h>
#include <string.h>

/* Edits (insert, delete, replace) that lead from a to b, Levenshtein 1965; words are short. */
static unsigned edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    unsigned row[LONGEST + 1];
    size_t n = strlen(b);
    if (n > LONGEST || strlen(a) > LONGEST)
        return UINT32_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n; j++) {
            unsigned replace = diagonal + (a[i - 1] != b[j - 1]);
            unsigned insert = row[j - 1] + 1, delete = row[j] + 1;
            diagonal = row[j];
            row[j] = replace < insert ? replace : insert;
            row[j] = row[j] < delete ? row[j] : delete;
        }
    }
    return row[n];
}

void hr_nearest(const char *word, const char *candidate, const char **nearest, unsigned *least)
{
    unsigned distance = edit_distance(word, candidate);

    if (distance >= *least || distance > 1 + strlen(word) / 3)
        return;
    *least = distance;
    *nearest = candidate;
}

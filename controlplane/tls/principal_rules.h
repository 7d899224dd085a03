/* Kafka's ssl.principal.mapping.rules: rules separated by commas, the first that applies decides.
 *
 *   RULE:pattern/replacement/    pattern is Java's and must match all of the text; then each place where it matches
 *   RULE:pattern/replacement/L   is replaced ($1, ${name}, \x); L: in lower case, U: in upper case
 *   DEFAULT                      the text as it is
 *
 * Patterns run on PCRE2, bounded. What Java and PCRE2 read differently is refused when the rules are read: unions and
 * intersections of classes, flags other than i, m, s and x, and the few escapes that mean something else. Two
 * differences stay: (?i) knows Unicode's cases here, and where a mapping of case changes the number of characters
 * (U of sharp s) the character stays. */
#pragma once

#include <stddef.h>

#include "shared/base/error.h"

struct hr_principal_rules;

/* CONFIG, with why, when they are malformed. */
HR_MUST_CHECK int hr_principal_rules_create(const char *text, struct hr_principal_rules **ret_rules, char *why,
                                            size_t why_cap);
void hr_principal_rules_destroy(struct hr_principal_rules *rules);
/* text: UTF-8. NOT_FOUND: none applies, or the result is empty; TOO_LARGE: it does not fit, or matching takes too long. */
HR_MUST_CHECK int hr_principal_rules_apply(const struct hr_principal_rules *rules, const char *text, char *name,
                                           size_t cap);

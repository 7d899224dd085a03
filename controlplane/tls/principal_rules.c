#define PCRE2_CODE_UNIT_WIDTH 8
#include "controlplane/tls/principal_rules.h"

#include <ctype.h>
#include <locale.h>
#include <openssl/asn1.h>
#include <pcre2.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#define RULES_MAX   64
#define STEPS_MAX   100000u /* of one match: some milliseconds */
#define HEAP_KB     1024u
#define MATCHES_MAX 256     /* places that one rule replaces */

struct rule {
    pcre2_code *code; /* NULL: DEFAULT */
    char *replacement;
    uint32_t groups;
    char to_case; /* 'L', 'U' or 0 */
};

struct hr_principal_rules {
    uint32_t n;
    struct rule rules[RULES_MAX];
    pcre2_match_context *limits;
    locale_t unicode; /* its cases */
};

static int wrong(char *why, size_t cap, const char *fmt, ...) HR_PRINTF(3, 4);
static int wrong(char *why, size_t cap, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, cap, fmt, args);
    va_end(args);
    return HR_E_CONFIG;
}

/* -- reading a rule --------------------------------------------------------------------------------------------- */

/* To the next '/' without a backslash before it; NULL: there is none. */
static char *to_slash(const char **at)
{
    const char *p = *at;

    while (*p && *p != '/') {
        if (*p == '\\' && p[1])
            p++;
        p++;
    }
    if (*p != '/')
        return NULL;
    char *part = strndup(*at, (size_t)(p - *at));
    *at = p + 1;
    return part;
}

/* What would be read differently here and in Java, or is not Java's at all; NULL: nothing. */
static const char *foreign(const char *p)
{
    bool in_class = false;

    for (; *p; p++) {
        if (*p == '\\') {
            p++;
            if (*p == 'Q') { /* all of it literal, to \E */
                p = strstr(p, "\\E");
                if (!p)
                    return NULL;
                p++;
            } else if (*p && strchr("CGKNOUgou", *p)) {
                return "a backslash before C, G, K, N, O, U, g, o or u";
            } else if (!*p) {
                return "a backslash at its end";
            }
        } else if (in_class) {
            if (*p == '[')
                return "a class within a class";
            if (p[0] == '&' && p[1] == '&')
                return "an intersection of classes (&&)";
            in_class = *p != ']';
        } else if (*p == '[') {
            in_class = true;
            if (p[1] == '^')
                p++;
            if (p[1] == ']')
                p++;
        } else if (p[0] == '(' && p[1] == '*') {
            return "(*";
        } else if (p[0] == '(' && p[1] == '?') {
            p += 2;
            if (*p && strchr(":=!>", *p))
                continue;
            if (*p == '<' && (p[1] == '=' || p[1] == '!' || isalpha((unsigned char)p[1])))
                continue;
            p += strspn(p, "imsx-");
            if (*p != ')' && *p != ':')
                return "a group (?...) of another kind than (?:, (?=, (?!, (?<=, (?<!, (?<name>, (?> and the flags i, m,"
                       " s and x";
        }
    }
    return NULL;
}

enum part { PART_END = 0, PART_BYTE, PART_GROUP, PART_BAD };

/* The next part of a replacement, as Matcher.appendReplacement reads it. A number that no group has is no reference:
 * it stands for itself, as in Kafka. */
static enum part next_part(const struct rule *rule, const char **at, char *ret_byte, uint32_t *ret_group)
{
    const char *p = *at;

    if (!*p)
        return PART_END;
    if (*p == '\\' && p[1]) {
        *ret_byte = p[1];
        *at = p + 2;
        return PART_BYTE;
    }
    if (*p == '$' && p[1] == '{') {
        const char *end = strchr(p, '}');
        char name[33];
        int group;

        if (!end || (size_t)(end - p - 2) >= sizeof(name))
            return PART_BAD;
        snprintf(name, sizeof(name), "%.*s", (int)(end - p - 2), p + 2);
        group = pcre2_substring_number_from_name(rule->code, (PCRE2_SPTR)name);
        if (group <= 0)
            return PART_BAD;
        *ret_group = (uint32_t)group;
        *at = end + 1;
        return PART_GROUP;
    }
    if (*p == '$') {
        uint32_t group = (uint32_t)(p[1] - '0');

        if (!isdigit((unsigned char)p[1]) || (group > rule->groups && rule->groups == 0))
            return PART_BAD;
        if (group <= rule->groups) {
            for (p += 2; isdigit((unsigned char)*p) && group * 10 + (uint32_t)(*p - '0') <= rule->groups; p++)
                group = group * 10 + (uint32_t)(*p - '0');
            *ret_group = group;
            *at = p;
            return PART_GROUP;
        }
    }
    *ret_byte = *p;
    *at = p + 1;
    return PART_BYTE;
}

static int compile(struct rule *rule, const char *pattern, char *why, size_t cap)
{
    const char *bad = foreign(pattern), *at = rule->replacement;
    pcre2_compile_context *context;
    PCRE2_UCHAR text[120];
    PCRE2_SIZE where;
    uint32_t group;
    enum part part;
    char byte;
    int err;

    if (bad)
        return wrong(why, cap, "in the pattern \"%s\": %s has another meaning here than in Kafka: write it differently",
                     pattern, bad);
    if ((context = pcre2_compile_context_create(NULL)) == NULL)
        return wrong(why, cap, "no memory");
    pcre2_set_newline(context, PCRE2_NEWLINE_ANY);
    rule->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &err, &where, context);
    pcre2_compile_context_free(context);
    if (!rule->code) {
        pcre2_get_error_message(err, text, sizeof(text));
        return wrong(why, cap, "in the pattern \"%s\": %s, at its character %zu", pattern, (const char *)text, where + 1);
    }
    pcre2_pattern_info(rule->code, PCRE2_INFO_CAPTURECOUNT, &rule->groups);
    while ((part = next_part(rule, &at, &byte, &group)) != PART_END) {
        if (part == PART_BAD)
            return wrong(why, cap, "in the replacement \"%s\": \"%s\" is no group of the pattern: write \\$ for the"
                                   " character itself", rule->replacement, at);
    }
    return 0;
}

/* One rule, from its first character to behind its last. */
static int read_rule(struct hr_principal_rules *rules, const char **at, char *why, size_t cap)
{
    struct rule *rule = &rules->rules[rules->n];
    char *pattern = NULL;
    int err = 0;

    if (rules->n == RULES_MAX)
        return wrong(why, cap, "more than %d rules", RULES_MAX);
    if (strncmp(*at, "DEFAULT", 7) == 0) {
        *at += 7;
        rules->n++;
        return 0;
    }
    if (strncmp(*at, "RULE:", 5) != 0)
        return wrong(why, cap, "\"%.40s\": a rule is DEFAULT or RULE:pattern/replacement/, then L or U or nothing", *at);
    *at += 5;
    rules->n++;
    pattern = to_slash(at);
    rule->replacement = pattern ? to_slash(at) : NULL;
    if (!rule->replacement)
        err = wrong(why, cap, "a rule lacks its second or third \"/\": RULE:pattern/replacement/");
    else if (**at == 'L' || **at == 'U')
        rule->to_case = *(*at)++;
    if (!err)
        err = compile(rule, pattern, why, cap);
    free(pattern);
    return err;
}

static const char *skip_white(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

int hr_principal_rules_create(const char *text, struct hr_principal_rules **ret_rules, char *why, size_t why_cap)
{
    struct hr_principal_rules *rules = calloc(1, sizeof(*rules));
    const char *at = text;
    int err = 0;

    if (!rules || (rules->limits = pcre2_match_context_create(NULL)) == NULL ||
        (rules->unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0)) == (locale_t)0) {
        hr_principal_rules_destroy(rules);
        return wrong(why, why_cap, "no memory, or no locale C.UTF-8");
    }
    pcre2_set_match_limit(rules->limits, STEPS_MAX);
    pcre2_set_heap_limit(rules->limits, HEAP_KB);
    while (!err && *(at = skip_white(at))) {
        if (*at == ',') { /* an empty rule is none */
            at++;
            continue;
        }
        err = read_rule(rules, &at, why, why_cap);
        at = skip_white(at);
        if (!err && *at && *at != ',')
            err = wrong(why, why_cap, "\"%.40s\": a comma is expected here", at);
    }
    if (!err && rules->n == 0)
        err = wrong(why, why_cap, "there is no rule: write DEFAULT for the subject as it is");
    if (err) {
        hr_principal_rules_destroy(rules);
        return err;
    }
    *ret_rules = rules;
    return 0;
}

void hr_principal_rules_destroy(struct hr_principal_rules *rules)
{
    if (!rules)
        return;
    for (uint32_t i = 0; i < rules->n; i++) {
        pcre2_code_free(rules->rules[i].code);
        free(rules->rules[i].replacement);
    }
    pcre2_match_context_free(rules->limits);
    if (rules->unicode)
        freelocale(rules->unicode);
    free(rules);
}

/* -- applying --------------------------------------------------------------------------------------------------- */

struct out {
    char *at;
    size_t len, cap;
    bool full;
};

static void add(struct out *out, const char *bytes, size_t n)
{
    if (out->full || out->cap - out->len <= n) {
        out->full = true;
        return;
    }
    memcpy(out->at + out->len, bytes, n);
    out->len += n;
}

static void add_replacement(const struct rule *rule, const char *text, pcre2_match_data *match, struct out *out)
{
    const PCRE2_SIZE *places = pcre2_get_ovector_pointer(match);
    const char *at = rule->replacement;
    uint32_t group;
    enum part part;
    char byte;

    while ((part = next_part(rule, &at, &byte, &group)) != PART_END) {
        if (part == PART_BYTE)
            add(out, &byte, 1);
        else if (places[2 * group] != PCRE2_UNSET)
            add(out, text + places[2 * group], places[2 * group + 1] - places[2 * group]);
    }
}

static size_t char_len(const char *at)
{
    size_t n = 1;

    while (((unsigned char)at[n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* String.replaceAll: from each match to the next, one character further where it was empty. */
static int replace_all(const struct hr_principal_rules *rules, const struct rule *rule, const char *text,
                       pcre2_match_data *match, struct out *out)
{
    const PCRE2_SIZE *places = pcre2_get_ovector_pointer(match);
    size_t len = strlen(text), from = 0, copied = 0;

    for (int i = 0; from <= len; i++) {
        int n = i < MATCHES_MAX ? pcre2_match(rule->code, (PCRE2_SPTR)text, len, from, 0, match, rules->limits)
                                : PCRE2_ERROR_MATCHLIMIT;

        if (n == PCRE2_ERROR_NOMATCH)
            break;
        if (n < 0)
            return HR_E_TOO_LARGE;
        add(out, text + copied, places[0] - copied);
        add_replacement(rule, text, match, out);
        copied = places[1];
        from = places[1] + (places[0] == places[1] && copied < len ? char_len(text + copied) : 0);
        if (places[0] == places[1] && copied == len)
            break;
    }
    add(out, text + copied, len - copied);
    return out->full ? HR_E_TOO_LARGE : 0;
}

/* In place; out holds what came before. */
static int change_case(const struct hr_principal_rules *rules, char to_case, struct out *out)
{
    struct out changed = {.at = malloc(out->cap), .cap = out->cap};
    unsigned long c;
    int n;

    if (!changed.at)
        return HR_E_NOMEM;
    for (size_t i = 0; i < out->len; i += (size_t)n) {
        unsigned char utf8[6];
        wint_t other;

        n = UTF8_getc((const unsigned char *)out->at + i, (int)(out->len - i), &c);
        if (n <= 0)
            break;
        other = to_case == 'L' ? towlower_l((wint_t)c, rules->unicode) : towupper_l((wint_t)c, rules->unicode);
        add(&changed, (const char *)utf8, (size_t)UTF8_putc(utf8, sizeof(utf8), other));
    }
    memcpy(out->at, changed.at, changed.len);
    out->len = changed.len;
    free(changed.at);
    return changed.full ? HR_E_TOO_LARGE : 0;
}

/* 0: it applies, out is filled; NOT_FOUND: it does not. */
static int apply(const struct hr_principal_rules *rules, const struct rule *rule, const char *text, struct out *out)
{
    pcre2_match_data *match;
    int n, err;

    if (!rule->code) {
        add(out, text, strlen(text));
        return out->full ? HR_E_TOO_LARGE : 0;
    }
    if ((match = pcre2_match_data_create_from_pattern(rule->code, NULL)) == NULL)
        return HR_E_NOMEM;
    n = pcre2_match(rule->code, (PCRE2_SPTR)text, strlen(text), 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED, match,
                    rules->limits);
    if (n < 0)
        err = n == PCRE2_ERROR_NOMATCH ? HR_E_NOT_FOUND : HR_E_TOO_LARGE;
    else
        err = replace_all(rules, rule, text, match, out);
    pcre2_match_data_free(match);
    return err == 0 && rule->to_case ? change_case(rules, rule->to_case, out) : err;
}

int hr_principal_rules_apply(const struct hr_principal_rules *rules, const char *text, char *name, size_t cap)
{
    struct out out = {.at = malloc(cap), .cap = cap};
    int err = out.at ? HR_E_NOT_FOUND : HR_E_NOMEM;

    for (uint32_t i = 0; i < rules->n && err == HR_E_NOT_FOUND; i++)
        err = apply(rules, &rules->rules[i], text, &out);
    if (err == 0 && out.len == 0)
        err = HR_E_NOT_FOUND;
    if (err == 0) {
        memcpy(name, out.at, out.len);
        name[out.len] = '\0';
    }
    free(out.at);
    return err;
}

#include "controlplane/auth/users.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/users_impl.h"
#include "shared/base/log.h"
#include "shared/base/siphash.h"

static int compare(const void *a, const void *b)
{
    const struct hr_user *x = a, *y = b;
    int by_name = strcmp(x->name, y->name);

    return by_name ? by_name : (int)x->verifier.hash - (int)y->verifier.hash;
}

static struct hr_user *find(const struct hr_users *users, const char *name, enum hr_digest hash)
{
    struct hr_user key = {.verifier.hash = hash};

    if (strlen(name) >= sizeof(key.name) || users->n == 0)
        return NULL;
    memcpy(key.name, name, strlen(name) + 1);
    return bsearch(&key, users->table, users->n, sizeof(users->table[0]), compare);
}

int hr_users_create(struct hr_users **ret_users)
{
    struct hr_users *users = calloc(1, sizeof(*users));
    int err;

    if (!users)
        return HR_E_NOMEM;
    if ((err = hr_random(users->secret, sizeof(users->secret)))) {
        free(users);
        return err;
    }
    *ret_users = users;
    return 0;
}

void hr_users_free(struct hr_users *users)
{
    if (!users)
        return;
    for (int hash = 0; hash < HR_DIGEST_KINDS; hash++)
        free(users->ring[hash]);
    if (users->table)
        hr_wipe(users->table, users->cap * sizeof(users->table[0]));
    free(users->table);
    hr_wipe(users, sizeof(*users));
    free(users);
}

static uint64_t point_of(const struct hr_users *users, const char *name)
{
    return hr_siphash(users->secret, name, strlen(name));
}

static int compare_points(const void *a, const void *b)
{
    const struct hr_users_point *x = a, *y = b;

    return x->at != y->at ? (x->at < y->at ? -1 : 1) : (x->line > y->line) - (x->line < y->line);
}

/* After a change of the table. */
static int index_table(struct hr_users *users)
{
    if (users->n > 1)
        qsort(users->table, users->n, sizeof(users->table[0]), compare);
    for (int hash = 0; hash < HR_DIGEST_KINDS; hash++) {
        free(users->ring[hash]);
        users->ring[hash] = NULL;
        users->n_ring[hash] = 0;
    }
    for (uint32_t i = 0; i < users->n; i++) {
        enum hr_digest hash = users->table[i].verifier.hash;

        if (!users->ring[hash] && !(users->ring[hash] = calloc(users->n, sizeof(*users->ring[hash]))))
            return HR_E_NOMEM;
        users->ring[hash][users->n_ring[hash]++] = (struct hr_users_point){point_of(users, users->table[i].name), i};
    }
    for (int hash = 0; hash < HR_DIGEST_KINDS; hash++) {
        if (users->n_ring[hash] > 1)
            qsort(users->ring[hash], users->n_ring[hash], sizeof(*users->ring[hash]), compare_points);
    }
    return 0;
}

/* What an unknown name shows besides its salt: iterations and the salt's length, of a user, always the same one. */
static struct hr_scram_verifier look_like(const struct hr_users *users, const char *name, enum hr_digest hash)
{
    struct hr_scram_verifier looks = {
        .hash = hash, .iterations = HR_SCRAM_ITERATIONS_MIN, .salt_len = HR_SCRAM_SALT_LEN};
    uint32_t low = 0, high = users->n_ring[hash];
    uint64_t at = point_of(users, name);

    if (high == 0)
        return looks;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (users->ring[hash][middle].at < at)
            low = middle + 1;
        else
            high = middle;
    }
    const struct hr_scram_verifier *model =
        &users->table[users->ring[hash][low % users->n_ring[hash]].line].verifier;
    looks.iterations = model->iterations;
    looks.salt_len = model->salt_len;
    return looks;
}

bool hr_users_lookup(void *arg, const char *name, enum hr_digest hash, struct hr_scram_verifier *ret_verifier)
{
    const struct hr_users *users = arg;
    const struct hr_user *user = find(users, name, hash);

    if (user) {
        *ret_verifier = user->verifier;
        return true;
    }
    struct hr_scram_verifier looks = look_like(users, name, hash);
    /* Without memory it is a login that fails. */
    if (hr_scram_decoy(&looks, users->secret, name, ret_verifier) != 0)
        *ret_verifier = looks;
    return false;
}

uint32_t hr_users_count(const struct hr_users *users)
{
    return users->n;
}

const char *hr_users_at(const struct hr_users *users, uint32_t i, enum hr_digest *ret_hash, uint32_t *ret_iterations)
{
    *ret_hash = users->table[i].verifier.hash;
    *ret_iterations = users->table[i].verifier.iterations;
    return users->table[i].name;
}

bool hr_users_name_ok(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n >= HR_SCRAM_USER_MAX || name[0] == '#' || name[0] == '!')
        return false;
    for (; *name; name++) {
        if ((unsigned char)*name <= ' ' || *name == 0x7f)
            return false;
    }
    return true;
}

/* Unsorted, at the end. */
static int append(struct hr_users *users, const struct hr_user *user)
{
    if (users->n == HR_USERS_MAX)
        return HR_E_FULL;
    if (users->n == users->cap) {
        uint32_t cap = users->cap ? users->cap * 2 : 16;
        struct hr_user *table = calloc(cap, sizeof(*table));

        if (!table)
            return HR_E_NOMEM;
        if (users->table) { /* no realloc(): it would leave an old copy behind */
            memcpy(table, users->table, users->n * sizeof(*table));
            hr_wipe(users->table, users->cap * sizeof(*table));
            free(users->table);
        }
        users->table = table;
        users->cap = cap;
    }
    users->table[users->n++] = *user;
    return 0;
}

int hr_users_remove(struct hr_users *users, const char *name)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < users->n; i++) {
        if (strcmp(users->table[i].name, name) != 0)
            users->table[kept++] = users->table[i];
    }
    if (kept == users->n)
        return HR_E_NOT_FOUND;
    hr_wipe(users->table + kept, (users->n - kept) * sizeof(users->table[0]));
    users->n = kept;
    return index_table(users);
}

int hr_users_set(struct hr_users *users, const char *name, const char *password, size_t password_len,
                 uint32_t iterations)
{
    static const enum hr_digest hashes[] = {HR_SHA256, HR_SHA512};
    struct hr_user made[2] = {0};
    uint8_t salt[HR_SCRAM_SALT_LEN];
    int err = 0;

    if (!hr_users_name_ok(name))
        return HR_E_INVALID;
    for (int i = 0; i < 2 && !err; i++) {
        memcpy(made[i].name, name, strlen(name) + 1);
        if ((err = hr_random(salt, sizeof(salt))) == 0)
            err = hr_scram_derive(hashes[i], password, password_len, salt, sizeof(salt), iterations, &made[i].verifier);
    }
    if (!err && users->n + 2 > HR_USERS_MAX)
        err = HR_E_FULL;
    if (!err) {
        (void)!hr_users_remove(users, name);
        for (int i = 0; i < 2 && !err; i++)
            err = append(users, &made[i]);
        if (!err)
            err = index_table(users);
    }
    hr_wipe(made, sizeof(made));
    return err;
}

/* -- text ----------------------------------------------------------------------------------------------- */

struct line {
    const char *at;
    size_t left;
};

/* Up to the delimiter, which must be there and is skipped; at the end of the line '\0' stands for it. */
static bool take(struct line *line, char delimiter, const char **ret_at, size_t *ret_len)
{
    const char *end = delimiter ? memchr(line->at, delimiter, line->left) : line->at + line->left;

    if (!end)
        return false;
    *ret_at = line->at;
    *ret_len = (size_t)(end - line->at);
    line->left -= *ret_len + (delimiter ? 1 : 0);
    line->at = end + (delimiter ? 1 : 0);
    return true;
}

static bool take_base64(struct line *line, char delimiter, uint8_t *ret_data, size_t cap, size_t *ret_len)
{
    const char *at;
    size_t len;

    return take(line, delimiter, &at, &len) && hr_base64_decode(at, len, ret_data, cap, ret_len) == 0;
}

/* What is wrong with the line, or NULL. */
static const char *parse_user(struct line line, struct hr_user *ret_user)
{
    struct hr_scram_verifier *v = &ret_user->verifier;
    size_t len, n_salt, n_stored, n_server;
    const char *at;

    if (!take(&line, ' ', &at, &len))
        return "a line is NAME SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY (or SCRAM-SHA-512)";
    if (len >= sizeof(ret_user->name))
        return "the name is longer than 255 bytes";
    memcpy(ret_user->name, at, len);
    if (!hr_users_name_ok(ret_user->name))
        return "the name is empty or holds control characters";
    if (!take(&line, '$', &at, &len))
        return "there is no mechanism: SCRAM-SHA-256$... or SCRAM-SHA-512$...";
    for (v->hash = HR_SHA256; v->hash < HR_DIGEST_KINDS; v->hash++) {
        if (len == strlen(hr_scram_name(v->hash)) && memcmp(at, hr_scram_name(v->hash), len) == 0)
            break;
    }
    if (v->hash == HR_DIGEST_KINDS)
        return "the mechanism must be SCRAM-SHA-256 or SCRAM-SHA-512";
    if (!take(&line, ':', &at, &len) || len == 0 || len > 5)
        return "the iterations must be 4096..16384";
    for (size_t i = 0; i < len; i++) {
        if (at[i] < '0' || at[i] > '9')
            return "the iterations must be 4096..16384";
        v->iterations = v->iterations * 10 + (uint32_t)(at[i] - '0');
    }
    if (v->iterations < HR_SCRAM_ITERATIONS_MIN || v->iterations > HR_SCRAM_ITERATIONS_MAX)
        return "the iterations must be 4096..16384";
    if (!take_base64(&line, '$', v->salt, sizeof(v->salt), &n_salt) || n_salt == 0)
        return "the salt must be base64 of 1 to 64 bytes";
    v->salt_len = (uint32_t)n_salt;
    if (!take_base64(&line, ':', v->stored_key, sizeof(v->stored_key), &n_stored) ||
        !take_base64(&line, '\0', v->server_key, sizeof(v->server_key), &n_server) ||
        n_stored != hr_digest_len(v->hash) || n_server != hr_digest_len(v->hash))
        return "StoredKey and ServerKey must be base64 of as many bytes as the mechanism's hash has";
    return NULL;
}

static const char *parse_line(struct hr_users *users, struct line line, bool *have_secret)
{
    struct hr_user user = {0};
    const char *wrong;
    size_t n;
    int err;

    if (line.at[0] == '!') {
        if (*have_secret)
            return "a second line with a secret";
        if (line.left < 2 || line.at[1] != ' ')
            return "the secret's line is: ! BASE64";
        line.at += 2;
        line.left -= 2;
        if (!take_base64(&line, '\0', users->secret, sizeof(users->secret), &n) || n != sizeof(users->secret))
            return "the secret must be base64 of 32 bytes";
        *have_secret = true;
        return NULL;
    }
    wrong = parse_user(line, &user);
    if (!wrong && (err = append(users, &user)) != 0)
        wrong = err == HR_E_FULL ? "too many lines" : "out of memory";
    hr_wipe(&user, sizeof(user));
    return wrong;
}

static int HR_PRINTF(2, 3) wrong_file(char why[HR_USERS_WHY_MAX], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, HR_USERS_WHY_MAX, fmt, args);
    va_end(args);
    return HR_E_CONFIG;
}

int hr_users_parse(const char *file, const char *text, size_t len, struct hr_users **ret_users,
                   char why[HR_USERS_WHY_MAX])
{
    struct hr_users *users = calloc(1, sizeof(*users));
    const char *end = text + len, *at = text;
    bool have_secret = false;
    int err = 0;

    if (!users)
        return wrong_file(why, "%s: out of memory", file);
    for (uint32_t number = 1; at < end && !err; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *wrong = NULL;
        struct line line = {at, (size_t)((newline ? newline : end) - at)};

        if (memchr(line.at, '\0', line.left))
            wrong = "holds a NUL byte";
        else if (line.left > 0 && line.at[0] != '#')
            wrong = parse_line(users, line, &have_secret);
        if (wrong)
            err = wrong_file(why, "%s:%u: %s", file, number, wrong);
        at = newline ? newline + 1 : end;
    }
    if (!err && !have_secret)
        err = wrong_file(why, "%s: the line with the secret (! BASE64) is missing: create the file with "
                              "\"headracectl users add\"", file);
    if (!err && index_table(users) != 0)
        err = wrong_file(why, "%s: out of memory", file);
    for (uint32_t i = 1; i < users->n && !err; i++) {
        char name[HR_SCRAM_USER_MAX];

        if (compare(&users->table[i - 1], &users->table[i]) == 0) {
            hr_log_escape(name, sizeof(name), users->table[i].name, (uint32_t)strlen(users->table[i].name));
            err = wrong_file(why, "%s: user %s has two lines for %s", file, name,
                             hr_scram_name(users->table[i].verifier.hash));
        }
    }
    if (err)
        hr_users_free(users);
    else
        *ret_users = users;
    return err;
}

int hr_users_format(const struct hr_user *user, char *ret_line, size_t cap)
{
    const struct hr_scram_verifier *v = &user->verifier;
    char salt[HR_SCRAM_SALT_MAX * 2], stored[HR_DIGEST_MAX * 2], server[HR_DIGEST_MAX * 2];
    int err, n;

    if ((err = hr_base64_encode(v->salt, v->salt_len, salt, sizeof(salt))) ||
        (err = hr_base64_encode(v->stored_key, hr_digest_len(v->hash), stored, sizeof(stored))) ||
        (err = hr_base64_encode(v->server_key, hr_digest_len(v->hash), server, sizeof(server))))
        return err;
    n = snprintf(ret_line, cap, "%s %s$%u:%s$%s:%s\n", user->name, hr_scram_name(v->hash), v->iterations, salt, stored,
                 server);
    hr_wipe(stored, sizeof(stored));
    hr_wipe(server, sizeof(server));
    return (size_t)n < cap ? 0 : HR_E_TOO_LARGE;
}

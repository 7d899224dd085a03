#include "controlplane/tls/store.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "controlplane/loop/loop.h"
#include "controlplane/tls/handshake.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define DAY_S 86400

/* How files looked when they were read: a replaced file differs in one of these at least. */
struct seen {
    uint64_t hash;
};

struct entry {
    bool used;
    bool stays;                         /* while configuring: still asked for */
    struct hr_config_listener config;   /* of a listener */
    struct hr_config_cluster_tls cluster; /* of the cluster */
    struct hr_tls_server *server;
    struct hr_tls_client *client;
    struct seen seen;                   /* files at the last attempt, whatever came of it */
    char trouble[640];                  /* of the last attempt; "" = none */
    int64_t warned_s;                   /* when its dates were last warned of */
};

struct hr_tls_store {
    struct hr_loop *loop;
    struct hr_timer look;
    uint64_t rotate_us; /* when ticket keys rotate next */
    char path[HR_CONFIG_PATH_MAX]; /* of the configuration, for messages */
    struct entry listeners[HR_POLICY_MAX_LISTENERS];
    struct entry cluster;
    struct hr_tls_counters counters[HR_TLS_LEGS];
};

/* -- files ------------------------------------------------------------------------------------------------------ */

static void mix(struct seen *seen, const struct hr_config_file *file)
{
    struct stat st;
    uint64_t parts[5] = {0};

    if (file->path[0] && stat(file->path, &st) == 0) {
        parts[0] = (uint64_t)st.st_ino;
        parts[1] = (uint64_t)st.st_size;
        parts[2] = (uint64_t)st.st_mtim.tv_sec;
        parts[3] = (uint64_t)st.st_mtim.tv_nsec;
        parts[4] = (uint64_t)st.st_dev;
    }
    for (int i = 0; i < 5; i++)
        seen->hash = (seen->hash ^ parts[i]) * 0x100000001b3u + 1;
}

static struct seen look_at(const struct entry *e, bool cluster)
{
    struct seen seen = {0};

    if (cluster) {
        mix(&seen, &e->cluster.ca);
        mix(&seen, &e->cluster.cert.chain);
        mix(&seen, &e->cluster.cert.key);
        return seen;
    }
    for (uint32_t i = 0; i < e->config.tls.n_certs; i++) {
        mix(&seen, &e->config.tls.certs[i].chain);
        mix(&seen, &e->config.tls.certs[i].key);
    }
    mix(&seen, &e->config.tls.client_ca);
    mix(&seen, &e->config.tls.client_crl);
    return seen;
}

static const char *owner(const struct hr_tls_store *store, const struct entry *e)
{
    return e == &store->cluster ? "cluster" : e->config.policy.name;
}

/* Loads the entry's files; on failure it stays as it is. */
static void load(struct hr_tls_store *store, struct entry *e)
{
    bool had = e->server || e->client;
    struct hr_tls_server *server = NULL;
    struct hr_tls_client *client = NULL;
    struct hr_tls_why why;
    int err;

    e->seen = look_at(e, e == &store->cluster);
    if (e == &store->cluster)
        err = hr_tls_client_create(&e->cluster, &client, &why);
    else
        err = hr_tls_server_create(&e->config, e->server, &server, &why);
    if (err) {
        snprintf(e->trouble, sizeof(e->trouble), "%s%s%s", why.file ? why.file->path : "", why.file ? ": " : "",
                 why.text);
        hr_log_error("TLS of %s: %s; %s", owner(store, e), e->trouble,
                     had ? "what was loaded before stays in use" : "no handshake is possible until that is put right");
        return;
    }
    if (had || e->trouble[0])
        hr_log_info("TLS of %s: files loaded again", owner(store, e));
    e->trouble[0] = '\0';
    e->warned_s = 0;
    hr_tls_server_unref(e->server);
    hr_tls_client_unref(e->client);
    e->server = server;
    e->client = client;
}

static void drop(struct entry *e)
{
    hr_tls_server_unref(e->server);
    hr_tls_client_unref(e->client);
    memset(e, 0, sizeof(*e));
}

/* -- dates ------------------------------------------------------------------------------------------------------ */

static void warn_of(const struct hr_tls_store *store, struct entry *e, const struct hr_tls_cert *cert, int64_t now_s,
                    bool *warned)
{
    int64_t left = hr_tls_time(X509_get0_notAfter(cert->leaf)) - now_s;
    const char *file = cert->files->chain.path;

    if (left > HR_TLS_WARN_DAYS * DAY_S)
        return;
    *warned = true;
    if (left <= 0)
        hr_log_error("TLS of %s: the certificate in %s has expired: peers refuse it, renew it", owner(store, e), file);
    else if (left <= HR_TLS_URGENT_DAYS * DAY_S)
        hr_log_error("TLS of %s: the certificate in %s expires in %lld days: renew it now", owner(store, e), file,
                     (long long)(left / DAY_S));
    else
        hr_log_warn("TLS of %s: the certificate in %s expires in %lld days: renew it", owner(store, e), file,
                    (long long)(left / DAY_S));
}

/* Once a day for each that is near its end. */
static void check_dates(const struct hr_tls_store *store, struct entry *e)
{
    int64_t now_s = time(NULL);
    bool warned = false;
    uint32_t n = 0;
    const struct hr_tls_cert *certs = e->server ? hr_tls_server_certs(e->server, &n) : NULL;

    if (now_s - e->warned_s < DAY_S)
        return;
    for (uint32_t i = 0; i < n; i++)
        warn_of(store, e, &certs[i], now_s, &warned);
    if (e->client && hr_tls_client_cert(e->client))
        warn_of(store, e, hr_tls_client_cert(e->client), now_s, &warned);
    e->warned_s = now_s;
}

/* -- life ------------------------------------------------------------------------------------------------------- */

static void look_entry(struct hr_tls_store *store, struct entry *e)
{
    if (!e->used)
        return;
    if (look_at(e, e == &store->cluster).hash != e->seen.hash)
        load(store, e);
    check_dates(store, e);
}

void hr_tls_store_look(struct hr_tls_store *store)
{
    bool rotate = hr_loop_now(store->loop) >= store->rotate_us;

    if (rotate)
        store->rotate_us = hr_loop_now(store->loop) + HR_TLS_ROTATE_S * HR_US_PER_S;
    for (uint32_t i = 0; i < HR_POLICY_MAX_LISTENERS; i++) {
        struct entry *e = &store->listeners[i];

        look_entry(store, e);
        if (rotate && e->server && hr_tls_server_rotate(e->server) != 0)
            hr_log_error("TLS of %s: no new ticket key: the one before stays in use", owner(store, e));
    }
    look_entry(store, &store->cluster);
}

static void on_look(struct hr_timer *timer)
{
    struct hr_tls_store *store = timer->arg;

    hr_tls_store_look(store);
    hr_timer_in(store->loop, timer, HR_TLS_LOOK_S * HR_US_PER_S);
}

int hr_tls_store_create(struct hr_loop *loop, struct hr_tls_store **ret_store)
{
    struct hr_tls_store *store = calloc(1, sizeof(*store));

    if (!store)
        return HR_E_NOMEM;
    store->loop = loop;
    store->look = (struct hr_timer){.fn = on_look, .arg = store};
    store->rotate_us = hr_loop_now(loop) + HR_TLS_ROTATE_S * HR_US_PER_S;
    hr_timer_in(loop, &store->look, HR_TLS_LOOK_S * HR_US_PER_S);
    *ret_store = store;
    return 0;
}

void hr_tls_store_destroy(struct hr_tls_store *store)
{
    if (!store)
        return;
    hr_timer_cancel(store->loop, &store->look);
    for (uint32_t i = 0; i < HR_POLICY_MAX_LISTENERS; i++)
        drop(&store->listeners[i]);
    drop(&store->cluster);
    free(store);
}

static struct entry *find(const struct hr_tls_store *store, const char *listener)
{
    for (uint32_t i = 0; i < HR_POLICY_MAX_LISTENERS; i++) {
        const struct entry *e = &store->listeners[i];

        if (e->used && strcmp(e->config.policy.name, listener) == 0)
            return (struct entry *)e;
    }
    return NULL;
}

static struct entry *find_free(struct hr_tls_store *store)
{
    for (uint32_t i = 0; i < HR_POLICY_MAX_LISTENERS; i++) {
        if (!store->listeners[i].used)
            return &store->listeners[i];
    }
    return NULL;
}

/* What a context is made of; limits and ports are not. */
static bool same_context(const struct hr_config_listener *a, const struct hr_config_listener *b)
{
    return memcmp(&a->tls, &b->tls, sizeof(a->tls)) == 0 && a->policy.by_name == b->policy.by_name &&
           a->policy.node_id_min == b->policy.node_id_min && a->policy.node_id_max == b->policy.node_id_max &&
           strcmp(a->policy.adv_host, b->policy.adv_host) == 0 && strcmp(a->bootstrap_host, b->bootstrap_host) == 0;
}

void hr_tls_store_configure(struct hr_tls_store *store, const struct hr_config *config)
{
    for (uint32_t i = 0; i < HR_POLICY_MAX_LISTENERS; i++)
        store->listeners[i].stays = false;
    for (uint32_t i = 0; i < config->n_listeners; i++) {
        const struct hr_config_listener *l = &config->listeners[i];
        struct entry *e = l->policy.tls ? find(store, l->policy.name) : NULL;

        if (e)
            e->stays = true;
    }
    for (uint32_t i = 0; i < HR_POLICY_MAX_LISTENERS; i++) {
        if (store->listeners[i].used && !store->listeners[i].stays)
            drop(&store->listeners[i]);
    }
    for (uint32_t i = 0; i < config->n_listeners; i++) {
        const struct hr_config_listener *l = &config->listeners[i];
        struct entry *e = l->policy.tls ? find(store, l->policy.name) : NULL;

        if (!l->policy.tls || (!e && (e = find_free(store)) == NULL))
            continue;
        bool same = e->used && same_context(&e->config, l);

        e->used = true;
        e->config = *l;
        if (!same)
            load(store, e);
    }
    if (!config->cluster.tls.on) {
        drop(&store->cluster);
    } else if (!store->cluster.used || memcmp(&store->cluster.cluster, &config->cluster.tls, sizeof(config->cluster.tls)) != 0) {
        store->cluster.used = true;
        store->cluster.cluster = config->cluster.tls;
        load(store, &store->cluster);
    }
    hr_tls_store_look(store);
}

struct hr_tls_server *hr_tls_store_server(const struct hr_tls_store *store, const char *listener)
{
    const struct entry *e = find(store, listener);

    return e ? e->server : NULL;
}

struct hr_tls_client *hr_tls_store_client(const struct hr_tls_store *store)
{
    return store->cluster.client;
}

const char *hr_tls_store_trouble(const struct hr_tls_store *store, const char *name)
{
    const struct entry *e = strcmp(name, "cluster") == 0 && !find(store, name) ? &store->cluster : find(store, name);

    return e ? e->trouble : "";
}

/* -- counting ----------------------------------------------------------------------------------------------------- */

void hr_tls_store_count_reason(struct hr_tls_store *store, enum hr_tls_leg leg, enum hr_tls_reason reason)
{
    store->counters[leg].failed[reason]++;
}

void hr_tls_store_count(struct hr_tls_store *store, enum hr_tls_leg leg, const struct hr_tls *tls)
{
    if (hr_tls_get_state(tls) != HR_TLS_OPEN) {
        hr_tls_store_count_reason(store, leg, hr_tls_get_reason(tls));
        return;
    }
    store->counters[leg].done++;
    store->counters[leg].resumed += hr_tls_resumed(tls);
}

const struct hr_tls_counters *hr_tls_store_counters(const struct hr_tls_store *store, enum hr_tls_leg leg)
{
    return &store->counters[leg];
}

/* -- listing ------------------------------------------------------------------------------------------------------ */

static void from_bio(BIO *bio, char *text, size_t cap)
{
    char *data;
    long n = BIO_get_mem_data(bio, &data);

    snprintf(text, cap, "%.*s", (int)n, data);
    BIO_free(bio);
}

static void describe(X509 *cert, struct hr_tls_cert_info *info)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    BIO *subject = BIO_new(BIO_s_mem()), *all = BIO_new(BIO_s_mem());

    if (subject) {
        X509_NAME_print_ex(subject, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253);
        from_bio(subject, info->subject, sizeof(info->subject));
    }
    for (int i = 0; all && i < sk_GENERAL_NAME_num(names); i++) {
        if (i > 0)
            BIO_puts(all, ", ");
        GENERAL_NAME_print(all, sk_GENERAL_NAME_value(names, i));
    }
    if (all)
        from_bio(all, info->names, sizeof(info->names));
    GENERAL_NAMES_free(names);
    info->not_before_s = hr_tls_time(X509_get0_notBefore(cert));
    info->not_after_s = hr_tls_time(X509_get0_notAfter(cert));
}

static void list_cert(const struct hr_tls_cert *cert, const char *name, const char *use,
                      void (*emit)(void *arg, const struct hr_tls_cert_info *info), void *arg)
{
    struct hr_tls_cert_info info = {.owner = name, .use = use, .file = cert->files->chain.path};

    describe(cert->leaf, &info);
    snprintf(info.key, sizeof(info.key), "%s %d", EVP_PKEY_get0_type_name(cert->key), EVP_PKEY_get_bits(cert->key));
    emit(arg, &info);
}

static void list_ca(const struct hr_config_file *file, const char *name, const char *use,
                    void (*emit)(void *arg, const struct hr_tls_cert_info *info), void *arg)
{
    STACK_OF(X509) *certs;
    struct hr_tls_why why;

    if (!file->path[0] || hr_tls_ca_load(file, &certs, &why) != 0)
        return;
    for (int i = 0; i < sk_X509_num(certs); i++) {
        struct hr_tls_cert_info info = {.owner = name, .use = use, .file = file->path};

        describe(sk_X509_value(certs, i), &info);
        emit(arg, &info);
    }
    sk_X509_pop_free(certs, X509_free);
}

void hr_tls_store_list(const struct hr_tls_store *store, void (*emit)(void *arg, const struct hr_tls_cert_info *info),
                       void *arg)
{
    for (uint32_t i = 0; i < HR_POLICY_MAX_LISTENERS; i++) {
        const struct entry *e = &store->listeners[i];
        uint32_t n = 0;
        const struct hr_tls_cert *certs = e->server ? hr_tls_server_certs(e->server, &n) : NULL;

        for (uint32_t k = 0; k < n; k++)
            list_cert(&certs[k], e->config.policy.name, "server", emit, arg);
        if (e->server)
            list_ca(&e->config.tls.client_ca, e->config.policy.name, "client_ca", emit, arg);
    }
    if (store->cluster.client && hr_tls_client_cert(store->cluster.client))
        list_cert(hr_tls_client_cert(store->cluster.client), "cluster", "client", emit, arg);
    if (store->cluster.client)
        list_ca(&store->cluster.cluster.ca, "cluster", "ca", emit, arg);
}

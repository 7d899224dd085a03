#include "controlplane/tls/check.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "controlplane/tls/context.h"
#include "controlplane/tls/files.h"

void hr_tls_error(const struct hr_config *config, const struct hr_tls_why *why, struct hr_config_errors *errors)
{
    if (errors->n >= HR_CONFIG_MAX_ERRORS)
        return;
    char *text = errors->text[errors->n++];
    size_t cap = sizeof(errors->text[0]);

    if (why->file)
        snprintf(text, cap, "%.100s:%u: %.160s: %.220s", config->path, why->file->line, why->file->path, why->text);
    else
        snprintf(text, cap, "%.100s: %.320s", config->path, why->text);
}

static bool named(const struct hr_tls_cert *certs, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (hr_tls_cert_matches(&certs[i], name))
            return true;
    }
    return false;
}

/* Clients verify the names that they are told. The lowest and the highest node stand for the others. */
static void check_names(const struct hr_config *config, const struct hr_config_listener *l,
                        const struct hr_tls_server *server, struct hr_config_errors *errors)
{
    uint32_t n;
    const struct hr_tls_cert *certs = hr_tls_server_certs(server, &n);
    char names[3][HR_POLICY_HOST_MAX] = {"", "", ""};
    struct hr_tls_why why;
    struct hr_addr addr;
    uint16_t port;

    if (l->policy.by_name)
        snprintf(names[0], sizeof(names[0]), "%s", l->bootstrap_host);
    if (hr_addr_parse(l->policy.adv_host, &addr) ||
        hr_policy_advertised(&l->policy, l->policy.node_id_min, names[1], sizeof(names[1]), &port) != 0 ||
        hr_policy_advertised(&l->policy, l->policy.node_id_max, names[2], sizeof(names[2]), &port) != 0)
        return;
    for (int i = 0; i < 3; i++) {
        if (names[i][0] == '\0' || named(certs, n, names[i]) || (i == 2 && strcmp(names[1], names[2]) == 0))
            continue;
        hr_tls_why_set(&why, &l->tls.certs[0].chain,
                       "neither this nor another certificate of listener \"%s\" is for \"%s\", which clients are told:"
                       " it must stand in subjectAltName", l->policy.name, names[i]);
        hr_tls_error(config, &why, errors);
        return;
    }
}

static void date_error(const struct hr_config *config, const struct hr_config_file *file, const char *what, int64_t end_s,
                       struct hr_config_errors *errors)
{
    struct hr_tls_why why;
    time_t end = end_s;
    char date[32];

    strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime(&end));
    hr_tls_why_set(&why, file, "%s on %s: renew it", what, date);
    hr_tls_error(config, &why, errors);
}

/* Of a bundle one CA must be good still; of revocation lists each, since one that is out of date refuses everybody. */
static void check_trust_dates(const struct hr_config *config, const struct hr_config_file *ca,
                              const struct hr_config_file *crl, int64_t now_s, struct hr_config_errors *errors)
{
    STACK_OF(X509_CRL) *crls = NULL;
    STACK_OF(X509) *cas = NULL;
    int64_t latest_s = 0, end_s;
    struct hr_tls_why why;

    if (hr_tls_ca_load(ca, &cas, &why) != 0)
        return; /* said already */
    for (int i = 0; i < sk_X509_num(cas); i++) {
        end_s = hr_tls_time(X509_get0_notAfter(sk_X509_value(cas, i)));
        latest_s = end_s > latest_s ? end_s : latest_s;
    }
    if (latest_s < now_s)
        date_error(config, ca, "every CA in it has expired, the last one", latest_s, errors);
    sk_X509_pop_free(cas, X509_free);
    if (!crl || !crl->path[0] || hr_tls_crl_load(crl, &crls, &why) != 0)
        return;
    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        const ASN1_TIME *next = X509_CRL_get0_nextUpdate(sk_X509_CRL_value(crls, i));

        if (next && (end_s = hr_tls_time(next)) < now_s)
            date_error(config, crl, "a list in it was to be replaced", end_s, errors);
    }
    sk_X509_CRL_pop_free(crls, X509_CRL_free);
}

static uint32_t check_listener(const struct hr_config *config, const struct hr_config_listener *l, int64_t now_s,
                               struct hr_config_errors *errors)
{
    uint32_t before = errors->n, wrong = 0;
    struct hr_tls_server *server;
    struct hr_tls_cert cert;
    struct hr_tls_why why;

    for (uint32_t i = 0; i < l->tls.n_certs; i++) {
        if (hr_tls_cert_load(&l->tls.certs[i], &cert, &why) != 0) {
            hr_tls_error(config, &why, errors);
            wrong++;
            continue;
        }
        if (now_s && hr_tls_cert_check_dates(&cert, now_s, &why) != 0)
            hr_tls_error(config, &why, errors);
        hr_tls_cert_free(&cert);
    }
    if (wrong == 0 && hr_tls_server_create(l, NULL, &server, &why) != 0) {
        hr_tls_error(config, &why, errors);
    } else if (wrong == 0) {
        if (now_s)
            check_names(config, l, server, errors);
        if (now_s && l->tls.client_auth != HR_CONFIG_CLIENT_AUTH_NONE)
            check_trust_dates(config, &l->tls.client_ca, &l->tls.client_crl, now_s, errors);
        hr_tls_server_unref(server);
    }
    return errors->n - before;
}

uint32_t hr_tls_check(const struct hr_config *config, int64_t now_s, struct hr_config_errors *errors)
{
    uint32_t before = errors->n;
    struct hr_tls_client *client;
    struct hr_tls_why why;

    for (uint32_t i = 0; i < config->n_listeners; i++) {
        if (config->listeners[i].policy.tls)
            check_listener(config, &config->listeners[i], now_s, errors);
    }
    if (!config->cluster.tls.on)
        return errors->n - before;
    if (hr_tls_client_create(&config->cluster.tls, &client, &why) != 0) {
        hr_tls_error(config, &why, errors);
        return errors->n - before;
    }
    if (now_s && hr_tls_client_cert(client) && hr_tls_cert_check_dates(hr_tls_client_cert(client), now_s, &why) != 0)
        hr_tls_error(config, &why, errors);
    if (now_s && config->cluster.tls.ca.path[0])
        check_trust_dates(config, &config->cluster.tls.ca, NULL, now_s, errors);
    hr_tls_client_unref(client);
    return errors->n - before;
}

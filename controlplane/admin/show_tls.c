/* Commands that show TLS: what certificates there are and until when, and what became of handshakes. */
#include <time.h>

#include "controlplane/admin/commands.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/tls/store.h"

static json_t *date(int64_t s)
{
    time_t t = (time_t)s;
    char text[32];

    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
    return json_string(text);
}

static json_t *text(const char *s)
{
    json_t *value = json_string(s);

    return value ? value : json_string("(not UTF-8)");
}

static void add_certificate(void *arg, const struct hr_tls_cert_info *info)
{
    int64_t left_s = info->not_after_s - time(NULL);
    const char *state = left_s <= 0                              ? "expired"
                        : info->not_before_s > time(NULL)        ? "not yet valid"
                        : left_s <= HR_TLS_URGENT_DAYS * 86400LL ? "renew now"
                        : left_s <= HR_TLS_WARN_DAYS * 86400LL   ? "renew"
                                                                 : "good";

    json_array_append_new(arg, json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:I, s:s}", "owner", info->owner,
                                         "use", info->use, "file", info->file, "subject", text(info->subject),
                                         "names", text(info->names), "key", info->key, "not_before",
                                         date(info->not_before_s), "not_after", date(info->not_after_s), "days_left",
                                         (json_int_t)(left_s / 86400), "state", state));
}

static void add_trouble(const struct hr_daemon *d, const char *owner, json_t *array)
{
    const char *trouble = hr_tls_store_trouble(d->tls, owner);

    if (*trouble)
        json_array_append_new(array, json_pack("{s:s, s:o}", "owner", owner, "text", text(trouble)));
}

void hr_command_certificates(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    json_t *certificates = json_array(), *troubles = json_array();

    (void)args;
    hr_tls_store_list(d->tls, add_certificate, certificates);
    for (uint32_t i = 0; i < d->config->n_listeners; i++) {
        if (d->config->listeners[i].policy.tls)
            add_trouble(d, d->config->listeners[i].policy.name, troubles);
    }
    if (d->config->cluster.tls.on)
        add_trouble(d, "cluster", troubles);
    hr_admin_reply(request, json_pack("{s:o, s:o}", "certificates", certificates, "troubles", troubles));
}

static json_t *leg_json(const struct hr_daemon *d, enum hr_tls_leg leg)
{
    const struct hr_tls_counters *c = hr_tls_store_counters(d->tls, leg);
    json_t *failed = json_array();

    for (unsigned r = 1; r < HR_TLS_REASON_MAX; r++) {
        if (c->failed[r] > 0)
            json_array_append_new(failed, json_pack("{s:s, s:I, s:s}", "reason", hr_tls_reason_name(r), "count",
                                                    (json_int_t)c->failed[r], "text", hr_tls_reason_text(r)));
    }
    return json_pack("{s:I, s:I, s:o}", "done", (json_int_t)c->done, "resumed", (json_int_t)c->resumed, "failed",
                     failed);
}

void hr_command_tls(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    (void)args;
    hr_admin_reply(request, json_pack("{s:o, s:o}", "clients", leg_json(d, HR_TLS_CLIENTS), "brokers",
                                      leg_json(d, HR_TLS_BROKERS)));
}

/* Roles are looked for by walking a message's fields in one version; the kinds follow from what was found, and from
 * the kinds what a walk has to tell. */
#include "dataplane/kafka/plan.h"

#include <stdlib.h>
#include <string.h>

#define PLAN_KEYS     128
#define PLAN_VERSIONS 32

#define HEADER_VERSIONS 3

struct hr_plans {
    bool known[PLAN_KEYS];
    uint16_t place[PLAN_KEYS][PLAN_VERSIONS]; /* in plan; 0: none */
    struct hr_kprogram *request_header[HEADER_VERSIONS], *response_header[HEADER_VERSIONS];
    uint16_t n;
    struct hr_plan plan[]; /* the first is none */
};

static uint32_t roles_of(const struct hr_kfield *fields, uint16_t n, int16_t version)
{
    uint32_t set = 0;

    _Static_assert(HR_KR_MAX <= 32, "a bit per role");
    for (uint16_t i = 0; i < n; i++) {
        const struct hr_kfield *f = &fields[i];
        if (!hr_krange_has(f->versions, version))
            continue;
        if (f->role != HR_KR_NONE)
            set |= 1u << f->role;
        if (f->type == HR_KT_STRUCT)
            set |= roles_of(f->children, f->n_children, version);
    }
    return set;
}

static bool has(uint32_t set, enum hr_krole role)
{
    return (set & (1u << role)) != 0;
}

static bool has_named(const struct hr_kmessage *m, int16_t version, const char *name)
{
    for (uint16_t i = 0; i < m->n_fields; i++)
        if (hr_krange_has(m->fields[i].versions, version) && strcmp(m->fields[i].name, name) == 0)
            return true;
    return false;
}

static void plan_response(struct hr_plan *plan, int16_t version)
{
    uint32_t set = roles_of(plan->response->fields, plan->response->n_fields, version);

    if (has(set, HR_KR_ENDPOINTS)) {
        const struct hr_kfield *f = hr_kmessage_field(plan->response, version, HR_KR_ENDPOINTS);
        plan->response_kind = HR_RESPONSE_TAIL;
        plan->tail_tagged = f && hr_krange_has(f->tagged, version);
    } else if (hr_kmessage_field(plan->response, version, HR_KR_BROKERS)) {
        plan->response_kind = HR_RESPONSE_PREFIX;
    } else if (has(set, HR_KR_HOST) || has(set, HR_KR_QUORUM_NODES) || has(set, HR_KR_API_KEYS)) {
        plan->response_kind = HR_RESPONSE_WHOLE;
    } else if (has(set, HR_KR_CONFIG_VALUE)) {
        plan->response_kind = HR_RESPONSE_WHOLE;
        plan->optional = true;
    } else {
        plan->response_kind = has(set, HR_KR_PARTITION_ERROR) ? HR_RESPONSE_WATCH : HR_RESPONSE_STREAM;
    }
}

static int compile_headers(struct hr_plans *plans)
{
    int err = 0;

    for (int16_t v = 0; v < HEADER_VERSIONS && err == 0; v++) {
        struct hr_kprogram_spec request = {.header = &hr_krequest_header, .header_version = v};
        struct hr_kprogram_spec response = {.header = &hr_kresponse_header, .header_version = v};
        if (hr_krange_has(hr_krequest_header.versions, v))
            err = hr_kprogram_create(&request, &plans->request_header[v]);
        if (hr_krange_has(hr_kresponse_header.versions, v) && err == 0)
            err = hr_kprogram_create(&response, &plans->response_header[v]);
    }
    return err;
}

static int request_walk(const struct hr_plans *plans, struct hr_plan *plan)
{
    int16_t header = hr_krequest_header_version(plan->api_key, plan->version);
    struct hr_kprogram_spec spec = {
        .header = &hr_krequest_header,
        .header_version = header,
        .body = plan->request,
        .version = plan->version,
        .roles = HR_KPROGRAM_ROLE(ACKS),
        .split = true,
    };
    struct hr_kprogram *own = NULL;

    plan->request_walk = plans->request_header[header];
    if (plan->request_kind == HR_REQUEST_FETCH)
        spec.roles = HR_KPROGRAM_ROLE(REPLICA_ID) | HR_KPROGRAM_ROLE(MAX_WAIT) | HR_KPROGRAM_ROLE(FETCH_EPOCH) |
                     HR_KPROGRAM_ROLE(TOPIC) | HR_KPROGRAM_ROLE(PARTITION) | HR_KPROGRAM_ROLE(FORGOTTEN);
    else if (plan->request_kind != HR_REQUEST_ACKS)
        return 0;
    int err = hr_kprogram_create(&spec, &own);
    if (plan->request_kind == HR_REQUEST_FETCH)
        plan->whole_walk = own;
    else
        plan->request_walk = own;
    return err;
}

static int response_walk(const struct hr_plans *plans, struct hr_plan *plan)
{
    int16_t header = hr_kresponse_header_version(plan->api_key, plan->version);
    struct hr_kprogram_spec spec = {
        .header = &hr_kresponse_header,
        .header_version = header,
        .body = plan->response,
        .version = plan->version,
        .roles = HR_KPROGRAM_ROLE(PARTITION_ERROR),
    };
    struct hr_kprogram *own = NULL;

    switch ((enum hr_response_kind)plan->response_kind) {
    case HR_RESPONSE_PREFIX:
        spec.roles = HR_KPROGRAM_ROLE(BROKERS);
        spec.split = true;
        break;
    case HR_RESPONSE_WATCH:
        break;
    case HR_RESPONSE_TAIL:
        spec.tags = plan->tail_tagged;
        if (!plan->tail_tagged)
            spec.roles |= HR_KPROGRAM_ROLE(ENDPOINTS);
        break;
    case HR_RESPONSE_NONE:
    case HR_RESPONSE_STREAM:
    case HR_RESPONSE_WHOLE:
    case HR_RESPONSE_MAX:
        plan->response_walk = plans->response_header[header];
        return 0;
    }
    int err = hr_kprogram_create(&spec, &own);
    plan->response_walk = own;
    return err;
}

/* Of the message that carries records. */
static int topics_walk(struct hr_plan *plan)
{
    bool produce = plan->api_key == HR_KAPI_PRODUCE;
    struct hr_kprogram_spec spec = {
        .header = produce ? &hr_krequest_header : &hr_kresponse_header,
        .header_version = produce ? hr_krequest_header_version(plan->api_key, plan->version)
                                  : hr_kresponse_header_version(plan->api_key, plan->version),
        .body = produce ? plan->request : plan->response,
        .version = plan->version,
        .roles = HR_KPROGRAM_ROLE(TOPIC),
    };
    struct hr_kprogram *own = NULL;

    if (!produce && plan->api_key != HR_KAPI_FETCH)
        return 0;
    int err = hr_kprogram_create(&spec, &own);
    plan->topics_walk = own;
    return err;
}

static int plan_one(struct hr_plans *plans, int16_t key, int16_t version)
{
    struct hr_plan *plan = &plans->plan[plans->n];

    plan->api_key = key;
    plan->version = version;
    plan->index = plans->n;
    plan->request = hr_krequest_find(key, version);
    plan->response = hr_kresponse_find(key, version);
    if (!plan->request || !plan->response)
        return 0;
    plans->place[key][version] = plans->n++;
    if (hr_kmessage_field(plan->request, version, HR_KR_ACKS))
        plan->request_kind = HR_REQUEST_ACKS;
    else if (key == HR_KAPI_API_VERSIONS && has_named(plan->request, version, "ClusterId"))
        plan->request_kind = HR_REQUEST_IDENTITY;
    else if (key == HR_KAPI_FETCH)
        plan->request_kind = HR_REQUEST_FETCH;
    else if (key == HR_KAPI_SASL_HANDSHAKE)
        plan->request_kind = HR_REQUEST_LOGIN;
    else
        plan->request_kind = HR_REQUEST_STREAM;
    plan_response(plan, version);
    int err = request_walk(plans, plan);
    if (err == 0)
        err = response_walk(plans, plan);
    return err != 0 ? err : topics_walk(plan);
}

static uint32_t versions_of_all(void)
{
    uint32_t n = 0;

    for (uint16_t i = 0; i < hr_kapis_n; i++)
        for (int v = hr_kapis[i].versions.min; v <= hr_kapis[i].versions.max; v++)
            n++;
    return n;
}

int hr_plans_create(struct hr_plans **ret_plans)
{
    struct hr_plans *plans = calloc(1, sizeof(*plans) + (versions_of_all() + 1) * sizeof(plans->plan[0]));
    int err;

    if (!plans)
        return HR_E_NOMEM;
    plans->n = 1;
    err = compile_headers(plans);
    for (uint16_t i = 0; i < hr_kapis_n && err == 0; i++) {
        int16_t key = hr_kapis[i].key;
        struct hr_krange range = hr_kapis[i].versions;
        if (key < 0 || key >= PLAN_KEYS || range.max >= PLAN_VERSIONS)
            err = HR_E_UNSUPPORTED;
        else if (hr_plan_range(key, &range))
            plans->known[key] = true;
        else
            continue;
        for (int16_t v = range.min; v <= range.max && err == 0; v++) {
            /* Version 0 of the handshake is followed by raw tokens without any Kafka header. */
            if (key != HR_KAPI_SASL_HANDSHAKE || v > 0)
                err = plan_one(plans, key, v);
        }
    }
    if (err != 0) {
        hr_plans_destroy(plans);
        return err;
    }
    *ret_plans = plans;
    return 0;
}

/* Headers are shared: each is destroyed once. */
static void destroy_own(const struct hr_kprogram *program, struct hr_kprogram *const headers[])
{
    for (int v = 0; v < HEADER_VERSIONS; v++)
        if (program == headers[v])
            return;
    hr_kprogram_destroy((struct hr_kprogram *)(uintptr_t)program);
}

void hr_plans_destroy(struct hr_plans *plans)
{
    if (!plans)
        return;
    for (uint16_t i = 1; i < plans->n; i++) {
        destroy_own(plans->plan[i].request_walk, plans->request_header);
        destroy_own(plans->plan[i].response_walk, plans->response_header);
        destroy_own(plans->plan[i].topics_walk, plans->response_header);
        hr_kprogram_destroy((struct hr_kprogram *)(uintptr_t)plans->plan[i].whole_walk);
    }
    for (int v = 0; v < HEADER_VERSIONS; v++) {
        hr_kprogram_destroy(plans->request_header[v]);
        hr_kprogram_destroy(plans->response_header[v]);
    }
    free(plans);
}

const struct hr_plan *hr_plans_find(const struct hr_plans *plans, int16_t key, int16_t version,
                                    bool *ret_api_known)
{
    *ret_api_known = key >= 0 && key < PLAN_KEYS && plans->known[key];
    if (!*ret_api_known || version < 0 || version >= PLAN_VERSIONS || plans->place[key][version] == 0)
        return NULL;
    return &plans->plan[plans->place[key][version]];
}

const struct hr_plan *hr_plans_at(const struct hr_plans *plans, uint16_t index)
{
    return &plans->plan[index];
}

bool hr_plan_range(int16_t key, struct hr_krange *ret_range)
{
    const struct hr_kapi *api = hr_kapi_find(key);

    if (!api || api->versions.min > api->versions.max)
        return false;
    *ret_range = api->versions;
    return true;
}

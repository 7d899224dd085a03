/* Roles are looked for by walking a message's fields in one version; the kinds follow from what was found. */
#include "dataplane/kafka/plan.h"

#include <stdlib.h>
#include <string.h>

#define PLAN_KEYS     128
#define PLAN_VERSIONS 32

struct hr_plans {
    bool known[PLAN_KEYS];
    struct hr_plan plan[PLAN_KEYS][PLAN_VERSIONS];
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

static const struct hr_kfield *top_field(const struct hr_kmessage *m, int16_t version, enum hr_krole role)
{
    for (uint16_t i = 0; i < m->n_fields; i++)
        if (m->fields[i].role == role && hr_krange_has(m->fields[i].versions, version))
            return &m->fields[i];
    return NULL;
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
        const struct hr_kfield *f = top_field(plan->response, version, HR_KR_ENDPOINTS);
        plan->response_kind = HR_RESPONSE_TAIL;
        plan->tail_tagged = f && hr_krange_has(f->tagged, version);
    } else if (top_field(plan->response, version, HR_KR_BROKERS)) {
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

static void plan_one(struct hr_plan *plan, int16_t key, int16_t version)
{
    plan->request = hr_krequest_find(key, version);
    plan->response = hr_kresponse_find(key, version);
    if (!plan->request || !plan->response)
        return;
    plan->request_header = (uint8_t)hr_krequest_header_version(key, version);
    plan->response_header = (uint8_t)hr_kresponse_header_version(key, version);
    if (top_field(plan->request, version, HR_KR_ACKS))
        plan->request_kind = HR_REQUEST_ACKS;
    else if (key == HR_KAPI_API_VERSIONS && has_named(plan->request, version, "ClusterId"))
        plan->request_kind = HR_REQUEST_IDENTITY;
    else
        plan->request_kind = HR_REQUEST_STREAM;
    plan_response(plan, version);
}

int hr_plans_create(struct hr_plans **ret_plans)
{
    struct hr_plans *plans = calloc(1, sizeof(*plans));

    if (!plans)
        return HR_E_NOMEM;
    for (uint16_t i = 0; i < hr_kapis_n; i++) {
        int16_t key = hr_kapis[i].key;
        struct hr_krange range = hr_kapis[i].versions;
        if (key < 0 || key >= PLAN_KEYS || range.max >= PLAN_VERSIONS) {
            free(plans);
            return HR_E_UNSUPPORTED;
        }
        if (!hr_plan_range(key, &range))
            continue;
        plans->known[key] = true;
        for (int16_t v = range.min; v <= range.max; v++)
            plan_one(&plans->plan[key][v], key, v);
    }
    *ret_plans = plans;
    return 0;
}

void hr_plans_destroy(struct hr_plans *plans)
{
    free(plans);
}

const struct hr_plan *hr_plans_find(const struct hr_plans *plans, int16_t key, int16_t version,
                                    bool *ret_api_known)
{
    *ret_api_known = key >= 0 && key < PLAN_KEYS && plans->known[key];
    if (!*ret_api_known || version < 0 || version >= PLAN_VERSIONS)
        return NULL;
    const struct hr_plan *plan = &plans->plan[key][version];
    return plan->request_kind != HR_REQUEST_NONE ? plan : NULL;
}

bool hr_plan_range(int16_t key, struct hr_krange *ret_range)
{
    const struct hr_kapi *api = hr_kapi_find(key);

    if (!api || api->versions.min > api->versions.max)
        return false;
    *ret_range = api->versions;
    /* Version 0 of the handshake is followed by raw tokens without any Kafka header. */
    if (key == HR_KAPI_SASL_HANDSHAKE && ret_range->min < 1)
        ret_range->min = 1;
    return ret_range->min <= ret_range->max;
}

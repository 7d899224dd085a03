/* Lookups in the schema table. Each is an array access and at most HR_KAPI_MAX_MESSAGES comparisons, reads
 * constant memory only, and so serves workers and the control plane alike. */
#include "shared/kafka/schema.h"
#include "shared/kafka/schema_index.h"
#include "shared/kafka/wire.h"

#include <stddef.h>

#define KAPI_API_VERSIONS 18

const struct hr_kapi *hr_kapi_find(int16_t key)
{
    if (key < 0 || key >= hr_kapi_places_n || hr_kapi_places[key] == 0)
        return NULL;
    return &hr_kapis[hr_kapi_places[key] - 1];
}

/* The ranges of an API's messages do not overlap, so the first that has the version is the one. */
static const struct hr_kmessage *message_of_version(const struct hr_kmessage *const messages[],
                                                    int16_t version)
{
    for (int i = 0; i < HR_KAPI_MAX_MESSAGES && messages[i] != NULL; i++) {
        if (hr_krange_has(messages[i]->versions, version))
            return messages[i];
    }
    return NULL;
}

const struct hr_kmessage *hr_krequest_find(int16_t key, int16_t version)
{
    const struct hr_kapi *api = hr_kapi_find(key);
    return api == NULL ? NULL : message_of_version(api->requests, version);
}

const struct hr_kmessage *hr_kresponse_find(int16_t key, int16_t version)
{
    const struct hr_kapi *api = hr_kapi_find(key);
    return api == NULL ? NULL : message_of_version(api->responses, version);
}

const struct hr_kfield *hr_kmessage_field(const struct hr_kmessage *message, int16_t version, enum hr_krole role)
{
    for (uint16_t i = 0; i < message->n_fields; i++)
        if (message->fields[i].role == role && hr_krange_has(message->fields[i].versions, version))
            return &message->fields[i];
    return NULL;
}

int16_t hr_krequest_header_version(int16_t key, int16_t version)
{
    const struct hr_kmessage *message = hr_krequest_find(key, version);
    return message != NULL && hr_krange_has(message->flexible, version) ? 2 : 1;
}

int16_t hr_kresponse_header_version(int16_t key, int16_t version)
{
    /* KIP-511: a client that guessed too high must be able to read the answer without knowing its version. */
    if (key == KAPI_API_VERSIONS)
        return 0;
    const struct hr_kmessage *message = hr_kresponse_find(key, version);
    return message != NULL && hr_krange_has(message->flexible, version) ? 1 : 0;
}

uint32_t hr_ktype_width(uint8_t type)
{
    switch ((enum hr_ktype)type) {
    case HR_KT_BOOL:
    case HR_KT_INT8:
        return 1;
    case HR_KT_INT16:
    case HR_KT_UINT16:
        return 2;
    case HR_KT_INT32:
    case HR_KT_UINT32:
        return 4;
    case HR_KT_INT64:
    case HR_KT_FLOAT64:
        return 8;
    case HR_KT_UUID:
        return 16;
    case HR_KT_NONE:
    case HR_KT_STRING:
    case HR_KT_BYTES:
    case HR_KT_RECORDS:
    case HR_KT_STRUCT:
    case HR_KT_MAX:
        break;
    }
    return 0;
}

const char *hr_krole_name(enum hr_krole role)
{
    switch (role) {
    case HR_KR_NONE:
    case HR_KR_MAX:
        return "none";
#define X(name, text)                                                                                        \
    case HR_KR_##name:                                                                                       \
        return #name;
        HR_KROLES(X)
#undef X
    }
    return "none";
}

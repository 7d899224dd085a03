/* A plain table: a cluster has tens of brokers, hundreds at most, and a handshake costs a thousand lookups. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controlplane/tls/impl.h"

struct entry {
    char host[HR_POLICY_HOST_MAX];
    uint16_t port;
    SSL_SESSION *session; /* NULL: none at present */
};

struct hr_tls_resume {
    struct entry entries[HR_POLICY_MAX_BROKERS];
    uint32_t n;
    uint32_t oldest; /* replaced when the table is full */
};

int hr_tls_resume_create(struct hr_tls_resume **ret_resume)
{
    struct hr_tls_resume *r = calloc(1, sizeof(*r));

    if (!r)
        return HR_E_NOMEM;
    *ret_resume = r;
    return 0;
}

void hr_tls_resume_destroy(struct hr_tls_resume *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i < r->n; i++)
        SSL_SESSION_free(r->entries[i].session);
    free(r);
}

static struct entry *find(struct hr_tls_resume *r, const char *host, uint16_t port)
{
    for (uint32_t i = 0; i < r->n; i++) {
        if (r->entries[i].port == port && strcasecmp(r->entries[i].host, host) == 0)
            return &r->entries[i];
    }
    return NULL;
}

void hr_tls_resume_put(struct hr_tls_resume *r, const char *host, uint16_t port, SSL_SESSION *session)
{
    struct entry *e = find(r, host, port);

    if (!e && r->n < HR_POLICY_MAX_BROKERS)
        e = &r->entries[r->n++];
    else if (!e)
        e = &r->entries[r->oldest++ % HR_POLICY_MAX_BROKERS];
    SSL_SESSION_free(e->session);
    memset(e->host, 0, sizeof(e->host));
    memcpy(e->host, host, strnlen(host, sizeof(e->host) - 1));
    e->port = port;
    e->session = session;
}

SSL_SESSION *hr_tls_resume_take(struct hr_tls_resume *r, const char *host, uint16_t port)
{
    struct entry *e = find(r, host, port);
    SSL_SESSION *session = e ? e->session : NULL;

    if (!session)
        return NULL;
    if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION)
        SSL_SESSION_up_ref(session);
    else
        e->session = NULL;
    return session;
}

/* What the relay does with each API and version, worked out once from the roles in the schema table, so that
 * a new version that carries a node in a known place is handled without a line of code here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/kafka/program.h"
#include "shared/kafka/schema.h"

enum hr_request_kind {
    HR_REQUEST_NONE = 0, /* not in the table, or hidden on purpose */
    HR_REQUEST_STREAM,   /* the header is enough */
    HR_REQUEST_ACKS,     /* Produce: read up to acks; 0 means that there will be no response */
    HR_REQUEST_FETCH,    /* read whole where it may go to another broker */
    HR_REQUEST_LOGIN,    /* the client logs in to the broker */
    HR_REQUEST_IDENTITY, /* ApiVersions that names a cluster and a node (KIP-1242) */
    HR_REQUEST_MAX
};

enum hr_response_kind {
    HR_RESPONSE_NONE = 0,
    HR_RESPONSE_STREAM, /* passes by its length */
    HR_RESPONSE_WATCH,  /* the same, walked on the way for partition errors that make a metadata hint */
    HR_RESPONSE_PREFIX, /* held up to the end of the brokers, the rest streams */
    HR_RESPONSE_WHOLE,  /* held and rewritten */
    HR_RESPONSE_TAIL,   /* streams up to its endpoints, which are rewritten at their old length */
    HR_RESPONSE_MAX
};

struct hr_plan {
    int16_t api_key, version;
    uint16_t index; /* for hr_plans_at() */
    uint8_t request_kind;  /* enum hr_request_kind */
    uint8_t response_kind; /* enum hr_response_kind */
    bool optional;    /* WHOLE: above hold_max the frame passes unedited instead of ending the session */
    bool tail_tagged; /* TAIL: the endpoints are a tagged field; else an array in front of the tags */
    const struct hr_kmessage *request, *response;
    /* From a frame's first byte: what has to be read of a request before it may go (ACKS is told of Produce), and
     * of a response; WATCH, PREFIX and TAIL are told what they are about, of others the header alone is walked. */
    const struct hr_kprogram *request_walk, *response_walk;
    const struct hr_kprogram *topics_walk; /* Produce requests, Fetch responses: tells topics; else NULL */
    const struct hr_kprogram *whole_walk; /* FETCH: of the whole request, telling what a reader keeps account of */
};

struct hr_plans;

/* NOMEM, or UNSUPPORTED when the table holds a version that the plans cannot index. */
HR_MUST_CHECK int hr_plans_create(struct hr_plans **ret_plans);
void hr_plans_destroy(struct hr_plans *plans);

/* NULL when the table does not know the API or the version, or when clients may not use it. O(1).
 * *ret_api_known tells which of the two. */
const struct hr_plan *hr_plans_find(const struct hr_plans *plans, int16_t key, int16_t version,
                                    bool *ret_api_known);

/* The same again, by its index. */
const struct hr_plan *hr_plans_at(const struct hr_plans *plans, uint16_t index);

/* The versions of an API that clients are told of: the table's. False when there is none. SaslHandshake 0 is among them
 * although no plan lets it through: librdkafka takes a broker that does not offer it for one without SASL, and then uses
 * version 1. */
bool hr_plan_range(int16_t key, struct hr_krange *ret_range);

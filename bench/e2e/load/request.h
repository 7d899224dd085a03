/* The one request that a run repeats, and how its answers are judged.
 *
 *   produce  Produce 11, one record batch of about `bytes` to one partition, acks = 1
 *   fetch    Fetch 16, up to `bytes` of records from the beginning of one partition
 *   small    Produce 11 of one record, so that the whole request has about `bytes`
 *
 * Encoded once, by the schema table; only the correlation id changes from one to the next. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"

enum ld_kind { LD_KIND_NONE = 0, LD_PRODUCE, LD_FETCH, LD_SMALL, LD_KIND_MAX };

#define LD_HEAD_BYTES 12 /* size, API key, version, correlation id: written anew for each request */
#define LD_PREFIX_MAX 512 /* of an answer: as much as ld_request_judge() may look at */

struct ld_request {
    enum ld_kind kind;
    uint8_t *bytes; /* the whole frame */
    uint32_t len;
    uint32_t error_at;     /* where in an answer, behind its size, the partition's error code stands */
    uint32_t error_top_at; /* and the answer's own; 0: it has none */
};

const char *ld_kind_name(enum ld_kind kind);

/* A Metadata request for one topic, and its id from the answer (the frame behind its size). */
HR_MUST_CHECK int ld_metadata_make(const char *topic, uint8_t *buf, uint32_t cap, uint32_t *ret_len);
HR_MUST_CHECK int ld_metadata_topic_id(const uint8_t *frame, uint32_t len, char ret_uuid[40]);

/* topic_uuid: for LD_FETCH. */
HR_MUST_CHECK int ld_request_make(struct ld_request *req, enum ld_kind kind, const char *topic, const char *topic_uuid,
                                  int32_t partition, uint32_t bytes);

/* Puts size, key, version and correlation id in front of a frame that is about to be sent. */
void ld_request_head(const struct ld_request *req, int32_t correlation_id, uint8_t head[LD_HEAD_BYTES]);

/* Kafka's error code of an answer whose first n bytes behind the size are known; -1 when it is malformed. */
int ld_request_judge(const struct ld_request *req, const uint8_t *answer, uint32_t n);

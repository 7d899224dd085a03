/* Produce and Fetch. Field by field in the order of Kafka's ProduceRequest.json and FetchRequest.json. */
#include "bench/e2e/nullbroker/impl.h"

#define RECORDS_LAST_DELTA 23u /* within a batch */
#define RECORDS_MIN 61u
#define ERR_OFFSET_OUT_OF_RANGE 1
#define ANSWER_PER_PARTITION 96u /* bytes beside the records, at most, of either response */
#define ANSWER_FIXED 64u

/* ---- Produce ------------------------------------------------------------------------------------------ */

static void answer_partition(struct nb_outq *q, int16_t version, int32_t index, int64_t base_offset)
{
    nb_put32(q, index);
    nb_put16(q, 0);
    nb_put64(q, base_offset);
    nb_put64(q, -1); /* log append time */
    if (version >= 5)
        nb_put64(q, 0); /* log start offset */
    if (version >= 8) {
        nb_put_count(q, 0); /* record errors */
        if (q->flexible)
            nb_put_varint(q, 0);
        else
            nb_put16(q, -1); /* error message: null */
    }
    nb_put_tags(q);
}

/* Counts one batch of a partition: the offset that it gets. */
static int64_t accept_records(struct nb_broker *broker, struct nb_topic *topic, int32_t index, const uint8_t *records,
                              uint32_t seen_bytes, uint32_t len_bytes)
{
    uint32_t n = seen_bytes >= RECORDS_MIN ? hr_kget32(records + RECORDS_LAST_DELTA) + 1 : 1;
    int64_t base = 0;
    if (topic && index >= 0 && index < NB_MAX_PARTITIONS) {
        base = topic->next_offset[index];
        topic->next_offset[index] += n;
    }
    broker->produced_bytes += len_bytes;
    return base;
}

bool nb_produce(struct nb_broker *broker, struct nb_conn *conn, struct nb_request *req)
{
    struct nb_reader *r = &req->body;
    struct nb_outq *q = &conn->out;
    uint32_t len;

    nb_string(r, &len); /* transactional id */
    int16_t acks = nb_i16(r);
    nb_i32(r); /* timeout */
    int32_t n_topics = nb_count(r);
    const struct nb_outq before = {.used = q->used, .n = q->n};
    uint32_t last_iov_len = q->n > q->first ? (uint32_t)q->iov[q->n - 1].iov_len : 0;

    nb_frame_begin(q, req->correlation_id, req->flexible ? 1 : 0, req->flexible);
    nb_put_count(q, n_topics);
    for (int32_t t = 0; t < n_topics && !r->bad; t++) {
        const uint8_t *name = nb_string(r, &len);
        if (r->bad)
            return false;
        struct nb_topic *topic = nb_topic_get(broker, name, len);
        nb_put_string(q, name, len);
        int32_t n = nb_count(r);
        nb_put_count(q, n);
        for (int32_t i = 0; i < n && !r->bad; i++) {
            int32_t index = nb_i32(r);
            int32_t bytes = nb_count(r);
            const uint8_t *records = nb_take(r, bytes < 0 ? 0 : (uint32_t)bytes);
            if (r->bad)
                return false;
            nb_skip_tags(r);
            uint32_t n_bytes = bytes < 0 ? 0 : (uint32_t)bytes;
            answer_partition(q, req->version, index, accept_records(broker, topic, index, records, n_bytes, n_bytes));
        }
        nb_skip_tags(r);
        nb_put_tags(q);
    }
    nb_put32(q, 0); /* throttle */
    nb_put_tags(q);
    nb_frame_end(q);
    if (acks == 0) { /* nobody waits: take the answer back */
        q->used = before.used;
        q->n = before.n;
        if (q->n > q->first)
            q->iov[q->n - 1].iov_len = last_iov_len;
    }
    return !r->bad && !q->overflow;
}

bool nb_produce_early(struct nb_broker *broker, struct nb_conn *conn, struct nb_request *req)
{
    struct nb_reader *r = &req->body;
    uint32_t len;

    nb_string(r, &len);
    int16_t acks = nb_i16(r);
    nb_i32(r);
    if (nb_count(r) != 1 || acks == 0)
        return false;
    const uint8_t *name = nb_string(r, &len);
    if (r->bad || nb_count(r) != 1)
        return false;
    int32_t index = nb_i32(r), bytes = nb_count(r);
    if (r->bad || bytes < (int32_t)RECORDS_MIN || r->left < RECORDS_MIN)
        return false;
    int64_t base = accept_records(broker, nb_topic_get(broker, name, len), index, r->at, RECORDS_MIN, (uint32_t)bytes);

    struct nb_outq *q = &conn->out;
    nb_frame_begin(q, req->correlation_id, req->flexible ? 1 : 0, req->flexible);
    nb_put_count(q, 1);
    nb_put_string(q, name, len);
    nb_put_count(q, 1);
    answer_partition(q, req->version, index, base);
    nb_put_tags(q);
    nb_put32(q, 0);
    nb_put_tags(q);
    nb_frame_end(q);
    return true;
}

/* ---- Fetch -------------------------------------------------------------------------------------------- */

/* As many whole batches as `room` bytes take, at least one, from the batch that holds `offset`. */
static uint32_t put_batches(struct nb_outq *q, const struct nb_batch *batch, int64_t offset, uint32_t room)
{
    int64_t first = offset / batch->n_records;
    uint32_t n = room / batch->len_bytes;
    if (n == 0)
        n = 1;
    if (n > NB_LOG_BATCHES - first)
        n = (uint32_t)(NB_LOG_BATCHES - first);
    uint32_t most = (NB_OUT_IOV - q->n) / 2;
    if (n + 4 > most)
        n = most > 4 ? most - 4 : 0;
    if (n > (NB_OUT_SMALL - q->used) / (2 * NB_BATCH_HEAD))
        n = (NB_OUT_SMALL - q->used) / (2 * NB_BATCH_HEAD);
    nb_put_count(q, (int32_t)(n * batch->len_bytes));
    for (uint32_t i = 0; i < n; i++) {
        nb_put64(q, (first + i) * batch->n_records);
        nb_put32(q, (int32_t)(batch->len_bytes - NB_BATCH_HEAD));
        nb_put_ref(q, batch->bytes + NB_BATCH_HEAD, batch->len_bytes - NB_BATCH_HEAD);
    }
    return n * batch->len_bytes;
}

static void skip_forgotten(struct nb_reader *r, int16_t version)
{
    uint32_t len;
    for (int32_t t = nb_count(r); t > 0 && !r->bad; t--) {
        if (version >= 13)
            nb_take(r, 16);
        else
            nb_string(r, &len);
        for (int32_t n = nb_count(r); n > 0 && !r->bad; n--)
            nb_i32(r);
        nb_skip_tags(r);
    }
}

/* Reads one partition of the request and answers it; returns the bytes of records. */
static uint32_t answer_fetch(const struct nb_broker *broker, struct nb_outq *q, struct nb_reader *r, int16_t version,
                             uint32_t room)
{
    const int64_t end = NB_LOG_BATCHES * broker->batch.n_records;
    int32_t index = nb_i32(r);
    if (version >= 9)
        nb_i32(r); /* current leader epoch */
    int64_t offset = nb_i64(r);
    if (version >= 12)
        nb_i32(r); /* last fetched epoch */
    if (version >= 5)
        nb_i64(r); /* log start offset */
    int32_t max_bytes = nb_i32(r);
    nb_skip_tags(r);

    bool outside = offset < 0 || offset > end;
    nb_put32(q, index);
    nb_put16(q, outside ? ERR_OFFSET_OUT_OF_RANGE : 0);
    nb_put64(q, end);
    nb_put64(q, end);
    if (version >= 5)
        nb_put64(q, 0);
    nb_put_count(q, -1); /* aborted transactions: null */
    if (version >= 11)
        nb_put32(q, -1); /* preferred read replica */
    uint32_t bytes = 0;
    if (r->bad || outside || offset == end || room == 0)
        nb_put_count(q, 0);
    else
        bytes = put_batches(q, &broker->batch, offset, max_bytes < 0 || (uint32_t)max_bytes > room ? room : (uint32_t)max_bytes);
    nb_put_tags(q);
    return bytes;
}

bool nb_fetch(struct nb_broker *broker, struct nb_conn *conn, struct nb_request *req, uint64_t now_us)
{
    struct nb_reader *r = &req->body;
    struct nb_outq *q = &conn->out;
    const int16_t version = req->version;
    uint32_t len, bytes = 0;

    if (version <= 14)
        nb_i32(r); /* replica id */
    int32_t max_wait_ms = nb_i32(r);
    nb_i32(r); /* min bytes */
    int32_t max_bytes = nb_i32(r);
    nb_take(r, 1); /* isolation level */
    if (version >= 7)
        nb_take(r, 8); /* session id and epoch: sessions are declined */
    uint32_t room = max_bytes < 0 || (uint32_t)max_bytes > broker->fetch_bytes_max ? broker->fetch_bytes_max : (uint32_t)max_bytes;

    nb_frame_begin(q, req->correlation_id, req->flexible ? 1 : 0, req->flexible);
    nb_put32(q, 0);
    if (version >= 7) {
        nb_put16(q, 0);
        nb_put32(q, 0);
    }
    int32_t n_topics = nb_count(r), n_asked = 0;
    nb_put_count(q, n_topics);
    for (int32_t t = 0; t < n_topics && !r->bad; t++) {
        if (version >= 13) {
            memcpy(nb_put(q, 16), nb_take(r, 16), 16);
        } else {
            const uint8_t *name = nb_string(r, &len);
            if (r->bad)
                return false;
            nb_put_string(q, name, len);
        }
        int32_t n = nb_count(r);
        nb_put_count(q, n);
        for (int32_t i = 0; i < n && !r->bad && !q->overflow; i++, n_asked++)
            bytes += answer_fetch(broker, q, r, version, bytes < room ? room - bytes : 0);
        nb_skip_tags(r);
        nb_put_tags(q);
    }
    if (version >= 7)
        skip_forgotten(r, version);
    nb_put_tags(q);
    nb_frame_end(q);
    broker->fetched_bytes += bytes;
    if (bytes == 0 && n_asked > 0 && max_wait_ms > 0)
        conn->hold_until_us = now_us + (uint64_t)max_wait_ms * 1000;
    return !r->bad && !q->overflow;
}

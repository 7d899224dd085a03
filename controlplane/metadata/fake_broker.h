/* A broker on the other end of hr_conn_*(), which this replaces: connections are structs, requests are
 * decoded and answers encoded. For tests of controlplane/metadata without rings. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "controlplane/conn/conn.h"

struct hr_conn {
    const struct hr_conn_ops *ops;
    void *owner;
    struct hr_addr addr;
    uint16_t port;
    bool released;
    uint8_t sent[65536];
    uint32_t n_sent;
};

extern struct hr_conn *current; /* the newest connection, NULL when it was released */
extern int n_opened;            /* attempts */
extern int open_error;          /* what the next attempts return */

struct request {
    int16_t key, version;
    int32_t correlation_id;
    json_t *body; /* the caller's */
};

/* The one request that was sent on the current connection. */
struct request take_request(void);
/* The frame of an answer, size included; returns its length. frame holds 64 KiB. */
uint32_t encode(int16_t key, int16_t version, int32_t correlation_id, const char *body, uint8_t *frame);
/* Bytes for the current connection, in pieces as TCP may deliver them. */
void deliver(const uint8_t *bytes, uint32_t n, uint32_t piece);
void reply(const struct request *request, int16_t version, const char *body);

/* Bodies. */
extern const char versions_body[], describe_body[];
const char *metadata_body(int n_brokers);

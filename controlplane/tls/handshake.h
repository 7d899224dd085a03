/* One TLS connection while the control plane has it: the handshake, in either role, and what is said inside the
 * session before a worker takes over (a login), or for all its life (the metadata client's connections).
 *
 * Sans-IO: bytes of the peer go in, bytes for the peer come out, time is told. OpenSSL sees the peer's bytes a
 * whole record at a time and not one record more than it needs, so that at any moment it is known how many bytes
 * it has had (hr_tls_consumed): the first byte after them is where the worker's record layer begins, and the bytes
 * themselves need not travel.
 *
 *   RUNNING --input--> OPEN --hr_tls_hand_off--> (freed by its owner)
 *      \________________/ \--> FAILED: reason, and an alert in the output                                        */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "controlplane/tls/reasons.h"
#include "shared/base/error.h"
#include "shared/tls/secrets.h"

struct hr_tls;
struct hr_tls_client;
struct hr_tls_server;

enum hr_tls_state { HR_TLS_STATE_NONE = 0, HR_TLS_RUNNING, HR_TLS_OPEN, HR_TLS_FAILED, HR_TLS_STATE_MAX };

#define HR_TLS_HANDSHAKE_MAX (64u * 1024) /* bytes of the peer until the session is open */
#define HR_TLS_BACKLOG_MAX   (64u * 1024) /* bytes that wait for hr_tls_read() or the hand-off */
#define HR_TLS_RECORD_MAX    (5u + 16384u + 2048u) /* RFC 5246 6.2.3 */

/* Either takes a reference to the context. The client's first bytes are in the output at once. */
HR_MUST_CHECK int hr_tls_accept(struct hr_tls_server *server, uint64_t deadline_us, struct hr_tls **ret_tls);
/* host: the name that the certificate must have, sent as SNI unless it is an address. */
HR_MUST_CHECK int hr_tls_connect(struct hr_tls_client *client, const char *host, uint16_t port, uint64_t deadline_us,
                                 struct hr_tls **ret_tls);
/* Wipes what it held; NULL is allowed. */
void hr_tls_free(struct hr_tls *tls);

/* Bytes from the peer. What the handshake does not need is kept. INVALID when the handshake has failed
 * (hr_tls_reason), TOO_LARGE when an open session's backlog is full. */
HR_MUST_CHECK int hr_tls_input(struct hr_tls *tls, const uint8_t *data, uint32_t len);
/* The peer closed its half. */
void hr_tls_eof(struct hr_tls *tls);
/* Fails a handshake that is past its deadline; true when it did. */
bool hr_tls_expire(struct hr_tls *tls, uint64_t now_us);
/* All bytes for the peer that there are; they are gone with the next hr_tls_output_done(). */
uint32_t hr_tls_output(struct hr_tls *tls, const uint8_t **ret_data);
void hr_tls_output_done(struct hr_tls *tls);

enum hr_tls_state hr_tls_get_state(const struct hr_tls *tls);
enum hr_tls_reason hr_tls_get_reason(const struct hr_tls *tls);
/* For logs: "peer alert: unknown ca"; "" when there is nothing to add. Holds no byte of the peer's choice. */
const char *hr_tls_detail(const struct hr_tls *tls);

/* Inside an open session. READ: what has been decrypted, up to cap; 0 bytes when a record is incomplete; CLOSED
 * after close_notify. WRITE: seals all of it into the output. INVALID: the session has failed. */
HR_MUST_CHECK int hr_tls_read(struct hr_tls *tls, uint8_t *buf, uint32_t cap, uint32_t *ret_len);
HR_MUST_CHECK int hr_tls_write(struct hr_tls *tls, const void *data, uint32_t len);
/* close_notify into the output. */
void hr_tls_close(struct hr_tls *tls);

/* Known once the ClientHello was seen, or from the start in the client's role. */
const char *hr_tls_sni(const struct hr_tls *tls);
/* Where nodes are told apart by name: the name's, -1 for the bootstrap name. */
int32_t hr_tls_node_id(const struct hr_tls *tls);
bool hr_tls_resumed(const struct hr_tls *tls);
/* Borrowed; NULL when the peer showed none. Also after a resumption. */
X509 *hr_tls_peer_cert(const struct hr_tls *tls);
/* Who the client is by its certificate, as the listener makes principals (controlplane/tls/principal.h); cap:
 * HR_PRINCIPAL_MAX. NOT_FOUND: it showed no certificate; a session that is open fails in no other way. */
HR_MUST_CHECK int hr_tls_principal(const struct hr_tls *tls, char *name, size_t cap);
/* enum hr_tls_version, enum hr_tls_suite; NONE before they are chosen. */
uint8_t hr_tls_version(const struct hr_tls *tls);
uint8_t hr_tls_suite(const struct hr_tls *tls);

/* Bytes of the peer, from the first of the connection on, that a worker must skip: its record layer begins there. */
uint64_t hr_tls_consumed(const struct hr_tls *tls);
/* Bytes that were decrypted and not read: a worker could not see them. */
uint32_t hr_tls_pending(const struct hr_tls *tls);

/* The keys for a worker. The session must be open, its output sent, and nothing pending (BUSY else); UNSUPPORTED
 * when it uses what the record layer has not. After it OpenSSL is done with the connection: only hr_tls_free() and
 * the questions above are allowed. */
HR_MUST_CHECK int hr_tls_hand_off(struct hr_tls *tls, struct hr_tls_secrets *ret_secrets);

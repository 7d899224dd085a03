/* Why TLS ended, or did not begin: names for counters, logs and headracectl tls. */
#pragma once

/* X(name, meaning) */
#define HR_TLS_REASONS(X)                                                                                    \
    X(not_tls, "the first bytes are no TLS: a client that speaks plaintext, or something else altogether")   \
    X(no_name, "the client named no host (SNI), and nodes are told apart by name here")                      \
    X(unrecognized_name, "the client named a host (SNI) that is none of this listener's")                    \
    X(protocol_version, "no common version: the peer offers nothing from TLS 1.2 on")                        \
    X(no_shared_cipher, "no common cipher suite or group")                                                   \
    X(no_certificate, "the client showed no certificate, and one is required")                               \
    X(unknown_ca, "the peer's certificate leads to no CA that is trusted here")                              \
    X(expired, "the peer's certificate has expired, or is not valid yet")                                    \
    X(revoked, "the peer's certificate is on the list of revoked ones")                                      \
    X(wrong_name, "the broker's certificate is not for the name that was dialled")                           \
    X(bad_certificate, "the peer's certificate is not acceptable for another reason")                        \
    X(no_principal, "the client's certificate has no name that can be its principal, or no rule applies to it") \
    X(peer_alert, "the peer ended the handshake with an alert: it does not like ours")                       \
    X(decrypt_error, "a signature, a record or a Finished message did not verify")                           \
    X(bad_message, "a malformed or unexpected message")                                                      \
    X(too_large, "more bytes than a handshake may take")                                                     \
    X(timeout, "not complete within its time")                                                               \
    X(closed, "the peer closed the connection in mid-handshake")                                             \
    X(limit, "too many handshakes at once or per second, of the listener or of one source")                  \
    X(internal, "an error of our own")

enum hr_tls_reason {
    HR_TLS_REASON_NONE = 0,
#define X(name, text) HR_TLS_REASON_##name,
    HR_TLS_REASONS(X)
#undef X
    HR_TLS_REASON_MAX
};

/* "unknown_ca"; "none" and "?" for what is no reason. */
const char *hr_tls_reason_name(unsigned reason);
const char *hr_tls_reason_text(unsigned reason);

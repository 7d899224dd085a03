/* The keys of a TLS connection on their way from the control plane, which did the handshake, to the worker, which
 * owns the record layer from then on.
 *
 * "read" and "write" are the worker's: read opens what the peer sends, write seals what goes to it, whichever
 * side of the handshake we were (role).
 *
 *                      TLS 1.3                                     TLS 1.2 (AES-GCM only)
 *   traffic_secret     {client,server}_application_traffic_secret  -
 *                      of the generation (RFC 8446 7.1, 7.2)
 *   key, fixed_iv      -                                           of the key block (RFC 5246 6.3, RFC 5288 3)
 *   seq                records read or written under the keys of   records since ChangeCipherSpec, the Finished
 *                      the generation: the next record's number    included: the next record's number
 *   explicit_nonce     -                                           write: the next record's, one after the last used
 *   generation         KeyUpdates so far                           0
 *
 * Numbers are host order; secrets are bytes as the RFCs have them, the rest of their fields zero. The structure
 * holds nothing but secrets and what belongs to them, so that a copy of it is wiped as a whole. It lies in a slot
 * of the shared region for a moment only: the writer fills it in last, the reader copies it out and wipes the slot
 * before it does anything else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/base/wipe.h"

/* X(name, protocol version on the wire, text) */
#define HR_TLS_VERSIONS(X) X(1_2, 0x0303, "TLSv1.2") X(1_3, 0x0304, "TLSv1.3")

enum hr_tls_version {
    HR_TLS_VERSION_NONE = 0,
#define X(name, wire, text) HR_TLS_##name,
    HR_TLS_VERSIONS(X)
#undef X
    HR_TLS_VERSION_MAX
};

/* What the record layer needs to know of a cipher suite. X(name, key bytes, hash bytes, text) */
#define HR_TLS_SUITES(X)                                                                                     \
    X(AES_128_GCM_SHA256, 16, 32, "AES-128-GCM")                                                             \
    X(AES_256_GCM_SHA384, 32, 48, "AES-256-GCM")                                                             \
    X(CHACHA20_POLY1305_SHA256, 32, 32, "ChaCha20-Poly1305")

enum hr_tls_suite {
    HR_TLS_SUITE_NONE = 0,
#define X(name, key, hash, text) HR_TLS_##name,
    HR_TLS_SUITES(X)
#undef X
    HR_TLS_SUITE_MAX
};

enum hr_tls_role {
    HR_TLS_ROLE_NONE = 0,
    HR_TLS_SERVER, /* towards clients */
    HR_TLS_CLIENT, /* towards brokers */
    HR_TLS_ROLE_MAX
};

#define HR_TLS_SECRET_MAX 48
#define HR_TLS_KEY_MAX 32
#define HR_TLS_FIXED_IV_LEN 4 /* of TLS 1.2's AES-GCM */
#define HR_TLS_FRAGMENT_MAX 16384 /* RFC 8446 5.1 */
#define HR_TLS_FRAGMENT_MIN 64    /* RFC 8449 4 */

struct hr_tls_direction {
    union {
        uint8_t traffic_secret[HR_TLS_SECRET_MAX];
        struct {
            uint8_t key[HR_TLS_KEY_MAX];
            uint8_t fixed_iv[HR_TLS_FIXED_IV_LEN];
        };
    };
    uint64_t seq;
    uint64_t explicit_nonce;
    uint32_t generation;
    uint32_t reserved;
};

struct hr_tls_secrets {
    uint8_t version;       /* enum hr_tls_version */
    uint8_t suite;         /* enum hr_tls_suite */
    uint8_t role;          /* enum hr_tls_role */
    uint8_t reserved;
    uint16_t fragment_max; /* content bytes of a record, either way: RFC 6066 4; 16384 if not negotiated */
    uint16_t reserved2;
    struct hr_tls_direction read, write;
};
_Static_assert(sizeof(struct hr_tls_secrets) == 8 + 2 * 72, "no hidden padding: the layout is part of the ABI");

/* Every field within its range, and what the version does not use zero. The reader's check of its private copy. */
HR_MUST_CHECK int hr_tls_secrets_check(const struct hr_tls_secrets *secrets);

/* 0 for what is not in the list. */
uint32_t hr_tls_key_len(uint8_t suite);
uint32_t hr_tls_hash_len(uint8_t suite);
/* For people; "?" for what is not in the list. */
const char *hr_tls_version_text(uint8_t version);
const char *hr_tls_suite_text(uint8_t suite);

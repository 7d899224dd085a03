/* The ciphers and hashes of the record layer: a thin layer over a library that works segment by segment, in place.
 *
 * Private to dataplane/tls. intel-ipsec-mb's direct calls where that library is packaged; OpenSSL elsewhere
 * (arm64), behind the same functions, chosen when compiling (-Dtls_crypto). Neither calls the heap after
 * creation.
 *
 * An operation is begin, update once per segment, end; the state lies with the caller, in locked memory, because
 * it holds key stream. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/tls/secrets.h"

#define HR_AEAD_IV_LEN 12
#define HR_AEAD_TAG_LEN 16

#ifdef HR_TLS_OPENSSL
#include <openssl/evp.h>

struct hr_aead_key {
    EVP_CIPHER_CTX *of_suite[HR_TLS_SUITE_MAX]; /* made once: a context that changes its cipher calls the heap */
    EVP_CIPHER_CTX *ctx;                        /* the one in use */
};

struct hr_aead_op {
    uint8_t unused;
};
#else
#include <intel-ipsec-mb.h>

struct hr_aead_key {
    union {
        struct gcm_key_data gcm;
        uint8_t chacha[32];
    };
    uint8_t suite; /* enum hr_tls_suite */
} __attribute__((aligned(64))); /* the library stores aligned; its own header says so on some platforms only */

struct hr_aead_op {
    union {
        struct gcm_context_data gcm;
        struct chacha20_poly1305_context_data chacha;
    };
};
#endif

struct hr_aead;

/* One per worker. */
HR_MUST_CHECK int hr_aead_create(struct hr_aead **ret_lib);
void hr_aead_destroy(struct hr_aead *lib);

/* What a key place needs once, and gives back in the end. */
HR_MUST_CHECK int hr_aead_key_init(const struct hr_aead *lib, struct hr_aead_key *key);
void hr_aead_key_fini(struct hr_aead_key *key);

/* Expands a key for one direction. */
void hr_aead_key_set(const struct hr_aead *lib, struct hr_aead_key *key, uint8_t suite, const uint8_t *raw, bool seal);
/* Forgets it; the place may be set again. */
void hr_aead_key_wipe(struct hr_aead_key *key);

void hr_aead_begin(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op,
                   const uint8_t iv[HR_AEAD_IV_LEN], const uint8_t *aad, uint32_t aad_len);
void hr_aead_seal(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op, uint8_t *data,
                  uint32_t len);
void hr_aead_open(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op, uint8_t *data,
                  uint32_t len);
void hr_aead_seal_end(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op,
                      uint8_t tag[HR_AEAD_TAG_LEN]);
/* True where the tag is right; compared in constant time. */
HR_MUST_CHECK bool hr_aead_open_end(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op,
                                    const uint8_t tag[HR_AEAD_TAG_LEN]);

/* SHA-256 or SHA-384, as hash_len says. */
void hr_aead_hash(const struct hr_aead *lib, uint32_t hash_len, const uint8_t *data, uint32_t len, uint8_t *ret_hash);

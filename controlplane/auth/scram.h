/* SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), both roles, without I/O.
 *
 * As Kafka speaks it: no channel binding (a client that asks for it is refused), no SASLprep (names and passwords
 * are compared byte by byte), iterations within Kafka's 4096..16384, no delegation tokens (`tokenauth`).
 *
 * client                                   server
 *   hr_scram_client_first()  -- n,,n=..,r=.. -->  hr_scram_server_first()
 *   hr_scram_client_final()  <-- r=..,s=..,i=..   (looks the user up)
 *                            -- c=..,r=..,p=.. -> hr_scram_server_final()
 *   hr_scram_client_verify() <-- v=..
 *
 * A server never learns whether a user exists from how far it gets: an unknown name is given a salt that is derived
 * from the name and a secret of the server, the same each time, and fails at the last step.
 *
 * Structs are the caller's, hold secrets while an exchange lasts, and are wiped by their _end(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/auth/crypto.h"
#include "shared/base/error.h"

#define HR_SCRAM_ITERATIONS_MIN 4096
#define HR_SCRAM_ITERATIONS_MAX 16384
#define HR_SCRAM_SALT_MAX       64
#define HR_SCRAM_SALT_LEN       24 /* of salts made here, for users and decoys alike: nobody is told apart by it */
#define HR_SCRAM_USER_MAX       256 /* with the NUL */
#define HR_SCRAM_PASSWORD_MAX   1024
#define HR_SCRAM_NONCE_MAX      256 /* client's and server's part together, with the NUL */
#define HR_SCRAM_MESSAGE_MAX    2048

/* What a server keeps of a password: it proves the password, and does not give it away (RFC 5802 3). */
struct hr_scram_verifier {
    enum hr_digest hash;
    uint32_t iterations;
    uint32_t salt_len;
    uint8_t salt[HR_SCRAM_SALT_MAX];
    uint8_t stored_key[HR_DIGEST_MAX];
    uint8_t server_key[HR_DIGEST_MAX];
};

/* "SCRAM-SHA-256", or "SCRAM-SHA-512". */
const char *hr_scram_name(enum hr_digest hash);

/* INVALID: iterations or salt out of bounds. */
HR_MUST_CHECK int hr_scram_derive(enum hr_digest hash, const char *password, size_t password_len,
                                  const uint8_t *salt, uint32_t salt_len, uint32_t iterations,
                                  struct hr_scram_verifier *ret_verifier);
/* The verifier of a user who does not exist: no password fits. Hash, iterations and the salt's length are those of looks,
 * the salt follows from the name and the secret, which is the server's, of 32 bytes. */
HR_MUST_CHECK int hr_scram_decoy(const struct hr_scram_verifier *looks, const uint8_t secret[32], const char *user,
                                 struct hr_scram_verifier *ret_verifier);
/* Does the password fit? Costs the iterations. REFUSED when not. */
HR_MUST_CHECK int hr_scram_check_password(const struct hr_scram_verifier *verifier, const char *password,
                                          size_t password_len);

/* -- client -------------------------------------------------------------------------------------------- */

/* Keys of the last login by salt and iterations: logging in again with the same password costs no iterations.
 * Zeroed is empty; wiped with hr_wipe() by its owner, and whenever the password changes. */
struct hr_scram_cache {
    struct hr_scram_verifier keys; /* stored_key holds ClientKey here; hash NONE: empty */
};

struct hr_scram_client {
    enum hr_digest hash;
    uint32_t step; /* how many messages were taken */
    char nonce[HR_SCRAM_NONCE_MAX];
    char first_bare[HR_SCRAM_MESSAGE_MAX];
    uint8_t server_signature[HR_DIGEST_MAX];
};

/* nonce: NULL for a random one; tests give their own. TOO_LARGE when the name is too long. */
HR_MUST_CHECK int hr_scram_client_first(struct hr_scram_client *client, enum hr_digest hash, const char *user,
                                        const char *nonce, char *ret_out, size_t cap, size_t *ret_len);
/* INVALID: the server's message is malformed, *ret_why says how. cache may be NULL. */
HR_MUST_CHECK int hr_scram_client_final(struct hr_scram_client *client, const char *password, size_t password_len,
                                        struct hr_scram_cache *cache, const uint8_t *msg, size_t len, char *ret_out,
                                        size_t cap, size_t *ret_len, const char **ret_why);
/* REFUSED: the server said e=...; INVALID: it does not know the password either. */
HR_MUST_CHECK int hr_scram_client_verify(struct hr_scram_client *client, const uint8_t *msg, size_t len,
                                         const char **ret_why);
void hr_scram_client_end(struct hr_scram_client *client);

/* -- server -------------------------------------------------------------------------------------------- */

struct hr_scram_server {
    enum hr_digest hash;
    bool known; /* the user exists */
    uint32_t step;
    char user[HR_SCRAM_USER_MAX];
    char gs2_base64[HR_SCRAM_USER_MAX * 4];
    char nonce[HR_SCRAM_NONCE_MAX];
    char auth_message[HR_SCRAM_MESSAGE_MAX]; /* grows by each message */
    struct hr_scram_verifier verifier;
};

/* Fills the user's verifier for this hash and says true; for a user who does not exist, or has none of this hash, a
 * decoy (hr_scram_decoy()) and false. */
typedef bool hr_scram_lookup_fn(void *arg, const char *user, enum hr_digest hash, struct hr_scram_verifier *ret);

/* nonce: the server's part, NULL for a random one. INVALID with *ret_why. */
HR_MUST_CHECK int hr_scram_server_first(struct hr_scram_server *server, enum hr_digest hash,
                                        hr_scram_lookup_fn *lookup, void *arg, const char *nonce,
                                        const uint8_t *msg, size_t len, char *ret_out, size_t cap, size_t *ret_len,
                                        const char **ret_why);
/* 0: server->user is proven, the message goes out. REFUSED: wrong password or no such user, not told apart. */
HR_MUST_CHECK int hr_scram_server_final(struct hr_scram_server *server, const uint8_t *msg, size_t len, char *ret_out,
                                        size_t cap, size_t *ret_len, const char **ret_why);
void hr_scram_server_end(struct hr_scram_server *server);

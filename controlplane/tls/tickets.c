#include "controlplane/tls/tickets.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/mman.h>

#define MAPPING 4096

struct key {
    uint8_t name[16];
    uint8_t aes[32];
    uint8_t hmac[32];
};

/* On a page of its own, which is locked. */
struct hr_tls_tickets {
    uint32_t refs;
    uint32_t n;
    struct key keys[HR_TLS_TICKET_KEYS]; /* newest first */
};
_Static_assert(sizeof(struct hr_tls_tickets) <= MAPPING, "one page");

int hr_tls_tickets_create(struct hr_tls_tickets **ret_tickets)
{
    struct hr_tls_tickets *t = mmap(NULL, MAPPING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (t == MAP_FAILED)
        return HR_E_NOMEM;
    /* Where RLIMIT_MEMLOCK forbids it, the page may be swapped: less than asked for, but no reason to fail. */
    (void)!mlock(t, MAPPING);
    (void)!madvise(t, MAPPING, MADV_DONTDUMP);
    t->refs = 1;
    if (hr_tls_tickets_rotate(t) != 0) {
        hr_tls_tickets_unref(t);
        return HR_E_SYSTEM;
    }
    *ret_tickets = t;
    return 0;
}

struct hr_tls_tickets *hr_tls_tickets_ref(struct hr_tls_tickets *tickets)
{
    tickets->refs++;
    return tickets;
}

void hr_tls_tickets_unref(struct hr_tls_tickets *tickets)
{
    if (!tickets || --tickets->refs > 0)
        return;
    OPENSSL_cleanse(tickets, sizeof(*tickets));
    munmap(tickets, MAPPING);
}

int hr_tls_tickets_rotate(struct hr_tls_tickets *t)
{
    struct key fresh;

    if (RAND_bytes(fresh.name, sizeof(fresh.name)) != 1 || RAND_priv_bytes(fresh.aes, sizeof(fresh.aes)) != 1 ||
        RAND_priv_bytes(fresh.hmac, sizeof(fresh.hmac)) != 1)
        return HR_E_SYSTEM;
    memmove(&t->keys[1], &t->keys[0], sizeof(t->keys) - sizeof(t->keys[0]));
    t->keys[0] = fresh;
    if (t->n < HR_TLS_TICKET_KEYS)
        t->n++;
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return 0;
}

static int init(const struct key *key, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->hmac, sizeof(key->hmac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params) == 1 &&
           EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv, seal) == 1;
}

int hr_tls_tickets_use(const struct hr_tls_tickets *t, unsigned char name[16], unsigned char *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal, bool renew)
{
    if (seal) {
        if (RAND_bytes(iv, 16) != 1)
            return -1;
        memcpy(name, t->keys[0].name, 16);
        return init(&t->keys[0], iv, cipher, mac, 1) ? 1 : -1;
    }
    for (uint32_t i = 0; i < t->n; i++) {
        if (CRYPTO_memcmp(name, t->keys[i].name, 16) != 0)
            continue;
        if (!init(&t->keys[i], iv, cipher, mac, 0))
            return -1;
        return i == 0 && !renew ? 1 : 2; /* 2: good, and give the client a new one */
    }
    return 0; /* unknown: a full handshake */
}

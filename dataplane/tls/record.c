/* Creation, legs, and the keys of a direction.
 *
 * One anonymous mapping holds everything that is secret or leads to it: legs, expanded keys, the cipher operation
 * under way. It is locked, left out of core dumps, and not inherited. */
#include "dataplane/tls/record.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dataplane/tls/hkdf.h"
#include "dataplane/tls/impl.h"

#define ALIGN 64
#define BLOCKS_PER_RECORD (HR_TLS_FRAGMENT_MAX / 16)
#define SEQ_NEAR_WRAP (UINT64_MAX - 65536)

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

static int map_locked(size_t len, void **ret_p)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return HR_E_NOMEM;
    if (mlock(p, len) != 0 || madvise(p, len, MADV_DONTDUMP) != 0 || madvise(p, len, MADV_DONTFORK) != 0) {
        munmap(p, len);
        return HR_E_REFUSED;
    }
    *ret_p = p;
    return 0;
}

int hr_rec_create(const struct hr_rec_config *cfg, struct hr_rec **ret_rec)
{
    if (cfg->max_legs == 0 || cfg->max_keys < 2 || cfg->rekey_records == 0)
        return HR_E_INVALID;
    uint32_t n_keys = cfg->max_keys + 1;
    size_t legs_at = aligned(sizeof(struct hr_rec));
    size_t keys_at = legs_at + aligned((size_t)cfg->max_legs * sizeof(struct hr_rec_leg));
    size_t len = keys_at + (size_t)n_keys * sizeof(struct hr_rec_key);
    void *p;
    int err = map_locked(len, &p);
    if (err != 0)
        return err;
    struct hr_rec *rec = p;
    rec->cfg = *cfg;
    rec->mapped = len;
    rec->legs = (struct hr_rec_leg *)(void *)((char *)p + legs_at);
    rec->keys = (struct hr_rec_key *)(void *)((char *)p + keys_at);
    err = hr_aead_create(&rec->lib);
    if (err != 0) {
        munmap(p, len);
        return err;
    }
    for (uint32_t i = cfg->max_legs; i-- > 0;) {
        rec->legs[i].next_free = rec->free;
        rec->free = &rec->legs[i];
    }
    for (uint32_t i = 0; i < n_keys; i++) {
        rec->keys[i].prev = (i + n_keys - 1) % n_keys;
        rec->keys[i].next = (i + 1) % n_keys;
        if (hr_aead_key_init(rec->lib, &rec->keys[i].key) != 0) {
            rec->cfg.max_keys = i; /* so many to give back, the anchor's counted */
            hr_rec_destroy(rec);
            return HR_E_NOMEM;
        }
    }
    *ret_rec = rec;
    return 0;
}

void hr_rec_destroy(struct hr_rec *rec)
{
    if (!rec)
        return;
    size_t len = rec->mapped;
    for (uint32_t i = 0; i <= rec->cfg.max_keys; i++)
        hr_aead_key_fini(&rec->keys[i].key);
    hr_aead_destroy(rec->lib);
    hr_wipe(rec, len);
    munmap(rec, len);
}

static void derive(struct hr_rec *rec, const struct hr_rec_leg *leg, struct hr_rec_half *half)
{
    uint32_t hash = hr_tls_hash_len(leg->suite);
    hr_hkdf_expand_label(rec->lib, hash, half->secret, "key", half->key, hr_tls_key_len(leg->suite));
    hr_hkdf_expand_label(rec->lib, hash, half->secret, "iv", half->iv, HR_AEAD_IV_LEN);
}

static void half_open(struct hr_rec *rec, const struct hr_rec_leg *leg, struct hr_rec_half *half,
                      const struct hr_tls_direction *d, bool seals)
{
    half->seq = d->seq;
    half->generation = d->generation;
    half->explicit_nonce = d->explicit_nonce;
    half->seals = seals;
    if (leg->version == HR_TLS_1_3) {
        memcpy(half->secret, d->traffic_secret, sizeof(half->secret));
        derive(rec, leg, half);
    } else {
        memcpy(half->key, d->key, sizeof(half->key));
        memcpy(half->iv, d->fixed_iv, HR_TLS_FIXED_IV_LEN);
    }
}

int hr_rec_leg_open(struct hr_rec *rec, const struct hr_tls_secrets *secrets, struct hr_rec_leg **ret_leg)
{
    if (hr_tls_secrets_check(secrets) != 0)
        return HR_E_INVALID;
    struct hr_rec_leg *leg = rec->free;
    if (!leg)
        return HR_E_FULL;
    rec->free = leg->next_free;
    memset(leg, 0, sizeof(*leg));
    leg->version = secrets->version;
    leg->suite = secrets->suite;
    leg->role = secrets->role;
    leg->fragment_max = secrets->fragment_max;
    hr_pieceq_init(&leg->plain);
    hr_pieceq_init(&leg->unsealed);
    half_open(rec, leg, &leg->read, &secrets->read, false);
    half_open(rec, leg, &leg->write, &secrets->write, true);
    HR_GAUGE_SET(rec->cfg.stats, tls_legs, ++rec->n_open);
    *ret_leg = leg;
    return 0;
}

void hr_rec_leg_close(struct hr_rec *rec, struct hr_rec_leg *leg)
{
    hr_pieceq_clear(rec->cfg.bufs, &leg->plain);
    hr_pieceq_clear(rec->cfg.bufs, &leg->unsealed);
    hr_rec_key_drop(rec, &leg->read);
    hr_rec_key_drop(rec, &leg->write);
    hr_wipe(leg, sizeof(*leg));
    leg->next_free = rec->free;
    rec->free = leg;
    HR_GAUGE_SET(rec->cfg.stats, tls_legs, --rec->n_open);
}

uint32_t hr_rec_leg_place(const struct hr_rec *rec, const struct hr_rec_leg *leg)
{
    return (uint32_t)(leg - rec->legs) + 1;
}

struct hr_rec_leg *hr_rec_leg_at(const struct hr_rec *rec, uint32_t place)
{
    return &rec->legs[place - 1];
}

struct hr_pieceq *hr_rec_plain(struct hr_rec_leg *leg)
{
    return &leg->plain;
}

struct hr_pieceq *hr_rec_unsealed(struct hr_rec_leg *leg)
{
    return &leg->unsealed;
}

enum hr_rec_alert hr_rec_alert_due(const struct hr_rec_leg *leg)
{
    return leg->alert;
}

bool hr_rec_ended(const struct hr_rec_leg *leg)
{
    return leg->ended;
}

void hr_rec_leg_get_info(const struct hr_rec_leg *leg, struct hr_rec_info *ret_info)
{
    ret_info->version = leg->version;
    ret_info->suite = leg->suite;
    ret_info->role = leg->role;
    ret_info->fragment_max = leg->fragment_max;
    ret_info->read_seq = leg->read.seq;
    ret_info->write_seq = leg->write.seq;
    ret_info->read_generation = leg->read.generation;
    ret_info->write_generation = leg->write.generation;
}

void hr_rec_half_update(struct hr_rec *rec, const struct hr_rec_leg *leg, struct hr_rec_half *half)
{
    uint32_t hash = hr_tls_hash_len(leg->suite);
    hr_rec_key_drop(rec, half);
    hr_hkdf_expand_label(rec->lib, hash, half->secret, "traffic upd", half->secret, hash);
    derive(rec, leg, half);
    half->seq = half->blocks = 0;
    half->generation++;
}

bool hr_rec_half_worn(const struct hr_rec *rec, const struct hr_rec_half *half)
{
    /* Long before its number wraps, which nothing may reach: nonces never come twice. */
    return half->blocks >= (uint64_t)rec->cfg.rekey_records * BLOCKS_PER_RECORD || half->seq >= SEQ_NEAR_WRAP;
}

bool hr_rec_worn_out(const struct hr_rec_leg *leg)
{
    return leg->worn_out;
}

struct hr_aead_key *hr_rec_begin(struct hr_rec *rec, const struct hr_rec_leg *leg, struct hr_rec_half *half,
                                 const uint8_t header[HR_REC_HEADER_LEN], const uint8_t *explicit_nonce,
                                 uint32_t content_len)
{
    struct hr_aead_key *key = hr_rec_key_get(rec, leg, half);
    uint8_t iv[HR_AEAD_IV_LEN], seq_be[8];

    for (int i = 0; i < 8; i++)
        seq_be[i] = (uint8_t)(half->seq >> (56 - 8 * i));
    if (leg->version == HR_TLS_1_3) { /* RFC 8446 5.3 */
        memcpy(iv, half->iv, sizeof(iv));
        for (int i = 0; i < 8; i++)
            iv[4 + i] ^= seq_be[i];
        hr_aead_begin(rec->lib, key, &rec->op, iv, header, HR_REC_HEADER_LEN);
    } else { /* RFC 5246 6.2.3.3, RFC 5288 3 */
        uint8_t aad[13];
        memcpy(iv, half->iv, HR_TLS_FIXED_IV_LEN);
        memcpy(iv + HR_TLS_FIXED_IV_LEN, explicit_nonce, HR_REC_NONCE_LEN);
        memcpy(aad, seq_be, sizeof(seq_be));
        memcpy(aad + 8, header, 3);
        aad[11] = (uint8_t)(content_len >> 8);
        aad[12] = (uint8_t)content_len;
        hr_aead_begin(rec->lib, key, &rec->op, iv, aad, sizeof(aad));
    }
    half->seq++;
    /* The tag's own block, and the lengths', are blocks too. */
    half->blocks += (content_len + 15) / 16 + 2;
    return key;
}

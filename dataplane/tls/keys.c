/* Expanded keys. There are places for the directions used last; the one that has not been used for longest gives
 * way. Place 0 is the anchor of the ring and holds no key. */
#include "dataplane/tls/impl.h"

static void unlink_place(struct hr_rec *rec, uint32_t i)
{
    struct hr_rec_key *k = &rec->keys[i];
    rec->keys[k->prev].next = k->next;
    rec->keys[k->next].prev = k->prev;
}

static void link_behind(struct hr_rec *rec, uint32_t i, uint32_t prev)
{
    struct hr_rec_key *k = &rec->keys[i];
    k->prev = prev;
    k->next = rec->keys[prev].next;
    rec->keys[k->next].prev = i;
    rec->keys[prev].next = i;
}

struct hr_aead_key *hr_rec_key_get(struct hr_rec *rec, const struct hr_rec_leg *leg, struct hr_rec_half *half)
{
    uint32_t i = half->cached;

    if (i == 0) {
        i = rec->keys[0].prev;
        struct hr_rec_key *k = &rec->keys[i];
        if (k->owner)
            k->owner->cached = 0;
        hr_aead_key_set(rec->lib, &k->key, leg->suite, half->key, half->seals);
        k->owner = half;
        half->cached = i;
        HR_COUNT(rec->cfg.stats, tls_keys_expanded);
    }
    if (rec->keys[0].next != i) {
        unlink_place(rec, i);
        link_behind(rec, i, 0);
    }
    return &rec->keys[i].key;
}

void hr_rec_key_drop(struct hr_rec *rec, struct hr_rec_half *half)
{
    uint32_t i = half->cached;

    if (i == 0)
        return;
    half->cached = 0;
    rec->keys[i].owner = NULL;
    hr_aead_key_wipe(&rec->keys[i].key);
    unlink_place(rec, i);
    link_behind(rec, i, rec->keys[0].prev);
}

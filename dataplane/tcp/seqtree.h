/* An ordered set of sequence ranges, by where they start: a treap (a binary tree by sequence number that is at
 * the same time a heap by random priority), so that looking up one among ten thousand takes some twenty steps
 * whatever order a peer chose to make them in. Appending at the end and removing at the front, which is all
 * that happens without loss, are constant time.
 *
 * Nodes are embedded in their owner's objects; a node's seq may be changed in place as long as the order stays.
 * All sequence numbers in a tree lie within 2^31 of each other. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct hr_seqnode {
    struct hr_seqnode *left, *right, *parent;
    uint32_t seq;
    uint32_t prio;
};

struct hr_seqtree {
    struct hr_seqnode *root, *first, *last;
    uint32_t n;
    uint32_t rng;     /* priorities; any start will do */
    uint64_t visited; /* nodes looked at so far: the tests bound the work with it */
};

void hr_seqtree_init(struct hr_seqtree *t, uint32_t seed);
/* The last node that starts at or before seq; NULL if none does. */
struct hr_seqnode *hr_seqtree_floor(struct hr_seqtree *t, uint32_t seq);
/* node becomes the successor of prev (NULL: the first); node->seq must fit there. */
void hr_seqtree_insert(struct hr_seqtree *t, struct hr_seqnode *prev, struct hr_seqnode *node);
void hr_seqtree_remove(struct hr_seqtree *t, struct hr_seqnode *node);
struct hr_seqnode *hr_seqtree_next(const struct hr_seqnode *node);
struct hr_seqnode *hr_seqtree_prev(const struct hr_seqnode *node);

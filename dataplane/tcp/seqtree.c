/* The treap behind seqtree.h. Rotations keep the heap order; expected depth is 2 ln n. */
#include "dataplane/tcp/seqtree.h"

#include "dataplane/tcp/seq.h"

void hr_seqtree_init(struct hr_seqtree *t, uint32_t seed)
{
    *t = (struct hr_seqtree){.rng = seed};
}

struct hr_seqnode *hr_seqtree_floor(struct hr_seqtree *t, uint32_t seq)
{
    struct hr_seqnode *at = t->root, *found = NULL;
    uint32_t steps = 1;

    if (t->last != NULL && hr_seq_leq(t->last->seq, seq)) { /* the usual place is the end */
        at = NULL;
        found = t->last;
    }
    while (at != NULL) {
        bool right = hr_seq_leq(at->seq, seq);
        found = right ? at : found;
        at = right ? at->right : at->left;
        steps++;
    }
    t->visited += steps;
    return found;
}

/* Puts by (may be NULL) where node hangs. */
static void replace(struct hr_seqtree *t, const struct hr_seqnode *node, struct hr_seqnode *by)
{
    struct hr_seqnode *up = node->parent;

    if (up == NULL)
        t->root = by;
    else if (up->left == node)
        up->left = by;
    else
        up->right = by;
    if (by != NULL)
        by->parent = up;
}

/* node and its parent change places. */
static void rotate_up(struct hr_seqtree *t, struct hr_seqnode *node)
{
    struct hr_seqnode *up = node->parent, *moved;

    replace(t, up, node);
    if (up->left == node) {
        moved = node->right;
        up->left = moved;
        node->right = up;
    } else {
        moved = node->left;
        up->right = moved;
        node->left = up;
    }
    if (moved != NULL)
        moved->parent = up;
    up->parent = node;
}

void hr_seqtree_insert(struct hr_seqtree *t, struct hr_seqnode *prev, struct hr_seqnode *node)
{
    struct hr_seqnode *next = prev == NULL ? t->first : NULL;

    t->rng = t->rng * 1664525u + 1013904223u;
    node->left = node->right = node->parent = NULL;
    node->prio = t->rng;
    t->n++;
    if (prev == NULL) {
        t->first = node;
    } else if (prev->right == NULL) {
        prev->right = node;
        node->parent = prev;
    } else {
        for (next = prev->right; next->left != NULL; next = next->left)
            t->visited++;
    }
    if (next != NULL) {
        next->left = node;
        node->parent = next;
    }
    if (node->parent == NULL)
        t->root = node;
    if (t->last == prev)
        t->last = node;
    while (node->parent != NULL && node->parent->prio < node->prio) {
        t->visited++;
        rotate_up(t, node);
    }
}

void hr_seqtree_remove(struct hr_seqtree *t, struct hr_seqnode *node)
{
    if (t->first == node)
        t->first = hr_seqtree_next(node);
    if (t->last == node)
        t->last = hr_seqtree_prev(node);
    while (node->left != NULL && node->right != NULL) {
        t->visited++;
        rotate_up(t, node->left->prio > node->right->prio ? node->left : node->right);
    }
    replace(t, node, node->left != NULL ? node->left : node->right);
    node->left = node->right = node->parent = NULL;
    t->n--;
}

struct hr_seqnode *hr_seqtree_next(const struct hr_seqnode *node)
{
    struct hr_seqnode *at = node->right;

    if (at != NULL) {
        while (at->left != NULL)
            at = at->left;
        return at;
    }
    for (at = node->parent; at != NULL && at->right == node; at = at->parent)
        node = at;
    return at;
}

struct hr_seqnode *hr_seqtree_prev(const struct hr_seqnode *node)
{
    struct hr_seqnode *at = node->left;

    if (at != NULL) {
        while (at->right != NULL)
            at = at->right;
        return at;
    }
    for (at = node->parent; at != NULL && at->left == node; at = at->parent)
        node = at;
    return at;
}

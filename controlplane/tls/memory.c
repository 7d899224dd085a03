#include "controlplane/tls/memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static void *take(size_t n, const char *file, int line)
{
    (void)file, (void)line;
    return n ? malloc(n) : NULL;
}

static void give_back(void *p, const char *file, int line)
{
    (void)file, (void)line;
    if (p)
        OPENSSL_cleanse(p, malloc_usable_size(p));
    free(p);
}

static void *resize(void *p, size_t n, const char *file, int line)
{
    size_t have = p ? malloc_usable_size(p) : 0;
    void *moved;

    if (p && n > 0 && n <= have)
        return p;
    moved = take(n, file, line);
    if (n > 0 && !moved)
        return NULL;
    if (p && moved)
        memcpy(moved, p, have);
    give_back(p, file, line);
    return moved;
}

int hr_tls_memory_init(void)
{
    return CRYPTO_set_mem_functions(take, resize, give_back) == 1 ? 0 : HR_E_BUSY;
}

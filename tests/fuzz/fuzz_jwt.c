/* Tokens, key sets, answers of token endpoints and the framing of OAUTHBEARER: the first byte picks which. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/jwt.h"
#include "controlplane/auth/oauth.h"
#include "controlplane/auth/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char set[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a3\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static void token(const char *text, size_t len)
{
    static const struct hr_jwt_rules rules = {.audience = "a", .scopes = {"s"}, .skew_s = 30};
    static struct hr_jwks *jwks;
    struct hr_jwt_identity who;
    char why_not[HR_JWKS_WHY_MAX];
    const char *why = NULL;
    struct hr_jwt jwt;
    void *key;

    if (!jwks && hr_jwks_parse(set, sizeof(set) - 1, &jwks, why_not) != 0)
        abort();
    if (hr_jwt_parse(text, len, &jwt, &why) != 0) {
        if (!why)
            abort();
        return;
    }
    key = hr_jwks_find(jwks, jwt.kid, jwt.alg);
    if (key)
        (void)!hr_jwt_verify(&jwt, key);
    if (hr_jwt_check(&jwt, &rules, 1000, &who, &why) == 0 && (!who.principal[0] || who.expires_s < 970))
        abort();
    hr_jwt_end(&jwt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why_not[HR_JWKS_WHY_MAX];
    static char text[HR_TOKEN_MAX], refused[HR_TOKEN_WHY_MAX];
    int64_t lives_s;
    struct hr_oauth_message message;
    struct hr_jwks *jwks;
    const char *why = NULL;

    if (size < 1)
        return 0;
    switch (data[0] % 4) {
    case 0:
        token((const char *)data + 1, size - 1);
        break;
    case 1:
        if (hr_jwks_parse((const char *)data + 1, size - 1, &jwks, why_not) == 0) {
            if (hr_jwks_count(jwks) == 0)
                abort();
            hr_jwks_free(jwks);
        }
        break;
    case 2:
        if (hr_token_parse((const char *)data + 1, size - 1, text, &lives_s, refused) == 0 && (!text[0] || lives_s < 1))
            abort();
        break;
    default:
        if (hr_oauth_parse(data + 1, size - 1, &message, &why) == 0)
            token(message.token, message.token_len);
        else if (!why)
            abort();
    }
    return 0;
}

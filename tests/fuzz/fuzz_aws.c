/* What AWS's services answer, a file of credentials, and a broker's answer to AWS_MSK_IAM: the first byte picks which. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/credentials.h"
#include "controlplane/auth/iam.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[HR_AWS_WHY_MAX] = "", *text;
    const char *why_not = NULL;
    struct hr_aws_keys keys = {0};
    int err;

    if (size < 1 || !(text = malloc(size)))
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0] % 4) {
    case 0:
        err = hr_aws_parse_json(text, size - 1, &keys, why);
        break;
    case 1:
        err = hr_aws_parse_sts(text, &keys, why);
        break;
    case 2:
        err = hr_aws_parse_file(text, "default", &keys, why);
        break;
    default:
        if (hr_iam_check_reply(data + 1, size - 1, &why_not) != 0 && !why_not)
            abort();
        free(text);
        return 0;
    }
    if (err ? !why[0] : !keys.id[0] || !keys.secret[0])
        abort();
    free(text);
    return 0;
}

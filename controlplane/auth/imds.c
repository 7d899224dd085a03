#include "controlplane/auth/imds.h"

#include <stdio.h>
#include <string.h>

#define SERVICE "http://169.254.169.254"

void hr_imds_url(char *url, size_t cap, const char *service, const char *path)
{
    size_t len;

    if (!service || !*service)
        service = SERVICE;
    len = strlen(service);
    snprintf(url, cap, "%.*s%s", (int)(len - (service[len - 1] == '/')), service, path);
}

bool hr_imds_word(const struct hr_http_reply *reply, char *ret, size_t cap)
{
    size_t len = strcspn(reply->body, "\r\n");

    if (len == 0 || len >= cap)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (reply->body[i] <= ' ' || reply->body[i] > 0x7e)
            return false;
    }
    memcpy(ret, reply->body, len);
    ret[len] = '\0';
    return true;
}

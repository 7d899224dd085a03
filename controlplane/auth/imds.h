/* What all who ask EC2's instance metadata service (IMDSv2) have in common. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "controlplane/auth/http.h"

/* The address of a path of the service; service: NULL or "": the link-local one. */
void hr_imds_url(char *url, size_t cap, const char *service, const char *path);
/* The answer's first line where that is one word of printable ASCII characters and fits; else false. */
bool hr_imds_word(const struct hr_http_reply *reply, char *ret, size_t cap);

#include "shared/base/error.h"

static const char *const texts[HR_EI_MAX] = {
    [HR_EI_NONE] = "success",
#define X(name, text) [HR_EI_##name] = text,
    HR_ERRORS(X)
#undef X
};

static const char *const names[HR_EI_MAX] = {
    [HR_EI_NONE] = "OK",
#define X(name, text) [HR_EI_##name] = #name,
    HR_ERRORS(X)
#undef X
};

const char *hr_strerror(int err)
{
    return err <= 0 && err > -HR_EI_MAX ? texts[-err] : "unknown error";
}

const char *hr_errname(int err)
{
    return err <= 0 && err > -HR_EI_MAX ? names[-err] : "UNKNOWN";
}

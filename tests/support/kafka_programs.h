/* Programs that tell every role, for tests of the walker: made once for each message and version. */
#pragma once

#include <stdint.h>

#include "shared/kafka/program.h"

/* Aborts when there is none to be had. */
const struct hr_kprogram *every_role(const struct hr_kmessage *message, int16_t version);

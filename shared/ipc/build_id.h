/* Names this build in the hello of both processes: the version and a hash over the headers that make the ABI. */
#pragma once

extern const char hr_build_id[];

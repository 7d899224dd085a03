/* Between the generated table and schema.c only: where an API key stands in hr_kapis. */
#pragma once

#include <stdint.h>

extern const uint8_t hr_kapi_places[]; /* key to place + 1; 0: not ours */
extern const uint16_t hr_kapi_places_n;

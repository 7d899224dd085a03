/* Dollars. A byte that goes from one zone to another is paid by who sends it and by who receives it, at a price for each
 * gigabyte (10^9 bytes); within a zone it is free, and so is what is in no zone that we know of. What a client sends
 * crosses from its zone to this proxy's and from there to the broker's; direct, it would have gone to the broker. */
#pragma once

#include <stdint.h>

#include "controlplane/zones/totals.h"
#include "shared/config/config.h"

/* Of one byte from one zone to the other, both sides together; numbers of the map. */
double hr_zone_price(const struct hr_config *config, const struct hr_zone_map *map, uint8_t from, uint8_t to);
/* Of one byte of a client's that goes to a broker, or back, through the map's own zone. */
double hr_zone_path_price(const struct hr_config *config, const struct hr_zone_map *map, uint8_t client, uint8_t broker);

struct hr_zone_cost {
    double payload;  /* of frames, as they go */
    double overhead; /* of everything around them: headers, acknowledgements, TLS, what was sent again */
    double direct;   /* of the same frames between clients and the brokers that they asked */
    uint64_t bytes, crossing; /* of frames; those that leave a zone on their way */
    uint64_t unknown;         /* of frames to or from where we do not know */
};
void hr_zone_cost(const struct hr_config *config, const struct hr_zone_map *map, const struct hr_zone_totals *totals,
                  struct hr_zone_cost *ret_cost);

/* Bytes of a link's packets, IP headers and all. */
uint64_t hr_zone_link_rx(const struct hr_zone_totals *totals, enum hr_zone_peer peer, uint8_t zone);
uint64_t hr_zone_link_tx(const struct hr_zone_totals *totals, enum hr_zone_peer peer, uint8_t zone);

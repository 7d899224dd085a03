/* The tail of a Produce, Fetch, ShareFetch or ShareAcknowledge response: node endpoints behind the payload,
 * at a time when the frame's size has long left. The tail is rewritten at exactly its old length:
 *
 *   tagged      count | ... tag 0, size, endpoints ... |       ->  count+1 | ... endpoints' | filler |
 *   untagged    endpoints | count | tags |                     ->  endpoints' | count+1 | tags | filler |
 *
 * The filler is a tagged field that nobody knows, of zeros: readers skip it by its size (KIP-482). It takes
 * at least two bytes, and its size's varint grows at 128, so some gaps take two fillers and a gap of one
 * byte cannot be filled. Where the new endpoints do not fit they are told without their racks (clients know
 * those from metadata), and where that does not fit either none are told and the filler takes their room:
 * clients then use the node as they know it, or ask for metadata. Other tagged fields stay as they are. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/kafka/edit.h"
#include "shared/base/error.h"
#include "shared/kafka/schema.h"

enum hr_tail {
    HR_TAIL_SAME = 0,  /* nothing to change: out is not written */
    HR_TAIL_REWRITTEN, /* addresses of virtual brokers, filled up */
    HR_TAIL_HIDDEN,    /* they did not fit: no endpoints */
};

/* in is the rest of the response from its top-level tag section on (tagged), or from the endpoints' array on.
 * out gets exactly len bytes unless *ret_tail is SAME; scratch holds the new endpoints in between. INVALID:
 * the bytes do not follow the schema. */
HR_MUST_CHECK int hr_tail_rewrite(struct hr_edit *e, const struct hr_kmessage *message, int16_t version,
                                  bool tagged, const uint8_t *in, uint32_t len, uint8_t *out,
                                  uint8_t *scratch, uint32_t cap, enum hr_tail *ret_tail);

/* One request and its response through a relay of the fixture, checked with cmocka's assertions. */
#pragma once

#include "tests/support/relay_fixture.h"

uint32_t rf_in_flight(const struct rf *f);

/* A new relay that waits for one response of this version. */
void rf_expect(struct rf *f, uint64_t seed, int16_t key, int16_t version, int32_t correlation_id);

/* The client has got these bytes, and no others. */
void rf_assert_client_got(const struct rf *f, const struct rf_bytes *want);

/* The broker says `in` and the client must get `out`, however the bytes are cut. */
void rf_becomes(struct rf *f, int16_t key, int16_t version, const char *in, const char *out);

/* The broker says these bytes, and the session ends for this reason. */
void rf_ends(struct rf *f, int16_t key, int16_t version, const void *p, uint32_t len, enum hr_drop want);

/* printf into one of four static buffers. */
const char *rf_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#include "dataplane/proxy/origin.h"

#include <stdbool.h>
#include <string.h>

#define FIXED         16 /* bytes up to the length, included */
#define CMD_LOCAL     0x20
#define CMD_PROXY     0x21
#define FAMILY_NONE   0x00
#define FAMILY_TCP4   0x11
#define FAMILY_TCP6   0x21
#define TYPE_CRC32C   0x03
#define TYPE_AWS      0xea
#define AWS_ENDPOINT  0x01 /* the first byte of AWS's value */

static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)(p[0] << 8 | p[1]);
}

/* Castagnoli's polynomial, reflected. Once per connection: a table would cost more cache than it saves time. */
static uint32_t crc32c(uint32_t crc, const uint8_t *data, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return crc;
}

/* Over the whole header, the checksum's own bytes at offset taken for zeros. */
static bool checksum_is_right(const uint8_t *data, uint32_t len, uint32_t offset)
{
    static const uint8_t zeros[4];
    uint32_t crc = crc32c(UINT32_MAX, data, offset);
    crc = crc32c(crc, zeros, 4);
    crc = ~crc32c(crc, data + offset + 4, len - offset - 4);
    return crc == (get16(data + offset) << 16 | get16(data + offset + 2));
}

/* It is shown to people: nothing but what AWS's ids are made of. */
static void read_endpoint(const uint8_t *value, uint32_t len, struct hr_origin *origin)
{
    if (len < 2 || value[0] != AWS_ENDPOINT || len - 1 >= sizeof(origin->vpc_endpoint))
        return;
    for (uint32_t i = 1; i < len; i++) {
        if (!(value[i] >= 'a' && value[i] <= 'z') && !(value[i] >= '0' && value[i] <= '9') && value[i] != '-')
            return;
    }
    memcpy(origin->vpc_endpoint, value + 1, len - 1);
}

static int read_records(const uint8_t *data, uint32_t len, uint32_t at, struct hr_origin *origin)
{
    while (at < len) {
        if (len - at < 3)
            return HR_E_INVALID;
        uint32_t type = data[at], n = get16(data + at + 1);
        at += 3;
        if (n > len - at)
            return HR_E_INVALID;
        if (type == TYPE_CRC32C && (n != 4 || !checksum_is_right(data, len, at)))
            return HR_E_INVALID;
        if (type == TYPE_AWS)
            read_endpoint(data + at, n, origin);
        at += n;
    }
    return 0;
}

static int read_source(const uint8_t *data, uint32_t len, struct hr_origin *origin)
{
    bool six = data[13] == FAMILY_TCP6;
    uint32_t addr_len = six ? 16 : 4, ports = FIXED + 2 * addr_len;
    uint32_t v4_be;

    if (len < ports + 4)
        return HR_E_INVALID;
    if (six) {
        memcpy(origin->addr.b, data + FIXED, 16);
    } else {
        memcpy(&v4_be, data + FIXED, 4);
        origin->addr = hr_addr_from_v4(v4_be);
    }
    origin->port = (uint16_t)get16(data + ports);
    /* Nobody's: no client can have these. */
    if (hr_addr_is_any(&origin->addr) || hr_addr_is_group(&origin->addr))
        return HR_E_INVALID;
    return read_records(data, len, ports + 4, origin);
}

int hr_origin_read(const uint8_t *data, uint32_t len, uint32_t *ret_header_len, struct hr_origin *ret_origin)
{
    struct hr_origin origin = {0};
    uint32_t known = len < sizeof(signature) ? len : (uint32_t)sizeof(signature);
    int err = 0;

    if (memcmp(data, signature, known) != 0)
        return HR_E_INVALID;
    if (len > 12 && data[12] != CMD_LOCAL && data[12] != CMD_PROXY)
        return HR_E_INVALID;
    if (len < FIXED)
        return HR_E_AGAIN;
    uint32_t header_len = FIXED + get16(data + 14);
    if (header_len > HR_ORIGIN_HEADER_MAX)
        return HR_E_TOO_LARGE;
    if (len < header_len)
        return HR_E_AGAIN;
    /* Of LOCAL whatever follows is to be skipped, unlooked at. */
    if (data[12] == CMD_PROXY) {
        if (data[13] == FAMILY_TCP4 || data[13] == FAMILY_TCP6)
            err = read_source(data, header_len, &origin);
        else if (data[13] == FAMILY_NONE)
            err = read_records(data, header_len, FIXED, &origin);
        else
            err = HR_E_INVALID; /* UDP and local sockets come over no TCP connection */
    }
    if (err)
        return err;
    *ret_header_len = header_len;
    *ret_origin = origin;
    return 0;
}

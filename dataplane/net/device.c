/* Device strings: what the configuration says about a port, as DPDK's drivers want it.
 *
 * A string is a PCI address or a virtual device's name, then key=value arguments with commas between. For
 * net_af_packet the frame and block sizes are the trap: the receive ring is an array of frames only if the
 * frame size divides the block size, and a frame that is longer than its slot is cut without a word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/net/device.h"
#include "dataplane/net/port.h"

/* What the kernel puts in front of a frame's IP header in a TPACKET_V2 slot, Ethernet header included:
 * TPACKET_ALIGN(TPACKET2_HDRLEN + 16). */
#define AF_PACKET_OVERHEAD 80
#define FRAME_SIZE_MAX 61440
#define ETHER_OVERHEAD (RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN + 8) /* two VLAN tags */
#define ROOM_DEFAULT 2048
/* af_xdp keeps a whole frame with its own headroom in one page. */
#define ROOM_AF_XDP 3840

struct geometry {
    uint32_t framesz, blocksz, framecnt;
};

/* framesz divides blocksz, blocksz is whole pages, and a ring is about 8-16 MB at most. */
static const struct geometry geometries[] = {
    {2048, 65536, 4096}, {4096, 65536, 2048}, {9216, 36864, 1024},
    {16384, 65536, 1024}, {32768, 65536, 512}, {FRAME_SIZE_MAX, 61440, 512},
};

static const struct geometry *geometry_for(uint32_t mtu)
{
    for (unsigned i = 0; i < RTE_DIM(geometries); i++) {
        if (mtu + AF_PACKET_OVERHEAD <= geometries[i].framesz)
            return &geometries[i];
    }
    return NULL;
}

/* The value of key in "name,key=value,..."; false if it is not there. */
static bool device_arg(const char *device, const char *key, char *ret_value, uint32_t cap)
{
    size_t key_len = strlen(key);
    for (const char *p = strchr(device, ','); p != NULL; p = strchr(p, ',')) {
        p++;
        if (strncmp(p, key, key_len) == 0 && p[key_len] == '=') {
            const char *v = p + key_len + 1;
            size_t n = strcspn(v, ",");
            if (n >= cap)
                return false;
            memcpy(ret_value, v, n);
            ret_value[n] = 0;
            return true;
        }
    }
    return false;
}

static uint32_t device_arg_u32(const char *device, const char *key, uint32_t fallback)
{
    char v[16];
    return device_arg(device, key, v, sizeof(v)) ? (uint32_t)strtoul(v, NULL, 10) : fallback;
}

bool hr_port_device_ifname(const char *device, char ret_ifname[16])
{
    return device_arg(device, "iface", ret_ifname, 16);
}

enum hr_port_kind hr_port_device_kind(const char *device)
{
    static const struct {
        const char *prefix;
        enum hr_port_kind kind;
    } kinds[] = {
        {"net_af_packet", HR_PORT_KIND_AF_PACKET}, {"eth_af_packet", HR_PORT_KIND_AF_PACKET},
        {"net_af_xdp", HR_PORT_KIND_AF_XDP},       {"net_tap", HR_PORT_KIND_TAP},
        {"net_", HR_PORT_KIND_VDEV},               {"virtio_user", HR_PORT_KIND_VDEV},
        {"eth_", HR_PORT_KIND_VDEV},
    };
    for (unsigned i = 0; i < RTE_DIM(kinds); i++) {
        if (strncmp(device, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return kinds[i].kind;
    }
    return strchr(device, ':') != NULL ? HR_PORT_KIND_PCI : HR_PORT_KIND_NONE;
}

void hr_port_device_name(const char *device, char *ret_name, uint32_t cap)
{
    unsigned domain, bus, dev, fn;
    size_t n = strcspn(device, ",");
    if (hr_port_device_kind(device) == HR_PORT_KIND_PCI) {
        /* DPDK's names are full addresses; people leave the domain out. */
        if (sscanf(device, "%x:%x:%x.%x", &domain, &bus, &dev, &fn) == 4) {
            snprintf(ret_name, cap, "%04x:%02x:%02x.%x", domain, bus, dev, fn);
            return;
        }
        if (sscanf(device, "%x:%x.%x", &bus, &dev, &fn) == 3) {
            snprintf(ret_name, cap, "0000:%02x:%02x.%x", bus, dev, fn);
            return;
        }
    }
    snprintf(ret_name, cap, "%.*s", (int)n, device);
}

static int af_packet_args(const struct hr_config_port *cfg, uint16_t n_queues, char *ret_args, uint32_t cap,
                          char why[HR_WHY_MAX])
{
    const struct geometry *g = geometry_for(cfg->mtu);
    if (g == NULL) {
        snprintf(why, HR_WHY_MAX, "port %s: mtu %u is more than net_af_packet carries: at most %u", cfg->name,
                 cfg->mtu, FRAME_SIZE_MAX - AF_PACKET_OVERHEAD);
        return HR_E_CONFIG;
    }
    struct geometry own = {device_arg_u32(cfg->device, "framesz", 0), device_arg_u32(cfg->device, "blocksz", 0),
                           device_arg_u32(cfg->device, "framecnt", 0)};
    uint32_t qpairs = device_arg_u32(cfg->device, "qpairs", n_queues);
    if (qpairs != n_queues) { /* more would be as wrong as fewer: the kernel spreads packets to all of them */
        snprintf(why, HR_WHY_MAX, "port %s: qpairs=%u but the number of workers is %u: leave qpairs out",
                 cfg->name, qpairs, n_queues);
        return HR_E_CONFIG;
    }
    bool sizes_given = own.framesz != 0 || own.blocksz != 0;
    if (sizes_given) {
        long page = sysconf(_SC_PAGESIZE);
        if (own.framesz == 0 || own.blocksz == 0 || own.blocksz % own.framesz != 0 ||
            own.blocksz % (uint32_t)page != 0 || own.framesz % 16 != 0 || own.framesz > FRAME_SIZE_MAX ||
            own.framesz < (uint32_t)cfg->mtu + AF_PACKET_OVERHEAD) {
            snprintf(why, HR_WHY_MAX,
                     "port %s: framesz=%u,blocksz=%u do not fit mtu %u: leave both out, or use framesz=%u,"
                     "blocksz=%u", cfg->name, own.framesz, own.blocksz, cfg->mtu, g->framesz, g->blocksz);
            return HR_E_CONFIG;
        }
    }
    int n = snprintf(ret_args, cap, "%s", cfg->device);
    if (!sizes_given)
        n += snprintf(ret_args + n, cap - (uint32_t)n, ",framesz=%u,blocksz=%u", g->framesz, g->blocksz);
    if (own.framecnt == 0 && (uint32_t)n < cap) {
        uint32_t per_block = sizes_given ? own.blocksz / own.framesz : 1;
        uint32_t cnt = g->framecnt / per_block * per_block;
        n += snprintf(ret_args + n, cap - (uint32_t)n, ",framecnt=%u", cnt < per_block ? per_block : cnt);
    }
    char v[16];
    if (!device_arg(cfg->device, "qpairs", v, sizeof(v)) && (uint32_t)n < cap)
        n += snprintf(ret_args + n, cap - (uint32_t)n, ",qpairs=%u", n_queues);
    return (uint32_t)n < cap ? 0 : HR_E_TOO_LARGE;
}

int hr_port_device_args(const struct hr_config_port *cfg, uint16_t n_queues, char *ret_args, uint32_t cap,
                        char why[HR_WHY_MAX])
{
    char name[64], v[16];
    int err = 0, n;
    switch (hr_port_device_kind(cfg->device)) {
    case HR_PORT_KIND_AF_PACKET:
        err = af_packet_args(cfg, n_queues, ret_args, cap, why);
        break;
    case HR_PORT_KIND_AF_XDP:
        n = n_queues > 1 && !device_arg(cfg->device, "queue_count", v, sizeof(v))
                ? snprintf(ret_args, cap, "%s,queue_count=%u", cfg->device, n_queues)
                : snprintf(ret_args, cap, "%s", cfg->device);
        err = (uint32_t)n < cap ? 0 : HR_E_TOO_LARGE;
        break;
    case HR_PORT_KIND_PCI:
        hr_port_device_name(cfg->device, name, sizeof(name));
        n = snprintf(ret_args, cap, "%s%s", name, cfg->device + strcspn(cfg->device, ","));
        err = (uint32_t)n < cap ? 0 : HR_E_TOO_LARGE;
        break;
    case HR_PORT_KIND_TAP:
    case HR_PORT_KIND_VDEV:
        n = snprintf(ret_args, cap, "%s", cfg->device);
        err = (uint32_t)n < cap ? 0 : HR_E_TOO_LARGE;
        break;
    case HR_PORT_KIND_NONE:
    case HR_PORT_KIND_MAX:
        snprintf(why, HR_WHY_MAX,
                 "port %s: device \"%.80s\" is neither a PCI address (0000:00:06.0) nor a virtual device "
                 "(net_af_packet0,iface=eth1)", cfg->name, cfg->device);
        return HR_E_CONFIG;
    }
    if (err == HR_E_TOO_LARGE)
        snprintf(why, HR_WHY_MAX, "port %s: the device string is too long", cfg->name);
    return err;
}

uint32_t hr_port_data_room(const struct hr_config_port *cfg)
{
    uint32_t frame = RTE_ALIGN_CEIL((uint32_t)cfg->mtu + ETHER_OVERHEAD, 64u);
    switch (hr_port_device_kind(cfg->device)) {
    case HR_PORT_KIND_AF_PACKET: {
        const struct geometry *g = geometry_for(cfg->mtu);
        frame = device_arg_u32(cfg->device, "framesz", g != NULL ? g->framesz : FRAME_SIZE_MAX);
        if (frame > FRAME_SIZE_MAX)
            frame = FRAME_SIZE_MAX;
        break;
    }
    case HR_PORT_KIND_AF_XDP:
        return ROOM_AF_XDP;
    case HR_PORT_KIND_PCI:
    case HR_PORT_KIND_TAP:
    case HR_PORT_KIND_VDEV:
    case HR_PORT_KIND_NONE:
    case HR_PORT_KIND_MAX:
        break;
    }
    return (frame < ROOM_DEFAULT ? ROOM_DEFAULT : frame) + RTE_PKTMBUF_HEADROOM;
}

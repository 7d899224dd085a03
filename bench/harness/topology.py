"""The network of the bench: the rig's zones and bridges, and what it adds to them.

    NAME-relay  where kernel relays run: 10.77.0.6 and 10.78.0.6, on a veth pair of its own at each bridge, as
                Headrace's port is, so that every relay's packets cross the same kind and number of links
    floor       z1 eth3 ─ brf0 ─ hrf0 [DPDK] hrf1 ─ brf1 ─ z2 eth3: the same number of links again
    NAME-far    a broker's place (10.77.9.10) behind hr-delay, for delay and loss

Zone 1 is the client's, zone 2 the broker's.

Two settings. "mtu1500": MTU 1500 everywhere, no offload at any kernel end. "large": what crosses a link is as large as
it gets on either side: network 0 (Headrace) and the floor with MTU 61000, network 1 (kernel relays) with MTU 1500 and the
kernel's segmentation offloads, where a unit on a veth is up to 64 KiB as well.
"""

import os
import shutil

from rig import env, net
from rig.env import HUB, RUN, ZONES, run, zone_ns

RELAY = env.NAME + "-relay"
FAR = env.NAME + "-far"
FLOOR_NET = 3  # 2 is the brokers' own network (net.BROKERS)
ADDRESS = {0: "10.77", 1: "10.78", FLOOR_NET: "10.80"}
LARGE_MTU = 61000
ALLOWED = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
CLIENT_ZONE, BROKER_ZONE = 1, 2


def relay_addr(network):
    return "%s.0.6" % ADDRESS[network]


def broker_addr(network, zone=BROKER_ZONE):
    return "%s.%d.10" % (ADDRESS[network], zone)


def far_addr():
    return "10.77.9.10"


def _no_offload(ns, dev):
    run(env.in_ns(ns, ["ethtool", "-K", dev, "tx", "off"]))


def _namespace(name):
    run(["ip", "netns", "add", name])
    run(env.in_ns(name, ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]))
    net._etc(name, [])


def _allow_cubic():
    """A namespace may only choose what the whole system allows; down() takes it back."""
    with open(ALLOWED) as f:
        before = f.read().strip()
    if "cubic" not in before.split():
        with open(RUN + "/allowed", "w") as f:
            f.write(before)
        with open(ALLOWED, "w") as f:
            f.write(before + " cubic")


def up():
    """The rig's network and what the bench adds; the interface settings are apply()'s."""
    net.up()
    if net.exists(RELAY):
        return
    _namespace(RELAY)
    _namespace(FAR)
    hub, relay, far = [], ["link set lo up"], ["link set lo up"]
    for b in net.NETS:
        hub += ["link add rly%d type veth peer name eth%d netns %s" % (b, b, RELAY),
                "link set rly%d master br%d" % (b, b), "link set rly%d up" % b]
        relay += ["addr add %s/16 dev eth%d" % (relay_addr(b), b), "link set eth%d up" % b]
    for side, zone in ((0, CLIENT_ZONE), (1, BROKER_ZONE)):
        hub += ["link add brf%d type bridge" % side, "link set brf%d up" % side,
                "link add hrf%d type veth peer name hrf%dp" % (side, side), "link set hrf%dp master brf%d" % (side, side),
                "link set hrf%dp up" % side, "link set hrf%d up" % side,
                "link add z%df type veth peer name eth3 netns %s" % (zone, zone_ns(zone)),
                "link set z%df master brf%d" % (zone, side), "link set z%df up" % zone]
    hub += ["link add hdla type veth peer name hdlap", "link set hdlap master br0", "link set hdlap up", "link set hdla up",
            "link add hdlb type veth peer name eth0 netns %s" % FAR, "link set hdlb up"]
    far += ["addr add %s/16 dev eth0" % far_addr(), "link set eth0 up"]
    net._batch(HUB, hub)
    net._batch(RELAY, relay)
    net._batch(FAR, far)
    for zone, host in ((CLIENT_ZONE, 1), (BROKER_ZONE, 10)):
        net._batch(zone_ns(zone), ["addr add %s.%d.%d/16 dev eth3" % (ADDRESS[FLOOR_NET], zone, host), "link set eth3 up"])
        _no_offload(zone_ns(zone), "eth3")
    _no_offload(RELAY, "eth0")
    _no_offload(FAR, "eth0")
    for dev in ("brf0", "brf1"):
        run(env.in_ns(HUB, ["ethtool", "-K", dev, "tx", "off"]), check=False)
    os.makedirs(RUN, exist_ok=True)
    _allow_cubic()
    for ns in (RELAY, FAR, zone_ns(1), zone_ns(2), zone_ns(3)):
        run(env.in_ns(ns, ["sysctl", "-qw", "net.ipv4.tcp_congestion_control=cubic"]))


def apply(setting):
    """Sizes and offloads of all interfaces, for "mtu1500" or "large"."""
    large = setting == "large"
    mtu = LARGE_MTU if large else 1500
    hub = ["link set %s mtu %d" % (dev, mtu) for dev in
           ["hrx0", "hrx0p", "rly0", "br0"] + ["z%db0" % z for z in ZONES] +
           ["hrf0", "hrf0p", "hrf1", "hrf1p", "z1f", "z2f", "brf0", "brf1"]]
    hub += ["link set %s mtu 1500" % dev for dev in ["hrx1", "hrx1p", "rly1", "br1"] + ["z%db1" % z for z in ZONES]]
    net._batch(HUB, hub)
    for ns in [zone_ns(z) for z in ZONES] + [RELAY]:
        net._batch(ns, ["link set eth0 mtu %d" % mtu, "link set eth1 mtu 1500"])
        how = "on" if large else "off"
        run(env.in_ns(ns, ["ethtool", "-K", "eth1", "tx", how, "sg", how, "tso", how, "gso", how, "gro", how]), check=False)
    for zone in (CLIENT_ZONE, BROKER_ZONE):
        net._batch(zone_ns(zone), ["link set eth3 mtu %d" % mtu])


def down():
    if os.path.exists(RUN + "/allowed"):
        with open(RUN + "/allowed") as was, open(ALLOWED, "w") as f:
            f.write(was.read())
    for ns in (RELAY, FAR):
        if net.exists(ns):
            run(["ip", "netns", "del", ns], check=False)
        shutil.rmtree("/etc/netns/" + ns, ignore_errors=True)


def leftovers():
    return ["namespace " + ns for ns in (RELAY, FAR) if net.exists(ns) or os.path.exists("/etc/netns/" + ns)]

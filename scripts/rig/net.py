"""Namespaces, bridges, veth pairs, loss and rate.

The kernel's end of every veth needs exactly `ethtool -K IF tx off`: otherwise its segments arrive at the DPDK
port with partial checksums. Nothing is needed on the end that DPDK reads. AF_PACKET sees packets before the
INPUT chain and after OUTPUT, so loss is made in the zones: in OUTPUT what goes to Headrace, in INPUT what comes
from it. There is no netem on some kernels; iptables' statistic match and tbf are everywhere.
"""

import os
import shutil

from rig import env
from rig.env import HUB, ZONES, run, zone_ns

NETS = {0: "10.77", 1: "10.78"}  # bridge number -> first two octets
PORTS = {0: ("hrx0", "10.77.0.5"), 1: ("hrx1", "10.78.0.5")}
HEADRACE = PORTS[0][1]
HEADRACE6 = "fd77::5"  # instead of the above with the variant ipv6, on bridge 0
BROKERS = 2  # the bridge over which brokers talk among themselves, and nobody else; its end in a zone is eth2
CLIENT_NAME = "headrace.test"  # what clients resolve; brokers' names are never in their hosts file


def client_addr(zone):
    return "10.77.%d.1" % zone


def broker_addr(zone, bridge=0):
    return "%s.%d.10" % (NETS[bridge], zone)


def replica_addr(zone):
    """What the other brokers call this zone's broker."""
    return "10.79.%d.10" % zone


def broker_addr6(zone):
    return "fd77::%d:10" % zone


def exists(ns):
    return os.path.exists("/run/netns/" + ns)


def _batch(ns, lines):
    """Several `ip` commands in one process."""
    run((["ip", "-n", ns] if ns else ["ip"]) + ["-batch", "-"], stdin=None, input="\n".join(lines) + "\n")


def _etc(ns, hosts):
    """Files that `ip netns exec` lays over /etc. No name server: a name that is not in hosts fails at once."""
    folder = "/etc/netns/" + ns
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/hosts", "w") as f:
        f.write("127.0.0.1 localhost\n" + "".join("%s %s\n" % h for h in hosts))
    with open(folder + "/resolv.conf", "w") as f:
        f.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")


def set_hosts(ns, hosts):
    _etc(ns, hosts)


def up(mtu=1500, client_hosts=()):
    """Creates everything that is not there yet. client_hosts: [(address, name)] for the zones."""
    if exists(HUB):
        return
    _batch(None, ["netns add " + HUB] + ["netns add " + zone_ns(z) for z in ZONES])
    for ns in [HUB] + [zone_ns(z) for z in ZONES]:
        run(env.in_ns(ns, ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                           "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.ip_forward=0"]))
    hub = ["link set lo up"]
    for b, net in NETS.items():
        hub += ["link add br%d type bridge" % b, "addr add %s.0.1/16 dev br%d" % (net, b),
                "link set br%d up" % b,
                "link add hrx%d type veth peer name hrx%dp" % (b, b), "link set hrx%dp master br%d" % (b, b),
                "link set hrx%dp up" % b, "link set hrx%d up" % b]
    hub += ["link add br%d type bridge" % BROKERS, "link set br%d up" % BROKERS]
    for z in ZONES:
        for b in [*NETS, BROKERS]:
            hub += ["link add z%db%d type veth peer name eth%d netns %s" % (z, b, b, zone_ns(z)),
                    "link set z%db%d master br%d" % (z, b, b), "link set z%db%d up" % (z, b)]
    _batch(HUB, hub)
    for z in ZONES:
        lines = ["link set lo up"]
        for b, net in NETS.items():
            lines += ["addr add %s.%d.1/16 dev eth%d" % (net, z, b), "addr add %s.%d.10/16 dev eth%d" % (net, z, b),
                      "link set eth%d up" % b]
        lines += ["addr add %s/16 dev eth%d" % (replica_addr(z), BROKERS), "link set eth%d up" % BROKERS]
        _batch(zone_ns(z), lines)
        _ipv6(z)
        for b in NETS:
            run(env.in_ns(zone_ns(z), ["ethtool", "-K", "eth%d" % b, "tx", "off"]))
        _etc(zone_ns(z), client_hosts)
    for b in NETS:  # the hub's own stack talks over the bridges; the veth ends forward only
        for dev in ("br%d" % b, "hrx%dp" % b):
            run(env.in_ns(HUB, ["ethtool", "-K", dev, "tx", "off"]), check=False)
    _etc(HUB, [])
    set_mtu(mtu)


def _ipv6(zone):
    """Addresses by hand on bridge 0, and nothing that the kernel would say by itself there."""
    ns = zone_ns(zone)
    run(["ip", "-n", ns, "link", "set", "eth0", "addrgenmode", "none"])
    run(env.in_ns(ns, ["sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0", "net.ipv6.conf.eth0.accept_ra=0",
                       "net.ipv6.conf.eth0.disable_ipv6=0"]))
    _batch(ns, ["addr add fd77::%d:1/64 dev eth0 nodad" % zone, "addr add %s/64 dev eth0 nodad" % broker_addr6(zone)])


def set_mtu(mtu):
    lines = []
    for b in NETS:
        lines += ["link set hrx%d mtu %d" % (b, mtu), "link set hrx%dp mtu %d" % (b, mtu)]
        lines += ["link set z%db%d mtu %d" % (z, b, mtu) for z in ZONES]
        lines += ["link set br%d mtu %d" % (b, mtu)]
    _batch(HUB, lines)
    for z in ZONES:
        _batch(zone_ns(z), ["link set eth%d mtu %d" % (b, mtu) for b in NETS])


def loss(percent, headrace=None):
    """Drops this share of the packets between the zones and Headrace, each way. 0 removes it."""
    for z in ZONES:
        run(env.in_ns(zone_ns(z), ["iptables", "-F"]))
        if percent:
            p = "%.4f" % (percent / 100.0)
            for addr in [headrace] if headrace else [a for _, a in PORTS.values()]:
                for chain, side in (("OUTPUT", "-d"), ("INPUT", "-s")):
                    run(env.in_ns(zone_ns(z), ["iptables", "-A", chain, side, addr, "-m", "statistic", "--mode",
                                               "random", "--probability", p, "-j", "DROP"]))


def rate(mbit):
    """Limits what reaches Headrace's ports and what the zones send, by tbf. 0 removes it."""
    for ns, devs in [(HUB, ["hrx0p", "hrx1p"])] + [(zone_ns(z), ["eth0", "eth1"]) for z in ZONES]:
        for dev in devs:
            run(env.in_ns(ns, ["tc", "qdisc", "del", "dev", dev, "root"]), check=False)
            if mbit:
                run(env.in_ns(ns, ["tc", "qdisc", "add", "dev", dev, "root", "tbf", "rate", "%dmbit" % mbit,
                                   "burst", "64kb", "latency", "50ms"]))


def partition(zone, cut=True):
    """Cuts a zone's broker off from Headrace without a reset, as a dead host would be."""
    for chain, a, b in (("OUTPUT", "-s", "-d"), ("INPUT", "-d", "-s")):
        for bridge in NETS:
            run(env.in_ns(zone_ns(zone), ["iptables", "-A" if cut else "-D", chain, a, broker_addr(zone, bridge),
                                          b, PORTS[bridge][1], "-j", "DROP"]), check=cut)


def down():
    for ns in [HUB] + [zone_ns(z) for z in ZONES]:
        if exists(ns):
            run(["ip", "netns", "del", ns], check=False)
        shutil.rmtree("/etc/netns/" + ns, ignore_errors=True)
    try:
        os.rmdir("/etc/netns")
    except OSError:
        pass

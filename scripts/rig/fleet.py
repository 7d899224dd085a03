"""Three instances of Headrace, one in the namespace of each zone, which know each other as peers.

    zone Z's namespace: 10.77.Z.1 clients, 10.77.Z.10 broker
      eth0 10.77/16 ── the kernel routes ── lan0 10.80.Z.1/24 ═══ hrx0 (DPDK: 10.80.Z.5)

What a zone's eth0 has sent and received is what left that zone and came into it, by the kernel's own count: what a client,
a broker and an instance of one zone say to each other never gets there, and brokers talk among themselves on eth2.
"""

import json
import os
import time

from rig import env, headrace, kafka, net
from rig.env import RUN, RigError, ZONES, zone_ns
from rig.instance import Instance

AT = {z: Instance("headrace-z%d" % z, zone_ns(z)) for z in ZONES}
HOSTS = RUN + "/fleet.hosts"
METRICS_PORT = 9090
ETHERNET = 14  # bytes of a frame that the kernel counts and IP does not


def address(zone):
    return "10.80.%d.5" % zone


def name(zone):
    """What clients dial; node N is bN. in front of it."""
    return "z%d.%s" % (zone, net.CLIENT_NAME)


def bootstrap(zone):
    return "%s:%d" % (name(zone), headrace.BOOTSTRAP_PORT)


def nearest(zone):
    """Where a zone's clients go without an instance of their own: the next zone, then the other."""
    return [(zone + n - 1) % len(ZONES) + 1 for n in (1, 2)]


def client_hosts():
    return [(address(z), host) for z in ZONES
            for host in [name(z)] + ["b%d.%s" % (node, name(z)) for node in kafka.NODE_ID.values()]]


def _network():
    """The instances' ports, and the ways to those of other zones."""
    for z in ZONES:
        ns = zone_ns(z)
        if os.path.exists("/run/netns/" + ns) and "lan0" in env.run(["ip", "-n", ns, "-br", "link"]).stdout:
            continue
        net._batch(ns, ["link add lan0 type veth peer name hrx0", "addr add 10.80.%d.1/24 dev lan0" % z, "link set lan0 up",
                        "link set hrx0 up"] + ["route add 10.80.%d.0/24 via %s" % (w, net.client_addr(w)) for w in ZONES if w != z])
        env.run(env.in_ns(ns, ["ethtool", "-K", "lan0", "tx", "off"]))
        # What has come to DPDK's end must not be sent on by the kernel, which sees it too.
        env.run(env.in_ns(ns, ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.hrx0.forwarding=0"]))
        net.set_hosts(ns, headrace.client_hosts() + client_hosts())


def render(zone, v):
    """An instance's configuration. v: listener and zones, further settings of these groups as text."""
    ids = sorted(kafka.NODE_ID.values())
    return """# Written by the rig; config/headrace.cfg documents every key.
zones = { own = "%(own)s"; clients = (%(clients)s); nearest = (%(nearest)s); %(zones)s };
dataplane: {
  main_lcore = 0; workers = [%(worker)d]; idle = "adaptive"; hugepages = false; memory_mb = 256;
  file_prefix = "hr-rig-%(prefix)s-z%(zone)d";
  ports = ( { name = "hrx0"; device = "net_af_packet0,iface=hrx0"; mtu = 1500; addresses = ("%(addr)s/24");
              gateway = "10.80.%(zone)d.1"; } );
};
limits: { max_connections = 2000; };
cluster: { bootstrap = (%(bootstrap)s); };
listeners = (
  { name = "kafka"; mode = "kafka"; address = "%(addr)s"; bootstrap_port = %(port)d;
    node_port_base = %(base)d; node_ids = [%(first)d, %(last)d]; advertised_host = "b$(nodeId).%(name)s";
    peers = (%(peers)s);
    %(listener)s }
);
control: { runtime_dir = "%(runtime)s"; metrics_address = "%(client)s:%(metrics)d"; };
log: { level = "info"; format = "text"; };
""" % {
        "own": kafka.RACK[zone], "zone": zone, "prefix": env.NAME, "addr": address(zone), "name": name(zone),
        "clients": ", ".join('{ cidr = "10.%d.%d.0/24"; zone = "%s"; }' % (n, z, kafka.RACK[z]) for z in ZONES for n in (77, 80)),
        "nearest": ", ".join('{ zone = "%s"; others = ["%s", "%s"]; }' % tuple(kafka.RACK[n] for n in [z] + nearest(z)) for z in ZONES),
        "zones": v.get("zones", ""), "worker": headrace.default_workers()[0], "port": headrace.BOOTSTRAP_PORT,
        "bootstrap": ", ".join('"%s:%d"' % (kafka.broker_name(z), kafka.CLIENT_PORT) for z in ZONES),
        "base": headrace.NODE_PORT_BASE, "first": ids[0] - 1, "last": ids[-1] + 97,
        "peers": ", ".join('{ zone = "%s"; advertised_host = "b$(nodeId).%s"; health = "http://%s:%d/ready"; }' % (
            kafka.RACK[z], name(z), net.client_addr(z), METRICS_PORT) for z in ZONES if z != zone),
        "listener": v.get("listener", ""), "runtime": AT[zone].runtime, "client": net.client_addr(zone),
        "metrics": METRICS_PORT}


def start(variant=None, timeout=40):
    """Starts all of them; returns when each accepts traffic and knows its peers to be up."""
    _network()
    with open(HOSTS, "w") as f:
        f.write("127.0.0.1 localhost\n" + "".join("%s %s\n" % n for n in kafka.names()))
    for z, at in AT.items():
        with open(at.config, "w") as f:
            f.write(render(z, variant or {}))
        start_one(z, 0)
    for at in AT.values():
        at.wait_ready(timeout=timeout)


def start_one(zone, timeout=40):
    AT[zone].start(hosts=HOSTS, timeout=timeout)


def running():
    return [at for at in AT.values() if at.pid()]


def kill(zone):
    """As if the machine had died: none of its processes says goodbye."""
    at = AT[zone]
    pids = [at.pid()] + list(at.children().values())
    for pid in pids:
        os.kill(pid, 9)
    env.wait_for("end of %s" % at.name, lambda: all(env.start_time(p) is None for p in pids), 10)
    at.stop()


def stop(timeout=40):
    for at in running():
        at.stop(timeout)


# --- what crossed between zones ------------------------------------------------------------------------------

class Look:
    """Bytes of frames that each zone has received from the others and sent to them, {zone: (in, out)}.

    links is the kernel's count, of whatever it was. counted is what the instances say of their own connections; health is
    what their control planes ask each other, which goes by the kernel's own TCP: iptables' count.
    """

    def __init__(self, links=None, counted=None, health=None):
        self.links, self.counted, self.health = links or _links(), counted or _counted(), health or _health()

    def __sub__(self, before):
        return Look(*(_each(lambda a, b: a - b, getattr(self, n), getattr(before, n)) for n in ("links", "counted", "health")))

    def __add__(self, other):
        return Look(*(_each(lambda a, b: a + b, getattr(self, n), getattr(other, n)) for n in ("links", "counted", "health")))

    def crossed(self):
        """All of it, once: what came into zones."""
        return sum(came for came, _ in self.links.values())

    def off(self):
        """How far Headrace's count is from the links', the worst of them."""
        return max(abs(self.counted[z][i] + self.health[z][i] - self.links[z][i]) / self.links[z][i] for z in ZONES for i in (0, 1))

    def __str__(self):
        return "; ".join("zone %d links %s counted %s health %s" % (z, self.links[z], self.counted[z], self.health[z]) for z in ZONES)


def _each(fn, a, b):
    return {z: tuple(fn(x, y) for x, y in zip(a[z], b[z])) for z in a}


def _links():
    found = {}
    for z in ZONES:
        stats = json.loads(env.run(["ip", "-n", zone_ns(z), "-s", "-j", "link", "show", "dev", "eth0"]).stdout)[0]["stats64"]
        found[z] = (stats["rx"]["bytes"], stats["tx"]["bytes"])
    return found


def _counted():
    found = {z: [0, 0] for z in ZONES}
    zone_of = {kafka.RACK[z]: z for z in ZONES}
    for z, at in AT.items():
        if not at.pid():
            continue
        for link in at.ctl("zones")["links"]:
            other = zone_of.get(link["zone"])
            if other in (None, z):
                continue
            came, went = (link[way + "_bytes"] + ETHERNET * link[way + "_packets"] for way in ("rx", "tx"))
            for zone, i, n in ((z, 0, came), (z, 1, went), (other, 0, went), (other, 1, came)):
                found[zone][i] += n
    return {z: tuple(v) for z, v in found.items()}


_HEALTH = [[chain, way, "eth0", "-p", "tcp", side, str(METRICS_PORT)]
           for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o")) for side in ("--sport", "--dport")]


def watch():
    """Rules that count the questions after health; a flush of the zones' rules removes them."""
    for z in ZONES:
        for rule in _HEALTH:
            env.run(env.in_ns(zone_ns(z), ["iptables", "-w", "-A"] + rule))


def _health():
    found = {}
    for z in ZONES:
        rows = [line.split() for line in env.run(env.in_ns(zone_ns(z), ["iptables", "-w", "-nvxL"])).stdout.splitlines()
                if "pt:%d" % METRICS_PORT in line]
        total = {"in": 0, "out": 0}
        for row in rows:
            total["in" if row[4] == "eth0" else "out"] += int(row[1]) + ETHERNET * int(row[0])
        found[z] = (total["in"], total["out"])
    return found


def settled():
    """A look, once next to nothing goes between zones any more."""
    last, same, deadline = _links(), 0, time.monotonic() + 30
    while same < 2:
        time.sleep(0.25)
        now = _links()
        moved = sum(a[0] - b[0] for a, b in zip(now.values(), last.values()))
        same = same + 1 if moved < 20000 else 0
        if time.monotonic() > deadline:
            raise RigError("the links between zones do not come to rest: %d bytes in a quarter of a second" % moved)
        last = now
    return Look()

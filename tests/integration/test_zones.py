"""Bytes by zone, against the kernel's interface counters of the links that carried them.

Clients are on bridge 0, brokers are reached over bridge 1, so that eth1 of a zone carries what Headrace and that zone's
broker say to each other and nothing else (brokers talk among themselves on bridge 0), and Headrace's own port on bridge 0
what it says to clients.
"""

import json

from framework.core import check, eventually, test
from rig import env, headrace, kafka, net
from rig.env import HUB, ZONES, zone_ns

ETHERNET = 14  # bytes that the kernel counts and IP does not
CLOSE = 0.01


def _interface(ns, dev):
    """What an interface has received and sent: {"rx": (bytes, packets), "tx": ...}."""
    out = env.run(["ip", "-n", ns, "-s", "-j", "link", "show", "dev", dev]).stdout
    stats = json.loads(out)[0]["stats64"]
    return {way: (stats[way]["bytes"], stats[way]["packets"]) for way in ("rx", "tx")}


def _links(zones):
    """Bytes as Ethernet frames: {(peer, zone): (received, sent)} by Headrace."""
    return {(l["peer"], l["zone"]): (l["rx_bytes"] + ETHERNET * l["rx_packets"], l["tx_bytes"] + ETHERNET * l["tx_packets"])
            for l in zones["links"]}


def _cells(zones):
    return {(c["client"], c["broker"], c["class"]): (c["up"], c["down"]) for c in zones["matrix"]}


def _less(after, before):
    return {k: tuple(x - y for x, y in zip(v, before.get(k, (0, 0)))) for k, v in after.items()}


def _quiet():
    """Nothing goes over the brokers' links any more, but for keepalives: two looks alike."""
    seen = []

    def same():
        seen.append([_interface(zone_ns(z), "eth1")["rx"][1] for z in ZONES])
        return len(seen) > 1 and all(abs(a - b) < 4 for a, b in zip(seen[-1], seen[-2]))
    eventually("quiet links", same, 30, 0.5)


def _near(what, counted, truth):
    check(abs(counted - truth) <= CLOSE * truth, "%s: %d bytes counted, the kernel says %d (%+.2f %%)" % (
        what, counted, truth, 100.0 * (counted - truth) / truth))
    return abs(counted - truth) / truth


def _look():
    return headrace.ctl("zones"), {z: _interface(zone_ns(z), "eth1") for z in ZONES}, _interface(HUB, "hrx0p")


@test("zones/matrix", needs=("kafka", "headrace"), variant={"ports": 2})
def matrix(ctx):
    """Clients in three zones produce and consume: the matrix is what they moved, links are what the kernel counted."""
    count, size = 3000, 1000
    topics = {z: ctx.topic("zone%d" % z, 3) for z in ZONES}
    jvms = {z: ctx.java(zone=z) for z in ZONES}
    _quiet()
    before, eth_before, port_before = _look()
    for z in ZONES:
        jvms[z].call("produce_consume", bootstrap=ctx.bootstrap, topic=topics[z], count=count, size=size,
                     client_id="client-of-zone-%d" % z)
    _quiet()
    after, eth_after, port_after = _look()
    ctx.runner.close_jvms()

    cells, links, worst = _less(_cells(after), _cells(before)), _less(_links(after), _links(before)), 0
    payload = count * size
    for z in ZONES:
        rows = {b: cells.get((kafka.RACK[z], kafka.RACK[b], "produce"), (0, 0))[0] for b in ZONES}
        check(all(n > payload / 4 for n in rows.values()), "produced from zone %d: %s" % (z, rows))
        check(payload < sum(rows.values()) < 1.1 * payload, "produced from zone %d: %s of %d" % (z, rows, payload))
        read = sum(cells.get((kafka.RACK[z], kafka.RACK[b], "fetch"), (0, 0))[1] for b in ZONES)
        check(payload < read < 1.3 * payload, "read in zone %d: %d of %d" % (z, read, payload))
    for z in ZONES:
        truth = {way: eth_after[z][way][0] - eth_before[z][way][0] for way in ("rx", "tx")}
        sessions, control = (links.get((peer, kafka.RACK[z]), (0, 0)) for peer in ("brokers", "control plane"))
        worst = max(worst, _near("to the broker of zone %d" % z, sessions[1] + control[1], truth["rx"]),
                    _near("from the broker of zone %d" % z, sessions[0] + control[0], truth["tx"]))
        # What the frames have of it; the rest is headers and acknowledgements.
        up = sum(n[0] for (_, b, _), n in cells.items() if b == kafka.RACK[z])
        check(0.85 * sessions[1] < up < sessions[1], "frames to zone %d: %d of %d bytes" % (z, up, sessions[1]))
    clients = [links.get(("clients", kafka.RACK[z]), (0, 0)) for z in ZONES]
    check(all(min(c) > payload for c in clients), "clients' links: %s" % clients)
    for i, way in ((0, "rx"), (1, "tx")):  # as the bridge sees Headrace's port: it receives what Headrace sends
        truth = port_after["tx" if way == "rx" else "rx"][0] - port_before["tx" if way == "rx" else "rx"][0]
        worst = max(worst, _near("clients, %s" % way, sum(c[i] for c in clients), truth))
    ctx.note("links within %.2f %% of the kernel's counters" % (100 * worst))

    cost = after["since_start"]
    check(cost["dollars"] > 0 and cost["unknown_bytes"] < 0.01 * cost["bytes"], "cost: %s" % cost)
    eventually("names of new topics", lambda: set(topics.values()) <= {t["name"] for t in headrace.ctl("zones")["topics"]}, 20)
    check(any(c["name"].startswith("client-of-zone-") for c in after["clients"]), "clients: %s" % after["clients"])
    text = headrace.ctl("zones", as_json=False)
    check("since the dataplane started: $" in text and topics[1] in text, text)


@test("zones/explain", needs=("kafka", "headrace"), scan=False)
def explain(ctx):
    """Which rule says where an address is; a reload changes it for clients that come later."""
    one = headrace.ctl("zones", "explain", net.client_addr(2))
    check([c["zone"] for c in one["client"]] == [kafka.RACK[2]] * 2 and all(c["line"] > 0 for c in one["client"]), one)
    check(headrace.ctl("zones", "explain", "192.0.2.1")["client"][0] ==
          {"zone": "use1-az1", "rule": "zones.own", "listener": "kafka"}, "an address of no network")
    broker = headrace.ctl("zones", "explain", net.broker_addr(3))["broker"]
    check([(b["zone"], b["by"]) for b in broker] == [(kafka.RACK[3], "its rack")], broker)
    own = open(headrace.CONFIG).read()
    try:
        with open(headrace.CONFIG, "w") as f:
            f.write(own.replace('cidr = "10.77.2.0/24"; zone = "use1-az2"', 'cidr = "10.77.2.0/24"; zone = "use1-az9"'))
        headrace.ctl("reload")
        eventually("the new zone", lambda: headrace.ctl("zones", "explain", net.client_addr(2))["client"][0]["zone"] ==
                   "use1-az9", 10)
    finally:
        with open(headrace.CONFIG, "w") as f:
            f.write(own)
        headrace.ctl("reload")
    eventually("the old zone", lambda: headrace.ctl("zones", "explain", net.client_addr(2))["client"][0]["zone"] ==
               kafka.RACK[2], 10)

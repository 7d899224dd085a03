"""Reads from followers in the client's zone: clients know nothing of it, and the kernel counts what leaves the brokers.

Clients and Headrace are in zone 1, whose broker follows what the others lead."""

from framework.core import check, eventually, test
from rig import deps, env, kafka, net
from rig.env import ROOT, ZONES, zone_ns

FOLLOW = ROOT + "/tests/integration/clients/follow.py"
READS = {"listener": 'zone_reads = "on";'}
PARTITIONS = 6


class Sent:
    """Bytes that each broker's host sends to Headrace from the port that it uses, by the kernel's own count."""

    def _rule(self, zone):
        return ["OUTPUT", "-p", "tcp", "-s", net.broker_addr(zone), "-d", net.HEADRACE, "--sport", str(kafka.CLIENT_PORT)]

    def __enter__(self):
        for z in ZONES:
            env.run(env.in_ns(zone_ns(z), ["iptables", "-w", "-I"] + self._rule(z)))
        return self

    def __exit__(self, *_):
        for z in ZONES:
            env.run(env.in_ns(zone_ns(z), ["iptables", "-w", "-D"] + self._rule(z)), check=False)

    def bytes(self):
        got = {}
        for z in ZONES:
            out = env.run(env.in_ns(zone_ns(z), ["iptables", "-w", "-nvxL", "OUTPUT"])).stdout.splitlines()
            got[z] = sum(int(line.split()[1]) for line in out if "spt:%d" % kafka.CLIENT_PORT in line)
        return got


def _produce(ctx, topic, count, size):
    ctx.run(1, [deps.venv(), FOLLOW, "produce", kafka.direct_bootstrap(), topic, str(count), str(size), str(PARTITIONS)])


def _ready(ctx):
    """The map is there when the first fetch goes to a follower; brokers have answered their probes by then."""
    def steered():
        before = ctx.counters()["reads_in_zone"]
        _read(ctx, "confluent", _ready.topic, PARTITIONS)
        return ctx.counters()["reads_in_zone"] > before
    _ready.topic = ctx.topic("warm", PARTITIONS)
    _produce(ctx, _ready.topic, PARTITIONS, 100)
    eventually("reads in the zone", steered, 30, 0.5)


def _read(ctx, kind, topic, count):
    r = ctx.run(1, [deps.venv(), FOLLOW, kind, ctx.bootstrap, topic, str(count)])
    check(r["records"] == count, r)
    return r


@test("zones/reads", variant=READS, suite="all")
def reads(ctx):
    """No more than a hundredth of what is read comes from brokers in other zones."""
    count, size = 6000, 2000
    _ready(ctx)
    topic = ctx.topic("reads", PARTITIONS)
    _produce(ctx, topic, count, size)
    with Sent() as sent:
        for kind in ("confluent", "kafkapython"):
            before, c0 = sent.bytes(), ctx.counters()
            got = _read(ctx, kind, topic, count)
            moved, c1 = {z: b - before[z] for z, b in sent.bytes().items()}, ctx.counters()
            away = sum(b for z, b in moved.items() if z != 1)
            check(moved[1] >= got["bytes"], "the zone's own broker sent %d bytes of %d" % (moved[1], got["bytes"]))
            check(away <= got["bytes"] / 100, "%d bytes of %d came from other zones" % (away, got["bytes"]))
            check(c1["reads_in_zone_bytes"] - c0["reads_in_zone_bytes"] > got["bytes"] / 2, "counted too little")
            ctx.note("%s %.2f %% away" % (kind, 100.0 * away / got["bytes"]))
    check(ctx.counters()["reads_errors_hidden"] == 0, "a follower in sync made errors")

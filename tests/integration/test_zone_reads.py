"""Reads from followers in the client's zone: clients know nothing of it, and the kernel counts what leaves the brokers.

Clients and Headrace are in zone 1, whose broker follows what the others lead."""

import signal
import subprocess
import time

from framework.core import check, eventually, test
from rig import deps, env, kafka, net
from rig.env import ROOT, ZONES, zone_ns

TRAFFIC = ROOT + "/tests/integration/clients/traffic.py"
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


def _program(*args):
    return [deps.venv(), TRAFFIC] + [str(a) for a in args]


def _produce(ctx, topic, count, size):
    ctx.run(1, _program("confluent", "produce", kafka.direct_bootstrap(), topic, count, size, PARTITIONS))


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
    r = ctx.run(1, _program(kind, "follow", ctx.bootstrap, topic, count))
    check(r["records"] == count, r)
    return r


@test("zones/reads", variant=READS, suite="all")
def reads(ctx):
    """No more than a hundredth of what is read comes from brokers in other zones, whatever the client."""
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


def _while_reading(ctx, what, count=4000, rate=400):
    """Two consumers follow a producer of `rate` records a second while something happens; both get all, in order."""
    _ready(ctx)
    topic = ctx.topic("follow", PARTITIONS)
    argv = [_program("confluent", "produce", kafka.direct_bootstrap(), topic, count, 1000, PARTITIONS, rate)]
    argv += [_program(kind, "follow", ctx.bootstrap, topic, count) for kind in ("confluent", "kafkapython")]
    before = ctx.counters()["reads_in_zone"]
    runs = [subprocess.Popen(env.in_ns(zone_ns(1), env.on_cpu(0, a)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True) for a in argv]
    try:
        eventually("both read in the zone", lambda: ctx.counters()["reads_in_zone"] > before + 20, 60)
        what(topic)
        for run, a in zip(runs, argv):
            out = run.communicate(timeout=150)[0]
            check(run.returncode == 0, "%s: %s" % (a[2:4], out[-1500:]))
            ctx.note("%s %s" % (a[2], out.strip().splitlines()[-1]))
    finally:
        for run in runs:
            if run.poll() is None:
                run.kill()


@test("zones/follower-frozen", variant=READS, suite="all", timeout=400)
def frozen(ctx):
    """SIGSTOP for five seconds: its kernel goes on accepting and acknowledging."""
    def freeze(topic):
        c0 = ctx.counters()
        kafka.kill(1, signal.SIGSTOP)
        try:
            time.sleep(5)
        finally:
            kafka.kill(1, signal.SIGCONT)
        eventually("fetches asked again of leaders",
                   lambda: ctx.counters()["reads_asked_again"] > c0["reads_asked_again"], 20)
    _while_reading(ctx, freeze)
    kafka.wait_ready()

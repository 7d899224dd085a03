"""Three zones with an instance of Headrace in each: what crosses between them, by the kernel's counters of the links.

Clients know nothing of zones. The same workload runs directly against the brokers and through the instance of the client's
own zone; producing and reading are phases of their own."""

import json
import subprocess

from framework.core import check, eventually, test
from rig import deps, env, fleet, headrace, kafka, netns
from rig.env import ROOT, ZONES, zone_ns

CLIENTS = ROOT + "/tests/integration/clients"
NEEDS = ("kafka", "headrace")
FLEET = {"fleet": {"listener": 'zone_reads = "on";'}}
PARTITIONS = 6
CLOSE = 0.01  # Headrace's own count against the kernel's
SHARE = 0.01  # of what is read may cross


def _bootstrap(zone, direct):
    return kafka.direct_bootstrap() if direct else fleet.bootstrap(zone)


def _everywhere(argv):
    """argv(zone) in each zone at once; the last lines of their output as JSON."""
    runs = [subprocess.Popen(env.in_ns(zone_ns(z), env.on_cpu(0, argv(z))), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True) for z in ZONES]
    try:
        said = [r.communicate(timeout=240)[0] for r in runs]
    finally:
        for r in runs:
            if r.poll() is None:
                r.kill()
                r.wait()
    for r, out in zip(runs, said):
        check(r.returncode == 0, "%s: exit %d\n%s" % (r.args[-4:], r.returncode, out[-1500:]))
    return [json.loads(out.strip().splitlines()[-1]) for out in said]


def _python(kind):
    return lambda *args: [deps.venv(), CLIENTS + "/traffic.py", kind] + [str(a) for a in args]


PRODUCERS = {"librdkafka": _python("confluent"), "kafka-python": _python("kafkapython")}
READERS = {"librdkafka": _python("confluent"), "kafka-python": _python("kafkapython")}


def _read(kind, topic, count, direct):
    """All of a topic in each zone by one kind of client: bytes of values."""
    got = _everywhere(lambda z: READERS[kind]("read", _bootstrap(z, direct), topic, count))
    check(all(r["records"] == count for r in got), "%s: %s" % (kind, got))
    return sum(r["bytes"] for r in got)


def _steered(ctx):
    """Returns when each instance sends reads to its zone's broker: it knows who is in sync by then, and who answers."""
    topic, count = ctx.topic("warm", PARTITIONS), PARTITIONS * len(ZONES)
    _everywhere(lambda z: PRODUCERS["librdkafka"]("produce", _bootstrap(z, True), topic, PARTITIONS, 100, PARTITIONS))

    def all_of_them():
        before = {z: at.counters()["reads_in_zone"] for z, at in fleet.AT.items()}
        _read("librdkafka", topic, count, False)
        return all(at.counters()["reads_in_zone"] > before[z] for z, at in fleet.AT.items())
    eventually("reads in the zones", all_of_them, 60, 0.5)


def _traffic(ctx, kinds, count, size):
    """count records of size bytes from each zone, read in each zone by each kind of client."""
    fleet.watch()
    _steered(ctx)
    records, mb = count * len(ZONES), count * size * len(ZONES) / 1e6
    topics = {direct: ctx.topic("direct" if direct else "through", PARTITIONS) for direct in (True, False)}
    total, last = None, fleet.settled()

    def phase(what, *args):
        nonlocal last
        result, before = what(*args), last
        last = fleet.settled()
        return result, last - before

    for direct in (True, False):
        way = "direct" if direct else "through Headrace"
        writers = [k for k in kinds if k in PRODUCERS]
        _, moved = phase(_everywhere, lambda z: PRODUCERS[writers[z % len(writers)]](
            "produce", _bootstrap(z, direct), topics[direct], count, size, PARTITIONS))
        ctx.note("produced %s: %.1f %% of %.1f MB crossed" % (way, moved.crossed() / mb / 1e4, mb))
        check(moved.crossed() > 0.5e6 * mb, "leaders are everywhere, but: %s" % moved)
        if not direct:
            total = moved
        for kind in kinds:
            read, moved = phase(_read, kind, topics[direct], records, direct)
            share = moved.crossed() / read
            ctx.note("%s read %s: %.2f %% of %.1f MB" % (kind, way, 100 * share, read / 1e6))
            if direct:
                check(share > 0.5, "%s reads from leaders, but: %s" % (kind, moved))
            else:
                check(share <= SHARE, "%s: %.2f %% of %d bytes crossed: %s" % (kind, 100 * share, read, moved))
                total += moved
    ctx.note("Headrace counts within %.2f %% of the links" % (100 * total.off()))
    check(total.off() <= CLOSE, total)


@test("fleet/traffic", needs=NEEDS, variant=FLEET)
def traffic(ctx):
    """Reads stay in their zone, with clients that know of none; what crosses is what Headrace says."""
    _traffic(ctx, ["librdkafka", "kafka-python"], 2500, 2500)


def _told(zone, asked):
    """Which zone's addresses a client in a zone is told by an instance; it must be the same for all nodes."""
    with netns.connect(zone_ns(zone), (fleet.address(asked), headrace.BOOTSTRAP_PORT)) as s:
        nodes = kafka.metadata(s)[0]
    check(set(nodes) == set(kafka.NODE_ID.values()), nodes)
    for z in ZONES:
        if all(nodes[n] == ("b%d.%s" % (n, fleet.name(z)), headrace.NODE_PORT_BASE + n, kafka.RACK[o])
               for o, n in kafka.NODE_ID.items()):
            return z
    raise AssertionError("zone %d asks instance %d, and is told %s" % (zone, asked, nodes))


def _all_told(want, instances=ZONES, timeout=20):
    """Each client is told by each instance what it should be: want[zone]."""
    def got():
        return {(z, asked): _told(z, asked) for z in ZONES for asked in instances}
    eventually("addresses by zone %s" % want, lambda: all(told == want[z] for (z, _), told in got().items()), timeout, 0.2)


@test("fleet/peers", needs=NEEDS, variant=FLEET)
def peers(ctx):
    """Wherever it starts, a client is told its own zone's instance; the nearest one, while that is drained or dead."""
    home = {z: z for z in ZONES}
    _all_told(home)
    fleet.AT[2].ctl("drain")
    try:
        _all_told({**home, 2: fleet.nearest(2)[0]}, (1, 3))
    finally:
        fleet.AT[2].ctl("undrain")
    _all_told(home)


@test("fleet/instance-killed", needs=NEEDS, variant=FLEET, restarts=True)
def instance_killed(ctx):
    """A dead instance is left out within seconds, and comes back."""
    home = {z: z for z in ZONES}
    _all_told(home)
    fleet.kill(3)
    try:
        _all_told({**home, 3: fleet.nearest(3)[0]}, (1, 2))
    finally:
        fleet.start_one(3)
    _all_told(home)

"""Three zones with an instance of Headrace in each: what crosses between them, by the kernel's counters of the links.

Clients know nothing of zones. The same workload runs directly against the brokers and through the instance of the client's
own zone; producing and reading are phases of their own."""

import json
import os
import signal
import subprocess

from framework.core import check, eventually, test
from framework.load import Load
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
                             stderr=subprocess.STDOUT, text=True, env=dict(os.environ, NODE_PATH=NODE_PATH or "")) for z in ZONES]
    try:
        said = [r.communicate(timeout=600)[0] for r in runs]
    finally:
        for r in runs:
            if r.poll() is None:
                r.kill()
                r.wait()
    for r, out in zip(runs, said):
        check(r.returncode == 0, "%s: exit %d\n%s" % (r.args[-4:], r.returncode, out[-1500:]))
    return [json.loads(out.strip().splitlines()[-1]) for out in said]


class Program:
    """Clients that are programs of their own. argv(): what comes before BOOTSTRAP TOPIC COUNT."""

    def __init__(self, argv):
        self.argv = argv

    def ready(self, ctx):
        self.argv()  # what is to be fetched or built, is

    def read(self, ctx, topic, count, direct):
        return _everywhere(lambda z: self.argv() + [_bootstrap(z, direct), topic, str(count)])


class JavaClient:
    """Clients in JVMs that are there before anything is counted."""

    def __init__(self, version):
        self.version = version

    def ready(self, ctx):
        for z in ZONES:
            ctx.java(self.version, z)

    def read(self, ctx, topic, count, direct):
        begun = [(ctx.java(self.version, z), ctx.java(self.version, z).begin(
            "digest", bootstrap=_bootstrap(z, direct), topic=topic, partitions=PARTITIONS)) for z in ZONES]
        return [jvm.end(b, 600) for jvm, b in begun]


def _python(kind, what):
    return [deps.venv(), CLIENTS + "/traffic.py", kind, what]


def _node():
    global NODE_PATH
    NODE_PATH = deps.node_modules() + "/node_modules"
    return ["node", CLIENTS + "/kafkajs-read.js"]


NODE_PATH = None
READERS = {
    "librdkafka": Program(lambda: _python("confluent", "read")),
    "kafka-python": Program(lambda: _python("kafkapython", "read")),
    "kafkajs": Program(_node),
    "franz-go": Program(lambda: [deps.go_program("franz-read", CLIENTS + "/go/franz-read/main.go")]),
    "sarama": Program(lambda: [deps.go_program("sarama-read", CLIENTS + "/go/sarama-read/main.go")]),
    "Java 4.4.0": JavaClient(deps.KAFKA_DEFAULT),
    "Java 2.8.2": JavaClient(deps.OLD_CLIENT),
}


def _produce(topic, count, size, direct, kinds=("confluent",)):
    """From each zone count records, by one kind of client in each."""
    _everywhere(lambda z: _python(kinds[z % len(kinds)], "produce") + [
        _bootstrap(z, direct), topic, str(count), str(size), str(PARTITIONS)])


def _read(ctx, kind, topic, count, direct):
    """All of a topic in each zone by one kind of client: bytes of values."""
    got = READERS[kind].read(ctx, topic, count, direct)
    check(all(r["records"] == count for r in got), "%s: %s" % (kind, got))
    return sum(r["bytes"] for r in got)


def _steered(ctx):
    """Returns when each instance sends reads to its zone's broker: it knows who is in sync by then, and who answers."""
    topic, count = ctx.topic("warm", PARTITIONS), PARTITIONS * len(ZONES)
    _produce(topic, PARTITIONS, 100, True)

    def all_of_them():
        before = {z: at.counters()["reads_in_zone"] for z, at in fleet.AT.items()}
        _read(ctx, "librdkafka", topic, count, False)
        return all(at.counters()["reads_in_zone"] > before[z] for z, at in fleet.AT.items())
    eventually("reads in the zones", all_of_them, 60, 0.5)


def _traffic(ctx, kinds, count, size):
    """count records of size bytes from each zone, read in each zone by each kind of client."""
    fleet.watch()
    for kind in kinds:
        READERS[kind].ready(ctx)
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
        _, moved = phase(_produce, topics[direct], count, size, direct, ("confluent", "kafkapython"))
        ctx.note("produced %s: %.1f %% of %.1f MB crossed" % (way, moved.crossed() / mb / 1e4, mb))
        check(moved.crossed() > 0.5e6 * mb, "leaders are everywhere, but: %s" % moved)
        if not direct:
            total = moved
        for kind in kinds:
            read, moved = phase(_read, ctx, kind, topics[direct], records, direct)
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


@test("fleet/traffic-full", needs=NEEDS, variant=FLEET, suite="all", timeout=3000)
def traffic_full(ctx):
    """The same with every kind of client, and 200 MB read in each zone by each."""
    _traffic(ctx, list(READERS), 27000, 2500)


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


def _back(ctx):
    """Reads are in their zones again: the share that crosses is what it was."""
    topic, count, size = ctx.topic("back", PARTITIONS), 2000, 2500
    _produce(topic, count, size, True)
    _steered(ctx)
    before = fleet.settled()
    read = _read(ctx, "librdkafka", topic, count * len(ZONES), False)
    share = (fleet.settled() - before).crossed() / read
    ctx.note("%.2f %% of reads cross again" % (100 * share))
    check(share <= SHARE, "%.2f %% of %d bytes crossed afterwards" % (100 * share, read))


def _both_ways(ctx, what, **settings):
    """A load in zone 2 while something happens, by a direct client and by one through Headrace: what both say."""
    _steered(ctx)
    for direct in (True, False):
        with Load(ctx, zone=2, partitions=PARTITIONS, bootstrap=_bootstrap(2, direct), **settings) as load:
            what(load)
        ctx.note("%s: reads stood still for %.1f s" % ("direct" if direct else "through Headrace", load.result["read_gap_ms"] / 1e3))
    _back(ctx)


@test("fleet/broker-killed", needs=NEEDS, variant=FLEET, suite="all", timeout=900)
def broker_killed(ctx):
    """The reader's own broker dies and returns: no acknowledged record is lost, reads go on elsewhere and come home."""
    def what(load):
        kafka.kill(2, 9)
        load.wait_for_more(1500, 120)
        kafka.start(2)
        load.wait_for_more(1500, 120)
    _both_ways(ctx, what)


@test("fleet/follower-out-of-sync", needs=NEEDS, variant=FLEET, suite="all", timeout=900)
def follower_out(ctx):
    """The reader's own broker is frozen until no partition has it in its ISR, and goes on."""
    def what(load):
        kafka.kill(2, signal.SIGSTOP)
        try:
            eventually("the frozen broker out of every ISR", lambda: (kafka.ask(1) or (0, 0, 0))[2] > 0, 60, 0.5)
            load.wait_for_more(1500, 120)
        finally:
            kafka.kill(2, signal.SIGCONT)
        kafka.wait_ready()
        load.wait_for_more(1500, 120)
    _both_ways(ctx, what)


def _reassign(moves):
    """Kafka's own tools: another order of replicas, then an election of those preferred. moves: as advise prints them."""
    for name, text in (("moves", moves), ("elect", {"partitions": [
            {"topic": p["topic"], "partition": p["partition"]} for p in moves["partitions"]]})):
        with open("%s/%s.json" % (env.RUN, name), "w") as f:
            json.dump(text, f)
    boot = ["--bootstrap-server", kafka.direct_bootstrap()]
    kafka.tool(1, "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
               boot + ["--reassignment-json-file", env.RUN + "/moves.json", "--execute"])
    kafka.tool(1, "org.apache.kafka.tools.LeaderElectionCommand",
               boot + ["--election-type", "PREFERRED", "--path-to-json-file", env.RUN + "/elect.json"])


def _leaders(topic):
    return kafka.ask(1)[1][topic]


@test("fleet/leaders-moved", needs=NEEDS, variant=FLEET, suite="all", timeout=900)
def leaders_moved(ctx):
    """Every partition gets another leader under load."""
    ids = sorted(kafka.NODE_ID.values())

    def what(load):
        before = _leaders(load.topic)
        order = {p: [ids[(ids.index(leader) + n) % len(ids)] for n in (1, 2, 0)] for p, leader in before.items()}
        _reassign({"version": 1, "partitions": [{"topic": load.topic, "partition": p, "replicas": r} for p, r in order.items()]})
        eventually("the new leaders", lambda: _leaders(load.topic) == {p: r[0] for p, r in order.items()}, 60, 0.2)
        load.wait_for_more(1500, 120)
    _both_ways(ctx, what)


@test("fleet/instance-killed-under-load", needs=NEEDS, variant=FLEET, suite="all", restarts=True, timeout=600)
def instance_killed_under_load(ctx):
    """The client's own instance dies: it goes on by the nearest, nothing acknowledged is lost, and new clients are at home."""
    _steered(ctx)
    boot = ",".join(fleet.bootstrap(z) for z in [2] + fleet.nearest(2))
    with Load(ctx, zone=2, partitions=PARTITIONS, bootstrap=boot, **{"conf.metadata.max.age.ms": 3000}) as load:
        fleet.kill(2)
        load.wait_for_more(1500, 120)
        fleet.start_one(2)
        load.wait_for_more(1500, 120)
    ctx.note("reads stood still for %.1f s" % (load.result["read_gap_ms"] / 1e3))
    _all_told({z: z for z in ZONES})
    _back(ctx)


@test("fleet/rack-aware-producer", needs=NEEDS, variant=FLEET, suite="all")
def rack_aware(ctx):
    """Racks pass unchanged: Java's producer with partitioner.rack.aware writes to leaders in its own zone, as it does directly."""
    for direct in (True, False):
        topic = ctx.topic("rack", PARTITIONS)
        jvm = ctx.java(zone=2)
        before = fleet.settled()
        count, size = 3000, 2000
        got = jvm.call("unkeyed", bootstrap=_bootstrap(2, direct), topic=topic, count=count, size=size, partitions=PARTITIONS,
                       **{"conf.client.rack": kafka.RACK[2], "conf.partitioner.rack.aware": "true"})["partitions"]
        crossed = (fleet.settled() - before).crossed()
        own = {p for p, leader in _leaders(topic).items() if leader == kafka.NODE_ID[2]}
        check(own and sum(got) == count and sum(got[p] for p in own) == count, "led in the zone: %s; written: %s" % (own, got))
        share = crossed / (count * size)
        check(share < 0.05, "%.2f %% crossed" % (100 * share))
        ctx.note("%s: %.2f %% of %.0f MB produced crossed" % ("direct" if direct else "through Headrace", 100 * share, count * size / 1e6))


@test("fleet/advice", needs=NEEDS, variant=FLEET, suite="all")
def advice(ctx):
    """What advise prints is taken by Kafka's own tools as it is, and the leaders move to where the producer is."""
    topic = ctx.topic("advice", PARTITIONS)
    ctx.java(zone=3).call("unkeyed", bootstrap=fleet.bootstrap(3), topic=topic, count=8000, size=4000, partitions=PARTITIONS)

    def moves():
        found = fleet.AT[3].ctl("zones", "advise", "reassignment", as_json=False)
        found = json.loads(found)
        found["partitions"] = [p for p in found["partitions"] if p["topic"] == topic]
        return found if len(found["partitions"]) >= 2 else None
    found = eventually("advice", moves, 60, 1)
    check(all(p["replicas"][0] == kafka.NODE_ID[3] for p in found["partitions"]), found)
    _reassign(found)
    eventually("leaders where the producer is", lambda: all(
        _leaders(topic)[p["partition"]] == kafka.NODE_ID[3] for p in found["partitions"]), 60, 0.5)
    ctx.note("%d leaders moved" % len(found["partitions"]))

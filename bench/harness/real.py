"""Rounds over real Kafka: three brokers, replication 3, by Kafka's own perf tools and by hr-load.

The brokers get a listener for each plain relay, which advertises the relay's port for that broker; everybody else
uses their DIRECT listener.
"""

import re

from harness import e2e, rounds, stats, systems, topology
from rig import env, kafka
from rig.env import RigError, Step, ZONES, say

RECORDS, RECORD_BYTES, PARTITIONS = 50000, 1000, 6
READ_RECORDS = 100000
# hr-load: a pipeline that three brokers on one core can carry.
LOAD = {"connections": 4, "window": 2, "bytes": 16384}


def _brokers():
    return [systems.Broker(kafka.NODE_ID[z], z, i) for i, z in enumerate(ZONES)]


def _listeners(found, brokers):
    """The function that gives each broker's configuration the listeners of the plain relays."""
    plain = [s for s in found if s.relay and not s.aware]

    def extra(zone, config):
        b = next(b for b in brokers if b.zone == zone)
        listeners, advertised, protocols = [config[k] for k in (
            "listeners", "advertised.listeners", "listener.security.protocol.map")]
        for s in plain:
            name = s.name.upper()
            listeners += ",%s://0.0.0.0:%d" % (name, s.broker_port(b))
            advertised += ",%s://%s:%d" % ((name,) + s.client_address(b))
            protocols += ",%s:PLAINTEXT" % name
        return {"listeners": listeners, "advertised.listeners": advertised, "listener.security.protocol.map": protocols}
    return extra


def _topic(what, name, partitions=None):
    args = ["--bootstrap-server", kafka.direct_bootstrap(), "--" + what, "--topic", name]
    if what == "create":
        args += ["--partitions", str(partitions), "--replication-factor", "3"]
    kafka.tool(1, "org.apache.kafka.tools.TopicCommand", args)


def produce(bootstrap, topic, records):
    """What ProducerPerformance says of itself: MB/s (of 10^6 bytes) and latencies in ms."""
    out = kafka.tool(1, "org.apache.kafka.tools.ProducerPerformance", [
        "--topic", topic, "--num-records", str(records), "--record-size", str(RECORD_BYTES), "--throughput", "-1",
        "--producer-props", "bootstrap.servers=" + bootstrap, "acks=all", "batch.size=65536", "linger.ms=5"]).stdout
    last = [line for line in out.splitlines() if "99.9th" in line]
    m = re.search(r"^(\d+) records sent.*\(([\d.]+) MB/sec\).* ([\d.]+) ms avg latency.* (\d+) ms 50th.* (\d+) ms 99th, (\d+) ms 99.9th",
                  last[-1] if last else "")
    if not m or int(m.group(1)) != records:
        raise RigError("ProducerPerformance: " + out[-500:])
    return {"mb_per_s": float(m.group(2)) * 1.048576, "p50_ms": float(m.group(4)), "p99_ms": float(m.group(5)),
            "p99.9_ms": float(m.group(6))}


def consume(bootstrap, topic, records):
    """What ConsumerPerformance says: MB/s of fetching, without the time to join the group."""
    out = kafka.tool(1, "org.apache.kafka.tools.ConsumerPerformance", [
        "--bootstrap-server", bootstrap, "--topic", topic, "--messages", str(records), "--timeout", "60000"]).stdout
    rows = [line.split(", ") for line in out.splitlines() if re.match(r"^\d{4}-", line)]
    if len(rows) != 1 or int(rows[0][4]) < records:
        raise RigError("ConsumerPerformance: " + out[-500:])
    return {"fetch_mb_per_s": float(rows[0][8]) * 1.048576}


def _start(results, brokers):
    found = []
    for s in systems.setting("mtu1500", quick=False):
        if isinstance(s, systems.Floor):
            continue
        if s.missing():
            results.data["absent"][s.name] = s.missing()
            continue
        if s.aware or not s.relay:
            s.fixed_port = kafka.DIRECT_PORT
        found.append(s)
    kafka.up(extra=_listeners(found, brokers))
    topology.apply("mtu1500")
    with Step("starting %d systems before real Kafka" % len(found)):
        for s in list(found):
            try:
                s.start(brokers)
            except RigError as err:
                if s.name == "headrace":
                    raise
                results.data["absent"][s.name] = "did not start: " + str(err).splitlines()[-1]
                s.stop()
                found.remove(s)
        topology.apply("mtu1500")
    return found


def _report(results, kept, names, part, unit_of, method):
    """Metrics of each system, and Headrace's ratios: kept is a list of rounds {name: {quantity: value}}."""
    quantities = sorted({q for r in kept for v in r.values() for q in v})
    for q in quantities:
        unit, better = unit_of(q)
        values = {n: [r[n].get(q) for r in kept] for n in names}
        for n in names:
            results.add("real/%s/%s/%s" % (part, n, q), unit, method, values[n], better, part="real",
                        group=part, system=n, quantity=q)
        for n in names:
            if n in ("headrace", "direct") or q == "machine_cpu":
                continue
            ratio = stats.ratios(values["headrace"], values[n])
            m = results.add("real/%s/headrace:%s/%s" % (part, n, q), "ratio", "Headrace ÷ %s, round by round" % n, ratio, better,
                            part="real-ratio", group=part, system=n, quantity=q)
            m["verdict"] = stats.verdict(ratio, better)


def _unit(quantity):
    if quantity.endswith("mb_per_s"):
        return "MB/s", "higher"
    return ("CPU s/GB" if quantity.endswith("cpu") else quantity.rsplit("_", 1)[1]), "lower"


def _tools(results, budget, found, brokers, plan, needed_after):
    names = [s.name for s in found]
    _topic("create", "bench-read", PARTITIONS)
    produce(kafka.direct_bootstrap(), "bench-read", READ_RECORDS)
    n = [0]

    def one_round(rng):
        got, order = {}, list(found)
        rng.shuffle(order)
        topic = "bench-write-%d" % n[0]
        n[0] += 1
        _topic("create", topic, PARTITIONS)
        for s in order:
            got[s.name] = produce(s.bootstrap(brokers), topic, RECORDS)
        rng.shuffle(order)
        for s in order:
            got[s.name].update(consume(s.bootstrap(brokers), "bench-read", READ_RECORDS))
        _topic("delete", topic)
        return got

    kept = rounds.run(results, budget, "real Kafka's perf tools", plan["rounds"], one_round, needed_after=needed_after)
    _report(results, kept, names, "tools", _unit, "ProducerPerformance (acks=all, 1 KB) and ConsumerPerformance, as they say")


def _load(results, budget, found, brokers, plan, needed_after):
    names = [s.name for s in found]
    _topic("create", "bench-load", 1)
    node = kafka.leader("bench-load")
    leader = next(b for b in brokers if b.node_id == node)
    for s in found:
        e2e.steady_load(results, 4, s, leader, "produce", max(plan["seconds"], s.warm_seconds), topic="bench-load", **LOAD)
    carried = {s.name: e2e.steady_load(results, 2, s, leader, "produce", plan["seconds"], topic="bench-load",
                                       **LOAD)["requests_per_s"] for s in found}
    rate = 0.5 * min(carried.values())
    results.data["settings"]["real/load"] = {"capacity_requests_per_s": carried, "offered_requests_per_s": rate, "load": LOAD}

    def one_round(rng):
        order, got = list(found), {}
        rng.shuffle(order)
        for s in order:
            run = e2e.steady_load(results, 2, s, leader, "produce", plan["seconds"], rate, seed=rng.randrange(1 << 30),
                                  topic="bench-load", **LOAD)
            got[s.name] = {"p50_us": run["latency_ns"]["p50"] / 1e3, "p99_us": run["latency_ns"]["p99"] / 1e3,
                           "p99.9_us": run["latency_ns"]["p99.9"] / 1e3,
                           "machine_cpu": run["cpu"]["busy_s"] / (run["bytes"] / 1e9) if run["bytes"] else None}
        for name in got:
            if name != "direct" and got[name]["machine_cpu"] is not None and got["direct"]["machine_cpu"] is not None:
                got[name]["extra_cpu"] = got[name]["machine_cpu"] - got["direct"]["machine_cpu"]
        return got

    kept = rounds.run(results, budget, "real Kafka, hr-load", plan["rounds"], one_round, needed_after=needed_after)
    _report(results, kept, names, "load-50%", _unit, "hr-load, open loop at half of what the slowest carries, Produce of 16 KB, acks=1")


def run(results, budget, plan, needed_after=0):
    brokers = _brokers()
    found = []
    try:
        found = _start(results, brokers)
        say("    before real Kafka: " + ", ".join(s.title for s in found))
        _load(results, budget, found, brokers, plan, needed_after)
        results.save()
        _tools(results, budget, found, brokers, plan, needed_after)
    finally:
        for s in found:
            s.stop()
        kafka.down()
        env.stop("bench-nullbroker")
    results.save()

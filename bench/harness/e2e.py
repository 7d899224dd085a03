"""Rounds over the null broker: what each system carries, what it costs, and how long answers take.

One round of one kind of load is, in shuffled order, three levels (as much as it carries; 50 and 80 % of what the slowest
system carries) and at each level, in shuffled order, every system. At equal offered rate the machine's busy time
is compared, since that is what remains when a core that sleeps instead of polling is counted fairly.
"""

import json

from harness import results as res
from harness import rounds, stats, systems, topology
from rig import env
from rig.env import LOGS, RigError, Step, say, zone_ns

NODE_ID = 101
# connections, window of the closed loop, bytes; what is compared is in requests or in bytes.
KINDS = {
    "produce": {"connections": 8, "window": 4, "bytes": 65536, "per": "gb"},
    "fetch": {"connections": 8, "window": 4, "bytes": 65536, "per": "gb"},
    "small": {"connections": 64, "window": 4, "bytes": 200, "per": "mreq"},
}
LEVELS = {"max": None, "50%": 0.5, "80%": 0.8}
UNIT = {"gb": ("CPU s/GB", "GB", 1e9), "mreq": ("CPU s/million requests", "million requests", 1e6)}


def load(system, broker, kind, seconds, rate=0, seed=1, topic="bench", partition=0, **override):
    """One run of hr-load; its JSON."""
    k = dict(KINDS[kind], **override)
    addr, port = system.client_address(broker)
    argv = [env.BUILD + "/bench/e2e/hr-load", "--connect", "%s:%d" % (addr, port), "--kind", kind, "--bytes", str(k["bytes"]),
            "--connections", str(k["connections"]), "--window", str(k["window"]), "--seconds", "%g" % seconds, "--rate",
            "%.3f" % rate, "--seed", str(seed), "--topic", topic, "--partition", str(partition)]
    out = env.run(env.in_ns(zone_ns(topology.CLIENT_ZONE), env.on_cpu(0, argv)), timeout=seconds + 60).stdout
    return json.loads(out)


def steady_load(results, tries, system, *args, **kw):
    """load(), again when a connection broke: relays written for a JVM do that while they warm up. Each is counted."""
    for attempt in range(tries):
        try:
            return load(system, *args, **kw)
        except RigError as err:
            results.data["notes"].append("%s: %s" % (system.title, str(err).strip().splitlines()[-1]))
            if attempt == tries - 1:
                raise


def start_broker(found, brokers):
    """The null broker, with a listener for each system."""
    argv = [env.BUILD + "/bench/e2e/hr-nullbroker", "--node-id", str(NODE_ID), "--rack", "use1-az2"]
    for s in found:
        for b in brokers:
            argv += ["--listen", "%s:%d=%s:%d" % ((s.broker_addr(b), s.broker_port(b)) + s.advertised(b))]
    env.daemon("bench-nullbroker", env.in_ns(zone_ns(topology.BROKER_ZONE), env.on_cpu(0, argv)),
               log=LOGS + "/bench-nullbroker.log")


class Setting:
    """Everything up for one of the two settings, for the length of a with block."""

    def __init__(self, results, name, quick):
        self.results, self.name = results, name
        self.wanted = systems.setting(name, quick)
        self.brokers = [systems.Broker(NODE_ID, topology.BROKER_ZONE, 0)]
        self.found = []

    def __enter__(self):
        try:
            for s in self.wanted:
                why = s.missing()
                if why:
                    self.results.data["absent"][s.name] = why
                    say("    %s is absent: %s" % (s.title, why))
                    continue
                self.results.data["versions"][s.name] = s.version()
                self.found.append(s)
            with Step("starting the null broker and %d systems (%s)" % (len(self.found), self.name)):
                start_broker(self.found, self.brokers)
                topology.apply(self.name)
                for s in list(self.found):
                    try:
                        s.start(self.brokers)
                    except RigError as err:
                        if not s.relay or s.name == "headrace":
                            raise
                        self.results.data["absent"][s.name] = "did not start: " + str(err).splitlines()[-1]
                        s.stop()
                        self.found.remove(s)
                    topology.apply(self.name)  # starting Headrace sets sizes of its own
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for s in self.found:
            s.stop()
        env.stop("bench-nullbroker")
        return False

    def system(self, name):
        return next((s for s in self.found if s.name == name), None)


def _carries(results, system, broker, kind, seconds):
    """Requests per second after a run that is thrown away; 0 when a relay does not get going."""
    try:
        for _ in range(3):
            steady_load(results, 4, system, broker, kind, max(seconds, system.warm_seconds))
            found = steady_load(results, 2, system, broker, kind, seconds)["requests_per_s"]
            if found > 0:
                return found
    except RigError:
        if not system.relay or system.name == "headrace":
            raise
    return 0


def capacities(setting, seconds):
    """Requests per second that each system carries, per kind. A foreign relay that carries nothing is left out."""
    found = {}
    with Step("what each system carries (%s)" % setting.name):
        for kind in KINDS:
            found[kind] = {s.name: _carries(setting.results, s, setting.brokers[0], kind, seconds) for s in setting.found}
    for s in list(setting.found):
        idle = [kind for kind in KINDS if found[kind][s.name] <= 0]
        if not idle:
            continue
        if not s.relay or s.name == "headrace":
            raise RigError("%s carries nothing (%s)" % (s.title, ", ".join(idle)))
        setting.results.data["absent"][s.name] = "carried nothing in setting %s (%s)" % (setting.name, ", ".join(idle))
        s.stop()
        setting.found.remove(s)
        for kind in KINDS:
            del found[kind][s.name]
    return found


def run_kind(results, budget, setting, kind, slowest, plan, needed_after):
    """The rounds of one kind of load; returns per level and system the list of hr-load's answers."""
    broker = setting.brokers[0]

    def one_round(rng):
        got, levels = {}, list(LEVELS)
        rng.shuffle(levels)
        for level in levels:
            order = list(setting.found)
            rng.shuffle(order)
            rate = slowest * LEVELS[level] if LEVELS[level] else 0
            for s in order:
                got[level, s.name] = steady_load(results, 2, s, broker, kind, plan["seconds"], rate, seed=rng.randrange(1 << 30))
        return got

    kept = rounds.run(results, budget, "%s %s" % (setting.name, kind), plan["rounds"], one_round, needed_after=needed_after)
    return {key: [r[key] for r in kept] for key in kept[0]}


def _cost(run, per):
    """CPU seconds per GB or per million requests: of the machine, and of the relay's core."""
    amount = (run["bytes"] if per == "gb" else run["requests_per_s"] * run["seconds"]) / UNIT[per][2]
    if amount <= 0:
        return None, None
    cpus = run["cpu"]["per_cpu_busy_s"]
    core = cpus[systems.CORE] if len(cpus) > systems.CORE else cpus[0]
    return run["cpu"]["busy_s"] / amount, core / amount


def _minus(a, b):
    return [x - y if x is not None and y is not None else None for x, y in zip(a, b)]


def _quantities(got, level, name, baseline, per):
    """{quantity: (unit, method, better, values)} of one system at one level."""
    runs, base = got[level, name], got[level, baseline]
    if level == "max":
        if per == "gb":
            return {"mb_per_s": ("MB/s", "hr-load, closed loop, requests and answers", "higher", [r["mb_per_s"] for r in runs])}
        return {"requests_per_s": ("requests/s", "hr-load, closed loop", "higher", [r["requests_per_s"] for r in runs])}
    unit, each, _ = UNIT[per]
    machine = [_cost(r, per)[0] for r in runs]
    q = {
        "machine_cpu": (unit, "busy time of all CPUs (steal excluded) per %s, open loop" % each, "lower", machine),
        "core_cpu": (unit, "busy time of CPU %d, the relay's, per %s, open loop" % (systems.CORE, each), "lower",
                     [_cost(r, per)[1] for r in runs]),
    }
    if name != baseline:
        q["extra_cpu"] = (unit, "machine_cpu minus %s's in the same round" % baseline, "lower",
                          _minus(machine, [_cost(r, per)[0] for r in base]))
    for p in ("p50", "p99", "p99.9"):
        q["%s_us" % p] = ("us", "hr-load, open loop, from the intended time", "lower",
                          [r["latency_ns"][p] / 1e3 for r in runs])
    return q


def report_kind(results, setting, kind, got):
    """Turns hr-load's answers into metrics: each system's own, and Headrace's ratios to the others."""
    per = KINDS[kind]["per"]
    all_of = {}
    for level, name in got:
        s = setting.system(name)
        labels = {"part": "e2e", "setting": setting.name, "kind": kind, "level": level, "system": name}
        where = "e2e/%s/%s/%s/%s" % (setting.name, kind, level, name)
        q = _quantities(got, level, name, s.baseline if not isinstance(s, systems.Direct) else name, per)
        all_of[level, name] = q
        for quantity, (unit, method, better, values) in sorted(q.items()):
            results.add("%s/%s" % (where, quantity), unit, method, values, better, quantity=quantity, **labels)
        if level != "max":
            runs = got[level, name]
            results.add(where + "/achieved", "ratio", "requests answered in the interval ÷ requests due in it",
                        [r["requests_per_s"] * r["seconds"] / r["due"] if r["due"] else None for r in runs], "higher",
                        quantity="achieved", **labels)
            results.data["histograms"].append(dict(labels, unit="ns", buckets=stats.merge_buckets(
                r["histogram_ns"] for r in runs)))
    for level in LEVELS:
        ours = all_of.get((level, "headrace"), {})
        for s in setting.found:
            if s.name == "headrace" or isinstance(s, systems.Direct):
                continue
            for quantity, (_, _, better, values) in sorted(ours.items()):
                theirs = all_of[level, s.name].get(quantity)
                if not theirs or quantity == "machine_cpu":
                    continue
                ratio = stats.ratios(values, theirs[3])
                m = results.add("e2e/%s/%s/%s/headrace:%s/%s" % (setting.name, kind, level, s.name, quantity), "ratio",
                                "Headrace ÷ %s, round by round" % s.name, ratio, better, part="ratio", setting=setting.name,
                                kind=kind, level=level, system=s.name, quantity=quantity)
                m["verdict"] = stats.verdict(ratio, better)


def floor_parts(results, setting):
    """What the floor says about the driver at its end: cycles per packet inside its receive and transmit calls."""
    floor = setting.system("floor")
    if not floor:
        return
    floor.stop()
    lines = [line for line in env.tail(LOGS + "/bench-floor.log", 50).splitlines() if line.startswith('{"packets"')]
    said = json.loads(lines[-1]) if lines else {}
    if said.get("packets"):
        for part in ("rx", "tx", "busy"):
            results.add("e2e/%s/floor/%s_cycles_per_packet" % (setting.name, part), "TSC cycles/packet",
                        "hr-floor, whole run: " + {"rx": "inside rte_eth_rx_burst()", "tx": "inside rte_eth_tx_burst()",
                                                   "busy": "whole turns with packets"}[part],
                        [said[part + "_cycles"] / said["packets"]], "lower", part="floor", setting=setting.name,
                        system="floor", quantity=part)
    setting.found.remove(floor)


def cross_check(results, setting, plan):
    """testpmd in the floor's place, which never sleeps: only what it carries can be compared."""
    pmd = systems.Testpmd(9, 1500)
    why = pmd.missing()
    if why:
        results.data["absent"]["testpmd"] = why
        return
    try:
        pmd.start(setting.brokers)
        for kind in ("produce", "fetch"):
            results.add("e2e/%s/%s/max/testpmd/mb_per_s" % (setting.name, kind), "MB/s", "hr-load, closed loop, behind dpdk-testpmd",
                        [load(pmd, setting.brokers[0], kind, plan["seconds"])["mb_per_s"] for _ in range(plan["rounds"])],
                        "higher", part="e2e", setting=setting.name, kind=kind, level="max", system="testpmd", quantity="mb_per_s")
    except RigError as err:
        results.data["absent"]["testpmd"] = str(err).splitlines()[0]
    finally:
        pmd.stop()


def run(results, budget, name, plan, quick=False, needed_after=0):
    """One setting, whole."""
    with Setting(results, name, quick) as setting:
        carried = capacities(setting, plan["seconds"])
        each = len(setting.found) * len(LEVELS) * (plan["seconds"] + 0.6) * plan["rounds"]
        for i, kind in enumerate(KINDS):
            slowest = min(carried[kind].values())
            slow_name = min(carried[kind], key=carried[kind].get)
            results.data["settings"]["%s/%s" % (name, kind)] = {
                "capacity_requests_per_s": carried[kind], "slowest": slow_name,
                "offered_requests_per_s": {lv: slowest * f for lv, f in LEVELS.items() if f}, "load": KINDS[kind]}
            got = run_kind(results, budget, setting, kind, slowest, plan, needed_after + each * (len(KINDS) - 1 - i))
            report_kind(results, setting, kind, got)
            results.save()
        floor_parts(results, setting)
        if not quick and name == "mtu1500":
            cross_check(results, setting, plan)
        results.save()


def metrics_of(data, **labels):
    return res.find(data, part="e2e", **labels)

"""Declaring tests, and running them on one rig.

A test is a function with a name and what it needs. The runner starts brokers once per Kafka version and Headrace
once per variant (configuration), orders tests so that restarts are few, and gives each test fresh topics. After
every test it checks what must always hold: the dataplane is the same process, the zero-copy and no-heap counters
are 0, and nothing that reached a client named a broker.
"""

import json
import os
import sys
import time
import traceback

from framework import capture
from framework.java import Java
from rig import cli, deps, env, fleet, headrace, kafka, net, netns
from rig.env import HUB, LOGS, RigError, ZONES, zone_ns

TESTS = []


class Skip(Exception):
    pass


def test(name, needs=("kafka",), variant=None, kafka_versions=("4.4.0",), suite="default", restarts=False,
         scan=True, timeout=300, extra_versions=()):
    """Registers a test.

    needs: "kafka" (brokers), "headrace" (cannot run directly against the brokers), "program" (no rig at all).
    variant: Headrace's configuration, see rig/headrace.py; {"fleet": ...}: one instance in each zone instead, see
    rig/fleet.py. kafka_versions: run by default on these;
    extra_versions: only in `all`. suite: "default" or "all". restarts: the test itself ends Headrace processes.
    scan: capture and scan what reaches clients.
    """
    def add(fn):
        TESTS.append({"name": name, "fn": fn, "needs": needs, "variant": variant or {}, "suite": suite,
                      "kafka_versions": kafka_versions, "extra_versions": extra_versions, "restarts": restarts,
                      "scan": scan, "timeout": timeout})
        return fn
    return add


def check(ok, what):
    if not ok:
        raise AssertionError(what)


def eventually(what, probe, timeout=10, interval=0.05):
    deadline = time.monotonic() + timeout
    while True:
        got = probe()
        if got:
            return got
        check(time.monotonic() < deadline, "%s: not within %g s" % (what, timeout))
        time.sleep(interval)


class Context:
    """What a test sees of the rig."""

    serial = 0

    def __init__(self, runner, spec):
        self.runner, self.spec, self.notes = runner, spec, []
        self.direct = runner.direct
        self.bootstrap = kafka.direct_bootstrap() if self.direct else "%s:%d" % (net.CLIENT_NAME, headrace.BOOTSTRAP_PORT)
        self.kafka_version = runner.kafka_version

    def note(self, text):
        """Something measured, shown beside the result."""
        self.notes.append(text)

    def name(self, base):
        Context.serial += 1
        return "%s-%s-%d" % (base, os.getpid(), Context.serial)

    def java(self, version=deps.KAFKA_DEFAULT, zone=1):
        return self.runner.jvm(version, zone)

    def topic(self, base, partitions=3, **configs):
        """A fresh topic, created directly at the brokers so that what is under test starts afterwards."""
        name = self.name(base)
        self.java().call("create_topic", bootstrap=kafka.direct_bootstrap(), topic=name, partitions=partitions,
                         configs=",".join("%s=%s" % (k.replace("_", "."), v) for k, v in configs.items()))

        def known():
            got = [kafka.ask(z) for z in kafka.alive()]
            return all(g and len(g[1].get(name, {})) == partitions and min(g[1][name].values()) >= 0 for g in got)
        eventually("topic %s at every broker" % name, known, 30)
        return name

    def run(self, zone, argv, timeout=120, **kw):
        """A client program in a zone; its last line of output as JSON."""
        res = env.run(env.in_ns(zone_ns(zone), env.on_cpu(0, argv)), check=False, timeout=timeout, **kw)
        check(res.returncode == 0, "%s: exit %d\n%s\n%s" % (argv[0], res.returncode, res.stdout[-1500:], res.stderr[-1500:]))
        lines = res.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else res.stdout

    def connect(self, port=headrace.BOOTSTRAP_PORT, zone=1, timeout=10):
        """A raw TCP connection to Headrace."""
        addr = net.HEADRACE6 if self.spec["variant"].get("ipv6") else net.HEADRACE
        return netns.connect(zone_ns(zone), (addr, port), timeout)

    def counters(self):
        return headrace.counters()

    def drops(self):
        return headrace.drops()


class Runner:
    def __init__(self, direct=False):
        self.direct = direct
        self.jvms, self.kafka_version, self.variant, self.results = {}, None, None, []

    def jvm(self, version, zone):
        key = (version, zone)
        if key not in self.jvms or self.jvms[key].p.poll() is not None:
            self.jvms[key] = Java(zone, version)
        return self.jvms[key]

    def close_jvms(self):
        for j in self.jvms.values():
            j.close()
        self.jvms = {}

    def close(self):
        self.close_jvms()

    # --- bringing up what a test needs ---

    def need(self, spec, version):
        if "program" in spec["needs"]:
            return
        cli.up(with_kafka=False, with_headrace=False)
        if "kafka" in spec["needs"]:
            if kafka.version() not in (None, version):
                self.stop_headrace()
                self.close_jvms()
                kafka.down()
            kafka.up(version)
            self.kafka_version = version
        if not self.direct:
            self.start_headrace(spec["variant"], "kafka" in spec["needs"])

    def start_headrace(self, variant, with_kafka):
        key = json.dumps([variant, with_kafka], sort_keys=True)
        if self.variant == key and len(instances()) == (len(ZONES) if "fleet" in variant else 1):
            return
        self.stop_headrace()
        if "fleet" in variant:
            fleet.start(variant["fleet"])
        else:
            headrace.start(variant, kafka_ready=with_kafka)
        self.variant = key

    def stop_headrace(self):
        """Stops Headrace as an operator would; anything but a clean end is a failure of the variant's tests."""
        if not instances():
            self.variant = None
            return
        problems = []
        try:
            self.close_jvms()
            eventually("packet pools back to full", lambda: not pools_short(), timeout=15, interval=0.25)
        except (AssertionError, RigError) as e:
            problems.append("%s: %s" % (e, pools_short()))
        problems += end_instances()
        self.variant = None
        if problems:
            self.results.append(("end of variant", False, 0, "; ".join(problems), []))
            print("FAIL  end of variant: %s" % "; ".join(problems), flush=True)

    # --- one test ---

    def run_one(self, spec, version):
        label = spec["name"] + (" [%s]" % version if "kafka" in spec["needs"] and version != deps.KAFKA_DEFAULT else "")
        start, notes = time.monotonic(), []
        try:
            self.need(spec, version)
        except Exception as e:
            self.fail(label, 0, "set-up: %s" % e, notes)
            return
        start = time.monotonic()
        through = not self.direct and "program" not in spec["needs"]
        watch = None
        try:
            before = dataplanes() if through else None
            if through and spec["scan"] and "fleet" not in spec["variant"]:
                watch = capture.Capture()
            ctx = Context(self, spec)
            notes = ctx.notes
            spec["fn"](ctx)
            if through:
                if not spec["restarts"]:
                    check(before and all(before.values()) and dataplanes() == before, "the dataplane process changed (crashed?)")
                check_invariants()
                if watch:
                    scanned, found = watch.finish()
                    watch = None
                    check(not found, "broker addresses reached clients: %s" % found)
                    if scanned["lost"]:
                        ctx.note("the capture missed %d packets" % scanned["lost"])
                    check(scanned["packets"] > 0 or "kafka" not in spec["needs"], "nothing was captured")
            took = time.monotonic() - start
            self.results.append((label, True, took, "", notes))
            print("ok    %-44s %6.1f s  %s" % (label, took, "; ".join(notes)), flush=True)
        except Skip as e:
            self.results.append((label, None, 0, str(e), notes))
            print("skip  %-44s          %s" % (label, e), flush=True)
        except BaseException as e:
            if isinstance(e, KeyboardInterrupt):
                raise
            text = str(e) if isinstance(e, (AssertionError, RigError)) and str(e) else traceback.format_exc()
            self.fail(label, time.monotonic() - start, text, notes)
            self.recover()
        finally:
            if watch:
                watch.discard()
            for z in ZONES:  # a test that failed may have left its loss or its partition behind
                env.run(env.in_ns(zone_ns(z), ["iptables", "-F"]), check=False)

    def fail(self, label, took, text, notes):
        self.results.append((label, False, took, text, notes))
        print("FAIL  %-44s %6.1f s  %s" % (label, took, "; ".join(notes)), flush=True)
        print("      " + text.strip().replace("\n", "\n      "), flush=True)
        for log in sorted(os.listdir(LOGS)) if os.path.isdir(LOGS) else []:
            if log.startswith("headrace") and log.endswith(".log"):
                print("      --- %s\n      %s" % (log, env.tail(LOGS + "/" + log, 15).replace("\n", "\n      ")), flush=True)
        if not self.direct:
            try:
                print("      --- drops: %s" % {k: v for k, v in headrace.drops().items() if v}, flush=True)
            except Exception:
                pass

    def recover(self):
        """After a failure: brokers all up again, Headrace fresh, so that the next test stands alone."""
        try:
            self.close_jvms()
            if self.kafka_version:
                for z in ZONES:
                    if env.pid_of("kafka-%d" % kafka.NODE_ID[z]) is None:
                        kafka.start(z, wait=False)
                kafka.wait_ready()
            if not self.direct:
                end_instances()
                self.variant = None
        except Exception as e:
            print("      recovery: %s" % e, flush=True)


def instances():
    """What runs of Headrace: the one in the hub, or those of the zones."""
    return [i for i in [headrace.HERE, *fleet.AT.values()] if i.pid()]


def dataplanes():
    return {i.name: i.children().get("dataplane") for i in instances()}


def end_instances():
    """Stops them; what was not as it should be."""
    problems = []
    for i in instances():
        polite, status = i.stop()
        if not polite:
            problems.append("%s did not end within its drain deadline" % i.name)
        elif status:
            problems.append("%s ended with status %d" % (i.name, status))
    return problems


def pools_short():
    """Pools that are not full although nothing is open: {(instance, gauge): (free, total)}."""
    short = {}
    for i in instances():
        g = i.gauges()
        short.update({(i.name, n): (g[n + "_free"], g[n + "_total"]) for n in ("mbufs", "hdr_mbufs")
                      if g.get(n + "_free") != g.get(n + "_total")})
    return short


def check_invariants():
    for i in instances():
        c = i.counters()
        for name in ("payload_copied_bytes", "heap_calls"):
            check(name in c, "no counter %s" % name)
            check(c[name] == 0, "%s is %d at %s, must stay 0" % (name, c[name], i.name))


def select(names, everything, versions=None):
    """[(version, test)] in an order that restarts brokers and Headrace as seldom as possible."""
    chosen = []
    for t in TESTS:
        if names and not any(t["name"] == n or t["name"].startswith(n + "/") or (n.endswith("*") and t["name"].startswith(n[:-1]))
                             for n in names):
            continue
        if t["suite"] == "all" and not everything and t["name"] not in names:
            continue
        vs = list(t["kafka_versions"]) + (list(t["extra_versions"]) if everything or names else [])
        if "kafka" not in t["needs"]:
            vs = [deps.KAFKA_DEFAULT]
        for v in vs:
            if versions is None or v in versions:
                chosen.append((v, t))
    order = [json.dumps(t["variant"], sort_keys=True) for t in TESTS]
    variants = sorted(set(order), key=order.index)
    key = {json.dumps([v, True]): i for i, v in enumerate(variants)}
    return sorted(chosen, key=lambda vt: (
        "kafka" in vt[1]["needs"], vt[0] != deps.KAFKA_DEFAULT, vt[0],
        key[json.dumps([json.dumps(vt[1]["variant"], sort_keys=True), True])]))

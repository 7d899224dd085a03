"""The rig's own command line, for people who work on Headrace; scripts/quickstart is the one for users.

  python3 scripts/rig up [--no-kafka] [--no-headrace] [--kafka V] [--mtu N] [--ports N] [--config FILE]
  python3 scripts/rig down | status
  python3 scripts/rig headrace start|stop|config [--ports N] [--mtu N] [--workers 1,0]
  python3 scripts/rig brokers start|stop [ZONE]
  python3 scripts/rig exec ZONE|hub -- COMMAND...
  python3 scripts/rig iperf [SECONDS] [-R]        through Headrace's mode = "tcp" listener, zone 1 to zone 2
  python3 scripts/rig loss PERCENT | rate MBIT | mtu N
"""

import argparse
import json
import os
import shutil
import sys
import time

from rig import env, fleet, headrace, iperf, kafka, net
from rig.env import HUB, LOGS, RUN, VAR, ZONES, RigError, zone_ns


def up(with_kafka=True, with_headrace=True, version=None, variant=None, config=None):
    """Brings up what is missing; safe to repeat."""
    if os.geteuid() != 0:
        raise RigError("the rig needs root (network namespaces)")
    if not net.exists(HUB):
        with env.Step("creating three zones (network namespaces)"):
            net.up(client_hosts=headrace.client_hosts())
    if with_kafka:
        kafka.up(version or kafka.version() or kafka.deps.KAFKA_DEFAULT)
    if with_headrace and not env.pid_of("headrace"):
        with env.Step("starting Headrace"):
            headrace.start(variant, config, kafka_ready=with_kafka)


def down():
    """Removes everything that a rig leaves on the machine."""
    headrace.stop()
    fleet.stop()
    kafka.down()
    for name in env.recorded():
        env.stop(name, timeout=5)
    net.down()
    shutil.rmtree(RUN, ignore_errors=True)
    shutil.rmtree(VAR, ignore_errors=True)


def leftovers():
    """What of this rig is still on the machine: must be empty after down()."""
    found = ["namespace " + ns for ns in [HUB] + [zone_ns(z) for z in ZONES] if net.exists(ns)]
    found += ["file " + p for p in [RUN, VAR] + ["/etc/netns/" + ns for ns in [HUB] + [zone_ns(z) for z in ZONES]]
              if os.path.exists(p)]
    with open("/proc/mounts") as f:
        found += ["mount " + line.split()[1] for line in f
                  if line.split()[1].startswith((RUN, VAR, "/run/netns/" + env.NAME + "-"))]
    prefix = "hr-rig-" + env.NAME
    for folder in ("/dev/hugepages", "/var/run/dpdk"):
        if os.path.isdir(folder):
            found += ["file %s/%s" % (folder, n) for n in os.listdir(folder) if n.startswith(prefix)]
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as f:
                    line = f.read()
            except OSError:
                continue
            if (RUN + "/").encode() in line or (VAR + "/").encode() in line:
                found.append("process %s %s" % (entry, line.replace(b"\0", b" ")[:100].decode("utf-8", "replace")))
    return found


def status():
    rows = {"name": env.NAME, "namespaces": [ns for ns in [HUB] + [zone_ns(z) for z in ZONES] if net.exists(ns)],
            "processes": {n: env.pid_of(n) for n in env.recorded()}, "kafka": kafka.version(), "logs": LOGS}
    return rows


def main(argv):
    p = argparse.ArgumentParser(prog="rig", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    sub = p.add_subparsers(dest="cmd", required=True)

    def variant_args(q):
        q.add_argument("--ports", type=int, default=1, choices=(1, 2))
        q.add_argument("--mtu", type=int, default=1500)
        q.add_argument("--workers", default="", help="lcores, comma-separated")
        q.add_argument("--idle", default="adaptive")
        q.add_argument("--config", help="your own Headrace configuration")

    q = sub.add_parser("up")
    q.add_argument("--no-kafka", action="store_true")
    q.add_argument("--no-headrace", action="store_true")
    q.add_argument("--kafka")
    variant_args(q)
    sub.add_parser("down")
    sub.add_parser("status")
    q = sub.add_parser("headrace")
    q.add_argument("what", choices=("start", "stop", "config"))
    q.add_argument("--no-kafka", action="store_true")
    variant_args(q)
    q = sub.add_parser("brokers")
    q.add_argument("what", choices=("start", "stop"))
    q.add_argument("zone", nargs="?", type=int)
    q = sub.add_parser("exec")
    q.add_argument("zone")
    q.add_argument("command", nargs=argparse.REMAINDER)
    q = sub.add_parser("iperf")
    q.add_argument("seconds", nargs="?", type=int, default=5)
    q.add_argument("-R", dest="reverse", action="store_true")
    for name in ("loss", "rate", "mtu"):
        sub.add_parser(name).add_argument("value", type=float)
    a = p.parse_args(argv)
    try:
        return _do(a)
    except RigError as err:
        print("error: %s" % err, file=sys.stderr)
        return 1


def _variant(a):
    v = {"ports": a.ports, "mtu": a.mtu, "idle": a.idle}
    if a.workers:
        v["workers"] = [int(w) for w in a.workers.split(",")]
    return v


def _do(a):
    if a.cmd == "up":
        up(not a.no_kafka, not a.no_headrace, a.kafka, _variant(a), a.config)
    elif a.cmd == "down":
        down()
        left = leftovers()
        for line in left:
            print("left behind: " + line, file=sys.stderr)
        return 1 if left else 0
    elif a.cmd == "status":
        print(json.dumps(status(), indent=2))
    elif a.cmd == "headrace":
        if a.what == "start":
            headrace.start(_variant(a), a.config, kafka_ready=not a.no_kafka)
        elif a.what == "stop":
            print("drained" if headrace.stop()[0] else "killed")
        else:
            print(headrace.render(_variant(a)), end="")
    elif a.cmd == "brokers":
        zones = [a.zone] if a.zone else list(ZONES)
        for z in zones:
            if a.what == "stop":
                kafka.kill(z, 15)
            else:
                kafka.start(z, wait=False)
        if a.what == "start":
            kafka.wait_ready()
    elif a.cmd == "exec":
        command = a.command[1:] if a.command[:1] == ["--"] else a.command
        ns = HUB if a.zone == "hub" else zone_ns(int(a.zone))
        argv = env.in_ns(ns, command)
        os.execvp(argv[0], argv)
    elif a.cmd == "iperf":
        start = time.monotonic()
        iperf.server()
        print(json.dumps(dict(iperf.client(a.seconds, a.reverse), took=time.monotonic() - start)))
    elif a.cmd == "loss":
        net.loss(a.value)
    elif a.cmd == "rate":
        net.rate(int(a.value))
    else:
        net.set_mtu(int(a.value))
    return 0

"""Runs integration tests: run.py [--list] [--direct] [--all] [--kafka V] [--keep] [NAME...]

--direct runs the tests that can against the brokers themselves, which shows whether a failure is the test's own.
A NAME may be a whole name, a folder (java) or end in *. The rig is removed at the end, unless --keep.
"""

import argparse
import importlib
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, ROOT + "/tests/fault", ROOT + "/scripts"]
if "HR_RIG" not in os.environ:  # never the playground that somebody may be using
    os.environ["HR_RIG"] = "hrt"

from framework import core  # noqa: E402
from rig import cli, env, headrace, kafka  # noqa: E402

MODULES = ("test_programs", "test_tcp", "test_crowds", "test_ipv6", "test_java", "test_clients", "test_zone_reads", "test_auth",
           "test_terminate", "test_reauth", "test_tls", "test_proxy_protocol", "test_zones", "test_fleet", "test_bad_input",
           "test_bounds", "test_faults", "test_perf", "test_bench")


def main(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--list", action="store_true")
    p.add_argument("--direct", action="store_true")
    p.add_argument("--all", action="store_true")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--kafka")
    p.add_argument("names", nargs="*")
    a = p.parse_args(argv)
    for m in MODULES:
        importlib.import_module(m)
    plan = core.select([n.rstrip("/") for n in a.names], a.all, [a.kafka] if a.kafka else None)
    if a.direct:
        plan = [(v, t) for v, t in plan if "headrace" not in t["needs"]]
    if a.list:
        for v, t in plan:
            about = (t["fn"].__doc__ or "").strip().splitlines()
            print("%-28s %-6s %s" % (t["name"], v if "kafka" in t["needs"] else "-", about[0] if about else ""))
        return 0
    if not plan:
        print("error: no test is called %s; --list shows all" % ", ".join(a.names), file=sys.stderr)
        return 2

    if not a.direct:
        headrace.check_built()
    # Brokers start and stop often here: the optimising compiler would cost more than it brings.
    if not any(n.startswith("perf") for n in a.names):
        kafka.JVM_OPTIONS.append("-XX:TieredStopAtLevel=1")

    def interrupted(signum, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    runner = core.Runner(direct=a.direct)
    start = time.monotonic()
    stopped = False
    try:
        for version, spec in plan:
            runner.run_one(spec, version)
        if not a.direct:
            runner.stop_headrace()
    except KeyboardInterrupt:
        stopped = True
        print("interrupted", file=sys.stderr)
    finally:
        runner.close()
        if not a.keep:
            cli.down()
            left = cli.leftovers()
            if left:
                runner.results.append(("nothing left behind", False, 0, "; ".join(left), []))
                print("FAIL  nothing left behind\n      " + "\n      ".join(left))
    passed = sum(1 for r in runner.results if r[1] is True)
    failed = [r[0] for r in runner.results if r[1] is False]
    skipped = sum(1 for r in runner.results if r[1] is None)
    if failed:
        print("failed: " + ", ".join(failed))
    print("integration tests took %.0f s" % (time.monotonic() - start))
    print("%d passed, %d failed, %d skipped" % (passed, len(failed), skipped), flush=True)
    return 1 if failed or stopped or not passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except env.RigError as err:
        print("error: %s" % err, file=sys.stderr)
        sys.exit(1)

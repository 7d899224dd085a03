"""The command line of bench/run."""

import argparse
import os
import signal
import sys
import time
import traceback

from harness import e2e, machine, report, results, ring, rounds, topology
from rig import cli, deps, env
from rig.env import ROOT, RigError, say

FOLDER = ROOT + "/bench/results"
PLANS = {
    "quick": {"rounds": 9, "seconds": 1.5, "minutes": 20},
    "all": {"rounds": 9, "seconds": 1.5, "minutes": 90},
}
PARTS = {"quick": ("ring", "mtu1500"), "all": ("ring", "mtu1500", "large", "real", "paths")}
ABOUT = {
    "ring": "ring bench and instruction counts (bench/ring)",
    "mtu1500": "null broker, MTU 1500 without offloads",
    "large": "null broker, MTU 61000 beside the kernel with segmentation offloads",
    "real": "real Kafka with its own perf tools",
    "paths": "a share beside a kernel flow, goodput under loss",
}


def _run_part(part, out, budget, plan, quick, needed_after):
    if part == "ring":
        ring.run(out, quick, plan.get("ring_rounds"))
    elif part in ("mtu1500", "large"):
        topology.up()
        e2e.run(out, budget, part, plan, quick, needed_after)
    elif part == "real":
        from harness import real
        topology.up()
        real.run(out, budget, plan, needed_after)
    else:
        from harness import paths
        topology.up()
        paths.run(out, budget, plan, needed_after)


def remove_all():
    """Everything that a run leaves on the machine beside its results."""
    for name in env.recorded():
        env.stop(name, timeout=10)
    topology.down()
    cli.down()


def measure(mode, parts, plan, folder, compare=None):
    start = time.monotonic()
    deps.build(options=("-Dbench=true", "-Dtests=false"))
    budget = rounds.Budget(plan["minutes"] * 60)
    out = results.Results(folder, mode, machine.facts())
    for part in PARTS["all"]:
        if part not in parts:
            out.data["not_run"][part] = "not part of %s" % ("--quick" if mode == "quick" else "this run")
    if mode == "quick":
        for name in ("nginx", "envoy", "kroxylicious", "floor", "testpmd"):
            out.data["not_run"][name] = "not part of --quick"
    out.data["plan"] = plan
    estimate = {"ring": 0, "mtu1500": 1500, "large": 1500, "real": 1200, "paths": 700}
    try:
        for i, part in enumerate(parts):
            say("==> [%d/%d, %.0f min of %d] %s" % (i + 1, len(parts), budget.spent() / 60, plan["minutes"], ABOUT[part]))
            try:
                _run_part(part, out, budget, plan, mode == "quick", sum(estimate[p] for p in parts[i + 1:]))
            except RigError as err:
                out.data["failed"][part] = str(err)[-2000:]
                say("    failed: %s" % err)
            except Exception as err:  # a mistake of ours in one part must not cost the others
                out.data["failed"][part] = repr(err)
                traceback.print_exc()
            out.save()
    finally:
        remove_all()
    left = cli.leftovers() + topology.leftovers()
    for line in left:
        say("left behind: " + line)
        out.data["notes"].append("left behind: " + line)
    out.finish()
    paths_written = report.write(out.data, out.base, compare or results.previous(folder, out.base + ".json"))
    say("%.0f min; %s" % ((time.monotonic() - start) / 60, ", ".join(os.path.relpath(p) for p in paths_written)))
    return 1 if out.data["failed"] or left else 0


def main(argv):
    p = argparse.ArgumentParser(prog="bench/run", formatter_class=argparse.RawDescriptionHelpFormatter,
                                description="Measures Headrace beside direct links and other relays; writes JSON, Markdown and "
                                "plots to bench/results/.",
                                epilog="parts: " + "; ".join("%s: %s" % (k, v) for k, v in ABOUT.items()))
    p.add_argument("mode", nargs="?", choices=("all",), help="everything (up to 90 minutes); without it the same as --quick")
    p.add_argument("--quick", action="store_true", help="ring bench, direct, HAProxy and Headrace at one MTU (up to 20 minutes)")
    p.add_argument("--parts", help="some of the parts only, comma-separated")
    p.add_argument("--rounds", type=int, help="instead of 9; below 6 no interval reaches 95 %%")
    p.add_argument("--seconds", type=float, help="of each measurement")
    p.add_argument("--compare", metavar="FILE", help="an earlier result file; default: the newest complete one")
    p.add_argument("--report", metavar="FILE", help="writes report and plots of a result file again, measures nothing")
    p.add_argument("--output", default=FOLDER, help="where results go (default bench/results)")
    a = p.parse_args(argv)
    if a.report:
        data = results.load(a.report)
        report.write(data, a.report[:-5] if a.report.endswith(".json") else a.report, a.compare)
        return 0
    if a.mode == "all" and a.quick:
        p.error("--quick or all")
    mode = "all" if a.mode == "all" else "quick"
    parts = a.parts.split(",") if a.parts else PARTS[mode]
    for part in parts:
        if part not in ABOUT:
            p.error("%s: the parts are %s" % (part, ", ".join(ABOUT)))
    plan = dict(PLANS[mode])
    if a.rounds:
        plan["rounds"] = plan["ring_rounds"] = a.rounds
    if a.seconds:
        plan["seconds"] = a.seconds

    def interrupted(signum, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    return measure(mode, [x for x in PARTS["all"] if x in parts], plan, a.output, a.compare)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RigError as err:
        say("error: %s" % err)
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)

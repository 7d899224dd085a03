"""The ring bench (bench/ring/run): one JSON object a line, a metric each."""

import json
import os
import subprocess

from harness import targets
from rig import env
from rig.env import ROOT, RigError


def run(results, quick, n_rounds=None):
    """n_rounds: instead of what the ring bench itself takes."""
    program = ROOT + "/bench/ring/run"
    if not os.access(program, os.X_OK):
        results.data["not_run"]["ring"] = "bench/ring/run is not there"
        return
    argv = [program] + (["--quick"] if quick else []) + (["--rounds", str(n_rounds)] if n_rounds else [])
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                         env=dict(os.environ, HR_BUILD=env.BUILD), start_new_session=True)
    try:
        take(results, p.stdout)
        if p.wait() != 0:
            raise RigError("bench/ring/run: exit %d" % p.returncode)
    finally:
        if p.poll() is None:
            os.killpg(p.pid, 15)
            p.wait()


def take(results, lines):
    """Adds every metric among the lines; whatever else they hold is for people."""
    for line in lines:
        if not line.startswith("{"):
            continue
        m = json.loads(line)
        results.add("ring/" + m["name"], m["unit"], m["method"], m["raw"],
                    "lower" if m["name"] in targets.RING else "higher" if m["name"] in targets.RING_LEAST else None, part="ring", quantity=m["name"])

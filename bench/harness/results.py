"""The result file: metrics with everything that is needed to judge them, and the comparison of two files.

SCHEMA is the file's version: a reader refuses another. A metric has a name that is the same in every run, a unit, the
method in words, all raw values in the order in which they were taken, their median and its interval. Labels repeat
the name in parts, for whoever wants to sort.
"""

import datetime
import glob
import json
import os

from harness import stats

SCHEMA = 1
# What means something on another machine too: counts that no clock enters, and ratios within one run.
PORTABLE_UNITS = ("instructions", "ratio")


def metric(name, unit, method, raw, better=None, **labels):
    """One metric. Values that could not be taken are None and stay in `raw`."""
    values = [v for v in raw if v is not None]
    found = stats.interval(values)
    m = {"name": name, "unit": unit, "method": method, "raw": list(raw), "median": stats.median(values),
         "interval": list(found[:2]) if found else None, "rank": found[2] if found else None,
         "coverage": round(found[3], 4) if found else None, "n": len(values), "labels": labels}
    if better:
        m["better"] = better
    return m


def dumps(data):
    """JSON with one metric, histogram or round a line: neither one line nor one number a line."""
    def value(v):
        if isinstance(v, list) and v and isinstance(v[0], dict):
            return "[\n  " + ",\n  ".join(json.dumps(e) for e in v) + "\n ]"
        return json.dumps(v)
    return "{\n" + ",\n".join(" %s: %s" % (json.dumps(k), value(v)) for k, v in data.items()) + "\n}\n"


class Results:
    """What one run has found so far; written after every part, so that a run that breaks leaves what it had."""

    def __init__(self, folder, mode, facts):
        stamp = datetime.datetime.now(datetime.timezone.utc)
        self.data = {"schema": SCHEMA, "kind": "headrace-bench", "mode": mode,
                     "started": stamp.isoformat(timespec="seconds"), "finished": None, "complete": False,
                     "machine": facts, "settings": {}, "round_trips_ns": [], "rounds": [], "rounds_repeated": 0,
                     "host_gaps": [], "metrics": [], "histograms": [], "versions": {}, "absent": {}, "not_run": {},
                     "failed": {}, "notes": []}
        self.base = "%s/%s-%s" % (folder, stamp.strftime("%Y%m%d-%H%M%S"), mode)
        os.makedirs(folder, exist_ok=True)

    def add(self, *args, **kw):
        m = metric(*args, **kw)
        self.data["metrics"].append(m)
        return m

    def save(self):
        with open(self.base + ".json.new", "w") as f:
            f.write(dumps(self.data))
        os.replace(self.base + ".json.new", self.base + ".json")

    def finish(self):
        self.data["finished"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.data["complete"] = not self.data["failed"]
        self.save()


def find(data, **labels):
    """The metrics that have these labels."""
    return [m for m in data["metrics"] if all(m["labels"].get(k) == v for k, v in labels.items())]


def load(path):
    with open(path) as f:
        data = json.load(f)
    if data.get("kind") != "headrace-bench" or data.get("schema") != SCHEMA:
        raise ValueError("%s is no result file of schema %d" % (path, SCHEMA))
    return data


def previous(folder, besides=None):
    """The newest complete result in a folder, None if there is none."""
    for path in sorted(glob.glob(folder + "/*.json"), reverse=True):
        if besides and os.path.abspath(path) == os.path.abspath(besides):
            continue
        try:
            data = load(path)
        except (OSError, ValueError):
            continue
        if data["complete"]:
            return path
    return None


def same_machine(a, b):
    return a["machine"].get("id") is not None and a["machine"].get("id") == b["machine"].get("id")


def compare(old, new):
    """Rows {name, unit, old, new, change, verdict} for metrics that both have and that may be compared.

    Between machines only what no clock enters and ratios within a run may. A change counts when the two intervals
    do not meet.
    """
    portable_only = not same_machine(old, new)
    before = {m["name"]: m for m in old["metrics"]}
    rows = []
    for m in new["metrics"]:
        o = before.get(m["name"])
        if not o or o["unit"] != m["unit"] or o["median"] is None or m["median"] is None:
            continue
        if portable_only and m["unit"] not in PORTABLE_UNITS:
            continue
        apart = m["interval"][0] > o["interval"][1] or m["interval"][1] < o["interval"][0]
        verdict = "same"
        if apart and m.get("better"):
            verdict = "better" if (m["median"] > o["median"]) == (m["better"] == "higher") else "worse"
        elif apart:
            verdict = "changed"
        rows.append({"name": m["name"], "unit": m["unit"], "old": o["median"], "new": m["median"],
                     "change": m["median"] / o["median"] - 1 if o["median"] else None, "verdict": verdict})
    return rows

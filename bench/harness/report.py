"""The Markdown report of a result file."""

import os

from harness import plots, results, stats, systems, targets

TITLES = {cls.name: cls.title for cls in systems.RELAYS + (systems.Headrace, systems.Floor, systems.Testpmd)}
SETTINGS = {"mtu1500": "MTU 1500, no offloads at any end",
            "large": "large units: MTU 61000 for Headrace, segmentation offloads for the kernel"}
KINDS = {"produce": "Produce, 64 KB batches, 8 connections", "fetch": "Fetch, 64 KB answers, 8 connections",
         "small": "small requests, 200 B, 64 connections"}


def number(v):
    if v is None:
        return "-"
    if v == 0 or 0.001 <= abs(v) < 10:
        return "%.3f" % v
    return "%.1f" % v if abs(v) < 1000 else format(int(round(v)), ",")


def spread(m):
    """Median and interval in one cell."""
    if m is None or m["median"] is None:
        return "-"
    if m["n"] == 1:
        return number(m["median"])
    return "%s [%s .. %s]" % (number(m["median"]), number(m["interval"][0]), number(m["interval"][1]))


def table(head, rows):
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return out + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows] + [""]


def _one(data, **labels):
    found = results.find(data, **labels)
    return found[0] if found else None


def _machine(data):
    f = data["machine"]
    gaps = data["host_gaps"]
    lost = sum(g["lost_share"] for g in gaps) / len(gaps) if gaps else None
    trips = [t for t in data["round_trips_ns"] if t]
    rows = [("revision", "%s%s" % (f["revision"] or "unknown", ", with changes" if f["dirty"] else "")),
            ("machine", "%s, %s CPUs, %s MB, %s, kernel %s%s" % (f["cpu"], f["cpus"], f["memory_mb"], f["os"], f["kernel"],
                                                                ", virtual" if f["virtual"] else "")),
            ("compiler, DPDK", "%s, %s" % (f["compiler"], f["dpdk"])),
            ("run", "%s, %s to %s; load average at the start %.2f" % (data["mode"], data["started"], data["finished"],
                                                                    f["load_average_at_start"])),
            ("core to core and back", "median %s ns, %s .. %s; %d of %d rounds were repeated because it changed its mood" % (
                number(stats.median(trips)), number(min(trips, default=None)), number(max(trips, default=None)),
                data["rounds_repeated"], len(data["rounds"]))),
            ("host gaps above 10 us", "%d seen, the longest %s us, %s of the time" % (
                sum(g["over_10us"] for g in gaps), number(max((g["max_us"] for g in gaps), default=None)),
                "-" if lost is None else "%.2f %%" % (100 * lost)))]
    if data["notes"]:
        rows.append(("noted", "; ".join("%s (%d times)" % (n, data["notes"].count(n)) for n in sorted(set(data["notes"])))))
    rows += [("version of %s" % TITLES.get(k, k), v) for k, v in sorted(data["versions"].items()) if v]
    return table(("", ""), rows)


def _missing(data):
    rows = [(TITLES.get(k, k), "absent", v) for k, v in sorted(data["absent"].items())]
    rows += [(TITLES.get(k, k), "not run", v) for k, v in sorted(data["not_run"].items())]
    rows += [(TITLES.get(k, k), "failed", v.replace("\n", " ")[:300]) for k, v in sorted(data["failed"].items())]
    return ["## Not in this report", ""] + table(("what", "", "why"), rows) if rows else []


def _targets(data):
    rows = []
    for t in targets.TARGETS:
        m = next((m for m in data["metrics"] if m["name"] == t.metric), None)
        if m is None or m["median"] is None:
            rows.append((t.what, t.text(), "not run", "-"))
        else:
            rows.append((t.what, t.text(), spread(m) + " " + m["unit"], t.judge(m)))
    return ["## Targets", "", "Met: the median reaches it. Goals that hang on virtual Ethernet are no claims about a card.", ""
            ] + table(("what", "target", "measured", ""), rows)


def _ring(data):
    found = results.find(data, part="ring")
    if not found:
        return []
    return ["## Ring bench", "", "No kernel and no card: load generator, wire and proxy on one core unless said otherwise.", ""
            ] + table(("metric", "unit", "median [interval]", "method"),
                      [("`%s`" % m["name"][5:], m["unit"], spread(m), m["method"]) for m in found])


def _kind(data, setting, kind):
    here = {"part": "e2e", "setting": setting, "kind": kind}
    names = [n for n in plots.ORDER if results.find(data, system=n, **here)]
    if not names:
        return []
    what = "requests_per_s" if kind == "small" else "mb_per_s"
    unit = "s/million requests" if kind == "small" else "s/GB"
    out = ["### %s" % KINDS[kind], ""]
    about = data["settings"].get("%s/%s" % (setting, kind))
    if about:
        out += ["Offered: %s requests/s (50 %%) and %s (80 %%) of what %s carried, the slowest." % (
            number(about["offered_requests_per_s"]["50%"]), number(about["offered_requests_per_s"]["80%"]),
            TITLES.get(about["slowest"], about["slowest"])), ""]
    for level in ("50%", "80%"):
        rows = []
        for n in names:
            q = {x: _one(data, system=n, level=level, quantity=x, **here)
                 for x in ("machine_cpu", "extra_cpu", "core_cpu", "p50_us", "p99_us", "p99.9_us", "achieved")}
            if q["machine_cpu"]:
                rows.append((TITLES.get(n, n), spread(q["machine_cpu"]), spread(q["extra_cpu"]), spread(q["core_cpu"]),
                             spread(q["p50_us"]), spread(q["p99_us"]), spread(q["p99.9_us"]), number(q["achieved"]["median"])))
        out += table(("at " + level, "machine CPU " + unit, "beyond direct", "relay's core", "p50 us", "p99 us", "p99.9 us",
                      "answered ÷ due"), rows)
    out += table(("", "carries, " + ("requests/s" if kind == "small" else "MB/s")),
                 [(TITLES.get(n, n), spread(_one(data, system=n, level="max", quantity=what, **here))) for n in names])
    rows = [(TITLES.get(m["labels"]["system"], m["labels"]["system"]), m["labels"]["level"], m["labels"]["quantity"], spread(m),
             m["verdict"]) for m in results.find(data, part="ratio", setting=setting, kind=kind)]
    return out + table(("Headrace ÷", "level", "of", "ratio", "so Headrace is"), rows)


def _floor(data, setting):
    rows = [(m["labels"]["quantity"], spread(m), m["method"]) for m in results.find(data, part="floor", setting=setting)]
    if not rows:
        return []
    out = ["### The driver's part", "", "Cycles per packet of the forward that does nothing else: what net_af_packet and the kernel "
           "below it take.", ""] + table(("", "TSC cycles per packet", "method"), rows)
    shares = []
    for kind in KINDS:
        m = _one(data, part="ratio", setting=setting, kind=kind, level="80%", system="floor", quantity="core_cpu")
        if m and m["median"]:
            shares.append((KINDS[kind], spread(m), "%.0f %%" % (100 / m["median"])))
    return out + table(("at 80%", "Headrace ÷ floor, the core's CPU", "of Headrace's core, the driver and the idle policy"), shares)


def _real(data):
    groups = sorted({m["labels"]["group"] for m in results.find(data, part="real")})
    out = ["## Real Kafka", "", "Three brokers, replication 3. They, the tools and hr-load share one core, each relay has the other: "
           "these figures say what users of such a machine see, not what a relay can do.", ""] if groups else []
    for g in groups:
        found = results.find(data, part="real", group=g)
        quantities = sorted({m["labels"]["quantity"] for m in found})
        names = [n for n in plots.ORDER if any(m["labels"]["system"] == n for m in found)]
        out += ["### %s" % found[0]["method"], ""]
        out += table([g] + quantities, [[TITLES.get(n, n)] + [spread(_one(data, part="real", group=g, system=n, quantity=q))
                                                              for q in quantities] for n in names])
        out += table(("Headrace ÷", "of", "ratio", "so Headrace is"), [
            (TITLES.get(m["labels"]["system"], m["labels"]["system"]), m["labels"]["quantity"], spread(m), m["verdict"])
            for m in results.find(data, part="real-ratio", group=g)])
    return out


def _free(data, part, title, intro):
    found = results.find(data, part=part)
    if not found:
        return []
    return ["## " + title, "", intro, ""] + table(("metric", "unit", "median [interval]", "verdict", "method"), [
        ("`%s`" % m["name"], m["unit"], spread(m), m.get("verdict", ""), m["method"]) for m in found])


def _comparison(data, old_path):
    try:
        old = results.load(old_path)
    except (OSError, ValueError) as err:
        return ["## Compared with before", "", "Not possible: %s" % err, ""]
    rows = results.compare(old, data)
    same = results.same_machine(old, data)
    out = ["## Compared with %s" % os.path.basename(old_path), "",
           "Same machine: all metrics." if same else "Another machine: instruction counts and ratios within a run only.", ""]
    changed = [r for r in rows if r["verdict"] != "same"]
    out += ["%d metrics in both, %d of them changed (intervals apart)." % (len(rows), len(changed)), ""]
    return out + (table(("metric", "unit", "before", "now", "change", ""), [
        ("`%s`" % r["name"], r["unit"], number(r["old"]), number(r["new"]),
         "-" if r["change"] is None else "%+.1f %%" % (100 * r["change"]), r["verdict"]) for r in changed]) if changed else [])


LIMITS = """## What this does not show

- Virtual Ethernet and packet sockets cost several thousand cycles a packet, which a network card does not. Headrace's own part
  is the difference to the floor; no win or loss against a kernel relay follows from veth alone.
- Clients, brokers and load generator share one core, each relay has the other. What a system carries is often what the
  first core can generate.
- One machine, no card, no real network, no failures. TCP under loss is in the section on paths, and in the tests.
- Every interval says how far the median of these rounds can be trusted, not how other machines behave.
"""


def render(data, old_path=None, plotted=()):
    out = ["# Headrace bench", "", "Medians of %d rounds, in brackets the interval made of order statistics that encloses the median "
           "with at least 95 %% (of nine values the 2nd to the 8th: 96 %%). \"faster\" or \"slower\" only where the interval of "
           "the ratios excludes 1." % data.get("plan", {}).get("rounds", 9), ""]
    out += _machine(data) + _missing(data) + _targets(data) + _ring(data)
    for setting in ("mtu1500", "large"):
        if results.find(data, part="e2e", setting=setting):
            out += ["## Null broker: %s" % SETTINGS[setting], ""]
            for kind in KINDS:
                out += _kind(data, setting, kind)
            out += _floor(data, setting)
    out += _real(data)
    out += _free(data, "paths", "Paths", "Beside a kernel flow through one bottleneck, and over a path that loses packets.")
    if plotted:
        out += ["## Plots", ""] + ["![%s](%s)" % (t, os.path.basename(p)) for t, p in plotted] + [""]
    if old_path:
        out += _comparison(data, old_path)
    return "\n".join(out + [LIMITS])


def write(data, base, old_path=None):
    """Writes plots and report beside the result file; returns all paths."""
    plotted = plots.write(data, base)
    with open(base + ".md", "w") as f:
        f.write(render(data, old_path, plotted))
    return [p for p in [base + ".json"] if os.path.exists(p)] + [base + ".md"] + [p for _, p in plotted]

"""What zones cost: the same workload direct against the brokers and through an instance of Headrace in each zone.

kcat, which is told nothing of zones, writes in each zone and then reads all of it in each zone. What crosses is the kernel's
count of the zones' links (rig/fleet.py).
"""

import subprocess
import time

from rig import env, fleet, kafka
from rig.env import RUN, RigError, ZONES, zone_ns

PARTITIONS = 6
SIZE = 2500
PRICE = 0.01 / 1e9  # dollars per byte, for who sends it and again for who receives it


def _bootstrap(zone, direct):
    return kafka.direct_bootstrap() if direct else fleet.bootstrap(zone)


def _everywhere(argv):
    """argv(zone) in each zone at once: how many bytes of output each made."""
    runs = [subprocess.Popen(env.in_ns(zone_ns(z), env.on_cpu(0, argv(z))), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE) for z in ZONES]
    made = []
    for run in runs:
        out, err = run.communicate(timeout=120)
        if run.returncode != 0:
            raise RigError("kcat: exit %d\n%s" % (run.returncode, err.decode("utf-8", "replace")[-2000:]))
        made.append(len(out))
    return made


def _write(topic, lines, direct):
    _everywhere(lambda z: ["kcat", "-P", "-b", _bootstrap(z, direct), "-t", topic, "-l", lines, "-K", ":", "-X", "acks=all",
                           "-X", "linger.ms=20", "-X", "batch.size=32768"])


def _read(topic, direct):
    """All records, as they were written: how many bytes each zone read."""
    return _everywhere(lambda z: ["kcat", "-C", "-b", _bootstrap(z, direct), "-t", topic, "-K", ":", "-o", "beginning", "-e", "-q"])


def _steered(topic):
    """Whether each instance sends its zone's reads to the zone's own broker: it has learned by then who is in sync."""
    before = {z: at.counters()["reads_in_zone"] for z, at in fleet.AT.items()}
    _read(topic, False)
    return all(at.counters()["reads_in_zone"] > before[z] for z, at in fleet.AT.items())


def run(count):
    """count records in each zone; [(what, way, bytes moved, bytes that crossed)]. Headrace's instances run meanwhile."""
    stamp, lines, rows = int(time.time()), RUN + "/compare.lines", []
    with open(lines, "w") as f:
        f.writelines(("%d:" % i).ljust(SIZE - 1, "x") + "\n" for i in range(count))
    written = count * SIZE * len(ZONES)
    fleet.start({"listener": 'zone_reads = "on";'})
    try:
        warm = "zones-%d-warm" % stamp
        kafka.create_topic(warm, PARTITIONS)
        _write(warm, lines, True)
        env.wait_for("reads in their zones", lambda: _steered(warm), 60, 0.5)
        for way, direct in (("direct", True), ("Headrace", False)):
            topic = "zones-%d-%s" % (stamp, way.lower())
            kafka.create_topic(topic, PARTITIONS)
            before = fleet.settled()
            _write(topic, lines, direct)
            between = fleet.settled()
            got = _read(topic, direct)
            after = fleet.settled()
            if any(n != written for n in got):
                raise RigError("%s: the zones read %s bytes of %d" % (way, got, written))
            rows.append(("written", way, written, (between - before).crossed()))
            rows.append(("read", way, written * len(ZONES), (after - between).crossed()))
    finally:
        fleet.stop()
    return sorted(rows, key=lambda row: row[0] != "written")


def table(rows):
    """Lines of text."""
    written = rows[0][2]
    text = ["Three zones, each with a Headrace of its own; kcat writes %.0f MB in each zone, then reads all %.0f MB in each:" % (
        written / 3e6, written / 1e6), "",
        "  %-9s %-10s %14s %9s %18s" % ("", "", "between zones", "share", "dollars per TB")]
    for what, way, moved, crossed in rows:
        share = crossed / moved
        text.append("  %-9s %-10s %11.2f MB %7.2f %% %18.2f" % (what, way, crossed / 1e6, 100 * share, share * 1e12 * 2 * PRICE))
    return text + ["", "  by the kernel's counters of the zones' links, headers and metadata included; at $0.01 per GB, paid on both sides"]

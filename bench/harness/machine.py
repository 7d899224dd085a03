"""What this machine is, and in what mood.

The mood is the time that a message takes from one core to the other and back (hr-bench-machine): on guests it has two
values, several times apart, and changes without notice. Figures of both moods do not belong together.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess

from harness import stats
from rig import env

SLOW_NS = 450  # above: the host has put the two CPUs apart


def _read(path, default=""):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return default


def version_of(argv, pattern=r"(\d+(\.\d+)+)"):
    """The first version number that a command prints; None where there is no such command."""
    if not shutil.which(argv[0]):
        return None
    res = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         errors="replace")
    m = re.search(pattern, res.stdout)
    return m.group(1) if m else None


def revision():
    """(git revision, whether the tree differs from it); (None, None) outside of a repository."""
    res = subprocess.run(["git", "-C", env.ROOT, "rev-parse", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True)
    if res.returncode != 0:
        return None, None
    dirty = subprocess.run(["git", "-C", env.ROOT, "status", "--porcelain"], stdout=subprocess.PIPE, text=True).stdout
    return res.stdout.strip(), bool(dirty.strip())


def facts():
    cpuinfo = _read("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.M)
    flags = re.search(r"^flags\s*:\s*(.*)$", cpuinfo, re.M)
    flags = flags.group(1).split() if flags else []
    memory = re.search(r"^MemTotal:\s*(\d+)", _read("/proc/meminfo"), re.M)
    rev, dirty = revision()
    f = {
        "cpu": model.group(1) if model else os.uname().machine,
        "cpus": os.cpu_count(),
        "memory_mb": int(memory.group(1)) // 1024 if memory else None,
        "kernel": os.uname().release,
        "virtual": "hypervisor" in flags,
        "vector": [x for x in ("avx2", "avx512f", "vaes", "vpclmulqdq") if x in flags],
        "clocksource": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "load_average_at_start": os.getloadavg()[0],
        "os": dict(re.findall(r'^(PRETTY_NAME)="?([^"\n]*)', _read("/etc/os-release"), re.M)).get("PRETTY_NAME"),
        "compiler": version_of(["cc", "--version"]),
        "dpdk": version_of(["pkg-config", "--modversion", "libdpdk"]),
        "revision": rev,
        "dirty": dirty,
    }
    who = _read("/etc/machine-id") or _read("/proc/sys/kernel/random/boot_id")
    f["id"] = hashlib.sha256(("%s %s %s" % (who, f["cpu"], f["cpus"])).encode()).hexdigest()[:16]
    return f


def look():
    """One look at the machine's mood: {"round_trip_ns", "slow", "gaps"}; with one CPU there is no round trip."""
    if (os.cpu_count() or 1) < 2:
        return {"round_trip_ns": None, "slow": None, "gaps": []}
    got = json.loads(env.run([env.BUILD + "/bench/e2e/hr-bench-machine"], timeout=60).stdout)
    trip = stats.median([t for t in got["round_trip_ns"] if t > 0])
    return {"round_trip_ns": trip, "slow": trip is None or trip > SLOW_NS, "gaps": got["gaps"]}

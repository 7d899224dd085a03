"""Where things lie, and how commands are run and watched.

HR_RIG (default "hr") names the rig: several may run side by side, each with its own namespaces and folders.
Everything that a rig leaves on the machine lies in RUN and VAR below and is removed by `down`. Downloads are
shared by all rigs and stay in CACHE until `down --purge`.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = os.environ.get("HR_RIG", "hr")
RUN = "/run/headrace-rig-%s" % NAME
VAR = "/var/lib/headrace-rig-%s" % NAME
LOGS = VAR + "/logs"
CACHE = os.environ.get("HR_CACHE", "/var/cache/headrace")
BUILD = os.environ.get("HR_BUILD", ROOT + "/build")
HUB = NAME + "-hub"
ZONES = (1, 2, 3)


def zone_ns(zone):
    return "%s-z%d" % (NAME, zone)


class RigError(Exception):
    """A failure that the user can act on: shown without a traceback."""


def say(text):
    print(text, file=sys.stderr, flush=True)


class Step:
    """Shows one line for a step that takes time, with its duration at the end."""

    def __init__(self, text):
        self.text = text

    def __enter__(self):
        self.start = time.monotonic()
        print("==> %s ..." % self.text, end="", file=sys.stderr, flush=True)
        return self

    def __exit__(self, kind, value, trace):
        took = time.monotonic() - self.start
        print(" failed" if kind else " %.1f s" % took, file=sys.stderr, flush=True)
        return False


def run(argv, check=True, timeout=600, **kw):
    """Runs a command to its end and returns its result with text output; a failure shows what it printed."""
    if isinstance(argv, str):
        argv = shlex.split(argv)
    kw.setdefault("stdin", subprocess.DEVNULL)
    try:
        res = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout,
                             errors="replace", **kw)
    except FileNotFoundError:
        raise RigError("%s: command not found" % argv[0])
    except subprocess.TimeoutExpired:
        raise RigError("%s: no end after %d s" % (" ".join(argv), timeout))
    if check and res.returncode != 0:
        raise RigError("%s: exit %d\n%s%s" % (" ".join(argv), res.returncode, res.stdout[-3000:],
                                              res.stderr[-3000:]))
    return res


def run_logged(argv, log, what, timeout=1800, **kw):
    """Runs a long command with its output in a file; a failure shows the file's tail."""
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with Step(what), open(log, "w") as f:
        try:
            rc = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT,
                                timeout=timeout, **kw).returncode
        except FileNotFoundError:
            raise RigError("%s: command not found" % argv[0])
        if rc != 0:
            f.flush()
            raise RigError("%s failed (exit %d); the end of %s:\n%s" % (argv[0], rc, log, tail(log, 30)))


def tail(path, lines):
    try:
        with open(path, "rb") as f:
            f.seek(0, 2)
            f.seek(max(0, f.tell() - 65536))
            return b"\n".join(f.read().splitlines()[-lines:]).decode("utf-8", "replace")
    except OSError:
        return "(no %s)" % path


def wait_for(what, probe, timeout, interval=0.1):
    """Polls probe() until it returns something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        got = probe()
        if got:
            return got
        if time.monotonic() > deadline:
            raise RigError("%s: not within %g s" % (what, timeout))
        time.sleep(interval)


def in_ns(ns, argv):
    """The argument list that runs argv in a network namespace, with that namespace's /etc/hosts."""
    return ["ip", "netns", "exec", ns] + list(argv)


# --- processes -----------------------------------------------------------------------------------------------
# A process is remembered by pid and start time, so that a pid that was used again is never signalled.

def start_time(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return None if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        return None


_children = {}  # pid -> exit status of daemons that this process started, None while they run


def reap(pid):
    """Our own dead children stay zombies until somebody asks. The exit status, None if it runs or is not ours."""
    if _children.get(pid) is None:
        try:
            got, status = os.waitpid(pid, os.WNOHANG)
            if got:
                _children[pid] = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            pass
    return _children.get(pid)


def _pidfile(name):
    return "%s/pids/%s.json" % (RUN, name)


def daemon(name, argv, log=None, cwd=None, env=None):
    """Starts a background process in a session of its own and records it under a name."""
    os.makedirs(RUN + "/pids", exist_ok=True)
    os.makedirs(LOGS, exist_ok=True)
    with open(log or "%s/%s.log" % (LOGS, name), "ab") as out:
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=cwd,
                             env=env, start_new_session=True)
    record(name, p.pid)
    _children[p.pid] = None
    return p


def record(name, pid):
    with open(_pidfile(name) + ".new", "w") as f:
        json.dump({"pid": pid, "start": start_time(pid), "argv0": name}, f)
    os.replace(_pidfile(name) + ".new", _pidfile(name))


def pid_of(name):
    """The recorded process's pid while it lives, else None."""
    try:
        with open(_pidfile(name)) as f:
            rec = json.load(f)
    except (OSError, ValueError):
        return None
    reap(rec["pid"])
    alive = start_time(rec["pid"])
    return rec["pid"] if alive is not None and alive == rec["start"] else None


def recorded():
    try:
        return sorted(f[:-5] for f in os.listdir(RUN + "/pids") if f.endswith(".json"))
    except OSError:
        return []


def send(name, sig):
    pid = pid_of(name)
    if pid is None:
        return False
    os.kill(pid, sig)
    return True


def stop(name, timeout=15, sig=signal.SIGTERM):
    """Ends a recorded process: politely, then for good. True when it needed no force."""
    polite = True
    if send(name, sig):
        try:
            wait_for(name, lambda: pid_of(name) is None, timeout, 0.05)
        except RigError:
            polite = False
            send(name, signal.SIGKILL)
            wait_for(name, lambda: pid_of(name) is None, 10, 0.05)
    if os.path.exists(_pidfile(name)):
        os.unlink(_pidfile(name))
    return polite


def on_cpu(cpu, argv):
    """Pins a command to a CPU where there are at least two; the worker has CPU 1 for itself."""
    return ["taskset", "-c", str(cpu)] + list(argv) if (os.cpu_count() or 1) > 1 else list(argv)

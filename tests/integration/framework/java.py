"""The Java client as a long-running helper: see tests/integration/java/Main.java."""

import glob
import itertools
import json
import queue
import subprocess
import threading

from rig import deps, env
from rig.env import ROOT, zone_ns

SOURCES = ROOT + "/tests/integration/java"


class JavaError(AssertionError):
    pass


class Java:
    """One JVM with one client version in one zone."""

    def __init__(self, zone=1, version=deps.KAFKA_DEFAULT):
        jars = deps.jars("clients-" + version)
        files = sorted(glob.glob(SOURCES + "/*.java"))
        if not version.startswith("4"):
            files = [f for f in files if not f.endswith("/Modern.java")]
        classes = deps.compile_java("hrtest-" + version, jars + "/*", files, 11)
        argv = ["java", "-Xms64m", "-Xmx1500m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k",
                "-Djava.net.preferIPv4Stack=true", "-cp", "%s:%s/*" % (classes, jars), "hrtest.Main"]
        self.log = open("%s/java-%s-z%d.log" % (env.LOGS, version, zone), "ab")
        self.p = subprocess.Popen(env.in_ns(zone_ns(zone), env.on_cpu(0, argv)), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=self.log, text=True)
        env.record("java-%s-z%d" % (version, zone), self.p.pid)
        self.name = "java-%s-z%d" % (version, zone)
        self.ids = itertools.count(1)
        self.waiting = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.p.stdout:
            try:
                res = json.loads(line)
            except ValueError:
                continue
            q = self.waiting.pop(res.get("id"), None)
            if q:
                q.put(res)
        for q in list(self.waiting.values()):
            q.put({"ok": False, "error": "the JVM ended"})

    def begin(self, command, **args):
        """Starts a command; the result is fetched with end()."""
        ident = str(next(self.ids))
        q = self.waiting[ident] = queue.Queue()
        words = ["%s=%s" % kv for kv in args.items()]
        self.p.stdin.write("\t".join([ident, command] + words) + "\n")
        self.p.stdin.flush()
        return command, args, q

    def end(self, begun, timeout=300):
        command, args, q = begun
        try:
            res = q.get(timeout=timeout)
        except queue.Empty:
            raise JavaError("java %s %s: no result within %d s" % (command, args, timeout))
        if not res.get("ok"):
            raise JavaError("java %s %s: %s [%s]" % (command, args, res.get("error"), res.get("where")))
        return res

    def call(self, command, timeout=300, **args):
        return self.end(self.begin(command, **args), timeout)

    def close(self):
        env.stop(self.name, sig=9)
        self.p.wait()
        self.log.close()

"""The processes of one instance of Headrace, and what its headracectl says.

An instance has a name, under which its launcher is recorded, and a namespace. Its folders and its configuration file are
named after it; what the file says is up to whoever starts it.
"""

import json
import os
import signal

from rig import env
from rig.env import BUILD, LOGS, RUN, RigError

LIBEXEC = RUN + "/libexec"  # where the launcher finds the two binaries: links into the build folder


def binary(name):
    for path in ("%s/%s" % (BUILD, name), "%s/dataplane/%s" % (BUILD, name), "%s/controlplane/%s" % (BUILD, name),
                 "%s/controlplane/cli/%s" % (BUILD, name), "%s/controlplane/launcher/%s" % (BUILD, name)):
        if os.access(path, os.X_OK):
            return path
    raise RigError("%s is not built in %s" % (name, BUILD))


def is_ready(st, kafka_ready):
    """Without Kafka, a snapshot with the mode = "tcp" listener is enough."""
    if kafka_ready:
        return st["ready"]
    return st["dataplane"]["attached"] and st["policy"]["adopted"] > 0


class Instance:
    def __init__(self, name, ns):
        self.name, self.ns = name, ns
        self.runtime, self.config = "%s/%s" % (RUN, name), "%s/%s.cfg" % (RUN, name)
        self.log = "%s/%s.log" % (LOGS, name)

    def pid(self):
        return env.pid_of(self.name)

    def start(self, kafka_ready=True, timeout=20, hosts=None):
        """Starts the launcher, which starts both processes; returns when traffic is accepted.

        hosts: a file that these processes see as /etc/hosts, instead of their namespace's. timeout: 0 does not wait.
        """
        if self.pid():
            raise RigError("Headrace is running already")
        os.makedirs(LOGS, exist_ok=True)
        os.makedirs(LIBEXEC, exist_ok=True)
        for name in ("headrace-dataplane", "headrace-controlplane"):
            link = LIBEXEC + "/" + name
            if not os.path.islink(link) or os.readlink(link) != binary(name):
                if os.path.islink(link):
                    os.unlink(link)
                os.symlink(binary(name), link)
        argv = [binary("headrace"), "--config", self.config, "--libexec", LIBEXEC]
        if hosts:
            argv = ["sh", "-c", 'mount --bind %s /etc/hosts && exec "$@"' % hosts, "sh"] + argv
        env.daemon(self.name, env.in_ns(self.ns, argv), log=self.log)
        if timeout:
            self.wait_ready(kafka_ready, timeout)

    def wait_ready(self, kafka_ready=True, timeout=20):
        try:
            env.wait_for("Headrace ready", lambda: self.accepts(kafka_ready), timeout, 0.1)
        except RigError as err:
            raise RigError("%s; the end of its log:\n%s" % (err, env.tail(self.log, 25)))

    def accepts(self, kafka_ready):
        if not self.pid():
            raise RigError("Headrace ended")
        try:
            st = self.ctl("status", timeout=3)
        except RigError:
            return False
        return is_ready(st, kafka_ready)

    def ctl_command(self):
        """headracectl for this instance, to be run in its namespace."""
        return [binary("headracectl"), "--socket", self.runtime + "/control.sock"]

    def ctl(self, *args, timeout=10, as_json=True):
        """Runs headracectl; its JSON as Python values."""
        argv = self.ctl_command() + (["--json"] if as_json else []) + list(args)
        res = env.run(env.in_ns(self.ns, argv), timeout=timeout)
        return json.loads(res.stdout) if as_json else res.stdout

    def workers(self):
        """Statistics of each worker: [{"counters": {}, "gauges": {}, "drops": {}}]."""
        return self.ctl("counters")["workers"]

    def _sum(self, kind):
        total = {}
        for w in self.workers():
            for name, value in w[kind].items():
                total[name] = max(total.get(name, 0), value) if name.endswith("_peak") else total.get(name, 0) + value
        return total

    def counters(self):
        """Each counter, added up over the workers."""
        return self._sum("counters")

    def gauges(self):
        """Each gauge, added up over the workers; of peaks the highest."""
        return self._sum("gauges")

    def drops(self):
        return self._sum("drops")

    def per_worker(self, name):
        return [w["counters"][name] for w in self.workers()]

    def children(self):
        """Pids of the two processes under the launcher: {"dataplane": pid, "controlplane": pid}."""
        found, top = {}, self.pid()
        if top is None:
            return found
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open("/proc/%s/stat" % entry) as f:
                    ppid = int(f.read().rsplit(")", 1)[1].split()[1])
                if ppid != top:
                    continue
                with open("/proc/%s/cmdline" % entry, "rb") as f:
                    name = os.path.basename(f.read().split(b"\0")[0].decode())
            except (OSError, IndexError, ValueError):
                continue
            if name.startswith("headrace-"):
                found[name[9:]] = int(entry)
        return found

    def stop(self, timeout=40):
        """Drains and ends it: (ended by itself, exit status of the launcher if this process started it)."""
        pid = self.pid()
        polite = env.stop(self.name, timeout, signal.SIGTERM)
        return polite, env.reap(pid) if pid else 0

"""The launcher with scripts in the place of the two processes: who is started, restarted and stopped, in which
order, and that nothing stays behind.

usage: launcher_test.py HEADRACE CONFIG
"""
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

HEADRACE, EXAMPLE = sys.argv[1], sys.argv[2]

# Writes what happens to it into the log; $HOW tells how it takes SIGTERM.
CHILD = """#!/bin/sh
name=%(name)s
say() { echo "$name $1" >> %(log)s; }
trap 'say hup' HUP
trap 'say term; [ -e %(dir)s/stubborn-$name ] || { say end; exit 0; }' TERM
say "start pid $$ uid $(id -u) args $*"
[ ! -e %(dir)s/exit-$name ] || exit "$(cat %(dir)s/exit-$name)"
while :; do sleep 0.05; done
"""


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Launcher(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="hr-launcher-")
        os.chmod(self.dir, 0o777)
        self.log = self.dir + "/log"
        open(self.log, "w").close()
        os.chmod(self.log, 0o666)
        for name in ("dataplane", "controlplane"):
            path = "%s/headrace-%s" % (self.dir, name)
            with open(path, "w") as f:
                f.write(CHILD % {"name": name, "log": self.log, "dir": self.dir})
            os.chmod(path, 0o755)
        self.run_dir = self.dir + "/run"
        with open(EXAMPLE) as f:
            text = f.read()
        text = text.replace('"/run/headrace"', '"%s"' % self.run_dir)
        text = text.replace('file_prefix = "headrace"', 'file_prefix = "hr-launcher-test"')
        text = text.replace("drain_timeout_ms = 30000", "drain_timeout_ms = 1000")
        self.config = self.dir + "/headrace.cfg"
        with open(self.config, "w") as f:
            f.write(text)
        self.proc = None

    def tearDown(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
        if self.proc:
            self.proc.wait()
            self.proc.stderr.close()
        for pid in self.pids("dataplane") + self.pids("controlplane"):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.dir)

    def start(self, *args):
        self.proc = subprocess.Popen([HEADRACE, "--config", self.config, "--libexec", self.dir, *args],
                                     stderr=subprocess.PIPE, text=True)

    def lines(self):
        with open(self.log) as f:
            return f.read().splitlines()

    def pids(self, name):
        return [int(l.split()[3]) for l in self.lines() if l.startswith(name + " start")]

    def wait_for(self, what, condition, timeout=10):
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                self.fail("waited in vain: %s; log: %s" % (what, self.lines()))
            time.sleep(0.01)

    def running(self, times_dataplane=1, times_controlplane=1):
        self.wait_for("both processes start", lambda: len(self.pids("dataplane")) >= times_dataplane and
                      len(self.pids("controlplane")) >= times_controlplane)

    def test_stops_in_order(self):
        self.start()
        self.running()
        for name in ("dataplane", "controlplane"):
            self.assertIn("args --config " + self.config, [l for l in self.lines() if l.startswith(name)][0])
        self.proc.send_signal(signal.SIGTERM)
        self.assertEqual(self.proc.wait(10), 0)
        tail = [l for l in self.lines() if " start " not in l]
        self.assertEqual(tail, ["dataplane term", "dataplane end", "controlplane term", "controlplane end"])
        self.assertFalse(os.path.exists(self.run_dir))

    def test_users_and_folder(self):
        self.start()
        self.running()
        uids = {l.split()[0]: int(l.split()[5]) for l in self.lines() if " start " in l}
        st = os.stat(self.run_dir)
        if os.geteuid() == 0:
            self.assertEqual(uids["dataplane"], 0)
            self.assertNotEqual(uids["controlplane"], 0)
            self.assertEqual(stat.S_IMODE(st.st_mode), 0o1775)
            self.assertEqual(st.st_uid, 0)
            with open("/proc/%d/status" % self.pids("controlplane")[0]) as f:
                status = f.read()
            self.assertIn("NoNewPrivs:\t1", status)
            self.assertIn("CapEff:\t0000000000000000", status)
        else:
            self.assertEqual(set(uids.values()), {os.geteuid()})

    def test_restarts_the_one_that_died(self):
        self.start()
        self.running()
        first = self.pids("dataplane")[0]
        os.kill(self.pids("controlplane")[0], signal.SIGKILL)
        started = time.monotonic()
        self.running(1, 2)
        self.assertLess(time.monotonic() - started, 1.0)
        self.assertEqual(self.pids("dataplane"), [first])
        self.assertTrue(alive(first))

        open(self.run_dir + "/dataplane.sock", "w").close()
        os.kill(first, signal.SIGKILL)
        self.running(2, 2)
        self.assertFalse(os.path.exists(self.run_dir + "/dataplane.sock"))
        self.assertEqual(len(self.pids("controlplane")), 2)

    def test_backs_off(self):
        with open(self.dir + "/exit-controlplane", "w") as f:
            f.write("1")
        self.start()
        time.sleep(1.2)
        # At 0, 100, 300 and 700 ms, and next at 1500.
        self.assertIn(len(self.pids("controlplane")), (3, 4))
        self.assertEqual(len(self.pids("dataplane")), 1)

    def test_gives_up_on_a_bad_configuration(self):
        with open(self.dir + "/exit-controlplane", "w") as f:
            f.write("2")
        self.start()
        self.assertEqual(self.proc.wait(10), 2)
        self.assertIn("cannot work with this configuration", self.proc.stderr.read())
        self.assertFalse(any(alive(p) for p in self.pids("dataplane")))

    def test_hangup_reloads(self):
        self.start()
        self.running()
        self.proc.send_signal(signal.SIGHUP)
        self.wait_for("the control plane hears of it", lambda: "controlplane hup" in self.lines())
        self.assertNotIn("dataplane hup", self.lines())
        self.assertIsNone(self.proc.poll())

    def test_kills_after_the_deadline(self):
        open(self.dir + "/stubborn-dataplane", "w").close()
        self.start()
        self.running()
        self.proc.send_signal(signal.SIGTERM)
        time.sleep(1.2)
        self.proc.send_signal(signal.SIGTERM)  # impatient: no waiting for the rest of the grace
        self.assertEqual(self.proc.wait(10), 1)
        self.assertFalse(any(alive(p) for p in self.pids("dataplane") + self.pids("controlplane")))
        self.assertIn("controlplane end", self.lines())

    def test_leaves_nothing_when_killed(self):
        self.start()
        self.running()
        self.proc.kill()
        self.proc.wait()
        pids = self.pids("dataplane") + self.pids("controlplane")
        self.wait_for("both processes end with the launcher", lambda: not any(alive(p) for p in pids))

    def test_bad_configuration(self):
        with open(self.config) as f:
            text = f.read().replace("node_port_base = 9200", "node_port_base = 70000")
        with open(self.config, "w") as f:
            f.write(text)
        line = text[:text.index("node_port_base = 70000")].count("\n") + 1
        self.start()
        self.assertEqual(self.proc.wait(10), 2)
        self.assertIn("%s:%d: listeners[0].node_port_base = 70000: must be" % (self.config, line),
                      self.proc.stderr.read())
        self.assertEqual(self.lines(), [])

    def test_second_launcher_is_refused(self):
        self.start()
        self.running()
        second = subprocess.run([HEADRACE, "--config", self.config, "--libexec", self.dir], capture_output=True,
                                text=True, timeout=10)
        self.assertEqual(second.returncode, 1)
        self.assertIn("another headrace runs in " + self.run_dir, second.stderr)
        self.assertEqual(len(self.pids("dataplane") + self.pids("controlplane")), 2)
        self.assertTrue(os.path.isdir(self.run_dir))

    def test_missing_binary(self):
        os.unlink(self.dir + "/headrace-controlplane")
        self.start()
        self.assertEqual(self.proc.wait(10), 1)
        self.assertIn("headrace-controlplane not found in " + self.dir, self.proc.stderr.read())

    def test_help_and_version(self):
        self.assertIn("Usage: headrace", subprocess.run([HEADRACE, "--help"], capture_output=True, text=True,
                                                        check=True).stdout)
        self.assertRegex(subprocess.run([HEADRACE, "--version"], capture_output=True, text=True, check=True).stdout,
                         r"^headrace \d+\.\d+\.\d+\n$")
        self.assertEqual(subprocess.run([HEADRACE, "--nonsense"], capture_output=True).returncode, 2)


if __name__ == "__main__":
    if (os.cpu_count() or 1) < 2:
        sys.exit(77)  # the example configuration names CPU 1
    unittest.main(argv=sys.argv[:1], verbosity=2)

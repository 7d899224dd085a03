#!/usr/bin/env python3
"""What headracectl says to somebody who does not know it yet. No control plane runs.

usage: usage_test.py HEADRACECTL
"""
import os
import subprocess
import sys
import unittest

PROGRAM = ""
NOWHERE = "/nonexistent/control.sock"


def run(*args):
    done = subprocess.run([PROGRAM, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
                          env={**os.environ, "HEADRACE_SOCKET": NOWHERE})
    return done.returncode, done.stdout, done.stderr


class Usage(unittest.TestCase):
    def refused(self, args, *wants):
        code, out, err = run(*args)
        self.assertEqual((code, out), (2, ""), args)
        self.assertLess(err.count("\n"), 4, err)
        for want in wants:
            self.assertIn(want, err)

    def test_help(self):
        code, overview, err = run("--help")
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(run("help"), (0, overview, ""))
        for line in overview.splitlines():
            self.assertLessEqual(len(line), 110)
        commands = [line.split()[0] for line in overview.split("Options:")[0].splitlines()
                    if line.startswith("  ") and line[2] != " "]
        self.assertIn("status", commands)
        for command in commands:
            code, text, err = run(command, "--help")
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(text.startswith(f"Usage: headracectl {command}"))
            self.assertEqual("[OPTIONS]" in text, "\nOptions:\n" in text)
            self.assertEqual(run("help", command), (0, text, ""))

    def test_mistakes(self):
        self.refused(["statsu"], 'no command "statsu", did you mean "status"?')
        self.refused(["help", "statsu"], 'did you mean "status"?')
        self.refused(["frobnicate"], 'no command "frobnicate"\n', '"headracectl --help"')
        self.refused(["--sockt", "/x"], "headracectl: unrecognized option '--sockt'", '"headracectl --help"')
        self.refused(["status", "x"], "usage: headracectl status\n")
        self.refused(["set", "log.level"], "usage: headracectl set KEY VALUE", '"headracectl set --help"')
        self.refused(["status", "--wide"], "status has no option --wide")
        self.refused(["connections", "kill"], "usage: headracectl connections [kill ID] [OPTIONS]")
        self.refused(["zones", "explain"], "usage: headracectl zones [explain IP | advise")
        self.refused(["config", "verify", "/x"], "usage: headracectl config check FILE")
        self.refused(["users", "add"], "usage: headracectl users list | add NAME")
        self.refused(["top", "-n", "x"], "-n x: must be a number from 1 on")
        code, _, err = run()
        self.assertEqual(code, 2)
        self.assertIn("Commands:", err)

    def test_nobody_answers(self):
        code, _, err = run("status")
        self.assertEqual(code, 3)
        self.assertIn(NOWHERE, err)
        self.assertIn("is headrace-controlplane running?", err)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()

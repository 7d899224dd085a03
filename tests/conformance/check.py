#!/usr/bin/env python3
"""Checks docs/tcp-conformance.md against the code and against a run of the unit tests.

    tests/conformance/check.py BUILD      the run whose results lie in BUILD/meson-logs
    tests/conformance/check.py --static   the table and the code alone

A table row has four cells: label, rule, where, shown by. "where" names functions, `tcp/timers.c:fire_persist`, relative
to dataplane/ or to the root; "shown by" names tests, `tcp/link:test_zero_window`: the program as `meson test --list`
knows it, and one of its cases. A rule that is not kept has "left out" for where, and the reason for shown by. It
fails on a label without a row, a label twice, a function that its file does not define, and a test that did not run
and pass in that run. The cases that docs/threat-model.md names must have passed, too.
"""

import glob
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labels import REQUIRED  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TABLE = ROOT + "/docs/tcp-conformance.md"
THREATS = ROOT + "/docs/threat-model.md"
REASON_MIN = 20  # characters: "n/a" is no reason


def rows(text):
    """(section, label, rule, where, shown, line number) of every row."""
    section = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            section = line[3:].split(":")[0].strip()
        elif line.startswith("|") and not re.match(r"^\|[\s|:-]+\|$", line):
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if section in REQUIRED and cells[0] != "label":
                yield section, cells, number


def passed_tests(build):
    """{"program:case"} of the last run; a program's cases count only if the program ended well."""
    good = set()
    with open(build + "/meson-logs/testlog.json") as f:
        for line in f:
            t = json.loads(line)
            if t.get("result") != "OK":
                continue
            output = t.get("stdout", "") + "\n" + t.get("stderr", "")
            good.update("%s:%s" % (t["name"], case) for case in re.findall(r"\[ +OK +\] (\S+)", output))
    return good


def defines(path, function):
    """Does the file define it? A definition begins a line and does not end it with a semicolon."""
    for base in (ROOT + "/dataplane/", ROOT + "/"):
        if os.path.isfile(base + path):
            with open(base + path) as f:
                return re.search(r"^[A-Za-z_][^\n;=]*\b%s\([^;{]*\)\s*\{" % re.escape(function), f.read(), re.M) is not None
    return False


def script_labels():
    """(script, label) of every label that a packet script says it shows, where it is one of the table's."""
    for path in sorted(glob.glob(ROOT + "/tests/scripts/*.pkt")):
        with open(path) as f:
            shows = re.search(r"^shows: (.*)$", f.read(), re.M)
        for word in shows.group(1).split() if shows else []:
            m = re.match(r"^(\d+):(.+)$", word)
            section = "RFC 9293" if re.match(r"^(MUST|SHLD)-", word) else "RFC " + m.group(1) if m else None
            if section == "RFC 9293" and m or section not in REQUIRED:
                continue  # a section of RFC 9293's text, or a document that shares a section of the table
            yield os.path.basename(path), section, m.group(2) if m else word


def check(build):
    errors, seen, proven, left_out = [], {}, 0, 0
    good = passed_tests(build) if build else None
    functions = {}
    with open(TABLE) as f:
        table = list(rows(f.read()))
    for section, cells, number in table:
        def wrong(what):
            errors.append("line %d, %s %s: %s" % (number, section, cells[0], what))
        if len(cells) != 4:
            wrong("%d cells, not 4" % len(cells))
            continue
        label, rule, where, shown = cells
        if label not in REQUIRED[section]:
            wrong("not a label that is asked for (tests/conformance/labels.py)")
        if (section, label) in seen and seen[(section, label)] != number - 1:
            wrong("a second row away from the first")
        seen[(section, label)] = number
        if not rule:
            wrong("no rule")
        if where == "left out":
            left_out += 1
            if len(shown) < REASON_MIN:
                wrong("left out without a reason")
            continue
        named = re.findall(r"`([\w./-]+\.[ch]):(\w+)`", where)
        if not named:
            wrong("no function named, as `file.c:function`")
        for path, function in named:
            if (path, function) not in functions:
                functions[path, function] = defines(path, function)
            if not functions[path, function]:
                wrong("%s does not define %s()" % (path, function))
        tests = re.findall(r"`([\w/-]+:[\w.-]+)`", shown)
        if not tests:
            wrong("no test named, as `program:case`")
        for t in tests:
            if good is not None and t not in good:
                wrong("test %s did not run and pass" % t)
        proven += 1
    with open(THREATS) as f:
        named = set(re.findall(r"`([a-z_]+/[\w-]+:[\w-]+)`", f.read()))
    if not named:
        errors.append("threat-model.md names no test")
    errors += ["threat-model.md: test %s did not run and pass" % t for t in sorted(named) if good is not None and t not in good]
    errors += ["%s shows %s %s, which has no row" % x for x in script_labels() if x[1:] not in seen]
    for section, labels in REQUIRED.items():
        errors += ["%s: no row for %s" % (section, label) for label in labels if (section, label) not in seen]
    return errors, proven, left_out


def main(argv):
    if len(argv) != 1 or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 2
    errors, proven, left_out = check(None if argv[0] == "--static" else argv[0])
    for e in errors:
        print("conformance: %s" % e)
    print("conformance: %d rules with function and test, %d left out with a reason, %d errors" % (
        proven, left_out, len(errors)))
    return 1 if errors or not proven else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

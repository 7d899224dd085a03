#!/usr/bin/env python3
"""Counts what a hostile segment costs: instructions per segment with ten thousand holes against one hole.

    tests/work/run.py BUILD

"blocks" are SACK blocks about what was sent, "pieces" are bytes that arrive out of order (dataplane/tcp/work_test.c says
how they are fed). callgrind counts inside the stack alone. Fails if ten thousand holes cost more than twice what one
does.
"""

import re
import subprocess
import sys
import tempfile

HOLES = 10000
LIMIT = 2.0


def count(program, mode, holes):
    with tempfile.TemporaryDirectory() as folder:
        res = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + folder + "/out",
                              "--collect-atstart=no", "--toggle-collect=measured", program, mode, str(holes)],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    segments = re.search(r"(\d+) segments", res.stdout)
    collected = re.search(r"Collected : (\d+)", res.stderr)
    if res.returncode != 0 or not segments or not collected:
        sys.exit("%s %d: exit %d\n%s" % (mode, holes, res.returncode, res.stderr[-2000:]))
    return int(collected.group(1)) / int(segments.group(1))


def main(argv):
    if len(argv) != 1:
        sys.exit(__doc__.strip())
    subprocess.run(["ninja", "-C", argv[0], "tests/test-tcp-work"], stdout=subprocess.DEVNULL, check=True)
    wrong = 0
    for mode in ("blocks", "pieces"):
        one, many = (count(argv[0] + "/tests/test-tcp-work", mode, n) for n in (1, HOLES))
        print("%-7s %7.0f instructions per segment at 1 hole, %7.0f at %d: %.2f times (limit %.1f)" %
              (mode, one, many, HOLES, many / one, LIMIT), flush=True)
        wrong += many > LIMIT * one
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

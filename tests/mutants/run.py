#!/usr/bin/env python3
"""Shows that the tests of TCP notice faults: each mutant of dataplane/tcp/mutant.h must make one of them fail.

    tests/mutants/run.py BUILD [NAME...]      all mutants, or these

The tests are built once with all faults compiled in (tests/mutant-tcp-* of BUILD). Without a fault they must pass; with
each fault on its own, selected by HR_MUTANT in the environment, one must fail: the program that mutant.h names is
asked first, then the others. Prints who noticed. A fault that nobody notices is a failure of this run.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT_S = 240       # a hang is noticed too; wide, for a busy machine
STORMS = "250"      # seeds of tcp/loss per mutant
AT_ONCE = 2


def mutants():
    with open(ROOT + "/dataplane/tcp/mutant.h") as f:
        return re.findall(r'^    X\((\w+), "([\w-]+)", "([^"]+)"\)', f.read(), re.M)


def build(directory):
    subprocess.run(["ninja", "-C", directory, "build.ninja"], stdout=subprocess.DEVNULL, check=True)
    targets = subprocess.run(["ninja", "-C", directory, "-t", "targets", "all"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
    wanted = sorted(set(re.findall(r"^(tests/mutant-tcp-[\w-]+): ", targets, re.M)))
    if not wanted:
        sys.exit("%s has no tests with mutants" % directory)
    res = subprocess.run(["ninja", "-C", directory] + wanted, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if res.returncode != 0:
        print(res.stdout[-4000:])
        sys.exit("the tests with mutants do not build")
    return {w[len("tests/mutant-tcp-"):]: os.path.join(directory, w) for w in wanted}


def run(program, path, mutant):
    """None if all its cases passed, else what failed first."""
    env = dict(os.environ, HR_TCP_STORMS=STORMS)
    env.pop("HR_MUTANT", None)
    if mutant:
        env["HR_MUTANT"] = mutant
    args = [path] + ([ROOT + "/tests/scripts"] if program == "scripts" else [])
    try:
        res = subprocess.run(args, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             timeout=LIMIT_S, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return "tcp/%s: hangs" % program
    if res.returncode == 0:
        return None
    failed = re.search(r"^\[  FAILED  \] (\S+)$", res.stdout, re.M)
    return "tcp/%s:%s" % (program, failed.group(1) if failed else "exit %d" % res.returncode)


def hunt(programs, mutant):
    name, first, _ = mutant
    for program in sorted(programs, key=lambda p: (p != first, p in ("loss", "path"), p)):
        killer = run(program, programs[program], name)
        if killer:
            return killer
    return None


def main(argv):
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 2
    start = time.monotonic()
    programs = build(os.path.abspath(argv[0]))
    wanted = [m for m in mutants() if len(argv) == 1 or m[0] in argv[1:]]
    unknown = [m for m in wanted if m[1] not in programs]
    if not wanted or unknown:
        sys.exit("no such mutant" if not wanted else "mutant.h names programs that do not exist: %s" % unknown)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        broken = [b for b in pool.map(lambda p: run(p, programs[p], None), programs) if b]
        if broken:
            print("without any fault: %s" % ", ".join(broken))
            return 1
        killers = []
        for mutant, killer in zip(wanted, pool.map(lambda m: hunt(programs, m), wanted)):
            killers.append(killer)
            print("%-8s %-24s %s" % ("killed" if killer else "SURVIVED", mutant[0], killer or mutant[2]), flush=True)
    survived = killers.count(None)
    print("mutants: %d killed, %d survived, %.0f s" % (len(wanted) - survived, survived, time.monotonic() - start))
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""All parts of scripts/test, in the order in which a failure is cheapest to find."""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig import cli, env  # noqa: E402
from rig.env import CACHE, ROOT, RigError, run_logged, tail  # noqa: E402

SANITIZED = env.BUILD + "-clang"  # clang, AddressSanitizer and UBSan, with the fuzz targets
FUZZ_SECONDS = {"default": 15, "all": 60, "fuzz": 30}  # each target
FUZZ_AT_ONCE = 2


class Tally:
    """What passed and what did not, over all parts."""

    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], 0

    def add(self, name, ok):
        if ok:
            self.passed += 1
        else:
            self.failed.append(name)


def _setup(directory, log, *options, **environment):
    e = dict(os.environ, **environment)
    if os.path.exists(directory + "/build.ninja"):
        run_logged(["meson", "configure", directory] + [o for o in options if o.startswith("-D")], log,
                   "configuring %s" % os.path.basename(directory), env=e)
    else:
        run_logged(["meson", "setup", directory, ROOT] + list(options), log,
                   "configuring %s" % os.path.basename(directory), env=e)


def build_gcc():
    _setup(env.BUILD, CACHE + "/log/setup-gcc.log", "-Dcheck_headers=true")
    run_logged(["ninja", "-C", env.BUILD], CACHE + "/log/build-gcc.log", "building with gcc, every header alone too")


def build_clang():
    _setup(SANITIZED, CACHE + "/log/setup-clang.log", "-Db_sanitize=address,undefined", "-Db_lundef=false",
           "-Dfuzz=true", "-Dmbuf_debug=true", CC="clang")
    run_logged(["ninja", "-C", SANITIZED], CACHE + "/log/build-clang.log",
               "building with clang and sanitizers, fuzz targets too")


def _meson_test(directory, what, tally):
    print("--- unit tests, %s" % what, flush=True)
    res = subprocess.run(["meson", "test", "-C", directory, "--no-rebuild", "--print-errorlogs", "--num-processes",
                          "2"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         errors="replace", env=dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=1",
                                                    UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"))
    counts = {k: int(v) for k, v in re.findall(r"^(Ok|Fail|Timeout|Expected Fail|Unexpected Pass|Skipped):\s+(\d+)",
                                               res.stdout, re.M)}
    bad = counts.get("Fail", 0) + counts.get("Timeout", 0) + counts.get("Unexpected Pass", 0)
    if res.returncode != 0 or bad or not counts.get("Ok"):
        print(res.stdout[-12000:])
        bad = max(bad, 1)
    else:
        print("\n".join(line for line in res.stdout.splitlines() if re.match(r"^(Ok|Fail|Skipped|Timeout):", line)))
    tally.passed += counts.get("Ok", 0)
    tally.skipped += counts.get("Skipped", 0)
    tally.failed += ["unit (%s)" % what] * bad


def conformance(tally):
    """Does docs/tcp-conformance.md say the truth about the code and about the unit tests that have just run?"""
    res = subprocess.run([sys.executable, ROOT + "/tests/conformance/check.py", env.BUILD], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(res.stdout, end="", flush=True)
    tally.add("conformance", res.returncode == 0)


def mutants(tally):
    """Do the tests notice each of the faults that dataplane/tcp/mutant.h lists?"""
    print("--- mutants", flush=True)
    res = subprocess.run([sys.executable, ROOT + "/tests/mutants/run.py", env.BUILD], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = res.stdout.strip().splitlines() or ["no output"]
    print("\n".join(line for line in lines if not line.startswith("killed")), flush=True)
    tally.add("mutants", res.returncode == 0)


def storms(tally):
    """More seeds of the TCP link than the unit tests take."""
    print("--- seeded link, 30,000 seeds", flush=True)
    res = subprocess.run([env.BUILD + "/tests/test-tcp-loss"], env=dict(os.environ, HR_TCP_STORMS="30000"),
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         errors="replace")
    if res.returncode != 0:
        print(res.stdout[-4000:])
    tally.add("seeded link", res.returncode == 0)


def unit(tally):
    build_gcc()
    _meson_test(env.BUILD, "gcc", tally)
    conformance(tally)
    build_clang()
    _meson_test(SANITIZED, "clang, ASan and UBSan", tally)


def instructions(tally):
    """The worker's instruction counts against the committed baseline: bench/ring/instructions."""
    print("--- instruction counts", flush=True)
    res = subprocess.run([ROOT + "/bench/ring/instructions"], stdin=subprocess.DEVNULL,
                         env=dict(os.environ, HR_BUILD_V3=env.BUILD + "-v3"))
    tally.add("instructions", res.returncode == 0)
    print("--- instructions of hostile segments", flush=True)
    if not os.path.exists(env.BUILD + "/build.ninja"):
        build_gcc()
    res = subprocess.run([sys.executable, ROOT + "/tests/work/run.py", env.BUILD], stdin=subprocess.DEVNULL)
    tally.add("instructions of hostile segments", res.returncode == 0)


def fuzz(tally, seconds):
    build_clang()
    targets = sorted(p for p in glob.glob(SANITIZED + "/tests/fuzz-*") if os.access(p, os.X_OK) and os.path.isfile(p))
    if not targets:
        raise RigError("no fuzz target was built")
    print("--- fuzz targets, %d s each, %d at a time" % (seconds, FUZZ_AT_ONCE), flush=True)
    folder = tempfile.mkdtemp(prefix="headrace-fuzz-")
    waiting, running = list(targets), []
    try:
        while waiting or running:
            while waiting and len(running) < FUZZ_AT_ONCE:
                path = waiting.pop(0)
                name = os.path.basename(path)[5:]
                corpus = "%s/%s" % (folder, name)
                os.makedirs(corpus)
                seeds = [d for d in ["%s/tests/fuzz/corpus/%s" % (ROOT, name)] if os.path.isdir(d)]
                log = "%s/%s.log" % (folder, name)
                with open(log, "w") as out:
                    p = subprocess.Popen([path, "-max_total_time=%d" % seconds, "-timeout=10", "-rss_limit_mb=3000",
                                          "-print_final_stats=1", "-artifact_prefix=%s/crash-%s-" % (folder, name), corpus]
                                         + seeds, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                         env=dict(os.environ, LSAN_OPTIONS="suppressions=%s/tests/fuzz/lsan.supp" % ROOT))
                running.append((name, p, log, time.monotonic()))
            time.sleep(0.2)
            for item in list(running):
                name, p, log, start = item
                if p.poll() is None and time.monotonic() - start < seconds + 60:
                    continue
                if p.poll() is None:
                    p.kill()
                    p.wait()
                running.remove(item)
                text = open(log, errors="replace").read()
                runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
                ok = p.returncode == 0 and runs is not None and int(runs.group(1)) > 0
                print("%-5s fuzz/%-30s %s runs in %.0f s" % ("ok" if ok else "FAIL", name, runs.group(1) if runs else "?",
                                                            time.monotonic() - start), flush=True)
                tally.add("fuzz/" + name, ok)
                if not ok:
                    print(tail(log, 40))
                    for crash in glob.glob("%s/crash-%s-*" % (folder, name)):
                        kept = "%s/log/%s" % (CACHE, os.path.basename(crash))
                        shutil.copy(crash, kept)
                        print("the input that did it: %s" % kept)
    finally:
        for _, p, _, _ in running:
            p.kill()
            p.wait()
        shutil.rmtree(folder, ignore_errors=True)


def integration(tally, args):
    build_gcc()
    print("--- integration", flush=True)
    p = subprocess.Popen([sys.executable, ROOT + "/tests/integration/run.py"] + args, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, text=True, errors="replace")
    last = ""
    try:
        for line in p.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
        p.wait()
    except BaseException:
        p.terminate()
        p.wait()
        raise
    m = re.match(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", last)
    if m:
        tally.passed += int(m.group(1))
        tally.failed += ["integration"] * int(m.group(2))
        tally.skipped += int(m.group(3))
    if p.returncode != 0 and not (m and int(m.group(2))):
        tally.failed.append("integration (exit %d)" % p.returncode)


def main(argv):
    part = argv[0] if argv else "default"
    tally, start = Tally(), time.monotonic()
    os.makedirs(CACHE + "/log", exist_ok=True)
    try:
        if part == "unit":
            unit(tally)
        elif part == "instructions":
            instructions(tally)
        elif part == "mutants":
            build_gcc()
            mutants(tally)
        elif part == "fuzz":
            fuzz(tally, int(argv[1]) if len(argv) > 1 else FUZZ_SECONDS[part])
        elif part == "integration":
            integration(tally, argv[1:])
        elif part in ("default", "all"):
            unit(tally)
            mutants(tally)
            if part == "all":
                storms(tally)
            instructions(tally)
            fuzz(tally, FUZZ_SECONDS[part])
            integration(tally, ["--all"] if part == "all" else [])
        else:
            raise RigError("%s: the parts are unit, mutants, instructions, fuzz, integration and all" % part)
    except RigError as err:
        print("error: %s" % err, file=sys.stderr)
        tally.failed.append("error")
    finally:
        if "--keep" not in argv and part not in ("unit", "instructions", "fuzz"):
            cli.down()
    if tally.failed:
        print("failed: %s" % ", ".join(sorted(set(tally.failed))))
    print("all of it took %.0f s" % (time.monotonic() - start))
    print("%d passed, %d failed, %d skipped" % (tally.passed, len(tally.failed), tally.skipped), flush=True)
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

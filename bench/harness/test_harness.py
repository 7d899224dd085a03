"""The arithmetic behind the report: `python3 bench/harness/test_harness.py`."""

import json
import math
import os
import random
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [ROOT + "/bench", ROOT + "/scripts"]
sys.dont_write_bytecode = True

from harness import e2e, plots, report, results, ring, rounds, stats, systems, targets, topology  # noqa: E402


class Statistics(unittest.TestCase):
    def test_of_nine_the_second_and_the_eighth(self):
        self.assertEqual(stats.rank(9), 2)
        self.assertAlmostEqual(stats.coverage(9, 2), 0.9609375)
        low, high, k, covered = stats.interval([9, 1, 8, 2, 7, 3, 6, 4, 5])
        self.assertEqual((low, high, k), (2, 8, 2))
        self.assertAlmostEqual(covered, 1 - 2 * (1 + 9) / 512)

    def test_known_ranks(self):
        # Tables of the sign test: the largest k with 95 % for n = 6, 8, 12, 15, 20.
        self.assertEqual([stats.rank(n) for n in (6, 8, 12, 15, 20)], [1, 1, 3, 4, 6])
        self.assertLess(stats.coverage(5, 1), 0.95)
        self.assertGreaterEqual(stats.coverage(6, 1), 0.95)

    def test_the_interval_covers_as_often_as_it_says(self):
        rng, hits, runs = random.Random(5), 0, 20000
        true = math.log(2)  # the median of an exponential of mean 1
        for _ in range(runs):
            low, high, _, covered = stats.interval([rng.expovariate(1) for _ in range(9)])
            hits += low <= true <= high
        self.assertAlmostEqual(hits / runs, covered, delta=0.006)

    def test_median(self):
        self.assertEqual(stats.median([3, 1, 2]), 2)
        self.assertEqual(stats.median([4, 1, 2, 3]), 2.5)
        self.assertIsNone(stats.median([]))
        self.assertIsNone(stats.interval([]))

    def test_ratios_go_round_by_round(self):
        self.assertEqual(stats.ratios([2, 9, 4, None, 1], [1, 3, 0, 5, -1]), [2, 3, None, None, None])

    def test_a_verdict_needs_an_interval_beside_one(self):
        up, down = [1.1, 1.2, 1.3, 1.1, 1.2, 1.3, 1.15, 1.25, 1.2], [0.8] * 9
        self.assertEqual(stats.verdict(up, "higher"), "faster")
        self.assertEqual(stats.verdict(up, "lower"), "slower")
        self.assertEqual(stats.verdict(down, "lower"), "faster")
        self.assertEqual(stats.verdict(down, "higher"), "slower")
        # One round on the other side is allowed by the interval, two are not.
        self.assertEqual(stats.verdict([0.9] + up[1:], "higher"), "faster")
        self.assertEqual(stats.verdict([0.9, 0.95] + up[2:], "higher"), "no difference shown")
        self.assertEqual(stats.verdict(up[:5], "higher"), "too few rounds")
        self.assertEqual(stats.verdict([None] * 9, "higher"), "too few rounds")

    def test_histograms_add_up(self):
        self.assertEqual(stats.merge_buckets([[[3, 1], [5, 2]], [[5, 1], [9, 4]], []]), [[3, 1], [5, 3], [9, 4]])


class Buckets(unittest.TestCase):
    def test_values_of_the_layout(self):
        # HdrHistogram, three digits: exact below 2,048, then steps of 2, 4, 8, ...
        self.assertEqual([plots.bucket_value(i) for i in (0, 1, 2047, 2048, 2049, 3071, 3072, 3073)],
                         [0, 1, 2047, 2048, 2050, 4094, 4096, 4100])

    def test_the_curve_ends_at_the_largest(self):
        points = plots.curve([[10, 90], [100, 9], [1000, 1]])
        self.assertEqual(points[0], (10.0, 10))
        self.assertEqual(points[-1][1], 1000)


def _result(**machine):
    data = {"schema": results.SCHEMA, "kind": "headrace-bench", "mode": "quick", "started": "a", "finished": "b",
            "complete": True, "machine": dict({"id": "m1", "revision": "r", "dirty": False, "cpu": "c", "cpus": 2,
                                               "memory_mb": 1, "os": "o", "kernel": "k", "virtual": True, "compiler": "x",
                                               "dpdk": "y", "load_average_at_start": 0.0}, **machine),
            "settings": {}, "round_trips_ns": [200, 210], "rounds": [], "rounds_repeated": 0,
            "host_gaps": [{"cpu": 0, "over_10us": 1, "over_50us": 0, "max_us": 12.0, "lost_share": 0.001}],
            "metrics": [], "histograms": [], "versions": {}, "absent": {"nginx": "no nginx command"},
            "not_run": {"large": "not part of --quick"}, "failed": {}, "notes": []}
    return data


class Comparing(unittest.TestCase):
    def setUp(self):
        self.old, self.new = _result(), _result()
        for data, factor in ((self.old, 1.0), (self.new, 1.2)):
            data["metrics"] = [
                results.metric("ring/cycles", "cycles/B", "m", [factor * v for v in (1.0, 1.01, 1.02)], "lower"),
                results.metric("ring/instructions", "instructions", "m", [factor * 900], "lower"),
                results.metric("e2e/ratio", "ratio", "m", [0.9, 1.0, 1.1], "lower"),
                results.metric("only/%g" % factor, "ratio", "m", [1], "lower")]

    def test_the_same_machine_compares_everything(self):
        rows = {r["name"]: r for r in results.compare(self.old, self.new)}
        self.assertEqual(set(rows), {"ring/cycles", "ring/instructions", "e2e/ratio"})
        self.assertEqual(rows["ring/cycles"]["verdict"], "worse")
        self.assertAlmostEqual(rows["ring/cycles"]["change"], 0.2)
        self.assertEqual(rows["e2e/ratio"]["verdict"], "same")

    def test_another_machine_compares_counts_and_ratios_alone(self):
        self.new["machine"]["id"] = "m2"
        rows = {r["name"] for r in results.compare(self.old, self.new)}
        self.assertEqual(rows, {"ring/instructions", "e2e/ratio"})

    def test_another_schema_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/20260101-000000-quick.json"
            for schema, fine in ((results.SCHEMA, True), (results.SCHEMA + 1, False)):
                with open(path, "w") as f:
                    json.dump(dict(self.old, schema=schema), f)
                if fine:
                    self.assertEqual(results.previous(folder), path)
                else:
                    self.assertRaises(ValueError, results.load, path)
                    self.assertIsNone(results.previous(folder))


class Rounds(unittest.TestCase):
    def test_a_round_whose_mood_flips_is_repeated_and_counted(self):
        looks = iter([False, False, False, True, True, True])
        data = _result()
        before = rounds.machine.look
        rounds.machine.look = lambda: (lambda slow: {"round_trip_ns": 900.0 if slow else 200.0, "slow": slow, "gaps": []})(next(looks))
        try:
            class Out:
                pass
            out, seen = Out(), []
            out.data = data
            kept = rounds.run(out, rounds.Budget(1e6), "t", 2, lambda rng: seen.append(rng.random()) or len(seen))
        finally:
            rounds.machine.look = before
        self.assertEqual(kept, [1, 3])             # the second try of the second round
        self.assertEqual(seen[1], seen[2])         # in the same order as the first
        self.assertNotEqual(seen[0], seen[1])
        self.assertEqual(data["rounds_repeated"], 1)
        self.assertEqual([r["flipped"] for r in data["rounds"]], [False, True, False])

    def test_without_time_nothing_is_repeated(self):
        data, state = _result(), [False]
        before = rounds.machine.look

        def look():
            state[0] = not state[0]
            return {"round_trip_ns": 1.0, "slow": state[0], "gaps": []}
        rounds.machine.look = look
        try:
            out = type("Out", (), {"data": data})()
            self.assertEqual(rounds.run(out, rounds.Budget(-1), "t", 1, lambda rng: 7), [7])
        finally:
            rounds.machine.look = before
        self.assertEqual(data["rounds_repeated"], 0)


def _load(requests_per_s, busy, core, p50):
    return {"requests_per_s": requests_per_s, "seconds": 2.0, "bytes": requests_per_s * 2 * 65536,
            "mb_per_s": requests_per_s * 0.065536, "due": int(requests_per_s * 2),
            "latency_ns": {"p50": p50, "p99": 3 * p50, "p99.9": 9 * p50, "max": 10 * p50},
            "cpu": {"busy_s": busy, "per_cpu_busy_s": [busy - core, core]}, "histogram_ns": [[1000, 5], [2000, 1]]}


class Reporting(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = results.Results(self.folder.name, "quick", _result()["machine"])
        self.out.data["plan"] = {"rounds": 9}
        self.setting = type("Setting", (), {})()
        self.setting.name = "mtu1500"
        self.setting.found = [systems.Direct(0, 0), systems.HAProxy(2, 0), systems.Headrace(8, 0), systems.Floor(9)]
        self.setting.system = lambda name: next((s for s in self.setting.found if s.name == name), None)
        got = {}
        for level in e2e.LEVELS:
            for name, busy, core in (("direct", 1.0, 0.0), ("haproxy", 2.0, 0.9), ("headrace", 1.5, 0.45), ("floor", 1.4, 0.4)):
                got[level, name] = [_load(1000 + r, busy + r / 1000, core, 100000) for r in range(9)]
        e2e.report_kind(self.out, self.setting, "produce", got)

    def tearDown(self):
        self.folder.cleanup()

    def one(self, name):
        return next(m for m in self.out.data["metrics"] if m["name"] == name)

    def test_what_goes_beyond_direct_is_compared(self):
        gb = 1004 * 2 * 65536 / 1e9
        self.assertAlmostEqual(self.one("e2e/mtu1500/produce/80%/headrace/extra_cpu")["median"], 0.5 / gb, places=3)
        m = self.one("e2e/mtu1500/produce/80%/headrace:haproxy/extra_cpu")
        self.assertAlmostEqual(m["median"], 0.5, places=3)
        self.assertEqual(m["verdict"], "faster")
        self.assertEqual(self.one("e2e/mtu1500/produce/80%/headrace:haproxy/p99_us")["verdict"], "no difference shown")

    def test_the_floor_is_judged_by_its_target(self):
        m = self.one("e2e/mtu1500/produce/80%/headrace:floor/core_cpu")
        self.assertAlmostEqual(m["median"], 0.45 / 0.4, places=3)
        t = next(t for t in targets.TARGETS if t.metric == m["name"])
        self.assertEqual(t.judge(m), "met")
        self.assertEqual(t.judge(dict(m, median=2.6)), "missed by 100 %")

    def test_direct_has_no_ratio(self):
        self.assertFalse([m for m in self.out.data["metrics"] if "headrace:direct" in m["name"]])

    def test_the_ring_benchs_lines_become_metrics(self):
        ring.take(self.out, ["for people\n", '{"name": "plain.cycles", "unit": "cycles/B", "method": "x", "raw": [3, 1, 2]}\n'])
        self.assertEqual(self.one("ring/plain.cycles")["median"], 2)

    def test_file_and_report_hold_everything(self):
        self.out.data["absent"]["nginx"] = "no nginx command"
        self.out.data["not_run"]["large"] = "not part of --quick"
        self.out.finish()
        data = results.load(self.out.base + ".json")
        self.assertTrue(data["complete"])
        for m in data["metrics"]:
            self.assertTrue(m["name"] and m["unit"] and m["method"])
            self.assertEqual(len(m["raw"]), 9)
            self.assertEqual(m["interval"], [sorted(m["raw"])[1], sorted(m["raw"])[7]])
        text = report.render(data)
        for part in ("no nginx command", "not part of --quick", "Headrace ÷", "HAProxy (tcp)", "faster", "What this does not show"):
            self.assertIn(part, text)


class Addresses(unittest.TestCase):
    def test_a_plain_relays_broker_advertises_the_relay(self):
        b = systems.Broker(101, 2, 0)
        plain, aware, direct = systems.HAProxy(2, 1), systems.Kroxylicious(5, 1), systems.Direct(0, 1)
        self.assertEqual(plain.advertised(b), plain.client_address(b))
        self.assertEqual(plain.client_address(b)[0], topology.relay_addr(1))
        self.assertEqual(aware.advertised(b), (topology.broker_addr(1, 2), aware.broker_port(b)))
        self.assertEqual(direct.client_address(b), direct.advertised(b))

    def test_every_system_of_a_setting_has_ports_of_its_own(self):
        brokers = [systems.Broker(101 + i, 1 + i, i) for i in range(3)]
        for name in ("mtu1500", "large"):
            found = systems.setting(name, quick=False)
            taken = [(s.broker_addr(b), s.broker_port(b)) for s in found for b in brokers]
            self.assertEqual(len(taken), len(set(taken)))
            self.assertTrue(all(next((x for x in found if x.name == s.baseline), None) for s in found))


if __name__ == "__main__":
    os.environ.setdefault("HR_RIG", "hrb")
    unittest.main()

"""Rounds: each looks at the machine before and after, and is done again when the machine's mood changed in it."""

import random
import time

from harness import machine
from rig.env import say

REPEATS = 2  # of one round at most: a machine that never settles must not keep us for ever


class Budget:
    """How long a run may take. Repeats are what is left out when time gets short; the plan itself is not."""

    def __init__(self, seconds):
        self.start = time.monotonic()
        self.end = self.start + seconds

    def left(self):
        return self.end - time.monotonic()

    def spent(self):
        return time.monotonic() - self.start


def run(results, budget, title, n_rounds, body, seed=1, needed_after=0):
    """Calls body(rng) n_rounds times and returns what the rounds returned.

    needed_after: seconds that the rest of the plan needs, which repeats must not eat up.
    """
    kept = []
    for r in range(n_rounds):
        for attempt in range(REPEATS + 1):
            rng = random.Random("%s %d %d" % (title, seed, r))
            before, start = machine.look(), time.monotonic()
            got = body(rng)
            took, after = time.monotonic() - start, machine.look()
            flipped = before["slow"] != after["slow"]
            again = flipped and attempt < REPEATS and budget.left() > needed_after + took * (n_rounds - r)
            results.data["round_trips_ns"] += [before["round_trip_ns"], after["round_trip_ns"]]
            results.data["host_gaps"] += before["gaps"] + after["gaps"]
            results.data["rounds"].append({"part": title, "round": r, "before_ns": before["round_trip_ns"],
                                           "after_ns": after["round_trip_ns"], "flipped": flipped, "repeated": again,
                                           "seconds": round(took, 1)})
            say("    %-30s round %d of %d, %3.0f s, core to core %s -> %s ns%s" % (
                title, r + 1, n_rounds, took, _ns(before), _ns(after),
                ", the mood changed: once more" if again else ", the mood changed" if flipped else ""))
            if not again:
                break
            results.data["rounds_repeated"] += 1
        kept.append(got)
    return kept


def _ns(look):
    return "?" if look["round_trip_ns"] is None else "%.0f" % look["round_trip_ns"]

"""What the project set out to reach, and by which metric each is judged."""

import collections


class Target(collections.namedtuple("Target", "what metric limit sense")):
    """sense: "most" (the median may be at most the limit) or "least"."""

    def text(self):
        return ("≤ %g" if self.sense == "most" else "≥ %g") % self.limit

    def judge(self, m):
        ok = m["median"] <= self.limit if self.sense == "most" else m["median"] >= self.limit
        if ok:
            return "met"
        return "missed by %.0f %%" % (100 * abs(m["median"] / self.limit - 1))


TARGETS = [
    Target("Headrace ÷ floor, CPU of the relay's core, Produce at 80 %", "e2e/mtu1500/produce/80%/headrace:floor/core_cpu", 1.3, "most"),
    Target("Headrace ÷ floor, CPU of the relay's core, Fetch at 80 %", "e2e/mtu1500/fetch/80%/headrace:floor/core_cpu", 1.3, "most"),
]

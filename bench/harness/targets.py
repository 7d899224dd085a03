"""What the project set out to reach, and by which metric each is judged."""

import collections
import importlib.machinery
import importlib.util
import os

from rig.env import ROOT


class Target(collections.namedtuple("Target", "what metric least most")):
    """The median is to lie between least and most; None: no bound on that side."""

    def text(self):
        if self.least is None:
            return "≤ %g" % self.most
        return "≥ %g" % self.least if self.most is None else "%g .. %g" % (self.least, self.most)

    def judge(self, m):
        for bound, wrong in ((self.least, -1), (self.most, 1)):
            if bound is not None and (m["median"] - bound) * wrong > 0:
                return "missed by %.0f %%" % (100 * abs(m["median"] / bound - 1))
        return "met"


def _of_the_ring():
    """The ring bench keeps its own lists of highest and lowest values; bench/ring/run is a program without a suffix."""
    path = ROOT + "/bench/ring/run"
    if not os.path.exists(path):
        return {}, {}
    spec = importlib.util.spec_from_loader("ring_run", importlib.machinery.SourceFileLoader("ring_run", path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TARGETS, module.LEAST


RING, RING_LEAST = _of_the_ring()
TARGETS = [Target("ring bench: `%s`" % name, "ring/" + name, None, most) for name, most in RING.items()] + [
    Target("ring bench: `%s`" % name, "ring/" + name, least, None) for name, least in RING_LEAST.items()] + [
    Target("Headrace ÷ floor, CPU of the relay's core, Produce at 80 %", "e2e/mtu1500/produce/80%/headrace:floor/core_cpu", None, 1.3),
    Target("Headrace ÷ floor, CPU of the relay's core, Fetch at 80 %", "e2e/mtu1500/fetch/80%/headrace:floor/core_cpu", None, 1.3),
    Target("share beside a kernel CUBIC flow", "paths/share/headrace:kernel", 0.5, 2),
    Target("the same, 200 Mbit/s with 50 ms of queue", "paths/share_large/headrace:kernel", 0.5, 2),
    Target("goodput at 1 % loss and 10 ms ÷ a kernel relay", "paths/loss/headrace:haproxy/goodput", 1, None),
]

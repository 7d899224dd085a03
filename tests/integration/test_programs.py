"""Programs that need real peers but no rig: Kafka's own classes, a network device."""

import os
import sys

from framework.core import check, test
from rig import env
from rig.env import BUILD, ROOT

HERE = ROOT + "/tests/integration"


def _run(ctx, argv, timeout=600):
    res = env.run(argv, check=False, timeout=timeout, env=dict(os.environ, HR_BUILD=BUILD))
    lines = [line for line in res.stdout.strip().splitlines() if line]
    check(res.returncode == 0, "%s: exit %d\n%s\n%s" % (argv[-1], res.returncode, res.stdout[-3000:], res.stderr[-1000:]))
    if lines:
        ctx.note(lines[-1][:100])


@test("program/kafka-schema", needs=("program",))
def kafka_schema(ctx):
    """The schema table and the codec against Kafka's own definitions and classes, 4.4.0 and 3.9.2."""
    _run(ctx, [sys.executable, HERE + "/kafka_schema/run"])


@test("program/relay-edits", needs=("program",))
def relay_edits(ctx):
    """What the relay makes of responses, judged by Kafka's own classes."""
    _run(ctx, [sys.executable, HERE + "/relay_edits/run"])


@test("program/principal", needs=("program",))
def principal(ctx):
    """Principals of hundreds of certificates, and of mapping rules, against Java and Kafka."""
    _run(ctx, [sys.executable, HERE + "/principal/run"])


@test("program/hist", needs=("program",))
def hist(ctx):
    """Latency histograms against HdrHistogram itself: a million values, a million percentiles, a merge."""
    _run(ctx, [HERE + "/hist/run"])


@test("program/net-echo", needs=("program",))
def net_echo(ctx):
    """The network layer alone on a veth pair."""
    _run(ctx, [HERE + "/net_echo.sh", BUILD + "/tests/support/hr-net-echo"])


@test("program/net-echo-jumbo-two-workers", needs=("program",))
def net_echo_jumbo(ctx):
    _run(ctx, [HERE + "/net_echo.sh", BUILD + "/tests/support/hr-net-echo", "9000", "2"])

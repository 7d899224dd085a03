"""Kafka's own classes as the judge of the schema table, the codec and the relay's edits. No rig is needed: each test is
a program of its own that can be run by hand, see its folder."""

import os

from framework.core import check, test
from rig import env

HERE = os.path.dirname(os.path.abspath(__file__))


def _run(ctx, folder):
    res = env.run([os.path.join(HERE, folder, "run")], check=False, timeout=280, env=dict(os.environ, HR_BUILD=env.BUILD))
    check(res.returncode == 0, "exit %d\n%s\n%s" % (res.returncode, res.stdout[-3000:], res.stderr[-1500:]))
    for line in res.stdout.splitlines():
        if " frames," in line or " messages," in line:
            ctx.note(line.split(" (")[0])


@test("schema/table-and-codec", needs=(), scan=False)
def table_and_codec(ctx):
    """The committed table is what the jars give; every message round-trips between Kafka's classes and the codec."""
    _run(ctx, "kafka_schema")


@test("schema/relay-edits", needs=(), scan=False)
def relay_edits(ctx):
    """Responses of every API and version, edited by the relay, say the same to Kafka but for the addresses."""
    _run(ctx, "relay_edits")

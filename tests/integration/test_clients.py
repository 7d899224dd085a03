"""Clients that others wrote: each produces, joins a group, consumes and compares, in a program of its own."""

import os

from framework.core import check, test
from rig import deps, env
from rig.env import ROOT, zone_ns

PROGRAMS = ROOT + "/tests/integration/clients"


def _one(ctx, argv, records, env_=None):
    e = dict(os.environ, **(env_ or {}))
    r = ctx.run(1, argv, env=e)
    check(r["records"] == records, r)
    ctx.note(r["client"])


@test("clients/confluent", kafka_versions=("4.4.0", "3.9.2"))
def confluent(ctx):
    """Current librdkafka, idempotent, all compressions."""
    _one(ctx, [deps.venv(), PROGRAMS + "/confluent.py", ctx.bootstrap, ctx.topic("confluent"), "200"], 1000)


@test("clients/kafka-python", extra_versions=("3.9.2",))
def kafka_python(ctx):
    _one(ctx, [deps.venv(), PROGRAMS + "/kafkapython.py", ctx.bootstrap, ctx.topic("kafkapython"), "500"], 500)


@test("clients/kafkajs", kafka_versions=("4.4.0", "3.9.2"))
def kafkajs(ctx):
    _one(ctx, ["node", PROGRAMS + "/kafkajs.js", ctx.bootstrap, ctx.topic("kafkajs"), "500"], 500,
         {"NODE_PATH": deps.node_modules() + "/node_modules"})


@test("clients/franz-go", extra_versions=("3.9.2",))
def franz(ctx):
    _one(ctx, [deps.go_program("franz", PROGRAMS + "/go/franz/main.go"), ctx.bootstrap, ctx.topic("franz"), "500"], 500)


@test("clients/sarama", extra_versions=("3.9.2",))
def sarama(ctx):
    _one(ctx, [deps.go_program("sarama", PROGRAMS + "/go/sarama/main.go"), ctx.bootstrap, ctx.topic("sarama"), "500"], 500)


@test("clients/kcat", extra_versions=("3.9.2",))
def kcat(ctx):
    """Debian's kcat (librdkafka 2.0): lines in, the same lines out, by assignment and by group."""
    topic = ctx.topic("kcat")
    lines = ["key%d\tvalue %d %s" % (i, i, "z" * (i % 500)) for i in range(600)]
    env.run(env.in_ns(zone_ns(1), ["kcat", "-P", "-b", ctx.bootstrap, "-t", topic, "-K", "\t", "-z", "zstd", "-X",
                                   "acks=all"]), stdin=None, input="\n".join(lines) + "\n", timeout=60)
    got = env.run(env.in_ns(zone_ns(1), ["kcat", "-C", "-b", ctx.bootstrap, "-t", topic, "-K", "\t", "-e", "-q", "-o",
                                         "beginning"]), timeout=60).stdout.splitlines()
    check(sorted(got) == sorted(lines), "%d lines came back, of %d" % (len(got), len(lines)))
    got = env.run(env.in_ns(zone_ns(1), ["kcat", "-b", ctx.bootstrap, "-G", topic + "-kcat", "-K", "\t", "-q", "-c",
                                         "600", "-X", "auto.offset.reset=earliest", topic]), timeout=60).stdout.splitlines()
    check(sorted(got) == sorted(lines), "the group read %d lines, of %d" % (len(got), len(lines)))
    ctx.note("kcat " + next((w for w in env.run(["kcat", "-V"]).stdout.split() if w.startswith("2.")), ""))

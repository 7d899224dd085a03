"""The ends between which bench/run measures, against real clients: what they say must be Kafka."""

import json
import re
import subprocess

from framework.core import check, test
from rig import deps, env
from rig.env import BUILD

NS = env.NAME + "-nb"
ADDRESS = "127.0.0.1:9092"


def _in(argv, timeout=60, **kw):
    return env.run(env.in_ns(NS, argv), timeout=timeout, **kw)


def _java(main, *args):
    jars = deps.jars("tools-" + deps.KAFKA_DEFAULT)
    return _in(["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars + "/*",
                "org.apache.kafka.tools." + main, *args], timeout=120).stdout


class _Broker:
    """hr-nullbroker in a namespace of its own."""

    def __enter__(self):
        env.run(["ip", "netns", "add", NS])
        _in(["ip", "link", "set", "lo", "up"])
        self.process = subprocess.Popen(env.in_ns(NS, [BUILD + "/bench/e2e/hr-nullbroker", "--listen", ADDRESS]),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        env.wait_for("null broker", lambda: _in(["kcat", "-L", "-b", ADDRESS], check=False).returncode == 0, 10)
        return self

    def end(self):
        self.process.terminate()
        return json.loads(self.process.communicate(timeout=10)[0])

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        env.run(["ip", "netns", "del", NS])


@test("program/null-broker", needs=("program",), timeout=300)
def null_broker(ctx):
    """librdkafka and Kafka's perf tools produce to and fetch from the bench's null broker, checksums verified."""
    with _Broker() as broker:
        res = _in(["kcat", "-C", "-b", ADDRESS, "-t", "any", "-p", "3", "-o", "100", "-c", "20000", "-X", "check.crcs=true",
                   "-f", "%o %S\n"])
        lines = res.stdout.split("\n")[:-1]
        check(lines == ["%d 1000" % o for o in range(100, 20100)], "kcat read %s ... %s" % (lines[:2], lines[-2:]))
        _in(["sh", "-c", "seq 1 5000 | kcat -P -b %s -t any -p 0" % ADDRESS])
        out = _java("ProducerPerformance", "--topic", "bench", "--num-records", "100000", "--record-size", "1000",
                    "--throughput", "-1", "--producer-props", "bootstrap.servers=" + ADDRESS, "acks=all")
        check("100000 records sent" in out, "ProducerPerformance: " + out[-500:])
        out = _java("ConsumerPerformance", "--topic", "bench", "--bootstrap-server", ADDRESS, "--messages", "200000")
        rows = [line.split(", ") for line in out.splitlines() if re.match(r"^\d{4}-", line)]
        check(len(rows) == 1 and int(rows[0][4]) >= 200000, "ConsumerPerformance: " + out[-500:])
        did = broker.end()
        check(did["refused"] == 0 and did["produced_bytes"] > 100000 * 1000 and did["fetched_bytes"] > 220000 * 1000,
              "the broker says %s" % did)
        ctx.note("%d requests" % did["requests"])

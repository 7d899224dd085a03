"""A gigabyte by Kafka's own tools, directly and through Headrace, interleaved so that the machine's moods hit both."""

import re
import statistics

from framework.core import check, test
from rig import headrace, kafka

RECORD = 1000
PIECES = 4  # of each kind; together a gigabyte each way


def _produce(bootstrap, topic, records):
    """MB/s as ProducerPerformance says, acks=all."""
    out = kafka.tool(1, "org.apache.kafka.tools.ProducerPerformance", [
        "--topic", topic, "--num-records", str(records), "--record-size", str(RECORD), "--throughput", "-1",
        "--producer-props", "bootstrap.servers=" + bootstrap, "acks=all", "batch.size=65536", "linger.ms=5"],
        timeout=300).stdout
    last = [line for line in out.splitlines() if "records sent" in line][-1]
    m = re.search(r"^(\d+) records sent.*\(([\d.]+) MB/sec\)", last)
    check(m and int(m.group(1)) == records, "ProducerPerformance: %s" % last)
    return float(m.group(2)) * 1.048576


@test("perf/one-gigabyte", needs=("kafka", "headrace"), suite="all", scan=False, timeout=900)
def one_gigabyte(ctx):
    """1 GB by ProducerPerformance, read back and compared: MB/s direct and through, worker CPU seconds per GB."""
    direct, through = kafka.direct_bootstrap(), ctx.bootstrap
    records = 1000000000 // RECORD // PIECES
    pid = headrace.children()["dataplane"]
    mbs = {("produce", "direct"): [], ("produce", "headrace"): [], ("consume", "direct"): [], ("consume", "headrace"): []}
    cpu, moved = 0.0, 0
    for _ in range(PIECES):
        for kind, boot in (("direct", direct), ("headrace", through)):
            topic = ctx.topic("perf-" + kind, 6)
            before = headrace.cpu_seconds(pid)
            mbs["produce", kind].append(_produce(boot, topic, records))
            if kind == "headrace":
                cpu, moved = cpu + headrace.cpu_seconds(pid) - before, moved + records * RECORD
            sums = {}
            for reader, where in (("direct", direct), ("headrace", through)):
                before = headrace.cpu_seconds(pid)
                r = ctx.java().call("digest", bootstrap=where, topic=topic, partitions=6)
                check(r["records"] == records and r["bytes"] == records * RECORD, "%s read %d records" % (reader, r["records"]))
                sums[reader] = r["crc"]
                mbs["consume", reader].append(r["mb_per_s"])
                if reader == "headrace":
                    cpu, moved = cpu + headrace.cpu_seconds(pid) - before, moved + r["bytes"]
            check(sums["direct"] == sums["headrace"], "what Headrace delivered differs: %s" % sums)
            ctx.java().call("delete_topic", bootstrap=direct, topic=topic)
    for (what, kind), values in sorted(mbs.items()):
        ctx.note("%s %s %.0f MB/s (%s)" % (what, kind, statistics.median(values), " ".join("%.0f" % v for v in values)))
    ctx.note("dataplane CPU %.2f s per GB over %.1f GB" % (cpu / (moved / 1e9), moved / 1e9))

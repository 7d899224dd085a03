#!/usr/bin/env python3
"""Kafka's own ProducerPerformance and ConsumerPerformance, direct and through Headrace, in one interleaved run.

  sudo python3 bench/e2e/producer_perf.py [--mb 1000] [--rounds 3] [--size 1000]

Each round writes --mb megabytes to a fresh topic each way, in an order that alternates, and reads them back; the
reader must count every record. Printed per round and as medians: MB/s, and for Headrace the CPU seconds of the
dataplane per GB. The rig must not run anything else meanwhile.

What the figures do not show: brokers, clients and Headrace share this machine's cores, so MB/s says what is left
over for the brokers; links are virtual Ethernet, of which the af_packet driver takes the largest part of the worker's
time; there is no loss, no distance and no TLS.
"""

import argparse
import os
import re
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts"))

from rig import cli, env, headrace, kafka  # noqa: E402

TOOLS = "org.apache.kafka.tools."


def create(topic):
    kafka.tool(1, TOOLS + "TopicCommand", ["--bootstrap-server", kafka.direct_bootstrap(), "--create", "--topic", topic,
                                           "--partitions", "3", "--replication-factor", "3"])


def produce(topic, boot, records, size):
    res = kafka.tool(1, TOOLS + "ProducerPerformance", [
        "--topic", topic, "--num-records", str(records), "--record-size", str(size), "--throughput", "-1",
        "--producer-props", "bootstrap.servers=" + boot, "acks=all"], timeout=1200)
    last = [line for line in res.stdout.splitlines() if "records sent" in line][-1]
    sent = int(re.match(r"(\d+) records sent", last).group(1))
    if sent != records:
        raise env.RigError("sent %d of %d records" % (sent, records))
    return float(re.search(r"\(([\d.]+) MB/sec\)", last).group(1))


def consume(topic, boot, records):
    res = kafka.tool(2, TOOLS + "ConsumerPerformance", [
        "--bootstrap-server", boot, "--topic", topic, "--messages", str(records), "--timeout", "120000"], timeout=1200)
    row = [line.split(",") for line in res.stdout.splitlines() if re.match(r"^\d{4}-", line)][-1]
    got = int(row[4])
    if got != records:
        raise env.RigError("read %d of %d records" % (got, records))
    return float(row[3])


def one(way, boot, number, records, size):
    topic = "perf-%d-%s-%d" % (os.getpid(), way, number)
    create(topic)
    pid = headrace.children()["dataplane"]
    before = headrace.cpu_seconds(pid)
    up = produce(topic, boot, records, size)
    between = headrace.cpu_seconds(pid)
    down = consume(topic, boot, records)
    after = headrace.cpu_seconds(pid)
    gb = records * size / 1e9
    return {"produce": up, "consume": down, "produce_cpu": (between - before) / gb, "consume_cpu": (after - between) / gb}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--mb", type=int, default=1000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--size", type=int, default=1000)
    a = p.parse_args()
    records = a.mb * 1000000 // a.size
    cli.up()
    ways = {"direct": kafka.direct_bootstrap(), "headrace": headrace.bootstrap()}
    results = {w: [] for w in ways}
    print("%-9s %5s  %12s  %12s  %22s" % ("way", "round", "produce MB/s", "consume MB/s", "dataplane CPU s/GB"))
    for n in range(a.rounds):
        order = list(ways) if n % 2 == 0 else list(ways)[::-1]
        for way in order:
            r = one(way, ways[way], n, records, a.size)
            results[way].append(r)
            cpu = "%.2f in, %.2f out" % (r["produce_cpu"], r["consume_cpu"]) if way == "headrace" else "-"
            print("%-9s %5d  %12.1f  %12.1f  %22s" % (way, n + 1, r["produce"], r["consume"], cpu), flush=True)
    for way in ways:
        m = {k: statistics.median(r[k] for r in results[way]) for k in results[way][0]}
        cpu = "%.2f in, %.2f out" % (m["produce_cpu"], m["consume_cpu"]) if way == "headrace" else "-"
        print("%-9s %5s  %12.1f  %12.1f  %22s" % (way, "med", m["produce"], m["consume"], cpu))
    c = headrace.counters()
    print("payload bytes copied %d, heap calls of workers %d" % (c["payload_copied_bytes"], c["heap_calls"]))


if __name__ == "__main__":
    start = time.monotonic()
    try:
        main()
    except env.RigError as err:
        sys.exit("error: %s" % err)
    print("(%d s)" % (time.monotonic() - start))

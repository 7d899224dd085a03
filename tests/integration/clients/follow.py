"""Produce numbered records, or read them and say what came: once each, in order in each partition.

Arguments: produce BOOTSTRAP TOPIC COUNT SIZE PARTITIONS [PER_SECOND]
           confluent|kafkapython BOOTSTRAP TOPIC COUNT
Record i goes to partition i % PARTITIONS and begins with "i:". The last line says {"records", "bytes", "gap_s"}, the
longest time between two records."""

import json
import sys
import time

kind, bootstrap, topic, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def produce():
    from confluent_kafka import Producer
    size, partitions = int(sys.argv[5]), int(sys.argv[6])
    rate = float(sys.argv[7]) if len(sys.argv) > 7 else None
    failed = []
    p = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
                  "delivery.timeout.ms": 60000})
    began = time.monotonic()
    for i in range(count):
        body = b"%d:" % i
        while rate and time.monotonic() < began + i / rate:
            p.poll(0.005)
        while True:
            try:
                p.produce(topic, body + b"x" * (size - len(body)), partition=i % partitions,
                          on_delivery=lambda err, m: failed.append(str(err)) if err else None)
                break
            except BufferError:
                p.poll(0.05)
        p.poll(0)
    p.flush(90)
    assert not failed, failed[0]
    return {"records": count}


def messages_confluent():
    from confluent_kafka import Consumer, TopicPartition, OFFSET_BEGINNING
    c = Consumer({"bootstrap.servers": bootstrap, "group.id": topic + "-" + kind, "enable.auto.commit": False,
                  "auto.offset.reset": "error"})
    n = len(c.list_topics(topic, 30).topics[topic].partitions)
    c.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(n)])
    while True:
        for m in c.consume(500, 0.2):
            assert not m.error(), m.error()
            yield m.partition(), m.offset(), m.value()
        yield None


def messages_kafkapython():
    from kafka import KafkaConsumer, TopicPartition
    # It takes frames of up to 1,000,000 bytes, and asks for 1 MiB of each partition: it would drop the connection.
    c = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="none", enable_auto_commit=False,
                      receive_message_max_bytes=64 << 20)
    parts = [TopicPartition(topic, p) for p in sorted(c.partitions_for_topic(topic))]
    c.assign(parts)
    c.seek_to_beginning()
    while True:
        for records in c.poll(timeout_ms=200).values():
            for m in records:
                yield m.partition, m.offset, m.value
        yield None


def read(messages):
    next_offset, last, records, size, gap = {}, {}, 0, 0, 0.0
    deadline, newest = time.monotonic() + 110, None
    for m in messages:
        now = time.monotonic()
        assert now < deadline, "%d of %d records came" % (records, count)
        if m is None:
            continue
        partition, offset, value = m
        i = int(value[:value.index(b":")])
        assert offset == next_offset.get(partition, 0), "partition %d: offset %d, not %d" % (
            partition, offset, next_offset.get(partition, 0))
        assert i > last.get(partition, -1), "record %d behind %d" % (i, last[partition])
        next_offset[partition], last[partition] = offset + 1, i
        if newest is not None:
            gap = max(gap, now - newest)
        newest = now
        records += 1
        size += len(value)
        if records == count:
            return {"records": records, "bytes": size, "gap_s": round(gap, 2)}


print(json.dumps(produce() if kind == "produce" else
                 read(messages_confluent() if kind == "confluent" else messages_kafkapython())))

"""Write records, or read a topic: each record once and each partition in its order. Python's clients.

Arguments: KIND produce BOOTSTRAP TOPIC COUNT SIZE PARTITIONS [PER_SECOND]
           KIND read|follow BOOTSTRAP TOPIC COUNT
KIND is confluent (librdkafka) or kafkapython. Record i begins with "i:" and goes to partition i % PARTITIONS. To read,
librdkafka joins a group and kafka-python is assigned all partitions. To follow, both are assigned them, must never be told
to reset an offset, and find the records of one producer in the order of their numbers.

Unless they are paced, batches are small beside what a fetch asks for, of which brokers cut the last one off and clients ask
for it again. The last line says {"records", "bytes"}, of reading "gap_s" too: the longest time between two records."""

import json
import sys
import time
import uuid

kind, what, bootstrap, topic, count = *sys.argv[1:5], int(sys.argv[5])
BATCH = 32768
group = "%s-%s" % (topic, uuid.uuid4().hex[:8])


def produce_confluent(records, rate):
    from confluent_kafka import Producer
    failed = []
    p = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5 if rate else 20,
                  "batch.size": BATCH, "queue.buffering.max.messages": 1000000, "delivery.timeout.ms": 60000})
    began = time.monotonic()
    for i, (partition, value) in enumerate(records):
        while rate and time.monotonic() < began + i / rate:
            p.poll(0.005)
        p.produce(topic, value, partition=partition, on_delivery=lambda err, m: failed.append(str(err)) if err else None)
        p.poll(0)
    assert p.flush(120) == 0, "not all records were delivered"
    assert not failed, failed[0]


def produce_kafkapython(records, rate):
    from kafka import KafkaProducer
    assert not rate, "kafka-python is not paced"
    p = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=20, batch_size=BATCH)
    sent = [p.send(topic, value, partition=partition) for partition, value in records]
    for s in sent:
        s.get(120)
    p.close()


def messages_confluent():
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
    follow = what == "follow"
    c = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False,
                  "auto.offset.reset": "error" if follow else "earliest"})
    if follow:
        n = len(c.list_topics(topic, 30).topics[topic].partitions)
        c.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(n)])
    else:
        c.subscribe([topic])
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
    c.assign([TopicPartition(topic, p) for p in sorted(c.partitions_for_topic(topic))])
    c.seek_to_beginning()
    while True:
        for records in c.poll(timeout_ms=200).values():
            for m in records:
                yield m.partition, m.offset, m.value
        yield None


def produce():
    size, partitions = int(sys.argv[6]), int(sys.argv[7])
    rate = float(sys.argv[8]) if len(sys.argv) > 8 else None
    globals()["produce_" + kind](((i % partitions, b"%d:" % i + b"x" * (size - len(str(i)) - 1)) for i in range(count)), rate)
    return {"records": count, "bytes": count * size}


def read():
    expected, last, records, size, gap, newest = {}, {}, 0, 0, 0.0, None
    deadline = time.monotonic() + (110 if what == "follow" else 500)
    for got in globals()["messages_" + kind]():
        now = time.monotonic()
        assert now < deadline, "%d of %d records came" % (records, count)
        if got is None:
            continue
        partition, offset, value = got
        assert offset == expected.get(partition, 0), "partition %d: offset %d, not %d" % (
            partition, offset, expected.get(partition, 0))
        expected[partition] = offset + 1
        if what == "follow":
            i = int(value[:value.index(b":")])
            assert i > last.get(partition, -1), "record %d behind %d" % (i, last[partition])
            last[partition] = i
        if newest is not None:
            gap = max(gap, now - newest)
        newest = now
        records += 1
        size += len(value)
        if records == count:
            return {"records": records, "bytes": size, "gap_s": round(gap, 2)}


print(json.dumps(produce() if what == "produce" else read()))

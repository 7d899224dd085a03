"""Write records, or read a topic: each record once and each partition in its order. Python's clients.

Arguments: KIND produce BOOTSTRAP TOPIC COUNT SIZE PARTITIONS
           KIND read BOOTSTRAP TOPIC COUNT
KIND is confluent (librdkafka, reads in a group) or kafkapython (by assignment). Batches are small beside what a fetch asks for, of which brokers cut the last one
off and clients ask for it again. The last line says {"records", "bytes"}."""

import json
import sys
import time
import uuid

kind, what, bootstrap, topic, count = *sys.argv[1:5], int(sys.argv[5])
BATCH = 32768
group = "%s-%s" % (topic, uuid.uuid4().hex[:8])


def produce_confluent(records):
    from confluent_kafka import Producer
    failed = []
    p = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 20,
                  "batch.size": BATCH, "queue.buffering.max.messages": 1000000})
    for partition, value in records:
        p.produce(topic, value, partition=partition, on_delivery=lambda err, m: failed.append(str(err)) if err else None)
        p.poll(0)
    assert p.flush(120) == 0, "not all records were delivered"
    assert not failed, failed[0]


def produce_kafkapython(records):
    from kafka import KafkaProducer
    p = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=20, batch_size=BATCH)
    sent = [p.send(topic, value, partition=partition) for partition, value in records]
    for s in sent:
        s.get(120)
    p.close()


def read_confluent():
    from confluent_kafka import Consumer
    c = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False,
                  "auto.offset.reset": "earliest"})
    c.subscribe([topic])
    while True:
        for m in c.consume(500, 0.2):
            assert not m.error(), m.error()
            yield m.partition(), m.offset(), m.value()
        yield None


def read_kafkapython():
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
    globals()["produce_" + kind]((i % partitions, b"%d:" % i + b"x" * (size - len(str(i)) - 1)) for i in range(count))
    return count, count * size


def read():
    expected, records, size, deadline = {}, 0, 0, time.monotonic() + 500
    for got in globals()["read_" + kind]():
        assert time.monotonic() < deadline, "%d of %d records came" % (records, count)
        if got is None:
            continue
        partition, offset, value = got
        assert offset == expected.get(partition, 0), "partition %d: offset %d, not %d" % (
            partition, offset, expected.get(partition, 0))
        expected[partition] = offset + 1
        records += 1
        size += len(value)
        if records == count:
            return records, size


print(json.dumps(dict(zip(("records", "bytes"), {"produce": produce, "read": read}[what]()))))

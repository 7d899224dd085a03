"""librdkafka by the confluent-kafka wheel: produce, consume in a group, compare. Arguments: BOOTSTRAP TOPIC COUNT [NAME=VALUE...].

The latter are further settings of both clients."""

import json
import sys
import time

from confluent_kafka import Consumer, KafkaError, Producer, libversion, version

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
common = dict([("bootstrap.servers", bootstrap)] + [a.split("=", 1) for a in sys.argv[4:]])


def value(i):
    return bytes(32 + (i * 31 + j * 7) % 95 for j in range(200 + i % 800))


failures = []
for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    p = Producer({**common, "enable.idempotence": True, "compression.type": codec,
                  "linger.ms": 5})
    for i in range(count):
        p.produce(topic, value(i), ("%s-%d" % (codec, i)).encode(), partition=i % 3,
                  headers=[("codec", codec.encode()), ("i", str(i).encode())],
                  on_delivery=lambda err, msg: failures.append(str(err)) if err else None)
        p.poll(0)
    assert p.flush(60) == 0, "not all records were delivered"
assert not failures, failures[:3]

c = Consumer({**common, "group.id": topic + "-confluent", "auto.offset.reset": "earliest",
              "enable.auto.commit": False})
c.subscribe([topic])
seen, deadline = set(), time.time() + 90
while len(seen) < 5 * count:
    assert time.time() < deadline, "%d of %d records came back" % (len(seen), 5 * count)
    m = c.poll(0.5)
    if m is None:
        continue
    assert not m.error() or m.error().code() == KafkaError._PARTITION_EOF, m.error()
    headers = dict(m.headers())
    i = int(headers["i"])
    assert m.key() == b"%s-%d" % (headers["codec"], i) and m.value() == value(i) and m.partition() == i % 3, \
        "record %s differs" % m.key()
    assert m.key() not in seen, "record %s came twice" % m.key()
    seen.add(m.key())
c.commit(asynchronous=False)
c.close()
print(json.dumps({"records": len(seen), "client": "confluent-kafka %s, librdkafka %s" % (version()[0] if isinstance(version(), tuple) else version(), libversion()[0])}))

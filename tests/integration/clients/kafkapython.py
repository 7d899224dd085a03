"""kafka-python: produce, consume in a group, compare. Arguments: BOOTSTRAP TOPIC COUNT.

Over TLS where HR_TLS_CA names a file of CAs; HR_TLS_CERT and HR_TLS_KEY are the client's own."""

import json
import os
import sys
import time

import kafka
from kafka import KafkaConsumer, KafkaProducer

bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
common = {"bootstrap_servers": bootstrap.split(",")}
if "HR_TLS_CA" in os.environ:
    common.update(security_protocol="SSL", ssl_cafile=os.environ["HR_TLS_CA"], ssl_certfile=os.environ.get("HR_TLS_CERT"),
                  ssl_keyfile=os.environ.get("HR_TLS_KEY"))


def value(i):
    return bytes(32 + (i * 31 + j * 7) % 95 for j in range(200 + i % 800))


p = KafkaProducer(**common, acks="all", compression_type="gzip", linger_ms=5)
sent = [p.send(topic, value(i), key=b"k%d" % i, headers=[("i", b"%d" % i)], partition=i % 3) for i in range(count)]
for i, f in enumerate(sent):
    assert f.get(timeout=60).partition == i % 3
p.close()

c = KafkaConsumer(topic, **common, group_id=topic + "-kafkapython",
                  auto_offset_reset="earliest", enable_auto_commit=False)
seen, deadline = set(), time.time() + 90
while len(seen) < count:
    assert time.time() < deadline, "%d of %d records came back" % (len(seen), count)
    for records in c.poll(timeout_ms=500).values():
        for m in records:
            i = int(dict(m.headers)["i"])
            assert m.key == b"k%d" % i and m.value == value(i) and m.partition == i % 3, "record %d differs" % i
            assert i not in seen, "record %d came twice" % i
            seen.add(i)
c.commit()
c.close()
print(json.dumps({"records": len(seen), "client": "kafka-python " + kafka.__version__}))

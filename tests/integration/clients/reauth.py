"""librdkafka by the confluent-kafka wheel: records for so many seconds, over as few connections as it can.
Arguments: BOOTSTRAP TOPIC SECONDS [NAME=VALUE...].

Says how many records were delivered, and how often a connection to a broker was lost."""

import json
import sys
import time

from confluent_kafka import Producer, libversion

bootstrap, topic, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
stats, failures, errors, delivered = {}, [], [], 0


def on_delivery(err, msg):
    global delivered
    delivered += err is None
    if err:
        failures.append(str(err))


p = Producer({**dict(a.split("=", 1) for a in sys.argv[4:]), "bootstrap.servers": bootstrap, "acks": "all",
              "statistics.interval.ms": 500, "stats_cb": lambda text: stats.update(json.loads(text)["brokers"]),
              "error_cb": lambda e: errors.append(str(e))})
end, sent = time.monotonic() + seconds, 0
while time.monotonic() < end:
    p.produce(topic, b"record %d" % sent, partition=sent % 3, on_delivery=on_delivery)
    sent += 1
    p.poll(0.05)
assert p.flush(60) == 0, "not all records were delivered"
assert not failures, failures[:3]
deadline = time.monotonic() + 5
while not stats and time.monotonic() < deadline:
    p.poll(0.1)
print(json.dumps({"records": delivered, "sent": sent, "lost": sum(b["disconnects"] for b in stats.values()),
                  "errors": errors[:5], "client": "librdkafka " + libversion()[0]}))

"""What must stay bounded whatever is carried: buffers, memory, addresses."""

import socket
import threading
import time

from framework import wire
from framework.core import check, eventually, test
from rig import headrace, kafka, net
from rig.kafka import recv_frame

NEEDS = ("kafka", "headrace")
# Two windows' worth of 2 KB buffers (up to 4 MB each way on each leg) is far below what a 100 MB frame needs.
SESSION_BUFS = 8192


@test("bounds/100-MiB-frame", needs=NEEDS)
def big_frame(ctx):
    """One Produce frame of almost 100 MiB: cut through, with a bounded number of buffers."""
    topic = ctx.topic("big", 1)
    record_bytes = (100 << 20) - 4096
    block = bytes((b * 7 + 11) % 256 if (b * 7 + 11) % 256 != 10 else 9 for b in range(65536))
    leader = kafka.leader(topic)
    pid = headrace.children()["dataplane"]
    rss = headrace.rss_kb(pid)
    before = ctx.counters()["relay_bytes_up"]
    start = time.monotonic()
    with ctx.connect(headrace.NODE_PORT_BASE + leader, timeout=60) as s:
        s.sendall(wire.produce_head(topic, 1, record_bytes))
        left = record_bytes
        try:
            while left:
                left -= s.send(block[:min(left, len(block))])
        except ConnectionError:
            pass
        try:
            recv_frame(s)  # the broker finds the records corrupt, and says so or closes
        except OSError:
            pass
    took = time.monotonic() - start
    eventually("the whole frame forwarded", lambda: ctx.counters()["relay_bytes_up"] - before >= record_bytes, 20)
    peak = headrace.gauges()["conn_bufs_held_peak"]
    grown = headrace.rss_kb(pid) - rss
    ctx.note("%.0f MB/s, at most %d buffers held by a session, memory +%d KB" % (record_bytes / 1e6 / took, peak, grown))
    check(0 < peak <= SESSION_BUFS, "%d buffers held by one session" % peak)
    # Packet memory is there from the start (touched as it is used); the heap does not grow.
    check(ctx.counters()["heap_calls"] == 0, "heap calls")


@test("bounds/slow-kafka-reader", needs=NEEDS)
def slow_reader(ctx):
    """A consumer that stops reading in the middle of a response holds back its broker and nobody else."""
    topic = ctx.topic("slow", 1, max_message_bytes=64 << 20)
    ctx.java().call("sizes", bootstrap=kafka.direct_bootstrap(), topic=topic, sizes="20000000,20000000")
    with ctx.connect(headrace.NODE_PORT_BASE + kafka.leader(topic), timeout=60) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.sendall(_fetch(topic))
        time.sleep(2)
        held = headrace.gauges()["bufs_held"]
        check(held <= SESSION_BUFS, "%d buffers behind one slow reader" % held)
        r = ctx.java().call("produce_consume", bootstrap=ctx.bootstrap, topic=ctx.topic("beside"), count=2000)
        ctx.note("%d buffers held; 2,000 records beside it in %.1f s" % (held, r["seconds"]))
        data = recv_frame(s)
        check(len(data) > 20000000, "the slow reader got %d bytes" % len(data))


def _fetch(topic, correlation=9, max_bytes=55 << 20):
    import struct
    name = topic.encode()
    body = wire.header(wire.FETCH, 4, correlation) + struct.pack(">iiiib", -1, 500, 1, max_bytes, 0)
    body += struct.pack(">i", 1) + struct.pack(">h", len(name)) + name + struct.pack(">iiqi", 1, 0, 0, max_bytes)
    return wire.frame(body)


@test("bounds/client-goes-mid-response", needs=NEEDS)
def goes_mid_response(ctx):
    """Clients that reset in the middle of a 20 MB response: everything held for them comes back."""
    import struct
    topic = ctx.topic("gone", 1, max_message_bytes=64 << 20)
    ctx.java().call("sizes", bootstrap=kafka.direct_bootstrap(), topic=topic, sizes="20000000")
    for _ in range(10):
        with ctx.connect(headrace.NODE_PORT_BASE + kafka.leader(topic), timeout=60) as s:
            s.sendall(_fetch(topic))
            s.recv(100000)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ctx.runner.close_jvms()
    eventually("sessions closed", lambda: headrace.gauges()["sessions"] == 0, 20)
    eventually("buffers given back", lambda: headrace.gauges()["bufs_held"] == 0, 20)


@test("bounds/advertised-by-address", needs=NEEDS, variant={"advertise": net.HEADRACE})
def by_address(ctx):
    """The advertised host may be an address, shorter than the brokers' names."""
    r = ctx.java().call("admin", bootstrap=ctx.bootstrap, topic=ctx.name("adv"))
    for e in r["endpoints"]:
        check("=%s:" % net.HEADRACE in e, "endpoint %s" % e)
    ctx.java().call("produce_consume", bootstrap=ctx.bootstrap, topic=ctx.topic("adv"), count=300)


@test("bounds/advertised-long", needs=NEEDS,
      variant={"advertise": "a-much-longer-name-than-any-of-the-brokers-has-so-that-it-cannot-fit.b$(nodeId)." + net.CLIENT_NAME})
def by_long_name(ctx):
    """The advertised name may be longer than the brokers' names: tails that do not fit are hidden, nothing leaks."""
    names = [(net.HEADRACE, "a-much-longer-name-than-any-of-the-brokers-has-so-that-it-cannot-fit.b%d.%s" % (n, net.CLIENT_NAME))
             for n in kafka.NODE_ID.values()]
    from rig.env import zone_ns
    net.set_hosts(zone_ns(1), headrace.client_hosts() + names)
    try:
        ctx.runner.close_jvms()
        topic = ctx.topic("long", 3)
        load = ctx.java().begin("load", bootstrap=ctx.bootstrap, topic=topic, name=topic, writers=1)
        eventually("records acknowledged", lambda: ctx.java().call("load_progress", name=topic)["acked"] > 200, 60)
        kafka.kill(1, 15)  # leaders move under the load: answers say NOT_LEADER and name the new leader
        kafka.start(1)
        ctx.java().call("load_stop", name=topic)
        r = ctx.java().end(load)
        check(r["lost"] == r["duplicated"] == r["reordered"] == r["crossed"] == r["corrupt"] == 0, r)
        c = ctx.counters()
        ctx.note("%d records; tails rewritten %d, hidden %d" % (r["acked"], c["kafka_edits_tail"], c["kafka_tails_hidden"]))
    finally:
        ctx.runner.close_jvms()
        net.set_hosts(zone_ns(1), headrace.client_hosts())


@test("bounds/control-plane-under-load", needs=NEEDS)
def cli_under_load(ctx):
    """Every headracectl command answers while traffic flows, and its numbers fit each other."""
    topic = ctx.topic("cli")
    load = ctx.java().begin("load", bootstrap=ctx.bootstrap, topic=topic, name=topic, writers=2, pause_us=300, size=1000)
    eventually("load", lambda: ctx.java().call("load_progress", name=topic)["acked"] > 1000, 60)
    start = time.monotonic()
    for command in ("status", "workers", "connections", "brokers", "topics", "counters", "drops"):
        text = headrace.ctl(command, as_json=False)
        check(len(text.splitlines()) >= 2, "headracectl %s printed %r" % (command, text))
        check(headrace.ctl(command), "headracectl --json %s is empty" % command)
    ctx.note("seven commands, twice, in %.1f s" % (time.monotonic() - start))
    st = headrace.ctl("status")
    check(st["ready"] and st["metadata"]["brokers"] == 3, st)
    conns = headrace.ctl("connections")["connections"]
    check(any(c["mode"] == "kafka" and c["requests"] > 0 for c in conns), "connections: %s" % conns[:2])
    names = {b["id"]: b for b in headrace.ctl("brokers")["brokers"]}
    check(set(names) == set(kafka.NODE_ID.values()), "brokers: %s" % names)
    check(names[kafka.NODE_ID[1]]["rack"] == kafka.RACK[1], "rack: %s" % names)
    victim = next(c for c in conns if c["mode"] == "kafka" and c["requests"] > 0)
    before = ctx.drops()["killed"]
    headrace.ctl("connections", "kill", victim["id"])
    eventually("drop reason killed", lambda: ctx.drops()["killed"] > before)
    ctx.java().call("load_stop", name=topic)
    r = ctx.java().end(load)
    check(r["lost"] == r["duplicated"] == r["reordered"] == r["crossed"] == r["corrupt"] == 0, r)


@test("bounds/metrics", needs=NEEDS, scan=False)
def metrics(ctx):
    """/live, /ready and /metrics on the management address; counters agree with headracectl's."""
    from rig import netns
    from rig.env import HUB

    def get(path):
        with netns.connect(HUB, ("10.77.0.1", 9090)) as s:
            s.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
            got = b""
            while True:
                more = s.recv(65536)
                if not more:
                    break
                got += more
        head, _, body = got.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()
    check(get("/live")[0] == 200, "/live")
    check(get("/ready")[0] == 200, "/ready")
    code, text = get("/metrics")
    check(code == 200, "/metrics says %d" % code)
    want = headrace.counters()["sessions_opened"]
    got = sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
              if "sessions_opened" in line and not line.startswith("#"))
    check(abs(got - want) <= 2, "sessions_opened: %s in the metrics, %s by headracectl" % (got, want))
    check(get("/nothing")[0] == 404, "/nothing")


@test("bounds/reload", needs=NEEDS)
def reload(ctx):
    """A reload with an error changes nothing; a good one applies without touching connections."""
    with open(headrace.CONFIG) as f:
        text = f.read()
    try:
        with ctx.connect(timeout=10) as s:
            wire.api_versions(s)
            with open(headrace.CONFIG, "w") as f:
                f.write(text.replace("bootstrap_port = 9092", "bootstrap_port = 99999"))
            from rig.env import HUB
            from rig import env
            res = env.run(env.in_ns(HUB, headrace.ctl_command() + ["reload"]), check=False)
            check(res.returncode != 0 and "99999" in res.stdout + res.stderr, "a broken file: exit %d, %s%s" % (
                res.returncode, res.stdout, res.stderr))
            wire.api_versions(s)
            with open(headrace.CONFIG, "w") as f:
                f.write(text.replace('level = "info"', 'level = "debug"'))
            out = headrace.ctl("reload", as_json=False)
            check("level" in out, "the difference is not shown: %s" % out)
            eventually("new log level", lambda: headrace.ctl("status")["log_level"] == "debug")
            wire.api_versions(s)
    finally:
        with open(headrace.CONFIG, "w") as f:
            f.write(text)
        headrace.ctl("reload", as_json=False)


@test("bounds/soak", needs=NEEDS, suite="all", timeout=400)
def soak(ctx):
    """A minute of mixed load with connections coming and going; pools and memory as before."""
    pid = headrace.children()["dataplane"]
    stop, errors = threading.Event(), []

    def churn():
        for _ in range(5000):  # the kernel keeps each closed connection's port for a minute, and has 28,000
            if stop.is_set():
                return
            try:
                with ctx.connect(timeout=5) as s:
                    wire.api_versions(s)
            except Exception as e:
                errors.append(repr(e))
                return
    threads = [threading.Thread(target=churn) for _ in range(4)]
    for t in threads:
        t.start()
    rss, end = None, time.monotonic() + 60
    while time.monotonic() < end:
        ctx.java().call("produce_consume", bootstrap=ctx.bootstrap, topic=ctx.topic("soak"), count=2000, compression="lz4")
        check(headrace.children()["dataplane"] == pid, "the dataplane was restarted")
        rss = rss or headrace.rss_kb(pid)
    stop.set()
    for t in threads:
        t.join()
    check(not errors, errors[:3])
    grown = headrace.rss_kb(pid) - rss
    ctx.note("%d sessions, memory +%d KB" % (ctx.counters()["sessions_opened"], grown))
    check(grown < 4096, "the dataplane grew by %d KB" % grown)

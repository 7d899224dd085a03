"""What no Kafka client sends. Each case ends in its named counter, a clear close, the same process, flat memory."""

import os
import random
import socket
import struct
import threading
import time

from framework import wire
from framework.core import check, eventually, test
from rig import env, headrace, kafka, net, netns
from rig.env import zone_ns
from rig.kafka import recv_frame

NEEDS = ("kafka", "headrace")
# Short times and small limits, so that their ends can be waited for.
VARIANT = {"listener": "request_timeout_ms = 2000; idle_timeout_ms = 8000; max_frame_bytes = 1048576;",
           "limits": "max_half_open = 64; max_connections = 400;"}
NODE = kafka.NODE_ID[1]


def _expect(ctx, reason, act, times=1, timeout=10):
    """Runs act and wants this drop reason to rise, the connection to close, and service to go on."""
    before = ctx.drops()[reason]
    act()
    eventually("drop reason %s" % reason, lambda: ctx.drops()[reason] >= before + times, timeout)
    with ctx.connect() as s:
        keys, error = wire.api_versions(s)
        check(error == 0 and 18 in keys, "service after %s: error %d" % (reason, error))


def _send_and_see_close(ctx, data, port=None, timeout=8):
    with ctx.connect(port or headrace.BOOTSTRAP_PORT) as s:
        try:
            s.sendall(data)
        except ConnectionError:
            return
        ended, got = wire.closed(s, timeout)
        check(ended, "the connection stays open; it answered %r" % got[:60])


@test("bad/garbage", needs=NEEDS, variant=VARIANT)
def garbage(ctx):
    """Other protocols and random bytes."""
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
                 b"SSH-2.0-OpenSSH_9.2\r\n"):
        _expect(ctx, "kafka_frame_size", lambda data=data: _send_and_see_close(ctx, data))
    rng = random.Random(20241)
    before = sum(ctx.drops().values())
    for _ in range(100):
        data = struct.pack(">i", 200) + bytes(rng.randrange(256) for _ in range(200))
        with ctx.connect() as s:
            s.sendall(data)
            ended, got = wire.closed(s, 8)
            check(ended, "random bytes (seed 20241) keep a connection open: %r" % data[:20])
    check(sum(ctx.drops().values()) >= before + 100, "100 random frames gave only %d drops" % (
        sum(ctx.drops().values()) - before))


@test("bad/frame-size", needs=NEEDS, variant=VARIANT)
def frame_size(ctx):
    """Negative, zero, too small and above max_frame_bytes."""
    for size in (-1, -2 ** 31, 0, 1, 7, 1048577, 2 ** 31 - 1):
        _expect(ctx, "kafka_frame_size", lambda size=size: _send_and_see_close(ctx, struct.pack(">i", size) + bytes(64)))


@test("bad/header", needs=NEEDS, variant=VARIANT)
def bad_header(ctx):
    """A client id longer than the frame, and a negative length that is not -1."""
    for length in (30000, -2, -32768):
        body = struct.pack(">hhih", wire.METADATA, 1, 1, length) + bytes(20)
        _expect(ctx, "kafka_header", lambda body=body: _send_and_see_close(ctx, wire.frame(body)))


@test("bad/unknown-api", needs=NEEDS, variant=VARIANT)
def unknown_api(ctx):
    """Keys that do not exist, and keys that only brokers use."""
    for key in (999, -1, 32767, 4, 52, 58, 62):
        _expect(ctx, "kafka_unknown_api",
                lambda key=key: _send_and_see_close(ctx, wire.frame(wire.header(key, 0) + bytes(16))))


@test("bad/version", needs=NEEDS, variant=VARIANT)
def wrong_version(ctx):
    """Versions outside the advertised range close; ApiVersions alone answers with error 35 and its range."""
    for key, version in ((wire.METADATA, 99), (wire.FETCH, -1), (wire.PRODUCE, 32767), (10, 7)):
        _expect(ctx, "kafka_version",
                lambda k=key, v=version: _send_and_see_close(ctx, wire.frame(wire.header(k, v) + bytes(16))))
    with ctx.connect() as s:
        keys, error = wire.api_versions(s, version=99)
        check(error == 35, "error %d instead of 35" % error)
        check(list(keys) == [18] and keys[18][1] >= 4, "keys %s" % keys)
        keys, error = wire.api_versions(s)
        check(error == 0 and len(keys) > 40, "the same connection then: error %d, %d keys" % (error, len(keys)))


@test("bad/malformed-body", needs=NEEDS, variant=VARIANT)
def malformed(ctx):
    """Right header, broken body: whoever finds it, the client sees a close and others are not harmed."""
    rng = random.Random(7)
    before = sum(ctx.drops().values())
    cases = [(wire.METADATA, 1, struct.pack(">i", 2 ** 31 - 1)), (wire.METADATA, 12, b"\xff" * 12),
             (10, 4, b"\x00\xff\xff\xff\xff\x0f"), (wire.FETCH, 12, bytes(7)), (wire.PRODUCE, 9, b"\x80" * 20)]
    for key, version, body in cases:
        data = wire.frame(wire.header(key, version) + (b"\x00" if version >= 9 or key == 10 else b"") + body)
        with ctx.connect() as s:
            s.sendall(data)
            ended, got = wire.closed(s, 8)
            check(ended or got, "key %d v%d: neither an answer nor a close" % (key, version))
    check(rng and sum(ctx.drops().values()) > before, "no drop reason rose")


@test("bad/truncated", needs=NEEDS, variant=VARIANT)
def truncated(ctx):
    """Clients that go away in the middle of a frame, after every number of bytes, by FIN and by RST."""
    whole = wire.metadata_request(5, ["truncated"])
    before = ctx.drops()
    for n in range(1, len(whole)):
        with ctx.connect() as s:
            s.sendall(whole[:n])
            if n % 2:
                s.shutdown(socket.SHUT_WR)
                check(wire.closed(s, 8)[0], "half a frame and a FIN: not closed")
            else:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    names = ("kafka_partial_frame", "client_reset")
    eventually("drop reasons for partial frames", lambda: sum(ctx.drops()[n] - before[n] for n in names) >= len(whole) - 1)


@test("bad/never-ending", needs=NEEDS, variant=VARIANT)
def never_ending(ctx):
    """A frame that begins and never goes on is closed after request_timeout_ms."""
    def act():
        start = time.monotonic()
        _send_and_see_close(ctx, wire.metadata_request(1, ["x"])[:9], timeout=8)
        took = time.monotonic() - start
        check(1.5 < took < 6, "closed after %.1f s, request_timeout_ms is 2000" % took)
    _expect(ctx, "kafka_request_stall", act)


@test("bad/byte-drip", needs=NEEDS, variant=VARIANT)
def byte_drip(ctx):
    """A byte every 100 ms does not keep a frame alive beyond request_timeout_ms."""
    def act():
        with ctx.connect() as s:
            data, start = wire.metadata_request(1, ["y" * 200]), time.monotonic()
            for b in data:
                try:
                    s.sendall(bytes([b]))
                except ConnectionError:
                    break
                s.settimeout(0.1)
                try:
                    if s.recv(100) == b"":
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            check(time.monotonic() - start < 6, "dripped for %.1f s" % (time.monotonic() - start))
    _expect(ctx, "kafka_request_stall", act)


@test("bad/no-such-node", needs=NEEDS, variant=VARIANT)
def no_such_node(ctx):
    """A node port without a broker, and a port that nothing owns."""
    port = headrace.NODE_PORT_BASE + NODE + 40

    def act():
        try:
            with ctx.connect(port, timeout=5) as s:
                check(wire.closed(s, 5)[0], "port %d stays open" % port)
        except ConnectionError:
            pass
    _expect(ctx, "unknown_node", act)

    def nothing():
        try:
            ctx.connect(4444, timeout=5).close()
            check(False, "port 4444 accepts")
        except ConnectionRefusedError:
            pass
    _expect(ctx, "tcp_no_listener", nothing)


@test("bad/idle", needs=NEEDS, variant=VARIANT)
def idle(ctx):
    """A connection without a byte ends after idle_timeout_ms."""
    def act():
        with ctx.connect() as s:
            wire.api_versions(s)
            start = time.monotonic()
            check(wire.closed(s, 15)[0], "an idle connection stays open")
            check(6 < time.monotonic() - start < 12, "closed after %.1f s, idle_timeout_ms is 8000" % (
                time.monotonic() - start))
    _expect(ctx, "idle_timeout", act, timeout=3)


@test("bad/half-open-flood", needs=NEEDS, variant=VARIANT)
def half_open(ctx):
    """SYNs whose handshake is never completed: bounded, answered by cookies, counted; who comes meanwhile is served."""
    count = 20000
    before = ctx.counters()["tcp_syn_cookie_tx"]
    ns = zone_ns(2)
    connected = ctx.connect(zone=1)
    env.run(env.in_ns(ns, ["iptables", "-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP"]))
    try:
        raw = netns.make(ns, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        src, dst = socket.inet_aton(net.client_addr(2)), socket.inet_aton(net.HEADRACE)
        segments = []
        for i in range(count):
            seg = bytearray(struct.pack(">HHIIBBHHH", 20000 + i, headrace.BOOTSTRAP_PORT, 1000 + i, 0, 5 << 4, 2, 65535, 0, 0))
            data = src + dst + struct.pack(">BBH", 0, 6, len(seg)) + seg
            total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
            total = (total >> 16) + (total & 0xFFFF)
            total += total >> 16
            seg[16:18] = struct.pack(">H", ~total & 0xFFFF)
            segments.append(bytes(seg))
        start = time.monotonic()
        for seg in segments:
            raw.sendto(seg, (net.HEADRACE, 0))
        rate = count / (time.monotonic() - start)
        half = headrace.gauges()["tcp_half_open"]
        raw.close()
        eventually("SYN cookies", lambda: ctx.counters()["tcp_syn_cookie_tx"] > before)
        check(half <= 64, "%d half-open connections, max_half_open is 64" % half)
        ctx.note("%d SYNs at %d/s: %d half-open, %d cookies" % (count, rate, half, ctx.counters()["tcp_syn_cookie_tx"] - before))
        check(wire.api_versions(connected)[1] == 0, "an open connection is not served beside the flood")
        connected.close()
        with ctx.connect(zone=1) as fresh:
            check(wire.api_versions(fresh)[1] == 0, "a new connection is not served while the backlog is full")
        check(ctx.counters()["tcp_syn_cookie_ok"] > 0, "it was not made from a cookie")
    finally:
        env.run(env.in_ns(ns, ["iptables", "-F"]))
    # The flood's source resets what it hears of from now on: with the next SYN-ACKs the places become free.
    with ctx.connect(zone=1, timeout=30) as s:
        check(wire.api_versions(s)[1] == 0, "no service after the flood")
    eventually("no half-open connection", lambda: headrace.gauges()["tcp_half_open"] == 0, 30)


@test("bad/connection-flood", needs=NEEDS, variant=VARIANT)
def connection_flood(ctx):
    """More connections than max_connections: the surplus is refused and counted, then everything is given back."""
    before, held = ctx.drops(), []
    try:
        for _ in range(500):
            try:
                held.append(ctx.connect(timeout=3))
            except OSError:
                pass
        names = ("session_limit", "listener_limit", "tcp_conn_limit")
        eventually("a limit's drop reason", lambda: sum(ctx.drops()[n] - before[n] for n in names) > 0)
        check(headrace.gauges()["sessions"] <= 400, "%d sessions, max_connections is 400" % headrace.gauges()["sessions"])
        for s in held[:20]:
            try:
                wire.api_versions(s)
            except (OSError, struct.error):
                continue
            break
        else:
            check(False, "none of the first connections works")
    finally:
        for s in held:
            s.close()
    eventually("sessions all closed", lambda: headrace.gauges()["sessions"] == 0, timeout=20)
    with ctx.connect() as s:
        check(wire.api_versions(s)[1] == 0, "no service after the flood")


@test("bad/memory-flat", needs=NEEDS, variant=VARIANT)
def memory_flat(ctx):
    """A thousand bad clients of all kinds leave no memory and no buffer behind, in both processes."""
    cases = [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">i", -5), wire.frame(wire.header(999, 0)),
             wire.frame(wire.header(wire.METADATA, 77)), wire.metadata_request(1)[:7], b"",
             wire.metadata_request(1) * 20]

    def burst(n):
        for i in range(n):
            try:
                with ctx.connect(timeout=5) as s:
                    s.sendall(cases[i % len(cases)])
            except OSError:
                pass
    burst(200)
    kids = headrace.children()
    eventually("sessions closed", lambda: headrace.gauges()["sessions"] == 0, 20)
    before = {k: headrace.rss_kb(p) for k, p in kids.items()}
    burst(800)
    eventually("sessions closed", lambda: headrace.gauges()["sessions"] == 0, 20)
    after = {k: headrace.rss_kb(p) for k, p in kids.items()}
    for k in kids:
        check(after[k] <= before[k] + 1024, "%s grew from %d to %d KB" % (k, before[k], after[k]))
    eventually("buffers given back", lambda: headrace.gauges()["bufs_held"] == 0, 20)
    ctx.note("dataplane %d KB, control plane %d KB" % (after["dataplane"], after["controlplane"]))


@test("bad/pipelining", needs=NEEDS, variant=VARIANT)
def pipelining(ctx):
    """Not bad, but rough: 3,000 requests without reading, in odd pieces; answers come complete and in order."""
    n = 3000
    with ctx.connect(timeout=60) as s:
        data = b"".join(wire.metadata_request(i) if i % 3 else wire.frame(wire.header(wire.API_VERSIONS, 0, i))
                        for i in range(n))
        got, errors = [], []

        def read():
            try:
                for _ in range(n):
                    got.append(struct.unpack(">i", recv_frame(s)[:4])[0])
            except OSError as e:
                errors.append(repr(e))
        t = threading.Thread(target=read)
        rng, at = random.Random(3), 0
        started = False
        while at < len(data):
            step = rng.choice((1, 2, 3, 5, 100, 1448, 9000))
            s.sendall(data[at:at + step])
            at += step
            if not started and at > len(data) // 4:
                t.start()
                started = True
        t.join(60)
    check(not errors and got == list(range(n)), "answers: %d, first wrong at %s, %s" % (
        len(got), next((i for i, g in enumerate(got) if g != i), None), errors))


@test("bad/payload-scan-works", needs=("kafka",), scan=False)
def scan_works(ctx):
    """The leak scan finds what it is meant to find: names and addresses, also across two segments."""
    from framework import capture
    folder = env.VAR + "/scan-check"
    os.makedirs(folder, exist_ok=True)
    path = folder + "/x.pcap"
    for secret in kafka.secrets():
        for cut in (0, len(secret) // 2):
            stream = b"abc" * 50 + secret + b"xyz" * 50
            at = 150 + cut
            with open(path, "wb") as f:
                f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
                for seq, data in ((1000, stream[:at]), (1000 + at, stream[at:])):
                    p = bytes(14) + struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0, bytes(4), bytes(4))
                    p += struct.pack(">HHIIBBHHH", 9092, 5, seq, 0, 5 << 4, 16, 100, 0, 0) + data
                    f.write(struct.pack("<IIII", 0, 0, len(p), len(p)) + p)
            found, total = [], {"bytes": 0, "packets": 0}
            capture.scan(path, total, found, "x")
            check(found, "%r, cut at %d, was not found" % (secret, cut))
    os.unlink(path)
    os.rmdir(folder)

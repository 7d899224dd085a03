"""Logins in mid-session (KIP-368) with brokers whose logins last 8 s, and clients whose logins last for some time here.

A broker judges a request by when all of it is there: what a test sends near the end of a login it sends again, by
another connection, where the machine was too slow for it to be there in time."""

import struct
import threading
import time

from framework import wire
from framework.core import check, eventually, test
from rig import deps, headrace, kafka
from rig.env import ROOT
from rig.kafka import recv_frame

PROGRAMS = ROOT + "/tests/integration/clients"
CLIENT_LIFE_S = 15
BY_PASSWORD = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class _Client:
    """A raw connection that has logged in by PLAIN, and so has Headrace for it at the broker."""

    def __init__(self, ctx, node=None, user="carol"):
        self.sock = ctx.connect(headrace.NODE_PORT_BASE + (node or kafka.NODE_ID[1]), timeout=90)
        self.user, self.serial = user, 10
        by_iam = ctx.spec["variant"]["broker_auth"] == "AWS_MSK_IAM"
        self.life_s = (kafka.IAM_LIFETIME_MS if by_iam else kafka.SASL_LIFETIME_MS) / 1000  # of our login at the broker
        self.due_s = 0.85 * self.life_s
        error, self.lifetime_ms = self.login()
        check(error == 0, "login: error %d" % error)
        self.metadata()  # the session is there, and our login at the broker is over
        self.since = time.monotonic()

    def login(self, user=None):
        name = user or self.user
        return wire.login_plain(self.sock, name, headrace.CLIENT_USERS[name])

    def wait_until(self, seconds):
        """Since the login."""
        time.sleep(max(0, self.since + seconds - time.monotonic()))

    def age(self):
        return time.monotonic() - self.since

    def send(self, key, version, body):
        self.serial += 1
        self.sock.sendall(wire.frame(wire.header(key, version, self.serial) + body))
        return self.serial

    def receive(self, serial):
        got = recv_frame(self.sock)
        check(struct.unpack_from(">i", got)[0] == serial, "answer %d where %d is due" % (
            struct.unpack_from(">i", got)[0], serial))
        return got[4:]

    def ask(self, key, version, body):
        return self.receive(self.send(key, version, body))

    def send_metadata(self):
        return self.send(wire.METADATA, 1, struct.pack(">i", 0))

    def metadata(self):
        brokers = struct.unpack_from(">i", self.receive(self.send_metadata()))[0]
        check(brokers == 3, "%d brokers" % brokers)

    def shown(self):
        """What headracectl says of it."""
        port = self.sock.getsockname()[1]
        return [c for c in headrace.ctl("connections")["connections"] if c["client_port"] == port][0]

    def close(self):
        self.sock.close()

    def renewed(self):
        """Our login at the broker is a new one; that was all."""
        shown = self.shown()
        check(self.life_s > shown["broker_expires_s"] > 0, shown)
        self.close()


def _text(s):
    return struct.pack(">h", len(s)) + s.encode()


def _bytes(b):
    return struct.pack(">i", len(b)) + b


def _fetch(topic, wait_ms, partition=0):
    """Fetch v4 that waits for what never comes."""
    return (struct.pack(">iiiib", -1, wait_ms, 1, 1 << 20, 0) + struct.pack(">i", 1) + _text(topic)
            + struct.pack(">iiqi", 1, partition, 0, 1 << 20))


def _crc32c(data, zeros):
    """Of data and so many zeros behind it."""
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    crc = 0xFFFFFFFF
    for b in data:
        crc = crc >> 8 ^ table[(crc ^ b) & 255]

    def times(matrix, vector):
        out = 0
        for bit in range(32):
            if vector >> bit & 1:
                out ^= matrix[bit]
        return out
    step = [table[1 << b] if b < 8 else 1 << (b - 8) for b in range(32)]  # one zero byte; then 2, 4, 8, ...
    while zeros:
        if zeros & 1:
            crc = times(step, crc)
        step = [times(step, v) for v in step]
        zeros >>= 1
    return crc ^ 0xFFFFFFFF


def _varint(n):
    n = n << 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def _batch_head(zeros):
    """A record batch with one record, whose value are so many zeros: all that stands before them. Its end is a zero,
    too: how many headers there are."""
    record = b"\0\0\0\1" + _varint(zeros)  # attributes, time, offset, no key
    record = _varint(len(record) + zeros + 1) + record
    covered = struct.pack(">hiqqqhii", 0, 0, 1700000000000, 1700000000000, -1, -1, -1, 1) + record
    return (struct.pack(">qiib", 0, 9 + len(covered) + zeros + 1, -1, 2)
            + struct.pack(">I", _crc32c(covered, zeros + 1)) + covered)


# -- what a session does while a login at its broker falls due ------------------------------------------------------


def _long_poll(ctx, topic, wait_s=9):
    """A request behind a Fetch that is answered when our login has expired."""
    c = _Client(ctx, kafka.leader(topic))
    c.wait_until(2)
    fetch = c.send(wire.FETCH, 4, _fetch(topic, int(wait_s * 1000)))
    c.wait_until(c.due_s + 0.7)
    metadata = c.send_metadata()
    c.receive(fetch)
    check(c.age() > c.life_s, "the Fetch was answered after %.1f s" % c.age())
    check(struct.unpack_from(">i", c.receive(metadata))[0] == 3, "brokers")
    c.renewed()


def _join(ctx, hold_s):
    """A request behind a JoinGroup that waits for a member that does not come back."""
    group = ctx.name("reauth")

    def find(c):
        got = c.ask(10, 1, _text(group) + b"\0")
        error, n = struct.unpack_from(">hh", got, 4)
        return error, struct.unpack_from(">i", got, 8 + max(n, 0))[0]

    def join(member=""):
        ms = int(hold_s * 1000)
        return (_text(group) + struct.pack(">ii", max(ms, 30000), ms) + _text(member) + _text("consumer")
                + struct.pack(">i", 1) + _text("range") + _bytes(struct.pack(">hi", 0, 0) + _bytes(b"")))
    scout = _Client(ctx)
    eventually("a coordinator", lambda: find(scout)[0] == 0, 60, 0.2)
    node = find(scout)[1]
    first, c = _Client(ctx, node), _Client(ctx, node)
    eventually("the first member", lambda: struct.unpack_from(">h", first.ask(11, 2, join()), 4)[0] == 0, 60, 0.2)
    c.wait_until(0)
    begun = c.age()
    joined = c.send(11, 2, join())
    c.wait_until(c.due_s + 0.7)
    metadata = c.send_metadata()
    error = struct.unpack_from(">h", c.receive(joined), 4)[0]
    check(error == 0 and c.age() - begun > hold_s - 1, "JoinGroup: error %d after %.1f s" % (error, c.age() - begun))
    check(struct.unpack_from(">i", c.receive(metadata))[0] == 3, "brokers")
    scout.close(), first.close()
    c.renewed()


def _idle(ctx):
    """Nothing happens while nothing is asked for; the first request is behind a login."""
    c = _Client(ctx)
    c.wait_until(c.life_s + 1.5)
    shown = c.shown()
    check(shown["broker_expires_s"] <= 0 and shown["broker_reauth_s"] <= 0, shown)
    c.metadata()
    check(c.shown()["requests"] == 2, c.shown())
    c.renewed()


def _produce(ctx, topic, size=40_000_000, tries=4):
    """A frame during which our login falls due, and a request that is sent behind it at once."""
    node = kafka.leader(topic)
    head, piece = _batch_head(size), bytes(200_000)
    for _ in range(tries):
        c = _Client(ctx, node)
        c.wait_until(c.due_s - 1.5)
        c.sock.sendall(wire.produce_head(topic, -1, len(head) + size + 1, 5) + head)
        left = size + 1
        while left:
            n = min(left, len(piece))
            c.sock.sendall(piece[:n])
            left -= n
            c.wait_until(c.due_s - 1.5 + 2.2 * (1 - left / size))
        metadata = c.send_metadata()
        ended = c.age()
        if ended > c.life_s - 0.1:
            c.close()
            continue
        check(ended > c.due_s, "the frame ended before the login was due")
        got = c.receive(5)
        error, offset = struct.unpack_from(">hq", got, 4 + 2 + len(topic) + 4 + 4)
        check(error == 0 and offset >= 0, "Produce: error %d" % error)
        check(struct.unpack_from(">i", c.receive(metadata))[0] == 3, "brokers")
        c.renewed()
        return
    raise AssertionError("no frame of %d bytes was at the broker in time" % size)


def _steady(ctx):
    """Requests one after the other, over two lives of a login."""
    c, n = _Client(ctx), 0
    while c.age() < 1.5 * c.life_s:
        c.metadata()
        n += 1
    check(n > 20, "%d requests" % n)
    c.renewed()


def _all_of(jobs):
    """Runs each in a thread of its own: what they return. The first that fails is raised."""
    done, failed = [None] * len(jobs), []

    def run(i):
        try:
            done[i] = jobs[i]()
        except BaseException as e:
            failed.append(e)
    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(jobs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(180)
    if failed:
        raise failed[0]
    check(not any(t.is_alive() for t in threads), "a connection got no answer")
    return done


def _topics(ctx):
    """For records of 40 MB, and for none. Before any thread: whoever asks first starts the JVM that makes them."""
    return ctx.topic("reauth", 1, max_message_bytes=64 << 20), ctx.topic("reauth-empty", 1)


def _brokers(ctx, hold_s, topics=None):
    topic, empty = topics or _topics(ctx)
    before = ctx.counters()["auth_brokers"]
    jobs = [lambda: _long_poll(ctx, empty), lambda: _join(ctx, hold_s), lambda: _idle(ctx),
            lambda: _produce(ctx, topic), lambda: _steady(ctx)]
    _all_of(jobs)
    renewed = ctx.counters()["auth_brokers"] - before
    check(renewed >= len(jobs), "%d logins in mid-session" % renewed)
    ctx.note("%d logins to brokers in mid-session: behind Fetch, JoinGroup of %d s, in a Produce of 40 MB, idle, steady"
             % (renewed, hold_s))


# -- clients whose own login ends ------------------------------------------------------------------------------------


def _principal(ctx):
    """It may log in again as itself, as nobody else."""
    c = _Client(ctx)
    check(c.lifetime_ms == CLIENT_LIFE_S * 1000, "a login lasts %d ms" % c.lifetime_ms)
    c.wait_until(3)
    check(c.login() == (0, CLIENT_LIFE_S * 1000), "the login in mid-session was refused")
    c.metadata()
    check(c.shown()["client_reauth_s"] > CLIENT_LIFE_S - 3, c.shown())
    error, _ = c.login("team-a-1")
    check(error == 58, "error %d for another principal" % error)
    closed, rest = wire.closed(c.sock)
    check(closed and not rest, "the connection goes on as somebody else")


def _expired(ctx):
    """Who does not log in again is closed when it asks for something; a login is still let in."""
    c, late = _Client(ctx), _Client(ctx)
    late.wait_until(CLIENT_LIFE_S + 0.5)
    check(late.login()[0] == 0, "no login after the old one's end")
    late.metadata()
    before = ctx.drops()["auth_expired"]
    c.send_metadata()
    closed, rest = wire.closed(c.sock)
    check(closed and not rest, "a request was answered after the login's end")
    check(ctx.drops()["auth_expired"] > before, "it is not counted")
    late.close()


def _librdkafka(ctx, topic, seconds):
    r = ctx.run(1, [deps.venv(), PROGRAMS + "/reauth.py", ctx.bootstrap, topic, str(seconds), "security.protocol=sasl_plaintext",
                    "sasl.mechanism=SCRAM-SHA-512", "sasl.username=carol", "sasl.password=" + headrace.CLIENT_USERS["carol"]])
    check(r["records"] == r["sent"] > 50 and r["lost"] == 0 and not r["errors"], r)
    return r["client"]


def _java(ctx, topic, seconds):
    r = ctx.java().call("reauth", bootstrap=ctx.bootstrap, topic=topic, seconds=seconds, **{
        "conf.security.protocol": "SASL_PLAINTEXT", "conf.sasl.mechanism": "SCRAM-SHA-256",
        "conf.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"carol\" "
                                 "password=\"%s\";" % headrace.CLIENT_USERS["carol"]})
    check(r["reauthenticated"] > 0 and r["refused"] == 0 and r["records"] > 50, r)
    return r


def _clients(ctx, topic):
    before, seconds = ctx.counters()["auth_clients"], CLIENT_LIFE_S + 3
    got = _all_of([lambda: _principal(ctx), lambda: _expired(ctx), lambda: _librdkafka(ctx, topic, seconds),
                   lambda: _java(ctx, topic, seconds)])
    renewed = ctx.counters()["auth_clients"] - before
    ctx.note("%d logins of clients in mid-session; %s, Java %d" % (renewed, got[2], got[3]["reauthenticated"]))
    check(renewed > 2 + got[3]["reauthenticated"], "librdkafka did not log in again: %d in all" % renewed)


@test("reauth/both", needs=("kafka", "headrace"),
      variant={"auth": BY_PASSWORD, "broker_auth": "SCRAM-SHA-512", "auth_more": "session_lifetime_s = %d;" % CLIENT_LIFE_S})
def both(ctx):
    """Logins that end on both legs: at the brokers after 8 s, of the clients after 15 s."""
    topics, topic = _topics(ctx), ctx.topic("reauth")
    _all_of([lambda: _brokers(ctx, 9, topics), lambda: _clients(ctx, topic)])


@test("reauth/long-join", needs=("kafka", "headrace"), variant={"auth": BY_PASSWORD, "broker_auth": "SCRAM-SHA-512"}, suite="all",
      extra_versions=("3.9.2",))
def long_join(ctx):
    _brokers(ctx, 60)


@test("reauth/plain", needs=("kafka", "headrace"), variant={"auth": BY_PASSWORD, "broker_auth": "PLAIN"}, suite="all")
def plain(ctx):
    _brokers(ctx, 9)


@test("reauth/msk-iam", needs=("kafka", "headrace"), variant={"auth": BY_PASSWORD, "broker_auth": "AWS_MSK_IAM"}, suite="all")
def msk_iam(ctx):
    """The mock tells a lifetime of its own, as MSK does."""
    _brokers(ctx, 9)


@test("reauth/oauth", needs=("kafka", "headrace"), variant={"auth": BY_PASSWORD, "broker_auth": "OAUTHBEARER"}, suite="all")
def oauth(ctx):
    _brokers(ctx, 9)

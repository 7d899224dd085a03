"""TLS on the client leg, on the broker leg and on both: clients that others wrote, and peers that mean no good.

The variant's brokers are spoken to over TLS, and its keys change each 200 records, so that every load here runs over
KeyUpdates. Python's ssl, which the hostile clients are made of, is OpenSSL; clients bring Java's, Go's and Node's own.
"""

import concurrent.futures
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import time

from framework import keyscan, records, wire
from framework.core import check, eventually, test
from framework.load import Load
from framework.records import V12, V13, Client
from rig import deps, env, headrace, kafka, net, netns, tls
from rig.env import LOGS, ROOT, zone_ns

NEEDS = ("kafka", "headrace")
PROGRAMS = ROOT + "/tests/integration/clients"
REKEY = 200
BOTH_LEGS = {"tls": True, "broker_tls": "tls", "limits": "tls_rekey_records = %d;" % REKEY,
             "listener_tls": "handshake_timeout_ms = 3000;"}
CLIENT_LEG = dict(BOTH_LEGS, broker_tls=None)
BROKERS_WANT_CERTIFICATES = dict(BOTH_LEGS, broker_tls="mtls")
LOGGED_IN = dict(BOTH_LEGS, broker_tls="mtls", broker_auth="PLAIN", limits="")
# How a client speaks: port of bootstrap, whether it has a certificate.
WAYS = {"tls": (headrace.TLS_PORT, None), "mtls": (headrace.MTLS_PORT, "alice"), "sni": (headrace.SNI_PORT, None),
        "sni-mtls": (headrace.SNI_PORT, "alice")}


def _bootstrap(way):
    return "%s:%d" % (net.CLIENT_NAME, WAYS[way][0])


def _java_args(way):
    return dict({"conf." + k: v for k, v in tls.java(WAYS[way][1]).items()}, bootstrap=_bootstrap(way))


def _handshakes(leg="clients"):
    return headrace.ctl("tls")[leg]


def _reasons(leg="clients"):
    """Failed handshakes by reason."""
    return {f["reason"]: f["count"] for f in _handshakes(leg)["failed"]}


# --- clients that others wrote -------------------------------------------------------------------------------------

def _java(ctx, way, topic):
    r = ctx.java().call("produce_consume", topic=topic, compression="lz4", count=500, **_java_args(way))
    check(r["records"] == 500, r)
    return "Java"


def _old_java(ctx, way, topic):
    r = ctx.java(deps.OLD_CLIENT).call("produce_consume", topic=topic, compression="none", count=300, **_java_args(way))
    check(r["records"] == 300, r)
    return "Java " + deps.OLD_CLIENT


def _program(ctx, argv, way, records_, environ=None):
    r = ctx.run(1, argv, env=dict(tls.environ(WAYS[way][1]), **(environ or {})))
    check(r["records"] == records_, r)
    return r["client"].split(",")[0]


def _librdkafka_args(way):
    return ["%s=%s" % kv for kv in tls.librdkafka(WAYS[way][1]).items()]


def _confluent(ctx, way, topic):
    return _program(ctx, [deps.venv(), PROGRAMS + "/confluent.py", _bootstrap(way), topic, "60"] + _librdkafka_args(way), way, 300)


def _kafka_python(ctx, way, topic):
    return _program(ctx, [deps.venv(), PROGRAMS + "/kafkapython.py", _bootstrap(way), topic, "300"], way, 300)


def _kafkajs(ctx, way, topic):
    return _program(ctx, ["node", PROGRAMS + "/kafkajs.js", _bootstrap(way), topic, "300"], way, 300,
                    {"NODE_PATH": deps.node_modules() + "/node_modules"})


def _go(name):
    def run(ctx, way, topic):
        return _program(ctx, [deps.go_program(name, "%s/go/%s/main.go" % (PROGRAMS, name)), _bootstrap(way), topic, "300"],
                        way, 300)
    return run


def _kcat(ctx, way, topic):
    lines = ["key%d\tvalue %d %s" % (i, i, "z" * (i % 500)) for i in range(300)]
    common = ["-b", _bootstrap(way), "-t", topic, "-K", "\t"] + [w for s in _librdkafka_args(way) for w in ("-X", s)]
    env.run(env.in_ns(zone_ns(1), ["kcat", "-P", "-z", "zstd", "-X", "acks=all"] + common), stdin=None,
            input="\n".join(lines) + "\n", timeout=60)
    got = env.run(env.in_ns(zone_ns(1), ["kcat", "-C", "-e", "-q", "-o", "beginning"] + common),
                  timeout=60).stdout.splitlines()
    check(sorted(got) == sorted(lines), "%d lines came back, of %d" % (len(got), len(lines)))
    return "kcat"


CLIENTS = {"java": _java, "confluent": _confluent, "kcat": _kcat, "kafka-python": _kafka_python, "kafkajs": _kafkajs,
           "franz": _go("franz"), "sarama": _go("sarama"), "java282": _old_java}


def _run_clients(ctx, pairs):
    """[(client, way)], three at a time: most of their time they wait for groups to form."""
    topics = [ctx.topic("%s-%s" % p) for p in pairs]
    before = _handshakes()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        said = list(pool.map(lambda p, t: "%s by %s" % (CLIENTS[p[0]](ctx, p[1], t), p[1]), pairs, topics))
    check(_handshakes()["done"] >= before["done"] + 3 * len(pairs), "hardly a handshake: was it TLS?")
    ctx.note(", ".join(said))


@test("tls/clients", needs=NEEDS, variant=BOTH_LEGS, scan=False)
def clients(ctx):
    """Each kind of client once, over both legs; certificates of clients and names of brokers in turns."""
    _run_clients(ctx, [("java", "sni-mtls"), ("confluent", "mtls"), ("kcat", "tls"), ("kafka-python", "sni"),
                       ("kafkajs", "mtls"), ("franz", "sni-mtls"), ("sarama", "tls")])


def _register_clients():
    for leg, variant in (("both", BOTH_LEGS), ("client", CLIENT_LEG), ("mtls-brokers", BROKERS_WANT_CERTIFICATES)):
        for way in WAYS:
            @test("tls/clients-%s-%s" % (leg, way), needs=NEEDS, variant=variant, suite="all", extra_versions=("3.9.2",))
            def each(ctx, way=way):
                _run_clients(ctx, [(c, way) for c in CLIENTS])


_register_clients()


@test("tls/plain-clients", needs=NEEDS, variant=BOTH_LEGS)
def plain_clients(ctx):
    """Plaintext from clients, TLS to brokers."""
    before = _handshakes("brokers")["done"]
    r = ctx.java().call("produce_consume", bootstrap=ctx.bootstrap, topic=ctx.topic("plain"), compression="none", count=300)
    check(r["records"] == 300, r)
    check(_handshakes("brokers")["done"] > before, "no handshake with a broker")


@test("tls/records-40mb", needs=NEEDS, variant=BOTH_LEGS, scan=False)
def big(ctx):
    """One record of 40 MB there and back, equal byte for byte, over many key updates on both legs."""
    before = ctx.counters()
    r = ctx.java().call("sizes", topic=ctx.topic("sizes", 1, max_message_bytes=64 << 20), sizes="1,16384,40000000",
                        timeout=200, **_java_args("tls"))
    after = ctx.counters()
    updates = after["tls_key_updates_tx"] - before["tls_key_updates_tx"]
    answered = after["tls_key_updates_rx"] - before["tls_key_updates_rx"]
    ctx.note("%.0f MB in %.1f s, %d key updates sent, %d received" % (r["bytes"] / 1e6, r["seconds"], updates, answered))
    check(updates >= 2 * 40000000 // 16384 // REKEY, "%d key updates" % updates)
    check(answered > 0, "nobody else changed a key")


@test("tls/loss", needs=NEEDS, variant=BOTH_LEGS, suite="all", scan=False)
def loss(ctx):
    """5 % loss each way on both legs, then a record of 50 MB at 1 %."""
    with Load(ctx, pause_us=2000, **_java_args("tls")) as load:
        net.loss(5)
        try:
            load.wait_for_more(1500, 200)
        finally:
            net.loss(0)
    net.loss(1)
    try:
        ctx.java().call("sizes", topic=ctx.topic("sizes", 1, max_message_bytes=64 << 20), sizes="1000000,50000000",
                        timeout=280, **_java_args("mtls"))
    finally:
        net.loss(0)


# --- handshakes that fail ------------------------------------------------------------------------------------------

def _refused(ctx, reason, attempt):
    """The attempt fails, and for this reason: counted, in the log, and nobody else is harmed."""
    before = _reasons().get(reason, 0)
    ended = False
    try:
        attempt()
    except (OSError, ssl.SSLError):
        ended = True
    check(ended, "%s: the attempt succeeded" % reason)
    eventually("reason %s" % reason, lambda: _reasons().get(reason, 0) > before, 10)


def _service(ctx, port=headrace.TLS_PORT, **how):
    with Client(ctx, port, records.context(**how)).handshake() as c:
        check(wire.api_versions(c)[1] == 0, "no service")


def _attempt(ctx, port, name=net.CLIENT_NAME, **how):
    """A whole handshake and one request: TLS 1.3 clients hear of a refusal after theirs."""
    with Client(ctx, port, records.context(**how), name) as c:
        c.handshake()
        wire.api_versions(c)


def _say(ctx, data, port=headrace.TLS_PORT, fin=False):
    """Bytes instead of a handshake, and what comes of them."""
    with ctx.connect(port) as s:
        s.sendall(data)
        if fin:
            s.shutdown(socket.SHUT_WR)
        ended, got = wire.closed(s, 15)
        check(ended, "the connection stays open; it answered %r" % got[:60])
    raise ConnectionError("closed")


def _log():
    with open(LOGS + "/headrace.log", errors="replace") as f:
        return f.read()


@test("tls/refused", needs=NEEDS, variant=BOTH_LEGS)
def refused(ctx):
    """Each way to be refused has its name, in the counters and in the log."""
    mtls, sni = headrace.MTLS_PORT, headrace.SNI_PORT
    _refused(ctx, "expired", lambda: _attempt(ctx, mtls, client="expired"))
    _refused(ctx, "revoked", lambda: _attempt(ctx, mtls, client="revoked", version=V12))
    _refused(ctx, "unknown_ca", lambda: _attempt(ctx, mtls, client="stranger"))
    _refused(ctx, "no_certificate", lambda: _attempt(ctx, mtls))
    _refused(ctx, "revoked", lambda: _attempt(ctx, sni, client="revoked"))  # optional is not indifferent
    _refused(ctx, "unrecognized_name", lambda: _attempt(ctx, sni, "nobody." + net.CLIENT_NAME))
    _refused(ctx, "unrecognized_name", lambda: _attempt(ctx, sni, "b999." + net.CLIENT_NAME, version=V12))
    _refused(ctx, "no_name", lambda: _attempt(ctx, sni, None))
    _refused(ctx, "peer_alert", lambda: _attempt(ctx, headrace.TLS_PORT, ca="other"))
    _refused(ctx, "protocol_version",
             lambda: _attempt(ctx, headrace.TLS_PORT, version=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0"))
    _refused(ctx, "no_shared_cipher", lambda: _attempt(ctx, headrace.TLS_PORT, version=V12, ciphers="AES128-SHA"))
    _refused(ctx, "not_tls", lambda: _say(ctx, wire.metadata_request(1)))
    _refused(ctx, "closed", lambda: _say(ctx, b"\x16\x03\x01\x02\x00\x01", fin=True))
    _refused(ctx, "timeout", lambda: _say(ctx, b"\x16\x03\x01\x02\x00\x01"))
    log = _log()
    for reason in ("expired", "revoked", "unknown_ca", "no_certificate", "unrecognized_name", "no_name", "peer_alert",
                   "protocol_version", "no_shared_cipher", "not_tls", "closed", "timeout"):
        check(" failed: %s: " % reason in log, "the log does not name %s" % reason)
    check(not re.search(r"PRIVATE KEY|[0-9a-f]{64}", log), "the log shows more than it should")
    for port, client in WAYS.values():
        _service(ctx, port, client=client)


def _mutations(record):
    """What may come instead of a record of a handshake."""
    body = len(record) - records.HEADER
    yield "other bytes", record[:records.HEADER] + bytes((b ^ 0x55) & 0xff for b in record[records.HEADER:])
    if record[0] != records.DATA:
        yield "data too early", b"\x17\x03\x03" + struct.pack(">H", body) + record[records.HEADER:]
    yield "too long", record[:3] + struct.pack(">H", 0x4801) + bytes(0x4801)
    yield "no type", b"\x63" + record[1:]
    yield "cut short", record[:max(1, len(record) // 2)]
    yield "empty", record[:3] + b"\x00\x00"


@test("tls/garbage", needs=NEEDS, variant=BOTH_LEGS, scan=False)
def garbage(ctx):
    """Every record of a client's handshake in turn is replaced by something else: named, ended, and nobody harmed."""
    tried = 0
    with Client(ctx, headrace.TLS_PORT, records.context()).handshake() as witness:
        for version, client in ((V13, "alice"), (V12, "alice")):
            flights = []
            with Client(ctx, headrace.MTLS_PORT, records.context(client, version)) as c:
                c.handshake(lambda flight: flights.append(records.split(flight)) or flight)
            for k in range(sum(map(len, flights))):
                seen = [0]

                def edit(flight, change=None):
                    out = b""
                    for record in records.split(flight):
                        out += dict(_mutations(record))[change] if seen[0] == k else record
                        seen[0] += 1
                    return out
                for change in [name for name, _ in _mutations([r for f in flights for r in f][k])]:
                    seen[0] = 0
                    before = sum(_reasons().values())
                    with Client(ctx, headrace.MTLS_PORT, records.context(client, version)) as c:
                        try:
                            c.handshake(lambda flight: edit(flight, change))
                            check(wire.closed(c.sock, 15)[0], "record %d, %s: not ended" % (k, change))
                        except (OSError, ssl.SSLError):
                            pass
                    tried += 1
                    eventually("record %d (%s), %s: a reason" % (k, version.name, change),
                               lambda: sum(_reasons().values()) > before, 10)
        check(wire.api_versions(witness)[1] == 0, "an open connection suffered")
    check(_handshakes()["done"] > 0 and "internal" not in _reasons(), "reasons: %s" % _reasons())
    ctx.note("%d broken handshakes: %s" % (tried, _reasons()))


# --- records ---------------------------------------------------------------------------------------------------------

def _ends(ctx, reason, act, **how):
    """An open connection on which act sends what it should not: it ends, for this reason."""
    before = ctx.drops()[reason]
    with Client(ctx, headrace.TLS_PORT, records.context(**how)).handshake() as c:
        check(wire.api_versions(c)[1] == 0, "no service")
        try:
            act(c)
        except ConnectionError:
            pass
        check(wire.closed(c.sock, 10)[0], "%s: the connection stays open" % reason)
    eventually("drop reason %s" % reason, lambda: ctx.drops()[reason] > before, 10)


@test("tls/records", needs=NEEDS, variant=BOTH_LEGS)
def hostile_records(ctx):
    """Replayed, altered, reordered, cut, oversize and forged records after the handshake."""
    request = wire.metadata_request(5)

    def replay(c):
        record = c.sealed(request)
        c.sock.sendall(record + record)

    def reorder(c):
        first, second = c.sealed(request), c.sealed(request)
        c.sock.sendall(second + first)

    def alter(c):
        record = bytearray(c.sealed(request))
        record[-1] ^= 1
        c.sock.sendall(record)

    def cut(c):
        c.sock.sendall(c.sealed(request)[:-3])
        c.sock.shutdown(socket.SHUT_WR)

    def lose(c):
        c.sealed(request)
        c.sock.sendall(c.sealed(request))

    for version in (V12, V13):
        for reason, act in (("tls_bad_record_mac", replay), ("tls_bad_record_mac", reorder), ("tls_bad_record_mac", alter),
                            ("tls_bad_record_mac", lose), ("tls_truncated", cut)):
            _ends(ctx, reason, act, version=version)
        most = 16384 + (256 if version == V13 else 2048)
        _ends(ctx, "tls_record_overflow",
              lambda c: c.sock.sendall(b"\x17\x03\x03" + struct.pack(">H", most + 1) + bytes(100)), version=version)
        _ends(ctx, "tls_bad_record_mac",
              lambda c: c.sock.sendall(b"\x17\x03\x03" + struct.pack(">H", 16384) + bytes(16384)), version=version)
    _ends(ctx, "tls_unexpected", lambda c: c.sock.sendall(b"\x16\x03\x03\x00\x04\x01\x00\x00\x00"), version=V13)
    _service(ctx)


@test("tls/ends", needs=NEEDS, variant=BOTH_LEGS)
def ends(ctx):
    """A FIN without close_notify where a frame ends is an end; inside a frame, or a record, it is a reset."""
    for version in (V12, V13):
        for orderly in (True, False):
            before, drops = ctx.counters(), ctx.drops()
            with Client(ctx, headrace.TLS_PORT, records.context(version=version)).handshake() as c:
                check(wire.api_versions(c)[1] == 0, "no service")  # tickets have come with it
                c.sendall(wire.frame(wire.header(wire.API_VERSIONS, 0, 7)))
                if orderly:
                    c.goodbye()
                c.sock.shutdown(socket.SHUT_WR)
                ended, got = wire.closed(c.sock, 10)
                got = records.split(got)
                check(ended and len(got) == 2, "wanted an answer, close_notify and an end, got %s" % [r[:5] for r in got])
                check(got[0][0] == records.DATA and len(got[0]) > 100, "the last answer is missing")
            name = "tls_close_notify_rx" if orderly else "tls_fin_bare"
            eventually(name, lambda: ctx.counters()[name] > before[name], 10)
            check(orderly or ctx.drops()["kafka_partial_frame"] == drops["kafka_partial_frame"], "an end was no end")
    for data in (wire.metadata_request(9)[:7], b"\x00\x00"):
        before = ctx.drops()["kafka_partial_frame"]
        with Client(ctx, headrace.TLS_PORT, records.context()).handshake() as c:
            check(wire.api_versions(c)[1] == 0, "no service")
            c.sendall(data)
            c.sock.shutdown(socket.SHUT_WR)
            check(wire.closed(c.sock, 10)[0], "not closed")
        eventually("kafka_partial_frame", lambda: ctx.drops()["kafka_partial_frame"] > before, 10)


@test("tls/resumption", needs=NEEDS, variant=BOTH_LEGS)
def resumption(ctx):
    """Tickets work on their listener and under their name, and nowhere else."""
    for version in (V12, V13):
        context = records.context("alice", version)

        def talk(port, name, session, resumed):
            before = _handshakes()["resumed"]
            with Client(ctx, port, context, name, session).handshake() as c:
                check(wire.api_versions(c)[1] == 0, "no service")
                check(c.tls.session_reused == resumed, "%s port %d name %s: resumed: %s" % (version.name, port, name, not resumed))
                session = c.tls.session
            check((_handshakes()["resumed"] > before) == resumed, "not counted")
            return session
        session = talk(headrace.SNI_PORT, net.CLIENT_NAME, None, False)
        session = talk(headrace.SNI_PORT, net.CLIENT_NAME, session, True)
        talk(headrace.SNI_PORT, "b%d.%s" % (kafka.NODE_ID[1], net.CLIENT_NAME), session, False)
        talk(headrace.TLS_PORT, net.CLIENT_NAME, session, False)


def _s_client(*args, port=headrace.TLS_PORT, **kw):
    argv = ["openssl", "s_client", "-connect", "%s:%d" % (net.HEADRACE, port), "-servername", net.CLIENT_NAME, "-CAfile",
            tls.path("ca.crt"), "-verify_return_error"] + list(args)
    return subprocess.Popen(env.in_ns(zone_ns(1), argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, **kw)


def _until(p, text, what):
    """Reads a program's output up to a text; what came before it."""
    got = b""
    while text not in got:
        more = os.read(p.stdout.fileno(), 65536)
        check(more, "%s: it ended with %r" % (what, got[-300:]))
        got += more
    return got


@test("tls/key-updates", needs=NEEDS, variant=BOTH_LEGS)
def key_updates(ctx):
    """openssl s_client changes its keys, and asks for ours; TLS 1.2 is refused a renegotiation."""
    request = wire.frame(wire.header(wire.API_VERSIONS, 0, 7))
    before = ctx.counters()
    with _s_client("-tls1_3") as p:
        _until(p, b"Verify return code: 0 (ok)", "the handshake")
        for command in (b"k\n", b"K\n", b"K\n", b"k\n"):
            p.stdin.write(command)
            p.stdin.flush()
            _until(p, b"KEYUPDATE", "a key update")
            p.stdin.write(request)
            p.stdin.flush()
            _until(p, b"\x00\x00\x00\x07\x00\x00", "an answer")
        p.stdin.close()
    after = ctx.counters()
    check(after["tls_key_updates_rx"] - before["tls_key_updates_rx"] >= 4, "key updates were not counted")
    check(after["tls_key_updates_tx"] - before["tls_key_updates_tx"] >= 2, "nobody answered")
    with _s_client("-tls1_2") as p:
        _until(p, b"Verify return code: 0 (ok)", "the handshake")
        p.stdin.write(b"R\n")
        p.stdin.flush()
        _until(p, b"no renegotiation", "a refusal")
        p.stdin.close()
    eventually("a refusal", lambda: ctx.counters()["tls_renegotiations_refused"] > before["tls_renegotiations_refused"], 10)


@test("tls/gnutls", needs=NEEDS, variant=CLIENT_LEG, suite="all", scan=False)
def gnutls(ctx):
    """Handshakes with an implementation that is not OpenSSL: versions, ciphers, groups, certificates of clients."""
    before = _handshakes()["done"]
    only = "NONE:+MAC-ALL:+COMP-NULL:+CTYPE-X509:"
    signs13, signs12 = "+SIGN-ALL:+VERS-TLS1.3", "+SIGN-ALL:+ECDHE-ECDSA:+ECDHE-RSA:+VERS-TLS1.2"
    kinds = ["%s+%s:+GROUP-%s:%s" % (only, cipher, group, signs)
             for cipher, group, signs in (("AES-128-GCM", "X25519", signs13), ("AES-256-GCM", "SECP256R1", signs13),
                                          ("CHACHA20-POLY1305", "X25519", signs13), ("AES-128-GCM", "SECP256R1", signs12),
                                          ("AES-256-GCM", "X25519:+GROUP-SECP256R1", signs12))]
    for client in (None, "alice"):
        own = ["--x509certfile", tls.path(client + ".crt"), "--x509keyfile", tls.path(client + ".key")] if client else []
        for kind in kinds:
            res = env.run(env.in_ns(zone_ns(1), [
                "gnutls-cli", "--port", str(headrace.MTLS_PORT if client else headrace.TLS_PORT), "--x509cafile",
                tls.path("ca.crt"), "--sni-hostname", net.CLIENT_NAME, "--verify-hostname", net.CLIENT_NAME, "--priority",
                kind] + own + [net.HEADRACE]), timeout=30, check=False)
            check(res.returncode == 0 and "Handshake was completed" in res.stdout, "%s: exit %d\n%s%s" % (
                kind, res.returncode, res.stdout[-600:], res.stderr[-300:]))
    eventually("handshakes counted", lambda: _handshakes()["done"] >= before + 2 * len(kinds))
    check("internal" not in _reasons(), _reasons())


# --- things that happen under load -----------------------------------------------------------------------------------

def _serial(ctx):
    """Of the certificate that a new client gets."""
    with Client(ctx, headrace.TLS_PORT, records.context(ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", version=V12)).handshake() as c:
        check(wire.api_versions(c)[1] == 0, "no service")
        return c.tls.getpeercert()["serialNumber"]


@test("tls/rotation", needs=NEEDS, variant=BOTH_LEGS, scan=False)
def rotation(ctx):
    """A certificate is replaced under load: new clients get the new one, open connections notice nothing."""
    before = _serial(ctx)
    with Load(ctx, **_java_args("mtls")) as load:
        with Client(ctx, headrace.TLS_PORT, records.context()).handshake() as old:
            check(wire.api_versions(old)[1] == 0, "no service")
            drops = ctx.drops()
            tls.issue("headrace", kafka.headrace_names(), ours=True)
            headrace.ctl("reload")
            eventually("the new certificate", lambda: _serial(ctx) != before, 20, 0.2)
            load.wait_for_more(300)
            check(wire.api_versions(old)[1] == 0, "an open connection suffered")
            ended = {k: v - drops[k] for k, v in ctx.drops().items() if v > drops[k] and k.startswith(("tls_", "broker_"))}
            check(not ended, "sessions ended: %s" % ended)


@test("tls/damaged-certificate", needs=NEEDS, variant=BOTH_LEGS, suite="all", scan=False)
def damaged(ctx):
    """A damaged file changes nothing, is named, and its repair is noticed."""
    path, serial = tls.path("headrace.crt"), _serial(ctx)
    with open(path) as f:
        good = f.read()

    def write(text):
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)
    write(good.replace("M", "?", 5))
    try:
        eventually("the trouble", lambda: path in str(headrace.ctl("certificates")["troubles"]), 20, 0.2)
        check(_serial(ctx) == serial, "another certificate")
    finally:
        write(good)
    eventually("no trouble", lambda: not headrace.ctl("certificates")["troubles"], 20, 0.2)
    check(_serial(ctx) == serial, "another certificate")


class _NoControlPlane:
    """Killed, and none comes for the length of the block: the launcher stands still."""

    def __enter__(self):
        self.top = env.pid_of("headrace")
        pid, gone = headrace.children()["controlplane"], _log().count("control plane gone")
        os.kill(self.top, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        eventually("the dataplane knows", lambda: _log().count("control plane gone") > gone, 10)
        return self

    def __exit__(self, *exc):
        os.kill(self.top, signal.SIGCONT)


def _service_soon(ctx):
    """As clients do: who was not served in time comes again."""
    end = time.monotonic() + 60
    while True:
        try:
            return _service(ctx)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@test("tls/control-plane-kill", needs=NEEDS, variant=BOTH_LEGS, restarts=True, scan=False)
def control_plane_kill(ctx):
    """kill -9 of the control plane under load: who is there goes on, who comes waits for the next one, or is reset."""
    with Load(ctx, **_java_args("tls")) as load, Client(ctx, headrace.TLS_PORT, records.context()).handshake() as old, \
            concurrent.futures.ThreadPoolExecutor(1) as pool:
        check(wire.api_versions(old)[1] == 0, "no service")
        dataplane = headrace.children()["dataplane"]
        with _NoControlPlane():
            with Client(ctx, headrace.TLS_PORT, records.context(), timeout=30) as c:
                try:
                    c.handshake()
                    check(False, "a handshake without a control plane")
                except OSError as e:
                    check(not isinstance(e, TimeoutError), "who waits in vain is not told")
            check(wire.api_versions(old)[1] == 0, "an open connection ended")
            load.wait_for_more(300)
            waits = pool.submit(_service_soon, ctx)
            load.wait_for_more(100)
            check(not waits.done(), "served by nobody")
        waits.result(90)
        eventually("ready again", _ready, 30)
        check(ctx.drops()["handshake_absent"] >= 1, "nobody was counted")
        load.wait_for_more(300)
        check(wire.api_versions(old)[1] == 0, "an open connection ended")
        check(headrace.children()["dataplane"] == dataplane, "the dataplane was restarted")


def _ready():
    try:
        return headrace.ctl("status", timeout=3)["ready"]
    except env.RigError:
        return False


@test("tls/flood", needs=NEEDS, variant=BOTH_LEGS, suite="all", scan=False)
def flood(ctx):
    """Half handshakes by the hundred from one address: bounded, counted, gone in time; others are served meanwhile."""
    hello = Client(ctx, headrace.TLS_PORT, records.context()).step()[1]
    pid = headrace.children()["controlplane"]
    rss = headrace.rss_kb(pid)
    with Load(ctx, least=200, **_java_args("tls")) as load:
        before, failed = ctx.drops(), sum(_reasons().values())
        half = []
        try:
            for i in range(600):
                s = netns.make(zone_ns(2), socket.AF_INET, socket.SOCK_STREAM)
                s.settimeout(5)
                half.append(s)
                try:
                    s.connect((net.HEADRACE, headrace.TLS_PORT))
                    s.sendall(hello if i % 2 else hello[:40])
                except OSError:
                    pass
            _service(ctx)
            load.wait_for_more(200)
            refused_ = sum(ctx.drops()[k] - before[k] for k in ("handshake_limit", "handshake_rate"))
            check(refused_ > 300, "only %d of 600 were refused" % refused_)
            grown = headrace.rss_kb(pid) - rss
            check(grown < 32768, "the control plane has grown by %d KiB" % grown)
            eventually("the end of all of them", lambda: sum(_reasons().values()) + refused_ >= failed + 600, 20, 0.2)
        finally:
            for s in half:
                s.close()
        ctx.note("%d of 600 refused at once, %d KiB for the others" % (refused_, grown))
    _service(ctx)


# --- what is in memory -----------------------------------------------------------------------------------------------

def _ticket():
    """One that openssl s_client was given, as it came."""
    path = env.RUN + "/session.pem"
    with _s_client("-tls1_2", "-sess_out", path) as p:
        _until(p, b"Verify return code: 0 (ok)", "the handshake")
        p.stdin.close()
        p.stdout.read()
    text = env.run(["openssl", "sess_id", "-in", path, "-noout", "-text"]).stdout
    os.unlink(path)
    rows = re.findall(r"^\s+[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -])+)", text.split("TLS session ticket:")[1], re.M)
    return bytes.fromhex(re.sub("[ -]", "", "".join(rows)))


@test("tls/memory", needs=NEEDS, variant=LOGGED_IN, restarts=True, scan=False)
def secrets_in_memory(ctx):
    """Keys, ticket keys and passwords are in the control plane and nowhere in the dataplane, nor in what both share;
    traffic secrets are the dataplane's while their connection is open, and in no core dump."""
    dataplane, control = headrace.children()["dataplane"], headrace.children()["controlplane"]
    groups = {name: keyscan.private_key(name) for name in ("headrace", "headrace-rsa", "client-of-brokers")}
    groups["password"] = {"password": kafka.USERS["headrace"].encode()}
    groups["ticket keys"] = keyscan.ticket_keys(control, _ticket())
    check(groups["ticket keys"], "no ticket key in the control plane: the search finds nothing")
    never = {k: v for group in groups.values() for k, v in group.items()}
    log = records.keylog()
    with Client(ctx, headrace.TLS_PORT, records.context(version=V13, keylog=log)).handshake() as c:
        check(wire.api_versions(c)[1] == 0, "no service")
        traffic = keyscan.traffic(records.secrets(log))
        in_control, _ = keyscan.memory(control, dict(never, **traffic))
        for name, group in groups.items():
            check(set(group) & set(in_control), "the search does not find %s in the control plane, where it is" % name)
        check(not set(traffic) & set(in_control), "the control plane keeps %s" % sorted(set(traffic) & set(in_control)))
        found, shared = keyscan.memory(dataplane, dict(never, **traffic))
        check(shared > 0, "the shared region was not searched")
        check(set(traffic) == set(found), "the dataplane has %s, wanted %s" % (sorted(found), sorted(traffic)))
        core = keyscan.core(dataplane)
        try:
            check(os.path.getsize(core) > 16 << 20, "%s is no core dump of the dataplane" % core)
            check(keyscan.file(core, {"a setting": b"hr-rig-" + env.NAME.encode()}), "the search does not work on %s" % core)
            found = keyscan.file(core, dict(never, **traffic))
            ctx.note("core dump of %d MiB" % (os.path.getsize(core) >> 20))
        finally:
            os.unlink(core)
        check(not found, "the core dump has %s" % sorted(found))
    eventually("ready again", _ready, 60, 0.2)
    log = records.keylog()
    with Client(ctx, headrace.TLS_PORT, records.context(version=V13, keylog=log)).handshake() as c:
        check(wire.api_versions(c)[1] == 0, "no service")
        traffic = keyscan.traffic(records.secrets(log))
    eventually("the end of it", lambda: headrace.gauges()["tls_legs"] == 0, 10)
    found, _ = keyscan.memory(headrace.children()["dataplane"], traffic)
    check(not found, "a closed connection has left %s" % sorted(found))

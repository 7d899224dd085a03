"""Clients behind a load balancer that tells who they are: the PROXY protocol, version 2, by hand and by HAProxy."""

import os
import shutil
import socket
import ssl
import struct
import subprocess

from framework import wire
from framework.core import Skip, check, eventually, test
from rig import env, headrace, net, netns, tls
from rig.env import zone_ns

CLIENT = ("192.0.2.7", 51234)
ENDPOINT = b"vpce-08d2bf15fac5001c9"
VARIANT = {"tls": True, "listener": 'proxy_protocol = { from = [ "10.77.0.0/16" ]; };'}
NEEDS = ("kafka", "headrace")


def _crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def _header(client=CLIENT, server=(net.HEADRACE, 9092)):
    """With AWS's VPC endpoint and a checksum, as its load balancers send it."""
    body = (socket.inet_aton(client[0]) + socket.inet_aton(server[0]) + struct.pack(">HH", client[1], server[1])
            + struct.pack(">BHB", 0xea, 1 + len(ENDPOINT), 1) + ENDPOINT + struct.pack(">BHI", 3, 4, 0))
    head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", len(body)) + body
    return head[:-4] + struct.pack(">I", _crc32c(head))


def _session_of(addr, port):
    found = [c for c in headrace.ctl("connections")["connections"] if (c["client"], c["client_port"]) == (addr, port)]
    check(len(found) == 1, "sessions of %s:%d: %s" % (addr, port, found))
    return found[0]


def _served(sock):
    keys, error = wire.api_versions(sock)
    check(error == 0 and 18 in keys, "error %d" % error)


@test("proxy-protocol/by-hand", needs=NEEDS, variant=VARIANT)
def by_hand(ctx):
    """In front of plain text and of TLS, in one piece and byte by byte; and who sends none."""
    told = ctx.counters()["origins_told"]
    with ctx.connect() as sock:
        sock.sendall(_header())
        _served(sock)
        session, peer = _session_of(*CLIENT), sock.getsockname()
        check((session["via"], session["via_port"]) == peer[:2] and session["vpc_endpoint"] == ENDPOINT.decode(), session)
    other = ("198.51.100.9", 40000)
    with ctx.connect(headrace.TLS_PORT) as raw:
        for byte in _header(other):
            raw.sendall(bytes([byte]))
        context = ssl.create_default_context(cafile=tls.path("ca.crt"))
        with context.wrap_socket(raw, server_hostname=net.CLIENT_NAME) as sock:
            _served(sock)
            session = _session_of(*other)
            check(session["client_protocol"] == sock.version() and session["vpc_endpoint"] == ENDPOINT.decode(), session)
    with ctx.connect(headrace.MTLS_PORT) as raw:
        third = ("192.0.2.8", 51235)  # the first one's session may still be ending
        raw.sendall(_header(third))
        context.load_cert_chain(tls.path("alice.crt"), tls.path("alice.key"))
        with context.wrap_socket(raw, server_hostname=net.CLIENT_NAME) as sock:
            _served(sock)
            session = _session_of(*third)
            check(session["mechanism"] == "mTLS" and session["principal"].startswith("CN=alice,O="), session)
            ctx.note("%s, %s" % (session["principal"], session["client_cipher"]))
    check(ctx.counters()["origins_told"] == told + 3, ctx.counters()["origins_told"])
    before = ctx.drops()["origin_bad"]
    with ctx.connect() as sock:
        sock.sendall(b"\0\0\0\x1f")
        check(wire.closed(sock)[0], "without a header the connection stays open")
    eventually("origin_bad", lambda: ctx.drops()["origin_bad"] == before + 1)


@test("proxy-protocol/haproxy", needs=NEEDS, variant=VARIANT, suite="all")
def haproxy(ctx):
    """HAProxy's own header, send-proxy-v2 with its unique id and checksum."""
    if not shutil.which("haproxy"):
        raise Skip("haproxy is not installed (scripts/lib/packages.sh, set relay)")
    config = env.RUN + "/haproxy-pp.cfg"
    with open(config, "w") as f:
        f.write("""global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen kafka
  bind 127.0.0.1:19092
  unique-id-format %%{+X}o-%%ci-%%cp
  server headrace %s:%d send-proxy-v2 proxy-v2-options unique-id,crc32c
""" % (net.HEADRACE, headrace.BOOTSTRAP_PORT))
    proc = subprocess.Popen(env.in_ns(zone_ns(1), ["haproxy", "-db", "-f", config]), stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    try:
        eventually("HAProxy listens", lambda: _try(lambda: netns.connect(zone_ns(1), ("127.0.0.1", 19092), 5).close()))
        with netns.connect(zone_ns(1), ("127.0.0.1", 19092), 10) as sock:
            _served(sock)
            session = _session_of(*sock.getsockname()[:2])
            check(session["via"].startswith("10.77."), session)
    finally:
        proc.terminate()
        proc.wait()
        os.unlink(config)


def _try(fn):
    try:
        fn()
        return True
    except OSError:
        return False

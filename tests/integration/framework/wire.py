"""Raw Kafka frames, for what no client library would send."""

import struct

from rig.kafka import recv_frame

PRODUCE, FETCH, METADATA, API_VERSIONS = 0, 1, 3, 18


def header(key, version, correlation=1, client_id=b"raw"):
    body = struct.pack(">hhi", key, version, correlation)
    return body + (struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id)


def frame(body):
    return struct.pack(">i", len(body)) + body


def api_versions(sock, version=0, correlation=7):
    """{key: (min, max)} and the error code, by a v0 request."""
    sock.sendall(frame(header(API_VERSIONS, version, correlation)))
    return parse_api_versions(recv_frame(sock), correlation)


def parse_api_versions(data, correlation):
    got, error, n = struct.unpack_from(">ihi", data)
    if got != correlation:
        raise AssertionError("correlation id %d instead of %d" % (got, correlation))
    keys = {}
    for i in range(n):
        key, lo, hi = struct.unpack_from(">hhh", data, 10 + 6 * i)
        keys[key] = (lo, hi)
    return keys, error


def metadata_request(correlation, topics=()):
    """Metadata v1: broker list, and these topics (none by default)."""
    body = header(METADATA, 1, correlation) + struct.pack(">i", len(topics))
    for t in topics:
        body += struct.pack(">h", len(t)) + t.encode()
    return frame(body)


def produce_head(topic, acks, record_bytes, correlation=1, partition=0):
    """Everything of a Produce v3 frame that stands before the records, with the right sizes."""
    name = topic.encode()
    body = header(PRODUCE, 3, correlation) + struct.pack(">hhi", -1, acks, 30000)
    body += struct.pack(">i", 1) + struct.pack(">h", len(name)) + name + struct.pack(">iii", 1, partition, record_bytes)
    return struct.pack(">i", len(body) + record_bytes) + body


def closed(sock, timeout=10):
    """True when the peer closes or resets; whatever it sends before is read and returned beside."""
    sock.settimeout(timeout)
    got = b""
    try:
        while True:
            more = sock.recv(65536)
            if not more:
                return True, got
            got += more
    except ConnectionError:
        return True, got
    except TimeoutError:
        return False, got


# -- logins (KIP-43, KIP-152, KIP-368) ------------------------------------------------------------------------------

SASL_HANDSHAKE, SASL_AUTHENTICATE = 17, 36


def sasl_handshake(sock, mechanism, correlation=1):
    """The error code of the answer."""
    sock.sendall(frame(header(SASL_HANDSHAKE, 1, correlation) + struct.pack(">h", len(mechanism)) + mechanism.encode()))
    return struct.unpack_from(">ih", recv_frame(sock))[1]


def sasl_authenticate(sock, data, correlation=2):
    """(error code, bytes of the answer, how long the login lasts in ms)."""
    sock.sendall(frame(header(SASL_AUTHENTICATE, 1, correlation) + struct.pack(">i", len(data)) + data))
    got = recv_frame(sock)
    error, n = struct.unpack_from(">hh", got, 4)
    at = 8 + max(n, 0)
    n = struct.unpack_from(">i", got, at)[0]
    at += 4
    return error, got[at:at + n], struct.unpack_from(">q", got, at + n)[0]


def login_plain(sock, user, password):
    """Logs in by PLAIN: (error code, lifetime in ms)."""
    error = sasl_handshake(sock, "PLAIN")
    if error:
        return error, 0
    error, _, lifetime = sasl_authenticate(sock, b"\0%s\0%s" % (user.encode(), password.encode()))
    return error, lifetime

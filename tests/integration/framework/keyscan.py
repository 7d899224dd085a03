"""Searches a process's memory, or its core dump, for secrets in every form that they may have there."""

import hashlib
import hmac
import os
import re
import resource
import signal

from framework.core import Skip
from rig import env, tls

CHUNK = 1 << 16  # so small that pools which nobody has used are passed over


def _mappings(pid):
    with open("/proc/%d/maps" % pid) as f:
        for line in f:
            fields = line.split(None, 5)
            if fields[1].startswith("r"):
                start, end = (int(x, 16) for x in fields[0].split("-"))
                yield start, end, fields[5].strip() if len(fields) > 5 else ""


def _search(read, start, end, patterns, longest, hits):
    """read(at, n) gives bytes; hits: {name: [where]}."""
    zeros = bytes(CHUNK + longest)
    at = start
    while at < end:
        data = read(at, min(CHUNK + longest, end - at))
        if not data:
            return
        if data != zeros[:len(data)]:
            for name, pattern in patterns.items():
                found = data.find(pattern)
                while 0 <= found < CHUNK:
                    hits.setdefault(name, []).append(at + found)
                    found = data.find(pattern, found + 1)
        at += CHUNK


def memory(pid, patterns):
    """{name: [addresses]} of those that were found, and how many bytes of shared memory were among what was read."""
    hits, shared = {}, 0
    longest = max(map(len, patterns.values()))
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as f:
        def read(at, n):
            try:
                return os.pread(f.fileno(), n, at)
            except OSError:
                return b""  # the kernel's own pages
        for start, end, name in _mappings(pid):
            shared += end - start if "memfd:" in name else 0
            _search(read, start, end, patterns, longest, hits)
    return hits, shared


def at(pid, address, n):
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as f:
        return os.pread(f.fileno(), n, address)


def file(path, patterns):
    hits = {}
    with open(path, "rb", buffering=0) as f:
        _search(lambda a, n: os.pread(f.fileno(), n, a), 0, os.path.getsize(path), patterns,
                max(map(len, patterns.values())), hits)
    return hits


def core(pid):
    """Ends a process by an abort and returns its core file, where the kernel writes files; else gdb's, of the living."""
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    if pattern.startswith("|") or "%" in pattern:
        path = env.VAR + "/core"
        try:
            env.run(["gcore", "-o", path, str(pid)], timeout=120)
        except env.RigError as err:
            raise Skip("no core dump can be had here: %s" % err)
        return "%s.%d" % (path, pid)
    folder = os.readlink("/proc/%d/cwd" % pid)
    with open("/proc/sys/kernel/core_uses_pid") as f:
        path = os.path.join(folder, pattern) + (".%d" % pid if f.read().strip() != "0" else "")
    if os.path.exists(path):
        os.unlink(path)
    resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    os.kill(pid, signal.SIGABRT)
    env.wait_for("the core dump %s" % path, lambda: not os.path.exists("/proc/%d/mem" % pid) and os.path.exists(path), 120)
    return path


def private_key(name):
    """A key of the rig as PEM, as DER, and each of its secret numbers in both byte orders."""
    path = tls.path(name + ".key")
    with open(path, "rb") as f:
        lines = f.read().split(b"\n")
    der_path = env.RUN + "/key.der"
    env.run(["openssl", "pkey", "-in", path, "-outform", "DER", "-out", der_path])
    with open(der_path, "rb") as f:
        der = f.read()
    os.unlink(der_path)
    found = {name + " PEM": lines[1], name + " PEM, its end": lines[2], name + " DER": der[:200]}
    text = env.run(["openssl", "pkey", "-in", path, "-noout", "-text"]).stdout
    for label, digits in re.findall(r"^(\w+):\s*\n((?:\s+[0-9a-f:]+\n)+)", text, re.M):
        if label in ("priv", "privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient"):
            number = bytes.fromhex(re.sub(r"[\s:]", "", digits)).lstrip(b"\0")
            found["%s %s" % (name, label)] = number
            found["%s %s, low byte first" % (name, label)] = number[::-1]
    if not any("priv" in n for n in found) or len(found) not in (5, 15):
        raise AssertionError("%s: not the fields of a key: %s" % (path, sorted(found)))
    return found


def ticket_keys(pid, ticket):
    """The keys by which the control plane seals tickets, found in its memory by the name that this one carries."""
    for address in memory(pid, {"name": ticket[:16]})[0].get("name", ()):
        keys = at(pid, address + 16, 64)
        if hmac.new(keys[32:], ticket[:-32], hashlib.sha256).digest() == ticket[-32:]:
            return {"ticket key, cipher": keys[:32], "ticket key, MAC": keys[32:]}
    return {}


def traffic(secrets):
    """What TLS 1.3 makes of a key log's secrets (RFC 8446 7.3): they, and the keys for records."""
    found = {}
    for label in ("CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"):
        secret = secrets[label]
        digest, n = (hashlib.sha256, 16) if len(secret) == 32 else (hashlib.sha384, 32)
        info = bytes([0, n, 9]) + b"tls13 key" + b"\0"
        found[label] = secret
        found[label + ", key"] = hmac.new(secret, info + b"\1", digest).digest()[:n]
    return found

"""Every byte that reached clients, captured in their zones and searched for brokers' names and addresses."""

import os
import shutil
import signal
import struct
import subprocess
import time

from rig import env, kafka, net
from rig.env import VAR, ZONES, zone_ns

FOLDER = VAR + "/capture"


def patterns():
    """Each secret as text and, for addresses, as four bytes. Test payloads never hold the byte 0x0a."""
    return sorted(set(kafka.secrets()) | {b"brk-secret"})


class Capture:
    def __init__(self):
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.makedirs(FOLDER)
        self.procs = {}
        for z in ZONES:
            path = "%s/z%d.pcap" % (FOLDER, z)
            argv = ["tcpdump", "-i", "eth0", "-n", "-s", "0", "-B", "32768", "--immediate-mode", "-U", "-Z", "root", "-w", path,
                    "src host %s and dst host %s" % (net.HEADRACE, net.client_addr(z))]
            p = subprocess.Popen(env.in_ns(zone_ns(z), env.on_cpu(0, argv)), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=open(path + ".err", "w"))
            env.record("tcpdump-z%d" % z, p.pid)
            self.procs[z] = (p, path)
        for p, path in self.procs.values():  # the file's header is written when the capture runs
            env.wait_for("tcpdump", lambda path=path: os.path.exists(path) and os.path.getsize(path) >= 24, 10, 0.02)

    def _stop(self):
        for p, _ in self.procs.values():
            p.send_signal(signal.SIGINT)
        for z, (p, _) in self.procs.items():
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
            env.stop("tcpdump-z%d" % z)

    def finish(self):
        """({"bytes", "packets", "lost"}, [what was found])."""
        # What the kernel has queued must reach the file: it has when the files stand still.
        sizes, quiet = None, 0
        while quiet < 3:
            now = [os.path.getsize(path) for _, path in self.procs.values()]
            quiet = quiet + 1 if now == sizes else 0
            sizes = now
            time.sleep(0.03)
        self._stop()
        total, found = {"bytes": 0, "packets": 0, "lost": 0}, []
        for z, (_, path) in self.procs.items():
            with open(path + ".err") as f:
                for line in f:
                    if "dropped by kernel" in line:
                        total["lost"] += int(line.split()[0])
            scan(path, total, found, "zone %d" % z)
        shutil.rmtree(FOLDER, ignore_errors=True)
        return total, found

    def discard(self):
        self._stop()
        shutil.rmtree(FOLDER, ignore_errors=True)


class _Flow:
    """One direction of a connection: bytes in sequence order, each once."""

    __slots__ = ("next", "ahead", "buffer")
    AHEAD = 256  # segments kept for a hole; with more, the capture itself has missed something

    def __init__(self, seq):
        self.next, self.ahead, self.buffer = seq, {}, bytearray()

    def _take(self, seq, data):
        behind = (self.next - seq) & 0xFFFFFFFF
        if behind < len(data):
            self.buffer += data[behind:]
            self.next = (self.next + len(data) - behind) & 0xFFFFFFFF

    def add(self, seq, data):
        if ((self.next - seq) & 0xFFFFFFFF) >= 0x80000000:
            self.ahead[seq] = data
            if len(self.ahead) > self.AHEAD:
                self.flush()
            return
        self._take(seq, data)
        while self.next in self.ahead:
            self._take(self.next, self.ahead.pop(self.next))

    def flush(self):
        """Takes what waits, in order, over the holes."""
        for seq in sorted(self.ahead, key=lambda s: (s - self.next + 0x80000000) & 0xFFFFFFFF):
            data = self.ahead[seq]
            if ((self.next - seq) & 0xFFFFFFFF) >= 0x80000000:
                self.next = seq
            self._take(seq, data)
        self.ahead.clear()


def scan(path, total, found, where):
    wanted = patterns()
    longest = max(map(len, wanted))
    flows = {}

    def search(port, data):
        for w in wanted:
            at = data.find(w)
            if at >= 0 and len(found) < 10:
                found.append("%s port %d: %r in %r" % (where, port, w, bytes(data[max(0, at - 60):at + 60])))

    with open(path, "rb") as f:
        head = f.read(24)
        if len(head) < 24:
            return
        order = "<" if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
        record = struct.Struct(order + "IIII")
        while True:
            h = f.read(16)
            if len(h) < 16:
                break
            size = record.unpack(h)[2]
            packet = f.read(size)
            if len(packet) < size:
                break
            total["packets"] += 1
            ip = packet[14:]
            length = (ip[2] << 8) | ip[3]
            ihl = (ip[0] & 15) * 4
            if ip[9] != 6:
                search(0, ip[ihl:length])  # ICMP may quote what it is about
                continue
            port = (ip[ihl] << 8) | ip[ihl + 1], (ip[ihl + 2] << 8) | ip[ihl + 3]
            seq = int.from_bytes(ip[ihl + 4:ihl + 8], "big")
            data = ip[ihl + (ip[ihl + 12] >> 4) * 4:length]
            if ip[ihl + 13] & 2:
                flows.pop(port, None)
                flows[port] = _Flow((seq + 1) & 0xFFFFFFFF)
                continue
            if not data:
                continue
            total["bytes"] += len(data)
            flow = flows.get(port)
            if flow is None:
                flow = flows[port] = _Flow(seq)
            flow.add(seq, data)
            if len(flow.buffer) > 1 << 18:
                search(port[0], flow.buffer)
                del flow.buffer[:-longest]
    for port, flow in flows.items():
        flow.flush()
        search(port[0], flow.buffer)

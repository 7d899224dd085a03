"""Many connections at once from kernel sockets in zone 1, through the mode = "tcp" listener, to a server in zone 2: one
process and one epoll set for each side. Each request is 64 bytes of its own, each answer the same backwards."""

import json
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import time

if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.path[:0] = [os.path.join(sys.path[0], "..", "..", "scripts")]

from framework.core import check  # noqa: E402
from rig import env, headrace, iperf, net, netns  # noqa: E402
from rig.env import zone_ns  # noqa: E402

SIZE = 64
FILES = 12000  # what 10,000 connections need at either end


def _more_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, max(FILES, hard)))


class Answerer:
    """The server's loop. On each line of standard input it prints {"accepted", "resets", "open"}; at its end it ends."""

    def __init__(self, port):
        self.accepted = self.resets = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("0.0.0.0", port))
        self.sock.listen(4096)
        self.conns, self.parts = {}, {}

    def _accept(self, ep):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            c.setblocking(False)
            self.conns[c.fileno()] = c
            self.accepted += 1
            ep.register(c.fileno(), select.EPOLLIN)

    def _one(self, fd):
        c = self.conns[fd]
        try:
            data = c.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            self.resets += 1
            data = b""
        if not data:
            self.parts.pop(fd, None)
            del self.conns[fd]
            c.close()
            return
        data = self.parts.pop(fd, b"") + data
        whole = len(data) - len(data) % SIZE
        if whole < len(data):
            self.parts[fd] = data[whole:]
        answer = b"".join(data[i:i + SIZE][::-1] for i in range(0, whole, SIZE))
        if answer:
            c.send(answer)

    def run(self):
        ep = select.epoll()
        ep.register(self.sock.fileno(), select.EPOLLIN)
        ep.register(0, select.EPOLLIN)
        print("{}", flush=True)
        while True:
            for fd, _ in ep.poll():
                if fd == self.sock.fileno():
                    self._accept(ep)
                elif fd in self.conns:
                    self._one(fd)
                elif fd == 0:
                    if not os.read(0, 64):
                        return
                    print(json.dumps({"accepted": self.accepted, "resets": self.resets, "open": len(self.conns)}), flush=True)


class Server:
    """An Answerer in a process of its own in zone 2, for the length of a with block: it has descriptors of its own."""

    def __enter__(self):
        iperf.stop_server()
        self.p = subprocess.Popen(env.in_ns(zone_ns(headrace.TCP_ZONE), env.on_cpu(0, [
            sys.executable, os.path.abspath(__file__), str(headrace.TCP_PORT)])),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        check(self.p.stdout.readline(), "no server")
        return self

    def stats(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())

    def __exit__(self, *exc):
        self.p.stdin.close()
        self.p.wait()
        self.p.stdout.close()


class Crowd:
    """Clients. took: seconds from connect() to the first answer, one for each that came through; broken: why not."""

    def __init__(self):
        _more_files()
        self.conns, self.took, self.broken, self.serial = {}, [], [], 0

    def _request(self):
        self.serial += 1
        return struct.pack(">Q", self.serial) + os.urandom(SIZE - 8)

    def open(self, n, timeout, at_once=256):
        """n connections, each with one answer; at most so many are under way at a time."""
        ep, waiting, deadline = select.epoll(), {}, time.monotonic() + timeout
        left = n
        with netns.inside(zone_ns(1)):
            while left or waiting:
                while left and len(waiting) < at_once:
                    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                    s.connect_ex((net.HEADRACE, headrace.TCP_PORT))
                    request = self._request()
                    waiting[s.fileno()] = [s, request, b"", False, time.monotonic()]
                    ep.register(s.fileno(), select.EPOLLOUT)
                    left -= 1
                if time.monotonic() > deadline:
                    for w in waiting.values():
                        w[0].close()
                    self.broken += ["no answer after %g s" % timeout] * len(waiting)
                    break
                for fd, _ in ep.poll(0.2):
                    self._step(ep, waiting, fd)
        ep.close()

    def _step(self, ep, waiting, fd):
        w = waiting[fd]
        s, request = w[0], w[1]
        try:
            if not w[3]:
                err = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if err:
                    raise OSError(err, os.strerror(err))
                s.send(request)
                w[3] = True
                ep.modify(fd, select.EPOLLIN)
                return
            w[2] += s.recv(SIZE)
            if not w[2]:
                raise OSError("closed")
        except BlockingIOError:
            return
        except OSError as e:
            self.broken.append(str(e))
        else:
            if len(w[2]) < SIZE:
                return
            if w[2] == request[::-1]:
                self.conns[fd] = s
                self.took.append(time.monotonic() - w[4])
            else:
                self.broken.append("another answer")
        ep.unregister(fd)
        if fd not in self.conns:
            s.close()
        del waiting[fd]

    def exchange(self, timeout):
        """One more request and answer on every connection at once."""
        ep, want, got = select.epoll(), {}, {}
        for fd, s in self.conns.items():
            request = self._request()
            want[fd], got[fd] = request[::-1], b""
            s.send(request)
            ep.register(fd, select.EPOLLIN)
        deadline = time.monotonic() + timeout
        while got:
            check(time.monotonic() < deadline, "%d of %d without an answer after %g s" % (len(got), len(want), timeout))
            for fd, _ in ep.poll(0.2):
                more = self.conns[fd].recv(SIZE)
                check(more, "closed instead of an answer")
                got[fd] += more
                if len(got[fd]) >= SIZE:
                    check(got[fd] == want[fd], "another answer")
                    ep.unregister(fd)
                    del got[fd]
        ep.close()

    def close(self, reset=False):
        for s in self.conns.values():
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        self.conns = {}


if __name__ == "__main__":
    _more_files()
    Answerer(int(sys.argv[1])).run()

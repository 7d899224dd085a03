"""Sockets inside a zone, from this process.

setns(2) moves one thread; a socket stays in the namespace in which it was made. So a thread enters, makes its
socket, and returns.
"""

import contextlib
import ctypes
import os
import socket

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def _setns(fd):
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(ns):
    """This thread is in the namespace until the block ends."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open("/run/netns/" + ns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(own)
    finally:
        os.close(own)


def make(ns, *args):
    with inside(ns):
        return socket.socket(*args)


def connect(ns, addr, timeout=10):
    """A TCP connection from a namespace. Addresses only: names would be looked up outside."""
    s = make(ns, socket.AF_INET6 if ":" in addr[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        s.settimeout(timeout)
        s.connect(addr)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s
    except BaseException:
        s.close()
        raise

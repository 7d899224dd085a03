"""A TLS client of which the test has every record in its hands: OpenSSL (by Python's ssl) on memory, and a socket."""

import os
import socket
import ssl

from rig import env, net, tls

HEADER = 5
CCS, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def split(data):
    """Whole records, each with its header; the rest at the end, if any."""
    found = []
    while len(data) >= HEADER:
        n = HEADER + (data[3] << 8 | data[4])
        found.append(data[:n])
        data = data[n:]
    return found + ([data] if data else [])


def context(client=None, version=None, ca="ca", ciphers=None, keylog=None):
    """client: whose certificate is shown. version: the only one spoken."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.load_verify_locations(tls.path(ca + ".crt"))
    if client:
        c.load_cert_chain(tls.path(client + ".pem"))
    if version:
        c.minimum_version = c.maximum_version = version
    if ciphers:
        c.set_ciphers(ciphers)
    if keylog:
        c.keylog_filename = keylog
    return c


class Client:
    """Like a socket (sendall, recv, settimeout, close), once handshake() is done."""

    def __init__(self, ctx, port, ssl_context, name=net.CLIENT_NAME, session=None, zone=1, timeout=10):
        self.sock = ctx.connect(port, zone, timeout)
        self.arrived, self.leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        if name is None:
            ssl_context.check_hostname = False
        self.tls = ssl_context.wrap_bio(self.arrived, self.leaving, server_hostname=name, session=session)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _receive(self):
        data = self.sock.recv(65536)
        if data:
            self.arrived.write(data)
        else:
            self.arrived.write_eof()
        return bool(data)

    def step(self):
        """One step of the handshake: (done, what is to be sent now)."""
        try:
            self.tls.do_handshake()
            return True, self.leaving.read()
        except ssl.SSLWantReadError:
            return False, self.leaving.read()
        except ssl.SSLError:
            self.sock.sendall(self.leaving.read())  # an alert
            raise

    def handshake(self, edit=lambda flight: flight):
        """edit: changes each flight before it is sent. Behind one that it has changed nothing follows, but a FIN."""
        done = False
        while not done:
            done, flight = self.step()
            changed = edit(flight)
            if changed:
                self.sock.sendall(changed)
            if changed != flight:
                self.sock.shutdown(socket.SHUT_WR)
            if not done and not self._receive():
                self.step()
                raise ConnectionError("closed in mid-handshake")
        return self

    def sealed(self, data):
        """The records that carry data; whoever calls sends them."""
        self.tls.write(data)
        return self.leaving.read()

    def sendall(self, data):
        self.sock.sendall(self.sealed(data))

    def recv(self, n):
        while True:
            try:
                data = self.tls.read(n)
            except ssl.SSLWantReadError:
                answer = self.leaving.read()
                if answer:
                    self.sock.sendall(answer)
                if not self._receive():
                    return b""
                continue
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError:
                return b""
            except ssl.SSLError as err:
                raise ConnectionError(str(err))
            return data

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def goodbye(self):
        """Our close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        self.sock.sendall(self.leaving.read())

    def close(self):
        self.sock.close()


def secrets(keylog):
    """{label: secret} of the only connection in a key log."""
    with open(keylog) as f:
        lines = [line.split() for line in f if not line.startswith("#")]
    return {label: bytes.fromhex(secret) for label, _, secret in lines}


def keylog():
    """A file for context()."""
    path = env.RUN + "/keylog"
    if os.path.exists(path):
        os.unlink(path)
    return path

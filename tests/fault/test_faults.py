"""Things break while a load runs, and the load's whole history must still be right."""

import os
import signal
import socket
import struct
import threading
import time

from framework import wire
from framework.core import check, eventually, test
from framework.load import Load
from rig import cli, env, headrace, kafka, net

NEEDS = ("kafka", "headrace")


@test("fault/loss", needs=NEEDS)
def loss(ctx):
    """5 % loss each way."""
    before = ctx.counters()["tcp_retransmit_segs"]
    with Load(ctx, pause_us=2000) as load:
        net.loss(5)
        try:
            load.wait_for_more(1500, 120)
        finally:
            net.loss(0)
        load.wait_for_more(500)
    ctx.note("%d segments sent again" % (ctx.counters()["tcp_retransmit_segs"] - before))
    check(ctx.counters()["tcp_retransmit_segs"] > before, "nothing was retransmitted: was there loss?")


@test("fault/broker-kill", kafka_versions=("4.4.0", "3.9.2"), timeout=400)
def broker_kill(ctx):
    """kill -9 of a broker under load, and its return; nothing acknowledged is lost, doubled or out of order."""
    with Load(ctx) as load:
        kafka.kill(2, 9)
        load.wait_for_more(1000, 120)
        kafka.start(2)
        load.wait_for_more(1000, 120)


@test("fault/rolling-restart", timeout=500)
def rolling_restart(ctx):
    """Every broker in turn is stopped cleanly and started again under load."""
    with Load(ctx, pause_us=2000) as load:
        for z in (1, 2, 3):
            kafka.kill(z, 15)
            kafka.start(z)
            load.wait_for_more(500, 120)
    if not ctx.direct:
        c = ctx.counters()
        ctx.note("tails rewritten %d, hidden %d" % (c["kafka_edits_tail"], c["kafka_tails_hidden"]))


@test("fault/broker-down", needs=NEEDS)
def broker_down(ctx):
    """A client of a dead broker's port sees a close, soon; the bootstrap port goes on by another broker."""
    port = headrace.NODE_PORT_BASE + kafka.NODE_ID[3]
    with ctx.connect(port) as s:
        check(wire.api_versions(s)[1] == 0, "no service on port %d" % port)
        kafka.kill(3, 9)
        try:
            start = time.monotonic()
            check(wire.closed(s, 10)[0], "the connection outlives its broker")
            ctx.note("closed after %.2f s" % (time.monotonic() - start))
            start = time.monotonic()
            try:
                with ctx.connect(port, timeout=6) as t:
                    check(wire.closed(t, 6)[0], "a new connection to a dead broker stays open")
            except OSError:
                pass
            check(time.monotonic() - start < 6, "refusal took %.1f s" % (time.monotonic() - start))
            for _ in range(10):
                with ctx.connect(timeout=10) as t:
                    check(wire.api_versions(t)[1] == 0, "no service on the bootstrap port")
        finally:
            kafka.start(3)


@test("fault/broker-unreachable", needs=NEEDS)
def broker_unreachable(ctx):
    """A broker that vanishes without a reset: connecting to it ends within connect_timeout_ms, by a close."""
    port = headrace.NODE_PORT_BASE + kafka.NODE_ID[3]
    before = ctx.drops()["broker_timeout"]
    net.partition(3)
    try:
        start = time.monotonic()
        try:
            with ctx.connect(port, timeout=8) as s:
                check(wire.closed(s, 8)[0], "stays open")
        except OSError:
            pass
        took = time.monotonic() - start
        check(2 < took < 6, "ended after %.1f s, connect_timeout_ms is 3000" % took)
        eventually("drop reason broker_timeout", lambda: ctx.drops()["broker_timeout"] > before)
    finally:
        net.partition(3, cut=False)
    with ctx.connect(port) as s:
        check(wire.api_versions(s)[1] == 0, "no service after the path is back")


@test("fault/control-plane-kill", needs=NEEDS)
def control_plane_kill(ctx):
    """kill -9 of the control plane: old connections flow, new ones are accepted, re-attached in less than 1 s."""
    with Load(ctx) as load, ctx.connect() as old:
        check(wire.api_versions(old)[1] == 0, "no service")
        for _ in range(3):
            pid = headrace.children()["controlplane"]
            dataplane = headrace.children()["dataplane"]
            os.kill(pid, signal.SIGKILL)
            start = time.monotonic()
            check(wire.api_versions(old)[1] == 0, "the old connection ended")
            with ctx.connect() as s:
                check(wire.api_versions(s)[1] == 0, "a new connection is not served")
            eventually("a new control plane", lambda: headrace.children().get("controlplane") not in (None, pid), 5, 0.01)
            new = headrace.children()["controlplane"]
            eventually("re-attached", _attached, 10, 0.02)
            took = time.monotonic() - start
            check(headrace.children().get("dataplane") == dataplane, "the dataplane was restarted")
            ctx.note("re-attached after %.2f s" % took)
            check(took < 1.0, "re-attached after %.2f s" % took)
            load.wait_for_more(300)
            eventually("ready again", lambda: headrace.ctl("status")["ready"], 15)
            check(headrace.children()["controlplane"] == new, "the control plane died again")


def _attached():
    try:
        return headrace.ctl("status", timeout=3)["dataplane"]["attached"]
    except env.RigError:
        return False


@test("fault/control-plane-stopped", needs=NEEDS)
def control_plane_stopped(ctx):
    """A frozen control plane harms no traffic; its return is clean."""
    pid = headrace.children()["controlplane"]
    with Load(ctx, pause_us=0) as load:
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(5):
                load.wait_for_more(500)
                with ctx.connect() as s:
                    check(wire.api_versions(s)[1] == 0, "a new connection is not served")
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually("ready again", lambda: headrace.ctl("status", timeout=5)["ready"], 20)
    check(headrace.children()["controlplane"] == pid, "the control plane was replaced")


@test("fault/dataplane-kill", needs=NEEDS, restarts=True)
def dataplane_kill(ctx):
    """kill -9 of the dataplane: the launcher starts a new one, the control plane attaches to it, the load goes on."""
    with Load(ctx) as load:
        pid = headrace.children()["dataplane"]
        cp = headrace.children()["controlplane"]
        os.kill(pid, signal.SIGKILL)
        start = time.monotonic()
        eventually("a new dataplane", lambda: headrace.children().get("dataplane") not in (None, pid), 10, 0.02)
        eventually("re-attached", _attached, 20, 0.05)
        eventually("ready", lambda: headrace.ctl("status")["ready"], 20)
        ctx.note("ready after %.1f s" % (time.monotonic() - start))
        check(headrace.children()["controlplane"] == cp, "the control plane was restarted too")
        load.wait_for_more(500)


@test("fault/drain", needs=NEEDS, restarts=True)
def drain(ctx):
    """SIGTERM under load: requests in flight get their answers, no new connections, exit 0, nothing left."""
    outcome = {"answered": 0, "cut": 0}
    stop = threading.Event()

    def client():
        while not stop.is_set():
            try:
                with ctx.connect(timeout=5) as s:
                    while True:
                        s.sendall(wire.metadata_request(3))
                        try:
                            s.settimeout(10)
                            kafka.recv_frame(s)
                            outcome["answered"] += 1
                        except OSError:
                            outcome["cut"] += 1
                            return
            except OSError:
                return
    with Load(ctx) as load:
        idle = ctx.connect()
        wire.api_versions(idle)
        # A fetch that waits at the broker is in flight when the drain begins, and must be answered.
        quiet = ctx.topic("quiet", 1)
        waiting = ctx.connect(headrace.NODE_PORT_BASE + kafka.leader(quiet), timeout=30)
        name = quiet.encode()
        body = wire.header(wire.FETCH, 4, 77) + struct.pack(">iiiib", -1, 3000, 1, 1 << 20, 0)
        body += struct.pack(">i", 1) + struct.pack(">h", len(name)) + name + struct.pack(">iiqi", 1, 0, 0, 1 << 20)
        waiting.sendall(wire.frame(body))
        threads = [threading.Thread(target=client) for _ in range(8)]
        for t in threads:
            t.start()
        time.sleep(0.5)
        dataplane = headrace.children()["dataplane"]
        top = env.pid_of("headrace")
        start = time.monotonic()
        os.kill(top, signal.SIGTERM)
        got = kafka.recv_frame(waiting)
        check(struct.unpack(">i", got[:4])[0] == 77, "the request in flight got another answer")
        check(wire.closed(waiting, 10)[0], "not closed after its answer")
        check(wire.closed(idle, 10)[0], "an idle connection outlives the drain")
        stop.set()
        for t in threads:
            t.join(15)
        eventually("end of the launcher", lambda: env.pid_of("headrace") is None, 40)
        took = time.monotonic() - start
        check(not os.path.exists("/proc/%d" % dataplane), "the dataplane is still there")
        ctx.note("ended after %.1f s; %d answers, %d clients between requests closed" % (
            took, outcome["answered"], outcome["cut"]))
        left = [line for line in cli.leftovers() if "hr-rig-" in line or "headrace.cfg" in line]
        check(not left, left)
        sockets = os.listdir(headrace.RUNTIME) if os.path.isdir(headrace.RUNTIME) else []
        check(not [s for s in sockets if s.endswith(".sock")], "left behind: %s" % sockets)
        check(env.reap(top) == 0, "the launcher ended with %s" % env.reap(top))
        ctx.runner.variant = None
        ctx.runner.start_headrace(ctx.spec["variant"], True)
        load.wait_for_more(500)


@test("fault/drain-node", needs=NEEDS)
def drain_node(ctx):
    """`headracectl drain NODE` takes a broker out of service and `undrain` brings it back, the load unharmed."""
    node = kafka.NODE_ID[2]
    port = headrace.NODE_PORT_BASE + node
    with ctx.connect(port) as s:
        wire.api_versions(s)
        headrace.ctl("drain", str(node))
        check(wire.closed(s, 10)[0], "an idle session of a draining node stays open")
    try:
        with ctx.connect(port, timeout=5) as s:
            check(wire.closed(s, 5)[0], "a draining node takes new sessions")
    except OSError:
        pass
    headrace.ctl("undrain", str(node))
    eventually("service again", lambda: _served(ctx, port), 10)


def _served(ctx, port):
    try:
        with ctx.connect(port, timeout=3) as s:
            return wire.api_versions(s)[1] == 0
    except (OSError, struct.error):
        return False


@test("fault/client-resets", needs=NEEDS)
def client_resets(ctx):
    """Clients that come, ask and reset, beside a load."""
    with Load(ctx) as load:
        for i in range(300):
            s = ctx.connect()
            s.sendall(wire.metadata_request(i))
            if i % 3:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        load.wait_for_more(500)


@test("fault/two-workers-broker-kill", needs=NEEDS, variant={"workers": [0, 1]}, suite="all", timeout=400)
def two_workers_kill(ctx):
    """A broker's end and return with two workers."""
    with Load(ctx) as load:
        kafka.kill(1, 9)
        load.wait_for_more(500, 120)
        kafka.start(1)
        load.wait_for_more(500, 120)

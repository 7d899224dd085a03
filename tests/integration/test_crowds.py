"""Very many connections, and very many attempts: the mode = "tcp" listener between kernel sockets."""

import json
import os
import signal
import subprocess
import time

from framework.core import check, eventually, test
from framework.crowd import Crowd, Server
from rig import env, headrace, net
from rig.env import BUILD, zone_ns

NEEDS = ("headrace",)
MANY = 10000  # the default of limits.max_connections
NO_RATE = "connect_rate = 0;"  # they come faster than one address may by default
BEFORE_KILL = 1000


@test("crowd/10000-connections", needs=NEEDS, scan=False, variant={"limits": NO_RATE})
def ten_thousand(ctx):
    """10,000 connections at once, each with requests and answers, twice; memory flat, counters right, one more is refused."""
    pid = headrace.children()["dataplane"]
    before, rss = ctx.counters(), []
    with Server() as server:
        for reset in (True, False):  # a kernel that keeps 10,000 ports in TIME-WAIT takes 6 ms to find another
            crowd = Crowd()
            start = time.monotonic()
            try:
                crowd.open(MANY, 120)
                took = time.monotonic() - start
                check(not crowd.broken, "%d broken: %s" % (len(crowd.broken), crowd.broken[:3]))
                eventually("gauges", lambda: (headrace.gauges()["sessions"], headrace.gauges()["tcp_conns"]) == (MANY, 2 * MANY))
                refused = sum(ctx.drops()[r] for r in ("listener_limit", "session_limit", "tcp_conn_limit"))
                over = Crowd()
                over.open(1, 3)
                check(over.broken and not over.conns, "connection %d was served" % (MANY + 1))
                check(sum(ctx.drops()[r] for r in ("listener_limit", "session_limit", "tcp_conn_limit")) > refused,
                      "a refusal was not counted")
                begun = time.monotonic()
                crowd.exchange(60)
                ctx.note("10,000 opened and answered in %.1f s, the slowest in %.2f s, all at once again in %.1f s" % (
                    took, max(crowd.took), time.monotonic() - begun))
                eventually("idle connections that hold no buffers", lambda: headrace.gauges()["bufs_held"] == 0)
                rss.append(headrace.rss_kb(pid))
            finally:
                crowd.close(reset)
            eventually("sessions closed", lambda: headrace.gauges()["sessions"] == 0, 30)
        check(server.stats()["accepted"] == 2 * MANY, "the server's figures: %s" % server.stats())
    after = ctx.counters()
    for name in ("sessions_opened", "sessions_closed"):
        got = after[name] - before[name]
        check(2 * MANY <= got <= 2 * MANY + 4, "%s grew by %d" % (name, got))
    ctx.note("memory between the two crowds %+d KB" % (rss[1] - rss[0]))
    check(rss[1] - rss[0] < 2048, "the dataplane grew by %d KB" % (rss[1] - rss[0]))


# Few source ports, so that nearly every new connection meets one that its broker believes in.
@test("crowd/dataplane-kill", needs=NEEDS, restarts=True, scan=False,
      variant={"dataplane": "source_ports = [40000, 41099];", "limits": NO_RATE})
def kill_under_connections(ctx):
    """kill -9 of the dataplane under 1,000 connections: the new one meets brokers still ESTABLISHED on its ports.

    A SYN there is answered by a challenge ACK, that by a reset, and the SYN goes again after its timeout of one second
    (RFC 9293 3.10.7.3). The limit for a client is 2 s from its connect() to its first answer; half of them have to keep
    it here, and the slowest, on a machine that does other things too, has twice as long."""
    with Server() as server:
        crowd, new = Crowd(), Crowd()
        try:
            crowd.open(BEFORE_KILL, 60)
            check(not crowd.broken, crowd.broken[:3])
            pid = headrace.children()["dataplane"]
            start = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            eventually("a new dataplane", lambda: headrace.children().get("dataplane") not in (None, pid), 10, 0.02)
            eventually("ready", lambda: headrace.HERE.accepts(False), 20, 0.05)
            ready = time.monotonic() - start
            seen = server.stats()
            check(seen["open"] == BEFORE_KILL and seen["resets"] == 0, "brokers know already: %s" % seen)
            new.open(200, 20, at_once=200)
            check(len(new.took) == 200, "%d of 200 served: %s" % (len(new.took), new.broken[:3]))
            took, met, c = sorted(new.took), server.stats()["resets"], ctx.counters()
            ctx.note("ready after %.1f s; then 200 clients, of whom %d met an old connection: median %.2f s, slowest %.2f s" % (
                ready, met, took[100], took[-1]))
            check(met >= 50, "only %d old connections were met: nothing was shown" % met)
            check(c["tcp_rst_tx"] >= met, "%d resets sent" % c["tcp_rst_tx"])
            check(took[100] <= 2 and took[-1] <= 4, "median %.2f s, slowest %.2f s" % (took[100], took[-1]))
            new.exchange(20)
        finally:
            crowd.close(reset=True)
            new.close(reset=True)


@test("crowd/syn-flood", needs=NEEDS, scan=False)
def syn_flood(ctx):
    """SYNs as fast as a raw socket sends them: a connection goes on, new clients get in by cookies, memory is bounded."""
    seconds = 5
    sources = ["10.77.1.%d" % (100 + i) for i in range(8)]
    pid = headrace.children()["dataplane"]
    env.run(["ip", "-n", zone_ns(1), "-batch", "-"], stdin=None, input="".join("addr add %s/32 dev eth0\n" % a for a in sources))
    for a in sources:  # they exist for ARP, and answer nothing
        env.run(env.in_ns(zone_ns(1), ["iptables", "-A", "INPUT", "-d", a, "-j", "DROP"]))
    flood = None
    with Server():
        old, new = Crowd(), Crowd()
        try:
            old.open(1, 10)
            check(not old.broken, old.broken)
            before, rss = ctx.counters(), headrace.rss_kb(pid)
            flood = subprocess.Popen(env.in_ns(zone_ns(1), env.on_cpu(0, [
                BUILD + "/tests/support/hr-syn-flood", net.HEADRACE, str(headrace.TCP_PORT), str(seconds)] + sources)),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            eventually("the first cookie", lambda: ctx.counters()["tcp_syn_cookie_tx"] > before["tcp_syn_cookie_tx"], 10)
            answers, entered, half_open = 0, 0, 0
            while flood.poll() is None:
                old.exchange(10)
                answers += 1
                new.open(1, 15)
                entered += flood.poll() is None and len(new.took) > entered
                if answers % 8 == 0:
                    half_open = max(half_open, headrace.gauges()["tcp_half_open"])
            sent = json.loads(flood.communicate()[0])
            rate, c = sent["sent"] / sent["seconds"], ctx.counters()
            got = c["tcp_syn_rx"] - before["tcp_syn_rx"]
            took = sorted(new.took) or [0]
            ctx.note("%.0f SYN/s sent, %.0f/s received, %d cookies, %d half open; %d answers on an old connection, %d new "
                     "clients during it, %d by cookie, median %.2f s, slowest %.2f s; memory %+d KB" % (
                         rate, got / sent["seconds"], c["tcp_syn_cookie_tx"] - before["tcp_syn_cookie_tx"], half_open, answers,
                         entered, c["tcp_syn_cookie_ok"] - before["tcp_syn_cookie_ok"], took[len(took) // 2], took[-1],
                         headrace.rss_kb(pid) - rss))
            check(not new.broken, "%d new clients were not served: %s" % (len(new.broken), new.broken[:3]))
            check(entered > 0 and answers > 1, "%d new clients and %d answers during the flood" % (entered, answers))
            check(c["tcp_syn_cookie_ok"] > before["tcp_syn_cookie_ok"], "nobody came in by a cookie")
            check(half_open <= 4096, "%d half-open connections" % half_open)
            check(headrace.rss_kb(pid) - rss < 8192, "the dataplane grew by %d KB" % (headrace.rss_kb(pid) - rss))
        finally:
            if flood and flood.poll() is None:
                flood.terminate()
                flood.wait()
            old.close()
            new.close()
            env.run(["ip", "-n", zone_ns(1), "-batch", "-"], stdin=None, check=False,
                    input="".join("addr del %s/32 dev eth0\n" % a for a in sources))

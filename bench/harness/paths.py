"""Two questions that veth alone does not answer: does our congestion control share a bottleneck with the kernel's,
and what is left of a path that loses packets?

Share: zone 2 is reached through a token bucket with a drop-tail queue. One flow goes through Headrace (whose leg to
zone 2 is what counts: the client's is not limited), one is the kernel's, CUBIC, from zone 3. For comparison the same with
two kernel flows.

Loss: a broker's place behind hr-delay, 10 ms there and back, 1 % of the packets lost each way. Goodput through Headrace ÷
goodput through HAProxy, both CUBIC, one after the other in shuffled order.
"""

import json
import subprocess

from harness import e2e, rounds, stats, systems, topology
from rig import env, net, netns
from rig.env import HUB, LOGS, RigError, Step, run as command, zone_ns

# Name: Mbit/s, ms of queue. CUBIC needs seconds from one loss to the next (the cube root of the path's segments, nearly): on
# a path of 86 segments flows that began unequal have come together after some, on one of 860 who began with less is seen for
# half a minute.
SHARED = {"share": (50, 20), "share_large": (200, 50)}
BURST_KB = 16
SHARE_OMIT_S = 5
SHARE_PORT, KERNEL_PORT, FAR_PORT = 5201, 5202, 5203
ONE_WAY_US, LOSS_PERCENT = 5000, 1.0
FAR_SEED = 9


class FarRelay(systems.HAProxy):
    """HAProxy before the far broker."""

    def client_address(self, broker):
        return topology.relay_addr(0), FAR_PORT

    def broker_addr(self, broker):
        return topology.far_addr()

    def broker_port(self, broker):
        return FAR_PORT


def _server(name, ns, port):
    env.daemon(name, env.in_ns(ns, env.on_cpu(0, ["iperf3", "-s", "-p", str(port)])), log="%s/%s.log" % (LOGS, name))

    def listening():
        with netns.inside(ns), open("/proc/thread-self/net/tcp6") as f6, open("/proc/thread-self/net/tcp") as f4:
            return ":%04X " % port in f6.read() + f4.read()
    env.wait_for("iperf3 in " + ns, listening, 5, 0.05)


def _client(zone, addr, port, seconds, omit=1):
    return subprocess.Popen(env.in_ns(zone_ns(zone), env.on_cpu(0, [
        "iperf3", "-J", "-c", addr, "-p", str(port), "-t", "%d" % max(2, round(seconds)), "-O", "%d" % omit, "-C", "cubic",
        "--connect-timeout", "5000"])), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _received(process, timeout):
    """Mbit/s at the receiver's end."""
    try:
        out = process.communicate(timeout=timeout)[0]
        end = json.loads(out)["end"]
        return end["sum_received"]["bits_per_second"] / 1e6
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RigError("iperf3: no end")
    except (ValueError, KeyError):
        raise RigError("iperf3: " + out[-300:])


def _both(first, second, seconds):
    a, b = _client(1, *first, seconds, SHARE_OMIT_S), _client(3, *second, seconds, SHARE_OMIT_S)
    return _received(a, seconds + 30), _received(b, seconds + 30)


def share(results, budget, plan, name, seconds, needed_after):
    rate_mbit, queue_ms = SHARED[name]
    kernel = (topology.broker_addr(0), KERNEL_PORT)
    command(env.in_ns(HUB, ["tc", "qdisc", "add", "dev", "z2b0", "root", "tbf", "rate", "%dmbit" % rate_mbit, "burst",
                            "%dkb" % BURST_KB, "latency", "%dms" % queue_ms]))

    def one_round(rng):
        got, order = {}, ["headrace", "kernel"]
        rng.shuffle(order)
        for who in order:
            first = (net.HEADRACE, SHARE_PORT) if who == "headrace" else (topology.broker_addr(0), SHARE_PORT)
            got[who] = _both(first, kernel, seconds)
        return got

    try:
        kept = rounds.run(results, budget, "share of %d Mbit/s" % rate_mbit, plan["rounds"], one_round, needed_after=needed_after)
    finally:
        command(env.in_ns(HUB, ["tc", "qdisc", "del", "dev", "z2b0", "root"]), check=False)
    how = "iperf3 received, two flows through tbf %d Mbit/s with %d ms of drop-tail queue" % (rate_mbit, queue_ms)
    for who in ("headrace", "kernel"):
        results.add("paths/%s/%s:kernel" % (name, who), "ratio", how, stats.ratios([r[who][0] for r in kept], [r[who][1] for r in kept]),
                    part="paths", system=who, quantity="share")
        results.add("paths/%s/%s+kernel" % (name, who), "Mbit/s", how + ": both together", [sum(r[who]) for r in kept], "higher",
                    part="paths", system=who, quantity="sum")


def lossy(results, budget, plan, seconds, relay, needed_after):
    ways = {"headrace": net.HEADRACE, "haproxy": topology.relay_addr(0)}
    if relay is None:
        ways.pop("haproxy")

    def one_round(rng):
        got, order = {}, list(ways)
        rng.shuffle(order)
        for who in order:
            got[who] = _received(_client(1, ways[who], FAR_PORT, seconds), seconds + 40)
        return got

    kept = rounds.run(results, budget, "goodput at %g %% loss" % LOSS_PERCENT, plan["rounds"], one_round, needed_after=needed_after)
    how = "iperf3 received, one flow, hr-delay %d ms both ways together, %g %% lost each way" % (2 * ONE_WAY_US // 1000, LOSS_PERCENT)
    for who in ways:
        results.add("paths/loss/%s/goodput" % who, "Mbit/s", how, [r[who] for r in kept], "higher", part="paths", system=who,
                    quantity="goodput")
    if relay is not None:
        ratio = stats.ratios([r["headrace"] for r in kept], [r["haproxy"] for r in kept])
        m = results.add("paths/loss/headrace:haproxy/goodput", "ratio", "Headrace ÷ HAProxy on the kernel's CUBIC, round by round",
                        ratio, "higher", part="paths", system="haproxy", quantity="goodput")
        m["verdict"] = stats.verdict(ratio, "higher")


def run(results, budget, plan, needed_after=0):
    brokers = [systems.Broker(e2e.NODE_ID, topology.BROKER_ZONE, 0)]
    proxy = systems.Headrace(8, 0, tcp=(("share", SHARE_PORT, "%s:%d" % (topology.broker_addr(0), SHARE_PORT)),
                                        ("far", FAR_PORT, "%s:%d" % (topology.far_addr(), FAR_PORT))))
    relay = FarRelay(2, 0)
    # A flow needs some seconds to find its rate.
    seconds = max(2, 4 * plan["seconds"])
    started = []
    try:
        with Step("starting Headrace, a kernel relay and a path with loss"):
            topology.apply("mtu1500")
            e2e.start_broker([proxy], brokers)
            env.daemon("bench-delay", env.in_ns(HUB, env.on_cpu(0, [
                env.BUILD + "/bench/e2e/hr-delay", "hdla", "hdlb", str(ONE_WAY_US), "%g" % LOSS_PERCENT, str(FAR_SEED)])),
                log=LOGS + "/bench-delay.log")
            _server("bench-iperf-share", zone_ns(2), SHARE_PORT)
            _server("bench-iperf-kernel", zone_ns(2), KERNEL_PORT)
            _server("bench-iperf-far", topology.FAR, FAR_PORT)
            proxy.start(brokers)
            started.append(proxy)
            if relay.missing():
                relay = None
            else:
                relay.start(brokers)
                started.append(relay)
            topology.apply("mtu1500")
        for i, name in enumerate(SHARED):
            left = (len(SHARED) - 1 - i) * 2 * (seconds + SHARE_OMIT_S) + 3 * seconds
            share(results, budget, plan, name, seconds, needed_after + plan["rounds"] * left)
            results.save()
        lossy(results, budget, plan, seconds, relay, needed_after)
    finally:
        for s in started:
            s.stop()
        for name in ("bench-iperf-share", "bench-iperf-kernel", "bench-iperf-far", "bench-delay", "bench-nullbroker"):
            env.stop(name, timeout=5)
    results.save()

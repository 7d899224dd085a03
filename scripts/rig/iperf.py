"""iperf3 between zones: directly, or through Headrace's mode = "tcp" listener (the floor of the Kafka path)."""

import json

from rig import env, headrace, net
from rig.env import RigError, zone_ns

CLIENT_ZONE = 1


def server(zone=headrace.TCP_ZONE):
    if env.pid_of("iperf-server") is None:
        env.daemon("iperf-server", env.in_ns(zone_ns(zone), env.on_cpu(0, ["iperf3", "-s", "-p", str(headrace.TCP_PORT)])))
        from rig import netns

        def listening():
            try:
                with netns.inside(zone_ns(zone)), open("/proc/thread-self/net/tcp6") as f6, \
                        open("/proc/thread-self/net/tcp") as f4:
                    sockets = [line.split() for line in f6.readlines() + f4.readlines()]
                # In state LISTEN: earlier connections to the port linger in TIME-WAIT.
                return any(s[1].endswith(":%04X" % headrace.TCP_PORT) and s[3] == "0A" for s in sockets)
            except OSError:
                return False
        env.wait_for("iperf3 server", listening, 5, 0.05)


def stop_server():
    env.stop("iperf-server", sig=9)


def client(seconds=5, reverse=False, target=None, streams=1, total_bytes=None, timeout=120):
    """Runs one test and returns Gbit/s and bytes as the receiver counted them."""
    argv = ["iperf3", "-J", "-c", target or net.HEADRACE, "-p", str(headrace.TCP_PORT), "-P", str(streams)]
    argv += ["-n", str(total_bytes)] if total_bytes else ["-t", str(seconds)]
    if reverse:
        argv.append("-R")
    res = env.run(env.in_ns(zone_ns(CLIENT_ZONE), env.on_cpu(0, argv)), check=False, timeout=timeout)
    try:
        out = json.loads(res.stdout)
    except ValueError:
        raise RigError("iperf3: %s %s" % (res.stdout[-500:], res.stderr[-500:]))
    if out.get("error"):
        raise RigError("iperf3: " + out["error"])
    end = out["end"]
    return {"gbps": end["sum_received"]["bits_per_second"] / 1e9, "bytes": end["sum_received"]["bytes"],
            "sent_bytes": end["sum_sent"]["bytes"], "retransmits": end["sum_sent"].get("retransmits", 0)}

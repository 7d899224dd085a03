"""Both legs over IPv6: the same workers, TCP and relay, other addresses."""

from framework.core import check, test
from rig import env, headrace, net
from rig.env import zone_ns
from test_tcp import Peer, _digest_server, _round_trip, spread

SIX = {"ipv6": True}


@test("ipv6/tcp", needs=("headrace",), variant=SIX, scan=False)
def tcp(ctx):
    """The mode = "tcp" listener, each byte compared, both directions, around segments of 1440 bytes."""
    with Peer(_digest_server, ipv6=True) as peer:
        for size in (0, 1, 1427, 1428, 1429, 65537, 20000000):
            _round_trip(ctx, size)
        check(not peer.errors, peer.errors)
    c, d = ctx.counters(), ctx.drops()
    check(c["nd_rx"] > 0 and c["nd_tx"] > 0, "no neighbour discovery?")
    check(c["addr_duplicate"] == 0, "our address was taken for a duplicate")
    check(d["tcp_checksum"] == 0 and d["nd_bad"] == 0, "drops: %s" % {k: v for k, v in d.items() if v})


@test("ipv6/ping", needs=("headrace",), variant=SIX, scan=False)
def ping(ctx):
    res = env.run(env.in_ns(zone_ns(1), ["ping", "-6", "-c", "3", "-i", "0.2", "-s", "1400", net.HEADRACE6]), check=False)
    check(res.returncode == 0 and " 3 received" in res.stdout, res.stdout + res.stderr)


@test("ipv6/two-workers", needs=("headrace",), variant={"ipv6": True, "workers": [0, 1]}, scan=False)
def two_workers(ctx):
    """Segments and neighbours' answers that reach one worker and concern the other."""
    spread(ctx, ipv6=True)


@test("ipv6/kafka", variant=SIX, scan=False)
def kafka_over_ipv6(ctx):
    """kcat writes and reads by Headrace's IPv6 address; Headrace reaches the brokers by theirs."""
    topic = ctx.topic("six")
    lines = ["key%d\tvalue %d %s" % (i, i, "z" * (i % 500)) for i in range(600)]
    net.set_hosts(zone_ns(1), headrace.client_hosts(net.HEADRACE6))
    try:
        env.run(env.in_ns(zone_ns(1), ["kcat", "-P", "-b", ctx.bootstrap, "-t", topic, "-K", "\t", "-X", "acks=all"]),
                stdin=None, input="\n".join(lines) + "\n", timeout=60)
        got = env.run(env.in_ns(zone_ns(1), ["kcat", "-b", ctx.bootstrap, "-G", topic + "-group", "-K", "\t", "-q", "-c",
                                             "600", "-X", "auto.offset.reset=earliest", topic]), timeout=60)
        got = got.stdout.splitlines()
    finally:
        net.set_hosts(zone_ns(1), headrace.client_hosts())
    check(sorted(got) == sorted(lines), "%d lines came back, of %d" % (len(got), len(lines)))
    brokers = headrace.ctl("brokers")["brokers"]
    check(all(b["address"] and b["address"].startswith("fd77::") for b in brokers), brokers)

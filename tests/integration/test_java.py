"""Kafka's own clients: every feature with the current one, the common ones with an old one."""

from framework.core import check, test
from rig import deps, headrace, kafka, net

BOTH = ("4.4.0", "3.9.2")
MB = 1000000


def _virtual(ctx, endpoints):
    """Endpoints as a client showed them must be Headrace's virtual brokers."""
    if ctx.direct:
        return
    want = {z: "%d=b%d.%s:%d" % (kafka.NODE_ID[z], kafka.NODE_ID[z], net.CLIENT_NAME,
                                 headrace.NODE_PORT_BASE + kafka.NODE_ID[z]) for z in kafka.NODE_ID}
    for e in endpoints:
        check(e.rsplit("/", 1)[0] in want.values(), "endpoint %s is no virtual broker (%s)" % (e, sorted(want.values())))


def _produce_consume(ctx, version, codecs=("none", "gzip", "snappy", "lz4", "zstd"), count=1000):
    for codec in codecs:
        r = ctx.java(version).call("produce_consume", bootstrap=ctx.bootstrap, topic=ctx.topic("pc-" + codec),
                                   compression=codec, count=count)
        check(r["records"] == count, "%s: %d records" % (codec, r["records"]))


@test("java/produce-consume", kafka_versions=BOTH)
def produce_consume(ctx):
    """Keys, headers, nulls and timestamps, byte-exact, with the four compressions and none."""
    _produce_consume(ctx, "4.4.0")


@test("java/sizes")
def sizes(ctx):
    """Records from 1 byte to 50 MB."""
    r = ctx.java().call("sizes", bootstrap=ctx.bootstrap, topic=ctx.topic("sizes", 1, max_message_bytes=64 << 20),
                        sizes="1,2,100,1000,1448,16384,65536,1000000,10000000,50000000", timeout=280)
    ctx.note("%.0f MB in %.1f s" % (r["bytes"] / 1e6, r["seconds"]))


@test("java/acks0")
def acks0(ctx):
    """acks=0 has no responses at all; responses behind them still find their requests."""
    ctx.java().call("acks0", bootstrap=ctx.bootstrap, topic=ctx.topic("acks0", 1))


@test("java/transactions", kafka_versions=BOTH)
def transactions(ctx):
    ctx.java().call("transactions", bootstrap=ctx.bootstrap, topic=ctx.topic("tx"), topic2=ctx.topic("tx-out"))


@test("java/group-classic", kafka_versions=BOTH)
def group_classic(ctx):
    ctx.java().call("group", bootstrap=ctx.bootstrap, topic=ctx.topic("group", 6))


@test("java/group-consumer")
def group_consumer(ctx):
    """KIP-848: the broker assigns."""
    ctx.java().call("group", bootstrap=ctx.bootstrap, topic=ctx.topic("group", 6), protocol="consumer")


@test("java/share-group")
def share_group(ctx):
    ctx.java().call("share_group", bootstrap=ctx.bootstrap, topic=ctx.topic("share"))


@test("java/admin", kafka_versions=BOTH)
def admin(ctx):
    r = ctx.java().call("admin", bootstrap=ctx.bootstrap, topic=ctx.name("admin"))
    _virtual(ctx, r["endpoints"])
    if not ctx.direct:
        for name, value in r["listeners"].items():
            for secret in kafka.secrets():
                check(secret.decode("latin1") not in value, "%s shows %s" % (name, value))


@test("java/admin-modern")
def admin_modern(ctx):
    r = ctx.java().call("admin_modern", bootstrap=ctx.bootstrap, topic=ctx.topic("adm"))
    if not ctx.direct:
        check(not r["quorum_endpoints"], "controllers' endpoints are shown: %s" % r["quorum_endpoints"])
        check(r["features"].get("transaction.version", 0) >= 2, "features differ: %s" % r["features"])


@test("java/200-clients")
def many_clients(ctx):
    r = ctx.java().call("many_clients", bootstrap=ctx.bootstrap, topic=ctx.topic("many", 6), clients=200, count=50)
    ctx.note("100 producers, 100 consumers, %d records" % r["written"])


@test("java/three-zones")
def three_zones(ctx):
    """Clients in each zone at once."""
    begun = []
    for z in (1, 2, 3):
        t = ctx.topic("zone%d" % z)
        j = ctx.java(zone=z)
        begun.append((j, j.begin("produce_consume", bootstrap=ctx.bootstrap, topic=t, count=500, compression="lz4")))
    for j, b in begun:
        check(j.end(b)["records"] == 500, "records")


@test("java282/produce-consume", extra_versions=("3.9.2",))
def old_produce_consume(ctx):
    _produce_consume(ctx, deps.OLD_CLIENT, ("none", "lz4", "zstd"), 500)


@test("java282/transactions", extra_versions=("3.9.2",))
def old_transactions(ctx):
    ctx.java(deps.OLD_CLIENT).call("transactions", bootstrap=ctx.bootstrap, topic=ctx.topic("tx"),
                                   topic2=ctx.topic("tx-out"), rounds=6)


@test("java282/group", extra_versions=("3.9.2",))
def old_group(ctx):
    ctx.java(deps.OLD_CLIENT).call("group", bootstrap=ctx.bootstrap, topic=ctx.topic("group", 6), count=1200)


@test("java282/admin", extra_versions=("3.9.2",))
def old_admin(ctx):
    r = ctx.java(deps.OLD_CLIENT).call("admin", bootstrap=ctx.bootstrap, topic=ctx.name("admin"))
    if not ctx.direct:  # without racks where the old client shows none
        check(all(net.CLIENT_NAME in e for e in r["endpoints"]), "endpoints %s" % r["endpoints"])


@test("java/two-ports", needs=("kafka", "headrace"), variant={"ports": 2})
def two_ports(ctx):
    """Clients on one port, brokers on another network and port."""
    _produce_consume(ctx, "4.4.0", ("zstd",))
    _virtual(ctx, ctx.java().call("admin", bootstrap=ctx.bootstrap, topic=ctx.name("admin"))["endpoints"])


@test("java/mtu-9000", needs=("kafka", "headrace"), variant={"mtu": 9000})
def jumbo(ctx):
    _produce_consume(ctx, "4.4.0", ("none", "lz4"), 2000)
    ctx.java().call("sizes", bootstrap=ctx.bootstrap, topic=ctx.topic("sizes", 1, max_message_bytes=64 << 20),
                    sizes="1,8948,100000,20000000")


@test("java/two-workers", needs=("kafka", "headrace"), variant={"workers": [0, 1]})
def two_workers(ctx):
    """The same on two workers, whose queues do not know where a flow belongs."""
    _produce_consume(ctx, "4.4.0", ("none", "zstd"))
    ctx.java().call("transactions", bootstrap=ctx.bootstrap, topic=ctx.topic("tx"), topic2=ctx.topic("tx-out"))
    ctx.java().call("group", bootstrap=ctx.bootstrap, topic=ctx.topic("group", 6))
    ctx.java().call("many_clients", bootstrap=ctx.bootstrap, topic=ctx.topic("many", 6), clients=60, count=30)
    per = headrace.per_worker("sessions_opened")
    ctx.note("sessions per worker %s, handed over %d" % (per, ctx.counters()["handoff_out"]))
    check(len(per) == 2 and min(per) > 0, "sessions per worker: %s" % per)

"""Three combined KRaft nodes, one per zone, each with a rack.

Each broker has two listeners for clients. CLIENT advertises a name that only the hub (Headrace) and the brokers
resolve: what a client sees through Headrace must be Headrace's names, and a broker's name that slips through
cannot be used. DIRECT advertises the plain address, for comparing with and without Headrace. SASL is as CLIENT, and
wants a login: PLAIN or SCRAM, of the users below. TLS, MTLS and SASLTLS are as CLIENT and SASL over TLS, with certificates
of rig/tls.py; MTLS wants one of the client. Brokers and controllers talk to each other over a network of their own, so that
the links between zones carry what clients and Headrace say, and nothing else.
"""

import base64
import json
import os
import shutil
import socket
import struct
import time

from rig import deps, env, net, tls
from rig.env import LOGS, RUN, VAR, ZONES, RigError, zone_ns

NODE_ID = {z: 100 + z for z in ZONES}
RACK = {z: "use1-az%d" % z for z in ZONES}
CLUSTER_ID = "aGVhZHJhY2UtcmlnLTAwMQ"
CLIENT_PORT, DIRECT_PORT, CONTROLLER_PORT, SASL_PORT = 9092, 9094, 9093, 9096
TLS_PORT, MTLS_PORT, SASL_TLS_PORT = 9095, 9097, 9098
REPLICA_PORT = 9099
USERS = {"headrace": "he4d-race", "alice": "a1ice-secret"}
SASL_LIFETIME_MS = 8000  # then brokers want a new login (KIP-368)
IAM_LIFETIME_MS = 7500  # of logins by AWS_MSK_IAM: the mechanism's own, as MSK has one
# Who may log in by AWS_MSK_IAM, which is a mock here: a long-lived key, and a temporary one with its token.
AWS_KEYS = {"AKIDRIGEXAMPLE": ("rig/Secret+Key", None), "ASIARIGEXAMPLE": ("other/Secret+Key", "tok/en+of==")}
DATA = VAR + "/kafka"
JVM_OPTIONS = []  # further ones for brokers and tools


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _make_issuer():
    """A key pair that signs tokens, and the set of keys by which brokers check them."""
    key = DATA + "/issuer.pem"
    env.run(["openssl", "genrsa", "-out", key, "2048"])
    modulus = env.run(["openssl", "rsa", "-in", key, "-noout", "-modulus"]).stdout.strip().split("=")[1]
    with open(DATA + "/jwks.json", "w") as f:
        json.dump({"keys": [{"kty": "RSA", "kid": "rig", "alg": "RS256", "use": "sig", "e": "AQAB",
                             "n": _base64url(bytes.fromhex(modulus))}]}, f)


def token(subject, lives_s=3600):
    """A token of the rig's issuer (RS256)."""
    now = int(time.time())
    text = ".".join(_base64url(json.dumps(part).encode()) for part in (
        {"alg": "RS256", "kid": "rig"},
        {"iss": "rig", "aud": "kafka", "sub": subject, "iat": now, "exp": now + lives_s, "scope": "all"}))
    with open(DATA + "/token.text", "w") as f:
        f.write(text)
    env.run(["openssl", "dgst", "-sha256", "-sign", DATA + "/issuer.pem", "-out", DATA + "/token.sig", DATA + "/token.text"])
    with open(DATA + "/token.sig", "rb") as f:
        return text + "." + _base64url(f.read())


def headrace_names():
    """The names that clients dial: none of a broker's own."""
    return [net.CLIENT_NAME] + ["b%d.%s" % (NODE_ID[z], net.CLIENT_NAME) for z in ZONES]


def certificates():
    tls.make(headrace_names(), {"broker-%d" % NODE_ID[z]: broker_name(z) for z in ZONES})


def broker_name(zone):
    return "brk-secret-%d.rig.internal" % NODE_ID[zone]


def names(bridge=0, ipv6=False):
    """Hosts entries of the brokers' names on one of the two networks."""
    return [(net.broker_addr6(z) if ipv6 else net.broker_addr(z, bridge), broker_name(z)) for z in ZONES]


def direct_bootstrap():
    return ",".join("%s:%d" % (net.broker_addr(z), DIRECT_PORT) for z in ZONES)


def secrets():
    """What no client may ever see: brokers' names and CLIENT-side addresses, as text and as binary."""
    found = []
    for z in ZONES:
        found.append(broker_name(z).encode())
        for b in net.NETS:
            text = net.broker_addr(z, b)
            found += [text.encode(), socket.inet_aton(text)]
        found += [net.replica_addr(z).encode(), socket.inet_aton(net.replica_addr(z))]
    return found + [b".rig.internal"]


def _process(zone):
    return "kafka-%d" % NODE_ID[zone]


_LISTENERS = (("CLIENT", CLIENT_PORT, "PLAINTEXT"), ("DIRECT", DIRECT_PORT, "PLAINTEXT"),
              ("SASL", SASL_PORT, "SASL_PLAINTEXT"), ("TLS", TLS_PORT, "SSL"), ("MTLS", MTLS_PORT, "SSL"),
              ("SASLTLS", SASL_TLS_PORT, "SASL_SSL"))


def _sasl(listener):
    """Settings of a listener that wants a login."""
    bearer = "org.apache.kafka.common.security.oauthbearer."
    settings = {
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,AWS_MSK_IAM,OAUTHBEARER",
        "oauthbearer.sasl.jaas.config": bearer + "OAuthBearerLoginModule required;",
        "oauthbearer.sasl.server.callback.handler.class": bearer + "OAuthBearerValidatorCallbackHandler",
        "oauthbearer.sasl.oauthbearer.jwks.endpoint.url": "file://%s/jwks.json" % DATA,
        "oauthbearer.sasl.oauthbearer.expected.audience": "kafka",
        "oauthbearer.sasl.oauthbearer.expected.issuer": "rig",
        "aws_msk_iam.sasl.jaas.config": "hrmock.MockIam required lifetime_ms=\"%d\" %s;" % (IAM_LIFETIME_MS, " ".join(
            'key_%s="%s"' % (k, v[0]) + (' token_%s="%s"' % (k, v[1]) if v[1] else "") for k, v in AWS_KEYS.items())),
        "connections.max.reauth.ms": SASL_LIFETIME_MS,
        "plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required %s;"
                                  % " ".join('user_%s="%s"' % u for u in USERS.items()),
        "scram-sha-256.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        "scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    }
    return {"listener.name.%s.%s" % (listener, k): v for k, v in settings.items()}


def _config(zone, version, extra):
    new = version.startswith("4")
    voters = ",".join("%d@%s:%d" % (NODE_ID[z], net.replica_addr(z), CONTROLLER_PORT) for z in ZONES)
    c = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID[zone],
        "broker.rack": RACK[zone],
        "controller.quorum.voters": voters,
        "listeners": ",".join("%s://0.0.0.0:%d" % (name, port) for name, port, _ in _LISTENERS)
        + ",REPLICA://{0}:{1},CONTROLLER://{0}:{2}".format(net.replica_addr(zone), REPLICA_PORT, CONTROLLER_PORT),
        "advertised.listeners": ",".join("%s://%s:%d" % (
            name, net.broker_addr(zone) if name == "DIRECT" else broker_name(zone), port) for name, port, _ in _LISTENERS)
        + ",REPLICA://%s:%d" % (net.replica_addr(zone), REPLICA_PORT),
        "listener.security.protocol.map":
            ",".join("%s:%s" % (name, protocol) for name, _, protocol in _LISTENERS)
            + ",REPLICA:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": tls.path("broker-%d.pem" % NODE_ID[zone]),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": tls.path("ca.crt"),
        "listener.name.mtls.ssl.client.auth": "required",
        "inter.broker.listener.name": "REPLICA",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": "%s/%d" % (DATA, NODE_ID[zone]),
        "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
        "offsets.topic.replication.factor": 3,
        "offsets.topic.num.partitions": 6,
        "transaction.state.log.replication.factor": 3,
        "transaction.state.log.min.isr": 2,
        "transaction.state.log.num.partitions": 6,
        "default.replication.factor": 3,
        "num.partitions": 3,
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        # Records up to 50 MB must pass.
        "message.max.bytes": 64 << 20,
        "replica.fetch.max.bytes": 64 << 20,
        "replica.fetch.response.max.bytes": 64 << 20,
        # Failures are found within seconds, as tests want it.
        "broker.session.timeout.ms": 6000,
        "broker.heartbeat.interval.ms": 1000,
        "replica.lag.time.max.ms": 5000,
        "controller.quorum.election.timeout.ms": 1000,
        "controller.quorum.fetch.timeout.ms": 2000,
        # Small threads: three brokers share two cores.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.replica.fetchers": 1,
        "log.cleaner.dedupe.buffer.size": 16 << 20,
        "log.segment.bytes": 256 << 20,
        # Tests write records with old timestamps: age deletes nothing.
        "log.retention.ms": -1,
        "log.retention.bytes": 1 << 30,
        "log.segment.delete.delay.ms": 1000,
        "connections.max.idle.ms": 600000,
    }
    if new:
        c.update({
            "share.coordinator.state.topic.replication.factor": 3,
            "share.coordinator.state.topic.min.isr": 2,
            "share.coordinator.state.topic.num.partitions": 6,
            "group.consumer.min.heartbeat.interval.ms": 500,
            "group.consumer.heartbeat.interval.ms": 1000,
            "group.share.min.heartbeat.interval.ms": 500,
            "group.share.heartbeat.interval.ms": 1000,
        })
    c.update(_sasl("sasl"))
    c.update(_sasl("sasltls"))
    c.update((extra(zone, c) if callable(extra) else extra) or {})
    return "".join("%s=%s\n" % kv for kv in c.items())


LOG4J2 = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN"><Appenders><Console name="out">
<PatternLayout pattern="%d{ISO8601} %-5p %c{1.} %m%n"/></Console></Appenders>
<Loggers><Root level="%s"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""
LOG4J1 = """log4j.rootLogger=%s, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %-5p %c %m%n
"""


def _java(version, args, heap="512m", kind="broker", more=()):
    """A java command line; kind is broker or tools: which jars, and which log settings. more: further sets of jars."""
    folder = deps.jars("%s-%s" % (kind, version))
    log = ("-Dlog4j2.configurationFile=%s/%s-log4j2.xml" if version.startswith("4")
           else "-Dlog4j.configuration=file:%s/%s-log4j.properties") % (DATA, kind)
    path = folder + "/*"
    if kind == "broker":
        path += ":" + deps.compile_java("iam-mock-" + version, path, [env.ROOT + "/tests/integration/iam_mock/MockIam.java"], 17)
    else:
        path += "".join(":" + deps.jars(j) + "/*" for j in more)
    return ["java", "-Xms" + heap, "-Xmx" + heap, "-XX:+UseSerialGC", log,
            "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://%s/jwks.json" % DATA, *JVM_OPTIONS, "-cp", path] + args


def _launch(zone, version):
    # Brokers live in the zone's network but see their peers' names, which clients there do not.
    argv = ["sh", "-c", 'mount --bind %s/broker.hosts /etc/hosts && exec "$@"' % RUN, "sh"]
    argv += env.on_cpu(0, _java(version, ["kafka.Kafka", "%s/%d.properties" % (DATA, NODE_ID[zone])]))
    env.daemon(_process(zone), env.in_ns(zone_ns(zone), argv), log="%s/%s.log" % (LOGS, _process(zone)))


def version():
    """The version of the brokers that are set up, None if there are none."""
    try:
        with open(DATA + "/version") as f:
            return f.read().strip()
    except OSError:
        return None


def up(want=deps.KAFKA_DEFAULT, extra=None):
    """Formats and starts the brokers; returns when every one of them answers and knows its peers.

    extra: further settings, or a function of zone and settings that returns some.
    """
    if "broker-" + want not in deps.JARS:
        raise RigError("Kafka %s: the rig knows %s" % (want, ", ".join(
            sorted(n[7:] for n in deps.JARS if n.startswith("broker-")))))
    if version() not in (None, want):
        raise RigError("Kafka %s is running; `down` first" % version())
    deps.jars("broker-" + want)
    fresh = version() is None
    os.makedirs(DATA, exist_ok=True)
    os.makedirs(RUN, exist_ok=True)
    with open(RUN + "/broker.hosts", "w") as f:
        f.write("127.0.0.1 localhost\n" + "".join("%s %s\n" % n for n in names()))
    for kind, level in (("broker", "INFO"), ("tools", "WARN")):
        for name, text in (("log4j2.xml", LOG4J2), ("log4j.properties", LOG4J1)):
            with open("%s/%s-%s" % (DATA, kind, name), "w") as f:
                f.write(text.replace("%s", level))
    if fresh:
        _make_issuer()
    certificates()
    for z in ZONES:
        with open("%s/%d.properties" % (DATA, NODE_ID[z]), "w") as f:
            f.write(_config(z, want, extra))
    missing = [z for z in ZONES if env.pid_of(_process(z)) is None]
    if not missing:
        return
    with env.Step("starting three Kafka %s brokers" % want):
        if fresh:
            import subprocess
            scram = [a for mech in ("SCRAM-SHA-256", "SCRAM-SHA-512") for name, secret in USERS.items()
                     for a in ("--add-scram", "%s=[name=%s,password=\"%s\"]" % (mech, name, secret))]
            runs = [subprocess.Popen(_java(want, ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c",
                                                  "%s/%d.properties" % (DATA, NODE_ID[z])] + scram, heap="128m"),
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     text=True) for z in ZONES]
            for r in runs:
                out = r.communicate(timeout=120)[0]
                if r.returncode != 0:
                    raise RigError("Kafka storage format failed:\n" + out[-2000:])
            with open(DATA + "/version", "w") as f:
                f.write(want)
        for z in missing:
            _launch(z, want)
        wait_ready()


def metadata(sock):
    """Brokers and partitions by a Metadata v1 request for all topics.

    ({node: (host, port, rack)}, {topic: {partition: leader}}, how many replicas are not in sync).
    """
    body = struct.pack(">hhih", 3, 1, 1, 3) + b"rig" + struct.pack(">i", -1)
    sock.sendall(struct.pack(">i", len(body)) + body)
    data = recv_frame(sock)
    pos = 4

    def take(fmt):
        nonlocal pos
        v = struct.unpack_from(">" + fmt, data, pos)[0]
        pos += struct.calcsize(">" + fmt)
        return v

    def text():
        nonlocal pos
        n = take("h")
        if n < 0:
            return None
        s = data[pos:pos + n].decode()
        pos += n
        return s

    brokers, topics, behind = {}, {}, 0
    for _ in range(take("i")):
        node = take("i")
        brokers[node] = (text(), take("i"), text())
    take("i")  # controller
    for _ in range(take("i")):
        take("h")
        name = text()
        take("b")
        parts = topics.setdefault(name, {})
        for _ in range(take("i")):
            take("h")
            p, leader = take("i"), take("i")
            for sign in (1, -1):  # replicas, then those of them that are in sync
                n = take("i")
                pos += 4 * n
                behind += sign * n
            parts[p] = leader
    return brokers, topics, behind


def recv_frame(sock):
    head = b""
    while len(head) < 4:
        more = sock.recv(4 - len(head))
        if not more:
            raise OSError("closed")
        head += more
    need, got = struct.unpack(">i", head)[0], bytearray()
    while len(got) < need:
        more = sock.recv(need - len(got))
        if not more:
            raise OSError("closed")
        got += more
    return bytes(got)


def leader(topic, partition=0):
    """Who leads a partition, by the first broker that answers."""
    for z in ZONES:
        got = ask(z)
        if got:
            return got[1][topic][partition]
    raise RigError("no broker answers")


def ask(zone, timeout=5):
    """metadata() of one broker, directly; None while it does not answer."""
    from rig import netns
    try:
        with netns.connect(zone_ns(zone), (net.broker_addr(zone), DIRECT_PORT), timeout) as s:
            return metadata(s)
    except OSError:
        return None


def create_topic(name, partitions, replicas=3):
    """By a CreateTopics v2 request; returns when all brokers know the topic, and who leads it."""
    from rig import netns
    text = name.encode()
    body = struct.pack(">hhih", 19, 2, 1, 3) + b"rig" + struct.pack(">ih", 1, len(text)) + text
    body += struct.pack(">ihiii?", partitions, replicas, 0, 0, 30000, False)
    with netns.connect(zone_ns(ZONES[0]), (net.broker_addr(ZONES[0]), DIRECT_PORT), 30) as s:
        s.sendall(struct.pack(">i", len(body)) + body)
        error = struct.unpack_from(">h", recv_frame(s), 4 + 4 + 4 + 2 + len(text))[0]
    if error:
        raise RigError("topic %s: error %d" % (name, error))

    def known():
        got = [ask(z) for z in alive()]
        return all(g and len(g[1].get(name, {})) == partitions and min(g[1][name].values()) >= 0 for g in got)
    env.wait_for("topic %s at every broker" % name, known, 30)


def alive():
    return [z for z in ZONES if env.pid_of(_process(z)) is not None]


def wait_ready(zones=ZONES, timeout=180):
    """Every one of these brokers answers and sees all of them; all partitions have leaders, all replicas are in sync."""
    want = {NODE_ID[z] for z in zones}

    def ready():
        for z in zones:
            if env.pid_of(_process(z)) is None:
                raise RigError("broker %d died; the end of its log:\n%s" % (
                    NODE_ID[z], env.tail("%s/%s.log" % (LOGS, _process(z)), 20)))
            got = ask(z)
            if not got or not want <= set(got[0]):
                return False
            if got[2] or any(leader < 0 for parts in got[1].values() for leader in parts.values()):
                return False
        return True
    env.wait_for("Kafka brokers %s" % sorted(want), ready, timeout, 0.25)


def kill(zone, sig=9):
    """Signals a broker: 9 as a crash, 15 as a clean stop, 19/18 as a freeze and its end."""
    if not env.send(_process(zone), sig):
        raise RigError("broker %d is not running" % NODE_ID[zone])
    if sig in (9, 15):
        env.wait_for("end of broker %d" % NODE_ID[zone], lambda: env.pid_of(_process(zone)) is None, 90)


def start(zone, wait=True):
    _launch(zone, version())
    if wait:
        wait_ready()


def down():
    for z in ZONES:
        env.send(_process(z), 9)
    for z in ZONES:
        env.stop(_process(z), sig=9)
    shutil.rmtree(DATA, ignore_errors=True)


def tool(zone, main, args, version_=None, timeout=300, check=True, more=(), environ=None):
    """Runs one of Kafka's own tools in a zone."""
    argv = _java(version_ or version() or deps.KAFKA_DEFAULT, [main] + args, heap="256m", kind="tools", more=more)
    return env.run(env.in_ns(zone_ns(zone), env.on_cpu(0, argv)), timeout=timeout, check=check,
                   **({"env": dict(os.environ, **environ)} if environ else {}))

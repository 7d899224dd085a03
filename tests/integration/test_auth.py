"""Clusters whose brokers want a login: the control plane's own, for metadata; and clients' logins, which pass through."""

import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from framework.core import check, eventually, test
from rig import deps, env, headrace, kafka, net
from rig.env import ROOT, zone_ns

PROGRAMS = ROOT + "/tests/integration/clients"


def _sasl(mechanism, password=kafka.USERS["alice"]):
    return ["security.protocol=sasl_plaintext", "sasl.mechanism=" + mechanism, "sasl.username=alice",
            "sasl.password=" + password]


def _through(ctx, mechanism):
    """Records in and, by a group, out again, by a client that logs in to the brokers itself.

    Debian's kcat would not do: SCRAM of its librdkafka repeats the nonce, which brokers refuse since 3.9.1.
    """
    r = ctx.run(1, [deps.venv(), PROGRAMS + "/confluent.py", ctx.bootstrap, ctx.topic("auth"), "100"] + _sasl(mechanism))
    check(r["records"] == 500, r)
    ctx.note("%s: %s" % (mechanism, r["client"]))


def _metadata():
    return headrace.ctl("status")["metadata"]


def _error():
    return _metadata()["last_error"] or ""


def _knows_all():
    brokers = headrace.ctl("brokers")["brokers"]
    check(sorted(b["id"] for b in brokers) == sorted(kafka.NODE_ID.values()), brokers)
    check(all(b["port"] == kafka.SASL_PORT for b in brokers), brokers)


@test("auth/plain", needs=("kafka", "headrace"), variant={"broker_auth": "PLAIN"}, extra_versions=("3.9.2",))
def plain(ctx):
    """Metadata by PLAIN; clients of each mechanism pass through, one with a wrong password is refused by the broker."""
    _knows_all()
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        _through(ctx, mechanism)
    res = env.run(env.in_ns(zone_ns(1), ["kcat", "-b", ctx.bootstrap, "-L", "-m", "5"]
                            + [w for s in _sasl("PLAIN", "wrong") for w in ("-X", s)]), timeout=60, check=False)
    check(res.returncode != 0 and "Authentication failed" in res.stderr, res.stderr[-500:])


@test("auth/scram-256", needs=("kafka", "headrace"), variant={"broker_auth": "SCRAM-SHA-256"}, suite="all")
def scram_256(ctx):
    _knows_all()
    _through(ctx, "SCRAM-SHA-256")


@test("auth/scram-512", needs=("kafka", "headrace"), variant={"broker_auth": "SCRAM-SHA-512"}, extra_versions=("3.9.2",))
def scram_512(ctx):
    """Metadata by SCRAM; a wrong secret is refused, named and mended while traffic flows."""
    _knows_all()
    _through(ctx, "SCRAM-SHA-512")
    headrace.ctl("set", "cluster.refresh_ms", "1000")
    before = _metadata()
    # The login lasts 8 s at the brokers, and is new before that: no broker ever has to end the connection.
    started, time_out = _metadata()["refreshes"], time.monotonic() + 1.5 * kafka.SASL_LIFETIME_MS / 1000
    while time.monotonic() < time_out:
        time.sleep(0.5)
    check(_metadata()["refreshes"] - started > 5, "refreshes stopped")
    check(_metadata()["failures"] == before["failures"], _metadata())
    # Somebody changes the file for the worse: sessions go on, and the reason is there to be read.
    headrace.set_broker_secret("wrong")
    eventually("refusal", lambda: "the broker refused the login (error 58)" in _error(), 60, 0.5)
    check("wrong" not in _error(), _error())
    _through(ctx, "SCRAM-SHA-512")
    headrace.set_broker_secret(kafka.USERS["headrace"])
    eventually("metadata with the right secret", lambda: _error() == "", 60, 0.5)


def _list_topics_by_iam(ident, check=True):
    """AWS's own client, by Kafka's tool, through Headrace: it signs for the name that it dials."""
    secret, token = kafka.AWS_KEYS[ident]
    path = "%s/iam-client.properties" % env.RUN
    with open(path, "w") as f:
        f.write("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=AWS_MSK_IAM\n"
                "sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required;\n"
                "sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler\n")
    environ = {"AWS_ACCESS_KEY_ID": ident, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1",
               **({"AWS_SESSION_TOKEN": token} if token else {})}
    return kafka.tool(1, "org.apache.kafka.tools.TopicCommand",
                      ["--bootstrap-server", "%s:%d" % (net.CLIENT_NAME, headrace.BOOTSTRAP_PORT), "--list",
                       "--command-config", path],
                      more=("msk-iam-2.3.2",), environ=environ, check=check, timeout=120)


def _new_control_plane():
    """Ends it, as a crash would; the launcher brings another, which reads everything anew."""
    pid = headrace.children()["controlplane"]
    os.kill(pid, signal.SIGKILL)

    def answers():
        try:
            return headrace.children().get("controlplane", pid) != pid and headrace.ctl("status", timeout=3)
        except env.RigError:
            return None
    eventually("a new control plane", answers, 60, 0.2)


@test("auth/msk-iam", needs=("kafka", "headrace"), variant={"broker_auth": "AWS_MSK_IAM"}, restarts=True)
def msk_iam(ctx):
    """Metadata by AWS_MSK_IAM; brokers are real, and verify signatures by a mock of what MSK adds to them."""
    _knows_all()
    topic = ctx.topic("iam")
    check(topic in _list_topics_by_iam("AKIDRIGEXAMPLE").stdout.split(), "the topic is not listed")
    ctx.note("passthrough: aws-msk-iam-auth 2.3.2")
    # A temporary key, whose token is full of characters that need encoding; then a wrong secret, which is named.
    headrace.set_aws_key("ASIARIGEXAMPLE", *kafka.AWS_KEYS["ASIARIGEXAMPLE"])
    _new_control_plane()
    eventually("metadata by the temporary key", lambda: _metadata()["refreshes"] > 0, 60, 0.5)
    headrace.set_aws_key("AKIDRIGEXAMPLE", "not/the+secret")
    _new_control_plane()
    eventually("refusal", lambda: "Access denied: signature" in _error(), 60, 0.5)
    check("not/the" not in _error(), _error())
    _list_topics_by_iam("ASIARIGEXAMPLE")  # sessions go on by the policy that the dataplane has
    headrace.set_aws_key("AKIDRIGEXAMPLE", *kafka.AWS_KEYS["AKIDRIGEXAMPLE"])
    _new_control_plane()
    eventually("metadata again", lambda: _metadata()["refreshes"] > 0, 60, 0.5)


@test("auth/oauth", needs=("kafka", "headrace"), variant={"broker_auth": "OAUTHBEARER"}, extra_versions=("3.9.2",),
      scan=False)
def oauth(ctx):
    """Metadata by a signed token; one of another issuer's key is refused by the brokers, and named."""
    _knows_all()
    good = kafka.token("headrace")
    headrace.set_broker_secret(good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB"))
    # The brokers' logins last 8 s, so the next one is soon.
    headrace.ctl("set", "cluster.refresh_ms", "1000")
    eventually("refusal", lambda: "the broker refused the token" in _error(), 90, 0.5)
    check(good[-40:-8] not in _error(), _error())
    headrace.set_broker_secret(good)
    eventually("metadata with the right token", lambda: _error() == "", 60, 0.5)


class _Listener:
    """hr-sasl-listen: the server's side of SASL on a loopback port, and what it says of each connection."""

    def __init__(self, users):
        self.p = subprocess.Popen([env.BUILD + "/tests/support/hr-sasl-listen", users], stdout=subprocess.PIPE, text=True)
        self.address = "127.0.0.1:" + self.p.stdout.readline().strip()
        self.said = queue.Queue()
        threading.Thread(target=lambda: [self.said.put(line.strip()) for line in self.p.stdout], daemon=True).start()

    def expect(self, argv, want, timeout=60, **kw):
        """Starts a client, which may try often, and ends it when a connection has ended as wanted."""
        while not self.said.empty():
            self.said.get()
        client = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **kw)
        deadline = time.monotonic() + timeout
        try:
            said = []
            while True:
                try:
                    said.append(self.said.get(timeout=0.2))
                except queue.Empty:
                    check(time.monotonic() < deadline, "%s: wanted %s, got %s" % (argv[0], want, said))
                    continue
                if said[-1].startswith(want):
                    return
        finally:
            client.kill()
            client.wait()

    def close(self):
        self.p.kill()
        self.p.wait()


LIBRDKAFKA = """
import sys
from confluent_kafka.admin import AdminClient
AdminClient(dict(a.split("=", 1) for a in sys.argv[1:])).list_topics(timeout=20)
"""
KAFKA_PYTHON = """
import sys
from kafka import KafkaProducer
KafkaProducer(bootstrap_servers=sys.argv[1], security_protocol="SASL_PLAINTEXT", sasl_mechanism=sys.argv[2],
              sasl_plain_username="alice", sasl_plain_password=sys.argv[3])
"""


@test("auth/listener-clients", needs=("program",))
def listener_clients(ctx):
    """Clients that others wrote log in at the server's side of SASL, by each mechanism, and with a wrong password."""
    folder = tempfile.mkdtemp(prefix="hr-auth-")
    users, props = folder + "/users", folder + "/client.properties"
    env.run([env.BUILD + "/controlplane/headracectl", "users", "add", "alice", "--file", users], stdin=None,
            input="a1ice-secret\n")
    listener = _Listener(users)
    sarama = deps.go_program("sasl", PROGRAMS + "/go/sasl/main.go")
    java = ["java", "-cp", deps.jars("tools-4.4.0") + "/*", "org.apache.kafka.tools.TopicCommand", "--list",
            "--bootstrap-server", listener.address, "--command-config", props]
    try:
        for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            for password, want in (("a1ice-secret", "done %s alice" % mechanism), ("wrong", "failed alice: wrong password")):
                listener.expect([deps.venv(), "-c", LIBRDKAFKA, "bootstrap.servers=" + listener.address]
                                + _sasl(mechanism, password), want)
                listener.expect([deps.venv(), "-c", KAFKA_PYTHON, listener.address, mechanism, password], want)
                with open(props, "w") as f:
                    f.write("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=%s\nsasl.jaas.config=org.apache.kafka.common"
                            ".security.%s required username=\"alice\" password=\"%s\";\n" % (
                                mechanism, "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule",
                                password))
                listener.expect(java, want)
        for handshake in ("0", "1"):
            listener.expect([sarama, listener.address, "PLAIN", handshake, "alice", "a1ice-secret"], "done PLAIN alice")
            listener.expect([sarama, listener.address, "PLAIN", handshake, "alice", "wrong"],
                            ("closed" if handshake == "0" else "failed") + " alice: wrong password")
        ctx.note("librdkafka, kafka-python, Java, sarama with both handshakes")
    finally:
        listener.close()
        shutil.rmtree(folder)

"""Clusters whose brokers want a login: the control plane's own, for metadata; and clients' logins, which pass through."""

import os
import signal
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
    before = _metadata()
    # The login lasts 8 s at the brokers, and is new before that: no broker ever has to end the connection.
    eventually("metadata after the first login's end", lambda: _metadata()["refreshes"] > before["refreshes"],
               timeout=60, interval=0.5)
    headrace.ctl("set", "cluster.refresh_ms", "1000")
    started, time_out = _metadata()["refreshes"], time.monotonic() + 2.5 * kafka.SASL_LIFETIME_MS / 1000
    while time.monotonic() < time_out:
        time.sleep(0.5)
    check(_metadata()["refreshes"] - started > 10, "refreshes stopped")
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

"""Clients that log in to Headrace itself, by each mechanism, and sessions that log in to the brokers for them."""

import os
import signal
import subprocess

from framework.core import check, eventually, test
from rig import deps, env, headrace, kafka, net, tls
from rig.env import ROOT, zone_ns

PROGRAMS = ROOT + "/tests/integration/clients"
BY_PASSWORD = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
USERS = headrace.CLIENT_USERS


def _sasl(mechanism, user="carol", password=None, protocol="sasl_plaintext"):
    return ["security.protocol=" + protocol, "sasl.mechanism=" + mechanism, "sasl.username=" + user,
            "sasl.password=" + (password or USERS[user])]


def _over_tls(settings):
    return settings + ["ssl.ca.location=" + tls.path("ca.crt")]


def _refused():
    return {f["reason"]: f["count"] for f in headrace.ctl("logins")["failed"]}


def _done(leg):
    return {d["mechanism"]: d["count"] for d in headrace.ctl("logins")[leg]}


def _records(ctx, settings, bootstrap=None, count=60):
    """Records in and, by a group, out again."""
    r = ctx.run(1, [deps.venv(), PROGRAMS + "/confluent.py", bootstrap or ctx.bootstrap, ctx.topic("terminate"), str(count)]
                + settings)
    check(r["records"] == 5 * count, r)
    return r["client"]


def _kcat(bootstrap, settings, *args):
    return ["kcat", "-b", bootstrap] + list(args) + [w for s in settings for w in ("-X", s)]


def _denied(bootstrap, settings, reason, text):
    """A client whose login is refused, which hears why, and whose reason is counted."""
    before = _refused().get(reason, 0)
    res = env.run(env.in_ns(zone_ns(1), _kcat(bootstrap, settings, "-L", "-m", "2")), timeout=60, check=False)
    check(res.returncode != 0 and text in res.stderr, res.stderr[-500:])
    check(_refused().get(reason, 0) > before, _refused())


def _let_in(bootstrap, settings):
    res = env.run(env.in_ns(zone_ns(1), _kcat(bootstrap, settings, "-L", "-m", "10")), timeout=60, check=False)
    return res.returncode == 0


def _principals():
    return [c["principal"] for c in headrace.ctl("connections")["connections"]]


@test("terminate/scram", needs=("kafka", "headrace"), variant={"auth": BY_PASSWORD, "broker_auth": "SCRAM-SHA-512"})
def scram(ctx):
    """Clients log in here, sessions at the brokers; users come and go while traffic flows."""
    ctx.note(_records(ctx, _sasl("SCRAM-SHA-512")))
    check(_done("clients")["SCRAM-SHA-512"] > 0 and _done("brokers")["SCRAM-SHA-512"] > 0, headrace.ctl("logins"))
    wrong = "Authentication failed: Invalid username or password"
    _denied(ctx.bootstrap, _sasl("PLAIN", password="wrong"), "bad_credentials", wrong)
    _denied(ctx.bootstrap, _sasl("PLAIN", "nobody", "c4rol-secret"), "bad_credentials", wrong)
    _denied(ctx.bootstrap, _sasl("PLAIN", "mallory"), "not_allowed", "User:mallory is not allowed on this listener")
    # One who is new, and one who goes with all that she has.
    try:
        headrace.users("add", "team-new", password="n3w")
        eventually("the new user", lambda: _let_in(ctx.bootstrap, _sasl("PLAIN", "team-new", "n3w")), 30, 0.2)
        topic = ctx.topic("terminate")
        reader = subprocess.Popen(env.in_ns(zone_ns(1), _kcat(ctx.bootstrap, _sasl("PLAIN", "team-new", "n3w"), "-C", "-q",
                                                              "-t", topic)), stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            eventually("her connections", lambda: "team-new" in _principals(), 30, 0.2)
            said = headrace.users("remove", "team-new", "--kill").stdout
            check("connections ended" in said and not said.startswith("0 "), said)
            check("team-new" not in _principals(), _principals())
            eventually("her refusal", lambda: reader.poll() is not None or _refused()["bad_credentials"] > 2, 30, 0.2)
            check("team-new" not in _principals(), _principals())
        finally:
            reader.kill()
            reader.wait()
    finally:
        headrace.users("remove", "team-new", check=False)


KAFKA_PYTHON = """
import sys
from kafka import KafkaProducer
p = KafkaProducer(bootstrap_servers=sys.argv[1], security_protocol="SASL_PLAINTEXT", sasl_mechanism=sys.argv[3],
                  sasl_plain_username=sys.argv[4], sasl_plain_password=sys.argv[5])
p.send(sys.argv[2], b"x").get(timeout=60)
"""


def _java(ctx, mechanism, user, password, expect):
    path = env.RUN + "/terminate-client.properties"
    with open(path, "w") as f:
        f.write("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=%s\nsasl.jaas.config=org.apache.kafka.common.security.%s "
                'required username="%s" password="%s";\n' % (
                    mechanism, "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule", user, password))
    res = kafka.tool(1, "org.apache.kafka.tools.TopicCommand",
                     ["--bootstrap-server", "%s:%d" % (net.CLIENT_NAME, headrace.BOOTSTRAP_PORT), "--list",
                      "--command-config", path], check=False, timeout=120)
    check(expect in res.stdout + res.stderr, (res.stdout + res.stderr)[-800:])


def _every_client(ctx):
    """Each client by each mechanism, and with a wrong password."""
    topic = ctx.topic("terminate")
    sarama = deps.go_program("sasl", PROGRAMS + "/go/sasl/main.go")
    for mechanism in BY_PASSWORD:
        _records(ctx, _sasl(mechanism))
        ctx.run(1, [deps.venv(), "-c", KAFKA_PYTHON, ctx.bootstrap, topic, mechanism, "carol", USERS["carol"]])
        _java(ctx, mechanism, "carol", USERS["carol"], topic)
        _java(ctx, mechanism, "carol", "wrong", "SaslAuthenticationException")
    for handshake in ("0", "1"):
        ctx.run(1, [sarama, ctx.bootstrap, "PLAIN", handshake, "carol", USERS["carol"]])
        res = env.run(env.in_ns(zone_ns(1), [sarama, ctx.bootstrap, "PLAIN", handshake, "carol", "wrong"]), check=False)
        check(res.returncode != 0, "sarama logged in with a wrong password")
    ctx.note("librdkafka, kafka-python, Java, sarama with both handshakes")


@test("terminate/brokers-plain", needs=("kafka", "headrace"), variant={"auth": BY_PASSWORD, "broker_auth": "PLAIN"}, suite="all",
      extra_versions=("3.9.2",))
def brokers_plain(ctx):
    _every_client(ctx)


@test("terminate/brokers-open", needs=("kafka", "headrace"), variant={"auth": BY_PASSWORD}, suite="all")
def brokers_open(ctx):
    """Brokers that want no login: the worker opens the connection to them itself."""
    _every_client(ctx)
    check(_done("brokers") == {}, headrace.ctl("logins"))


@test("terminate/tls", needs=("kafka", "headrace"), suite="all",
      variant={"auth": BY_PASSWORD, "broker_auth": "SCRAM-SHA-512", "tls": True, "broker_tls": "tls"})
def both_over_tls(ctx):
    """The same inside TLS on both legs: no password passes the dataplane."""
    at = "%s:%d" % (net.CLIENT_NAME, headrace.TLS_PORT)
    for mechanism in BY_PASSWORD:
        _records(ctx, _over_tls(_sasl(mechanism, protocol="sasl_ssl")), at)
    _denied(at, _over_tls(_sasl("PLAIN", password="wrong", protocol="sasl_ssl")), "bad_credentials", "Authentication failed")


OAUTH = """
import sys, time
from confluent_kafka.admin import AdminClient
token = sys.argv[2]
said = []
c = AdminClient({"bootstrap.servers": sys.argv[1], "security.protocol": "sasl_plaintext", "sasl.mechanism": "OAUTHBEARER",
                 "oauth_cb": lambda config: (token, time.time() + 300), "error_cb": lambda e: said.append(str(e))})
try:
    print("topics", len(c.list_topics(timeout=float(sys.argv[3])).topics))
except Exception as e:
    print("failed", e, said)
"""


@test("terminate/oauth", needs=("kafka", "headrace"), variant={"auth": ["OAUTHBEARER"], "broker_auth": "SCRAM-SHA-512"},
      suite="all", scan=False)
def oauth(ctx):
    """Tokens of the rig's issuer; one that is damaged, one of somebody whom the listener does not let in."""
    ctx.topic("terminate")

    def ask(token, timeout):
        return env.run(env.in_ns(zone_ns(1), [deps.venv(), "-c", OAUTH, ctx.bootstrap, token, str(timeout)]), timeout=120).stdout
    good = kafka.token("carol")
    check(ask(good, 30).startswith("topics "), "the token is refused")
    check(_done("clients") == {"OAUTHBEARER": _done("clients")["OAUTHBEARER"]}, headrace.ctl("logins"))
    check(ask(good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB"), 5).startswith("failed"), "let in")
    check(ask(kafka.token("mallory"), 5).startswith("failed"), "let in")
    check(_refused()["bad_token"] > 0 and _refused()["not_allowed"] > 0, _refused())


@test("terminate/none", needs=("kafka", "headrace"), variant={"auth": "none", "broker_auth": "SCRAM-SHA-256"}, suite="all")
def none(ctx):
    """Clients that know nothing of logins, towards brokers that want one."""
    _records(ctx, [])
    check(_done("brokers")["SCRAM-SHA-256"] > 0 and _done("clients") == {}, headrace.ctl("logins"))


@test("terminate/restart", needs=("kafka", "headrace"), restarts=True, suite="all",
      variant={"auth": BY_PASSWORD, "broker_auth": "SCRAM-SHA-512"})
def restart(ctx):
    """The control plane dies: sessions flow on, the next one knows whose they are, and lets others in."""
    topic = ctx.topic("terminate")
    reader = subprocess.Popen(env.in_ns(zone_ns(1), _kcat(ctx.bootstrap, _sasl("PLAIN"), "-C", "-q", "-u", "-c", "1", "-t", topic)),
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
    try:
        eventually("its connections", lambda: _principals().count("carol") > 1, 30, 0.2)
        ids = {c["id"] for c in headrace.ctl("connections")["connections"]}
        pid = headrace.children()["controlplane"]
        os.kill(pid, signal.SIGKILL)

        def answers():
            try:
                return headrace.children().get("controlplane", pid) != pid and headrace.ctl("status", timeout=3)["ready"]
            except env.RigError:
                return False
        eventually("a new control plane", answers, 60, 0.2)
        known = {c["id"]: c for c in headrace.ctl("connections")["connections"] if c["principal"] == "carol"}
        check(known.keys() & ids, (known, ids))
        check(all(c["mechanism"] == "PLAIN" and c["broker_identity"] == "headrace" for c in known.values()), known)
        check(_let_in(ctx.bootstrap, _sasl("PLAIN")), "nobody is let in any more")
        env.run(env.in_ns(zone_ns(1), _kcat(ctx.bootstrap, _sasl("PLAIN"), "-P", "-t", topic)), stdin=None, input="a record\n",
                timeout=60)
        check(reader.communicate(timeout=60)[0] == "a record\n", "the reader did not go on")
    finally:
        reader.kill()
        reader.wait()

"""Clusters whose brokers want a login: the control plane's own, for metadata; and clients' logins, which pass through."""

import time

from framework.core import check, eventually, test
from rig import deps, env, headrace, kafka
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

"""The playground for users: what scripts/quickstart runs once the packages are there."""

import argparse
import json
import os
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from rig import cli, compare, deps, env, headrace, kafka, net, tls  # noqa: E402
from rig.env import HUB, LOGS, RigError, ZONES, say, zone_ns  # noqa: E402

TOPIC = "quickstart"
RECORDS = 20000
COMPARED = 4000  # records written in each zone


def _bootstrap():
    return "%s:%d" % (net.CLIENT_NAME, headrace.BOOTSTRAP_PORT)


def _tls_options():
    """kcat's, for the listener that speaks TLS; the CA was made when the playground was."""
    return ["-b", "%s:%d" % (net.CLIENT_NAME, headrace.TLS_PORT), "-X", "security.protocol=ssl", "-X",
            "ssl.ca.location=" + tls.path("ca.crt")]


def _through_headrace():
    """Moves real messages with clients that know nothing of Headrace, and returns what they said."""
    boot, shown = _bootstrap(), []
    stamp = "%s-%d" % (TOPIC, int(time.time()))
    with env.Step("creating topic %s with Kafka's own tool" % TOPIC):
        kafka.tool(1, "org.apache.kafka.tools.TopicCommand", [
            "--bootstrap-server", boot, "--create", "--if-not-exists", "--topic", TOPIC, "--partitions", "6",
            "--replication-factor", "3"])
    with env.Step("zone 1: kcat writes, zone 3: kcat reads the same lines back"):
        lines = ["%s\t%s message %d" % (stamp, stamp, i) for i in range(1000)]
        env.run(env.in_ns(zone_ns(1), ["kcat", "-P", "-b", boot, "-t", TOPIC, "-K", "\t", "-z", "zstd"]), stdin=None,
                input="\n".join(lines) + "\n", timeout=60)
        got = env.run(env.in_ns(zone_ns(3), ["kcat", "-C", "-b", boot, "-t", TOPIC, "-K", "\t", "-e", "-q", "-o",
                                             "beginning"]), timeout=60).stdout.splitlines()
        got = [line for line in got if line.startswith(stamp + "\t")]
        if sorted(got) != sorted(lines):
            raise RigError("kcat read back %d lines that differ from the %d written" % (len(got), len(lines)))
        shown.append("kcat       zone 1 -> zone 3   1,000 lines written with zstd and read back, equal byte for byte")
    with env.Step("zone 2: kcat writes a line over TLS, zone 3: kcat reads it over plain text"):
        line = "%s-tls\tover TLS" % stamp
        env.run(env.in_ns(zone_ns(2), ["kcat", "-P", "-t", TOPIC, "-K", "\t"] + _tls_options()), stdin=None,
                input=line + "\n", timeout=60)
        got = env.run(env.in_ns(zone_ns(3), ["kcat", "-C", "-b", boot, "-t", TOPIC, "-K", "\t", "-e", "-q", "-o",
                                             "beginning"]), timeout=60).stdout.splitlines()
        done = headrace.ctl("tls")["clients"]["done"]
        if got.count(line) != 1 or done < 1:
            raise RigError("the line came back %d times, after %d TLS handshakes" % (got.count(line), done))
        shown.append("kcat, TLS  zone 2 -> zone 3   a line written over TLS (%d handshakes), read over plain text" % done)
    with env.Step("zone 1: Kafka's VerifiableProducer, zone 2: VerifiableConsumer in a group"):
        topic = stamp + "-verified"
        kafka.tool(1, "org.apache.kafka.tools.TopicCommand", ["--bootstrap-server", boot, "--create", "--topic", topic,
                                                            "--partitions", "6", "--replication-factor", "3"])
        out = kafka.tool(1, "org.apache.kafka.tools.VerifiableProducer", [
            "--bootstrap-server", boot, "--topic", topic, "--max-messages", str(RECORDS), "--acks", "-1"], timeout=120)
        sent = [json.loads(line) for line in out.stdout.splitlines() if line.startswith("{")]
        acked = {(r["partition"], r["offset"]): r["value"] for r in sent if r["name"] == "producer_send_success"}
        if len(acked) != RECORDS:
            raise RigError("%d of %d records were acknowledged" % (len(acked), RECORDS))
        out = kafka.tool(2, "org.apache.kafka.tools.VerifiableConsumer", [
            "--bootstrap-server", boot, "--topic", topic, "--group-id", topic, "--max-messages", str(RECORDS),
            "--reset-policy", "earliest", "--verbose"], timeout=120)
        read = [json.loads(line) for line in out.stdout.splitlines() if line.startswith("{")]
        back = {(r["partition"], r["offset"]): r["value"] for r in read if r["name"] == "record_data"}
        if back != acked:
            raise RigError("the consumer group read %d records, which are not the %d written" % (len(back), len(acked)))
        shown.append("Java       zone 1 -> zone 2   %s records, acks=all, each found at its acknowledged place"
                     % format(RECORDS, ","))
    return shown


def _compare():
    with env.Step("an instance of Headrace in each zone: the same reads and writes direct and through them"):
        return compare.run(COMPARED)


def _summary(shown, compared, took):
    brokers = (kafka.ask(1) or ({},))[0]
    print()
    print("Headrace is up: unmodified clients -> Headrace (DPDK, userspace TCP) -> Kafka %s, %d brokers"
          % (kafka.version(), len(brokers)))
    print()
    for line in shown:
        print("  " + line)
    try:
        c = headrace.counters()
        print("  Headrace   requests %s, responses %s, %.1f MB up, %.1f MB down, payload bytes copied %d" % (
            format(c["kafka_requests"], ","), format(c["kafka_responses"], ","), c["relay_bytes_up"] / 1e6,
            c["relay_bytes_down"] / 1e6, c["payload_copied_bytes"]))
    except (RigError, KeyError):
        pass
    me = "sudo " + os.path.relpath(os.path.join(env.ROOT, "scripts", "quickstart"))
    print()
    print("What clients see (broker addresses stay hidden behind it):")
    out = env.run(env.in_ns(zone_ns(1), ["kcat", "-L", "-b", _bootstrap(), "-t", TOPIC]), check=False, timeout=20).stdout
    for line in out.splitlines()[1:5]:
        print("  " + line.strip())
    print()
    print("Try it:")
    print("  %s exec 2 -- kcat -C -b %s -t %s -o beginning -c 3" % (me, _bootstrap(), TOPIC))
    print("  %s exec 2 -- kcat -C %s -t %s -o beginning -c 3" % (me, " ".join(_tls_options()), TOPIC))
    print("  eval \"$(%s env)\"      # HR_BOOTSTRAP, HR_DIRECT_BOOTSTRAP, HR_ZONES, HR_LOGS, HR_CTL" % me)
    print("  %s exec hub -- %s status" % (me, " ".join(headrace.ctl_command())))
    print("  %s status" % me)
    print("  %s zones               # the comparison below, again" % me)
    print("  %s down                # removes all of it" % me)
    if compared:
        print()
        print("\n".join(compare.table(compared)))
    print("(%.0f s)" % took)


def up(a):
    start = time.monotonic()
    if a.config and not os.path.exists(a.config):
        raise RigError("%s: no such file" % a.config)
    deps.build()
    if a.config:
        headrace.check_config(a.config)
    version = a.kafka or kafka.version() or deps.KAFKA_DEFAULT
    if "broker-" + version not in deps.JARS:
        raise RigError("--kafka %s: there are %s and %s" % (version, deps.KAFKA_DEFAULT, deps.KAFKA_OLD))
    deps.jars("broker-" + version)
    deps.jars("tools-" + version)
    fresh = not env.pid_of("headrace")
    if a.config and not fresh:
        with env.Step("restarting Headrace with %s" % a.config):
            headrace.stop()
        fresh = True
    cli.up(version=version, variant={"tls": True}, config=a.config)
    if a.config:
        # The user's own configuration may listen elsewhere: nothing is assumed about it.
        print("Headrace runs with %s; logs in %s" % (a.config, LOGS))
        return 0
    again = fresh or a.try_again
    shown = _through_headrace() if again else ["already running; --try moves messages again"]
    _summary(shown, _compare() if again else None, time.monotonic() - start)
    return 0


def zones(a):
    if not net.exists(HUB):
        raise RigError("not running: start it with scripts/quickstart")
    print("\n".join(compare.table(_compare())))
    return 0


def status(a):
    if not net.exists(HUB):
        print("not running")
        return 3
    for z in ZONES:
        pid = env.pid_of("kafka-%d" % kafka.NODE_ID[z])
        print("zone %d  %s  clients %s  broker %d (%s) %s" % (
            z, kafka.RACK[z], net.client_addr(z), kafka.NODE_ID[z], net.broker_addr(z),
            "pid %d" % pid if pid else "DOWN"))
    top, kids = env.pid_of("headrace"), headrace.children()
    print("headrace %s" % ("pid %d, dataplane %s, control plane %s" % (top, kids.get("dataplane"), kids.get("controlplane"))
                           if top else "DOWN"))
    if top and os.geteuid() == 0:
        print(headrace.ctl("status", as_json=False), end="")
    print("logs in %s" % LOGS)
    return 0 if top and all(env.pid_of("kafka-%d" % kafka.NODE_ID[z]) for z in ZONES) else 1


def show_env(a):
    print("export HR_BOOTSTRAP=%s" % _bootstrap())
    print("export HR_DIRECT_BOOTSTRAP=%s" % kafka.direct_bootstrap())
    print("export HR_ZONES='%s'" % " ".join(map(str, ZONES)))
    print("export HR_LOGS=%s" % LOGS)
    print("export HR_CTL='%s'" % " ".join(env.in_ns(HUB, headrace.ctl_command())))
    return 0


def execute(a):
    command = a.command[1:] if a.command[:1] == ["--"] else a.command
    if not command:
        raise RigError("exec ZONE -- COMMAND...")
    if a.zone not in ("hub",) + tuple(map(str, ZONES)):
        raise RigError("zone %s: there are %s and hub" % (a.zone, ", ".join(map(str, ZONES))))
    ns = HUB if a.zone == "hub" else zone_ns(int(a.zone))
    if not net.exists(ns):
        raise RigError("not running: start it with scripts/quickstart")
    os.environ.setdefault("HR_BOOTSTRAP", _bootstrap())
    os.environ.setdefault("HR_DIRECT_BOOTSTRAP", kafka.direct_bootstrap())
    os.execvp("ip", env.in_ns(ns, command))


def down(a):
    with env.Step("stopping and removing the playground"):
        cli.down()
    left = cli.leftovers()
    for line in left:
        say("left behind: " + line)
    if a.purge:
        shutil.rmtree(env.CACHE, ignore_errors=True)
    return 1 if left else 0


def main(argv):
    if not argv or argv[0].startswith("-"):
        argv = ["up"] + argv
    p = argparse.ArgumentParser(prog="quickstart")
    sub = p.add_subparsers(dest="cmd", required=True)
    q = sub.add_parser("up")
    q.add_argument("--kafka", help="broker version: %s or %s" % (deps.KAFKA_DEFAULT, deps.KAFKA_OLD))
    q.add_argument("--config", help="your own Headrace configuration")
    q.add_argument("--try", dest="try_again", action="store_true", help="move messages again")
    q.set_defaults(fn=up)
    sub.add_parser("status").set_defaults(fn=status)
    sub.add_parser("env").set_defaults(fn=show_env)
    sub.add_parser("zones").set_defaults(fn=zones)
    q = sub.add_parser("exec")
    q.add_argument("zone")
    q.add_argument("command", nargs=argparse.REMAINDER)
    q.set_defaults(fn=execute)
    q = sub.add_parser("down")
    q.add_argument("--purge", action="store_true")
    q.set_defaults(fn=down)
    a = p.parse_args(argv)
    return a.fn(a)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except RigError as err:
        say("error: %s" % err)
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted; `scripts/quickstart down` removes what was started")
        sys.exit(130)

"""Headrace on the rig: its configuration, and the one instance in the hub (rig/fleet.py has one in each zone).

A variant is a dictionary of the choices that tests make:
  ports      1 (both legs on one port) or 2 (clients on br0, brokers on br1)
  workers    list of lcores
  mtu        of the ports
  advertise  host pattern that clients are told
  listener, limits, tcp, dataplane   further settings of these groups, as text
  idle       "adaptive" or "busy"
  ipv6       both legs over IPv6 alone (one port)
  broker_auth  mechanism by which the control plane logs in to the brokers' SASL listener, as user headrace
  tls        listeners for TLS beside the plain one: by port, by port with a client's certificate, by name
  listener_tls  further settings of their groups "tls", as text
  auth       mechanisms by which clients log in to Headrace, as one of CLIENT_USERS; "none": they need not
  auth_more  further settings of their group "auth", as text
  broker_tls "tls" or "mtls": brokers are spoken to over TLS, with mtls a certificate of our own is at hand
"""

import os
import shutil

from rig import env, instance, kafka, net, tls
from rig.env import HUB, RUN, RigError, ZONES
from rig.instance import Instance

HERE = Instance("headrace", HUB)
RUNTIME, CONFIG = HERE.runtime, HERE.config
is_ready = instance.is_ready
ctl_command, ctl, children, stop = HERE.ctl_command, HERE.ctl, HERE.children, HERE.stop
workers, counters, gauges, drops, per_worker = HERE.workers, HERE.counters, HERE.gauges, HERE.drops, HERE.per_worker
BOOTSTRAP_PORT = 9092
NODE_PORT_BASE = 9200
TLS_PORT, TLS_PORT_BASE = 9093, 9400
MTLS_PORT, MTLS_PORT_BASE = 9094, 9600
SNI_PORT = 9443
BROKER_SECRET = RUN + "/broker.secret"
AWS_FILE = RUN + "/aws.credentials"
USERS_FILE = RUN + "/users"
JWKS_FILE = RUN + "/jwks.json"
# Who may log in to Headrace; mallory is not in the listeners' list. Brokers know none of them.
CLIENT_USERS = {"carol": "c4rol-secret", "team-a-1": "t3am-secret", "mallory": "m4llory-secret"}
TCP_PORT = 5201
TCP_ZONE = 2  # where the target of the mode = "tcp" listener runs

DEFAULTS = {"ports": 1, "workers": None, "mtu": 1500, "advertise": "b$(nodeId)." + net.CLIENT_NAME,
            "idle": "adaptive", "limits": "", "tcp": "", "listener": "", "dataplane": "", "ipv6": False,
            "broker_auth": None, "auth": None, "auth_more": "", "tls": False, "listener_tls": "", "broker_tls": None}


def default_workers():
    return [1] if (os.cpu_count() or 1) > 1 else [0]


def _broker_auth(mechanism):
    """The group broker_auth, and the file that it names."""
    if not mechanism:
        return ""
    if mechanism == "AWS_MSK_IAM":
        set_aws_key("AKIDRIGEXAMPLE", *kafka.AWS_KEYS["AKIDRIGEXAMPLE"])
        return ('broker_auth: { mechanism = "AWS_MSK_IAM"; aws_region = "us-east-1"; aws_credentials = "file"; '
                'aws_file = "%s"; };' % AWS_FILE)
    if mechanism == "OAUTHBEARER":
        set_broker_secret(kafka.token("headrace"))
        return 'broker_auth: { mechanism = "OAUTHBEARER"; secret = { file = "%s"; }; };' % BROKER_SECRET
    set_broker_secret(kafka.USERS["headrace"])
    return ('broker_auth: { mechanism = "%s"; username = "headrace"; secret = { file = "%s"; }; };'
            % (mechanism, BROKER_SECRET))


def users(*args, password=None, check=True):
    """headracectl users, on the file that the listeners name; the file stays the control plane's."""
    res = env.run(env.in_ns(HUB, ctl_command() + ["users"] + list(args) + ["--file", USERS_FILE]), stdin=None,
                  input=password + "\n" if password else "", check=check, timeout=30)
    if os.path.exists(USERS_FILE):
        shutil.chown(USERS_FILE, "nobody")
    return res


def _auth(mechanisms, more):
    """The group auth of the listeners, and the files that it names."""
    if not mechanisms:
        return ""
    if mechanisms == "none":
        return 'auth: { mode = "none"; };'
    for path in (USERS_FILE, USERS_FILE + ".lock"):
        if os.path.exists(path):
            os.unlink(path)
    for name, password in CLIENT_USERS.items():
        users("add", name, password=password)
    oauth = ""
    if "OAUTHBEARER" in mechanisms:
        with open(kafka.DATA + "/jwks.json") as f:
            _private(JWKS_FILE, f.read())
        oauth = 'oauth: { jwks_file = "%s"; issuer = "rig"; audience = "kafka"; };' % JWKS_FILE
    return ('auth: { mode = "terminate"; mechanisms = [%s]; users = "%s"; allow = ["User:carol", "User:team-*"]; %s };'
            % (", ".join('"%s"' % m for m in mechanisms), USERS_FILE, oauth + more))


def _private(path, text):
    """A file that the control plane's user alone can read, replaced at once."""
    with open(path + ".new", "w") as f:
        f.write(text + "\n")
    os.chmod(path + ".new", 0o600)
    shutil.chown(path + ".new", "nobody")
    os.rename(path + ".new", path)


def set_broker_secret(text):
    _private(BROKER_SECRET, text)


def set_aws_key(ident, secret, token=None):
    _private(AWS_FILE, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n%s" % (
        ident, secret, "aws_session_token = %s" % token if token else ""))


def _pair(name):
    return '{ chain = "%s"; key = "%s"; }' % (tls.path(name + ".crt"), tls.path(name + ".key"))


def _tls_listeners(v, ids, auth):
    """TLS by port, the same for clients that show a certificate, and brokers told apart by name."""
    text = ""
    for name, port, how, more in (
            ("tls", TLS_PORT, "node_port_base = %d;" % TLS_PORT_BASE, ""),
            ("mtls", MTLS_PORT, "node_port_base = %d;" % MTLS_PORT_BASE, 'client_auth = "required";'),
            ("sni", SNI_PORT, 'routing = "sni"; bootstrap_host = "%s";' % net.CLIENT_NAME, 'client_auth = "optional";')):
        if "client_auth" in more:
            more += ' client_ca = "%s"; client_crl = "%s";' % (tls.path("ca.crt"), tls.path("ca.crl"))
        text += """
  { name = "%s"; mode = "kafka"; address = "%s"; bootstrap_port = %d; %s node_ids = [%s];
    advertised_host = "%s"; %s
    tls: { enabled = true; certificates = (%s, %s); %s %s }; },""" % (
            name, net.HEADRACE6 if v["ipv6"] else net.HEADRACE, port, how, ids, v["advertise"], v["listener"] + auth,
            _pair("headrace"), _pair("headrace-rsa"), more, v["listener_tls"])
    return text


def _broker_port(v):
    if v["broker_tls"]:
        return (kafka.SASL_TLS_PORT if v["broker_auth"] else kafka.MTLS_PORT if v["broker_tls"] == "mtls"
                else kafka.TLS_PORT)
    return kafka.SASL_PORT if v["broker_auth"] else kafka.CLIENT_PORT


def _broker_tls(kind):
    if not kind:
        return ""
    own = 'certificate = "%s"; key = "%s";' % (tls.path("client-of-brokers.crt"), tls.path("client-of-brokers.key"))
    return 'tls: { enabled = true; ca = "%s"; %s };' % (tls.path("ca.crt"), own if kind == "mtls" else "")


def client_hosts(addr=net.HEADRACE):
    """What clients' /etc/hosts know: Headrace, and nothing of the brokers."""
    return [(addr, name) for name in kafka.headrace_names()]


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_kb(pid):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def bootstrap():
    return "%s:%d" % (net.HEADRACE, BOOTSTRAP_PORT)


def render(variant=None):
    """The configuration file's text."""
    v = dict(DEFAULTS, **(variant or {}))
    ports = []
    for b in range(v["ports"]):
        dev, addr = net.PORTS[b]
        addr = net.HEADRACE6 + "/64" if v["ipv6"] else addr + "/16"
        blocks = ",framesz=16384,blocksz=65536,framecnt=1024" if v["mtu"] > 1500 else ""
        ports.append('    { name = "%s"; device = "net_af_packet%d,iface=%s%s%s"; mtu = %d;\n'
                     '      addresses = ("%s"); }'
                     % (dev, b, dev, blocks, ",qpairs=%d" % len(v["workers"] or default_workers())
                        if len(v["workers"] or default_workers()) > 1 else "", v["mtu"], addr))
    workers = v["workers"] or default_workers()
    ids = sorted(kafka.NODE_ID.values())
    ids = "%d, %d" % (ids[0] - 1, ids[-1] + 97)
    if v["tls"] or v["broker_tls"]:
        kafka.certificates()
    auth = _auth(v["auth"], v["auth_more"])
    return """# Written by the rig; config/headrace.cfg documents every key.
zones = { own = "use1-az1"; clients = (%(zones)s); };
dataplane: {
  main_lcore = 0;
  workers = [%(workers)s];
  idle = "%(idle)s";
  hugepages = false;
  memory_mb = 512;
  file_prefix = "%(prefix)s";
  %(dataplane)s
  ports = (
%(ports)s
  );
};
tcp: { %(tcp)s };
limits: { %(limits)s };
cluster: {
  bootstrap = (%(bootstrap)s);
  %(broker_tls)s
};
%(broker_auth)s
listeners = (
  { name = "kafka"; mode = "kafka"; address = "%(addr)s"; bootstrap_port = %(port)d;
    node_port_base = %(base)d; node_ids = [%(ids)s];
    advertised_host = "%(advertise)s";
    %(listener)s },%(tls)s
  { name = "floor"; mode = "tcp"; address = "%(addr)s"; port = %(tcp_port)d; target = "%(target)s:%(tcp_port)d"; }
);
control: {
  runtime_dir = "%(runtime)s";
  metrics_address = "10.77.0.1:9090";
};
log: { level = "info"; format = "text"; };
""" % {
        "workers": ", ".join(map(str, workers)), "idle": v["idle"], "prefix": "hr-rig-" + env.NAME,
        "zones": ", ".join('{ cidr = "10.77.%d.0/24"; zone = "%s"; }' % (z, kafka.RACK[z]) for z in ZONES),
        "ports": ",\n".join(ports), "dataplane": v["dataplane"], "tcp": v["tcp"], "limits": v["limits"],
        "bootstrap": ", ".join('"%s:%d"' % (kafka.broker_name(z), _broker_port(v)) for z in ZONES),
        "tls": _tls_listeners(v, ids, auth) if v["tls"] else "", "broker_tls": _broker_tls(v["broker_tls"]),
        "broker_auth": _broker_auth(v["broker_auth"]),
        "addr": net.HEADRACE6 if v["ipv6"] else net.HEADRACE, "port": BOOTSTRAP_PORT, "base": NODE_PORT_BASE,
        "ids": ids, "advertise": v["advertise"],
        "listener": v["listener"] + auth, "tcp_port": TCP_PORT, "runtime": RUNTIME,
        "target": "[%s]" % net.broker_addr6(TCP_ZONE) if v["ipv6"] else net.broker_addr(TCP_ZONE, v["ports"] - 1)}


def check_built():
    for name in ("headrace", "headrace-dataplane", "headrace-controlplane", "headracectl"):
        instance.binary(name)


def start(variant=None, config=None, kafka_ready=True, timeout=20):
    """Starts the launcher, which starts both processes; returns when traffic is accepted."""
    v = dict(DEFAULTS, **(variant or {}))
    os.makedirs(RUN, exist_ok=True)
    if config:
        shutil.copyfile(config, CONFIG)
    else:
        with open(CONFIG, "w") as f:
            f.write(render(v))
    net.set_mtu(v["mtu"])
    net.set_hosts(HUB, kafka.names(v["ports"] - 1, v["ipv6"]))
    HERE.start(kafka_ready, timeout)


def check_config(path):
    """Fails with the errors that headracectl finds in a configuration file."""
    res = env.run([instance.binary("headracectl"), "config", "check", path], check=False)
    if res.returncode != 0:
        raise RigError("%s is not accepted:\n%s%s" % (path, res.stdout, res.stderr))

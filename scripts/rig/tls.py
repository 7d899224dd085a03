"""The rig's certificates, made on the spot by openssl: nothing here is a secret of anybody's.

  ca        whom clients, brokers and Headrace trust         other      a CA that nobody trusts
  headrace, headrace-rsa   for the names that clients dial   broker-N   of broker N, for its name
  client-of-brokers        Headrace itself, towards brokers that want a certificate
  alice     a client; expired, revoked: clients that must be refused; stranger: one of the other CA's

NAME.crt is the certificate, NAME.key its key, NAME.pem both in one file, as Java wants them. Headrace's own keys belong
to the user that its control plane runs as, and nobody else can read them.
"""

import os
import shutil
import time

from rig import env
from rig.env import VAR

FOLDER = VAR + "/tls"
CONTROL_USER = "nobody"

_CONFIG = """
[ca]
default_ca = rig
[rig]
database = $ENV::CA_FOLDER/index
new_certs_dir = $ENV::CA_FOLDER
rand_serial = yes
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
copy_extensions = copy
unique_subject = no
[any]
organizationName = optional
commonName = supplied
[req]
distinguished_name = dn
[dn]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""


def path(name):
    return "%s/%s" % (FOLDER, name)


def _openssl(*args, ca="ca"):
    env.run(["openssl"] + list(args), env=dict(os.environ, CA_FOLDER=path(ca + ".d")))


def _authority(name):
    os.makedirs(path(name + ".d"))
    open(path(name + ".d/index"), "w").close()
    _openssl("req", "-x509", "-config", path("openssl.cnf"), "-extensions", "authority", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-noenc", "-keyout", path(name + ".key"), "-out", path(name + ".crt"), "-days", "30",
             "-subj", "/O=Headrace rig/CN=" + name)


def _stamp(days):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


def issue(name, names=(), rsa=False, ca="ca", days=(-1, 30), ours=False):
    """A key and its certificate for these DNS names, valid from and to so many days from now. ours: Headrace's."""
    key, crt, request = path(name + ".key"), path(name + ".crt"), path(name + ".csr")
    kind = ["-newkey", "rsa:2048"] if rsa else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    san = ["-addext", "subjectAltName=" + ",".join("DNS:" + n for n in names)] if names else []
    _openssl("req", "-new", "-config", path("openssl.cnf"), *kind, "-noenc", "-keyout", key + ".new", "-out", request,
             "-subj", "/O=Headrace rig/CN=" + name, *san)
    _openssl("ca", "-batch", "-notext", "-config", path("openssl.cnf"), "-cert", path(ca + ".crt"), "-keyfile",
             path(ca + ".key"), "-in", request, "-out", crt + ".new", "-startdate", _stamp(days[0]), "-enddate",
             _stamp(days[1]), ca=ca)
    os.unlink(request)
    with open(key + ".new") as k, open(crt + ".new") as c, open(path(name + ".pem"), "w") as both:
        both.write(k.read() + c.read())
    if ours:
        shutil.chown(key + ".new", CONTROL_USER)
    os.rename(key + ".new", key)
    os.rename(crt + ".new", crt)


def revoke(name, ca="ca"):
    """Puts a certificate on its CA's list, which is written anew."""
    ca_args = ["-config", path("openssl.cnf"), "-cert", path(ca + ".crt"), "-keyfile", path(ca + ".key")]
    _openssl("ca", *ca_args, "-revoke", path(name + ".crt"), ca=ca)
    _openssl("ca", *ca_args, "-gencrl", "-out", path(ca + ".crl.new"), ca=ca)
    os.rename(path(ca + ".crl.new"), path(ca + ".crl"))


def make(headrace_names, broker_names):
    """All of it, unless it is there: names that clients dial, and {"broker-N": name}."""
    if os.path.exists(path("complete")):
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    with open(path("openssl.cnf"), "w") as f:
        f.write(_CONFIG)
    _authority("ca")
    _authority("other")
    issue("headrace", headrace_names, ours=True)
    issue("headrace-rsa", headrace_names, rsa=True, ours=True)
    issue("client-of-brokers", ours=True)
    for name, host in broker_names.items():
        issue(name, [host])
    issue("alice")
    issue("expired", days=(-3, -1))
    issue("revoked")
    issue("stranger", ca="other")
    revoke("revoked")
    open(path("complete"), "w").close()


def java(client=None):
    """Settings of Kafka's Java clients, also of old ones; client: whose certificate they show."""
    settings = {"security.protocol": "SSL", "ssl.truststore.type": "PEM", "ssl.truststore.location": path("ca.crt")}
    if client:
        settings.update({"ssl.keystore.type": "PEM", "ssl.keystore.location": path(client + ".pem")})
    return settings


def librdkafka(client=None):
    settings = {"security.protocol": "ssl", "ssl.ca.location": path("ca.crt")}
    if client:
        settings.update({"ssl.certificate.location": path(client + ".crt"), "ssl.key.location": path(client + ".key")})
    return settings


def environ(client=None):
    """What the clients of the tests read from their environment."""
    settings = {"HR_TLS_CA": path("ca.crt")}
    if client:
        settings.update({"HR_TLS_CERT": path(client + ".crt"), "HR_TLS_KEY": path(client + ".key")})
    return dict(os.environ, **settings)

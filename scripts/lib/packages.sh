# Installs the Debian packages that Headrace, its playground and its tests need. Sourced, not run.
#
# A package that is present costs nothing: one dpkg-query decides. Tools that may have come from elsewhere
# (a JDK, Go, Node) are looked for on PATH first, and only installed from Debian when they are missing or old.

hr_say() { printf '%s\n' "$*" >&2; }

HR_PACKAGES_BUILD="gcc clang llvm libclang-rt-14-dev meson ninja-build pkg-config libdpdk-dev libconfig-dev
    libjansson-dev libc-ares-dev libmicrohttpd-dev libsystemd-dev libssl-dev libpcre2-dev libcurl4-openssl-dev libcmocka-dev"
# Packaged for x86-64 only; elsewhere the record layer uses OpenSSL.
[ "$(uname -m)" != x86_64 ] || HR_PACKAGES_BUILD="$HR_PACKAGES_BUILD libipsec-mb-dev"
HR_PACKAGES_RIG="openssl iproute2 iptables ethtool iperf3 kcat procps util-linux ca-certificates python3"
HR_PACKAGES_TEST="gnutls-bin tcpdump python3-venv valgrind"
HR_PACKAGES_BENCH="gnuplot-nox valgrind python3-venv git"
HR_PACKAGES_RELAY="haproxy"
HR_PACKAGES_RELAYS="nginx libnginx-mod-stream dpdk-dev"

hr_java_version() {
    command -v javac >/dev/null 2>&1 || { echo 0; return; }
    javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p'
}

# Prints the packages of the named sets that are not installed. Sets: build, rig, java, test; for bench/run: bench,
# relay (the one that --quick compares with) and relays (the others).
hr_packages_missing() {
    local wanted="" set p
    for set in "$@"; do
        case "$set" in
        build) wanted="$wanted $HR_PACKAGES_BUILD" ;;
        rig) wanted="$wanted $HR_PACKAGES_RIG" ;;
        bench) wanted="$wanted $HR_PACKAGES_BENCH" ;;
        relay) wanted="$wanted $HR_PACKAGES_RELAY" ;;
        relays) wanted="$wanted $HR_PACKAGES_RELAYS" ;;
        java)
            [ "$(hr_java_version)" -ge 17 ] 2>/dev/null || wanted="$wanted openjdk-17-jdk-headless"
            command -v mvn >/dev/null 2>&1 || wanted="$wanted maven"
            ;;
        test)
            wanted="$wanted $HR_PACKAGES_TEST"
            command -v npm >/dev/null 2>&1 || wanted="$wanted nodejs npm"
            command -v go >/dev/null 2>&1 || wanted="$wanted golang-go"
            ;;
        esac
    done
    for p in $wanted; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$p"
    done
}

# hr_packages_install SET...: apt-get's output goes to a log, its tail is shown when it fails.
hr_packages_install() {
    local missing log=/tmp/headrace-apt.$$.log
    missing=$(hr_packages_missing "$@")
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        hr_say "error: these Debian packages are missing and there is no apt-get: $missing"
        return 1
    fi
    hr_say "==> installing Debian packages: $missing(a few minutes the first time)"
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } \
        >"$log" 2>&1 </dev/null; then
        tail -20 "$log" >&2
        hr_say "error: apt-get failed; its whole output is in $log"
        return 1
    fi
    rm -f "$log"
}

# The same, for packages of services that Debian would start at once: it is told not to.
hr_packages_install_quietly() {
    local policy=/usr/sbin/policy-rc.d ours="" status=0
    [ -n "$(hr_packages_missing "$@")" ] || return 0
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    hr_packages_install "$@" || status=$?
    [ -z "$ours" ] || rm -f "$policy"
    return "$status"
}

hr_need_root() {
    if [ "$(id -u)" != 0 ]; then
        hr_say "error: this needs root (network namespaces, packages): sudo $0 $*"
        exit 1
    fi
}

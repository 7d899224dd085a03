#!/bin/sh
# The network layer on a veth pair: echo, refused TCP connections, MTU, two receive queues.
# Usage: net_echo.sh HR_NET_ECHO [MTU [WORKERS]]   (root; makes and removes its own namespaces)
# Exit 0: no ping lost, every connection refused at once, no checksum or length drop, and with several
# workers every queue received.
set -eu
echo_bin=$1
mtu=${2:-1500}
workers=${3:-1}
id=$$
ns_dp=hrnet-d$id
ns_peer=hrnet-p$id
out=$(mktemp -d)
pid=

cleanup() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
    ip netns del "$ns_dp" 2>/dev/null || true
    ip netns del "$ns_peer" 2>/dev/null || true
    rm -rf "$out"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

touch "$out/err"
ip netns add "$ns_dp"
ip netns add "$ns_peer"
ip -n "$ns_peer" link add peer0 mtu "$mtu" type veth peer name dp0 netns "$ns_dp"
ip -n "$ns_peer" addr add 10.77.0.2/24 dev peer0
ip -n "$ns_peer" link set lo up
ip -n "$ns_peer" link set peer0 up
# The kernel leaves checksums of what it sends to the "card": over veth nobody would fill them in.
ip netns exec "$ns_peer" ethtool -K peer0 tx off >/dev/null

ip netns exec "$ns_dp" "$echo_bin" net_af_packet0,iface=dp0 10.77.0.1/24 "$mtu" "$workers" 60 \
    >"$out/json" 2>"$out/err" &
pid=$!
i=0
until grep -q ready "$out/err"; do
    i=$((i + 1))
    if [ $i -gt 100 ] || ! kill -0 $pid 2>/dev/null; then
        cat "$out/err" >&2
        exit 1
    fi
    sleep 0.1
done

fail=0
# Echo requests of a small packet and of a whole MTU. (ping itself is not on every machine.)
for size in 56 $((mtu - 28)); do
    ip netns exec "$ns_peer" python3 - "$size" <<'PY' || fail=1
import os, socket, struct, sys, time
size, count, times = int(sys.argv[1]), 200, []
def cksum(b):
    b += b"\0" * (len(b) % 2)
    s = sum(struct.unpack(f"!{len(b) // 2}H", b))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER = DO: never fragment
s.settimeout(1)
for seq in range(count):
    body = os.urandom(size)
    head = struct.pack("!BBHHH", 8, 0, 0, 4711, seq)
    head = struct.pack("!BBHHH", 8, 0, cksum(head + body), 4711, seq)
    start = time.monotonic()
    s.sendto(head + body, ("10.77.0.1", 0))
    try:
        while True:
            r = s.recv(65536)[20:]
            took = time.monotonic() - start
            if r[0] == 0 and r[4:8] == head[4:8]:
                break
    except TimeoutError:
        continue
    if r[8:] == body and cksum(r) == 0:
        times.append(took * 1e6)
    time.sleep(0.002)
times.sort()
print(f"echo {size} B: {count} sent, {len(times)} answered right", f"min/median/p99 "
      f"{times[0]:.0f}/{times[len(times) // 2]:.0f}/{times[len(times) * 99 // 100]:.0f} us" if times else "")
sys.exit(len(times) != count)
PY
done

# Many flows, so that every queue sees some; a lost or wrong reset would show as a timeout.
ip netns exec "$ns_peer" python3 - <<'PY' || fail=1
import socket, sys, time
refused, slowest = 0, 0.0
for port in range(2000, 2100):
    s = socket.socket()
    s.settimeout(0.9)
    start = time.monotonic()
    try:
        s.connect(("10.77.0.1", port))
    except ConnectionRefusedError:
        refused += 1
    except OSError as e:
        print("port", port, e)
    slowest = max(slowest, time.monotonic() - start)
    s.close()
print(f"refused {refused} of 100, slowest {slowest * 1000:.2f} ms")
sys.exit(refused != 100)
PY

kill -TERM $pid
wait $pid || fail=1
pid=
cat "$out/err" >&2
cat "$out/json"
python3 - "$out/json" "$workers" <<'PY' || fail=1
import json, sys
r = json.load(open(sys.argv[1]))
bad = [f"{k}={w[k]}" for w in r["workers"] for k in w
       if k.startswith("drop_") and k not in ("drop_eth_type", "drop_ip_not_ours", "drop_eth_not_ours")]
idle = [i for i, w in enumerate(r["workers"]) if w.get("rx_packets", 0) < 10]
if bad or idle or len(r["workers"]) != int(sys.argv[2]):
    sys.exit(f"drops: {bad}, queues that received nothing: {idle}")
PY
[ $fail = 0 ] && echo "net_echo: ok (mtu $mtu, $workers workers)"
exit $fail

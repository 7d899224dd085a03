"""The namespace rig: three zones with real Kafka on one machine, and Headrace between clients and brokers.

    zone namespaces  NAME-z1 .. NAME-z3   clients and that zone's broker
    hub namespace    NAME-hub             two bridges, the Headrace processes, the control plane's own network

    z1 eth0 ─┐                      ┌─ hrx0 (DPDK, net_af_packet: 10.77.0.5)
    z2 eth0 ─┼─ br0 10.77.0.0/16 ───┘
    z3 eth0 ─┘
    z* eth1 ─── br1 10.78.0.0/16 ────── hrx1 (DPDK, only with two ports: 10.78.0.5, the broker leg)

Zone Z has the addresses 10.77.Z.1 (clients) and 10.77.Z.10 (broker), and the same in 10.78. Brokers advertise
names that clients' namespaces cannot resolve, so that an address which slips through Headrace is a failure, not
a silent detour. quickstart, the tests and the benches all use this package; it needs Python's standard
library only.
"""

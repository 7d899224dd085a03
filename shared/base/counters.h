/* Every counter, gauge and drop reason that a worker keeps, with what it means and what to do about it.
 *
 * The lists below are the only place to add one: they give the enum, the name that the CLI and the metrics
 * show, and the text that `headracectl drops` and docs/operations.md print. A worker writes its own
 * struct hr_stats, which lies in the shared region; the control plane reads it without any lock, so a
 * reader may see one counter a little older than another. */
#pragma once

#include <stdint.h>

/* X(name, meaning): monotonic since the dataplane started. Units are in the names. */
#define HR_COUNTERS(X)                                                                                       \
    X(rx_packets, "packets received from ports")                                                             \
    X(rx_bytes, "bytes received from ports, Ethernet headers included")                                      \
    X(tx_packets, "packets given to ports")                                                                  \
    X(tx_bytes, "bytes given to ports, Ethernet headers included")                                           \
    X(handoff_out, "packets that reached the wrong queue and were handed to the owning worker")              \
    X(handoff_in, "packets taken over from other workers")                                                   \
    X(arp_rx, "ARP packets received")                                                                        \
    X(arp_tx, "ARP packets sent")                                                                            \
    X(nd_rx, "IPv6 neighbour discovery messages received: solicitations, advertisements")                    \
    X(nd_tx, "IPv6 neighbour discovery and multicast listener messages sent")                                \
    X(nd_routers, "router advertisements that made or renewed a default router")                             \
    X(addr_duplicate, "IPv6 addresses of ours found in use by another host at start: not used")              \
    X(icmp_rx, "ICMP messages received, neighbour discovery not counted")                                    \
    X(icmp_tx, "ICMP messages sent, neighbour discovery not counted")                                        \
    X(tcp_segs_rx, "TCP segments received")                                                                  \
    X(tcp_segs_tx, "TCP segments sent, retransmissions included")                                            \
    X(tcp_bytes_rx, "TCP payload bytes accepted in order")                                                   \
    X(tcp_bytes_tx, "TCP payload bytes sent for the first time")                                             \
    X(tcp_bytes_acked, "TCP payload bytes acknowledged by peers")                                            \
    X(tcp_retransmit_segs, "TCP segments retransmitted")                                                     \
    X(tcp_retransmit_bytes, "TCP payload bytes retransmitted")                                               \
    X(tcp_rto, "retransmission timeouts (RFC 6298)")                                                         \
    X(tcp_fast_recovery, "fast recoveries entered (RFC 8985, RFC 5681)")                                     \
    X(tcp_tlp_probe, "tail loss probes sent (RFC 8985)")                                                     \
    X(tcp_tlp_repair, "losses that a tail loss probe repaired")                                              \
    X(tcp_spurious_rto, "timeouts that were premature, and undone (RFC 5682)")                               \
    X(tcp_spurious_recovery, "fast recoveries that were needless, and undone")                               \
    X(tcp_dsack_rx, "duplicates reported by peers (RFC 2883)")                                               \
    X(tcp_reneged, "peers that threw away what they had acknowledged selectively")                           \
    X(tcp_dupack_rx, "duplicate acknowledgements received")                                                  \
    X(tcp_ooo_rx, "segments received out of order and kept for reassembly")                                  \
    X(tcp_dup_rx, "segments that carried only data received before")                                         \
    X(tcp_persist_probe, "zero-window probes sent")                                                          \
    X(tcp_keepalive_tx, "keepalive probes sent")                                                             \
    X(tcp_delayed_ack, "acknowledgements sent by the delayed-ACK timer")                                     \
    X(tcp_paced, "times a connection waited for its pace: a burst beyond the initial window")                \
    X(tcp_port_waits, "times a connection waited for its port's allowance (tx_mbps, tx_kpps)")               \
    X(tcp_rst_tx, "resets sent")                                                                             \
    X(tcp_rst_rx, "resets accepted")                                                                         \
    X(tcp_challenge_ack, "challenge ACKs sent (RFC 5961)")                                                   \
    X(tcp_syn_rx, "SYN segments received for a listener")                                                    \
    X(tcp_syn_cookie_tx, "SYNs answered by a cookie: half-open connections above the mark")                  \
    X(tcp_syn_cookie_ok, "connections made from the ACK of a SYN cookie")                                    \
    X(tcp_accepted, "connections accepted (passive open completed)")                                         \
    X(tcp_connect, "active opens started")                                                                   \
    X(tcp_connected, "active opens completed")                                                               \
    X(tcp_connect_failed, "active opens refused, reset or timed out")                                        \
    X(tcp_closed, "connections that ended by FIN on both sides")                                             \
    X(tcp_time_wait_reused, "TIME-WAIT entries reused by a new connection (RFC 6191)")                       \
    X(tcp_time_wait_recycled, "TIME-WAIT entries given up early because their table was full")               \
    X(tcp_pmtu_told, "segment sizes lowered by ICMP (RFC 1191)")                                             \
    X(tcp_pmtu_guess, "segment sizes lowered after two timeouts in a row (RFC 4821)")                        \
    X(tcp_pmtu_restored, "segment sizes restored after a larger one was acknowledged (RFC 4821)")            \
    X(payload_copied_bytes, "payload bytes copied from contiguous pieces above the copy-break: must stay 0") \
    X(coalesced_bytes, "payload bytes copied because the piece was smaller than the copy-break")             \
    X(edited_bytes, "protocol bytes written by Headrace itself into forwarded frames")                       \
    X(heap_calls, "heap calls made by the worker after start-up: must stay 0")                               \
    X(mbuf_alloc_failed, "packet buffer allocations that failed because a pool was empty")                   \
    X(origins_told, "connections whose load balancer told for whom they are (PROXY protocol v2)")             \
    X(sessions_opened, "sessions opened (a client leg accepted)")                                            \
    X(sessions_closed, "sessions closed, for any reason")                                                    \
    X(kafka_requests, "Kafka requests forwarded to brokers")                                                 \
    X(kafka_responses, "Kafka responses forwarded to clients")                                               \
    X(kafka_request_bytes, "bytes of Kafka request frames received from clients")                            \
    X(kafka_response_bytes, "bytes of Kafka response frames received from brokers")                          \
    X(kafka_own_replies, "Kafka responses made by Headrace itself")                                          \
    X(kafka_own_requests, "Kafka requests made by Headrace itself, in sessions of clients: logins")          \
    X(auth_clients, "logins of clients in mid-session that succeeded (KIP-368)")                             \
    X(auth_brokers, "logins to brokers in mid-session that succeeded (KIP-368)")                             \
    X(kafka_edits_held, "frames held and rewritten in length")                                               \
    X(kafka_edits_tail, "response tails rewritten at their old length")                                      \
    X(kafka_tails_hidden, "response tails whose endpoints were hidden because they did not fit")             \
    X(kafka_nodes_hidden, "brokers left out of responses: no port of the listener stands for their node id")  \
    X(kafka_edits_skipped, "optional edits skipped because the frame exceeds hold_max")                      \
    X(reads_in_zone, "fetches sent to an in-sync follower in the client's zone instead of the leader outside")  \
    X(reads_in_zone_bytes, "bytes of their responses")                                                       \
    X(reads_errors_hidden, "errors of followers that were made empty answers: the leader is asked next")     \
    X(reads_asked_again, "fetches that a follower did not answer, and the leader was asked instead")         \
    X(reads_home_off, "fetches left to a leader in another zone: zone_reads is off for the listener or a topic") \
    X(reads_home_old, "fetches left to a leader in another zone: the client's Fetch is older than version 11") \
    X(reads_home_login, "times fetches were left to a leader in another zone because its broker wants a login, or TLS") \
    X(reads_home_replica, "fetches left to a leader in another zone: a partition has no replica in the client's zone that is in sync and answers") \
    X(reads_home_split, "fetches left to a leader in another zone: the replicas in the client's zone are on several brokers") \
    X(reads_home_version, "fetches left to a leader in another zone: the follower does not know the version of Fetch") \
    X(reads_home_rate, "fetches left to a leader in another zone: fewer bytes than zone_reads_min_bytes")    \
    X(reads_home_bypass, "fetches left to a leader in another zone: the follower has failed lately")         \
    X(reads_home_limit, "fetches left to a leader in another zone: too many connections, partitions or requests to keep account of") \
    X(relay_bytes_up, "payload bytes forwarded from clients to brokers")                                     \
    X(relay_bytes_down, "payload bytes forwarded from brokers to clients")                                   \
    X(tls_records_rx, "TLS records opened and verified")                                                     \
    X(tls_records_tx, "TLS records sealed")                                                                  \
    X(tls_keys_expanded, "TLS keys expanded: new ones, and those that had given way to others")              \
    X(tls_key_updates_rx, "KeyUpdate messages received (RFC 8446 4.6.3)")                                    \
    X(tls_key_updates_tx, "KeyUpdate messages sent: asked for, or a key's limit was reached")                \
    X(tls_tickets_skipped, "NewSessionTicket messages of brokers that came after the login")                 \
    X(tls_renegotiations_refused, "renegotiations refused by no_renegotiation (TLS 1.2)")                    \
    X(tls_close_notify_rx, "orderly ends announced by peers")                                                \
    X(tls_close_notify_tx, "orderly ends announced to peers")                                                \
    X(tls_alerts_rx, "fatal alerts received")                                                                \
    X(tls_alerts_tx, "alerts sent, close_notify not counted")                                                \
    X(tls_fin_bare, "TLS connections whose peer closed without close_notify where a frame ends")             \
    X(hints_sent, "metadata hints sent to the control plane (a broker answered NOT_LEADER)")                 \
    X(ipc_messages_rx, "messages received from the control plane")                                           \
    X(ipc_messages_tx, "messages sent to the control plane")                                                 \
    X(ipc_stale, "messages of an earlier session, ignored")                                                  \
    X(ipc_lost, "log and statistics messages dropped because the ring was full")                             \
    X(loop_turns, "worker loop turns that did work")                                                         \
    X(loop_sleeps, "times the worker went to sleep for lack of work")                                        \
    X(loop_wakeups, "sleeps ended by a packet or a doorbell rather than by a deadline")                      \
    X(policy_adopted, "policy snapshots adopted")

/* X(name, meaning): levels; peaks say so in their names. */
#define HR_GAUGES(X)                                                                                         \
    X(sessions, "sessions open now")                                                                         \
    X(tcp_conns, "TCP connections in the table, TIME-WAIT not included")                                     \
    X(tcp_half_open, "passive opens not completed yet")                                                      \
    X(tcp_time_wait, "connections in TIME-WAIT")                                                             \
    X(mbufs_total, "packet buffers in the worker's receive pool")                                            \
    X(mbufs_free, "packet buffers free in the worker's receive pool")                                        \
    X(hdr_mbufs_total, "buffers in the worker's header pool")                                                \
    X(hdr_mbufs_free, "buffers free in the worker's header pool")                                            \
    X(bufs_held, "packet buffers referenced by connections now")                                             \
    X(bufs_held_peak, "most packet buffers that connections ever referenced at once")                        \
    X(conn_bufs_held_peak, "most packet buffers that a single session ever held")                            \
    X(tls_legs, "TLS connections whose records the worker handles")                                          \
    X(policy_generation, "generation of the policy snapshot in use")                                         \
    X(busy_ns, "nanoseconds spent in loop turns that did work")

/* X(name, meaning, remedy): why a packet, a connection or a frame was dropped. */
#define HR_DROPS(X)                                                                                          \
    X(eth_short, "frame shorter than an Ethernet header", "faulty sender or driver: check the port's cabling or vdev") \
    X(eth_type, "EtherType that is neither IPv4, IPv6 nor ARP", "harmless broadcast noise; filter it upstream if frequent") \
    X(eth_not_ours, "unicast frame for another MAC address", "the port is promiscuous or the switch floods")  \
    X(arp_bad, "malformed ARP packet", "look for a broken or hostile host in the subnet")                    \
    X(nd_bad, "malformed neighbour discovery message, or one from beyond the link (RFC 4861 6.1, 7.1)", "look for a broken or hostile host in the subnet") \
    X(nd_ignored, "router advertisement where gateway6 is not \"advertised\", or a redirect", "harmless") \
    X(neigh_pending_full, "packet waiting for a neighbour's MAC was displaced", "next hop unreachable: check gateway and routes in the config") \
    X(neigh_unresolved, "neighbour did not answer ARP or neighbour solicitations", "next hop unreachable: check gateway and routes in the config") \
    X(ip_short, "packet shorter than its IP header says", "over-long frames truncated by the driver: check the MTU on both ends") \
    X(ip_version, "IP version that is not the EtherType's", "broken or hostile sender")                      \
    X(ip_checksum, "IPv4 header checksum wrong", "faulty path; if every packet fails, see ethtool tx off in docs/operations.md") \
    X(ip_options, "IPv4 options present", "not supported on purpose; the sender must not use options")       \
    X(ip_extension, "IPv6 extension header", "not supported on purpose; the sender must not use them")       \
    X(ip_tentative, "packet for an IPv6 address that is still being checked for duplicates, or is one", "the first second after a start; later: give the address to one host only") \
    X(ip_fragment, "fragment of a packet", "not reassembled on purpose: lower the sender's MTU or fix path MTU discovery") \
    X(ip_not_ours, "packet for an address that is not configured", "check addresses in the config, or routes that point here") \
    X(ip_martian, "source address that no host can have, or our own", "spoofed packets, or an address used twice") \
    X(ip_proto, "protocol that is neither TCP nor ICMP", "nothing listens for it here")                      \
    X(ip_no_route, "no route to the destination", "add a route or a gateway to the port in the config")      \
    X(icmp_bad, "malformed ICMP message", "look for a broken or hostile host")                               \
    X(icmp_ignored, "ICMP message that needs no action or names no connection", "harmless")                  \
    X(tcp_short, "segment shorter than its header says", "broken or hostile sender")                         \
    X(tcp_checksum, "TCP checksum wrong", "faulty path; if every segment fails, see ethtool tx off in docs/operations.md") \
    X(tcp_options, "malformed TCP options", "broken or hostile sender")                                      \
    X(tcp_no_listener, "SYN for a port on which nothing listens", "client uses a wrong port, or a node id outside the listener's range") \
    X(tcp_no_conn, "segment for no known connection (answered by RST)", "normal after a restart; otherwise a scan") \
    X(tcp_out_of_window, "segment outside the receive window", "duplicates after loss are normal; many may be an attack") \
    X(tcp_paws, "segment older than the last timestamp (RFC 7323)", "late duplicates are normal")            \
    X(tcp_bad_ack, "segment acknowledges data that was never sent", "broken or hostile peer")                \
    X(tcp_ooo_limit, "out-of-order segment beyond the connection's cap", "heavy loss or reordering on the path; the peer resends") \
    X(tcp_rcv_pool, "segment dropped because receive buffers are short", "raise memory_mb or mbufs, or lower windows") \
    X(tcp_syn_backlog, "SYN dropped above the backlog's mark: no timestamps, and its tuple is in TIME-WAIT", "SYN flood or very slow clients; raise limits.max_half_open") \
    X(tcp_cookie_bad, "ACK for no connection, and not of a SYN cookie that is valid now (answered by RST)", "late or forged ACKs during a SYN flood") \
    X(tcp_time_wait, "segment for a connection in TIME-WAIT that is neither its last FIN nor a SYN that may reuse it", "late duplicates and resets are normal (RFC 1337)") \
    X(tcp_conn_limit, "SYN dropped: connection table full", "raise limits.max_connections")                  \
    X(tcp_user_timeout, "connection dropped: what was sent to it was not acknowledged for tcp.user_timeout_ms", "peer or path is dead") \
    X(tcp_stalled, "connection dropped: buffers were short and it had not read for longest", "readers that stop; raise memory_mb") \
    X(tcp_keepalive, "connection dropped: keepalive probes unanswered", "peer or path is dead")              \
    X(tcp_persist, "connection dropped: zero window for tcp.zero_window_timeout_ms", "the reader has stopped reading")         \
    X(tcp_fin_wait, "connection dropped: half-closed, and the peer was silent for tcp.half_close_timeout_ms", "client or broker bug; harmless") \
    X(tx_full, "packet dropped because the port's transmit queue was full", "the port is the bottleneck: more queues, larger MTU") \
    X(tx_refused, "packet longer than the MTU, or refused by the driver", "a bug: report it, with the port's driver and MTU") \
    X(tx_nombuf, "packet not sent because no header buffer was free", "raise memory_mb")                     \
    X(handoff_full, "packet dropped because the other worker's hand-off ring was full", "workers are overloaded: add workers") \
    X(no_policy, "connection refused: no policy snapshot yet", "the control plane has not reached a broker yet: see headracectl status") \
    X(draining, "connection refused: Headrace is draining", "expected during drain")                         \
    X(session_limit, "connection refused: session table full", "raise limits.max_connections")               \
    X(origin_untrusted, "connection refused: the listener takes the PROXY protocol, and this address is not among proxy_protocol.from", "expected of who goes around the load balancer; else add its network") \
    X(origin_bad, "connection ended: it does not begin with a header of the PROXY protocol, version 2", "switch it on at the load balancer: AWS NLB proxy_protocol_v2.enabled, HAProxy send-proxy-v2") \
    X(origin_timeout, "connection ended: no header of the PROXY protocol within 5 s", "as origin_bad; or idle connections that a load balancer keeps ready") \
    X(handshake_absent, "connection refused: TLS was needed, and no control plane attached in time to do the handshake", "`headracectl status`; see the control plane's log") \
    X(handshake_limit, "connection refused: as many handshakes under way as the listener allows", "raise the listener's tls.max_handshakes; a flood of half handshakes") \
    X(handshake_rate, "connection refused: more handshakes begun than the listener's rate, in all or for its address", "clients that connect in a loop; raise the listener's tls.handshake_rate") \
    X(handshake_timeout, "connection ended: no session within the listener's handshake time", "slow or half-open clients; `headracectl tls`") \
    X(handshake_refused, "connection ended: the session that the control plane prepared cannot be", "the listener has gone meanwhile, a limit is reached, or a version mismatch") \
    X(listener_limit, "connection refused: the listener's connection limit is reached", "raise the listener's max_connections") \
    X(no_broker, "connection refused: no live broker to send it to", "see headracectl brokers")              \
    X(unknown_node, "connection refused: no broker with that node id", "stale client metadata, or a broker that was removed") \
    X(connect_rate, "connection refused: more opens towards brokers than limits.connect_rate, in all or for its address", "clients that connect in a loop; raise limits.connect_rate") \
    X(no_source_port, "broker leg not opened: source ports exhausted", "add addresses to the port in the config") \
    X(broker_refused, "session closed: the broker refused the connection", "broker down or port wrong: see headracectl brokers") \
    X(broker_timeout, "session closed: the broker did not answer the connection attempt in time", "broker or path down; limits.connect_timeout_ms") \
    X(broker_closed, "session closed: the broker closed or reset the connection", "broker restart, idle timeout or refused request: see the broker's log") \
    X(client_reset, "session closed: the client reset the connection", "client crash or restart")            \
    X(idle_timeout, "session closed: no byte either way for the idle timeout", "expected for idle clients; listener idle_timeout_ms") \
    X(drain_deadline, "session closed: drain deadline reached with requests in flight", "raise limits.drain_timeout_ms") \
    X(killed, "session closed by headracectl kill or drain", "operator's wish")                              \
    X(listener_removed, "session closed: a reload removed its listener or changed its mode", "expected after such a reload") \
    X(kafka_frame_size, "session closed: frame size negative, too small, or above max_frame_bytes", "not a Kafka client, or raise the listener's max_frame_bytes") \
    X(kafka_header, "session closed: malformed request header", "not a Kafka client")                        \
    X(kafka_unknown_api, "session closed: API key that is not advertised", "client ignores ApiVersions")     \
    X(kafka_version, "session closed: API version that is not advertised", "client ignores ApiVersions")     \
    X(kafka_malformed_request, "session closed: request does not match its schema", "broken or hostile client") \
    X(kafka_malformed_response, "session closed: response does not match its schema", "broker newer than the schema table, or corruption: report it") \
    X(kafka_correlation, "session closed: response out of order or without a request", "broker bug or corruption: report it") \
    X(kafka_hold_max, "session closed: a frame that must be rewritten exceeds hold_max", "raise limits.hold_max_bytes") \
    X(kafka_partial_frame, "session closed: a leg ended in the middle of a frame", "broker or client crash") \
    X(kafka_request_stall, "session closed: a request frame did not complete in time", "byte-drip client; listener request_timeout_ms") \
    X(auth_expired, "session closed: the client's login has expired, and it sent something else than a new one", "client without re-authentication (KIP-368), or a lifetime that is too short for it") \
    X(auth_sequence, "session closed: another request in the middle of the client's login", "client bug")     \
    X(auth_failed, "session closed: a login in mid-session failed", "see the control plane's log for who and why") \
    X(auth_interrupted, "session closed: a login in mid-session was under way when the control plane went away", "see the control plane's log") \
    X(tls_record_overflow, "session closed: TLS record longer than the protocol or the negotiated limit allows", "broken or hostile peer") \
    X(tls_bad_record_mac, "session closed: TLS record that was not sealed with its key: altered, repeated, lost or forged", "look at the path; hostile peer") \
    X(tls_unexpected, "session closed: TLS record or message that has no place after the handshake", "peer that wants post-handshake authentication or ignores the protocol") \
    X(tls_malformed, "session closed: TLS record or message that does not parse", "broken or hostile peer") \
    X(tls_barren, "session closed: too many TLS records in a row without application data", "hostile peer: empty records, key updates or warnings without end") \
    X(tls_peer_alert, "session closed: the peer sent a fatal TLS alert", "see the peer's log")                \
    X(tls_truncated, "session closed: a TLS connection ended in the middle of a record", "peer crash, or somebody cut the connection") \
    X(tls_key_limit, "session closed: as much as one TLS 1.2 key may seal (RFC 8446 5.5)", "let the peer use TLS 1.3, which updates its keys") \
    X(ipc_invalid, "message from the control plane failed validation", "version mismatch or a bug: report it") \
    X(ipc_slots, "control-owned connection paused: no payload slot free", "control plane is slow or dead")

enum hr_counter {
#define X(name, ...) HR_CTR_##name,
    HR_COUNTERS(X)
#undef X
    HR_CTR_MAX
};

enum hr_gauge {
#define X(name, ...) HR_GAUGE_##name,
    HR_GAUGES(X)
#undef X
    HR_GAUGE_MAX
};

enum hr_drop {
#define X(name, ...) HR_DROP_##name,
    HR_DROPS(X)
#undef X
    HR_DROP_MAX
};

/* One per worker, in the shared region; written by its worker alone. */
struct hr_stats {
    uint64_t counters[HR_CTR_MAX];
    uint64_t gauges[HR_GAUGE_MAX];
    uint64_t drops[HR_DROP_MAX];
} __attribute__((aligned(64)));

#define HR_COUNT(stats, name) ((stats)->counters[HR_CTR_##name]++)
#define HR_COUNT_N(stats, name, n) ((stats)->counters[HR_CTR_##name] += (uint64_t)(n))
#define HR_GAUGE_SET(stats, name, v) ((stats)->gauges[HR_GAUGE_##name] = (uint64_t)(v))
#define HR_GAUGE_ADD(stats, name, n) ((stats)->gauges[HR_GAUGE_##name] += (uint64_t)(int64_t)(n))
#define HR_DROP(stats, name) ((stats)->drops[HR_DROP_##name]++)
#define HR_DROP_N(stats, name, n) ((stats)->drops[HR_DROP_##name] += (uint64_t)(n))

struct hr_counter_info {
    const char *name;
    const char *meaning;
    const char *remedy; /* drop reasons only, else NULL */
};

/* Descriptions, indexed by the enums. */
extern const struct hr_counter_info hr_counter_info[HR_CTR_MAX];
extern const struct hr_counter_info hr_gauge_info[HR_GAUGE_MAX];
extern const struct hr_counter_info hr_drop_info[HR_DROP_MAX];

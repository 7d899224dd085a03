/* Faults that can be switched on in a build made for them, to see that the tests notice: HR_MUTANT(NAME) is 0 in
 * every other build, and costs nothing. tests/mutants/run.py builds the tests with all of them, selects one after the
 * other through the environment variable HR_MUTANT, and expects a failure each time.
 *
 * To add one: a line here, and HR_MUTANT(NAME) where the rule is held. */
#pragma once

/* X(NAME, the test program that should notice, what goes wrong) */
#define HR_MUTANTS(X) \
    X(CHALLENGE_UNLIMITED, "scripts", "any number of challenge ACKs (RFC 5961 7)")                  \
    X(RST_ANYWHERE, "scripts", "a reset anywhere in the window is believed (RFC 5961 3.2)")         \
    X(NO_PAWS, "scripts", "old timestamps are accepted (RFC 7323 5.3)")                             \
    X(SYN_UNCHALLENGED, "scripts", "a SYN in a connection gets no challenge (RFC 5961 4.2)")        \
    X(NO_LEFT_TRIM, "scripts", "bytes that were there before are not cut off")                      \
    X(NO_RIGHT_TRIM, "reass", "bytes beyond the window are kept")                                   \
    X(TS_RECENT_ALWAYS, "scripts", "the timestamp of any segment is echoed (RFC 7323 4.3)")         \
    X(ANY_SYN_ACK, "scripts", "a SYN-ACK with any number opens")                                    \
    X(BLIND_RST_IN_SYN_SENT, "scripts", "a reset without ACK ends an open")                         \
    X(FIN_EARLY, "scripts", "a FIN ahead of missing data is taken at once")                         \
    X(NO_REFUSAL, "scripts", "what belongs to no connection gets no reset")                         \
    X(TIME_WAIT_ANY_SYN, "scripts", "any SYN reuses a tuple in TIME-WAIT (RFC 6191)")               \
    X(NO_BLACK_HOLE, "pmtu", "a path that swallows large segments is not noticed (RFC 4821 7.7)")   \
    X(DATA_TO_NOBODY, "scripts", "data for an owner who has left is swallowed")                     \
    X(ACK_OF_NOTHING, "scripts", "an ACK of what was never sent is not challenged (RFC 5961 5.2)")  \
    X(BACKOFF_KEPT, "rack", "an ACK of new data does not end the backoff")                          \
    X(WINDOW_UPDATE_DEAF, "scripts", "a window that opens again is not noticed")                    \
    X(DSACK_AS_SACK, "recovery", "a reported duplicate counts as SACK (RFC 2883 5)")                \
    X(SACK_BEYOND, "sack", "SACK blocks of what was never sent are believed")                       \
    X(NO_BACKOFF, "scripts", "the RTO does not double (RFC 6298 5.5)")                              \
    X(NO_SYN_BACKOFF, "scripts", "nor does that of a SYN")                                          \
    X(NO_PERSIST_BACKOFF, "scripts", "window probes keep their interval")                           \
    X(RETRIES_WITHOUT_END, "loss", "retransmission never gives up")                                 \
    X(SYN_WITHOUT_END, "link", "an open never gives up")                                            \
    X(KEEPALIVE_WITHOUT_END, "scripts", "keepalive never gives up")                                 \
    X(RTO_NOT_RESTARTED, "scripts", "an ACK does not restart the timer (RFC 6298 5.3)")             \
    X(WINDOW_RETRACTED, "link", "an offered window is taken back")                                  \
    X(SILLY_RECEIVER, "link", "the window opens by a few bytes (RFC 9293 3.8.6.2.2)")               \
    X(NO_WINDOW_UPDATE, "scripts", "reading does not announce the window")                          \
    X(EDGE_UNTOLD, "window", "a window that was closed opens, and nobody says so")                  \
    X(WINDOW_WITHOUT_LIMIT, "scripts", "unread bytes do not count against the window")              \
    X(NO_PERSIST, "scripts", "a closed window starts no timer")                                     \
    X(SILLY_SENDER, "scripts", "a sliver of window is filled (RFC 9293 3.8.6.2.1)")                 \
    X(WINDOW_IGNORED, "scripts", "the peer's window is not respected")                              \
    X(CWND_IGNORED, "scripts", "the congestion window is not respected")                            \
    X(NO_LIMITED_TRANSMIT, "scripts", "duplicate ACKs let nothing new out (RFC 3042)")              \
    X(NO_PSH, "scripts", "the last segment has no PSH")                                             \
    X(SYN_WINDOW_SCALED, "scripts", "the window of a SYN is scaled (RFC 7323 2.2)")                 \
    X(FIN_LOST_ONCE, "scripts", "a FIN is not sent again")                                          \
    X(NO_TIMESTAMPS_LATER, "scripts", "segments after the SYN carry no timestamp (RFC 7323 3.2)")   \
    X(NO_TLP, "scripts", "no tail loss probe (RFC 8985 7)")                                         \
    X(NO_KARN, "recovery", "a round trip is taken of what was sent twice (RFC 6298 3)")             \
    X(NO_RTO_MINIMUM, "rtt", "the RTO has no lower bound (RFC 6298 2.4)")                           \
    X(NO_FAST_RETRANSMIT, "scripts", "duplicate ACKs repair nothing (RFC 5681 3.2)")                \
    X(NO_PARTIAL_ACK, "scripts", "a partial ACK repairs nothing (RFC 6582)")                        \
    X(NO_UNSACK, "output", "a timeout trusts what was SACKed (RFC 2018 8)")                         \
    X(NO_FRTO, "rack", "spurious timeouts are not detected (RFC 5682)")                             \
    X(NO_DSACK_UNDO, "rack", "needless recoveries keep their reduction")                            \
    X(NO_RACK, "scripts", "nothing is lost by time (RFC 8985 6)")                                   \
    X(NO_REORDERING_WINDOW, "rack", "the slightest reordering counts as loss")                      \
    X(NO_REDUCTION, "cong", "loss reduces nothing (RFC 5681)")                                      \
    X(NO_COLLAPSE, "loss", "a timeout leaves the window as it is")                                  \
    X(NO_IDLE_RESTART, "loss", "a pause leaves the window as it is (RFC 5681 4.1)")                 \
    X(GROWTH_UNUSED, "loss", "a window that was not in use grows (RFC 7661)")                       \
    X(LARGE_INITIAL_WINDOW, "scripts", "a hundred segments at first (RFC 6928)")                    \
    X(NO_HYSTART, "cong", "growing round trips do not end slow start (RFC 9406)")                   \
    X(CSS_UNCONFIRMED, "cong", "nor does conservative slow start when they grow on")               \
    X(ROUNDED_REDUCTION, "cong", "what did not fill a segment is reduced away (RFC 9438 4.6)")      \
    X(ORDER_BY_SEQUENCE, "rack", "within a tick the lower sequence number was earlier")             \
    X(CUBIC_WITHOUT_RENO, "cong", "small windows do not grow as Reno's do (RFC 9438 4.3)")          \
    X(NO_FAST_CONVERGENCE, "cong", "a flow that shrinks leaves no room (RFC 9438 4.7)")             \
    X(PAUSE_COUNTS, "cong", "the curve goes on while nothing is sent (RFC 9438 5.8)")               \
    X(NO_PACING, "pace", "any burst leaves at once")                                                \
    X(PORT_UNLIMITED, "pace", "a port's allowance is not respected")                                \
    X(PORT_WITHOUT_TURNS, "pace", "who is there first uses up a port's allowance")                  \
    X(NO_QUICK_ACKS, "ackpolicy", "the first segments wait for the delayed ACK")                    \
    X(THIN_FOR_SMALL_WINDOWS, "ackpolicy", "the timer finds small windows again and again")         \
    X(ACK_TOO_THIN, "ackpolicy", "eight segments are not acknowledged")                             \
    X(ACK_LATE, "ackpolicy", "a delayed ACK waits 40 ms: Nagle's algorithm stalls")                 \
    X(MOVED_IS_DRAINED, "window", "what waits in the other leg's queue widens the window")          \
    X(ACKED_UNTOLD, "join", "a window waits for bytes downstream of which nobody hears")                \
    X(WINDOW_BEFORE_TAKEN, "window", "the window is wide before anybody takes the bytes")           \
    X(NO_SACK_BLOCKS, "scripts", "gaps are not reported (RFC 2018)")                                \
    X(SACK_ORDER, "scripts", "the newest block is not the first (RFC 2018 4)")                      \
    X(NO_DSACK, "scripts", "duplicates are not reported (RFC 2883)")                                \
    X(ROW_BEYOND_WINDOW, "burst", "segments behind the first may exceed the window")                 \
    X(ROW_WITHOUT_LIMIT, "burst", "or the limit on buffers")                                        \
    X(ROW_WITHOUT_PAWS, "burst", "or bring old timestamps")                                         \
    X(GAPS_WITHOUT_LIMIT, "reass", "pieces out of order without limit")                             \
    X(NO_POOL_RESERVE, "reass", "the last buffers are pinned too")                                  \
    X(TINY_MSS, "scripts", "the peer's MSS has no lower bound")                                     \
    X(TIMESTAMPS_FREE, "scripts", "timestamps are not deducted from the MSS (RFC 6691)")            \
    X(SHORT_TIME_WAIT, "time_wait", "TIME-WAIT lasts one MSL")                                      \
    X(ISN_WITHOUT_KEY, "input", "initial sequence numbers follow the clock alone (RFC 6528)")       \
    X(SCALE_OF_15, "options", "a shift count above 14 is used (RFC 7323 2.3)")

#ifdef HR_WITH_MUTANTS
enum hr_mutant {
    HR_MUTANT_NONE = 0,
#define X(name, program, text) HR_MUTANT_##name,
    HR_MUTANTS(X)
#undef X
};
extern enum hr_mutant hr_mutant_selected;
#define HR_MUTANT(name) (hr_mutant_selected == HR_MUTANT_##name)
#else
#define HR_MUTANT(name) 0
#endif

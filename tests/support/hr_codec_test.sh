#!/bin/sh
# hr-codec's command line: round trips, headers and frames, and its exit statuses. Argument: the program.
set -eu
codec=$1

expect() { # NAME WANT GOT
    [ "$2" = "$3" ] || { printf '%s: want "%s", got "%s"\n' "$1" "$2" "$3" >&2; exit 1; }
}
status() {
    set +e
    "$@" >/dev/null 2>&1 </dev/null
    echo $?
    set -e
}

expect names "00000001000174" \
    "$(echo '00 00 00 01 0001 74' | "$codec" decode --api Metadata --version 0 --request |
        "$codec" encode --api 3 --version 0 --request)"
# A whole request names its own API and version.
frame=0000000f001200030000000500017800010100
expect frame "$frame" \
    "$(echo $frame | "$codec" decode --request --frame | "$codec" encode --request --frame)"
expect header "$(echo $frame | cut -c9-)" \
    "$(echo $frame | "$codec" decode --request --frame | "$codec" encode --request --header)"
expect response "0000000500" \
    "$(echo '{"header":{"CorrelationId":5},"body":{}}' |
        "$codec" encode --api Heartbeat --version 4 --response --header | cut -c1-10)"
expect batch "ok 00000001000174" "$(echo 'round 3 0 request 00000001000174' | "$codec" batch)"
expect batch-error "error Topics: count -7" "$(echo 'decode 3 4 request fffffff900' | "$codec" batch)"
expect list "1    Fetch" "$("$codec" list | grep ' Fetch ' | cut -c1-10)"

expect help 0 "$(status "$codec" --help)"
expect no-verb 2 "$(status "$codec")"
expect no-such-api 2 "$(status "$codec" decode --api Fetsch --version 4 --request)"
expect no-such-version 2 "$(status "$codec" decode --api Fetch --version 99 --request)"
expect truncated 1 "$(status "$codec" decode --api Fetch --version 4 --request)"
expect left-over 1 "$(echo 000000000000 | { set +e; "$codec" decode -a 3 -v 0 -q >/dev/null 2>&1; echo $?; })"

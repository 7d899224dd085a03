"""What bench/run is made of: measures Headrace beside direct links and other relays on one machine.

    stats      medians, exact intervals, ratios: the arithmetic behind every figure
    results    the JSON file: metrics, and the comparison with an earlier one
    machine    what this machine is, and in what mood (core-to-core round trip, host gaps)
    rounds     a round, looked at from both ends, and done again when the mood changed
    topology   the rig's network and what the bench adds: a relay's namespace, the floor's wires, a far broker
    systems    what can stand between client and broker, each with how it is installed, started and reached
    ring       the ring bench's own programs
    e2e        rounds over null broker and load generator
    real       rounds over real Kafka and its own tools
    paths      shares beside a kernel flow, goodput under loss
    report     Markdown and plots
    main       the command line

It stands on scripts/rig. Nothing here measures time that matters: hr-load does, in C.
"""

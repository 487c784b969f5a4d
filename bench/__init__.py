"""Measurements: what the enforcer costs beside the kernel alone and beside its peers, side by side, in one run.

    topology   two guests and a router between them, in namespaces of their own; nothing else of the host is touched
    sender     writes frames as fast as one core can, and counts what arrives
    cases      what is in the router: nothing, connection tracking, our ruleset, an ordered list, iptables with ipset
    measures   one figure each: new flows a second, nanoseconds per packet, latency of a first packet …
    turns      every case once, then every case again (A B C A B C …): medians, spreads, and ratios within a turn
    generation what a change of generation does to 100,000 live flows
    changes    how long changes take, from the policy to the kernel's acknowledgement; estate: policies of any size
    requests   from a request at the daemon's socket to its being in force and to its answer; crowd: many at once;
               living: a daemon to ask, callers that cost little
    cold       starts, restarts, repairs, memory
    report     bench/results.json, tables for people, plots for docs/performance.md

Every figure of a report is a ratio of cases that ran in the same minute on the same topology. `scripts/bench` runs it.
"""

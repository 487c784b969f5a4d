"""What the daemon lets people see of its work: hits per rule, denied and new flows, status, metrics.

hits       counters of the kernel → hits per rule since when; sums outlive maps, commits and the daemon    (pure)
naming     what the kernel saw of a packet → the NIC, the group and the rule that decided                 (pure)
counting   the ledger of hits, read in time and kept for a next life
tracing    who follows new flows, each with a bounded number of lines
watching   the thread that reads denied packets, new flows and counters
metrics    Prometheus
parts      all of it as the daemon has it, and what it answers
"""

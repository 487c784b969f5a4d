"""What the daemon lets people see of its work: hits per rule, denied and new flows, status, metrics.

hits       counters of the kernel → hits per rule since when; sums outlive maps, commits and the daemon    (pure)
"""

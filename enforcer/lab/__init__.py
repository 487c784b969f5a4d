"""The namespace lab: a policy as real namespaces, real wires and real packets.

    policy ──wire──▶ Plan ──changes──▶ Changes ──realise──▶ namespaces ──probe──▶ Observation

It knows nothing of the compiler: whoever starts a lab says how to enforce the policy in it. It changes links, addresses
and routes only in namespaces that it made, and nftables only in a table of its own.
"""

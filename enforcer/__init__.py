"""Cloud security groups for any Linux host: a compiler from security groups to nftables, its dataplane and its lab.

policy file ──parse──▶ Policy ──compile──▶ Program ──lower──▶ Ruleset ──render──▶ nft script ──replace──▶ kernel
                          └──────────▶ explain(policy, traffic) → verdict with the deciding rule      the oracle

model        what an operator may write                    (pydantic at the door)
semantics    the oracle: plain loops over the model        (knows no compiler)
compiler     Policy → Program: disjoint regions            (pure)
ruleset      Program → nftables objects and script         (pure)
dataplane    the only code that changes nftables
lab          namespaces, veths and probes to try it all on
cli          click, thin
"""

__version__ = "0.1.0"

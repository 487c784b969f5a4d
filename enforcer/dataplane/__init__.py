"""The only code that changes nftables: programs go in, what the kernel holds comes out.

namespaces   enter, create and delete network namespaces
libnftables  text in, one transaction per call
counters     what our rules and maps have counted, by the comment that names a rule
observe      names of our objects, generation, interfaces
notices      what the kernel says by itself: interfaces that come and go, transactions of nftables
commit       replace: the new policy is in force, or nothing changed
"""

from enforcer.dataplane.commit import TRANSACTIONS, Committed, Step, clear, refusal, replace, replace_all

__all__ = ["TRANSACTIONS", "Committed", "Step", "clear", "refusal", "replace", "replace_all"]
